//! The user's own preferences, and what comes of them.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
};

use super::{
    super::{autoconfig::parse as script, prefs::parse, *},
    Machine, PROFILE, SOCKS, lines_of, short,
};
use crate::{model::Resolves, posture::Posture};

#[test]
fn modes() {
    for (lines, expected) in [
        (&[][..], "untold"),
        (&["type = 0"], "direct"),
        (&["type = 3"], "direct"),
        (&["type = 7"], "direct"),
        (&["type = -1"], "unknown nothing"),
        // The wrong type: the default counts.
        (
            &["type = \"1\"", "socks = \"h\"", "socks_port = 1"],
            "untold",
        ),
        (&["type = 1"], "direct"),
        (&["type = 1", "socks = \"h\""], "direct"),
        (
            &["type = 1", "socks = \"h\"", "socks_port = 70000"],
            "unknown nothing",
        ),
        (&SOCKS, "socks5://h:1 Remote"),
        (
            &["type = 1", "socks = \" h \"", "socks_port = 1"],
            "socks5://h:1 Remote",
        ),
        (
            &["type = 1", "socks = \"[::1]\"", "socks_port = 1"],
            "socks5://[::1]:1 Remote",
        ),
        (
            &["type = 1", "socks = \"file:///run/s\""],
            "socks5://[file:///run/s]:0 Remote",
        ),
        (
            &["type = 1", "http = \"h\"", "http_port = 1"],
            "some http://h:1 Remote",
        ),
        (
            &["type = 1", "ssl = \"h\"", "ssl_port = 1"],
            "some http://h:1 Remote",
        ),
        (
            &[
                "type = 1",
                "http = \"h\"",
                "http_port = 1",
                "ssl = \"h\"",
                "ssl_port = 1",
            ],
            "http://h:1 Remote",
        ),
        // What the box "use for all" says is for the window only.
        (
            &[
                "type = 1",
                "http = \"h\"",
                "http_port = 1",
                "share_proxy_settings = true",
            ],
            "some http://h:1 Remote",
        ),
        (&["type = 2"], "direct"),
        (
            &["type = 2", "autoconfig_url = \"http://p/\""],
            "some nothing",
        ),
        (&["type = 4"], "some nothing"),
        (&["type = 5"], "untold"),
    ] {
        let machine = Machine::new();
        machine.user_js(lines);
        assert_eq!(machine.says(), expected, "{lines:?}");
    }
}

#[test]
fn who_resolves_by_version() {
    for (version, lines, expected) in [
        ("153.7.0", &[][..], "socks5 Remote"),
        ("153.7.0", &["socks5_remote_dns = false"], "socks5 Local"),
        ("153.7.0", &["socks_remote_dns = false"], "socks5 Remote"),
        ("153.7.0", &["socks_version = 4"], "socks4 Local"),
        ("153.7.0", &["socks_version = 7"], "socks4 Local"),
        (
            "153.7.0",
            &["socks_version = 4", "socks_remote_dns = true"],
            "socks4a Remote",
        ),
        ("128.0", &[], "socks5 Remote"),
        ("127.0.2", &[], "socks5 Local"),
        ("115.9.1", &["socks5_remote_dns = true"], "socks5 Local"),
        ("115.9.1", &["socks_remote_dns = true"], "socks5 Remote"),
        ("115.9.1", &["socks_version = 4"], "socks4 Local"),
        // Which preference counts is not known.
        ("?", &[], "socks5 Unknown"),
        ("?", &["socks_remote_dns = true"], "socks5 Remote"),
        ("?", &["socks5_remote_dns = false"], "socks5 Local"),
        ("?", &["socks_version = 4"], "socks4 Local"),
        // Names go to the DoH server.
        (
            "153.7.0",
            &["socks5_remote_dns = false", "network.trr.mode = 3"],
            "socks5 Depends",
        ),
        (
            "153.7.0",
            &["socks5_remote_dns = false", "doh-rollout.mode = 2"],
            "socks5 Depends",
        ),
        (
            "153.7.0",
            &["socks5_remote_dns = false", "network.trr.mode = 5"],
            "socks5 Local",
        ),
    ] {
        let machine = Machine::new();
        machine
            .version(version)
            .user_js(&[&SOCKS[..], lines].concat());
        let posture = machine.posture();
        let proxy = posture.proxy().unwrap();
        let got = format!("{} {:?}", proxy.scheme, proxy.resolves);
        assert_eq!(got, expected, "{version} {lines:?}");
        let is_certain = posture.leaks.iter().any(|leak| leak.certain);
        assert_eq!(
            is_certain,
            proxy.resolves == Resolves::Local,
            "{version} {lines:?}"
        );
        assert_eq!(
            posture.advice.is_none(),
            proxy.resolves == Resolves::Remote,
            "{lines:?}"
        );
    }
}

#[test]
fn advice_names_the_preference_and_the_place() {
    let advice = |machine: &Machine| machine.posture().advice.unwrap();
    let local = [&SOCKS[..], &["socks5_remote_dns = false"]].concat();
    let machine = Machine::new();
    machine.user_js(&local);
    assert_eq!(
        advice(&machine),
        format!(
            "set network.proxy.socks5_remote_dns to true in about:config, and in {PROFILE}/user.js, which sets it at every start"
        )
    );
    let old = Machine::new();
    old.version("115.0").user_js(&SOCKS);
    assert_eq!(
        advice(&old),
        "set network.proxy.socks_remote_dns to true in about:config"
    );
    let four = Machine::new();
    four.file(
        &format!("{PROFILE}/prefs.js"),
        lines_of(&[&SOCKS[..], &["socks_version = 4"]].concat()),
    );
    assert_eq!(
        advice(&four),
        "set network.proxy.socks_version to 5 in about:config, if the proxy speaks SOCKS5; or, if it speaks SOCKS4a, set network.proxy.socks_remote_dns to true in about:config"
    );
    let policy = Machine::new();
    policy.user_js(&SOCKS).file(
        "/etc/firefox/policies/policies.json",
        r#"{"policies":{"Proxy":{"UseProxyForDNS":false,"Locked":true}}}"#,
    );
    // Locked is the type too: to the default.
    assert_eq!(policy.says(), "untold");
    policy.file(
        "/etc/firefox/policies/policies.json",
        r#"{"policies":{"Proxy":{"Mode":"manual","SOCKSProxy":"p:1","UseProxyForDNS":false,"Locked":true}}}"#,
    );
    assert_eq!(policy.says(), "socks5://p:1 Local");
    assert_eq!(
        advice(&policy),
        "set UseProxyForDNS to true in the policy Proxy of /etc/firefox/policies/policies.json, and restart it"
    );
}

/// What about:config changes in a running Firefox counts until it ends, whatever user.js says.
#[test]
fn saved_preferences_win_over_user_js_while_it_runs() {
    let machine = Machine::new();
    let saved = format!("{PROFILE}/prefs.js");
    let local = [&SOCKS[..], &["socks5_remote_dns = false"]].concat();
    machine.file(&saved, "").user_js(&local);
    assert_eq!(machine.says(), "socks5://h:1 Local", "just started");
    machine.newer(&saved, lines_of(&local));
    assert_eq!(
        machine.says(),
        "socks5://h:1 Local",
        "it saved what user.js set"
    );
    // What is at its default is not saved.
    machine.newer(&saved, lines_of(&SOCKS));
    let toggled = machine.posture();
    assert_eq!(short(&toggled), "socks5://h:1 Remote");
    let lost = &toggled.overruled;
    assert!(
        lost.iter()
            .any(|lost| lost.source == "user.js"
                && lost.detail.contains("socks5_remote_dns = false")),
        "{lost:?}"
    );
    // Written after the start: not read, and counts for nothing once preferences were saved.
    machine.newer(&format!("{PROFILE}/user.js"), lines_of(&["type = 0"]));
    assert_eq!(machine.says(), "socks5://h:1 Remote");
    machine.file(&saved, lines_of(&SOCKS));
    assert_eq!(
        machine.says(),
        "unknown nothing",
        "which one it read is not known"
    );
    fs::remove_file(machine.path(&format!("{PROFILE}/lock"))).unwrap();
    assert_eq!(machine.posture().resolves(), Resolves::Unknown);
}

#[test]
fn what_real_firefox_wrote() {
    let machine = Machine::new();
    let saved = format!("{PROFILE}/prefs.js");
    machine.newer(&saved, include_bytes!("../testdata/socks5-prefs.js"));
    assert_eq!(machine.says(), "socks5://127.0.0.1:9 Local");
    // Firefox wrote the second file from what it understood of the first.
    let of = |bytes: &[u8]| {
        let mut entries = parse(bytes, Kind::User, |name| name.starts_with("network.proxy."));
        entries.retain(|entry| settings::builtin_is_like(&entry.name, &entry.value));
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    };
    let read = of(include_bytes!("../testdata/odd-user.js"));
    let written = of(include_bytes!("../testdata/odd-prefs.js"));
    assert_eq!(read, written);
    assert_eq!(written.len(), 5);
}

#[test]
fn hostile_preferences() {
    let whole = include_bytes!("../testdata/odd-user.js");
    for end in 0..=whole.len() {
        let cut = whole.get(..end).unwrap();
        for kind in [Kind::User, Kind::Default] {
            let _ = parse(cut, kind, |_| true);
        }
        let _ = script(cut);
    }
    let value = |text: &[u8]| {
        let mut entries = parse(text, Kind::User, |_| true);
        entries.pop().map(|entry| entry.value.to_string())
    };
    for (text, expected) in [
        (
            &b"user_pref(\"a\", \"\\x41\\u00e9\\ud83d\\ude00\");"[..],
            Some("\"A\u{e9}\u{1f600}\""),
        ),
        (b"user_pref(\"a\", \"\xff\");", Some("\"\u{fffd}\"")),
        (b"\xef\xbb\xbfuser_pref\n(\r'a'\t,\n+5 )\n;", Some("5")),
        (b"user_pref(\"a\", \"\\x00\");", None),
        (b"user_pref(\"a\", \"\\ud800\");", None),
        (b"user_pref(\"a\", \"\\t\");", None),
        (b"user_pref(\"a\", 5x);", None),
        (b"user_pref(\"a\", --5);", None),
        (b"user_pref(\"a\", -2147483648);", Some("-2147483648")),
        (b"user_pref(\"a\", 2147483648);", None),
        (b"user_pref(\"a\", 99999999999999999999999);", None),
        (b"user_pref(\"a\", true, locked);", None),
        (b"user_pref(\"a\", true)", None),
        (
            b"user_pref(\"a\" true); user_pref(\"b\", false);",
            Some("false"),
        ),
        (b"/* user_pref(\"a\", true);", None),
        (b"user_pref(\"a\", 1);\0user_pref(\"a\", 2);", Some("1")),
        (b"", None),
    ] {
        let got = value(text);
        assert_eq!(
            got.as_deref(),
            expected,
            "{}",
            String::from_utf8_lossy(text)
        );
    }
}

#[test]
fn what_cannot_be_read_is_not_known() {
    let machine = Machine::new();
    let saved = machine.path(&format!("{PROFILE}/prefs.js"));
    File::create(&saved)
        .unwrap()
        .set_len(100 * 1024 * 1024)
        .unwrap();
    machine.user_js(&SOCKS);
    assert_eq!(machine.posture().resolves(), Resolves::Unknown);
    // A link out of the root leads nowhere.
    fs::remove_file(&saved).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("p"), lines_of(&["type = 0"])).unwrap();
    symlink(outside.path().join("p"), &saved).unwrap();
    assert_eq!(machine.says(), "socks5://h:1 Remote");
    fs::remove_file(&saved).unwrap();
    fs::create_dir(&saved).unwrap();
    assert_eq!(machine.posture().resolves(), Resolves::Unknown);
    // Where everything is locked the user's values do not matter.
    machine.file(
        "/etc/firefox/policies/policies.json",
        r#"{"policies":{"Proxy":{"Mode":"none","Locked":true}}}"#,
    );
    assert_eq!(machine.says(), "direct");
    let starting = View::of_disk(&machine.path(""), None).with(&[], &["/tmp/firefox/.parentlock"]);
    machine.file("/etc/firefox/policies/policies.json", "{}");
    assert_eq!(machine.posture_in(&starting).resolves(), Resolves::Unknown);
}

#[test]
fn scripts_that_choose_proxies() {
    let pac = |word: &str| {
        format!("autoconfig_url = \"data:,function FindProxyForURL(u,h){{return '{word} h:1'}}\"")
    };
    for (word, more, expected) in [
        ("SOCKS5", "socks5_remote_dns = false", "socks5://h:1 Remote"),
        ("SOCKS", "socks5_remote_dns = true", "socks4a://h:1 Remote"),
        ("SOCKS", "socks5_remote_dns = false", "socks4://h:1 Local"),
        (
            "SOCKS",
            "default_pac_script_socks_version = 5",
            "socks5://h:1 Remote",
        ),
        ("PROXY", "socks5_remote_dns = false", "http://h:1 Remote"),
    ] {
        let machine = Machine::new();
        machine.user_js(&["type = 2", &pac(word), more]);
        assert_eq!(machine.says(), expected, "{word} {more}");
    }
}

#[test]
fn lists_of_what_goes_direct() {
    let machine = Machine::new();
    let lines = [
        &SOCKS[..],
        &["no_proxies_on = \"*, .a.example b.example,*c.example 10.0.0.0/8\""],
    ]
    .concat();
    machine.user_js(&lines);
    let posture = machine.posture();
    for (name, is_covered) in [
        ("x.a.example", true),
        ("b.example", true),
        ("x.b.example", true),
        ("x.c.example", true),
        // An asterisk alone means nothing.
        ("other.example", false),
    ] {
        assert_eq!(posture.bypassed_by(name).is_some(), is_covered, "{name}");
    }
}

#[test]
fn own_services_leak_when_the_proxy_fails() {
    let machine = Machine::new();
    machine.user_js(&SOCKS);
    let posture = machine.posture();
    let leak = &posture.leaks[0];
    assert!(
        !leak.certain && leak.stop.contains("network.proxy.failover_direct to false"),
        "{leak:?}"
    );
    machine.user_js(
        &[
            &SOCKS[..],
            &["failover_direct = false", "allow_bypass = false"],
        ]
        .concat(),
    );
    assert!(machine.posture().leaks.is_empty());
}

#[test]
fn profiles_on_disk() {
    let machine = Machine::new();
    machine
        .file(
            "/home/me/.mozilla/firefox/profiles.ini",
            "[Profile0]\nName=default\nIsRelative=1\nPath=x.default\n",
        )
        .file(
            &format!("{PROFILE}/compatibility.ini"),
            "[Compatibility]\nLastVersion=153.7.0_1/1\nLastPlatformDir=/usr/lib/firefox\n",
        )
        .newer(&format!("{PROFILE}/prefs.js"), lines_of(&SOCKS))
        .user_js(&["socks_version = 4"]);
    let mut found = profiles(&machine.view());
    assert_eq!(found.len(), 1, "{found:?}");
    let (program, folder, told) = found.pop().unwrap();
    assert_eq!((program.as_str(), folder.as_str()), ("Firefox", PROFILE));
    // At its next start user.js counts.
    assert_eq!(short(&Posture::combine(told)), "socks4://h:1 Local");
}
