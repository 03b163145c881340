use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::posture::testing::Scene;

const SERVERS: &str = include_str!("testdata/preferences-servers.json");
const SCRIPT: &str = include_str!("testdata/preferences-script.json");
const EXTENSION: &str = include_str!("testdata/preferences-extension.json");
const STATE: &str = include_str!("testdata/local-state.json");

const FOLDER: &str = "home/me/.config/chromium";

/// A program of the family with its files.
fn chromium(arguments: &[&str]) -> Scene {
    Scene::new("/usr/lib/chromium/chromium")
        .uid(1000)
        .args(arguments)
        .variable("HOME", "/home/me")
}

/// What is particular to the family.
trait Family: Sized {
    fn profile(self, name: &str, text: impl AsRef<[u8]>) -> Self;
    fn policy(self, text: &str) -> Self;
    fn combined(&self) -> Posture;

    /// Where it is written, and what it comes to.
    fn short(&self) -> String {
        short(&self.combined())
    }
}

impl Family for Scene {
    fn profile(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.file(&format!("{FOLDER}/{name}/Preferences"), text)
    }

    fn policy(self, text: &str) -> Self {
        self.file("etc/chromium/policies/managed/a.json", text)
    }

    fn combined(&self) -> Posture {
        Posture::combine(self.ask(told).unwrap())
    }
}

fn short(posture: &Posture) -> String {
    let source = posture
        .evidence
        .first()
        .map_or("nowhere", |first| &first.source);
    let proxy = posture
        .proxy()
        .map_or_else(String::new, ToString::to_string);
    let kind = match posture.route {
        Route::Everything(_) => "all",
        Route::Some(_) => "some",
        Route::Direct => "direct",
        Route::Untold => "untold",
        Route::Unknown(_) => "unknown",
    };
    format!("{source}: {kind} {proxy} {:?}", posture.resolves())
}

fn all(posture: &Posture) -> String {
    format!("{:?}", posture.evidence)
}

const POLICY: &str = r#"{"ProxyMode":"fixed_servers","ProxyServer":"socks4://policy:1"}"#;
const SYSTEM: &str = r#"{"ProxyMode":"system"}"#;
const FLAG: &str = "--proxy-server=socks5://flag:1";
const LOAD: &str = "--load-extension=/home/me/extension";

#[test]
fn who_wins() {
    let environment = |scene: Scene| scene.variable("SOCKS_SERVER", "environment:1");
    for (scene, expected) in [
        (chromium(&[]), "nowhere: untold  Local"),
        (
            environment(chromium(&[])),
            "environment: all socks5://environment:1 Remote",
        ),
        (
            environment(chromium(&[])).profile("Default", SERVERS),
            "preferences: all socks5://127.0.0.1:1080 Remote",
        ),
        (
            environment(chromium(&[FLAG])).profile("Default", SERVERS),
            "command-line: all socks5://flag:1 Remote",
        ),
        (
            chromium(&[FLAG, LOAD]).profile("Default", EXTENSION),
            "extension: all socks5://127.0.0.1:1080 Remote",
        ),
        (
            chromium(&[FLAG, LOAD])
                .profile("Default", EXTENSION)
                .policy(POLICY),
            "policy: all socks4://policy:1 Local",
        ),
        // One that leaves it to the system overrules those below it.
        (
            environment(chromium(&[FLAG]))
                .profile("Default", SERVERS)
                .policy(SYSTEM),
            "environment: all socks5://environment:1 Remote",
        ),
        (
            chromium(&[FLAG]).profile("Default", SERVERS).policy(SYSTEM),
            "policy: direct  Local",
        ),
        (
            environment(chromium(&[])).profile("Default", r#"{"proxy":{"mode":"system"}}"#),
            "environment: all socks5://environment:1 Remote",
        ),
        // What is not valid is as nothing.
        (
            chromium(&[FLAG]).policy(r#"{"ProxyServer":"policy:1"}"#),
            "command-line: all socks5://flag:1 Remote",
        ),
        (
            chromium(&[]).file("etc/chromium/policies/recommended/a.json", POLICY),
            "nowhere: untold  Local",
        ),
        // An extension of an earlier command line, one that is switched off, and none at all.
        (
            chromium(&[]).profile("Default", EXTENSION),
            "nowhere: untold  Local",
        ),
        (
            chromium(&[LOAD, "--disable-extensions"]).profile("Default", EXTENSION),
            "nowhere: untold  Local",
        ),
        (
            chromium(&[LOAD]).profile(
                "Default",
                EXTENSION.replacen("\"disable_reasons\":[]", "\"disable_reasons\":[1]", 1),
            ),
            "nowhere: untold  Local",
        ),
        (
            chromium(&[]).profile(
                "Default",
                EXTENSION.replacen("\"location\":8", "\"location\":1", 1),
            ),
            "extension: all socks5://127.0.0.1:1080 Remote",
        ),
    ] {
        assert_eq!(scene.short(), expected, "{:?}", scene.combined());
    }
}

#[test]
fn what_is_overruled_is_kept() {
    let posture = chromium(&[FLAG])
        .profile("Default", SERVERS)
        .policy(SYSTEM)
        .variable("SOCKS_SERVER", "environment:1")
        .combined();
    let sources: Vec<_> = posture
        .overruled
        .iter()
        .map(|one| one.source.as_str())
        .collect();
    assert!(
        sources.contains(&"command-line") && sources.contains(&"preferences"),
        "{posture:?}"
    );
    assert!(all(&posture).contains("ProxyMode = system"), "{posture:?}");
    let recommended = chromium(&[])
        .file("etc/chromium/policies/recommended/a.json", POLICY)
        .combined();
    assert!(
        recommended.overruled[0]
            .detail
            .contains("merely recommended")
    );
}

#[test]
fn of_several_extensions_the_last_installed_wins() {
    let extension = |updated: &str, server: &str| {
        format!(
            r#"{{"disable_reasons":[],"last_update_time":"{updated}","location":1,"path":"p",
            "manifest":{{"name":"Switch {server}"}},
            "preferences":{{"proxy":{{"mode":"fixed_servers","server":"{server}"}}}}}}"#
        )
    };
    let preferences = format!(
        r#"{{"extensions":{{"settings":{{"aa":{},"bb":{},"cc":{}}}}}}}"#,
        extension("2", "socks5://old:1"),
        extension("10", "socks4://new:1"),
        extension("9", "socks5://older:1"),
    );
    // The protected file counts as well.
    let posture = chromium(&[])
        .file(&format!("{FOLDER}/Default/Secure Preferences"), preferences)
        .combined();
    assert_eq!(short(&posture), "extension: all socks4://new:1 Local");
    assert!(
        posture.evidence[0]
            .detail
            .starts_with("Switch socks4://new:1 (bb), ")
    );
    assert!(
        posture.advice.unwrap().contains("the extension Switch"),
        "an advice for it"
    );
    assert_eq!(posture.overruled.len(), 4);
}

#[test]
fn the_profile_that_is_open_counts() {
    let base = |arguments: &[&str]| {
        chromium(arguments)
            .profile("Default", SERVERS)
            .profile("Profile 1", SCRIPT)
            .file(&format!("{FOLDER}/Local State"), STATE)
    };
    // Its last used one is Profile 1.
    let guessed = base(&[]).combined();
    assert_eq!(
        short(&guessed),
        "preferences: all socks4://127.0.0.1:9050 Local"
    );
    assert!(all(&guessed).contains("could not be seen"), "{guessed:?}");
    assert!(guessed.advice.unwrap().contains("SOCKS5 127.0.0.1:9050"));
    assert!(guessed.leaks[0].certain);
    let named = base(&["--profile-directory=Default"]);
    assert_eq!(
        named.short(),
        "preferences: all socks5://127.0.0.1:1080 Remote"
    );
    let open = base(&[]).open("/home/me/.config/chromium/Default/History");
    assert_eq!(
        open.short(),
        "preferences: all socks5://127.0.0.1:1080 Remote"
    );
    assert!(!all(&open.combined()).contains("could not be seen"));
    assert_eq!(open.combined().bypass.rules, ["*.corp.example", "<local>"]);
    // Encrypted DNS is said.
    assert!(
        all(&open.combined())
            .contains("dns_over_https.mode = secure, templates = https://dns.example/dns-query")
    );
}

#[test]
fn several_open_profiles_are_never_one() {
    let two = |second: &str| {
        chromium(&[])
            .profile("Default", SERVERS)
            .profile("Profile 1", second)
            .open("/home/me/.config/chromium/Default/History")
            .open("/home/me/.config/chromium/Profile 1/Web Data")
            .open("/home/me/.config/chromium/System Profile/Web Data")
    };
    let different = two(SCRIPT).combined();
    assert_eq!(
        short(&different),
        "preferences: some socks5://127.0.0.1:1080 Depends"
    );
    assert!(
        different.is_proxy_address([127, 0, 0, 1].into(), 9050),
        "{different:?}"
    );
    assert!(
        all(&different).contains("Profile 1: socks4://127.0.0.1:9050"),
        "{different:?}"
    );
    assert_eq!(
        two(SERVERS).short(),
        "preferences: all socks5://127.0.0.1:1080 Remote"
    );
    // A flag is for all of them.
    let flag = two(SCRIPT).args(&[FLAG]);
    assert_eq!(flag.short(), "command-line: all socks5://flag:1 Remote");
}

#[test]
fn folders_of_profiles() {
    let other = "elsewhere/Default/Preferences";
    for (scene, is_found) in [
        (chromium(&["--user-data-dir=/elsewhere"]), true),
        (chromium(&["--user-data-dir=/elsewhere/"]), true),
        (
            chromium(&[]).variable("CHROME_USER_DATA_DIR", "/elsewhere"),
            true,
        ),
        (
            chromium(&["--user-data-dir=/nowhere"]).variable("CHROME_USER_DATA_DIR", "/elsewhere"),
            false,
        ),
        (chromium(&[]).open("/elsewhere/Default/Login Data"), true),
        (
            chromium(&[
                "--user-data-dir=/elsewhere",
                "--profile-directory=../elsewhere/Default",
            ]),
            false,
        ),
        (chromium(&[]), false),
    ] {
        let scene = scene.file(other, SERVERS);
        assert_eq!(
            scene.combined().proxy().is_some(),
            is_found,
            "{:?}",
            scene.arguments()
        );
    }
    let brave = chromium(&[])
        .variable("XDG_CONFIG_HOME", "/config")
        .file(
            "config/BraveSoftware/Brave-Browser/Default/Preferences",
            SERVERS,
        )
        .exe("/opt/brave.com/brave/brave");
    assert!(brave.combined().proxy().is_some());
}

#[test]
fn the_browsers_own_services_do_not_heed_a_profile() {
    let leaks = |scene: Scene| -> Vec<bool> {
        scene
            .combined()
            .leaks
            .iter()
            .map(|leak| leak.certain)
            .collect()
    };
    assert_eq!(leaks(chromium(&[]).profile("Default", SERVERS)), [true]);
    assert_eq!(
        leaks(chromium(&["--disable-background-networking"]).profile("Default", SERVERS)),
        [false]
    );
    let with_same = chromium(&[])
        .variable("SOCKS_SERVER", "h:1")
        .profile("Default", SERVERS);
    assert!(
        leaks(with_same).is_empty(),
        "the system's settings lead them to a proxy too"
    );
    assert!(leaks(chromium(&[FLAG]).profile("Default", SERVERS)).is_empty());
    let extension = chromium(&[FLAG, LOAD]).profile("Default", EXTENSION);
    assert!(leaks(extension).is_empty(), "the flag is for them");
    let direct = r#"{"proxy":{"mode":"direct"}}"#;
    assert!(leaks(chromium(&[]).profile("Default", direct)).is_empty());
}

#[test]
fn advice_names_the_place() {
    let advice = |scene: Scene| scene.combined().advice.unwrap();
    let socks4 = r#"{"proxy":{"mode":"fixed_servers","server":"socks4://h:1"}}"#;
    for (advice, expected) in [
        (
            advice(chromium(&["--proxy-server=socks4://h:1"])),
            "--proxy-server=socks5://h:1",
        ),
        (
            advice(chromium(&[]).policy(POLICY)),
            "ProxyServer to \"socks5://policy:1\" in /etc/chromium/policies/managed/a.json",
        ),
        (
            advice(chromium(&[]).profile("Default", socks4)),
            "\"socks5://h:1\" in /home/me/.config/chromium/Default/Preferences",
        ),
        (
            advice(
                chromium(&[])
                    .variable("SOCKS_SERVER", "h:1")
                    .variable("SOCKS_VERSION", "4"),
            ),
            "without SOCKS_VERSION=4",
        ),
        (advice(chromium(&[FLAG])), "MAP * ~NOTFOUND , EXCLUDE flag"),
    ] {
        assert!(advice.contains(expected), "{advice}");
    }
}

#[test]
fn names_that_cannot_be_resolved_do_not_leak() {
    let rules = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE h";
    let posture = chromium(&["--proxy-server=socks4://h:1", rules]).combined();
    assert_eq!(short(&posture), "command-line: all socks4://h:1 Remote");
    assert!(
        posture.leaks.iter().all(|leak| !leak.certain),
        "{posture:?}"
    );
    assert!(all(&posture).contains("do not leak"));
    assert!(posture.advice.unwrap().contains("socks5://h:1"));
    let remote = chromium(&["--proxy-server=socks5://h:1", rules]).combined();
    assert!(
        remote.leaks.is_empty() && remote.advice.is_none(),
        "{remote:?}"
    );
    let excepted = chromium(&[
        "--proxy-server=socks5://h:1",
        &format!("{rules},EXCLUDE *.corp"),
    ]);
    assert!(excepted.combined().leaks[0].what.contains("*.corp"));
    let other = chromium(&[
        "--proxy-server=socks4://h:1",
        "--host-resolver-rules=MAP a b",
    ]);
    assert!(other.combined().leaks[0].certain);
    let wpad = chromium(&["--proxy-auto-detect"]).combined();
    assert!(wpad.leaks[0].certain && wpad.leaks[0].what.contains("wpad"));
    let blocked = chromium(&["--proxy-auto-detect", rules]).combined();
    assert!(
        blocked.leaks.iter().all(|leak| !leak.what.contains("wpad")),
        "{blocked:?}"
    );
}

#[test]
fn what_cannot_be_read_is_unknown() {
    let broken = chromium(&[FLAG]).policy(r#"{"ProxyMode":"#);
    assert_eq!(broken.short(), "policy: unknown socks5://flag:1 Unknown");
    let broken = chromium(&[FLAG]).profile("Default", &SERVERS[..1000]);
    assert_eq!(
        broken.short(),
        "preferences: unknown socks5://flag:1 Unknown"
    );
    // Where it is not known whether policies are read.
    let vivaldi = chromium(&[FLAG])
        .file("etc/opt/vivaldi/policies/managed/a.json", POLICY)
        .exe("/opt/vivaldi/vivaldi-bin");
    assert_eq!(vivaldi.short(), "policy: unknown socks4://policy:1 Unknown");
}

#[test]
fn hostile_profiles() {
    for text in [SERVERS, SCRIPT, EXTENSION] {
        for end in (0..text.len())
            .filter(|end| text.is_char_boundary(*end))
            .step_by(37)
        {
            let scene = chromium(&[LOAD]).profile("Default", &text[..end]);
            let posture = scene.combined();
            assert!(
                end == 0 || matches!(posture.route, Route::Unknown(_)),
                "{end}"
            );
        }
    }
    for end in (0..STATE.len()).step_by(11) {
        let scene = chromium(&[])
            .profile("Default", SERVERS)
            .file(&format!("{FOLDER}/Local State"), &STATE[..end]);
        assert!(
            scene.combined().proxies_everything(),
            "the default profile: {end}"
        );
    }
    for bytes in [
        "{\"proxy\":".repeat(200_000).into_bytes(),
        "[".repeat(200_000).into_bytes(),
        b"\xff\xfe\x00{}".to_vec(),
        b"{\"proxy\":{\"mode\":\"fixed_servers\",\"server\":\"socks5://\xff\xff:1\"}}".to_vec(),
        br#"{"proxy":1,"extensions":{"settings":{"a":{"preferences":{"proxy":[]}}}}}"#.to_vec(),
        br#"{"proxy":{"mode":{}},"extensions":[]}"#.to_vec(),
        b"null".to_vec(),
    ] {
        let _ = chromium(&[]).profile("Default", bytes).combined();
    }
    let scene = chromium(&[FLAG]).profile("Default", "{}");
    let file = scene.path(&format!("{FOLDER}/Default/Preferences"));
    fs::File::create(&file)
        .unwrap()
        .set_len(100 * 1024 * 1024)
        .unwrap();
    assert!(matches!(scene.combined().route, Route::Unknown(_)));
    fs::remove_file(&file).unwrap();
    symlink("/../../../../../../etc/passwd", &file).unwrap();
    assert!(scene.combined().proxies_everything(), "it leads to nothing");
}

#[test]
fn electron() {
    let app = |arguments: &[&str]| {
        chromium(arguments)
            .file("opt/App/chrome_100_percent.pak", "")
            .file("opt/App/resources/app.asar", "")
            .exe("/opt/App/app")
    };
    assert_eq!(
        app(&[FLAG]).short(),
        "command-line: all socks5://flag:1 Remote"
    );
    assert_eq!(
        app(&[]).variable("SOCKS_SERVER", "h:1").short(),
        "environment: unknown socks5://h:1 Unknown"
    );
    assert_eq!(app(&[]).short(), "nowhere: untold  Local");
    let other = chromium(&[FLAG]).exe("/opt/App/app");
    assert!(other.ask(told).is_none());
}

#[test]
fn profiles_on_disk() {
    let scene = chromium(&[])
        .profile("Default", SERVERS)
        .profile("Profile 1", SCRIPT)
        .profile("System Profile", "{}")
        .file(
            "home/me/snap/chromium/common/chromium/Default/Preferences",
            "{}",
        )
        .file(
            "home/me/.config/BraveSoftware/Brave-Browser/Default/Preferences",
            EXTENSION,
        )
        .file("home/me/.config/opera/Preferences", SERVERS);
    let found: Vec<_> = profiles(&scene.view())
        .into_iter()
        .map(|(program, folder, told)| {
            let posture = Posture::combine(told);
            format!("{program} {folder}: {}", short(&posture))
        })
        .collect();
    assert_eq!(
        found,
        [
            "Chromium /home/me/.config/chromium/Default: preferences: all socks5://127.0.0.1:1080 Remote",
            "Chromium /home/me/.config/chromium/Profile 1: preferences: all socks4://127.0.0.1:9050 Local",
            "Chromium /home/me/snap/chromium/common/chromium/Default: nowhere: untold  Local",
            "Brave /home/me/.config/BraveSoftware/Brave-Browser/Default: nowhere: untold  Local",
            "Opera /home/me/.config/opera: preferences: all socks5://127.0.0.1:1080 Remote",
        ]
    );
    let managed = scene.policy(POLICY);
    let told = profiles(&managed.view()).swap_remove(0).2;
    assert_eq!(
        short(&Posture::combine(told)),
        "policy: all socks4://policy:1 Local"
    );
}
