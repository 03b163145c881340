//! A question's way: asked, judged by what is known, answered or given up.

use std::{net::SocketAddr, sync::Arc};

use super::{
    ANSWER_LIMIT, Case, Detector, Local, MAX_OPEN, NOBODY, Record, Who, through::SERVICE_LIMIT,
    verdict,
};
use crate::{
    model::{Answer, Query, Report, Resolver, Transport, Verdict},
    time::Timestamp,
    wire::{
        Message,
        dns::{Address, DnsMessage, Question},
    },
};

/// What an answer is matched by: socket, resolver, transaction and question (RFC 5452 section 9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PendingKey {
    pub cookie: u64,
    pub peer: SocketAddr,
    pub id: u16,
    pub question: Question,
}

/// A question that is being asked.
#[derive(Debug)]
pub struct Asked<'a> {
    pub at: Timestamp,
    pub question: &'a Question,
    pub transport: Transport,
    pub resolver: Resolver,
    pub escaped: bool,
    /// By what its answer will be known; `None` where answers are not seen.
    pub key: Option<Arc<PendingKey>>,
}

impl Asked<'_> {
    /// As it is put out, before it is judged.
    fn query(&self, number: u64, who: Option<&Who>, local: Option<&Local>) -> Query {
        let process = local.map(|local| Arc::clone(&local.who.actor.process));
        Query {
            ts: self.at,
            id: format!("q{number}"),
            update: false,
            name: Arc::clone(&self.question.name),
            qtype: Arc::clone(&self.question.qtype),
            transport: self.transport,
            resolver: Resolver {
                process: process.clone(),
                ..self.resolver.clone()
            },
            process: who.map(|who| who.actor.clone()),
            app: who.map(|who| Arc::clone(&who.app)),
            via: process,
            escaped: self.escaped,
            verdict: Verdict::Unknown,
            explanation: None,
        }
    }
}

impl Detector {
    pub(super) fn question(
        &mut self,
        asked: Asked<'_>,
        who: Option<&Who>,
        local: Option<&Local>,
        out: &mut Vec<Report>,
    ) {
        if asked
            .key
            .as_ref()
            .is_some_and(|key| self.pending.contains_key(key))
        {
            // Sent again because no answer came: the same query.
            return;
        }
        self.queries += 1;
        let number = self.queries;
        let mut query = asked.query(number, who, local);
        let Asked { at, key, .. } = asked;
        let askers = who.map_or_else(Vec::new, |who| self.askers_of(number, &query, who));
        // A question to a resolver of this machine is judged by what that makes of it.
        let special = verdict::special(&query.name).filter(|_| query.escaped || local.is_some());
        let ruling = match who {
            Some(who) => {
                let app = self.app(who);
                app.asked(number, &query.name);
                let ruling = special.unwrap_or_else(|| verdict::rule(app, &query));
                self.rule_for_others(who, &askers, ruling)
            }
            None => special.unwrap_or_else(verdict::nobody),
        };
        let (passage, ruling) = match local {
            Some(local) => {
                let (passage, ruling) = self.enters(number, &query, local, ruling);
                (Some(passage), ruling)
            }
            None => (None, ruling),
        };
        query.verdict = ruling.verdict;
        query.explanation = Some(ruling.explanation);
        self.counts.count(&query);
        out.push(Report::Query(query.clone()));
        let app = query.app.as_ref().map_or(NOBODY, |app| app.id);
        let name = Arc::clone(&query.name);
        self.records.put(
            number,
            Record {
                number,
                query,
                answer: None,
                passage,
                askers: askers.clone(),
            },
        );
        if let Some((kind, confidence)) = ruling.leak {
            let case = Case {
                kind,
                confidence,
                name: name.to_string(),
                actor: None,
                session: None,
                proof: None,
                pieces: Vec::new(),
            };
            self.find(app, &[number], &case, at, out);
        }
        for asker in askers {
            self.sent_on(asker, number, at, 0, out);
        }
        self.entered(number, at, out);
        match &key {
            Some(key) => {
                self.pending.insert(Arc::clone(key), number);
            }
            None => {
                self.unsettled.insert((at.plus(SERVICE_LIMIT), number));
                if self.unsettled.len() > MAX_OPEN {
                    self.unsettled.pop_first();
                }
            }
        }
        self.open.insert(number, (at.plus(ANSWER_LIMIT), key));
        if self.open.len() > MAX_OPEN
            && let Some((number, (_, key))) = self.open.pop_first()
        {
            self.leaves(number);
            if let Some(key) = key {
                self.pending.remove(&key);
                self.unfollowed(at);
            }
        }
    }

    /// A query whose answer cannot be waited for any longer, because too many others wait.
    fn unfollowed(&mut self, at: Timestamp) {
        let (since, queries) = self.unfollowed.get_or_insert((at, 0));
        *since = (*since).min(at);
        *queries += 1;
    }

    pub(super) fn answer(&mut self, message: &Message, dns: &DnsMessage, out: &mut Vec<Report>) {
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
            self.learns(number, message.at, answer);
            self.close(number, said, out);
            self.settle(number, message.at, out);
            self.leaves(number);
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
    pub(super) fn close(&mut self, number: u64, answer: Answer, out: &mut Vec<Report>) {
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
}

pub fn no_answer(at: Timestamp, number: u64) -> Answer {
    Answer {
        ts: at,
        query: format!("q{number}"),
        rcode: "timeout".to_owned(),
        addresses: Vec::new(),
        latency_us: None,
    }
}
