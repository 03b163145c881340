use std::{
    io::{Seek, Write},
    path::Path,
};

use serde_json::{Value, json};

use super::*;

fn saved(lines: &[Value]) -> Saved {
    let mut file = tempfile::tempfile().unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file.rewind().unwrap();
    Saved::of(Path::new("x"), file).unwrap()
}

fn at(millis: u64) -> String {
    format!(
        "2026-03-01T10:00:{:02}.{:03}000000Z",
        millis / 1000,
        millis % 1000
    )
}

fn app() -> Value {
    json!({"name": "curl", "pid": 7})
}

fn process() -> Value {
    json!({
        "pid": 7, "start_time": at(0), "ppid": 1, "comm": "curl", "exe": "/usr/bin/curl",
        "cmdline": ["curl", "--socks5", "a b"], "uid": 0, "user": "root", "cgroup": null,
        "container": null, "unit": null, "netns": 1, "thread": "curl",
    })
}

fn query(id: &str, millis: u64, qtype: &str) -> Value {
    json!({
        "v": 1, "type": "query", "ts": at(millis), "id": id, "name": "page.example", "qtype": qtype,
        "transport": "udp", "resolver": {"addr": "10.0.0.1", "port": 53, "interface": "eth0", "process": null},
        "process": process(), "app": app(), "via": null, "escaped": true, "verdict": "leak",
        "explanation": "asked for the name itself",
    })
}

fn answer(query: &str, millis: u64, rcode: &str, addresses: &[&str]) -> Value {
    let latency = (rcode != "timeout").then_some(1000);
    json!({
        "v": 1, "type": "answer", "ts": at(millis), "query": query, "rcode": rcode,
        "addresses": addresses, "latency_us": latency,
    })
}

fn proxy(millis: u64, pid: u32, name: Option<&str>, addr: Option<&str>) -> Value {
    let mut process = process();
    process["pid"] = pid.into();
    json!({
        "v": 1, "type": "proxy", "ts": at(millis), "process": process,
        "app": {"name": "curl", "pid": pid}, "proxy": {"addr": "10.0.0.9", "port": 1080},
        "protocol": "socks5", "command": "connect",
        "target": {"name": name, "addr": addr, "port": 80}, "accepted": true,
    })
}

fn finding(id: &str, millis: u64, queries: &[&str]) -> Value {
    json!({
        "v": 1, "type": "finding", "ts": at(millis), "id": id, "kind": "self-resolution",
        "severity": "high", "confidence": "proven", "app": app(), "process": process(),
        "name": "page.example", "count": queries.len(), "queries": queries,
        "proxy": {"scheme": "socks5", "addr": "10.0.0.9", "port": 1080, "resolves": "local"},
        "evidence": [
            {"ts": null, "source": "command-line", "detail": "--socks5 10.0.0.9"},
            {"ts": at(1), "source": "query", "detail": "asked A page.example of 10.0.0.1:53 over udp"},
            {"ts": at(2), "source": "answer", "detail": "A page.example: 10.0.0.80, after 1.0 ms"},
            {"ts": at(3), "source": "handshake", "detail": "gave 10.0.0.9:1080 the address"},
        ],
        "advice": "use socks5h",
    })
}

/// A run: two questions, of which one is not answered, the proof, and requests that do not belong to it.
fn run() -> Vec<Value> {
    let mut changed = query("q1", 1, "A");
    changed["update"] = true.into();
    changed["explanation"] = "now it is sure".into();
    let mut later = finding("f1", 3, &["q1", "q2"]);
    later["update"] = true.into();
    vec![
        query("q1", 1, "A"),
        query("q2", 1, "AAAA"),
        query("q3", 1, "TXT"),
        answer("q1", 2, "NOERROR", &["10.0.0.80"]),
        finding("f1", 2, &["q1"]),
        changed,
        proxy(3, 7, None, Some("10.0.0.80")),
        proxy(4, 8, None, Some("10.0.0.80")),
        proxy(5, 7, None, Some("10.0.0.81")),
        proxy(1500, 7, Some("PAGE.example."), None),
        later,
        finding("f2", 9, &["q3"]),
        answer("q2", 10_001, "timeout", &[]),
    ]
}

fn chain(lines: &[Value], id: &str) -> Option<Chain> {
    let saved = saved(lines);
    let (search, fault) = Search::through(&saved, id).unwrap();
    assert!(fault.is_none(), "{fault:?}");
    let (chain, fault) = Chain::of(&saved, search.found?, None).unwrap();
    assert!(fault.is_none(), "{fault:?}");
    Some(chain)
}

fn text(chain: &Chain) -> String {
    let mut out = Vec::new();
    words::write(&mut out, chain, false).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_chain_is_what_belongs_to_the_finding_in_its_order() {
    let chain = chain(&run(), "f1").unwrap();
    let json = chain.json();
    let ids = |what: &str, id: &str| -> Vec<Value> {
        json[what]
            .as_array()
            .unwrap()
            .iter()
            .map(|value| value[id].clone())
            .collect()
    };
    assert_eq!(ids("queries", "id"), ["q1", "q2"]);
    assert_eq!(json["queries"][0]["explanation"], "now it is sure");
    assert_eq!(ids("answers", "query"), ["q1", "q2"]);
    assert_eq!(ids("proxies", "ts"), [at(3), at(1500)]);
    assert_eq!(json["finding"]["queries"], json!(["q1", "q2"]));

    let text = text(&chain);
    let order = [
        "told beforehand",
        "--socks5 10.0.0.9",
        "+0.0 ms  query      asked A page.example of",
        "q1: A page.example to 10.0.0.1:53 over udp through eth0; it left the machine",
        "leak: now it is sure",
        "+0.0 ms  query      asked AAAA page.example",
        "+1.0 ms  answer     A page.example: 10.0.0.80",
        "q1 (A page.example): NOERROR 10.0.0.80, after 1.0 ms",
        "+2.0 ms  handshake  gave 10.0.0.9:1080",
        "socks5 connect to 10.0.0.9:1080: the address 10.0.0.80, port 80; granted",
        "+1.499 s  proxy      socks5 connect to 10.0.0.9:1080: the name PAGE.example., port 80",
        "+10.000 s  answer     q2 (AAAA page.example): no answer came (timeout)",
        "to stop it",
        "use socks5h",
    ];
    let mut rest = text.as_str();
    for piece in order {
        let place = rest.find(piece);
        rest = &rest[place.unwrap_or_else(|| panic!("{piece:?} is not next in\n{text}"))..];
    }
    assert!(text.contains("curl --socks5 'a b'"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn colour_is_around_the_words_and_not_instead_of_them() {
    let chain = chain(&run(), "f1").unwrap();
    let mut out = Vec::new();
    words::write(&mut out, &chain, true).unwrap();
    let colored = String::from_utf8(out).unwrap();
    let mut plain = colored.clone();
    for code in ["\x1b[1;31m", "\x1b[1m", "\x1b[2m", "\x1b[0m"] {
        plain = plain.replace(code, "");
    }
    assert_ne!(plain, colored);
    assert_eq!(plain, text(&chain));
}

#[test]
fn nothing_hostile_reaches_the_terminal() {
    const EVIL: &str = "a\x1b[31m\n\u{202e}b\u{9b}c";
    fn spoil(value: &mut Value) {
        match value {
            Value::String(text) if text.parse::<Timestamp>().is_err() && !text.starts_with('q') => {
                text.push_str(EVIL);
            }
            Value::Array(values) => values.iter_mut().for_each(spoil),
            Value::Object(values) => values.values_mut().for_each(spoil),
            _ => {}
        }
    }
    use crate::time::Timestamp;
    let mut evil = finding("f1", 3, &["q1"]);
    let mut asked = query("q1", 1, "A");
    for value in [&mut evil, &mut asked] {
        let kind = value["type"].clone();
        let id = value["id"].clone();
        spoil(value);
        value["type"] = kind;
        value["id"] = id;
    }
    let chain = chain(&[asked, evil], "f1").unwrap();
    let text = text(&chain);
    assert!(
        text.contains(r"page.examplea\u{1b}[31m\u{a}\u{202e}b\u{9b}c"),
        "{text}"
    );
    assert!(
        text.chars()
            .all(|c| c == '\n' || c.is_ascii_graphic() || c == ' '),
        "{text:?}"
    );
    let mut line = Vec::new();
    json::write_line(&mut line, &chain.json()).unwrap();
    assert!(
        line.trim_ascii_end()
            .iter()
            .all(|byte| (b' '..=b'~').contains(byte))
    );
}

#[test]
fn what_is_not_there_is_answered_by_what_is() {
    let search = |lines: &[Value]| {
        let (search, _) = Search::through(&saved(lines), "f9").unwrap();
        assert!(search.found.is_none());
        search.others.words()
    };
    assert_eq!(search(&[query("q1", 1, "A")]), "it has none");
    assert_eq!(
        search(&run()),
        "it has f1 (curl, page.example), f2 (curl, page.example)"
    );
    let many: Vec<Value> = (10..30)
        .map(|n| finding(&format!("f{n}"), 1, &[]))
        .collect();
    assert!(search(&many).ends_with(", f17 (curl, page.example) and 12 more"));
}

#[test]
fn of_several_runs_it_is_the_last_ones() {
    let end = json!({
        "v": 1, "type": "summary", "ts": at(0), "apps": [], "findings": 1, "lost": 0, "unfollowed": 0, "undecoded": 0,
    });
    let mut first = run();
    first.push(end.clone());
    let mut other = query("q1", 20, "A");
    other["name"] = "other.example".into();
    first.extend([other, finding("f1", 21, &["q1"]), end]);
    let saved = saved(&first);
    let (search, _) = Search::through(&saved, "f1").unwrap();
    let found = search.found.unwrap();
    assert_eq!(found.runs, 2);
    let (chain, _) = Chain::of(&saved, found, None).unwrap();
    assert_eq!(chain.queries.len(), 1);
    assert_eq!(chain.queries[0].name, "other.example");
    assert!(chain.proxies.is_empty() && chain.answers.is_empty());
}

#[test]
fn what_is_missing_of_it_is_said() {
    let lines = [finding("f1", 1, &["q1", "q2"])];
    let text = text(&chain(&lines, "f1").unwrap());
    assert!(
        text.contains("2 of its 2 queries are not in what was saved"),
        "{text}"
    );
    let many: Vec<Value> = (0..40)
        .map(|n| proxy(n, 7, Some("page.example"), None))
        .collect();
    let lines = [&[finding("f1", 1, &[])], &many[..]].concat();
    let chain = chain(&lines, "f1").unwrap();
    assert_eq!((chain.proxies.len(), chain.more_proxies), (32, 8));
    assert!(super::tests::text(&chain).contains("and 8 more requests to proxies"));
}
