//! Starting the command.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Seek},
    os::fd::AsRawFd,
    path::Path,
    process::ExitStatus,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::{in_words, place::Place};
use crate::{commands::invoker::Invoker, sink::printable};

/// A command that was started.
pub struct Started {
    child: Child,
    /// Its process id.
    pub pid: u32,
    words: String,
    /// Where what keeps it from running is written.
    faults: File,
}

/// Whether there is such a program, as far as that can be known before it runs.
pub fn check(command: &[OsString], invoker: Option<&Invoker>) -> anyhow::Result<()> {
    let Some(program) = command.first().map(Path::new) else {
        return Ok(());
    };
    let is_there = if program.components().count() > 1 {
        program.exists()
    } else {
        let path = match invoker {
            Some(invoker) => invoker.variable("PATH"),
            None => std::env::var_os("PATH"),
        };
        // Without one it is the system's own that counts (execvp(3)).
        path.is_none_or(|path| {
            std::env::split_paths(&path).any(|folder| folder.join(program).exists())
        })
    };
    let shown = printable(&program.to_string_lossy()).to_string();
    anyhow::ensure!(
        is_there,
        "cannot run {shown}: there is no such program; the command comes last: leakmon run [OPTIONS] -- COMMAND"
    );
    Ok(())
}

/// Starts another leakmon that joins the cgroup, takes the user's rights and becomes the command: so nothing of the command
/// runs before it is watched, and nothing of leakmon's is the command's.
pub fn start(
    command: &[OsString],
    place: &Place,
    invoker: Option<&Invoker>,
) -> anyhow::Result<Started> {
    let words = in_words(command);
    let faults = tempfile::tempfile().context("a temporary file could not be made")?;
    // Opened there, so that the command does not inherit it.
    let shared = format!("/proc/{}/fd/{}", std::process::id(), faults.as_raw_fd());
    let mut helper = Command::new("/proc/self/exe");
    helper
        .arg0("leakmon")
        .arg("become-command")
        .args(["--faults", &shared])
        .arg("--cgroup")
        .arg(place.path());
    if let Some(invoker) = invoker {
        helper.arg("--uid").arg(invoker.uid.to_string());
        for gid in &invoker.gids {
            helper.arg("--gid").arg(gid.to_string());
        }
        helper.env_clear().envs(invoker.environment.iter().cloned());
    }
    helper.arg("--").args(command);
    let child = helper
        .spawn()
        .with_context(|| format!("cannot run {words}"))?;
    let pid = child.id().context("the command has no process id")?;
    Ok(Started {
        child,
        pid,
        words,
        faults,
    })
}

impl Started {
    /// Waits for its end.
    pub async fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let waited = self.child.wait().await;
        waited.context("the command could not be waited for")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // Its pid is its own until it has been waited for.
        if let Some(pid) = self
            .child
            .id()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!("the command could not be sent {signal:?}: {error}");
        }
    }

    /// What kept it from running.
    pub fn fault(&mut self) -> Option<String> {
        let mut text = String::new();
        let read = self.faults.rewind();
        let read = read.and_then(|()| self.faults.read_to_string(&mut text));
        (read.is_ok() && !text.is_empty()).then(|| format!("cannot run {}: {text}", self.words))
    }
}
