//! SOCKS conversations: SOCKS4 and 4a (the memos by Y. Lee), SOCKS5 (RFC 1928, RFC 1929), and tor's extensions
//! (`socks-extensions` of the tor specifications).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::proxy::{Parse, Reply, Request, address_target, name_target};
use crate::model::ProxyProtocol;

/// Longest user id or name of SOCKS4 that is taken for honest: the memos set no limit.
const MAX_SOCKS4_STRING: usize = 512;

/// The authentication methods after which the request is plain (RFC 1928 section 3): none, and user name and password.
const NONE: u8 = 0;
const PASSWORD: u8 = 2;
/// No method that was offered will do.
const REFUSED: u8 = 0xff;

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
    let count = reader.byte()?;
    if count == 0 {
        return Some(Parse::No);
    }
    let offered = reader.take(usize::from(count))?;
    let next = *reader.0.first()?;
    let method = match method {
        Some(method) => method,
        // The client did not wait. What it sends tells the method only when it offered none that has bytes of its own.
        None if !offered
            .iter()
            .all(|method| matches!(*method, NONE | PASSWORD)) =>
        {
            return None;
        }
        None if next == 5 && offered.contains(&NONE) => NONE,
        None if next == 1 && offered.contains(&PASSWORD) => PASSWORD,
        None => return Some(Parse::No),
    };
    match method {
        NONE => {}
        // RFC 1929 section 2.
        PASSWORD if next == 1 => {
            reader.byte()?;
            for _ in 0..2 {
                let len = reader.byte()?;
                reader.take(usize::from(len))?;
            }
        }
        // Refused, or what follows may be encrypted (GSSAPI, RFC 1961) or is anybody's guess.
        _ => return Some(Parse::No),
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

/// Reads what a proxy sent so far to a client that sent this.
#[must_use]
pub fn reply(received: &[u8], sent: &[u8]) -> Parse<Reply> {
    let reader = Reader(received);
    match sent.first() {
        Some(4) => socks4_reply(reader),
        _ => match is_bare_refusal(received, sent) {
            Some(true) => Parse::Done(Reply {
                method: None,
                accepted: Some(false),
            }),
            Some(false) => socks5_reply(reader, sent).unwrap_or(Parse::Incomplete),
            None => Parse::Incomplete,
        },
    }
}

/// Whether a proxy of SOCKS5 refuses a request without having named a method: tor 0.4.9 says to a client that did not wait
/// only what it has to say last. `None`: too few bytes.
fn is_bare_refusal(received: &[u8], sent: &[u8]) -> Option<bool> {
    /// A reply with an IPv4 address (RFC 1928 section 6).
    const REPLY: usize = 10;
    let &[version, code] = received.first_chunk()?;
    let may_be = version == 5 && !matches!(code, NONE | REFUSED);
    if !may_be || !matches!(request(sent, None), Parse::Done(_)) {
        return Some(false);
    }
    let &[_, _, reserved, kind] = received.first_chunk()?;
    if reserved != 0 || !matches!(kind, 1 | 3 | 4) {
        return Some(false);
    }
    // The client's own greeting, coming back, may look the same for a while.
    let start = &received[..received.len().min(REPLY)];
    match sent.starts_with(start) {
        true if start.len() < REPLY => None,
        is_echo => Some(!is_echo),
    }
}

fn socks4_reply(mut reader: Reader<'_>) -> Parse<Reply> {
    match (reader.byte(), reader.byte()) {
        // Granted, rejected, and the two about identd.
        (Some(0), Some(code @ 0x5a..=0x5d)) => Parse::Done(Reply {
            method: None,
            accepted: Some(code == 0x5a),
        }),
        (Some(0), None) | (None, _) => Parse::Incomplete,
        _ => Parse::No,
    }
}

/// `None`: too few bytes.
fn socks5_reply(mut reader: Reader<'_>, sent: &[u8]) -> Option<Parse<Reply>> {
    let mut greeting = Reader(sent.get(1..)?);
    let count = greeting.byte()?;
    let offered = greeting.take(usize::from(count))?;
    let method = match reader.0.first()? {
        5 => {
            reader.byte()?;
            reader.byte()?
        }
        // To a greeting and a password in one piece, tor says only what became of the password.
        1 if greeting.0.first() == Some(&1) && offered.contains(&PASSWORD) => PASSWORD,
        _ => return Some(Parse::No),
    };
    // An echo of the greeting names a method too, by its count of methods, but hardly one that was offered. None at all
    // is what careless proxies choose unasked.
    if !matches!(method, NONE | REFUSED) && !offered.contains(&method) {
        return Some(Parse::No);
    }
    let mut reply = Reply {
        method: Some(method),
        accepted: (method == REFUSED).then_some(false),
    };
    if !matches!(method, NONE | PASSWORD) {
        return Some(Parse::Done(reply));
    }
    if method == PASSWORD {
        // RFC 1929 section 2: anything but 0 is a failure.
        match (reader.byte(), reader.byte()) {
            (Some(1), Some(0)) => {}
            (Some(1), Some(_)) => reply.accepted = Some(false),
            (Some(1) | None, None) => return Some(Parse::Done(reply)),
            _ => return Some(Parse::No),
        }
    }
    if reply.accepted.is_none() {
        match (reader.byte(), reader.byte()) {
            (Some(5), Some(code)) => reply.accepted = Some(code == 0),
            (Some(5) | None, None) => {}
            _ => return Some(Parse::No),
        }
    }
    Some(Parse::Done(reply))
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
    fn what_follows_the_proxys_choice_of_method_is_waited_for() {
        let offered = b"\x05\x02\x00\x02";
        let user = b"\x01\x02me\x03pwd";
        let request_bytes = b"\x05\x01\x00\x03\x0cpage.example\x00\x50";
        let whole = [&offered[..], user, request_bytes].concat();
        for len in offered.len()..whole.len() {
            assert_eq!(request(&whole[..len], Some(2)), Parse::Incomplete, "{len}");
        }
        assert!(matches!(request(&whole, Some(2)), Parse::Done(_)));
        let plain = [&offered[..], request_bytes].concat();
        for len in offered.len()..plain.len() {
            assert_eq!(request(&plain[..len], Some(0)), Parse::Incomplete, "{len}");
        }
        assert!(matches!(request(&plain, Some(0)), Parse::Done(_)));
        // It goes on otherwise than the proxy said.
        assert_eq!(request(&whole, Some(0)), Parse::No);
        assert_eq!(request(&plain, Some(2)), Parse::No);
    }

    #[test]
    fn methods_with_bytes_of_their_own_are_not_guessed_at() {
        // GSSAPI messages begin with 1 like a user and password, private ones with anything.
        for offered in [
            &b"\x05\x01\x01"[..],
            b"\x05\x03\x00\x01\x02",
            b"\x05\x02\x00\x80",
        ] {
            for next in [
                &b"\x01\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"[..],
                b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50",
            ] {
                let sent = [offered, next].concat();
                assert_eq!(request(&sent, None), Parse::Incomplete, "{sent:?}");
                for method in [1, 0x80, REFUSED] {
                    assert_eq!(request(&sent, Some(method)), Parse::No, "{sent:?}");
                }
            }
            let sent = [offered, b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"].concat();
            assert!(matches!(request(&sent, Some(0)), Parse::Done(_)));
        }
        // What a proxy says may look like a greeting: the method, that the password is right, and a refusal.
        let server = b"\x05\x02\x01\x00\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00";
        assert_eq!(request(server, None), Parse::Incomplete);
    }

    #[test]
    fn every_command_and_kind_of_target() {
        for (number, command) in [
            (1, "connect"),
            (2, "bind"),
            (3, "udp-associate"),
            (0xf0, "resolve"),
            (0xf1, "resolve-ptr"),
            (9, "command 9"),
        ] {
            let sent = [&[5, 1, 0, 5, number, 0][..], &[1, 10, 0, 0, 1, 0, 80]].concat();
            assert_eq!(done(&sent).command, command);
        }
        for (number, command) in [(1, "connect"), (2, "bind"), (0xf0, "resolve")] {
            let sent = [&[4, number, 0, 80, 0, 0, 0, 9][..], b"\0page.example\0"].concat();
            let request = done(&sent);
            assert_eq!(request.command, command);
            assert_eq!(request.target.name.as_deref(), Some("page.example"));
        }
    }

    #[test]
    fn replies_to_socks4() {
        let sent = b"\x04\x01\x00\x50\x0a\x00\x00\x01\x00";
        let said = |accepted| {
            Parse::Done(Reply {
                method: None,
                accepted: Some(accepted),
            })
        };
        for (code, accepted) in [(0x5a, true), (0x5b, false), (0x5c, false), (0x5d, false)] {
            let received = [0, code, 0, 0, 0, 0, 0, 0];
            assert_eq!(reply(&received[..1], sent), Parse::Incomplete);
            for len in 2..=8 {
                assert_eq!(reply(&received[..len], sent), said(accepted));
            }
        }
        assert_eq!(reply(b"HTTP/1.0 400", sent), Parse::No);
        assert_eq!(reply(sent, sent), Parse::No);
    }

    #[test]
    fn replies_to_socks5() {
        let granted = |method, accepted| {
            Parse::Done(Reply {
                method: Some(method),
                accepted,
            })
        };
        let both = b"\x05\x02\x00\x02";
        assert_eq!(reply(b"\x05", both), Parse::Incomplete);
        assert_eq!(reply(b"\x05\x00", both), granted(0, None));
        assert_eq!(reply(b"\x05\x00\x05", both), granted(0, None));
        assert_eq!(
            reply(b"\x05\x00\x05\x00\x00\x01", both),
            granted(0, Some(true))
        );
        for code in 1..=8 {
            let received = [5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
            assert_eq!(reply(&received, both), granted(0, Some(false)));
        }
        assert_eq!(reply(b"\x05\x02", both), granted(2, None));
        assert_eq!(reply(b"\x05\x02\x01", both), granted(2, None));
        assert_eq!(reply(b"\x05\x02\x01\x00", both), granted(2, None));
        assert_eq!(
            reply(b"\x05\x02\x01\x00\x05\x05", both),
            granted(2, Some(false))
        );
        assert_eq!(reply(b"\x05\x02\x01\x01", both), granted(2, Some(false)));
        assert_eq!(reply(b"\x05\xff", both), granted(REFUSED, Some(false)));
        // GSSAPI, and whatever it says then.
        let gssapi = b"\x05\x02\x00\x01";
        for received in [&b"\x05\x01"[..], b"\x05\x01\x01\x02\x00\x01x"] {
            assert_eq!(reply(received, gssapi), granted(1, None));
        }
        assert_eq!(reply(b"SSH-2.0", both), Parse::No);
        assert_eq!(reply(b"\x05\x02HTTP", both), Parse::No);
    }

    #[test]
    fn a_refusal_may_come_without_a_method() {
        let refused = Parse::Done(Reply {
            method: None,
            accepted: Some(false),
        });
        let request = b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50";
        for greeting in [&b"\x05\x01\x00"[..], b"\x05\x01\x02\x01\x02me\x03pwd"] {
            for code in 1..=8 {
                let received = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
                let sent = [greeting, request].concat();
                for len in 0..4 {
                    assert_eq!(reply(&received[..len], &sent), Parse::Incomplete, "{len}");
                }
                assert_eq!(reply(&received, &sent), refused, "{code}");
                // Whoever has not asked is not refused.
                assert_ne!(reply(&received, greeting), refused, "{code}");
            }
        }
    }

    #[test]
    fn a_password_may_be_judged_without_a_method() {
        let said = |accepted| {
            Parse::Done(Reply {
                method: Some(PASSWORD),
                accepted,
            })
        };
        let sent = b"\x05\x02\x00\x02\x01\x02me\x03pwd";
        assert_eq!(reply(b"\x01", sent), Parse::Incomplete);
        assert_eq!(reply(b"\x01\x00", sent), said(None));
        assert_eq!(reply(b"\x01\x01", sent), said(Some(false)));
        assert_eq!(reply(b"\x01\x00\x05\x00", sent), said(Some(true)));
        assert_eq!(reply(b"\x01\x00\x05\x04", sent), said(Some(false)));
        // Nobody has sent one.
        assert_eq!(reply(b"\x01\x00", &sent[..4]), Parse::No);
    }

    #[test]
    fn an_echo_is_no_reply() {
        for sent in [
            &b"\x05\x01\x00"[..],
            b"\x05\x01\x02",
            b"\x05\x02\x00\x02",
            b"\x05\x02\x02\x00",
            b"\x05\x02\x00\x01",
            b"\x05\x03\x00\x01\x02",
        ] {
            let sent = [sent, b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50"].concat();
            assert_eq!(reply(&sent, &sent), Parse::No, "{sent:?}");
        }
    }
}
