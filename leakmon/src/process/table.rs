//! The processes that events refer to. Filled by events only, so that a replay has the same table.

use std::{num::NonZeroUsize, sync::Arc};

use leakmon_common::Owner;
use lru::LruCache;

use super::reader::text_of;
use crate::model::{Actor, Process};

/// Most processes kept; the one not heard of longest gives way and is unknown from then on.
const MAX_PROCESSES: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The newest known process of each pid.
#[derive(Debug)]
pub struct Table {
    processes: LruCache<u32, Arc<Process>>,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            processes: LruCache::new(MAX_PROCESSES),
        }
    }
}

impl Table {
    /// Takes a process, or a new state of one.
    pub fn insert(&mut self, process: Arc<Process>) {
        self.processes.put(process.pid, process);
    }

    /// The process with this pid.
    pub fn get(&mut self, pid: u32) -> Option<Arc<Process>> {
        self.processes.get(&pid).cloned()
    }

    /// The parent of a process; `None` when it is not known or its pid has become another process's.
    pub fn parent(&mut self, process: &Process) -> Option<Arc<Process>> {
        let parent = self.get(process.ppid?)?;
        // A parent cannot be younger than its child.
        (parent.started_ns? <= process.started_ns?).then_some(parent)
    }

    /// Whether a process is `ancestor` or descends from it, as far as the chain is known.
    pub fn descends_from(&mut self, process: &Arc<Process>, ancestor: u32) -> bool {
        let mut current = Some(Arc::clone(process));
        // As many generations as a pid can hide in one another; a cycle cannot hold the loop.
        for _ in 0..64 {
            match current {
                Some(process) if process.pid == ancestor => return true,
                Some(process) => current = self.parent(&process),
                None => return false,
            }
        }
        false
    }

    /// Who acted, given the owner of a socket.
    pub fn actor(&mut self, owner: &Owner) -> Actor {
        Actor {
            process: self.process_of(owner),
            thread: text_of(&owner.comm),
        }
    }

    /// The process that the owner of a socket is.
    pub fn process_of(&mut self, owner: &Owner) -> Arc<Process> {
        // A process that started after the socket was used has merely the same pid.
        self.get(owner.tgid)
            .filter(|process| {
                process
                    .started_ns
                    .is_none_or(|started| started <= owner.seen_ns)
            })
            .unwrap_or_else(|| Arc::new(Process::unread(owner.tgid, Some(owner.uid))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, ppid: u32, start: u64) -> Process {
        Process {
            ppid: Some(ppid),
            started_ns: Some(start),
            ..Process::unread(pid, None)
        }
    }

    #[test]
    fn a_reused_pid_is_no_parent() {
        let mut table = Table::default();
        table.insert(Arc::new(process(10, 1, 100)));
        let child = process(11, 10, 200);
        assert_eq!(table.parent(&child).unwrap().pid, 10);
        table.insert(Arc::new(process(10, 1, 300)));
        assert_eq!(table.parent(&child), None);
    }

    #[test]
    fn descent_ends_even_in_a_cycle() {
        let mut table = Table::default();
        table.insert(Arc::new(process(10, 11, 1)));
        table.insert(Arc::new(process(11, 10, 1)));
        let leaf = Arc::new(process(12, 11, 1));
        assert!(table.descends_from(&leaf, 10));
        assert!(!table.descends_from(&leaf, 99));
    }

    #[test]
    fn a_socket_used_before_the_process_began_is_not_its_own() {
        let mut table = Table::default();
        table.insert(Arc::new(process(10, 1, 500)));
        let owner = |seen_ns| Owner {
            tgid: 10,
            seen_ns,
            ..Owner::UNKNOWN
        };
        assert_eq!(table.actor(&owner(500)).process.ppid, Some(1));
        assert_eq!(table.actor(&owner(499)).process.ppid, None);
    }

    #[test]
    fn an_unread_process_keeps_what_the_kernel_told() {
        let mut comm = [0; 16];
        comm[..3].copy_from_slice(b"dig");
        let actor = Table::default().actor(&Owner {
            tgid: 5,
            uid: 1000,
            comm,
            ..Owner::UNKNOWN
        });
        assert_eq!(actor.thread.as_deref(), Some("dig"));
        assert_eq!((actor.process.pid, actor.process.uid), (5, Some(1000)));
        assert_eq!(actor.process.comm, None);
    }
}
