//! The programs of the machine: its name server, SOCKS server and web server, and leakmon.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;

use leakmon_lab::dnsmasq::Asked;
use leakmon_lab::program::{Finished, Program};
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{LIMIT, State, need, wait};
use rustix::process::Signal;
use serde_json::Value;

use crate::machine::PAGE_ADDRESS;

/// leakmon's place in the image.
const LEAKMON: &str = "/leakmon";
/// What leakmon writes to standard error when its hooks are in place.
const READY: &str = "leakmon: watching";

/// How much of the verifier's log is shown: it is thousands of lines, and the last ones tell.
const VERIFIER_LINES: usize = 20;

/// The addresses of the name server.
pub const DNS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];
/// The port of the SOCKS server, on the first of them.
pub const SOCKS_PORT: u16 = 1080;
/// What the page says, and nothing else does.
pub const PAGE_TEXT: &str = "this page came out of the virtual machine";
/// A name whose TXT record of 2400 bytes is more than an Ethernet frame holds.
pub const LARGE: &str = "large.example";
/// A name whose TXT record of 6000 bytes is more than a page of memory holds.
pub const HUGE: &str = "huge.example";
/// The port of the name server.
pub const DNS_PORT: u16 = 53;
/// Where the name server logs.
const DNS_LOG: &str = "/tmp/dnsmasq.log";

/// A command with nothing but a search path in its environment.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", need::PATH);
    command
}

/// Runs a program to its end, and gives its process id too.
pub fn run(command: &mut Command) -> (u32, Finished) {
    let program = Program::spawn(command);
    (program.pid(), program.finish(LIMIT))
}

/// Runs leakmon to its end.
pub fn leakmon(arguments: &[&str]) -> Finished {
    run(command(LEAKMON).args(arguments)).1
}

/// The name server.
pub struct Dns {
    _program: Program,
}

impl Dns {
    /// Starts it. It knows these names, all with the address of the web server, and the long ones.
    pub fn start(names: &[&str]) -> Self {
        let mut dnsmasq = command("dnsmasq");
        dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null"]);
        dnsmasq.args(["--user=root", "--pid-file="]);
        dnsmasq.args(["--no-resolv", "--no-hosts", "--local=/example/"]);
        dnsmasq.args(["--bind-interfaces", "--edns-packet-max=4096"]);
        dnsmasq.arg("--log-queries=extra");
        dnsmasq.arg(format!("--log-facility={DNS_LOG}"));
        for address in DNS {
            dnsmasq.arg(format!("--listen-address={address}"));
        }
        for name in names {
            dnsmasq.arg(format!("--host-record={name},{PAGE_ADDRESS}"));
        }
        for (name, strings) in [(LARGE, 12), (HUGE, 30)] {
            let strings = vec!["x".repeat(200); strings].join(",");
            dnsmasq.arg(format!("--txt-record={name},{strings}"));
        }
        let mut program = Program::spawn(&mut dnsmasq);
        wait_listening(&mut program, DNS_PORT);
        Self { _program: program }
    }

    /// Every query so far.
    pub fn log(&self) -> Vec<Asked> {
        let log = fs::read_to_string(DNS_LOG).unwrap_or_default();
        log.lines().filter_map(Asked::parse).collect()
    }
}

/// Starts the SOCKS server.
pub fn start_socks() -> Program {
    let mut microsocks = command("microsocks");
    microsocks.args(["-i", &DNS[0].to_string(), "-p", &SOCKS_PORT.to_string()]);
    let mut program = Program::spawn(&mut microsocks);
    wait_listening(&mut program, SOCKS_PORT);
    program
}

/// Starts the web server: a thread of this process.
pub fn start_web() -> Result<(), String> {
    let address = SocketAddr::from((PAGE_ADDRESS, 80));
    let listener = TcpListener::bind(address).map_err(|error| format!("{address}: {error}"))?;
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            // The request fits, and whatever it says gets the page.
            let _ = connection.read(&mut [0; 4096]);
            let _ = write!(
                connection,
                "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{PAGE_TEXT}",
                PAGE_TEXT.len()
            );
        }
    });
    Ok(())
}

/// A running `leakmon watch --json --all`.
pub struct Watch {
    program: Program,
}

impl Watch {
    /// Starts it and waits until its hooks are in place.
    pub fn start() -> Result<Self, String> {
        let mut leakmon = command(LEAKMON);
        leakmon.args(["watch", "--json", "--all"]);
        let mut program = Program::spawn(&mut leakmon);
        let is_ready = |program: &Program| {
            let text = program.stderr.text();
            text.lines().any(|line| line.starts_with(READY))
        };
        wait::until_true(LIMIT, || is_ready(&program) || program.try_wait().is_some());
        if is_ready(&program) && program.try_wait().is_none() {
            return Ok(Self { program });
        }
        say_why();
        Err(program.stderr.text())
    }

    /// What it says that it cannot do here.
    pub fn lacks(&self) -> Vec<String> {
        let text = self.program.stderr.text();
        let lines = text.lines().filter(|line| !line.starts_with(READY));
        lines.map(str::to_owned).collect()
    }

    /// What it has said so far, updates applied.
    pub fn state(&self) -> State {
        let text = self.program.stdout.text();
        // The last line may still be on its way.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        State::of(&lines(whole))
    }

    /// Waits until what it has said fulfils a condition; gives what it has said by then.
    pub fn wait(&self, condition: impl Fn(&State) -> bool) -> State {
        wait::until_true(LIMIT, || condition(&self.state()));
        self.state()
    }

    /// Stops it as a person would, with Ctrl-C.
    pub fn stop(mut self) -> Finished {
        self.program.signal(Signal::INT);
        self.program.finish(LIMIT)
    }
}

/// Says for the console what leakmon has to say about a kernel that refuses it: the end of the verifier's log.
fn say_why() {
    let mut leakmon = command(LEAKMON);
    leakmon.args(["watch", "--duration", "1s"]);
    let (_, leakmon) = run(leakmon.env("LEAKMON_LOG", "leakmon=debug"));
    let lines: Vec<&str> = leakmon.stderr.lines().collect();
    for line in &lines[lines.len().saturating_sub(VERIFIER_LINES)..] {
        println!("VM SAID {line}");
    }
}

/// Reads JSON lines.
pub fn lines(text: &str) -> Vec<Value> {
    let read = |line: &str| {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("not a JSON line ({error}): {line}"))
    };
    text.lines().map(read).collect()
}
