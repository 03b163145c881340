//! What the kernel programs write into the ring buffer, checked field by field.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use leakmon_common::{
    ArgumentsEvent, ConnectEvent, EGRESS, Head, INGRESS, KIND_ARGUMENTS, KIND_CONNECT, KIND_EXEC,
    KIND_EXIT, KIND_FORK, KIND_PACKET, KIND_SERVICE, Owner, PacketHeader, ProcessEvent, REASON_DNS,
    REASON_PROXY, ServiceEvent,
};
use zerocopy::FromBytes;

use super::{Connect, Direction, Packet, Reason, Record, Request, services};
use crate::{
    model::{Service, Transport},
    process::Arguments,
    time::BootClock,
};

/// A record of the ring buffer; `None` when it is none that this agent knows.
pub fn decode(record: &[u8], clock: &BootClock) -> Option<Record> {
    let (head, _) = Head::read_from_prefix(record).ok()?;
    match head.kind {
        KIND_PACKET => packet(record, clock).map(Record::Packet),
        KIND_EXEC | KIND_EXIT | KIND_FORK => {
            let (event, _) = ProcessEvent::read_from_prefix(record).ok()?;
            Some(match head.kind {
                KIND_EXEC => Record::Exec(event.owner),
                KIND_EXIT => Record::Exit(event.owner),
                _ => Record::Fork(event.owner, head.detail),
            })
        }
        KIND_ARGUMENTS => {
            let (event, _) = ArgumentsEvent::read_from_prefix(record).ok()?;
            Some(Record::Arguments(event.owner, arguments(&event)))
        }
        KIND_CONNECT => {
            let (event, _) = ConnectEvent::read_from_prefix(record).ok()?;
            Some(Record::Connect(Connect {
                at: clock.wall(event.head.boot_ns),
                cookie: event.cookie,
                owner: event.owner,
                destination: address(event.ip_version, &event.destination, event.port)?,
            }))
        }
        KIND_SERVICE => request(record, clock).map(Record::Request),
        _ => None,
    }
}

fn request(record: &[u8], clock: &BootClock) -> Option<Request> {
    let (event, _) = ServiceEvent::read_from_prefix(record).ok()?;
    let is_it = |service: &Service| services::number(*service) == event.service;
    Some(Request {
        at: clock.wall(event.head.boot_ns),
        owner: event.owner,
        service: [Service::Resolved, Service::Nscd].into_iter().find(is_it)?,
        sent_len: event.sent_len,
        payload: event.payload.get(..event.payload_len as usize)?.to_vec(),
    })
}

/// An address as the kernel programs write it; IPv4 mapped into IPv6 is IPv4.
fn address(ip_version: u32, bytes: &[u8; 16], port: u32) -> Option<SocketAddr> {
    let ip: IpAddr = match ip_version {
        4 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
        6 => Ipv6Addr::from(*bytes).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

fn arguments(event: &ArgumentsEvent) -> Arguments {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let list = |bytes: &[u8], len: u32| -> Option<Vec<String>> {
        // Each ends with its NUL, which leaves nothing behind the last.
        let mut list: Vec<String> = bytes
            .get(..len as usize)?
            .split(|&byte| byte == 0)
            .map(text)
            .collect();
        list.pop();
        Some(list)
    };
    let path = event.path.split(|&byte| byte == 0).next();
    Arguments {
        path: text(path.unwrap_or_default()),
        arguments: list(&event.arguments, event.arguments_len).filter(|_| event.arguments_cut == 0),
        environment: list(&event.environment, event.environment_len)
            .filter(|_| event.environment_cut == 0),
    }
}

fn packet(record: &[u8], clock: &BootClock) -> Option<Packet> {
    let (header, payload) = PacketHeader::read_from_prefix(record).ok()?;
    let payload = payload.get(..header.payload_len as usize)?;
    Some(Packet {
        at: clock.wall(header.head.boot_ns),
        cookie: header.cookie,
        owner: (header.owner.tgid != 0).then_some(Owner { ..header.owner }),
        direction: match header.direction {
            EGRESS => Direction::Egress,
            INGRESS => Direction::Ingress,
            _ => return None,
        },
        reason: match header.reason {
            REASON_DNS => Reason::Dns,
            REASON_PROXY => Reason::Proxy,
            _ => return None,
        },
        transport: match header.protocol {
            17 => Transport::Udp,
            6 => Transport::Tcp,
            _ => return None,
        },
        source: address(header.ip_version, &header.source, header.source_port)?,
        destination: address(
            header.ip_version,
            &header.destination,
            header.destination_port,
        )?,
        ifindex: header.ifindex,
        interface: None,
        sequence: header.tcp_sequence,
        datagram_len: header.head.detail,
        wire_len: header.wire_len,
        payload: payload.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    fn header() -> PacketHeader {
        PacketHeader {
            head: Head {
                boot_ns: 1,
                kind: KIND_PACKET,
                detail: 0,
            },
            cookie: 7,
            owner: Owner::UNKNOWN,
            direction: EGRESS,
            reason: REASON_DNS,
            ip_version: 4,
            protocol: 17,
            source: [127; 16],
            destination: [10; 16],
            source_port: 4242,
            destination_port: 53,
            ifindex: 1,
            tcp_sequence: 0,
            wire_len: 2,
            payload_len: 2,
        }
    }

    fn record(header: &PacketHeader) -> Vec<u8> {
        [header.as_bytes(), b"ab------"].concat()
    }

    #[test]
    fn a_record_becomes_a_packet() {
        let Some(Record::Packet(packet)) = decode(&record(&header()), &BootClock::at(0)) else {
            panic!("no packet");
        };
        assert_eq!(packet.payload, b"ab");
        assert_eq!(packet.owner, None);
        assert_eq!(packet.destination, "10.10.10.10:53".parse().unwrap());
    }

    #[test]
    fn what_the_kernel_side_never_writes_is_refused() {
        let spoil: [fn(&mut PacketHeader); 7] = [
            |h| h.head.kind = 9,
            |h| h.direction = 3,
            |h| h.reason = 0,
            |h| h.ip_version = 5,
            |h| h.protocol = 1,
            |h| h.payload_len = 4096,
            |h| h.source_port = 70_000,
        ];
        for change in spoil {
            let mut header = header();
            change(&mut header);
            assert_eq!(decode(&record(&header), &BootClock::at(0)), None);
        }
        assert_eq!(decode(b"short", &BootClock::at(0)), None);
    }
}
