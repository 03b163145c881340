//! The process that becomes the command.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use nix::sys::signal::SigSet;
use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::{capture::machine, cli, commands::FAILED};

/// Joins the cgroup, takes the user's rights, and becomes the command. What goes wrong is for leakmon to say.
///
/// # Errors
/// When leakmon cannot be told what went wrong.
pub fn become_command(args: &cli::BecomeCommand) -> anyhow::Result<ExitCode> {
    let mut faults = File::options().write(true).open(&args.faults)?;
    let fault = match prepare(args) {
        Err(error) => machine::plain(&error),
        Ok(()) => {
            let error = execute(args);
            match error.kind() {
                io::ErrorKind::NotFound => "there is no such program".to_owned(),
                _ => machine::plain(&error),
            }
        }
    };
    faults.write_all(fault.as_bytes())?;
    Ok(ExitCode::from(FAILED))
}

fn prepare(args: &cli::BecomeCommand) -> io::Result<()> {
    // 0 is whoever writes it (Documentation/admin-guide/cgroup-v2.rst).
    fs::write(args.cgroup.join("cgroup.procs"), "0")?;
    // leakmon has blocked what it passes on, and a process inherits that (signal(7)).
    SigSet::empty().thread_set_mask()?;
    let Some(uid) = args.uid else {
        return Ok(());
    };
    // This is the only thread, so its identity is the process's.
    let gids: Vec<Gid> = args.gids.iter().map(|&gid| Gid::from_raw(gid)).collect();
    if let Some(&gid) = gids.first() {
        set_thread_groups(&gids)?;
        set_thread_res_gid(gid, gid, gid)?;
    }
    let uid = Uid::from_raw(uid);
    // With the last of root's user ids go its capabilities (capabilities(7)).
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

fn execute(args: &cli::BecomeCommand) -> io::Error {
    match args.command.split_first() {
        Some((program, arguments)) => Command::new(program).args(arguments).exec(),
        None => io::Error::from(io::ErrorKind::NotFound),
    }
}
