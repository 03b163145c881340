//! More queries than the ring buffer holds, while leakmon does not run: what it did not see, it counts.

use leakmon_lab::{LIMIT, Lab, Leakmon, program};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::time::Duration;

/// The program that sends.
const SEND: &str = env!("CARGO_BIN_EXE_leakmon-lab-send");
/// An address that nobody has: a server that answers would only make it slower.
const NOBODY: &str = "10.77.0.99";
/// Many times what fits into the ring buffer.
const COUNT: usize = 200_000;
/// It takes about two seconds.
const FLOOD_LIMIT: Duration = Duration::from_secs(60);

#[test]
fn what_is_not_seen_is_counted() {
    let Some(lab) = Lab::builder("flood").build() else {
        return;
    };
    lab.client().black_hole(NOBODY);
    let agent = Leakmon::watch(&lab, &[]);
    let flood = lab.hold(SEND, &["flood", NOBODY, "flood", &COUNT.to_string()]);
    program::signal_process(agent.pid(), Signal::STOP);
    let finished = flood.run(FLOOD_LIMIT);
    program::signal_process(agent.pid(), Signal::CONT);
    assert!(finished.status.success(), "{finished:?}");
    let sent: usize = finished.text().trim().parse().expect("a number");
    assert_eq!(sent, COUNT);

    agent.wait_for(LIMIT, |state| {
        state.lines().iter().any(|line| line["type"] == "loss")
    });
    let (_, after) = lab.run(SEND, &["udp-again", NOBODY, "after.example"]);
    assert!(after.status.success(), "{after:?}");
    agent.wait_for(LIMIT, |state| {
        state.queries_for("after.example").next().is_some()
    });
    let run = agent.stop();

    let state = run.final_state();
    let names: Vec<&str> = state
        .queries()
        .filter_map(|query| query["name"].as_str())
        .filter(|name| name.starts_with("flood"))
        .collect();
    let seen = names.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(seen, names.len(), "none is seen twice");
    let losses: Vec<_> = state
        .lines()
        .iter()
        .filter(|line| line["type"] == "loss")
        .collect();
    let lost: u64 = losses
        .iter()
        .filter_map(|loss| loss["queries"].as_u64())
        .sum();
    let lost_events: u64 = losses
        .iter()
        .filter_map(|loss| loss["events"].as_u64())
        .sum();
    let lost = usize::try_from(lost).expect("not that many");
    eprintln!("flood: {sent} sent, {seen} seen, {lost} lost: {losses:?}");
    assert!(lost > 0, "the flood was none");
    assert!(seen > 0, "nothing was seen");
    assert_eq!(
        state.queries_for("after.example").count(),
        1,
        "it sees again what comes after"
    );
    assert_eq!(
        run.lines
            .last()
            .and_then(|summary| summary["lost"].as_u64()),
        Some(lost_events),
        "the summary repeats it: queries, and what else happened on the machine meanwhile"
    );
    assert_eq!(seen + lost, sent, "{losses:?}");
}
