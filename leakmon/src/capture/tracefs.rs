//! Tracepoints that need tracefs, whether or not it is mounted.

use std::{fs, path::Path, thread};

use aya::programs::{ProgramError, TracePoint};
use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::machine;

/// Where tracefs belongs (Documentation/trace/ftrace.rst).
const PLACE: &str = "/sys/kernel/tracing";

// Where in their records the kernel programs look for the fields of tracepoints: name and offset, as the description in
// tracefs has them.
const NEWTASK_FIELDS: [(&str, &str); 2] = [("pid", "offset:8;"), ("clone_flags", "offset:32;")];
const CONNECT_FIELDS: [(&str, &str); 2] = [("fd", "offset:16;"), ("uservaddr", "offset:24;")];
const SENDTO_FIELDS: [(&str, &str); 3] = [
    ("fd", "offset:16;"),
    ("buff", "offset:24;"),
    ("len", "offset:32;"),
];
const SENDMSG_FIELDS: [(&str, &str); 2] = [("fd", "offset:16;"), ("msg", "offset:24;")];

/// Attaches a program to its tracepoint. Where tracefs is not mounted it is for a moment, in a thread with a mount
/// namespace of its own: nobody else sees it.
///
/// # Errors
/// What the kernel said, in words.
pub fn attach(program: &mut TracePoint, name: &str) -> Result<(), String> {
    if let Some(place) = machine::tracefs_mount() {
        return attach_here(program, name, &place);
    }
    thread::scope(|scope| {
        scope
            .spawn(|| {
                mount_privately().map_err(|error| {
                    format!("tracefs cannot be mounted: {}", machine::plain(&error))
                })?;
                attach_here(program, name, Path::new(PLACE))
            })
            .join()
            .unwrap_or_else(|_| Err("the thread that attaches it ended".to_owned()))
    })
}

fn attach_here(program: &mut TracePoint, name: &str, tracefs: &Path) -> Result<(), String> {
    let (category, fields): (_, &[_]) = match name {
        "sys_enter_connect" => ("syscalls", &CONNECT_FIELDS),
        "sys_enter_sendto" => ("syscalls", &SENDTO_FIELDS),
        "sys_enter_sendmsg" => ("syscalls", &SENDMSG_FIELDS),
        _ => ("task", &NEWTASK_FIELDS),
    };
    let folder = tracefs.join("events").join(category).join(name);
    let format = fs::read_to_string(folder.join("format"))
        .map_err(|error| format!("{name}: {}", machine::plain(&error)))?;
    if !has_fields(&format, fields) {
        return Err(format!("{name} has another layout in this kernel"));
    }
    program
        .attach(category, name)
        .map(drop)
        .map_err(|error: ProgramError| super::kernel::describe(&error))
}

/// Whether a tracepoint's description has each of these fields at its offset.
fn has_fields(format: &str, fields: &[(&str, &str)]) -> bool {
    fields.iter().all(|(name, offset)| {
        format.lines().any(|line| {
            let mut parts = line.split(&[' ', '\t'][..]);
            let declares = format!("{name};");
            parts.any(|part| part == declares) && parts.any(|part| part == *offset)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_they_are_looked_for() {
        let format = "name: task_newtask\nID: 172\nformat:\n\
            \tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
            \tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n\
            \tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n\
            \tfield:unsigned long clone_flags;\toffset:32;\tsize:8;\tsigned:0;\n";
        assert!(has_fields(format, &NEWTASK_FIELDS));
        assert!(!has_fields(
            &format.replace("offset:32", "offset:16"),
            &NEWTASK_FIELDS
        ));
        assert!(!has_fields("", &NEWTASK_FIELDS));
    }
}
