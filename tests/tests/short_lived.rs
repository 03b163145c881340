//! A process that has ended before anybody could look at it: what is not known of it is not made up, and nobody else pays.

use leakmon_lab::lab::{DUAL, PAGE};
use leakmon_lab::netns::INTERFACE;
use leakmon_lab::{LIMIT, Lab, Leakmon, wait};
use std::fs;

/// Asks for a name when a file is there, and ends.
const WAIT_AND_ASK: &str = "
import os, socket, sys, time
while not os.path.exists(sys.argv[1]): time.sleep(0.02)
socket.getaddrinfo('dual.example', 80)
";

/// Asks for a name, and stays.
const ASK_AND_STAY: &str =
    "import socket, time; socket.getaddrinfo('page.example', 80); time.sleep(1000)";

/// When a file is there, makes a copy of itself that asks for a name and ends; says the copy's process id.
const WAIT_AND_FORK: &str = "
import os, socket, sys, time
while not os.path.exists(sys.argv[1]): time.sleep(0.02)
child = os.fork()
if child == 0:
    socket.getaddrinfo('dual.example', 80)
    os._exit(0)
os.waitpid(child, 0)
print(child)
";

#[test]
fn a_copy_of_a_process_is_named_as_what_it_is_a_copy_of() {
    let Some(lab) = Lab::builder("short_lived_copy").needs(&["python3"]).build() else {
        return;
    };
    let go = lab.dir().join("go");
    let args = [
        "-c",
        WAIT_AND_FORK,
        go.to_str().expect("a path that is text"),
    ];
    // Before leakmon: it was never seen to start.
    let parent = lab.start("/usr/bin/python3", &args);
    let exe = fs::canonicalize("/usr/bin/python3").expect("python3 was found before");
    let becomes = wait::until_true(LIMIT, || {
        fs::read_link(format!("/proc/{}/exe", parent.pid())).is_ok_and(|now| now == exe)
    });
    assert!(becomes, "{}", parent.said());
    let agent = Leakmon::watch(&lab, &[]);
    let pid = parent.pid();
    let finished = agent.blindfold(|| {
        fs::write(&go, "").expect("a file can be written");
        parent.finish(LIMIT)
    });
    let child: u32 = finished.text().trim().parse().expect("the copy's id");
    agent.catch_up(&lab);
    let run = agent.stop();

    let state = run.final_state();
    assert!(state.queries_for(DUAL).next().is_some(), "{}", run.said());
    for query in state.queries_for(DUAL) {
        let process = &query["process"];
        assert_eq!(process["pid"], child, "{query:#}");
        assert_eq!(process["ppid"], pid, "{query:#}");
        assert_eq!(process["exe"], exe.to_str().expect("text"), "{query:#}");
        assert_eq!(process["cmdline"][2], WAIT_AND_FORK, "{query:#}");
    }
}

#[test]
fn a_process_that_was_another_program_before_is_not_taken_for_it() {
    let Some(lab) = Lab::builder("short_lived")
        .needs(&["dig", "getent"])
        .build()
    else {
        return;
    };
    let agent = Leakmon::watch(&lab, &[]);
    // A shell at first. Events come in order, so once dig is listed the shell is known to leakmon.
    let getent = lab.hold("getent", &["ahosts", DUAL]);
    let pid = getent.pid();
    let (_, dig) = lab.run("dig", &["+short", PAGE]);
    assert!(dig.status.success(), "{dig:?}");
    let listed = agent.wait_for(LIMIT, |state| state.queries_for(PAGE).next().is_some());
    assert!(listed, "{}", agent.stop().said());

    let finished = agent.blindfold(|| getent.run(LIMIT));
    assert!(finished.status.success(), "{finished:?}");
    agent.catch_up(&lab);
    let run = agent.stop();

    let state = run.final_state();
    assert!(state.queries_for(DUAL).next().is_some(), "{}", run.said());
    for query in state.queries_for(DUAL) {
        let process = &query["process"];
        assert_eq!(process["pid"], pid, "{query:#}");
        assert_eq!(process["thread"], "getent", "{query:#}");
        let app = query["app"]["name"].as_str().unwrap_or_default();
        assert!(app == "getent" || app.starts_with("process "), "{query:#}");
        let comm = &process["comm"];
        assert!(comm.is_null() || comm == "getent", "{query:#}");
        let exe = &process["exe"];
        assert!(
            exe.is_null() || exe.as_str().is_some_and(|exe| exe.ends_with("/getent")),
            "{query:#}"
        );
        let cmdline = &process["cmdline"];
        assert!(cmdline.is_null() || cmdline[0] == "getent", "{query:#}");
    }
}

#[test]
fn one_that_ended_too_early_costs_later_ones_nothing() {
    let Some(lab) = Lab::builder("short_lived_interface")
        .needs(&["dig", "python3"])
        .build()
    else {
        return;
    };
    let agent = Leakmon::watch(&lab, &[]);
    let go = lab.dir().join("go");
    let args = [
        "-c",
        WAIT_AND_ASK,
        go.to_str().expect("a path that is text"),
    ];
    let early = lab.start("/usr/bin/python3", &args);
    let comm = format!("/proc/{}/comm", early.pid());
    let started = wait::until_true(LIMIT, || {
        fs::read_to_string(&comm).is_ok_and(|comm| comm.starts_with("python3"))
    });
    assert!(started, "{}", early.said());
    // Nobody answers there, and it is another interface; but once it is listed, leakmon knows the process.
    let _ = lab.run(
        "dig",
        &["+tries=1", "+time=1", "@127.0.0.1", "mark.example"],
    );
    let listed = agent.wait_for(LIMIT, |state| {
        state.queries_for("mark.example").next().is_some()
    });
    assert!(listed, "{}", agent.stop().said());
    agent.blindfold(|| {
        fs::write(&go, "").expect("a file can be written");
        assert!(early.finish(LIMIT).status.success());
    });

    let _later = lab.start("/usr/bin/python3", &["-c", ASK_AND_STAY]);
    agent.wait_for(LIMIT, |state| state.queries_for(PAGE).next().is_some());
    let run = agent.stop();
    let state = run.final_state();
    let early = state.queries_for(DUAL).next();
    assert!(
        early.is_some_and(|query| query["process"]["comm"] == "python3"),
        "{}",
        run.said()
    );
    let later = state.queries_for(PAGE).next();
    assert!(
        later.is_some_and(|query| query["resolver"]["interface"] == INTERFACE),
        "{}",
        run.said()
    );
}
