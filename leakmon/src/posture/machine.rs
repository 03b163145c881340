//! What the machine itself offers a program that looks up names. Only files are read, nothing is asked.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{Fault, View};
pub use crate::model::Offer;
use crate::model::Process;

/// Name servers that glibc asks (resolv.h, `MAXNS`).
const MAX_SERVERS: usize = 3;
/// Longest list that is told whole.
const MAX_TOLD: usize = 8;
/// Characters that are told of one thing.
const MAX_DETAIL: usize = 600;

/// Programs that answer or carry queries for others, by file name.
const RESOLVERS: &[&str] = &[
    "avahi-daemon",
    "connmand",
    "coredns",
    "dnscrypt-proxy",
    "dnsmasq",
    "kresd",
    "named",
    "nscd",
    "pdns_recursor",
    "stubby",
    "systemd-resolved",
    "tor",
    "unbound",
];

/// Folders of Firefox's policies: the machine's, and those of an installation
/// (toolkit/components/enterprisepolicies/EnterprisePoliciesParent.sys.mjs).
const FIREFOX_POLICIES: &[&str] = &[
    "/etc/firefox/policies",
    "/etc/firefox-esr/policies",
    "/usr/lib/firefox/distribution",
    "/usr/lib/firefox-esr/distribution",
    "/usr/lib64/firefox/distribution",
];

/// Folders of the policies of Chromium and its relatives (`DIR_POLICY_FILES` of chrome/common/chrome_paths.cc).
const CHROMIUM_POLICIES: &[(&str, &str)] = &[
    ("Brave", "/etc/brave/policies/managed"),
    ("Chrome", "/etc/opt/chrome/policies/managed"),
    ("Chromium", "/etc/chromium/policies/managed"),
    ("Chromium", "/etc/chromium-browser/policies/managed"),
    ("Edge", "/etc/opt/edge/policies/managed"),
];

/// What is offered on a machine where these processes run, in an order that only depends on what is there.
#[must_use]
pub fn offers(view: &View, running: &[Arc<Process>]) -> Vec<Offer> {
    let mut offers = Offers {
        view,
        list: Vec::new(),
    };
    let resolved_runs = offers.is_there("/run/systemd/resolve/io.systemd.Resolve");
    offers.resolv_conf();
    let avahi_runs = offers.is_there("/run/avahi-daemon/socket");
    offers.nsswitch(resolved_runs, avahi_runs);
    if resolved_runs {
        offers.resolved();
    }
    offers.nscd();
    if avahi_runs {
        offers.add(
            "mdns",
            "avahi-daemon asks all machines of the local network, for every program that asks it",
            true,
        );
    }
    offers.local_servers(running);
    offers.tor();
    offers.firefox();
    offers.chromium();
    offers.list
}

struct Offers<'a> {
    view: &'a View,
    list: Vec<Offer>,
}

impl Offers<'_> {
    fn add(&mut self, what: &str, detail: impl Into<String>, concerns: bool) {
        let mut detail: String = detail.into();
        if let Some((end, _)) = detail.char_indices().nth(MAX_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        self.list.push(Offer {
            what: what.to_owned(),
            detail,
            concerns,
        });
    }

    /// A place that cannot be read may offer anything.
    fn unread(&mut self, what: &str, fault: &Fault) {
        self.add(what, fault.to_string(), true);
    }

    /// The text of a file; without one, or when it cannot be read, which is said, nothing.
    fn text(&mut self, what: &str, path: &str) -> Option<String> {
        match self.view.text(path) {
            Ok(text) => text,
            Err(fault) => {
                self.unread(what, &fault);
                None
            }
        }
    }

    fn is_there(&self, path: &str) -> bool {
        // A folder that is closed to this user says nothing either way: what is in it is not offered to the user's programs.
        self.view.exists(path).unwrap_or_default()
    }

    /// resolv.conf(5).
    fn resolv_conf(&mut self) {
        const PATH: &str = "/etc/resolv.conf";
        const WHAT: &str = "resolv.conf";
        let text = match self.view.text(PATH) {
            Err(fault) => return self.unread(WHAT, &fault),
            Ok(None) => {
                return self.add(
                    WHAT,
                    format!("there is no {PATH}: 127.0.0.1 is asked"),
                    false,
                );
            }
            Ok(Some(text)) => text,
        };
        let mut servers = Vec::new();
        let mut over_tcp = false;
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().map(str::to_owned)),
                Some("options") => over_tcp |= words.any(|option| option == "use-vc"),
                _ => {}
            }
        }
        let left_out = servers.len().saturating_sub(MAX_SERVERS);
        servers.truncate(MAX_SERVERS);
        let mut detail = if servers.is_empty() {
            "names no server: 127.0.0.1 is asked".to_owned()
        } else {
            let told: Vec<String> = servers.iter().map(|server| server_told(server)).collect();
            format!("programs ask {}", told.join(", "))
        };
        if left_out > 0 {
            detail.push_str(&format!(" (and not {left_out} more that it names)"));
        }
        if over_tcp {
            detail.push_str(", over TCP");
        }
        if let Some(target) = self.view.link_target(PATH) {
            detail.push_str(&format!("; it is a link to {target}"));
        }
        self.add(WHAT, detail, !servers.is_empty());
    }

    /// nsswitch.conf(5), the line for hosts.
    fn nsswitch(&mut self, resolved_runs: bool, avahi_runs: bool) {
        const WHAT: &str = "nsswitch.conf";
        let text = match self.view.text("/etc/nsswitch.conf") {
            Err(fault) => return self.unread(WHAT, &fault),
            Ok(text) => text.unwrap_or_default(),
        };
        let hosts = text.lines().find_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            line.trim_start().strip_prefix("hosts:").map(str::trim)
        });
        let Some(hosts) = hosts else {
            return self.add(
                WHAT,
                "says nothing of hosts: /etc/hosts, then the name servers",
                false,
            );
        };
        // The service that a program of glibc asks may ask on in ways of its own.
        let mut ways = Vec::new();
        for service in hosts.split_whitespace() {
            ways.extend(match service {
                "resolve" if resolved_runs => {
                    Some("resolve hands names to systemd-resolved, which asks for programs")
                }
                "wins" => Some("wins asks all machines of the local network by NetBIOS"),
                "nis" | "nisplus" => Some("nis asks a server of the local network"),
                "sss" => Some("sss hands names to sssd"),
                "libvirt" | "libvirt_guest" | "mymachines" | "myhostname" | "files" | "dns" => None,
                // It has no other way to ask (nss-mdns since 0.11).
                service if service.starts_with("mdns") && avahi_runs => {
                    Some("mdns hands names in .local to avahi-daemon, which asks the local network")
                }
                _ => None,
            });
        }
        ways.dedup();
        let mut detail = format!("hosts: {hosts}");
        for way in &ways {
            detail.push_str("; ");
            detail.push_str(way);
        }
        self.add(WHAT, detail, !ways.is_empty());
    }

    /// systemd-resolved runs: resolved.conf(5).
    fn resolved(&mut self) {
        let settings = match resolved_settings(self.view) {
            Ok(settings) => settings,
            Err(fault) => {
                self.unread("systemd-resolved", &fault);
                BTreeMap::new()
            }
        };
        let value = |key: &str| {
            settings
                .get(key)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        let mut detail =
            "runs, and asks for programs over its socket, D-Bus and 127.0.0.53: the queries on the wire are its own".to_owned();
        for key in [
            "DNS",
            "FallbackDNS",
            "Domains",
            "DNSOverTLS",
            "DNSStubListener",
            "DNSStubListenerExtra",
        ] {
            if let Some(value) = value(key) {
                detail.push_str(&format!("; {key}={value}"));
            }
        }
        self.add("systemd-resolved", detail, true);
        for (what, key, manner) in [
            ("mdns", "MulticastDNS", "names in .local"),
            ("llmnr", "LLMNR", "names without a dot"),
        ] {
            let (detail, concerns) = match value(key) {
                Some(setting) if is_off(setting) => {
                    (format!("systemd-resolved: {key}={setting}"), false)
                }
                Some(setting) => (
                    format!(
                        "systemd-resolved: {key}={setting}: it may ask all machines of the local network for {manner}"
                    ),
                    true,
                ),
                None => (
                    format!(
                        "systemd-resolved: {key} is not set: whether it asks the local network for {manner} depends on how it was built"
                    ),
                    true,
                ),
            };
            self.add(what, detail, concerns);
        }
    }

    /// nscd runs: nscd.conf(5).
    fn nscd(&mut self) {
        if !self.is_there("/run/nscd/socket") && !self.is_there("/var/run/nscd/socket") {
            return;
        }
        let caches = self
            .text("nscd", "/etc/nscd.conf")
            .unwrap_or_default()
            .lines()
            .filter_map(|line| {
                let mut words = line.split('#').next()?.split_whitespace();
                let is_it = words.next()? == "enable-cache" && words.next()? == "hosts";
                is_it.then(|| words.next() == Some("yes"))
            })
            .next_back()
            .unwrap_or_default();
        if caches {
            self.add(
                "nscd",
                "runs and asks for programs: the queries on the wire are its own, and what it knows is not asked again",
                true,
            );
        } else {
            self.add(
                "nscd",
                "runs, but not for names of hosts (/etc/nscd.conf)",
                false,
            );
        }
    }

    /// Whatever else listens on port 53 of this machine.
    fn local_servers(&mut self, running: &[Arc<Process>]) {
        let mut servers = Vec::new();
        for path in ["/proc/net/udp", "/proc/net/udp6"] {
            let text = self.text("local-resolver", path).unwrap_or_default();
            servers.extend(text.lines().filter_map(listener));
        }
        // Those of systemd-resolved are told with it.
        servers.retain(|address| !is_stub(address));
        servers.sort_unstable();
        servers.dedup();
        if servers.is_empty() {
            return;
        }
        let count = servers.len();
        let mut told: Vec<String> = servers
            .iter()
            .take(MAX_TOLD)
            .map(ToString::to_string)
            .collect();
        if count > MAX_TOLD {
            told.push(format!("{} more", count - MAX_TOLD));
        }
        let mut programs: Vec<&str> = running
            .iter()
            .filter_map(|process| process.program())
            .filter(|program| RESOLVERS.contains(program))
            .collect();
        programs.sort_unstable();
        programs.dedup();
        let programs = if programs.is_empty() {
            String::new()
        } else {
            format!(
                " (programs that run and could do it: {})",
                programs.join(", ")
            )
        };
        self.add(
            "local-resolver",
            format!(
                "port 53 is served on {}{programs}: what it asks on for others is on the wire as its own",
                told.join(", ")
            ),
            true,
        );
    }

    /// tor as a name server: what is asked there goes through tor (tor(1), DNSPort).
    fn tor(&mut self) {
        for path in [
            "/etc/tor/torrc",
            "/usr/share/tor/tor-service-defaults-torrc",
        ] {
            let Some(text) = self.text("tor", path) else {
                continue;
            };
            for line in text.lines() {
                let mut words = line
                    .split('#')
                    .next()
                    .unwrap_or_default()
                    .split_whitespace();
                if words
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case("DNSPort"))
                    && let Some(port) = words.next().filter(|&port| port != "0")
                {
                    self.add(
                        "tor-dnsport",
                        format!("{path}: DNSPort {port}: names asked there go through tor, when it runs with this file"),
                        false,
                    );
                }
            }
        }
    }

    fn firefox(&mut self) {
        for folder in FIREFOX_POLICIES {
            let path = format!("{folder}/policies.json");
            let Some(policies) = self.json(&path) else {
                continue;
            };
            let Some(policy) = policies.pointer("/policies/DNSOverHTTPS") else {
                continue;
            };
            match policy.get("Enabled").and_then(serde_json::Value::as_bool) {
                Some(false) => self.add("doh", format!("Firefox: off by {path}"), false),
                enabled => {
                    let to = policy
                        .get("ProviderURL")
                        .and_then(serde_json::Value::as_str)
                        .unwrap_or("a provider of its own choice");
                    let switch = if enabled.is_some() { "on" } else { "set" };
                    self.add(
                        "doh",
                        format!(
                            "Firefox: {switch} by {path}, names go to {} inside HTTPS",
                            super::without_password(to)
                        ),
                        true,
                    );
                }
            }
        }
    }

    fn chromium(&mut self) {
        for (program, folder) in CHROMIUM_POLICIES {
            let names = match self.view.list(folder) {
                Ok(names) => names,
                Err(fault) => {
                    self.unread("doh", &fault);
                    continue;
                }
            };
            for name in names.iter().filter(|name| name.ends_with(".json")) {
                let path = format!("{folder}/{name}");
                let Some(policies) = self.json(&path) else {
                    continue;
                };
                let text = |key: &str| policies.get(key).and_then(serde_json::Value::as_str);
                match text("DnsOverHttpsMode") {
                    None => {}
                    Some("off") => self.add("doh", format!("{program}: off by {path}"), false),
                    Some(mode) => {
                        let to = text("DnsOverHttpsTemplates")
                            .unwrap_or("the name server's own provider");
                        self.add(
                            "doh",
                            format!(
                                "{program}: {mode} by {path}, names go to {} inside HTTPS",
                                super::without_password(to)
                            ),
                            true,
                        );
                    }
                }
            }
        }
    }

    /// A file of policies. What cannot be understood is left to those who report policies of proxies.
    fn json(&mut self, path: &str) -> Option<serde_json::Value> {
        let text = self.text("doh", path)?;
        match serde_json::from_str(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.unread("doh", &Fault::malformed(path, error));
                None
            }
        }
    }
}

/// A name server, and what is known of it by its address.
fn server_told(server: &str) -> String {
    match server.parse::<IpAddr>() {
        Ok(address) if is_stub(&address) => format!("{server} (systemd-resolved's)"),
        Ok(address) if address.is_loopback() => format!("{server} (this machine's own)"),
        _ => server.to_owned(),
    }
}

/// Where systemd-resolved listens (systemd-resolved.service(8)).
fn is_stub(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if matches!(address.octets(), [127, 0, 0, 53 | 54]))
}

/// A value that systemd takes for no (systemd.syntax(7)).
fn is_off(value: &str) -> bool {
    ["0", "no", "n", "false", "f", "off"]
        .iter()
        .any(|no| value.eq_ignore_ascii_case(no))
}

/// The address of a socket on port 53, by its line in /proc/net/udp (proc_pid_net(5)); one that is connected serves nobody.
fn listener(line: &str) -> Option<IpAddr> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    let (_, peer_port) = fields.next()?.split_once(':')?;
    if u16::from_str_radix(port, 16).ok()? != 53 || peer_port != "0000" {
        return None;
    }
    // Words of four bytes, each as this machine orders them.
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    match address.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut octets = [0_u8; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(IpAddr::from(octets).to_canonical())
        }
        _ => None,
    }
}

/// The settings of systemd-resolved: one main file, then every file beside it in the order of the files' names, of
/// several of one name that in the weightiest folder (resolved.conf(5), "CONFIGURATION DIRECTORIES AND PRECEDENCE").
fn resolved_settings(view: &View) -> Result<BTreeMap<String, String>, Fault> {
    const FOLDERS: [&str; 4] = [
        "/etc/systemd",
        "/run/systemd",
        "/usr/local/lib/systemd",
        "/usr/lib/systemd",
    ];
    let mut settings = BTreeMap::new();
    for folder in FOLDERS {
        if let Some(text) = view.text(&format!("{folder}/resolved.conf"))? {
            apply(&mut settings, &text);
            break;
        }
    }
    let mut extra = BTreeMap::new();
    for folder in FOLDERS {
        let folder = format!("{folder}/resolved.conf.d");
        for name in view.list(&folder)? {
            if name.ends_with(".conf") {
                extra
                    .entry(name.clone())
                    .or_insert_with(|| format!("{folder}/{name}"));
            }
        }
    }
    for path in extra.values() {
        match view.text(path) {
            Ok(text) => apply(&mut settings, &text.unwrap_or_default()),
            // A link to /dev/null is how a file is switched off.
            Err(Fault::NoFile { .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(settings)
}

/// Lists grow with each line, and an empty value empties them; of the others the last counts.
fn apply(settings: &mut BTreeMap<String, String>, text: &str) {
    let mut is_ours = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with('[') {
            is_ours = line == "[Resolve]";
        } else if let (true, Some((key, value))) = (is_ours, line.split_once('=')) {
            let (key, value) = (key.trim(), value.trim());
            let known = settings.entry(key.to_owned()).or_default();
            let is_list = matches!(
                key,
                "DNS" | "FallbackDNS" | "Domains" | "DNSStubListenerExtra"
            );
            if is_list && !value.is_empty() && !known.is_empty() {
                known.push(' ');
                known.push_str(value);
            } else {
                value.clone_into(known);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    fn write(root: &Path, path: &str, bytes: &[u8]) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            write(dir.path(), path, text.as_bytes());
        }
        dir
    }

    /// What is offered, a line each, in front of it a mark for what concerns.
    fn told(root: &Path, programs: &[&str]) -> Vec<String> {
        let running: Vec<_> = programs
            .iter()
            .map(|program| {
                Arc::new(Process {
                    exe: Some(format!("/usr/sbin/{program}")),
                    ..Process::unread(1, None)
                })
            })
            .collect();
        offers(&View::of_disk(root, None), &running)
            .into_iter()
            .map(|offer| {
                let mark = if offer.concerns { '!' } else { ' ' };
                format!("{mark} {}: {}", offer.what, offer.detail)
            })
            .collect()
    }

    const UDP: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n";

    #[test]
    fn debian() {
        let dir = machine(&[
            (
                "etc/resolv.conf",
                "# by NetworkManager\nsearch lan\nnameserver 192.168.1.1\nnameserver 9.9.9.9\n",
            ),
            (
                "etc/nsswitch.conf",
                "passwd: files systemd\nhosts:          files mdns4_minimal [NOTFOUND=return] dns\n",
            ),
            ("run/avahi-daemon/socket", ""),
        ]);
        assert_eq!(
            told(dir.path(), &["avahi-daemon"]),
            [
                "! resolv.conf: programs ask 192.168.1.1, 9.9.9.9",
                "! nsswitch.conf: hosts: files mdns4_minimal [NOTFOUND=return] dns; mdns hands names in .local to avahi-daemon, which asks the local network",
                "! mdns: avahi-daemon asks all machines of the local network, for every program that asks it",
            ]
        );
    }

    #[test]
    fn ubuntu() {
        let dir = machine(&[
            (
                "run/systemd/resolve/stub-resolv.conf",
                "nameserver 127.0.0.53\noptions edns0 trust-ad\n",
            ),
            ("run/systemd/resolve/io.systemd.Resolve", ""),
            (
                "etc/nsswitch.conf",
                "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
            ),
            ("etc/systemd/resolved.conf", "[Resolve]\n#DNS=\n#LLMNR=no\n"),
            (
                "etc/systemd/resolved.conf.d/20-own.conf",
                "[Resolve]\nDNS=9.9.9.9#dns.quad9.net\nMulticastDNS=no\n",
            ),
            (
                "usr/lib/systemd/resolved.conf.d/10-vendor.conf",
                "[Resolve]\nDNS=1.1.1.1\nDNSOverTLS=opportunistic\nMulticastDNS=yes\n",
            ),
            (
                "usr/lib/systemd/resolved.conf.d/20-own.conf",
                "[Resolve]\nDNS=8.8.8.8\n",
            ),
            (
                "proc/net/udp",
                &format!("{UDP}  1: 3500007F:0035 00000000:0000 07 0:0 0:0 0 101 0 1 2 0 0\n"),
            ),
        ]);
        symlink(
            "../run/systemd/resolve/stub-resolv.conf",
            dir.path().join("etc/resolv.conf"),
        )
        .unwrap();
        assert_eq!(
            told(dir.path(), &[]),
            [
                "! resolv.conf: programs ask 127.0.0.53 (systemd-resolved's); it is a link to ../run/systemd/resolve/stub-resolv.conf",
                "  nsswitch.conf: hosts: files mdns4_minimal [NOTFOUND=return] dns",
                "! systemd-resolved: runs, and asks for programs over its socket, D-Bus and 127.0.0.53: the queries on the wire are its own; DNS=1.1.1.1 9.9.9.9#dns.quad9.net; DNSOverTLS=opportunistic",
                "  mdns: systemd-resolved: MulticastDNS=no",
                "! llmnr: systemd-resolved: LLMNR is not set: whether it asks the local network for names without a dot depends on how it was built",
            ]
        );
    }

    #[test]
    fn fedora() {
        let dir = machine(&[
            (
                "etc/resolv.conf",
                "nameserver 127.0.0.53\nnameserver 127.0.0.1\n",
            ),
            (
                "etc/nsswitch.conf",
                "hosts:      files myhostname mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns # x\n",
            ),
            ("run/systemd/resolve/io.systemd.Resolve", ""),
            (
                "usr/lib/systemd/resolved.conf",
                "[Resolve]\nLLMNR=no\nMulticastDNS=resolve\nDNS=a\nDNS=\n",
            ),
        ]);
        assert_eq!(
            told(dir.path(), &[])[1..],
            [
                "! nsswitch.conf: hosts: files myhostname mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns; resolve hands names to systemd-resolved, which asks for programs",
                "! systemd-resolved: runs, and asks for programs over its socket, D-Bus and 127.0.0.53: the queries on the wire are its own",
                "! mdns: systemd-resolved: MulticastDNS=resolve: it may ask all machines of the local network for names in .local",
                "  llmnr: systemd-resolved: LLMNR=no",
            ]
        );
        assert!(told(dir.path(), &[])[0].contains("127.0.0.1 (this machine's own)"));
    }

    #[test]
    fn other_ways() {
        let v6 =
            "  1: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07\n";
        let connected =
            "  2: 0100007F:0035 0100007F:1234 01\n  3: 0100007F:0036 00000000:0000 07\n";
        let dir = machine(&[
            ("etc/resolv.conf", ""),
            ("etc/nsswitch.conf", "passwd: files\n"),
            ("var/run/nscd/socket", ""),
            (
                "etc/nscd.conf",
                "\tenable-cache\t\tpasswd\tno\n enable-cache hosts yes\n",
            ),
            (
                "proc/net/udp",
                &format!("{UDP}  1: 0100007F:0035 00000000:0000 07\n{connected}"),
            ),
            ("proc/net/udp6", &format!("{UDP}{v6}")),
            (
                "etc/tor/torrc",
                "#DNSPort 1\nDNSPort 5353 IsolateDestAddr\n",
            ),
            (
                "etc/firefox/policies/policies.json",
                r#"{"policies":{"DNSOverHTTPS":{"Enabled":true,"ProviderURL":"https://me:secret@doh.example/q"}}}"#,
            ),
            (
                "etc/chromium/policies/managed/a.json",
                r#"{"DnsOverHttpsMode":"secure","DnsOverHttpsTemplates":"https://doh.example/{?dns}"}"#,
            ),
            (
                "etc/opt/chrome/policies/managed/b.json",
                r#"{"DnsOverHttpsMode":"off"}"#,
            ),
            (
                "etc/opt/chrome/policies/managed/c.json",
                r#"{"HomepageLocation":"x"}"#,
            ),
        ]);
        let said = told(dir.path(), &["dnsmasq", "bash", "dnsmasq", "tor"]);
        assert_eq!(
            said,
            [
                "  resolv.conf: names no server: 127.0.0.1 is asked",
                "  nsswitch.conf: says nothing of hosts: /etc/hosts, then the name servers",
                "! nscd: runs and asks for programs: the queries on the wire are its own, and what it knows is not asked again",
                "! local-resolver: port 53 is served on 127.0.0.1, ::1 (programs that run and could do it: dnsmasq, tor): what it asks on for others is on the wire as its own",
                "  tor-dnsport: /etc/tor/torrc: DNSPort 5353: names asked there go through tor, when it runs with this file",
                "! doh: Firefox: on by /etc/firefox/policies/policies.json, names go to https://…@doh.example/q inside HTTPS",
                "  doh: Chrome: off by /etc/opt/chrome/policies/managed/b.json",
                "! doh: Chromium: secure by /etc/chromium/policies/managed/a.json, names go to https://doh.example/{?dns} inside HTTPS",
            ]
        );
        assert_eq!(
            said,
            told(dir.path(), &["tor", "dnsmasq"]),
            "the order of processes counts"
        );
        write(
            dir.path(),
            "etc/nscd.conf",
            b"enable-cache hosts yes\nenable-cache hosts no\n",
        );
        assert!(told(dir.path(), &[])[2].starts_with("  nscd: runs, but not"));
    }

    #[test]
    fn nothing_at_all() {
        let dir = machine(&[]);
        assert_eq!(
            told(dir.path(), &[]),
            [
                "  resolv.conf: there is no /etc/resolv.conf: 127.0.0.1 is asked",
                "  nsswitch.conf: says nothing of hosts: /etc/hosts, then the name servers",
            ]
        );
    }

    #[test]
    fn hostile_files() {
        let paths = [
            "etc/resolv.conf",
            "etc/nsswitch.conf",
            "etc/nscd.conf",
            "run/nscd/socket",
            "run/systemd/resolve/io.systemd.Resolve",
            "etc/systemd/resolved.conf",
            "etc/systemd/resolved.conf.d/x.conf",
            "proc/net/udp",
            "etc/tor/torrc",
            "etc/firefox/policies/policies.json",
            "etc/chromium/policies/managed/x.json",
        ];
        let long = format!(
            "nameserver {0}\nhosts: {0}\n[Resolve]\nDNS={0}\n",
            "x".repeat(1 << 20)
        );
        let deep = "[".repeat(200_000);
        let bad = b"hosts:\xff\0\nnameserver\n=\n[Resolve]\n=\n 1: \xc3\xa9\xc3\xa9:0035 :0000\n";
        for bytes in [
            &b""[..],
            bad,
            long.as_bytes(),
            deep.as_bytes(),
            &vec![b'x'; 9 << 20],
        ] {
            let dir = tempfile::tempdir().unwrap();
            for path in paths {
                write(dir.path(), path, bytes);
            }
            let said = told(dir.path(), &[]);
            assert!(!said.is_empty());
            assert!(
                said.iter().all(|line| line.chars().count() < 700),
                "a line without end"
            );
        }
        let dir = machine(&[]);
        for path in paths {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        assert!(
            told(dir.path(), &[])
                .iter()
                .any(|line| line.contains("is no file"))
        );
    }
}
