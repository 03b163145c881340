//! Adds up what was saved, a line at a time.

use std::{collections::BTreeMap, io, num::NonZeroUsize};

use lru::LruCache;
use serde::Deserialize;

use super::{
    Contents, Finding, Listed, Loss, MAX_FINDINGS, MAX_LOSSES, MAX_QUERIES, Query, Source, Totals,
    Way,
    postures::{Postures, pieces},
    programs::{Flows, Programs},
    timeline::Buckets,
    words::{clip, program_of},
};
use crate::{
    model::{CONTRACT, Report},
    saved::{self, Line, Said, Saved, SavedError},
    sink::json,
    time::Timestamp,
};

/// Queries, and findings, that can be counted anew when a later line changes them. What leakmon says again are the last few
/// thousand.
const MAX_RECENT: NonZeroUsize = NonZeroUsize::new(65_536).unwrap();
/// Ways that are listed of one finding.
const MAX_TOLD: usize = 16;
/// Words of a command line that are kept.
const MAX_ARGUMENTS: usize = 64;

/// Which query or finding it is: file, run, number.
type Key = (usize, u64, u64);
/// Worse findings come first: leaks before notes, then by severity and confidence.
type Rank = (bool, u8, u8, Key);

/// Adds up what was saved.
#[derive(Debug)]
pub struct Collector {
    sources: Vec<Source>,
    totals: Totals,
    programs: Programs,
    flows: Flows,
    postures: Postures,
    buckets: Buckets,
    recent: LruCache<Key, Counted>,
    found: LruCache<Key, Found>,
    findings: BTreeMap<Rank, Finding>,
    queries: BTreeMap<Key, Query>,
    losses: Vec<Loss>,
    all_losses: u64,
}

/// How a query was counted.
#[derive(Debug)]
struct Counted {
    flow: usize,
    verdict: &'static str,
    escaped: bool,
}

/// How a finding was counted.
#[derive(Debug)]
struct Found {
    rank: Rank,
    leak: bool,
    confidence: String,
    told: Vec<usize>,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            totals: Totals::default(),
            programs: Programs::default(),
            flows: Flows::default(),
            postures: Postures::default(),
            buckets: Buckets::default(),
            recent: LruCache::new(MAX_RECENT),
            found: LruCache::new(MAX_RECENT),
            findings: BTreeMap::new(),
            queries: BTreeMap::new(),
            losses: Vec::new(),
            all_losses: 0,
        }
    }
}

impl Collector {
    /// Adds what a file holds. With what kept it from being read to its end: what is before that is added.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn add(&mut self, saved: &Saved) -> Result<Option<SavedError>, SavedError> {
        self.source(&saved.path().display().to_string(), saved.form().as_str());
        let fault = saved.each(|line| self.take(&line))?;
        if let (Some(source), Some(fault)) = (self.sources.last_mut(), &fault) {
            source.fault = Some(clip(&fault.to_string()));
        }
        Ok(fault)
    }

    /// Begins with a run that is watched now: what it reports comes one at a time.
    pub fn begin(&mut self, what: &str) {
        self.source(what, "run");
    }

    /// Adds what a run that was begun reports.
    ///
    /// # Errors
    /// Never for what leakmon reports: it reads its own lines.
    pub fn report(&mut self, report: &Report) -> io::Result<()> {
        let value = json::value(report)?;
        let said = Said::deserialize(&value)?;
        self.take(&Line {
            run: 1,
            value,
            said,
        });
        Ok(())
    }

    fn source(&mut self, path: &str, form: &str) {
        self.sources.push(Source {
            path: clip(path),
            form: form.to_owned(),
            runs: 0,
            ended: 0,
            first: None,
            last: None,
            fault: None,
        });
    }

    /// What it all comes to.
    #[must_use]
    pub fn contents(mut self) -> Contents {
        let told = self.postures.by_program();
        for name in told.keys() {
            self.programs.of(Some(name));
        }
        (self.totals.programs, self.totals.leaking) = self.programs.counts();
        self.totals.queries = self.totals.verdicts.sum();
        let queries: Vec<Query> = self.queries.into_values().collect();
        Contents {
            v: CONTRACT,
            first: self.sources.iter().filter_map(|source| source.first).min(),
            last: self.sources.iter().filter_map(|source| source.last).max(),
            programs: self.programs.listed(told),
            flows: self.flows.listed(),
            timeline: self.buckets.timeline(),
            findings: Listed {
                left_out: self
                    .totals
                    .findings
                    .saturating_sub(self.findings.len() as u64),
                listed: self.findings.into_values().collect(),
            },
            queries: Listed {
                left_out: (self.totals.verdicts.leak).saturating_sub(queries.len() as u64),
                listed: queries,
            },
            losses: Listed {
                left_out: self.all_losses - self.losses.len() as u64,
                listed: self.losses,
            },
            sources: self.sources,
            totals: self.totals,
        }
    }

    fn take(&mut self, line: &Line) {
        let number = self.sources.len();
        if let Some(source) = self.sources.last_mut() {
            // What an audit says is of no run.
            if !matches!(line.said, Said::Posture(_) | Said::Other) {
                source.runs = line.run;
            }
            let ts = line.value["ts"].as_str();
            if let Some(ts) = ts.and_then(|ts| ts.parse::<Timestamp>().ok()) {
                source.first = Some(source.first.map_or(ts, |first| first.min(ts)));
                source.last = source.last.max(Some(ts));
            }
        }
        match &line.said {
            Said::Query(query) => self.query((number, line.run, number_of(&query.id)), query),
            Said::Answer(answer) => {
                self.totals.timeouts += u64::from(answer.rcode == "timeout");
            }
            Said::Proxy(_) => self.totals.proxies += 1,
            Said::Posture(setup) => self.postures.add(number, line.run, setup),
            Said::Finding(finding) => {
                self.finding((number, line.run, number_of(&finding.id)), finding);
            }
            Said::Loss(loss) => self.loss(number, loss),
            Said::Summary(summary) => {
                self.totals.undecoded += summary.undecoded;
                if let Some(source) = self.sources.last_mut() {
                    source.ended += 1;
                }
            }
            Said::Other => {}
        }
    }

    fn query(&mut self, key: Key, query: &saved::Query) {
        let verdict = word(&query.verdict);
        let program = query.app.as_ref().map(|app| clip(&app.name));
        let way = way_of(query);
        if query.update {
            let Some(before) = self.recent.pop(&key) else {
                self.totals.late += 1;
                return;
            };
            let flow = self.flows.get(before.flow);
            flow.verdicts.uncount(before.verdict);
            flow.escaped = flow.escaped.saturating_sub(u64::from(before.escaped));
            let program = flow.program.clone();
            let tally = self.programs.of(program.as_deref());
            tally.verdicts.uncount(before.verdict);
            self.totals.verdicts.uncount(before.verdict);
            self.buckets.at(query.ts).uncount(before.verdict);
        } else {
            self.totals.nobodys += u64::from(query.app.is_none());
        }
        let flow = self.flows.index(program.as_deref(), way.clone());
        let counted = self.flows.get(flow);
        counted.verdicts.count(verdict);
        counted.escaped += u64::from(query.escaped);
        self.programs.of(program.as_deref()).verdicts.count(verdict);
        self.totals.verdicts.count(verdict);
        self.buckets.at(query.ts).count(verdict);
        let escaped = query.escaped;
        self.recent.put(
            key,
            Counted {
                flow,
                verdict,
                escaped,
            },
        );
        if verdict == "leak" {
            self.queries.insert(key, row(key, query, program, way));
            if self.queries.len() > MAX_QUERIES {
                self.queries.pop_last();
            }
        } else {
            self.queries.remove(&key);
        }
    }

    fn finding(&mut self, key: Key, finding: &saved::Finding) {
        let leak = finding.is_leak();
        let program = finding.app.as_ref().map(|app| clip(&app.name));
        let before = self.found.pop(&key);
        match &before {
            Some(before) => {
                self.findings.remove(&before.rank);
                if before.leak {
                    let of = of_confidence(&mut self.totals, &before.confidence);
                    *of = of.saturating_sub(1);
                }
            }
            None if finding.update => {
                self.totals.late += 1;
                return;
            }
            None => {
                self.totals.findings += 1;
                self.totals.leaks += u64::from(leak);
                let tally = self.programs.of(program.as_deref());
                tally.findings += 1;
                tally.leaks += u64::from(leak);
                if leak {
                    tally.change(&clip(&finding.advice));
                }
            }
        }
        if leak {
            *of_confidence(&mut self.totals, &finding.confidence) += 1;
        }
        let mut told = before.map(|before| before.told).unwrap_or_default();
        for id in &finding.queries {
            let query = (key.0, key.1, number_of(id));
            if let Some(counted) = self.recent.peek(&query)
                && !told.contains(&counted.flow)
                && told.len() < MAX_TOLD
            {
                told.push(counted.flow);
                self.flows.get(counted.flow).findings += 1;
            }
        }
        let rank = (
            !leak,
            place(&["critical", "high", "medium", "low"], &finding.severity),
            place(&["proven", "configured"], &finding.confidence),
            key,
        );
        let ways = told
            .iter()
            .map(|&flow| self.flows.get(flow).way.clone())
            .collect();
        self.findings
            .insert(rank, listed(key, finding, program, ways));
        if self.findings.len() > MAX_FINDINGS {
            self.findings.pop_last();
        }
        self.found.put(
            key,
            Found {
                rank,
                leak,
                confidence: finding.confidence.clone(),
                told,
            },
        );
    }

    fn loss(&mut self, source: usize, loss: &saved::Loss) {
        if loss.place == "ring-buffer" {
            self.totals.lost += loss.events;
            self.totals.lost_queries += loss.queries;
        } else {
            self.totals.unfollowed += loss.events;
        }
        self.all_losses += 1;
        if self.losses.len() < MAX_LOSSES {
            self.losses.push(Loss {
                source,
                since: loss.since,
                ts: loss.ts,
                events: loss.events,
                queries: loss.queries,
                place: clip(&loss.place),
            });
        }
    }
}

/// The number in an id, as 7 in `q7`.
fn number_of(id: &str) -> u64 {
    id.get(1..)
        .and_then(|number| number.parse().ok())
        .unwrap_or(u64::MAX)
}

fn word(verdict: &str) -> &'static str {
    ["leak", "explained", "no-proxy"]
        .into_iter()
        .find(|known| *known == verdict)
        .unwrap_or("unknown")
}

/// Where a word stands among these; those that are not among them come last.
fn place(words: &[&str], word: &str) -> u8 {
    let place = words.iter().position(|known| *known == word);
    u8::try_from(place.unwrap_or(words.len())).unwrap_or(u8::MAX)
}

fn of_confidence<'a>(totals: &'a mut Totals, confidence: &str) -> &'a mut u64 {
    match confidence {
        "proven" => &mut totals.proven,
        "configured" => &mut totals.configured,
        _ => &mut totals.observed,
    }
}

fn way_of(query: &saved::Query) -> Way {
    Way {
        resolver: clip(&query.resolver.to_string()),
        interface: query.resolver.interface.as_deref().map(clip),
        via: query.via.as_ref().map(program_of),
    }
}

fn row(key: Key, query: &saved::Query, program: Option<String>, way: Way) -> Query {
    Query {
        source: key.0,
        run: key.1,
        id: clip(&query.id),
        ts: query.ts,
        program,
        name: clip(&query.name),
        qtype: clip(&query.qtype),
        transport: clip(&query.transport),
        way,
        escaped: query.escaped,
    }
}

fn listed(key: Key, finding: &saved::Finding, program: Option<String>, told: Vec<Way>) -> Finding {
    let times = || finding.evidence.iter().filter_map(|piece| piece.ts);
    let process = finding.process.as_ref();
    let cmdline = process.and_then(|process| process.cmdline.as_ref());
    Finding {
        source: key.0,
        run: key.1,
        id: clip(&finding.id),
        kind: clip(&finding.kind),
        severity: clip(&finding.severity),
        confidence: clip(&finding.confidence),
        meaning: finding.meaning().map(str::to_owned),
        leak: finding.is_leak(),
        program,
        pid: finding.app.as_ref().map(|app| app.pid),
        exe: process.and_then(|process| process.exe.as_deref()).map(clip),
        cmdline: cmdline.map(|words| {
            let kept = words.iter().take(MAX_ARGUMENTS);
            kept.map(|word| clip(word)).collect()
        }),
        user: process
            .and_then(|process| process.user.as_deref())
            .map(clip),
        name: clip(&finding.name),
        count: finding.count,
        first: times().min().unwrap_or(finding.ts),
        last: times().max().unwrap_or(finding.ts),
        told,
        proxy: finding.proxy.as_ref().map(|proxy| clip(&proxy.to_string())),
        evidence: pieces(&finding.evidence),
        advice: clip(&finding.advice),
    }
}
