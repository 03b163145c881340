//! Cells of a width, and the columns of the lists.

use ratatui::style::Style;
use textwrap::core::display_width;

use super::{
    browse::Page,
    look::Look,
    rows::{List, Row},
    state::{State, word},
};
use crate::{
    model::{Confidence, ResolverAddr, ResolverPlace, Resolves, Severity, Verdict},
    sink::printable,
    time::Timestamp,
};

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    what: What,
    /// Columns of the terminal that it takes; none for the one that takes what is left.
    width: Option<usize>,
    right: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Leaks,
    Queries,
    Rate,
    App,
    Pid,
    Proxy,
    Resolves,
    Last,
    Severity,
    Confidence,
    Name,
    Resolver,
    Verdict,
    Type,
    Why,
}

/// The columns of a list in a terminal so wide, from the left; what a page is about needs no column there.
pub fn columns(list: List, page: &Page, width: usize) -> Vec<Column> {
    let text = |title, what, width| Column {
        title,
        what,
        width: Some(width),
        right: false,
    };
    let number = |title, what, width| Column {
        right: true,
        ..text(title, what, width)
    };
    let rest = |title, what| Column {
        width: None,
        ..text(title, what, 0)
    };
    let app = text("APP", What::App, if width < 60 { 11 } else { 18 });
    let resolver = text(
        "RESOLVER",
        What::Resolver,
        if width < 100 { 15 } else { 26 },
    );
    let last = text("TIME", What::Last, 8);
    let severity = if width < 60 {
        text("SEV", What::Severity, 4)
    } else {
        text("SEVERITY", What::Severity, 8)
    };
    let all = match list {
        List::Apps => vec![
            (0, number("LEAKS", What::Leaks, 5)),
            (60, number("QUERIES", What::Queries, 7)),
            (50, number("Q/S", What::Rate, 5)),
            (0, app),
            (90, number("PID", What::Pid, 7)),
            (0, rest("PROXY", What::Proxy)),
            (100, text("WHO RESOLVES", What::Resolves, 12)),
            (100, text("LAST", What::Last, 8)),
        ],
        List::Findings => vec![
            (100, last),
            (0, severity),
            (60, text("CONFIDENCE", What::Confidence, 10)),
            (0, app),
            (0, rest("NAME", What::Name)),
            (78, resolver),
        ],
        List::Queries => vec![
            (70, last),
            (0, text("VERDICT", What::Verdict, 9)),
            (0, app),
            (70, text("TYPE", What::Type, 6)),
            match page {
                Page::Name(_) => (0, rest("WHY", What::Why)),
                _ => (0, rest("NAME", What::Name)),
            },
            (90, resolver),
        ],
        List::Names => vec![
            (0, number("LEAKS", What::Leaks, 5)),
            (50, number("QUERIES", What::Queries, 7)),
            (0, rest("NAME", What::Name)),
            (50, app),
            (80, text("TYPES", What::Type, 12)),
            (90, resolver),
            (100, text("LAST", What::Last, 8)),
        ],
    };
    all.into_iter()
        .filter(|(least, column)| {
            let said = match page {
                Page::App(_) => column.what == What::App,
                Page::Resolver(_) => column.what == What::Resolver,
                _ => false,
            };
            *least <= width && !said
        })
        .map(|(_, column)| column)
        .collect()
}

/// The widths of columns that share `width`, a space between each two.
pub fn widths(columns: &[Column], width: usize) -> Vec<usize> {
    let fixed: usize = columns.iter().filter_map(|column| column.width).sum();
    let rest = width.saturating_sub(fixed + columns.len().saturating_sub(1));
    columns
        .iter()
        .map(|column| column.width.unwrap_or(rest))
        .collect()
}

/// A text in exactly so many columns of the terminal, cut with `…` when it is longer.
pub fn fit(text: &str, width: usize, right: bool) -> String {
    let long = display_width(text);
    if long <= width {
        let space = " ".repeat(width - long);
        return if right {
            space + text
        } else {
            text.to_owned() + &space
        };
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let wide = display_width(c.encode_utf8(&mut [0; 4]));
        if used + wide + 1 > width {
            break;
        }
        used += wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
        used += 1;
    }
    out + &" ".repeat(width.saturating_sub(used))
}

impl Column {
    /// The title, cut and padded.
    pub fn head(&self, width: usize) -> String {
        let title = if width < display_width(self.title) {
            self.title.get(..width).unwrap_or_default()
        } else {
            self.title
        };
        fit(title, width, self.right)
    }

    /// A row's text in this column, and how it looks.
    pub fn cell(&self, state: &State, row: &Row<'_>, width: usize, look: Look) -> (String, Style) {
        let (text, style) = self.content(state, row, width, look);
        (fit(&printable(&text), width, self.right), style)
    }

    fn content(&self, state: &State, row: &Row<'_>, width: usize, look: Look) -> (String, Style) {
        let plain = Style::default();
        match (self.what, row) {
            (What::Leaks, Row::App(app)) => leaks(app.leaks, look),
            (What::Leaks, Row::Name(name)) => leaks(name.leaks, look),
            (What::Queries, Row::App(app)) => (short(app.queries), plain),
            (What::Queries, Row::Name(name)) => (short(name.queries), plain),
            (What::Rate, Row::App(app)) => (a_second(state.rate(app)), plain),
            (What::App, Row::App(app)) => (app.name.to_string(), plain),
            (What::App, Row::Finding(row)) => (row.app_name.to_string(), plain),
            (What::App, Row::Query(row)) => (row.app_name.to_string(), plain),
            (What::App, Row::Name(row)) => (row.app_name.to_string(), plain),
            (What::Pid, row) => (
                row.app().map_or("-".to_owned(), |id| id.pid.to_string()),
                look.dim(),
            ),
            (What::Proxy, Row::App(app)) => match (&app.proxy, &app.seen_proxy) {
                (Some(proxy), _) => (proxy.clone(), plain),
                (None, Some(seen)) => (format!("{seen} (seen)"), plain),
                (None, None) => ("-".to_owned(), look.dim()),
            },
            (What::Resolves, Row::App(app)) => {
                let setup = app.told.as_ref().filter(|setup| setup.proxy.is_some());
                match setup.map(|setup| setup.resolves) {
                    Some(Resolves::Local) => ("itself".to_owned(), look.warning()),
                    Some(Resolves::Remote) => ("the proxy".to_owned(), plain),
                    Some(Resolves::Depends) => ("depends".to_owned(), look.warning()),
                    Some(Resolves::Unknown) => ("not known".to_owned(), look.dim()),
                    None => ("-".to_owned(), look.dim()),
                }
            }
            (What::Last, row) => (time(last(row)), look.dim()),
            (What::Severity, Row::Finding(row)) => {
                let severity = row.finding.severity;
                (severity_word(severity, width < 8), look.severity(severity))
            }
            (What::Confidence, Row::Finding(row)) => {
                let confidence = row.finding.confidence;
                let style = if confidence == Confidence::Proven {
                    look.bold()
                } else {
                    plain
                };
                (confidence.as_str().to_owned(), style)
            }
            (What::Name, row) => (row.name().unwrap_or("-").to_owned(), plain),
            (What::Resolver, Row::Name(row)) => {
                let first = row
                    .resolvers
                    .first()
                    .map_or("-".to_owned(), |addr| resolver(*addr));
                let more = row.resolvers.len().saturating_sub(1);
                let text = if more > 0 {
                    format!("{first} +{more}")
                } else {
                    first
                };
                (text, look.dim())
            }
            (What::Resolver, row) => (row.resolver().map_or("-".to_owned(), resolver), look.dim()),
            (What::Verdict, Row::Query(row)) => verdict(row.verdict, look),
            (What::Type, Row::Query(row)) => (row.qtype.to_string(), plain),
            (What::Why, Row::Query(row)) => {
                let why = row.explanation.as_deref().unwrap_or_default();
                (why.to_owned(), look.dim())
            }
            (What::Type, Row::Name(row)) => {
                let types: Vec<&str> = row.qtypes.iter().copied().collect();
                (types.join(" "), plain)
            }
            _ => (String::new(), plain),
        }
    }
}

fn leaks(count: u64, look: Look) -> (String, Style) {
    if count > 0 {
        (short(count), look.bad())
    } else {
        ("0".to_owned(), look.dim())
    }
}

/// A verdict as a word: what leaked stands out without colours.
pub fn verdict(verdict: Verdict, look: Look) -> (String, Style) {
    match verdict {
        Verdict::Leak => ("LEAK".to_owned(), look.bad()),
        Verdict::Unknown => (verdict.as_str().to_owned(), look.warning()),
        _ => (verdict.as_str().to_owned(), look.dim()),
    }
}

/// A severity as a word: what is bad stands out without colours.
pub fn severity_word(severity: Severity, short: bool) -> String {
    let mut word = word(&severity);
    if severity >= Severity::High {
        word.make_ascii_uppercase();
    }
    if short {
        word.truncate(4);
    }
    word
}

/// A resolver as it is shown: without the port of DNS (RFC 1035 section 4.2), which goes without saying.
pub fn resolver(addr: ResolverPlace) -> String {
    match addr.addr {
        ResolverAddr::Ip(ip) if addr.port == 53 => ip.to_string(),
        _ => addr.to_string(),
    }
}

/// A number in at most five characters.
pub fn short(number: u64) -> String {
    match number {
        0..100_000 => number.to_string(),
        100_000..10_000_000 => format!("{}k", number / 1000),
        _ => format!("{}M", number / 1_000_000),
    }
}

/// Times a second in at most five characters.
pub fn a_second(rate: f64) -> String {
    if rate < 0.05 {
        "0".to_owned()
    } else if rate < 100.0 {
        format!("{rate:.1}")
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is never negative, and events are counted in a u32"
        )]
        let whole = rate as u64;
        short(whole)
    }
}

/// The time of day to the second.
pub fn time(at: Timestamp) -> String {
    let mut text = at.time_of_day();
    text.truncate(8);
    text
}

fn last(row: &Row<'_>) -> Timestamp {
    match row {
        Row::App(row) => row.last,
        Row::Finding(row) => row.finding.ts,
        Row::Query(row) => row.ts,
        Row::Name(row) => row.last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_its_width() {
        assert_eq!(fit("abc", 5, false), "abc  ");
        assert_eq!(fit("abc", 5, true), "  abc");
        assert_eq!(fit("abcdef", 5, false), "abcd…");
        assert_eq!(fit("名前名前", 5, false), "名前…");
        assert_eq!(fit("名前名前", 4, false), "名… ");
        assert_eq!(fit("abc", 0, false), "");
    }

    #[test]
    fn columns_leave_room_for_the_one_that_takes_the_rest() {
        for list in [List::Apps, List::Findings, List::Queries, List::Names] {
            for width in 38..300 {
                let columns = columns(list, &Page::Overview, width);
                let widths = widths(&columns, width);
                let used = widths.iter().sum::<usize>() + widths.len() - 1;
                assert_eq!(used, width, "{list:?}");
                let rest = columns.iter().position(|column| column.width.is_none());
                assert!(
                    widths[rest.unwrap()] >= 14,
                    "{list:?} at {width}: {widths:?}"
                );
            }
        }
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(short(99_999), "99999");
        assert_eq!(short(1_234_567), "1234k");
        assert_eq!(short(12_345_678), "12M");
        assert_eq!(a_second(0.0), "0");
        assert_eq!(a_second(1.25), "1.2");
        assert_eq!(a_second(1234.0), "1234");
    }
}
