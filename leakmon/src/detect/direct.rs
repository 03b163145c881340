//! Connections past the proxy.

use std::net::SocketAddr;

use super::{Case, Detector, Who, evidence, verdict};
use crate::{
    model::{Confidence, FindingKind, Report, Verdict},
    posture::Route,
    time::Timestamp,
};

/// The port of DNS over TCP (RFC 7766): what is said there is a query, and judged as one.
const DNS_PORT: u16 = 53;

impl Detector {
    /// A program connected over TCP to an address that is not of this machine's loopback network.
    pub fn connected(&mut self, at: Timestamp, to: SocketAddr, who: &Who) -> Vec<Report> {
        let mut out = Vec::new();
        // Most programs have no proxy, and nothing is kept of them.
        if who.posture.proxy().is_none() && !self.apps.contains(&who.app.id) {
            return out;
        }
        let app = self.app(who);
        let has_proxy = app.posture.proxy().is_some() || app.confirmed_proxy().is_some();
        if !has_proxy || app.knows_proxy(to.into()) || to.port() == DNS_PORT {
            return out;
        }
        let lookups = app.lookups_of(to.ip(), at);
        let mut names: Vec<String> = lookups.iter().map(|(_, name)| name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        let posture = std::sync::Arc::clone(&app.posture);
        let is_the_proxy = names
            .iter()
            .any(|name| posture.is_proxy_host(name) || app.is_proxy_name(name))
            // A proxy that is given by name may be found in a file of hosts.
            || names.is_empty() && posture.has_named_proxy_on(to.port());
        let may_bypass = posture.address_bypassed_by(to.ip()).is_some()
            || names.iter().any(|name| posture.bypassed_by(name).is_some());
        if is_the_proxy || may_bypass {
            return out;
        }
        if posture.proxies_everything() {
            self.bypass(at, to, &names, &lookups, who, &mut out);
        } else if let [name] = &names[..]
            && !matches!(posture.route, Route::Unknown(_))
        {
            let by_settings = matches!(posture.route, Route::Some(_));
            self.splits(at, to, name, by_settings, who, &mut out);
        }
        out
    }

    /// An app that was told to reach everything through a proxy went past it.
    fn bypass(
        &mut self,
        at: Timestamp,
        to: SocketAddr,
        names: &[String],
        lookups: &[(u64, String)],
        who: &Who,
        out: &mut Vec<Report>,
    ) {
        let (name, numbers) = match names {
            [name] => (
                name.clone(),
                lookups.iter().map(|(number, _)| *number).collect(),
            ),
            _ => (to.ip().to_string(), Vec::new()),
        };
        let case = Case {
            kind: FindingKind::ProxyBypass,
            confidence: Confidence::Configured,
            name,
            actor: Some(who.actor.clone()),
            session: None,
            proof: None,
            pieces: vec![evidence::of_connection(at, to, names)],
        };
        self.find(who.app.id, &numbers, &case, at, out);
    }

    /// An app that uses a proxy for some connections went straight to the address of a name: the lookup was its own
    /// business, by its settings or by a rule of its own.
    fn splits(
        &mut self,
        at: Timestamp,
        to: SocketAddr,
        name: &str,
        by_settings: bool,
        who: &Who,
        out: &mut Vec<Report>,
    ) {
        let why = if by_settings {
            format!(
                "then connected straight to {to}: its settings leave this name out of the proxy"
            )
        } else {
            format!("then connected straight to {to}: it goes past its proxy by a rule of its own")
        };
        // The same name may have been given to the proxy by its address as well, or must never leave: that stays a leak.
        if self.app(who).is_proven(name) || verdict::special(name).is_some() {
            return;
        }
        // Whoever asked for AAAA and connected to the address of an A asked twice for one connection.
        for number in self.app(who).queries_of(name) {
            if self.stayed(number).is_none() {
                self.change_verdict(number, Verdict::Explained, &why, out);
            }
        }
        let piece = evidence::of_connection(at, to, &[name.to_owned()]);
        if let Some(finding) = self.app(who).goes_direct(name, &piece, at) {
            // It was one until now.
            self.leaks = self.leaks.saturating_sub(1);
            out.push(Report::Finding(Box::new(finding)));
        }
    }
}
