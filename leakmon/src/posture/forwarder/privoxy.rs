//! privoxy: an HTTP proxy that can hand requests on to others.
//!
//! The lines are those of its manual ("Forwarding"), the last that matches wins. How a line is read is `edit_read_line`
//! in loaders.c, what it says `load_config` in loadcfg.c, and that names are resolved for SOCKS4 only
//! `socks4_connect` in gateway.c (3.0.34).

use super::Forwarder;
use crate::{
    model::{ProxySetting, Resolves},
    posture::{Bypass, Fault, Language, Route, Subject, Told, View, proxy::host_and_port},
};

const SOURCE: &str = "privoxy-config";
/// Action files that are looked into.
const MAX_ACTION_FILES: usize = 30;

/// What privoxy is, and where it hands requests on to.
pub fn forwarder(subject: &Subject<'_>) -> Forwarder {
    let nowhere = |told| Forwarder {
        told: Some(told),
        ..Forwarder::new("privoxy, an HTTP proxy")
    };
    match file(subject) {
        Ok((path, Some(text))) => {
            let config = parse(&text);
            let overrides = overrides(subject.view, &path, &config);
            of_config(&path, &config, overrides)
        }
        // It is there when privoxy starts, so this is not the path that privoxy means.
        Ok((path, None)) => nowhere(Told::unread(
            SOURCE,
            format!(
                "{path} is not there: privoxy was started in another folder, or the file is gone"
            ),
        )),
        Err(fault) => nowhere(Told::unread(SOURCE, fault)),
    }
}

/// The path of the configuration file, and its content.
fn file(subject: &Subject<'_>) -> Result<(String, Option<String>), Fault> {
    let mut arguments = subject.arguments().iter();
    let mut written = "config";
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--pidfile" | "--user" | "--pre-chroot-nslookup" => {
                arguments.next();
            }
            option if option.starts_with("--") => {}
            path => written = path,
        }
    }
    let view = subject.view;
    let path = view.meant(written)?;
    let text = view.text(&path)?;
    Ok((path, text))
}

/// A line that says where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    keyword: String,
    pattern: String,
    /// The SOCKS proxy, with its scheme.
    socks: Option<(&'static str, String, u16)>,
    /// The HTTP proxy behind it.
    http: Option<(String, u16)>,
}

impl Rule {
    fn is_for_everything(&self) -> bool {
        self.pattern == "/"
    }

    /// The host part of its pattern, if it can be told of a name alone whether it matches.
    fn host(&self) -> Option<&str> {
        let host = self.pattern.split('/').next().unwrap_or_default();
        let host = match host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => host,
        };
        let is_plain = !host.is_empty() && !host.starts_with("PCRE-HOST-PATTERN");
        is_plain.then_some(host)
    }

    fn setting(&self) -> Option<ProxySetting> {
        let http = self.http_setting();
        let Some((scheme, addr, port)) = &self.socks else {
            return http;
        };
        Some(ProxySetting {
            scheme: (*scheme).to_owned(),
            addr: addr.clone(),
            port: *port,
            // With an HTTP proxy behind it that one's name is all that there is to resolve.
            resolves: if *scheme == "socks4" && http.is_none() {
                Resolves::Local
            } else {
                Resolves::Remote
            },
        })
    }

    fn http_setting(&self) -> Option<ProxySetting> {
        self.http.as_ref().map(|(addr, port)| ProxySetting {
            scheme: "http".to_owned(),
            addr: addr.clone(),
            port: *port,
            resolves: Resolves::Remote,
        })
    }

    /// The line, without a user and password.
    fn shown(&self) -> String {
        let proxy = |proxy: Option<(&String, u16)>| {
            proxy.map_or_else(|| ".".to_owned(), |(host, port)| format!("{host}:{port}"))
        };
        let mut line = format!("{} {}", self.keyword, self.pattern);
        if self.keyword != "forward" {
            let socks = self.socks.as_ref().map(|(_, host, port)| (host, *port));
            line = format!("{line} {}", proxy(socks));
        }
        let http = self.http.as_ref().map(|(host, port)| (host, *port));
        format!("{line} {}", proxy(http))
    }
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Config {
    listen: Vec<String>,
    folder: Option<String>,
    action_files: Vec<String>,
    rules: Vec<Rule>,
    /// A proxy in it makes no sense.
    malformed: bool,
}

fn parse(text: &str) -> Config {
    let mut config = Config::default();
    for line in logical_lines(text) {
        let (keyword, value) = line.split_once([' ', '\t']).unwrap_or((&line, ""));
        let (keyword, value) = (keyword.to_ascii_lowercase(), value.trim());
        match keyword.as_str() {
            "listen-address" if !value.is_empty() => config.listen.push(value.to_owned()),
            "confdir" => config.folder = Some(value.to_owned()),
            "actionsfile" => config.action_files.push(value.to_owned()),
            keyword => match rule(keyword, value) {
                Ok(rule) => config.rules.extend(rule),
                Err(()) => config.malformed = true,
            },
        }
    }
    config
}

/// A line that ends in a backslash goes on in the next; `#` begins a comment unless there is a backslash before it.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut whole = String::new();
    for line in text.lines() {
        let (line, goes_on) = match line.strip_suffix('\\') {
            Some(line) => (line, true),
            None => (line, false),
        };
        let mut before = ' ';
        for c in line.chars() {
            match (c, before) {
                ('#', '\\') => {
                    whole.pop();
                    whole.push('#');
                }
                ('#', _) => break,
                _ => whole.push(c),
            }
            before = c;
        }
        if !goes_on {
            lines.push(std::mem::take(&mut whole).trim().to_owned());
        }
    }
    lines.push(whole.trim().to_owned());
    lines.retain(|line| !line.is_empty());
    lines
}

/// A line about proxies; `None` for another, or one that privoxy passes over.
///
/// # Errors
/// When a proxy in it makes no sense.
fn rule(keyword: &str, value: &str) -> Result<Option<Rule>, ()> {
    let fields: Vec<&str> = value.split_whitespace().collect();
    let scheme = match keyword {
        "forward" => None,
        "forward-socks4" => Some("socks4"),
        "forward-socks4a" => Some("socks4a"),
        "forward-socks5" | "forward-socks5t" => Some("socks5"),
        _ => return Ok(None),
    };
    // A line with another number of words is passed over.
    let (pattern, socks, http) = match (scheme, fields.as_slice()) {
        (None, [pattern, http]) => (pattern, None, http),
        (Some(scheme), [pattern, socks, http]) => (pattern, Some((scheme, *socks)), http),
        _ => return Ok(None),
    };
    let socks = match socks {
        Some((scheme, text)) => address(text, 1080)?.map(|(host, port)| (scheme, host, port)),
        None => None,
    };
    Ok(Some(Rule {
        keyword: keyword.to_owned(),
        pattern: (*pattern).to_owned(),
        socks,
        http: address(http, 8000)?,
    }))
}

/// `[user:password@]host[:port]`; `None` for a dot, which means none.
fn address(text: &str, default_port: u16) -> Result<Option<(String, u16)>, ()> {
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    if text == "." {
        return Ok(None);
    }
    let (host, port) = host_and_port(text).ok_or(())?;
    Ok(Some((host, port.unwrap_or(default_port))))
}

/// The action file that sends some requests elsewhere (`forward-override`), if there is one.
fn overrides(view: &View, path: &str, config: &Config) -> Result<Option<String>, Fault> {
    let folder = config
        .folder
        .as_deref()
        .unwrap_or_else(|| path.rsplit_once('/').map_or("", |(folder, _)| folder));
    for file in config.action_files.iter().take(MAX_ACTION_FILES) {
        let file = if file.starts_with('/') {
            file.clone()
        } else {
            format!("{}/{file}", folder.trim_end_matches('/'))
        };
        let Some(text) = view.text(&file)? else {
            continue;
        };
        if logical_lines(&text)
            .iter()
            .any(|line| line.contains("+forward-override{"))
        {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn of_config(path: &str, config: &Config, overrides: Result<Option<String>, Fault>) -> Forwarder {
    let listen = if config.listen.is_empty() {
        "127.0.0.1:8118".to_owned()
    } else {
        config.listen.join(", ")
    };
    let mut told = of_rules(path, &config.rules);
    if config.malformed {
        told = told.and(
            SOURCE,
            format!("{path}: a line names a proxy that makes no sense"),
        );
        told.route = Route::Unknown(told.route.proxy().cloned());
    }
    match overrides {
        Ok(None) => {}
        Ok(Some(file)) => {
            told = told.and(
                SOURCE,
                format!("{file}: +forward-override sends some requests elsewhere"),
            );
            told.route = Route::Some(told.route.proxy().cloned());
        }
        Err(fault) => {
            told = told.and(
                SOURCE,
                format!("{fault}: it may send some requests elsewhere"),
            );
            told.route = Route::Unknown(told.route.proxy().cloned());
        }
    }
    Forwarder {
        told: Some(told),
        ..Forwarder::new(format!("privoxy, an HTTP proxy on {listen}"))
    }
}

fn of_rules(path: &str, rules: &[Rule]) -> Told {
    // What stands before the last line for everything counts for nothing.
    let start = rules.iter().rposition(Rule::is_for_everything);
    let rules = rules.get(start.unwrap_or_default()..).unwrap_or_default();
    let (base, exceptions) = match (start, rules) {
        (Some(_), [base, exceptions @ ..]) => {
            (base.setting().map(|proxy| (base, proxy)), exceptions)
        }
        _ => (None, rules),
    };
    let mut told = Told {
        others: rules
            .iter()
            .skip(usize::from(base.is_some()))
            .filter_map(Rule::setting)
            .chain(
                rules
                    .iter()
                    .filter(|rule| rule.socks.is_some())
                    .filter_map(Rule::http_setting),
            )
            .collect(),
        ..Told::default()
    };
    for rule in rules {
        told = told.and(SOURCE, format!("{path}: {}", rule.shown()));
    }
    let local = rules.iter().find(|rule| {
        rule.setting()
            .is_some_and(|proxy| proxy.resolves == Resolves::Local)
    });
    if let Some(rule) = local {
        let better = Rule {
            keyword: "forward-socks5t".to_owned(),
            ..rule.clone()
        };
        told = told.and(
            "privoxy",
            "privoxy resolves names itself for forward-socks4, and for no other",
        );
        told.advice = Some(format!(
            "in {path} change the line `{}` to `{}` (forward-socks5 if the proxy is not tor)",
            rule.shown(),
            better.shown()
        ));
    }
    told.route = match base {
        Some((_, mut proxy)) => {
            let direct: Vec<&Rule> = exceptions
                .iter()
                .filter(|rule| rule.setting().is_none())
                .collect();
            told.bypass = Bypass {
                rules: direct
                    .iter()
                    .filter(|rule| rule.host().is_some())
                    .map(|rule| rule.pattern.clone())
                    .collect(),
                language: Language::Privoxy,
            };
            if local.is_some() && proxy.resolves == Resolves::Remote {
                proxy.resolves = Resolves::Depends;
            }
            // A port or a path of any host: names alone do not tell.
            if direct.iter().any(|rule| rule.host().is_none()) {
                Route::Some(Some(proxy))
            } else {
                Route::Everything(proxy)
            }
        }
        None => {
            let first = local.and_then(Rule::setting);
            match first.or_else(|| exceptions.iter().find_map(Rule::setting)) {
                Some(proxy) => Route::Some(Some(proxy)),
                None => {
                    told = told.and(
                        SOURCE,
                        format!("{path}: hands requests on to no proxy: privoxy resolves names for its clients"),
                    );
                    Route::Direct
                }
            }
        }
    };
    told
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::posture::{Posture, testing::Scene};

    /// The file of Debian's privoxy 3.0.34, without most of its comments.
    const DEBIAN: &str = include_str!("testdata/privoxy-config");

    /// The posture of a privoxy that was started with these arguments on a disk with these files.
    fn posture(arguments: &[&str], files: &[(&str, &[u8])]) -> Posture {
        Scene::new("/usr/sbin/privoxy")
            .args(arguments)
            .files(files)
            .ask(super::super::posture)
            .unwrap()
    }

    fn of(text: &str) -> Posture {
        posture(&["/c"], &[("/c", text.as_bytes())])
    }

    #[test]
    fn upstreams() {
        for (text, expected) in [
            (
                "forward-socks4 / 127.0.0.1:9050 .",
                "proxy socks4://127.0.0.1:9050 Local",
            ),
            (
                "forward-socks4a / 127.0.0.1:9050 .",
                "proxy socks4a://127.0.0.1:9050 Remote",
            ),
            ("Forward-SOCKS5 / h .", "proxy socks5://h:1080 Remote"),
            (
                "forward-socks5t / u:p@[::1]:9050 .",
                "proxy socks5://[::1]:9050 Remote",
            ),
            (
                "forward / parent.example",
                "proxy http://parent.example:8000 Remote",
            ),
            ("forward-socks4 / s:1 p:2", "proxy socks4://s:1 Remote"),
            (
                "forward-socks4 / a .\nforward-socks5 / b .",
                "proxy socks5://b:1080 Remote",
            ),
            ("forward-socks4 / a .\nforward / .", "direct - Local"),
            (
                "forward-socks5 / a .\nforward-socks4 .lan b .",
                "proxy socks5://a:1080 Depends",
            ),
            (
                "forward-socks4 / a .\nforward-socks5 .lan b .",
                "proxy socks4://a:1080 Local",
            ),
            (
                "forward-socks5 / a .\nforward :443 .",
                "some socks5://a:1080 Depends",
            ),
            (
                "forward-socks5 .x a .\nforward-socks4 .y b .",
                "some socks4://b:1080 Depends",
            ),
            ("forward-socks5 / \\\n a .", "proxy socks5://a:1080 Remote"),
            ("forward-socks5 / a", "direct - Local"),
            ("forward-socks5 / a . # x", "proxy socks5://a:1080 Remote"),
            ("#forward-socks5 / a .", "direct - Local"),
            ("", "direct - Local"),
        ] {
            let posture = of(text);
            let route = match &posture.route {
                Route::Everything(_) => "proxy",
                Route::Some(_) => "some",
                Route::Direct => "direct",
                _ => "?",
            };
            let proxy = posture.proxy().map_or("-".to_owned(), ToString::to_string);
            let said = format!("{route} {proxy} {:?}", posture.resolves());
            assert_eq!(said, expected, "{text}");
        }
    }

    #[test]
    fn socks4_is_a_leak_with_its_line() {
        let posture = of("forward-socks4 / me:secret@127.0.0.1:9050 .");
        assert!(posture.leaks[0].certain);
        assert!(posture.leaks[0].stop.contains(
            "`forward-socks4 / 127.0.0.1:9050 .` to `forward-socks5t / 127.0.0.1:9050 .`"
        ));
        assert!(!format!("{posture:?}").contains("secret"));
        assert_eq!(
            posture.role.as_deref(),
            Some("privoxy, an HTTP proxy on 127.0.0.1:8118")
        );
    }

    #[test]
    fn names_that_are_reached_directly() {
        let posture = of(
            "forward-socks5 / a .\nforward .lan/ .\nforward 192.168.*.*/ .\nforward localhost/ .",
        );
        assert_eq!(posture.bypassed_by("nas.lan"), Some(".lan/"));
        assert_eq!(posture.bypassed_by("lan.example"), None);
        assert!(posture.proxies_everything());
        assert!(of("forward / parent.example:8080").is_proxy_host("parent.example"));
        assert!(of("forward-socks4 / s:1 parent.example:2").is_proxy_host("parent.example"));
    }

    #[test]
    fn the_packaged_file() {
        let packaged = posture(
            &[
                "--pidfile",
                "/run/privoxy.pid",
                "--user",
                "privoxy",
                "/etc/privoxy/config",
            ],
            &[("/etc/privoxy/config", DEBIAN.as_bytes())],
        );
        assert_eq!(packaged.route, Route::Direct);
        assert_eq!(
            packaged.role.as_deref(),
            Some("privoxy, an HTTP proxy on 127.0.0.1:8118, [::1]:8118")
        );
        let text = format!("{DEBIAN}\nforward-socks5t / 127.0.0.1:9050 .\n");
        let rules: [(&str, &[u8]); 2] = [
            ("/etc/privoxy/config", text.as_bytes()),
            (
                "/etc/privoxy/user.action",
                b"# { +forward-override{x} }\n{ +forward-override{forward .} }\n.example.com\n",
            ),
        ];
        let sent = |count| posture(&["/etc/privoxy/config"], &rules[..count]);
        assert!(sent(1).proxies_everything());
        assert!(matches!(sent(2).route, Route::Some(Some(_))));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        for (arguments, files) in [
            (&["/c"][..], &[][..]),
            (&["c"], &[("/c", &b"forward / a"[..])]),
            (&[], &[]),
        ] {
            assert_eq!(posture(arguments, files).route, Route::Unknown(None));
        }
        let long = vec![b'\n'; 9 * 1024 * 1024];
        assert_eq!(
            posture(&["/c"], &[("/c", &long)]).route,
            Route::Unknown(None)
        );
        assert_eq!(of("forward / a:b").route, Route::Unknown(None));
        for hostile in [
            &b"\xff\xff / \xff ."[..],
            b"forward-socks5 / [::1 .",
            b"forward / a\\",
            b"\\#",
        ] {
            let _ = posture(&["/c"], &[("/c", hostile)]);
        }
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        symlink(outside.path(), dir.path().join("c")).unwrap();
        assert_eq!(View::of_disk(dir.path(), None).text("/c"), Ok(None));
    }
}
