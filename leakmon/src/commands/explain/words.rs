//! The chain of a finding for people to read.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::chain::Chain;
use crate::{
    saved::{Answer, Evidence, Finding, ProxySession, Query},
    sink::printable,
    time::Timestamp,
};

const RED: &str = "\x1b[1;31m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Writes all of it.
///
/// # Errors
/// When it cannot be written.
pub fn write(out: &mut impl Write, chain: &Chain, color: bool) -> io::Result<()> {
    let mut page = Page { out, color };
    page.head(&chain.finding)?;
    page.told(&chain.finding)?;
    page.timeline(chain)?;
    page.section("to stop it")?;
    page.line(&[("    ", ""), (&chain.finding.advice, "")])
}

/// Something that happened, with what is known of it beneath.
struct Happened<'a> {
    at: Timestamp,
    source: &'a str,
    words: String,
    more: Vec<String>,
}

struct Page<'a, W> {
    out: &'a mut W,
    color: bool,
}

impl<W: Write> Page<'_, W> {
    /// Writes pieces of text, each in its colour, as a line. Whatever it comes from, nothing in it reaches the terminal
    /// that the terminal would act on.
    fn line(&mut self, pieces: &[(&str, &str)]) -> io::Result<()> {
        for (text, color) in pieces {
            let (color, plain) = if self.color && !color.is_empty() {
                (*color, PLAIN)
            } else {
                ("", "")
            };
            write!(self.out, "{color}{}{plain}", printable(text))?;
        }
        writeln!(self.out)
    }

    fn section(&mut self, title: &str) -> io::Result<()> {
        self.line(&[])?;
        self.line(&[(title, BOLD)])
    }

    fn field(&mut self, what: &str, value: &str) -> io::Result<()> {
        self.line(&[(&format!("    {what:<14}"), DIM), (value, "")])
    }

    fn head(&mut self, finding: &Finding) -> io::Result<()> {
        let color = match finding.severity.as_str() {
            "info" | "low" => BOLD,
            _ => RED,
        };
        let title = format!(
            "{}  {}  {} severity  {}",
            finding.id, finding.kind, finding.severity, finding.confidence
        );
        self.line(&[(&title, color)])?;
        self.field(
            "program",
            &finding.app.as_ref().map_or_else(
                || "(asker unknown)".to_owned(),
                |app| format!("{} (pid {})", app.name, app.pid),
            ),
        )?;
        if let Some(process) = &finding.process {
            if finding
                .app
                .as_ref()
                .is_some_and(|app| app.pid != process.pid)
            {
                self.field("by its process", &process.pid.to_string())?;
            }
            self.field("executable", process.exe.as_deref().unwrap_or("not known"))?;
            let command = process.cmdline.as_deref();
            self.field(
                "command line",
                &command.map_or_else(|| "not known".to_owned(), in_shell),
            )?;
            let user = match (&process.user, process.uid) {
                (Some(user), _) => user.clone(),
                (None, Some(uid)) => format!("uid {uid}"),
                (None, None) => "not known".to_owned(),
            };
            self.field("user", &user)?;
        }
        let what = if finding.name.parse::<std::net::IpAddr>().is_ok() {
            "address"
        } else {
            "name"
        };
        self.field(what, &finding.name)?;
        self.field(
            "how often",
            &match finding.count {
                1 => "once".to_owned(),
                2 => "twice".to_owned(),
                count => format!("{count} times"),
            },
        )?;
        if let Some(proxy) = &finding.proxy {
            let resolves = match proxy.resolves.as_str() {
                "local" => "with it the program looks up names itself",
                "remote" => "it is to look up the names",
                "depends" => "who looks up names depends",
                _ => "who is to look up names is not known",
            };
            self.field("proxy", &format!("{proxy}; {resolves}"))?;
        }
        if let Some(meaning) = finding.meaning() {
            self.line(&[])?;
            self.line(&[(&finding.confidence, BOLD), (": ", ""), (meaning, "")])?;
        }
        Ok(())
    }

    fn told(&mut self, finding: &Finding) -> io::Result<()> {
        let told: Vec<&Evidence> = finding
            .evidence
            .iter()
            .filter(|piece| piece.ts.is_none())
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        self.section("told beforehand")?;
        for piece in told {
            self.field(&piece.source, &piece.detail)?;
        }
        Ok(())
    }

    fn timeline(&mut self, chain: &Chain) -> io::Result<()> {
        let all = happened(chain);
        let Some(first) = all.first().map(|first| first.at) else {
            return Ok(());
        };
        self.section("what happened")?;
        for (index, entry) in all.iter().enumerate() {
            if index == 0 {
                self.line(&[("    ", ""), (&first.local(), DIM)])?;
            }
            let offset = offset(entry.at.since(first));
            self.line(&[
                (&format!("    {offset:>12}  "), DIM),
                (&format!("{:<11}", entry.source), BOLD),
                (&entry.words, ""),
            ])?;
            for more in &entry.more {
                self.line(&[(&" ".repeat(29), ""), (more, DIM)])?;
            }
        }
        if chain.more_proxies > 0 {
            let more = format!(
                "    and {} more requests to proxies for this name or its addresses",
                chain.more_proxies
            );
            self.line(&[(&more, DIM)])?;
        }
        let listed = chain.finding.queries.len();
        let seen = chain.queries.len();
        if seen < listed {
            let missing = format!(
                "    {} of its {listed} queries are not in what was saved",
                listed - seen
            );
            self.line(&[(&missing, DIM)])?;
        }
        Ok(())
    }
}

/// All that happened, in its order. What the evidence tells of already is not told twice.
fn happened(chain: &Chain) -> Vec<Happened<'_>> {
    let mut queries: Vec<&Query> = chain.queries.iter().collect();
    let mut answers: Vec<&Answer> = chain.answers.iter().collect();
    let mut proxies: Vec<&ProxySession> = chain.proxies.iter().collect();
    let mut all = Vec::new();
    for piece in &chain.finding.evidence {
        let Some(at) = piece.ts else { continue };
        let more = match piece.source.as_str() {
            "query" => take(&mut queries, |query| {
                query.ts == at
                    && piece
                        .detail
                        .contains(&format!(" {} {} ", query.qtype, query.name))
            })
            .map(of_query),
            "answer" => take(&mut answers, |answer| {
                answer.ts == at && belongs(chain, answer, &piece.detail)
            })
            .map(|answer| vec![of_answer(chain, answer)]),
            "handshake" => take(&mut proxies, |session| session.ts == at)
                .map(|session| vec![of_proxy(session)]),
            _ => None,
        };
        all.push(Happened {
            at,
            source: &piece.source,
            words: piece.detail.clone(),
            more: more.unwrap_or_default(),
        });
    }
    all.extend(queries.into_iter().map(|query| Happened {
        at: query.ts,
        source: "query",
        words: format!("asked {} {}", query.qtype, query.name),
        more: of_query(query),
    }));
    all.extend(answers.into_iter().map(|answer| Happened {
        at: answer.ts,
        source: "answer",
        words: of_answer(chain, answer),
        more: Vec::new(),
    }));
    all.extend(proxies.into_iter().map(|session| Happened {
        at: session.ts,
        source: "proxy",
        words: of_proxy(session),
        more: Vec::new(),
    }));
    // Stable: what happened at the same time stays in the order of the chain.
    all.sort_by_key(|entry| entry.at);
    all
}

/// The first that fits, which is then gone.
fn take<'a, T>(from: &mut Vec<&'a T>, fits: impl Fn(&T) -> bool) -> Option<&'a T> {
    let index = from.iter().position(|one| fits(one))?;
    Some(from.remove(index))
}

/// Whether a piece of evidence is about this answer: two may come at the same time.
fn belongs(chain: &Chain, answer: &Answer, detail: &str) -> bool {
    asked(chain, answer)
        .is_none_or(|query| detail.starts_with(&format!("{} {}:", query.qtype, query.name)))
}

fn asked<'a>(chain: &'a Chain, answer: &Answer) -> Option<&'a Query> {
    chain.queries.iter().find(|query| query.id == answer.query)
}

fn of_query(query: &Query) -> Vec<String> {
    let mut to = format!(
        "{}: {} {} to {} over {}",
        query.id, query.qtype, query.name, query.resolver, query.transport
    );
    if let Some(interface) = &query.resolver.interface {
        to += &format!(" through {interface}");
    }
    if let Some(via) = &query.via {
        to += &format!(", heard by {} of this machine", via.words());
    }
    to += if query.escaped {
        "; it left the machine"
    } else {
        "; it was not seen to leave the machine"
    };
    let mut verdict = query.verdict.clone();
    if let Some(why) = &query.explanation {
        verdict += &format!(": {why}");
    }
    vec![to, verdict]
}

fn of_answer(chain: &Chain, answer: &Answer) -> String {
    let mut words = answer.query.clone();
    if let Some(query) = asked(chain, answer) {
        words += &format!(" ({} {})", query.qtype, query.name);
    }
    if answer.rcode == "timeout" {
        return words + ": no answer came (timeout)";
    }
    words += &format!(": {}", answer.rcode);
    if answer.addresses.is_empty() {
        words += ", no address";
    }
    for addr in &answer.addresses {
        words += &format!(" {addr}");
    }
    if let Some(latency) = answer.latency_us {
        words += &format!(", after {}", span(Duration::from_micros(latency)));
    }
    words
}

fn of_proxy(session: &ProxySession) -> String {
    let target = match (&session.target.name, session.target.addr) {
        (Some(name), _) => format!("the name {name}"),
        (None, Some(addr)) => format!("the address {addr}"),
        (None, None) => "nothing".to_owned(),
    };
    let reply = match session.accepted {
        Some(true) => "granted",
        Some(false) => "refused",
        None => "no reply was seen",
    };
    format!(
        "{} {} to {}: {target}, port {}; {reply}",
        session.protocol, session.command, session.proxy, session.target.port
    )
}

/// A command line as one would type it, near enough to be recognized.
fn in_shell(arguments: &[String]) -> String {
    let quoted = arguments.iter().map(|argument| {
        let is_plain = !argument.is_empty()
            && argument
                .chars()
                .all(|c| c.is_alphanumeric() || "-_=+:,./@%".contains(c));
        if is_plain {
            argument.clone()
        } else {
            format!("'{}'", argument.replace('\'', r"'\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn offset(since: Duration) -> String {
    format!("+{}", span(since))
}

/// A length of time in the largest units that say enough.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 3600 {
        format!("{} h {} min", seconds / 3600, seconds % 3600 / 60)
    } else if seconds >= 60 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else if seconds > 0 {
        format!("{seconds}.{:03} s", time.subsec_millis())
    } else {
        let micros = time.subsec_micros();
        format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
    }
}
