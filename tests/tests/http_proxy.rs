//! HTTP proxies: names and addresses given with CONNECT or as a whole URI are seen, and prove what SOCKS requests prove.

use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, PAGE_TEXT};
use leakmon_lab::program::Program;
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{LIMIT, Lab, Leakmon};
use std::fs;

const PORT: u16 = 8118;
const URL: &str = "http://page.example/";

/// A lab with the page and privoxy on the client's side, which reaches the page directly.
fn lab(scenario: &str) -> Option<(Lab, Program)> {
    let lab = Lab::builder(scenario)
        .web()
        .needs(&["curl", "privoxy"])
        .build()?;
    let config = lab.dir().join("privoxy.conf");
    fs::write(
        &config,
        format!(
            "listen-address 127.0.0.1:{PORT}\nconfdir {}\n",
            lab.dir().display()
        ),
    )
    .expect("a file can be written");
    let mut privoxy = lab.start(
        "privoxy",
        &["--no-daemon", config.to_str().expect("a path that is text")],
    );
    wait_listening(&mut privoxy, PORT);
    Some((lab, privoxy))
}

#[test]
fn names_given_to_an_http_proxy_are_seen_and_are_no_leak() {
    let Some((lab, _privoxy)) = lab("http_proxy_names") else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let proxy = format!("http://127.0.0.1:{PORT}");
    for tunnel in [false, true] {
        let mut args = vec!["-sS", "--max-time", "15", "-x", &proxy, URL];
        if tunnel {
            args.push("--proxytunnel");
        }
        let (pid, curl) = lab.run("curl", &args);
        assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
        let (protocol, command) = if tunnel {
            ("http-connect", "connect")
        } else {
            ("http", "get")
        };
        assert!(
            leakmon.wait_for(LIMIT, |state| state.proxies().any(|said| {
                said["protocol"] == protocol
                    && said["command"] == command
                    && said["target"]["name"] == PAGE
                    && said["target"]["port"] == 80
                    && said["accepted"] == true
                    && said["process"]["pid"] == pid
            })),
            "{protocol}: {:#?}",
            leakmon.lines()
        );
    }
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();
    assert!(
        state.queries_of("curl").next().is_none(),
        "curl asked: {}",
        run.said()
    );
    assert_eq!(state.findings().count(), 0, "{}", run.said());
}

#[test]
fn an_address_given_to_an_http_proxy_proves_the_name() {
    let Some((lab, _privoxy)) = lab("http_proxy_address") else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let script = format!(
        "import socket\n\
         address = socket.getaddrinfo('{PAGE}', 80, socket.AF_INET)[0][4][0]\n\
         proxy = socket.create_connection(('127.0.0.1', {PORT}))\n\
         proxy.sendall(b'CONNECT ' + address.encode() + b':80 HTTP/1.1\\r\\n\\r\\n')\n\
         print(proxy.recv(100))\n"
    );
    let (pid, python) = lab.run("/usr/bin/python3", &["-c", &script]);
    assert!(python.text().contains("200"), "{python:?}");
    leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    let run = leakmon.stop();
    let state = run.final_state();
    let proof = state
        .findings_for(PAGE)
        .find(|finding| finding["process"]["pid"] == pid)
        .unwrap_or_else(|| panic!("nothing proven\n{}", run.said()));
    assert_eq!(proof["confidence"], "proven", "{proof:#}");
    assert_eq!(proof["proxy"]["scheme"], "http", "{proof:#}");
    let address = PAGE_ADDRESS.to_string();
    assert!(
        proof["evidence"].to_string().contains(&address),
        "{proof:#}"
    );
}

#[test]
fn what_answers_in_another_language_is_no_proxy() {
    let Some((lab, _privoxy)) = lab("http_proxy_none") else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    // The web server is told SOCKS4, and answers with a page.
    let script = format!(
        "import socket\n\
         address = socket.getaddrinfo('{PAGE}', 80, socket.AF_INET)[0][4][0]\n\
         server = socket.create_connection((address, 80))\n\
         server.sendall(bytes([4, 1, 0, 80]) + socket.inet_aton(address) + b'\\0\\r\\n\\r\\n')\n\
         print(server.recv(100))\n"
    );
    let (pid, python) = lab.run("/usr/bin/python3", &["-c", &script]);
    assert!(python.text().contains("DOCTYPE"), "{python:?}");
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();
    assert!(state.proxies().next().is_none(), "{}", run.said());
    assert_eq!(state.findings().count(), 0, "{}", run.said());
    let mut asked = state.queries_for(PAGE).peekable();
    assert!(asked.peek().is_some(), "{}", run.said());
    for query in asked.filter(|query| query["process"]["pid"] == pid) {
        assert_eq!(query["verdict"], "no-proxy", "{query}");
    }
}
