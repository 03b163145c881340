//! What a running Chromium was told, and whether that is what it does: `leakmon audit` beside the name server's log and
//! the proxies' own.

use leakmon_lab::audited::{self, Audited};
use leakmon_lab::browser::Stay;
use leakmon_lab::gnome;
use leakmon_lab::lab::{PAGE, SERVER, SOCKS_PORT};
use leakmon_lab::{Chromium, LIMIT, Lab, LabBuilder, tor, wait};
use serde_json::Value;

const URL: &str = "http://page.example/";
/// Nothing is asked for to open it.
const BLANK: &str = "about:blank";

/// The SOCKS5 server and tor, as `host:port`.
const SERVER5: &str = "10.77.0.1:1080";
const SERVER4: &str = "127.0.0.1:9050";

fn builder(scenario: &str) -> LabBuilder {
    assert_eq!(SERVER5, format!("{}:{SOCKS_PORT}", SERVER.0));
    Lab::builder(scenario)
        .socks()
        .tor()
        .web()
        .needs(&["chromium", "curl"])
}

fn args<'a>(args: &'a [&'a str]) -> Stay<'a> {
    Stay {
        args,
        url: URL,
        ..Stay::default()
    }
}

fn variables<'a>(variables: &'a [(&'a str, &'a str)]) -> Stay<'a> {
    Stay {
        variables,
        ..args(&[])
    }
}

/// What is said of the browser, which has to be something.
fn audit(chromium: &Chromium) -> Audited {
    audited::audit_told(chromium.pid())
}

/// What is to come of a configuration.
struct Expected {
    /// The proxy, as `scheme://host:port`.
    proxy: &'static str,
    resolves: &'static str,
    /// Where it stands, and a part of it.
    evidence: (&'static str, &'static str),
}

const REMOTE: Expected = Expected {
    proxy: "socks5://10.77.0.1:1080",
    resolves: "remote",
    evidence: ("command-line", "--proxy-server=socks5://10.77.0.1:1080"),
};

const LOCAL: Expected = Expected {
    proxy: "socks4://127.0.0.1:9050",
    resolves: "local",
    evidence: ("command-line", "--proxy-server=socks4://127.0.0.1:9050"),
};

impl Expected {
    /// The same by what stands elsewhere.
    const fn by(self, source: &'static str, part: &'static str) -> Self {
        Self {
            evidence: (source, part),
            ..self
        }
    }

    fn hold(&self, audited: &Audited) {
        self.hold_line(audited);
        // The page's name leaks for sure if and only if the program resolves it.
        let leaks = i32::from(self.resolves == "local");
        assert_eq!(audited.code, Some(leaks), "{:#}", audited.line);
    }

    /// The same, whatever else may leak.
    fn hold_line(&self, audited: &Audited) {
        audited.assert_route("proxy", self.proxy, self.resolves);
        let line = &audited.line;
        let (source, part) = self.evidence;
        let first = &line["evidence"][0];
        assert_eq!(first["source"], source, "{line:#}");
        assert!(
            first["detail"].as_str().unwrap_or_default().contains(part),
            "{line:#}"
        );
    }

    /// The page is asked for at the name server if and only if that is expected.
    fn confirm(&self, lab: &Lab, chromium: &Chromium) {
        if self.resolves == "local" {
            assert_asked(lab, chromium);
            assert!(lab.wait_tor_warning(LIMIT), "{:?}", lab.tor_log());
        } else {
            assert_given(lab, chromium);
            assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
        }
    }

    /// Starts Chromium, waits for what it does, and compares that with what the audit says.
    fn check(&self, lab: &Lab, stay: Stay<'_>) -> Value {
        let mut chromium = Chromium::stay(lab, Stay { url: URL, ..stay });
        self.confirm(lab, &chromium);
        let said = audit(&chromium);
        self.hold(&said);
        chromium.close();
        // Nothing came later.
        if self.resolves != "local" {
            assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
        }
        said.line
    }
}

/// It asks the name server for the page.
fn assert_asked(lab: &Lab, chromium: &Chromium) {
    assert!(
        lab.wait_asked(PAGE),
        "it is not resolved: {:?}\n{}",
        lab.dns_log(),
        chromium.said()
    );
}

/// It gives the page's name to the SOCKS5 server.
fn assert_given(lab: &Lab, chromium: &Chromium) {
    let named = wait::until_true(LIMIT, || lab.socks_log().contains(PAGE));
    assert!(named, "the proxy is not given it\n{}", chromium.said());
}

#[test]
fn socks5_on_the_command_line() {
    let Some(lab) = builder("told_flag_5").build() else {
        return;
    };
    let posture = REMOTE.check(
        &lab,
        args(&[
            "--proxy-server=socks5://10.77.0.1:1080",
            "--proxy-bypass-list=*.corp.example",
        ]),
    );
    assert_eq!(
        posture["bypass"],
        serde_json::json!(["*.corp.example"]),
        "{posture:#}"
    );
}

#[test]
fn socks4_on_the_command_line() {
    let Some(lab) = builder("told_flag_4").build() else {
        return;
    };
    let posture = LOCAL.check(&lab, args(&["--proxy-server=socks4://127.0.0.1:9050"]));
    let advice = posture["advice"].as_str().unwrap_or_default();
    assert!(
        advice.contains("--proxy-server=socks5://127.0.0.1:9050"),
        "{posture:#}"
    );
}

#[test]
fn a_policy_wins_over_the_command_line() {
    let Some(lab) = builder("told_policy").build() else {
        return;
    };
    // As people write it: with a comment, and a comma too many.
    let policy = r#"{ /* all of it */ "ProxySettings": {"ProxyMode": "fixed_servers", "ProxyServer": "socks4://127.0.0.1:9050",}, }"#;
    lab.client()
        .write_below_etc("chromium/policies/managed/lab.json", policy);
    let posture = LOCAL
        .by(
            "policy",
            "/etc/chromium/policies/managed/lab.json: ProxySettings: ProxyMode = fixed_servers",
        )
        .check(&lab, args(&["--proxy-server=socks5://10.77.0.1:1080"]));
    assert!(
        posture["overruled"]
            .to_string()
            .contains("socks5://10.77.0.1:1080"),
        "{posture:#}"
    );
    assert!(
        posture["advice"]
            .to_string()
            .contains("/etc/chromium/policies/managed/lab.json")
    );
}

#[test]
fn a_policy_that_leaves_it_to_the_system_overrules_the_command_line() {
    let Some(lab) = builder("told_policy_system").build() else {
        return;
    };
    lab.client().write_below_etc(
        "chromium/policies/managed/lab.json",
        r#"{"ProxyMode":"system"}"#,
    );
    // This one has no say on Linux.
    let recommended = r#"{"ProxyMode":"fixed_servers","ProxyServer":"socks4://127.0.0.1:9050"}"#;
    lab.client()
        .write_below_etc("chromium/policies/recommended/lab.json", recommended);
    let posture = REMOTE
        .by("environment", "SOCKS_SERVER=10.77.0.1:1080")
        .check(
            &lab,
            Stay {
                args: &["--proxy-server=socks4://127.0.0.1:9050"],
                variables: &[("SOCKS_SERVER", SERVER5)],
                ..Stay::default()
            },
        );
    let overruled = posture["overruled"].to_string();
    assert!(
        overruled.contains("--proxy-server=socks4") && overruled.contains("merely recommended"),
        "{posture:#}"
    );
}

#[test]
fn the_profiles_preferences() {
    let Some(lab) = builder("told_preferences").build() else {
        return;
    };
    let preferences = r#"{"proxy":{"mode":"fixed_servers","server":"socks5://10.77.0.1:1080","bypass_list":"<local>"}}"#;
    let posture = REMOTE
        .by(
            "preferences",
            "Default/Preferences: proxy: mode = fixed_servers, server = socks5://",
        )
        .check(
            &lab,
            Stay {
                preferences: Some(preferences),
                // The system has another proxy, and no say.
                variables: &[("SOCKS_SERVER", SERVER5)],
                ..Stay::default()
            },
        );
    assert_eq!(
        posture["bypass"],
        serde_json::json!(["<local>"]),
        "{posture:#}"
    );
    assert!(
        !posture["evidence"]
            .to_string()
            .contains("could not be seen"),
        "{posture:#}"
    );
}

#[test]
fn the_profiles_preferences_do_not_lead_the_browsers_own_services() {
    let Some(lab) = builder("told_services").build() else {
        return;
    };
    let preferences = r#"{"proxy":{"mode":"fixed_servers","server":"socks5://10.77.0.1:1080"}}"#;
    let mut chromium = Chromium::stay(
        &lab,
        Stay {
            preferences: Some(preferences),
            chattering: true,
            url: URL,
            ..Stay::default()
        },
    );
    assert_given(&lab, &chromium);
    let Audited {
        line: posture,
        code,
    } = audit(&chromium);
    let own = lab.wait_dns(3 * LIMIT, |log| {
        log.iter().any(|asked| {
            asked.name.ends_with(".googleapis.com") || asked.name.ends_with(".google.com")
        })
    });
    chromium.close();
    assert!(own, "its services asked for nothing: {:?}", lab.dns_log());
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
    assert_eq!(posture["resolves"], "remote", "{posture:#}");
    assert!(
        posture["leaks"][0]["what"]
            .to_string()
            .contains("own services"),
        "{posture:#}"
    );
    assert_eq!(posture["leaks"][0]["certain"], true, "{posture:#}");
    assert_eq!(code, Some(1), "{posture:#}");
}

#[test]
fn a_script_that_says_socks5() {
    let Some(lab) = builder("told_pac_5").build() else {
        return;
    };
    let script = "--proxy-pac-url=data:application/x-ns-proxy-autoconfig,function FindProxyForURL(url, host) { return 'SOCKS5 10.77.0.1:1080'; }";
    REMOTE
        .by("command-line", "--proxy-pac-url=data:")
        .check(&lab, args(&[script]));
}

#[test]
fn the_word_socks_in_a_script_means_socks4() {
    let Some(lab) = builder("told_pac_4").build() else {
        return;
    };
    // function FindProxyForURL(u,h){return "SOCKS 127.0.0.1:9050";}
    let script = "--proxy-pac-url=data:;base64,ZnVuY3Rpb24gRmluZFByb3h5Rm9yVVJMKHUsaCl7cmV0dXJuICJTT0NLUyAxMjcuMC4wLjE6OTA1MCI7fQ==";
    LOCAL
        .by("command-line", "--proxy-pac-url=data:")
        .check(&lab, args(&[script]));
}

#[test]
fn a_script_that_asks_for_the_name_leaks_it() {
    let Some(lab) = builder("told_pac_resolves").build() else {
        return;
    };
    let script = "--proxy-pac-url=data:,function FindProxyForURL(url, host) { var a = dnsResolve(host); return 'SOCKS5 10.77.0.1:1080'; }";
    let mut chromium = Chromium::stay(&lab, args(&[script]));
    assert_given(&lab, &chromium);
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
    let Audited { line: posture, .. } = audit(&chromium);
    chromium.close();
    assert_eq!(posture["resolves"], "remote", "{posture:#}");
    assert!(
        posture["leaks"].to_string().contains("dnsResolve"),
        "{posture:#}"
    );
}

#[test]
fn a_script_in_a_file_is_not_read() {
    let Some(lab) = builder("told_pac_file").build() else {
        return;
    };
    let path = lab.dir().join("proxy.pac");
    let script = "function FindProxyForURL(url, host) { return 'SOCKS5 10.77.0.1:1080'; }";
    std::fs::write(&path, script).expect("a file can be written");
    let flag = format!("--proxy-pac-url=file://{}", path.display());
    let mut chromium = Chromium::stay(&lab, args(&[&flag]));
    assert_asked(&lab, &chromium);
    let Audited { line: posture, .. } = audit(&chromium);
    chromium.close();
    assert_eq!(posture["route"], "direct", "{posture:#}");
    assert_eq!(lab.socks_log(), "");
}

#[test]
fn socks_server_in_the_environment() {
    let Some(lab) = builder("told_socks_server").build() else {
        return;
    };
    REMOTE
        .by("environment", "SOCKS_SERVER=10.77.0.1:1080")
        .check(&lab, variables(&[("SOCKS_SERVER", SERVER5)]));
}

#[test]
fn socks_server_of_version_4_in_the_environment() {
    let Some(lab) = builder("told_socks_version").build() else {
        return;
    };
    LOCAL.by("environment", "SOCKS_VERSION=4").check(
        &lab,
        variables(&[("SOCKS_SERVER", SERVER4), ("SOCKS_VERSION", "4")]),
    );
}

#[test]
fn all_proxy_in_the_environment_is_taken_for_an_http_proxy() {
    let Some(lab) = builder("told_all_proxy").build() else {
        return;
    };
    let mut chromium = Chromium::stay(&lab, variables(&[("all_proxy", "socks5://127.0.0.1:9050")]));
    // tor says so when it is spoken to by HTTP.
    let spoke = wait::until_true(LIMIT, || {
        lab.tor_log()
            .iter()
            .any(|line| line.contains("not an HTTP proxy"))
    });
    assert!(spoke, "{:#?}\n{}", lab.tor_log(), chromium.said());
    let said = audit(&chromium);
    chromium.close();
    let expected = Expected {
        proxy: "http://127.0.0.1:9050",
        evidence: ("environment", "all_proxy=socks5://127.0.0.1:9050"),
        ..REMOTE
    };
    expected.hold(&said);
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
    let warned = lab.tor_log().iter().any(|line| line.contains(tor::WARNING));
    assert!(!warned, "{:#?}", lab.tor_log());
}

/// KDE's settings, as its control centre writes them.
fn in_kde(lab: &Lab, settings: &str, expected: &Expected) -> Value {
    let folder = lab.dir().join(".config");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let text = format!("[Proxy Settings]\n{settings}\n");
    std::fs::write(folder.join("kioslaverc"), text).expect("a file can be written");
    let session = [
        ("XDG_CURRENT_DESKTOP", "KDE"),
        ("KDE_SESSION_VERSION", "5"),
        // The desktop's settings come first.
        ("all_proxy", "http://10.77.0.1:9"),
    ];
    expected.check(lab, variables(&session))
}

#[test]
fn the_desktops_settings() {
    let Some(lab) = builder("told_kde").build() else {
        return;
    };
    let expected = REMOTE.by("desktop", "/.config/kioslaverc: ProxyType = 1");
    let settings = "NoProxyFor=corp.example\nProxyType=1\nsocksProxy=socks://10.77.0.1 1080";
    let posture = in_kde(&lab, settings, &expected);
    assert_eq!(
        posture["bypass"],
        serde_json::json!(["*corp.example"]),
        "{posture:#}"
    );
}

#[test]
fn the_desktops_settings_for_socks4() {
    let Some(lab) = builder("told_kde_4").build() else {
        return;
    };
    let expected = LOCAL.by("desktop", "/.config/kioslaverc: ProxyType = 1");
    in_kde(
        &lab,
        "ProxyType=1\nsocksProxy=socks4://127.0.0.1 9050",
        &expected,
    );
}

#[test]
fn gnomes_settings() {
    let Some(lab) = builder("told_gnome").needs(&["dconf", "gsettings"]).build() else {
        return;
    };
    gnome::compile(&lab, gnome::USER, &gnome::socks("10.77.0.1", 1080), None);
    REMOTE
        .by(
            "desktop",
            "/.config/dconf/user: /system/proxy/mode = 'manual'",
        )
        .check(&lab, variables(&[("XDG_CURRENT_DESKTOP", "GNOME")]));
}

#[test]
fn without_anything_it_goes_direct() {
    let Some(lab) = builder("told_nothing").build() else {
        return;
    };
    let mut chromium = Chromium::stay(&lab, args(&[]));
    assert_asked(&lab, &chromium);
    let Audited { line, code } = audited::audit(chromium.pid());
    chromium.close();
    assert_eq!(line["route"], "untold", "{line:#}");
    assert_eq!(code, Some(0), "{line:#}");
}

#[test]
fn automatic_detection_asks_for_wpad() {
    let Some(lab) = builder("told_wpad").build() else {
        return;
    };
    let mut chromium = Chromium::stay(&lab, args(&["--proxy-auto-detect"]));
    let asked = lab.wait_dns(LIMIT, |log| {
        ["wpad", PAGE]
            .iter()
            .all(|name| log.iter().any(|asked| asked.name == *name))
    });
    assert!(asked, "{:?}\n{}", lab.dns_log(), chromium.said());
    let Audited {
        line: posture,
        code,
    } = audit(&chromium);
    chromium.close();
    assert_eq!(posture["route"], "depends", "{posture:#}");
    assert!(
        posture["leaks"][0]["what"].to_string().contains("wpad"),
        "{posture:#}"
    );
    assert_eq!(code, Some(1), "{posture:#}");
}

#[test]
fn with_rules_by_which_no_name_is_resolved_socks4_fails_and_does_not_leak() {
    let Some(lab) = builder("told_resolver_rules").build() else {
        return;
    };
    let mut chromium = Chromium::stay(
        &lab,
        args(&[
            "--proxy-server=socks4://127.0.0.1:9050",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
        ]),
    );
    // What it asks for when a page has failed by its name.
    let failed = lab.wait_dns(LIMIT, |log| {
        log.iter().any(|asked| asked.name == "google.com")
    });
    assert!(failed, "{:?}\n{}", lab.dns_log(), chromium.said());
    let said = audit(&chromium);
    chromium.close();
    Expected {
        resolves: "remote",
        ..LOCAL
    }
    .hold(&said);
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
    let leaks = &said.line["leaks"];
    assert!(leaks.to_string().contains("google.com"), "{leaks:#}");
    assert!(
        said.line["evidence"].to_string().contains("do not leak"),
        "{:#}",
        said.line
    );
}

#[test]
fn an_extension_wins_over_the_command_line() {
    let Some(lab) = builder("told_extension").build() else {
        return;
    };
    let folder = lab.dir().join("extension");
    std::fs::create_dir(&folder).expect("a folder can be made");
    let manifest = r#"{"manifest_version": 3, "name": "Lab", "version": "1", "permissions": ["proxy"],
        "background": {"service_worker": "worker.js"}}"#;
    let worker = r#"chrome.proxy.settings.set({scope: "regular", value: {mode: "fixed_servers",
        rules: {singleProxy: {scheme: "socks5", host: "10.77.0.1", port: 1080}}}});"#;
    for (name, text) in [("manifest.json", manifest), ("worker.js", worker)] {
        std::fs::write(folder.join(name), text).expect("a file can be written");
    }
    let load = format!("--load-extension={}", folder.display());
    let args = [
        // The last of this switch counts: with what the lab gives it otherwise.
        "--disable-features=NetworkTimeServiceQuerying,DisableLoadExtensionCommandLineSwitch",
        "--proxy-server=socks4://127.0.0.1:9050",
        &load,
    ];
    let mut chromium = Chromium::stay(
        &lab,
        Stay {
            args: &args,
            url: BLANK,
            ..Stay::default()
        },
    );
    assert!(
        chromium.wait_preferences("socks5://10.77.0.1:1080", 3 * LIMIT),
        "the extension did nothing\n{}",
        chromium.said()
    );
    chromium.open_further(&lab, URL);
    let expected = REMOTE.by("extension", "extensions.settings.");
    expected.confirm(&lab, &chromium);
    let said = audit(&chromium);
    chromium.close();
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
    // Of the browser's own services something is said besides: those go by the command line.
    expected.hold_line(&said);
    let posture = &said.line;
    assert!(
        posture["overruled"]
            .to_string()
            .contains("socks4://127.0.0.1:9050"),
        "{posture:#}"
    );
}
