//! The events of this machine, now: what the kernel programs send, with the processes they name.

use std::{num::NonZeroUsize, sync::Arc};

use leakmon_common::Owner;
use lru::LruCache;

use crate::{
    capture::{CaptureError, Degradation, Event, Kernel, Options, Packet, Record, machine},
    model::Process,
    posture::{Programs, Watcher},
    process::{Interfaces, Reader, Table, app_of},
    time::Timestamp,
};

/// Packets handed over before signals and ticks get their turn again.
pub const BATCH: usize = 1024;

/// Processes of which is remembered whose app they belong to.
const MAX_FIRSTS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A running capture.
pub struct Live {
    kernel: Kernel,
    reader: Reader,
    /// The processes that were given out.
    table: Table,
    /// Pid → the process that was seen to act, and its app's first one.
    firsts: LruCache<u32, (Arc<Process>, Arc<Process>)>,
    postures: Watcher,
    interfaces: Interfaces,
    /// The processes that were there before, until they are taken.
    waiting: Vec<Arc<Process>>,
}

impl Live {
    /// Attaches the kernel programs.
    ///
    /// # Errors
    /// As [`Kernel::attach`].
    pub fn start(options: &Options, programs: Arc<Programs>) -> Result<Self, CaptureError> {
        let kernel = Kernel::attach(options)?;
        let mut interfaces = Interfaces::default();
        for interface in kernel.interfaces() {
            interfaces.insert(interface.netns, interface.index, &interface.name);
        }
        let mut reader = Reader::new(kernel.clock(), machine::view().foreign_pids);
        Ok(Self {
            waiting: reader.running(),
            reader,
            table: Table::default(),
            firsts: LruCache::new(MAX_FIRSTS),
            postures: Watcher::new(programs),
            interfaces,
            kernel,
        })
    }

    /// Waits until there are events.
    ///
    /// # Errors
    /// When the ring buffer fails.
    pub async fn ready(&mut self) -> Result<(), CaptureError> {
        self.kernel.readable().await
    }

    /// Takes waiting events, not more than one batch; true when none is left.
    pub fn take(&mut self, mut give: impl FnMut(Event)) -> bool {
        let Self {
            kernel,
            reader,
            table,
            firsts,
            postures,
            interfaces,
            waiting,
        } = self;
        for process in waiting.drain(..) {
            table.insert(Arc::clone(&process));
            give(Event::Process(process));
        }
        kernel.drain(BATCH, |record| {
            let read = match &record {
                Record::Arguments(owner, arguments) => {
                    reader.asks(owner, arguments.clone());
                    Vec::new()
                }
                Record::Fork(parent, child) => {
                    reader.fork(parent, *child);
                    Vec::new()
                }
                Record::Exec(owner) => reader.exec(owner),
                Record::Exit(owner) => {
                    reader.exit(owner);
                    Vec::new()
                }
                Record::Packet(packet) => packet
                    .owner
                    .map(|owner| reader.processes_for(&owner))
                    .unwrap_or_default(),
            };
            for process in read {
                table.insert(Arc::clone(&process));
                give(Event::Process(process));
            }
            if let Record::Packet(mut packet) = record {
                if let Some(owner) = packet.owner {
                    name_interface(reader, interfaces, &owner, &mut packet);
                    let first = first_of(table, firsts, &owner);
                    if let Some(posture) = postures.acts(&first, packet.at) {
                        give(Event::Posture {
                            at: packet.at,
                            first: first.id(),
                            posture,
                        });
                    }
                }
                give(Event::Packet(packet));
            }
        })
    }

    /// The passing of time, and what was lost meanwhile.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn tick(&mut self) -> Result<Vec<Event>, CaptureError> {
        let loss = self.kernel.losses()?;
        if loss.is_some() {
            // An end or a beginning may be among what was lost.
            self.reader.forget();
        }
        let now = self.kernel.now();
        let changed = self.postures.tick(now).into_iter();
        let changed = changed.map(|(first, posture)| Event::Posture {
            at: now,
            first,
            posture,
        });
        Ok(loss
            .into_iter()
            .chain(changed)
            .chain([Event::Tick(now)])
            .collect())
    }

    /// What leakmon works without here.
    #[must_use]
    pub fn degradations(&self) -> &[Degradation] {
        self.kernel.degradations()
    }

    /// The time now, on the clock of the events.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.kernel.now()
    }
}

/// The first process of the app of whoever used a socket, worked out once.
fn first_of(
    table: &mut Table,
    firsts: &mut LruCache<u32, (Arc<Process>, Arc<Process>)>,
    owner: &Owner,
) -> Arc<Process> {
    let process = table.process_of(owner);
    if let Some((known, first)) = firsts.get(&owner.tgid)
        && Arc::ptr_eq(known, &process)
    {
        return Arc::clone(first);
    }
    let (_, first) = app_of(table, &process);
    firsts.put(owner.tgid, (process, Arc::clone(&first)));
    first
}

fn name_interface(
    reader: &mut Reader,
    interfaces: &mut Interfaces,
    owner: &Owner,
    packet: &mut Packet,
) {
    if let Some(netns) = reader.netns_of(owner.tgid) {
        packet.interface = interfaces.name(netns, owner.tgid, packet.ifindex);
    }
}
