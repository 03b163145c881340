//! Open sockets, as the kernel lists them over netlink (sock_diag(7)).

use std::{io, os::fd::AsFd, time::Duration};

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_sock_diag::{
    AF_INET, AF_INET6, AF_PACKET, SOCK_DIAG_BY_FAMILY, SockDiagMessage,
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The kernel puts up to 32 KiB of a listing into one answer (netlink_dump, net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;
/// The kernel answers at once; finding a module that it lacks takes a moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// Messages in one datagram begin at multiples of this (`NLMSG_ALIGNTO`, netlink(3)).
const ALIGNMENT: usize = 4;

/// An open socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its cookie: unique for the life of the machine.
    pub cookie: u64,
    /// Its inode, as in the links of /proc/PID/fd.
    pub inode: u32,
}

impl Open {
    /// A socket from two halves of a cookie, the lower first (sock_diag_save_cookie, net/core/sock_diag.c). One without an
    /// inode is held by no process: a request for a connection, or what is left of one.
    fn new([low, high]: [u32; 2], inode: u32) -> Option<Self> {
        (inode != 0).then_some(Self {
            cookie: u64::from(high) << 32 | u64::from(low),
            inode,
        })
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6, with IPv4 by mapped addresses.
    V6,
}

/// Asks the kernel for the sockets of one network namespace.
pub struct Diag {
    socket: Socket,
    sequence: u32,
}

impl Diag {
    /// Asks for the sockets of the network namespace of this thread, from whichever thread it is used afterwards: the
    /// kernel goes by the namespace of the netlink socket (net/ipv4/inet_diag.c, net/packet/diag.c).
    ///
    /// # Errors
    /// When the kernel has no sock_diag.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(NETLINK_SOCK_DIAG)?;
        // Connected to the kernel (port 0), the socket takes messages from nobody else (netlink(7)).
        socket.connect(&SocketAddr::new(0, 0))?;
        set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(PATIENCE))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// The sockets of one protocol that send or receive: those that wait for connections, or for the last packet of one
    /// that is over, are not listed. A socket without a port is not in the kernel's tables yet, and not listed either.
    ///
    /// # Errors
    /// When the kernel refuses; [`io::ErrorKind::NotFound`] when it cannot list this protocol.
    pub fn inet(
        &mut self,
        family: Family,
        protocol: u8,
        each: &mut dyn FnMut(Open) -> Next,
    ) -> io::Result<()> {
        let (family, socket_id) = match family {
            Family::V4 => (AF_INET, SocketId::new_v4()),
            Family::V6 => (AF_INET6, SocketId::new_v6()),
        };
        let request = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol,
            extensions: ExtensionFlags::empty(),
            states: StateFlags::all() - StateFlags::LISTEN - StateFlags::TIME_WAIT,
            socket_id,
        });
        self.list(request, |answer| {
            let SockDiagMessage::InetResponse(answer) = answer else {
                return Next::Go;
            };
            let [a, b, c, d, e, f, g, h] = answer.header.socket_id.cookie;
            let cookie = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
            Open::new(cookie, answer.header.inode).map_or(Next::Go, &mut *each)
        })
    }

    /// The packet sockets.
    ///
    /// # Errors
    /// As [`Diag::inet`].
    pub fn packet(&mut self, each: &mut dyn FnMut(Open) -> Next) -> io::Result<()> {
        let request = PacketMessage::Request(PacketRequest {
            family: AF_PACKET,
            ..PacketRequest::default()
        });
        self.list(request, |answer| {
            let PacketMessage::Answer(answer) = answer else {
                return Next::Go;
            };
            Open::new(answer.cookie, answer.inode).map_or(Next::Go, &mut *each)
        })
    }

    /// Sends a request and gives every message of the answer.
    fn list<M>(&mut self, request: M, mut each: impl FnMut(M) -> Next) -> io::Result<()>
    where
        M: NetlinkSerializable + NetlinkDeserializable,
    {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;

        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            match read(&buffer, self.sequence, &mut each)? {
                Next::Go => {}
                Next::Enough => return Ok(()),
            }
        }
    }
}

/// Whether more is wanted, or more is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Yes.
    Go,
    /// No.
    Enough,
}

/// Gives the messages of one datagram that answer request `sequence`.
fn read<M: NetlinkDeserializable>(
    mut datagram: &[u8],
    sequence: u32,
    each: &mut impl FnMut(M) -> Next,
) -> io::Result<Next> {
    if datagram.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut next = Next::Go;
    while next == Next::Go && !datagram.is_empty() {
        let message = NetlinkMessage::<M>::deserialize(datagram)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let length = (message.header.length as usize).next_multiple_of(ALIGNMENT);
        datagram = datagram.get(length..).unwrap_or_default();
        if message.header.sequence_number != sequence {
            // The rest of an earlier answer of which not all was wanted.
            continue;
        }
        match message.payload {
            NetlinkPayload::InnerMessage(inner) => next = each(inner),
            NetlinkPayload::Error(error) => next = end(error.raw_code())?,
            NetlinkPayload::Done(done) => next = end(done.code)?,
            _ => {}
        }
    }
    Ok(next)
}

/// What the last message of an answer says: 0 or a negative error number (netlink(7)).
fn end(code: i32) -> io::Result<Next> {
    if code < 0 {
        Err(io::Error::from_raw_os_error(code.saturating_neg()))
    } else {
        Ok(Next::Enough)
    }
}

/// `struct packet_diag_req`, include/uapi/linux/packet_diag.h.
#[repr(C)]
#[derive(Debug, Default, IntoBytes, Immutable)]
struct PacketRequest {
    family: u8,
    protocol: u8,
    pad: u16,
    inode: u32,
    show: u32,
    cookie: [u32; 2],
}

/// `struct packet_diag_msg`, in the same place.
#[repr(C)]
#[derive(Debug, FromBytes, KnownLayout, Immutable)]
struct PacketAnswer {
    family: u8,
    kind: u8,
    protocol: u16,
    inode: u32,
    cookie: [u32; 2],
}

/// A message about packet sockets: netlink-packet-sock-diag knows none.
#[derive(Debug)]
enum PacketMessage {
    Request(PacketRequest),
    Answer(PacketAnswer),
}

impl NetlinkSerializable for PacketMessage {
    fn message_type(&self) -> u16 {
        SOCK_DIAG_BY_FAMILY
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Request(request) => request.as_bytes().len(),
            Self::Answer(_) => 0,
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        if let Self::Request(request) = self {
            buffer.copy_from_slice(request.as_bytes());
        }
    }
}

impl NetlinkDeserializable for PacketMessage {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        match PacketAnswer::read_from_prefix(payload) {
            Ok((answer, _))
                if header.message_type == SOCK_DIAG_BY_FAMILY && answer.family == AF_PACKET =>
            {
                Ok(Self::Answer(answer))
            }
            _ => Err("no answer about packet sockets".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of this kind and payload for request 7.
    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(2_u16.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes
    }

    fn answer(inode: u32, cookie: [u32; 2]) -> Vec<u8> {
        let mut payload = vec![AF_PACKET, 3, 0, 3];
        for number in [inode, cookie[0], cookie[1]] {
            payload.extend(number.to_ne_bytes());
        }
        message(SOCK_DIAG_BY_FAMILY, &payload)
    }

    fn inodes(datagram: &[u8], sequence: u32) -> io::Result<(Vec<u32>, Next)> {
        let mut found = Vec::new();
        let next = read(datagram, sequence, &mut |message| {
            if let PacketMessage::Answer(answer) = message {
                found.push(answer.inode);
            }
            Next::Go
        })?;
        Ok((found, next))
    }

    #[test]
    fn reads_messages_up_to_the_last() {
        let mut datagram = [answer(1, [0, 0]), answer(2, [0, 0])].concat();
        assert_eq!(inodes(&datagram, 7).unwrap(), (vec![1, 2], Next::Go));
        assert_eq!(
            inodes(&datagram, 8).unwrap().0,
            [0; 0],
            "of another request"
        );
        datagram.extend(message(3, &0_i32.to_ne_bytes()));
        assert_eq!(inodes(&datagram, 7).unwrap(), (vec![1, 2], Next::Enough));
    }

    #[test]
    fn tells_what_the_kernel_refuses() {
        // ENOENT, with the head of the request that it answers.
        let mut payload = (-2_i32).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        let error = inodes(&message(2, &payload), 7).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(inodes(&message(3, &i32::MIN.to_ne_bytes()), 7).is_err());
    }

    #[test]
    fn malformed_answers_are_errors() {
        assert!(inodes(b"", 7).is_err());
        assert!(inodes(b"short", 7).is_err());
        assert!(inodes(&message(SOCK_DIAG_BY_FAMILY, b"short"), 7).is_err());
        let mut whole = answer(1, [0, 0]);
        // Lengths that would not move on, and that reach past the end.
        for length in [0_u32, 15, 33, u32::MAX] {
            whole[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(inodes(&whole, 7).is_err(), "{length}");
        }
    }

    #[test]
    fn cookies_have_their_lower_half_first() {
        let open = Open::new([1, 2], 3).unwrap();
        assert_eq!(open.cookie, 0x2_0000_0001);
        assert_eq!(Open::new([1, 2], 0), None);
    }

    #[test]
    fn layouts_are_the_kernels() {
        assert_eq!(size_of::<PacketRequest>(), 20);
        assert_eq!(size_of::<PacketAnswer>(), 16);
    }
}
