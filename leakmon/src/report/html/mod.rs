//! The report as a page of HTML that needs nothing else: no script, no font, no picture from elsewhere, and a policy that
//! keeps a browser from asking anybody for anything.
//!
//! Every text goes through [`maud`], which escapes it, and text from elsewhere through [`t`] before, which writes out what
//! hides or reorders other text.

mod flows;
mod sections;
mod timeline;

use std::borrow::Cow;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Contents, words};
use crate::sink::printable;

/// What the browser is allowed to do (<https://www.w3.org/TR/CSP3/>): nothing but styles that stand in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn page(contents: &Contents) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { "leakmon report" }
                // Without one a browser would ask a web server for it.
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { (sections::head(contents)) }
                main {
                    (sections::changes(contents))
                    (sections::findings(contents))
                    (flows::section(contents))
                    (timeline::section(&contents.timeline))
                    (sections::programs(contents))
                    (sections::queries(contents))
                    (sections::limits(contents))
                    (sections::legend())
                    (sections::sources(contents))
                }
                footer { p { "Made by leakmon. This page holds private names, asks nobody for anything, and runs no script." } }
            }
        }
    }
    .into_string()
}

/// Text from elsewhere.
fn t(text: &str) -> Cow<'_, str> {
    printable(text)
}

/// A program's name.
fn named(name: Option<&str>) -> Cow<'_, str> {
    t(words::named(name))
}

/// A section with its heading.
fn section(id: &str, title: &str, content: &Markup) -> Markup {
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (content)
        }
    }
}

/// What is not listed.
fn more(count: u64, what: &str) -> Markup {
    html! {
        @if let Some(words) = words::left_out(count, what) {
            p.more { (words) "." }
        }
    }
}

/// A table that becomes a list of cards where there is no room for one. The roles are said because a browser forgets them
/// as soon as a table is not displayed as one.
fn table(caption: &str, head: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        table role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" {
                    @for title in head { th role="columnheader" scope="col" { (title) } }
                }
            }
            tbody role="rowgroup" {
                @for cells in rows {
                    tr role="row" {
                        @for (title, cell) in head.iter().zip(cells) {
                            td role="cell" data-label=(title) { div { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// A cell of text from elsewhere.
fn cell(text: &str) -> Markup {
    html! { (t(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{
        Change, Finding, Flow, Listed, Loss, Piece, Posture, Program, Query, SettingLeak, Source,
        Totals, Verdicts, Way,
    };
    use crate::time::Timestamp;

    const EVIL: &str =
        "</style><script>alert(1)</script>\"'><img src=//x onerror=y>&lt;\u{202e}\x1b";

    fn evil() -> String {
        EVIL.to_owned()
    }

    fn listed<T>(one: T) -> Listed<T> {
        Listed {
            listed: vec![one],
            left_out: 3,
        }
    }

    /// A report in which everything that can come from elsewhere is hostile.
    fn hostile() -> Contents {
        let verdicts = Verdicts {
            leak: 2,
            ..Verdicts::default()
        };
        let way = Way {
            resolver: evil(),
            interface: Some(evil()),
            via: Some(evil()),
        };
        let piece = Piece {
            ts: Some(Timestamp(5)),
            source: evil(),
            detail: evil(),
        };
        Contents {
            sources: vec![Source {
                path: evil(),
                form: evil(),
                runs: 1,
                ended: 0,
                first: Some(Timestamp(1)),
                last: Some(Timestamp(9)),
                fault: Some(evil()),
            }],
            totals: Totals {
                verdicts,
                leaks: 1,
                ..Totals::default()
            },
            programs: listed(Program {
                name: Some(evil()),
                verdicts,
                findings: 1,
                leaks: 1,
                changes: listed(Change {
                    advice: evil(),
                    findings: 0,
                    leak: Some(evil()),
                    certain: true,
                }),
                postures: listed(Posture {
                    processes: 0,
                    profile: Some(evil()),
                    words: evil(),
                    route: evil(),
                    resolves: evil(),
                    evidence: vec![piece.clone()],
                    bypass: vec![evil()],
                    leaks: vec![SettingLeak {
                        what: evil(),
                        certain: false,
                        stop: evil(),
                    }],
                    overruled: vec![piece.clone()],
                }),
            }),
            flows: listed(Flow {
                program: Some(evil()),
                way: way.clone(),
                verdicts,
                escaped: 1,
                findings: 1,
            }),
            findings: listed(Finding {
                source: 1,
                run: 1,
                id: evil(),
                kind: evil(),
                severity: evil(),
                confidence: evil(),
                meaning: None,
                leak: true,
                program: Some(evil()),
                pid: Some(1),
                exe: Some(evil()),
                cmdline: Some(vec![evil()]),
                user: Some(evil()),
                name: evil(),
                count: 1,
                first: Timestamp(1),
                last: Timestamp(2),
                told: vec![way.clone()],
                proxy: Some(evil()),
                evidence: vec![piece],
                advice: evil(),
            }),
            queries: listed(Query {
                source: 1,
                run: 1,
                id: evil(),
                ts: Timestamp(1),
                program: Some(evil()),
                name: evil(),
                qtype: evil(),
                transport: evil(),
                way,
                escaped: true,
            }),
            losses: listed(Loss {
                source: 1,
                since: Timestamp(0),
                ts: Timestamp(1),
                events: 1,
                queries: 1,
                place: evil(),
            }),
            ..Contents::default()
        }
    }

    #[test]
    fn nothing_from_elsewhere_becomes_mark_up() {
        let page = page(&hostile());
        assert_eq!(page.matches("<style>").count(), 1);
        assert_eq!(page.matches("</style>").count(), 1);
        for bad in [
            "<script", "<img", "\u{202e}", "\x1b", "http:", "https:", "url(",
        ] {
            assert!(!page.contains(bad), "{bad:?}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)"), "it is shown");
        assert!(page.contains(&format!("content=\"{POLICY}\"")));
        // Every place of it is shown, one way or another.
        assert!(page.matches("alert(1)").count() > 30);
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        let page = page(&Contents::default());
        assert!(page.contains("No query was seen") && page.ends_with("</html>"));
    }
}
