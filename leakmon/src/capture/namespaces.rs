//! The network namespaces of this machine, and how to do something in one of them (network_namespaces(7)).

use std::{
    collections::HashSet,
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::machine;

/// Most namespaces that are held open. Each takes a file descriptor, of which a process usually has 1024
/// (`INR_OPEN_CUR`, include/uapi/linux/fs.h).
const MAX_NAMESPACES: usize = 512;
/// Type of the file system in which namespaces are files (`NSFS_MAGIC`, include/uapi/linux/magic.h).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// A network namespace that is held open.
#[derive(Debug)]
pub struct Namespace {
    /// Inode of the namespace, as the output calls it.
    pub inode: u64,
    /// The namespace of the thread that looked: nothing has to move to work in it.
    own: bool,
    fd: OwnedFd,
}

impl Namespace {
    /// Does something in this namespace. Sockets belong for ever to the namespace they were made in, so making them is
    /// usually all that has to be done there.
    ///
    /// # Errors
    /// As [`in_namespace`].
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        if self.own {
            return Ok(work());
        }
        in_namespace(self.fd.as_fd(), work)
    }
}

/// The network namespaces that were found.
#[derive(Debug)]
pub struct Namespaces {
    /// Each once, beginning with that of the thread that looked.
    pub found: Vec<Namespace>,
    /// How many processes and mount points could not be looked at.
    pub unread: usize,
    /// Whether there were more namespaces than are held open.
    pub more: bool,
}

/// Every network namespace that is a process's own or bound to a file, as `ip netns` and container engines do.
///
/// What only a thread other than its process's first, an open file descriptor or another mount namespace holds is not
/// found.
///
/// # Errors
/// When not even the own namespace can be opened.
pub fn all() -> io::Result<Namespaces> {
    let own = open(Path::new("/proc/thread-self/ns/net"))?;
    let mut found = Collector {
        seen: HashSet::from([own.inode]),
        namespaces: Namespaces {
            found: vec![Namespace { own: true, ..own }],
            unread: 0,
            more: false,
        },
    };
    for pid in pids()? {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        if !found.add(&folder.join("ns/net")) {
            // The first thread of a process may end before the others, and is in no namespace then. A process that is
            // gone has no other threads either.
            for thread in fs::read_dir(folder.join("task"))
                .into_iter()
                .flatten()
                .flatten()
            {
                if found.add(&thread.path().join("ns/net")) {
                    break;
                }
            }
        }
    }
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    for place in bound(&String::from_utf8_lossy(&table)) {
        found.add(&place);
    }
    Ok(found.namespaces)
}

struct Collector {
    seen: HashSet<u64>,
    namespaces: Namespaces,
}

impl Collector {
    /// Adds a namespace unless it is known already; false when there is none at this path, or none any more.
    fn add(&mut self, path: &Path) -> bool {
        match self.try_add(path) {
            Err(Errno::NOENT | Errno::SRCH) => false,
            Err(_) => {
                self.namespaces.unread += 1;
                true
            }
            Ok(()) => true,
        }
    }

    fn try_add(&mut self, path: &Path) -> rustix::io::Result<()> {
        if self.seen.contains(&rustix::fs::stat(path)?.st_ino) {
            return Ok(());
        }
        if self.namespaces.found.len() >= MAX_NAMESPACES {
            self.namespaces.more = true;
            return Ok(());
        }
        let namespace = open(path)?;
        // The process may have moved since it was looked at.
        if self.seen.insert(namespace.inode) {
            self.namespaces.found.push(namespace);
        }
        Ok(())
    }
}

/// Opens the file of a namespace, and nothing else: whatever may lie over a mount point is refused.
fn open(path: &Path) -> rustix::io::Result<Namespace> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::open(path, flags, Mode::empty())?;
    if u64::try_from(rustix::fs::fstatfs(&fd)?.f_type) != Ok(NSFS_MAGIC) {
        return Err(Errno::INVAL);
    }
    Ok(Namespace {
        inode: rustix::fs::fstat(&fd)?.st_ino,
        own: false,
        fd,
    })
}

/// Does something in a network namespace, in a thread of its own that ends with it: no other thread moves. Entering takes
/// `CAP_SYS_ADMIN` (setns(2)).
///
/// # Errors
/// When the thread cannot be made or cannot enter the namespace.
pub fn in_namespace<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, || {
                move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
                Ok(work())
            })?
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Process ids in /proc.
pub(super) fn pids() -> io::Result<impl Iterator<Item = u32>> {
    Ok(fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// Where network namespaces are bound to files, by a mountinfo table: the root of such a mount is `net:[inode]`
/// (proc_pid_mountinfo(5), fs/nsfs.c).
fn bound(table: &str) -> Vec<PathBuf> {
    table
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut fields = before.split(' ').skip(3);
            let (root, place) = (fields.next()?, fields.next()?);
            (after.split(' ').next()? == "nsfs" && root.starts_with("net:["))
                .then(|| PathBuf::from(machine::unescape(place)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn own_inode() -> u64 {
        rustix::fs::stat("/proc/thread-self/ns/net").unwrap().st_ino
    }

    #[test]
    fn the_own_namespace_comes_first_and_once() {
        let found = all().unwrap().found;
        assert_eq!(found[0].inode, own_inode());
        let inodes: HashSet<u64> = found.iter().map(|namespace| namespace.inode).collect();
        assert_eq!(inodes.len(), found.len());
        assert_eq!(found[0].run(own_inode).unwrap(), own_inode());
    }

    #[test]
    fn only_network_namespaces_bound_to_files() {
        let table = "40 23 0:4 net:[4026532287] /run/netns/a\\040b rw shared:1 - nsfs nsfs rw\n\
                     41 23 0:4 mnt:[4026532288] /run/snapd/ns/x.mnt rw - nsfs nsfs rw\n\
                     42 23 0:4 net:[1] /odd rw - tmpfs tmpfs rw\n\
                     short\n";
        assert_eq!(bound(table), [PathBuf::from("/run/netns/a b")]);
    }

    #[test]
    fn what_is_no_namespace_is_refused() {
        assert!(open(Path::new("/dev/null")).is_err());
        let file = File::open("/dev/null").unwrap();
        assert!(in_namespace(file.as_fd(), || ()).is_err());
    }
}
