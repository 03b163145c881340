//! A query through io_uring, for which the program makes no system call of the socket's own.

use crate::message::{A, query};
use crate::udp::connect;
use crate::{Outcome, said, wrong};
use std::net::SocketAddr;
use tokio_uring::net::UdpSocket;

/// Sends through the ring and takes the answer through it. When `polled`, a thread of the kernel's takes the request from
/// the ring and sends, so the program does not even enter the kernel.
pub fn send(server: SocketAddr, name: &str, polled: bool) -> Outcome {
    let mut builder = tokio_uring::builder();
    let mut ring = tokio_uring::uring_builder();
    if polled {
        // Milliseconds until that thread sleeps for lack of work.
        ring.setup_sqpoll(1000);
    }
    builder.uring_builder(&ring).start(async {
        let socket = UdpSocket::from_std(connect(server)?);
        let message = query(name, A);
        let len = message.len();
        let (sent, _) = socket.send(message).await;
        if sent? != len {
            return Err(wrong("not sent as a whole"));
        }
        said(name)?;
        let (received, _) = socket.read(vec![0; 4096]).await;
        received.map(|_| ())
    })
}
