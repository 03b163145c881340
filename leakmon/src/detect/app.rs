//! What is known of one app: what it was told, which proxies it spoke with, which addresses it was answered, and what
//! was found.

use std::{net::IpAddr, num::NonZeroUsize, time::Duration};

use lru::LruCache;

use super::{Record, evidence};
use crate::{
    model::{
        App, Confidence, Endpoint, Evidence, Finding, FindingKind, ProxyProtocol, ProxySession,
        ProxySetting, Resolves,
    },
    posture::Posture,
    time::Timestamp,
    wire::dns::Address,
};

/// Addresses remembered of one app.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Lookups remembered of one address: more names than this on one address prove nothing about one of them.
const MAX_LOOKUPS: usize = 64;
/// Findings of one app, one for each name.
const MAX_FINDINGS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Queries listed in one finding.
const MAX_QUERIES: usize = 32;
/// Pieces of evidence in one finding.
const MAX_EVIDENCE: usize = 24;
/// Programs keep answers somewhat longer than their time to live; this much is granted at least.
const LEAST_LIFE: Duration = Duration::from_secs(300);

/// An address that answered a query.
#[derive(Clone, Debug)]
struct Lookup {
    query: u64,
    name: String,
    until: Timestamp,
}

/// A proxy that the app spoke with.
#[derive(Clone, Debug)]
pub struct Spoken {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What was spoken.
    pub protocol: ProxyProtocol,
    /// When it was first spoken.
    pub since: Timestamp,
    /// The other end answered in kind.
    confirmed: bool,
}

#[derive(Debug)]
struct FindingState {
    finding: Finding,
    /// It changed since it was said.
    unsaid: bool,
}

/// What is known of one app.
#[derive(Debug)]
pub struct AppState {
    /// What it was told.
    pub posture: Posture,
    app: App,
    spoken: Vec<Spoken>,
    proxy_names: Vec<String>,
    addresses: LruCache<IpAddr, Vec<Lookup>>,
    findings: LruCache<String, FindingState>,
}

impl AppState {
    /// An app of which nothing is known yet.
    pub fn new(app: App) -> Self {
        Self {
            posture: Posture::default(),
            app,
            spoken: Vec::new(),
            proxy_names: Vec::new(),
            addresses: LruCache::new(MAX_ADDRESSES),
            findings: LruCache::new(MAX_FINDINGS),
        }
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
            until: at.plus(life),
        });
    }

    /// The queries that were answered with this address, and their names.
    pub fn lookups_of(&mut self, addr: IpAddr, at: Timestamp) -> Vec<(u64, String)> {
        self.addresses
            .get(&addr)
            .into_iter()
            .flatten()
            .filter(|lookup| lookup.until >= at)
            .map(|lookup| (lookup.query, lookup.name.clone()))
            .collect()
    }

    /// The same for the address of a proxy, whose names are the app's business from now on.
    pub fn names_of(&mut self, proxy: IpAddr, at: Timestamp) -> Vec<(u64, String)> {
        let lookups = self.lookups_of(proxy, at);
        for (_, name) in &lookups {
            if !self.is_proxy_name(name) && self.proxy_names.len() < MAX_LOOKUPS {
                self.proxy_names.push(name.clone());
            }
        }
        lookups
    }

    /// Whether a name was looked up to reach a proxy.
    pub fn is_proxy_name(&self, name: &str) -> bool {
        self.proxy_names.iter().any(|known| known == name)
    }

    /// The app made a request of a proxy.
    pub fn spoke(&mut self, session: &ProxySession) {
        let known = self
            .spoken
            .iter()
            .any(|spoken| spoken.endpoint == session.proxy && spoken.protocol == session.protocol);
        if !known && self.spoken.len() < MAX_LOOKUPS {
            // A proxy that it was told to use is one before it answers.
            let confirmed = self
                .posture
                .is_proxy_address(session.proxy.addr, session.proxy.port);
            self.spoken.push(Spoken {
                endpoint: session.proxy,
                protocol: session.protocol,
                since: session.ts,
                confirmed,
            });
        }
    }

    /// What the app took for a proxy answered like one.
    pub fn confirmed(&mut self, endpoint: Endpoint) {
        for spoken in &mut self.spoken {
            if spoken.endpoint == endpoint {
                spoken.confirmed = true;
            }
        }
    }

    /// A proxy that the app spoke with and that answered.
    pub fn confirmed_proxy(&self) -> Option<&Spoken> {
        self.spoken.iter().find(|spoken| spoken.confirmed)
    }

    /// Makes or strengthens the finding about a query's name. Returns it when it is to be said now, and whether it is
    /// new.
    pub fn find(
        &mut self,
        record: &Record,
        confidence: Confidence,
        session: Option<&ProxySession>,
        at: Timestamp,
        number: u64,
    ) -> (Option<Finding>, bool) {
        let name = &record.query.name;
        if let Some(state) = self.findings.get_mut(name) {
            return (strengthen(state, record, confidence, session, at), false);
        }
        let Some(process) = record.query.process.clone() else {
            return (None, false);
        };
        let Some(proxy) = self.proxy_of(session) else {
            return (None, false);
        };
        let mut evidence = self.posture.evidence.clone();
        if evidence.is_empty()
            && session.is_none()
            && let Some(spoken) = self.confirmed_proxy()
        {
            evidence.push(evidence::spoken(spoken));
        }
        evidence.extend(evidence::of_query(record));
        evidence.extend(session.map(|session| evidence::of_request(session, record)));
        let finding = Finding {
            ts: at,
            id: format!("f{number}"),
            update: false,
            kind: FindingKind::SelfResolution,
            severity: evidence::severity(confidence, record.query.escaped),
            confidence,
            app: self.app.clone(),
            advice: self
                .posture
                .advice
                .clone()
                .unwrap_or_else(|| evidence::advice(&process.process, &proxy)),
            process,
            name: name.clone(),
            queries: vec![record.query.id.clone()],
            proxy,
            evidence,
        };
        self.findings.put(
            name.clone(),
            FindingState {
                finding: finding.clone(),
                unsaid: false,
            },
        );
        (Some(finding), true)
    }

    /// The proxy that should have been given the name: the one of the request that proves it, the one that was
    /// configured, or the one that was spoken with.
    fn proxy_of(&self, session: Option<&ProxySession>) -> Option<ProxySetting> {
        let spoken = |endpoint: Endpoint, protocol: ProxyProtocol, resolves| ProxySetting {
            scheme: protocol.as_str().to_owned(),
            addr: endpoint.addr.to_string(),
            port: endpoint.port,
            resolves,
        };
        if let Some(proxy) = &self.posture.proxy {
            return Some(proxy.clone());
        }
        if let Some(session) = session {
            return Some(spoken(session.proxy, session.protocol, Resolves::Local));
        }
        let known = self.confirmed_proxy()?;
        Some(spoken(known.endpoint, known.protocol, Resolves::Unknown))
    }

    /// The answer to a query that leaked.
    pub fn add_answer(&mut self, record: &Record) {
        let Some(state) = self.findings.get_mut(&record.query.name) else {
            return;
        };
        if let Some(answer) = evidence::of_answer(record) {
            add(state, answer);
        }
    }

    /// The proxy was given an address that several names were answered with: none of them is picked.
    pub fn add_ambiguous(&mut self, session: &ProxySession, names: &[&str]) {
        for name in names {
            if let Some(state) = self.findings.get_mut(*name) {
                add(state, evidence::ambiguous(session, names));
            }
        }
    }

    /// Findings that changed since they were said, as they are now.
    pub fn unsaid_findings(&mut self, now: Timestamp) -> Vec<Finding> {
        self.findings
            .iter_mut()
            .filter(|(_, state)| state.unsaid)
            .map(|(_, state)| say(state, now))
            .collect()
    }
}

/// Adds a query to a finding; returns the finding when it became surer.
fn strengthen(
    state: &mut FindingState,
    record: &Record,
    confidence: Confidence,
    session: Option<&ProxySession>,
    at: Timestamp,
) -> Option<Finding> {
    let id = &record.query.id;
    if !state.finding.queries.contains(id) && state.finding.queries.len() < MAX_QUERIES {
        state.finding.queries.push(id.clone());
        for piece in evidence::of_query(record) {
            add(state, piece);
        }
    }
    if let Some(session) = session {
        add(state, evidence::of_request(session, record));
    }
    if confidence <= state.finding.confidence {
        return None;
    }
    state.finding.confidence = confidence;
    let severity = evidence::severity(confidence, record.query.escaped);
    state.finding.severity = state.finding.severity.max(severity);
    Some(say(state, at))
}

fn add(state: &mut FindingState, piece: Evidence) {
    let evidence = &mut state.finding.evidence;
    if evidence.len() < MAX_EVIDENCE && !evidence.contains(&piece) {
        evidence.push(piece);
        state.unsaid = true;
    }
}

fn say(state: &mut FindingState, at: Timestamp) -> Finding {
    state.finding.ts = at;
    state.finding.update = true;
    state.unsaid = false;
    state.finding.clone()
}
