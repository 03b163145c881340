//! What the README shows: Chromium over tor's SOCKS4 port, under `leakmon watch`. Prints exactly what leakmon writes; with
//! `--view` the screen of the live view, with the escape sequences of its colours.
//!
//! `sudo cargo run -p leakmon-lab --example demo`; `cargo xtask picture` makes docs/leakmon.svg of `--view`.

use leakmon_lab::lab::DUAL;
use leakmon_lab::tmux::Terminal;
use leakmon_lab::{Chromium, LIMIT, Lab, Leakmon, leakmon, tor, wait};
use std::env;

/// Wide enough for a line of evidence, small enough for a page.
const SIZE: (u16, u16) = (100, 25);

const URL: &str = "http://page.example/";

fn main() {
    let needs = ["chromium", "curl", "getent", "tmux"];
    let Some(lab) = Lab::builder("demo").tor().needs(&needs).build() else {
        std::process::exit(2);
    };
    if env::args().any(|arg| arg == "--view") {
        print!("{}", view(&lab));
    } else {
        print!("{}", lines(&lab));
    }
}

fn browse(lab: &Lab) -> Chromium {
    let proxy = format!("--proxy-server=socks4://127.0.0.1:{}", tor::PORT);
    Chromium::open(lab, &[&proxy], URL)
}

fn lines(lab: &Lab) -> String {
    let leakmon = Leakmon::watch_as(lab, &[]);
    let mut chromium = browse(lab);
    let proven = wait::until_true(LIMIT, || leakmon.text().contains("[proven]"));
    chromium.close();
    let run = leakmon.stop();
    assert!(proven, "nothing was proven\n{}", run.said());
    run.text
}

fn view(lab: &Lab) -> String {
    let terminal = Terminal::open(lab, SIZE, &[]);
    terminal.run(&format!(
        "{} watch --cgroup {}",
        leakmon::binary().display(),
        lab.cgroup().display()
    ));
    terminal.wait_for("? help");
    // Two that do not leak: one without a proxy, and one that gives tor the name. That goes nowhere, so curl waits.
    let (_, getent) = lab.run("getent", &["ahostsv4", DUAL]);
    assert!(getent.status.success(), "{getent:?}");
    let socks4a = format!("socks4a://127.0.0.1:{}", tor::PORT);
    let _curl = lab.start("curl", &["--silent", "--proxy", &socks4a, URL]);
    terminal.wait_for("getent");
    terminal.wait_for("socks4a");
    let mut chromium = browse(lab);
    terminal.wait_for("proven");
    // The newest row is selected: its proof and the advice stand below.
    terminal.wait_for("to stop it");
    chromium.close();
    terminal.with_escapes()
}
