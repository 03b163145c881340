//! The events of this machine, now: what the kernel programs send, with the processes they name.

use std::{num::NonZeroUsize, sync::Arc};

use leakmon_common::Owner;
use lru::LruCache;

use crate::{
    capture::{
        CaptureError, Degradation, Direction, Event, Kernel, LOOPBACK, Listeners, Options, Packet,
        Reason, Record, machine, resolver_ports,
    },
    model::{Place, Process, Transport},
    posture::{Programs, Watcher, is_resolver},
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
    state: State,
}

/// What is known of the machine beside what the kernel programs send.
struct State {
    reader: Reader,
    /// The processes that were given out.
    table: Table,
    /// Pid → the process that was seen to act, and its app's first one.
    firsts: LruCache<u32, (Arc<Process>, Arc<Process>)>,
    postures: Watcher,
    interfaces: Interfaces,
    listeners: Listeners,
    /// Ports on which resolvers of this machine turned out to listen.
    ports: Vec<u16>,
    /// What is watched, as a path in the hierarchy of cgroups; `None` for all of it.
    cgroup: Option<String>,
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
        let state = State {
            waiting: reader.running(),
            reader,
            table: Table::default(),
            firsts: LruCache::new(MAX_FIRSTS),
            postures: Watcher::new(programs),
            interfaces,
            listeners: Listeners::default(),
            ports: Vec::new(),
            cgroup: machine::below_the_root(&options.cgroup),
        };
        let mut live = Self { kernel, state };
        // One resolver may ask another on a port of its own.
        for process in &live.state.waiting {
            if process.program().is_some_and(is_resolver) {
                live.state.ports.extend(resolver_ports(process));
            }
        }
        live.watch_ports()?;
        Ok(live)
    }

    /// Waits until there are events.
    ///
    /// # Errors
    /// When the ring buffer fails.
    pub async fn ready(&mut self) -> Result<(), CaptureError> {
        self.kernel.readable().await
    }

    /// Takes waiting events, not more than one batch; true when none is left.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn take(&mut self, events: &mut Vec<Event>) -> Result<bool, CaptureError> {
        let begin = events.len();
        let Self { kernel, state, .. } = self;
        for process in state.waiting.drain(..) {
            state.table.insert(Arc::clone(&process));
            events.push(Event::Process(process));
        }
        let emptied = kernel.drain(BATCH, |record| state.record(record, events));
        self.watch_ports()?;
        // Said before what came after it: a verdict must know that something is missing.
        if let Some(loss) = self.loss()? {
            events.insert(begin, loss);
        }
        Ok(emptied)
    }

    /// The passing of time, and what was lost meanwhile.
    ///
    /// # Errors
    /// When the kernel's counters cannot be read.
    pub fn tick(&mut self) -> Result<Vec<Event>, CaptureError> {
        let loss = self.loss()?;
        let now = self.kernel.now();
        let changed = self.state.postures.tick(now).into_iter();
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

    fn watch_ports(&mut self) -> Result<(), CaptureError> {
        for port in self.state.ports.drain(..) {
            self.kernel.watch_port(port)?;
        }
        Ok(())
    }

    fn loss(&mut self) -> Result<Option<Event>, CaptureError> {
        let loss = self.kernel.losses()?;
        if loss.is_some() {
            // An end or a beginning may be among what was lost.
            self.state.reader.forget();
        }
        Ok(loss)
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

impl State {
    /// What a record of the kernel programs is, with what has to be known before it.
    fn record(&mut self, record: Record, events: &mut Vec<Event>) {
        match record {
            Record::Arguments(owner, arguments) => self.reader.asks(&owner, arguments),
            Record::Fork(parent, child) => self.reader.fork(&parent, child),
            Record::Exec(owner) => {
                let read = self.reader.exec(&owner);
                self.know(read, events);
            }
            Record::Exit(owner) => {
                self.reader.exit(&owner);
                self.listeners.ended(owner.tgid);
            }
            Record::Packet(mut packet) => {
                if let Some(owner) = packet.owner {
                    self.acts(&owner, packet.at, events);
                    if let Some(netns) = self.reader.netns_of(owner.tgid) {
                        packet.interface = self.interfaces.name(netns, owner.tgid, packet.ifindex);
                    }
                    if let Some(place) = place_asked(&packet) {
                        self.asks(&owner, place, packet.at, events);
                    }
                }
                events.push(Event::Packet(packet));
            }
            Record::Connect(connect) => {
                self.acts(&connect.owner, connect.at, events);
                events.push(Event::Connect(connect));
            }
            Record::Request(request) => {
                self.acts(&request.owner, request.at, events);
                let place = Place::Service(request.service);
                self.asks(&request.owner, place, request.at, events);
                events.push(Event::Request(request));
            }
        }
    }

    fn know(&mut self, read: Vec<Arc<Process>>, events: &mut Vec<Event>) {
        for process in read {
            self.table.insert(Arc::clone(&process));
            events.push(Event::Process(process));
        }
    }

    /// Whoever used a socket: who it is, and what it was told.
    fn acts(&mut self, owner: &Owner, at: Timestamp, events: &mut Vec<Event>) {
        let read = self.reader.processes_for(owner);
        self.know(read, events);
        let first = self.first_of(owner);
        self.told(&first, at, events);
    }

    fn told(&mut self, first: &Arc<Process>, at: Timestamp, events: &mut Vec<Event>) {
        if let Some(posture) = self.postures.acts(first, at) {
            if first.program().is_some_and(is_resolver) {
                self.ports.extend(resolver_ports(first));
            }
            events.push(Event::Posture {
                at,
                first: first.id(),
                posture,
            });
        }
    }

    /// A question that does not leave the machine: who hears it.
    fn asks(&mut self, owner: &Owner, place: Place, at: Timestamp, events: &mut Vec<Event>) {
        let Some(netns) = self.table.process_of(owner).netns else {
            return;
        };
        let Some(pids) = self.listeners.look(netns, place, owner.tgid, at) else {
            return;
        };
        let first = self.one_app(&pids, events);
        if let Some(first) = &first {
            self.told(first, at, events);
        }
        let watched = first.as_ref().is_some_and(|first| self.is_watched(first));
        events.push(Event::Listener {
            at,
            netns,
            place,
            first: first.map(|first| first.id()),
            watched,
        });
    }

    /// The first process of the one app that all these belong to. What makes sockets for others and keeps them, as systemd
    /// does (systemd.socket(5)), does not answer on them.
    fn one_app(&mut self, pids: &[u32], events: &mut Vec<Event>) -> Option<Arc<Process>> {
        let mut firsts: Vec<Arc<Process>> = Vec::new();
        for &pid in pids {
            let read = self.reader.there_now(pid);
            self.know(read, events);
            let process = self.table.get(pid)?;
            let (_, first) = app_of(&mut self.table, &process);
            // A copy of itself that answers over TCP has the socket too, as with dnsmasq.
            let is_copy = |other: &Arc<Process>| {
                other.exe.is_some()
                    && other.exe == first.exe
                    && other.pid == first.ppid.unwrap_or(0)
            };
            if first.program() != Some("systemd")
                && !firsts
                    .iter()
                    .any(|known| known.id() == first.id() || is_copy(known))
            {
                firsts.push(first);
            }
        }
        match firsts.as_slice() {
            [first] => Some(Arc::clone(first)),
            _ => None,
        }
    }

    fn is_watched(&self, process: &Process) -> bool {
        self.cgroup
            .as_ref()
            .is_none_or(|watched| process.is_below(watched))
    }

    /// The first process of the app of whoever used a socket, worked out once.
    fn first_of(&mut self, owner: &Owner) -> Arc<Process> {
        let process = self.table.process_of(owner);
        if let Some((known, first)) = self.firsts.get(&owner.tgid)
            && Arc::ptr_eq(known, &process)
        {
            return Arc::clone(first);
        }
        let (_, first) = app_of(&mut self.table, &process);
        self.firsts.put(owner.tgid, (process, Arc::clone(&first)));
        first
    }
}

/// Where a question goes that does not leave the machine.
fn place_asked(packet: &Packet) -> Option<Place> {
    let stays = packet.ifindex == LOOPBACK
        && packet.direction == Direction::Egress
        && packet.reason == Reason::Dns;
    stays.then_some(match packet.transport {
        Transport::Tcp => Place::Tcp(packet.destination),
        _ => Place::Udp(packet.destination),
    })
}
