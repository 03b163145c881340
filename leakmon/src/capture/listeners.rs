//! Which processes listen where a question goes that does not leave the machine.

use std::{collections::BTreeSet, io, net::SocketAddr, num::NonZeroUsize, time::Duration};

use lru::LruCache;
use procfs::{
    ProcResult,
    net::{TcpState, UnixState},
    process::{FDTarget, Process as Proc},
};

use super::{holders, services};
use crate::{
    model::{Place, Process},
    time::Timestamp,
};

/// Places remembered.
const MAX_PLACES: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// How often a place that is asked is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Known {
    looked_at: Timestamp,
    inodes: BTreeSet<u64>,
    pids: Vec<u32>,
}

/// Finds listeners, and remembers them for as long as their sockets are the same.
#[derive(Debug)]
pub struct Listeners {
    known: LruCache<(u64, Place), Known>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            known: LruCache::new(MAX_PLACES),
        }
    }
}

impl Listeners {
    /// The processes that hold the sockets which listen there, in the network namespace `netns` of process `asker`; `None`
    /// when it was looked up a moment ago, and is as it was.
    pub fn look(
        &mut self,
        netns: u64,
        place: Place,
        asker: u32,
        now: Timestamp,
    ) -> Option<Vec<u32>> {
        let key = (netns, place);
        let known = self.known.get_mut(&key);
        if let Some(known) = &known
            && known.looked_at.plus(LOOK_AGAIN) > now
        {
            return None;
        }
        // An asker that is gone has left nothing to read: its resolver is in the same namespace.
        let through = [
            Some(asker),
            known.as_ref().and_then(|known| known.pids.first().copied()),
        ];
        let inodes = through
            .into_iter()
            .flatten()
            .find_map(|pid| inodes(pid, netns, place).ok());
        let Some(inodes) = inodes else {
            // Nothing is known now that was not known before.
            return known.is_none().then(Vec::new);
        };
        if let Some(known) = known
            && known.inodes == inodes
            && !known.pids.is_empty()
        {
            known.looked_at = now;
            return None;
        }
        let wanted = inodes.iter().filter_map(|&inode| u32::try_from(inode).ok());
        let pids = holders::holding(&wanted.collect()).unwrap_or_default();
        let looked = Known {
            looked_at: now,
            inodes,
            pids: pids.clone(),
        };
        self.known.put(key, looked);
        Some(pids)
    }

    /// A process ended: who listens where it did is to be looked up anew.
    pub fn ended(&mut self, pid: u32) {
        let stale: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| known.pids.contains(&pid))
            .map(|(key, _)| *key)
            .collect();
        for key in stale {
            self.known.pop(&key);
        }
    }
}

/// Inodes of the sockets that listen there, as the process sees it.
fn inodes(pid: u32, netns: u64, place: Place) -> ProcResult<BTreeSet<u64>> {
    let number = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let proc = Proc::new(number)?;
    let own = proc.namespaces()?.0;
    if own
        .get(std::ffi::OsStr::new("net"))
        .is_none_or(|namespace| namespace.identifier != netns)
    {
        // It moved, or its pid is another's.
        return Err(io::Error::from(io::ErrorKind::NotFound).into());
    }
    Ok(match place {
        Place::Udp(addr) => best(
            proc.udp()?
                .into_iter()
                .chain(proc.udp6().unwrap_or_default())
                // One that is connected hears its peer alone.
                .filter(|entry| entry.remote_address.port() == 0)
                .map(|entry| (entry.local_address, entry.inode)),
            addr,
        ),
        Place::Tcp(addr) => best(
            proc.tcp()?
                .into_iter()
                .chain(proc.tcp6().unwrap_or_default())
                .filter(|entry| entry.state == TcpState::Listen)
                .map(|entry| (entry.local_address, entry.inode)),
            addr,
        ),
        Place::Service(service) => proc
            .unix()?
            .into_iter()
            .filter(|entry| {
                // The sockets of its conversations have its path too, and are connected.
                entry.state == UnixState::UNCONNECTED
                    && services::PATHS.iter().any(|(path, known)| {
                        *known == service
                            && entry.path.as_deref() == Some(std::path::Path::new(path))
                    })
            })
            .map(|entry| entry.inode)
            .collect(),
    })
}

/// The ports on which a resolver is asked by programs of its own machine: where it hears every peer over UDP, and over TCP
/// as well (RFC 7766 section 5 wants both), on a loopback address or on all. tor's DNSPort is UDP alone, and tor uses UDP for
/// nothing else (tor(1)).
pub fn resolver_ports(process: &Process) -> Vec<u16> {
    read_ports(process).unwrap_or_default()
}

fn read_ports(process: &Process) -> ProcResult<Vec<u16>> {
    let number =
        i32::try_from(process.pid).map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    let proc = Proc::new(number)?;
    let own: BTreeSet<u64> = proc
        .fd()?
        .flatten()
        .filter_map(|file| match file.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let listens: BTreeSet<u16> = proc
        .tcp()?
        .into_iter()
        .chain(proc.tcp6().unwrap_or_default())
        .filter(|entry| entry.state == TcpState::Listen && own.contains(&entry.inode))
        .map(|entry| entry.local_address.port())
        .collect();
    let hears: BTreeSet<u16> = proc
        .udp()?
        .into_iter()
        .chain(proc.udp6().unwrap_or_default())
        .filter(|entry| entry.remote_address.port() == 0 && own.contains(&entry.inode))
        .filter(|entry| {
            let addr = entry.local_address.ip().to_canonical();
            addr.is_loopback() || addr.is_unspecified()
        })
        .map(|entry| entry.local_address.port())
        .collect();
    let by_udp_alone = process.program() == Some("tor");
    Ok(hears
        .into_iter()
        .filter(|port| by_udp_alone || listens.contains(port))
        .collect())
}

/// The sockets on exactly this address; else those on every address, as the kernel chooses (inet_lookup,
/// net/ipv4/inet_hashtables.c).
fn best(sockets: impl Iterator<Item = (SocketAddr, u64)>, addr: SocketAddr) -> BTreeSet<u64> {
    let (mut exact, mut any) = (BTreeSet::new(), BTreeSet::new());
    for (local, inode) in sockets.filter(|(local, _)| local.port() == addr.port()) {
        if local.ip().to_canonical() == addr.ip().to_canonical() {
            exact.insert(inode);
        } else if local.ip().is_unspecified() && (local.is_ipv6() || addr.is_ipv4()) {
            any.insert(inode);
        }
    }
    if exact.is_empty() { any } else { exact }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_address_goes_before_every_address() {
        let socket = |addr: &str, inode| (addr.parse().unwrap(), inode);
        let sockets = [
            socket("0.0.0.0:53", 1),
            socket("127.0.0.53:53", 2),
            socket("127.0.0.53:5353", 3),
            socket("[::]:53", 4),
            socket("[::1]:53", 5),
        ];
        let of = |addr: &str| {
            best(sockets.into_iter(), addr.parse().unwrap())
                .into_iter()
                .collect::<Vec<_>>()
        };
        assert_eq!(of("127.0.0.53:53"), [2]);
        assert_eq!(of("127.0.0.1:53"), [1, 4]);
        assert_eq!(of("[::1]:53"), [5]);
        assert_eq!(of("[fd00::1]:53"), [4]);
        assert!(of("127.0.0.1:54").is_empty());
    }

    #[test]
    fn a_socket_of_the_test_is_found() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let own = std::process::id();
        let proc = Proc::new(i32::try_from(own).unwrap()).unwrap();
        let netns = proc.namespaces().unwrap().0[std::ffi::OsStr::new("net")].identifier;
        let place = Place::Udp(socket.local_addr().unwrap());
        let mut listeners = Listeners::default();
        let second = 1_000_000_000;
        assert_eq!(
            listeners.look(netns, place, own, Timestamp(0)),
            Some(vec![own])
        );
        assert_eq!(
            listeners.look(netns, place, own, Timestamp(second / 2)),
            None
        );
        // The same socket: nothing new.
        assert_eq!(
            listeners.look(netns, place, own, Timestamp(2 * second)),
            None
        );
        drop(socket);
        let later = listeners.look(netns, place, own, Timestamp(4 * second));
        assert_eq!(later, Some(Vec::new()));
        // In another namespace the process has no sockets.
        let elsewhere = listeners.look(netns + 1, place, own, Timestamp(0));
        assert_eq!(elsewhere, Some(Vec::new()));
    }
}
