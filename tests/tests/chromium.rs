//! Chromium, the program for which leakmon was first written: over SOCKS4 it asks its own resolver for every name it
//! visits, over SOCKS5 it asks for none.

use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::netns::INTERFACE;
use leakmon_lab::output::evidence_text;
use leakmon_lab::{Chromium, LIMIT, Lab, Leakmon, State, tor};
use serde_json::Value;

const URL: &str = "http://page.example/";
const APP: &str = "Chromium";

/// Every query is Chromium's: sent by a process of its executable, which belongs to the browser that was started.
fn assert_attributed(queries: &[&Value], chromium: &Chromium) {
    for query in queries {
        assert_eq!(query["app"]["name"], APP, "{query}");
        assert_eq!(query["app"]["pid"], chromium.pid(), "{query}");
        assert_eq!(query["process"]["exe"], chromium.executable(), "{query}");
        let process = &query["process"];
        let is_network_service = process["cmdline"]
            .to_string()
            .contains("network.mojom.NetworkService");
        assert!(
            is_network_service || process["pid"] == chromium.pid(),
            "neither its network service nor itself: {query}"
        );
        assert_eq!(query["resolver"]["addr"], SERVER.0.to_string(), "{query}");
        assert_eq!(query["resolver"]["port"], 53, "{query}");
        assert_eq!(query["resolver"]["interface"], INTERFACE, "{query}");
        assert_eq!(query["escaped"], true, "{query}");
    }
}

/// Runs Chromium over tor's SOCKS4 port, and compares everything that leakmon said with the witnesses.
fn leaks_over_socks4(scenario: &str, open: fn(&Lab, &[&str], &str) -> Chromium) {
    let Some(lab) = Lab::builder(scenario).tor().needs(&["chromium"]).build() else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut chromium = open(&lab, &["--proxy-server=socks4://127.0.0.1:9050"], URL);

    assert!(
        lab.wait_tor_warning(LIMIT),
        "tor did not warn: {:#?}\n{}",
        lab.tor_log(),
        chromium.said()
    );
    leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    chromium.close();
    leakmon.catch_up(&lab);
    let leaks = |state: &State| {
        seen(
            state
                .queries_of(APP)
                .filter(|query| query["verdict"] == "leak"),
        )
    };
    let log = lab.dns_log();
    leakmon.wait_for(LIMIT, |state| same(&leaks(state), &log));
    let run = leakmon.stop();
    let state = run.final_state();

    assert!(
        asked(&log).contains_key(&(PAGE.to_owned(), "A".to_owned())),
        "Chromium did not leak: {log:?}"
    );
    assert!(
        same(&leaks(&state), &log),
        "leaks {:#?}\nasked {:#?}\n{}",
        leaks(&state),
        asked(&log),
        run.said()
    );
    let all: Vec<_> = state.queries().collect();
    assert!(
        same(&seen(all.iter().copied()), &log),
        "tor or others asked too?\n{}",
        run.said()
    );
    assert_attributed(&all, &chromium);

    let proof = state
        .proof_for(PAGE)
        .unwrap_or_else(|| panic!("nothing proven for {PAGE}\n{}", run.said()));
    let evidence = evidence_text(proof);
    assert!(
        evidence.contains(&PAGE_ADDRESS.to_string()),
        "the SOCKS request's address is not in: {proof:#}"
    );
    assert!(
        evidence.to_uppercase().contains("SOCKS4"),
        "the SOCKS request is not in: {proof:#}"
    );
    assert_eq!(proof["app"]["pid"], chromium.pid(), "{proof:#}");
    assert_eq!(proof["proxy"]["scheme"], "socks4", "{proof:#}");
    assert_eq!(proof["proxy"]["addr"], "127.0.0.1", "{proof:#}");
    assert_eq!(proof["proxy"]["port"], tor::PORT, "{proof:#}");
    assert_names_its_queries(&state, proof);
    assert!(
        state.proxies().any(|proxy| proxy["protocol"] == "socks4"
            && proxy["command"] == "connect"
            && proxy["target"]["addr"] == PAGE_ADDRESS.to_string()
            && proxy["target"]["port"] == 80
            && proxy["app"]["pid"] == chromium.pid()),
        "{}",
        run.said()
    );
}

/// A finding points at queries that were listed, and that were for its name.
fn assert_names_its_queries(state: &State, finding: &Value) {
    let ids = finding["queries"].as_array().expect("queries is a list");
    assert!(!ids.is_empty(), "{finding:#}");
    for id in ids {
        let query = state.queries().find(|query| query["id"] == *id);
        assert!(
            query.is_some_and(|query| query["name"] == finding["name"]),
            "{id} is not one of its queries: {finding:#}"
        );
    }
}

#[test]
fn over_socks4_every_query_is_a_leak_and_the_page_is_proven() {
    leaks_over_socks4("chromium_socks4", Chromium::open);
}

#[test]
fn over_socks4_the_names_of_its_own_services_leak_too() {
    leaks_over_socks4("chromium_socks4_chattering", Chromium::open_chattering);
}

/// Nothing was asked and nothing is found, though the page's request to the proxy was seen, with its name in it.
fn assert_clean(lab: &Lab, leakmon: Leakmon, chromium: &mut Chromium) {
    let request = |state: &State| {
        state.proxies().any(|proxy| {
            proxy["target"]["name"] == PAGE
                && proxy["protocol"] == "socks5"
                && proxy["app"]["pid"] == chromium.pid()
        })
    };
    leakmon.wait_for(LIMIT, request);
    let said = chromium.said();
    assert!(
        request(&leakmon.state()),
        "the run was not observed\n{said}\n{}",
        leakmon.stop().said()
    );
    chromium.close();
    leakmon.catch_up(lab);
    let run = leakmon.stop();
    let state = run.final_state();

    let log = lab.dns_log();
    assert!(
        log.iter().all(|asked| asked.name != PAGE),
        "Chromium asked for the page: {log:?}"
    );
    assert_eq!(state.queries_for(PAGE).count(), 0, "{}", run.said());
    assert_eq!(state.findings().count(), 0, "{}", run.said());
    assert!(
        same(&seen(state.queries()), &log),
        "{log:?}\n{}",
        run.said()
    );
}

#[test]
fn over_socks5_to_tor_the_page_is_not_asked_for() {
    let Some(lab) = Lab::builder("chromium_socks5_tor")
        .tor()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut chromium = Chromium::open(&lab, &["--proxy-server=socks5://127.0.0.1:9050"], URL);
    assert_clean(&lab, leakmon, &mut chromium);
    let warned = lab.tor_log().iter().any(|line| line.contains(tor::WARNING));
    assert!(!warned, "{:#?}", lab.tor_log());
}

#[test]
fn over_socks5_the_page_loads_and_is_not_asked_for() {
    let Some(lab) = Lab::builder("chromium_socks5_live")
        .socks()
        .web()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let proxy = format!("--proxy-server=socks5://{}:{SOCKS_PORT}", SERVER.0);
    let mut chromium = Chromium::open(&lab, &[&proxy], URL);
    assert!(
        chromium.wait_page(PAGE_TEXT, LIMIT),
        "the page did not load\n{}",
        chromium.said()
    );
    assert!(lab.socks_log().contains(PAGE), "{}", lab.socks_log());
    assert_clean(&lab, leakmon, &mut chromium);
}

#[test]
fn without_a_proxy_queries_are_listed_and_none_is_a_leak() {
    let Some(lab) = Lab::builder("chromium_direct")
        .web()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut chromium = Chromium::open(&lab, &[], URL);
    assert!(
        chromium.wait_page(PAGE_TEXT, LIMIT),
        "the page did not load\n{}",
        chromium.said()
    );
    chromium.close();
    leakmon.catch_up(&lab);
    leakmon.wait_answers(PAGE);
    let run = leakmon.stop();
    let state = run.final_state();

    let log = lab.dns_log();
    for qtype in ["A", "HTTPS"] {
        assert!(
            asked(&log).contains_key(&(PAGE.to_owned(), qtype.to_owned())),
            "no {qtype}: {log:?}"
        );
    }
    let all: Vec<_> = state.queries().collect();
    assert!(
        same(&seen(all.iter().copied()), &log),
        "asked {:#?}\n{}",
        asked(&log),
        run.said()
    );
    assert_attributed(&all, &chromium);
    assert!(
        all.iter().all(|query| query["verdict"] == "no-proxy"),
        "{}",
        run.said()
    );
    assert_eq!(state.findings().count(), 0, "{}", run.said());

    let query = all
        .iter()
        .find(|query| query["name"] == PAGE && query["qtype"] == "A")
        .expect("it was asked");
    let answer = state
        .answers_to(query)
        .next()
        .unwrap_or_else(|| panic!("no answer\n{}", run.said()));
    assert_eq!(answer["rcode"], "NOERROR", "{answer}");
    assert_eq!(
        answer["addresses"],
        serde_json::json!([PAGE_ADDRESS.to_string()]),
        "{answer}"
    );
}
