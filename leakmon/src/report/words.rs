//! Words that every form of the report has in common.

use std::time::Duration;

use super::{Finding, Posture, Source, Totals, Verdicts, Way};
use crate::{
    saved::{Process, Setup},
    time::Timestamp,
};

/// Characters of a text that are kept. leakmon writes no longer ones but for command lines.
const MAX_TEXT: usize = 2000;

/// Stands for a program that the kernel could not tell.
pub const NOBODY: &str = "(asker unknown)";

/// The text, cut when it is longer than anybody reads.
pub fn clip(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}… ({} bytes more)", &text[..end], text.len() - end),
        None => text.to_owned(),
    }
}

/// The program's file name, else its thread's.
pub fn program_of(process: &Process) -> String {
    let name = process
        .exe
        .as_deref()
        .map(|exe| exe.rsplit('/').next().unwrap_or(exe))
        .or(process.comm.as_deref());
    clip(name.unwrap_or("an unknown program"))
}

/// A program's name, or what stands for it.
pub fn named(name: Option<&str>) -> &str {
    name.unwrap_or(NOBODY)
}

/// Where a program's connections go and who looks up names.
pub fn in_a_line(setup: &Setup) -> String {
    let proxy = || {
        setup
            .proxy
            .as_ref()
            .map_or_else(|| "a proxy".to_owned(), ToString::to_string)
    };
    let names = match setup.resolves.as_str() {
        "local" => "resolves names itself",
        "remote" => "leaves names to the proxy",
        "depends" => "resolves names itself for some of them",
        _ => "who resolves names is not known",
    };
    let route = match setup.route.as_str() {
        "untold" => "told nothing about a proxy".to_owned(),
        "direct" => "told to use no proxy".to_owned(),
        "proxy" => format!("told to use {} for everything; {names}", proxy()),
        "depends" => format!("told to use {} for some connections", proxy()),
        _ => "whether it uses a proxy is not known".to_owned(),
    };
    match &setup.role {
        Some(role) if setup.route == "untold" => role.clone(),
        Some(role) => format!("{role}; {route}"),
        None => route,
    }
}

/// What a program did, in a sentence without its end.
pub fn sentence(finding: &Finding) -> String {
    let program = named(finding.program.as_deref());
    let name = &finding.name;
    match (finding.kind.as_str(), &finding.proxy) {
        ("self-resolution", Some(proxy)) => {
            format!("{program} resolved {name} itself, past {proxy}")
        }
        ("self-resolution", None) => format!("{program} resolved {name} itself"),
        ("special-name", _) => {
            format!("{program} asked DNS for {name}, a name that must never leave the machine")
        }
        ("proxy-bypass", _) => format!("{program} connected to {name} past its proxy"),
        ("literal-address", _) => format!("{program} gave its proxy the bare address {name}"),
        (kind, _) => format!("{program}: {kind} of {name}"),
    }
}

/// Whom a way leads to.
pub fn to(way: &Way) -> String {
    let mut words = way.resolver.clone();
    if let Some(interface) = &way.interface {
        words += &format!(" through {interface}");
    }
    if let Some(via) = &way.via {
        words += &format!(", where {via} of this machine listens");
    }
    words
}

/// The report's first sentence.
pub fn verdict(totals: &Totals) -> String {
    if totals.leaks == 0 {
        return if totals.queries == 0 {
            "No query was seen".to_owned()
        } else {
            "Nothing was seen to leak".to_owned()
        };
    }
    format!(
        "{} of {} {} found",
        counted(totals.leaks, "leak", "leaks"),
        counted(totals.leaking, "program", "programs"),
        if totals.leaks == 1 { "was" } else { "were" },
    )
}

/// What stands against taking silence for proof, in this report; one sentence each.
pub fn unseen(contents: &super::Contents) -> Vec<String> {
    let totals = &contents.totals;
    let mut all = Vec::new();
    let mut say = |count: u64, words: String| {
        if count > 0 {
            all.push(words);
        }
    };
    say(
        totals.lost,
        format!(
            "{} lost on the way from the kernel, {} of them packets to a DNS port: what they would have shown is not known",
            counted(totals.lost, "event was", "events were"),
            totals.lost_queries
        ),
    );
    say(
        totals.unfollowed,
        format!(
            "{} could not be followed to the answer, because too many waited at once",
            counted(totals.unfollowed, "query", "queries")
        ),
    );
    say(
        totals.undecoded,
        format!(
            "{} on a DNS port could not be read as DNS",
            counted(totals.undecoded, "message", "messages")
        ),
    );
    say(
        totals.nobodys,
        format!(
            "of {} the kernel could not tell who asked",
            counted(totals.nobodys, "query", "queries")
        ),
    );
    say(
        totals.verdicts.unknown,
        format!(
            "of {} too little is known for a verdict",
            counted(totals.verdicts.unknown, "query", "queries")
        ),
    );
    say(
        totals.timeouts,
        format!(
            "to {} no answer was seen",
            counted(totals.timeouts, "query", "queries")
        ),
    );
    say(
        totals.late,
        format!(
            "{} changed something that was said long before: the counts by verdict have it as it was, or not at all",
            counted(totals.late, "later line", "later lines")
        ),
    );
    for source in &contents.sources {
        say(
            u64::from(source.runs > source.ended && source.form != "recording"),
            format!(
                "{} has a run without an end: it was cut off, or is still running",
                source.path
            ),
        );
        if let Some(fault) = &source.fault {
            say(1, fault.clone());
        }
    }
    all
}

/// What leakmon never sees (docs/how-it-works.md), whatever the run.
pub const NEVER_SEEN: [&str; 4] = [
    "names inside encrypted DNS (DoH, DoT, DoQ)",
    "what a local resolver does with a name inside an encrypted connection of its own",
    "programs outside of what was watched: another cgroup, another machine, a virtual machine",
    "proxy settings of programs that leakmon does not know, until such a program speaks with a proxy",
];

/// A number with its noun.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Counts by verdict in a line.
pub fn by_verdict(verdicts: Verdicts) -> String {
    format!(
        "{} leaked, {} explained, {} without a proxy, {} unknown",
        verdicts.leak, verdicts.explained, verdicts.no_proxy, verdicts.unknown
    )
}

/// Day and time, in UTC, to the second: a report says the same wherever it is made.
pub fn time(ts: Timestamp) -> String {
    let text = ts.to_string();
    format!("{} {}", &text[..10], &text[11..19])
}

/// Time of day in UTC, to the millisecond.
pub fn time_of_day(ts: Timestamp) -> String {
    ts.to_string()[11..23].to_owned()
}

/// A length of time.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let (count, unit, rest, smaller) = match seconds {
        0 => (u64::from(time.subsec_millis()), "ms", 0, ""),
        1..60 => (seconds, "s", 0, ""),
        60..3600 => (seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => (seconds / 3600, "h", seconds % 3600 / 60, "min"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    };
    match rest {
        0 => format!("{count} {unit}"),
        _ => format!("{count} {unit} {rest} {smaller}"),
    }
}

/// What is left out of a list.
pub fn left_out(count: u64, what: &str) -> Option<String> {
    (count > 0).then(|| format!("{count} more {what} are not listed; the counts are of all"))
}

/// An id, with its file and run where there are several.
pub fn place(contents: &super::Contents, source: usize, run: u64, id: &str) -> String {
    let is_one_of_many = contents.sources.len() > 1;
    let runs = contents
        .sources
        .get(source.wrapping_sub(1))
        .map_or(1, |source| source.runs);
    match (is_one_of_many, runs > 1) {
        (true, true) => format!("{id} of run {run} in file {source}"),
        (true, false) => format!("{id} of file {source}"),
        (false, true) => format!("{id} of run {run}"),
        (false, false) => id.to_owned(),
    }
}

/// What a posture says in a line, and of how many processes.
pub fn told_to(posture: &Posture) -> String {
    match &posture.profile {
        Some(path) => format!("on disk, {path}: {}", posture.words),
        None => format!(
            "{}: {}",
            counted(posture.processes, "process", "processes"),
            posture.words
        ),
    }
}

/// What a posture rests on and leads to.
pub fn details(posture: &Posture) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = posture
        .evidence
        .iter()
        .map(|piece| (piece.source.clone(), piece.detail.clone()))
        .collect();
    if !posture.bypass.is_empty() {
        let list = posture.bypass.join(", ");
        all.push((
            "bypass".to_owned(),
            format!("reached without the proxy: {list}"),
        ));
    }
    for leak in &posture.leaks {
        let what = if leak.certain { "leaks" } else { "may leak" };
        all.push((what.to_owned(), leak.what.clone()));
        all.push(("to stop it".to_owned(), leak.stop.clone()));
    }
    for piece in &posture.overruled {
        all.push((
            "overruled".to_owned(),
            format!("{}: {}", piece.source, piece.detail),
        ));
    }
    all
}

/// What a report was made of.
pub fn source(source: &Source) -> String {
    let mut words = format!(
        "{} ({}): {}",
        source.path,
        source.form,
        match source.runs {
            0 => "no run, only what programs were told".to_owned(),
            runs => counted(runs, "run", "runs"),
        }
    );
    if let (Some(first), Some(last)) = (source.first, source.last) {
        words += &format!(", from {} to {} UTC", time(first), time(last));
    }
    words
}
