//! Queries over UDP.

use crate::control;
use crate::message::{A, padded, query};
use crate::{Outcome, said, said_all, wrong};
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use socket2::{Domain, MsgHdr, Protocol, Socket, Type};
use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

/// How long a program waits for an answer before it calls itself failed.
const ANSWER: Duration = Duration::from_secs(5);
/// `SOL_UDP` and `UDP_SEGMENT` (udp(7)).
const UDP_SEGMENT: (i32, i32) = (17, 103);

/// As glibc does: connect, then send.
pub fn connected(server: SocketAddr, name: &str) -> Outcome {
    let socket = connect(server)?;
    socket.send(&query(name, A))?;
    said(name)?;
    answers(&socket, 1)
}

/// As musl does: the address goes with the message.
pub fn unconnected(server: SocketAddr, name: &str) -> Outcome {
    let socket = bind(server)?;
    socket.send_to(&query(name, A), server)?;
    said(name)?;
    answers(&socket, 1)
}

/// Asks and is gone: the shortest life that a program with a question can have.
pub fn once(server: SocketAddr, name: &str) -> Outcome {
    bind(server)?.send_to(&query(name, A), server).map(|_| ())
}

/// A question of another type than A.
pub fn typed(server: SocketAddr, name: &str, qtype: u16) -> Outcome {
    let socket = connect(server)?;
    socket.send(&query(name, qtype))?;
    said(name)?;
    answers(&socket, 1)
}

/// With EDNS, and with padding up to a size: beyond the interface's MTU the query leaves in fragments.
pub fn sized(server: SocketAddr, name: &str, size: usize) -> Outcome {
    let socket = connect(server)?;
    socket.send(&padded(name, size))?;
    said(name)?;
    answers(&socket, 1)
}

/// As a stub resolver does that gets no answer: the same message again, on the same socket. Waits for nothing.
pub fn again(server: SocketAddr, name: &str) -> Outcome {
    let socket = connect(server)?;
    let message = query(name, A);
    socket.send(&message)?;
    socket.send(&message)?;
    said(name)
}

/// The main thread connects, another one sends, as a resolver thread of a browser does.
pub fn thread(server: SocketAddr, name: &str, thread: &str) -> Outcome {
    let socket = connect(server)?;
    in_thread(thread, || {
        socket.send(&query(name, A))?;
        said(name)?;
        answers(&socket, 1)
    })
}

/// The main thread makes the socket, another one sends with the address.
pub fn thread_unconnected(server: SocketAddr, name: &str, thread: &str) -> Outcome {
    let socket = bind(server)?;
    in_thread(thread, || {
        socket.send_to(&query(name, A), server)?;
        said(name)?;
        answers(&socket, 1)
    })
}

/// Several queries in one sendmmsg(2), as glibc sends A and AAAA.
pub fn one_call(server: SocketAddr, names: &[&str]) -> Outcome {
    let socket = connect(server)?;
    let messages: Vec<Vec<u8>> = names.iter().map(|name| query(name, A)).collect();
    let sent = send_many(&socket, &messages)?;
    if sent != messages.len() {
        return Err(wrong("the kernel did not take them all in one call"));
    }
    said_all(names.iter().copied())?;
    answers(&socket, names.len())
}

/// Several queries as one buffer, which the kernel cuts into datagrams (UDP_SEGMENT). All but the last must have one
/// size, so the names should be equally long.
pub fn segmented(server: SocketAddr, names: &[&str]) -> Outcome {
    let socket = connect(server)?;
    let messages: Vec<Vec<u8>> = names.iter().map(|name| query(name, A)).collect();
    let size = messages[0].len();
    if messages.iter().any(|message| message.len() != size) {
        return Err(wrong("the names are not equally long"));
    }
    let segment = u16::try_from(size).map_err(|_| wrong("too long"))?;
    let control = control::message(UDP_SEGMENT.0, UDP_SEGMENT.1, &segment.to_ne_bytes());
    let bytes = messages.concat();
    let sent = Socket::from(socket.try_clone()?).sendmsg(
        &MsgHdr::new()
            .with_buffers(&[IoSlice::new(&bytes)])
            .with_control(&control),
        0,
    )?;
    if sent != bytes.len() {
        return Err(wrong("the kernel did not take it as a whole"));
    }
    said_all(names.iter().copied())?;
    answers(&socket, names.len())
}

/// Sends messages on a connected socket by one system call; gives how many the kernel took.
pub fn send_many(socket: &UdpSocket, messages: &[Vec<u8>]) -> io::Result<usize> {
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(messages.len(), None);
    let slices: Vec<[IoSlice; 1]> = messages
        .iter()
        .map(|message| [IoSlice::new(message)])
        .collect();
    let addresses: Vec<Option<SockaddrStorage>> = vec![None; messages.len()];
    let sent = sendmmsg(
        socket.as_raw_fd(),
        &mut headers,
        &slices,
        addresses,
        [],
        MsgFlags::empty(),
    )?;
    Ok(sent.count())
}

/// A connected socket. An address like `::ffff:10.77.0.1` makes it an IPv6 socket that sends IPv4.
pub fn connect(server: SocketAddr) -> io::Result<UdpSocket> {
    let socket = bind(server)?;
    socket.connect(server)?;
    Ok(socket)
}

/// A socket on any port.
pub fn bind(server: SocketAddr) -> io::Result<UdpSocket> {
    let (domain, any): (_, IpAddr) = match server {
        SocketAddr::V4(_) => (Domain::IPV4, Ipv4Addr::UNSPECIFIED.into()),
        SocketAddr::V6(_) => (Domain::IPV6, Ipv6Addr::UNSPECIFIED.into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&SocketAddr::new(any, 0).into())?;
    Ok(socket.into())
}

/// Waits for this many answers.
pub fn answers(socket: &UdpSocket, count: usize) -> Outcome {
    socket.set_read_timeout(Some(ANSWER))?;
    let mut buffer = [0; 4096];
    for _ in 0..count {
        socket.recv(&mut buffer)?;
    }
    Ok(())
}

fn in_thread(name: &str, work: impl FnOnce() -> Outcome + Send) -> Outcome {
    thread::scope(|scope| {
        thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, work)?
            .join()
            .map_err(|_| wrong("the thread panicked"))?
    })
}
