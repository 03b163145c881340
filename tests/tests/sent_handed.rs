//! A socket that one process made and connected, and another one sends with: the query is the sender's, or nobody's that
//! leakmon knows, and never the other's.

use leakmon_lab::lab::SERVER;
use leakmon_lab::sent::{Expected, Trial};
use leakmon_lab::{LIMIT, Lab, wait};

/// The program that sends.
const SEND: &str = env!("CARGO_BIN_EXE_leakmon-lab-send");
/// The program that forks without becoming another one.
const PYTHON: &str = "/usr/bin/python3";

/// A child that stays the same program sends on its parent's socket, and waits for the answer.
const FORK: &str = r#"
import os, socket, sys, time
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.connect((sys.argv[1], 53))
made.settimeout(5)
child = os.fork()
if child == 0:
    made.send(b"\x47\x11\x01\0\0\x01\0\0\0\0\0\0\x06forked\x07example\0\0\x01\0\x01")
    print(os.getpid(), "forked.example", flush=True)
    made.recv(4096)
    print("done", flush=True)
    while not os.path.exists(os.environ["LEAKMON_LAB_STAY"]):
        time.sleep(0.01)
else:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

/// Runs it under watch. The query is that of the child that says so, and not that of the process that was started.
fn assert_handed(scenario: &str, program: &str, args: &[&str]) {
    let Some(lab) = Lab::builder(scenario).needs(&["python3"]).build() else {
        return;
    };
    let trial = Trial::of(&lab, program, args, true);
    wait::until_true(LIMIT, || !lab.dns_log().is_empty());
    trial.assert_arrived(&lab.dns_log(), "A");
    assert!(
        trial.sent.values().all(|&pid| pid != trial.pid),
        "nothing was handed over: {trial:?}"
    );
    let executable = std::fs::canonicalize(program).expect("the program exists");
    let expected = Expected {
        thread: None,
        unknown_allowed: true,
        ..Expected::plain()
    };
    trial.assert_seen_by(
        executable.to_str().expect("a path that is text"),
        program,
        &expected,
    );
}

#[test]
fn inherited_by_a_child_that_is_another_program() {
    let args = ["inherited", &SERVER.0.to_string(), "inherited.example"];
    assert_handed("sent_inherited", SEND, &args);
}

#[test]
fn inherited_by_a_child_that_stays_the_same_program() {
    let args = ["-c", FORK, &SERVER.0.to_string()];
    assert_handed("sent_forked", PYTHON, &args);
}

#[test]
fn passed_over_a_unix_socket() {
    let args = ["passed", &SERVER.0.to_string(), "passed.example"];
    assert_handed("sent_passed", SEND, &args);
}
