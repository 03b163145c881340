//! The traffic: what sends it and what takes it, as processes of their own.

use std::fs;
use std::io::{self, BufRead, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, ExitCode};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::message::{self, Query};

/// Who answers queries.
pub const RESPONDER: &str = "127.0.0.1";
/// Who takes queries and is silent.
pub const SILENT: &str = "127.0.0.2";
const DNS_PORT: u16 = 53;
/// The port of traffic that is no DNS.
pub const OTHER_PORT: u16 = 5001;

/// Bytes of a write of bulk TCP.
const BULK: usize = 128 * 1024;
/// Bytes of a small datagram's payload.
pub const SMALL: usize = 64;
/// Datagrams sent between two looks at the clock.
const BATCH: u32 = 64;
/// System calls made between two looks at the clock.
const CALLS: u32 = 4096;
/// A program that does nothing, by its path: a search for it would be more than it is.
const TRUE: &str = "/bin/true";
/// How long a sender that is ahead of its rate sleeps.
const PAUSE: Duration = Duration::from_micros(200);
/// How long answers may stay out after the last query.
const LAST_ANSWERS: Duration = Duration::from_millis(300);
/// How long a line about a query may stay out.
const LINE_LIMIT: Duration = Duration::from_secs(5);
/// The pause between two queries whose latency is measured.
const LATENCY_PAUSE: Duration = Duration::from_millis(1);

/// A source or sink of traffic.
#[derive(clap::Subcommand)]
pub enum Load {
    /// Takes everything that the others send
    Sinks,
    /// Sends over TCP as fast as it can, for so many milliseconds
    Tcp {
        /// How long
        millis: u64,
    },
    /// Sends small datagrams as fast as it can, for so many milliseconds
    Udp {
        /// How long
        millis: u64,
    },
    /// Makes the cheapest system call there is, for so many milliseconds
    Calls {
        /// How long
        millis: u64,
    },
    /// Runs programs that do nothing, one after the other, for so many milliseconds
    Programs {
        /// How long
        millis: u64,
    },
    /// Sends queries for names that are all different
    Queries {
        /// To whom
        server: Ipv4Addr,
        /// How many
        count: u32,
        /// How many a second
        rate: u32,
        /// From a socket of its own each
        #[arg(long)]
        fresh: bool,
    },
    /// Sends a query, waits until a line on standard input has its name, and sends the next
    Latency {
        /// How many
        count: u32,
    },
}

/// What a source of traffic says of itself.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Sent {
    /// Bytes, datagrams, queries, calls or programs.
    pub count: u64,
    /// In how many seconds.
    pub seconds: f64,
    /// For how many of them the sender had a processor.
    pub cpu: f64,
    /// Answers that came.
    pub answers: u64,
}

impl Sent {
    /// How many a second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// What the measurer of latency says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Waited {
    /// Microseconds from before a query was sent until its line was read.
    pub micros: Vec<f64>,
    /// Queries without a line.
    pub missed: u32,
}

/// Runs the part.
pub fn run(load: &Load) -> Result<ExitCode> {
    match load {
        Load::Sinks => sinks()?,
        Load::Tcp { millis } => print(&tcp(Duration::from_millis(*millis))?)?,
        Load::Udp { millis } => print(&udp(Duration::from_millis(*millis))?)?,
        Load::Calls { millis } => print(&calls(Duration::from_millis(*millis)))?,
        Load::Programs { millis } => print(&programs(Duration::from_millis(*millis))?)?,
        Load::Queries {
            server,
            count,
            rate,
            fresh,
        } => {
            let server = SocketAddrV4::new(*server, DNS_PORT);
            let sent = if *fresh {
                queries_from_fresh_sockets(server, *count, *rate)?
            } else {
                queries_from_one_socket(server, *count, *rate)?
            };
            print(&sent)?;
        }
        Load::Latency { count } => print(&latency(*count)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(result: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

fn sinks() -> Result<()> {
    // Nobody reads these two: what finds no room is thrown away behind leakmon's hooks.
    let _udp = UdpSocket::bind((RESPONDER, OTHER_PORT)).context("UDP")?;
    let _silent = UdpSocket::bind((SILENT, DNS_PORT)).context("DNS")?;
    let responder = UdpSocket::bind((RESPONDER, DNS_PORT)).context("DNS")?;
    println!("ready");
    io::stdout().flush()?;
    respond(&responder);
    Ok(())
}

/// Answers every query with an address that no other has.
fn respond(socket: &UdpSocket) {
    let mut buffer = [0; 1024];
    let mut number = 0_u32;
    while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
        number = (number + 1) & 0x00ff_ffff;
        let [_, a, b, c] = number.to_be_bytes();
        if let Some(len) = message::answer(&mut buffer, len, [10, a, b, c]) {
            let _ = socket.send_to(&buffer[..len], peer);
        }
    }
}

/// Both ends in one thread: which of two would run where, and when, would matter more than what is measured.
fn tcp(duration: Duration) -> Result<Sent> {
    let listener = TcpListener::bind((RESPONDER, OTHER_PORT)).context("TCP")?;
    let mut sender = TcpStream::connect((RESPONDER, OTHER_PORT))?;
    let (mut receiver, _) = listener.accept()?;
    sender.set_nonblocking(true)?;
    receiver.set_nonblocking(true)?;
    let mut buffer = vec![0x55; BULK];
    let started = Start::now();
    let mut count = 0;
    while started.elapsed() < duration {
        match sender.write(&buffer) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        while let Ok(read) = receiver.read(&mut buffer)
            && read > 0
        {
            count += read as u64;
        }
    }
    Ok(started.sent(count))
}

fn udp(duration: Duration) -> Result<Sent> {
    let socket = UdpSocket::bind((RESPONDER, 0))?;
    socket.connect((RESPONDER, OTHER_PORT))?;
    let started = Start::now();
    let mut count = 0;
    while started.elapsed() < duration {
        for _ in 0..BATCH {
            socket.send(&[0x55; SMALL])?;
        }
        count += u64::from(BATCH);
    }
    Ok(started.sent(count))
}

fn calls(duration: Duration) -> Sent {
    let started = Start::now();
    let mut count = 0;
    while started.elapsed() < duration {
        for _ in 0..CALLS {
            std::hint::black_box(std::os::unix::process::parent_id());
        }
        count += u64::from(CALLS);
    }
    started.sent(count)
}

fn programs(duration: Duration) -> Result<Sent> {
    let started = Start::now();
    let mut count = 0;
    while started.elapsed() < duration {
        let status = Command::new(TRUE).status();
        if !status.context("cannot start /bin/true")?.success() {
            bail!("/bin/true failed");
        }
        count += 1;
    }
    Ok(started.sent(count))
}

/// When the sender began, by both clocks.
struct Start {
    at: Instant,
    cpu: f64,
}

impl Start {
    fn now() -> Self {
        Self {
            cpu: cpu_time().unwrap_or_default(),
            at: Instant::now(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.at.elapsed()
    }

    fn sent(&self, count: u64) -> Sent {
        let seconds = self.elapsed().as_secs_f64();
        Sent {
            count,
            seconds,
            cpu: cpu_time().map_or(seconds, |cpu| cpu - self.cpu),
            answers: 0,
        }
    }
}

/// Seconds for which this thread has had a processor (Documentation/scheduler/sched-stats.rst).
fn cpu_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: u64 = text.split(' ').next()?.parse().ok()?;
    Some(nanoseconds as f64 / 1e9)
}

fn queries_from_one_socket(server: SocketAddrV4, count: u32, rate: u32) -> Result<Sent> {
    let socket = UdpSocket::bind((RESPONDER, 0))?;
    socket.connect(server)?;
    socket.set_nonblocking(true)?;
    let answered = server.ip().to_string() != SILENT;
    let mut answers = 0;
    let mut query = Query::new();
    let mut sent = paced(count, rate, |number| {
        send(&socket, query.numbered(number))?;
        if answered {
            answers += received(&socket);
        }
        Ok(())
    })?;
    let last = Instant::now();
    while answered && last.elapsed() < LAST_ANSWERS {
        answers += received(&socket);
        thread::sleep(PAUSE);
    }
    sent.answers = answers;
    Ok(sent)
}

fn queries_from_fresh_sockets(server: SocketAddrV4, count: u32, rate: u32) -> Result<Sent> {
    let mut query = Query::new();
    paced(count, rate, |number| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect(server)?;
        socket.send(query.numbered(number))?;
        Ok(())
    })
}

/// Calls `send` for every number, in small batches, so that so many a second come out.
fn paced(count: u32, rate: u32, mut send: impl FnMut(u32) -> io::Result<()>) -> Result<Sent> {
    if rate == 0 {
        bail!("a rate of nothing a second never ends");
    }
    let started = Start::now();
    let mut done = 0;
    while done < count {
        let due = (started.elapsed().as_secs_f64() * f64::from(rate)) as u32;
        let until = count.min(due).min(done + BATCH);
        if until <= done {
            thread::sleep(PAUSE);
            continue;
        }
        for number in done..until {
            send(number)?;
        }
        done = until;
    }
    Ok(started.sent(u64::from(count)))
}

/// Sends on a socket that does not block: when there is no room it waits.
fn send(socket: &UdpSocket, message: &[u8]) -> io::Result<()> {
    loop {
        match socket.send(message) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            sent => return sent.map(drop),
        }
    }
}

/// How many answers are there.
fn received(socket: &UdpSocket) -> u64 {
    let mut buffer = [0; 1024];
    let mut count = 0;
    while socket.recv(&mut buffer).is_ok() {
        count += 1;
    }
    count
}

fn latency(count: u32) -> Result<Waited> {
    let (give, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            // The clock first: what is done with the line is not the agent's time.
            let at = Instant::now();
            let Ok(line) = line else { break };
            if give.send((at, line)).is_err() {
                break;
            }
        }
    });
    let socket = UdpSocket::bind((RESPONDER, 0))?;
    socket.connect((SILENT, DNS_PORT))?;
    let mut query = Query::new();
    let mut waited = Waited {
        micros: Vec::new(),
        missed: 0,
    };
    for number in 0..count {
        let name = message::name(number);
        let sent = Instant::now();
        socket.send(query.numbered(number))?;
        loop {
            match lines.recv_timeout(LINE_LIMIT) {
                Ok((at, line)) if line.contains(&name) => {
                    let micros = at.duration_since(sent).as_secs_f64() * 1e6;
                    waited.micros.push(micros);
                    break;
                }
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    waited.missed += 1;
                    break;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the agent is gone"),
            }
        }
        thread::sleep(LATENCY_PAUSE);
    }
    Ok(waited)
}
