//! Programs that are told of a proxy by their command line, their own files and the environment: `leakmon audit` says what
//! they were told while they are at it, and the name server's log says whether they asked for the name themselves.

use leakmon_lab::lab::{PAGE, SERVER, SOCKS_PORT};
use leakmon_lab::stall::SILENT_PORT;
use leakmon_lab::stalled::Scene;
use leakmon_lab::{LIMIT, Program, leakmon, need};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const URL: &str = "http://page.example/";

fn at(scheme: &str) -> String {
    format!("{scheme}://{}:{SOCKS_PORT}", SERVER.0)
}

#[test]
fn curl() {
    let Some(scene) = Scene::build("programs_curl", &["curl"]) else {
        return;
    };
    let (local, remote) = (at("socks5"), at("socks5h"));
    let host = format!("{}:{SOCKS_PORT}", SERVER.0);
    let curl = |args: &[&str], variables: &[(&str, &str)]| {
        let args = [args, &["-sS", URL]].concat();
        scene.run("curl", &args, variables)
    };
    curl(&[], &[]).is_told_nothing();

    let leak = curl(&[], &[("all_proxy", &local)]);
    leak.leaks_over(&local);
    assert!(
        leak.evidence().contains("all_proxy=socks5://"),
        "{}",
        leak.said
    );
    let stop = leak.audit()["leaks"][0]["stop"].to_string();
    assert!(stop.contains(&format!("all_proxy={remote}")), "{stop}");
    curl(&[], &[("all_proxy", &remote)]).leaves_names_to(&local);
    curl(&[], &[("http_proxy", &remote), ("ALL_PROXY", &local)]).leaves_names_to(&local);
    // An upper-case HTTP_PROXY is not read, and neither is HTTPS's for this address.
    curl(&[], &[("HTTP_PROXY", &local), ("https_proxy", &local)]).is_told_nothing();

    curl(&["-x", &local], &[("all_proxy", &remote)]).leaks_over(&local);
    curl(&["--socks5-hostname", &host], &[]).leaves_names_to(&local);
    curl(&["--preproxy", &local], &[]).leaks_over(&local);
    curl(&["-x", &remote, "--socks5", &host], &[]).leaks_over(&local);

    let direct = curl(&["-x", ""], &[("all_proxy", &local)]);
    direct.is_told("direct", "", "local");
    assert!(direct.asked && direct.given.is_empty(), "{}", direct.said);

    // A name on the bypass list is asked for, though the proxy takes names.
    let listed = curl(&[], &[("all_proxy", &remote), ("no_proxy", "example")]);
    listed.is_told("proxy", &local, "remote");
    assert_eq!(listed.audit()["bypass"], serde_json::json!(["example"]));
    assert!(listed.asked && listed.given.is_empty(), "{}", listed.said);

    scene.file(".curlrc", &format!("# mine\nproxy = \"{local}\"\n"));
    let own = curl(&[], &[("all_proxy", &remote)]);
    own.leaks_over(&local);
    assert!(own.evidence().contains("curlrc"), "{}", own.said);
    let args = ["-q", "-sS", URL];
    scene.run("curl", &args, &[]).is_told_nothing();
    curl(&["-x", &remote], &[]).leaves_names_to(&local);
}

#[test]
fn curl_with_socks4a_gives_the_name() {
    let Some(scene) = Scene::build("programs_curl_4a", &["curl"]) else {
        return;
    };
    // The lab's SOCKS server speaks version 5 only: whoever takes the connection is enough to look at curl.
    let silent = format!("{}:{SILENT_PORT}", SERVER.0);
    for (scheme, resolves) in [
        ("socks4a", "remote"),
        ("socks4", "local"),
        ("socks", "local"),
    ] {
        let proxy = format!("{scheme}://{silent}");
        let outcome = scene.run("curl", &["-sS", URL], &[("all_proxy", &proxy)]);
        let shown = proxy.replace("socks://", "socks4://");
        outcome.is_told("proxy", &shown, resolves);
        assert_eq!(outcome.asked, resolves == "local", "{}", outcome.said);
    }
}

#[test]
fn wget() {
    let Some(scene) = Scene::build("programs_wget", &["wget"]) else {
        return;
    };
    let wget = |args: &[&str], variables: &[(&str, &str)]| {
        let args = [args, &["-q", "-O-", "--tries=1", URL]].concat();
        scene.run("wget", &args, variables)
    };
    wget(&[], &[]).is_told_nothing();
    // It does not read this one, which is worth a word.
    let deaf = wget(&[], &[("all_proxy", &at("socks5"))]);
    deaf.is_told("untold", "", "local");
    assert!(deaf.asked && deaf.given.is_empty(), "{}", deaf.said);
    assert!(
        deaf.audit()["overruled"]
            .to_string()
            .contains("does not read")
    );

    let proxy = format!("http://{}:80", SERVER.0);
    let both = [("http_proxy", proxy.as_str()), ("https_proxy", &proxy)];
    let http = wget(&[], &both);
    http.leaves_names_to(&proxy);
    assert_eq!(http.targets, [URL], "the proxy was given the name");
    let half = wget(&[], &both[..1]);
    half.is_told("proxy", &proxy, "remote");
    assert_eq!(half.audit()["leaks"][0]["certain"], false, "{}", half.said);
    assert!(!half.asked && half.code == Some(0), "{}", half.said);
    let direct = wget(&["--no-proxy"], &[("http_proxy", &proxy)]);
    direct.is_told("direct", "", "local");
    assert!(direct.asked, "{}", direct.said);

    scene.file(
        ".wgetrc",
        &format!("http-proxy = {proxy}\nHTTPS_PROXY = {proxy}\n"),
    );
    let own = wget(&[], &[("http_proxy", "http://10.77.0.99:1")]);
    own.leaves_names_to(&proxy);
    assert!(own.evidence().contains(".wgetrc"), "{}", own.said);
    scene.remove(".wgetrc");

    // It knows no SOCKS, and asks nobody anything then.
    let before = scene.lab.dns_log().len();
    let mut command = scene.lab.command("wget");
    command.args(["-O-", URL]).env("http_proxy", at("socks5"));
    let refused = Program::spawn(&mut command).finish(LIMIT);
    assert_eq!(scene.lab.dns_log().len(), before, "{refused:?}");
    assert!(refused.stderr.contains("Unsupported scheme"), "{refused:?}");
}

#[test]
fn git() {
    let Some(scene) = Scene::build("programs_git", &["git"]) else {
        return;
    };
    scene.stall.page("r.git/HEAD", "ref: refs/heads/main\n");
    let refs = format!("{}\trefs/heads/main\n", "1".repeat(40));
    scene.stall.page("r.git/info/refs", &refs);
    let (local, remote) = (at("socks5"), at("socks5h"));
    let git = |settings: &[&str], variables: &[(&str, &str)]| {
        let args = [settings, &["ls-remote", "http://page.example/r.git"]].concat();
        let outcome = scene.run("git", &args, variables);
        if let Some(audit) = &outcome.audit {
            assert_eq!(audit["app"]["name"], "git", "{}", outcome.said);
        }
        outcome
    };
    git(&[], &[]).is_told_nothing();
    let proxy = |proxy: &str| format!("http.proxy={proxy}");
    let leak = git(&["-c", &proxy(&local)], &[]);
    leak.leaks_over(&local);
    assert!(
        leak.audit()["advice"].to_string().contains(&proxy(&remote)),
        "{}",
        leak.said
    );
    git(&["-c", &proxy(&remote)], &[("all_proxy", &local)]).leaves_names_to(&local);
    git(&[], &[("all_proxy", &local)]).leaks_over(&local);
    git(&[], &[("http_proxy", &remote), ("all_proxy", &local)]).leaves_names_to(&local);

    let file = format!(
        "[http]\n\tproxy = {local} ; all\n[http \"http://other.example\"]\n\tproxy = {remote}\n"
    );
    scene.file(".gitconfig", &file);
    let own = git(&[], &[("all_proxy", &remote)]);
    own.leaks_over(&local);
    assert!(own.evidence().contains(".gitconfig"), "{}", own.said);
    // What is said for this address counts, wherever it stands.
    let file =
        format!("[http \"http://page.example/\"]\n\tproxy = {remote}\n[http]\n\tproxy = {local}\n");
    scene.file(".gitconfig", &file);
    git(&[], &[]).leaves_names_to(&local);
    let direct = git(&["-c", "http.http://page.example.proxy="], &[]);
    direct.is_told("direct", "", "local");
    assert!(direct.asked && direct.given.is_empty(), "{}", direct.said);
    scene.remove(".gitconfig");
}

/// Whether Debian's Python has these modules; without them a scenario is skipped, or fails where nothing may be.
fn python_has(scenario: &str, modules: &str) -> bool {
    let import = format!("import {modules}");
    let output = Command::new("/usr/bin/python3")
        .args(["-c", &import])
        .output();
    let has = output.is_ok_and(|output| output.status.success());
    assert!(
        has || std::env::var_os(need::REQUIRE).is_none(),
        "{scenario}: {} is set, and Python has not: {modules}",
        need::REQUIRE
    );
    has
}

#[test]
fn python_requests() {
    let Some(scene) = Scene::build("programs_python", &[]) else {
        return;
    };
    if !python_has("programs_python", "requests, socks") {
        return;
    }
    let script = scene.file(
        "fetch.py",
        "import requests, sys\nprint(requests.get(sys.argv[1]).text)\n",
    );
    let python = |variables: &[(&str, &str)], options: &[&str]| {
        scene.run_with("/usr/bin/python3", &[&script, URL], variables, options)
    };
    python(&[], &[]).is_told_nothing();
    let (local, remote) = (at("socks5"), at("socks5h"));
    // Whether a script uses requests, urllib or neither is not known, and not guessed.
    let unknown = python(&[("all_proxy", &local)], &[]);
    unknown.is_told("unknown", &local, "unknown");
    assert!(unknown.asked, "{}", unknown.said);
    assert_eq!(unknown.code, Some(0), "{}", unknown.said);
    assert!(
        unknown.evidence().contains("is not known"),
        "{}",
        unknown.said
    );

    // Who knows it can say so.
    let config = scene.file(
        "leakmon.toml",
        r#"
[[program]]
name = ["fetch.py"]
environment = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
no-proxy = ["no_proxy", "NO_PROXY"]
resolves-itself = ["socks4", "socks5"]
leaves-names = ["socks4a", "socks5h", "http", "https"]
"#,
    );
    let options = ["--config", &config];
    python(&[("all_proxy", &local)], &options).leaks_over(&local);
    python(&[("all_proxy", &remote)], &options).leaves_names_to(&local);
    python(&[("HTTP_PROXY", &remote), ("ALL_PROXY", &local)], &options).leaves_names_to(&local);
}

/// A tool that nobody knows: `--via` names a SOCKS5 proxy, and with `socks5` it looks the name up itself.
const TOOL: &str = r#"#!/usr/bin/python3
import socket, struct, sys

url = sys.argv[-1].split("/")[2]
scheme, rest = sys.argv[sys.argv.index("--via") + 1].split("://")
host, port = rest.split(":")
s = socket.create_connection((host, int(port)))
s.sendall(b"\x05\x01\x00")
s.recv(2)
if scheme == "socks5":
    target = b"\x01" + socket.inet_aton(socket.gethostbyname(url))
else:
    target = b"\x03" + bytes([len(url)]) + url.encode()
s.sendall(b"\x05\x01\x00" + target + struct.pack(">H", 80))
s.recv(10)
s.sendall(b"GET / HTTP/1.0\r\n\r\n")
print(s.makefile().read())
"#;

#[test]
fn a_program_of_the_users_own_table() {
    let Some(scene) = Scene::build("programs_table", &[]) else {
        return;
    };
    let tool = scene.file("mytool", TOOL);
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("it is a file of ours");
    let config = scene.file(
        "leakmon.toml",
        r#"
[[program]]
name = "mytool"
proxy-options = ["--via"]
resolves-itself = ["socks5"]
leaves-names = ["socks5h"]
advice = "use --via socks5h://HOST:PORT"
"#,
    );
    let run =
        |proxy: &str| scene.run_with(&tool, &["--via", proxy, URL], &[], &["--config", &config]);
    let leak = run(&at("socks5"));
    leak.leaks_over(&at("socks5"));
    assert_eq!(
        leak.audit()["leaks"][0]["stop"],
        "use --via socks5h://HOST:PORT",
        "{}",
        leak.said
    );
    run(&at("socks5h")).leaves_names_to(&at("socks5"));
    let unknown = scene.run_with(&tool, &["--via", &at("socks5"), URL], &[], &[]);
    assert!(
        unknown.audit.is_none(),
        "nothing is known of it: {}",
        unknown.said
    );

    // What is wrong in the file is said in one line, before anything is looked at.
    scene.file(
        "leakmon.toml",
        "\n[[program]]\nname = \"mytool\"\nproxy-option = [\"--via\"]\n",
    );
    for command in ["audit", "watch"] {
        let wrong = leakmon::run(&[command, "--config", &config]);
        assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
        let expected = format!(
            "leakmon: {config}, line 4: unknown key `proxy-option`: did you mean `proxy-options`?\n"
        );
        assert_eq!(wrong.stderr, expected, "{wrong:?}");
        assert!(wrong.stdout.is_empty(), "{wrong:?}");
        let missing = leakmon::run(&[command, "--config", "/no/such/file.toml"]);
        assert_eq!(missing.status.code(), Some(2), "{missing:?}");
        assert_eq!(missing.stderr.lines().count(), 1, "{missing:?}");
    }
}

#[test]
fn ssh() {
    let Some(scene) = Scene::build("programs_ssh", &["ssh", "nc.openbsd"]) else {
        return;
    };
    let host = format!("{}:{SOCKS_PORT}", SERVER.0);
    let command = format!("ProxyCommand=nc.openbsd -X 5 -x {host} %h %p");
    let base = ["-F", "none", "-o", "BatchMode=yes"];
    // Its helpers may wait for it for ever: it is ended with the lab.
    let ssh = |args: &[&str]| scene.outcome(scene.lab.command("ssh").args(args), &[], false);
    let plain = ssh(&[&base[..], &[PAGE]].concat());
    assert!(plain.audit.is_none() && plain.asked, "{}", plain.said);
    let outcome = ssh(&[&base[..], &["-o", &command, PAGE]].concat());
    outcome.is_told("proxy", &at("socks5"), "remote");
    assert!(!outcome.asked, "{}", outcome.said);
    assert_eq!(
        outcome.given,
        [format!("{PAGE}:{SILENT_PORT}")],
        "{}",
        outcome.said
    );

    let config = scene.file(
        "ssh_config",
        &format!("Host other\n  ProxyCommand false\nHost page *.example\n  {command}\n"),
    );
    let outcome = ssh(&["-F", &config, PAGE]);
    outcome.is_told("proxy", &at("socks5"), "remote");
    assert!(!outcome.asked, "{}", outcome.said);
    // Made canonical, the name is looked up all the same.
    let always = [
        "-o",
        "CanonicalizeHostname=always",
        "-o",
        "CanonicalDomains=example",
    ];
    let outcome = ssh(&[&["-F", &config][..], &always, &["page"]].concat());
    outcome.is_told("proxy", &at("socks5"), "remote");
    assert_eq!(outcome.code, Some(1), "{}", outcome.said);
    assert!(outcome.asked, "{}", outcome.said);

    let jump = ssh(&[&base[..], &["-J", PAGE, "inner.example"]].concat());
    jump.is_told("direct", "", "local");
    assert!(jump.asked, "{}", jump.said);
    let inner = |log: &[leakmon_lab::Asked]| log.iter().any(|asked| asked.name == "inner.example");
    assert!(!inner(&scene.lab.dns_log()), "{}", jump.said);
}

/// `URL.openStream`, `new Socket(host)` and `java.net.http`, whichever is named.
const FETCH: &str = r#"
import java.net.*;
import java.net.http.*;

public class Fetch {
    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "url" -> System.out.println(new String(new URL(args[1]).openStream().readAllBytes()));
            case "socket" -> {
                try (Socket socket = new Socket("page.example", 80)) {
                    socket.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes());
                    System.out.println(new String(socket.getInputStream().readAllBytes()));
                }
            }
            default -> System.out.println(HttpClient.newHttpClient()
                .send(HttpRequest.newBuilder(URI.create(args[1])).build(), HttpResponse.BodyHandlers.ofString())
                .body());
        }
    }
}
"#;

#[test]
fn java() {
    // A program in one source file needs the compiler (JEP 330).
    let Some(scene) = Scene::build("programs_java", &["java", "javac"]) else {
        return;
    };
    let source = scene.file("Fetch.java", FETCH);
    let java = |options: &[&str], way: &str, variables: &[(&str, &str)]| {
        let args = [options, &[&source, way, URL]].concat();
        scene.run("java", &args, variables)
    };
    java(&[], "url", &[("all_proxy", &at("socks5"))]).is_told_nothing();
    let (host, port) = (
        format!("-DsocksProxyHost={}", SERVER.0),
        format!("-DsocksProxyPort={SOCKS_PORT}"),
    );
    let proxy = at("socks5");
    java(&[&host, &port], "url", &[]).leaks_over(&proxy);
    java(&[&host, &port], "socket", &[]).leaks_over(&proxy);
    // java.net.http takes no SOCKS proxy: it asks, and goes direct.
    let new = java(&[&host, &port], "http", &[]);
    new.is_told("proxy", &proxy, "local");
    assert!(new.asked && new.given.is_empty(), "{}", new.said);

    let last = java(&["-DsocksProxyHost="], "url", &[("_JAVA_OPTIONS", &host)]);
    last.leaks_over(&proxy);
    assert!(last.evidence().contains("_JAVA_OPTIONS"), "{}", last.said);
    let first = java(
        &["-DsocksProxyHost="],
        "url",
        &[("JDK_JAVA_OPTIONS", &host), ("JAVA_TOOL_OPTIONS", &host)],
    );
    assert!(first.given.is_empty(), "{}", first.said);
    assert!(
        first
            .audit
            .as_ref()
            .is_none_or(|audit| audit["route"] == "untold"),
        "{}",
        first.said
    );

    let web = format!("-Dhttp.proxyHost={}", SERVER.0);
    let http = java(&[&web], "url", &[]);
    http.is_told("depends", &format!("http://{}:80", SERVER.0), "depends");
    assert!(!http.asked, "{}", http.said);
    assert_eq!(http.targets, [URL], "{}", http.said);
    let not = java(&[&web, "-Dhttp.nonProxyHosts=*.example"], "url", &[]);
    assert!(not.asked, "{}", not.said);
    assert_eq!(not.audit()["bypass"], serde_json::json!(["*.example"]));
}
