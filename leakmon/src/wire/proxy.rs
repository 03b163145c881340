//! Conversations with a proxy, whatever its protocol: what a client asks, and what it is answered.

use std::net::IpAddr;

use super::{http, socks};
use crate::model::{ProxyProtocol, Target};

/// What a client asks of its proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The protocol.
    pub protocol: ProxyProtocol,
    /// Name of the command.
    pub command: String,
    /// What the proxy is to reach.
    pub target: Target,
}

/// What a proxy's bytes so far say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The authentication method it chose (SOCKS5).
    pub method: Option<u8>,
    /// Whether it granted the request.
    pub accepted: Option<bool>,
}

/// How far a parse has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parse<T> {
    /// All there.
    Done(T),
    /// So far so good.
    Incomplete,
    /// This is no such conversation, or none that can be followed.
    No,
}

/// Reads what a client sent so far. `method` is the authentication method its proxy chose, when that is known.
#[must_use]
pub fn request(sent: &[u8], method: Option<u8>) -> Parse<Request> {
    match sent.first() {
        None => Parse::Incomplete,
        Some(4 | 5) => socks::request(sent, method),
        Some(_) => http::request(sent),
    }
}

/// Reads what a proxy sent so far to a client that sent this.
#[must_use]
pub fn reply(received: &[u8], sent: &[u8]) -> Parse<Reply> {
    match sent.first() {
        None => Parse::Incomplete,
        Some(4 | 5) => socks::reply(received, sent),
        Some(first) => http::reply(received, *first == b'C'),
    }
}

/// The target by an address.
#[must_use]
pub fn address_target(addr: IpAddr, port: u16) -> Target {
    Target {
        name: None,
        addr: Some(addr),
        port,
    }
}

/// The target by a name as it was sent; an address written out where a name is due is an address all the same.
#[must_use]
pub fn name_target(name: &[u8], port: u16) -> Target {
    let name = String::from_utf8_lossy(name).into_owned();
    match name.parse() {
        Ok(addr) => address_target(addr, port),
        Err(_) => Target {
            name: Some(name),
            addr: None,
            port,
        },
    }
}
