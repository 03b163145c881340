//! What a user narrows a watch down to: one process and what it starts, one program, or further ports.

use leakmon_lab::compare::{asked_once, same, seen};
use leakmon_lab::lab::{PAGE, PAGE_TEXT};
use leakmon_lab::{LIMIT, Lab, Leakmon, Run};
use serde_json::Value;
use std::collections::BTreeSet;

const INSIDE: [&str; 3] = ["one.example", "two.example", "three.example"];
const OUTSIDE: [&str; 2] = ["before.example", "after.example"];
const OTHER_PORT: u16 = 5300;

fn lab(scenario: &str) -> Option<Lab> {
    let names = INSIDE.iter().chain(&OUTSIDE);
    names
        .fold(Lab::builder(scenario), |lab, name| {
            lab.record(name, &[[10, 77, 0, 90].into()])
        })
        .needs(&["dig"])
        .build()
}

fn dig(lab: &Lab, args: &[&str]) -> u32 {
    let (pid, dig) = lab.run("dig", &[&["+short"], args].concat());
    assert!(
        dig.status.success() && !dig.text().trim().is_empty(),
        "{dig:?}"
    );
    pid
}

fn names(run: &Run) -> BTreeSet<String> {
    let state = run.final_state();
    let name = |query: &Value| query["name"].as_str().expect("a name is text").to_owned();
    state.queries().map(name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Nothing that was not listed as a query is told of in any other way.
fn assert_tells_of_nothing_else(run: &Run) {
    let state = run.final_state();
    let ids: BTreeSet<String> = state
        .queries()
        .map(|query| query["id"].to_string())
        .collect();
    for line in state.lines() {
        if line["type"] == "answer" {
            assert!(
                ids.contains(&line["query"].to_string()),
                "the answer to no listed query: {line}"
            );
        }
    }
}

#[test]
fn pid_is_the_process_and_what_it_starts() {
    let Some(lab) = lab("filters_pid") else {
        return;
    };
    // The second one is asked by a child's child, and all three by processes that do not exist yet.
    let script =
        "dig +short one.example; sh -c 'dig +short two.example; :'; dig +short three.example; :";
    let shell = lab.hold("sh", &["-c", script]);
    let leakmon = Leakmon::watch(&lab, &["--pid", &shell.pid().to_string()]);
    dig(&lab, &[OUTSIDE[0]]);
    let pid = shell.pid();
    let finished = shell.run(LIMIT);
    assert_eq!(finished.text().lines().count(), 3, "{finished:?}");
    // A run that is stopped still lists what the kernel has sent by then: what is not listed in the end never will be.
    dig(&lab, &[OUTSIDE[1]]);
    leakmon.wait_for(LIMIT, |state| state.queries().count() >= INSIDE.len());
    for name in INSIDE {
        leakmon.wait_answers(name);
    }
    let run = leakmon.stop();

    let log = lab.dns_log();
    assert_eq!(
        asked_once(&log).len(),
        INSIDE.len() + OUTSIDE.len(),
        "{log:?}"
    );
    assert_eq!(names(&run), set(&INSIDE), "{}", run.said());
    let state = run.final_state();
    assert!(
        state
            .queries()
            .all(|query| query["process"]["comm"] == "dig"),
        "{}",
        run.said()
    );
    let one = state.queries_for(INSIDE[0]).next().expect("it was seen");
    assert_eq!(one["process"]["ppid"], pid, "{one}");
    assert_tells_of_nothing_else(&run);
}

#[test]
fn pid_may_be_given_several_times() {
    let Some(lab) = lab("filters_pids") else {
        return;
    };
    let digs = INSIDE.map(|name| lab.hold("dig", &["+short", name]));
    let pids = digs.each_ref().map(|dig| dig.pid().to_string());
    let leakmon = Leakmon::watch(&lab, &["--pid", &pids[0], "--pid", &pids[2]]);
    for dig in digs {
        let finished = dig.run(LIMIT);
        assert!(finished.status.success(), "{finished:?}");
    }
    leakmon.wait_for(LIMIT, |state| state.queries().count() >= 2);
    let run = leakmon.stop();
    assert_eq!(names(&run), set(&[INSIDE[0], INSIDE[2]]), "{}", run.said());
    assert_tells_of_nothing_else(&run);
}

#[test]
fn app_is_a_program_by_its_name_whatever_the_case() {
    let Some(lab) = Lab::builder("filters_app")
        .web()
        .needs(&["curl", "dig"])
        .build()
    else {
        return;
    };
    let agents = ["dig", "DiG"].map(|name| Leakmon::watch(&lab, &["--app", name]));
    let (_, curl) = lab.run("curl", &["-sS", "--max-time", "10", "http://page.example/"]);
    assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
    let from_curl = lab.dns_log().len();
    assert!(from_curl > 0, "curl did not ask");
    let pid = dig(&lab, &[PAGE]);
    for agent in agents {
        agent.wait_for(LIMIT, |state| state.queries().next().is_some());
        let run = agent.stop();
        let state = run.final_state();
        let queries: Vec<&Value> = state.queries().collect();
        assert!(
            same(&seen(queries.iter().copied()), &lab.dns_log()[from_curl..]),
            "{}",
            run.said()
        );
        assert!(
            queries.iter().all(|query| query["process"]["pid"] == pid),
            "{}",
            run.said()
        );
        assert_tells_of_nothing_else(&run);
    }
}

#[test]
fn another_port_is_dns_only_when_it_was_given() {
    let Some(lab) = Lab::builder("filters_port")
        .dns_on(OTHER_PORT)
        .needs(&["dig"])
        .build()
    else {
        return;
    };
    let port = OTHER_PORT.to_string();
    let plain = Leakmon::watch(&lab, &[]);
    let told = Leakmon::watch(&lab, &["--port", &port]);
    dig(&lab, &["-p", &port, PAGE]);
    dig(&lab, &["-p", &port, "+tcp", PAGE]);
    dig(&lab, &[PAGE]);
    assert_eq!(
        (lab.dns_log().len(), lab.other_dns_log().len()),
        (1, 2),
        "{:?}\n{:?}",
        lab.dns_log(),
        lab.other_dns_log()
    );

    told.wait_for(LIMIT, |state| state.queries().count() >= 3);
    told.wait_answers(PAGE);
    let run = told.stop();
    assert_eq!(
        ports(&run),
        [
            (OTHER_PORT.into(), "udp".to_owned()),
            (OTHER_PORT.into(), "tcp".to_owned()),
            (53, "udp".to_owned())
        ],
        "{}",
        run.said()
    );
    let state = run.final_state();
    for query in state.queries() {
        assert_eq!(query["process"]["comm"], "dig", "{query}");
        assert_eq!(state.answers_to(query).count(), 1, "{}", run.said());
    }

    // The query to port 53 was the last one: once it is listed, nothing of the others is under way.
    plain.wait_for(LIMIT, |state| state.queries().next().is_some());
    let run = plain.stop();
    assert_eq!(ports(&run), [(53, "udp".to_owned())], "{}", run.said());
    assert_tells_of_nothing_else(&run);
}

/// The resolver's port and the transport of each query, in order.
fn ports(run: &Run) -> Vec<(u64, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = run.final_state();
    state
        .queries()
        .map(|query| {
            let port = query["resolver"]["port"].as_u64().unwrap_or_default();
            (port, text(&query["transport"]))
        })
        .collect()
}
