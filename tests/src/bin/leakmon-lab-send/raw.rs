//! Packets that a program writes itself, past the kernel's UDP.

use crate::message::{A, query};
use crate::udp::{answers, bind};
use crate::{Outcome, said, wrong};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, sendto, socket,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

/// `IPPROTO_RAW`: the program brings its own header (raw(7)).
const RAW: i32 = 255;
const UDP: u8 = 17;
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];

/// Through a raw IP socket, with the program's own IPv4 header. A UDP socket beside it holds the port for the answer.
pub fn ip(source: IpAddr, server: SocketAddr, name: &str) -> Outcome {
    let (holder, packet) = packet_from(source, server, name)?;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(RAW)))?;
    // A port means nothing to a raw socket.
    socket.send_to(&packet, &SocketAddr::new(server.ip(), 0).into())?;
    said(name)?;
    answers(&holder, 1)
}

/// As a whole Ethernet frame on an interface, to the network card with this address, past all of the kernel's IP.
pub fn packet(
    interface: &str,
    mac: &str,
    source: IpAddr,
    server: SocketAddr,
    name: &str,
) -> Outcome {
    let (holder, packet) = packet_from(source, server, name)?;
    let link = link(interface)?;
    let own = link.addr().ok_or_else(|| wrong("it has no address"))?;
    let frame = [&hardware_address(mac)?[..], &own, &ETHERTYPE_IPV4, &packet].concat();
    // Protocol 0: it never receives anything (packet(7)).
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None::<SockProtocol>,
    )?;
    sendto(socket.as_raw_fd(), &frame, &link, MsgFlags::empty())?;
    said(name)?;
    answers(&holder, 1)
}

fn packet_from(source: IpAddr, server: SocketAddr, name: &str) -> io::Result<(UdpSocket, Vec<u8>)> {
    let (IpAddr::V4(from), SocketAddr::V4(to)) = (source, server) else {
        return Err(wrong("only IPv4"));
    };
    let holder = bind(server)?;
    let port = holder.local_addr()?.port();
    let packet = datagram(from, port, *to.ip(), to.port(), &query(name, A));
    Ok((holder, packet))
}

/// An IPv4 packet with a UDP datagram whose checksum is 0: not used (RFC 768).
fn datagram(from: Ipv4Addr, port: u16, to: Ipv4Addr, to_port: u16, data: &[u8]) -> Vec<u8> {
    let udp_len = u16::try_from(8 + data.len()).expect("a query is short");
    let mut header = vec![0x45, 0];
    header.extend((20 + udp_len).to_be_bytes());
    header.extend([0x12, 0x34, 0x40, 0, 64, UDP, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(port.to_be_bytes());
    header.extend(to_port.to_be_bytes());
    header.extend(udp_len.to_be_bytes());
    header.extend([0, 0]);
    header.extend(data);
    header
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

fn link(interface: &str) -> io::Result<LinkAddr> {
    getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .ok_or_else(|| wrong("no such interface"))
}

fn hardware_address(text: &str) -> io::Result<[u8; 6]> {
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|part| u8::from_str_radix(part, 16))
        .collect();
    bytes
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| wrong("that is no hardware address"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_checksum_of_a_header_with_its_checksum_is_zero() {
        let packet = super::datagram([10, 77, 0, 2].into(), 1, [10, 77, 0, 1].into(), 53, b"x");
        assert_eq!(super::checksum(&packet[..20]), 0);
        assert_eq!(packet.len(), 29);
    }
}
