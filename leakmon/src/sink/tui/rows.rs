//! The rows of each list: what is in it on a page, in which order, and what a filter leaves of it.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    browse::Page,
    state::{AppKey, AppRow, FindingRow, QueryRow, State, word},
};
use crate::{
    model::{ResolverPlace, Verdict},
    time::Timestamp,
};

/// A list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// The apps.
    Apps,
    /// The findings.
    Findings,
    /// The queries.
    Queries,
    /// The names asked, each once for every app.
    Names,
}

/// An order of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Most leaks first.
    Leaks,
    /// Most queries first.
    Queries,
    /// Most queries a second first.
    Rate,
    /// Latest first.
    Newest,
    /// Worst first.
    Severity,
    /// By the app's name.
    App,
    /// By the name asked.
    Name,
}

impl Sort {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leaks => "leaks",
            Self::Queries => "queries",
            Self::Rate => "rate",
            Self::Newest => "newest",
            Self::Severity => "severity",
            Self::App => "app",
            Self::Name => "name",
        }
    }
}

impl List {
    /// The orders that it can have, the first one to begin with.
    pub fn sorts(self) -> &'static [Sort] {
        match self {
            Self::Apps => &[
                Sort::Leaks,
                Sort::Queries,
                Sort::Rate,
                Sort::Newest,
                Sort::App,
            ],
            Self::Findings => &[Sort::Newest, Sort::Severity, Sort::App, Sort::Name],
            Self::Queries => &[Sort::Newest, Sort::Severity, Sort::App, Sort::Name],
            Self::Names => &[Sort::Leaks, Sort::Queries, Sort::Newest, Sort::Name],
        }
    }
}

/// A name that an app asked, with all queries for it that are listed.
#[derive(Clone, Debug)]
pub struct NameRow<'a> {
    /// The name.
    pub name: &'a Arc<str>,
    /// Who asked.
    pub app: AppKey,
    /// That app's name.
    pub app_name: &'a Arc<str>,
    /// Queries for it.
    pub queries: u64,
    /// Those of them that leaked.
    pub leaks: u64,
    /// The latest of them.
    pub last: Timestamp,
    /// Who was asked.
    pub resolvers: BTreeSet<ResolverPlace>,
    /// Types asked.
    pub qtypes: BTreeSet<&'a str>,
}

/// A row of a list.
#[derive(Clone, Debug)]
pub enum Row<'a> {
    /// An app.
    App(&'a AppRow),
    /// A finding.
    Finding(&'a FindingRow),
    /// A query.
    Query(&'a QueryRow),
    /// A name.
    Name(NameRow<'a>),
}

/// What tells a row from every other of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowKey {
    /// An app.
    App(AppKey),
    /// A finding, by its id.
    Finding(String),
    /// A query, by its id.
    Query(Arc<str>),
    /// A name asked by an app.
    Name(AppKey, Arc<str>),
}

impl Row<'_> {
    /// What tells it from every other.
    pub fn key(&self) -> RowKey {
        match self {
            Self::App(app) => RowKey::App(app.key),
            Self::Finding(row) => RowKey::Finding(row.finding.id.clone()),
            Self::Query(row) => RowKey::Query(Arc::clone(&row.id)),
            Self::Name(row) => RowKey::Name(row.app, Arc::clone(row.name)),
        }
    }

    /// The app that it is about.
    pub fn app(&self) -> AppKey {
        match self {
            Self::App(row) => row.key,
            Self::Finding(row) => row.app,
            Self::Query(row) => row.app,
            Self::Name(row) => row.app,
        }
    }

    /// The name that it is about.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::App(_) => None,
            Self::Finding(row) => Some(&row.finding.name),
            Self::Query(row) => Some(&row.name),
            Self::Name(row) => Some(row.name),
        }
    }

    /// The resolver that was asked.
    pub fn resolver(&self) -> Option<ResolverPlace> {
        match self {
            Self::App(_) => None,
            Self::Finding(row) => row.resolver,
            Self::Query(row) => Some(row.resolver),
            Self::Name(row) => row.resolvers.first().copied(),
        }
    }

    fn app_name(&self) -> &str {
        match self {
            Self::App(row) => &row.name,
            Self::Finding(row) => &row.app_name,
            Self::Query(row) => &row.app_name,
            Self::Name(row) => row.app_name,
        }
    }

    /// Whether the text, in lower case, is somewhere in what the row shows.
    pub fn has(&self, text: &str) -> bool {
        let has = |shown: &str| shown.to_lowercase().contains(text);
        let pid = |key: AppKey| key.is_some_and(|id| id.pid.to_string() == text);
        if has(self.app_name()) || self.name().is_some_and(has) || pid(self.app()) {
            return true;
        }
        match self {
            Self::App(row) => [&row.proxy, &row.seen_proxy]
                .into_iter()
                .flatten()
                .any(|proxy| has(proxy)),
            Self::Finding(row) => {
                let finding = &row.finding;
                has(&word(&finding.kind))
                    || has(&word(&finding.severity))
                    || has(finding.confidence.as_str())
                    || row.resolver.is_some_and(|addr| has(&addr.to_string()))
            }
            Self::Query(row) => {
                has(row.verdict.as_str()) || has(&row.qtype) || has(&row.resolver.to_string())
            }
            Self::Name(row) => row.resolvers.iter().any(|addr| has(&addr.to_string())),
        }
    }
}

/// The rows of a list on a page, sorted; with how many there are without the filter.
pub fn rows<'a>(
    state: &'a State,
    page: &Page,
    list: List,
    sort: Sort,
    filter: &str,
) -> (Vec<Row<'a>>, usize) {
    let mut rows: Vec<Row<'a>> = match list {
        List::Apps => state.apps().map(Row::App).collect(),
        List::Findings => state.findings().map(Row::Finding).collect(),
        List::Queries => state
            .queries()
            .filter(|row| belongs(page, row))
            .map(Row::Query)
            .collect(),
        List::Names => names(state, page).into_iter().map(Row::Name).collect(),
    };
    let all = rows.len();
    let filter = filter.to_lowercase();
    if !filter.is_empty() {
        rows.retain(|row| row.has(&filter));
    }
    order(state, &mut rows, sort);
    (rows, all)
}

/// Whether a query is one of those that a page is about.
fn belongs(page: &Page, row: &QueryRow) -> bool {
    match page {
        Page::Overview | Page::Finding(_) => true,
        Page::App(key) => row.app == *key,
        Page::Name(name) => row.name == *name,
        Page::Resolver(resolver) => row.resolver == *resolver,
    }
}

fn names<'a>(state: &'a State, page: &Page) -> Vec<NameRow<'a>> {
    let mut rows: Vec<NameRow<'a>> = Vec::new();
    let mut places: HashMap<(AppKey, &str), usize> = HashMap::new();
    for query in state.queries().filter(|row| belongs(page, row)) {
        let place = *places
            .entry((query.app, query.name.as_ref()))
            .or_insert_with(|| {
                rows.push(NameRow {
                    name: &query.name,
                    app: query.app,
                    app_name: &query.app_name,
                    queries: 0,
                    leaks: 0,
                    last: query.ts,
                    resolvers: BTreeSet::new(),
                    qtypes: BTreeSet::new(),
                });
                rows.len() - 1
            });
        let row = &mut rows[place];
        row.queries += 1;
        row.leaks += u64::from(query.verdict == Verdict::Leak);
        row.last = row.last.max(query.ts);
        row.resolvers.insert(query.resolver);
        row.qtypes.insert(&query.qtype);
    }
    rows
}

/// Sorts; among equal rows the worst, then the latest, is first.
fn order(state: &State, rows: &mut [Row<'_>], sort: Sort) {
    let leaks = |row: &Row<'_>| match row {
        Row::App(row) => row.leaks,
        Row::Finding(_) => 1,
        Row::Query(row) => u64::from(row.verdict == Verdict::Leak),
        Row::Name(row) => row.leaks,
    };
    let queries = |row: &Row<'_>| match row {
        Row::App(row) => row.queries,
        Row::Finding(_) | Row::Query(_) => 1,
        Row::Name(row) => row.queries,
    };
    let last = |row: &Row<'_>| match row {
        Row::App(row) => row.last,
        Row::Finding(row) => row.finding.ts,
        Row::Query(row) => row.ts,
        Row::Name(row) => row.last,
    };
    // The lists come latest first, and the sort is stable; apps come in no order at all.
    rows.sort_by_cached_key(|row| (Reverse(last(row)), row.app()));
    match sort {
        Sort::Newest => {}
        Sort::Leaks => rows.sort_by_key(|row| Reverse((leaks(row), queries(row)))),
        Sort::Queries => rows.sort_by_key(|row| Reverse(queries(row))),
        Sort::Rate => rows.sort_by(|one, other| rate(state, other).total_cmp(&rate(state, one))),
        Sort::Severity => rows.sort_by_cached_key(|row| match row {
            Row::Finding(row) => Reverse((Some(row.finding.severity), None)),
            Row::Query(row) => Reverse((None, Some(row.verdict))),
            Row::App(_) | Row::Name(_) => Reverse((None, None)),
        }),
        Sort::App => rows.sort_by_cached_key(|row| row.app_name().to_lowercase()),
        Sort::Name => rows.sort_by_cached_key(|row| row.name().map(str::to_owned)),
    }
}

fn rate(state: &State, row: &Row<'_>) -> f64 {
    match row {
        Row::App(row) => state.rate(row),
        _ => 0.0,
    }
}
