//! Reads processes from /proc for a live run, as events for the table.

use std::{
    fs::File,
    io::{self, Read},
    num::NonZeroUsize,
    path::Path,
};

use leakmon_common::Owner;
use lru::LruCache;
use procfs::process::Process as Proc;

use crate::{
    model::Process,
    time::{BootClock, Timestamp},
};

/// Most of a command line that is kept. The kernel's limit is megabytes (execve(2)); no proxy option stands so late.
const MAX_CMDLINE: u64 = 64 * 1024;
/// Most generations read upwards from a process.
const MAX_ANCESTORS: usize = 16;
/// Most owners remembered as read.
const MAX_OWNERS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const NANOSECONDS: u64 = 1_000_000_000;

/// What was read of a pid, to see whether it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    start_ticks: u64,
    exe: Option<String>,
    netns: Option<u64>,
}

/// Reads processes when events name them.
#[derive(Debug)]
pub struct Reader {
    clock: BootClock,
    ticks_per_second: u64,
    users: Vec<(u32, String)>,
    /// Pid → what was read of it.
    known: LruCache<u32, Known>,
    /// Pid → when the kernel recorded the owner that was checked last.
    checked: LruCache<u32, u64>,
    /// Kernel pids are not those of /proc here: nothing can be looked up.
    blind: bool,
}

impl Reader {
    /// A reader whose start times are on the clock of the events. `foreign_pids`: the kernel's pids are not those of
    /// /proc here, so nothing is read.
    #[must_use]
    pub fn new(clock: BootClock, foreign_pids: bool) -> Self {
        Self {
            clock,
            ticks_per_second: rustix::param::clock_ticks_per_second(),
            users: read_users(),
            known: LruCache::new(MAX_OWNERS),
            checked: LruCache::new(MAX_OWNERS),
            blind: foreign_pids,
        }
    }

    /// What the table must know before an event with this owner: the process and its ancestors, eldest first, as far
    /// as they are new or changed.
    pub fn processes_for(&mut self, owner: &Owner) -> Vec<Process> {
        if self.blind || self.checked.get(&owner.tgid) == Some(&owner.seen_ns) {
            return Vec::new();
        }
        self.checked.put(owner.tgid, owner.seen_ns);
        let mut found = Vec::new();
        match self.read(owner.tgid) {
            // A process that started after the kernel saw the owner has merely the same pid.
            Some(process) if self.existed_at(&process, owner.seen_ns) => {
                self.add_with_ancestors(process, &mut found);
            }
            _ => {
                if self.known.pop(&owner.tgid).is_some() {
                    found.push(Process::unread(owner.tgid, Some(owner.uid)));
                }
            }
        }
        found
    }

    /// The network namespace of a process that was read.
    pub fn netns_of(&mut self, pid: u32) -> Option<u64> {
        self.known.get(&pid)?.netns
    }

    fn add_with_ancestors(&mut self, process: Process, found: &mut Vec<Process>) {
        let mut next = Some(process);
        while let Some(process) = next.take()
            && found.len() < MAX_ANCESTORS
        {
            let known = Known {
                start_ticks: process.start_ticks.unwrap_or(0),
                exe: process.exe.clone(),
                netns: process.netns,
            };
            if self.known.get(&process.pid) == Some(&known) {
                break;
            }
            self.known.put(process.pid, known);
            if let Some(ppid) = process.ppid.filter(|&ppid| ppid != 0) {
                next = self.read(ppid);
            }
            found.push(process);
        }
        found.reverse();
    }

    fn existed_at(&self, process: &Process, seen_ns: u64) -> bool {
        // Ticks are rounded down, so an honest start is never after the sight.
        process
            .start_ticks
            .is_some_and(|ticks| ticks_to_ns(ticks, self.ticks_per_second) <= seen_ns)
    }

    /// A process as /proc has it now; `None` when it is gone or became another while it was read.
    fn read(&self, pid: u32) -> Option<Process> {
        let proc = Proc::new(i32::try_from(pid).ok()?).ok()?;
        let stat = proc.stat().ok()?;
        let status = proc.status().ok();
        let uid = status.as_ref().map(|status| status.ruid);
        let process = Process {
            pid,
            start_time: Some(self.wall(stat.starttime)),
            start_ticks: Some(stat.starttime),
            ppid: u32::try_from(stat.ppid).ok(),
            comm: Some(stat.comm),
            exe: proc
                .exe()
                .ok()
                .map(|path| path.to_string_lossy().into_owned()),
            cmdline: read_cmdline(pid).ok(),
            uid,
            user: uid.and_then(|uid| self.user(uid)),
            cgroup: proc.cgroups().ok().and_then(|groups| {
                // Hierarchy 0 is cgroup v2 (cgroups(7)).
                groups
                    .into_iter()
                    .find(|group| group.hierarchy == 0)
                    .map(|group| group.pathname)
            }),
            container: None,
            unit: None,
            netns: proc.namespaces().ok().and_then(|namespaces| {
                namespaces
                    .0
                    .get(std::ffi::OsStr::new("net"))
                    .map(|ns| ns.identifier)
            }),
        };
        // The directory handle of `proc` pins one process; the command line is read by pid, so check once more.
        let again = Proc::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
        if again.starttime != stat.starttime {
            return None;
        }
        Some(Process {
            unit: process.cgroup.as_deref().and_then(unit_of),
            ..process
        })
    }

    fn wall(&self, ticks: u64) -> Timestamp {
        self.clock.wall(ticks_to_ns(ticks, self.ticks_per_second))
    }

    fn user(&self, uid: u32) -> Option<String> {
        self.users
            .iter()
            .find(|(known, _)| *known == uid)
            .map(|(_, name)| name.clone())
    }
}

fn ticks_to_ns(ticks: u64, per_second: u64) -> u64 {
    ticks.saturating_mul(NANOSECONDS / per_second.max(1))
}

fn read_cmdline(pid: u32) -> io::Result<Vec<String>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/cmdline"))?
        .take(MAX_CMDLINE)
        .read_to_end(&mut bytes)?;
    Ok(arguments(&bytes))
}

/// Arguments end with a NUL each (proc_pid_cmdline(5)); a program that rewrote them may leave several at the end.
fn arguments(bytes: &[u8]) -> Vec<String> {
    let end = bytes
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    if end == 0 {
        return Vec::new();
    }
    bytes[..end]
        .split(|&byte| byte == 0)
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// Users of /etc/passwd, read as a file: asking the name service switch could send queries.
fn read_users() -> Vec<(u32, String)> {
    users(&std::fs::read_to_string(Path::new("/etc/passwd")).unwrap_or_default())
}

fn users(passwd: &str) -> Vec<(u32, String)> {
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            Some((uid, name.to_owned()))
        })
        .collect()
}

/// The innermost systemd unit in a cgroup's path (systemd.unit(5) gives the suffixes).
fn unit_of(cgroup: &str) -> Option<String> {
    cgroup
        .rsplit('/')
        .find(|part| part.ends_with(".service") || part.ends_with(".scope"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_end_with_nul() {
        assert_eq!(arguments(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert_eq!(
            arguments(b"chromium --type=zygote\0\0\0"),
            ["chromium --type=zygote"]
        );
        assert_eq!(arguments(b"\xff\x1b"), ["\u{fffd}\u{1b}"]);
        assert!(arguments(b"").is_empty());
    }

    #[test]
    fn users_and_units() {
        assert_eq!(
            users("root:x:0:0::/root:/bin/sh\nbroken\nme:x:1000:1000::/:/bin/sh\n"),
            [(0, "root".to_owned()), (1000, "me".to_owned())]
        );
        assert_eq!(
            unit_of("/user.slice/user-1000.slice/session-2.scope").as_deref(),
            Some("session-2.scope")
        );
        assert_eq!(unit_of("/"), None);
    }

    #[test]
    fn reads_this_process_and_refuses_an_earlier_owner() {
        let mut reader = Reader::new(BootClock::now(), false);
        let pid = std::process::id();
        let owner = Owner {
            tgid: pid,
            seen_ns: u64::MAX,
            ..Owner::UNKNOWN
        };
        let found = reader.processes_for(&owner);
        let this = found.last().unwrap();
        assert_eq!(this.pid, pid);
        assert_eq!(
            this.exe.as_deref(),
            std::env::current_exe().unwrap().to_str()
        );
        assert_eq!(
            this.cmdline.as_ref().unwrap()[0],
            std::env::args().next().unwrap()
        );
        assert!(reader.processes_for(&owner).is_empty(), "known by now");
        // The kernel saw that pid before this process existed.
        let earlier = Owner {
            seen_ns: 1,
            ..owner
        };
        assert_eq!(
            reader.processes_for(&earlier),
            [Process::unread(pid, Some(0))]
        );
    }
}
