//! Which process holds which socket, by the links in /proc/PID/fd (proc_pid_fd(5)).

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
};

use leakmon_common::{COMM_LEN, Owner};
use procfs::{ProcError, process::Process as Proc};
use rustix::{
    fs::{Dir, OFlags},
    io::Errno,
};

use super::namespaces;
use crate::time;

/// Room for a link as long as `socket:[4294967295]`; longer ones are of something else.
const MAX_LINK: usize = 32;
/// Most of /proc/PID/status that is read.
const MAX_STATUS: u64 = 16 * 1024;

/// What the walk found.
#[derive(Debug, Default)]
pub struct Holders {
    /// By inode: its only holder, or `None` when there are several or an unknown one.
    pub of: HashMap<u32, Option<Owner>>,
    /// How many processes could not be read.
    pub unread: usize,
}

/// Finds who holds the sockets with these inodes, in one walk over all processes.
///
/// A socket on its way between processes in a message, or held only by a thread with open files of its own, has no holder
/// here.
///
/// # Errors
/// When /proc cannot be read.
pub fn holders(wanted: &HashSet<u32>) -> io::Result<Holders> {
    let mut holders = Holders::default();
    if wanted.is_empty() {
        return Ok(holders);
    }
    for pid in namespaces::pids()? {
        match read(pid, wanted) {
            Ok(Held { inodes, owner }) => {
                for inode in inodes {
                    holders
                        .of
                        .entry(inode)
                        .and_modify(|owner| *owner = None)
                        .or_insert(owner);
                }
            }
            Err(error) if is_gone(&error) => {}
            Err(_) => holders.unread += 1,
        }
    }
    Ok(holders)
}

/// The processes that hold one of these sockets, each once.
///
/// # Errors
/// When /proc cannot be read.
pub fn holding(wanted: &HashSet<u32>) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    if wanted.is_empty() {
        return Ok(found);
    }
    for pid in namespaces::pids()? {
        if read(pid, wanted).is_ok_and(|held| !held.inodes.is_empty()) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The wanted sockets of one process.
struct Held {
    inodes: HashSet<u32>,
    owner: Option<Owner>,
}

fn read(pid: u32, wanted: &HashSet<u32>) -> Result<Held, ProcError> {
    let number = i32::try_from(pid).map_err(|_| ProcError::NotFound(None))?;
    // The handle stays with this process, whoever gets its pid next: all that is read below is of one process, which was
    // alive now.
    let proc = Proc::new(number)?;
    let seen_ns = time::boot_ns();
    let mut inodes = HashSet::new();
    if sockets(&proc, wanted, &mut inodes)? == 0 {
        // The first thread of a process may end before the others, and has no files then.
        for task in proc.tasks()?.flatten().filter(|task| task.tid != number) {
            // A thread has a folder of its own, which is merely not listed (proc(5)).
            match Proc::new(task.tid).and_then(|thread| sockets(&thread, wanted, &mut inodes)) {
                Ok(0) => {}
                Err(error) if is_gone(&error) => {}
                Ok(_) => break,
                Err(error) => return Err(error),
            }
        }
    }
    let owner = if inodes.is_empty() {
        None
    } else {
        match owner(&proc, pid, seen_ns) {
            Err(error) if is_gone(&error) => return Err(error),
            // Held by a process that is there and cannot be told.
            read => read.ok().flatten(),
        }
    };
    Ok(Held { inodes, owner })
}

/// Adds the wanted sockets among a process's open files, and gives the number of all these files.
fn sockets(
    proc: &Proc,
    wanted: &HashSet<u32>,
    inodes: &mut HashSet<u32>,
) -> Result<usize, ProcError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = proc.open_relative_flags("fd", flags)?;
    let mut files = 0;
    let mut link = [0; MAX_LINK];
    for entry in Dir::read_from(&folder).map_err(io::Error::from)? {
        let entry = entry.map_err(io::Error::from)?;
        if !entry.file_name().to_bytes()[0].is_ascii_digit() {
            continue;
        }
        files += 1;
        match rustix::fs::readlinkat_raw(&folder, entry.file_name(), &mut link) {
            Ok(length) => inodes.extend(
                link.get(..length)
                    .and_then(socket_inode)
                    .filter(|inode| wanted.contains(inode)),
            ),
            // Closed by now: not held any more.
            Err(Errno::NOENT) => {}
            // Listing the files takes less than looking at them (proc_fd_permission, fs/proc/fd.c).
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
    Ok(files)
}

/// The inode in a link `socket:[inode]` (sockfs_dname, net/socket.c).
fn socket_inode(link: &[u8]) -> Option<u32> {
    let digits = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

fn owner(proc: &Proc, pid: u32, seen_ns: u64) -> Result<Option<Owner>, ProcError> {
    let (mut status, mut name) = (Vec::new(), Vec::new());
    proc.open_relative("status")?
        .take(MAX_STATUS)
        .read_to_end(&mut status)?;
    // The kernel ends the name with a line feed, and a name may hold one (proc_pid_comm(5)).
    proc.open_relative("comm")?
        .take(COMM_LEN as u64)
        .read_to_end(&mut name)?;
    let status = String::from_utf8_lossy(&status);
    let real = |key| real_id(&status, key);
    Ok(real("Uid:").zip(real("Gid:")).map(|(uid, gid)| Owner {
        seen_ns,
        tgid: pid,
        tid: pid,
        uid,
        gid,
        comm: comm(name.strip_suffix(b"\n").unwrap_or(&name)),
    }))
}

/// The first of the ids after a key is the real one (proc_pid_status(5)). No other line can begin like that: the name in
/// the first line has its line feeds escaped.
fn real_id(status: &str, key: &str) -> Option<u32> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// A name as the kernel keeps it: NUL-terminated.
fn comm(name: &[u8]) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    for (to, from) in comm[..COMM_LEN - 1].iter_mut().zip(name) {
        *to = *from;
    }
    comm
}

/// Whether a process could not be read because it ended: `ENOENT`, or `ESRCH` by a handle that was opened before.
fn is_gone(error: &ProcError) -> bool {
    match error {
        ProcError::NotFound(_) => true,
        ProcError::Io(error, _) => {
            error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_sockets() {
        assert_eq!(socket_inode(b"socket:[4026531840]"), Some(4_026_531_840));
        for other in [
            &b"pipe:[1]"[..],
            b"socket:[]",
            b"socket:[1",
            b"socket:[-1]",
            b"socket:[4294967296]",
            b"/tmp/socket:[1]",
        ] {
            assert_eq!(socket_inode(other), None);
        }
    }

    #[test]
    fn the_real_ids() {
        let status = "Name:\tx\\nUid:\t0\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t100\t1\t2\t3\n";
        assert_eq!(real_id(status, "Uid:"), Some(1000));
        assert_eq!(real_id(status, "Gid:"), Some(100));
        assert_eq!(real_id("", "Uid:"), None);
    }

    #[test]
    fn names_end_with_nul() {
        assert_eq!(&comm(b"tor"), b"tor\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&comm(b"0123456789abcdef"), b"0123456789abcde\0");
        assert_eq!(comm(b""), [0; COMM_LEN]);
    }

    #[test]
    fn a_process_that_is_gone_holds_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(is_gone(&read(pid, &HashSet::from([1])).err().unwrap()));
    }
}
