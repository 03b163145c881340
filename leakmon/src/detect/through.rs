//! Looking through local resolvers: whoever asks one is the asker of what it asks on.
//!
//! A question to a resolver of this machine is a *passage*: it waits until the resolver is seen to ask on for the same
//! name, until it answers without, or until too much time went by.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;

use super::{Case, Detector, Record, Who, app::LEAST_LIFE, verdict::Ruling};
use crate::{
    model::{ProcessId, Query, Report, Verdict},
    posture::Posture,
    time::Timestamp,
    wire::dns::{Address, DnsAnswer},
};

/// Names remembered of one resolver.
const MAX_NAMES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Questions for one name that wait at the same time, and addresses remembered of one name.
const MAX_EACH: usize = 64;
/// Resolvers that ask resolvers that ask resolvers.
const MAX_DEPTH: usize = 4;
/// How long a question over a Unix socket, of which no answer is seen, is given to be sent on.
pub const SERVICE_LIMIT: Duration = Duration::from_secs(2);
/// Of several such questions for one name, those that are older than the newest by this had been answered when it came.
const SERVICE_ANSWERS: Duration = Duration::from_millis(250);

/// A resolver of this machine that hears a question.
#[derive(Clone, Debug)]
pub struct Local {
    /// Who it is.
    pub who: Who,
    /// Whether what it asks itself is within what is watched.
    pub watched: bool,
}

/// What became of a question to a local resolver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// Nothing yet.
    Waiting,
    /// The resolver sent it on, out of the machine.
    Out,
    /// It told nobody, or nobody who may not know: in words.
    Stayed(String),
    /// It was answered, and what for is not known.
    Unseen,
}

/// A question to a local resolver.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The resolver's app.
    resolver: ProcessId,
    /// The verdict, if the question is sent on.
    ruling: Ruling,
    passed: Passed,
    /// What the resolver asked for it.
    onward: Vec<u64>,
    /// The names under which it waits: its own, and those that this one stands for.
    names: Vec<Arc<str>>,
}

impl Passage {
    /// What was asked for it.
    pub fn onward(&self) -> &[u64] {
        &self.onward
    }
}

/// What is known of one local resolver.
#[derive(Debug)]
pub struct Resolving {
    who: Who,
    /// It was seen to ask another machine in the clear.
    plain: bool,
    /// Name → the questions to it that wait.
    waiting: LruCache<Arc<str>, Vec<u64>>,
    /// Name → its own questions that are not answered.
    asking: LruCache<Arc<str>, Vec<u64>>,
    /// Name → what it was answered.
    learnt: LruCache<Arc<str>, Vec<(Address, Timestamp)>>,
}

impl Resolving {
    fn new(who: &Who) -> Self {
        Self {
            who: who.clone(),
            plain: false,
            waiting: LruCache::new(MAX_NAMES),
            asking: LruCache::new(MAX_NAMES),
            learnt: LruCache::new(MAX_NAMES),
        }
    }

    fn words(&self) -> String {
        format!("{} ({})", self.who.app.name, self.who.app.pid)
    }

    /// The addresses that it had learnt of a name by then and might still use.
    fn learnt(&mut self, name: &str, at: Timestamp) -> Vec<Address> {
        let known = self.learnt.get(name).into_iter().flatten();
        known
            .filter(|(address, since)| *since <= at && since.plus(life(*address)) >= at)
            .map(|(address, _)| *address)
            .collect()
    }
}

/// Resolvers keep answers for their time to live, and a zero for no time at all.
fn life(address: Address) -> Duration {
    Duration::from_secs(address.ttl.into())
}

impl Detector {
    /// A question to a local resolver begins its way. The ruling that holds until more is known.
    pub(super) fn enters(
        &mut self,
        number: u64,
        query: &Query,
        local: &Local,
        ruling: Ruling,
    ) -> (Passage, Ruling) {
        let name = &query.name;
        let resolver = local.who.app.id;
        let state = self
            .locals
            .get_or_insert_mut(resolver, || Resolving::new(&local.who));
        state.who.posture = Arc::clone(&local.who.posture);
        let words = state.words();
        push(&mut state.waiting, name, number);
        let mut onward = state.asking.get(name).cloned().unwrap_or_default();
        onward.retain(|onward| {
            let record = self.records.peek(onward);
            record.is_some_and(|record| record.query.qtype == query.qtype)
        });
        let mut passage = Passage {
            resolver,
            ruling: ruling.clone(),
            passed: Passed::Waiting,
            onward,
            names: vec![name.to_owned()],
        };
        if ruling.leak.is_none() {
            return (passage, ruling);
        }
        if is_tor(&local.who) {
            let why = format!("asked {words}, which has it resolved inside its network (DNSPort)");
            passage.passed = Passed::Stayed(why.clone());
            return (passage, Ruling::new(Verdict::Explained, why));
        }
        if !local.watched {
            passage.passed = Passed::Unseen;
            let explanation = format!(
                "{}, of {words}, which is outside of what is watched: whether it sent it on is not known",
                ruling.explanation
            );
            // A name that must never leave has not been seen to.
            let ruling = if ruling.is_special() {
                Ruling::new(Verdict::Unknown, explanation)
            } else {
                Ruling {
                    explanation,
                    ..ruling
                }
            };
            return (passage, ruling);
        }
        let why =
            format!("asked {words} of this machine, which was not seen to send it on until now");
        (passage, Ruling::new(Verdict::Unknown, why))
    }

    /// What a question to a local resolver has at once: what it asks already for somebody else, and what it has learnt.
    pub(super) fn entered(&mut self, number: u64, at: Timestamp, out: &mut Vec<Report>) {
        let Some((passage, name)) = self.passage(number) else {
            return;
        };
        for onward in passage.onward {
            if let Some(record) = self.records.get_mut(&onward)
                && !record.askers.contains(&number)
            {
                record.askers.push(number);
            }
            self.sent_on(number, onward, at, 0, out);
        }
        let learnt = self
            .locals
            .get_mut(&passage.resolver)
            .map(|state| state.learnt(&name, at))
            .unwrap_or_default();
        self.hears(number, at, &learnt);
    }

    /// The questions that a local resolver asks this one for: those for its name that wait, of its type if there are such. It
    /// is remembered until it is answered.
    pub(super) fn askers_of(&mut self, number: u64, query: &Query, who: &Who) -> Vec<u64> {
        let Some(state) = self.locals.get_mut(&who.app.id) else {
            return Vec::new();
        };
        state.plain |= query.escaped;
        push(&mut state.asking, &query.name, number);
        // One label may be looked for below the domains of a search list (resolv.conf(5)).
        let first = query.name.split('.').next().unwrap_or_default();
        let waiting = if state.waiting.contains(&query.name) {
            state.waiting.get(&query.name)
        } else {
            state.waiting.get(first)
        };
        let mut askers: Vec<&Record> = waiting
            .into_iter()
            .flatten()
            .filter_map(|asker| self.records.peek(asker))
            .collect();
        let is_of_type = |record: &&Record| record.query.qtype == query.qtype;
        if askers.iter().any(is_of_type) {
            askers.retain(is_of_type);
        }
        if let Some(newest) = askers.iter().map(|record| record.query.ts).max() {
            askers.retain(|record| {
                !record.query.transport.is_service()
                    || record.query.ts.plus(SERVICE_ANSWERS) >= newest
            });
        }
        askers.iter().map(|record| record.number).collect()
    }

    /// The ruling on a question that a local resolver asks: it asks for others.
    pub(super) fn rule_for_others(&self, who: &Who, askers: &[u64], ruling: Ruling) -> Ruling {
        let Some(state) = self.locals.peek(&who.app.id) else {
            return ruling;
        };
        let own_leak =
            ruling.leak.is_some() && (who.posture.proxies_everything() || askers.is_empty());
        if own_leak {
            return ruling;
        }
        let mut names: Vec<String> = askers
            .iter()
            .filter_map(|number| self.records.peek(number))
            .map(|record| match (&record.query.app, &record.query.process) {
                (Some(app), Some(actor)) => format!("{} ({})", app.name, actor.process.pid),
                _ => "somebody who is not known".to_owned(),
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            if ruling.verdict == Verdict::Explained {
                return ruling;
            }
            let why = format!(
                "{} is a resolver of this machine, and asked for nobody that was seen: to refresh what it knows, or for somebody else",
                state.words()
            );
            return Ruling::new(Verdict::Explained, why);
        }
        Ruling::new(
            Verdict::Explained,
            format!("{} asked for {}", state.words(), names.join(" and ")),
        )
    }

    /// A local resolver asked on: what that is for those it asked for.
    pub(super) fn sent_on(
        &mut self,
        asker: u64,
        onward: u64,
        at: Timestamp,
        depth: usize,
        out: &mut Vec<Report>,
    ) {
        if depth == MAX_DEPTH || asker == onward {
            return;
        }
        let Some(upstream) = self.records.peek(&onward) else {
            return;
        };
        let escaped = upstream.query.escaped && upstream.passage.is_none();
        // A resolver that asked another one, which may have asked on already.
        let further = upstream
            .passage
            .as_ref()
            .map(|passage| passage.onward.clone())
            .unwrap_or_default();
        let Some(record) = self.records.get_mut(&asker) else {
            return;
        };
        let Some(passage) = &mut record.passage else {
            return;
        };
        if !passage.onward.contains(&onward) && passage.onward.len() < MAX_EACH {
            passage.onward.push(onward);
        }
        if !escaped {
            for further in further {
                self.sent_on(asker, further, at, depth + 1, out);
            }
            return;
        }
        let is_news = passage.passed != Passed::Out;
        passage.passed = Passed::Out;
        let ruling = passage.ruling.clone();
        let app = record
            .query
            .app
            .as_ref()
            .map_or(super::NOBODY, |app| app.id);
        let name = record.query.name.clone();
        let actor = record.query.process.clone();
        let above = record.askers.clone();
        if is_news {
            let was_leak = record.query.verdict == Verdict::Leak;
            record.query.escaped = true;
            record.query.update = true;
            if !was_leak && ruling.leak.is_some() {
                self.counts.recount(&record.query, ruling.verdict);
                record.query.verdict = ruling.verdict;
                record.query.explanation = Some(ruling.explanation);
            }
            out.push(Report::Query(record.query.clone()));
        }
        if let Some((kind, confidence)) = ruling.leak {
            let case = Case {
                kind,
                confidence,
                name: name.to_string(),
                actor,
                session: None,
                proof: None,
                pieces: Vec::new(),
            };
            self.find(app, &[asker], &case, at, out);
        }
        for above in above {
            self.sent_on(above, onward, at, depth + 1, out);
        }
    }

    /// A local resolver was answered: it knows the addresses now, and so do those that asked for them.
    pub(super) fn learns(&mut self, number: u64, at: Timestamp, answer: &DnsAnswer) {
        let Some(record) = self.records.peek(&number) else {
            return;
        };
        let (name, qtype) = (record.query.name.clone(), record.query.qtype.clone());
        let askers = record.askers.clone();
        let Some(resolver) = record.query.app.as_ref().map(|app| app.id) else {
            return;
        };
        let mut names = vec![name.clone()];
        names.extend(
            askers
                .iter()
                .filter_map(|asker| self.records.peek(asker))
                .map(|record| record.query.name.clone()),
        );
        let Some(state) = self.locals.get_mut(&resolver) else {
            return;
        };
        if let Some(asking) = state.asking.get_mut(&name) {
            asking.retain(|&other| other != number);
        }
        names.sort_unstable();
        names.dedup();
        for known in names {
            let learnt = state.learnt.get_or_insert_mut(known, Vec::new);
            learnt.retain(|(address, since)| since.plus(life(*address)) >= at);
            for address in &answer.addresses {
                if learnt.len() < MAX_EACH {
                    learnt.push((*address, at));
                }
            }
        }
        // The name that this one stands for may be asked for by itself.
        for alias in &answer.aliases {
            for &asker in &askers {
                push(&mut state.waiting, &alias.as_str().into(), asker);
            }
        }
        let goes_on = answer.addresses.is_empty() && !answer.aliases.is_empty();
        for asker in askers {
            self.hears(asker, at, &answer.addresses);
            let Some(record) = self.records.get_mut(&asker) else {
                continue;
            };
            if let Some(passage) = &mut record.passage {
                let aliases = answer.aliases.iter().map(|alias| alias.as_str().into());
                passage.names.extend(aliases);
                passage.names.truncate(MAX_EACH);
            }
            if !goes_on && record.query.transport.is_service() && record.query.qtype == qtype {
                // Its answer is not seen, and is on its way now.
                self.leaves(asker);
            }
        }
    }

    /// Whoever asked a service, whose answers are not seen, may use these addresses.
    fn hears(&mut self, number: u64, at: Timestamp, addresses: &[Address]) {
        let Some(record) = self.records.peek(&number) else {
            return;
        };
        if !record.query.transport.is_service() {
            return;
        }
        let Some(app) = record
            .query
            .app
            .as_ref()
            .and_then(|app| self.apps.get_mut(&app.id))
        else {
            return;
        };
        for &address in addresses {
            app.answered(number, &record.query.name, at, address);
        }
    }

    /// A question to a local resolver was answered, or has waited long enough: what is known of it by now.
    pub(super) fn settle(&mut self, number: u64, at: Timestamp, out: &mut Vec<Report>) {
        let passed = self.fate(number, at, 0);
        let Some(record) = self.records.get_mut(&number) else {
            return;
        };
        let Some(passage) = &mut record.passage else {
            return;
        };
        if passage.passed != Passed::Waiting || passed == Passed::Waiting {
            return;
        }
        passage.passed = passed.clone();
        let Some((kind, confidence)) = passage.ruling.leak else {
            return;
        };
        match passed {
            Passed::Stayed(why) => {
                self.change_verdict(number, Verdict::Explained, &why, out);
            }
            Passed::Unseen if !passage.ruling.is_special() => {
                let resolver = self.locals.peek(&passage.resolver);
                let words = resolver.map_or_else(|| "a resolver".to_owned(), Resolving::words);
                let why = format!(
                    "{}, of {words}; whether that sent it on is not known: it was not seen to ask anybody in the clear",
                    passage.ruling.explanation
                );
                let app = record
                    .query
                    .app
                    .as_ref()
                    .map_or(super::NOBODY, |app| app.id);
                let case = Case {
                    kind,
                    confidence,
                    name: record.query.name.to_string(),
                    actor: record.query.process.clone(),
                    session: None,
                    proof: None,
                    pieces: Vec::new(),
                };
                self.change_verdict(number, Verdict::Leak, &why, out);
                self.find(app, &[number], &case, at, out);
            }
            // A name that must never leave has not been seen to.
            Passed::Waiting | Passed::Out | Passed::Unseen => {}
        }
    }

    /// Why a question is known to have told nobody who may not know, when it is.
    pub(super) fn stayed(&self, number: u64) -> Option<String> {
        match &self.records.peek(&number)?.passage.as_ref()?.passed {
            Passed::Stayed(why) => Some(why.clone()),
            _ => None,
        }
    }

    /// What became of a question that was answered.
    fn fate(&mut self, number: u64, at: Timestamp, depth: usize) -> Passed {
        let Some((passage, name)) = self.passage(number) else {
            // No resolver of this machine that is known was asked.
            return Passed::Unseen;
        };
        if passage.passed != Passed::Waiting || depth == MAX_DEPTH {
            return passage.passed;
        }
        let asked = self.records.peek(&number).map(|record| record.query.ts);
        let is_lossless = asked.is_some_and(|asked| !self.lost_since(asked));
        // What it asked on within the machine.
        let mut stayed = None;
        for onward in passage.onward {
            match self.fate(onward, at, depth + 1) {
                Passed::Stayed(why) => stayed = Some(why),
                other => return other,
            }
        }
        if let Some(why) = stayed {
            return Passed::Stayed(why);
        }
        let Some(state) = self.locals.get_mut(&passage.resolver) else {
            return Passed::Unseen;
        };
        let words = state.words();
        if is_tor(&state.who) {
            return Passed::Stayed(format!(
                "{words} has it resolved inside its network (DNSPort)"
            ));
        }
        if !state.learnt(&name, asked.unwrap_or(at)).is_empty() {
            return Passed::Stayed(format!(
                "contained: answered by {words} from what it had learnt before"
            ));
        }
        let posture: &Posture = &state.who.posture;
        if posture.proxies_everything()
            && let Some(proxy) = posture.proxy()
        {
            return Passed::Stayed(format!(
                "answered by {words}, which reaches its own servers through {proxy}"
            ));
        }
        if state.plain && is_lossless {
            return Passed::Stayed(format!(
                "contained, as far as is seen: answered by {words}, which was not seen to ask anybody for it"
            ));
        }
        Passed::Unseen
    }

    /// A question waits no longer.
    pub(super) fn leaves(&mut self, number: u64) {
        let record = self.records.peek(&number);
        let Some(passage) = record.and_then(|record| record.passage.as_ref()) else {
            return;
        };
        let Some(state) = self.locals.get_mut(&passage.resolver) else {
            return;
        };
        for name in &passage.names {
            if let Some(waiting) = state.waiting.get_mut(name) {
                waiting.retain(|&other| other != number);
                if waiting.is_empty() {
                    state.waiting.pop(name);
                }
            }
        }
    }

    fn passage(&self, number: u64) -> Option<(Passage, Arc<str>)> {
        let record = self.records.peek(&number)?;
        Some((record.passage.clone()?, record.query.name.clone()))
    }

    /// Whether events were lost since then.
    fn lost_since(&self, then: Timestamp) -> bool {
        self.lost.is_some_and(|(_, at)| at >= then)
    }

    /// Whether events were lost so shortly before that what they told may still count.
    pub(super) fn lost_around(&self, at: Timestamp) -> bool {
        self.lost
            .is_some_and(|(since, until)| since <= at && at <= until.plus(LEAST_LIFE))
    }
}

/// tor answers on a DNSPort by asking its network (tor(1)).
fn is_tor(who: &Who) -> bool {
    who.actor.process.program() == Some("tor")
}

fn push(lists: &mut LruCache<Arc<str>, Vec<u64>>, name: &Arc<str>, number: u64) {
    let list = lists.get_or_insert_mut(Arc::clone(name), Vec::new);
    if list.len() < MAX_EACH && !list.contains(&number) {
        list.push(number);
    }
}
