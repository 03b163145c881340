//! Programs that were told to use a proxy and connect past it, those that seem to, and requests with a bare address. The web
//! server's log says from where a connection came: straight from the client, or from the proxy.

use leakmon_lab::browser::Stay;
use leakmon_lab::firefox::PATIENCE;
use leakmon_lab::lab::{CLIENT, PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::output::evidence_text;
use leakmon_lab::{Chromium, Finished, Firefox, LIMIT, Lab, Leakmon, Program, Run, State, wait};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const URL: &str = "http://page.example/";
/// A name that a program gives to its proxy and never asks for.
const NAMED: &str = "named.example";

fn lab(scenario: &str, needs: &[&'static str]) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .record(NAMED, &[PAGE_ADDRESS.into()])
        .needs(needs)
        .build()
}

fn proxy() -> String {
    format!("{}:{SOCKS_PORT}", SERVER.0)
}

/// Whether the web server was reached straight from the client.
fn is_straight(lab: &Lab) -> bool {
    let client = format!("{} - - ", CLIENT.0);
    lab.web_log().lines().any(|line| line.starts_with(&client))
}

fn page_of(finished: &Finished) {
    assert!(
        finished.text().contains(PAGE_TEXT),
        "the page did not load: {finished:?}"
    );
}

/// All that leakmon had to say, once it has seen every query.
fn end(lab: &Lab, leakmon: Leakmon) -> (Run, State) {
    leakmon.catch_up(lab);
    let run = leakmon.stop();
    let state = run.final_state();
    (run, state)
}

fn bypasses(state: &State) -> Vec<&Value> {
    state
        .findings()
        .filter(|finding| finding["kind"] == "proxy-bypass")
        .collect()
}

/// It passes SOCKS in the environment over: that is known of it, so it was told of no proxy, and nothing is found.
#[test]
fn aria2_goes_direct_by_what_is_known_of_it() {
    let Some(lab) = lab("past_aria2", &["aria2c"]) else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut command = lab.command("aria2c");
    command
        .env("all_proxy", format!("socks5://{}", proxy()))
        .env("ALL_PROXY", format!("socks5://{}", proxy()))
        .args(["--no-conf", "--out=page.html", URL]);
    let aria = Program::spawn(&mut command).finish(LIMIT);
    let page = fs::read_to_string(lab.dir().join("page.html")).unwrap_or_default();
    assert!(page.contains(PAGE_TEXT), "{aria:?}");
    assert!(is_straight(&lab), "{}", lab.web_log());
    assert_eq!(lab.socks_log(), "");
    let (run, state) = end(&lab, leakmon);
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
    for query in state.queries() {
        assert_eq!(query["verdict"], "no-proxy", "{query:#}");
    }
    assert_eq!(state.findings().count(), 0, "{}", run.said());
}

/// java.net.http takes no SOCKS proxy.
const FETCH: &str = r#"
import java.net.URI;
import java.net.http.*;

public class Fetch {
    public static void main(String[] args) throws Exception {
        System.out.println(HttpClient.newHttpClient()
            .send(HttpRequest.newBuilder(URI.create(args[0])).build(), HttpResponse.BodyHandlers.ofString())
            .body());
    }
}
"#;

#[test]
fn javas_new_client_goes_past_the_proxy() {
    // A program in one source file needs the compiler (JEP 330).
    let Some(lab) = lab("past_java", &["java", "javac"]) else {
        return;
    };
    let source = lab.dir().join("Fetch.java");
    fs::write(&source, FETCH).expect("a file can be written");
    let leakmon = Leakmon::watch(&lab, &[]);
    let java = lab.start(
        "java",
        &[
            &format!("-DsocksProxyHost={}", SERVER.0),
            source.to_str().expect("a path that is text"),
            URL,
        ],
    );
    let pid = java.pid();
    page_of(&java.finish(3 * LIMIT));
    assert!(is_straight(&lab), "{}", lab.web_log());
    assert_eq!(lab.socks_log(), "");
    leakmon.wait_for(LIMIT, |state| !bypasses(state).is_empty());
    let (run, state) = end(&lab, leakmon);
    let [bypass] = bypasses(&state)[..] else {
        panic!("not one\n{}", run.said());
    };
    assert_eq!(bypass["name"], PAGE, "{bypass:#}");
    assert_eq!(bypass["severity"], "high", "{bypass:#}");
    assert_eq!(bypass["confidence"], "configured", "{bypass:#}");
    assert_eq!(bypass["process"]["pid"], pid, "{bypass:#}");
    assert_eq!(bypass["proxy"]["addr"], SERVER.0.to_string(), "{bypass:#}");
    let evidence = evidence_text(bypass);
    assert!(
        evidence.contains(&format!("connected straight to {PAGE_ADDRESS}:80"))
            && evidence.contains("-DsocksProxyHost"),
        "{evidence}"
    );
    assert!(
        bypass["advice"].to_string().contains("past it"),
        "{bypass:#}"
    );
    // It asked for the name as well.
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
    let own = state
        .findings_for(PAGE)
        .any(|finding| finding["kind"] == "self-resolution");
    assert!(own, "{}", run.said());
}

#[test]
fn a_name_on_curls_list_is_no_bypass() {
    let Some(lab) = lab("past_noproxy", &["curl"]) else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let proxy = proxy();
    let fetch = |list: &str, url: &str| {
        let args = ["-sS", "--socks5-hostname", &proxy, "--noproxy", list, url];
        let (_, curl) = lab.run("curl", &args);
        page_of(&curl);
    };
    fetch(PAGE, URL);
    // An address may stand on the list as well.
    fetch("10.77.0.80", "http://10.77.0.80/");
    // And a range of them.
    fetch("10.77.0.0/24", "http://10.77.0.80/");
    assert!(is_straight(&lab), "{}", lab.web_log());
    assert_eq!(lab.socks_log(), "");
    let (run, state) = end(&lab, leakmon);
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
    for query in state.queries() {
        assert_eq!(query["verdict"], "explained", "{query:#}");
    }
    assert_eq!(state.findings().count(), 0, "{}", run.said());
}

/// A page that came through the proxy gives no finding, neither of it nor of anything that the browser does beside.
fn goes_through(lab: &Lab, leakmon: Leakmon, close: impl FnOnce()) {
    let given = |state: &State| state.proxies().any(|proxy| proxy["target"]["name"] == PAGE);
    assert!(lab.socks_log().contains(PAGE), "{}", lab.socks_log());
    assert!(
        leakmon.wait_for(LIMIT, given),
        "the run was not observed\n{}",
        leakmon.text()
    );
    close();
    assert!(!is_straight(lab), "{}", lab.web_log());
    let (run, state) = end(lab, leakmon);
    assert!(bypasses(&state).is_empty(), "{}", run.said());
    assert_eq!(state.findings_for(PAGE).count(), 0, "{}", run.said());
}

#[test]
fn chromium_goes_through_its_proxy_and_so_do_its_services() {
    let Some(lab) = lab("past_chromium", &["chromium"]) else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let flag = format!("--proxy-server=socks5://{}", proxy());
    let mut chromium = Chromium::stay(
        &lab,
        Stay {
            args: &[&flag],
            chattering: true,
            url: URL,
            ..Stay::default()
        },
    );
    assert!(
        wait::until_true(3 * LIMIT, || lab.web_log().contains("GET / ")),
        "the page was not asked for\n{}",
        chromium.said()
    );
    // The SOCKS server says nothing of names that it does not know.
    let serves = leakmon.wait_for(3 * LIMIT, |state| {
        state
            .proxies()
            .any(|proxy| proxy["target"]["name"].to_string().contains("google"))
    });
    assert!(serves, "its services asked for nothing\n{}", leakmon.text());
    goes_through(&lab, leakmon, || chromium.close());
    assert_eq!(lab.dns_log(), []);
}

#[test]
fn firefox_goes_through_its_proxy() {
    let Some(lab) = lab("past_firefox", &["firefox-esr"]) else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut firefox = Firefox::builder(&lab)
        .socks(&SERVER.0.to_string(), SOCKS_PORT, 5)
        .open(URL);
    let has_come = || lab.web_log().contains("GET / ");
    assert!(
        wait::until_true(PATIENCE, has_come),
        "the page was not asked for\n{}",
        firefox.said()
    );
    goes_through(&lab, leakmon, || firefox.close());
}

/// One site through the proxy by its name, and another by itself.
const SPLIT: &str = r#"
import socket, struct

def page(connection):
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    return connection.makefile().read()

proxied = socket.create_connection(("10.77.0.1", 1080))
proxied.sendall(b"\x05\x01\x00")
proxied.recv(2)
name = b"named.example"
proxied.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + struct.pack(">H", 80))
proxied.recv(10)
print(page(proxied))
print(page(socket.create_connection(("page.example", 80))))
"#;

#[test]
fn a_program_that_splits_by_itself_is_explained() {
    let Some(lab) = lab("past_split", &["python3"]) else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let (pid, split) = lab.run("/usr/bin/python3", &["-c", SPLIT]);
    assert_eq!(split.text().matches(PAGE_TEXT).count(), 2, "{split:?}");
    assert!(is_straight(&lab), "{}", lab.web_log());
    assert!(lab.socks_log().contains(NAMED), "{}", lab.socks_log());
    leakmon.wait_for(LIMIT, |state| {
        let mut queries = state.queries_for(PAGE);
        queries.all(|query| query["verdict"] == "explained")
    });
    let (run, state) = end(&lab, leakmon);
    assert!(
        lab.is_asked(PAGE) && !lab.is_asked(NAMED),
        "{:?}",
        lab.dns_log()
    );
    assert!(state.queries_for(PAGE).next().is_some(), "{}", run.said());
    for query in state.queries() {
        assert_eq!(query["process"]["pid"], pid, "{query:#}");
        assert_eq!(query["verdict"], "explained", "{query:#}");
        assert!(
            query["explanation"]
                .to_string()
                .contains(&format!("connected straight to {PAGE_ADDRESS}:80")),
            "{query:#}"
        );
    }
    for finding in state.findings() {
        assert_eq!(finding["kind"], "self-resolution", "{finding:#}");
        assert_eq!(finding["severity"], "low", "{finding:#}");
        assert_eq!(finding["confidence"], "observed", "{finding:#}");
        assert!(
            evidence_text(finding).contains("connected straight to"),
            "{finding:#}"
        );
    }
}

#[test]
fn an_address_in_a_url_is_noted_and_is_no_leak() {
    let Some(lab) = lab("past_literal", &["curl"]) else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &["--duration", "6s"]);
    let (pid, curl) = lab.run(
        "curl",
        &["-sS", "--socks5-hostname", &proxy(), "http://10.77.0.80/"],
    );
    page_of(&curl);
    assert!(
        lab.socks_log().contains(&PAGE_ADDRESS.to_string()),
        "{}",
        lab.socks_log()
    );
    let run = leakmon.wait_end(Duration::from_secs(30));
    let state = run.final_state();
    assert_eq!(lab.dns_log(), []);
    assert_eq!(state.queries().count(), 0, "{}", run.said());
    let findings: Vec<&Value> = state.findings().collect();
    let [finding] = findings[..] else {
        panic!("not one\n{}", run.said());
    };
    assert_eq!(finding["kind"], "literal-address", "{finding:#}");
    assert_eq!(finding["severity"], "low", "{finding:#}");
    assert_eq!(finding["name"], PAGE_ADDRESS.to_string(), "{finding:#}");
    assert_eq!(finding["process"]["pid"], pid, "{finding:#}");
    assert_eq!(run.code, Some(0), "{}", run.said());
}
