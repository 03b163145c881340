//! Tracepoints that need tracefs, whether or not it is mounted.

use std::{path::Path, thread};

use aya::programs::{ProgramError, TracePoint};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::machine;

/// Where tracefs belongs (Documentation/trace/ftrace.rst).
const PLACE: &str = "/sys/kernel/tracing";

/// Attaches a program to a tracepoint of a system call's beginning. Where tracefs is not mounted it is for a moment, in a
/// thread with a mount namespace of its own: nobody else sees it.
///
/// # Errors
/// What the kernel said, in words.
pub fn attach(program: &mut TracePoint, name: &str) -> Result<(), String> {
    let category = "syscalls";
    let words = |error: ProgramError| super::kernel::describe(&error);
    if machine::tracefs_mount().is_some() {
        return program.attach(category, name).map(drop).map_err(words);
    }
    thread::scope(|scope| {
        scope
            .spawn(|| {
                mount_privately().map_err(|error| {
                    format!("tracefs cannot be mounted: {}", machine::plain(&error))
                })?;
                program.attach(category, name).map(drop).map_err(words)
            })
            .join()
            .unwrap_or_else(|_| Err("the thread that attaches it ended".to_owned()))
    })
}

fn mount_privately() -> std::io::Result<()> {
    // SAFETY: this thread alone gets a mount namespace and file system attributes of its own; it shares no descriptor
    // table changes and ends soon.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    mount(
        "tracefs",
        Path::new(PLACE),
        "tracefs",
        MountFlags::empty(),
        None,
    )?;
    Ok(())
}
