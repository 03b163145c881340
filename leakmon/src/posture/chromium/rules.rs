//! What Chromium makes of the value of its preference `proxy`, wherever that comes from: a mode, and proxies, a script or
//! nothing (components/proxy_config/pref_proxy_config_tracker_impl.cc, `PrefConfigToNetConfig`).

use serde_json::{Map, Value};

use crate::{
    model::{Leak, ProxySetting, Resolves},
    posture::{
        Bypass, Language, Route, Told, View, bypass::split, pac, proxy::host_and_port,
        without_password,
    },
};

/// What a place says about proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// The system's settings count.
    System,
    /// No proxy.
    Direct,
    /// The network is asked for a script.
    AutoDetect,
    /// The script at this URL decides.
    Script(String),
    /// Proxies, and what is reached without them.
    Servers {
        /// In the language of `--proxy-server`.
        server: String,
        /// In the language of `--proxy-bypass-list`.
        bypass: String,
    },
}

impl Setting {
    /// The value of the preference, as it is kept in JSON (components/proxy_config/proxy_config_dictionary.cc). Without a
    /// mode that is known the system's settings count, and without what the mode needs there is no proxy.
    pub fn of_preference(value: &Map<String, Value>) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        match value.get("mode").and_then(Value::as_str) {
            Some("direct") => Self::Direct,
            Some("auto_detect") => Self::AutoDetect,
            Some("pac_script") => text("pac_url").map_or(Self::Direct, Self::Script),
            Some("fixed_servers") => text("server").map_or(Self::Direct, |server| Self::Servers {
                server,
                bypass: text("bypass_list").unwrap_or_default(),
            }),
            _ => Self::System,
        }
    }

    /// As evidence, in the words of the preference.
    pub fn shown(&self) -> String {
        match self {
            Self::System => "mode = system".to_owned(),
            Self::Direct => "mode = direct".to_owned(),
            Self::AutoDetect => "mode = auto_detect".to_owned(),
            Self::Script(url) if is_data(url) => "mode = pac_script, pac_url = data:…".to_owned(),
            Self::Script(url) => format!("mode = pac_script, pac_url = {}", without_password(url)),
            Self::Servers { server, bypass } if bypass.is_empty() => {
                format!(
                    "mode = fixed_servers, server = {}",
                    without_password(server)
                )
            }
            Self::Servers { server, bypass } => format!(
                "mode = fixed_servers, server = {}, bypass_list = {bypass}",
                without_password(server)
            ),
        }
    }

    /// What follows from it. The place it stands at, `source` and `detail`, comes first.
    pub fn told(&self, view: &View, source: &str, detail: impl Into<String>) -> Told {
        let place = |route| Told::new(source, detail, route);
        match self {
            // Who asks knows what the system says.
            Self::System => place(Route::Untold),
            Self::Direct => place(Route::Direct),
            Self::AutoDetect => Told {
                leaks: vec![asks_for_wpad()],
                ..place(Route::Some(None))
            }
            .and(
                "chromium",
                "Chromium asks for the name wpad; a script found there decides, and without one it goes direct",
            ),
            Self::Script(url) => script(view, url, place(Route::Untold)),
            Self::Servers { server, bypass } => {
                let rules = Rules::parse(server);
                let (route, others) = rules.route();
                let meaning = rules.meaning(&route);
                Told {
                    others,
                    bypass: Bypass::new(bypass, &[',', ';'], Language::Chromium),
                    ..place(route).and("chromium", meaning)
                }
            }
        }
    }
}

pub fn is_data(url: &str) -> bool {
    let scheme = url.trim_start().get(..5);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// The first thing that Chromium tries is the name `wpad`, before any page (net/proxy_resolution/pac_file_decider.cc; seen with 156).
fn asks_for_wpad() -> Leak {
    Leak {
        what: "the name wpad, which it asks for to find a script".to_owned(),
        certain: true,
        stop: "give it a proxy in place of automatic detection".to_owned(),
    }
}

/// Chromium reads scripts from servers and from `data:` URLs, and no others; without one that it can read it goes direct
/// (net/proxy_resolution/pac_file_fetcher_impl.cc, `IsUrlSchemeAllowed`; seen with 156).
fn script(view: &View, url: &str, place: Told) -> Told {
    let scheme = url.trim().split_once(':').map_or("", |(scheme, _)| scheme);
    let is_read = ["data", "http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if !is_read {
        return Told {
            route: Route::Direct,
            ..place.and(
                "chromium",
                "Chromium reads no script from there, and goes direct",
            )
        };
    }
    // The word SOCKS means SOCKS4 (net/base/proxy_string_util.cc).
    let mut told = pac::told(view, url, "socks4", &resolves);
    told.evidence.splice(0..0, place.evidence);
    if told
        .route
        .proxy()
        .is_some_and(|proxy| proxy.scheme == "socks4")
    {
        told = told.and(
            "chromium",
            "Chromium resolves names itself for a SOCKS4 proxy, which the word SOCKS in a script means",
        );
    }
    told
}

/// Who resolves names for a proxy of a scheme (net/docs/proxy.md): SOCKS4a is not spoken.
pub fn resolves(scheme: &str) -> Resolves {
    if scheme == "socks4" {
        Resolves::Local
    } else {
        Resolves::Remote
    }
}

/// Proxies in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Those that could be understood.
    pub proxies: Vec<ProxySetting>,
    /// Going without one is allowed too.
    pub is_open: bool,
}

impl List {
    /// A single one.
    pub fn of(proxy: Option<ProxySetting>) -> Self {
        Self {
            proxies: proxy.into_iter().collect(),
            is_open: false,
        }
    }

    fn parse(text: &str, default_scheme: &str) -> Self {
        let mut list = Self::default();
        for entry in text.split(',') {
            match Entry::parse(entry, default_scheme) {
                Some(Entry::Direct) => list.is_open = true,
                Some(Entry::Proxy(proxy)) => list.proxies.push(proxy),
                None => {}
            }
        }
        list
    }

    fn is_empty(&self) -> bool {
        self.proxies.is_empty() && !self.is_open
    }
}

enum Entry {
    Direct,
    Proxy(ProxySetting),
}

impl Entry {
    /// `[scheme://]host[:port]`, without a user and without anything after the port; what is otherwise is left out
    /// (net/base/proxy_string_util.cc).
    fn parse(text: &str, default_scheme: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or((default_scheme, text));
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "direct" => return rest.is_empty().then_some(Self::Direct),
            "socks5" | "socks" => ("socks5", 1080),
            "socks4" => ("socks4", 1080),
            "http" => ("http", 80),
            "https" => ("https", 443),
            _ => return None,
        };
        let (addr, port) = host_and_port(rest)?;
        let is_host = !addr.contains(['@', '/', '?', '#', '\\']);
        is_host.then(|| {
            Self::Proxy(ProxySetting {
                scheme: scheme.to_owned(),
                addr,
                port: port.unwrap_or(default_port),
                resolves: resolves(scheme),
            })
        })
    }
}

/// Which proxies are for what (net/proxy_resolution/proxy_config.cc, `ProxyRules`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// None is written.
    None,
    /// These for everything.
    Single(List),
    /// Each for its scheme; `ftp` is left out, which Chromium does not speak any more.
    PerScheme {
        /// For `http:`.
        http: List,
        /// For `https:`.
        https: List,
        /// For what has none of its own.
        fallback: List,
    },
}

impl Rules {
    /// Reads `[scheme=]list[;[scheme=]list…]`. An entry for `socks` serves all that has none of its own, and means SOCKS4
    /// unless it says otherwise.
    pub fn parse(text: &str) -> Self {
        let (mut http, mut https, mut fallback) = <(List, List, List)>::default();
        let mut is_per_scheme = false;
        for entry in split(text, &[';']) {
            match entry.split_once('=') {
                Some((scheme, list)) if !scheme.is_empty() && !list.is_empty() => {
                    is_per_scheme = true;
                    match scheme.trim() {
                        "http" => http = List::parse(list, "http"),
                        "https" => https = List::parse(list, "http"),
                        "socks" => fallback = List::parse(list, "socks4"),
                        _ => {}
                    }
                }
                _ if is_per_scheme => {}
                _ => return Self::Single(List::parse(entry.trim_matches('='), "http")),
            }
        }
        if is_per_scheme {
            Self::PerScheme {
                http,
                https,
                fallback,
            }
        } else {
            Self::None
        }
    }

    /// Where pages go, and the further proxies.
    pub fn route(&self) -> (Route, Vec<ProxySetting>) {
        let (http, https) = match self {
            Self::None => return (Route::Direct, Vec::new()),
            Self::Single(list) => (list, list),
            Self::PerScheme {
                http,
                https,
                fallback,
            } => (
                if http.is_empty() { fallback } else { http },
                if https.is_empty() { fallback } else { https },
            ),
        };
        let all = || https.proxies.iter().chain(&http.proxies);
        let Some(first) = all().next() else {
            // What is empty for a scheme is direct; a list for everything of which nothing can be used reaches nothing
            // (seen with 156).
            let reaches_nothing = matches!(self, Self::Single(list) if list.is_empty());
            let route = if reaches_nothing {
                Route::Some(None)
            } else {
                Route::Direct
            };
            return (route, Vec::new());
        };
        let mut proxy = first.clone();
        if all().any(|other| other.resolves != first.resolves) {
            proxy.resolves = Resolves::Depends;
        }
        let mut others: Vec<ProxySetting> = Vec::new();
        for other in all().filter(|other| *other != first).take(64) {
            if !others.contains(other) {
                others.push(other.clone());
            }
        }
        let is_everything = [http, https]
            .iter()
            .all(|list| !list.proxies.is_empty() && !list.is_open);
        let route = if is_everything {
            Route::Everything(proxy)
        } else {
            Route::Some(Some(proxy))
        };
        (route, others)
    }

    /// What that means for names.
    pub fn meaning(&self, route: &Route) -> &'static str {
        match (route, route.proxy()) {
            (Route::Some(None), _) => {
                "Chromium understands none of these proxies, and reaches nothing by them"
            }
            (_, None) => "Chromium goes direct",
            (_, Some(proxy)) if proxy.resolves == Resolves::Depends => {
                "Chromium resolves names itself for the SOCKS4 proxies among these, and leaves them to the others"
            }
            (Route::Some(_), Some(proxy)) if proxy.scheme == "socks4" => {
                "some goes without the proxy; Chromium resolves names itself for a SOCKS4 proxy"
            }
            (Route::Some(_), _) => {
                "some goes without the proxy, and Chromium resolves the names of that itself"
            }
            (_, Some(proxy)) => match proxy.scheme.as_str() {
                "socks4" => "Chromium resolves names itself for a SOCKS4 proxy",
                "socks5" => "Chromium leaves names to a SOCKS5 proxy",
                _ => "Chromium leaves names to an HTTP proxy",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(server: &str) -> String {
        let (route, others) = Rules::parse(server).route();
        let proxy = route.proxy().map_or_else(String::new, |proxy| {
            format!(" {proxy} {:?}", proxy.resolves)
        });
        let kind = match route {
            Route::Everything(_) => "all",
            Route::Some(_) => "some",
            _ => "direct",
        };
        format!("{kind}{proxy} +{}", others.len())
    }

    #[test]
    fn servers() {
        for (server, expected) in [
            (
                "socks4://127.0.0.1:9050",
                "all socks4://127.0.0.1:9050 Local +0",
            ),
            (
                "SOCKS5://proxy.example",
                "all socks5://proxy.example:1080 Remote +0",
            ),
            ("socks://h", "all socks5://h:1080 Remote +0"),
            (" h ", "all http://h:80 Remote +0"),
            (
                "https://[2001:db8::1]:8443",
                "all https://[2001:db8::1]:8443 Remote +0",
            ),
            ("socks=h:1", "all socks4://h:1 Local +0"),
            ("socks=socks5://h:1", "all socks5://h:1 Remote +0"),
            ("http=x;socks=socks5://h:1", "all socks5://h:1 Remote +1"),
            ("http=x;socks=h:1", "all socks4://h:1 Depends +1"),
            ("http=x;https=x", "all http://x:80 Remote +0"),
            ("http=x;https=y", "all http://y:80 Remote +1"),
            ("http=x", "some http://x:80 Remote +0"),
            ("https=socks4://x", "some socks4://x:1080 Local +0"),
            ("ftp=x", "direct +0"),
            ("socks5://a,direct://", "some socks5://a:1080 Remote +0"),
            ("direct://,socks5://a", "some socks5://a:1080 Remote +0"),
            ("socks5://a,socks4://b", "all socks5://a:1080 Depends +1"),
            ("socks5://a,socks5://b", "all socks5://a:1080 Remote +1"),
            ("ftp://x,socks5://a", "all socks5://a:1080 Remote +0"),
            // An entry for everything after one for a scheme is left out, and the other way round.
            ("http=x;y", "some http://x:80 Remote +0"),
            ("y;http=x", "all http://y:80 Remote +0"),
            ("direct://", "direct +0"),
            ("", "direct +0"),
            (";;", "direct +0"),
            // Nothing that could be used.
            ("socks5://:1", "some +0"),
            ("socks5://h:99999", "some +0"),
            ("socks5://h:1/", "some +0"),
            ("socks5://user:password@h:1", "some +0"),
            ("ftp://h", "some +0"),
            ("direct://h", "some +0"),
        ] {
            assert_eq!(route(server), expected, "{server}");
        }
    }

    #[test]
    fn preferences() {
        for (json, expected) in [
            (r#"{"mode":"direct"}"#, Setting::Direct),
            (r#"{"mode":"auto_detect"}"#, Setting::AutoDetect),
            (
                r#"{"mode":"pac_script","pac_url":"u"}"#,
                Setting::Script("u".into()),
            ),
            (r#"{"mode":"pac_script"}"#, Setting::Direct),
            (
                r#"{"mode":"fixed_servers","server":"s","bypass_list":"b"}"#,
                Setting::Servers {
                    server: "s".into(),
                    bypass: "b".into(),
                },
            ),
            (r#"{"mode":"fixed_servers","server":1}"#, Setting::Direct),
            (r#"{"mode":"system","server":"s"}"#, Setting::System),
            (r#"{"mode":"fixed"}"#, Setting::System),
            ("{}", Setting::System),
        ] {
            let value: Map<String, Value> = serde_json::from_str(json).unwrap();
            assert_eq!(Setting::of_preference(&value), expected, "{json}");
        }
    }

    #[test]
    fn passwords_and_scripts_are_not_shown() {
        let servers = Setting::Servers {
            server: "socks5://me:secret@h:1".into(),
            bypass: "b".into(),
        };
        assert_eq!(
            servers.shown(),
            "mode = fixed_servers, server = socks5://…@h:1, bypass_list = b"
        );
        assert!(
            !Setting::Script("DATA:,secret".into())
                .shown()
                .contains("secret")
        );
    }

    #[test]
    fn scripts() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("p"),
            "function FindProxyForURL() {return 'SOCKS5 h:1'}",
        )
        .unwrap();
        let view = View::of_disk(dir.path(), None);
        let told = |url: &str| Setting::Script(url.to_owned()).told(&view, "policy", "p");
        assert_eq!(told("file:///p").route, Route::Direct);
        assert_eq!(told("").route, Route::Direct);
        assert_eq!(told("http://h/p").route, Route::Some(None));
        let script = told("data:,function FindProxyForURL() {return 'SOCKS h:1'}");
        assert_eq!(script.route.proxy().unwrap().scheme, "socks4");
        assert_eq!(script.evidence[0].source, "policy");
        assert!(script.evidence.len() == 3, "{script:?}");
    }
}
