//! Chromium and its family: the command line.
//!
//! Rules and defaults are those of Chromium's net/docs/proxy.md; which switch wins is
//! chrome/browser/prefs/chrome_command_line_pref_store.cc.

use super::{
    Bypass, Language, Route, Subject, Told, View, bypass::split, proxy::Written, without_password,
};
use crate::model::{Process, ProxySetting, Resolves};

const SOURCE: &str = "command-line";

/// What a program of the family was told, the first counts; `None` for another program.
pub fn told(subject: &Subject<'_>) -> Option<Vec<Told>> {
    let process = subject.process;
    is_chromium(process).then(|| switches(process).into_iter().collect())
}

/// The profiles on disk of the user of a view: program, folder, and what it says.
pub fn profiles(_view: &View) -> Vec<(String, String, Vec<Told>)> {
    Vec::new()
}

/// What the command line says.
fn switches(process: &Process) -> Option<Told> {
    let cmdline = process.cmdline.as_deref()?;
    if let Some(value) = switch(cmdline, "no-proxy-server") {
        return Some(Told::new(
            SOURCE,
            written("no-proxy-server", value),
            Route::Direct,
        ));
    }
    // A script or a discovery decides for each address: nothing can be said about all names.
    for name in ["proxy-pac-url", "proxy-auto-detect"] {
        if let Some(value) = switch(cmdline, name) {
            return Some(Told::new(SOURCE, written(name, value), Route::Some(None)));
        }
    }
    let value = switch(cmdline, "proxy-server")?;
    let bypass = switch(cmdline, "proxy-bypass-list").unwrap_or_default();
    let route = for_everything(value);
    let mut told = Told {
        advice: route.proxy().map(advice),
        bypass: Bypass::new(bypass, &[',', ';'], Language::Chromium),
        ..Told::new(SOURCE, written("proxy-server", value), route)
    };
    if let Some(proxy) = told.route.proxy() {
        let meaning = match (proxy.scheme.as_str(), proxy.resolves) {
            ("socks4", _) => "Chromium resolves names itself for a SOCKS4 proxy",
            (_, Resolves::Depends) => "another entry of the list may go without the proxy",
            ("socks5", _) => "Chromium leaves names to a SOCKS5 proxy",
            _ => "Chromium leaves names to an HTTP proxy",
        };
        told = told.and("chromium", meaning);
    }
    Some(told)
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
        format!("--{name}={}", without_password(value))
    }
}

/// Where connections go by `[scheme=]list[;[scheme=]list…]`.
fn for_everything(value: &str) -> Route {
    let mut fallback = Route::Direct;
    for entry in split(value, &[';']) {
        match entry.split_once('=') {
            // In the map form an entry for `socks` serves all that has none of its own, and means SOCKS4 by default.
            Some(("socks", list)) => fallback = first_of(list, "socks4"),
            // HTTP and HTTPS proxies for one scheme leave the rest as it is.
            Some((_, list)) => {
                if let (Route::Direct, Some(proxy)) = (&fallback, first_of(list, "http").proxy()) {
                    fallback = Route::Some(Some(proxy.clone()));
                }
            }
            None => return first_of(&entry, "http"),
        }
    }
    fallback
}

/// The first proxy of a list; whatever else the list allows makes it depend.
fn first_of(list: &str, default_scheme: &str) -> Route {
    let mut proxies = split(list, &[',']).into_iter();
    let Some(mut first) = proxies
        .next()
        .and_then(|first| proxy(&first, default_scheme))
    else {
        return Route::Direct;
    };
    for other in proxies {
        match proxy(&other, default_scheme) {
            Some(other) if other.resolves == first.resolves => {}
            Some(_) => first.resolves = Resolves::Depends,
            None => return Route::Some(Some(first)),
        }
    }
    Route::Everything(first)
}

/// `[scheme://]host[:port]`; `None` for `direct://` and what Chromium would not understand either.
fn proxy(uri: &str, default_scheme: &str) -> Option<ProxySetting> {
    let written = Written::parse(uri)?;
    let (scheme, default_port) = match written.scheme.as_deref().unwrap_or(default_scheme) {
        "socks5" | "socks" => ("socks5", 1080),
        "socks4" => ("socks4", 1080),
        "http" => ("http", 80),
        "https" => ("https", 443),
        _ => return None,
    };
    let resolves = if scheme == "socks4" {
        Resolves::Local
    } else {
        Resolves::Remote
    };
    Some(written.setting(scheme, default_port, resolves))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::Posture;

    fn told(arguments: &[&str]) -> Option<Posture> {
        let process = Process {
            exe: Some("/usr/lib/chromium/chromium".into()),
            cmdline: Some(
                std::iter::once(&"chromium")
                    .chain(arguments)
                    .map(|&argument| argument.to_owned())
                    .collect(),
            ),
            ..Process::unread(1, None)
        };
        switches(&process).map(|told| Posture::combine([told]))
    }

    fn proxy_of(value: &str) -> Option<String> {
        let posture = told(&[&format!("--proxy-server={value}")])?;
        let resolves = posture.resolves();
        posture.proxy().map(|proxy| format!("{proxy} {resolves:?}"))
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
            ("http=x", "http://x:80 Depends"),
            ("socks5://a,socks4://b", "socks5://a:1080 Depends"),
            ("socks5://a,socks5://b", "socks5://a:1080 Remote"),
        ] {
            assert_eq!(proxy_of(value).as_deref(), Some(expected), "{value}");
        }
        for value in [
            "direct://",
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
        let none = told(&["--proxy-server=socks4://a", "--no-proxy-server"]).unwrap();
        assert_eq!(none.route, Route::Direct);
        let pac = told(&["--proxy-server=socks4://a", "--proxy-pac-url=http://p/"]).unwrap();
        assert!(!pac.proxies_everything());
        let last = told(&["--proxy-server=socks4://a", "--proxy-server=socks5://b"]).unwrap();
        assert_eq!(last.proxy().unwrap().addr, "b");
        assert_eq!(told(&["--", "--proxy-server=socks4://a"]), None);
        assert_eq!(told(&["--proxy-servers=socks4://a"]), None);
    }
}
