//! More queries than anybody can take.

use crate::message::{A, query};
use crate::udp::{connect, send_many};
use crate::{Outcome, wrong};
use std::io::{self, Write};
use std::net::SocketAddr;

/// How many go in one system call.
const BATCH: usize = 64;

/// Asks for `count` names (`PREFIXNUMBER.example`) as fast as it can, and waits for no answer. Prints how many the
/// kernel took.
pub fn flood(server: SocketAddr, prefix: &str, count: usize) -> Outcome {
    let socket = connect(server)?;
    let mut sent = 0;
    while sent < count {
        let messages: Vec<Vec<u8>> = (sent..count.min(sent + BATCH))
            .map(|number| query(&format!("{prefix}{number}.example"), A))
            .collect();
        let taken = send_many(&socket, &messages)?;
        if taken == 0 {
            return Err(wrong("the kernel takes no more"));
        }
        sent += taken;
    }
    writeln!(io::stdout(), "{sent}")
}
