//! All about one row, in lines: the verdict, what to do about it, and the proof.

use ratatui::{
    style::Style,
    text::{Line, Span},
};
use textwrap::{Options, core::display_width};

use super::{
    browse::Page,
    look::Look,
    rows::{NameRow, Row},
    state::{AppKey, AppRow, FindingRow, QueryRow, State, word},
    table::{severity_word, time, verdict},
};
use crate::{
    model::{Finding, FindingKind},
    sink::{lines::counted, lines::in_a_line, printable},
};

/// Columns of a label: as in the lines of a run without a live view.
const LABEL: usize = 13;
/// Narrower than this a label has a line of its own.
const NARROW: usize = 60;
/// Findings named with an app.
const NAMED: usize = 5;

/// Lines that grow.
struct Text {
    lines: Vec<Line<'static>>,
    width: usize,
    look: Look,
}

impl Text {
    fn head(&mut self, marked: &str, style: Style, rest: &str) {
        let text = format!("{marked} {rest}");
        let text = printable(&text);
        let wrapped = textwrap::wrap(&text, Options::new(self.width).break_words(true));
        for (index, line) in wrapped.into_iter().enumerate() {
            let plain = self.look.bold();
            match line.strip_prefix(marked).filter(|_| index == 0) {
                Some(rest) => self.lines.push(Line::from(vec![
                    Span::styled(marked.to_owned(), style),
                    Span::styled(rest.to_owned(), plain),
                ])),
                None => self.lines.push(Line::styled(line.into_owned(), plain)),
            }
        }
    }

    fn labelled(&mut self, label: &str, text: &str, style: Style) {
        let text = printable(text);
        let label = printable(label);
        let narrow = self.width < NARROW;
        let indent = if narrow { 2 } else { LABEL };
        let width = self.width.saturating_sub(indent).max(1);
        let mut lines = textwrap::wrap(&text, Options::new(width).break_words(true)).into_iter();
        let label_style = self.look.dim().patch(style);
        if narrow {
            self.lines
                .push(Line::styled(label.into_owned(), label_style));
        } else {
            let space = " ".repeat(LABEL.saturating_sub(display_width(&label)).max(1));
            let first = lines.next().unwrap_or_default().into_owned();
            self.lines.push(Line::from(vec![
                Span::styled(label.into_owned() + &space, label_style),
                Span::styled(first, style),
            ]));
        }
        for line in lines {
            let text = " ".repeat(indent) + &line;
            self.lines.push(Line::styled(text, style));
        }
    }

    fn plain(&mut self, label: &str, text: &str) {
        self.labelled(label, text, Style::default());
    }

    fn advice(&mut self, advice: &str) {
        self.labelled("to stop it", advice, self.look.good());
    }

    fn finding(&mut self, row: &FindingRow) {
        let finding = &row.finding;
        let severity = severity_word(finding.severity, false);
        let head = format!(
            "{} {}, {}",
            who(&row.app_name, row.app),
            did(finding),
            finding.confidence.as_str()
        );
        self.head(&severity, self.look.severity(finding.severity), &head);
        self.advice(&finding.advice);
        for link in &finding.evidence {
            self.plain(&link.evidence.source, &link.evidence.detail);
        }
        self.plain(
            "finding",
            &format!(
                "{}, {} at {}, by {}",
                finding.id,
                word(&finding.kind),
                time(finding.ts),
                counted(finding.queries.len() as u64, "query", "queries"),
            ),
        );
    }

    fn app(&mut self, state: &State, app: &AppRow) {
        let leaked = if app.leaks > 0 { "LEAKS" } else { "App" };
        let style = if app.leaks > 0 {
            self.look.bad()
        } else {
            self.look.dim()
        };
        let exe = app.exe.as_deref().map(|exe| format!(", {exe}"));
        let head = format!(
            "{}{}: {}, {} leaked",
            who(&app.name, app.key),
            exe.unwrap_or_default(),
            counted(app.queries, "query", "queries"),
            app.leaks,
        );
        self.head(leaked, style, &head);
        let findings = || state.findings().filter(|row| row.app == app.key);
        if let Some(latest) = findings().next() {
            self.advice(&latest.finding.advice);
        }
        match &app.told {
            Some(setup) => {
                self.plain("told", &in_a_line(setup));
                for leak in &setup.leaks {
                    let label = if leak.certain { "leaks" } else { "may leak" };
                    self.plain(label, &format!("{}; to stop it: {}", leak.what, leak.stop));
                }
                for evidence in &setup.evidence {
                    self.plain(&evidence.source, &evidence.detail);
                }
            }
            None => self.plain("told", "nothing is known about a proxy"),
        }
        if let Some(seen) = &app.seen_proxy {
            self.plain(
                "proxy",
                &format!(
                    "{seen} answered it; it was given {} and {}",
                    counted(app.names_left, "name", "names"),
                    counted(app.addresses_given, "address", "addresses"),
                ),
            );
        }
        for row in findings().take(NAMED) {
            let finding = &row.finding;
            let severity = severity_word(finding.severity, false);
            let text = format!(
                "{} {}, {}",
                severity,
                did(finding),
                finding.confidence.as_str()
            );
            self.plain("finding", &text);
        }
        if let Some(more @ 1..) = findings().count().checked_sub(NAMED) {
            self.plain("", &format!("and {more} more findings"));
        }
    }

    fn query(&mut self, state: &State, row: &QueryRow) {
        let (mark, style) = verdict(row.verdict, self.look);
        let interface = row.interface.as_deref();
        let head = format!(
            "{} asked {} {} of {} over {}{}",
            who(&row.app_name, row.app),
            row.qtype,
            row.name,
            row.resolver,
            row.transport,
            interface
                .map(|name| format!(" through {name}"))
                .unwrap_or_default(),
        );
        self.head(&mark, style, &head);
        if let Some(why) = &row.explanation {
            self.plain("why", why);
        }
        self.plain("answer", row.answer.as_deref().unwrap_or("none yet"));
        self.finding_about(state, row.app, &row.name);
    }

    fn name(&mut self, state: &State, row: &NameRow<'_>) {
        let (mark, style) = if row.leaks > 0 {
            ("LEAK", self.look.bad())
        } else {
            ("Name", self.look.dim())
        };
        let types: Vec<&str> = row.qtypes.iter().copied().collect();
        let resolvers: Vec<String> = row.resolvers.iter().map(ToString::to_string).collect();
        let head = format!(
            "{} asked {} of {}: {}, {} leaked ({})",
            who(row.app_name, row.app),
            row.name,
            resolvers.join(", "),
            counted(row.queries, "query", "queries"),
            row.leaks,
            types.join(" "),
        );
        self.head(mark, style, &head);
        let mut queries = state.queries();
        let latest = queries.find(|query| query.app == row.app && query.name == *row.name);
        if let Some(why) = latest.and_then(|query| query.explanation.as_deref()) {
            self.plain("why", why);
        }
        self.finding_about(state, row.app, row.name);
    }

    fn finding_about(&mut self, state: &State, app: AppKey, name: &str) {
        let mut findings = state.findings();
        if let Some(row) = findings.find(|row| row.app == app && row.finding.name == name) {
            self.lines.push(Line::default());
            self.finding(row);
        }
    }
}

/// The lines about a row on a page, wrapped to `width`.
pub fn lines(
    state: &State,
    page: &Page,
    row: Option<&Row<'_>>,
    width: usize,
    look: Look,
) -> Vec<Line<'static>> {
    let mut text = Text {
        lines: Vec::new(),
        width: width.max(1),
        look,
    };
    match (page, row) {
        // The names of an app: the app itself is what one came for.
        (Page::App(key), row) => {
            if let Some(app) = state.app(*key) {
                text.app(state, app);
            }
            if let Some(Row::Name(name)) = row {
                text.lines.push(Line::default());
                text.name(state, name);
            }
        }
        (_, Some(Row::App(app))) => text.app(state, app),
        (_, Some(Row::Finding(row))) => text.finding(row),
        (_, Some(Row::Query(row))) => text.query(state, row),
        (_, Some(Row::Name(row))) => text.name(state, row),
        (Page::Finding(_), None) => {
            text.plain(
                "",
                "this finding is not listed any more: newer ones took its place",
            );
        }
        (_, None) => {}
    }
    text.lines
}

/// The app with its process id.
pub fn who(name: &str, key: AppKey) -> String {
    match key {
        Some(id) => format!("{name} (pid {})", id.pid),
        None => name.to_owned(),
    }
}

/// What a finding is about, in words.
fn did(finding: &Finding) -> String {
    let name = &finding.name;
    let past = finding
        .proxy
        .as_ref()
        .map(|proxy| format!(", past {proxy}"));
    match finding.kind {
        FindingKind::SelfResolution => {
            format!("resolved {name} itself{}", past.unwrap_or_default())
        }
        FindingKind::SpecialName => {
            format!("asked DNS for {name}, a name that must never leave the machine")
        }
        FindingKind::ProxyBypass => format!("connected to {name} past its proxy"),
        FindingKind::LiteralAddress => format!("gave its proxy the bare address {name}"),
    }
}
