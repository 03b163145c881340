//! Lists of names that are reached without the proxy, each in its own language.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

/// How the rules of a list are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Language {
    /// Chromium: patterns with `*`, `<local>` (net/docs/proxy.md, "Proxy bypass rules").
    #[default]
    Chromium,
    /// Suffixes at a label's boundary, with or without a leading dot, and `*` for everything: `no_proxy` as curl has it
    /// (curl(1), NO_PROXY), and Firefox's `network.proxy.no_proxies_on` (netwerk/base/nsProtocolProxyService.cpp,
    /// `CanUseProxy`).
    Suffix,
    /// privoxy's URL patterns (user manual, "Patterns"): labels with `*`, `?` and `[a-z]`, open on the side where a dot is.
    Privoxy,
    /// Java's `http.nonProxyHosts`: whole names, with `*` at the beginning or end (java.net, "Networking properties").
    Java,
}

/// A bypass list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bypass {
    /// The rules, as written.
    pub rules: Vec<String>,
    /// How they are meant.
    pub language: Language,
}

impl Bypass {
    /// A list whose rules are separated by any of these characters.
    #[must_use]
    pub fn new(text: &str, separators: &[char], language: Language) -> Self {
        Self {
            rules: split(text, separators),
            language,
        }
    }

    /// The rule that covers a host name. Rules about addresses cover no name; a port is left out of account, since a query
    /// has none, so that doubt explains and never accuses.
    #[must_use]
    pub fn rule_for(&self, name: &str) -> Option<&str> {
        let covers = match self.language {
            Language::Chromium => chromium,
            Language::Suffix => suffix,
            Language::Java => java,
            Language::Privoxy => privoxy,
        };
        self.rules
            .iter()
            .find(|rule| covers(rule, name))
            .map(String::as_str)
    }
}

impl Bypass {
    /// The rule that covers an address to which a connection is made: one for a range (CIDR, or with a mask), for the
    /// address itself, with or without brackets and port, or one of the language's own that covers its text. What Chromium
    /// never gives a proxy is covered too.
    #[must_use]
    pub fn rule_for_address(&self, addr: IpAddr) -> Option<&str> {
        let ranged = self.rules.iter().find(|rule| {
            let rule = rule
                .split_once("://")
                .map_or(rule.as_str(), |(_, rest)| rest);
            in_range(rule, addr) || is_address(rule, addr)
        });
        ranged
            .map(String::as_str)
            .or_else(|| self.rule_for(&addr.to_string()))
            .or_else(|| {
                (self.language == Language::Chromium && is_link_local(addr))
                    .then_some("link-local addresses, by Chromium's own rules")
            })
    }
}

/// 169.254.0.0/16 and fe80::/10 (net/docs/proxy.md, "Implicit bypass rules").
fn is_link_local(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => addr.is_link_local(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    }
}

fn is_address(rule: &str, addr: IpAddr) -> bool {
    let bare = rule
        .strip_prefix('[')
        .and_then(|rest| rest.split(']').next());
    let rule = bare.unwrap_or(rule);
    rule.parse() == Ok(addr)
        || rule
            .parse::<std::net::SocketAddr>()
            .is_ok_and(|rule| rule.ip() == addr)
}

/// Whether a rule is a range that holds the address.
fn in_range(rule: &str, addr: IpAddr) -> bool {
    let Some((base, length)) = rule.split_once('/') else {
        return false;
    };
    let base = base.trim_start_matches('[').trim_end_matches(']');
    let Ok(base) = base.parse::<IpAddr>() else {
        return false;
    };
    let mask = match length.parse::<u32>() {
        Ok(length) => Some(length),
        Err(_) => length
            .parse::<Ipv4Addr>()
            .ok()
            .map(|mask| mask.to_bits().leading_ones()),
    };
    match (base, addr, mask) {
        (IpAddr::V4(base), IpAddr::V4(addr), Some(length @ 0..=32)) => {
            let drop = 32 - length;
            u64::from(base.to_bits()) >> drop == u64::from(addr.to_bits()) >> drop
        }
        (IpAddr::V6(base), IpAddr::V6(addr), Some(length @ 0..=128)) => {
            let keep = |addr: std::net::Ipv6Addr| addr.to_bits().checked_shr(128 - length);
            keep(base) == keep(addr)
        }
        _ => false,
    }
}

/// The parts of a list that are not empty.
#[must_use]
pub fn split(text: &str, separators: &[char]) -> Vec<String> {
    text.split(separators)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn chromium(rule: &str, name: &str) -> bool {
    if rule.eq_ignore_ascii_case("<local>") {
        return !name.contains('.');
    }
    if rule.starts_with('<') || rule.contains('/') && !rule.contains("://") {
        return false;
    }
    let rule = rule.split_once("://").map_or(rule, |(_, rest)| rest);
    let rule = rule.split_once(':').map_or(rule, |(host, _)| host);
    let rule = rule.to_ascii_lowercase();
    let pattern = if rule.starts_with('.') {
        format!("*{rule}")
    } else {
        rule
    };
    wildcard(&pattern, &name.to_ascii_lowercase())
}

fn suffix(rule: &str, name: &str) -> bool {
    // Firefox's word for names without a dot (nsProtocolProxyService.cpp, `LoadHostFilters`).
    if rule.eq_ignore_ascii_case("<local>") {
        return !name.contains('.');
    }
    let rule = rule.rsplit_once(':').map_or(rule, |(host, _)| host);
    if rule == "*" {
        return true;
    }
    let rule = rule.trim_start_matches('*').trim_start_matches('.');
    let (rule, name) = (rule.to_ascii_lowercase(), name.to_ascii_lowercase());
    !rule.is_empty()
        && name
            .strip_suffix(&rule)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn java(rule: &str, name: &str) -> bool {
    wildcard(&rule.to_ascii_lowercase(), &name.to_ascii_lowercase())
}

fn privoxy(rule: &str, name: &str) -> bool {
    let host = rule.split('/').next().unwrap_or(rule);
    let host = match host.rsplit_once(':') {
        Some((host, _)) => host,
        None => host,
    };
    let (opens, ends) = (host.starts_with('.'), host.ends_with('.'));
    let (pattern, name) = (host.to_ascii_lowercase(), name.to_ascii_lowercase());
    let pattern = pattern.trim_matches('.');
    if pattern.is_empty() {
        return true;
    }
    let pattern: Vec<String> = pattern.split('.').map(one_or_any).collect();
    let labels: Vec<&str> = name.split('.').collect();
    labels.windows(pattern.len()).enumerate().any(|(at, part)| {
        (opens || at == 0)
            && (ends || at + part.len() == labels.len())
            && pattern
                .iter()
                .zip(part)
                .all(|(pattern, label)| wildcard(pattern, label))
    })
}

/// The pattern with a star in the place of what stands for one character: more is covered, since doubt explains.
fn one_or_any(pattern: &str) -> String {
    let mut out = String::new();
    let mut in_class = false;
    for c in pattern.chars() {
        match c {
            '[' => in_class = true,
            ']' if in_class => {
                in_class = false;
                out.push('*');
            }
            _ if in_class => {}
            '?' => out.push('*'),
            c => out.push(c),
        }
    }
    out
}

/// Whether `*` of the pattern can stand for parts of the text so that both are the same.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(language: Language, table: &[(&str, &str, bool)]) {
        for &(rule, name, expected) in table {
            let bypass = Bypass {
                rules: vec![rule.to_owned()],
                language,
            };
            assert_eq!(bypass.rule_for(name).is_some(), expected, "{rule} {name}");
        }
    }

    #[test]
    fn chromium_rules() {
        check(
            Language::Chromium,
            &[
                ("example.com", "example.com", true),
                ("example.com", "www.example.com", false),
                ("*.example.com", "www.example.com", true),
                (".example.com", "WWW.example.com", true),
                (".example.com", "example.com", false),
                ("*example.com:443", "badexample.com", true),
                ("https://x.*.com", "x.y.com", true),
                ("<local>", "printer", true),
                ("<local>", "printer.lan", false),
                ("<-loopback>", "anything", false),
                ("10.0.0.0/8", "10.example", false),
                ("*", "anything.example", true),
                ("a*b*c", "a-b-b-c", true),
                ("a*b*c", "a-c-b", false),
            ],
        );
    }

    #[test]
    fn suffixes() {
        check(
            Language::Suffix,
            &[
                ("example.com", "example.com", true),
                ("example.com", "www.example.com", true),
                ("example.com", "badexample.com", false),
                (".example.com", "www.Example.com", true),
                ("*.example.com", "www.example.com", true),
                ("example.com:8080", "example.com", true),
                ("*", "anything", true),
                ("<local>", "printer", true),
                ("<local>", "printer.lan", false),
                ("", "anything", false),
                ("10.0.0.0/8", "page.example", false),
            ],
        );
    }

    #[test]
    fn java_patterns() {
        check(
            Language::Java,
            &[
                ("*.example.com", "www.example.com", true),
                ("localhost", "localhost", true),
                ("example.com", "www.example.com", false),
            ],
        );
    }

    #[test]
    fn privoxy_patterns() {
        check(
            Language::Privoxy,
            &[
                ("example.com", "example.com", true),
                ("example.com/path", "www.example.com", false),
                (".example.com", "www.Example.com", true),
                (".example.com", "example.com", true),
                (".example.com", "badexample.com", false),
                ("www.", "www.example.com", true),
                ("www.", "wwww.example.com", false),
                (".example.", "a.example.b", true),
                ("ad*.example.com:80/", "adverts.example.com", true),
                ("ad?.[a-e]xample.com", "ads.example.com", true),
                ("a.b.c.d", "a.b", false),
                ("", "anything", true),
                ("[", "x", false),
            ],
        );
    }

    #[test]
    fn addresses() {
        for (language, rule, addr, expected) in [
            (Language::Suffix, "10.77.0.0/24", "10.77.0.80", true),
            (Language::Suffix, "10.77.0.0/24", "10.77.1.80", false),
            (Language::Suffix, "10.0.0.0/255.0.0.0", "10.77.1.80", true),
            (Language::Suffix, "0.0.0.0/0", "192.0.2.1", true),
            (Language::Suffix, "10.77.0.0/33", "10.77.0.80", false),
            (Language::Suffix, "fd77::80", "fd77::80", true),
            (Language::Suffix, "fd77::/16", "fd77::80", true),
            (Language::Suffix, "fd77::/16", "fd78::80", false),
            (Language::Suffix, "::/0", "fd78::80", true),
            (Language::Suffix, "10.77.0.80:443", "10.77.0.80", true),
            (Language::Chromium, "10.0.0.0/8", "10.77.0.80", true),
            (Language::Chromium, "[fd77::80]", "fd77::80", true),
            (Language::Chromium, "[fd77::80]:443", "fd77::80", true),
            (Language::Chromium, "10.77.*", "10.77.0.80", true),
            (Language::Chromium, "x.example", "169.254.1.1", true),
            (Language::Chromium, "x.example", "fe80::1", true),
            (Language::Suffix, "x.example", "169.254.1.1", false),
        ] {
            let bypass = Bypass {
                rules: vec![rule.to_owned()],
                language,
            };
            let covered = bypass.rule_for_address(addr.parse().unwrap()).is_some();
            assert_eq!(covered, expected, "{rule} {addr}");
        }
    }

    #[test]
    fn lists() {
        let list = Bypass::new(" a.org ,, *.b.org", &[','], Language::Chromium);
        assert_eq!(list.rules, ["a.org", "*.b.org"]);
        assert_eq!(list.rule_for("x.b.org"), Some("*.b.org"));
        assert_eq!(list.rule_for("c.org"), None);
    }
}
