//! Local resolvers on the client's side, without leakmon: real programs get their answers through them, and the name server
//! is asked by the resolver.

use leakmon_lab::compare::{Counts, asked_once};
use leakmon_lab::lab::{DUAL, DUAL_ADDRESSES, PAGE, PAGE_TEXT, SERVER};
use leakmon_lab::program::signal_process;
use leakmon_lab::{Behind, Finished, LIMIT, Lab, Resolver, wait};
use rustix::process::Signal;
use std::fs;
use std::path::Path;

const URL: &str = "http://page.example/";

/// glibc's getaddrinfo and nothing else.
const GETADDRINFO: &str =
    "import socket, sys; print({a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80)})";

/// Longer than a test runs, so that what is asked again was not kept.
const LASTING: u32 = 600;

fn lab(scenario: &str, resolver: Resolver) -> Option<Lab> {
    Lab::builder(scenario)
        .lasting(LASTING)
        .web()
        .needs(resolver.programs())
        .needs(&["curl", "dig", "getent", "python3", "setpriv"])
        .build()
}

fn counts(expected: &[(&str, &str, usize)]) -> Counts {
    let count =
        |&(name, qtype, count): &(&str, &str, usize)| ((name.to_owned(), qtype.to_owned()), count);
    expected.iter().map(count).collect()
}

/// What the name server has been asked for a name with addresses of both kinds, and for nothing else.
fn assert_asked_once(lab: &Lab, name: &str) {
    let log = lab.dns_log();
    assert_eq!(
        asked_once(&log),
        counts(&[(name, "A", 1), (name, "AAAA", 1)]),
        "{log:?}"
    );
}

fn assert_dual(what: &Finished) {
    let text = what.text();
    assert!(
        text.contains(&DUAL_ADDRESSES.0.to_string())
            && text.contains(&DUAL_ADDRESSES.1.to_string()),
        "{what:?}"
    );
}

/// Two programs of glibc's get the addresses, and the second one's are kept ones.
fn ask_twice(behind: &Behind) -> (u32, u32) {
    let (first, getent) = behind.run("getent", &["ahosts", DUAL]);
    assert_dual(&getent);
    let (second, python) = behind.run("/usr/bin/python3", &["-c", GETADDRINFO, DUAL]);
    assert_dual(&python);
    (first, second)
}

/// The page comes, and dig has its own way to the resolver's address.
fn fetch_and_dig(behind: &Behind, server: &str) {
    let (_, curl) = behind.run("curl", &["-sS", "--max-time", "15", URL]);
    assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
    let (_, dig) = behind.run("dig", &[DUAL, "A"]);
    assert!(
        dig.text().contains(&DUAL_ADDRESSES.0.to_string())
            && dig
                .text()
                .contains(&format!("SERVER: {server}#53({server}) (UDP)")),
        "{dig:?}"
    );
}

/// What was asked of nscd, by its own log: `…: handle_request: request received (Version = 2) from PID 4711`, and on the next
/// line what it was.
fn requests(log: &str) -> Vec<(u32, String)> {
    let lines: Vec<&str> = log.lines().collect();
    let request = |pair: &[&str]| {
        let (_, pid) = pair[0].split_once("request received (Version = 2) from PID ")?;
        let (_, what) = pair[1].split_once('\t')?;
        Some((pid.trim().parse().ok()?, what.trim().to_owned()))
    };
    lines.windows(2).filter_map(request).collect()
}

/// The line of `nscd -g` with that text, in the table of hosts.
fn statistic(behind: &Behind, what: &str) -> u64 {
    let (_, nscd) = behind.run("nscd", &["-g"]);
    let text = nscd.text();
    let hosts = text
        .split_once("hosts cache:")
        .and_then(|(_, hosts)| hosts.split_once("services cache:"))
        .unwrap_or_else(|| panic!("{nscd:?}"))
        .0;
    let number = |line: &str| line.trim().strip_suffix(what)?.trim().parse().ok();
    hosts
        .lines()
        .find_map(number)
        .unwrap_or_else(|| panic!("{what}: {text}"))
}

/// Waits until the resolver has logged this so often; what it has logged then.
fn logged(behind: &Behind, text: &str, times: usize) -> String {
    wait::until_true(LIMIT, || behind.log().matches(text).count() >= times);
    behind.log()
}

fn assert_alive(mut behind: Behind) {
    assert!(behind.is_alive(), "{}", behind.log());
}

/// What systemd-resolved logs of a request over its socket, up to the end of the name.
fn varlink(name: &str) -> String {
    format!(r#"{{"method":"io.systemd.Resolve.ResolveHostname","parameters":{{"name":"{name}""#)
}

/// What systemd-resolved logs of a query to 127.0.0.53 over UDP.
const STUB: &str = "Got DNS stub UDP query packet";

#[test]
fn resolved_is_asked_over_its_varlink_socket() {
    let resolver = Resolver::Resolved;
    let Some(lab) = lab("resolved_varlink", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    let (_, settings) = behind.run("cat", &["/etc/nsswitch.conf"]);
    assert_eq!(settings.text(), "hosts: resolve [!UNAVAIL=return] files\n");
    ask_twice(&behind);
    let log = logged(&behind, &varlink(DUAL), 2);
    assert_eq!(log.matches(&varlink(DUAL)).count(), 2, "{log}");
    assert!(!log.contains(STUB), "{log}");
    assert_asked_once(&lab, DUAL);
    // The module is found by everyone, whatever the folder that it was unpacked into allows.
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let asking = ["getent", "ahosts", DUAL];
    assert_dual(&behind.run("setpriv", &[&nobody[..], &asking].concat()).1);
    let log = logged(&behind, &varlink(DUAL), 3);
    assert_eq!(log.matches(&varlink(DUAL)).count(), 3, "{log}");
    // dig knows no nsswitch.conf.
    fetch_and_dig(&behind, "127.0.0.53");
    logged(&behind, &varlink(PAGE), 1);
    let log = logged(&behind, STUB, 1);
    assert!(log.contains(&varlink(PAGE)) && log.contains(STUB), "{log}");
    assert_alive(behind);
}

#[test]
fn resolved_is_asked_on_its_stub_address() {
    let resolver = Resolver::ResolvedStub;
    let Some(lab) = lab("resolved_stub", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    ask_twice(&behind);
    assert_asked_once(&lab, DUAL);
    fetch_and_dig(&behind, "127.0.0.53");
    let log = logged(&behind, STUB, 1);
    assert!(log.contains(STUB), "{log}");
    assert!(!log.contains("io.systemd.Resolve.ResolveHostname"), "{log}");
    assert_alive(behind);
}

#[test]
fn nscd_that_shares_its_cache_is_not_told_a_kept_name() {
    let resolver = Resolver::Nscd { shared: true };
    let Some(lab) = lab("nscd_shared", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    let (first, second) = ask_twice(&behind);
    let cache = "GETFDHST".to_owned();
    let name = format!("GETAI ({DUAL})");
    let log = logged(&behind, &cache, 2);
    assert_eq!(
        requests(&log),
        [(first, cache.clone()), (first, name), (second, cache)],
        "{log}"
    );
    assert_asked_once(&lab, DUAL);
    assert_eq!(statistic(&behind, "cache hits on positive entries"), 0);
    assert_eq!(statistic(&behind, "cache misses on positive entries"), 1);
    fetch_and_dig(&behind, &SERVER.0.to_string());
    assert_alive(behind);
}

#[test]
fn nscd_that_keeps_its_cache_to_itself_is_told_every_name() {
    let resolver = Resolver::Nscd { shared: false };
    let Some(lab) = lab("nscd_not_shared", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    let (first, second) = ask_twice(&behind);
    let cache = "GETFDHST".to_owned();
    let name = format!("GETAI ({DUAL})");
    let log = logged(&behind, &name, 2);
    assert_eq!(
        requests(&log),
        [
            (first, cache.clone()),
            (first, name.clone()),
            (second, cache),
            (second, name)
        ],
        "{log}"
    );
    assert_asked_once(&lab, DUAL);
    assert_eq!(statistic(&behind, "cache hits on positive entries"), 1);
    fetch_and_dig(&behind, &SERVER.0.to_string());
    assert_alive(behind);
}

#[test]
fn dnsmasq_forwards() {
    let resolver = Resolver::Dnsmasq;
    let Some(lab) = lab("dnsmasq_forwards", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    ask_twice(&behind);
    assert_asked_once(&lab, DUAL);
    for (count, what) in [
        (2, format!("query[A] {DUAL} from 127.0.0.1")),
        (1, format!("forwarded {DUAL} to {}", SERVER.0)),
        (1, format!("cached {DUAL} is {}", DUAL_ADDRESSES.0)),
    ] {
        let log = logged(&behind, &what, count);
        assert!(log.matches(&what).count() >= count, "{what}\n{log}");
    }
    fetch_and_dig(&behind, "127.0.0.1");
    assert_alive(behind);
}

#[test]
fn unbound_forwards() {
    let resolver = Resolver::Unbound;
    let Some(lab) = lab("unbound_forwards", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    ask_twice(&behind);
    assert_asked_once(&lab, DUAL);
    let query = format!("127.0.0.1 {DUAL}. A IN\n");
    let log = logged(&behind, &query, 2);
    assert_eq!(log.matches(&query).count(), 2, "{log}");
    fetch_and_dig(&behind, "127.0.0.1");
    assert_alive(behind);
}

#[test]
fn tor_answers_without_asking() {
    let resolver = Resolver::Tor;
    let Some(lab) = lab("tor_dns_port", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    let (_, dig) = behind.run("dig", &["+short", PAGE]);
    // 127.192.0.0/10, unless VirtualAddrNetworkIPv4 says otherwise (tor(1)).
    assert!(dig.text().starts_with("127."), "{dig:?}");
    let (_, getent) = behind.run("getent", &["ahosts", PAGE]);
    assert!(getent.text().contains(dig.text().trim()), "{getent:?}");
    let log = logged(&behind, PAGE, 1);
    assert!(log.contains(PAGE), "{log}");
    assert_eq!(lab.dns_log(), []);
    assert_alive(behind);
}

#[test]
fn a_resolver_asks_another() {
    let resolver = Resolver::DnsmasqToUnbound;
    let Some(lab) = lab("dnsmasq_to_unbound", resolver) else {
        return;
    };
    let behind = lab.behind(resolver);
    let upstream = behind.upstream().expect("it has one");
    assert_ne!(upstream.pid(), behind.pid());
    ask_twice(&behind);
    assert_asked_once(&lab, DUAL);
    let forwarded = format!("forwarded {DUAL} to 127.0.0.1#5335");
    let log = logged(&behind, &forwarded, 1);
    assert!(log.contains(&forwarded), "{log}");
    let query = format!("127.0.0.1 {DUAL}. A IN\n");
    wait::until_true(LIMIT, || upstream.log().contains(&query));
    let upstream = upstream.log();
    assert_eq!(upstream.matches(&query).count(), 1, "{upstream}");
    fetch_and_dig(&behind, "127.0.0.1");
    assert_alive(behind);
}

/// The id of what was started, where it runs, and what it finds there.
#[test]
fn what_is_started_behind_a_resolver_becomes_the_program() {
    let resolver = Resolver::Dnsmasq;
    let Some(lab) = lab("behind_is_the_program", resolver) else {
        return;
    };
    let machine = fs::read("/etc/resolv.conf").ok();
    let behind = lab.behind(resolver);
    let script = "echo $$; pwd; cat /etc/resolv.conf /proc/self/cgroup; ls -d /run/netns";
    let (pid, shell) = behind.run("sh", &["-c", script]);
    let text = shell.text();
    let lines: Vec<&str> = text.lines().collect();
    let dir = lab.dir().to_str().expect("text");
    assert_eq!(
        lines[..3],
        [&pid.to_string(), dir, "nameserver 127.0.0.1"],
        "{text}"
    );
    let in_cgroup = |line: &&str| line.starts_with("0::/leakmon-lab-") && line.ends_with("/client");
    assert!(lines.iter().any(in_cgroup), "{text}");
    // The machine's sockets are not there.
    assert!(!lines.contains(&"/run/netns"), "{text}");
    let held = behind.hold("sh", &["-c", "echo $$"]);
    let pid = held.pid();
    assert_eq!(held.run(LIMIT).text().trim(), pid.to_string());

    let sorted = |environment: Finished| {
        let mut lines: Vec<String> = environment.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(behind.run("env", &[]).1),
        sorted(lab.run("env", &[]).1)
    );
    // The rest of the client's side, and the machine, are as they were.
    let (_, beside) = lab.run("cat", &["/etc/resolv.conf"]);
    assert_eq!(beside.text(), format!("nameserver {}\n", SERVER.0));
    assert_eq!(fs::read("/etc/resolv.conf").ok(), machine);
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("every process has one");
    assert!(
        !mounts
            .lines()
            .any(|line| line.contains(" - overlay ") && line.contains(lab.client().name())),
        "{mounts}"
    );
    let resolver = behind.pid();
    drop(behind);
    assert!(!Path::new(&format!("/proc/{resolver}")).exists());
}

/// The programs that are behind a resolver stay there when it ends.
#[test]
fn a_resolver_that_ends_leaves_its_programs_where_they_are() {
    let resolver = Resolver::Dnsmasq;
    let Some(lab) = lab("resolver_ends", resolver) else {
        return;
    };
    let mut behind = lab.behind(resolver);
    signal_process(behind.pid(), Signal::KILL);
    assert!(wait::until_true(LIMIT, || !behind.is_alive()));
    let (_, settings) = behind.run("cat", &["/etc/resolv.conf"]);
    assert_eq!(settings.text(), "nameserver 127.0.0.1\n");
    let (_, getent) = behind.run("getent", &["ahosts", DUAL]);
    assert!(!getent.status.success(), "{getent:?}");
    assert_eq!(lab.dns_log(), []);
}
