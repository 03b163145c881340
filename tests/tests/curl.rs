//! curl, whose `socks5` and `socks5h` differ in nothing but who resolves: the smallest pair of a leak and none.

use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::lab::{DUAL, PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::output::evidence_text;
use leakmon_lab::{LIMIT, Lab, Leakmon, Run};
use std::time::Duration;

const URL: &str = "http://page.example/";

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["curl", "dig"])
        .build()
}

/// Fetches the page through the SOCKS server, `how` saying who resolves, and gives curl's process id.
fn fetch(lab: &Lab, how: &str) -> u32 {
    let proxy = format!("{}:{SOCKS_PORT}", SERVER.0);
    let (pid, curl) = lab.run("curl", &["-sS", "--max-time", "15", how, &proxy, URL]);
    assert!(
        curl.text().contains(PAGE_TEXT),
        "the page did not load: {curl:?}"
    );
    pid
}

/// A program without any proxy, beside the one that is watched for: it must stay out of the story.
fn ask_beside(lab: &Lab) -> u32 {
    let (pid, dig) = lab.run("dig", &["+short", DUAL, "A"]);
    assert!(dig.status.success(), "{dig:?}");
    pid
}

fn assert_dig_is_no_leak(run: &Run, dig: u32) {
    let state = run.final_state();
    let queries: Vec<_> = state.queries_of("dig").collect();
    assert_eq!(queries.len(), 1, "{}", run.said());
    assert_eq!(queries[0]["name"], DUAL);
    assert_eq!(queries[0]["process"]["pid"], dig);
    assert_eq!(queries[0]["verdict"], "no-proxy", "{}", queries[0]);
    assert_eq!(state.findings_for(DUAL).count(), 0, "{}", run.said());
}

#[test]
fn socks5_leaks_and_is_proven() {
    let Some(lab) = lab("curl_socks5") else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let dig = ask_beside(&lab);
    let curl = fetch(&lab, "--socks5");
    leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    leakmon.catch_up(&lab);
    leakmon.wait_for(LIMIT, |state| {
        state
            .queries_of("curl")
            .all(|query| query["verdict"] == "leak")
    });
    let run = leakmon.stop();
    let state = run.final_state();

    let log = lab.dns_log();
    assert!(
        asked(&log).contains_key(&(PAGE.to_owned(), "A".to_owned())),
        "curl did not leak: {log:?}"
    );
    assert!(
        same(&seen(state.queries()), &log),
        "asked {:#?}\n{}",
        asked(&log),
        run.said()
    );
    let mut from_curl = log.clone();
    from_curl.retain(|asked| asked.name == PAGE);
    let leaks = state
        .queries_of("curl")
        .filter(|query| query["verdict"] == "leak");
    assert!(
        same(&seen(leaks), &from_curl),
        "asked {:#?}\n{}",
        asked(&from_curl),
        run.said()
    );

    let proof = state
        .proof_for(PAGE)
        .unwrap_or_else(|| panic!("nothing proven for {PAGE}\n{}", run.said()));
    assert!(
        evidence_text(proof).contains(&PAGE_ADDRESS.to_string()),
        "{proof:#}"
    );
    assert_eq!(proof["app"]["name"], "curl", "{proof:#}");
    assert_eq!(proof["app"]["pid"], curl, "{proof:#}");
    assert_eq!(proof["proxy"]["scheme"], "socks5", "{proof:#}");
    assert_eq!(proof["proxy"]["addr"], SERVER.0.to_string(), "{proof:#}");
    assert_eq!(proof["proxy"]["port"], SOCKS_PORT, "{proof:#}");
    assert!(
        state.proxies().any(|proxy| proxy["protocol"] == "socks5"
            && proxy["target"]["addr"] == PAGE_ADDRESS.to_string()
            && proxy["accepted"] == true
            && proxy["process"]["pid"] == curl),
        "{}",
        run.said()
    );
    assert_dig_is_no_leak(&run, dig);
}

#[test]
fn socks5_hostname_does_not_leak() {
    let Some(lab) = lab("curl_socks5_hostname") else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let curl = fetch(&lab, "--socks5-hostname");
    leakmon.wait_for(LIMIT, |state| {
        state.proxies().any(|proxy| proxy["target"]["name"] == PAGE)
    });
    // Asked after curl: once it is listed, nothing of curl's can be under way any more.
    let dig = ask_beside(&lab);
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();

    assert!(
        state
            .proxies()
            .any(|proxy| proxy["target"]["name"] == PAGE && proxy["process"]["pid"] == curl),
        "the run was not observed\n{}",
        run.said()
    );
    assert!(
        lab.dns_log().iter().all(|asked| asked.name != PAGE),
        "curl asked: {:?}",
        lab.dns_log()
    );
    assert_eq!(state.queries_for(PAGE).count(), 0, "{}", run.said());
    assert_eq!(state.findings().count(), 0, "{}", run.said());
    assert_dig_is_no_leak(&run, dig);
}

/// Watches for a few seconds while curl fetches the page. The exit code is the verdict that a script goes by.
fn bounded_run(lab: &Lab, how: &str) -> Run {
    let leakmon = Leakmon::watch(lab, &["--duration", "6s"]);
    fetch(lab, how);
    leakmon.wait_end(Duration::from_secs(30))
}

#[test]
fn a_bounded_run_with_a_leak_exits_with_1() {
    let Some(lab) = lab("curl_duration_leak") else {
        return;
    };
    let run = bounded_run(&lab, "--socks5");
    assert_eq!(run.code, Some(1), "{}", run.said());
    assert_eq!(
        run.lines.last().map(|line| &line["type"]),
        Some(&"summary".into()),
        "{}",
        run.said()
    );
}

#[test]
fn a_bounded_run_without_a_leak_exits_with_0() {
    let Some(lab) = lab("curl_duration_clean") else {
        return;
    };
    let run = bounded_run(&lab, "--socks5-hostname");
    assert!(
        run.final_state().proxies().next().is_some(),
        "the run was not observed\n{}",
        run.said()
    );
    assert_eq!(run.code, Some(0), "{}", run.said());
    assert_eq!(
        run.lines.last().map(|line| &line["type"]),
        Some(&"summary".into()),
        "{}",
        run.said()
    );
}
