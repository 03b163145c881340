//! The live view on a real terminal, driven by keys.

use leakmon_lab::lab::{DUAL, PAGE, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::tmux::{PROMPT, Terminal};
use leakmon_lab::{LIMIT, Lab, Leakmon, leakmon};
use std::path::PathBuf;

const URL: &str = "http://page.example/";

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["curl", "dig", "stty", "tmux"])
        .build()
}

/// Fetches the page through the SOCKS server, `how` saying who resolves.
fn fetch(lab: &Lab, how: &str) {
    let proxy = format!("{}:{SOCKS_PORT}", SERVER.0);
    let (_, curl) = lab.run("curl", &["-sS", "--max-time", "15", how, &proxy, URL]);
    assert!(curl.text().contains(PAGE_TEXT), "no page: {curl:?}");
}

fn ask(lab: &Lab) {
    let (_, dig) = lab.run("dig", &["+short", DUAL, "A"]);
    assert!(dig.status.success(), "{dig:?}");
}

/// A run with a leak that is proven, a program that leaves names to the proxy, and one without any proxy.
fn record(lab: &Lab) -> PathBuf {
    let file = lab.dir().join("run.leakmon");
    let path = file.to_str().expect("a path that is text");
    let agent = Leakmon::watch(lab, &["--record", path]);
    ask(lab);
    fetch(lab, "--socks5-hostname");
    fetch(lab, "--socks5");
    agent.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    agent.catch_up(lab);
    let run = agent.stop();
    assert!(
        run.final_state().proof_for(PAGE).is_some(),
        "{}",
        run.said()
    );
    file
}

#[test]
fn look() {
    let Some(lab) = lab("tui_look") else { return };
    let file = record(&lab);
    std::fs::copy(&file, "/tmp/tui-look.leakmon").unwrap();
    let _ = (
        leakmon::binary(),
        PROMPT,
        Terminal::open(&lab, (80, 24), &[]).text(),
    );
}
