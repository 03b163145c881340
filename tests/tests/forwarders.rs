//! Programs that are proxies themselves: what `leakmon audit` says of them, and what `leakmon watch` makes of the names
//! that they ask for, beside what the name server was asked.

use leakmon_lab::audited::{Audited, audit};
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER};
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, tor, wait};
use std::fs;
use std::net::IpAddr;
use std::process::Command;

const URL: &str = "http://page.example/";

fn file(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.dir().join(name);
    fs::write(&path, text).expect("a file can be written in the lab's folder");
    path.to_str().expect("a path in UTF-8").to_owned()
}

/// Starts a proxy on the client's side and waits until it listens.
fn start(lab: &Lab, port: u16, program: &str, args: &[&str]) -> Program {
    let mut program = lab.start(program, args);
    wait_listening(&mut program, port);
    program
}

/// Fetches the page, which has to come.
fn fetch(lab: &Lab, args: &[&str]) {
    let args = [&["-sS", "--max-time", "15"], args, &[URL]].concat();
    let (_, curl) = lab.run("curl", &args);
    assert!(
        curl.text().contains(PAGE_TEXT),
        "the page did not load: {curl:?}"
    );
}

fn assert_role(audited: &Audited, role: &str) {
    assert_eq!(audited.line["role"], role, "{:#}", audited.line);
}

/// Lets privoxy hand a request on to tor by that line, and compares what was said before with what happened.
fn privoxy(scenario: &str, keyword: &str, scheme: &str, leaks: bool) {
    let Some(lab) = Lab::builder(scenario)
        .tor()
        .needs(&["privoxy", "curl"])
        .build()
    else {
        return;
    };
    let dir = lab.dir().display();
    let line = format!("{keyword} / 127.0.0.1:{} .", tor::PORT);
    let config = file(
        &lab,
        "privoxy.conf",
        &format!("confdir {dir}\nlogdir {dir}\nlisten-address 127.0.0.1:8118\n{line}\n"),
    );
    let leakmon = Leakmon::watch(&lab, &[]);
    let privoxy = start(&lab, 8118, "privoxy", &["--no-daemon", &config]);
    let audited = audit(privoxy.pid());
    assert_role(&audited, "privoxy, an HTTP proxy on 127.0.0.1:8118");
    let resolves = if leaks { "local" } else { "remote" };
    let proxy = format!("{scheme}://127.0.0.1:{}", tor::PORT);
    audited.assert_route("proxy", &proxy, resolves);
    audited.assert_leak(leaks);
    let advice = audited.line["advice"].to_string();
    assert_eq!(
        advice.contains(&line) && advice.contains(&config),
        leaks,
        "{advice}"
    );

    // tor has no network, and keeps it waiting.
    let curl = lab.start("curl", &["-sS", "-x", "http://127.0.0.1:8118", URL]);
    let request = |line: &String| {
        line.contains(tor::WARNING) || line.contains("instructed Tor to take care of the DNS")
    };
    assert!(
        wait::until_true(LIMIT, || lab.tor_log().iter().any(request)),
        "{:#?}\n{}\n{}",
        lab.tor_log(),
        curl.said(),
        privoxy.said()
    );
    if leaks {
        leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    }
    leakmon.catch_up(&lab);
    let run = leakmon.stop();
    let state = run.final_state();
    assert_eq!(lab.is_asked(PAGE), leaks, "{:?}", lab.dns_log());
    assert_eq!(state.proof_for(PAGE).is_some(), leaks, "{}", run.said());
    assert_eq!(
        state.findings().count(),
        usize::from(leaks),
        "{}",
        run.said()
    );
    for query in state.queries_for(PAGE) {
        assert_eq!(query["process"]["pid"], privoxy.pid(), "{query:#}");
        assert_eq!(query["verdict"], "leak", "{query:#}");
    }
    assert!(
        state.proxies().any(|proxy| {
            proxy["process"]["pid"] == privoxy.pid() && (proxy["target"]["name"] == PAGE) != leaks
        }),
        "{}",
        run.said()
    );
}

#[test]
fn privoxy_resolves_names_itself_for_socks4() {
    privoxy("privoxy_socks4", "forward-socks4", "socks4", true);
}

#[test]
fn privoxy_leaves_names_to_socks4a() {
    privoxy("privoxy_socks4a", "forward-socks4a", "socks4a", false);
}

#[test]
fn privoxy_leaves_names_to_socks5() {
    privoxy("privoxy_socks5", "forward-socks5", "socks5", false);
}

#[test]
fn privoxy_leaves_names_to_socks5_of_tor() {
    privoxy("privoxy_socks5t", "forward-socks5t", "socks5", false);
}

#[test]
fn privoxy_without_another_proxy_asks_for_its_clients() {
    let Some(lab) = Lab::builder("privoxy_direct")
        .web()
        .needs(&["privoxy", "curl"])
        .build()
    else {
        return;
    };
    // Its own folder: the configuration file has no path.
    file(&lab, "config", "listen-address 127.0.0.1:8118\n");
    let leakmon = Leakmon::watch(&lab, &[]);
    let privoxy = start(&lab, 8118, "privoxy", &["--no-daemon"]);
    let audited = audit(privoxy.pid());
    assert_role(&audited, "privoxy, an HTTP proxy on 127.0.0.1:8118");
    assert_eq!(audited.line["route"], "direct", "{:#}", audited.line);
    audited.assert_leak(false);
    fetch(&lab, &["-x", "http://127.0.0.1:8118"]);
    assert_explained(&lab, leakmon, PAGE, privoxy.pid());
}

/// The name was asked for, by that process alone, and is no leak.
fn assert_explained(lab: &Lab, leakmon: Leakmon, name: &str, pid: u32) {
    assert!(lab.is_asked(name), "{:?}", lab.dns_log());
    leakmon.catch_up(lab);
    let run = leakmon.stop();
    let state = run.final_state();
    assert!(state.queries_for(name).next().is_some(), "{}", run.said());
    for query in state.queries_for(name) {
        assert_eq!(query["process"]["pid"], pid, "{query:#}");
        assert_eq!(query["verdict"], "explained", "{query:#}");
    }
    assert_eq!(state.findings().count(), 0, "{}", run.said());
}

#[test]
fn a_socks_server_asks_for_its_clients() {
    let Some(lab) = Lab::builder("microsocks")
        .web()
        .needs(&["microsocks", "curl"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let microsocks = start(&lab, 1080, "microsocks", &["-i", "127.0.0.1"]);
    let audited = audit(microsocks.pid());
    assert_role(&audited, "microsocks, a SOCKS proxy");
    audited.assert_leak(false);
    fetch(&lab, &["--socks5-hostname", "127.0.0.1:1080"]);
    assert_explained(&lab, leakmon, PAGE, microsocks.pid());
}

#[test]
fn tor_says_what_it_offers() {
    let Some(lab) = Lab::builder("tor_role").needs(&["tor"]).build() else {
        return;
    };
    let torrc = file(&lab, "torrc", "SocksPort 9050\nDNSPort 5353\n");
    let data = lab.dir().join("tor");
    let data = data.to_str().expect("a path in UTF-8");
    let none = "/nonexistent";
    let args = [
        "-f",
        &torrc,
        "--defaults-torrc",
        none,
        "--DataDirectory",
        data,
    ];
    let tor = start(
        &lab,
        9050,
        "tor",
        &[&args[..], &["+SocksPort", "9150"]].concat(),
    );
    let audited = audit(tor.pid());
    assert_role(
        &audited,
        "tor, a SOCKS proxy on 127.0.0.1:9050, 127.0.0.1:9150, a resolver on 127.0.0.1:5353 (DNSPort)",
    );
    audited.assert_leak(false);
    // It does what was said of it: the ports are in the kernel's own table.
    let listens = |table: &str, port: u16| {
        fs::read_to_string(format!("/proc/{}/net/{table}", tor.pid()))
            .is_ok_and(|table| table.contains(&format!(":{port:04X} ")))
    };
    assert!(
        listens("tcp", 9150) && listens("udp", 5353),
        "{}",
        tor.said()
    );
}

/// An SSH server on the server's side that lets the lab's key in; gives the key too.
fn sshd(lab: &Lab) -> (Program, String) {
    let path = |name: &str| {
        let path = lab.dir().join(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    };
    for key in [path("host"), path("key")] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", &key])
            .status();
        assert!(made.is_ok_and(|status| status.success()), "no key {key}");
    }
    // Where sshd has no rights at all; packages make it when the service starts.
    fs::create_dir_all("/run/sshd").expect("a folder can be made in /run");
    let config = file(
        lab,
        "sshd.conf",
        &format!(
            "Port 2222\nListenAddress {}\nHostKey {}\nAuthorizedKeysFile {}\nUsePAM no\nStrictModes no\nPidFile none\nPermitRootLogin yes\nUseDNS no\n",
            SERVER.0,
            path("host"),
            path("key.pub"),
        ),
    );
    let mut command = lab.command_on_machine("ip");
    command.args(["netns", "exec", lab.server().name()]);
    command.args(["/usr/sbin/sshd", "-D", "-e", "-f", &config]);
    let mut sshd = Program::spawn(&mut command);
    wait_listening(&mut sshd, 2222);
    (sshd, path("key"))
}

#[test]
fn ssh_gives_names_to_the_side_of_its_server() {
    let Some(lab) = Lab::builder("ssh_dynamic")
        .record("ssh.example", &[IpAddr::V4(SERVER.0)])
        .web()
        .needs(&["ssh", "sshd", "ssh-keygen", "curl"])
        .build()
    else {
        return;
    };
    let (sshd, key) = sshd(&lab);
    let leakmon = Leakmon::watch(&lab, &[]);
    let options = [
        "-F",
        "none",
        "-p",
        "2222",
        "-i",
        &key,
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ];
    let mut ssh = lab.start(
        "ssh",
        &[&options[..], &["root@ssh.example", "-ND", "1080"]].concat(),
    );
    let listens = wait::until_true(LIMIT, || {
        fs::read_to_string(format!("/proc/{}/net/tcp", ssh.pid()))
            .is_ok_and(|table| table.contains("0100007F:0438 "))
            || ssh.try_wait().is_some()
    });
    assert!(
        listens && ssh.try_wait().is_none(),
        "{}\n{}",
        ssh.said(),
        sshd.said()
    );
    let audited = audit(ssh.pid());
    assert_role(&audited, "ssh -D, a SOCKS proxy on 127.0.0.1:1080");
    audited.assert_leak(false);
    fetch(&lab, &["--socks5-hostname", "127.0.0.1:1080"]);
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
    assert_explained(&lab, leakmon, "ssh.example", ssh.pid());
}

#[test]
fn dante_gives_its_proxy_addresses() {
    let Some(lab) = Lab::builder("dante")
        .socks()
        .web()
        .needs(&["danted", "curl"])
        .build()
    else {
        return;
    };
    let config = file(
        &lab,
        "danted.conf",
        "logoutput: stderr\ninternal: 127.0.0.1 port = 1081\nexternal: 10.77.0.2\nclientmethod: none\nsocksmethod: none\nclient pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\nsocks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }\nroute { from: 0.0.0.0/0 to: 0.0.0.0/0 via: 10.77.0.1 port = 1080 proxyprotocol: socks_v5 }\n",
    );
    let leakmon = Leakmon::watch(&lab, &[]);
    let danted = start(&lab, 1081, "danted", &["-f", &config]);
    let audited = audit(danted.pid());
    assert_role(&audited, "dante, a SOCKS proxy");
    audited.assert_route("proxy", "socks5://10.77.0.1:1080", "local");
    audited.assert_leak(true);
    fetch(&lab, &["--socks5-hostname", "127.0.0.1:1081"]);
    leakmon.catch_up(&lab);
    leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    let run = leakmon.stop();
    assert!(lab.is_asked(PAGE), "{:?}", lab.dns_log());
    let state = run.final_state();
    // Its children ask, and it is named.
    let proof = state
        .proof_for(PAGE)
        .unwrap_or_else(|| panic!("nothing proven\n{}", run.said()));
    assert_eq!(proof["app"]["pid"], danted.pid(), "{proof:#}");
    assert!(
        lab.socks_log().contains(&PAGE_ADDRESS.to_string()),
        "{}",
        lab.socks_log()
    );
}
