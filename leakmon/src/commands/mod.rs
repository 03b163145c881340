//! The subcommands, one file each.

pub mod audit;
pub mod completions;
pub mod config;
pub mod doctor;
pub mod explain;
mod invoker;
pub mod man;
pub mod notify_helper;
mod output;
pub mod replay;
pub mod report;
pub mod run;
pub mod watch;
mod watching;

use std::process::ExitCode;

/// The run did what it was asked, and nothing leaked.
pub const CLEAN: u8 = 0;
/// A leak was found.
pub const LEAKED: u8 = 1;
/// leakmon could not do its work.
pub const FAILED: u8 = 2;

/// The exit code of a run that could tell.
#[must_use]
pub fn verdict(leaked: bool) -> ExitCode {
    ExitCode::from(if leaked { LEAKED } else { CLEAN })
}
