//! The lab's own asker: each subcommand sends queries in one shape that some real program has, or that an attacker would
//! try, and prints a line `PID NAME` for every name that it has asked. It waits for the answers where there are some, so
//! that its success means that the questions arrived.
//!
//! `leakmon-lab-send SHAPE SERVER ARGUMENT…`, where SERVER is an address with or without a port. With `LEAKMON_LAB_STAY`
//! in its environment it then prints `done` and stays until the file of that name appears: what is told of a process that
//! is still there is another matter than what is told of one that is gone.

#![forbid(unsafe_code)]

mod control;
mod flood;
mod handed;
mod hostile;
mod message;
mod options;
mod raw;
mod storm;
mod tcp;
mod udp;
mod uring;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

/// Names the file to wait for.
const STAY: &str = "LEAKMON_LAB_STAY";
/// How long a program stays at most: its test may be dead.
const STAY_LIMIT: Duration = Duration::from_secs(120);
/// Its step of waiting.
const STEP: Duration = Duration::from_millis(10);

/// What a shape gives: nothing, or what went wrong.
type Outcome = io::Result<()>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments).and_then(|()| stay()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leakmon-lab-send {}: {error}", arguments.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Outcome {
    let [shape, server, rest @ ..] = arguments else {
        return Err(wrong("leakmon-lab-send SHAPE SERVER ARGUMENT…"));
    };
    let server = address(server)?;
    let texts: Vec<&str> = rest.iter().map(String::as_str).collect();
    match (shape.as_str(), texts.as_slice()) {
        ("udp-connected", &[name]) => udp::connected(server, name),
        ("udp-unconnected", &[name]) => udp::unconnected(server, name),
        ("udp-once", &[name]) => udp::once(server, name),
        ("udp-type", &[name, qtype]) => udp::typed(server, name, number(qtype)?),
        ("udp-edns", &[name]) => udp::sized(server, name, 0),
        ("udp-large", &[name, size]) => udp::sized(server, name, number(size)?),
        ("udp-again", &[name]) => udp::again(server, name),
        ("udp-thread", &[name, thread]) => udp::thread(server, name, thread),
        ("udp-thread-unconnected", &[name, thread]) => {
            udp::thread_unconnected(server, name, thread)
        }
        ("udp-raw-bytes", &[kind, name]) => hostile::send(server, kind, name),
        ("sendmmsg", names @ [_, ..]) => udp::one_call(server, names),
        ("gso", names @ [_, ..]) => udp::segmented(server, names),
        ("io-uring", &[name]) => uring::send(server, name, false),
        ("io-uring-polled", &[name]) => uring::send(server, name, true),
        ("tcp-split", &[name]) => tcp::split(server, name),
        ("tcp-joined", names @ [_, ..]) => tcp::joined(server, names),
        ("tcp-burst", &[prefix, count, size]) => {
            tcp::burst(server, prefix, number(count)?, number(size)?)
        }
        ("extension-headers", &[kind, name]) => options::send(server, kind, name),
        ("ip-options", &[name]) => options::send(server, "ip-options", name),
        ("raw-ip", &[source, name]) => raw::ip(ip(source)?, server, name),
        ("packet", &[interface, mac, source, name]) => {
            raw::packet(interface, mac, ip(source)?, server, name)
        }
        ("inherited", &[name]) => handed::inherited(server, name),
        ("passed", &[name]) => handed::passed(server, name),
        ("from-stdin", &[name]) => handed::from_stdin(name),
        ("receive", &[name]) => handed::receive(name),
        ("storm", &[prefix, count, width]) => {
            storm::storm(server, prefix, number(count)?, number(width)?)
        }
        ("noise", &[]) => storm::noise(),
        ("flood", &[prefix, count]) => flood::flood(server, prefix, number(count)?),
        _ => Err(wrong("no such shape, or not its arguments")),
    }
}

/// Stays, if that is wanted.
fn stay() -> Outcome {
    let Some(file) = std::env::var_os(STAY) else {
        return Ok(());
    };
    writeln!(io::stdout(), "done")?;
    let steps = STAY_LIMIT.as_millis() / STEP.as_millis();
    for _ in 0..steps {
        if Path::new(&file).exists() {
            return Ok(());
        }
        thread::sleep(STEP);
    }
    Err(wrong("nobody let it go"))
}

/// Says that a name was asked, and by which process.
fn said(name: &str) -> Outcome {
    writeln!(io::stdout(), "{} {name}", std::process::id())
}

/// The same for several names.
fn said_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Outcome {
    names.into_iter().try_for_each(said)
}

fn address(text: &str) -> io::Result<SocketAddr> {
    text.parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)))
        .map_err(|_| wrong("SERVER is no address"))
}

fn ip(text: &str) -> io::Result<IpAddr> {
    text.parse().map_err(|_| wrong("that is no address"))
}

fn number<T: FromStr>(text: &str) -> io::Result<T> {
    text.parse().map_err(|_| wrong("that is no number"))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}
