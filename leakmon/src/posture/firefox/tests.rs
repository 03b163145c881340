use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    time::{Duration, SystemTime},
};

use super::{
    autoconfig::{Function, parse as script, unobscured},
    prefs::parse,
    *,
};
use crate::{
    model::{Process, Resolves},
    posture::{Posture, Programs, Route},
};

const PROFILE: &str = "/home/me/.mozilla/firefox/x.default";

/// A machine with Firefox on it.
struct Machine {
    dir: tempfile::TempDir,
    exe: &'static str,
    variables: Vec<(&'static str, &'static str)>,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            dir: tempfile::tempdir().unwrap(),
            exe: "/usr/lib/firefox/firefox",
            variables: vec![("HOME", "/home/me")],
        };
        machine.version("153.7.0").folder(PROFILE);
        symlink("127.0.1.1:+7", machine.path(&format!("{PROFILE}/lock"))).unwrap();
        machine
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    /// A file from before the program was started.
    fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.folder(path.rsplit_once('/').unwrap().0);
        fs::write(self.path(path), text).unwrap();
        self.touch(path, SystemTime::now() - Duration::from_secs(60))
    }

    /// A file that was written while the program ran.
    fn newer(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.file(path, text)
            .touch(path, SystemTime::now() + Duration::from_secs(60))
    }

    fn touch(&self, path: &str, time: SystemTime) -> &Self {
        let file = File::options().append(true).open(self.path(path)).unwrap();
        file.set_modified(time).unwrap();
        self
    }

    fn version(&self, version: &str) -> &Self {
        self.file(
            "/usr/lib/firefox/platform.ini",
            format!("[Build]\nBuildID=1\nMilestone={version}\n"),
        )
    }

    fn user_js(&self, lines: &[&str]) -> &Self {
        self.file(&format!("{PROFILE}/user.js"), lines_of(lines))
    }

    fn view(&self) -> View {
        let lock = format!("{PROFILE}/.parentlock");
        let database = format!("{PROFILE}/cookies.sqlite");
        View::of_disk(self.dir.path(), Some(1000)).with(&self.variables, &[&lock, &database])
    }

    fn posture(&self) -> Posture {
        self.posture_in(&self.view())
    }

    fn posture_in(&self, view: &View) -> Posture {
        let process = Process {
            exe: Some(self.exe.into()),
            cmdline: Some(vec!["firefox".into()]),
            ..Process::unread(7, Some(1000))
        };
        let told = told(&Subject {
            process: &process,
            view,
            programs: &Programs::default(),
        });
        Posture::combine(told.unwrap())
    }

    /// The route in short.
    fn says(&self) -> String {
        short(&self.posture())
    }
}

fn short(posture: &Posture) -> String {
    let proxy = posture
        .proxy()
        .map(|proxy| format!("{proxy} {:?}", proxy.resolves));
    let proxy = proxy.as_deref().unwrap_or("nothing");
    match posture.route {
        Route::Untold => "untold".to_owned(),
        Route::Direct => "direct".to_owned(),
        Route::Everything(_) => proxy.to_owned(),
        Route::Some(_) => format!("some {proxy}"),
        Route::Unknown(_) => format!("unknown {proxy}"),
    }
}

/// Lines of user.js: `type = 1` is network.proxy.type.
fn lines_of(lines: &[&str]) -> String {
    let line = |line: &&str| {
        let (name, value) = line.split_once(" = ").unwrap();
        let name = if name.contains('.') {
            name.to_owned()
        } else {
            format!("network.proxy.{name}")
        };
        format!("user_pref(\"{name}\", {value});\n")
    };
    lines.iter().map(line).collect()
}

const SOCKS: [&str; 3] = ["type = 1", "socks = \"h\"", "socks_port = 1"];

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
    machine.newer(&saved, include_bytes!("testdata/socks5-prefs.js"));
    assert_eq!(machine.says(), "socks5://127.0.0.1:9 Local");
    // Firefox wrote the second file from what it understood of the first.
    let of = |bytes: &[u8]| {
        let mut entries = parse(bytes, Kind::User, |name| name.starts_with("network.proxy."));
        entries.retain(|entry| settings::builtin_is_like(&entry.name, &entry.value));
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        entries
    };
    let read = of(include_bytes!("testdata/odd-user.js"));
    let written = of(include_bytes!("testdata/odd-prefs.js"));
    assert_eq!(read, written);
    assert_eq!(written.len(), 5);
}

#[test]
fn hostile_preferences() {
    let whole = include_bytes!("testdata/odd-user.js");
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
    let starting = View::of_disk(machine.dir.path(), None).with(&[], &["/tmp/firefox/.parentlock"]);
    machine.file("/etc/firefox/policies/policies.json", "{}");
    assert_eq!(machine.posture_in(&starting).resolves(), Resolves::Unknown);
}

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
        let mut machine = Machine::new();
        machine.variables.extend(variables);
        let posture = machine.posture();
        assert_eq!(short(&posture), expected, "{variables:?}");
        assert!(!format!("{posture:?}").contains("secret"), "{posture:?}");
    }
    let mut machine = Machine::new();
    machine.variables.extend([
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
    let mut machine = Machine::new();
    machine.variables.push(("GSETTINGS_BACKEND", "keyfile"));
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
fn relatives() {
    let tor = Machine {
        exe: "/usr/lib/firefox/firefox.real",
        ..Machine::new()
    };
    let posture = tor.posture();
    assert_eq!(short(&posture), "socks5://127.0.0.1:9150 Remote");
    assert!(posture.leaks.is_empty(), "{posture:?}");
    let by_folder = Machine::new();
    by_folder.folder("/usr/lib/firefox/TorBrowser");
    assert_eq!(by_folder.says(), "socks5://127.0.0.1:9150 Remote");
    let other = Machine {
        exe: "/usr/bin/curl",
        ..Machine::new()
    };
    let process = Process {
        exe: Some(other.exe.into()),
        ..Process::unread(1, None)
    };
    let subject = Subject {
        process: &process,
        view: &other.view(),
        programs: &Programs::default(),
    };
    assert_eq!(told(&subject), None);
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
