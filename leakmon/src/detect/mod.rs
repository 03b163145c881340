//! From what was said on the wire, by whom, and what they had been told, to verdicts.
//!
//! Deterministic: no clock and no I/O. Time is the events', and a tick is an event.

mod app;
mod evidence;
#[cfg(test)]
mod properties;
mod summary;
#[cfg(test)]
mod tests;
mod verdict;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use lru::LruCache;

use self::{app::AppState, summary::Counts};
use crate::{
    model::{
        Actor, Answer, App, Confidence, Finding, FindingKind, Loss, ProcessId, ProxySession, Query,
        Report, Resolver, Transport, Verdict,
    },
    posture::Posture,
    time::Timestamp,
    wire::{
        Message, Payload,
        dns::{Address, DnsMessage, Question},
        proxy::{Reply, Request},
    },
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
    query: Query,
    answer: Option<Answer>,
}

/// A request that gave a proxy the address of a name.
#[derive(Debug)]
struct Proof<'a> {
    session: &'a ProxySession,
    /// When that address was answered.
    answered_at: Option<Timestamp>,
}

/// What makes queries a leak.
#[derive(Debug)]
struct Case<'a> {
    kind: FindingKind,
    confidence: Confidence,
    proof: Option<Proof<'a>>,
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

/// What an answer is matched by: socket, resolver, transaction and question (RFC 5452 section 9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PendingKey {
    cookie: u64,
    peer: SocketAddr,
    id: u16,
    question: Question,
}

/// The state machine.
#[derive(Debug)]
pub struct Detector {
    records: LruCache<u64, Record>,
    pending: HashMap<PendingKey, u64>,
    /// The same by number, so in the order of asking, with when the wait is over.
    open: BTreeMap<u64, (Timestamp, PendingKey)>,
    /// Since when, and how many queries had to be given up before their time.
    unfollowed: Option<(Timestamp, u64)>,
    apps: LruCache<ProcessId, AppState>,
    sessions: VecDeque<Session>,
    /// Those that were said without a reply, to what is not known to be a proxy: a late reply still tells.
    unanswered: VecDeque<Session>,
    counts: Counts,
    queries: u64,
    findings: u64,
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
            counts: Counts::default(),
            queries: 0,
            findings: 0,
        }
    }
}

impl Detector {
    /// Takes a message and who is behind it.
    pub fn message(&mut self, message: &Message, who: Option<&Who>) -> Vec<Report> {
        let mut out = Vec::new();
        match &message.payload {
            Payload::Dns(transport, dns) if dns.answer.is_none() => {
                for question in &dns.questions {
                    self.question(message, *transport, dns.id, question, who, &mut out);
                }
            }
            Payload::Dns(_, dns) => self.answer(message, dns, &mut out),
            Payload::ProxyRequest(request) => self.request(message, request, who, &mut out),
            Payload::ProxyReply(reply) => self.reply(message, *reply, who, &mut out),
            Payload::NoProxy => {
                for sessions in [&mut self.sessions, &mut self.unanswered] {
                    sessions.retain(|session| session.cookie != message.cookie);
                }
            }
            Payload::Undecoded => self.counts.undecoded(),
        }
        out
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
            self.counts.lost(queries);
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
            self.pending.remove(&key);
            self.close(number, no_answer(deadline, number), &mut out);
        }
        while self
            .sessions
            .front()
            .is_some_and(|waiting| waiting.session.ts.plus(REPLY_LIMIT) <= now)
        {
            self.say_oldest_session(&mut out);
        }
        out
    }

    /// Whether there is a finding.
    pub fn leaked(&self) -> bool {
        self.findings > 0
    }

    /// Ends the run: what is still open is said as it is, then the summary.
    pub fn finish(&mut self, now: Timestamp) -> Vec<Report> {
        let mut out = Vec::new();
        while !self.sessions.is_empty() {
            self.say_oldest_session(&mut out);
        }
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
        out.push(Report::Summary(self.counts.summary(now, self.findings)));
        out
    }

    /// Nothing came back yet. Silence proves nothing: there may be no proxy at the other end, or a slow one.
    fn say_oldest_session(&mut self, out: &mut Vec<Report>) {
        let Some(waiting) = self.sessions.pop_front() else {
            return;
        };
        out.push(Report::Proxy(waiting.session.clone()));
        if waiting.unproven.is_some() {
            if self.unanswered.len() == MAX_SESSIONS {
                self.unanswered.pop_front();
            }
            self.unanswered.push_back(waiting);
        }
    }

    fn question(
        &mut self,
        message: &Message,
        transport: Transport,
        id: u16,
        question: &Question,
        who: Option<&Who>,
        out: &mut Vec<Report>,
    ) {
        let key = PendingKey {
            cookie: message.cookie,
            peer: message.peer,
            id,
            question: question.clone(),
        };
        if self.pending.contains_key(&key) {
            // Sent again because no answer came: the same query.
            return;
        }
        self.queries += 1;
        let number = self.queries;
        let mut query = Query {
            ts: message.at,
            id: format!("q{number}"),
            update: false,
            name: question.name.clone(),
            qtype: question.qtype.clone(),
            transport,
            resolver: Resolver {
                addr: message.peer.ip(),
                port: message.peer.port(),
                interface: message.interface.clone(),
                process: None,
            },
            process: who.map(|who| who.actor.clone()),
            app: who.map(|who| Arc::clone(&who.app)),
            via: None,
            escaped: message.escaped,
            verdict: Verdict::Unknown,
            explanation: None,
        };
        let special = verdict::special(&query);
        let ruling = match who {
            Some(who) => {
                let app = self.app(who);
                app.asked(number, &question.name);
                special.unwrap_or_else(|| verdict::rule(app, &query))
            }
            None => special.unwrap_or_else(verdict::nobody),
        };
        query.verdict = ruling.verdict;
        query.explanation = Some(ruling.explanation);
        self.counts.count(&query);
        out.push(Report::Query(query.clone()));
        self.records.put(
            number,
            Record {
                query,
                answer: None,
            },
        );
        if let Some((kind, confidence)) = ruling.leak {
            let app = who.map_or(NOBODY, |who| who.app.id);
            self.apps.get_or_insert_mut(app, || AppState::new(None));
            let case = Case {
                kind,
                confidence,
                proof: None,
            };
            self.find(app, &[number], &case, message.at, out);
        }
        self.pending.insert(key.clone(), number);
        self.open
            .insert(number, (message.at.plus(ANSWER_LIMIT), key));
        if self.open.len() > MAX_OPEN
            && let Some((_, (_, key))) = self.open.pop_first()
        {
            self.pending.remove(&key);
            self.unfollowed(message.at);
        }
    }

    /// A query whose answer cannot be waited for any longer, because too many others wait.
    fn unfollowed(&mut self, at: Timestamp) {
        let (since, queries) = self.unfollowed.get_or_insert((at, 0));
        *since = (*since).min(at);
        *queries += 1;
    }

    fn answer(&mut self, message: &Message, dns: &DnsMessage, out: &mut Vec<Report>) {
        let Some(answer) = &dns.answer else { return };
        for question in &dns.questions {
            let key = PendingKey {
                cookie: message.cookie,
                peer: message.peer,
                id: dns.id,
                question: question.clone(),
            };
            let Some(number) = self.pending.remove(&key) else {
                continue;
            };
            self.open.remove(&number);
            let asked = self.records.peek(&number).map(|record| record.query.ts);
            let latency = asked.map(|asked| message.at.since(asked).as_micros());
            let said = Answer {
                ts: message.at,
                query: format!("q{number}"),
                rcode: answer.rcode.clone(),
                addresses: answer
                    .addresses
                    .iter()
                    .map(|address| address.addr)
                    .collect(),
                latency_us: latency.and_then(|latency| u64::try_from(latency).ok()),
            };
            self.remember_addresses(number, message.at, &answer.addresses);
            self.close(number, said, out);
        }
    }

    fn remember_addresses(&mut self, number: u64, at: Timestamp, addresses: &[Address]) {
        let Some(record) = self.records.peek(&number) else {
            return;
        };
        let Some(app) = record
            .query
            .app
            .as_ref()
            .and_then(|app| self.apps.get_mut(&app.id))
        else {
            return;
        };
        for address in addresses {
            app.answered(number, &record.query.name, at, *address);
        }
    }

    /// Says what became of a query.
    fn close(&mut self, number: u64, answer: Answer, out: &mut Vec<Report>) {
        out.push(Report::Answer(answer.clone()));
        let Some(record) = self.records.get_mut(&number) else {
            return;
        };
        record.answer = Some(answer);
        if record.query.verdict == Verdict::Leak
            && let Some(app) = record
                .query
                .app
                .as_ref()
                .and_then(|app| self.apps.get_mut(&app.id))
        {
            app.add_answer(record);
        }
    }

    fn request(
        &mut self,
        message: &Message,
        request: &Request,
        who: Option<&Who>,
        out: &mut Vec<Report>,
    ) {
        let session = ProxySession {
            ts: message.at,
            process: who.map(|who| who.actor.clone()),
            app: who.map(|who| Arc::clone(&who.app)),
            proxy: message.peer.into(),
            protocol: request.protocol,
            command: request.command.clone(),
            target: request.target.clone(),
            accepted: None,
        };
        let mut unproven = None;
        if let Some(who) = who {
            if self.app(who).knows_proxy(session.proxy) {
                self.is_proxied(who, &session, out);
            } else {
                unproven = Some(who.clone());
            }
        }
        self.sessions.push_back(Session {
            cookie: message.cookie,
            session,
            unproven,
        });
        if self.sessions.len() > MAX_SESSIONS {
            self.say_oldest_session(out);
        }
    }

    /// A request was made of what is a proxy: what follows for the names that were looked up before.
    fn is_proxied(&mut self, who: &Who, session: &ProxySession, out: &mut Vec<Report>) {
        let app = self.app(who);
        app.spoke(session);
        let possible = session
            .target
            .addr
            .map(|addr| app.lookups_of(addr, session.ts))
            .unwrap_or_default();
        let mut proxy_names = app.lookups_of(session.proxy.addr, session.ts);
        proxy_names.retain(|(_, name)| possible.iter().all(|(_, other)| other != name));
        app.add_proxy_names(&proxy_names);
        for (number, _) in proxy_names {
            self.explain(number, "the proxy's own name", out);
        }
        self.prove(who, session, &possible, out);
    }

    /// The proxy was given an address: the names that were answered with it are proven to have leaked, when there is
    /// one such name only.
    fn prove(
        &mut self,
        who: &Who,
        session: &ProxySession,
        possible: &[(u64, String)],
        out: &mut Vec<Report>,
    ) {
        let Some((latest, name)) = possible.last() else {
            return;
        };
        if possible.iter().any(|(_, other)| other != name) {
            let mut names: Vec<&str> = possible.iter().map(|(_, name)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            self.app(who).add_ambiguous(session, &names);
            return;
        }
        // Whoever asked for AAAA and was given the address of an A told the resolver the name twice.
        let told = self.app(who).queries_of(name);
        for &number in &told {
            let why = format!(
                "then gave {} the name's address instead of the name",
                session.proxy
            );
            self.change_verdict(number, Verdict::Leak, &why, out);
        }
        let proof = Proof {
            session,
            answered_at: self
                .records
                .peek(latest)
                .and_then(|record| record.answer.as_ref())
                .map(|answer| answer.ts),
        };
        let case = Case {
            kind: FindingKind::SelfResolution,
            confidence: Confidence::Proven,
            proof: Some(proof),
        };
        self.find(who.app.id, &told, &case, session.ts, out);
    }

    fn reply(&mut self, message: &Message, reply: Reply, who: Option<&Who>, out: &mut Vec<Report>) {
        if let Some(who) = who {
            self.app(who).answers_like_a_proxy(message.peer.into());
        }
        let is_it = |waiting: &Session| waiting.cookie == message.cookie;
        let Some(index) = self.sessions.iter().position(is_it) else {
            if let Some(index) = self.unanswered.iter().position(is_it)
                && let Some(late) = self.unanswered.remove(index)
                && let Some(who) = late.unproven
            {
                self.is_proxied(&who, &late.session, out);
            }
            return;
        };
        let unproven = self.sessions.get_mut(index).and_then(|waiting| {
            let who = waiting.unproven.take()?;
            Some((who, waiting.session.clone()))
        });
        if let Some((who, session)) = unproven {
            self.is_proxied(&who, &session, out);
        }
        if reply.accepted.is_some()
            && let Some(Session { mut session, .. }) = self.sessions.remove(index)
        {
            session.accepted = reply.accepted;
            out.push(Report::Proxy(session));
        }
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

    /// Makes or strengthens the finding about the name that these queries asked for.
    fn find(
        &mut self,
        app: ProcessId,
        numbers: &[u64],
        case: &Case<'_>,
        at: Timestamp,
        out: &mut Vec<Report>,
    ) {
        let Some(app) = self.apps.get_mut(&app) else {
            return;
        };
        let records: Vec<&Record> = numbers
            .iter()
            .filter_map(|number| self.records.peek(number))
            .collect();
        let next = self.findings + 1;
        let (finding, is_new) = app.find(&records, case, at, next);
        if is_new {
            self.findings = next;
        }
        if let Some(finding) = finding {
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

fn no_answer(at: Timestamp, number: u64) -> Answer {
    Answer {
        ts: at,
        query: format!("q{number}"),
        rcode: "timeout".to_owned(),
        addresses: Vec::new(),
        latency_us: None,
    }
}
