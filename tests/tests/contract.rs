//! What others build upon: the schema of the JSON lines, and a terminal that hostile names cannot write to.

use jsonschema::Validator;
use leakmon_lab::lab::{DUAL, PAGE, SERVER, SOCKS_PORT};
use leakmon_lab::{LIMIT, Lab, Leakmon};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn schema() -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.schema.json");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a schema")
}

fn assert_valid(schema: &Validator, line: &Value) {
    let errors: Vec<String> = schema
        .iter_errors(line)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{line:#}\n{}", errors.join("\n"));
}

/// Each way of spoiling a line, with the line spoiled by it.
fn spoiled(line: &Value) -> Vec<(&'static str, Value)> {
    let with = |key: &str, value: Value| {
        let mut line = line.clone();
        line[key] = value;
        line
    };
    let without = |key: &str| {
        let mut line = line.clone();
        line.as_object_mut()
            .expect("a line is an object")
            .remove(key);
        line
    };
    let mut all = vec![
        ("no type", without("type")),
        ("an unknown type", with("type", json!("nonsense"))),
        ("no version", without("v")),
        ("another version", with("v", json!(2))),
    ];
    match line["type"].as_str() {
        Some("query") => all.extend([
            ("no name", without("name")),
            ("an unknown verdict", with("verdict", json!("maybe"))),
            ("an unknown transport", with("transport", json!("pigeon"))),
            ("a process that is no object", with("process", json!("dig"))),
            ("escaped as text", with("escaped", json!("yes"))),
        ]),
        Some("finding") => all.extend([
            ("an unknown confidence", with("confidence", json!("sure"))),
            ("no evidence", without("evidence")),
        ]),
        Some("proxy") => all.extend([
            ("an unknown protocol", with("protocol", json!("socks6"))),
            ("no target", without("target")),
        ]),
        Some("answer") => all.push(("addresses as text", with("addresses", json!("10.0.0.1")))),
        _ => {}
    }
    all
}

#[test]
fn every_line_is_valid_by_the_schema() {
    let Some(lab) = Lab::builder("contract_schema")
        .tor()
        .socks()
        .web()
        .needs(&["dig", "curl", "getent"])
        .build()
    else {
        return;
    };
    let schema = schema();
    let leakmon = Leakmon::watch(&lab, &[]);
    let (socks, url) = (
        format!("{}:{SOCKS_PORT}", SERVER.0),
        format!("http://{PAGE}/"),
    );
    for args in [
        &["dig", PAGE, "AAAA"][..],
        &["dig", "+tcp", PAGE, "TXT"],
        &["dig", "no-such-name.example"],
        &["dig", r"\027[31mevil\007.example"],
        &["getent", "ahosts", DUAL],
        &["curl", "-sS", "--max-time", "10", "--socks5", &socks, &url],
        &[
            "curl",
            "-sS",
            "--max-time",
            "10",
            "--socks5-hostname",
            &socks,
            &url,
        ],
        &[
            "curl",
            "-sS",
            "--max-time",
            "10",
            "--socks4",
            "127.0.0.1:9050",
            &url,
        ],
        &["curl", "-sS", "--max-time", "10", &url],
    ] {
        let _ = lab.run(args[0], &args[1..]);
    }
    leakmon.wait_for(LIMIT, |state| {
        state.queries().count() >= lab.dns_log().len() && state.proof_for(PAGE).is_some()
    });
    let run = leakmon.stop();

    let types: BTreeSet<&str> = run
        .lines
        .iter()
        .filter_map(|line| line["type"].as_str())
        .collect();
    for expected in ["query", "answer", "proxy", "finding", "summary"] {
        assert!(
            types.contains(expected),
            "the run was not busy enough: no {expected}\n{}",
            run.said()
        );
    }
    for line in &run.lines {
        assert_valid(&schema, line);
        for (how, spoiled) in spoiled(line) {
            assert!(
                !schema.is_valid(&spoiled),
                "the schema allows {how}: {spoiled}"
            );
        }
    }
    assert_updates_follow_what_they_update(&run.lines);
}

fn assert_updates_follow_what_they_update(lines: &[Value]) {
    let mut said = BTreeSet::new();
    for line in lines.iter().filter(|line| !line["id"].is_null()) {
        let which = (line["type"].to_string(), line["id"].to_string());
        let is_new = said.insert(which);
        assert_eq!(
            is_new,
            line["update"] != true,
            "an update of nothing, or a repetition that is none: {line}"
        );
    }
}

/// Everything that could move a terminal's cursor, colour it or ring its bell, other than the end of a line.
fn control_characters(text: &str) -> Vec<char> {
    text.chars()
        .filter(|character| character.is_control() && *character != '\n')
        .collect()
}

#[test]
fn a_name_from_the_wire_cannot_write_to_a_terminal() {
    let Some(lab) = Lab::builder("contract_hostile_name")
        .needs(&["dig"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch_as(&lab, &["--all"]);
    let _ = lab.run("dig", &[r"\027[31mevil\007\133\010\200.example"]);
    assert!(
        lab.wait_dns(LIMIT, |log| !log.is_empty()),
        "dig did not ask"
    );
    leakmon_lab::wait::until_true(LIMIT, || leakmon.text().contains("evil"));
    let run = leakmon.stop();

    assert_eq!(control_characters(&run.text), [], "{:?}", run.text);
    assert_eq!(control_characters(&run.stderr), [], "{:?}", run.stderr);
    let line = run.text.lines().find(|line| line.contains("evil"));
    let line = line.unwrap_or_else(|| panic!("the name is not recognisable\n{}", run.said()));
    assert!(line.contains("[31mevil"), "{line}");
    assert!(line.contains(".example"), "{line}");
}

#[test]
fn a_process_name_cannot_write_to_a_terminal() {
    let Some(lab) = Lab::builder("contract_hostile_process")
        .needs(&["dig"])
        .build()
    else {
        return;
    };
    // Fifteen bytes are what the kernel keeps of it.
    let evil = lab.dir().join("di\u{1b}[31mg\nrogue");
    fs::copy(
        leakmon_lab::need::find("dig").expect("it was found before"),
        &evil,
    )
    .expect("dig can be copied");
    let leakmon = Leakmon::watch_as(&lab, &["--all"]);
    let (_, dig) = lab.run(evil.to_str().expect("a path that is text"), &[PAGE]);
    assert!(dig.status.success(), "{dig:?}");
    assert!(lab.wait_dns(LIMIT, |log| !log.is_empty()), "it did not ask");
    leakmon_lab::wait::until_true(LIMIT, || leakmon.text().contains(PAGE));
    let run = leakmon.stop();

    assert_eq!(control_characters(&run.text), [], "{:?}", run.text);
    assert_eq!(control_characters(&run.stderr), [], "{:?}", run.stderr);
    let lines: Vec<&str> = run
        .text
        .lines()
        .filter(|line| line.contains(PAGE))
        .collect();
    assert!(
        lines.iter().any(|line| line.contains("rogue")),
        "the process is not recognisable\n{}",
        run.said()
    );
    let begins_afresh = run.text.lines().any(|line| line.starts_with("rogue"));
    assert!(
        !begins_afresh,
        "the process name has made a line of its own\n{}",
        run.said()
    );
}
