use std::{
    io::{Seek, Write},
    path::Path,
};

use serde_json::{Value, json};

use super::*;
use crate::saved::Saved;

fn at(seconds: u64) -> String {
    Timestamp(1_772_359_200_000_000_000 + seconds * 1_000_000_000).to_string()
}

fn app(name: &str) -> Value {
    json!({"name": name, "pid": 7})
}

fn query(number: u64, program: &str, resolver: &str, verdict: &str) -> Value {
    json!({
        "v": 1, "type": "query", "ts": at(number), "id": format!("q{number}"), "name": format!("n{number}.example"),
        "qtype": "A", "transport": "udp", "resolver": {"addr": resolver, "port": 53, "interface": "eth0"},
        "process": null, "app": app(program), "via": null, "escaped": true, "verdict": verdict, "explanation": null,
    })
}

fn finding(number: u64, severity: &str, confidence: &str, queries: &[&str]) -> Value {
    json!({
        "v": 1, "type": "finding", "ts": at(number), "id": format!("f{number}"), "kind": "self-resolution",
        "severity": severity, "confidence": confidence, "app": app("curl"), "process": null,
        "name": format!("n{number}.example"), "count": 1, "queries": queries, "proxy": null,
        "evidence": [{"ts": at(number), "source": "query", "detail": "asked"}], "advice": "use socks5h",
    })
}

fn updated(mut line: Value, changes: &[(&str, Value)]) -> Value {
    line["update"] = true.into();
    for (key, value) in changes {
        line[*key] = value.clone();
    }
    line
}

fn posture(pid: u64, leak: Option<&str>) -> Value {
    let leaks: Vec<Value> = leak
        .iter()
        .map(|stop| json!({"what": "every name", "certain": true, "stop": stop}))
        .collect();
    json!({
        "v": 1, "type": "posture", "ts": at(0), "app": {"name": "Firefox", "pid": pid}, "process": null, "profile": null,
        "route": "proxy", "proxy": {"scheme": "socks5", "addr": "::1", "port": 9050, "resolves": "local"},
        "resolves": "local", "bypass": [], "role": null, "leaks": leaks, "evidence": [], "overruled": [], "advice": null,
    })
}

fn summary() -> Value {
    json!({
        "v": 1, "type": "summary", "ts": at(99), "apps": [], "findings": 0, "lost": 5, "unfollowed": 0, "undecoded": 3,
    })
}

fn contents(files: &[Vec<Value>]) -> Contents {
    let mut collector = Collector::default();
    for lines in files {
        let mut file = tempfile::tempfile().unwrap();
        for line in lines {
            writeln!(file, "{line}").unwrap();
        }
        file.rewind().unwrap();
        let fault = collector.add(&Saved::of(Path::new("x"), file).unwrap());
        assert!(fault.unwrap().is_none());
    }
    collector.contents()
}

#[test]
fn a_later_line_is_counted_in_the_place_of_the_earlier() {
    let lines = vec![
        query(1, "curl", "10.0.0.1", "unknown"),
        query(2, "curl", "10.0.0.1", "leak"),
        query(3, "dig", "10.0.0.2", "no-proxy"),
        finding(1, "medium", "observed", &["q2"]),
        updated(
            query(1, "curl", "10.0.0.1", ""),
            &[("verdict", "leak".into())],
        ),
        updated(
            query(2, "curl", "10.0.0.1", ""),
            &[("verdict", "explained".into()), ("escaped", false.into())],
        ),
        updated(
            finding(1, "high", "proven", &["q2", "q1"]),
            &[("count", 2.into())],
        ),
        updated(query(9, "curl", "10.0.0.1", "leak"), &[]),
        summary(),
    ];
    let contents = contents(&[lines]);
    let totals = &contents.totals;
    let verdicts = Verdicts {
        leak: 1,
        explained: 1,
        no_proxy: 1,
        unknown: 0,
    };
    assert_eq!(
        (totals.verdicts, totals.queries, totals.late),
        (verdicts, 3, 1)
    );
    assert_eq!((totals.findings, totals.leaks), (1, 1));
    assert_eq!((totals.proven, totals.observed), (1, 0));
    assert_eq!(
        (totals.programs, totals.leaking, totals.undecoded),
        (2, 1, 3)
    );
    let flow = &contents.flows.listed[0];
    assert_eq!(flow.way.resolver, "10.0.0.1:53");
    assert_eq!(
        (flow.verdicts.sum(), flow.escaped, flow.findings),
        (2, 1, 1)
    );
    let mut over_time = Verdicts::default();
    for bucket in &contents.timeline.buckets {
        over_time.add(bucket.verdicts);
    }
    assert_eq!(over_time, verdicts);
    let listed: Vec<&str> = contents
        .queries
        .listed
        .iter()
        .map(|one| one.id.as_str())
        .collect();
    assert_eq!(listed, ["q1"]);
    let finding = &contents.findings.listed[0];
    assert_eq!((finding.confidence.as_str(), finding.count), ("proven", 2));
    assert_eq!(contents.programs.listed[0].changes.listed[0].findings, 1);
    assert_eq!(
        (contents.sources[0].runs, contents.sources[0].ended),
        (1, 1)
    );
}

#[test]
fn lists_end_and_counts_do_not() {
    let many = 3 * MAX_FINDINGS as u64;
    let mut lines: Vec<Value> = (1..=many)
        .flat_map(|number| {
            [
                query(number, "curl", "10.0.0.1", "leak"),
                finding(number, "low", "observed", &[]),
            ]
        })
        .collect();
    // One that was left out becomes the worst of all.
    lines.push(updated(finding(many, "critical", "proven", &[]), &[]));
    let contents = contents(&[lines]);
    assert_eq!(contents.totals.findings, many);
    assert_eq!(contents.findings.listed.len(), MAX_FINDINGS);
    assert_eq!(contents.findings.left_out, many - MAX_FINDINGS as u64);
    assert_eq!(contents.findings.listed[0].id, format!("f{many}"));
    assert_eq!(contents.queries.listed.len(), MAX_QUERIES);
    assert_eq!(contents.queries.left_out, many - MAX_QUERIES as u64);
    for text in [html::page(&contents), markdown::text(&contents)] {
        assert!(
            text.contains("400 more findings are not listed; the counts are of all"),
            "it is said"
        );
        assert!(text.contains("600 leaks of 1 program were found"));
    }
}

#[test]
fn ids_of_several_files_and_runs_are_told_apart() {
    let run = || {
        vec![
            query(1, "curl", "10.0.0.1", "leak"),
            finding(1, "high", "proven", &["q1"]),
            summary(),
        ]
    };
    let contents = contents(&[[run(), run()].concat(), run()]);
    assert_eq!((contents.totals.findings, contents.totals.queries), (3, 3));
    let places: Vec<(usize, u64)> = contents
        .findings
        .listed
        .iter()
        .map(|finding| (finding.source, finding.run))
        .collect();
    assert_eq!(places, [(1, 1), (1, 2), (2, 1)]);
    assert!(html::page(&contents).contains("Evidence of f1 of run 2 in file 1"));
}

#[test]
fn a_run_without_its_end_is_told() {
    let words = words::unseen(&contents(&[vec![query(1, "curl", "10.0.0.1", "leak")]]));
    assert!(words[0].contains("has a run without an end"), "{words:?}");
}

#[test]
fn what_processes_were_told_is_said_once() {
    let lines = vec![
        posture(1, Some("set it")),
        posture(2, Some("set it")),
        posture(3, Some("set it")),
        updated(posture(3, None), &[]),
    ];
    let contents = contents(&[lines]);
    assert_eq!(
        (contents.sources[0].runs, contents.sources[0].ended),
        (0, 0)
    );
    assert_eq!(words::unseen(&contents), [""; 0], "an audit has no end");
    let firefox = &contents.programs.listed[0];
    let told: Vec<(u64, usize)> = firefox
        .postures
        .listed
        .iter()
        .map(|posture| (posture.processes, posture.leaks.len()))
        .collect();
    assert_eq!(told, [(2, 1), (1, 0)]);
    assert_eq!(firefox.changes.listed[0].advice, "set it");
    let text = markdown::text(&contents);
    assert!(
        text.contains("told to use socks5://\\[::1\\]:9050 for everything"),
        "{text}"
    );
    assert!(
        text.contains("set it (its settings leak every name)"),
        "{text}"
    );
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let lines = || {
        let programs = (1..60).map(|number| {
            let program = format!("program-{}", number % 7);
            query(
                number,
                &program,
                &format!("10.0.0.{}", number % 11),
                "no-proxy",
            )
        });
        vec![
            programs.collect::<Vec<_>>(),
            vec![posture(1, Some("set it"))],
        ]
    };
    let (one, other) = (contents(&lines()), contents(&lines()));
    assert_eq!(html::page(&one), html::page(&other));
    assert_eq!(markdown::text(&one), markdown::text(&other));
    assert!(
        html::page(&one).contains("Drawn are "),
        "too many ways to draw"
    );
}

/// Names come from the wire, and programs' names from whoever made them.
#[test]
fn forms_for_tools_hold_whatever_names_there_are() {
    let name = "a\u{1b}[31m<b>&\"'\u{0}\u{fffe}]]>.example";
    let mut evil = updated(
        finding(1, "high", "proven", &[]),
        &[
            ("name", name.into()),
            ("app", app("<x y=\"&\u{7}\">")),
            ("process", json!({"pid": 1, "exe": "/a b/\u{fc}#?%"})),
        ],
    );
    evil["update"] = false.into();
    let loss = json!({"v": 1, "type": "loss", "ts": at(3), "events": 5, "queries": 2, "since": at(2), "where": "ring-buffer"});
    let contents = contents(&[vec![
        query(1, "dig", "10.0.0.1", "no-proxy"),
        evil,
        finding(2, "low", "observed", &[]),
        loss,
        summary(),
    ]]);

    let xml = junit::text(&contents, "sh -c '<&>'");
    let report = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    let suite = &report.test_suites[0];
    assert_eq!(suite.name.as_str(), "sh -c '<&>'");
    // Two leaks; dig, which has none; and what was lost.
    assert_eq!((suite.tests, suite.failures, suite.errors), (4, 2, 1));
    assert!(
        suite.test_cases[0].name.as_str().contains("<b>&\"'"),
        "{xml}"
    );
    assert!(!xml.contains(['\u{1b}', '\u{0}', '\u{7}']), "{xml}");

    let sarif: Value = serde_json::from_str(&sarif::text(&contents, "x")).unwrap();
    let run = &sarif["runs"][0];
    assert_eq!(run["invocations"][0]["executionSuccessful"], false);
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    assert_eq!(results[0]["properties"]["name"], name);
    assert_eq!(
        results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
        "file:///a%20b/%C3%BC%23%3F%25"
    );
    assert_eq!(results[1]["level"], "note");
}
