//! The `leakmon` program: reads the command line and hands over.

use std::{io::IsTerminal, process::ExitCode};

use clap::Parser;
use leakmon::{
    cli::{Cli, Command},
    commands::{FAILED, audit, doctor, explain, notify_helper, replay, report, watch},
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            EnvFilter::try_from_env("LEAKMON_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .without_time()
        .init();
    let result = match &cli.command {
        Command::Watch(args) => watch::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Report(args) => report::run(args),
        Command::Doctor => doctor::run(),
        Command::NotifyHelper => notify_helper::run(),
    };
    result.unwrap_or_else(|error| {
        // One line, whatever went wrong: causes after their effects.
        let line = format!("{error:#}").replace('\n', " ");
        eprintln!("leakmon: {}", leakmon::sink::printable(&line));
        ExitCode::from(FAILED)
    })
}
