//! The shapes in which a query leaves: two in one system call, over TCP, over IPv6. Each is seen, and seen once.

use leakmon_lab::compare::{asked, asked_once, seen};
use leakmon_lab::lab::{DUAL, PAGE, SERVER};
use leakmon_lab::{Lab, Leakmon, Run};
use serde_json::Value;

/// Runs one program under watch. Gives what leakmon said, and the program's process id.
fn watched(lab: &Lab, program: &str, args: &[&str]) -> (Run, u32) {
    let leakmon = Leakmon::watch(lab, &[]);
    let (pid, finished) = lab.run(program, args);
    assert!(finished.status.success(), "{finished:?}");
    leakmon.catch_up(lab);
    [PAGE, DUAL]
        .iter()
        .for_each(|name| leakmon.wait_answers(name));
    (leakmon.stop(), pid)
}

/// These queries were seen, once each, by this program, just as the name server logged them.
fn assert_seen(
    lab: &Lab,
    run: &Run,
    program: &str,
    pid: u32,
    expected: &[(&str, &str)],
) -> Vec<Value> {
    let expected = expected
        .iter()
        .map(|(name, qtype)| (((*name).to_owned(), (*qtype).to_owned()), 1))
        .collect();
    let log = lab.dns_log();
    assert_eq!(
        asked_once(&log),
        expected,
        "{program} asked otherwise: {log:?}"
    );
    let state = run.final_state();
    let queries: Vec<Value> = state.queries().cloned().collect();
    assert_eq!(seen(queries.iter()), asked(&log), "{}", run.said());
    for query in &queries {
        assert_eq!(query["app"]["name"], program, "{query}");
        assert_eq!(query["app"]["pid"], pid, "{query}");
        assert_eq!(query["process"]["pid"], pid, "{query}");
        assert_eq!(query["process"]["comm"], program, "{query}");
        let exe = query["process"]["exe"].as_str().unwrap_or_default();
        assert!(exe.ends_with(&format!("/{program}")), "{query}");
        assert_eq!(query["process"]["cmdline"][0], program, "{query}");
        assert_eq!(query["process"]["uid"], 0, "{query}");
        assert_eq!(query["verdict"], "no-proxy", "{query}");
        assert_eq!(
            state.answers_to(query).count(),
            1,
            "not one answer to {query}\n{}",
            run.said()
        );
    }
    queries
}

#[test]
fn two_queries_in_one_system_call() {
    let Some(lab) = Lab::builder("shapes_getent").needs(&["getent"]).build() else {
        return;
    };
    let (run, pid) = watched(&lab, "getent", &["ahosts", DUAL]);
    let queries = assert_seen(&lab, &run, "getent", pid, &[(DUAL, "A"), (DUAL, "AAAA")]);
    assert!(
        queries.iter().all(|query| query["transport"] == "udp"),
        "{queries:#?}"
    );
}

#[test]
fn over_tcp() {
    let Some(lab) = Lab::builder("shapes_tcp").needs(&["dig"]).build() else {
        return;
    };
    let (run, pid) = watched(&lab, "dig", &["+tcp", PAGE, "A"]);
    let queries = assert_seen(&lab, &run, "dig", pid, &[(PAGE, "A")]);
    assert_eq!(queries[0]["transport"], "tcp", "{queries:#?}");
    assert_eq!(queries[0]["resolver"]["addr"], SERVER.0.to_string());
}

#[test]
fn over_ipv6() {
    let Some(lab) = Lab::builder("shapes_ipv6").needs(&["dig"]).build() else {
        return;
    };
    let (run, pid) = watched(&lab, "dig", &[&format!("@{}", SERVER.1), DUAL, "AAAA"]);
    let queries = assert_seen(&lab, &run, "dig", pid, &[(DUAL, "AAAA")]);
    assert_eq!(queries[0]["transport"], "udp", "{queries:#?}");
    assert_eq!(queries[0]["resolver"]["addr"], SERVER.1.to_string());
}

#[test]
fn over_tcp_and_ipv6() {
    let Some(lab) = Lab::builder("shapes_tcp_ipv6").needs(&["dig"]).build() else {
        return;
    };
    let (run, pid) = watched(&lab, "dig", &["+tcp", &format!("@{}", SERVER.1), DUAL, "A"]);
    let queries = assert_seen(&lab, &run, "dig", pid, &[(DUAL, "A")]);
    assert_eq!(queries[0]["transport"], "tcp", "{queries:#?}");
    assert_eq!(queries[0]["resolver"]["addr"], SERVER.1.to_string());
}
