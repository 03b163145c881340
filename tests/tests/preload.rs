//! torsocks, proxychains and tsocks: what `leakmon audit` says of a program while they are in front of it, beside what
//! the name server was asked and what the proxy was given.

use leakmon_lab::audited::{Audited, audit};
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, tor, wait};
use std::fs;

/// Loads the page as most programs do, and stays to be looked at.
const LOAD: &str = "
import signal, urllib.request
print(urllib.request.urlopen('http://page.example/').read().decode(), flush=True)
signal.pause()
";
/// Asks for the page's name only, by a function that tells its preloads from one another, and stays.
const LOOK_UP: &str = "
import signal, socket, sys
try:
    sys.argv[1] == 'ex' and socket.gethostbyname_ex('page.example') or socket.getaddrinfo('page.example', 80)
except OSError as error:
    print(error, flush=True)
print('looked up', flush=True)
signal.pause()
";
const PYTHON: &str = "/usr/bin/python3";

/// Starts a program with its preload, waits until it said that text, and audits it.
fn run(lab: &Lab, variables: &[(&str, &str)], command: &[&str], said: &str) -> (Program, Audited) {
    let mut start = lab.command(command[0]);
    start.args(&command[1..]).envs(variables.iter().copied());
    let program = Program::spawn(&mut start);
    assert!(
        wait::until_true(LIMIT, || program.stdout.text().contains(said)),
        "{command:?}\n{}",
        program.said()
    );
    let audited = audit(program.pid());
    (program, audited)
}

fn file(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.dir().join(name);
    fs::write(&path, text).expect("a file can be written in the lab's folder");
    path.to_str().expect("a path in UTF-8").to_owned()
}

fn lab(scenario: &str, needs: &[&'static str]) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["python3"])
        .needs(needs)
        .build()
}

fn server() -> String {
    format!("{}:{SOCKS_PORT}", SERVER.0)
}

#[test]
fn torsocks_leaves_the_name_to_tor() {
    let Some(lab) = Lab::builder("torsocks")
        .tor()
        .needs(&["torsocks", "curl"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    // tor has no network: it keeps curl waiting for the name.
    let curl = lab.start("torsocks", &["curl", "-sS", "http://page.example/"]);
    let resolve = |state: &leakmon_lab::State| {
        state.proxies().any(|proxy| {
            proxy["target"]["name"] == PAGE
                && proxy["command"] == "resolve"
                && proxy["process"]["pid"] == curl.pid()
        })
    };
    let seen = wait::until_true(LIMIT, || {
        // leakmon says a request without a reply when the next one comes or when it ends.
        resolve(&leakmon.state()) || lab.tor_log().iter().any(|line| line.contains("socks5"))
    });
    assert!(seen, "{}\n{:#?}", curl.said(), lab.tor_log());
    let audited = audit(curl.pid());
    let proxy = format!("socks5://127.0.0.1:{}", tor::PORT);
    audited.assert_route("proxy", &proxy, "remote");
    audited.assert_leak(false);
    let run = leakmon.stop();
    assert!(resolve(&run.final_state()), "{}", run.said());
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
}

#[test]
fn torsocks_at_a_proxy_that_cannot_resolve_does_not_ask_elsewhere() {
    let Some(lab) = lab("torsocks_microsocks", &["torsocks"]) else {
        return;
    };
    let server = SERVER.0.to_string();
    let (python, audited) = run(
        &lab,
        &[],
        &[
            "torsocks", "-a", &server, "-P", "1080", PYTHON, "-c", LOOK_UP, "info",
        ],
        "looked up",
    );
    audited.assert_route("proxy", "socks5://10.77.0.1:1080", "remote");
    audited.assert_leak(false);
    assert!(
        audited.text().contains("TORSOCKS_TOR_PORT=1080"),
        "{}",
        audited.text()
    );
    assert!(
        !lab.is_asked(PAGE),
        "{}\n{:?}",
        python.said(),
        lab.dns_log()
    );
}

#[test]
fn torsocks_reads_its_file() {
    let Some(lab) = lab("torsocks_file", &["torsocks"]) else {
        return;
    };
    // Without the end of the line torsocks reads port 108.
    let path = file(&lab, "torsocks.conf", "TorAddress 10.77.0.1\nTorPort 1080");
    let (python, audited) = run(
        &lab,
        &[("TORSOCKS_CONF_FILE", &path), ("TORSOCKS_LOG_LEVEL", "5")],
        &["torsocks", PYTHON, "-c", LOOK_UP, "info"],
        "looked up",
    );
    audited.assert_route("proxy", "socks5://10.77.0.1:108", "remote");
    assert!(
        python.stderr.text().contains("tor port to 108 "),
        "{}",
        python.said()
    );
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
}

#[test]
fn proxychains_with_proxy_dns_gives_the_name_to_the_proxy() {
    let Some(lab) = lab("proxychains_dns", &["proxychains4"]) else {
        return;
    };
    let text = "strict_chain\nproxy_dns\n[ProxyList]\nsocks5 10.77.0.1 1080 me secret\n";
    let path = file(&lab, "x.conf", text);
    // microsocks asks for no password.
    let (_python, audited) = run(
        &lab,
        &[],
        &["proxychains4", "-q", "-f", &path, PYTHON, "-c", LOAD],
        PAGE_TEXT,
    );
    audited.assert_route("proxy", &format!("socks5://{}", server()), "remote");
    audited.assert_leak(false);
    assert!(!audited.text().contains("secret"), "{}", audited.text());
    assert!(lab.socks_log().contains(PAGE), "{}", lab.socks_log());
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
}

#[test]
fn proxychains_without_proxy_dns_leaks_the_name() {
    let Some(lab) = lab("proxychains_local", &["proxychains4"]) else {
        return;
    };
    // Of the file that it finds in its working folder.
    file(
        &lab,
        "proxychains.conf",
        "[ProxyList]\nsocks5 10.77.0.1 1080\n",
    );
    let (_python, audited) = run(
        &lab,
        &[],
        &["proxychains4", "-q", PYTHON, "-c", LOAD],
        PAGE_TEXT,
    );
    audited.assert_route("proxy", &format!("socks5://{}", server()), "local");
    audited.assert_leak(true);
    assert!(
        audited.line["advice"]
            .to_string()
            .contains("proxychains.conf"),
        "{:#}",
        audited.line
    );
    assert!(
        lab.socks_log().contains(&PAGE_ADDRESS.to_string()),
        "{}",
        lab.socks_log()
    );
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
}

#[test]
fn proxychains_does_not_take_every_lookup() {
    let Some(lab) = lab("proxychains_ex", &["proxychains4"]) else {
        return;
    };
    let path = file(
        &lab,
        "x.conf",
        "proxy_dns\n[ProxyList]\nsocks5 10.77.0.1 1080\n",
    );
    let (_python, audited) = run(
        &lab,
        &[],
        &[
            "proxychains4",
            "-q",
            "-f",
            &path,
            PYTHON,
            "-c",
            LOOK_UP,
            "ex",
        ],
        "looked up",
    );
    audited.assert_leak(false);
    assert!(
        audited.line["leaks"]
            .to_string()
            .contains("gethostbyname_r"),
        "{:#}",
        audited.line
    );
    assert!(
        lab.is_asked(PAGE),
        "gethostbyname_r is taken now: {:?}",
        lab.dns_log()
    );
}

#[test]
fn tsocks_leaks_the_name() {
    let Some(lab) = lab("tsocks", &["tsocks"]) else {
        return;
    };
    let text = "local = 10.77.0.1/255.255.255.255\nserver = 10.77.0.1\nserver_port = 1080\nserver_type = 5\n";
    let path = file(&lab, "tsocks.conf", text);
    let (_python, audited) = run(
        &lab,
        &[("TSOCKS_CONF_FILE", &path)],
        &["tsocks", PYTHON, "-c", LOAD],
        PAGE_TEXT,
    );
    audited.assert_route("proxy", &format!("socks5://{}", server()), "local");
    audited.assert_leak(true);
    assert!(
        lab.socks_log().contains(&PAGE_ADDRESS.to_string()),
        "{}",
        lab.socks_log()
    );
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
}

#[test]
fn one_that_is_not_loaded_does_not_count() {
    let Some(lab) = lab("preload_not_loaded", &[]) else {
        return;
    };
    // The loader says so and goes on.
    let (python, audited) = run(
        &lab,
        &[("LD_PRELOAD", "/nonexistent/libproxychains.so.4")],
        &[PYTHON, "-c", LOAD],
        PAGE_TEXT,
    );
    assert!(
        python.stderr.text().contains("cannot be preloaded"),
        "{}",
        python.said()
    );
    assert_eq!(audited.line["route"], "untold", "{:#}", audited.line);
    assert!(
        audited.line["overruled"].to_string().contains("not loaded"),
        "{:#}",
        audited.line
    );
    assert!(lab.socks_log().is_empty(), "{}", lab.socks_log());
}
