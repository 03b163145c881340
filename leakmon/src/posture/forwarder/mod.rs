//! Programs that are proxies or resolvers themselves: they look up names for others, unless they leave that to a proxy
//! of their own.

mod dante;
mod known;
mod polipo;
mod privoxy;
mod ssh;
mod tor;

pub use known::is_resolver;

use super::{Posture, Subject, Told, preload};
use crate::model::Evidence;

/// What a program is to others, and what it was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Forwarder {
    /// As `tor, a SOCKS proxy`.
    role: String,
    /// Where that is written.
    evidence: Vec<Evidence>,
    /// Where its own connections go; nothing when it goes direct.
    told: Option<Told>,
}

impl Forwarder {
    fn new(role: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            ..Self::default()
        }
    }

    fn and(mut self, source: &str, detail: impl Into<String>) -> Self {
        self.evidence.push(Evidence::new(source, detail));
        self
    }
}

/// The posture of a program that is a proxy; `None` for another program.
pub fn posture(subject: &Subject<'_>) -> Option<Posture> {
    let forwarder = match subject.process.program()? {
        "danted" | "sockd" => dante::forwarder(subject),
        "polipo" => polipo::forwarder(subject),
        "privoxy" => privoxy::forwarder(subject),
        "ssh" => ssh::forwarder(subject)?,
        "tor" => tor::forwarder(subject),
        program => Forwarder::new(known::role(program)?),
    };
    let mut posture = Posture::combine(preload::told(subject).into_iter().chain(forwarder.told));
    posture.evidence.splice(0..0, forwarder.evidence);
    posture.role = Some(forwarder.role);
    Some(posture)
}

/// The longest pattern that is looked at (PATH_MAX).
const MAX_PATTERN: usize = 4096;

/// Whether a pattern with `*` and `?` covers a text.
fn glob(pattern: &str, text: &str) -> bool {
    if pattern.len() > MAX_PATTERN {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut next) = (0, 0);
    // Where the pattern goes on after its last star, and how much of the text the star has taken.
    let mut again: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(next)) {
            (Some('*'), _) => {
                at += 1;
                again = Some((at, next));
            }
            (Some(wanted), Some(found)) if wanted == found || *wanted == '?' => {
                at += 1;
                next += 1;
            }
            (None, None) => return true,
            _ => match again {
                Some((after, taken)) if taken < text.len() => {
                    again = Some((after, taken + 1));
                    (at, next) = (after, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*.example", "a.b.example", true),
            ("*a*b", "aabab", true),
            ("*a*b", "aaba", false),
            ("a**", "a", true),
            ("*b", "a", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
