//! What preferences mean for connections, by the rules of netwerk/base/nsProtocolProxyService.cpp.

use super::{install::Install, settings::Settings, system};
use crate::{
    model::{Leak, ProxySetting, Resolves},
    posture::{
        Bypass, Language, Route, Told, View,
        bypass::split,
        desktop::{self, Mode},
        pac,
        proxy::{Written, host_and_port},
    },
};

/// What the preferences say, without where they are from.
pub fn of(settings: &Settings<'_>, install: &Install, view: &View) -> Told {
    let of = Of {
        settings,
        install,
        view,
    };
    let mut told = match settings.int("network.proxy.type") {
        1 => of.manual(),
        2 => of.script(&settings.text("network.proxy.autoconfig_url")),
        4 => of.discovery(),
        5 => of.system(),
        // 3 and what is not known count as 0 (PrefsChanged).
        0 | 3 | 6.. => of.told("network.proxy.type says: no proxy", Route::Direct),
        kind => of.told(
            &format!("what network.proxy.type {kind} does is not known"),
            Route::Unknown(None),
        ),
    };
    if told.route.proxy().is_some() {
        told.leaks.extend(of.own_services());
    }
    if told.route != Route::Direct && told.route != Route::Untold {
        // The list holds for every kind of proxy (Resolve_Internal calls CanUseProxy first).
        let list = settings.text("network.proxy.no_proxies_on");
        if !list.is_empty() && told.bypass.rules.is_empty() {
            told.bypass = bypass(&list);
        }
    }
    told
}

/// Rules of `network.proxy.no_proxies_on`, which commas or white space separate. `*` alone matches nothing
/// (LoadHostFilters).
fn bypass(list: &str) -> Bypass {
    let mut rules = split(list, &[',', ' ', '\t', '\n', '\r']);
    rules.retain(|rule| rule != "*");
    Bypass {
        rules,
        language: Language::Suffix,
    }
}

struct Of<'a> {
    settings: &'a Settings<'a>,
    install: &'a Install,
    view: &'a View,
}

impl Of<'_> {
    fn told(&self, meaning: &str, route: Route) -> Told {
        Told::new("firefox", meaning, route)
    }

    fn name(&self) -> String {
        self.install.title()
    }

    fn manual(&self) -> Told {
        let http = self.http("network.proxy.http", "network.proxy.http_port");
        let https = self.http("network.proxy.ssl", "network.proxy.ssl_port");
        let socks = self.socks();
        let is_wrong = [&http, &https, &socks]
            .into_iter()
            .any(|proxy| matches!(proxy, Set::Wrong));
        if is_wrong {
            return self.told(
                "a proxy's port is none that there can be",
                Route::Unknown(None),
            );
        }
        let (http, https, socks) = (http.proxy(), https.proxy(), socks.proxy());
        let name = self.name();
        match (http, https, socks) {
            (None, None, None) => self.told(
                "network.proxy.type is 1, but no proxy is set: it goes direct",
                Route::Direct,
            ),
            (None, None, Some(socks)) => {
                let meaning = self.of_socks(&socks);
                Told {
                    advice: self.advice(&socks),
                    ..self.told(&meaning, Route::Everything(socks))
                }
            }
            (Some(http), Some(https), None) => {
                let meaning = format!("{name} leaves names to HTTP proxies");
                let others = if http == https { vec![] } else { vec![https] };
                Told {
                    others,
                    ..self.told(&meaning, Route::Everything(http))
                }
            }
            // One scheme has an HTTP proxy, everything else goes to the SOCKS proxy or direct.
            (Some(one), None, socks) | (None, Some(one), socks) => self.one_scheme(one, socks),
            (Some(http), Some(https), Some(socks)) => {
                let mut first = http;
                if socks.resolves != Resolves::Remote {
                    first.resolves = Resolves::Depends;
                }
                let meaning = format!(
                    "pages are got through the HTTP proxies, which are given names; for all else, as WebSockets, {}",
                    self.of_socks(&socks)
                );
                Told {
                    advice: self.advice(&socks),
                    others: if first.addr == https.addr && first.port == https.port {
                        vec![socks]
                    } else {
                        vec![https, socks]
                    },
                    ..self.told(&meaning, Route::Everything(first))
                }
            }
        }
    }

    fn one_scheme(&self, one: ProxySetting, socks: Option<ProxySetting>) -> Told {
        let Some(mut socks) = socks else {
            return self.told(
                "only one of http and https has a proxy, the other goes direct",
                Route::Some(Some(one)),
            );
        };
        let meaning = format!(
            "one of http and https has an HTTP proxy, which is given names; for all else {}",
            self.of_socks(&socks)
        );
        let advice = self.advice(&socks);
        if socks.resolves == Resolves::Local {
            socks.resolves = Resolves::Depends;
        }
        Told {
            advice,
            others: vec![one],
            ..self.told(&meaning, Route::Everything(socks))
        }
    }

    fn http(&self, host: &'static str, port: &'static str) -> Set {
        let host = stripped(&self.settings.text(host));
        if host.is_empty() {
            return Set::Not;
        }
        match self.settings.int(port) {
            ..=0 => Set::Not,
            port => Set::new("http", &host, port, Resolves::Remote),
        }
    }

    fn socks(&self) -> Set {
        let host = stripped(&self.settings.text("network.proxy.socks"));
        if host.is_empty() {
            return Set::Not;
        }
        let port = self.settings.int("network.proxy.socks_port");
        // A socket in the file system (IsHostLocalTarget).
        let is_file = host.starts_with("file:");
        if port <= 0 && !is_file {
            return Set::Not;
        }
        let is_socks5 = self.settings.int("network.proxy.socks_version") == 5;
        let resolves = self.settings.manual_dns(is_socks5);
        let scheme = match (is_socks5, resolves) {
            (true, _) => "socks5",
            (false, Resolves::Remote) => "socks4a",
            (false, _) => "socks4",
        };
        Set::new(scheme, &host, if is_file { 0 } else { port }, resolves)
    }

    /// What it does with names for this proxy.
    fn of_socks(&self, proxy: &ProxySetting) -> String {
        let name = self.name();
        let kind = match proxy.scheme.as_str() {
            "socks5" => "SOCKS5",
            "socks4a" => "SOCKS4a",
            _ => "SOCKS4",
        };
        let preferences = self
            .settings
            .dns_preferences(proxy.scheme == "socks5")
            .join(" or ");
        match proxy.resolves {
            Resolves::Remote => {
                format!("{name} leaves names to a {kind} proxy, by {preferences}")
            }
            Resolves::Local => format!(
                "{name} resolves names itself for a {kind} proxy, as {preferences} is false"
            ),
            Resolves::Depends => format!(
                "{name} asks a DoH server for names, as {preferences} is false and network.trr.mode {}",
                self.settings.doh().unwrap_or_default()
            ),
            Resolves::Unknown => {
                "whether it resolves names itself depends on its version, which is not known"
                    .to_owned()
            }
        }
    }

    /// What stops it from resolving names for this proxy.
    fn advice(&self, proxy: &ProxySetting) -> Option<String> {
        if proxy.resolves == Resolves::Remote || !proxy.scheme.starts_with("socks") {
            return None;
        }
        let is_socks5 = proxy.scheme == "socks5";
        let names = self.settings.dns_preferences(is_socks5);
        let ways: Vec<String> = names
            .iter()
            .map(|name| self.settings.how_to_set(name, "true"))
            .collect();
        let way = ways.join("; ");
        Some(if is_socks5 {
            way
        } else {
            format!(
                "{}, if the proxy speaks SOCKS5; or, if it speaks SOCKS4a, {way}",
                self.settings.how_to_set("network.proxy.socks_version", "5")
            )
        })
    }

    fn script(&self, url: &str) -> Told {
        if url.is_empty() {
            return self.told(
                "network.proxy.type is 2, but no script is set: it goes direct",
                Route::Direct,
            );
        }
        let mut told = pac::told(self.view, url, self.socks_word(), &|scheme| {
            self.settings.script_dns(scheme)
        });
        match &mut told.route {
            Route::Everything(proxy) | Route::Some(Some(proxy)) | Route::Unknown(Some(proxy)) => {
                as_4a(proxy);
            }
            _ => {}
        }
        told.others.iter_mut().for_each(as_4a);
        told.advice = self.script_advice(&told, "write SOCKS5 in the script");
        told
    }

    /// What stops it from resolving names for a SOCKS4 proxy of a script or the desktop.
    fn script_advice(&self, told: &Told, instead: &str) -> Option<String> {
        let mut proxies = told.route.proxy().into_iter().chain(&told.others);
        proxies
            .any(|proxy| proxy.scheme == "socks4" && proxy.resolves != Resolves::Remote)
            .then(|| {
                let ways: Vec<String> = self
                    .settings
                    .dns_preferences(true)
                    .iter()
                    .map(|name| self.settings.how_to_set(name, "true"))
                    .collect();
                format!(
                    "{instead}, if the proxy speaks SOCKS5; or, if it speaks SOCKS4a, {}",
                    ways.join("; ")
                )
            })
    }

    fn discovery(&self) -> Told {
        let meaning = "it looks for a script at http://wpad/wpad.dat, which then decides";
        let mut told = self.told(meaning, Route::Some(None));
        told.leaks.push(Leak {
            what: "the name wpad, which is asked of the resolver".to_owned(),
            certain: true,
            stop: self.settings.how_to_set("network.proxy.type", "1")
                + ", and name the proxy there",
        });
        told
    }

    /// The desktop's settings, and without any the environment's.
    fn system(&self) -> Told {
        let told = match desktop::gnome(self.view) {
            Err(fault) => Told::unread(desktop::SOURCE, fault),
            Ok(Some(desktop)) => match &desktop.mode {
                Mode::Manual {
                    http, https, socks, ..
                } => {
                    let servers = [http, https, socks].map(Option::as_ref);
                    let mut told =
                        system::desktop(&desktop, servers, &|written| self.script_socks(written));
                    let instead = self
                        .settings
                        .how_to_set("network.proxy.default_pac_script_socks_version", "5");
                    told.advice = self.script_advice(&told, &instead);
                    told
                }
                Mode::Auto(Some(url)) => {
                    let mut told = self.script(url);
                    told.evidence.splice(0..0, desktop.evidence.clone());
                    told
                }
                Mode::Auto(None) | Mode::None | Mode::Environment => system::environment(self.view),
            },
            Ok(None) => system::environment(self.view),
        };
        if told.route == Route::Untold {
            return told;
        }
        told.and(
            "firefox",
            "network.proxy.type is 5: the settings of the system count",
        )
    }

    /// What the word `SOCKS` means in a script, and to the desktop.
    fn socks_word(&self) -> &'static str {
        match self
            .settings
            .int("network.proxy.default_pac_script_socks_version")
        {
            5 => "socks5",
            _ => "socks4",
        }
    }

    /// The SOCKS proxy of a desktop.
    fn script_socks(&self, written: &Written) -> ProxySetting {
        let scheme = self.socks_word();
        let mut proxy = written.setting(scheme, 1080, self.settings.script_dns(scheme));
        as_4a(&mut proxy);
        proxy
    }

    /// Requests of its own that a proxy fails are made once more without it (nsHttpChannel.cpp, `ProxyFailover`;
    /// toolkit/modules/ServiceRequest.sys.mjs).
    fn own_services(&self) -> Option<Leak> {
        if self.settings.truth("network.dns.disabled") {
            return None;
        }
        let names: Vec<&str> = [
            "network.proxy.failover_direct",
            "network.proxy.allow_bypass",
        ]
        .into_iter()
        .filter(|name| self.settings.truth(name))
        .collect();
        if names.is_empty() {
            return None;
        }
        Some(Leak {
            what: format!(
                "the names of {}'s own services, when the proxy fails them: it asks them again without it",
                self.install.program.name()
            ),
            certain: false,
            stop: names
                .iter()
                .map(|name| self.settings.how_to_set(name, "false"))
                .collect::<Vec<_>>()
                .join("; "),
        })
    }
}

/// SOCKS4 with a name in place of the address is SOCKS4a.
fn as_4a(proxy: &mut ProxySetting) {
    if proxy.scheme == "socks4" && proxy.resolves == Resolves::Remote {
        proxy.scheme = "socks4a".to_owned();
    }
}

/// A proxy of manual settings.
enum Set {
    /// None is set.
    Not,
    /// It cannot be one.
    Wrong,
    /// This one.
    Proxy(ProxySetting),
}

impl Set {
    fn new(scheme: &str, host: &str, port: i32, resolves: Resolves) -> Self {
        let Ok(port) = u16::try_from(port) else {
            return Self::Wrong;
        };
        let addr = host_and_port(host)
            .filter(|(_, port)| port.is_none())
            .map_or_else(|| host.to_owned(), |(host, _)| host);
        Self::Proxy(ProxySetting {
            scheme: scheme.to_owned(),
            addr,
            port,
            resolves,
        })
    }

    fn proxy(self) -> Option<ProxySetting> {
        match self {
            Self::Proxy(proxy) => Some(proxy),
            _ => None,
        }
    }
}

fn stripped(text: &str) -> String {
    text.split_whitespace().collect()
}
