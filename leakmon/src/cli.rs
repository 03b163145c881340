//! The command line: the one definition that help, completions and manual pages are made from.

mod examples;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::{pipeline::Filter, version};

/// Headings of the help.
const SHOWN: &str = "What is shown";
const WATCHED: &str = "What is watched";
const OUTPUT: &str = "Output";

/// Tells which program leaks names past its SOCKS proxy, and proves it.
///
/// A program that was told to use a SOCKS proxy or tor may still look up names itself: its resolver then learns every site
/// that it visits. leakmon names the program, the name, the resolver, the proof, and what to change.
#[derive(Debug, Parser)]
#[command(version, long_version = version::LONG.as_str(), max_term_width = 100)]
#[command(after_long_help = examples::LEAKMON)]
pub struct Cli {
    /// Read this configuration file instead of the usual ones.
    ///
    /// It holds options, and what programs that leakmon does not know do with proxies. Without this, /etc/leakmon.toml and
    /// ~/.config/leakmon/config.toml are read, where they are.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true)]
    pub config: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this machine and tell of every leak as it happens.
    ///
    /// Takes root, Linux 5.10 or newer and a mounted cgroup v2 hierarchy. Shows a live view on a terminal, and lines elsewhere.
    /// Ctrl-C ends it with a summary.
    #[command(after_long_help = examples::WATCH)]
    Watch(Watch),
    /// Run a command, and tell what it and all that it starts leak.
    ///
    /// The command runs as the user who called sudo, in a cgroup of its own. The exit code is 1 if anything leaked, else the
    /// command's own; 2 also when leakmon could not do its work.
    #[command(after_long_help = examples::RUN)]
    Run(Run),
    /// Show what programs were told of proxies, and what leaks by it.
    ///
    /// Loads nothing into the kernel, and needs root only for other users' programs. The exit code is 1 if anything will leak.
    #[command(after_long_help = examples::AUDIT)]
    Audit(Audit),
    /// Say again what a recorded watch said.
    ///
    /// Runs a recording through everything behind capture, with the same output as when it was made. Needs no root.
    #[command(after_long_help = examples::REPLAY)]
    Replay(Replay),
    /// Show the evidence of one finding, in the order of events.
    ///
    /// The chain holds what the program was told, its queries, their answers, and its requests to proxies.
    #[command(after_long_help = examples::EXPLAIN)]
    Explain(Explain),
    /// Make one page of what was saved: who leaked what to whom.
    ///
    /// The page says when it happened, too, and what to change. It needs nothing from elsewhere, and holds private names.
    #[command(after_long_help = examples::REPORT)]
    Report(Report),
    /// Show what this machine offers leakmon; for bug reports, too.
    ///
    /// Says how to get what is missing. What it prints can be pasted into a bug report as it is: no names of machines, users
    /// or sites are in it. The exit code is 2 if leakmon cannot watch here.
    #[command(after_long_help = examples::DOCTOR)]
    Doctor,
    /// Check, show or begin the configuration.
    ///
    /// Every option of every command can also be set by a file and by a variable of the environment.
    #[command(after_long_help = examples::CONFIG)]
    Config(Config),
    /// Print what a shell needs to complete leakmon's options.
    #[command(after_long_help = examples::COMPLETIONS)]
    Completions(Completions),
    /// Print leakmon's manual page, or write all of them.
    #[command(after_long_help = examples::MAN)]
    Man(Man),
    /// Become the command of `run`.
    #[command(hide = true)]
    BecomeCommand(BecomeCommand),
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
    #[arg(long, help_heading = SHOWN)]
    pub all: bool,

    /// Write one JSON object a line.
    ///
    /// docs/events.schema.json describes them.
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// Only this process and its descendants.
    ///
    /// May be given several times.
    #[arg(long = "pid", help_heading = SHOWN, value_name = "PID", value_hint = ValueHint::Other, value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,

    /// Only programs of this name, as Chromium or curl.
    ///
    /// May be given several times.
    #[arg(long = "app", help_heading = SHOWN, value_name = "NAME", value_hint = ValueHint::Other)]
    pub apps: Vec<String>,
}

impl Form {
    /// Whose doings are shown.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            pids: self.pids.clone(),
            apps: self.apps.clone(),
            ..Filter::default()
        }
    }
}

/// Options of `watch`.
#[derive(Debug, Args)]
pub struct Watch {
    /// What is shown, and how.
    #[command(flatten)]
    pub form: Form,

    /// Write lines instead of the live view.
    #[arg(long, help_heading = OUTPUT, conflicts_with = "json")]
    pub plain: bool,

    /// Tell of new leaks on your desktop, too.
    ///
    /// On yours, also when you run leakmon through sudo; when root itself runs it, on that of everybody who has a session.
    #[arg(long, help_heading = OUTPUT)]
    pub notify: bool,

    /// Tell this user on the desktop, now or when they log in.
    ///
    /// May be given several times.
    #[arg(long = "notify-user", help_heading = OUTPUT, hide_short_help = true, value_name = "USER", value_hint = ValueHint::Username)]
    pub notify_users: Vec<String>,

    /// Stop after this long, as 30s, 5m or 1h.
    ///
    /// The exit code is then 1 if anything leaked.
    #[arg(long, help_heading = WATCHED, value_name = "TIME", value_hint = ValueHint::Other, value_parser = duration)]
    pub duration: Option<Duration>,

    /// Only this folder of the cgroup v2 hierarchy.
    ///
    /// What is below it is watched too. Without this the whole machine is.
    #[arg(long, help_heading = WATCHED, hide_short_help = true, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub cgroup: Option<PathBuf>,

    /// What is captured.
    #[command(flatten)]
    pub capturing: Capturing,
}

/// What is captured.
#[derive(Debug, Args)]
pub struct Capturing {
    /// Take this port for DNS too, besides 53.
    ///
    /// May be given several times.
    #[arg(long = "port", help_heading = WATCHED, value_name = "PORT", value_hint = ValueHint::Other, value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,

    /// Keep all that is seen in a new file, for `replay`.
    ///
    /// It holds private names, and its owner alone can read it.
    #[arg(long, help_heading = OUTPUT, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub record: Option<PathBuf>,

    /// Room for events that wait to be read, as 512K or 32M.
    ///
    /// A power of two. More of it loses less in a flood.
    #[arg(long, help_heading = WATCHED, hide_short_help = true, value_name = "BYTES", value_hint = ValueHint::Other, default_value = "4M", value_parser = ring_size)]
    pub buffer: u32,
}

/// Options of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Show every query with its program, not only leaks.
    ///
    /// JSON output always holds them.
    #[arg(long, help_heading = OUTPUT)]
    pub all: bool,

    /// The form of the report.
    #[arg(long, help_heading = OUTPUT, value_name = "FORM", default_value = "text")]
    pub format: RunFormat,

    /// Write the report to this new file.
    ///
    /// Without it the report goes to standard error; - is standard output. It holds private names.
    #[arg(short, long, help_heading = OUTPUT, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// Replace a file that is there already.
    #[arg(long, help_heading = OUTPUT, hide_short_help = true)]
    pub force: bool,

    /// End the command after this long, as 30s, 5m or 1h.
    ///
    /// All that it started is ended with it.
    #[arg(long, help_heading = WATCHED, value_name = "TIME", value_hint = ValueHint::Other, value_parser = duration)]
    pub duration: Option<Duration>,

    /// Run the command as this user.
    ///
    /// Without it, as the user who called sudo.
    #[arg(long, help_heading = WATCHED, hide_short_help = true, value_name = "USER", value_hint = ValueHint::Username, conflicts_with = "pids")]
    pub user: Option<String>,

    /// Follow this process until it ends, and no command.
    ///
    /// Its descendants are followed too. May be given several times.
    #[arg(long = "pid", help_heading = WATCHED, value_name = "PID", value_hint = ValueHint::Other, conflicts_with = "command", value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,

    /// What is captured.
    #[command(flatten)]
    pub capturing: Capturing,

    /// The command with its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required_unless_present = "pids", value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

/// The form of what `run` reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RunFormat {
    /// Lines for people, each leak as soon as it is sure.
    Text,
    /// One JSON object a line, as docs/events.schema.json describes.
    Json,
    /// JUnit's XML: a failed test for each leak.
    Junit,
    /// SARIF 2.1.0: a result for each finding.
    Sarif,
}

/// Options of the process that becomes the command.
#[derive(Debug, Args)]
pub struct BecomeCommand {
    /// Where a failure is written.
    #[arg(long)]
    pub faults: PathBuf,

    /// The cgroup that it joins.
    #[arg(long)]
    pub cgroup: PathBuf,

    /// The user and the groups that it takes, the first one its own.
    #[arg(long, requires = "gids")]
    pub uid: Option<u32>,

    /// The groups.
    #[arg(long = "gid")]
    pub gids: Vec<u32>,

    /// The command with its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// Options of `audit`.
#[derive(Debug, Args)]
pub struct Audit {
    /// Only your own programs.
    #[arg(long, help_heading = SHOWN)]
    pub user: bool,

    /// Programs that were told nothing, too.
    #[arg(long, help_heading = SHOWN)]
    pub all: bool,

    /// Profiles and settings on disk, too.
    ///
    /// Whether or not a program uses them now: yours, as root those of every user.
    #[arg(long, help_heading = SHOWN, conflicts_with = "pids")]
    pub installed: bool,

    /// Write one JSON object a line.
    ///
    /// docs/events.schema.json describes them.
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// Only this process and its descendants.
    ///
    /// Nothing is then said of the machine itself. May be given several times.
    #[arg(long = "pid", help_heading = SHOWN, value_name = "PID", value_hint = ValueHint::Other, value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// What is shown, and how.
    #[command(flatten)]
    pub form: Form,

    /// Show it in the live view, until q is pressed.
    #[arg(long, help_heading = OUTPUT, conflicts_with = "json")]
    pub tui: bool,

    /// The recording.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// Options of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Write one JSON object.
    ///
    /// It holds the finding, its queries and their answers, and the requests to proxies that belong to it.
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// The finding's id, as f1.
    #[arg(value_hint = ValueHint::Other)]
    pub finding: String,

    /// A recording or saved JSON lines; - is standard input.
    ///
    /// `watch --record` makes recordings, and `watch --json` writes JSON lines.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
}

/// Options of `report`.
#[derive(Debug, Args)]
pub struct Report {
    /// Recordings and saved JSON lines; - is standard input.
    ///
    /// `watch --record` makes recordings; `watch --json` and `audit --json` write JSON lines.
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub files: Vec<PathBuf>,

    /// Write a page of HTML to this file.
    ///
    /// It needs nothing else.
    #[arg(long, help_heading = OUTPUT, value_name = "OUT", value_hint = ValueHint::FilePath, conflicts_with_all = ["output", "format"])]
    pub html: Option<PathBuf>,

    /// Write to this file instead of standard output.
    ///
    /// It holds private names.
    #[arg(short, long, help_heading = OUTPUT, value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,

    /// The form of the report.
    ///
    /// Without it the one that OUT's name ends in (.html, .md, .json, .sarif; .xml is JUnit's), and markdown for standard output.
    #[arg(long, help_heading = OUTPUT, value_name = "FORM")]
    pub format: Option<ReportFormat>,

    /// Replace a file that is there already.
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
}

/// What is done with the configuration.
#[derive(Debug, Args)]
pub struct Config {
    /// What is done.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What is done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Tell everything that is wrong in files and variables; the exit code is then 2.
    Check {
        /// Files to check, whether or not leakmon would read them; without any those that it would read.
        files: Vec<PathBuf>,
    },
    /// Show every option with the value that counts and where it was said, and the programs, as a file in TOML.
    Show,
    /// Write a file in which every option is explained and none is set.
    Init {
        /// A new file; without it standard output.
        file: Option<PathBuf>,
    },
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
    /// JUnit's XML: a failed test for each leak.
    Junit,
    /// SARIF 2.1.0: a result for each finding.
    Sarif,
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

/// A shell that can complete leakmon's options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// bash, with its package bash-completion or without.
    Bash,
    /// zsh, after `compinit`.
    Zsh,
    /// fish.
    Fish,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each command to this folder.
    ///
    /// It is made if it is not there; pages that are there already are replaced.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,
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

    /// The command lines of the examples: all that stands behind `leakmon` up to a pipe or a redirection.
    #[test]
    fn examples_are_understood() {
        let mut leakmon = Cli::command();
        leakmon.build();
        let commands = std::iter::once(&leakmon).chain(leakmon.get_subcommands());
        for command in
            commands.filter(|command| command.get_name() != "help" && !command.is_hide_set())
        {
            let examples = command.get_after_long_help().unwrap().to_string();
            let mut tried = 0;
            for line in examples
                .lines()
                .filter_map(|line| line.strip_prefix("    "))
            {
                let words = line
                    .split([' ', '(', ')'])
                    .skip_while(|word| *word != "leakmon")
                    .take_while(|word| !["|", ">", "<"].contains(word) && !word.is_empty());
                let parsed = Cli::try_parse_from(words);
                assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
                tried += 1;
            }
            assert!(tried > 0, "{examples}");
        }
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
