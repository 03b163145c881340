//! Firefox in every way in which it can be told of a proxy: what `leakmon audit` says of the running program is held
//! against what the name server, the SOCKS server and tor have seen of it.

use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::firefox::{Firefox, FirefoxBuilder, PATIENCE, private_install};
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, SERVER, SOCKS_PORT};
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

/// Whether the page's name was asked of the name server.
fn is_asked(lab: &Lab) -> bool {
    lab.dns_log().iter().any(|asked| asked.name == PAGE)
}

/// What is to be said of a Firefox.
struct Expected<'a> {
    route: &'a str,
    proxy: Value,
    resolves: &'a str,
    /// The evidence must name all of these.
    evidence: &'a [&'a str],
}

fn proxy(scheme: &str, addr: &str, port: u16, resolves: &str) -> Value {
    json!({"scheme": scheme, "addr": addr, "port": port, "resolves": resolves})
}

fn details(line: &Value, key: &str) -> String {
    let list = line[key].as_array().expect("a list");
    list.iter()
        .map(|evidence| format!("{}: {}\n", evidence["source"], evidence["detail"]))
        .collect()
}

fn assert_line(firefox: &Firefox, expected: &Expected<'_>) -> Value {
    let (line, code) = firefox.audit();
    assert_eq!(line["app"]["name"], "Firefox ESR", "{line:#}");
    assert_eq!(line["route"], expected.route, "{line:#}");
    assert_eq!(line["proxy"], expected.proxy, "{line:#}");
    assert_eq!(line["resolves"], expected.resolves, "{line:#}");
    let evidence = details(&line, "evidence");
    for words in expected.evidence {
        assert!(
            evidence.contains(words),
            "no {words} in {evidence}\n{line:#}"
        );
    }
    let certain = line["leaks"]
        .as_array()
        .is_some_and(|leaks| leaks.iter().any(|leak| leak["certain"] == true));
    assert_eq!(code, Some(i32::from(certain)), "{line:#}");
    line
}

/// Opens the page, waits until it has come, and holds the audit against what the name server was asked: at once, and when
/// Firefox has saved its preferences.
fn assert_page(lab: &Lab, firefox: FirefoxBuilder<'_>, expected: &Expected<'_>) -> Value {
    let mut firefox = firefox.open(URL);
    assert!(
        wait::until_true(PATIENCE, || lab.web_log().contains("GET / ")),
        "the page did not load\n{}\n{}",
        lab.socks_log(),
        firefox.said()
    );
    let line = assert_line(&firefox, expected);
    let is_local = expected.resolves == "local";
    assert_eq!(is_asked(lab), is_local, "{:?}\n{line:#}", lab.dns_log());
    if !expected.proxy.is_null() && expected.proxy["scheme"] != "http" {
        let given = if is_local {
            PAGE_ADDRESS.to_string()
        } else {
            PAGE.to_owned()
        };
        assert!(lab.socks_log().contains(&given), "{}", lab.socks_log());
    }
    assert!(firefox.wait_saved(|text| text.contains("user_pref")));
    let line = assert_line(&firefox, expected);
    firefox.close();
    assert_eq!(is_asked(lab), is_local, "{:?}\n{line:#}", lab.dns_log());
    line
}

#[test]
fn user_js_with_socks5() {
    let Some(lab) = web("firefox_socks5") else {
        return;
    };
    let firefox = Firefox::builder(&lab).socks(&socks(), SOCKS_PORT, 5);
    let line = assert_page(
        &lab,
        firefox,
        &Expected {
            route: "proxy",
            proxy: proxy("socks5", &socks(), SOCKS_PORT, "remote"),
            resolves: "remote",
            evidence: &["network.proxy.type = 1", "network.proxy.socks5_remote_dns"],
        },
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
    let line = assert_page(
        &lab,
        firefox,
        &Expected {
            route: "proxy",
            proxy: proxy("socks5", &socks(), SOCKS_PORT, "local"),
            resolves: "local",
            evidence: &["network.proxy.socks5_remote_dns = false"],
        },
    );
    let advice = line["advice"].as_str().expect("there is advice");
    assert!(
        advice.contains("network.proxy.socks5_remote_dns to true in about:config")
            && advice.contains("user.js"),
        "{advice}"
    );
}

/// Opens the page over tor's SOCKS4 port, where it never loads, and gives what the audit says.
fn over_tor(lab: &Lab, firefox: FirefoxBuilder<'_>, is_local: bool, expected: &Expected<'_>) {
    let mut firefox = firefox.open(URL);
    let has_come = || {
        let said = if is_local {
            tor::WARNING
        } else {
            "This is good"
        };
        lab.tor_log().iter().any(|line| line.contains(said))
    };
    assert!(
        wait::until_true(PATIENCE, has_come),
        "{:#?}\n{}",
        lab.tor_log(),
        firefox.said()
    );
    assert_line(&firefox, expected);
    firefox.close();
    assert_eq!(is_asked(lab), is_local, "{:?}", lab.dns_log());
    let is_warned = lab.tor_log().iter().any(|line| line.contains(tor::WARNING));
    assert_eq!(is_warned, is_local, "{:#?}", lab.tor_log());
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
        true,
        &Expected {
            route: "proxy",
            proxy: proxy("socks4", "127.0.0.1", tor::PORT, "local"),
            resolves: "local",
            evidence: &[
                "network.proxy.socks_version = 4",
                "network.proxy.socks_remote_dns",
            ],
        },
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
        false,
        &Expected {
            route: "proxy",
            proxy: proxy("socks4a", "127.0.0.1", tor::PORT, "remote"),
            resolves: "remote",
            evidence: &["network.proxy.socks_remote_dns = true"],
        },
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
    let line = assert_page(
        &lab,
        firefox,
        &Expected {
            route: "proxy",
            proxy: proxy("socks5", &socks(), SOCKS_PORT, "local"),
            resolves: "local",
            evidence: &[
                "/etc/firefox/policies/policies.json: Proxy.Mode",
                "/etc/firefox/policies/policies.json: Proxy.UseProxyForDNS = false",
            ],
        },
    );
    let overruled = details(&line, "overruled");
    assert!(
        overruled.contains("user.js: network.proxy.socks_port = 9")
            || overruled.contains("prefs.js: network.proxy.socks_port = 9"),
        "{overruled}"
    );
    let advice = line["advice"].as_str().expect("there is advice");
    assert!(
        advice.contains("UseProxyForDNS to true") && advice.contains("/etc/firefox/policies"),
        "{advice}"
    );
}

fn pac_lab(scenario: &str, word: &str, port: u16, addr: &str) -> Option<(Lab, String)> {
    let lab = Lab::builder(scenario)
        .socks()
        .web()
        .tor()
        .needs(&["firefox-esr"])
        .build()?;
    let path = lab.dir().join("proxy.pac");
    let script =
        format!("function FindProxyForURL(url, host) {{ return \"{word} {addr}:{port}\"; }}\n");
    fs::write(&path, script).expect("a file can be written");
    let url = format!("file://{}", path.display());
    Some((lab, url))
}

fn with_pac<'a>(lab: &'a Lab, url: &str) -> FirefoxBuilder<'a> {
    Firefox::builder(lab)
        .pref("network.proxy.type", "2")
        .pref("network.proxy.autoconfig_url", &format!("\"{url}\""))
}

#[test]
fn a_script_with_socks5() {
    let Some((lab, url)) = pac_lab("firefox_pac_socks5", "SOCKS5", SOCKS_PORT, &socks()) else {
        return;
    };
    // In a script SOCKS5 is given names whatever the preference says.
    let firefox = with_pac(&lab, &url).pref("network.proxy.socks5_remote_dns", "false");
    let mut firefox = firefox.open(URL);
    assert!(wait::until_true(PATIENCE, || lab
        .web_log()
        .contains("GET / ")));
    println!("PAC socks5 {} {}", is_asked(&lab), lab.socks_log());
    println!("{:#}", firefox.audit().0);
    firefox.close();
}

#[test]
fn a_script_with_socks() {
    for remote in ["true", "false"] {
        let Some((lab, url)) = pac_lab("firefox_pac_socks", "SOCKS", tor::PORT, "127.0.0.1") else {
            return;
        };
        let firefox = with_pac(&lab, &url).pref("network.proxy.socks5_remote_dns", remote);
        let mut firefox = firefox.open(URL);
        wait::until_true(LIMIT, || {
            lab.tor_log()
                .iter()
                .any(|line| line.contains("9050") && line.contains("pplication"))
                || lab
                    .tor_log()
                    .iter()
                    .any(|l| l.contains("This is good") || l.contains(tor::WARNING))
        });
        println!("PAC socks {remote} {} {:#?}", is_asked(&lab), lab.tor_log());
        println!("{:#}", firefox.audit().0);
        firefox.close();
    }
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
