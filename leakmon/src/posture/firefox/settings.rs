//! What a preference is in the end, and what it is when nobody sets it.

use std::cell::RefCell;

use super::{
    install::{Install, Program, SOCKS5_OF_ITS_OWN},
    prefs::Value,
    store::{Setting, Store},
};
use crate::{
    model::{Evidence, Resolves},
    posture::without_password,
};

/// The kind of place of preferences that come with a program or distribution.
pub const DEFAULTS: &str = "default-preferences";

/// What a preference is when nothing sets it (StaticPrefList.yaml, all.js; Tor Browser's 000-tor-browser.js, Mullvad
/// Browser's 000-mullvad-browser.js).
fn builtin(name: &str, program: Program) -> Value {
    let of_tor = program == Program::TorBrowser;
    match name {
        "network.proxy.type" => Value::Int(if of_tor { 1 } else { 5 }),
        "network.proxy.socks" if of_tor => Value::Text("127.0.0.1".to_owned()),
        "network.proxy.socks_port" if of_tor => Value::Int(9150),
        "network.proxy.socks_version" => Value::Int(5),
        "network.proxy.default_pac_script_socks_version" => Value::Int(4),
        "network.proxy.socks_remote_dns" | "network.dns.disabled" => Value::Bool(of_tor),
        "network.proxy.failover_direct" | "network.proxy.allow_bypass" => Value::Bool(!of_tor),
        "network.proxy.socks5_remote_dns" => Value::Bool(true),
        "network.trr.mode" if program == Program::MullvadBrowser => Value::Int(3),
        "network.trr.mode" | "doh-rollout.mode" => Value::Int(0),
        "network.proxy.http_port" | "network.proxy.ssl_port" | "network.proxy.socks_port" => {
            Value::Int(0)
        }
        "general.config.obscure_value" => Value::Int(super::autoconfig::OBSCURED_BY),
        _ => Value::Text(String::new()),
    }
}

/// Whether a preference is true or false by nature.
pub fn builtin_is_truth(name: &str) -> bool {
    matches!(builtin(name, Program::Firefox), Value::Bool(_))
}

/// Whether a preference may have a value of this type.
#[cfg(test)]
pub fn builtin_is_like(name: &str, value: &Value) -> bool {
    builtin(name, Program::Firefox).is_like(value)
}

/// Reads preferences, and keeps which were asked for: those are the evidence.
#[derive(Debug)]
pub struct Settings<'a> {
    store: &'a Store,
    install: &'a Install,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Settings<'a> {
    /// All that is set for a program.
    pub fn new(store: &'a Store, install: &'a Install) -> Self {
        Self {
            store,
            install,
            asked: RefCell::default(),
        }
    }

    fn value(&self, name: &'static str) -> Value {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(&name) {
            asked.push(name);
        }
        let builtin = builtin(name, self.install.program);
        self.store
            .get(name, &builtin)
            .map_or(builtin, |setting| setting.value.clone())
    }

    /// A number.
    pub fn int(&self, name: &'static str) -> i32 {
        match self.value(name) {
            Value::Int(value) => value,
            _ => 0,
        }
    }

    /// A truth value.
    pub fn truth(&self, name: &'static str) -> bool {
        self.value(name) == Value::Bool(true)
    }

    /// A text, without any white space in it when it is about proxies (nsProtocolProxyService.cpp,
    /// `proxy_GetStringPref`).
    pub fn text(&self, name: &'static str) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            _ => String::new(),
        }
    }

    /// What sets a preference; `None` when it is as the program brings it along.
    pub fn setting(&self, name: &str) -> Option<&'a Setting> {
        self.store.get(name, &builtin(name, self.install.program))
    }

    /// What locks a preference.
    pub fn lock(&self, name: &str) -> Option<&'a Setting> {
        self.store.locked(name)
    }

    /// The preference that says who resolves the names of manual settings, which moved in Firefox 128; both when the
    /// version is not known.
    pub fn dns_preferences(&self, is_socks5: bool) -> &'static [&'static str] {
        match (is_socks5, self.install.version) {
            (true, Some(version)) if version >= SOCKS5_OF_ITS_OWN => {
                &["network.proxy.socks5_remote_dns"]
            }
            (true, None) => &[
                "network.proxy.socks5_remote_dns",
                "network.proxy.socks_remote_dns",
            ],
            _ => &["network.proxy.socks_remote_dns"],
        }
    }

    /// Who resolves names for a SOCKS proxy of manual settings.
    pub fn manual_dns(&self, is_socks5: bool) -> Resolves {
        self.dns(self.dns_preferences(is_socks5))
    }

    /// Who resolves names for a SOCKS proxy that a script or the desktop names. To a SOCKS5 proxy they are always left;
    /// for SOCKS4 the preference of SOCKS5 counts (nsProtocolProxyService.cpp, `ExtractProxyInfo`).
    pub fn script_dns(&self, scheme: &str) -> Resolves {
        match scheme {
            "socks4" => self.dns(self.dns_preferences(true)),
            _ => Resolves::Remote,
        }
    }

    fn dns(&self, names: &[&'static str]) -> Resolves {
        let mut answers = names.iter().map(|name| self.truth(name));
        let first = answers.next().unwrap_or_default();
        if answers.any(|other| other != first) {
            Resolves::Unknown
        } else if first {
            Resolves::Remote
        } else if self.doh().is_some() {
            // The name goes to the DoH server, by the proxy as everything else, and to the resolver when that fails.
            Resolves::Depends
        } else {
            Resolves::Local
        }
    }

    /// The mode of DNS over HTTPS when names go to its server: 2 first, 3 only (netwerk/dns/TRRService.cpp,
    /// `ModeFromPrefs`).
    pub fn doh(&self) -> Option<i32> {
        let mode = match self.int("network.trr.mode") {
            0 => self.int("doh-rollout.mode"),
            mode => mode,
        };
        matches!(mode, 2 | 3).then_some(mode)
    }

    /// What was asked for and is set somewhere.
    pub fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for name in self.asked.borrow().iter() {
            let builtin = builtin(name, self.install.program);
            let Some(setting) = self.store.get(name, &builtin) else {
                // Locked to what the program brings along.
                if let Some(lock) = self.store.locked(name) {
                    add(&mut evidence, lock.evidence());
                }
                continue;
            };
            if setting.source != DEFAULTS || setting.value != builtin {
                add(&mut evidence, setting.evidence());
            }
        }
        evidence
    }

    /// What else is said of the preferences that were asked for, and does not count.
    pub fn overruled(&self) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for name in self.asked.borrow().iter() {
            let winner = self.setting(name);
            for setting in self.store.losers(name, winner) {
                let is_same = winner.is_some_and(|winner| winner.value == setting.value);
                if setting.source != DEFAULTS && !is_same {
                    add(&mut evidence, setting.evidence());
                }
            }
        }
        evidence
    }

    /// Whether everything that was asked for is locked, so that the user's values do not matter.
    pub fn are_locked(&self) -> bool {
        let asked = self.asked.borrow();
        asked.iter().all(|name| self.store.locked(name).is_some())
    }

    /// Names the place that has to be changed for a preference to get this value.
    pub fn how_to_set(&self, name: &str, value: &str) -> String {
        let editor = self.install.program.editor();
        let in_file = |setting: &Setting, name: &str| {
            let path = without_password(&setting.path);
            match setting.source {
                super::policies::SOURCE if name.ends_with("remote_dns") => {
                    format!(
                        "set UseProxyForDNS to {value} in the policy Proxy of {path}, and restart it"
                    )
                }
                super::policies::SOURCE => {
                    format!("set {name} to {value} in {path}, and restart it")
                }
                _ => format!("set {name} to {value} in {path}, which locks it, and restart it"),
            }
        };
        if let Some(lock) = self.lock(name) {
            return in_file(lock, name);
        }
        let again = self.store.at_start(name);
        match (again, self.setting(name)) {
            (Some(again), _) if again.value.to_string() != value => format!(
                "set {name} to {value} in {editor}, and in {}, which sets it at every start",
                again.path
            ),
            (_, Some(setting)) if setting.source == super::policies::SOURCE => format!(
                "set {name} to {value} in {editor}, or, for everybody, {}",
                in_file(setting, name)
            ),
            _ => format!("set {name} to {value} in {editor}"),
        }
    }
}

fn add(evidence: &mut Vec<Evidence>, new: Evidence) {
    if !evidence.contains(&new) {
        evidence.push(new);
    }
}
