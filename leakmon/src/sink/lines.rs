//! What a person reads: one line a leak, its proof and advice beneath.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    time::Duration,
};

use lru::LruCache;

use super::{Sink, printable};
use crate::{
    model::{
        Actor, Answer, App, Confidence, Finding, FindingKind, Loss, ProxySession, Query, Report,
        Resolves, RouteKind, Setup, Severity, Summary, Verdict,
    },
    time::Timestamp,
};

/// A leak waits this long for its proof, so that it is one line and not two.
pub(super) const PROOF_WAIT: Duration = Duration::from_millis(400);
/// Queries whose answers are still to be shown.
const MAX_OPEN: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Findings of which is remembered how sure they were when they were written.
const MAX_WRITTEN: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Every query, answer and proxy request, not only leaks.
    pub all: bool,
    /// Colours.
    pub color: bool,
}

/// Writes reports as text.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    style: Style,
    /// Findings that wait for their proof.
    waiting: Vec<(Timestamp, Finding)>,
    /// Findings that were written, and how sure they were.
    written: LruCache<String, Confidence>,
    /// What was asked, for the answers' lines.
    open: LruCache<String, String>,
    /// The verdicts of queries as they were written.
    shown: LruCache<String, Verdict>,
}

const RED: &str = "\x1b[1;31m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl<W: Write> Lines<W> {
    /// A sink that writes to `out`.
    pub fn new(out: W, style: Style) -> Self {
        Self {
            out,
            style,
            waiting: Vec::new(),
            written: LruCache::new(MAX_WRITTEN),
            open: LruCache::new(MAX_OPEN),
            shown: LruCache::new(MAX_OPEN),
        }
    }

    fn paint(&self, color: &'static str) -> (&'static str, &'static str) {
        if self.style.color {
            (color, PLAIN)
        } else {
            ("", "")
        }
    }

    fn query(&mut self, query: &Query) -> io::Result<()> {
        // That a query left by way of a resolver is in that resolver's own line.
        if !self.style.all || self.shown.put(query.id.clone(), query.verdict) == Some(query.verdict)
        {
            return Ok(());
        }
        let (dim, plain) = self.paint(DIM);
        let (red, end) = if query.verdict == Verdict::Leak {
            self.paint(RED)
        } else {
            ("", "")
        };
        let asked = format!("{} {}", query.qtype, printable(&query.name));
        let again = if query.update { "again: " } else { "" };
        writeln!(
            self.out,
            "{dim}{}{plain} query    {}  {again}{asked} of {} over {}{}  {red}{}{end}{}",
            query.ts.time_of_day(),
            who(query.app.as_deref(), query.process.as_ref()),
            printable(&query.resolver.place().to_string()),
            query.transport.as_str(),
            match (&query.via, &query.resolver.interface) {
                (Some(resolver), _) => format!(
                    " ({}, pid {})",
                    printable(resolver.program().unwrap_or("an unknown program")),
                    resolver.pid
                ),
                (None, Some(interface)) => format!(" ({})", printable(interface)),
                (None, None) => String::new(),
            },
            query.verdict.as_str(),
            query
                .explanation
                .as_deref()
                .map(|why| format!(": {}", printable(why)))
                .unwrap_or_default(),
        )?;
        if !query.update {
            self.open.put(query.id.clone(), asked);
        }
        Ok(())
    }

    fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        let Some(asked) = self.open.pop(&answer.query) else {
            return Ok(());
        };
        let (dim, plain) = self.paint(DIM);
        let addresses: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
        writeln!(
            self.out,
            "{dim}{} answer   {asked}: {} {}{plain}",
            answer.ts.time_of_day(),
            answer.rcode,
            addresses.join(" "),
        )
    }

    fn proxy(&mut self, session: &ProxySession) -> io::Result<()> {
        if !self.style.all {
            return Ok(());
        }
        let (dim, plain) = self.paint(DIM);
        let target = match (&session.target.name, session.target.addr) {
            (Some(name), _) => format!("the name {}", printable(name)),
            (None, Some(addr)) => format!("the address {addr}"),
            (None, None) => "nothing".to_owned(),
        };
        writeln!(
            self.out,
            "{dim}{} proxy    {}  gave {} {target} port {} by {}{}{plain}",
            session.ts.time_of_day(),
            who(session.app.as_deref(), session.process.as_ref()),
            session.proxy,
            session.target.port,
            session.protocol.as_str(),
            match session.accepted {
                Some(true) => ": granted",
                Some(false) => ": refused",
                None => ": no reply yet",
            },
        )
    }

    fn posture(&mut self, setup: &Setup) -> io::Result<()> {
        if !self.style.all {
            return Ok(());
        }
        let (dim, plain) = self.paint(DIM);
        let app = setup.app.as_deref();
        writeln!(
            self.out,
            "{dim}{} {:<8} {}  {}{plain}",
            setup.ts.time_of_day(),
            if setup.update { "changed" } else { "told" },
            who(app, None),
            printable(&in_a_line(setup)),
        )
    }

    fn finding(&mut self, finding: &Finding) -> io::Result<()> {
        if let Some(waiting) = self
            .waiting
            .iter_mut()
            .find(|(_, waiting)| waiting.id == finding.id)
        {
            // Still the same finding to its reader, who has not seen it.
            waiting.1 = Finding {
                ts: waiting.1.ts,
                ..finding.clone()
            };
            return Ok(());
        }
        match self.written.get(&finding.id) {
            None => {
                self.waiting
                    .push((finding.ts.plus(PROOF_WAIT), finding.clone()));
                Ok(())
            }
            Some(&known) if known < finding.confidence => self.write_finding(finding),
            Some(_) => Ok(()),
        }
    }

    fn write_finding(&mut self, finding: &Finding) -> io::Result<()> {
        let again = self
            .written
            .put(finding.id.clone(), finding.confidence)
            .is_some();
        let (red, plain) = if finding.severity >= Severity::Medium {
            self.paint(RED)
        } else {
            ("", "")
        };
        let did = match (finding.kind, &finding.proxy) {
            (FindingKind::SelfResolution, Some(proxy)) => format!(
                "resolved {} itself, past {}",
                printable(&finding.name),
                printable(&proxy.to_string())
            ),
            (FindingKind::SelfResolution, None) => {
                format!("resolved {} itself", printable(&finding.name))
            }
            (FindingKind::SpecialName, _) => format!(
                "asked DNS for {}, a name that must never leave the machine",
                printable(&finding.name)
            ),
            (FindingKind::ProxyBypass, _) => {
                format!("connected to {} past its proxy", printable(&finding.name))
            }
            (FindingKind::LiteralAddress, _) => format!(
                "gave its proxy the bare address {}",
                printable(&finding.name)
            ),
        };
        writeln!(
            self.out,
            "{} {red}{:<8}{plain} {}  {}{did}  [{}]{}",
            finding.ts.time_of_day(),
            if finding.kind.is_leak() {
                "LEAK"
            } else {
                "note"
            },
            who(finding.app.as_deref(), finding.process.as_ref()),
            if again { "is surer now: " } else { "" },
            finding.confidence.as_str(),
            if finding.count > 1 {
                format!(" {} times", finding.count)
            } else {
                String::new()
            },
        )?;
        for link in &finding.evidence {
            writeln!(
                self.out,
                "    {:<13}{}",
                link.evidence.source,
                printable(&link.evidence.detail)
            )?;
        }
        writeln!(
            self.out,
            "    {:<13}{}",
            "to stop it",
            printable(&finding.advice)
        )
    }

    fn loss(&mut self, loss: &Loss) -> io::Result<()> {
        if loss.place != "ring-buffer" {
            return writeln!(
                self.out,
                "{} LOST     track of {} since {}: too many wait for their answers at once",
                loss.ts.time_of_day(),
                counted(loss.events, "query", "queries"),
                loss.since.time_of_day(),
            );
        }
        writeln!(
            self.out,
            "{} LOST     {} since {}, {} of them questions: what they would have shown is not known; --buffer gives more room",
            loss.ts.time_of_day(),
            counted(loss.events, "event", "events"),
            loss.since.time_of_day(),
            loss.queries,
        )
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        self.write_due(|_| true)?;
        let queries: u64 = summary.apps.iter().map(|app| app.queries).sum();
        writeln!(
            self.out,
            "{} by {}, {}; {} lost, {} not readable as DNS",
            counted(queries, "query", "queries"),
            counted(summary.apps.len() as u64, "program", "programs"),
            counted(summary.findings, "finding", "findings"),
            counted(summary.lost, "event", "events"),
            counted(summary.undecoded, "message", "messages"),
        )?;
        for app in &summary.apps {
            writeln!(
                self.out,
                "    {:<20} {:>14}: {} leaked, {} explained, {} without a proxy, {} unknown",
                printable(app.app.as_deref().unwrap_or("(asker unknown)")),
                counted(app.queries, "query", "queries"),
                app.leak,
                app.explained,
                app.no_proxy,
                app.unknown,
            )?;
        }
        Ok(())
    }

    fn write_due(&mut self, due: impl Fn(Timestamp) -> bool) -> io::Result<()> {
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(deadline, _)| due(*deadline));
        self.waiting = waiting;
        let ready: Vec<(Timestamp, Finding)> = ready;
        for (_, finding) in &ready {
            self.write_finding(finding)?;
        }
        Ok(())
    }
}

impl<W: Write> Sink for Lines<W> {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        match report {
            Report::Query(query) => self.query(query),
            Report::Answer(answer) => self.answer(answer),
            Report::Proxy(session) => self.proxy(session),
            Report::Posture(setup) => self.posture(setup),
            // Only an audit says it, and writes it in a manner of its own.
            Report::Machine(_) => Ok(()),
            Report::Finding(finding) => self.finding(finding),
            Report::Loss(loss) => self.loss(loss),
            Report::Summary(summary) => self.summary(summary),
        }
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        self.write_due(|deadline| deadline <= now)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Where a program's connections go and who resolves, in a line.
pub fn in_a_line(setup: &Setup) -> String {
    let proxy = || {
        setup
            .proxy
            .as_ref()
            .map_or_else(|| "a proxy".to_owned(), ToString::to_string)
    };
    let names = match setup.resolves {
        Resolves::Local => "resolves names itself",
        Resolves::Remote => "leaves names to the proxy",
        Resolves::Depends => "resolves names itself for some of them",
        Resolves::Unknown => "who resolves names is not known",
    };
    let route = match setup.route {
        RouteKind::Untold => "told nothing about a proxy".to_owned(),
        RouteKind::Direct => "told to use no proxy".to_owned(),
        RouteKind::Proxy => format!("told to use {} for everything; {names}", proxy()),
        RouteKind::Depends => format!("told to use {} for some connections", proxy()),
        RouteKind::Unknown => "whether it uses a proxy is not known".to_owned(),
    };
    match &setup.role {
        Some(role) if setup.route == RouteKind::Untold => role.clone(),
        Some(role) => format!("{role}; {route}"),
        None => route,
    }
}

/// A number with its noun.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The app and, when another of its processes acted, that one.
fn who(app: Option<&App>, actor: Option<&Actor>) -> String {
    let Some(app) = app else {
        return "(asker unknown)".to_owned();
    };
    let name = printable(&app.name);
    match actor {
        Some(actor) if actor.process.pid != app.pid => {
            format!("{name} (pid {}, by its pid {})", app.pid, actor.process.pid)
        }
        _ => format!("{name} (pid {})", app.pid),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Evidence, Link, Process, ProxySetting, Resolves};

    fn finding(confidence: Confidence, update: bool) -> Report {
        let process = Arc::new(Process::unread(7, None));
        Report::Finding(Box::new(Finding {
            count: 1,
            ts: Timestamp(1_000_000_000),
            id: "f1".into(),
            update,
            kind: FindingKind::SelfResolution,
            severity: Severity::High,
            confidence,
            app: Some(Arc::new(App {
                name: "b\u{1b}[31mad".into(),
                pid: 7,
                id: process.id(),
            })),
            process: Some(Actor {
                process,
                thread: None,
            }),
            name: "page.example".into(),
            queries: vec!["q1".into()],
            proxy: Some(ProxySetting {
                scheme: "socks5".into(),
                addr: "fd00::1".into(),
                port: 1080,
                resolves: Resolves::Remote,
            }),
            evidence: vec![Link {
                ts: None,
                evidence: Evidence::new("command-line", "a\nb"),
            }],
            advice: "change it".into(),
        }))
    }

    fn lines() -> Lines<Vec<u8>> {
        Lines::new(Vec::new(), Style::default())
    }

    fn text(lines: &Lines<Vec<u8>>) -> String {
        String::from_utf8(lines.out.clone()).unwrap()
    }

    #[test]
    fn a_leak_waits_for_its_proof_and_is_one_line() {
        let mut lines = lines();
        lines
            .report(&finding(Confidence::Configured, false))
            .unwrap();
        lines.tick(Timestamp(1_100_000_000)).unwrap();
        assert_eq!(text(&lines), "");
        lines.report(&finding(Confidence::Proven, true)).unwrap();
        lines.tick(Timestamp(1_400_000_000)).unwrap();
        let text = text(&lines);
        assert_eq!(text.matches("LEAK").count(), 1, "{text}");
        assert!(
            text.contains("past socks5://[fd00::1]:1080  [proven]"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn a_proof_that_comes_late_is_said_and_repetition_is_not() {
        let mut lines = lines();
        lines.report(&finding(Confidence::Observed, false)).unwrap();
        lines.tick(Timestamp(2_000_000_000)).unwrap();
        lines.report(&finding(Confidence::Observed, true)).unwrap();
        lines.report(&finding(Confidence::Proven, true)).unwrap();
        lines.report(&finding(Confidence::Proven, true)).unwrap();
        let text = text(&lines);
        assert_eq!(text.matches("LEAK").count(), 2, "{text}");
        assert_eq!(text.matches("is surer now").count(), 1, "{text}");
    }

    #[test]
    fn nothing_waits_past_the_summary_and_nothing_hostile_is_printed() {
        let mut lines = lines();
        lines.report(&finding(Confidence::Observed, false)).unwrap();
        lines.report(&Report::Summary(Summary::default())).unwrap();
        let text = text(&lines);
        assert!(text.contains(r"b\u{1b}[31mad"), "{text}");
        assert!(text.contains(r"a\u{a}b"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
