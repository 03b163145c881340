//! Names of one label: what is typed into an address bar, machines nearby, and what Chromium asks by itself to see whether
//! answers are made up.

use leakmon_lab::browser::Stay;
use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::{Chromium, LIMIT, Lab, LabBuilder, Leakmon, tor};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// Of a length that could be a probe, and of one that could not.
const PRINTER: &str = "printer";
const NAS: &str = "nas";
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 83), Ipv4Addr::new(10, 77, 0, 84)];
const FLAG: &str = "--proxy-server=socks4://127.0.0.1:9050";

fn builder(scenario: &str) -> LabBuilder {
    assert!(FLAG.ends_with(&tor::PORT.to_string()));
    Lab::builder(scenario)
        .record(PRINTER, &[IpAddr::V4(ADDRESSES[0])])
        .record(NAS, &[IpAddr::V4(ADDRESSES[1])])
        .tor()
        .needs(&["chromium", "curl"])
}

/// What is said of the name itself.
fn words(finding: &Value) -> String {
    let evidence = finding["evidence"].as_array().expect("a list");
    let own: Vec<&Value> = evidence
        .iter()
        .filter(|piece| piece["source"] == "name")
        .collect();
    let [own] = own[..] else {
        panic!("not said once of the name: {finding:#}");
    };
    own["detail"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_machine_nearby_is_named_for_what_it_is() {
    let Some(lab) = builder("single_label").build() else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut chromium = Chromium::stay(
        &lab,
        Stay {
            args: &[FLAG],
            url: "http://printer/",
            ..Stay::default()
        },
    );
    chromium.open_further(&lab, "http://nas/");
    assert!(lab.wait_tor_warning(LIMIT), "{:?}", lab.tor_log());
    leakmon.wait_for(LIMIT, |state| {
        [PRINTER, NAS]
            .iter()
            .all(|name| state.proof_for(name).is_some())
    });
    chromium.close();
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();
    let log = lab.dns_log();
    assert!(lab.is_asked(PRINTER) && lab.is_asked(NAS), "{log:?}");
    assert!(
        same(&seen(state.queries()), &log),
        "asked {:#?}\n{}",
        asked(&log),
        run.said()
    );
    for (name, told) in [
        (PRINTER, "interception probe"),
        (NAS, "the name of a machine nearby"),
    ] {
        let proof = state
            .proof_for(name)
            .unwrap_or_else(|| panic!("{name} is not proven\n{}", run.said()));
        assert_eq!(proof["app"]["pid"], chromium.pid(), "{proof:#}");
        let words = words(proof);
        assert!(
            words.starts_with("a single label") && words.contains(told),
            "{words}"
        );
        assert!(words.contains("typed into the address bar"), "{words}");
    }
    assert_eq!(state.findings().count(), 2, "{}", run.said());
}

/// A name as Chromium makes them up (chrome/browser/intranet_redirect_detector/intranet_redirect_detector.cc).
fn may_be_probe(name: &str) -> bool {
    (7..=15).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// It asks for three names at random, some seconds after its start, where an administrator wants it: seen with 156 with this
/// value of this policy only, and not by `DNSInterceptionChecksEnabled`.
#[test]
fn interception_probes_are_named_for_what_they_are() {
    let Some(lab) = builder("single_label_probes").build() else {
        return;
    };
    lab.client().write_below_etc(
        "chromium/policies/managed/lab.json",
        r#"{"IntranetRedirectBehavior": 3}"#,
    );
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut chromium = Chromium::stay(
        &lab,
        Stay {
            args: &[FLAG],
            chattering: true,
            url: "about:blank",
            ..Stay::default()
        },
    );
    let probes = || -> BTreeSet<String> {
        let log = lab.dns_log().into_iter();
        log.map(|asked| asked.name)
            .filter(|name| may_be_probe(name))
            .collect()
    };
    let probed = lab.wait_dns(3 * LIMIT, |_| probes().len() >= 3);
    assert!(probed, "{:?}\n{}", lab.dns_log(), chromium.said());
    leakmon.catch_up(&lab);
    leakmon.wait_for(LIMIT, |state| {
        probes()
            .iter()
            .all(|name| state.findings_for(name).next().is_some())
    });
    chromium.close();
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();
    for name in probes() {
        let finding = state
            .findings_for(&name)
            .next()
            .unwrap_or_else(|| panic!("nothing found for {name}\n{}", run.said()));
        assert_eq!(finding["app"]["pid"], chromium.pid(), "{finding:#}");
        let words = words(finding);
        assert!(words.contains("interception probe"), "{words}");
    }
}
