//! What the README shows: Chromium over tor's SOCKS4 port, under `leakmon watch`. Prints exactly what leakmon writes.
//!
//! `sudo cargo run -p leakmon-lab --example demo`

use leakmon_lab::{Chromium, LIMIT, Lab, Leakmon, tor, wait};

fn main() {
    let Some(lab) = Lab::builder("demo").tor().needs(&["chromium"]).build() else {
        std::process::exit(2);
    };
    let leakmon = Leakmon::watch_as(&lab, &[]);
    let proxy = format!("--proxy-server=socks4://127.0.0.1:{}", tor::PORT);
    let mut chromium = Chromium::open(&lab, &[&proxy], "http://page.example/");
    let proven = wait::until_true(LIMIT, || leakmon.text().contains("[proven]"));
    chromium.close();
    let run = leakmon.stop();
    assert!(proven, "nothing was proven\n{}", run.said());
    print!("{}", run.text);
}
