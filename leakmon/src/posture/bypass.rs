//! Lists of names that are reached without the proxy, each in its own language.

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
    fn lists() {
        let list = Bypass::new(" a.org ,, *.b.org", &[','], Language::Chromium);
        assert_eq!(list.rules, ["a.org", "*.b.org"]);
        assert_eq!(list.rule_for("x.b.org"), Some("*.b.org"));
        assert_eq!(list.rule_for("c.org"), None);
    }
}
