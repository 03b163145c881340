//! Chromium and its family: the command line.
//!
//! Rules and defaults are those of Chromium's net/docs/proxy.md; which switch wins is
//! chrome/browser/prefs/chrome_command_line_pref_store.cc.

use super::Posture;
use crate::model::{Evidence, Process, ProxySetting, Resolves};

const SOURCE: &str = "command-line";

/// The posture of a process whose command line has Chromium's proxy switches; `None` without them.
#[must_use]
pub fn posture(process: &Process) -> Option<Posture> {
    if !is_chromium(process) {
        return None;
    }
    let cmdline = process.cmdline.as_deref()?;
    if switch(cmdline, "no-proxy-server").is_some() {
        return None;
    }
    // A script or a discovery decides for each address: nothing can be said about all names.
    for name in ["proxy-pac-url", "proxy-auto-detect"] {
        if let Some(value) = switch(cmdline, name) {
            return Some(Posture {
                evidence: vec![Evidence::new(SOURCE, written(name, value))],
                ..Posture::default()
            });
        }
    }
    let value = switch(cmdline, "proxy-server")?;
    let mut evidence = vec![Evidence::new(SOURCE, written("proxy-server", value))];
    let proxy = for_everything(value);
    if let Some(proxy) = &proxy {
        let meaning = match (proxy.scheme.as_str(), proxy.resolves) {
            ("socks4", _) => "Chromium resolves names itself for a SOCKS4 proxy",
            (_, Resolves::Depends) => "another entry of the list may go without the proxy",
            ("socks5", _) => "Chromium leaves names to a SOCKS5 proxy",
            _ => "Chromium leaves names to an HTTP proxy",
        };
        evidence.push(Evidence::new("chromium", meaning));
    }
    let bypass = switch(cmdline, "proxy-bypass-list").unwrap_or_default();
    Some(Posture {
        advice: proxy.as_ref().map(advice),
        proxy,
        bypass: split(bypass, &[',', ';']),
        evidence,
    })
}

/// Programs that take these switches, by file name. Electron's have names of their own, and are not guessed at.
fn is_chromium(process: &Process) -> bool {
    process.program().is_some_and(|program| {
        [
            "brave",
            "brave-browser",
            "chrome",
            "chromium",
            "chromium-browser",
            "google-chrome",
            "headless_shell",
            "microsoft-edge",
            "msedge",
            "opera",
            "vivaldi-bin",
        ]
        .contains(&program)
    })
}

/// The value of a switch, empty for one without; the last of several wins, and `--` ends them (base/command_line.cc).
fn switch<'a>(cmdline: &'a [String], name: &str) -> Option<&'a str> {
    cmdline
        .iter()
        .skip(1)
        .take_while(|argument| *argument != "--")
        .filter_map(|argument| {
            let rest = argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))?
                .strip_prefix(name)?;
            if rest.is_empty() {
                Some("")
            } else {
                rest.strip_prefix('=')
            }
        })
        .last()
}

fn written(name: &str, value: &str) -> String {
    if value.is_empty() {
        format!("--{name}")
    } else {
        format!("--{name}={value}")
    }
}

fn split(text: &str, separators: &[char]) -> Vec<String> {
    text.split(separators)
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The proxy that every connection goes to, from `[scheme=]list[;[scheme=]list…]`; `None` when some go without.
fn for_everything(value: &str) -> Option<ProxySetting> {
    let mut fallback = None;
    for entry in split(value, &[';']) {
        match entry.split_once('=') {
            // In the map form an entry for `socks` serves all that has none of its own, and means SOCKS4 by default.
            Some(("socks", list)) => fallback = first_of(list, "socks4"),
            // HTTP and HTTPS proxies for one scheme leave the rest as it is.
            Some(_) => {}
            None => return first_of(&entry, "http"),
        }
    }
    fallback
}

/// The first proxy of a list; whatever else the list allows makes it depend.
fn first_of(list: &str, default_scheme: &str) -> Option<ProxySetting> {
    let mut proxies = split(list, &[',']).into_iter();
    let mut first = proxy(&proxies.next()?, default_scheme)?;
    for other in proxies {
        match proxy(&other, default_scheme) {
            Some(other) if other.resolves == first.resolves => {}
            _ => first.resolves = Resolves::Depends,
        }
    }
    Some(first)
}

/// `[scheme://]host[:port]`; `None` for `direct://` and what Chromium would not understand either.
fn proxy(uri: &str, default_scheme: &str) -> Option<ProxySetting> {
    let (scheme, rest) = uri.split_once("://").unwrap_or((default_scheme, uri));
    let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "socks5" | "socks" => ("socks5", 1080),
        "socks4" => ("socks4", 1080),
        "http" => ("http", 80),
        "https" => ("https", 443),
        _ => return None,
    };
    let (addr, port) = host_and_port(rest.trim_end_matches('/'), default_port)?;
    Some(ProxySetting {
        scheme: scheme.to_owned(),
        addr,
        port,
        resolves: if scheme == "socks4" {
            Resolves::Local
        } else {
            Resolves::Remote
        },
    })
}

fn host_and_port(text: &str, default_port: u16) -> Option<(String, u16)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

fn advice(proxy: &ProxySetting) -> String {
    let host = ProxySetting {
        scheme: "socks5".to_owned(),
        ..proxy.clone()
    };
    if proxy.scheme == "socks4" {
        format!(
            "start it with --proxy-server={host}: for SOCKS4 Chromium always resolves names itself, to a SOCKS5 proxy it gives them"
        )
    } else {
        format!(
            "start it with --host-resolver-rules=\"MAP * ~NOTFOUND , EXCLUDE {}\": then it cannot resolve any name but the proxy's",
            proxy.addr
        )
    }
}

/// Whether a rule of a bypass list covers a host name. Rules about addresses cover no name; a port is left out of
/// account, since a query has none, so that doubt explains and never accuses.
#[must_use]
pub fn bypasses(rule: &str, name: &str) -> bool {
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

    fn told(arguments: &[&str]) -> Option<Posture> {
        posture(&Process {
            exe: Some("/usr/lib/chromium/chromium".into()),
            cmdline: Some(
                std::iter::once(&"chromium")
                    .chain(arguments)
                    .map(|&argument| argument.to_owned())
                    .collect(),
            ),
            ..Process::unread(1, None)
        })
    }

    fn proxy_of(value: &str) -> Option<String> {
        let posture = told(&[&format!("--proxy-server={value}")])?;
        posture
            .proxy
            .map(|proxy| format!("{proxy} {:?}", proxy.resolves))
    }

    #[test]
    fn proxy_server() {
        for (value, expected) in [
            ("socks4://127.0.0.1:9050", "socks4://127.0.0.1:9050 Local"),
            ("socks5://127.0.0.1:9050", "socks5://127.0.0.1:9050 Remote"),
            (
                "SOCKS5://proxy.example",
                "socks5://proxy.example:1080 Remote",
            ),
            ("socks://h", "socks5://h:1080 Remote"),
            ("h", "http://h:80 Remote"),
            (
                "https://[2001:db8::1]:8443",
                "https://[2001:db8::1]:8443 Remote",
            ),
            ("socks=h:1", "socks4://h:1 Local"),
            ("http=x;socks=socks5://h:1", "socks5://h:1 Remote"),
            ("socks5://a,direct://", "socks5://a:1080 Depends"),
            ("socks5://a,socks4://b", "socks5://a:1080 Depends"),
            ("socks5://a,socks5://b", "socks5://a:1080 Remote"),
        ] {
            assert_eq!(proxy_of(value).as_deref(), Some(expected), "{value}");
        }
        for value in [
            "direct://",
            "http=x",
            "socks5://:1",
            "socks5://h:99999",
            "ftp://h",
            "",
        ] {
            assert_eq!(proxy_of(value), None, "{value}");
        }
    }

    #[test]
    fn which_switch_wins() {
        assert_eq!(told(&["--headless"]), None);
        assert_eq!(
            told(&["--proxy-server=socks4://a", "--no-proxy-server"]),
            None
        );
        let pac = told(&["--proxy-server=socks4://a", "--proxy-pac-url=http://p/"]).unwrap();
        assert!(!pac.proxies_everything());
        let last = told(&["--proxy-server=socks4://a", "--proxy-server=socks5://b"]).unwrap();
        assert_eq!(last.proxy.unwrap().addr, "b");
        assert_eq!(told(&["--", "--proxy-server=socks4://a"]), None);
        assert_eq!(told(&["--proxy-servers=socks4://a"]), None);
    }

    #[test]
    fn another_program_is_not_chromium() {
        let process = Process {
            exe: Some("/usr/bin/curl".into()),
            cmdline: Some(vec!["curl".into(), "--proxy-server=socks4://a".into()]),
            ..Process::unread(1, None)
        };
        assert_eq!(posture(&process), None);
    }

    #[test]
    fn bypass_rules() {
        for (rule, name, expected) in [
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
        ] {
            assert_eq!(bypasses(rule, name), expected, "{rule} {name}");
        }
        let posture = told(&[
            "--proxy-server=socks4://a",
            "--proxy-bypass-list=x.org; *.y.org",
        ])
        .unwrap();
        assert_eq!(posture.bypassed_by("a.y.org"), Some("*.y.org"));
        assert_eq!(posture.bypassed_by("z.org"), None);
    }
}
