//! The types of the format, and how events become them and come from them.

use std::{net::SocketAddr, sync::Arc};

use leakmon_common::{COMM_LEN, Owner};
use serde::{Deserialize, Serialize};

use crate::{
    capture::{Connect, Direction, Event, Packet, Reason, Request},
    model::{Place, Process, ProcessId, Service, Transport},
    posture::Posture,
    time::Timestamp,
};

/// An event as the format has it. New kinds come last: that keeps older recordings readable.
#[derive(Serialize, Deserialize)]
pub(super) enum Recorded {
    Process(RecordedProcess),
    Packet(RecordedPacket),
    Loss {
        at: u64,
        events: u64,
        queries: u64,
        since: u64,
    },
    Tick(u64),
    End(u64),
    Posture {
        at: u64,
        pid: u32,
        started_ns: Option<u64>,
        /// With what it is made of ([`crate::posture::Posture`]): a change of those types is a new format too.
        posture: Arc<Posture>,
    },
    Listener {
        at: u64,
        netns: u64,
        place: Place,
        first: Option<(u32, Option<u64>)>,
        watched: bool,
    },
    Connect {
        at: u64,
        cookie: u64,
        owner: RecordedOwner,
        destination: SocketAddr,
    },
    Request {
        at: u64,
        owner: RecordedOwner,
        service: Service,
        sent_len: u32,
        payload: Vec<u8>,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecordedProcess {
    pid: u32,
    start_time: Option<u64>,
    started_ns: Option<u64>,
    ppid: Option<u32>,
    comm: Option<String>,
    exe: Option<String>,
    cmdline: Option<Vec<String>>,
    uid: Option<u32>,
    user: Option<String>,
    cgroup: Option<String>,
    container: Option<String>,
    unit: Option<String>,
    netns: Option<u64>,
    environment: Option<Vec<(String, String)>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecordedPacket {
    at: u64,
    cookie: u64,
    owner: Option<RecordedOwner>,
    ingress: bool,
    proxied: bool,
    tcp: bool,
    source: SocketAddr,
    destination: SocketAddr,
    ifindex: u32,
    interface: Option<String>,
    sequence: u32,
    datagram_len: u32,
    wire_len: u32,
    payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct RecordedOwner {
    seen_ns: u64,
    tgid: u32,
    tid: u32,
    uid: u32,
    gid: u32,
    comm: [u8; COMM_LEN],
}

impl From<Owner> for RecordedOwner {
    fn from(owner: Owner) -> Self {
        Self {
            seen_ns: owner.seen_ns,
            tgid: owner.tgid,
            tid: owner.tid,
            uid: owner.uid,
            gid: owner.gid,
            comm: owner.comm,
        }
    }
}

impl From<RecordedOwner> for Owner {
    fn from(owner: RecordedOwner) -> Self {
        Self {
            seen_ns: owner.seen_ns,
            tgid: owner.tgid,
            tid: owner.tid,
            uid: owner.uid,
            gid: owner.gid,
            comm: owner.comm,
        }
    }
}

impl From<&Event> for Recorded {
    fn from(event: &Event) -> Self {
        match event {
            Event::Process(process) => Self::Process(RecordedProcess {
                pid: process.pid,
                start_time: process.start_time.map(|time| time.0),
                started_ns: process.started_ns,
                ppid: process.ppid,
                comm: process.comm.clone(),
                exe: process.exe.clone(),
                cmdline: process.cmdline.clone(),
                uid: process.uid,
                user: process.user.clone(),
                cgroup: process.cgroup.clone(),
                container: process.container.clone(),
                unit: process.unit.clone(),
                netns: process.netns,
                environment: process.environment.clone(),
            }),
            Event::Packet(packet) => Self::Packet(RecordedPacket {
                at: packet.at.0,
                cookie: packet.cookie,
                owner: packet.owner.map(RecordedOwner::from),
                ingress: packet.direction == Direction::Ingress,
                proxied: packet.reason == Reason::Proxy,
                tcp: packet.transport == Transport::Tcp,
                source: packet.source,
                destination: packet.destination,
                ifindex: packet.ifindex,
                interface: packet.interface.clone(),
                sequence: packet.sequence,
                datagram_len: packet.datagram_len,
                wire_len: packet.wire_len,
                payload: packet.payload.clone(),
            }),
            Event::Posture { at, first, posture } => Self::Posture {
                at: at.0,
                pid: first.pid,
                started_ns: first.started_ns,
                posture: Arc::clone(posture),
            },
            Event::Listener {
                at,
                netns,
                place,
                first,
                watched,
            } => Self::Listener {
                at: at.0,
                netns: *netns,
                place: *place,
                first: first.map(|first| (first.pid, first.started_ns)),
                watched: *watched,
            },
            Event::Connect(connect) => Self::Connect {
                at: connect.at.0,
                cookie: connect.cookie,
                owner: connect.owner.into(),
                destination: connect.destination,
            },
            Event::Request(request) => Self::Request {
                at: request.at.0,
                owner: request.owner.into(),
                service: request.service,
                sent_len: request.sent_len,
                payload: request.payload.clone(),
            },
            Event::Loss {
                at,
                events,
                queries,
                since,
            } => Self::Loss {
                at: at.0,
                events: *events,
                queries: *queries,
                since: since.0,
            },
            Event::Tick(at) => Self::Tick(at.0),
            Event::End(at) => Self::End(at.0),
        }
    }
}

impl From<Recorded> for Event {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Process(process) => Self::Process(Arc::new(Process {
                pid: process.pid,
                start_time: process.start_time.map(Timestamp),
                started_ns: process.started_ns,
                ppid: process.ppid,
                comm: process.comm,
                exe: process.exe,
                cmdline: process.cmdline,
                uid: process.uid,
                user: process.user,
                cgroup: process.cgroup,
                container: process.container,
                unit: process.unit,
                netns: process.netns,
                environment: process.environment,
            })),
            Recorded::Packet(packet) => Self::Packet(Packet {
                at: Timestamp(packet.at),
                cookie: packet.cookie,
                owner: packet.owner.map(Owner::from),
                direction: if packet.ingress {
                    Direction::Ingress
                } else {
                    Direction::Egress
                },
                reason: if packet.proxied {
                    Reason::Proxy
                } else {
                    Reason::Dns
                },
                transport: if packet.tcp {
                    Transport::Tcp
                } else {
                    Transport::Udp
                },
                source: packet.source,
                destination: packet.destination,
                ifindex: packet.ifindex,
                interface: packet.interface,
                sequence: packet.sequence,
                datagram_len: packet.datagram_len,
                wire_len: packet.wire_len,
                payload: packet.payload,
            }),
            Recorded::Loss {
                at,
                events,
                queries,
                since,
            } => Self::Loss {
                at: Timestamp(at),
                events,
                queries,
                since: Timestamp(since),
            },
            Recorded::Posture {
                at,
                pid,
                started_ns,
                posture,
            } => Self::Posture {
                at: Timestamp(at),
                first: ProcessId { pid, started_ns },
                posture,
            },
            Recorded::Listener {
                at,
                netns,
                place,
                first,
                watched,
            } => Self::Listener {
                at: Timestamp(at),
                netns,
                place,
                first: first.map(|(pid, started_ns)| ProcessId { pid, started_ns }),
                watched,
            },
            Recorded::Connect {
                at,
                cookie,
                owner,
                destination,
            } => Self::Connect(Connect {
                at: Timestamp(at),
                cookie,
                owner: owner.into(),
                destination,
            }),
            Recorded::Request {
                at,
                owner,
                service,
                sent_len,
                payload,
            } => Self::Request(Request {
                at: Timestamp(at),
                owner: owner.into(),
                service,
                sent_len,
                payload,
            }),
            Recorded::Tick(at) => Self::Tick(Timestamp(at)),
            Recorded::End(at) => Self::End(Timestamp(at)),
        }
    }
}
