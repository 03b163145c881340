//! Counts for the last line of a run.

use std::collections::BTreeMap;

use crate::{
    model::{AppSummary, Query, Summary, Verdict},
    time::Timestamp,
};

/// Names of apps counted one by one; what comes after them is counted together.
const MAX_NAMES: usize = 4096;
const OTHERS: &str = "(other programs)";

/// Counts by app and verdict.
#[derive(Debug, Default)]
pub struct Counts {
    apps: BTreeMap<Option<String>, AppSummary>,
    lost: u64,
    unfollowed: u64,
    undecoded: u64,
    paused: bool,
}

impl Counts {
    /// Queries do not count from now on, or do again.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Counts a query with its first verdict.
    pub fn count(&mut self, query: &Query) {
        if self.paused {
            return;
        }
        let row = self.row(query);
        row.queries += 1;
        *column(row, query.verdict) += 1;
    }

    /// Counts a query over to another verdict.
    pub fn recount(&mut self, query: &Query, to: Verdict) {
        let row = self.row(query);
        let from = column(row, query.verdict);
        *from = from.saturating_sub(1);
        *column(row, to) += 1;
    }

    /// Counts lost events.
    pub fn lost(&mut self, events: u64) {
        self.lost += events;
    }

    /// Counts queries whose answers could not be waited for.
    pub fn unfollowed(&mut self, queries: u64) {
        self.unfollowed += queries;
    }

    /// Counts a message that could not be read.
    pub fn undecoded(&mut self) {
        self.undecoded += 1;
    }

    fn row(&mut self, query: &Query) -> &mut AppSummary {
        let mut name = query.app.as_ref().map(|app| app.name.clone());
        if self.apps.len() >= MAX_NAMES && !self.apps.contains_key(&name) {
            name = Some(OTHERS.to_owned());
        }
        self.apps.entry(name.clone()).or_insert_with(|| AppSummary {
            app: name,
            ..AppSummary::default()
        })
    }

    /// The last line.
    pub fn summary(&self, now: Timestamp, findings: u64) -> Summary {
        let mut apps: Vec<AppSummary> = self.apps.values().cloned().collect();
        // Stable: equal ones stay in the order of their names.
        apps.sort_by_key(|app| std::cmp::Reverse((app.leak, app.queries)));
        Summary {
            ts: now,
            apps,
            findings,
            lost: self.lost,
            unfollowed: self.unfollowed,
            undecoded: self.undecoded,
        }
    }
}

fn column(row: &mut AppSummary, verdict: Verdict) -> &mut u64 {
    match verdict {
        Verdict::Leak => &mut row.leak,
        Verdict::Explained => &mut row.explained,
        Verdict::NoProxy => &mut row.no_proxy,
        Verdict::Unknown => &mut row.unknown,
    }
}
