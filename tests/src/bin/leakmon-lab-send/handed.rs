//! Sockets that one process makes and connects, and another one sends with.

use crate::message::{A, query};
use crate::udp::{answers, connect};
use crate::{Outcome, said, wrong};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// The child has the socket from its birth, as standard input.
pub fn inherited(server: SocketAddr, name: &str) -> Outcome {
    let socket: OwnedFd = connect(server)?.into();
    finish(again("from-stdin", server, name)?.stdin(socket))
}

/// The child is handed the socket over a Unix socket.
pub fn passed(server: SocketAddr, name: &str) -> Outcome {
    let socket = connect(server)?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = again("receive", server, name)?
        .stdin(OwnedFd::from(theirs))
        .spawn()?;
    let handed = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&handed)) {
        return Err(wrong("no room for a descriptor"));
    }
    sendmsg(
        &ours,
        &[IoSlice::new(b"!")],
        &mut control,
        SendFlags::empty(),
    )?;
    if child.wait()?.success() {
        Ok(())
    } else {
        Err(wrong("the child failed"))
    }
}

/// The child's part of [`inherited`].
pub fn from_stdin(name: &str) -> Outcome {
    ask(
        &UdpSocket::from(io::stdin().as_fd().try_clone_to_owned()?),
        name,
    )
}

/// The child's part of [`passed`].
pub fn receive(name: &str) -> Outcome {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(
        io::stdin(),
        &mut [IoSliceMut::new(&mut byte)],
        &mut control,
        RecvFlags::empty(),
    )?;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut handed) => handed.next(),
        _ => None,
    });
    ask(
        &socket.ok_or_else(|| wrong("no descriptor came"))?.into(),
        name,
    )
}

fn ask(socket: &UdpSocket, name: &str) -> Outcome {
    socket.send(&query(name, A))?;
    said(name)?;
    answers(socket, 1)
}

fn again(shape: &str, server: SocketAddr, name: &str) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([shape, &server.to_string(), name]);
    Ok(command)
}

fn finish(command: &mut Command) -> Outcome {
    if command.status()?.success() {
        Ok(())
    } else {
        Err(wrong("the child failed"))
    }
}
