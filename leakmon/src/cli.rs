//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};

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
    /// Show what this machine offers leakmon, and how to get what is missing.
    Doctor,
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// Show every query with its program, not only leaks.
    ///
    /// JSON output always holds every query, answer and proxy request.
    #[arg(long)]
    pub all: bool,

    /// Write one JSON object a line, as docs/events.schema.json describes.
    #[arg(long)]
    pub json: bool,

    /// Stop after this long, as 30s, 5m or 1h; the exit code is then 1 if anything leaked.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Take this port for DNS too, besides 53; may be given several times.
    #[arg(long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,

    /// Only this process and its descendants; may be given several times.
    #[arg(long = "pid", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,

    /// Only programs of this name, as Chromium or curl; may be given several times.
    #[arg(long = "app", value_name = "NAME")]
    pub apps: Vec<String>,

    /// Watch only this folder of the cgroup v2 hierarchy and what is below it, instead of the whole machine.
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<PathBuf>,
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
