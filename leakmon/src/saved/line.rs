//! The lines of the output contract (docs/events.schema.json) as they are read again.
//!
//! Only what is shown of them, and words as text: a later leakmon may have more fields and more words within version 1.

use std::{fmt, net::IpAddr};

use serde::Deserialize;

use crate::time::Timestamp;

/// One line, by its type.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Said {
    /// A name was asked.
    Query(Box<Query>),
    /// What came back.
    Answer(Answer),
    /// A proxy was asked for something.
    Proxy(Box<ProxySession>),
    /// What a program was told about proxies.
    Posture(Box<Setup>),
    /// A verdict.
    Finding(Box<Finding>),
    /// Something was lost.
    Loss(Loss),
    /// The end of a run.
    Summary(Summary),
    /// Something else, as what an audit says of the machine.
    #[serde(other)]
    Other,
}

/// A process.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    /// Process (thread group) id.
    pub pid: u32,
    /// When it started.
    pub start_time: Option<Timestamp>,
    /// Name of the thread group's leader.
    pub comm: Option<String>,
    /// Path of the program.
    pub exe: Option<String>,
    /// Command line.
    pub cmdline: Option<Vec<String>>,
    /// Real user id.
    pub uid: Option<u32>,
    /// The user's name.
    pub user: Option<String>,
}

impl Process {
    /// The program's file name, else the thread's name, and the pid.
    #[must_use]
    pub fn words(&self) -> String {
        let exe = self.exe.as_deref();
        let name = exe.map(|exe| exe.rsplit('/').next().unwrap_or(exe));
        let name = name.or(self.comm.as_deref());
        format!("{} ({})", name.unwrap_or("an unknown program"), self.pid)
    }
}

/// The program that a person would name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct App {
    /// Name.
    pub name: String,
    /// Its first process.
    pub pid: u32,
}

/// Where a question was sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Resolver {
    /// Address, or the path of a Unix socket.
    pub addr: String,
    /// Port; 0 for a Unix socket.
    pub port: u16,
    /// Interface through which the question left.
    pub interface: Option<String>,
}

impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.addr.starts_with('/') {
            f.write_str(&self.addr)
        } else {
            endpoint(f, &self.addr, self.port)
        }
    }
}

/// A query.
#[derive(Clone, Debug, Deserialize)]
pub struct Query {
    /// When it left.
    pub ts: Timestamp,
    /// `q1`, `q2`, …
    pub id: String,
    /// It replaces the earlier line of that id.
    #[serde(default)]
    pub update: bool,
    /// The name.
    pub name: String,
    /// Query type.
    pub qtype: String,
    /// How it travelled.
    pub transport: String,
    /// Who was asked.
    pub resolver: Resolver,
    /// Who asked.
    pub process: Option<Process>,
    /// The program that a person would name.
    pub app: Option<App>,
    /// The local resolver that hears it.
    pub via: Option<Process>,
    /// It left the machine.
    pub escaped: bool,
    /// `leak`, `explained`, `no-proxy`, `unknown`.
    pub verdict: String,
    /// Why.
    pub explanation: Option<String>,
}

/// What came back for a query.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// When it came, or was given up.
    pub ts: Timestamp,
    /// Which query.
    pub query: String,
    /// Response code; `timeout` when no answer came.
    pub rcode: String,
    /// Addresses in it.
    pub addresses: Vec<IpAddr>,
    /// Microseconds from question to answer.
    pub latency_us: Option<u64>,
}

/// An address and port.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Endpoint {
    /// Address.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.addr, self.port).fmt(f)
    }
}

/// What a proxy was asked to reach.
#[derive(Clone, Debug, Deserialize)]
pub struct Target {
    /// The name, when a name was given.
    pub name: Option<String>,
    /// The address, when an address was given.
    pub addr: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A request made of a proxy.
#[derive(Clone, Debug, Deserialize)]
pub struct ProxySession {
    /// When it was complete.
    pub ts: Timestamp,
    /// Who made it.
    pub process: Option<Process>,
    /// The program that a person would name.
    pub app: Option<App>,
    /// Where the proxy is.
    pub proxy: Endpoint,
    /// The protocol spoken.
    pub protocol: String,
    /// What was asked for, as `connect`.
    pub command: String,
    /// What it was asked to reach.
    pub target: Target,
    /// Whether the proxy granted it.
    pub accepted: Option<bool>,
}

/// A proxy that was to be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ProxySetting {
    /// As `socks5`.
    pub scheme: String,
    /// Host name or address.
    pub addr: String,
    /// Port.
    pub port: u16,
    /// `local`, `remote`, `depends`, `unknown`.
    pub resolves: String,
}

impl fmt::Display for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        endpoint(f, &self.addr, self.port)
    }
}

fn endpoint(f: &mut fmt::Formatter<'_>, addr: &str, port: u16) -> fmt::Result {
    if addr.contains(':') {
        write!(f, "[{addr}]:{port}")
    } else {
        write!(f, "{addr}:{port}")
    }
}

/// A piece of what a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Evidence {
    /// When it happened; none for what was written before, and for what a program was told.
    #[serde(default)]
    pub ts: Option<Timestamp>,
    /// Where it comes from.
    pub source: String,
    /// What it says.
    pub detail: String,
}

/// A verdict with its proof.
#[derive(Clone, Debug, Deserialize)]
pub struct Finding {
    /// When it became sure, or surer.
    pub ts: Timestamp,
    /// `f1`, `f2`, …
    pub id: String,
    /// It replaces the earlier line of that id.
    #[serde(default)]
    pub update: bool,
    /// As `self-resolution`.
    pub kind: String,
    /// As `high`.
    pub severity: String,
    /// As `proven`.
    pub confidence: String,
    /// The program that a person would name.
    pub app: Option<App>,
    /// The process that did it first.
    pub process: Option<Process>,
    /// The name, or an address.
    pub name: String,
    /// How often.
    pub count: u64,
    /// Ids of its queries, the first of them when there are many.
    pub queries: Vec<String>,
    /// The proxy that was to be used.
    pub proxy: Option<ProxySetting>,
    /// The chain of evidence.
    pub evidence: Vec<Evidence>,
    /// What to change.
    pub advice: String,
}

impl Finding {
    /// What its confidence means (docs/how-it-works.md); none for words that this leakmon does not know.
    #[must_use]
    pub fn meaning(&self) -> Option<&'static str> {
        Some(match (self.kind.as_str(), self.confidence.as_str()) {
            ("special-name", "proven") => {
                "the name alone is proof: it must never be asked of DNS, whoever asks"
            }
            ("proxy-bypass", "configured") => {
                "the program was told to reach everything through a proxy, and connected past it"
            }
            ("literal-address", "observed") => {
                "the proxy was given an address that no lookup of the program was seen to be answered with; it may have been typed or have stood in a page, so this is no leak by itself"
            }
            (_, "proven") => {
                "the program asked for the name, was answered an address, and gave the proxy that address instead of the name"
            }
            (_, "configured") => {
                "the program was told to reach everything through a proxy, and asked for the name itself"
            }
            (_, "observed") => {
                "the program was seen to speak with a proxy that answered in kind, and asked for the name itself; how it was told to connect is not known"
            }
            _ => return None,
        })
    }

    /// Whether it says that something leaked.
    #[must_use]
    pub fn is_leak(&self) -> bool {
        self.kind != "literal-address"
    }
}

/// Something that a program's settings let leak.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Leak {
    /// What is told to a resolver past the proxy.
    pub what: String,
    /// Whether it does leak, or only under a condition that is said.
    pub certain: bool,
    /// What to change.
    pub stop: String,
}

/// Settings on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Profile {
    /// The program that they belong to.
    pub program: String,
    /// Their folder or file.
    pub path: String,
    /// Whose they are.
    pub user: Option<String>,
}

/// What a program was told about proxies.
#[derive(Clone, Debug, Deserialize)]
pub struct Setup {
    /// When it was read.
    pub ts: Timestamp,
    /// It replaces the earlier line about that program.
    #[serde(default)]
    pub update: bool,
    /// The program; none for settings on disk.
    pub app: Option<App>,
    /// Settings on disk; none for a running program.
    pub profile: Option<Profile>,
    /// `untold`, `direct`, `proxy`, `depends`, `unknown`.
    pub route: String,
    /// The proxy for everything, or what comes first for it.
    pub proxy: Option<ProxySetting>,
    /// `local`, `remote`, `depends`, `unknown`.
    pub resolves: String,
    /// What is reached without the proxy.
    pub bypass: Vec<String>,
    /// What it is, when it is a proxy itself.
    pub role: Option<String>,
    /// What leaks by these settings.
    pub leaks: Vec<Leak>,
    /// Where this is written.
    pub evidence: Vec<Evidence>,
    /// What other places say, which do not count beside it.
    pub overruled: Vec<Evidence>,
    /// What stops the program from resolving names itself.
    pub advice: Option<String>,
}

/// Events that were lost.
#[derive(Clone, Debug, Deserialize)]
pub struct Loss {
    /// When it was noticed.
    pub ts: Timestamp,
    /// How many.
    pub events: u64,
    /// How many of them were packets to a DNS port.
    pub queries: u64,
    /// None had been lost until then.
    pub since: Timestamp,
    /// `ring-buffer`, or `open-queries`.
    #[serde(rename = "where")]
    pub place: String,
}

/// The last line of a run.
#[derive(Clone, Debug, Deserialize)]
pub struct Summary {
    /// When the run ended.
    pub ts: Timestamp,
    /// Messages on a DNS port that could not be read as DNS.
    pub undecoded: u64,
}
