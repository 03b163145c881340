//! policies.json: what an administrator decides.
//!
//! Where it is and what it does is toolkit/components/enterprisepolicies/EnterprisePoliciesParent.sys.mjs,
//! browser/components/enterprisepolicies/Policies.sys.mjs and helpers/ProxyPolicies.sys.mjs, as Firefox 153 has them.

use serde_json::{Map, Value as Json};

use super::{
    prefs::Value,
    store::{Setting, Store, is_wanted},
};
use crate::posture::proxy::Written;

/// The kind of place.
pub const SOURCE: &str = "policy";

/// What a locked proxy policy locks, set or not (`proxyPreferences`).
const LOCKED: [&str; 13] = [
    "network.proxy.type",
    "network.proxy.autoconfig_url",
    "network.proxy.socks_remote_dns",
    "network.proxy.socks5_remote_dns",
    "network.proxy.socks_version",
    "network.proxy.no_proxies_on",
    "network.proxy.share_proxy_settings",
    "network.proxy.http",
    "network.proxy.http_port",
    "network.proxy.ssl",
    "network.proxy.ssl_port",
    "network.proxy.socks",
    "network.proxy.socks_port",
];

/// Why a policy file is no policy file.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct NoJson {
    reason: String,
    /// Firefox cannot read it either.
    pub is_certain: bool,
}

impl From<serde_json::Error> for NoJson {
    fn from(error: serde_json::Error) -> Self {
        let reason = error.to_string();
        Self {
            // Firefox has no such limit.
            is_certain: !reason.contains("recursion limit"),
            reason,
        }
    }
}

/// Applies the text of a policy file. Firefox takes none of the policies of a file that is no JSON.
///
/// # Errors
/// When it is no JSON.
pub fn apply(text: &str, path: &str, store: &mut Store) -> Result<(), NoJson> {
    // An empty file is as none.
    if text.is_empty() {
        return Ok(());
    }
    let json: Json = serde_json::from_str(text)?;
    let Some(policies) = json.get("policies").and_then(Json::as_object) else {
        return Ok(());
    };
    let mut file = File { path, store };
    // Firefox goes by the file's order, which matters only where a preference is set by two policies.
    if let Some(Json::Object(doh)) = policies.get("DNSOverHTTPS") {
        file.dns_over_https(doh);
    }
    match policies.get("Preferences") {
        Some(Json::Object(preferences)) => file.preferences(preferences),
        // Written as a string that is JSON itself, for places that have no other way (schema.sys.mjs).
        Some(Json::String(text)) => {
            if let Ok(Json::Object(preferences)) = serde_json::from_str(text) {
                file.preferences(&preferences);
            }
        }
        _ => {}
    }
    if let Some(Json::Object(proxy)) = policies.get("Proxy") {
        file.proxy(proxy);
    }
    Ok(())
}

struct File<'a> {
    path: &'a str,
    store: &'a mut Store,
}

impl File<'_> {
    fn setting(&self, key: &str, written: &Json, value: Value) -> Setting {
        Setting {
            value,
            source: SOURCE,
            path: self.path.to_owned(),
            written: format!("{key} = {written}"),
        }
    }

    /// `PoliciesUtils.setDefaultPref`: what was locked stays locked unless the policy says otherwise.
    fn set(&mut self, name: &str, setting: Setting, is_locked: Option<bool>) {
        let was_locked = self.store.locked(name).is_some();
        self.store.set_default(name, setting.clone());
        match is_locked {
            Some(true) => self.store.lock(name, setting),
            None if was_locked => {}
            _ => self.store.unlock(name),
        }
    }

    fn proxy(&mut self, policy: &Map<String, Json>) {
        let Some(proxy) = Proxy::read(policy) else {
            // A policy that does not fit the schema is left out as a whole.
            return;
        };
        let key = |key: &str| format!("Proxy.{key}");
        let mut changes: Vec<(&str, &str, Value)> = Vec::new();
        if let Some(kind) = proxy.kind {
            changes.push(("Mode", "network.proxy.type", Value::Int(kind)));
        }
        if let Some(url) = &proxy.url {
            changes.push((
                "AutoConfigURL",
                "network.proxy.autoconfig_url",
                Value::Text(url.clone()),
            ));
        }
        if let Some(remote) = proxy.dns {
            for name in [
                "network.proxy.socks_remote_dns",
                "network.proxy.socks5_remote_dns",
            ] {
                changes.push(("UseProxyForDNS", name, Value::Bool(remote)));
            }
        }
        if let Some(version) = proxy.version {
            changes.push((
                "SOCKSVersion",
                "network.proxy.socks_version",
                Value::Int(version),
            ));
        }
        if let Some(list) = &proxy.passthrough {
            changes.push((
                "Passthrough",
                "network.proxy.no_proxies_on",
                Value::Text(list.clone()),
            ));
        }
        let https = if proxy.is_for_all && proxy.http.is_some() {
            ("HTTPProxy", &proxy.http)
        } else {
            ("SSLProxy", &proxy.ssl)
        };
        for ((key, address), host_name, port_name) in [
            (
                ("HTTPProxy", &proxy.http),
                "network.proxy.http",
                "network.proxy.http_port",
            ),
            (https, "network.proxy.ssl", "network.proxy.ssl_port"),
            (
                ("SOCKSProxy", &proxy.socks),
                "network.proxy.socks",
                "network.proxy.socks_port",
            ),
        ] {
            let Some(written) = address.as_deref().and_then(|text| {
                // It is read as the authority of an https URL: 443, the default there, counts as no port.
                Written::parse(&format!("https://{text}"))
            }) else {
                continue;
            };
            changes.push((key, host_name, Value::Text(written.host)));
            if let Some(port) = written.port.filter(|&port| port != 443) {
                changes.push((key, port_name, Value::Int(port.into())));
            }
        }
        for (short, name, value) in changes {
            let written = policy.get(short).unwrap_or(&Json::Null);
            let setting = self.setting(&key(short), written, value);
            self.set(name, setting, None);
        }
        if proxy.is_locked {
            let by = self.setting(&key("Locked"), &Json::Bool(true), Value::Bool(true));
            for name in LOCKED {
                self.store.lock(name, by.clone());
            }
        }
    }

    fn dns_over_https(&mut self, policy: &Map<String, Json>) {
        let is_locked = policy.get("Locked").and_then(boolean);
        if let Some(enabled) = policy.get("Enabled").and_then(boolean) {
            let mode = match (enabled, policy.get("Fallback").and_then(boolean)) {
                (_, Some(false)) => 3,
                (true, _) => 2,
                (false, _) => 5,
            };
            let setting = self.setting(
                "DNSOverHTTPS.Enabled",
                &Json::Bool(enabled),
                Value::Int(mode),
            );
            self.set("network.trr.mode", setting, is_locked);
        }
        if let Some(Json::String(url)) = policy.get("ProviderURL") {
            let written = Json::String(url.clone());
            let setting = self.setting(
                "DNSOverHTTPS.ProviderURL",
                &written,
                Value::Text(url.clone()),
            );
            self.set("network.trr.uri", setting, is_locked);
        }
    }

    /// The policy `Preferences`, which may set most others too.
    fn preferences(&mut self, policy: &Map<String, Json>) {
        for (name, wanted) in policy {
            // `general.config.` and `autoadmin.` are not among those that it may set.
            if !is_wanted(name) || !name.starts_with("network.") {
                continue;
            }
            let (status, explicit, value) = match wanted {
                Json::Object(object) => (
                    object
                        .get("Status")
                        .and_then(Json::as_str)
                        .unwrap_or("default"),
                    object.get("Type").and_then(Json::as_str),
                    object.get("Value"),
                ),
                plain => ("locked", None, Some(plain)),
            };
            if status == "clear" {
                self.store.clear_user(name);
                continue;
            }
            let Some(value) = value.and_then(|value| preference(name, value, explicit)) else {
                continue;
            };
            let setting = self.setting(&format!("Preferences.{name}"), wanted, value);
            match status {
                "user" => self.store.set_user(name, setting),
                "locked" => self.set(name, setting, Some(true)),
                _ => self.set(name, setting, None),
            }
        }
    }
}

/// The policy `Proxy`, where all of it fits the schema.
#[derive(Debug, Default)]
struct Proxy {
    kind: Option<i32>,
    url: Option<String>,
    http: Option<String>,
    ssl: Option<String>,
    socks: Option<String>,
    version: Option<i32>,
    passthrough: Option<String>,
    dns: Option<bool>,
    is_for_all: bool,
    is_locked: bool,
}

impl Proxy {
    fn read(policy: &Map<String, Json>) -> Option<Self> {
        let mut proxy = Self::default();
        for (key, value) in policy {
            let text = || value.as_str().map(str::to_owned);
            match key.as_str() {
                "Mode" => {
                    proxy.kind = Some(match value.as_str()? {
                        "none" => 0,
                        "manual" => 1,
                        "autoConfig" => 2,
                        "autoDetect" => 4,
                        "system" => 5,
                        _ => return None,
                    });
                }
                "AutoConfigURL" => proxy.url = Some(text()?).filter(|url| !url.is_empty()),
                "HTTPProxy" => proxy.http = Some(text()?).filter(|address| !address.is_empty()),
                "SSLProxy" => proxy.ssl = Some(text()?).filter(|address| !address.is_empty()),
                "SOCKSProxy" => proxy.socks = Some(text()?).filter(|address| !address.is_empty()),
                "SOCKSVersion" => {
                    proxy.version = match value.as_i64()? {
                        4 => Some(4),
                        5 => Some(5),
                        _ => return None,
                    };
                }
                "Passthrough" => proxy.passthrough = Some(text()?),
                "UseProxyForDNS" => proxy.dns = Some(boolean(value)?),
                "UseHTTPProxyForAllProtocols" => proxy.is_for_all = boolean(value)?,
                "Locked" => proxy.is_locked = boolean(value)?,
                _ => {}
            }
        }
        Some(proxy)
    }
}

/// A truth value, which may be written 0 or 1 too (PolicySchemaValidator.sys.mjs).
fn boolean(value: &Json) -> Option<bool> {
    match value {
        Json::Bool(value) => Some(*value),
        Json::Number(number) => match number.as_i64()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// A preference's value; 0 and 1 are truth values where the preference is one.
fn preference(name: &str, value: &Json, explicit: Option<&str>) -> Option<Value> {
    match value {
        Json::Bool(value) => Some(Value::Bool(*value)),
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Number(number) => {
            let number = i32::try_from(number.as_i64()?).ok()?;
            let is_truth = explicit != Some("number")
                && [0, 1].contains(&number)
                && super::settings::builtin_is_truth(name);
            Some(if is_truth {
                Value::Bool(number == 1)
            } else {
                Value::Int(number)
            })
        }
        _ => None,
    }
}
