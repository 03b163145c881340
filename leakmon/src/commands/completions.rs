//! `leakmon completions`: what a shell needs to complete leakmon's commands and options.

use std::process::ExitCode;

use clap::{Command, CommandFactory};
use clap_complete::{generate, shells};

use super::{CLEAN, output};
use crate::{
    cli::{Cli, Completions, Shell},
    version,
};

/// Prints a shell's script.
///
/// # Errors
/// When it cannot be written.
pub fn run(args: &Completions) -> anyhow::Result<ExitCode> {
    let mut command = shown(&Cli::command());
    // Not straight to standard output: the generator panics when that is closed.
    let mut script = Vec::new();
    match args.shell {
        Shell::Bash => generate(shells::Bash, &mut command, "leakmon", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, "leakmon", &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, "leakmon", &mut script),
    }
    output::print(&script)?;
    Ok(ExitCode::from(CLEAN))
}

/// leakmon's command line without the commands that it keeps for itself: fish would offer them.
fn shown(command: &Command) -> Command {
    let commands = command.get_subcommands().filter(|sub| !sub.is_hide_set());
    Command::new("leakmon")
        .version(version::NUMBER)
        .args(command.get_arguments())
        .subcommands(commands)
}
