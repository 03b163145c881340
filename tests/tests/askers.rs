//! Who asked, on each way to a resolver: with kept answers, and with two programs that ask one name at once.

use leakmon_lab::lab::{PAGE_ADDRESS, PAGE_TEXT, SERVER};
use leakmon_lab::output::evidence_text;
use leakmon_lab::{Behind, Held, LIMIT, Lab, Leakmon, Program, Resolver, State};
use serde_json::Value;
use std::net::IpAddr;
use std::thread;

const NAME: &str = "both.example";
const URL: &str = "http://both.example/";
/// curl that resolves names itself, beside the lab's SOCKS server, and asks for no IPv6 address: that there is none is an
/// answer that is not kept.
const CURL: [&str; 7] = [
    "-4",
    "-sS",
    "--max-time",
    "15",
    "--socks5",
    "10.77.0.1:1080",
    URL,
];

/// The client's side, with or without a resolver.
enum Side<'lab> {
    Direct(&'lab Lab),
    Behind(Behind<'lab>),
}

impl Side<'_> {
    fn hold(&self) -> Held {
        match self {
            Self::Direct(lab) => lab.hold("curl", &CURL),
            Self::Behind(behind) => behind.hold("curl", &CURL),
        }
    }

    fn start(&self) -> Program {
        match self {
            Self::Direct(lab) => lab.start("curl", &CURL),
            Self::Behind(behind) => behind.start("curl", &CURL),
        }
    }
}

/// What leakmon says of the process's own questions for the name.
fn asked_by(state: &State, pid: u32) -> Vec<Value> {
    state
        .queries_for(NAME)
        .filter(|query| query["process"]["pid"] == pid)
        .cloned()
        .collect()
}

fn finding_about(state: &State, pid: u32) -> Option<Value> {
    state
        .findings_for(NAME)
        .find(|finding| finding["process"]["pid"] == pid)
        .cloned()
}

fn hold(scenario: &str, resolver: Option<Resolver>) {
    let programs = resolver.map_or(&[][..], Resolver::programs);
    let Some(lab) = Lab::builder(scenario)
        .record(NAME, &[IpAddr::V4(PAGE_ADDRESS)])
        .lasting(600)
        .socks()
        .web()
        .needs(programs)
        .needs(&["curl"])
        .build()
    else {
        return;
    };
    let side = match resolver {
        None => Side::Direct(&lab),
        Some(resolver) => Side::Behind(lab.behind(resolver)),
    };
    let by_tor = resolver == Some(Resolver::Tor);
    let leakmon = Leakmon::watch(&lab, &[]);

    // Two at once: neither has its answer before both have asked.
    let curls = [side.hold(), side.hold()];
    let pids = curls.each_ref().map(Held::pid);
    thread::scope(|scope| {
        let running: Vec<_> = lab.while_dns_waits(|| {
            let running = curls.map(|curl| scope.spawn(|| curl.run(LIMIT))).into();
            leakmon.wait_for(LIMIT, |state| {
                pids.iter().all(|&pid| !asked_by(state, pid).is_empty())
            });
            running
        });
        for curl in running {
            let curl = curl.join().expect("it runs");
            assert!(by_tor || curl.text().contains(PAGE_TEXT), "{curl:?}");
        }
    });
    if !by_tor {
        leakmon.wait_for(LIMIT, |state| {
            pids.iter().all(|&pid| {
                finding_about(state, pid).is_some_and(|finding| finding["confidence"] == "proven")
            })
        });
    }
    let asked = lab.dns_log().len();

    // And a third, for which the answer is kept.
    let third = side.start();
    let late = third.pid();
    let third = third.finish(LIMIT);
    assert!(by_tor || third.text().contains(PAGE_TEXT), "{third:?}");
    let is_judged = |state: &State| {
        let asked = asked_by(state, late);
        !asked.is_empty() && asked.iter().all(|query| query["verdict"] != "unknown")
    };
    leakmon.wait_for(LIMIT, is_judged);
    let run = leakmon.stop();
    let state = run.final_state();

    for pid in pids {
        let own = asked_by(&state, pid);
        assert!(!own.is_empty(), "{pid} is not named\n{}", run.said());
        let finding = finding_about(&state, pid);
        if by_tor {
            assert!(finding.is_none(), "{}", run.said());
            assert!(own.iter().all(|query| query["verdict"] == "explained"));
            continue;
        }
        let finding = finding.unwrap_or_else(|| panic!("{pid} is not found\n{}", run.said()));
        assert_eq!(finding["confidence"], "proven", "{}", run.said());
        assert!(own.iter().all(|query| query["escaped"] == true), "{own:#?}");
        let evidence = evidence_text(&finding);
        assert!(
            evidence.contains(&format!("{}:53 over udp through lab0", SERVER.0)),
            "{evidence}"
        );
    }
    let own = asked_by(&state, late);
    assert!(!own.is_empty(), "{late} is not named\n{}", run.said());
    let Side::Behind(behind) = &side else {
        assert!(finding_about(&state, late).is_some(), "{}", run.said());
        return;
    };
    assert_eq!(lab.dns_log().len(), asked, "the answer was not kept");
    assert!(finding_about(&state, late).is_none(), "{}", run.said());
    for query in own {
        assert_eq!(query["verdict"], "explained", "{query:#}");
        assert_eq!(query["escaped"], false, "{query:#}");
        let why = query["explanation"].as_str().unwrap_or_default();
        assert!(by_tor || why.starts_with("contained"), "{why}");
    }
    for query in state.queries_for(NAME) {
        if query["resolver"]["interface"] != "lab0" {
            let is_known = [
                Some(behind.pid()),
                behind.upstream().map(|other| other.pid()),
            ]
            .contains(
                &query["via"]["pid"]
                    .as_u64()
                    .and_then(|pid| u32::try_from(pid).ok()),
            );
            assert!(is_known, "{query:#}");
        }
    }
    // The resolvers' own packets are nobody's leak.
    assert_eq!(
        state.findings().count(),
        if by_tor { 0 } else { 2 },
        "{}",
        run.said()
    );
}

#[test]
fn straight_to_the_server() {
    hold("askers_direct", None);
}

#[test]
fn on_the_stub_of_resolved() {
    hold("askers_stub", Some(Resolver::ResolvedStub));
}

#[test]
fn by_nss_resolve() {
    hold("askers_varlink", Some(Resolver::Resolved));
}

#[test]
fn of_nscd() {
    hold("askers_nscd", Some(Resolver::Nscd { shared: false }));
}

#[test]
fn of_dnsmasq() {
    hold("askers_dnsmasq", Some(Resolver::Dnsmasq));
}

#[test]
fn of_unbound() {
    hold("askers_unbound", Some(Resolver::Unbound));
}

#[test]
fn of_dnsmasq_that_asks_unbound() {
    hold("askers_chain", Some(Resolver::DnsmasqToUnbound));
}

#[test]
fn of_tor() {
    hold("askers_tor", Some(Resolver::Tor));
}
