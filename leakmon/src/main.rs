//! The `leakmon` program: reads the command line and hands over.

use std::{io::IsTerminal, process::ExitCode};

use leakmon::{
    cli::Command,
    commands::{
        FAILED, audit, completions, config, doctor, explain, man, notify_helper, replay, report,
        run, watch,
    },
    config::{Run, Stop, Variables, read},
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let Run { cli, programs } =
        match read(std::env::args_os().collect(), Variables::of_this_process()) {
            Ok(run) => run,
            Err(Stop::Fault(line)) => return failed(&line),
            Err(Stop::Print(text)) => {
                // Whoever closed the pipe wants no more of it.
                let _ = text.print();
                return ExitCode::from(if text.use_stderr() { FAILED } else { 0 });
            }
        };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            EnvFilter::try_from_env("LEAKMON_LOG").unwrap_or_else(|_| EnvFilter::new("warn")),
        )
        .without_time()
        .init();
    let result = match &cli.command {
        Command::Watch(args) => watch::run(args, programs),
        Command::Run(args) => run::run(args, programs),
        Command::BecomeCommand(args) => run::become_command(args),
        Command::Audit(args) => audit::run(args, &programs),
        Command::Replay(args) => replay::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Report(args) => report::run(args),
        Command::Doctor => doctor::run(),
        Command::Config(args) => config::run(args, cli.config.as_deref()),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::NotifyHelper => notify_helper::run(),
    };
    result.unwrap_or_else(|error| failed(&format!("{error:#}")))
}

/// One line, whatever went wrong: causes after their effects.
fn failed(line: &str) -> ExitCode {
    let line = line.replace('\n', " ");
    eprintln!("leakmon: {}", leakmon::sink::printable(&line));
    ExitCode::from(FAILED)
}
