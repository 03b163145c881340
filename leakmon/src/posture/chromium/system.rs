//! The system's settings, as Chromium reads them: those of the desktop, else the environment
//! (net/proxy_resolution/proxy_config_service_linux.cc).

use super::rules::{List, Rules, Setting, resolves};
use crate::{
    model::ProxySetting,
    posture::{
        Bypass, Language, Route, Told, View, bypass::split, proxy::host_and_port, without_password,
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
///
/// This is the one place where they are asked for.
fn desktop(view: &View) -> Option<Told> {
    let name = view
        .variable("XDG_CURRENT_DESKTOP")
        .or_else(|| view.variable("DESKTOP_SESSION"))?;
    let has_settings = name.split(':').any(|name| {
        [
            "GNOME",
            "Unity",
            "X-Cinnamon",
            "Pantheon",
            "KDE",
            "gnome",
            "mate",
            "kde",
            "kde4",
            "kde-plasma",
        ]
        .contains(&name)
    });
    has_settings.then(|| {
        Told::new(
            "desktop",
            format!("the settings of the desktop ({name}) come first, and are not read"),
            Route::Unknown(None),
        )
    })
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
        let told = of(variables).unwrap_or_default();
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

    #[test]
    fn desktops_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let view = |desktop: &str| {
            View::of_disk(dir.path(), None).with(
                &[("XDG_CURRENT_DESKTOP", desktop), ("SOCKS_SERVER", "h")],
                &[],
            )
        };
        assert_eq!(told(&view("ubuntu:GNOME"))[0].route, Route::Unknown(None));
        assert!(matches!(told(&view("XFCE"))[0].route, Route::Everything(_)));
    }
}
