//! `leakmon explain`: the chain of a finding from what was saved of a real run, as a recording and as JSON lines.

use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::program::Program;
use leakmon_lab::{Finished, LIMIT, Lab, Leakmon, leakmon};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Bytes of a recording before its first block: the magic and the version.
const HEADER: usize = 12;
/// What a terminal would turn red by, as curl is given it.
const HOSTILE: &str = "X-Evil: \x1b[31mred\u{202e}";

/// What was saved of a run of curl with `--socks5`, where curl looks up the name itself.
struct Saved {
    recording: PathBuf,
    json: PathBuf,
    finding: String,
}

fn save(lab: &Lab) -> Saved {
    let recording = lab.dir().join("run.leakmon");
    let agent = Leakmon::watch(lab, &["--record", text(&recording)]);
    let proxy = format!("{}:{SOCKS_PORT}", SERVER.0);
    let url = format!("http://{PAGE}/");
    let args = ["-sS", "--max-time", "15", "-H", HOSTILE, "--socks5"];
    let (_, curl) = lab.run("curl", &[&args[..], &[&proxy, &url]].concat());
    assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
    agent.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    agent.wait_answers(PAGE);
    agent.catch_up(lab);
    let run = agent.stop();
    let state = run.final_state();
    let proof = state
        .proof_for(PAGE)
        .unwrap_or_else(|| panic!("nothing was proven\n{}", run.said()));
    let json = lab.dir().join("run.json");
    fs::write(&json, &run.text).expect("a file can be written");
    Saved {
        recording,
        json,
        finding: proof["id"].as_str().expect("an id is text").to_owned(),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn explained(finding: &str, file: &Path) -> Finished {
    let finished = leakmon::run(&["explain", finding, text(file)]);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    finished
}

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["curl"])
        .build()
}

#[test]
fn a_recording_and_its_json_say_the_same() {
    let Some(lab) = lab("explain_same") else {
        return;
    };
    let saved = save(&lab);
    let from_recording = explained(&saved.finding, &saved.recording).text();
    let from_json = explained(&saved.finding, &saved.json).text();
    assert_eq!(from_recording, from_json);
    assert_in_order(&lab, &from_json);
    assert!(!from_json.contains(['\x1b', '\u{202e}']), "{from_json:?}");
    assert!(
        from_json.contains(r"X-Evil: \u{1b}[31mred\u{202e}"),
        "{from_json}"
    );

    let json = |file| leakmon::run(&["explain", "--json", &saved.finding, text(file)]);
    let objects = [json(&saved.recording), json(&saved.json)];
    assert_eq!(objects[0].text(), objects[1].text());
    assert_holds_the_chain(&objects[0].text());

    // What comes through a pipe is read only once.
    let pipe = format!(
        r#"cat "$1" | "{}" explain "$0" -"#,
        leakmon::binary().display()
    );
    for file in [&saved.recording, &saved.json] {
        let piped =
            Program::spawn(Command::new("sh").args(["-c", &pipe, &saved.finding, text(file)]))
                .finish(LIMIT);
        assert_eq!(piped.text(), from_json, "{piped:?}");
    }
}

/// The question, its answer, and the handshake that gave the answer away, as the servers saw them too.
fn assert_in_order(lab: &Lab, text: &str) {
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
    assert!(
        lab.socks_log().contains(&PAGE_ADDRESS.to_string()),
        "{}",
        lab.socks_log()
    );
    let timeline = text
        .split_once("what happened\n")
        .unwrap_or_else(|| panic!("no timeline in\n{text}"))
        .1;
    let address = PAGE_ADDRESS.to_string();
    let mut rest = timeline;
    for (source, words) in [
        ("query ", format!("asked A {PAGE} of {}:53", SERVER.0)),
        ("answer ", format!("A {PAGE}: {address}")),
        (
            "handshake ",
            format!("{address}:80: the address, not the name"),
        ),
        (
            "socks5 connect to ",
            format!("the address {address}, port 80; granted"),
        ),
        ("to stop it", String::new()),
    ] {
        let next = rest
            .lines()
            .position(|line| line.contains(source) && line.contains(&words));
        let next = next.unwrap_or_else(|| panic!("{source}{words:?} is not next in\n{text}"));
        let lines: Vec<&str> = rest.split_inclusive('\n').collect();
        let passed: usize = lines[..=next].iter().map(|line| line.len()).sum();
        rest = &rest[passed..];
    }
}

fn assert_holds_the_chain(text: &str) {
    let object: Value = serde_json::from_str(text).expect("it is JSON");
    assert_eq!(object["v"], 1);
    assert_eq!(object["finding"]["name"], PAGE);
    let ids: Vec<&Value> = list(&object, "queries").map(|query| &query["id"]).collect();
    let listed: Vec<&Value> = list(&object["finding"], "queries").collect();
    assert_eq!(ids, listed, "{object:#}");
    for id in ids {
        assert!(
            list(&object, "answers").any(|answer| answer["query"] == *id),
            "{object:#}"
        );
    }
    assert!(
        list(&object, "proxies").any(|proxy| proxy["target"]["addr"] == PAGE_ADDRESS.to_string()),
        "{object:#}"
    );
}

fn list<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object[key].as_array().into_iter().flatten()
}

#[test]
fn bad_input_is_one_line_and_exit_code_2() {
    let Some(lab) = lab("explain_bad_input") else {
        return;
    };
    let saved = save(&lab);
    let whole = explained(&saved.finding, &saved.json).text();
    let file = |name: &str, bytes: &[u8]| {
        let path = lab.dir().join(name);
        fs::write(&path, bytes).expect("a file can be written");
        path
    };
    let recording = fs::read(&saved.recording).expect("it was recorded");
    let json = fs::read(&saved.json).expect("it was saved");
    let lines = json.iter().filter(|&&byte| byte == b'\n').count();

    // What is before the damage is shown.
    let cut = file(
        "cut",
        &[&recording, &recording[HEADER..HEADER + 20]].concat(),
    );
    assert_fault(&saved.finding, &cut, "was cut off after", &whole);
    let damaged = file("damaged", &[&json, &b"{\"v\":1,\"ty"[..]].concat());
    let place = format!("line {}: cut off", lines + 1);
    assert_fault(&saved.finding, &damaged, &place, &whole);

    // Where nothing can be shown, nothing is.
    assert_fault(
        "f99",
        &saved.json,
        &format!("it has {} (curl, {PAGE})", saved.finding),
        "",
    );
    assert_fault("f99", &saved.recording, "has no finding f99", "");
    assert_fault("f99", &damaged, &place, "");
    assert_fault(
        "f99",
        &cut,
        "in what can be read of it (it was cut off after",
        "",
    );
    let other = file("other", b"\x1b[31mnothing of leakmon's\n");
    assert_fault("f1", &other, "is neither a recording", "");
    assert_fault("f1", &file("empty", b""), "is neither a recording", "");
    assert_fault("f1", lab.dir(), "is a directory", "");
    assert_fault("f1", &lab.dir().join("nowhere"), "no such file", "");
}

fn assert_fault(finding: &str, file: &Path, words: &str, shown: &str) {
    let finished = leakmon::run(&["explain", finding, text(file)]);
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert_eq!(
        finished.stderr.trim_end().lines().count(),
        1,
        "{finished:?}"
    );
    assert!(finished.stderr.contains(words), "{words}: {finished:?}");
    assert_eq!(finished.text(), shown);
}
