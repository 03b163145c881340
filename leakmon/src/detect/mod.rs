//! From what was said on the wire, by whom, and what they had been told, to verdicts.
//!
//! Deterministic: no clock and no I/O. Time is the events', and a tick is an event.

mod app;
mod direct;
mod evidence;
mod findings;
#[cfg(test)]
mod properties;
mod questions;
mod sessions;
mod summary;
#[cfg(test)]
mod tests;
mod through;
mod verdict;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use lru::LruCache;

pub use self::through::Local;
use self::{
    app::AppState,
    evidence::Timed,
    questions::{Asked, PendingKey, no_answer},
    summary::Counts,
    through::{Passage, Resolving},
};
use crate::{
    model::{
        Actor, Answer, App, Confidence, Finding, FindingKind, Loss, ProcessId, ProxySession, Query,
        Report, Resolver, ResolverAddr, Service, Verdict,
    },
    posture::Posture,
    time::Timestamp,
    wire::{Message, Payload, dns::Question},
};

/// Queries kept so that they can be said again when more is known.
const MAX_QUERIES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Queries that wait for their answer.
const MAX_OPEN: usize = 32_768;
/// Apps whose state is kept.
const MAX_APPS: NonZeroUsize = NonZeroUsize::new(2048).unwrap();
/// Requests to proxies that wait for their reply.
const MAX_SESSIONS: usize = 1024;
/// A resolver library gives up after at most 5 s × 2 attempts by default (resolv.conf(5)).
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a request to a proxy waits for its reply before it is said without one.
const REPLY_LIMIT: Duration = Duration::from_secs(2);
/// Local resolvers whose state is kept.
const MAX_LOCALS: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// How often findings are said again that have merely grown.
const GROWTH: Duration = Duration::from_secs(10);

/// Who did something, as far as it is known.
#[derive(Clone, Debug)]
pub struct Who {
    /// The process and its thread.
    pub actor: Actor,
    /// The program that a person would name.
    pub app: Arc<App>,
    /// What that program was told.
    pub posture: Arc<Posture>,
}

/// A query with what became of it.
#[derive(Clone, Debug)]
struct Record {
    number: u64,
    query: Query,
    answer: Option<Answer>,
    /// What became of it, when a local resolver was asked.
    passage: Option<Passage>,
    /// The queries for which it was asked, when a local resolver asked it.
    askers: Vec<u64>,
}

/// A request that gave a proxy the address of a name.
#[derive(Debug)]
struct Proof<'a> {
    session: &'a ProxySession,
    /// When that address was answered.
    answered_at: Option<Timestamp>,
}

/// What makes something a finding.
#[derive(Debug)]
struct Case<'a> {
    kind: FindingKind,
    confidence: Confidence,
    /// The name, or the address when there is no one name.
    name: String,
    /// Who did it; that of the first query when there is one.
    actor: Option<Actor>,
    /// The request to a proxy that it is about.
    session: Option<&'a ProxySession>,
    proof: Option<Proof<'a>>,
    /// More evidence.
    pieces: Vec<Timed>,
}

/// Stands for whoever it was, where the kernel could not tell.
const NOBODY: ProcessId = ProcessId {
    pid: 0,
    started_ns: None,
};

/// A request to a proxy that waits for its reply.
#[derive(Debug)]
struct Session {
    cookie: u64,
    session: ProxySession,
    /// Whose it is, while nothing has told yet that there is a proxy at the other end.
    unproven: Option<Who>,
}

/// The state machine.
#[derive(Debug)]
pub struct Detector {
    records: LruCache<u64, Record>,
    pending: HashMap<Arc<PendingKey>, u64>,
    /// The same by number, so in the order of asking, with when the wait is over.
    open: BTreeMap<u64, (Timestamp, Option<Arc<PendingKey>>)>,
    /// Since when, and how many queries had to be given up before their time.
    unfollowed: Option<(Timestamp, u64)>,
    apps: LruCache<ProcessId, AppState>,
    sessions: VecDeque<Session>,
    /// Those that were said without a reply, to what is not known to be a proxy: a late reply still tells.
    unanswered: VecDeque<Session>,
    locals: LruCache<ProcessId, Resolving>,
    /// Questions over Unix sockets, by when they are judged as they are.
    unsettled: BTreeSet<(Timestamp, u64)>,
    /// When events were lost last: none had been until the first of the two times.
    lost: Option<(Timestamp, Timestamp)>,
    counts: Counts,
    queries: u64,
    findings: u64,
    leaks: u64,
    grown_at: Timestamp,
}

impl Default for Detector {
    fn default() -> Self {
        Self {
            records: LruCache::new(MAX_QUERIES),
            pending: HashMap::new(),
            open: BTreeMap::new(),
            unfollowed: None,
            apps: LruCache::new(MAX_APPS),
            sessions: VecDeque::new(),
            unanswered: VecDeque::new(),
            locals: LruCache::new(MAX_LOCALS),
            unsettled: BTreeSet::new(),
            lost: None,
            counts: Counts::default(),
            queries: 0,
            findings: 0,
            leaks: 0,
            grown_at: Timestamp::default(),
        }
    }
}

impl Detector {
    /// Takes a message and who is behind it, with the resolver of this machine that hears it when it is a question to one.
    pub fn message(
        &mut self,
        message: &Message,
        who: Option<&Who>,
        local: Option<&Local>,
    ) -> Vec<Report> {
        let mut out = Vec::new();
        match &message.payload {
            Payload::Dns(transport, dns) if dns.answer.is_none() => {
                for question in &dns.questions {
                    let asked = Asked {
                        at: message.at,
                        question,
                        transport: *transport,
                        resolver: Resolver {
                            addr: message.peer.ip().into(),
                            port: message.peer.port(),
                            interface: message.interface.clone(),
                            process: None,
                        },
                        escaped: message.escaped,
                        key: Some(Arc::new(PendingKey {
                            cookie: message.cookie,
                            peer: message.peer,
                            id: dns.id,
                            question: question.clone(),
                        })),
                    };
                    self.question(asked, who, local, &mut out);
                }
            }
            Payload::Dns(_, dns) => self.answer(message, dns, &mut out),
            Payload::ProxyRequest(request) => self.request(message, request, who, &mut out),
            Payload::ProxyReply(reply) => self.reply(message, *reply, who, &mut out),
            Payload::NoProxy => self.no_proxy(message.cookie),
            Payload::Undecoded => self.counts.undecoded(),
        }
        out
    }

    /// Whether an app is a resolver that programs of this machine ask.
    #[must_use]
    pub fn is_resolver(&self, app: &App) -> bool {
        self.locals.contains(&app.id)
    }

    /// Takes a message of a resolver that is not of interest by itself: what follows for those that asked it.
    pub fn aside(&mut self, message: &Message, who: &Who, local: Option<&Local>) -> Vec<Report> {
        self.counts.pause(true);
        let mut out = self.message(message, Some(who), local);
        self.counts.pause(false);
        let is_its_own =
            |app: &Option<Arc<App>>| app.as_ref().is_some_and(|app| app.id == who.app.id);
        out.retain(|report| match report {
            Report::Query(query) => !is_its_own(&query.app),
            Report::Finding(finding) => !is_its_own(&finding.app),
            Report::Answer(_) | Report::Proxy(_) => false,
            _ => true,
        });
        out
    }

    /// Takes what was asked of a service of this machine, with who serves.
    pub fn service(
        &mut self,
        at: Timestamp,
        service: Service,
        questions: &[Question],
        who: Option<&Who>,
        local: Option<&Local>,
    ) -> Vec<Report> {
        let mut out = Vec::new();
        for question in questions {
            let asked = Asked {
                at,
                question,
                transport: service.transport(),
                resolver: Resolver {
                    addr: ResolverAddr::Path(service.path()),
                    port: 0,
                    interface: None,
                    process: None,
                },
                escaped: false,
                key: None,
            };
            self.question(asked, who, local, &mut out);
        }
        out
    }

    /// Counts what could not be read.
    pub fn undecoded(&mut self) {
        self.counts.undecoded();
    }

    /// Takes the loss of events.
    pub fn loss(
        &mut self,
        at: Timestamp,
        events: u64,
        queries: u64,
        since: Timestamp,
    ) -> Vec<Report> {
        self.counts.lost(events);
        self.lost = Some((since, at));
        vec![Report::Loss(Loss {
            ts: at,
            events,
            queries,
            since,
            place: "ring-buffer".to_owned(),
        })]
    }

    /// Takes the passing of time: what waited too long is said as it is.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Report> {
        let mut out = Vec::new();
        if let Some((since, queries)) = self.unfollowed.take() {
            self.counts.unfollowed(queries);
            out.push(Report::Loss(Loss {
                ts: now,
                events: queries,
                queries: 0,
                since,
                place: "open-queries".to_owned(),
            }));
        }
        while let Some(entry) = self.open.first_entry()
            && entry.get().0 <= now
        {
            let (number, (deadline, key)) = entry.remove_entry();
            self.leaves(number);
            // Answers of services are not seen: that there was none is not known.
            if let Some(key) = key {
                self.pending.remove(&key);
                self.close(number, no_answer(deadline, number), &mut out);
            }
        }
        while let Some(&(due, number)) = self.unsettled.first()
            && due <= now
        {
            self.unsettled.pop_first();
            self.settle(number, now, &mut out);
            self.leaves(number);
        }
        while self
            .sessions
            .front()
            .is_some_and(|waiting| waiting.session.ts.plus(REPLY_LIMIT) <= now)
        {
            self.say_oldest_session(&mut out);
        }
        if self.grown_at.plus(GROWTH) <= now {
            self.grown_at = now;
            self.say_unsaid(now, &mut out);
        }
        out
    }

    /// Whether something leaked.
    pub fn leaked(&self) -> bool {
        self.leaks > 0
    }

    /// Ends the run: what is still open is said as it is, then the summary.
    pub fn finish(&mut self, now: Timestamp) -> Vec<Report> {
        let mut out = Vec::new();
        while !self.sessions.is_empty() {
            self.say_oldest_session(&mut out);
        }
        self.say_unsaid(now, &mut out);
        out.push(Report::Summary(self.counts.summary(now, self.findings)));
        out
    }

    /// Says the findings that changed since they were said, in the order in which they were found.
    fn say_unsaid(&mut self, now: Timestamp, out: &mut Vec<Report>) {
        let mut unsaid: Vec<Finding> = self
            .apps
            .iter_mut()
            .flat_map(|(_, app)| app.unsaid_findings(now))
            .collect();
        unsaid.sort_by_key(|finding| finding.id[1..].parse::<u64>().unwrap_or(u64::MAX));
        out.extend(
            unsaid
                .into_iter()
                .map(|finding| Report::Finding(Box::new(finding))),
        );
    }

    /// Says a query again as explained, unless it is known to be a leak.
    fn explain(&mut self, number: u64, why: &str, out: &mut Vec<Report>) {
        if self
            .records
            .peek(&number)
            .is_some_and(|record| record.query.verdict < Verdict::Explained)
        {
            self.change_verdict(number, Verdict::Explained, why, out);
        }
    }

    fn change_verdict(&mut self, number: u64, verdict: Verdict, why: &str, out: &mut Vec<Report>) {
        let Some(record) = self.records.get_mut(&number) else {
            return;
        };
        let query = &mut record.query;
        if query.verdict == verdict {
            return;
        }
        self.counts.recount(query, verdict);
        query.verdict = verdict;
        query.explanation = Some(why.to_owned());
        query.update = true;
        out.push(Report::Query(query.clone()));
    }

    /// Makes or strengthens a finding, with the queries that it is about.
    fn find(
        &mut self,
        app: ProcessId,
        numbers: &[u64],
        case: &Case<'_>,
        at: Timestamp,
        out: &mut Vec<Report>,
    ) {
        if app == NOBODY {
            self.apps.get_or_insert(NOBODY, || AppState::new(None));
        }
        let Some(app) = self.apps.get_mut(&app) else {
            return;
        };
        let records: Vec<&Record> = numbers
            .iter()
            .filter_map(|number| self.records.peek(number))
            .collect();
        let sent_on: Vec<Timed> = records
            .iter()
            .filter_map(|record| record.passage.as_ref())
            .flat_map(Passage::onward)
            .filter_map(|number| self.records.peek(number))
            .filter(|onward| onward.query.escaped && onward.passage.is_none())
            .map(evidence::of_sending_on)
            .collect();
        let next = self.findings + 1;
        let found = app.find(&records, case, &sent_on, at, next);
        if found.is_new {
            self.findings = next;
        }
        self.leaks += u64::from(found.is_new_leak);
        if let Some(finding) = found.said {
            out.push(Report::Finding(Box::new(finding)));
        }
    }

    /// The state of an app, with its newest posture.
    fn app(&mut self, who: &Who) -> &mut AppState {
        let state = self
            .apps
            .get_or_insert_mut(who.app.id, || AppState::new(Some(Arc::clone(&who.app))));
        if !Arc::ptr_eq(&state.posture, &who.posture) {
            state.posture = Arc::clone(&who.posture);
        }
        state
    }
}
