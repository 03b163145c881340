//! The only part that talks to the kernel's BPF. What it yields can be replayed.

mod decode;
mod error;
mod holders;
mod kernel;
mod links;
mod listeners;
pub mod machine;
pub mod namespaces;
pub mod recording;
pub mod seed;
pub mod services;
mod sock_diag;
mod tracefs;

use std::{net::SocketAddr, sync::Arc};

use leakmon_common::Owner;

pub use error::CaptureError;
pub use kernel::{Degradation, Kernel, Options, Trial, try_hooks};
pub use links::Interface;
pub use listeners::{Listeners, resolver_ports};

use crate::{
    model::{Place, Process, ProcessId, Service, Transport},
    posture::Posture,
    process::Arguments,
    time::Timestamp,
};

/// The loopback interface's index in every network namespace (`LOOPBACK_IFINDEX`, include/net/flow.h).
pub const LOOPBACK: u32 = 1;

/// Which way a packet goes, as its socket sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Leaving its socket.
    Egress,
    /// About to reach its socket.
    Ingress,
}

/// Why the kernel sent a packet up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// To or from a DNS port.
    Dns,
    /// Part of what may be a conversation with a proxy.
    Proxy,
}

/// A packet of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it passed the hook.
    pub at: Timestamp,
    /// Cookie of its socket; 0 without a socket.
    pub cookie: u64,
    /// Who used the socket last; `None` when nobody was seen to.
    pub owner: Option<Owner>,
    /// Which way it goes.
    pub direction: Direction,
    /// Why it is here.
    pub reason: Reason,
    /// UDP or TCP.
    pub transport: Transport,
    /// Where it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Index of the interface it leaves or came through; 1 is loopback in every network namespace.
    pub ifindex: u32,
    /// Name of that interface, when it could be read.
    pub interface: Option<String>,
    /// TCP sequence number of the first payload byte.
    pub sequence: u32,
    /// Length of each datagram when the payload holds several (UDP_SEGMENT, udp(7)); otherwise 0.
    pub datagram_len: u32,
    /// Payload bytes on the wire.
    pub wire_len: u32,
    /// The payload, or its beginning.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Whether the payload is here to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.payload.len() as u64 == u64::from(self.wire_len)
    }
}

/// A process connects over TCP to another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// When it asked the kernel to.
    pub at: Timestamp,
    /// Cookie of the socket.
    pub cookie: u64,
    /// The process.
    pub owner: Owner,
    /// Where to.
    pub destination: SocketAddr,
}

/// A process sends to a service of this machine that looks up names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When it was sent.
    pub at: Timestamp,
    /// The process.
    pub owner: Owner,
    /// The service.
    pub service: Service,
    /// Bytes that were sent.
    pub sent_len: u32,
    /// The bytes, or the beginning of them.
    pub payload: Vec<u8>,
}

/// A record of the kernel programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A packet of interest.
    Packet(Packet),
    /// A process connects to another machine.
    Connect(Connect),
    /// A process sends to a service.
    Request(Request),
    /// A process made another one, of this pid.
    Fork(Owner, u32),
    /// What the program was started with that a process is about to run.
    Arguments(Owner, Arguments),
    /// A process runs another program from now on.
    Exec(Owner),
    /// A process ended.
    Exit(Owner),
}

/// What capture yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process that later events refer to, or a new state of one.
    Process(Arc<Process>),
    /// What an app was told, as far as it could be read, given by its first process.
    Posture {
        /// When it was read.
        at: Timestamp,
        /// The app's first process.
        first: ProcessId,
        /// What it was told.
        posture: Arc<Posture>,
    },
    /// Who listens where questions of this machine's programs go that do not leave it.
    Listener {
        /// When it was looked up.
        at: Timestamp,
        /// Inode of the network namespace.
        netns: u64,
        /// Where.
        place: Place,
        /// The first process of the app that listens; `None` when it cannot be told.
        first: Option<ProcessId>,
        /// Whether what that app sends on is within what is watched.
        watched: bool,
    },
    /// A packet of interest.
    Packet(Packet),
    /// A process connects to another machine.
    Connect(Connect),
    /// A process sends to a service of this machine.
    Request(Request),
    /// Events that found no room on their way up.
    Loss {
        /// When it was noticed.
        at: Timestamp,
        /// How many.
        events: u64,
        /// How many of them were packets to a DNS port.
        queries: u64,
        /// None had been lost until then.
        since: Timestamp,
    },
    /// Time passes.
    Tick(Timestamp),
    /// The run ends.
    End(Timestamp),
}

impl Event {
    /// When it happened; a process has no time of its own.
    #[must_use]
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Process(_) => None,
            Self::Packet(packet) => Some(packet.at),
            Self::Connect(connect) => Some(connect.at),
            Self::Request(request) => Some(request.at),
            Self::Posture { at, .. }
            | Self::Listener { at, .. }
            | Self::Loss { at, .. }
            | Self::Tick(at)
            | Self::End(at) => Some(*at),
        }
    }
}
