//! What the live view knows: a bounded model of a run, fed by reports and by the time of the events. No clock, no I/O.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use serde::Serialize;

use super::chart::{Chart, Rate};
use crate::{
    model::{
        Actor, Answer, App, Finding, Loss, ProcessId, ProxySession, Query, Report, ResolverPlace,
        Setup, Summary, Verdict,
    },
    time::Timestamp,
};

/// Apps that are listed. The one that was quiet for longest gives way to a new one, and one that leaked only to another
/// when all have.
pub const MAX_APPS: usize = 512;
/// Findings that are listed, the latest.
pub const MAX_FINDINGS: usize = 2048;
/// Queries that are listed, the latest: as many as the detector still says anew.
pub const MAX_QUERIES: usize = 4096;
/// Places where events are lost.
const MAX_PLACES: usize = 8;
/// Addresses of an answer that are shown.
const MAX_ADDRESSES: usize = 4;

/// Which app; `None` stands for whoever it was, where the kernel could not tell.
pub type AppKey = Option<ProcessId>;

/// An app as a row.
#[derive(Clone, Debug)]
pub struct AppRow {
    /// Which.
    pub key: AppKey,
    /// Its name.
    pub name: Arc<str>,
    /// Path of its program, once it acted.
    pub exe: Option<String>,
    /// Its proxy, as it was told or as a finding has it.
    pub proxy: Option<String>,
    /// The proxy that answered it.
    pub seen_proxy: Option<String>,
    /// What it was told.
    pub told: Option<Arc<Setup>>,
    /// Names asked.
    pub queries: u64,
    /// Those of them that leaked.
    pub leaks: u64,
    /// Names that it left to a proxy.
    pub names_left: u64,
    /// Addresses that it gave a proxy.
    pub addresses_given: u64,
    /// When it acted last.
    pub last: Timestamp,
    rate: Rate,
}

/// A query as a row.
#[derive(Clone, Debug)]
pub struct QueryRow {
    /// Its id in the output.
    pub id: Arc<str>,
    /// When it left.
    pub ts: Timestamp,
    /// Who asked.
    pub app: AppKey,
    /// That app's name.
    pub app_name: Arc<str>,
    /// The name asked.
    pub name: Arc<str>,
    /// The type asked.
    pub qtype: Arc<str>,
    /// Who was asked.
    pub resolver: ResolverPlace,
    /// How it travelled.
    pub transport: &'static str,
    /// The interface through which it left.
    pub interface: Option<Arc<str>>,
    /// What leakmon makes of it.
    pub verdict: Verdict,
    /// Why.
    pub explanation: Option<Arc<str>>,
    /// What came back.
    pub answer: Option<Arc<str>>,
}

/// A finding as a row.
#[derive(Clone, Debug)]
pub struct FindingRow {
    /// Whose.
    pub app: AppKey,
    /// That app's name.
    pub app_name: Arc<str>,
    /// Who was asked; `None` when the query is not listed any more.
    pub resolver: Option<ResolverPlace>,
    /// All of it.
    pub finding: Arc<Finding>,
}

/// Events that were lost in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where.
    pub place: String,
    /// How many.
    pub events: u64,
    /// How many of them may have been questions.
    pub queries: u64,
    /// None had been lost until then.
    pub since: Timestamp,
}

/// Counts of the whole run, whatever fell out of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Names asked.
    pub queries: u64,
    /// Those of them that leaked.
    pub leaks: u64,
    /// Findings.
    pub findings: u64,
}

/// How many rows fell out of the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallen {
    /// Apps.
    pub apps: u64,
    /// Findings.
    pub findings: u64,
    /// Queries.
    pub queries: u64,
}

/// The model.
#[derive(Clone, Debug)]
pub struct State {
    apps: HashMap<AppKey, AppRow>,
    findings: VecDeque<FindingRow>,
    queries: VecDeque<QueryRow>,
    /// Id → number of the query; the first one listed has the number `fallen.queries`.
    numbers: HashMap<Arc<str>, u64>,
    totals: Totals,
    lost: Vec<Lost>,
    fallen: Fallen,
    recent: Chart,
    whole: Chart,
    begin: Option<Timestamp>,
    now: Timestamp,
    summary: Option<Summary>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            apps: HashMap::new(),
            findings: VecDeque::new(),
            queries: VecDeque::new(),
            numbers: HashMap::new(),
            totals: Totals::default(),
            lost: Vec::new(),
            fallen: Fallen::default(),
            recent: Chart::sliding(),
            whole: Chart::whole(),
            begin: None,
            now: Timestamp::default(),
            summary: None,
        }
    }
}

impl State {
    /// Takes a report.
    pub fn report(&mut self, report: &Report) {
        match report {
            Report::Query(query) => self.query(query),
            Report::Answer(answer) => self.answer(answer),
            Report::Proxy(session) => self.proxy(session),
            Report::Posture(setup) => self.posture(setup),
            Report::Finding(finding) => self.finding(finding),
            Report::Loss(loss) => self.loss(loss),
            Report::Summary(summary) => {
                self.tick(summary.ts);
                self.summary = Some(summary.clone());
            }
            // Only an audit says it.
            Report::Machine(_) => {}
        }
    }

    /// Time has come to `now`.
    pub fn tick(&mut self, now: Timestamp) {
        self.begin.get_or_insert(now);
        if now > self.now {
            self.now = now;
            self.recent.advance(second(now));
            self.whole.advance(second(now));
        }
    }

    /// The apps, in no order.
    pub fn apps(&self) -> impl Iterator<Item = &AppRow> {
        self.apps.values()
    }

    /// The app of that key, while it is listed.
    pub fn app(&self, key: AppKey) -> Option<&AppRow> {
        self.apps.get(&key)
    }

    /// The findings, the latest first.
    pub fn findings(&self) -> impl Iterator<Item = &FindingRow> {
        self.findings.iter().rev()
    }

    /// The queries, the latest first.
    pub fn queries(&self) -> impl Iterator<Item = &QueryRow> {
        self.queries.iter().rev()
    }

    /// Counts of the whole run.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// What was lost.
    pub fn lost(&self) -> &[Lost] {
        &self.lost
    }

    /// What fell out of the lists.
    pub fn fallen(&self) -> Fallen {
        self.fallen
    }

    /// The end of the run, once it has come.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }

    /// The time of the latest event.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Seconds from the first event to the latest.
    pub fn seconds(&self) -> u64 {
        self.begin
            .map_or(0, |begin| self.now.since(begin).as_secs())
    }

    /// Counts over time: the latest seconds while the run goes on, then all of it.
    pub fn chart(&self, most: usize) -> Vec<super::chart::Bucket> {
        if self.summary.is_some() {
            self.whole.squeezed(most)
        } else {
            self.recent.latest(most)
        }
    }

    /// Queries a second of an app: of the last ten seconds, after the end of the whole run.
    pub fn rate(&self, app: &AppRow) -> f64 {
        if self.summary.is_some() {
            return self.average(app.queries);
        }
        let begin = self.begin.map_or(0, second);
        app.rate.a_second(second(self.now), begin)
    }

    /// So many in the whole run are so many a second.
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    pub fn average(&self, count: u64) -> f64 {
        count as f64 / self.seconds().max(1) as f64
    }

    fn query(&mut self, query: &Query) {
        self.tick(query.ts);
        let key = query.app.as_ref().map(|app| app.id);
        if query.update {
            self.update(query, key);
            return;
        }
        let leaked = query.verdict == Verdict::Leak;
        self.totals.queries += 1;
        let row = self.app_row(query.app.as_deref(), query.process.as_ref(), query.ts);
        row.queries += 1;
        row.rate.add(second(query.ts));
        let app_name = Arc::clone(&row.name);
        self.count(query.ts, |bucket| bucket.queries += 1);
        if leaked {
            self.leaked(key, query.ts);
        }
        if self.queries.len() == MAX_QUERIES
            && let Some(old) = self.queries.pop_front()
        {
            self.numbers.remove(&old.id);
            self.fallen.queries += 1;
        }
        let id: Arc<str> = query.id.as_str().into();
        let number = self.fallen.queries + self.queries.len() as u64;
        self.numbers.insert(Arc::clone(&id), number);
        self.queries.push_back(QueryRow {
            id,
            ts: query.ts,
            app: key,
            app_name,
            name: Arc::clone(&query.name),
            qtype: Arc::clone(&query.qtype),
            resolver: query.resolver.place(),
            transport: query.transport.as_str(),
            interface: query.resolver.interface.as_deref().map(Into::into),
            verdict: query.verdict,
            explanation: query.explanation.as_deref().map(Into::into),
            answer: None,
        });
    }

    /// A query is said again. A verdict changes only towards a leak, so one that is not listed any more was none.
    fn update(&mut self, query: &Query, key: AppKey) {
        let mut was = None;
        if let Some(row) = self.listed(&query.id) {
            was = Some(row.verdict);
            row.verdict = query.verdict;
            row.explanation = query.explanation.as_deref().map(Into::into);
        }
        if query.verdict == Verdict::Leak && was != Some(Verdict::Leak) {
            self.leaked(key, query.ts);
        }
    }

    fn leaked(&mut self, key: AppKey, at: Timestamp) {
        self.totals.leaks += 1;
        if let Some(row) = self.apps.get_mut(&key) {
            row.leaks += 1;
        }
        self.count(at, |bucket| bucket.leaks += 1);
    }

    fn count(&mut self, at: Timestamp, add: impl Fn(&mut super::chart::Bucket)) {
        for chart in [&mut self.recent, &mut self.whole] {
            if let Some(bucket) = chart.at(second(at)) {
                add(bucket);
            }
        }
    }

    fn listed(&mut self, id: &str) -> Option<&mut QueryRow> {
        let number = self.numbers.get(id)?.checked_sub(self.fallen.queries)?;
        self.queries.get_mut(usize::try_from(number).ok()?)
    }

    fn answer(&mut self, answer: &Answer) {
        self.tick(answer.ts);
        let Some(row) = self.listed(&answer.query) else {
            return;
        };
        let shown = answer.addresses.iter().take(MAX_ADDRESSES);
        let mut text = answer.rcode.clone();
        for address in shown {
            text.push(' ');
            text.push_str(&address.to_string());
        }
        if let Some(more @ 1..) = answer.addresses.len().checked_sub(MAX_ADDRESSES) {
            text.push_str(&format!(" and {more} more"));
        }
        row.answer = Some(text.into());
    }

    fn proxy(&mut self, session: &ProxySession) {
        self.tick(session.ts);
        // What does not answer may be no proxy.
        if session.accepted.is_none() {
            return;
        }
        let row = self.app_row(session.app.as_deref(), session.process.as_ref(), session.ts);
        if session.target.name.is_some() {
            row.names_left += 1;
        } else {
            row.addresses_given += 1;
        }
        row.seen_proxy = Some(format!("{}://{}", session.protocol.scheme(), session.proxy));
    }

    fn posture(&mut self, setup: &Setup) {
        self.tick(setup.ts);
        let row = self.app_row(setup.app.as_deref(), None, setup.ts);
        row.proxy = setup.proxy.as_ref().map(ToString::to_string);
        if let Some(exe) = setup
            .process
            .as_ref()
            .and_then(|process| process.exe.clone())
        {
            row.exe = Some(exe);
        }
        row.told = Some(Arc::new(setup.clone()));
    }

    fn finding(&mut self, finding: &Finding) {
        self.tick(finding.ts);
        let row = self.app_row(finding.app.as_deref(), finding.process.as_ref(), finding.ts);
        if row.proxy.is_none() {
            row.proxy = finding.proxy.as_ref().map(ToString::to_string);
        }
        let app_name = Arc::clone(&row.name);
        let resolver = finding.queries.iter().find_map(|id| {
            let row = self.listed(id)?;
            Some(row.resolver)
        });
        if !finding.update {
            self.totals.findings += 1;
        } else if let Some(listed) = self
            .findings
            .iter_mut()
            .rev()
            .find(|row| row.finding.id == finding.id)
        {
            listed.resolver = resolver.or(listed.resolver);
            listed.finding = Arc::new(finding.clone());
            return;
        }
        if self.findings.len() == MAX_FINDINGS {
            self.findings.pop_front();
            self.fallen.findings += 1;
        }
        self.findings.push_back(FindingRow {
            app: finding.app.as_ref().map(|app| app.id),
            app_name,
            resolver,
            finding: Arc::new(finding.clone()),
        });
    }

    fn loss(&mut self, loss: &Loss) {
        self.tick(loss.ts);
        if let Some(known) = self.lost.iter_mut().find(|known| known.place == loss.place) {
            known.events += loss.events;
            known.queries += loss.queries;
            known.since = known.since.min(loss.since);
        } else if self.lost.len() < MAX_PLACES {
            self.lost.push(Lost {
                place: loss.place.clone(),
                events: loss.events,
                queries: loss.queries,
                since: loss.since,
            });
        }
    }

    /// The row of an app, made when there is none yet.
    fn app_row(&mut self, app: Option<&App>, actor: Option<&Actor>, at: Timestamp) -> &mut AppRow {
        let key = app.map(|app| app.id);
        if self.apps.len() >= MAX_APPS
            && !self.apps.contains_key(&key)
            && let Some(quietest) = self
                .apps
                .values()
                .min_by_key(|row| (row.leaks > 0, row.last))
                .map(|row| row.key)
        {
            self.apps.remove(&quietest);
            self.fallen.apps += 1;
        }
        let row = self.apps.entry(key).or_insert_with(|| AppRow {
            key,
            name: app.map_or("(asker unknown)", |app| &app.name).into(),
            exe: None,
            proxy: None,
            seen_proxy: None,
            told: None,
            queries: 0,
            leaks: 0,
            names_left: 0,
            addresses_given: 0,
            last: at,
            rate: Rate::default(),
        });
        row.last = row.last.max(at);
        if row.exe.is_none() {
            row.exe = actor
                .filter(|actor| app.is_some_and(|app| app.pid == actor.process.pid))
                .and_then(|actor| actor.process.exe.clone());
        }
        row
    }
}

/// The second of a point in time.
fn second(at: Timestamp) -> u64 {
    at.0 / 1_000_000_000
}

/// The word that the output contract has for a kind, a severity or the like.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "?".to_owned(),
    }
}
