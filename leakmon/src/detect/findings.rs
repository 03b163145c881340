//! What was found about one app: one finding for each kind and name, which grows.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::{
    Case, Record,
    app::AppState,
    evidence::{self, Timed},
};
use crate::{
    model::{Confidence, Finding, FindingKind, Link, Severity},
    time::Timestamp,
};

/// Findings of one app that are kept.
const MAX_FINDINGS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Queries listed in one finding.
const MAX_QUERIES: usize = 32;
/// Pieces of evidence in one finding.
const MAX_EVIDENCE: usize = 24;

#[derive(Debug)]
struct FindingState {
    finding: Finding,
    /// The evidence with its times, in the order in which it came.
    evidence: Vec<Timed>,
    /// Number of the last query that was counted.
    counted: u64,
    /// The app went straight to the address: what is merely observed of it is no leak.
    goes_direct: bool,
    /// It changed since it was said.
    unsaid: bool,
}

/// What came of a case.
#[derive(Debug, Default)]
pub struct Found {
    /// The finding, when it is to be said now.
    pub said: Option<Finding>,
    /// There was none before.
    pub is_new: bool,
    /// It says that something leaked, and did not before.
    pub is_new_leak: bool,
}

/// The findings about one app.
#[derive(Debug)]
pub struct Findings(LruCache<(FindingKind, String), FindingState>);

impl Default for Findings {
    fn default() -> Self {
        Self(LruCache::new(MAX_FINDINGS))
    }
}

impl AppState {
    /// Makes or strengthens a finding, with the queries that it is about and what local resolvers asked for them.
    pub fn find(
        &mut self,
        records: &[&Record],
        case: &Case<'_>,
        sent_on: &[Timed],
        at: Timestamp,
        number: u64,
    ) -> Found {
        let key = (case.kind, case.name.clone());
        let is_new = !self.findings.0.contains(&key);
        if is_new {
            let Some(state) = self.new_finding(records.first().copied(), case, at, number) else {
                return Found::default();
            };
            self.findings.0.put(key.clone(), state);
        }
        let Some(state) = self.findings.0.get_mut(&key) else {
            return Found::default();
        };
        let was_excused = state.goes_direct;
        let before = (state.finding.confidence, state.finding.severity);
        strengthen(state, records, case);
        for piece in sent_on {
            add(state, piece.clone());
        }
        let is_worse = (state.finding.confidence, state.finding.severity) != before;
        let said = (is_new || is_worse).then(|| {
            let finding = say(state, at);
            state.finding.update = true;
            finding
        });
        let leaks = case.kind.is_leak() && !state.goes_direct;
        Found {
            said,
            is_new,
            is_new_leak: leaks && (is_new || was_excused),
        }
    }

    fn new_finding(
        &self,
        first: Option<&Record>,
        case: &Case<'_>,
        at: Timestamp,
        number: u64,
    ) -> Option<FindingState> {
        let process = first
            .and_then(|first| first.query.process.clone())
            .or_else(|| case.actor.clone());
        let proxy = self.proxy_of(case.session);
        let told = || self.posture.advice.clone();
        let advice = match (case.kind, &process, &proxy) {
            (FindingKind::SpecialName, ..) => evidence::special_advice(),
            (FindingKind::LiteralAddress, Some(_), Some(_)) => evidence::literal_advice(),
            (FindingKind::ProxyBypass, Some(_), Some(_)) => evidence::bypass_advice(),
            (FindingKind::SelfResolution, Some(process), Some(proxy)) => {
                told().unwrap_or_else(|| evidence::advice(&process.process, proxy))
            }
            _ => return None,
        };
        let mut evidence: Vec<Timed> = self
            .posture
            .evidence
            .iter()
            .map(|piece| (Timestamp::default(), piece.clone()))
            .collect();
        if evidence.is_empty()
            && case.session.is_none()
            && let Some(spoken) = self.confirmed_proxy()
        {
            evidence.push((spoken.first, spoken.evidence()));
        }
        let words = first.and_then(|first| evidence::of_the_name(first, self.app.as_deref()));
        evidence.extend(words);
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
            name: case.name.clone(),
            count: 0,
            queries: Vec::new(),
            proxy,
            evidence: Vec::new(),
        };
        Some(FindingState {
            finding,
            evidence,
            counted: 0,
            goes_direct: false,
            unsaid: true,
        })
    }

    /// The answer to a query that leaked.
    pub fn add_answer(&mut self, record: &Record) {
        if let Some(answer) = evidence::of_answer(record) {
            self.add_to_findings(&[&record.query.name], &answer);
        }
    }

    /// More evidence about names that were found to leak.
    pub fn add_to_findings(&mut self, names: &[&str], piece: &Timed) {
        for name in names {
            for kind in [FindingKind::SelfResolution, FindingKind::SpecialName] {
                if let Some(state) = self.findings.0.get_mut(&(kind, (*name).to_owned())) {
                    add(state, piece.clone());
                }
            }
        }
    }

    /// Whether a name is proven to have leaked.
    pub fn is_proven(&self, name: &str) -> bool {
        self.findings
            .0
            .peek(&(FindingKind::SelfResolution, name.to_owned()))
            .is_some_and(|state| state.finding.confidence == Confidence::Proven)
    }

    /// The app went straight to the address of a name: what was merely observed of it is no more than that. The finding as
    /// it is then.
    pub fn goes_direct(&mut self, name: &str, piece: &Timed, at: Timestamp) -> Option<Finding> {
        let key = (FindingKind::SelfResolution, name.to_owned());
        let state = self.findings.0.get_mut(&key)?;
        add(state, piece.clone());
        if state.finding.confidence != Confidence::Observed || state.goes_direct {
            return None;
        }
        state.goes_direct = true;
        state.finding.severity = Severity::Low;
        Some(say(state, at))
    }

    /// Findings that changed since they were said, as they are now.
    pub fn unsaid_findings(&mut self, now: Timestamp) -> Vec<Finding> {
        self.findings
            .0
            .iter_mut()
            .filter(|(_, state)| state.unsaid)
            .map(|(_, state)| say(state, now))
            .collect()
    }
}

fn strengthen(state: &mut FindingState, records: &[&Record], case: &Case<'_>) {
    // What is more than observed is no rule of the app's own.
    state.goes_direct &= case.confidence == Confidence::Observed;
    for record in records {
        let id = &record.query.id;
        let queries = &mut state.finding.queries;
        if !queries.contains(id) && queries.len() < MAX_QUERIES {
            queries.push(id.clone());
        }
        if record.number > state.counted {
            state.counted = record.number;
            if !case.kind.is_of_connections() {
                state.finding.count += 1;
            }
            state.unsaid = true;
        }
        add(state, evidence::of_question(record));
        if let Some(answer) = evidence::of_answer(record) {
            add(state, answer);
        }
        let severity = evidence::severity(case.kind, case.confidence, record.query.escaped);
        if !state.goes_direct {
            state.finding.severity = state.finding.severity.max(severity);
        }
    }
    if case.kind.is_of_connections() {
        state.finding.count += 1;
        state.unsaid = true;
        let severity = evidence::severity(case.kind, case.confidence, true);
        state.finding.severity = state.finding.severity.max(severity);
    }
    if let Some(proof) = &case.proof {
        add(state, evidence::of_proof(proof));
    }
    for piece in &case.pieces {
        add(state, piece.clone());
    }
    state.finding.confidence = state.finding.confidence.max(case.confidence);
}

fn add(state: &mut FindingState, piece: Timed) {
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
        .map(|(time, piece)| Link {
            // What was written was so before anything happened.
            ts: (*time != Timestamp::default()).then_some(*time),
            evidence: piece.clone(),
        })
        .collect();
    state.finding.ts = at;
    state.unsaid = false;
    state.finding.clone()
}
