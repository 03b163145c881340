//! How this machine looks up names: kinds, and neither addresses nor names.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
};

use super::Check;
use crate::{
    capture::machine::plain, model::Process, posture::is_resolver, process::Reader, time::BootClock,
};

/// Services of nsswitch.conf that are told; any other may be a name that somebody gave (nsswitch.conf(5), nss-resolve(8),
/// nss-myhostname(8), nss-mymachines(8), and the packages nss-mdns, libnss-libvirt, sssd-common, libnss-winbind).
const SERVICES: [&str; 20] = [
    "compat",
    "db",
    "dns",
    "files",
    "ldap",
    "libvirt",
    "libvirt_guest",
    "mdns",
    "mdns4",
    "mdns4_minimal",
    "mdns6",
    "mdns6_minimal",
    "mdns_minimal",
    "myhostname",
    "mymachines",
    "nis",
    "resolve",
    "sss",
    "winbind",
    "wins",
];

/// Options of resolv.conf(5) that are told.
const OPTIONS: [&str; 13] = [
    "attempts",
    "edns0",
    "inet6",
    "ndots",
    "no-aaaa",
    "no-reload",
    "no-tld-query",
    "rotate",
    "single-request",
    "single-request-reopen",
    "timeout",
    "trust-ad",
    "use-vc",
];

/// All that is told of looking up names.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::fact("local resolvers", resolvers()),
        Check::fact("nsswitch.conf", of_file("/etc/nsswitch.conf", hosts)),
        Check::fact("resolv.conf", of_file("/etc/resolv.conf", servers)),
    ]
}

fn of_file(path: &str, told: fn(&str) -> String) -> String {
    match fs::read_to_string(path) {
        Ok(text) => told(&text),
        Err(error) => format!("not known: {}", plain(&error)),
    }
}

/// Which of the known resolvers run. What others are called is nobody's business.
fn resolvers() -> String {
    let running = Reader::new(BootClock::now(), false).running();
    let found: BTreeSet<&str> = running
        .iter()
        .filter_map(|process| process.program())
        .filter(|program| is_resolver(program) || *program == "avahi-daemon")
        .collect();
    let mut told = found.into_iter().collect::<Vec<_>>().join(", ");
    if told.is_empty() {
        told.push_str("none of those that leakmon knows");
    }
    // Threads of the kernel have no arguments, and no program either.
    let runs_a_program = |process: &Process| {
        process
            .cmdline
            .as_ref()
            .is_some_and(|words| !words.is_empty())
    };
    if running
        .iter()
        .any(|process| process.exe.is_none() && runs_a_program(process))
    {
        told.push_str("; some programs could not be looked at");
    }
    told
}

/// The services that are asked for hosts, in their order.
fn hosts(text: &str) -> String {
    let line = text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        line.trim_start().strip_prefix("hosts:")
    });
    let Some(line) = line else {
        return "says nothing of hosts".to_owned();
    };
    // `[NOTFOUND=return]`, also with spaces within.
    let mut in_action = false;
    let words = line.split_whitespace().map(|word| {
        in_action |= word.starts_with('[');
        let is_told = SERVICES.contains(&word) || in_action && is_action(word);
        in_action &= !word.ends_with(']');
        if is_told { word } else { "(another)" }
    });
    format!("hosts: {}", words.collect::<Vec<_>>().join(" "))
}

/// A part of what is done after a service has answered (nsswitch.conf(5)).
fn is_action(word: &str) -> bool {
    let known = |part: &str| {
        let part = part.trim_start_matches('!').to_ascii_lowercase();
        let parts = [
            "", "success", "notfound", "unavail", "tryagain", "return", "continue", "merge",
        ];
        parts.contains(&part.as_str())
    };
    word.trim_matches(['[', ']']).split('=').all(known)
}

/// Which kinds of servers resolv.conf(5) names, in their order, and what else it says.
fn servers(text: &str) -> String {
    let mut servers = Vec::new();
    let mut options = Vec::new();
    let mut domains = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => servers.extend(words.next().map(kind)),
            // The last of these lines counts.
            Some("search" | "domain") => domains = words.count(),
            Some("options") => options.extend(words.filter(|option| is_option(option))),
            _ => {}
        }
    }
    let mut told = match servers.len() {
        0 => "names no server: 127.0.0.1 is asked".to_owned(),
        _ => format!("programs ask {}", servers.join(", ")),
    };
    if !options.is_empty() {
        told.push_str(&format!("; options {}", options.join(" ")));
    }
    match domains {
        0 => {}
        1 => told.push_str("; 1 search domain"),
        more => told.push_str(&format!("; {more} search domains")),
    }
    told
}

fn is_option(option: &str) -> bool {
    let (name, value) = option.split_once(':').unwrap_or((option, "0"));
    OPTIONS.contains(&name) && value.parse::<u16>().is_ok()
}

/// What an address tells of the server, without itself.
fn kind(server: &str) -> &'static str {
    // A scope, as in fe80::1%eth0.
    let address = server.split('%').next().unwrap_or_default();
    match address
        .parse::<IpAddr>()
        .map(|address| address.to_canonical())
    {
        Ok(IpAddr::V4(address))
            if [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 0, 0, 54)].contains(&address) =>
        {
            "systemd-resolved's stub on loopback"
        }
        Ok(address) if address.is_loopback() || address.is_unspecified() => "a server on loopback",
        Ok(IpAddr::V4(address)) if address.is_private() || address.is_link_local() => {
            "a server of a private network"
        }
        Ok(IpAddr::V6(address)) if address.is_unique_local() || address.is_unicast_link_local() => {
            "a server of a private network"
        }
        Ok(_) => "a server elsewhere",
        Err(_) => "something that is no address",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_servers() {
        let text = "# made by hand\nsearch secret.example other.example\nnameserver 127.0.0.53\n\
                    nameserver 192.168.7.9\nnameserver fe80::1%eth7\nnameserver 203.0.113.9\n\
                    options edns0 ndots:2 secret.example timeout:secret\n";
        assert_eq!(
            servers(text),
            "programs ask systemd-resolved's stub on loopback, a server of a private network, a server of a private \
             network, a server elsewhere; options edns0 ndots:2; 2 search domains"
        );
        assert_eq!(servers(""), "names no server: 127.0.0.1 is asked");
        assert_eq!(kind("::1"), "a server on loopback");
        assert_eq!(kind("secret.example"), "something that is no address");
    }

    #[test]
    fn services_for_hosts() {
        let text = "passwd: files\nhosts: files secret [!UNAVAIL=return] mdns4_minimal [ NOTFOUND=return ] [secret=return] dns # x\n";
        assert_eq!(
            hosts(text),
            "hosts: files (another) [!UNAVAIL=return] mdns4_minimal [ NOTFOUND=return ] (another) dns"
        );
        assert_eq!(hosts("passwd: files\n"), "says nothing of hosts");
    }
}
