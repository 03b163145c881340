//! Reads processes from /proc for a live run, as events for the table.

use std::{
    fs::{self, File},
    io::{self, Read},
    num::NonZeroUsize,
    os::unix::fs::MetadataExt,
    sync::Arc,
};

use leakmon_common::Owner;
use lru::LruCache;
use procfs::process::Process as Proc;

use super::{
    container::{Isolation, Membership, Package, package_of},
    environment::about_proxies,
};
use crate::{accounts::accounts, model::Process, time::BootClock};

/// Most of a command line that is kept. The kernel's limit is megabytes (execve(2)); no proxy option stands so late.
const MAX_CMDLINE: u64 = 64 * 1024;
/// Length up to which it is read at once.
const SHORT_CMDLINE: usize = 8192;
/// Most generations read upwards from a process.
const MAX_ANCESTORS: usize = 16;
/// Most processes remembered as read.
const MAX_KNOWN: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
/// Most processes of which a beginning is told and not yet looked at.
const MAX_ASKED: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
const NANOSECONDS: u64 = 1_000_000_000;

/// A process that was read.
#[derive(Clone, Debug)]
struct Known {
    process: Arc<Process>,
    /// When it ended, in nanoseconds since boot: sockets used until then were its own.
    ended_ns: Option<u64>,
}

/// Where a process came from that has not been read.
#[derive(Clone, Debug)]
struct Fork {
    /// The process that made it, as it was then: the new one is its copy (fork(2)).
    parent: Arc<Process>,
    /// When, in nanoseconds since boot.
    at_ns: u64,
}

/// What a program was started with, as the kernel programs found it on its stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The path, as it was written.
    pub path: String,
    /// The arguments; `None` when there were more or longer ones than the kernel programs keep.
    pub arguments: Option<Vec<String>>,
    /// Variables of the environment that may be about proxies; `None` likewise.
    pub environment: Option<Vec<String>>,
}

/// Reads processes when events name them.
///
/// What was read of a pid holds until the process runs another program or ends, and both are told by events.
#[derive(Debug)]
pub struct Reader {
    clock: BootClock,
    tick_ns: u64,
    users: Vec<(u32, String)>,
    known: LruCache<u32, Known>,
    /// Pid → what its new program was started with, until the news that it runs.
    asked: LruCache<u32, Arguments>,
    /// Pid → where it came from.
    forks: LruCache<u32, Fork>,
    /// Kernel pids are not those of /proc here: nothing can be looked up.
    blind: bool,
    /// Namespaces of leakmon, against which those of a container stand out.
    own: Option<Isolation>,
}

impl Reader {
    /// A reader whose start times are on the clock of the events. `foreign_pids`: the kernel's pids are not those of
    /// /proc here, so nothing is read.
    #[must_use]
    pub fn new(clock: BootClock, foreign_pids: bool) -> Self {
        Self {
            clock,
            tick_ns: NANOSECONDS / rustix::param::clock_ticks_per_second().max(1),
            users: accounts(&fs::read_to_string("/etc/passwd").unwrap_or_default())
                .map(|account| (account.uid, account.name.to_owned()))
                .collect(),
            known: LruCache::new(MAX_KNOWN),
            asked: LruCache::new(MAX_ASKED),
            forks: LruCache::new(MAX_ASKED),
            blind: foreign_pids,
            own: isolation(std::process::id()),
        }
    }

    /// The processes that run now. A process of which a copy is made must be known before.
    pub fn running(&mut self) -> Vec<Arc<Process>> {
        if self.blind {
            return Vec::new();
        }
        let pids = procfs::process::all_processes().into_iter().flatten();
        let mut found = Vec::new();
        for pid in pids.flatten().map(|process| process.pid().unsigned_abs()) {
            if self.known.get(&pid).is_none()
                && let Some(process) = self.read(pid, None)
            {
                found.push(self.know(process));
            }
        }
        found
    }

    /// What the table must know before an event with this owner: the process and its ancestors, eldest first, as far
    /// as they are new.
    pub fn processes_for(&mut self, owner: &Owner) -> Vec<Arc<Process>> {
        let holds = |known: &Known| known.ended_ns.is_none_or(|ended| owner.seen_ns <= ended);
        if self.blind || self.known.get(&owner.tgid).is_some_and(holds) {
            return Vec::new();
        }
        self.known.pop(&owner.tgid);
        let fork = self.forks.pop(&owner.tgid);
        let fork = fork.filter(|fork| fork.at_ns <= owner.seen_ns);
        match (self.read_for(owner), fork) {
            // One that is ending has lost its program; what it is a copy of has not.
            (Some(process), fork) if process.exe.is_some() || fork.is_none() => {
                self.with_ancestors(process)
            }
            (_, Some(fork)) => vec![self.know(copy_of(&fork, owner, self.clock))],
            // Whatever the table has under this pid is another process.
            _ => vec![Arc::new(Process::unread(owner.tgid, Some(owner.uid)))],
        }
    }

    /// What the table must know of a process that is there now, whatever it did: as [`Self::processes_for`].
    pub fn there_now(&mut self, pid: u32) -> Vec<Arc<Process>> {
        let lives = |known: &Known| known.ended_ns.is_none();
        if self.blind || self.known.get(&pid).is_some_and(lives) {
            return Vec::new();
        }
        match self.read(pid, None) {
            Some(process) => self.with_ancestors(process),
            None => Vec::new(),
        }
    }

    /// A process made another one.
    pub fn fork(&mut self, parent: &Owner, child: u32) {
        self.known.pop(&child);
        self.asked.pop(&child);
        let known = self.known.get(&parent.tgid);
        match known.filter(|known| known.ended_ns.is_none()) {
            Some(known) => {
                let fork = Fork {
                    parent: Arc::clone(&known.process),
                    at_ns: parent.seen_ns,
                };
                self.forks.put(child, fork);
            }
            None => {
                self.forks.pop(&child);
            }
        }
    }

    /// A process is about to run another program.
    pub fn asks(&mut self, owner: &Owner, arguments: Arguments) {
        self.asked.put(owner.tgid, arguments);
    }

    /// A process runs another program: what was read of it before holds no more. What /proc does not have any more is
    /// taken from what the kernel programs saw.
    pub fn exec(&mut self, owner: &Owner) -> Vec<Arc<Process>> {
        if self.blind {
            return Vec::new();
        }
        // The parent that made it: one that has ended meanwhile left it to another (credentials(7)).
        let known = self.known.pop(&owner.tgid);
        let fork = self.forks.pop(&owner.tgid);
        let ppid = fork.map(|fork| fork.parent.pid).or_else(|| {
            known
                .filter(|known| known.ended_ns.is_none())
                .and_then(|known| known.process.ppid)
        });
        let asked = self.asked.pop(&owner.tgid);
        if let Some(mut process) = self.read_for(owner) {
            process.ppid = ppid.or(process.ppid);
            if let Some(asked) = &asked {
                complete(&mut process, asked);
            }
            return self.with_ancestors(process);
        }
        let Some(asked) = asked else {
            // What was known before is another program's.
            return vec![Arc::new(Process::unread(owner.tgid, Some(owner.uid)))];
        };
        // It is as old as this program at least, and no older one is known to be it.
        let mut process = Process {
            ppid,
            started_ns: Some(owner.seen_ns),
            user: self.user(owner.uid),
            comm: text_of(&owner.comm),
            ..Process::unread(owner.tgid, Some(owner.uid))
        };
        complete(&mut process, &asked);
        vec![self.know(process)]
    }

    /// A process ended.
    pub fn exit(&mut self, owner: &Owner) {
        if let Some(known) = self.known.get_mut(&owner.tgid) {
            known.ended_ns = Some(owner.seen_ns);
        }
    }

    /// Events were lost: nothing that was read holds any more.
    pub fn forget(&mut self) {
        self.known.clear();
        self.asked.clear();
        self.forks.clear();
    }

    /// The network namespace of a process that was read.
    pub fn netns_of(&mut self, pid: u32) -> Option<u64> {
        self.known.get(&pid)?.process.netns
    }

    /// The process that the kernel saw, as /proc has it. One that started later has merely the same pid.
    fn read_for(&self, owner: &Owner) -> Option<Process> {
        self.read(owner.tgid, Some(owner.uid)).filter(|process| {
            process
                .started_ns
                .is_some_and(|started| started <= owner.seen_ns)
        })
    }

    fn know(&mut self, process: Process) -> Arc<Process> {
        let process = Arc::new(process);
        let known = Known {
            process: Arc::clone(&process),
            ended_ns: None,
        };
        self.known.put(process.pid, known);
        process
    }

    /// A process and those of its ancestors that are not known yet, eldest first.
    fn with_ancestors(&mut self, process: Process) -> Vec<Arc<Process>> {
        let mut found = Vec::new();
        let mut next = Some(process);
        while let Some(process) = next.take()
            && found.len() < MAX_ANCESTORS
        {
            if let Some(ppid) = process.ppid.filter(|&ppid| ppid != 0) {
                let lives = |known: &Known| known.ended_ns.is_none();
                if !self.known.get(&ppid).is_some_and(lives) {
                    next = self.read(ppid, None);
                }
            }
            found.push(self.know(process));
        }
        found.reverse();
        found
    }

    /// A process as /proc has it now; `None` when it is gone or became another while it was read. Its real user id is
    /// looked up when it is not given.
    fn read(&self, pid: u32, uid: Option<u32>) -> Option<Process> {
        let proc = Proc::new(i32::try_from(pid).ok()?).ok()?;
        let stat = proc.stat().ok()?;
        let uid = uid.or_else(|| proc.status().ok().map(|status| status.ruid));
        let started_ns = stat.starttime.saturating_mul(self.tick_ns);
        // Hierarchy 0 is cgroup v2 (cgroups(7)).
        let (cgroup, legacy): (Vec<_>, Vec<_>) = proc
            .cgroups()
            .map(|groups| groups.0)
            .unwrap_or_default()
            .into_iter()
            .partition(|group| group.hierarchy == 0);
        let paths = cgroup.iter().chain(&legacy);
        let membership = Membership::of(paths.map(|group| group.pathname.as_str()));
        let process = Process {
            pid,
            start_time: Some(self.clock.wall(started_ns)),
            started_ns: Some(started_ns),
            ppid: u32::try_from(stat.ppid).ok(),
            comm: Some(stat.comm),
            exe: proc
                .exe()
                .ok()
                .map(|path| path.to_string_lossy().into_owned()),
            // A zombie has an empty one; so has a process without arguments, which is as little to say.
            cmdline: read_cmdline(pid).ok().filter(|cmdline| !cmdline.is_empty()),
            uid,
            user: uid.and_then(|uid| self.user(uid)),
            cgroup: cgroup.into_iter().next().map(|group| group.pathname),
            container: membership
                .container
                .or_else(|| self.apart(pid, membership.unit.as_deref())),
            unit: membership.unit,
            netns: namespace(pid, "net"),
            environment: read_environment(pid).ok().flatten(),
        };
        // The directory handle of `proc` pins one process; the command line and the namespaces are read by pid, so check
        // once more.
        let again = Proc::new(i32::try_from(pid).ok()?).ok()?.stat().ok()?;
        (again.starttime == stat.starttime).then_some(process)
    }

    /// The name of what keeps a process apart without a container engine: a package's, or a namespace's.
    fn apart(&self, pid: u32, unit: Option<&str>) -> Option<String> {
        match unit.and_then(package_of) {
            Some(Package::Flatpak(name)) => Some(format!("flatpak:{name}")),
            Some(Package::Snap(name)) => Some(format!("snap:{name}")),
            None => isolation(pid)?.container(self.own?),
        }
    }

    fn user(&self, uid: u32) -> Option<String> {
        self.users
            .iter()
            .find(|(known, _)| *known == uid)
            .map(|(_, name)| name.clone())
    }
}

/// A process that ended as the copy it began as.
fn copy_of(fork: &Fork, owner: &Owner, clock: BootClock) -> Process {
    Process {
        pid: owner.tgid,
        ppid: Some(fork.parent.pid),
        start_time: Some(clock.wall(fork.at_ns)),
        started_ns: Some(fork.at_ns),
        uid: Some(owner.uid),
        user: fork
            .parent
            .user
            .clone()
            .filter(|_| fork.parent.uid == Some(owner.uid)),
        ..Process::clone(&fork.parent)
    }
}

/// Fills in what a process took with it when it ended.
fn complete(process: &mut Process, asked: &Arguments) {
    if process.exe.is_none() {
        process.exe = program_at(&asked.path);
        process.cmdline = None;
    }
    // A script's own command line begins with its interpreter, which the arguments do not tell.
    if process.cmdline.is_none() && process.exe.is_some() {
        process.cmdline.clone_from(&asked.arguments);
    }
    if process.environment.is_none()
        && let Some(variables) = &asked.environment
    {
        process.environment = Some(about_proxies(variables.iter().map(String::as_str)));
    }
}

/// The program that execve(2) runs for this path, links resolved as in `/proc/PID/exe`; `None` when the path depends on
/// the process's own folder, or the file is a script, for which the kernel runs another program.
fn program_at(path: &str) -> Option<String> {
    if !path.starts_with('/') {
        return None;
    }
    let real = fs::canonicalize(path).ok()?;
    let mut magic = [0; 4];
    File::open(&real).ok()?.read_exact(&mut magic).ok()?;
    (magic == *b"\x7fELF").then(|| real.to_string_lossy().into_owned())
}

/// The text before the first NUL; `None` when it is empty.
pub fn text_of(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    (end > 0).then(|| String::from_utf8_lossy(&bytes[..end]).into_owned())
}

/// Reads a command line. In one read while it is short: between two the process may end, and what was read until then
/// would pass for the whole.
fn read_cmdline(pid: u32) -> io::Result<Vec<String>> {
    let mut file = File::open(format!("/proc/{pid}/cmdline"))?;
    let mut bytes = vec![0; SHORT_CMDLINE];
    let len = file.read(&mut bytes)?;
    bytes.truncate(len);
    if len == SHORT_CMDLINE {
        file.take(MAX_CMDLINE).read_to_end(&mut bytes)?;
    }
    Ok(arguments(&bytes))
}

/// Reads what a process's environment says about proxies; `None` for one that is ending, whose environment is gone.
fn read_environment(pid: u32) -> io::Result<Option<Vec<(String, String)>>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/environ"))?
        .take(MAX_CMDLINE)
        .read_to_end(&mut bytes)?;
    let variables: Vec<_> = bytes
        .split(|&byte| byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    Ok((!bytes.is_empty()).then(|| about_proxies(variables.iter().map(AsRef::as_ref))))
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

/// The namespaces of a process that make a container.
fn isolation(pid: u32) -> Option<Isolation> {
    Some(Isolation {
        pid: namespace(pid, "pid")?,
        mount: namespace(pid, "mnt")?,
    })
}

/// Inode of a process's namespace of one kind (namespaces(7)).
fn namespace(pid: u32, kind: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/{kind}"))
        .ok()
        .map(|namespace| namespace.ino())
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
        let netns = fs::metadata("/proc/self/ns/net").unwrap().ino();
        assert_eq!(this.netns, Some(netns));
        assert!(
            !this
                .container
                .as_ref()
                .is_some_and(|name| name.starts_with("pidns:")),
            "as much apart as leakmon"
        );
        assert!(reader.processes_for(&owner).is_empty(), "known by now");
        assert_eq!(
            reader.exec(&owner).len(),
            1,
            "read anew, without its ancestors"
        );
        // The kernel saw that pid before this process existed.
        let earlier = Owner {
            seen_ns: 1,
            ..owner
        };
        assert_eq!(
            reader.exec(&earlier),
            [Arc::new(Process::unread(pid, Some(0)))]
        );
    }
}
