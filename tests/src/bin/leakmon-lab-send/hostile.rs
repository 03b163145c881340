//! Messages that no honest program sends. dnsmasq does not take them for queries: what leakmon makes of them is compared
//! with what they are.

use crate::message::{A, encoded, header, id, labels, query};
use crate::udp::connect;
use crate::{Outcome, said, wrong};
use std::net::SocketAddr;

/// Where the first question of a message begins.
const QUESTION: u8 = 12;
/// A pointer's first byte (RFC 1035 section 4.1.4); its second is the place.
const POINTER: u8 = 0xc0;
/// QTYPE A, QCLASS IN.
const A_IN: [u8; 4] = [0, 1, 0, 1];

/// Sends one message of this kind. Waits for no answer: most of these get none.
pub fn send(server: SocketAddr, kind: &str, name: &str) -> Outcome {
    let message = bytes(kind, name).ok_or_else(|| wrong("no such kind of message"))?;
    connect(server)?.send(&message)?;
    said(name)
}

fn bytes(kind: &str, name: &str) -> Option<Vec<u8>> {
    let whole = query(name, A);
    let id = id(name);
    let one = |question: &[&[u8]]| [&header(id, 1), question.concat().as_slice()].concat();
    Some(match kind {
        // These two can be read: the pointer is an honest one. In the first it goes to a zero byte of the header.
        "compressed" => one(&[&labels(name), &[POINTER, 4], &A_IN]),
        "two-questions" => {
            let second = [b"\x05other", &[POINTER, QUESTION][..], &A_IN].concat();
            [header(id, 2), encoded(name), A_IN.to_vec(), second].concat()
        }
        // From here on there is no question that could be read.
        "no-question" => header(id, 0),
        "pointer-to-itself" => one(&[&[POINTER, QUESTION], &A_IN]),
        "pointer-loop" => one(&[&labels(name), &[POINTER, QUESTION], &A_IN]),
        "pointer-forward" => one(&[&[POINTER, 40], &A_IN]),
        "pointer-outside" => one(&[&[0xff, 0xff], &A_IN]),
        "label-0x40" => one(&[&[0x40], &labels(name), &[0], &A_IN]),
        "label-0x80" => one(&[&[0x80], &labels(name), &[0], &A_IN]),
        "label-too-long" => one(&[&[63], &labels(name), &[0], &A_IN]),
        "name-too-long" => one(&[
            &labels(&["a2345678901234567890"; 13].join(".")),
            &[0],
            &A_IN,
        ]),
        "cut-in-the-name" => whole[..16].to_vec(),
        "cut-in-the-type" => whole[..whole.len() - 3].to_vec(),
        "cut-in-the-header" => whole[..7].to_vec(),
        "one-byte" => vec![0],
        "noise" => (0..255_u8).map(|i| i.wrapping_mul(167) ^ 0x5a).collect(),
        _ => return None,
    })
}
