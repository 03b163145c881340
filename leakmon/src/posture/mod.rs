//! What programs were told about proxies. One file a source.

mod chromium;

use std::net::IpAddr;

use crate::model::{Evidence, Process, ProxySetting, Resolves};

/// How an app was told to connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posture {
    /// The proxy for everything, or what comes first for it.
    pub proxy: Option<ProxySetting>,
    /// Names and addresses that are reached without the proxy.
    pub bypass: Vec<String>,
    /// Where this is written.
    pub evidence: Vec<Evidence>,
    /// What stops the leak.
    pub advice: Option<String>,
}

impl Posture {
    /// Whether everything goes through a proxy, so that no name is the app's own business.
    #[must_use]
    pub fn proxies_everything(&self) -> bool {
        self.proxy
            .as_ref()
            .is_some_and(|proxy| matches!(proxy.resolves, Resolves::Local | Resolves::Remote))
    }

    /// Whether `name` is the proxy's own.
    #[must_use]
    pub fn is_proxy_host(&self, name: &str) -> bool {
        self.proxy
            .as_ref()
            .is_some_and(|proxy| proxy.addr.trim_end_matches('.').eq_ignore_ascii_case(name))
    }

    /// Whether `addr` and `port` are where the proxy was said to be.
    #[must_use]
    pub fn is_proxy_address(&self, addr: IpAddr, port: u16) -> bool {
        self.proxy
            .as_ref()
            .is_some_and(|proxy| proxy.port == port && proxy.addr.parse() == Ok(addr))
    }

    /// The rule of the bypass list that covers `name`.
    #[must_use]
    pub fn bypassed_by(&self, name: &str) -> Option<&str> {
        self.bypass
            .iter()
            .find(|rule| chromium::bypasses(rule, name))
            .map(String::as_str)
    }
}

/// What the first process of an app was told.
#[must_use]
pub fn posture_of(first: &Process) -> Posture {
    chromium::posture(first).unwrap_or_default()
}
