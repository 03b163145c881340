//! Sockets that were open before leakmon watched, and whose they are.
//!
//! The kernel hooks learn a socket's owner when a process makes, connects or sends from it. A resolver's or a browser's
//! sockets may be older than that: for them the owner is the one process that holds the socket now.

use std::{collections::HashSet, io};

use leakmon_common::Owner;
use netlink_packet_sock_diag::{IPPROTO_RAW, IPPROTO_TCP, IPPROTO_UDP};

use super::{
    holders::{Holders, holders},
    machine,
    namespaces::{Namespace, Namespaces},
    sock_diag::{Diag, Family, Next, Open},
};

/// Most TCP sockets, and most others, that are looked at: together half of what the kernel programs remember, so that
/// sockets of the time before do not crowd out those of now.
const MAX_SOCKETS: usize = 16_384;

const PROTOCOLS: [(Family, u8, &str); 6] = [
    (Family::V4, IPPROTO_UDP, "UDP sockets"),
    (Family::V6, IPPROTO_UDP, "UDP sockets"),
    // The kernel lists raw sockets of every protocol under this one (net/ipv4/raw_diag.c).
    (Family::V4, IPPROTO_RAW, "raw sockets"),
    (Family::V6, IPPROTO_RAW, "raw sockets"),
    (Family::V4, IPPROTO_TCP, "TCP connections"),
    (Family::V6, IPPROTO_TCP, "TCP connections"),
];
const PACKET: &str = "packet sockets";

/// What could be learnt.
#[derive(Debug, Default)]
pub struct Seed {
    /// Cookies of TCP, UDP and raw sockets with their owners.
    pub owners: Vec<(u64, Owner)>,
    /// Cookies of packet sockets with their owners.
    pub packet_owners: Vec<(u64, Owner)>,
    /// What could not be learnt, each kind once. Such sockets have no owner until they are used.
    pub gaps: Vec<SeedError>,
}

/// Why the owners of some older sockets are not known: a degradation, not a failure. In words that complete "older
/// sockets may have no known owner".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The pids of /proc are not the kernel's.
    #[error("leakmon runs in a pid namespace")]
    ForeignPids,
    /// The kernel has no sock_diag, or does not let this process use it.
    #[error("no sock_diag: {reason}")]
    NoSockDiag {
        /// What the kernel said.
        reason: String,
    },
    /// The kernel does not list one kind of socket.
    #[error("{what}: {reason}")]
    Unlisted {
        /// Which sockets.
        what: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// Network namespaces could not be entered.
    #[error("network namespaces that could not be entered: {count}, {reason}")]
    Namespaces {
        /// How many.
        count: usize,
        /// What the kernel said of the first.
        reason: String,
    },
    /// There are more network namespaces than are looked at.
    #[error("too many network namespaces")]
    TooManyNamespaces,
    /// Some network namespaces could not be looked at.
    #[error("processes and mounts whose network namespace could not be read: {count}")]
    UnreadNamespaces {
        /// How many processes and mount points.
        count: usize,
    },
    /// There are more sockets than are looked at.
    #[error("more than {MAX_SOCKETS} sockets")]
    TooMany,
    /// /proc could not be read.
    #[error("/proc could not be read: {reason}")]
    NoProcesses {
        /// What the kernel said.
        reason: String,
    },
    /// Some processes could not be read.
    #[error("processes whose open files could not be read: {count}")]
    UnreadProcesses {
        /// How many.
        count: usize,
    },
}

/// Finds the owners of the sockets that are open now, in these network namespaces. A socket that several processes hold,
/// as after a fork, has none: which of them uses it cannot be told.
///
/// To be called while the kernel hooks are attached: a socket that they have seen meanwhile is then known better by them,
/// and one that nobody saw is here. Takes `CAP_SYS_ADMIN` for other network namespaces than the own, and `CAP_SYS_PTRACE`
/// for other users' processes; blocks for as long as a walk over /proc takes.
#[must_use]
pub fn open_sockets(namespaces: &Namespaces) -> Seed {
    if machine::view().foreign_pids {
        return Seed {
            gaps: vec![SeedError::ForeignPids],
            ..Seed::default()
        };
    }
    let mut listing = Listing::default();
    for namespace in &namespaces.found {
        listing.add(namespace);
    }
    let mut gaps = listing.gaps;
    if let Some((count, reason)) = listing.closed {
        gaps.push(SeedError::Namespaces { count, reason });
    }
    if namespaces.more {
        gaps.push(SeedError::TooManyNamespaces);
    }
    if namespaces.unread > 0 {
        gaps.push(SeedError::UnreadNamespaces {
            count: namespaces.unread,
        });
    }
    let inet = [listing.connectionless, listing.tcp].concat();
    let wanted: HashSet<u32> = inet
        .iter()
        .chain(&listing.packet)
        .map(|socket| socket.inode)
        .collect();
    let holders = holders(&wanted).unwrap_or_else(|error| {
        gaps.push(SeedError::NoProcesses {
            reason: machine::plain(&error),
        });
        Holders::default()
    });
    if holders.unread > 0 {
        gaps.push(SeedError::UnreadProcesses {
            count: holders.unread,
        });
    }
    Seed {
        owners: owned(&inet, &holders),
        packet_owners: owned(&listing.packet, &holders),
        gaps,
    }
}

fn owned(sockets: &[Open], holders: &Holders) -> Vec<(u64, Owner)> {
    sockets
        .iter()
        .filter_map(|socket| {
            let owner = (*holders.of.get(&socket.inode)?)?;
            Some((socket.cookie, owner))
        })
        .collect()
}

/// The open sockets of all network namespaces.
#[derive(Default)]
struct Listing {
    /// UDP and raw sockets: apart from connections, so that a server's many do not keep them out.
    connectionless: Vec<Open>,
    tcp: Vec<Open>,
    packet: Vec<Open>,
    gaps: Vec<SeedError>,
    /// What the kernel does not list anywhere. It looks for a module each time it is asked.
    absent: HashSet<&'static str>,
    /// How many namespaces could not be entered, and why not the first.
    closed: Option<(usize, String)>,
}

impl Listing {
    fn add(&mut self, namespace: &Namespace) {
        let mut diag = match namespace.run(Diag::open) {
            Ok(Ok(diag)) => diag,
            Ok(Err(error)) => {
                let reason = machine::plain(&error);
                return self.gap(SeedError::NoSockDiag { reason });
            }
            Err(error) => {
                self.closed
                    .get_or_insert_with(|| (0, machine::plain(&error)))
                    .0 += 1;
                return;
            }
        };
        for (family, protocol, what) in PROTOCOLS {
            if self.absent.contains(what) {
                continue;
            }
            let sockets = if protocol == IPPROTO_TCP {
                &mut self.tcp
            } else {
                &mut self.connectionless
            };
            let mut full = false;
            let result = diag.inet(family, protocol, &mut |socket| {
                push(sockets, socket, &mut full)
            });
            self.note(what, result, full);
        }
        if !self.absent.contains(PACKET) {
            let mut full = false;
            let result = diag.packet(&mut |socket| push(&mut self.packet, socket, &mut full));
            self.note(PACKET, result, full);
        }
    }

    fn note(&mut self, what: &'static str, result: io::Result<()>, full: bool) {
        if let Err(error) = result {
            let reason = if error.kind() == io::ErrorKind::NotFound {
                self.absent.insert(what);
                "this kernel does not list them".to_owned()
            } else {
                machine::plain(&error)
            };
            self.gap(SeedError::Unlisted { what, reason });
        }
        if full {
            self.gap(SeedError::TooMany);
        }
    }

    /// What one namespace lacks, others lack too: said once.
    fn gap(&mut self, gap: SeedError) {
        if !self.gaps.contains(&gap) {
            self.gaps.push(gap);
        }
    }
}

fn push(sockets: &mut Vec<Open>, socket: Open, full: &mut bool) -> Next {
    if sockets.len() >= MAX_SOCKETS {
        *full = true;
        return Next::Enough;
    }
    sockets.push(socket);
    Next::Go
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::namespaces;
    use rustix::net::sockopt::socket_cookie;
    use std::{
        net::{TcpListener, TcpStream, UdpSocket},
        os::fd::{AsFd, OwnedFd},
        process::{Child, Command},
    };

    /// Looks again while it is not as wanted: other tests' children hold copies of every socket between fork and exec.
    fn seed_until(wanted: impl Fn(&Seed) -> bool) -> Seed {
        let mut seed = Seed::default();
        for _ in 0..20 {
            seed = open_sockets(&namespaces::all().unwrap());
            if wanted(&seed) {
                break;
            }
        }
        seed
    }

    fn owner_of(seed: &Seed, socket: impl AsFd) -> Option<Owner> {
        let cookie = socket_cookie(socket).unwrap();
        let mut found = seed.owners.iter().filter(|(known, _)| *known == cookie);
        let owner = found.next().map(|(_, owner)| *owner);
        assert!(found.next().is_none(), "listed twice");
        owner
    }

    struct Killed(Child);

    impl Drop for Killed {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn sockets_of_one_process_are_its_own_and_shared_ones_are_nobodys() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect(udp.local_addr().unwrap()).unwrap();
        let udp6 = UdpSocket::bind("[::1]:0")
            .or_else(|_| UdpSocket::bind("127.0.0.1:0"))
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        let _twice = udp.try_clone().unwrap();

        let shared = UdpSocket::bind("127.0.0.1:0").unwrap();
        let child = Command::new("sleep")
            .arg("60")
            .stdin(OwnedFd::from(shared.try_clone().unwrap()))
            .spawn()
            .map(Killed)
            .unwrap();

        let before = crate::time::boot_ns();
        let own = [
            udp.as_fd(),
            connected.as_fd(),
            udp6.as_fd(),
            tcp.as_fd(),
            accepted.as_fd(),
        ];
        let seed = seed_until(|seed| own.iter().all(|socket| owner_of(seed, socket).is_some()));
        let this = owner_of(&seed, &udp).unwrap();
        let pid = std::process::id();
        assert_eq!((this.tgid, this.tid), (pid, pid));
        assert_eq!(this.uid, rustix::process::getuid().as_raw());
        assert_eq!(this.gid, rustix::process::getgid().as_raw());
        assert!((before..=crate::time::boot_ns()).contains(&this.seen_ns));
        let comm = std::fs::read("/proc/self/comm").unwrap();
        assert!(this.comm.starts_with(comm.strip_suffix(b"\n").unwrap()));
        for socket in own {
            assert_eq!(owner_of(&seed, socket), Some(this));
        }
        assert_eq!(owner_of(&seed, &listener), None, "it only waits");
        assert_eq!(owner_of(&seed, &shared), None, "the child holds it too");

        // It is the child's alone once this process has closed it.
        let cookie = socket_cookie(&shared).unwrap();
        drop(shared);
        let heir = |seed: &Seed| {
            let mut found = seed.owners.iter().filter(|(known, _)| *known == cookie);
            found.next().map(|(_, owner)| *owner)
        };
        let heir = heir(&seed_until(|seed| heir(seed).is_some())).unwrap();
        assert_eq!(heir.tgid, child.0.id());
        assert!(heir.comm.starts_with(b"sleep\0"));
    }

    #[test]
    fn a_full_list_takes_no_more() {
        let socket = Open {
            cookie: 1,
            inode: 1,
        };
        let mut sockets = vec![socket; MAX_SOCKETS - 1];
        let mut full = false;
        assert_eq!(push(&mut sockets, socket, &mut full), Next::Go);
        assert!(!full);
        assert_eq!(push(&mut sockets, socket, &mut full), Next::Enough);
        assert!(full);
        assert_eq!(sockets.len(), MAX_SOCKETS);
    }

    #[test]
    fn gaps_are_said_once_in_a_line() {
        let mut listing = Listing::default();
        for _ in 0..2 {
            listing.note("raw sockets", Err(io::ErrorKind::NotFound.into()), true);
        }
        let said: Vec<String> = listing.gaps.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "raw sockets: this kernel does not list them",
                "more than 16384 sockets",
            ]
        );
    }
}
