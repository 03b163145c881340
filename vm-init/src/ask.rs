//! A program that asks the name server at ADDRESS for the A record of NAME. `init ADDRESS NAME` asks as musl does: by
//! `sendto` on a socket that it never connected. `init ADDRESS NAME FILE` connects, says so, and asks by `send` when
//! there is such a file.

use std::env;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;

use leakmon_lab::{LIMIT, wait};

use crate::guest::DNS_PORT;

/// What it says when it has connected.
pub const CONNECTED: &str = "connected";

/// The program.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (server, name, go) = match arguments.as_slice() {
        [server, name] => (server, name, None),
        [server, name, go] => (server, name, Some(Path::new(go))),
        _ => {
            eprintln!("usage: init ADDRESS NAME [FILE]");
            return ExitCode::from(2);
        }
    };
    let Ok(server) = server.parse() else {
        eprintln!("{server} is no address");
        return ExitCode::from(2);
    };
    match ask(server, name, go) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(server: IpAddr, name: &str, go: Option<&Path>) -> io::Result<usize> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let server = SocketAddr::new(server, DNS_PORT);
    if let Some(go) = go {
        socket.connect(server)?;
        println!("{CONNECTED}");
        wait::until_true(LIMIT, || go.exists());
        socket.send(&question(name))?;
    } else {
        socket.send_to(&question(name), server)?;
    }
    socket.recv(&mut [0; 512])
}

/// A query for the A record (RFC 1035 section 4.1). Labels are short here.
fn question(name: &str) -> Vec<u8> {
    // Id, recursion desired, one question.
    let mut message = vec![0x1e, 0xac, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        message.extend(label.bytes());
    }
    // The root, type A, class IN.
    message.extend([0, 0, 1, 0, 1]);
    message
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_question_ends_with_the_root_a_and_in() {
        let message = super::question("a.example");
        assert_eq!(&message[12..], b"\x01a\x07example\0\0\x01\0\x01");
    }
}
