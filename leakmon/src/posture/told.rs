//! What places say, and what follows from all of them together.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Bypass;
use crate::{
    model::{App, Evidence, Leak, Process, Profile, ProxySetting, Resolves, RouteKind, Setup},
    time::Timestamp,
};

/// Pieces of evidence kept of each kind.
const MAX_EVIDENCE: usize = 64;
/// Characters kept of one.
const MAX_DETAIL: usize = 600;
/// Rules kept of a bypass list: each name that is asked for is held against all of them.
const MAX_RULES: usize = 4096;

/// Where a program's connections go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Route {
    /// Nothing is said about it: a program goes direct then.
    #[default]
    Untold,
    /// Direct, by its own settings.
    Direct,
    /// All through a proxy, but for the bypass list.
    Everything(ProxySetting),
    /// Some through a proxy, when one is known: a script, a discovery or the kind of address decides.
    Some(Option<ProxySetting>),
    /// Not known: what would say it cannot be read, or whether the program heeds it is not known.
    Unknown(Option<ProxySetting>),
}

impl Route {
    /// The proxy in question.
    #[must_use]
    pub fn proxy(&self) -> Option<&ProxySetting> {
        match self {
            Self::Untold | Self::Direct => None,
            Self::Everything(proxy) => Some(proxy),
            Self::Some(proxy) | Self::Unknown(proxy) => proxy.as_ref(),
        }
    }
}

/// What one place says of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Where it is written, and what it means; the place first.
    pub evidence: Vec<Evidence>,
    /// Where connections go.
    pub route: Route,
    /// Further proxies it names, for other kinds of addresses.
    pub others: Vec<ProxySetting>,
    /// Names and addresses that are reached without the proxy.
    pub bypass: Bypass,
    /// What stops the program from resolving names itself.
    pub advice: Option<String>,
    /// What leaks beside the names that the program visits.
    pub leaks: Vec<Leak>,
}

impl Told {
    /// What `source` says, in words.
    pub fn new(source: &str, detail: impl Into<String>, route: Route) -> Self {
        Self {
            evidence: vec![Evidence::new(source, detail)],
            route,
            ..Self::default()
        }
    }

    /// A place that could not be read, and may say anything.
    pub fn unread(source: &str, fault: impl std::fmt::Display) -> Self {
        Self::new(source, fault.to_string(), Route::Unknown(None))
    }

    /// The same with a further piece of evidence.
    #[must_use]
    pub fn and(mut self, source: &str, detail: impl Into<String>) -> Self {
        self.evidence.push(Evidence::new(source, detail));
        self
    }
}

/// How an app was told to connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posture {
    /// Where its connections go.
    pub route: Route,
    /// Further proxies it was told of, for other kinds of addresses.
    pub others: Vec<ProxySetting>,
    /// Names and addresses that are reached without the proxy.
    pub bypass: Bypass,
    /// What it is, when it is a proxy or a resolver for others itself, as `tor, a SOCKS proxy`.
    pub role: Option<String>,
    /// Where this is written.
    pub evidence: Vec<Evidence>,
    /// What other places say, which do not count beside it.
    pub overruled: Vec<Evidence>,
    /// What leaks by these settings.
    pub leaks: Vec<Leak>,
    /// What stops the program from resolving names itself.
    pub advice: Option<String>,
}

impl Posture {
    /// What places say, in the order of their precedence, the first wins.
    ///
    /// One that cannot be read leaves open whether those after it count.
    #[must_use]
    pub fn combine(told: impl IntoIterator<Item = Told>) -> Self {
        let mut posture = Self::default();
        let mut is_open = true;
        for told in told {
            let decides = is_open && told.route != Route::Untold;
            if !decides {
                posture.overruled.extend(told.evidence);
                continue;
            }
            let in_doubt = matches!(posture.route, Route::Unknown(_));
            is_open = matches!(told.route, Route::Unknown(None));
            posture.evidence.extend(told.evidence);
            posture.others.extend(told.others);
            posture.bypass = told.bypass;
            posture.advice = told.advice.or(posture.advice);
            posture.leaks.extend(told.leaks);
            posture.route = if in_doubt {
                Route::Unknown(told.route.proxy().cloned())
            } else {
                told.route
            };
        }
        posture.bound();
        posture.leaks.splice(0..0, posture.own_lookups());
        posture
    }

    /// Files of megabytes may say a lot: it is kept with every app, and recorded.
    fn bound(&mut self) {
        for list in [&mut self.evidence, &mut self.overruled] {
            list.truncate(MAX_EVIDENCE);
            for evidence in list {
                if let Some((end, _)) = evidence.detail.char_indices().nth(MAX_DETAIL) {
                    evidence.detail.truncate(end);
                    evidence.detail.push('…');
                }
            }
        }
        self.others.truncate(MAX_EVIDENCE);
        self.leaks.truncate(MAX_EVIDENCE);
        if self.bypass.rules.len() > MAX_RULES {
            // A name that a rule left out would cover must not count as leaked.
            self.bypass.rules.clear();
            self.route = Route::Unknown(self.route.proxy().cloned());
            let detail = format!("its list has more than {MAX_RULES} rules and is not kept");
            self.evidence.push(Evidence::new("bypass", detail));
        }
    }

    /// The leak that the route itself is.
    fn own_lookups(&self) -> Option<Leak> {
        let stop = || {
            self.advice.clone().unwrap_or_else(|| {
                "have it leave names to the proxy (often written socks5h:// or called remote DNS)"
                    .to_owned()
            })
        };
        let leak = |what: &str, certain| Leak {
            what: what.to_owned(),
            certain,
            stop: stop(),
        };
        let beside = if self.bypass.rules.is_empty() {
            "every name that it connects to"
        } else {
            "every name that it connects to, but those on its bypass list"
        };
        match (&self.route, self.resolves()) {
            (Route::Everything(_), Resolves::Local) => Some(leak(beside, true)),
            (Route::Everything(_), Resolves::Depends) => Some(leak(
                "the names of those connections that go through a proxy of the kind that is given addresses",
                false,
            )),
            (Route::Everything(_), Resolves::Unknown) => Some(leak(
                "the names that it connects to, if it is the one to resolve them, which is not known",
                false,
            )),
            (Route::Some(Some(proxy)), _) if proxy.resolves == Resolves::Local => Some(leak(
                "the names of those connections that go through the proxy",
                false,
            )),
            _ => None,
        }
    }

    /// The proxy for everything, or what comes first for it.
    #[must_use]
    pub fn proxy(&self) -> Option<&ProxySetting> {
        self.route.proxy()
    }

    /// Who turns the names of the app's connections into addresses.
    #[must_use]
    pub fn resolves(&self) -> Resolves {
        match &self.route {
            Route::Untold | Route::Direct => Resolves::Local,
            Route::Everything(proxy) => proxy.resolves,
            Route::Some(_) => Resolves::Depends,
            Route::Unknown(_) => Resolves::Unknown,
        }
    }

    /// Whether nothing at all is known of it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether everything goes through a proxy, so that no name is the app's own business.
    #[must_use]
    pub fn proxies_everything(&self) -> bool {
        matches!(&self.route, Route::Everything(proxy) if proxy.resolves != Resolves::Unknown)
    }

    /// As it is put out.
    #[must_use]
    pub fn setup(
        &self,
        ts: Timestamp,
        app: Option<Arc<App>>,
        process: Option<Arc<Process>>,
        profile: Option<Profile>,
    ) -> Setup {
        Setup {
            ts,
            update: false,
            app,
            process,
            profile,
            route: match self.route {
                Route::Untold => RouteKind::Untold,
                Route::Direct => RouteKind::Direct,
                Route::Everything(_) => RouteKind::Proxy,
                Route::Some(_) => RouteKind::Depends,
                Route::Unknown(_) => RouteKind::Unknown,
            },
            proxy: self.proxy().cloned(),
            resolves: self.resolves(),
            bypass: self.bypass.rules.clone(),
            role: self.role.clone(),
            leaks: self.leaks.clone(),
            evidence: self.evidence.clone(),
            overruled: self.overruled.clone(),
            advice: self.advice.clone(),
        }
    }

    fn proxies(&self) -> impl Iterator<Item = &ProxySetting> {
        self.proxy().into_iter().chain(&self.others)
    }

    /// Whether `name` is a proxy's own.
    #[must_use]
    pub fn is_proxy_host(&self, name: &str) -> bool {
        self.proxies()
            .any(|proxy| proxy.addr.trim_end_matches('.').eq_ignore_ascii_case(name))
    }

    /// Whether `addr` and `port` are where a proxy was said to be.
    #[must_use]
    pub fn is_proxy_address(&self, addr: std::net::IpAddr, port: u16) -> bool {
        self.proxies()
            .any(|proxy| proxy.port == port && proxy.addr.parse() == Ok(addr))
    }

    /// Whether a proxy on that port is given by its name, so that its address is not known from here.
    #[must_use]
    pub fn has_named_proxy_on(&self, port: u16) -> bool {
        self.proxies()
            .any(|proxy| proxy.port == port && proxy.addr.parse::<std::net::IpAddr>().is_err())
    }

    /// The rule of the bypass list that covers `name`.
    #[must_use]
    pub fn bypassed_by(&self, name: &str) -> Option<&str> {
        self.bypass.rule_for(name)
    }

    /// The rule of the bypass list that covers an address.
    #[must_use]
    pub fn address_bypassed_by(&self, addr: std::net::IpAddr) -> Option<&str> {
        self.bypass.rule_for_address(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(addr: &str, resolves: Resolves) -> ProxySetting {
        ProxySetting {
            scheme: "socks5".into(),
            addr: addr.into(),
            port: 1080,
            resolves,
        }
    }

    fn everything(source: &str, addr: &str, resolves: Resolves) -> Told {
        Told::new(source, addr, Route::Everything(proxy(addr, resolves)))
    }

    #[test]
    fn the_first_that_says_something_wins_and_the_rest_is_kept() {
        let posture = Posture::combine([
            Told::new("policy", "nothing about proxies", Route::Untold),
            everything("command-line", "a", Resolves::Local),
            everything("environment", "b", Resolves::Remote),
        ]);
        assert_eq!(posture.proxy().unwrap().addr, "a");
        assert_eq!(posture.evidence.len(), 1);
        assert_eq!(posture.overruled.len(), 2);
        assert_eq!(posture.resolves(), Resolves::Local);
        assert!(posture.leaks[0].certain);
    }

    #[test]
    fn a_place_that_cannot_be_read_leaves_the_rest_in_doubt() {
        let posture = Posture::combine([
            Told::unread("policy", "cannot be read"),
            everything("command-line", "a", Resolves::Local),
            everything("environment", "b", Resolves::Local),
        ]);
        assert_eq!(posture.resolves(), Resolves::Unknown);
        assert_eq!(posture.proxy().unwrap().addr, "a");
        assert!(!posture.proxies_everything());
        assert!(posture.leaks.is_empty());
        assert_eq!(posture.overruled.len(), 1);
        let below = Posture::combine([
            everything("command-line", "a", Resolves::Remote),
            Told::unread("preferences", "cannot be read"),
        ]);
        assert_eq!(below.resolves(), Resolves::Remote);
        assert!(Posture::combine([]).is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut told = everything("file", "a", Resolves::Local);
        for number in 0..10_000 {
            told = told.and("file", format!("{number} {}", "ü".repeat(10_000)));
            told.bypass.rules.push(format!("{number}.example"));
        }
        let posture = Posture::combine([told]);
        assert!(posture.evidence.len() <= MAX_EVIDENCE + 1);
        assert!(
            posture
                .evidence
                .iter()
                .all(|piece| piece.detail.chars().count() <= MAX_DETAIL + 1)
        );
        assert!(posture.bypass.rules.is_empty());
        assert_eq!(posture.resolves(), Resolves::Unknown);
        assert!(posture.leaks.iter().all(|leak| !leak.certain));
    }

    #[test]
    fn direct_is_an_answer_too() {
        let posture = Posture::combine([
            Told::new("command-line", "--no-proxy-server", Route::Direct),
            everything("environment", "a", Resolves::Local),
        ]);
        assert_eq!(posture.route, Route::Direct);
        assert_eq!(posture.proxy(), None);
    }
}
