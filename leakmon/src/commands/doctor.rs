//! `leakmon doctor`: what this machine offers, one line each, with the remedy for what is missing. It is what a bug report
//! should hold, so nothing is told that names a machine, a user, a site or a program's arguments.

mod facts;
mod lookups;
mod watching;

use std::process::ExitCode;

use super::{CLEAN, FAILED, output};
use crate::sink::printable;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Check {
    what: String,
    state: State,
    detail: String,
}

/// Whether leakmon can do without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    /// Something is less than it could be.
    Lesser,
    /// leakmon cannot watch.
    Missing,
    /// Neither good nor bad: who reads the report wants to know.
    Fact,
}

impl Check {
    fn new(what: &str, state: State, detail: impl Into<String>) -> Self {
        Self {
            what: what.to_owned(),
            state,
            detail: detail.into(),
        }
    }

    fn fact(what: &str, detail: impl Into<String>) -> Self {
        Self::new(what, State::Fact, detail)
    }
}

/// Prints the lines; the exit code is 2 when leakmon could not watch here.
///
/// # Errors
/// When they cannot be written.
pub fn run() -> anyhow::Result<ExitCode> {
    let mut checks = facts::checks();
    checks.extend(watching::checks());
    checks.extend(lookups::checks());
    output::print(text(&checks).as_bytes())?;
    eprintln!(
        "leakmon: paste all of it into a bug report, with what you did and what you expected: no names of machines, users or \
         sites are in it"
    );
    let able = checks.iter().all(|check| check.state != State::Missing);
    Ok(ExitCode::from(if able { CLEAN } else { FAILED }))
}

/// The lines as a block that Markdown leaves as it is.
fn text(checks: &[Check]) -> String {
    let mut text = String::from("```text\n");
    for check in checks {
        let mark = match check.state {
            State::Good => "ok",
            State::Lesser => "note",
            State::Missing => "MISSING",
            State::Fact => "info",
        };
        // Three of them would end the block.
        let detail = check.detail.replace('`', "'");
        let line = format!("{mark:<8}{:<28}{}", check.what, printable(&detail));
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("```\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_the_block_or_its_line_early() {
        let checks = [Check::fact("kernel", "```\n# title\u{1b}[2J")];
        let text = text(&checks);
        assert_eq!(text.matches("```").count(), 2, "{text}");
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
