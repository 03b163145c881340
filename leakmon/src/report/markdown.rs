//! The report as Markdown (GitHub's, for its tables), which can be read as it is, too.

use std::fmt::Write as _;

use super::{
    Contents, Finding, Program, Source,
    words::{
        NEVER_SEEN, by_verdict, counted, details, left_out, named, place, source, span, time,
        time_of_day, to, told_to, unseen, verdict,
    },
};
use crate::sink::printable;

/// All of it.
#[must_use]
pub fn text(contents: &Contents) -> String {
    let mut out = String::new();
    head(&mut out, contents);
    changes(&mut out, contents);
    findings(&mut out, contents);
    flows(&mut out, contents);
    timeline(&mut out, contents);
    postures(&mut out, contents);
    queries(&mut out, contents);
    limits(&mut out, contents);
    sources(&mut out, &contents.sources);
    out
}

/// Text from elsewhere, so that it is text and nothing else: neither mark-up nor HTML, and on one line.
fn t(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        if matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '&' | '~' | '#' | '!'
        ) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn line(out: &mut String, text: &str) {
    let _ = writeln!(out, "{text}");
}

fn section(out: &mut String, title: &str) {
    let _ = writeln!(out, "\n## {title}\n");
}

fn row(out: &mut String, cells: &[String]) {
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}

fn table(out: &mut String, head: &[&str]) {
    let _ = writeln!(out, "| {} |", head.join(" | "));
    let _ = writeln!(out, "|{}", "---|".repeat(head.len()));
}

fn more(out: &mut String, count: u64, what: &str) {
    if let Some(words) = left_out(count, what) {
        let _ = writeln!(out, "\n{words}.");
    }
}

fn head(out: &mut String, contents: &Contents) {
    let totals = &contents.totals;
    line(out, "# leakmon report\n");
    line(out, &format!("**{}.**\n", verdict(totals)));
    if let (Some(first), Some(last)) = (contents.first, contents.last) {
        line(
            out,
            &format!(
                "From {} to {} UTC, {}.\n",
                time(first),
                time(last),
                span(last.since(first))
            ),
        );
    }
    line(
        out,
        &format!(
            "- {}: {}",
            counted(totals.queries, "query", "queries"),
            by_verdict(totals.verdicts)
        ),
    );
    line(
        out,
        &format!(
            "- {}, {} of them about a leak: {} proven, {} configured, {} observed",
            counted(totals.findings, "finding", "findings"),
            totals.leaks,
            totals.proven,
            totals.configured,
            totals.observed
        ),
    );
    line(
        out,
        &format!(
            "- {}, of which {}; {}",
            counted(totals.programs, "program", "programs"),
            counted(totals.leaking, "leaks", "leak"),
            counted(totals.proxies, "request to a proxy", "requests to proxies")
        ),
    );
    if !unseen(contents).is_empty() {
        line(
            out,
            "- Not everything was seen: what was lost is told below.",
        );
    }
}

fn changes(out: &mut String, contents: &Contents) {
    let programs = &contents.programs.listed;
    if programs
        .iter()
        .all(|program| program.changes.listed.is_empty())
    {
        return;
    }
    section(out, "What to change");
    for program in programs {
        if program.changes.listed.is_empty() {
            continue;
        }
        line(out, &format!("- **{}**", t(named(program.name.as_deref()))));
        for change in &program.changes.listed {
            let why = match (&change.leak, change.findings) {
                (_, findings @ 1..) => counted(findings, "finding", "findings"),
                (Some(leak), _) if change.certain => format!("its settings leak {}", t(leak)),
                (Some(leak), _) => format!("its settings may leak {}", t(leak)),
                (None, _) => "by its settings".to_owned(),
            };
            line(out, &format!("  - {} ({why})", t(&change.advice)));
        }
        if let Some(words) = left_out(program.changes.left_out, "pieces of advice") {
            line(out, &format!("  - {words}"));
        }
    }
}

fn findings(out: &mut String, contents: &Contents) {
    section(out, "What was found");
    if contents.findings.listed.is_empty() {
        line(out, "Nothing.");
        return;
    }
    table(
        out,
        &[
            "finding",
            "name",
            "program",
            "told to",
            "when (UTC)",
            "how often",
            "severity",
            "proof",
        ],
    );
    for finding in &contents.findings.listed {
        let told: Vec<String> = finding.told.iter().map(|way| t(&to(way))).collect();
        row(
            out,
            &[
                format!(
                    "{} ({})",
                    t(&place(contents, finding.source, finding.run, &finding.id)),
                    t(&finding.kind)
                ),
                t(&finding.name),
                who(finding),
                told.join("; "),
                time(finding.first),
                finding.count.to_string(),
                t(&finding.severity),
                t(&finding.confidence),
            ],
        );
    }
    more(out, contents.findings.left_out, "findings");
    for finding in &contents.findings.listed {
        evidence(out, finding, contents);
    }
}

fn evidence(out: &mut String, finding: &Finding, contents: &Contents) {
    let _ = writeln!(
        out,
        "\n### {}: {}, {}\n",
        t(&place(contents, finding.source, finding.run, &finding.id)),
        t(&finding.name),
        who(finding)
    );
    if let Some(meaning) = &finding.meaning {
        line(out, &format!("{}: {meaning}.\n", t(&finding.confidence)));
    }
    for piece in &finding.evidence {
        let at = piece
            .ts
            .map_or_else(|| "beforehand".to_owned(), time_of_day);
        line(
            out,
            &format!("- {at} {}: {}", t(&piece.source), t(&piece.detail)),
        );
    }
    line(out, &format!("- to stop it: {}", t(&finding.advice)));
}

fn who(finding: &Finding) -> String {
    let name = t(named(finding.program.as_deref()));
    match finding.pid {
        Some(pid) => format!("{name} (pid {pid})"),
        None => name,
    }
}

fn flows(out: &mut String, contents: &Contents) {
    if contents.flows.listed.is_empty() {
        return;
    }
    section(out, "Who asked whom");
    table(
        out,
        &[
            "program",
            "resolver",
            "interface",
            "listens there",
            "queries",
            "leaked",
            "left the machine",
            "findings",
        ],
    );
    for flow in &contents.flows.listed {
        row(
            out,
            &[
                t(named(flow.program.as_deref())),
                t(&flow.way.resolver),
                t(flow.way.interface.as_deref().unwrap_or("")),
                t(flow.way.via.as_deref().unwrap_or("")),
                flow.verdicts.sum().to_string(),
                flow.verdicts.leak.to_string(),
                flow.escaped.to_string(),
                flow.findings.to_string(),
            ],
        );
    }
    more(out, contents.flows.left_out, "ways");
}

fn timeline(out: &mut String, contents: &Contents) {
    let busy = || {
        let buckets = contents.timeline.buckets.iter();
        buckets.filter(|bucket| bucket.verdicts.sum() > 0)
    };
    if busy().next().is_none() {
        return;
    }
    section(out, "When");
    let width = std::time::Duration::from_millis(contents.timeline.width_ms);
    line(
        out,
        &format!(
            "Queries within {} each; where there are none nothing is listed.\n",
            span(width)
        ),
    );
    table(
        out,
        &[
            "from (UTC)",
            "queries",
            "leaked",
            "explained",
            "without a proxy",
            "unknown",
        ],
    );
    for bucket in busy() {
        row(
            out,
            &[
                format!("{} {}", &time(bucket.ts)[..10], time_of_day(bucket.ts)),
                bucket.verdicts.sum().to_string(),
                bucket.verdicts.leak.to_string(),
                bucket.verdicts.explained.to_string(),
                bucket.verdicts.no_proxy.to_string(),
                bucket.verdicts.unknown.to_string(),
            ],
        );
    }
}

fn postures(out: &mut String, contents: &Contents) {
    let programs = &contents.programs;
    section(out, "Programs");
    for program in &programs.listed {
        line(
            out,
            &format!(
                "- **{}**: {}: {}; {}",
                t(named(program.name.as_deref())),
                counted(program.verdicts.sum(), "query", "queries"),
                by_verdict(program.verdicts),
                counted(program.findings, "finding", "findings"),
            ),
        );
        told(out, program);
    }
    more(out, programs.left_out, "programs");
}

fn told(out: &mut String, program: &Program) {
    for posture in &program.postures.listed {
        line(out, &format!("  - {}", t(&told_to(posture))));
        for (what, detail) in details(posture) {
            line(out, &format!("    - {}: {}", t(&what), t(&detail)));
        }
    }
    if let Some(words) = left_out(program.postures.left_out, "postures") {
        line(out, &format!("  - {words}"));
    }
}

fn queries(out: &mut String, contents: &Contents) {
    if contents.queries.listed.is_empty() {
        return;
    }
    section(out, "Queries that leaked");
    table(
        out,
        &[
            "when (UTC)",
            "query",
            "name",
            "type",
            "over",
            "program",
            "to",
            "left the machine",
        ],
    );
    for query in &contents.queries.listed {
        row(
            out,
            &[
                format!("{} {}", &time(query.ts)[..10], time_of_day(query.ts)),
                t(&place(contents, query.source, query.run, &query.id)),
                t(&query.name),
                t(&query.qtype),
                t(&query.transport),
                t(named(query.program.as_deref())),
                t(&to(&query.way)),
                if query.escaped { "yes" } else { "not seen to" }.to_owned(),
            ],
        );
    }
    more(out, contents.queries.left_out, "queries that leaked");
}

fn limits(out: &mut String, contents: &Contents) {
    section(out, "What was lost, and what cannot be seen");
    for words in unseen(contents) {
        line(out, &format!("- {}", t(&words)));
    }
    for loss in &contents.losses.listed {
        line(
            out,
            &format!(
                "- from {} to {} UTC: {} lost ({}), {} of them questions",
                time(loss.since),
                time(loss.ts),
                loss.events,
                t(&loss.place),
                loss.queries
            ),
        );
    }
    if let Some(words) = left_out(contents.losses.left_out, "losses") {
        line(out, &format!("- {words}"));
    }
    for words in NEVER_SEEN {
        line(out, &format!("- never seen: {words}"));
    }
}

fn sources(out: &mut String, sources: &[Source]) {
    section(out, "Made of");
    for (number, one) in (1..).zip(sources) {
        line(out, &format!("{number}. {}", t(&source(one))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_stays_text() {
        assert_eq!(
            t("a|b\n<img src=x>[c](d)`e`*_&amp;\u{202e}"),
            r"a\|b\\u{a}\<img src=x\>\[c\](d)\`e\`\*\_\&amp;\\u{202e}"
        );
    }
}
