//! What Firefox is told elsewhere than in the user's preferences: by the administrator, the distribution, the environment,
//! the desktop and extensions.

use std::os::unix::fs::symlink;

use super::{
    super::{
        autoconfig::{Function, parse as script, unobscured},
        *,
    },
    Machine, PROFILE, SOCKS, lines_of, short,
};
use crate::{model::Resolves, posture::Route};

#[test]
fn policies_and_their_precedence() {
    let proxy = |more: &str| format!(r#"{{"policies":{{"Proxy":{{{more}}}}}}}"#);
    let manual = r#""Mode":"manual","SOCKSProxy":"p:1""#;
    for (policy, lines, expected) in [
        (proxy(manual), &[][..], "socks5://p:1 Remote"),
        // What is not locked is a default only.
        (proxy(manual), &["socks = \"mine\""], "socks5://mine:1 Remote"),
        (proxy(&format!(r#"{manual},"Locked":true"#)), &["socks = \"mine\""], "socks5://p:1 Remote"),
        (proxy(&format!(r#"{manual},"Locked":1"#)), &["type = 0"], "socks5://p:1 Remote"),
        (proxy(&format!(r#"{manual},"SOCKSVersion":4"#)), &[], "socks4://p:1 Local"),
        (
            proxy(&format!(r#"{manual},"SOCKSVersion":4,"UseProxyForDNS":true"#)),
            &[],
            "socks4a://p:1 Remote",
        ),
        // Something that does not fit the schema spoils the whole policy.
        (proxy(&format!(r#"{manual},"SOCKSVersion":6"#)), &[], "untold"),
        (proxy(r#""Mode":"Manual""#), &[], "untold"),
        (proxy(r#""Mode":"none""#), &[], "direct"),
        (proxy(r#""Mode":"autoDetect""#), &[], "some nothing"),
        (proxy(r#""Mode":"autoConfig","AutoConfigURL":"http://p/""#), &[], "some nothing"),
        (proxy(r#""Mode":"manual","HTTPProxy":"p:1""#), &[], "some http://p:1 Remote"),
        (
            proxy(r#""Mode":"manual","HTTPProxy":"p:1","UseHTTPProxyForAllProtocols":true"#),
            &[],
            "http://p:1 Remote",
        ),
        // The address is read as one of https, whose own port counts as none.
        (proxy(r#""Mode":"manual","SOCKSProxy":"p:443""#), &[], "direct"),
        (
            r#"{"policies":{"Preferences":{"network.proxy.type":{"Value":0,"Status":"locked"}}}}"#.to_owned(),
            &SOCKS,
            "direct",
        ),
        (
            r#"{"policies":{"Preferences":{"network.proxy.socks5_remote_dns":{"Value":0,"Status":"locked"}}}}"#
                .to_owned(),
            &SOCKS,
            "socks5://h:1 Local",
        ),
        (
            r#"{"policies":{"Preferences":{"network.proxy.type":{"Status":"clear"}}}}"#.to_owned(),
            &SOCKS,
            "untold",
        ),
        ("{ no JSON".to_owned(), &SOCKS, "socks5://h:1 Remote"),
        ("[".repeat(100_000), &SOCKS, "unknown socks5://h:1 Remote"),
        (String::new(), &SOCKS, "socks5://h:1 Remote"),
    ] {
        let machine = Machine::new();
        machine
            .file("/etc/firefox/policies/policies.json", &policy)
            .file(
                "/usr/lib/firefox/distribution/policies.json",
                proxy(r#""Mode":"none","Locked":true"#),
            )
            .user_js(lines);
        assert_eq!(machine.says(), expected, "{:.200} {lines:?}", policy);
    }
    let machine = Machine::new();
    let path = "/usr/lib/firefox/distribution/policies.json";
    machine
        .file(path, proxy(r#""Mode":"none","Locked":true"#))
        .user_js(&SOCKS);
    let posture = machine.posture();
    assert_eq!(posture.route, Route::Direct);
    assert!(posture.evidence[0].detail.starts_with(path), "{posture:?}");
    // The running program has not read it.
    machine.newer(path, proxy(r#""Mode":"system""#));
    assert_eq!(machine.posture().resolves(), Resolves::Unknown);
}

#[test]
fn scripts_of_the_administrator() {
    let text = "// the first line is not read, lockPref(\"network.proxy.type\", 0);\n\
                lockPref(\"network.proxy.type\", 1)\n\
                defaultPref('network.proxy.socks', 'p'); pref(\"network.proxy.socks_port\", 1);\n\
                try { lockPref(\"network.proxy.socks_version\", 4); } catch (e) { displayError('x', e); }\n\
                clearPref(\"network.proxy.http\");";
    let read = script(text.as_bytes());
    assert!(read.unclear.is_empty(), "{read:?}");
    let functions: Vec<Function> = read.calls.iter().map(|call| call.function).collect();
    assert_eq!(
        functions,
        [
            Function::LockPref,
            Function::DefaultPref,
            Function::Pref,
            Function::LockPref,
            Function::ClearPref
        ]
    );
    for unclear in [
        "if (getenv('X')) lockPref(\"network.proxy.type\", 1);",
        "if (a) { lockPref(\"network.proxy.type\", 1); }",
        "function f() { lockPref(\"network.proxy.type\", 1); }",
        "lockPref(\"network.proxy.type\", 1 + 0);",
        "lockPref(\"network.proxy.\" + x, 1);",
        "lockPref(name, 1);",
        "lockPref(\"network.proxy.socks\", getenv(\"USER\"));",
    ] {
        let read = script(format!("\n{unclear}").as_bytes());
        assert!(
            !read.unclear.is_empty() && read.calls.is_empty(),
            "{unclear}"
        );
    }
    assert!(
        script(b"\nif (a) { lockPref('browser.x', 1); }")
            .unclear
            .is_empty()
    );

    let machine = Machine::new();
    let obscured: Vec<u8> = text.bytes().map(|byte| byte.wrapping_add(13)).collect();
    assert_eq!(unobscured(obscured.clone(), 13), text.as_bytes());
    let naming = "pref(\"general.config.filename\", \"mozilla.cfg\");\n";
    machine
        .file("/usr/lib/firefox/defaults/pref/autoconfig.js", naming)
        .user_js(&["type = 0", "socks_port = 2"]);
    assert_eq!(
        machine.posture().resolves(),
        Resolves::Unknown,
        "it is not there"
    );
    machine.file("/usr/lib/firefox/mozilla.cfg", obscured);
    assert_eq!(machine.says(), "socks4://p:1 Local");
    machine
        .file(
            "/usr/lib/firefox/defaults/pref/autoconfig.js",
            format!("{naming}pref(\"general.config.obscure_value\", 0);"),
        )
        .file("/usr/lib/firefox/mozilla.cfg", text);
    assert_eq!(machine.says(), "socks4://p:1 Local");
    // `pref` sets it at a start; a change since then counts.
    machine.newer(
        &format!("{PROFILE}/prefs.js"),
        lines_of(&["socks_port = 3"]),
    );
    assert_eq!(machine.says(), "socks4://p:3 Local");
    machine.file(
        "/usr/lib/firefox/mozilla.cfg",
        format!("{text}\nif (x) {{ lockPref(\"network.proxy.type\", 0); }}"),
    );
    assert_eq!(machine.says(), "unknown socks4://p:3 Local");
}

#[test]
fn default_preferences_of_a_distribution() {
    let machine = Machine::new();
    machine
        .file(
            "/usr/lib/firefox/browser/defaults/preferences/a.js",
            "pref(\"network.proxy.type\", 1, sticky); pref(\"network.proxy.socks\", \"a\");",
        )
        .file(
            "/usr/lib/firefox/browser/defaults/preferences/b.js",
            "pref(\"network.proxy.socks\", \"b\"); pref(\"network.proxy.socks_port\", 1);",
        );
    // The first in the alphabet is read last.
    assert_eq!(machine.says(), "socks5://a:1 Remote");
    symlink(
        "/etc/firefox-esr",
        machine.path("/usr/lib/firefox/browser/defaults/syspref"),
    )
    .unwrap();
    machine.file(
        "/etc/firefox-esr/local.js",
        "pref(\"network.proxy.socks\", \"debian\", locked);",
    );
    machine.user_js(&["socks = \"mine\""]);
    let posture = machine.posture();
    assert_eq!(short(&posture), "socks5://debian:1 Remote");
    assert!(
        posture
            .overruled
            .iter()
            .any(|lost| lost.source == "user.js"),
        "{posture:?}"
    );
}

#[test]
fn the_environment() {
    for (variables, expected) in [
        (&[("all_proxy", "socks5://h:1")][..], "direct"),
        (&[("http_proxy", "http://h:1")], "some http://h:1 Remote"),
        (&[("HTTPS_PROXY", "http://h:1")], "some http://h:1 Remote"),
        (&[("ALL_PROXY", "http://me:secret@h")], "http://h:80 Remote"),
        (
            &[("http_proxy", "http://h:1"), ("https_proxy", "http://h:1")],
            "http://h:1 Remote",
        ),
        (&[("http_proxy", "h:1")], "direct"),
        (&[("http_proxy", "https://h:1")], "direct"),
        (&[("all_proxy", "http://h:1"), ("no_proxy", "*")], "direct"),
        (&[("no_proxy", "a")], "untold"),
    ] {
        let machine = Machine::new().variables(variables);
        let posture = machine.posture();
        assert_eq!(short(&posture), expected, "{variables:?}");
        assert!(!format!("{posture:?}").contains("secret"), "{posture:?}");
    }
    let machine = Machine::new().variables(&[
        ("all_proxy", "http://h:1"),
        ("no_proxy", "example.com, .lan"),
    ]);
    let posture = machine.posture();
    for (name, is_covered) in [
        ("example.com", true),
        ("www.example.com", true),
        ("notexample.com", true),
        ("x.lan", true),
        ("lan", false),
    ] {
        assert_eq!(posture.bypassed_by(name).is_some(), is_covered, "{name}");
    }
}

/// The desktop's SOCKS is version 4, for which the preference of SOCKS5 counts.
#[test]
fn the_desktop() {
    let machine = Machine::new().variables(&[("GSETTINGS_BACKEND", "keyfile")]);
    machine.file(
        "/home/me/.config/glib-2.0/settings/keyfile",
        "[system/proxy]\nmode='manual'\n[system/proxy/socks]\nhost='h'\nport=1\n",
    );
    assert_eq!(machine.says(), "socks4a://h:1 Remote");
    machine.user_js(&["socks5_remote_dns = false"]);
    assert_eq!(machine.says(), "socks4://h:1 Local");
    machine.user_js(&["default_pac_script_socks_version = 5"]);
    assert_eq!(machine.says(), "socks5://h:1 Remote");
    machine.version("115.0").user_js(&[]);
    assert_eq!(machine.says(), "socks4://h:1 Local");
}

#[test]
fn relatives() {
    let tor = Machine::new().exe("/usr/lib/firefox/firefox.real");
    let posture = tor.posture();
    assert_eq!(short(&posture), "socks5://127.0.0.1:9150 Remote");
    assert!(posture.leaks.is_empty(), "{posture:?}");
    let by_folder = Machine::new();
    by_folder.folder("/usr/lib/firefox/TorBrowser");
    assert_eq!(by_folder.says(), "socks5://127.0.0.1:9150 Remote");
    let other = Machine::new().exe("/usr/bin/curl");
    assert_eq!(other.0.ask(told), None);
}

/// What an extension chooses no file shows.
#[test]
fn extensions_that_may_choose_a_proxy() {
    let addon = |active: bool, location: &str, permission: &str| {
        format!(
            r#"{{"addons":[{{"id":"x@y","active":{active},"location":"{location}","defaultLocale":{{"name":"X"}},
                "userPermissions":{{"permissions":["tabs","{permission}"]}}}},{{"userPermissions":null}},7]}}"#
        )
    };
    for (json, expected) in [
        (
            addon(true, "app-profile", "proxy"),
            "unknown socks5://h:1 Remote",
        ),
        (addon(false, "app-profile", "proxy"), "socks5://h:1 Remote"),
        (
            addon(true, "app-builtin-addons", "proxy"),
            "socks5://h:1 Remote",
        ),
        (addon(true, "app-profile", "dns"), "socks5://h:1 Remote"),
        ("[".repeat(100_000), "socks5://h:1 Remote"),
        (r#"{"addons":{}}"#.to_owned(), "socks5://h:1 Remote"),
    ] {
        let machine = Machine::new();
        machine
            .user_js(&SOCKS)
            .file(&format!("{PROFILE}/extensions.json"), &json);
        assert_eq!(machine.says(), expected, "{json:.300}");
    }
}
