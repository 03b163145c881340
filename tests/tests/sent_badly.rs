//! Messages that are broken or hostile, and queries that nobody answers.

use leakmon_lab::lab::{PAGE, SERVER};
use leakmon_lab::sent::{Expected, Trial, said_by};
use leakmon_lab::{LIMIT, Lab, Leakmon, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// The program that sends.
const SEND: &str = env!("CARGO_BIN_EXE_leakmon-lab-send");
/// An address that nobody has.
const NOBODY: &str = "10.77.0.99";
/// What a stub resolver waits at most, and so leakmon (resolv.conf(5)).
const TIMEOUT: Duration = Duration::from_secs(10);

/// Messages without a question that could be read.
const HOSTILE: [&str; 14] = [
    "no-question",
    "pointer-to-itself",
    "pointer-loop",
    "pointer-forward",
    "pointer-outside",
    "label-0x40",
    "label-0x80",
    "label-too-long",
    "name-too-long",
    "cut-in-the-name",
    "cut-in-the-type",
    "cut-in-the-header",
    "one-byte",
    "noise",
];

#[test]
fn hostile_messages_are_counted_and_change_nothing() {
    let Some(lab) = Lab::builder("sent_hostile").needs(&["dig"]).build() else {
        return;
    };
    // The name server would answer some of them, and its answers are as hard to read.
    lab.client().black_hole(NOBODY);
    let agent = Leakmon::watch(&lab, &[]);
    for kind in HOSTILE {
        let (_, finished) = lab.run(SEND, &["udp-raw-bytes", NOBODY, kind, "hostile.example"]);
        assert!(finished.status.success(), "{kind}: {finished:?}");
    }
    let (pid, dig) = lab.run("dig", &["+short", PAGE]);
    assert!(dig.status.success(), "{dig:?}");
    agent.wait_for(LIMIT, |state| state.queries_for(PAGE).next().is_some());
    let run = agent.stop();

    assert_eq!(run.code, Some(0), "{}", run.said());
    let state = run.final_state();
    let queries: Vec<&Value> = state.queries().collect();
    assert_eq!(queries.len(), 1, "{}", run.said());
    assert_eq!(queries[0]["name"], PAGE, "{}", run.said());
    assert_eq!(queries[0]["process"]["pid"], pid, "{}", run.said());
    let summary = run.lines.last().expect("there is a summary");
    assert_eq!(summary["undecoded"], HOSTILE.len(), "{}", run.said());
    assert_eq!(summary["lost"], 0, "{}", run.said());
}

#[test]
fn a_compressed_question_is_read() {
    let Some(lab) = Lab::builder("sent_compressed").build() else {
        return;
    };
    let args = [
        "udp-raw-bytes",
        &SERVER.0.to_string(),
        "compressed",
        "compressed.example",
    ];
    let trial = Trial::of(&lab, SEND, &args, false);
    wait::until_true(LIMIT, || !lab.dns_log().is_empty());
    trial.assert_arrived(&lab.dns_log(), "A");
    let expected = Expected {
        answered: false,
        ..Expected::plain()
    };
    trial.assert_seen(SEND, &expected);
}

/// RFC 9619 forbids it, and resolvers refuse it; a listener on the way reads both names all the same.
#[test]
fn two_questions_in_one_message_are_two_queries() {
    let Some(lab) = Lab::builder("sent_two").build() else {
        return;
    };
    lab.client().black_hole(NOBODY);
    let agent = Leakmon::watch(&lab, &[]);
    let (pid, finished) = lab.run(
        SEND,
        &["udp-raw-bytes", NOBODY, "two-questions", "first.example"],
    );
    assert!(finished.status.success(), "{finished:?}");
    agent.wait_for(LIMIT, |state| state.queries().count() >= 2);
    let run = agent.stop();
    let state = run.final_state();
    let names: Vec<_> = state.queries().map(|query| query["name"].clone()).collect();
    assert_eq!(
        names,
        ["first.example", "other.first.example"],
        "{}",
        run.said()
    );
    for query in state.queries() {
        assert_eq!(query["process"]["pid"], pid, "{}", run.said());
    }
}

/// The same message twice on the same socket, because no answer comes: one query, which is told to have had none.
#[test]
fn a_repetition_is_no_query_and_silence_is_told() {
    let Some(lab) = Lab::builder("sent_again").build() else {
        return;
    };
    lab.client().black_hole(NOBODY);
    let agent = Leakmon::watch(&lab, &[]);
    let (_, finished) = lab.run(SEND, &["udp-again", NOBODY, "again.example"]);
    assert!(finished.status.success(), "{finished:?}");
    let sent = said_by(&finished.text());
    let told = agent.wait_for(TIMEOUT + LIMIT, |state| {
        state
            .queries()
            .any(|query| state.answers_to(query).next().is_some())
    });
    let run = agent.stop();
    assert!(told, "{}", run.said());

    let state = run.final_state();
    let queries: Vec<&Value> = state.queries().collect();
    assert_eq!(queries.len(), 1, "{}", run.said());
    let names: BTreeSet<&str> = sent.keys().map(String::as_str).collect();
    assert!(
        names.contains(queries[0]["name"].as_str().unwrap_or_default()),
        "{}",
        run.said()
    );
    assert_eq!(
        queries[0]["process"]["pid"],
        sent["again.example"],
        "{}",
        run.said()
    );
    let answers: Vec<&Value> = state.answers_to(queries[0]).collect();
    assert_eq!(answers.len(), 1, "{}", run.said());
    assert_eq!(answers[0]["rcode"], "timeout", "{}", run.said());
    assert!(answers[0]["latency_us"].is_null(), "{}", run.said());
}
