//! Queries over TCP, cut and joined in all the ways that the stream allows.

use crate::message::{A, padded, prefixed, query};
use crate::{Outcome, said, said_all};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

/// How long a program waits for an answer before it calls itself failed.
const ANSWER: Duration = Duration::from_secs(5);

/// The length prefix, the header, the name: each is cut in its middle. Without Nagle's algorithm each piece is a segment
/// of its own, since the kernel puts nothing into a segment that it has sent.
pub fn split(server: SocketAddr, name: &str) -> Outcome {
    let mut stream = connect(server)?;
    let message = prefixed(&query(name, A));
    let mut rest = message.as_slice();
    for len in [1, 5, 12] {
        let (piece, others) = rest.split_at(len);
        stream.write_all(piece)?;
        rest = others;
    }
    stream.write_all(rest)?;
    said(name)?;
    answers(&mut stream, 1)
}

/// Several messages in one segment.
pub fn joined(server: SocketAddr, names: &[&str]) -> Outcome {
    let mut stream = connect(server)?;
    let messages: Vec<Vec<u8>> = names.iter().map(|name| prefixed(&query(name, A))).collect();
    stream.write_all(&messages.concat())?;
    said_all(names.iter().copied())?;
    answers(&mut stream, names.len())
}

/// Many messages of a size in one write, without waiting for any answer (RFC 7766 section 6.2.1.1).
pub fn burst(server: SocketAddr, prefix: &str, count: usize, size: usize) -> Outcome {
    let mut stream = connect(server)?;
    let names: Vec<String> = (0..count)
        .map(|number| format!("{prefix}-{number}.example"))
        .collect();
    let bytes: Vec<u8> = names
        .iter()
        .flat_map(|name| prefixed(&padded(name, size)))
        .collect();
    let mut writer = stream.try_clone()?;
    thread::scope(|scope| {
        // The server stops reading when nobody reads its answers.
        let writing = scope.spawn(move || writer.write_all(&bytes));
        answers(&mut stream, count)?;
        writing.join().expect("writing does not panic")
    })?;
    said_all(names.iter().map(String::as_str))
}

fn connect(server: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    Ok(stream)
}

fn answers(stream: &mut TcpStream, count: usize) -> Outcome {
    for _ in 0..count {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message)?;
    }
    Ok(())
}
