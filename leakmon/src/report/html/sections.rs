//! The parts of the page that are text and tables.

use maud::{Markup, html};

use super::{cell, more, named, section, t, table};
use crate::{
    report::{
        Change, Contents, Finding, Program,
        words::{
            NEVER_SEEN, by_verdict, counted, details, place, source, span, time, time_of_day, to,
            told_to, unseen, verdict,
        },
    },
    time::Timestamp,
};

/// What a hurried reader wants to know.
pub fn head(contents: &Contents) -> Markup {
    let totals = &contents.totals;
    let leaks = totals.leaks > 0;
    let tiles = [
        ("queries", totals.queries, false),
        (
            "queries leaked",
            totals.verdicts.leak,
            totals.verdicts.leak > 0,
        ),
        ("programs", totals.programs, false),
        ("programs leak", totals.leaking, totals.leaking > 0),
        ("events lost", totals.lost, totals.lost > 0),
    ];
    html! {
        h1 { "leakmon report" }
        @if let (Some(first), Some(last)) = (contents.first, contents.last) {
            p.period {
                "From " (when(first)) " to " (when(last)) " UTC, " (span(last.since(first)))
                "; made of " (counted(contents.sources.len() as u64, "file", "files")) "."
            }
        }
        div.verdict.bad[leaks] {
            p.say {
                span.mark aria-hidden="true" { (if leaks { "▲" } else { "○" }) }
                " " (verdict(totals)) "."
            }
            @if totals.findings > 0 {
                p {
                    (counted(totals.proven, "is proven", "are proven")) ", "
                    (totals.configured) " by what the program was told, "
                    (totals.observed) " by what it was seen to do"
                    @if totals.findings > totals.leaks {
                        "; " (counted(totals.findings - totals.leaks, "further finding is no leak by itself", "further findings are no leaks by themselves"))
                    }
                    "."
                }
            }
            @if !unseen(contents).is_empty() {
                p { "Not everything was seen: " a href="#limits" { "what was lost" } "." }
            }
        }
        ul.tiles {
            @for (what, count, is_bad) in tiles {
                li.bad[is_bad] { strong { (count) } " " span { (what) } }
            }
        }
    }
}

/// What to change, by program.
pub fn changes(contents: &Contents) -> Markup {
    let programs = contents.programs.listed.iter();
    let programs: Vec<&Program> = programs
        .filter(|program| !program.changes.listed.is_empty())
        .collect();
    if programs.is_empty() {
        return html! {};
    }
    section(
        "changes",
        "What to change",
        &html! {
            dl.changes {
                @for program in programs {
                    dt { (named(program.name.as_deref())) }
                    @for one in &program.changes.listed { dd { (change(one)) } }
                    @if program.changes.left_out > 0 {
                        dd { (more(program.changes.left_out, "pieces of advice")) }
                    }
                }
            }
        },
    )
}

fn change(change: &Change) -> Markup {
    html! {
        (t(&change.advice))
        " "
        span.why {
            @match (&change.leak, change.findings) {
                (_, findings @ 1..) => { "(" (counted(findings, "finding", "findings")) ")" }
                (Some(leak), _) if change.certain => { "(its settings leak " (t(leak)) ")" }
                (Some(leak), _) => { "(its settings may leak " (t(leak)) ")" }
                (None, _) => { "(by its settings)" }
            }
        }
    }
}

/// All findings with their evidence.
pub fn findings(contents: &Contents) -> Markup {
    const HEAD: [&str; 6] = [
        "Name",
        "Program",
        "Told to",
        "When (UTC)",
        "Severity",
        "Proof",
    ];
    let findings = &contents.findings;
    let content = html! {
        @if findings.listed.is_empty() {
            p { "Nothing." }
        } @else {
            table.findings role="table" {
                caption { "Findings, the worst first, each with its evidence" }
                thead role="rowgroup" {
                    tr role="row" { @for title in HEAD { th role="columnheader" scope="col" { (title) } } }
                }
                @for finding in &findings.listed {
                    tbody role="rowgroup" {
                        tr role="row" {
                            @for (title, cell) in HEAD.iter().zip(cells(finding)) {
                                td role="cell" data-label=(title) { div { (cell) } }
                            }
                        }
                        tr.evidence role="row" {
                            td role="cell" colspan=(HEAD.len()) { (evidence(finding, contents)) }
                        }
                    }
                }
            }
        }
        (more(findings.left_out, "findings"))
    };
    section("findings", "What was found", &content)
}

fn cells(finding: &Finding) -> [Markup; 6] {
    [
        html! {
            strong.x { (t(&finding.name)) }
            @if finding.count > 1 { " " span.times { (finding.count) " times" } }
        },
        html! {
            (named(finding.program.as_deref()))
            @if let Some(pid) = finding.pid { " " span.pid { "pid " (pid) } }
        },
        html! {
            @for way in &finding.told { span.way { (t(&to(way))) } }
            @if finding.told.is_empty() { "–" }
        },
        when(finding.first),
        severity(&finding.severity),
        confidence(&finding.confidence),
    ]
}

fn evidence(finding: &Finding, contents: &Contents) -> Markup {
    let id = place(contents, finding.source, finding.run, &finding.id);
    html! {
        details {
            summary { "Evidence of " (t(&id)) ": " (t(&finding.kind)) }
            @if let Some(meaning) = &finding.meaning {
                p { strong { (t(&finding.confidence)) } ": " (meaning) "." }
            }
            dl.facts {
                @if let Some(proxy) = &finding.proxy { dt { "past" } dd { (t(proxy)) } }
                @if let Some(exe) = &finding.exe { dt { "program" } dd { (t(exe)) } }
                @if let Some(cmdline) = &finding.cmdline {
                    dt { "command" } dd { code { (t(&cmdline.join(" "))) } }
                }
                @if let Some(user) = &finding.user { dt { "user" } dd { (t(user)) } }
                dt { "to stop it" } dd { (t(&finding.advice)) }
            }
            ol.chain {
                @for piece in &finding.evidence {
                    li {
                        span.at {
                            @if let Some(ts) = piece.ts { (time_of_day(ts)) } @else { "beforehand" }
                        }
                        " " span.source { (t(&piece.source)) }
                        " " span.x { (t(&piece.detail)) }
                    }
                }
            }
        }
    }
}

fn severity(word: &str) -> Markup {
    let (mark, class) = match word {
        "critical" => ("▲▲", "worst"),
        "high" => ("▲", "worst"),
        "medium" => ("◆", "middle"),
        _ => ("○", "least"),
    };
    html! { span class={ "grade " (class) } { span aria-hidden="true" { (mark) } " " (t(word)) } }
}

fn confidence(word: &str) -> Markup {
    let mark = match word {
        "proven" => "●●●",
        "configured" => "●●○",
        _ => "●○○",
    };
    html! { span.grade { span aria-hidden="true" { (mark) } " " (t(word)) } }
}

/// A point in time, in a form that a machine reads, too.
pub fn when(ts: Timestamp) -> Markup {
    html! { time datetime=(ts.to_string()) { (time(ts)) } }
}

/// What each program did and was told.
pub fn programs(contents: &Contents) -> Markup {
    let programs = &contents.programs;
    let content = html! {
        @for program in &programs.listed {
            article {
                h3 { (named(program.name.as_deref())) }
                p {
                    (counted(program.verdicts.sum(), "query", "queries")) ": "
                    (by_verdict(program.verdicts)) "; "
                    (counted(program.findings, "finding", "findings")) "."
                }
                @for posture in &program.postures.listed {
                    details {
                        summary { (t(&told_to(posture))) }
                        dl.facts {
                            @for (what, detail) in details(posture) {
                                dt { (t(&what)) } dd { (t(&detail)) }
                            }
                        }
                    }
                }
                (more(program.postures.left_out, "postures"))
                @if program.postures.listed.is_empty() && program.name.is_some() {
                    p.none { "Nothing that was saved tells of proxy settings of it." }
                }
            }
        }
        (more(programs.left_out, "programs"))
    };
    section(
        "programs",
        "The programs, and what they were told",
        &content,
    )
}

/// The queries that leaked.
pub fn queries(contents: &Contents) -> Markup {
    let queries = &contents.queries;
    if queries.listed.is_empty() {
        return html! {};
    }
    let rows: Vec<Vec<Markup>> = queries
        .listed
        .iter()
        .map(|query| {
            vec![
                html! { (&time(query.ts)[..10]) " " (time_of_day(query.ts)) },
                cell(&place(contents, query.source, query.run, &query.id)),
                html! { span.x { (t(&query.name)) } },
                html! { (t(&query.qtype)) " over " (t(&query.transport)) },
                html! { (named(query.program.as_deref())) },
                cell(&to(&query.way)),
                html! { (if query.escaped { "yes" } else { "not seen to" }) },
            ]
        })
        .collect();
    let head = [
        "When (UTC)",
        "Query",
        "Name",
        "Type",
        "Program",
        "To",
        "Left the machine",
    ];
    section(
        "queries",
        "Queries that leaked",
        &html! {
            details {
                summary { "List " (counted(rows.len() as u64, "query", "queries")) }
                (table("Queries that leaked, in the order in which they were asked", &head, &rows))
            }
            (more(queries.left_out, "queries that leaked"))
        },
    )
}

/// What stands against taking silence for proof.
pub fn limits(contents: &Contents) -> Markup {
    let losses = &contents.losses;
    let rows: Vec<Vec<Markup>> = losses
        .listed
        .iter()
        .map(|loss| {
            vec![
                when(loss.since),
                when(loss.ts),
                html! { (loss.events) },
                html! { (loss.queries) },
                cell(&loss.place),
            ]
        })
        .collect();
    let seen = unseen(contents);
    let content = html! {
        @if seen.is_empty() { p { "Nothing was lost." } }
        ul { @for words in &seen { li { (t(words)) } } }
        @if !rows.is_empty() {
            (table("Losses", &["From (UTC)", "To (UTC)", "Lost", "Of them questions", "Where"], &rows))
        }
        (more(losses.left_out, "losses"))
        p { "Whatever the run, leakmon does not see:" }
        ul { @for words in NEVER_SEEN { li { (words) } } }
    };
    section("limits", "What was lost, and what cannot be seen", &content)
}

/// What the words mean (docs/how-it-works.md).
pub fn legend() -> Markup {
    let words = [
        (
            "leak",
            "a program with a proxy asked for a name itself, so that its resolver learnt it",
        ),
        (
            "explained",
            "it did, for an honest reason: the proxy's own name, a name on its bypass list, or it asks for others",
        ),
        ("without a proxy", "no proxy is known for the program"),
        ("unknown", "too little is known, and leakmon does not guess"),
        (
            "●●● proven",
            "the proxy was then given the very address that the name was answered with; or the name must never leave the machine",
        ),
        (
            "●●○ configured",
            "the program was told to reach everything through a proxy",
        ),
        (
            "●○○ observed",
            "the program was seen to speak with a proxy before",
        ),
    ];
    section(
        "words",
        "The words",
        &html! { dl.facts { @for (word, meaning) in words { dt { (word) } dd { (meaning) } } } },
    )
}

/// What the report was made of.
pub fn sources(contents: &Contents) -> Markup {
    section(
        "sources",
        "Made of",
        &html! { ol { @for one in &contents.sources { li.x { (t(&source(one))) } } } },
    )
}
