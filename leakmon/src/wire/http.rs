//! Requests to an HTTP proxy: CONNECT (RFC 9110 section 9.3.6), and other methods with the whole URI (RFC 9112 section
//! 3.2.2). Only the first line is read, and of a URI only the authority.

use super::proxy::{Parse, Reply, Request, name_target};
use crate::model::ProxyProtocol;

/// Longest first line that is waited for; servers take about as much (RFC 9112 section 3 asks for 8,000 octets).
const MAX_LINE: usize = 8192;

/// Reads what a client sent so far.
pub fn request(sent: &[u8]) -> Parse<Request> {
    let end = sent.iter().take(MAX_LINE).position(|&byte| byte == b'\r');
    let line = &sent[..end.unwrap_or(sent.len().min(MAX_LINE))];
    let mut words = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return more_unless(sent.len() >= MAX_LINE || end.is_some());
    };
    let is_method = !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
    if !is_method {
        return Parse::No;
    }
    // The rest of a long URI does not matter once its authority is over.
    let is_whole = words.next().is_some();
    let (protocol, authority, default_port) = if method == b"CONNECT" {
        (ProxyProtocol::HttpConnect, target, None)
    } else {
        let (rest, port) = match (
            target.strip_prefix(b"http://"),
            target.strip_prefix(b"https://"),
        ) {
            (Some(rest), _) => (rest, 80),
            (_, Some(rest)) => (rest, 443),
            _ if !is_whole && b"https://".starts_with(target) => return more_unless(end.is_some()),
            _ => return Parse::No,
        };
        let over = rest
            .iter()
            .position(|byte| b"/?#".contains(byte))
            .unwrap_or(rest.len());
        if over == rest.len() && !is_whole {
            return more_unless(sent.len() >= MAX_LINE || end.is_some());
        }
        (ProxyProtocol::Http, &rest[..over], Some(port))
    };
    if method == b"CONNECT" && !is_whole {
        return more_unless(sent.len() >= MAX_LINE || end.is_some());
    }
    let Some((host, port)) = host_and_port(authority, default_port) else {
        return Parse::No;
    };
    Parse::Done(Request {
        protocol,
        command: String::from_utf8_lossy(method).to_ascii_lowercase(),
        target: name_target(host, port),
    })
}

fn more_unless<T>(over: bool) -> Parse<T> {
    if over { Parse::No } else { Parse::Incomplete }
}

/// `[user@]host[:port]`, an IPv6 address in brackets.
fn host_and_port(authority: &[u8], default_port: Option<u16>) -> Option<(&[u8], u16)> {
    let start = authority
        .iter()
        .rposition(|&byte| byte == b'@')
        .map_or(0, |at| at + 1);
    let authority = authority.get(start..)?;
    let (host, port) = match authority.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|&byte| byte == b']')?;
            (rest.get(..end)?, rest.get(end + 1..)?)
        }
        None => {
            let end = authority
                .iter()
                .position(|&byte| byte == b':')
                .unwrap_or(authority.len());
            authority.split_at_checked(end)?
        }
    };
    let port = match port {
        [] | [b':'] => default_port?,
        [b':', digits @ ..] => std::str::from_utf8(digits).ok()?.parse().ok()?,
        _ => return None,
    };
    (!host.is_empty()).then_some((host, port))
}

/// Reads what came back so far. Whatever speaks HTTP to a request of this kind is a proxy; only for CONNECT does the
/// status say whether it was granted, any other may be the web server's own.
pub fn reply(mut received: &[u8], to_connect: bool) -> Parse<Reply> {
    const VERSION: &[u8] = b"HTTP/1.";
    loop {
        let Some((start, rest)) = received.split_at_checked(VERSION.len()) else {
            return more_unless(!VERSION.starts_with(received));
        };
        if start != VERSION {
            return Parse::No;
        }
        // The minor version, a space, three digits (RFC 9112 section 4).
        let Some(&[_, _, class, tens, ones]) = rest.first_chunk() else {
            return Parse::Incomplete;
        };
        let accepted = match class {
            // Interim responses come before the final one, which 101 is (RFC 9110 section 15.2).
            b'1' if [tens, ones] != *b"01" => {
                match received.windows(4).position(|end| end == b"\r\n\r\n") {
                    Some(end) => received = &received[end + 4..],
                    None => return Parse::Incomplete,
                }
                continue;
            }
            b'1' => (!to_connect).then_some(true),
            b'2' => Some(true),
            b'3'..=b'5' if to_connect => Some(false),
            b'3'..=b'5' => None,
            _ => return Parse::No,
        };
        return Parse::Done(Reply {
            method: None,
            accepted,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(sent: &str) -> (ProxyProtocol, String, Option<String>, u16) {
        match request(sent.as_bytes()) {
            Parse::Done(request) => (
                request.protocol,
                request.command,
                request.target.name.clone().or_else(|| {
                    let addr = request.target.addr?;
                    Some(format!("address {addr}"))
                }),
                request.target.port,
            ),
            other => panic!("{sent}: {other:?}"),
        }
    }

    #[test]
    fn connect_carries_a_name_or_an_address() {
        let connect = |sent| {
            let (protocol, command, target, port) = done(sent);
            assert_eq!(
                (protocol, command.as_str()),
                (ProxyProtocol::HttpConnect, "connect")
            );
            (target.unwrap(), port)
        };
        assert_eq!(
            connect("CONNECT page.example:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
            ("page.example".into(), 443)
        );
        assert_eq!(
            connect("CONNECT 10.0.0.1:80 HTTP/1.1\r\n"),
            ("address 10.0.0.1".into(), 80)
        );
        assert_eq!(
            connect("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"),
            ("address 2001:db8::1".into(), 443)
        );
    }

    #[test]
    fn a_whole_uri_carries_a_name_too() {
        for (sent, port) in [
            ("GET http://page.example/a?b HTTP/1.1\r\n", 80),
            ("POST http://page.example:8080 HTTP/1.1\r\n", 8080),
            ("GET http://me:pw@page.example/ HTTP/1.0\r\n", 80),
            ("GET http://page.example/the-rest-of-it-has-not-come", 80),
        ] {
            let (protocol, _, target, found) = done(sent);
            assert_eq!(protocol, ProxyProtocol::Http, "{sent}");
            assert_eq!(
                (target.as_deref(), found),
                (Some("page.example"), port),
                "{sent}"
            );
        }
    }

    #[test]
    fn what_has_not_come_is_waited_for_and_no_longer() {
        let whole = "CONNECT page.example:443 HTTP/1.1\r\n";
        let target_ends = whole.find(" HTTP").unwrap();
        for len in 1..=target_ends {
            assert_eq!(
                request(&whole.as_bytes()[..len]),
                Parse::Incomplete,
                "{len}"
            );
        }
        let endless = [b"CONNECT ".as_slice(), &[b'x'; 2 * MAX_LINE]].concat();
        assert_eq!(request(&endless), Parse::No);
    }

    #[test]
    fn other_requests_are_none_to_a_proxy() {
        for sent in [
            "GET / HTTP/1.1\r\n",
            "GET /http://page.example HTTP/1.1\r\n",
            "CONNECT page.example HTTP/1.1\r\n",
            "CONNECT page.example:x HTTP/1.1\r\n",
            "CONNECT :443 HTTP/1.1\r\n",
            "CONNECT\r\n",
            "GET http:///path HTTP/1.1\r\n",
            "GET ftp://page.example/ HTTP/1.1\r\n",
            "\u{16}\u{3}\u{1} ClientHello",
        ] {
            assert_eq!(request(sent.as_bytes()), Parse::No, "{sent}");
        }
    }

    #[test]
    fn replies() {
        let said = |accepted| {
            Parse::Done(Reply {
                method: None,
                accepted,
            })
        };
        assert_eq!(
            reply(b"HTTP/1.1 200 Connection established\r\n", true),
            said(Some(true))
        );
        assert_eq!(
            reply(b"HTTP/1.0 403 Forbidden\r\n", true),
            said(Some(false))
        );
        assert_eq!(reply(b"HTTP/1.1 404 Not Found\r\n", false), said(None));
        assert_eq!(reply(b"HTTP/1.1 200 OK\r\n", false), said(Some(true)));
        let interim = "HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 103 x\r\n\r\n";
        let after =
            |last: &str, to_connect| reply((interim.to_owned() + last).as_bytes(), to_connect);
        assert_eq!(after("HTTP/1.1 200 OK\r\n", true), said(Some(true)));
        assert_eq!(after("HTTP/1.1 503 Full\r\n", true), said(Some(false)));
        assert_eq!(after("", true), Parse::Incomplete);
        assert_eq!(after("SSH-2.0", true), Parse::No);
        assert_eq!(
            reply(b"HTTP/1.1 101 Switching\r\n", false),
            said(Some(true))
        );
        for partial in ["", "HT", "HTTP/1.1 20", "HTTP/1.1 100 Continue\r\n"] {
            assert_eq!(
                reply(partial.as_bytes(), true),
                Parse::Incomplete,
                "{partial}"
            );
        }
        for other in ["SSH-2.0", "HTTP/2 200", "HTTP/1.1 abc"] {
            assert_eq!(reply(other.as_bytes(), true), Parse::No, "{other}");
        }
    }
}
