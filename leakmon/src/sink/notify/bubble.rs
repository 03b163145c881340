//! What a notification says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    model::{Confidence, Finding, FindingKind, ResolverPlace, Severity},
    sink::printable,
};

/// Characters of a program's name, of a host name and of a proxy that are shown.
const LONGEST: usize = 64;
/// Programs that a bubble about many leaks names, and names of each.
const NAMED: usize = 3;
/// Programs that are told apart in a bubble about many leaks.
const MAX_APPS: usize = 64;

/// How urgent a notification is (Desktop Notifications Specification 1.2, "Urgency Levels").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Urgency {
    /// Low.
    Low,
    /// Normal.
    Normal,
    /// Critical: stays until it is dismissed.
    Critical,
}

impl Urgency {
    /// As the hint `urgency` has it.
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Low => 0,
            Self::Normal => 1,
            Self::Critical => 2,
        }
    }

    fn of(severity: Severity) -> Self {
        match severity {
            Severity::Info | Severity::Low => Self::Low,
            Severity::Medium | Severity::High => Self::Normal,
            Severity::Critical => Self::Critical,
        }
    }
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bubble {
    /// The one finding that it is about; a later bubble about the same one takes its place.
    pub finding: Option<String>,
    /// How many findings it tells of that none before it told of.
    pub count: u64,
    /// How urgent it is.
    pub urgency: Urgency,
    /// Its first line: plain text, with nothing in it that a terminal or a screen acts on.
    pub title: String,
    /// The rest, likewise.
    pub body: String,
}

impl Bubble {
    /// Tells that so many leaks were not told when they were found.
    #[must_use]
    pub fn of_missed(count: u64) -> Self {
        Self {
            finding: None,
            count,
            urgency: Urgency::Normal,
            title: leaks(count, ""),
            body: "found while no notification could be shown".to_owned(),
        }
    }
}

/// What a bubble needs of a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// The finding.
    pub id: String,
    /// How sure.
    pub confidence: Confidence,
    /// How bad.
    pub severity: Severity,
    app: String,
    name: String,
    did: String,
}

impl Leak {
    /// What is known of a finding, and where its questions went.
    #[must_use]
    pub fn of(finding: &Finding, resolvers: &[ResolverPlace]) -> Self {
        let app = finding.app.as_ref();
        let app = app.map_or("An unknown program".to_owned(), |app| first_of(&app.name));
        let name = last_of(&finding.name);
        let asked = if resolvers.is_empty() {
            "Asked".to_owned()
        } else {
            let places: Vec<String> = resolvers.iter().map(ToString::to_string).collect();
            format!("Asked {}", printable(&places.join(", ")))
        };
        let past = finding.proxy.as_ref().map_or_else(String::new, |proxy| {
            format!(", past {}", first_of(&proxy.to_string()))
        });
        let did = match finding.kind {
            FindingKind::SelfResolution => format!("{asked} for {name} itself{past}"),
            FindingKind::SpecialName => {
                format!("{asked} for {name}, a name that must never leave the machine")
            }
            FindingKind::ProxyBypass => format!("Connected to {name}{past}"),
            FindingKind::LiteralAddress => format!("Gave its proxy the bare address {name}"),
        };
        Self {
            id: finding.id.clone(),
            confidence: finding.confidence,
            severity: finding.severity,
            app,
            name,
            did,
        }
    }

    /// The bubble about it alone, which tells of so many findings that were not told before: 1, or 0 when it takes the
    /// place of an earlier one.
    #[must_use]
    pub fn bubble(&self, count: u64) -> Bubble {
        Bubble {
            finding: Some(self.id.clone()),
            count,
            urgency: Urgency::of(self.severity),
            title: format!("{} leaked {}", self.app, self.name),
            body: format!("{} ({})", self.did, self.confidence.as_str()),
        }
    }
}

/// Leaks that are told together.
#[derive(Debug, Default)]
pub struct Held {
    count: u64,
    /// The first of them: alone it is a bubble of its own.
    first: Option<Leak>,
    severity: Option<Severity>,
    /// By program: how many, and the first names.
    apps: BTreeMap<String, (u64, Vec<String>)>,
}

impl Held {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One more.
    pub fn add(&mut self, leak: &Leak) {
        self.count += 1;
        self.first.get_or_insert_with(|| leak.clone());
        self.severity = self.severity.max(Some(leak.severity));
        let is_known = self.apps.contains_key(&leak.app);
        let app = if is_known || self.apps.len() < MAX_APPS {
            leak.app.as_str()
        } else {
            "others"
        };
        let (count, names) = self.apps.entry(app.to_owned()).or_default();
        *count += 1;
        if names.len() < NAMED && !names.contains(&leak.name) {
            names.push(leak.name.clone());
        }
    }

    /// One that may be among them became surer or worse.
    pub fn renew(&mut self, leak: &Leak) {
        if let Some(first) = self.first.as_mut().filter(|first| first.id == leak.id) {
            *first = leak.clone();
            self.severity = self.severity.max(Some(leak.severity));
        }
    }

    /// The bubble about them, after which there are none, and the leak if it is about one alone. `more` says that others
    /// were told before.
    pub fn bubble(&mut self, more: bool) -> Option<(Bubble, Option<Leak>)> {
        let held = std::mem::take(self);
        let first = held.first?;
        if held.count == 1 {
            return Some((first.bubble(1), Some(first)));
        }
        // The busiest first; programs of the same number by name.
        let mut apps: Vec<_> = held.apps.iter().collect();
        apps.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let who: Vec<&str> = apps.iter().map(|(app, _)| app.as_str()).collect();
        let lines = apps.iter().take(NAMED).map(|(app, (count, names))| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{app}: {}", some_of(&names, NAMED, *count))
        });
        let more = if more { "more " } else { "" };
        let title = format!(
            "{} by {}",
            leaks(held.count, more),
            some_of(&who, NAMED, who.len() as u64)
        );
        let bubble = Bubble {
            finding: None,
            count: held.count,
            urgency: held.severity.map_or(Urgency::Normal, Urgency::of),
            title,
            body: lines.collect::<Vec<_>>().join("\n"),
        };
        Some((bubble, None))
    }
}

fn leaks(count: u64, more: &str) -> String {
    format!(
        "{count} {more}{}",
        if count == 1 { "leak" } else { "leaks" }
    )
}

/// The first of these, and how many there are besides.
fn some_of(words: &[&str], most: usize, count: u64) -> String {
    let shown = &words[..words.len().min(most)];
    match count.saturating_sub(shown.len() as u64) {
        0 => shown.join(", "),
        others => format!("{} and {others} more", shown.join(", ")),
    }
}

/// The text made harmless, its end cut off when it is long.
fn first_of(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= LONGEST {
        return text.into_owned();
    }
    let kept: String = text.chars().take(LONGEST - 1).collect();
    format!("{kept}…")
}

/// The name made harmless, its beginning cut off when it is long: who a name belongs to is at its end.
fn last_of(name: &str) -> String {
    let name = printable(name);
    let length = name.chars().count();
    if length <= LONGEST {
        return name.into_owned();
    }
    let kept: String = name.chars().skip(length + 1 - LONGEST).collect();
    format!("…{kept}")
}

#[cfg(test)]
pub mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        model::{Actor, App, Process, ProxySetting, ResolverAddr, Resolves},
        time::Timestamp,
    };

    /// A finding of an app and a name.
    pub fn finding(id: &str, app: &str, name: &str) -> Finding {
        let process = Arc::new(Process::unread(7, Some(1000)));
        Finding {
            ts: Timestamp(0),
            id: id.into(),
            update: false,
            kind: FindingKind::SelfResolution,
            severity: Severity::High,
            confidence: Confidence::Configured,
            app: Some(Arc::new(App {
                name: app.into(),
                pid: 7,
                id: process.id(),
            })),
            process: Some(Actor {
                process,
                thread: None,
            }),
            name: name.into(),
            count: 1,
            queries: vec!["q1".into()],
            proxy: Some(ProxySetting {
                scheme: "socks4".into(),
                addr: "127.0.0.1".into(),
                port: 9050,
                resolves: Resolves::Local,
            }),
            evidence: Vec::new(),
            advice: String::new(),
        }
    }

    /// What bubbles need of it.
    pub fn leak(id: &str, app: &str, name: &str) -> Leak {
        Leak::of(&finding(id, app, name), &[])
    }

    #[test]
    fn a_bubble_says_who_what_whom_and_how_sure() {
        let resolver = ResolverPlace {
            addr: ResolverAddr::Ip("10.0.0.1".parse().unwrap()),
            port: 53,
        };
        let bubble = Leak::of(&finding("f1", "curl", "page.example"), &[resolver]).bubble(1);
        assert_eq!(bubble.title, "curl leaked page.example");
        assert_eq!(
            bubble.body,
            "Asked 10.0.0.1:53 for page.example itself, past socks4://127.0.0.1:9050 (configured)"
        );
        assert_eq!(bubble.urgency, Urgency::Normal);
        assert_eq!(bubble.finding.as_deref(), Some("f1"));
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let mut finding = finding("f1", "", "x.onion");
        finding.kind = FindingKind::SpecialName;
        finding.severity = Severity::Critical;
        (finding.app, finding.proxy) = (None, None);
        let bubble = Leak::of(&finding, &[]).bubble(1);
        assert_eq!(bubble.title, "An unknown program leaked x.onion");
        assert!(
            bubble.body.starts_with("Asked for x.onion, a name"),
            "{bubble:?}"
        );
        assert_eq!(bubble.urgency, Urgency::Critical);
    }

    #[test]
    fn hostile_text_is_harmless_and_short() {
        let name = format!("{}.evil.example", "a\u{1b}\u{202e}\n".repeat(60));
        let bubble = leak("f1", &"app".repeat(99), &name).bubble(1);
        let text = format!("{}{}", bubble.title, bubble.body);
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\n']), "{text}");
        assert!(bubble.title.ends_with(".evil.example"), "{text}");
        assert!(text.chars().count() < 5 * LONGEST, "{text}");
    }

    #[test]
    fn many_are_counted_by_program() {
        let mut held = Held::default();
        assert_eq!(held.bubble(false), None);
        for number in 0..5 {
            held.add(&leak(
                &format!("f{number}"),
                "Firefox",
                &format!("n{number}.example"),
            ));
        }
        held.add(&leak("f9", "curl", "page.example"));
        let (bubble, alone) = held.bubble(true).unwrap();
        assert_eq!(alone, None);
        assert_eq!(bubble.title, "6 more leaks by Firefox, curl");
        assert_eq!(
            bubble.body,
            "Firefox: n0.example, n1.example, n2.example and 2 more\ncurl: page.example"
        );
        assert_eq!(bubble.count, 6);
        assert!(held.is_empty());
    }

    #[test]
    fn programs_without_end_are_no_bubble_without_end() {
        let mut held = Held::default();
        for number in 0..1000 {
            held.add(&leak("f", &format!("app{number}"), "page.example"));
        }
        assert!(held.apps.len() <= MAX_APPS + 1);
        let (bubble, _) = held.bubble(false).unwrap();
        assert_eq!(bubble.count, 1000);
        assert!(bubble.body.len() < 500, "{bubble:?}");
    }
}
