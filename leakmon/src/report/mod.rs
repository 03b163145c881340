//! What earlier runs said, as one report: who leaked what to whom, and what to change.
//!
//! [`Collector`] adds up what was saved; every form of the report ([`html`], [`markdown`], JSON) shows the [`Contents`] that
//! come out of it, and nothing else. The same input gives the same bytes: nothing of the time or the machine is in it.

mod collect;
pub mod html;
pub mod junit;
pub mod markdown;
mod postures;
mod programs;
pub mod sarif;
mod timeline;
mod words;

use serde::Serialize;

pub use collect::Collector;
pub use timeline::{Bucket, Timeline};

use crate::time::Timestamp;

/// Findings that are listed, the worst of them.
pub const MAX_FINDINGS: usize = 200;
/// Queries that leaked that are listed, the first of them.
pub const MAX_QUERIES: usize = 200;
/// Programs, and ways from a program to a resolver, that are listed.
pub const MAX_ROWS: usize = 200;
/// Losses that are listed.
pub const MAX_LOSSES: usize = 50;

/// The first of many things, and how many more there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// Those that are listed.
    pub listed: Vec<T>,
    /// How many are not.
    pub left_out: u64,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            listed: Vec::new(),
            left_out: 0,
        }
    }
}

impl<T> Listed<T> {
    /// As many as may be listed of all.
    fn of(mut all: Vec<T>, most: usize) -> Self {
        let left_out = all.len().saturating_sub(most) as u64;
        all.truncate(most);
        Self {
            listed: all,
            left_out,
        }
    }
}

/// What a report holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Version of the output contract whose words are used.
    pub v: u32,
    /// What it was made of.
    pub sources: Vec<Source>,
    /// When the first thing happened that it tells of.
    pub first: Option<Timestamp>,
    /// When the last did.
    pub last: Option<Timestamp>,
    /// Counts of all.
    pub totals: Totals,
    /// Programs, those that leak first.
    pub programs: Listed<Program>,
    /// Which program asked which resolver, the most leaks first.
    pub flows: Listed<Flow>,
    /// Queries over time.
    pub timeline: Timeline,
    /// Findings, the worst first.
    pub findings: Listed<Finding>,
    /// Queries that leaked, in the order in which they were asked.
    pub queries: Listed<Query>,
    /// What was lost on its way, in the order in which it was noticed.
    pub losses: Listed<Loss>,
}

/// A file that a report was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its path as it was given.
    pub path: String,
    /// `recording` or `JSON lines`.
    pub form: String,
    /// How many runs of `leakmon watch` it holds; 0 for an audit.
    pub runs: u64,
    /// How many of them came to their end.
    pub ended: u64,
    /// When the first thing happened in it.
    pub first: Option<Timestamp>,
    /// When the last did.
    pub last: Option<Timestamp>,
    /// What kept it from being read to its end.
    pub fault: Option<String>,
}

/// Counts by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdicts {
    /// Leaks.
    pub leak: u64,
    /// With a proxy, and for an honest reason.
    pub explained: u64,
    /// By a program of which no proxy is known.
    pub no_proxy: u64,
    /// Too little is known.
    pub unknown: u64,
}

impl Verdicts {
    /// All of them.
    #[must_use]
    pub fn sum(self) -> u64 {
        self.leak + self.explained + self.no_proxy + self.unknown
    }

    fn of(&mut self, verdict: &str) -> &mut u64 {
        match verdict {
            "leak" => &mut self.leak,
            "explained" => &mut self.explained,
            "no-proxy" => &mut self.no_proxy,
            _ => &mut self.unknown,
        }
    }

    fn count(&mut self, verdict: &str) {
        *self.of(verdict) += 1;
    }

    fn uncount(&mut self, verdict: &str) {
        let count = self.of(verdict);
        *count = count.saturating_sub(1);
    }

    fn add(&mut self, other: Self) {
        self.leak += other.leak;
        self.explained += other.explained;
        self.no_proxy += other.no_proxy;
        self.unknown += other.unknown;
    }
}

/// Counts of everything, listed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Queries.
    pub queries: u64,
    /// Queries by verdict.
    pub verdicts: Verdicts,
    /// Queries of which the kernel could not tell who asked.
    pub nobodys: u64,
    /// Queries without an answer.
    pub timeouts: u64,
    /// Requests to proxies.
    pub proxies: u64,
    /// Findings.
    pub findings: u64,
    /// Findings that say that something leaked.
    pub leaks: u64,
    /// Those of them that are proven.
    pub proven: u64,
    /// Those that rest on how the program was told to connect.
    pub configured: u64,
    /// Those that rest on what the program was seen to do.
    pub observed: u64,
    /// Programs that asked for names or were told of proxies.
    pub programs: u64,
    /// Programs with queries that leaked or findings that say so.
    pub leaking: u64,
    /// Events lost on their way from the kernel.
    pub lost: u64,
    /// How many of those were packets to a DNS port.
    pub lost_queries: u64,
    /// Queries whose answers could not be waited for.
    pub unfollowed: u64,
    /// Messages on a DNS port that could not be read.
    pub undecoded: u64,
    /// Queries and findings whose later line changed something that was said too long before to be counted anew.
    pub late: u64,
}

/// A program, whatever its processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Its name; none for whoever the kernel could not tell.
    pub name: Option<String>,
    /// Its queries by verdict.
    pub verdicts: Verdicts,
    /// Findings about it.
    pub findings: u64,
    /// Those that say that something leaked.
    pub leaks: u64,
    /// What to change, the most frequent first.
    pub changes: Listed<Change>,
    /// What its processes were told about proxies.
    pub postures: Listed<Posture>,
}

/// Something to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What to do.
    pub advice: String,
    /// Findings that it is about; 0 for what only the settings tell.
    pub findings: u64,
    /// What its settings let leak without it.
    pub leak: Option<String>,
    /// Whether it does leak, as far as that is known.
    pub certain: bool,
}

/// What processes of a program were told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Posture {
    /// How many of its processes were told just this.
    pub processes: u64,
    /// The settings on disk that it stands in, when no process was looked at.
    pub profile: Option<String>,
    /// Where connections go and who looks up names, in a line.
    pub words: String,
    /// `untold`, `direct`, `proxy`, `depends`, `unknown`.
    pub route: String,
    /// `local`, `remote`, `depends`, `unknown`.
    pub resolves: String,
    /// Where this is written.
    pub evidence: Vec<Piece>,
    /// What is reached without the proxy.
    pub bypass: Vec<String>,
    /// What leaks by these settings.
    pub leaks: Vec<SettingLeak>,
    /// What other places say, which do not count beside it.
    pub overruled: Vec<Piece>,
}

/// Something that settings let leak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingLeak {
    /// What is told to a resolver past the proxy.
    pub what: String,
    /// Whether it does leak, or only under a condition that is said.
    pub certain: bool,
    /// What to change.
    pub stop: String,
}

/// A piece of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// When it happened; none for what was written before.
    pub ts: Option<Timestamp>,
    /// Where it comes from.
    pub source: String,
    /// What it says.
    pub detail: String,
}

/// A way that questions take: who is asked, and through what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Way {
    /// The resolver's address and port, or its socket.
    pub resolver: String,
    /// The interface through which it is reached.
    pub interface: Option<String>,
    /// The program of this machine that listens there.
    pub via: Option<String>,
}

/// What one program asked of one resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Flow {
    /// The program; none for whoever the kernel could not tell.
    pub program: Option<String>,
    /// Whom it asked.
    #[serde(flatten)]
    pub way: Way,
    /// Its queries by verdict.
    pub verdicts: Verdicts,
    /// How many of them left the machine.
    pub escaped: u64,
    /// Findings about queries that went this way.
    pub findings: u64,
}

/// A finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Number of its file in [`Contents::sources`], from 1.
    pub source: usize,
    /// The run in that file.
    pub run: u64,
    /// Its id there.
    pub id: String,
    /// As `self-resolution`.
    pub kind: String,
    /// As `high`.
    pub severity: String,
    /// As `proven`.
    pub confidence: String,
    /// What that means.
    pub meaning: Option<String>,
    /// Whether it says that something leaked.
    pub leak: bool,
    /// The program.
    pub program: Option<String>,
    /// The program's first process.
    pub pid: Option<u32>,
    /// The path of the executable that did it.
    pub exe: Option<String>,
    /// Its command line.
    pub cmdline: Option<Vec<String>>,
    /// Its user.
    pub user: Option<String>,
    /// The name, or an address.
    pub name: String,
    /// How often.
    pub count: u64,
    /// When the first of it happened.
    pub first: Timestamp,
    /// When the last that is told of happened.
    pub last: Timestamp,
    /// To whom its queries went.
    pub told: Vec<Way>,
    /// The proxy that was to be used.
    pub proxy: Option<String>,
    /// The chain of evidence.
    pub evidence: Vec<Piece>,
    /// What to change.
    pub advice: String,
}

/// A query that leaked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// Number of its file in [`Contents::sources`], from 1.
    pub source: usize,
    /// The run in that file.
    pub run: u64,
    /// Its id there.
    pub id: String,
    /// When it left.
    pub ts: Timestamp,
    /// The program.
    pub program: Option<String>,
    /// The name.
    pub name: String,
    /// Query type.
    pub qtype: String,
    /// How it travelled.
    pub transport: String,
    /// Whom it asked.
    #[serde(flatten)]
    pub way: Way,
    /// Whether it left the machine.
    pub escaped: bool,
}

/// Something that was lost on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// Number of its file in [`Contents::sources`], from 1.
    pub source: usize,
    /// None had been lost until then.
    pub since: Timestamp,
    /// When it was noticed.
    pub ts: Timestamp,
    /// How many.
    pub events: u64,
    /// How many of them were packets to a DNS port.
    pub queries: u64,
    /// Where.
    #[serde(rename = "where")]
    pub place: String,
}

#[cfg(test)]
mod tests;
