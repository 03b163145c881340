//! Firefox in every way in which it can be told of a proxy: what `leakmon audit` says of the running program is held
//! against what the name server, the SOCKS server and tor have seen of it.

use leakmon_lab::audited::audit;
use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::firefox::{Firefox, FirefoxBuilder, Marionette, PATIENCE, private_install};
use leakmon_lab::gnome;
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{LIMIT, Lab, Leakmon, tor, wait};
use serde_json::{Value, json};
use std::fs;

const URL: &str = "http://page.example/";

/// A lab whose web server can be reached directly and by SOCKS5.
fn web(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["firefox-esr"])
        .build()
}

/// A lab with tor, the SOCKS4 server.
fn with_tor(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario).tor().needs(&["firefox-esr"]).build()
}

fn socks() -> String {
    SERVER.0.to_string()
}

/// What is to be said of a Firefox.
struct Expected<'a> {
    route: &'a str,
    proxy: Value,
    resolves: &'a str,
    /// The evidence must name all of these.
    evidence: &'a [&'a str],
}

impl<'a> Expected<'a> {
    /// Everything goes by this proxy.
    fn over(
        scheme: &str,
        (addr, port): (&str, u16),
        resolves: &'a str,
        evidence: &'a [&'a str],
    ) -> Self {
        Self {
            route: "proxy",
            proxy: json!({"scheme": scheme, "addr": addr, "port": port, "resolves": resolves}),
            resolves,
            evidence,
        }
    }
}

fn details(line: &Value, key: &str) -> String {
    let list = line[key].as_array().expect("a list");
    list.iter()
        .map(|evidence| format!("{}: {}\n", evidence["source"], evidence["detail"]))
        .collect()
}

fn advice(line: &Value) -> &str {
    line["advice"].as_str().expect("there is advice")
}

fn assert_line(firefox: &Firefox, expected: &Expected<'_>) -> Value {
    let audited = audit(firefox.pid());
    let line = &audited.line;
    assert_eq!(line["app"]["name"], "Firefox ESR", "{line:#}");
    assert_eq!(line["route"], expected.route, "{line:#}");
    assert_eq!(line["proxy"], expected.proxy, "{line:#}");
    assert_eq!(line["resolves"], expected.resolves, "{line:#}");
    let evidence = details(line, "evidence");
    for words in expected.evidence {
        assert!(
            evidence.contains(words),
            "no {words} in {evidence}\n{line:#}"
        );
    }
    audited.assert_code();
    audited.line
}

/// Opens the page, waits until the web server has given it, and holds the audit against what the name server was asked.
fn assert_page(lab: &Lab, firefox: FirefoxBuilder<'_>, expected: &Expected<'_>) -> Value {
    let has_come = || lab.web_log().contains("GET / ");
    let line = assert_witnessed(lab, firefox, has_come, expected);
    if !expected.proxy.is_null() {
        let given = if expected.resolves == "local" {
            PAGE_ADDRESS.to_string()
        } else {
            PAGE.to_owned()
        };
        assert!(lab.socks_log().contains(&given), "{}", lab.socks_log());
    }
    line
}

/// Opens the page, waits until a witness has seen it, and holds the audit against what the name server was asked: at once,
/// and when Firefox has saved its preferences.
fn assert_witnessed(
    lab: &Lab,
    firefox: FirefoxBuilder<'_>,
    has_come: impl Fn() -> bool,
    expected: &Expected<'_>,
) -> Value {
    let mut firefox = firefox.open(URL);
    assert!(
        wait::until_true(PATIENCE, has_come),
        "the page was not asked for\n{}",
        firefox.said()
    );
    let line = assert_line(&firefox, expected);
    let is_local = expected.resolves == "local";
    assert_eq!(
        lab.is_asked(PAGE),
        is_local,
        "{:?}\n{line:#}",
        lab.dns_log()
    );
    assert!(firefox.wait_saved(|text| text.contains("user_pref")));
    let line = assert_line(&firefox, expected);
    firefox.close();
    assert_eq!(
        lab.is_asked(PAGE),
        is_local,
        "{:?}\n{line:#}",
        lab.dns_log()
    );
    line
}

#[test]
fn user_js_with_socks5() {
    let Some(lab) = web("firefox_socks5") else {
        return;
    };
    let firefox = Firefox::builder(&lab).socks(&socks(), SOCKS_PORT, 5);
    let line = over_socks5(
        &lab,
        firefox,
        "remote",
        &["network.proxy.type = 1", "network.proxy.socks5_remote_dns"],
    );
    assert_eq!(line["advice"], Value::Null, "{line:#}");
}

#[test]
fn user_js_with_socks5_and_names_of_its_own() {
    let Some(lab) = web("firefox_socks5_local") else {
        return;
    };
    let firefox = Firefox::builder(&lab)
        .socks(&socks(), SOCKS_PORT, 5)
        .pref("network.proxy.socks5_remote_dns", "false");
    let line = over_socks5(
        &lab,
        firefox,
        "local",
        &["network.proxy.socks5_remote_dns = false"],
    );
    let advice = advice(&line);
    assert!(
        advice.contains("network.proxy.socks5_remote_dns to true in about:config")
            && advice.contains("user.js"),
        "{advice}"
    );
}

/// The same over the SOCKS5 server.
fn over_socks5(lab: &Lab, firefox: FirefoxBuilder<'_>, resolves: &str, evidence: &[&str]) -> Value {
    let addr = socks();
    let expected = Expected::over("socks5", (&addr, SOCKS_PORT), resolves, evidence);
    assert_page(lab, firefox, &expected)
}

/// Opens the page over tor's SOCKS4 port, where it never loads: what tor says of the request is the witness. By SOCKS4a
/// it is given the name.
fn over_tor(lab: &Lab, firefox: FirefoxBuilder<'_>, scheme: &str, evidence: &[&str]) -> Value {
    let is_local = scheme == "socks4";
    let resolves = if is_local { "local" } else { "remote" };
    let expected = Expected::over(scheme, ("127.0.0.1", tor::PORT), resolves, evidence);
    let said = if is_local {
        tor::WARNING
    } else {
        "(using socks4a to port 80) instructed Tor to take care of the DNS resolution"
    };
    let has_come = || lab.tor_log().iter().any(|line| line.contains(said));
    let line = assert_witnessed(lab, firefox, has_come, &expected);
    let is_warned = lab.tor_log().iter().any(|line| line.contains(tor::WARNING));
    assert_eq!(is_warned, is_local, "{:#?}", lab.tor_log());
    line
}

#[test]
fn user_js_with_socks4() {
    let Some(lab) = with_tor("firefox_socks4") else {
        return;
    };
    let firefox = Firefox::builder(&lab).socks("127.0.0.1", tor::PORT, 4);
    over_tor(
        &lab,
        firefox,
        "socks4",
        &[
            "network.proxy.socks_version = 4",
            "network.proxy.socks_remote_dns",
        ],
    );
}

#[test]
fn user_js_with_socks4_that_is_given_names() {
    let Some(lab) = with_tor("firefox_socks4a") else {
        return;
    };
    let firefox = Firefox::builder(&lab)
        .socks("127.0.0.1", tor::PORT, 4)
        .pref("network.proxy.socks_remote_dns", "true");
    over_tor(
        &lab,
        firefox,
        "socks4a",
        &["network.proxy.socks_remote_dns = true"],
    );
}

/// The policy is locked: what user.js says does not count beside it.
#[test]
fn policies_in_etc() {
    let Some(lab) = web("firefox_policies") else {
        return;
    };
    let policy = json!({"policies": {"Proxy": {
        "Mode": "manual",
        "SOCKSProxy": format!("{}:{SOCKS_PORT}", SERVER.0),
        "SOCKSVersion": 5,
        "UseProxyForDNS": false,
        "Locked": true,
    }}});
    let firefox = Firefox::builder(&lab)
        .etc(&[("firefox/policies/policies.json", &policy.to_string())])
        .socks("127.0.0.1", 9, 4)
        .pref("network.proxy.socks5_remote_dns", "true");
    let line = over_socks5(
        &lab,
        firefox,
        "local",
        &[
            "/etc/firefox/policies/policies.json: Proxy.Mode",
            "/etc/firefox/policies/policies.json: Proxy.UseProxyForDNS = false",
        ],
    );
    let overruled = details(&line, "overruled");
    assert!(
        overruled.contains("user.js: network.proxy.socks_port = 9")
            || overruled.contains("prefs.js: network.proxy.socks_port = 9"),
        "{overruled}"
    );
    let advice = advice(&line);
    assert!(
        advice.contains("UseProxyForDNS to true") && advice.contains("/etc/firefox/policies"),
        "{advice}"
    );
}

/// Settings with a script that always gives the same answer.
fn with_script<'a>(lab: &'a Lab, answer: &str) -> FirefoxBuilder<'a> {
    let path = lab.dir().join("proxy.pac");
    let script = format!("function FindProxyForURL(url, host) {{ return \"{answer}\"; }}\n");
    fs::write(&path, script).expect("a file can be written");
    Firefox::builder(lab).pref("network.proxy.type", "2").pref(
        "network.proxy.autoconfig_url",
        &format!("\"file://{}\"", path.display()),
    )
}

/// In a script SOCKS5 is given names, whatever the preference says.
#[test]
fn a_script_with_socks5() {
    let Some(lab) = web("firefox_pac_socks5") else {
        return;
    };
    let firefox = with_script(&lab, &format!("SOCKS5 {}:{SOCKS_PORT}", SERVER.0))
        .pref("network.proxy.socks5_remote_dns", "false");
    over_socks5(
        &lab,
        firefox,
        "remote",
        &["network.proxy.type = 2", "proxy.pac"],
    );
}

/// In a script SOCKS is SOCKS4, and whether it is given names hangs on the preference of SOCKS5.
#[test]
fn a_script_with_socks() {
    let Some(lab) = with_tor("firefox_pac_socks") else {
        return;
    };
    let firefox = with_script(&lab, &format!("SOCKS 127.0.0.1:{}", tor::PORT));
    over_tor(
        &lab,
        firefox,
        "socks4a",
        &["network.proxy.type = 2", "proxy.pac"],
    );
}

#[test]
fn a_script_with_socks_and_names_of_its_own() {
    let Some(lab) = with_tor("firefox_pac_socks_local") else {
        return;
    };
    let firefox = with_script(&lab, &format!("SOCKS 127.0.0.1:{}", tor::PORT))
        .pref("network.proxy.socks5_remote_dns", "false");
    let line = over_tor(
        &lab,
        firefox,
        "socks4",
        &["network.proxy.socks5_remote_dns = false", "proxy.pac"],
    );
    let advice = advice(&line);
    assert!(advice.contains("SOCKS5 in the script"), "{advice}");
}

/// An HTTP proxy that answers everything itself, and so asks no name server.
const HTTP_PROXY: &str = r#"
import http.server
class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>proxied</title>")
http.server.HTTPServer(("127.0.0.1", 3128), Answers).serve_forever()
"#;

#[test]
fn variables_with_an_http_proxy() {
    let Some(lab) = Lab::builder("firefox_http_proxy")
        .needs(&["firefox-esr", "python3"])
        .build()
    else {
        return;
    };
    let mut server = lab.start("/usr/bin/python3", &["-u", "-c", HTTP_PROXY]);
    wait_listening(&mut server, 3128);
    let firefox = Firefox::builder(&lab)
        .variable("http_proxy", "http://127.0.0.1:3128")
        .variable("https_proxy", "http://127.0.0.1:3128/");
    let has_come = || server.stderr.text().contains("GET http://page.example/ ");
    assert_witnessed(
        &lab,
        firefox,
        has_come,
        &Expected::over(
            "http",
            ("127.0.0.1", 3128),
            "remote",
            &["http_proxy=http://127.0.0.1:3128"],
        ),
    );
}

/// GNOME's SOCKS proxy is SOCKS4 for Firefox, and SOCKS4a as long as it leaves names to proxies.
#[test]
fn the_desktops_settings() {
    for (scenario, is_remote) in [("firefox_gnome", true), ("firefox_gnome_local", false)] {
        let Some(lab) = Lab::builder(scenario)
            .tor()
            .needs(&["firefox-esr", "dconf", "gsettings"])
            .build()
        else {
            return;
        };
        gnome::compile(
            &lab,
            gnome::USER,
            &gnome::socks("127.0.0.1", tor::PORT),
            None,
        );
        let scheme = if is_remote { "socks4a" } else { "socks4" };
        let firefox = Firefox::builder(&lab)
            .pref("network.proxy.socks5_remote_dns", &is_remote.to_string())
            .variable("XDG_CURRENT_DESKTOP", "GNOME");
        over_tor(
            &lab,
            firefox,
            scheme,
            &["/.config/dconf/user", "network.proxy.type is 5"],
        );
    }
}

/// The script locks its values: what user.js says does not count beside it.
#[test]
fn a_script_of_the_administrator() {
    let Some(lab) = web("firefox_autoconfig") else {
        return;
    };
    let install = private_install(&lab);
    let cfg = format!(
        "// the first line is not read\n\
         lockPref(\"network.proxy.type\", 1);\n\
         lockPref(\"network.proxy.socks\", \"{}\");\n\
         lockPref(\"network.proxy.socks_port\", {SOCKS_PORT});\n\
         defaultPref(\"network.proxy.socks5_remote_dns\", false);\n",
        SERVER.0
    );
    let obscured: Vec<u8> = cfg.bytes().map(|byte| byte.wrapping_add(13)).collect();
    fs::write(install.join("mozilla.cfg"), obscured).expect("a file can be written");
    fs::write(
        install.join("defaults/pref/autoconfig.js"),
        "pref(\"general.config.filename\", \"mozilla.cfg\");\n",
    )
    .expect("a file can be written");
    let firefox = Firefox::builder(&lab)
        .install(&install)
        .pref("network.proxy.type", "0");
    let line = over_socks5(
        &lab,
        firefox,
        "local",
        &["mozilla.cfg: lockPref", "mozilla.cfg: defaultPref"],
    );
    let overruled = details(&line, "overruled");
    assert!(overruled.contains("network.proxy.type = 0"), "{overruled}");
}

#[test]
fn variables_for_everything_with_socks_are_ignored() {
    let Some(lab) = web("firefox_all_proxy") else {
        return;
    };
    let firefox = Firefox::builder(&lab)
        .variable("all_proxy", &format!("socks5://{}:{SOCKS_PORT}", SERVER.0));
    assert_page(
        &lab,
        firefox,
        &Expected {
            route: "direct",
            proxy: Value::Null,
            resolves: "local",
            evidence: &["all_proxy=socks5://10.77.0.1:1080"],
        },
    );
    assert!(!lab.socks_log().contains(PAGE), "{}", lab.socks_log());
}

#[test]
fn discovery() {
    let Some(lab) = web("firefox_wpad") else {
        return;
    };
    let mut firefox = Firefox::builder(&lab)
        .pref("network.proxy.type", "4")
        .open(URL);
    let is_asked_for = || lab.dns_log().iter().any(|asked| asked.name == "wpad");
    assert!(
        wait::until_true(PATIENCE, is_asked_for),
        "{:?}",
        lab.dns_log()
    );
    let line = assert_line(
        &firefox,
        &Expected {
            route: "depends",
            proxy: Value::Null,
            resolves: "depends",
            evidence: &["network.proxy.type = 4"],
        },
    );
    assert_eq!(line["leaks"][0]["certain"], true, "{line:#}");
    firefox.close();
}

const SECOND: &str = "second.example";
const THIRD: &str = "third.example";

/// Who resolves by the last that was said of Firefox.
fn last_said(leakmon: &Leakmon, firefox: &Firefox) -> Option<(Value, bool)> {
    let lines = leakmon.lines();
    let mut lines = lines.iter().rev();
    let line =
        lines.find(|line| line["type"] == "posture" && line["app"]["pid"] == firefox.pid())?;
    Some((line["resolves"].clone(), line["update"] == true))
}

/// What is changed in a running Firefox is noticed by a running leakmon, and the verdicts change with it.
#[test]
fn a_preference_that_is_changed_while_both_run() {
    let address = [PAGE_ADDRESS.into()];
    let Some(lab) = Lab::builder("firefox_toggle")
        .socks()
        .web()
        .record(SECOND, &address)
        .record(THIRD, &address)
        .needs(&["firefox-esr"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut firefox = Firefox::builder(&lab)
        .socks(&socks(), SOCKS_PORT, 5)
        .controlled()
        .open("about:blank");
    let mut control = firefox.control(&lab);
    let visit = |control: &mut Marionette, name: &str| {
        let page = control.visit(&format!("http://{name}/"));
        assert!(page.contains(PAGE_TEXT), "{name} did not load: {page}");
    };
    let says = |resolves: &str, update: bool| {
        let wanted = Some((Value::from(resolves), update));
        assert!(
            wait::until_true(PATIENCE, || last_said(&leakmon, &firefox) == wanted),
            "not {wanted:?} but {:?}\n{}",
            last_said(&leakmon, &firefox),
            leakmon.text()
        );
    };

    visit(&mut control, PAGE);
    wait::until_true(PATIENCE, || {
        last_said(&leakmon, &firefox).is_some_and(|(resolves, _)| resolves == "remote")
    });
    control.set_pref("network.proxy.socks5_remote_dns", false);
    says("local", true);
    visit(&mut control, SECOND);
    control.set_pref("network.proxy.socks5_remote_dns", true);
    says("remote", true);
    visit(&mut control, THIRD);
    leakmon.wait_for(LIMIT, |state| {
        state.findings_for(SECOND).next().is_some()
            && state
                .proxies()
                .any(|proxy| proxy["target"]["name"] == THIRD)
    });
    firefox.close();
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();

    let log = lab.dns_log();
    let names: Vec<&str> = log.iter().map(|asked| asked.name.as_str()).collect();
    assert!(names.contains(&SECOND), "{log:?}");
    assert!(!names.contains(&PAGE) && !names.contains(&THIRD), "{log:?}");
    assert!(
        same(&seen(state.queries()), &log),
        "asked {:#?}\n{}",
        asked(&log),
        run.said()
    );
    let mut leaks = state.queries_for(SECOND);
    assert!(
        leaks.all(|query| query["verdict"] == "leak"),
        "{}",
        run.said()
    );
    let finding = state.findings_for(SECOND).next();
    let finding = finding.unwrap_or_else(|| panic!("no finding\n{}", run.said()));
    assert_eq!(finding["app"]["name"], "Firefox ESR", "{finding:#}");
    assert_eq!(finding["proxy"]["addr"], socks(), "{finding:#}");
    for name in [PAGE, THIRD] {
        assert_eq!(state.findings_for(name).count(), 0, "{}", run.said());
        let mut requests = state.proxies();
        assert!(
            requests.any(|proxy| proxy["target"]["name"] == name),
            "{name} did not go through the proxy\n{}",
            run.said()
        );
    }
}
