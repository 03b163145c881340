//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::pipeline::Filter;

/// Tells which program leaks the names it looks up past its SOCKS proxy, and proves it.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this machine and tell of every leak as it happens.
    Watch(Watch),
    /// Show what programs were told about proxies, and what will leak by it.
    ///
    /// Loads nothing into the kernel, and needs root only for other users' programs. The exit code is 1 if anything will leak.
    Audit(Audit),
    /// Run a recording through everything behind capture, with the same output as when it was made.
    Replay(Replay),
    /// Show the chain of one finding, with every piece of its evidence, in the order in which things happened.
    Explain(Explain),
    /// Make one page of what was saved: who leaked what to whom, and what to change.
    Report(Report),
    /// Show what this machine offers leakmon, and how to get what is missing.
    Doctor,
    /// Show the notifications of `watch --notify`, one JSON object a line of standard input, to the user it runs as.
    #[command(hide = true)]
    NotifyHelper,
}

/// What is shown, and how.
#[derive(Debug, Args)]
pub struct Form {
    /// Show every query with its program, not only leaks.
    ///
    /// JSON output always holds every query, answer and proxy request.
    #[arg(long)]
    pub all: bool,

    /// Write one JSON object a line, as docs/events.schema.json describes.
    #[arg(long)]
    pub json: bool,

    /// Only this process and its descendants; may be given several times.
    #[arg(long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,

    /// Only programs of this name, as Chromium or curl; may be given several times.
    #[arg(long = "app", value_name = "NAME")]
    pub apps: Vec<String>,
}

impl Form {
    /// Whose doings are shown.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            pids: self.pids.clone(),
            apps: self.apps.clone(),
        }
    }
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// What is shown, and how.
    #[command(flatten)]
    pub form: Form,

    /// Write lines, also on a terminal, instead of the live view.
    #[arg(long, conflicts_with = "json")]
    pub plain: bool,

    /// Stop after this long, as 30s, 5m or 1h; the exit code is then 1 if anything leaked.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Take this port for DNS too, besides 53; may be given several times.
    #[arg(long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,

    /// Watch only this folder of the cgroup v2 hierarchy and what is below it, instead of the whole machine.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,

    /// Keep everything that is seen in a new file, for `leakmon replay`. It holds private names.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,

    /// Tell of new leaks on the desktop too: to you, also when you run leakmon through sudo; when root itself runs it, to
    /// everybody who has a session. With a value to these users, now or when they log in.
    #[arg(long, value_name = "USER", num_args = 0.., require_equals = true, value_delimiter = ',')]
    pub notify: Option<Vec<String>>,

    /// Read what programs that leakmon does not know do with proxies from this file, instead of /etc/leakmon.toml and
    /// ~/.config/leakmon/config.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Room for events that wait to be read, as 512K or 32M; a power of two. More of it loses less in a flood.
    #[arg(long, value_name = "BYTES", default_value = "4M", value_parser = ring_size)]
    pub buffer: u32,
}

/// Options of `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only your own programs.
    #[arg(long)]
    pub user: bool,

    /// Read what programs that leakmon does not know do with proxies from this file, instead of /etc/leakmon.toml and
    /// ~/.config/leakmon/config.toml.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Programs that were told nothing, too.
    #[arg(long)]
    pub all: bool,

    /// Profiles and settings on disk too, whether or not a program uses them now: yours, as root those of every user.
    #[arg(long, conflicts_with = "pids")]
    pub installed: bool,

    /// Write one JSON object a line, as docs/events.schema.json describes.
    #[arg(long)]
    pub json: bool,

    /// Only this process and its descendants, and nothing of the machine itself; may be given several times.
    #[arg(long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// What is shown, and how.
    #[command(flatten)]
    pub form: Form,

    /// Show it in the live view of `watch`, until q is pressed.
    #[arg(long, conflicts_with = "json")]
    pub tui: bool,

    /// The recording.
    pub file: PathBuf,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Write one JSON object: the finding, its queries and their answers, and the requests to proxies that belong to it.
    #[arg(long)]
    pub json: bool,

    /// The finding's id, as f1.
    pub finding: String,

    /// A recording (`watch --record`) or saved JSON lines (`watch --json`); - is standard input.
    pub file: PathBuf,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Recordings (`watch --record`) and saved JSON lines (`watch --json`, `audit --json`); - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Write a page of HTML that needs nothing else to this file.
    #[arg(long, value_name = "OUT", conflicts_with_all = ["output", "format"])]
    pub html: Option<PathBuf>,

    /// Write to this file instead of standard output. It holds private names.
    #[arg(short, long, value_name = "OUT")]
    pub output: Option<PathBuf>,

    /// The form; without it the one that OUT's name ends in (.html, .md, .json), and markdown for standard output.
    #[arg(long, value_name = "FORM")]
    pub format: Option<ReportFormat>,

    /// Replace a file that is there already.
    #[arg(long)]
    pub force: bool,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// A page that needs nothing else.
    Html,
    /// Text for people, and for places that show it formatted.
    Markdown,
    /// One JSON object.
    Json,
}

/// A size that the kernel takes for a ring buffer: a power of two of at least one page
/// (Documentation/bpf/ringbuf.rst), and no more than can be meant.
fn ring_size(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'M']) {
        Some(digits) if text.ends_with('K') => (digits, 1024),
        Some(digits) => (digits, 1024 * 1024),
        None => (text, 1),
    };
    digits
        .parse::<u32>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|size| size.is_power_of_two() && (256 * 1024..=1024 * 1024 * 1024).contains(size))
        .ok_or_else(|| format!("'{text}' is not a power of two from 256K to 1024M"))
}

/// A whole number with `ms`, `s`, `m` or `h`.
fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("'{text}' is not a time: write a whole number and s, m or h, as 30s");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| fault())?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    let duration = Duration::from_millis(milliseconds.ok_or_else(fault)?);
    // Far beyond any use, and far below what overflows a clock.
    if duration.is_zero() || duration > Duration::from_hours(24 * 3650) {
        return Err(fault());
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ring_sizes() {
        assert_eq!(ring_size("512K"), Ok(512 * 1024));
        assert_eq!(ring_size("8M"), Ok(8 * 1024 * 1024));
        assert_eq!(ring_size("262144"), Ok(262_144));
        for wrong in ["", "M", "3M", "4K", "2048M", "1G", "-1M", "99999999999M"] {
            assert!(ring_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in [
            "",
            "s",
            "30",
            "-1s",
            "1.5s",
            "30 s",
            "0s",
            "1d",
            "18446744073709551615h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
