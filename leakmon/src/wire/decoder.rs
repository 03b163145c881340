//! Packets in, messages out: puts TCP back in order and knows which conversation a byte belongs to.

use std::{net::SocketAddr, num::NonZeroUsize};

use leakmon_common::Owner;
use lru::LruCache;

use super::{
    dns::{self, DnsMessage},
    proxy::{self, Parse, Reply, Request},
    stream::Stream,
};
use crate::{
    capture::{Direction, LOOPBACK, Packet, Reason},
    model::Transport,
    time::Timestamp,
};

/// Most TCP connections followed at once; the one that was quiet longest gives way.
const MAX_CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Something that was said on the wire.
#[derive(Clone, Debug)]
pub struct Message {
    /// When.
    pub at: Timestamp,
    /// On which socket.
    pub cookie: u64,
    /// Who used the socket last, when the kernel knew.
    pub owner: Option<Owner>,
    /// The other end: the resolver or the proxy.
    pub peer: SocketAddr,
    /// It left through an interface other than loopback.
    pub escaped: bool,
    /// Name of the interface it left or came through.
    pub interface: Option<String>,
    /// What was said.
    pub payload: Payload,
}

/// What was said.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A DNS question or answer.
    Dns(Transport, DnsMessage),
    /// A whole request to a proxy.
    ProxyRequest(Request),
    /// A proxy's answer: it is one, and perhaps said yes or no.
    ProxyReply(Reply),
    /// What answered a request to a proxy is no proxy.
    NoProxy,
    /// Something on a DNS port that could not be read as DNS.
    Undecoded,
}

/// A conversation with a proxy.
#[derive(Debug, Default)]
struct Conversation {
    sent: Stream,
    received: Stream,
    reply: Option<Reply>,
    request_said: bool,
    /// It is none after all, or all of it was said.
    over: bool,
}

impl Conversation {
    /// What a proxy's bytes add.
    fn read_reply(&mut self, payloads: &mut Vec<Payload>) {
        if self.sent.bytes().is_empty() {
            return;
        }
        match proxy::reply(self.received.bytes(), self.sent.bytes()) {
            Parse::Done(reply) if Some(reply) != self.reply => {
                self.reply = Some(reply);
                payloads.push(Payload::ProxyReply(reply));
            }
            Parse::Done(_) | Parse::Incomplete => {}
            Parse::No => {
                self.over = true;
                if self.request_said {
                    payloads.push(Payload::NoProxy);
                }
            }
        }
    }

    /// What a client's bytes add. What the proxy has said before, of a client that did not wait, is said again behind the
    /// request that it is for.
    fn read_request(&mut self, payloads: &mut Vec<Payload>) {
        let method = self.reply.and_then(|reply| reply.method);
        match proxy::request(self.sent.bytes(), method) {
            Parse::Done(request) => {
                self.request_said = true;
                payloads.push(Payload::ProxyRequest(request));
                if let Some(reply) = self.reply.filter(|reply| reply.accepted.is_some()) {
                    payloads.retain(|payload| !matches!(payload, Payload::ProxyReply(_)));
                    payloads.push(Payload::ProxyReply(reply));
                }
            }
            Parse::Incomplete => {}
            Parse::No => self.over = true,
        }
    }
}

/// Both directions of DNS over TCP.
#[derive(Debug, Default)]
struct DnsConnection {
    sent: Stream,
    received: Stream,
}

/// Turns packets into messages.
#[derive(Debug)]
pub struct Decoder {
    dns: LruCache<u64, DnsConnection>,
    proxied: LruCache<u64, Conversation>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            dns: LruCache::new(MAX_CONNECTIONS),
            proxied: LruCache::new(MAX_CONNECTIONS),
        }
    }
}

impl Decoder {
    /// The messages that a packet completes.
    pub fn decode(&mut self, packet: &Packet) -> Vec<Message> {
        let payloads = match (packet.reason, packet.transport) {
            (Reason::Dns, Transport::Tcp) => self.dns_over_tcp(packet),
            (Reason::Dns, _) => datagrams(packet)
                .map(|datagram| dns_payload(Transport::Udp, datagram))
                .collect(),
            (Reason::Proxy, _) => self.proxied(packet),
        };
        let peer = match packet.direction {
            Direction::Egress => packet.destination,
            Direction::Ingress => packet.source,
        };
        payloads
            .into_iter()
            .map(|payload| Message {
                at: packet.at,
                cookie: packet.cookie,
                owner: packet.owner,
                peer,
                escaped: packet.ifindex != LOOPBACK,
                interface: packet.interface.clone(),
                payload,
            })
            .collect()
    }

    fn dns_over_tcp(&mut self, packet: &Packet) -> Vec<Payload> {
        let connection = self
            .dns
            .get_or_insert_mut(packet.cookie, DnsConnection::default);
        let stream = match packet.direction {
            Direction::Egress => &mut connection.sent,
            Direction::Ingress => &mut connection.received,
        };
        let was_broken = stream.is_broken();
        stream.push(packet.sequence, &packet.payload, packet.is_whole());
        let mut payloads = Vec::new();
        while let Some(message) = stream.take_length_prefixed() {
            payloads.push(dns_payload(Transport::Tcp, &message));
        }
        if stream.is_broken() && !was_broken {
            payloads.push(Payload::Undecoded);
        }
        payloads
    }

    fn proxied(&mut self, packet: &Packet) -> Vec<Payload> {
        let conversation = self
            .proxied
            .get_or_insert_mut(packet.cookie, Conversation::default);
        if conversation.over {
            return Vec::new();
        }
        let mut payloads = Vec::new();
        match packet.direction {
            // What comes behind the request is the tunnel's.
            Direction::Egress if conversation.request_said => {}
            Direction::Egress => {
                conversation
                    .sent
                    .push(packet.sequence, &packet.payload, packet.is_whole());
            }
            Direction::Ingress => {
                conversation
                    .received
                    .push(packet.sequence, &packet.payload, packet.is_whole());
                conversation.read_reply(&mut payloads);
            }
        }
        if !conversation.request_said && !conversation.over {
            conversation.read_request(&mut payloads);
        }
        if conversation.request_said
            && conversation
                .reply
                .is_some_and(|reply| reply.accepted.is_some())
        {
            conversation.over = true;
        }
        if conversation.over {
            conversation.sent = Stream::default();
            conversation.received = Stream::default();
        }
        payloads
    }
}

/// The datagrams of a UDP packet, several when the sender had the kernel cut them (UDP_SEGMENT, udp(7)).
fn datagrams(packet: &Packet) -> impl Iterator<Item = &[u8]> {
    let len = match packet.datagram_len as usize {
        0 => packet.payload.len().max(1),
        len => len,
    };
    packet.payload.chunks(len)
}

fn dns_payload(transport: Transport, bytes: &[u8]) -> Payload {
    match dns::parse(bytes) {
        Ok(message) => Payload::Dns(transport, message),
        Err(_) => Payload::Undecoded,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;

    /// Who says something in a conversation, and what.
    type Said<'a> = (Direction, &'a [u8]);
    use Direction::{Egress as Client, Ingress as Proxy};

    /// Conversations as they are held, with what is to be made of them: the command and target, and whether it was granted.
    const CONVERSATIONS: &[(&[Said<'_>], Option<&str>, Option<bool>)] = &[
        (
            &[
                (Client, b"\x04\x01\x00\x50\x0a\x4d\x00\x50user\0"),
                (Proxy, b"\x00\x5a\0\0\0\0\0\0"),
                (Client, b"GET / HTTP/1.1\r\n\r\n"),
                (Proxy, b"HTTP/1.1 200 OK\r\n"),
            ],
            Some("connect 10.77.0.80:80"),
            Some(true),
        ),
        (
            &[
                (Client, b"\x04\xf0\x00\x00\x00\x00\x00\x01\0page.example\0"),
                (Proxy, b"\x00\x5b\0\0\0\0\0\0"),
            ],
            Some("resolve page.example:0"),
            Some(false),
        ),
        (
            &[
                (Client, b"\x05\x01\x00"),
                (Proxy, b"\x05\x00"),
                (Client, b"\x05\x01\x00\x03\x0cpage.example\x01\xbb"),
                (Proxy, b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"),
                (Client, b"\x16\x03\x01\x00\x05hello"),
                (Proxy, b"\x05\x01"),
            ],
            Some("connect page.example:443"),
            Some(true),
        ),
        (
            &[
                (Client, b"\x05\x02\x00\x02"),
                (Proxy, b"\x05\x02"),
                (Client, b"\x01\x02me\x03pwd"),
                (Proxy, b"\x01\x00"),
                (Client, b"\x05\xf1\x00\x01\x0a\x00\x00\x01\x00\x00"),
                (Proxy, b"\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"),
            ],
            Some("resolve-ptr 10.0.0.1:0"),
            Some(false),
        ),
        // BIND: the second reply tells of who came, and changes nothing.
        (
            &[
                (Client, b"\x05\x01\x00"),
                (Proxy, b"\x05\x00"),
                (Client, b"\x05\x02\x00\x01\x0a\x00\x00\x01\x00\x50"),
                (Proxy, b"\x05\x00\x00\x01\x0a\x00\x00\x02\x10\x00"),
                (Proxy, b"\x05\x06\x00\x01\x0a\x00\x00\x01\x10\x00"),
            ],
            Some("bind 10.0.0.1:80"),
            Some(true),
        ),
        // A wrong password, no method that will do, a method with bytes of its own: nothing is asked that can be read.
        (
            &[
                (Client, b"\x05\x01\x02"),
                (Proxy, b"\x05\x02"),
                (Client, b"\x01\x02me\x03bad"),
                (Proxy, b"\x01\x01"),
            ],
            None,
            Some(false),
        ),
        (
            &[(Client, b"\x05\x01\x02"), (Proxy, b"\x05\xff")],
            None,
            Some(false),
        ),
        (
            &[
                (Client, b"\x05\x02\x00\x01"),
                (Proxy, b"\x05\x01"),
                (Client, b"\x01\x01\x00\x02ab"),
                (Proxy, b"\x01\x01\x00\x02cd"),
                (Client, b"\x01\x02\x00\x05\x05\x01\x00\x01\x0a"),
            ],
            None,
            None,
        ),
        (
            &[
                (Client, b"CONNECT page.example:443 HTTP/1.1\r\n\r\n"),
                (Proxy, b"HTTP/1.1 100 Wait\r\n\r\n"),
                (Proxy, b"HTTP/1.1 403 Forbidden\r\n\r\n"),
            ],
            Some("connect page.example:443"),
            Some(false),
        ),
    ];

    /// The packets of a connection.
    #[derive(Default)]
    struct Connection {
        decoder: Decoder,
        sequences: [u32; 2],
    }

    impl Connection {
        /// Both directions begin at these sequence numbers.
        fn at(client: u32, proxy: u32) -> Self {
            Self {
                decoder: Decoder::default(),
                sequences: [client, proxy],
            }
        }

        /// The next segment in a direction, which may be read later than others.
        fn segment(&mut self, (direction, payload): Said<'_>) -> Packet {
            let sequence = &mut self.sequences[usize::from(direction == Proxy)];
            let packet = Packet {
                at: Timestamp(0),
                cookie: 1,
                owner: None,
                direction,
                reason: Reason::Proxy,
                transport: Transport::Tcp,
                source: "127.0.0.1:1".parse().unwrap(),
                destination: "127.0.0.1:1080".parse().unwrap(),
                ifindex: 1,
                interface: None,
                sequence: *sequence,
                datagram_len: 0,
                wire_len: u32::try_from(payload.len()).unwrap(),
                payload: payload.to_vec(),
            };
            *sequence = sequence.wrapping_add(packet.wire_len);
            packet
        }

        fn read(&mut self, said: Said<'_>) -> Vec<Payload> {
            let packet = self.segment(said);
            self.decode(&packet)
        }

        fn decode(&mut self, packet: &Packet) -> Vec<Payload> {
            let messages = self.decoder.decode(packet);
            messages
                .into_iter()
                .map(|message| message.payload)
                .collect()
        }
    }

    /// What follows from the messages: the request, and what the last reply behind it says. A reply that says yes or no
    /// comes last, and nothing comes twice.
    fn outcome(payloads: &[Payload]) -> (Option<String>, Option<bool>) {
        let mut asked = None;
        let mut accepted = None;
        let mut is_over = false;
        for payload in payloads {
            match payload {
                Payload::ProxyRequest(request) => {
                    assert_eq!(asked, None, "{payloads:?}");
                    let target = &request.target;
                    let host = target.name.clone();
                    let host = host.or_else(|| target.addr.map(|addr| addr.to_string()));
                    asked = Some(format!(
                        "{} {}:{}",
                        request.command,
                        host.unwrap(),
                        target.port
                    ));
                    (accepted, is_over) = (None, false);
                }
                Payload::ProxyReply(reply) => {
                    assert!(!is_over, "{payloads:?}");
                    accepted = reply.accepted;
                    is_over = accepted.is_some();
                }
                other => panic!("{other:?}"),
            }
        }
        (asked, accepted)
    }

    fn expected(index: usize) -> (Option<String>, Option<bool>) {
        let (_, asked, accepted) = CONVERSATIONS[index];
        (asked.map(str::to_owned), accepted)
    }

    #[test]
    fn conversations() {
        for (index, (said, ..)) in CONVERSATIONS.iter().enumerate() {
            let mut connection = Connection::default();
            let payloads: Vec<_> = said
                .iter()
                .flat_map(|said| connection.read(*said))
                .collect();
            assert_eq!(outcome(&payloads), expected(index), "{said:?}");
        }
    }

    #[test]
    fn a_client_that_does_not_wait_is_read_all_the_same() {
        // All that each side says comes in one piece, what goes through the tunnel with it.
        for (index, (said, asked, _)) in CONVERSATIONS.iter().enumerate() {
            if asked.is_none() {
                continue;
            }
            let all_of = |who| {
                let of = said.iter().filter(|(direction, _)| *direction == who);
                of.flat_map(|(_, bytes)| bytes.iter().copied())
                    .collect::<Vec<u8>>()
            };
            let mut connection = Connection::default();
            let mut payloads = connection.read((Client, &all_of(Client)));
            payloads.extend(connection.read((Proxy, &all_of(Proxy))));
            assert_eq!(outcome(&payloads), expected(index), "{said:?}");
        }
    }

    #[test]
    fn a_refusal_that_overtakes_the_request_is_the_requests() {
        for refusal in [&b"\x05\xff"[..], b"\x05\x02\x01\x01"] {
            let mut connection = Connection::default();
            let mut payloads = connection.read((Client, b"\x05\x01\x02"));
            payloads.extend(connection.read((Client, b"\x01\x02me\x03bad\x05\x01\x00")));
            payloads.extend(connection.read((Proxy, refusal)));
            payloads.extend(connection.read((Client, b"\x01\x0a\x00\x00\x01\x00\x50")));
            let asked = outcome(&payloads).0.is_some();
            // 0xff leaves no method to read on by.
            assert_eq!(asked, refusal[1] == 2, "{payloads:?}");
            assert_eq!(outcome(&payloads).1, Some(false), "{payloads:?}");
        }
    }

    #[test]
    fn what_answers_in_another_language_is_no_proxy() {
        let greeting = (Client, &b"\x05\x01\x00"[..]);
        let rest = (Client, &b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"[..]);
        for other in [
            &b"HTTP/1.0 400 Bad request\r\n"[..],
            b"<!DOCTYPE HTML>",
            b"\x05\x01\x00\x05\x01\x00\x01",
            b"\x05\x07\r\n",
        ] {
            let mut waits = Connection::default();
            let mut payloads = waits.read(greeting);
            payloads.extend(waits.read((Proxy, other)));
            payloads.extend(waits.read(rest));
            assert!(payloads.is_empty(), "{payloads:?}");

            let mut hurries = Connection::default();
            let mut payloads = hurries.read(greeting);
            payloads.extend(hurries.read(rest));
            assert!(matches!(payloads[..], [Payload::ProxyRequest(_)]));
            let payloads = hurries.read((Proxy, other));
            assert!(matches!(payloads[..], [Payload::NoProxy]), "{payloads:?}");
        }
    }

    #[test]
    fn the_proxys_own_end_is_no_conversation() {
        // What tor says in one piece to a client that did not wait, seen on tor's own socket.
        let mut connection = Connection::default();
        let mut payloads =
            connection.read((Client, b"\x05\x02\x01\x00\x05\x01\x00\x01\0\0\0\0\0\0"));
        payloads.extend(connection.read((Proxy, b"\x16\x03\x01 hello")));
        assert!(payloads.is_empty(), "{payloads:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn segments_change_nothing(
            index in 0..CONVERSATIONS.len(),
            cuts in vec(any::<[Index; 3]>(), 8),
            starts: [u32; 2],
            again: Index,
            swapped: bool,
        ) {
            let mut connection = Connection::at(starts[0], starts[1]);
            let mut payloads = Vec::new();
            let mut packets: Vec<Packet> = Vec::new();
            for ((direction, bytes), cuts) in CONVERSATIONS[index].0.iter().zip(cuts) {
                let mut cuts = cuts.map(|cut| cut.index(bytes.len() + 1)).to_vec();
                cuts.sort_unstable();
                cuts.push(bytes.len());
                let mut begin = 0;
                let mut step = Vec::new();
                for end in cuts {
                    if begin < end {
                        step.push(connection.segment((*direction, &bytes[begin..end])));
                        begin = end;
                    }
                }
                // Where a direction begins is known by its first segment.
                let is_first = packets.iter().all(|packet| packet.direction != *direction);
                if swapped {
                    step[usize::from(is_first)..].reverse();
                }
                for packet in step {
                    payloads.extend(connection.decode(&packet));
                    packets.push(packet);
                    payloads.extend(connection.decode(&packets[again.index(packets.len())]));
                }
            }
            prop_assert_eq!(outcome(&payloads), expected(index));
        }

        #[test]
        fn a_beginning_says_nothing_else(index in 0..CONVERSATIONS.len(), keep: Index) {
            let said = CONVERSATIONS[index].0;
            let total: usize = said.iter().map(|(_, bytes)| bytes.len()).sum();
            let mut left = keep.index(total + 1);
            let mut connection = Connection::default();
            let mut payloads = Vec::new();
            for (direction, bytes) in said {
                let here = bytes.len().min(left);
                left -= here;
                if here > 0 {
                    payloads.extend(connection.read((*direction, &bytes[..here])));
                }
            }
            let (asked, accepted) = outcome(&payloads);
            let whole = expected(index);
            prop_assert!(asked.is_none() || asked == whole.0);
            prop_assert!(accepted.is_none() || accepted == whole.1);
        }

        #[test]
        fn no_bytes_are_too_hostile(
            said in vec((any::<bool>(), vec(prop_oneof![any::<u8>(), 0..6_u8], 0..40), any::<u8>()), 0..12),
        ) {
            let mut connection = Connection::default();
            for (from_client, bytes, skip) in &said {
                let direction = if *from_client { Client } else { Proxy };
                let mut packet = connection.segment((direction, bytes));
                packet.sequence = packet.sequence.wrapping_add(u32::from(*skip / 64));
                packet.wire_len += u32::from(*skip % 8 / 7);
                connection.decode(&packet);
            }
        }
    }
}
