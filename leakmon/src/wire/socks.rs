//! SOCKS conversations: SOCKS4 and 4a (the memos by Y. Lee), SOCKS5 (RFC 1928, RFC 1929), and tor's extensions
//! (`socks-extensions` of the tor specifications).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::proxy::{Parse, Reply, Request, address_target, name_target};
use crate::model::ProxyProtocol;

/// Longest user id or name of SOCKS4 that is taken for honest: the memos set no limit.
const MAX_SOCKS4_STRING: usize = 512;

/// Takes bytes off the front, or tells that there are too few.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n)?;
        self.0 = tail;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn port(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes up to a NUL, which is taken too.
    fn string(&mut self) -> Parse<&'a [u8]> {
        match self.0.iter().position(|&byte| byte == 0) {
            Some(end) if end <= MAX_SOCKS4_STRING => {
                let text = &self.0[..end];
                self.0 = &self.0[end + 1..];
                Parse::Done(text)
            }
            None if self.0.len() <= MAX_SOCKS4_STRING => Parse::Incomplete,
            _ => Parse::No,
        }
    }
}

/// Reads what a client sent so far. `method` is the authentication method its proxy chose, when that is known.
#[must_use]
pub fn request(sent: &[u8], method: Option<u8>) -> Parse<Request> {
    let mut reader = Reader(sent);
    match reader.byte() {
        Some(4) => socks4_request(reader),
        Some(5) => socks5_request(reader, method).unwrap_or(Parse::Incomplete),
        Some(_) => Parse::No,
        None => Parse::Incomplete,
    }
}

fn socks4_request(mut reader: Reader<'_>) -> Parse<Request> {
    let (Some(command), Some(port), Some(address)) = (reader.byte(), reader.port(), reader.take(4))
    else {
        return Parse::Incomplete;
    };
    let command = match command {
        1 => "connect",
        2 => "bind",
        0xf0 => "resolve",
        _ => return Parse::No,
    };
    match reader.string() {
        Parse::Done(_user) => {}
        Parse::Incomplete => return Parse::Incomplete,
        Parse::No => return Parse::No,
    }
    // 4a: an address 0.0.0.x with x not 0 says that a name follows.
    let named = address[..3] == [0, 0, 0] && address[3] != 0;
    let (protocol, target) = if named {
        match reader.string() {
            Parse::Done(name) => (ProxyProtocol::Socks4a, name_target(name, port)),
            Parse::Incomplete => return Parse::Incomplete,
            Parse::No => return Parse::No,
        }
    } else {
        let address = Ipv4Addr::new(address[0], address[1], address[2], address[3]);
        (ProxyProtocol::Socks4, address_target(address.into(), port))
    };
    Parse::Done(Request {
        protocol,
        command: command.to_owned(),
        target,
    })
}

/// `None`: too few bytes.
fn socks5_request(mut reader: Reader<'_>, method: Option<u8>) -> Option<Parse<Request>> {
    let methods = reader.byte()?;
    if methods == 0 {
        return Some(Parse::No);
    }
    reader.take(usize::from(methods))?;
    // User and password (RFC 1929) are version 1; a client may send them and its request without waiting.
    if matches!(method, None | Some(2)) && reader.0.first() == Some(&1) {
        reader.byte()?;
        for _ in 0..2 {
            let len = reader.byte()?;
            reader.take(usize::from(len))?;
        }
    } else if !matches!(method, None | Some(0)) {
        // 0xff is a refusal; GSSAPI and private methods may encrypt what follows.
        return Some(Parse::No);
    }
    if reader.byte()? != 5 {
        return Some(Parse::No);
    }
    let command = match reader.byte()? {
        1 => "connect".to_owned(),
        2 => "bind".to_owned(),
        3 => "udp-associate".to_owned(),
        0xf0 => "resolve".to_owned(),
        0xf1 => "resolve-ptr".to_owned(),
        other => format!("command {other}"),
    };
    if reader.byte()? != 0 {
        return Some(Parse::No);
    }
    let target = match reader.byte()? {
        1 => {
            let octets: [u8; 4] = reader.take(4)?.try_into().ok()?;
            address_target(Ipv4Addr::from(octets).into(), reader.port()?)
        }
        3 => {
            let len = reader.byte()?;
            let name = reader.take(usize::from(len))?;
            name_target(name, reader.port()?)
        }
        4 => {
            let octets: [u8; 16] = reader.take(16)?.try_into().ok()?;
            address_target(Ipv6Addr::from(octets).into(), reader.port()?)
        }
        _ => return Some(Parse::No),
    };
    Some(Parse::Done(Request {
        protocol: ProxyProtocol::Socks5,
        command,
        target,
    }))
}

/// Reads what a proxy sent so far to a client whose first byte was `version`.
#[must_use]
pub fn reply(received: &[u8], version: u8) -> Parse<Reply> {
    let mut reader = Reader(received);
    if version == 4 {
        return match (reader.byte(), reader.byte()) {
            // Granted, rejected, and the two about identd.
            (Some(0), Some(code @ 0x5a..=0x5d)) => Parse::Done(Reply {
                method: None,
                accepted: Some(code == 0x5a),
            }),
            (Some(0), None) | (None, _) => Parse::Incomplete,
            _ => Parse::No,
        };
    }
    match reader.byte() {
        Some(5) => {}
        None => return Parse::Incomplete,
        Some(_) => return Parse::No,
    }
    let Some(method) = reader.byte() else {
        return Parse::Incomplete;
    };
    let mut reply = Reply {
        method: Some(method),
        accepted: (method == 0xff).then_some(false),
    };
    if method == 2 {
        match (reader.byte(), reader.byte()) {
            (Some(1), Some(0)) => {}
            (Some(1), Some(_)) => reply.accepted = Some(false),
            (Some(1) | None, None) => return Parse::Done(reply),
            _ => return Parse::No,
        }
    }
    if reply.accepted.is_none() {
        match (reader.byte(), reader.byte()) {
            (Some(5), Some(code)) => reply.accepted = Some(code == 0),
            (Some(5) | None, None) => {}
            _ => return Parse::No,
        }
    }
    Parse::Done(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(sent: &[u8]) -> Request {
        for len in 0..sent.len() {
            assert_eq!(
                request(&sent[..len], None),
                Parse::Incomplete,
                "{len} bytes"
            );
        }
        match request(sent, None) {
            Parse::Done(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn socks4_carries_an_address() {
        let request = done(b"\x04\x01\x00\x50\x0a\x4d\x01\x02user\x00");
        assert_eq!(request.protocol, ProxyProtocol::Socks4);
        assert_eq!(
            request.target,
            address_target("10.77.1.2".parse().unwrap(), 80)
        );
    }

    #[test]
    fn socks4a_carries_a_name() {
        let request = done(b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00page.example\x00");
        assert_eq!(request.protocol, ProxyProtocol::Socks4a);
        assert_eq!(request.target.name.as_deref(), Some("page.example"));
        assert_eq!(request.target.port, 443);
    }

    #[test]
    fn socks5_with_and_without_authentication() {
        let plain = done(b"\x05\x01\x00\x05\x01\x00\x03\x0cpage.example\x00\x50");
        assert_eq!(plain.target.name.as_deref(), Some("page.example"));
        let user =
            done(b"\x05\x02\x00\x02\x01\x02me\x03pwd\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50");
        assert_eq!(user.target.addr, Some("10.0.0.1".parse().unwrap()));
        let six =
            done(b"\x05\x01\x00\x05\xf0\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x00");
        assert_eq!(six.command, "resolve");
        assert_eq!(six.target.addr, Some("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn an_address_written_as_a_name_is_an_address() {
        let request = done(b"\x05\x01\x00\x05\x01\x00\x03\x0810.0.0.1\x00\x50");
        assert_eq!(request.target.addr, Some("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_not_socks_is_not_followed() {
        assert_eq!(request(b"GET / HTTP/1.1", None), Parse::No);
        assert_eq!(request(b"\x05\x00", None), Parse::No);
        assert_eq!(request(b"\x05\x01\x00\x07", None), Parse::No);
        assert_eq!(
            request(b"\x04\x09\x00\x50\x0a\x00\x00\x01\x00", None),
            Parse::No
        );
        assert_eq!(request(b"\x05\x01\x01\x01\x01\x00\x00", Some(1)), Parse::No);
        let endless = [
            b"\x04\x01\x00\x50\x0a\x00\x00\x01".as_slice(),
            &[b'x'; 4096],
        ]
        .concat();
        assert_eq!(request(&endless, None), Parse::No);
    }

    #[test]
    fn replies() {
        let granted = |method, accepted| Parse::Done(Reply { method, accepted });
        assert_eq!(reply(b"\x00\x5a\0\0\0\0\0\0", 4), granted(None, Some(true)));
        assert_eq!(
            reply(b"\x00\x5b\0\0\0\0\0\0", 4),
            granted(None, Some(false))
        );
        assert_eq!(reply(b"HTTP/1.0 400", 4), Parse::No);
        assert_eq!(reply(b"\x05\x00", 5), granted(Some(0), None));
        assert_eq!(
            reply(b"\x05\x00\x05\x00\x00\x01", 5),
            granted(Some(0), Some(true))
        );
        assert_eq!(
            reply(b"\x05\x02\x01\x00\x05\x05", 5),
            granted(Some(2), Some(false))
        );
        assert_eq!(reply(b"\x05\x02\x01\x01", 5), granted(Some(2), Some(false)));
        assert_eq!(reply(b"\x05\xff", 5), granted(Some(255), Some(false)));
        assert_eq!(reply(b"SSH-2.0", 5), Parse::No);
    }
}
