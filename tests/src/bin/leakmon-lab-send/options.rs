//! Queries whose transport header is not where most packets have it.

use crate::control;
use crate::message::{A, query};
use crate::udp::{answers, connect};
use crate::{Outcome, said, wrong};
use socket2::{MsgHdr, Socket};
use std::io::IoSlice;
use std::net::SocketAddr;

/// `IPPROTO_IP` with `IP_RETOPTS` (ip(7)); `IPPROTO_IPV6` with `IPV6_HOPOPTS` and `IPV6_DSTOPTS` (RFC 3542 section 4).
const IP_RETOPTS: (i32, i32) = (0, 7);
const IPV6_HOPOPTS: (i32, i32) = (41, 54);
const IPV6_DSTOPTS: (i32, i32) = (41, 59);

/// Record route with room for one address (RFC 791 section 3.1), and a no-operation to make it eight bytes.
const RECORD_ROUTE: [u8; 8] = [7, 7, 4, 0, 0, 0, 0, 1];

/// An option for experiments, to be skipped by who does not know it (RFC 4727 section 3.2, RFC 8200 section 4.2).
const EXPERIMENT: u8 = 0x1e;

/// Sends with one of these: `hop-by-hop`, `destination`, `both`, `long` (a header of 264 bytes), `ip-options`.
pub fn send(server: SocketAddr, kind: &str, name: &str) -> Outcome {
    let small = extension(0);
    let control = match kind {
        "hop-by-hop" => one(IPV6_HOPOPTS, &small),
        "destination" => one(IPV6_DSTOPTS, &small),
        "both" => [one(IPV6_HOPOPTS, &small), one(IPV6_DSTOPTS, &small)].concat(),
        "long" => one(IPV6_DSTOPTS, &extension(32)),
        "ip-options" => one(IP_RETOPTS, &RECORD_ROUTE),
        _ => return Err(wrong("no such kind of options")),
    };
    let socket = connect(server)?;
    let message = query(name, A);
    Socket::from(socket.try_clone()?).sendmsg(
        &MsgHdr::new()
            .with_buffers(&[IoSlice::new(&message)])
            .with_control(&control),
        0,
    )?;
    said(name)?;
    answers(&socket, 1)
}

fn one((level, kind): (i32, i32), data: &[u8]) -> Vec<u8> {
    control::message(level, kind, data)
}

/// A header of eight bytes, and eight times as many as it is told, with options that a receiver is to skip. The kernel
/// fills in what header comes next, and drops long padding (RFC 4942 section 2.1.9.5) and more than eight options.
fn extension(more: u8) -> Vec<u8> {
    let mut bytes = vec![0, more];
    let end = 8 * (usize::from(more) + 1);
    while bytes.len() < end {
        // An option has two bytes before its data, so one byte must never be left over.
        let room = end - bytes.len() - 2;
        let len = if room == 256 { 254 } else { room.min(255) };
        bytes.extend([EXPERIMENT, u8::try_from(len).expect("at most 255")]);
        bytes.resize(bytes.len() + len, 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_extension_header_has_the_length_that_it_says() {
        for more in 0..=255 {
            assert_eq!(super::extension(more).len(), 8 * (usize::from(more) + 1));
        }
    }
}
