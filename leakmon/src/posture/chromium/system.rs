//! The system's settings, as Chromium reads them: those of the desktop, else the environment
//! (net/proxy_resolution/proxy_config_service_linux.cc).

use super::rules::{List, Rules, Setting, resolves};
use crate::{
    model::{Evidence, ProxySetting},
    posture::{
        Bypass, Language, Route, Told, View,
        bypass::split,
        desktop::{self, Desktop, Mode},
        proxy::{Written, host_and_port},
        without_password,
    },
};

const SOURCE: &str = "environment";

/// What the system says, the first counts.
pub fn told(view: &View) -> Vec<Told> {
    // The desktop's settings, when it has some, are all that counts.
    let mut told: Vec<Told> = desktop(view).into_iter().collect();
    told.extend(environment(view));
    told
}

/// What the settings of the desktop say to Chromium; `None` where it reads the environment.
fn desktop(view: &View) -> Option<Told> {
    match desktop::read(view) {
        Ok(desktop) => of_desktop(view, &desktop?),
        Err(fault) => Some(Told::unread(desktop::SOURCE, fault)),
    }
}

/// What Chromium makes of them (`GetConfigFromSettings`): SOCKS means version 5 unless `socks4://` is in front, whose scheme
/// else is dropped. Where nothing can be made of them it reads the environment.
fn of_desktop(view: &View, desktop: &Desktop) -> Option<Told> {
    let mut evidence = desktop.evidence.iter().cloned();
    let place = evidence
        .next()
        .map(|first| first.detail)
        .unwrap_or_default();
    let of = |written: &Option<Written>, scheme| {
        let written = written.as_ref()?;
        let host = match written.scheme.as_deref() {
            Some("socks4") => format!("socks4://{}", bracketed(&written.host)),
            _ => bracketed(&written.host),
        };
        let port = written
            .port
            .map_or_else(String::new, |port| format!(":{port}"));
        server(&format!("{host}{port}"), scheme)
    };
    let mut bypass = desktop.bypass.clone();
    let (http, https, socks) = match &desktop.mode {
        Mode::None => {
            let told = Setting::Direct.told(view, desktop::SOURCE, place);
            return Some(with(told, evidence));
        }
        Mode::Auto(None) => {
            let told = Setting::AutoDetect.told(view, desktop::SOURCE, place);
            return Some(with(told, evidence));
        }
        Mode::Auto(Some(url)) => {
            let told = Setting::Script(url.clone()).told(view, desktop::SOURCE, place);
            return Some(with(told, evidence));
        }
        Mode::Manual {
            http, https, socks, ..
        } => (of(http, "http"), of(https, "http"), of(socks, "socks5")),
        Mode::Environment => {
            let named = |name: &Option<String>| Some(variable(view, name.as_deref()?)?.1);
            let variables = &desktop.variables;
            bypass = split(named(&variables.no_proxy).unwrap_or_default(), &[',', ' ']);
            (
                named(&variables.http).and_then(|value| server(value, "http")),
                named(&variables.https).and_then(|value| server(value, "http")),
                // This one is not looked up: its name is taken for a host.
                variables
                    .socks
                    .as_deref()
                    .and_then(|name| server(name, "socks5")),
            )
        }
    };
    let rules = match (http, https, socks) {
        (None, None, None) => return None,
        (None, None, Some(socks)) => Rules::Single(List::of(Some(socks))),
        (http, https, socks) => Rules::PerScheme {
            http: List::of(http),
            https: List::of(https),
            fallback: List::of(socks),
        },
    };
    let (mut route, others) = rules.route();
    let mut meaning = rules.meaning(&route);
    if desktop.reversed {
        meaning = "only what is on the list of exceptions goes through the proxy";
        bypass.clear();
        route = Route::Some(route.proxy().cloned());
    }
    let rules = match desktop.kind {
        desktop::Kind::Kde => suffixes(&bypass.join(",")),
        desktop::Kind::Gnome => bypass,
    };
    let told = Told {
        others,
        bypass: Bypass {
            rules,
            language: Language::Chromium,
        },
        ..Told::new(desktop::SOURCE, place, route)
    };
    Some(with(told, evidence).and("chromium", meaning))
}

/// With further evidence behind the first.
fn with(mut told: Told, evidence: impl Iterator<Item = Evidence>) -> Told {
    told.evidence.splice(1..1, evidence).for_each(drop);
    told
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// A variable by its name, or by the same in capitals if there is none of that name (base/environment.cc, `GetVar`), with
/// the name under which it was found.
fn variable<'a>(view: &'a View, name: &str) -> Option<(String, &'a str)> {
    let other = if name.starts_with(|c: char| c.is_ascii_uppercase()) {
        name.to_ascii_lowercase()
    } else {
        name.to_ascii_uppercase()
    };
    let name = [name.to_owned(), other]
        .into_iter()
        .find(|name| view.is_set(name))?;
    let value = view.variable(&name).unwrap_or_default();
    Some((name, value))
}

/// What variables say (`GetConfigFromEnv`).
pub fn environment(view: &View) -> Option<Told> {
    if let Some(fault) = view.environment_fault() {
        return Some(Told::unread(SOURCE, fault));
    }
    if let Some((name, url)) = variable(view, "auto_proxy") {
        let setting = if url.is_empty() {
            Setting::AutoDetect
        } else {
            Setting::Script(url.to_owned())
        };
        let url = if super::rules::is_data(url) {
            "data:…"
        } else {
            url
        };
        return Some(setting.told(view, SOURCE, format!("{name}={}", without_password(url))));
    }
    let mut used: Vec<String> = Vec::new();
    let mut server = |name: &str, scheme: &str| {
        let (name, value) = variable(view, name)?;
        let proxy = server(value, scheme)?;
        used.push(format!("{name}={}", without_userinfo(value)));
        Some(proxy)
    };
    let mut note = None;
    let mut rules = Rules::None;
    if let Some(proxy) = server("all_proxy", "http") {
        rules = Rules::Single(List::of(Some(proxy)));
    } else {
        let http = server("http_proxy", "http");
        let https = server("https_proxy", "http");
        if http.is_some() || https.is_some() {
            rules = Rules::PerScheme {
                http: List::of(http),
                https: List::of(https),
                fallback: List::default(),
            };
        }
    }
    if rules == Rules::None {
        let is_4 = variable(view, "SOCKS_VERSION").is_some_and(|(_, version)| version == "4");
        if let Some(proxy) = server("SOCKS_SERVER", if is_4 { "socks4" } else { "socks5" }) {
            rules = Rules::Single(List::of(Some(proxy)));
        }
        if is_4 && rules != Rules::None {
            used.push("SOCKS_VERSION=4".to_owned());
        }
    } else if used
        .iter()
        .any(|written| written.to_ascii_lowercase().contains("=socks"))
    {
        note = Some(
            "Chromium drops the scheme in front of these: it speaks HTTP to them, not SOCKS; SOCKS_SERVER is for that",
        );
    }
    let bypass = variable(view, "no_proxy").filter(|(_, list)| !list.is_empty());
    if rules == Rules::None {
        // On its own it says that there is to be no proxy.
        let (name, list) = bypass?;
        return Some(Told::new(SOURCE, format!("{name}={list}"), Route::Direct));
    }
    if let Some((name, list)) = &bypass {
        used.push(format!("{name}={list}"));
    }
    let (route, others) = rules.route();
    let meaning = rules.meaning(&route);
    let told = Told {
        others,
        bypass: Bypass {
            rules: suffixes(bypass.map_or("", |(_, list)| list)),
            language: Language::Chromium,
        },
        ..Told::new(SOURCE, used.join(" "), route)
    }
    .and("chromium", meaning);
    Some(match note {
        Some(note) => told.and("chromium", note),
        None => told,
    })
}

/// The proxy in a variable's value: its scheme and user are dropped, but `socks4://` in place of SOCKS5 counts
/// (`FixupProxyHostScheme`).
fn server(value: &str, scheme: &str) -> Option<ProxySetting> {
    let value = value.trim();
    let is_4 = value
        .get(..9)
        .is_some_and(|start| start.eq_ignore_ascii_case("socks4://"));
    let scheme = if scheme == "socks5" && is_4 {
        "socks4"
    } else {
        scheme
    };
    let host = value.split_once("://").map_or(value, |(_, host)| host);
    let host = host.split_once('@').map_or(host, |(_, host)| host);
    let (addr, port) = host_and_port(host.strip_suffix('/').unwrap_or(host))?;
    let is_host = !addr.contains(['@', '/', '?', '#', '\\']);
    is_host.then(|| ProxySetting {
        scheme: scheme.to_owned(),
        addr,
        port: port.unwrap_or(if scheme == "http" { 80 } else { 1080 }),
        resolves: resolves(scheme),
    })
}

/// As evidence: these may have a user without a scheme in front.
fn without_userinfo(value: &str) -> String {
    match value.split_once("://") {
        None => value
            .rsplit_once('@')
            .map_or_else(|| value.to_owned(), |(_, host)| format!("…@{host}")),
        Some(_) => without_password(value),
    }
}

/// Every name in the list stands for all names that end in it, at a label's boundary or not
/// (`RewriteRulesForSuffixMatching`).
fn suffixes(list: &str) -> Vec<String> {
    let suffix = |rule: String| {
        let host = rule
            .split_once("://")
            .map_or(rule.as_str(), |(_, host)| host);
        let is_name = !host.starts_with(['*', '.', '<', '['])
            && !host.contains('/')
            && host.parse::<std::net::IpAddr>().is_err();
        if is_name && host.len() == rule.len() {
            format!("*{rule}")
        } else {
            rule
        }
    };
    split(list, &[',', ';']).into_iter().map(suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Option<Told> {
        let dir = tempfile::tempdir().unwrap();
        environment(&View::of_disk(dir.path(), None).with(variables, &[]))
    }

    fn short(variables: &[(&str, &str)]) -> String {
        summary(&of(variables).unwrap_or_default())
    }

    fn summary(told: &Told) -> String {
        let proxy = told.route.proxy().map_or_else(String::new, |proxy| {
            format!(" {proxy} {:?}", proxy.resolves)
        });
        let kind = match told.route {
            Route::Everything(_) => "all",
            Route::Some(_) => "some",
            Route::Direct => "direct",
            Route::Untold => "untold",
            Route::Unknown(_) => "unknown",
        };
        format!("{kind}{proxy}")
    }

    #[test]
    fn variables() {
        for (variables, expected) in [
            (&[][..], "untold"),
            (&[("SOCKS_SERVER", "h:1")], "all socks5://h:1 Remote"),
            (&[("socks_server", "h")], "all socks5://h:1080 Remote"),
            (
                &[("SOCKS_SERVER", "h"), ("SOCKS_VERSION", "4")],
                "all socks4://h:1080 Local",
            ),
            (
                &[("SOCKS_SERVER", "h"), ("SOCKS_VERSION", "4a")],
                "all socks5://h:1080 Remote",
            ),
            (
                &[("SOCKS_SERVER", "Socks4://h:1/")],
                "all socks4://h:1 Local",
            ),
            (&[("SOCKS_SERVER", "me:pw@h:1")], "all socks5://h:1 Remote"),
            // Taken for an HTTP proxy.
            (&[("all_proxy", "socks5://h:1")], "all http://h:1 Remote"),
            (&[("ALL_PROXY", "socks5://h:1")], "all http://h:1 Remote"),
            (
                &[("all_proxy", "h"), ("SOCKS_SERVER", "s")],
                "all http://h:80 Remote",
            ),
            (
                &[("all_proxy", ""), ("ALL_PROXY", "x"), ("SOCKS_SERVER", "s")],
                "all socks5://s:1080 Remote",
            ),
            (
                &[("all_proxy", "h:x"), ("SOCKS_SERVER", "s")],
                "all socks5://s:1080 Remote",
            ),
            (&[("http_proxy", "http://h:1/")], "some http://h:1 Remote"),
            (
                &[("http_proxy", "h"), ("HTTPS_PROXY", "h")],
                "all http://h:80 Remote",
            ),
            (
                &[("http_proxy", "h"), ("SOCKS_SERVER", "s")],
                "some http://h:80 Remote",
            ),
            (&[("auto_proxy", "")], "some"),
            (
                &[("auto_proxy", "http://p/"), ("SOCKS_SERVER", "s")],
                "some",
            ),
            (&[("auto_proxy", "/p.pac")], "direct"),
            (&[("no_proxy", "*")], "direct"),
            (&[("no_proxy", "")], "untold"),
            (&[("SOCKS_VERSION", "4")], "untold"),
        ] {
            assert_eq!(short(variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_is_shown() {
        let told = of(&[("ALL_PROXY", "socks5://me:pw@h:1"), ("no_proxy", "a.org")]).unwrap();
        assert_eq!(
            told.evidence[0].detail,
            "ALL_PROXY=socks5://…@h:1 no_proxy=a.org"
        );
        assert!(told.evidence[2].detail.contains("speaks HTTP"), "{told:?}");
        let told = of(&[("SOCKS_SERVER", "me:pw@h:1")]).unwrap();
        assert_eq!(told.evidence[0].detail, "SOCKS_SERVER=…@h:1");
        let told = of(&[("auto_proxy", "data:,secret")]).unwrap();
        assert!(!format!("{told:?}").contains("secret"));
    }

    #[test]
    fn names_without_the_proxy() {
        let bypass = of(&[
            ("SOCKS_SERVER", "h"),
            ("no_proxy", "a.org, .b.org,*c,10.0.0.0/8,::1,<local>"),
        ])
        .unwrap()
        .bypass;
        assert_eq!(
            bypass.rules,
            ["*a.org", ".b.org", "*c", "10.0.0.0/8", "::1", "<local>"]
        );
        assert!(bypass.rule_for("bada.org").is_some());
    }

    /// What the system says in KDE with these settings.
    fn kde(settings: &str) -> Told {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("home/me/.config")).unwrap();
        let text = format!("[Proxy Settings]\n{settings}\n");
        std::fs::write(dir.path().join("home/me/.config/kioslaverc"), text).unwrap();
        let variables = [
            ("HOME", "/home/me"),
            ("XDG_CURRENT_DESKTOP", "KDE"),
            ("KDE_SESSION_VERSION", "5"),
            ("MY_PROXY", "http://mine:1"),
            ("SOCKS_SERVER", "environment:1"),
        ];
        let view = View::of_disk(dir.path(), None).with(&variables, &[]);
        told(&view).swap_remove(0)
    }

    #[test]
    fn desktops_come_first() {
        for (settings, expected) in [
            ("ProxyType=0", "direct"),
            (
                "ProxyType=1\nsocksProxy=socks://h 1",
                "all socks5://h:1 Remote",
            ),
            (
                "ProxyType=1\nsocksProxy=socks4://h 1",
                "all socks4://h:1 Local",
            ),
            (
                "ProxyType=1\nsocksProxy=socks://[2001:db8::1] 1",
                "all socks5://[2001:db8::1]:1 Remote",
            ),
            (
                "ProxyType=1\nhttpProxy=http://h 1",
                "some http://h:1 Remote",
            ),
            (
                "ProxyType=1\nhttpProxy=http://h 1\nsocksProxy=socks://s 1",
                "all socks5://s:1 Remote",
            ),
            (
                "ProxyType=1\nsocksProxy=socks://h 1\nReversedException=true",
                "some socks5://h:1 Remote",
            ),
            ("ProxyType=2\nProxy Config Script=file:///p", "direct"),
            ("ProxyType=2\nProxy Config Script=http://p/", "some"),
            ("ProxyType=3", "some"),
            (
                "ProxyType=4\nhttpProxy=MY_PROXY\nhttpsProxy=MY_PROXY",
                "all http://mine:1 Remote",
            ),
            // Nothing can be made of these: the environment counts.
            ("ProxyType=1", "all socks5://environment:1 Remote"),
            (
                "ProxyType=4\nhttpProxy=NOT_SET",
                "all socks5://environment:1 Remote",
            ),
            ("", "all socks5://environment:1 Remote"),
        ] {
            assert_eq!(summary(&kde(settings)), expected, "{settings}");
        }
        let listed = kde("ProxyType=1\nsocksProxy=socks://h 1\nNoProxyFor=a.org,<local>");
        assert_eq!(listed.bypass.rules, ["*a.org", "<local>"]);
        assert_eq!(listed.evidence[0].source, "desktop");
        assert!(
            listed.evidence[1].detail.contains("socksProxy"),
            "{listed:?}"
        );
    }

    #[test]
    fn other_desktops_have_no_settings() {
        let dir = tempfile::tempdir().unwrap();
        let variables = [("XDG_CURRENT_DESKTOP", "XFCE"), ("SOCKS_SERVER", "h")];
        let view = View::of_disk(dir.path(), None).with(&variables, &[]);
        assert!(matches!(told(&view)[0].route, Route::Everything(_)));
    }
}
