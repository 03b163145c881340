//! What is known of one app: what it was told, which proxies it spoke with, which addresses it was answered, and what
//! was found.

use std::{net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;

use super::{Case, Record, evidence};
use crate::{
    model::{
        App, Endpoint, Evidence, Finding, FindingKind, ProxyProtocol, ProxySession, ProxySetting,
        Resolves, Severity,
    },
    posture::{Observed, Posture, observed},
    time::Timestamp,
    wire::dns::Address,
};

/// Addresses remembered of one app.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
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
    since: Timestamp,
    until: Timestamp,
}

#[derive(Debug)]
struct FindingState {
    finding: Finding,
    /// The evidence with its times, in the order in which it came.
    evidence: Vec<(Timestamp, Evidence)>,
    /// It changed since it was said.
    unsaid: bool,
}

/// What is known of one app.
#[derive(Debug)]
pub struct AppState {
    /// What it was told.
    pub posture: Arc<Posture>,
    /// `None` for whoever it was, where the kernel could not tell.
    app: Option<Arc<App>>,
    spoken: Vec<Observed>,
    /// What answered like a proxy.
    answering: Vec<Endpoint>,
    proxy_names: Vec<String>,
    addresses: LruCache<IpAddr, Vec<Lookup>>,
    /// Name → the queries that asked for it.
    names: LruCache<String, Vec<u64>>,
    findings: LruCache<(FindingKind, String), FindingState>,
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
            findings: LruCache::new(MAX_FINDINGS),
        }
    }

    /// The app asked for `name`.
    pub fn asked(&mut self, query: u64, name: &str) {
        let queries = self.names.get_or_insert_mut(name.to_owned(), Vec::new);
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

    /// Makes or strengthens the finding about the name that these queries asked for. Returns it when it is to be said
    /// now, and whether it is new.
    pub fn find(
        &mut self,
        records: &[&Record],
        case: &Case<'_>,
        at: Timestamp,
        number: u64,
    ) -> (Option<Finding>, bool) {
        let Some(first) = records.first() else {
            return (None, false);
        };
        let key = (case.kind, first.query.name.clone());
        let is_new = !self.findings.contains(&key);
        if is_new {
            let Some(state) = self.new_finding(first, case, at, number) else {
                return (None, false);
            };
            self.findings.put(key.clone(), state);
        }
        let Some(state) = self.findings.get_mut(&key) else {
            return (None, false);
        };
        let is_surer = case.confidence > state.finding.confidence;
        strengthen(state, records, case);
        let said = (is_new || is_surer).then(|| {
            let finding = say(state, at);
            state.finding.update = true;
            finding
        });
        (said, is_new)
    }

    fn new_finding(
        &self,
        first: &Record,
        case: &Case<'_>,
        at: Timestamp,
        number: u64,
    ) -> Option<FindingState> {
        let session = case.proof.as_ref().map(|proof| proof.session);
        let process = first.query.process.clone();
        let proxy = self.proxy_of(session);
        let advice = match (case.kind, &process, &proxy) {
            (FindingKind::SpecialName, ..) => evidence::special_advice(),
            (FindingKind::SelfResolution, Some(process), Some(proxy)) => self
                .posture
                .advice
                .clone()
                .unwrap_or_else(|| evidence::advice(&process.process, proxy)),
            (FindingKind::SelfResolution, ..) => return None,
        };
        let mut evidence: Vec<(Timestamp, Evidence)> = self
            .posture
            .evidence
            .iter()
            .map(|piece| (Timestamp::default(), piece.clone()))
            .collect();
        if evidence.is_empty()
            && session.is_none()
            && let Some(spoken) = self.confirmed_proxy()
        {
            evidence.push((spoken.first, spoken.evidence()));
        }
        let finding = Finding {
            ts: at,
            id: format!("f{number}"),
            update: false,
            kind: case.kind,
            severity: Severity::Info,
            confidence: case.confidence,
            app: self.app.clone(),
            advice,
            process,
            name: first.query.name.clone(),
            queries: Vec::new(),
            proxy,
            evidence: Vec::new(),
        };
        Some(FindingState {
            finding,
            evidence,
            unsaid: true,
        })
    }

    /// The proxy that should have been given the name: the one of the request that proves it, the one that was
    /// configured, or the one that was spoken with.
    fn proxy_of(&self, session: Option<&ProxySession>) -> Option<ProxySetting> {
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

    /// The answer to a query that leaked.
    pub fn add_answer(&mut self, record: &Record) {
        let Some(answer) = evidence::of_answer(record) else {
            return;
        };
        for kind in [FindingKind::SelfResolution, FindingKind::SpecialName] {
            if let Some(state) = self.findings.get_mut(&(kind, record.query.name.clone())) {
                add(state, answer.clone());
            }
        }
    }

    /// The proxy was given an address that several names were answered with: none of them is picked.
    pub fn add_ambiguous(&mut self, session: &ProxySession, names: &[&str]) {
        for name in names {
            let key = (FindingKind::SelfResolution, (*name).to_owned());
            if let Some(state) = self.findings.get_mut(&key) {
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

fn strengthen(state: &mut FindingState, records: &[&Record], case: &Case<'_>) {
    for record in records {
        let id = &record.query.id;
        let queries = &mut state.finding.queries;
        if !queries.contains(id) && queries.len() < MAX_QUERIES {
            queries.push(id.clone());
            state.unsaid = true;
        }
        add(state, evidence::of_question(record));
        if let Some(answer) = evidence::of_answer(record) {
            add(state, answer);
        }
        let severity = evidence::severity(case.kind, case.confidence, record.query.escaped);
        state.finding.severity = state.finding.severity.max(severity);
    }
    if let Some(proof) = &case.proof {
        add(state, evidence::of_proof(proof));
    }
    state.finding.confidence = state.finding.confidence.max(case.confidence);
}

fn add(state: &mut FindingState, piece: (Timestamp, Evidence)) {
    if state.evidence.len() < MAX_EVIDENCE && !state.evidence.contains(&piece) {
        state.evidence.push(piece);
        state.unsaid = true;
    }
}

/// The finding as it is now, its evidence in the order in which things happened.
fn say(state: &mut FindingState, at: Timestamp) -> Finding {
    state.evidence.sort_by_key(|(time, _)| *time);
    state.finding.evidence = state
        .evidence
        .iter()
        .map(|(_, piece)| piece.clone())
        .collect();
    state.finding.ts = at;
    state.unsaid = false;
    state.finding.clone()
}
