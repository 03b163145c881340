//! What belongs to a finding: read twice, so that nothing is kept that turns out not to.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::{
    model::CONTRACT,
    saved::{Answer, Finding, Line, Process, ProxySession, Query, Said, Saved, SavedError},
};

/// Findings that are named when the one asked for is not there.
const MAX_NAMED: usize = 8;
/// Requests to proxies that are shown of one finding.
const MAX_PROXIES: usize = 32;
/// Answers that are shown of one query: there is more than one only in a file that was put together.
const MAX_ANSWERS: usize = 4;

/// The first look at a file.
#[derive(Debug, Default)]
pub struct Search {
    /// The finding, as it was said last.
    pub found: Option<Found>,
    /// The others.
    pub others: Others,
}

/// The finding that was looked for.
#[derive(Debug)]
pub struct Found {
    run: u64,
    /// In how many runs of the file there is one of that id.
    pub runs: u64,
    finding: Finding,
    value: Value,
}

/// Findings that were not looked for: the first of them, and how many there are.
#[derive(Debug, Default)]
pub struct Others {
    first: Vec<String>,
    count: usize,
}

impl Others {
    fn add(&mut self, finding: &Finding) {
        if finding.update {
            return;
        }
        self.count += 1;
        if self.first.len() < MAX_NAMED {
            let app = finding.app.as_ref();
            let app = app.map_or("asker unknown", |app| app.name.as_str());
            self.first
                .push(format!("{} ({app}, {})", finding.id, finding.name));
        }
    }

    /// Which there are.
    #[must_use]
    pub fn words(&self) -> String {
        match self.count - self.first.len() {
            0 if self.first.is_empty() => "it has none".to_owned(),
            0 => format!("it has {}", self.first.join(", ")),
            more => format!("it has {} and {more} more", self.first.join(", ")),
        }
    }
}

impl Search {
    /// Looks for a finding. With what keeps the file from being read to its end.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn through(saved: &Saved, id: &str) -> Result<(Self, Option<SavedError>), SavedError> {
        let mut search = Self::default();
        let fault = saved.each(|line| {
            let Said::Finding(finding) = line.said else {
                return;
            };
            if finding.id != id {
                search.others.add(&finding);
                return;
            }
            let before = search.found.take();
            let runs = before.map_or(1, |before| before.runs + u64::from(before.run != line.run));
            search.found = Some(Found {
                run: line.run,
                runs,
                finding: *finding,
                value: line.value,
            });
        })?;
        Ok((search, fault))
    }
}

/// A finding with all that belongs to it.
#[derive(Debug)]
pub struct Chain {
    /// The finding.
    pub finding: Finding,
    /// Its queries, as they were said last, in the order in which they were asked.
    pub queries: Vec<Query>,
    /// The answers to them.
    pub answers: Vec<Answer>,
    /// What the same app asked of proxies about the same name and its addresses, the first of it.
    pub proxies: Vec<ProxySession>,
    /// How many more of those there are.
    pub more_proxies: u64,
    values: Values,
}

/// The same as the contract has it.
#[derive(Debug, Default)]
struct Values {
    finding: Value,
    queries: Vec<Value>,
    answers: Vec<Value>,
    proxies: Vec<Value>,
}

impl Chain {
    /// Reads what belongs to a finding. With what keeps the file from being read to its end, when that is not known yet.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn of(
        saved: &Saved,
        found: Found,
        fault: Option<SavedError>,
    ) -> Result<(Self, Option<SavedError>), SavedError> {
        let run = found.run;
        let mut chain = Self {
            finding: found.finding,
            queries: Vec::new(),
            answers: Vec::new(),
            proxies: Vec::new(),
            more_proxies: 0,
            values: Values {
                finding: found.value,
                ..Values::default()
            },
        };
        let now = saved.each(|line| {
            if line.run == run {
                chain.take(line);
            }
        })?;
        Ok((chain, fault.or(now)))
    }

    fn take(&mut self, line: Line) {
        match line.said {
            Said::Query(query) if self.finding.queries.contains(&query.id) => {
                let known = self.queries.iter().position(|known| known.id == query.id);
                match known {
                    Some(index) => {
                        self.queries[index] = *query;
                        self.values.queries[index] = line.value;
                    }
                    None => {
                        self.queries.push(*query);
                        self.values.queries.push(line.value);
                    }
                }
            }
            Said::Answer(answer) if self.finding.queries.contains(&answer.query) => {
                let same = |known: &&Answer| known.query == answer.query;
                if self.answers.iter().filter(same).count() < MAX_ANSWERS {
                    self.answers.push(answer);
                    self.values.answers.push(line.value);
                }
            }
            Said::Proxy(session) if self.concerns(&session) => {
                if self.proxies.len() < MAX_PROXIES {
                    self.proxies.push(*session);
                    self.values.proxies.push(line.value);
                } else {
                    self.more_proxies += 1;
                }
            }
            _ => {}
        }
    }

    /// Whether a request is the same app's and about the finding's name, or an address of it.
    fn concerns(&self, session: &ProxySession) -> bool {
        let is_reused = differ(self.finding.process.as_ref(), session.process.as_ref());
        if session.app != self.finding.app || is_reused {
            return false;
        }
        let by_name = session
            .target
            .name
            .as_deref()
            .map(|name| name.strip_suffix('.').unwrap_or(name))
            .is_some_and(|name| name.eq_ignore_ascii_case(&self.finding.name));
        let by_address = session
            .target
            .addr
            .is_some_and(|addr| self.has_address(addr));
        let by_evidence = self
            .finding
            .evidence
            .iter()
            .any(|piece| piece.source == "handshake" && piece.ts == Some(session.ts));
        by_name || by_address || by_evidence
    }

    fn has_address(&self, addr: IpAddr) -> bool {
        self.finding.name.parse() == Ok(addr)
            || self
                .answers
                .iter()
                .any(|answer| answer.addresses.contains(&addr))
    }

    /// The whole of it as one object.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "v": CONTRACT,
            "finding": self.values.finding,
            "queries": self.values.queries,
            "answers": self.values.answers,
            "proxies": self.values.proxies,
        })
    }
}

/// Whether two processes have a pid in common and are not the same.
fn differ(one: Option<&Process>, other: Option<&Process>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.pid == other.pid && one.start_time != other.start_time,
        _ => false,
    }
}
