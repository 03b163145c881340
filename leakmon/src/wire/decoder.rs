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
        let stream = match packet.direction {
            Direction::Egress => &mut conversation.sent,
            Direction::Ingress => &mut conversation.received,
        };
        stream.push(packet.sequence, &packet.payload, packet.is_whole());
        let mut payloads = Vec::new();
        if packet.direction == Direction::Ingress && !conversation.sent.bytes().is_empty() {
            match proxy::reply(conversation.received.bytes(), conversation.sent.bytes()) {
                Parse::Done(reply) if Some(reply) != conversation.reply => {
                    conversation.reply = Some(reply);
                    payloads.push(Payload::ProxyReply(reply));
                }
                Parse::Done(_) | Parse::Incomplete => {}
                Parse::No => {
                    conversation.over = true;
                    if conversation.request_said {
                        payloads.push(Payload::NoProxy);
                    }
                }
            }
        }
        if !conversation.request_said && !conversation.over {
            match proxy::request(
                conversation.sent.bytes(),
                conversation.reply.and_then(|reply| reply.method),
            ) {
                Parse::Done(request) => {
                    conversation.request_said = true;
                    payloads.push(Payload::ProxyRequest(request));
                }
                Parse::Incomplete => {}
                Parse::No => conversation.over = true,
            }
        }
        if conversation.request_said
            && conversation
                .reply
                .is_some_and(|reply| reply.accepted.is_some())
        {
            conversation.over = true;
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
