//! Names that must never leave the machine: whoever asks DNS for them, it is a leak.

use leakmon_lab::browser::Stay;
use leakmon_lab::{Chromium, LIMIT, Lab, Leakmon, tor};

const ONION: &str = "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion";
const I2P: &str = "stats.i2p";

#[test]
fn onion_and_i2p_names_are_critical_findings() {
    let Some(lab) = Lab::builder("special_names").needs(&["dig"]).build() else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let (pid, _) = lab.run("dig", &["+tries=1", ONION, "A"]);
    let _ = lab.run("dig", &["+tries=1", I2P, "A"]);
    let _ = lab.run("dig", &["+tries=1", "onion.example", "A"]);
    for name in [ONION, I2P] {
        assert!(
            lab.wait_dns(LIMIT, |log| log.iter().any(|asked| asked.name == name)),
            "it did not leave: {:?}",
            lab.dns_log()
        );
    }
    leakmon.catch_up(&lab);
    leakmon.wait_for(LIMIT, |state| state.findings().count() >= 2);
    let run = leakmon.stop();
    let state = run.final_state();
    for name in [ONION, I2P] {
        let finding = state
            .findings_for(name)
            .next()
            .unwrap_or_else(|| panic!("nothing found for {name}\n{}", run.said()));
        assert_eq!(finding["kind"], "special-name", "{finding:#}");
        assert_eq!(finding["severity"], "critical", "{finding:#}");
        assert_eq!(finding["confidence"], "proven", "{finding:#}");
        assert_eq!(finding["app"]["name"], "dig", "{finding:#}");
        assert!(finding["proxy"].is_null(), "{finding:#}");
    }
    assert_eq!(
        state.findings_for(ONION).next().expect("seen")["process"]["pid"],
        pid
    );
    assert_eq!(state.findings().count(), 2, "{}", run.said());
    assert!(
        state
            .queries_for("onion.example")
            .all(|query| query["verdict"] == "no-proxy"),
        "{}",
        run.said()
    );
}

/// Over SOCKS4 a browser looks up even what only tor could find.
#[test]
fn chromium_that_is_given_an_onion_name_is_named() {
    let Some(lab) = Lab::builder("special_chromium")
        .tor()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let flag = format!("--proxy-server=socks4://127.0.0.1:{}", tor::PORT);
    let mut chromium = Chromium::stay(
        &lab,
        Stay {
            args: &[&flag],
            url: &format!("http://{ONION}/"),
            ..Stay::default()
        },
    );
    assert!(
        lab.wait_asked(ONION),
        "it did not leave: {:?}\n{}",
        lab.dns_log(),
        chromium.said()
    );
    leakmon.wait_for(LIMIT, |state| state.findings_for(ONION).next().is_some());
    chromium.close();
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();
    let finding = state
        .findings_for(ONION)
        .next()
        .unwrap_or_else(|| panic!("nothing found\n{}", run.said()));
    assert_eq!(finding["kind"], "special-name", "{finding:#}");
    assert_eq!(finding["severity"], "critical", "{finding:#}");
    assert_eq!(finding["app"]["name"], "Chromium", "{finding:#}");
    assert_eq!(finding["app"]["pid"], chromium.pid(), "{finding:#}");
    assert_eq!(finding["proxy"]["scheme"], "socks4", "{finding:#}");
    for query in state.queries_for(ONION) {
        assert_eq!(query["verdict"], "leak", "{query:#}");
    }
    assert_eq!(state.findings_for(ONION).count(), 1, "{}", run.said());
}
