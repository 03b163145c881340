//! What is known of one app: what it was told, which proxies it spoke with, and which addresses it was answered.

use std::{net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;

use super::findings::Findings;
use crate::{
    model::{App, Endpoint, ProxyProtocol, ProxySession, ProxySetting, Resolves},
    posture::{Observed, Posture, observed},
    time::Timestamp,
    wire::dns::Address,
};

/// Addresses remembered of one app.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
/// Lookups remembered of one address: more names than this on one address prove nothing about one of them.
const MAX_LOOKUPS: usize = 64;
/// The latest queries for one name that are remembered.
const MAX_QUERIES: usize = 32;
/// Programs keep answers somewhat longer than their time to live; this much is granted at least.
pub const LEAST_LIFE: Duration = Duration::from_secs(300);

/// An address that answered a query.
#[derive(Clone, Debug)]
struct Lookup {
    query: u64,
    name: String,
    since: Timestamp,
    until: Timestamp,
}

/// What is known of one app.
#[derive(Debug)]
pub struct AppState {
    /// What it was told.
    pub posture: Arc<Posture>,
    /// `None` for whoever it was, where the kernel could not tell.
    pub(super) app: Option<Arc<App>>,
    spoken: Vec<Observed>,
    /// What answered like a proxy.
    answering: Vec<Endpoint>,
    proxy_names: Vec<String>,
    addresses: LruCache<IpAddr, Vec<Lookup>>,
    /// Name → the queries that asked for it.
    names: LruCache<Arc<str>, Vec<u64>>,
    pub(super) findings: Findings,
}

impl AppState {
    /// An app of which nothing is known yet.
    pub fn new(app: Option<Arc<App>>) -> Self {
        Self {
            posture: Arc::default(),
            app,
            spoken: Vec::new(),
            answering: Vec::new(),
            proxy_names: Vec::new(),
            addresses: LruCache::new(MAX_ADDRESSES),
            names: LruCache::new(MAX_ADDRESSES),
            findings: Findings::default(),
        }
    }

    /// The app asked for `name`.
    pub fn asked(&mut self, query: u64, name: &Arc<str>) {
        let queries = self.names.get_or_insert_mut(Arc::clone(name), Vec::new);
        if queries.len() == MAX_QUERIES {
            queries.remove(0);
        }
        queries.push(query);
    }

    /// The latest queries for `name`, in the order in which they were asked.
    pub fn queries_of(&mut self, name: &str) -> Vec<u64> {
        self.names.get(name).cloned().unwrap_or_default()
    }

    /// An answer to `query` for `name` held this address.
    pub fn answered(&mut self, query: u64, name: &str, at: Timestamp, address: Address) {
        let lookups = self.addresses.get_or_insert_mut(address.addr, Vec::new);
        lookups.retain(|lookup| lookup.until >= at);
        if lookups.len() == MAX_LOOKUPS {
            lookups.remove(0);
        }
        let life = Duration::from_secs(address.ttl.into()).max(LEAST_LIFE);
        lookups.push(Lookup {
            query,
            name: name.to_owned(),
            since: at,
            until: at.plus(life),
        });
    }

    /// The queries that had been answered with this address at that time, and their names.
    pub fn lookups_of(&mut self, addr: IpAddr, at: Timestamp) -> Vec<(u64, String)> {
        self.addresses
            .get(&addr)
            .into_iter()
            .flatten()
            .filter(|lookup| lookup.since <= at && lookup.until >= at)
            .map(|lookup| (lookup.query, lookup.name.clone()))
            .collect()
    }

    /// These names were looked up to reach a proxy: they are the app's own business from now on.
    pub fn add_proxy_names(&mut self, lookups: &[(u64, String)]) {
        for (_, name) in lookups {
            if !self.is_proxy_name(name) && self.proxy_names.len() < MAX_LOOKUPS {
                self.proxy_names.push(name.clone());
            }
        }
    }

    /// Whether a name was looked up to reach a proxy.
    pub fn is_proxy_name(&self, name: &str) -> bool {
        self.proxy_names.iter().any(|known| known == name)
    }

    /// Whether this is a proxy: one that the app was told to use, or one that answered like one.
    pub fn knows_proxy(&self, endpoint: Endpoint) -> bool {
        self.posture.is_proxy_address(endpoint.addr, endpoint.port)
            || self.answering.contains(&endpoint)
    }

    /// What the app took for a proxy answered like one.
    pub fn answers_like_a_proxy(&mut self, endpoint: Endpoint) {
        if !self.answering.contains(&endpoint) && self.answering.len() < MAX_LOOKUPS {
            self.answering.push(endpoint);
        }
    }

    /// The app made a request of a proxy.
    pub fn spoke(&mut self, session: &ProxySession) {
        observed::note(
            &mut self.spoken,
            session.proxy,
            session.protocol,
            session.ts,
        );
    }

    /// A proxy that the app spoke with and that is one.
    pub fn confirmed_proxy(&self) -> Option<&Observed> {
        self.spoken
            .iter()
            .find(|spoken| self.knows_proxy(spoken.endpoint))
    }

    /// The proxy that should have been given the name: the one of the request that proves it, the one that was
    /// configured, or the one that was spoken with.
    pub fn proxy_of(&self, session: Option<&ProxySession>) -> Option<ProxySetting> {
        let spoken = |endpoint: Endpoint, protocol: ProxyProtocol, resolves| ProxySetting {
            scheme: protocol.scheme().to_owned(),
            addr: endpoint.addr.to_string(),
            port: endpoint.port,
            resolves,
        };
        if let Some(session) = session
            && !self
                .posture
                .is_proxy_address(session.proxy.addr, session.proxy.port)
        {
            return Some(spoken(session.proxy, session.protocol, Resolves::Local));
        }
        if let Some(proxy) = self.posture.proxy() {
            return Some(proxy.clone());
        }
        let known = self.confirmed_proxy()?;
        Some(spoken(known.endpoint, known.protocol, Resolves::Unknown))
    }
}
