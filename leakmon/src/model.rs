//! The nouns of leakmon, in the shape in which they are put out (docs/events.schema.json).

mod finding;
mod setup;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use finding::{
    Confidence, Evidence, Finding, FindingKind, Link, ProxySetting, Resolves, Severity,
};
pub use setup::{Leak, Machine, Offer, Profile, RouteKind, Setup};

use crate::time::Timestamp;

/// Version of the output contract; within it no field is removed or re-typed.
pub const CONTRACT: u32 = 1;

/// Which process a pid means: pids are reused, a pid with its start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ProcessId {
    /// Process (thread group) id.
    pub pid: u32,
    /// When it started, as [`Process::started_ns`].
    pub started_ns: Option<u64>,
}

/// A process, as far as it is known. What could not be read is `None`: unknown, not empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Process (thread group) id.
    pub pid: u32,
    /// When it started.
    pub start_time: Option<Timestamp>,
    /// The same in nanoseconds since boot, as exact as the kernel's clock ticks (proc_pid_stat(5), field 22); `None` when
    /// it was gone before it could be read.
    #[serde(skip)]
    pub started_ns: Option<u64>,
    /// Its parent.
    pub ppid: Option<u32>,
    /// Name of the thread group's leader.
    pub comm: Option<String>,
    /// Path of the program.
    pub exe: Option<String>,
    /// Command line.
    pub cmdline: Option<Vec<String>>,
    /// Real user id.
    pub uid: Option<u32>,
    /// The user's name in /etc/passwd.
    pub user: Option<String>,
    /// Path in the cgroup v2 hierarchy.
    pub cgroup: Option<String>,
    /// Container: its engine's id or name, `flatpak:` or `snap:` with a package's name, or `pidns:` with the inode of a pid namespace that no engine made.
    pub container: Option<String>,
    /// systemd unit.
    pub unit: Option<String>,
    /// Inode of its network namespace.
    pub netns: Option<u64>,
    /// The variables of its environment that are about proxies, as it was started with them, by name.
    #[serde(skip)]
    pub environment: Option<Vec<(String, String)>>,
}

impl Process {
    /// A process of which the kernel told only this.
    #[must_use]
    pub fn unread(pid: u32, uid: Option<u32>) -> Self {
        Self {
            pid,
            start_time: None,
            started_ns: None,
            ppid: None,
            comm: None,
            exe: None,
            cmdline: None,
            uid,
            user: None,
            cgroup: None,
            container: None,
            unit: None,
            netns: None,
            environment: None,
        }
    }

    /// What tells this process from every other.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        ProcessId {
            pid: self.pid,
            started_ns: self.started_ns,
        }
    }

    /// Whether it is in that cgroup or below it, as far as its own is known.
    #[must_use]
    pub fn is_below(&self, cgroup: &str) -> bool {
        self.cgroup.as_ref().is_some_and(|own| {
            own.strip_prefix(cgroup)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// File name of the program, without the mark of a deleted file (proc_pid_exe(5)).
    #[must_use]
    pub fn program(&self) -> Option<&str> {
        let exe = self.exe.as_deref()?;
        let exe = exe.strip_suffix(" (deleted)").unwrap_or(exe);
        Some(exe.rsplit('/').next().unwrap_or(exe))
    }
}

/// The process behind an event, with the name of the thread that acted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// The process.
    #[serde(flatten)]
    pub process: Arc<Process>,
    /// Name of the thread that used the socket.
    pub thread: Option<String>,
}

/// What a person would call one program: a browser with its helpers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct App {
    /// Name.
    pub name: String,
    /// Its first process.
    pub pid: u32,
    /// What tells it from every other app.
    #[serde(skip)]
    pub id: ProcessId,
}

/// How a question travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// DNS over UDP (RFC 1035 section 4.2.1).
    Udp,
    /// DNS over TCP (RFC 7766).
    Tcp,
    /// Asked of systemd-resolved over its varlink socket, as nss-resolve does.
    Varlink,
    /// Asked of nscd over its socket.
    Nscd,
}

impl Transport {
    /// The word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Varlink => "varlink",
            Self::Nscd => "nscd",
        }
    }

    /// Whether it goes over a Unix socket. Answers on it are not seen.
    #[must_use]
    pub fn is_service(self) -> bool {
        matches!(self, Self::Varlink | Self::Nscd)
    }
}

/// A service of this machine that looks up names for others over a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Service {
    /// systemd-resolved, over varlink (org.varlink.service, systemd's src/resolve/resolved-varlink.c).
    Resolved,
    /// glibc's name service cache daemon (nscd(8)).
    Nscd,
}

impl Service {
    /// How a question travels to it.
    #[must_use]
    pub fn transport(self) -> Transport {
        match self {
            Self::Resolved => Transport::Varlink,
            Self::Nscd => Transport::Nscd,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Resolved => "/run/systemd/resolve/io.systemd.Resolve",
            Self::Nscd => "/run/nscd/socket",
        }
    }
}

/// A place of this machine where a resolver may listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Place {
    /// UDP.
    Udp(SocketAddr),
    /// TCP.
    Tcp(SocketAddr),
    /// The Unix socket of a service.
    Service(Service),
}

/// Where a resolver was asked: an address, or the path of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum ResolverAddr {
    /// An address.
    Ip(IpAddr),
    /// The path of a Unix socket.
    Path(&'static str),
}

impl From<IpAddr> for ResolverAddr {
    fn from(addr: IpAddr) -> Self {
        Self::Ip(addr)
    }
}

/// Where a question was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Resolver {
    /// Address asked.
    pub addr: ResolverAddr,
    /// Port asked; 0 for a Unix socket.
    pub port: u16,
    /// Interface through which the question left.
    pub interface: Option<String>,
    /// The process of this machine that listens there.
    pub process: Option<Arc<Process>>,
}

impl Resolver {
    /// Where it was asked.
    #[must_use]
    pub fn place(&self) -> ResolverPlace {
        ResolverPlace {
            addr: self.addr,
            port: self.port,
        }
    }
}

/// Where a resolver was asked: its address with the port, or the path of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResolverPlace {
    /// The address.
    pub addr: ResolverAddr,
    /// The port; 0 for a Unix socket.
    pub port: u16,
}

impl std::fmt::Display for ResolverPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.addr {
            ResolverAddr::Ip(addr) => SocketAddr::new(addr, self.port).fmt(f),
            ResolverAddr::Path(path) => f.write_str(path),
        }
    }
}

/// What leakmon makes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing says that this program uses a proxy.
    NoProxy,
    /// Too little is known about who asked.
    Unknown,
    /// The program uses a proxy, and there is an honest reason for this query.
    Explained,
    /// The program uses a proxy, and this query went past it.
    Leak,
}

impl Verdict {
    /// The word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoProxy => "no-proxy",
            Self::Unknown => "unknown",
            Self::Explained => "explained",
            Self::Leak => "leak",
        }
    }
}

/// One name asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Query {
    /// When it left.
    pub ts: Timestamp,
    /// `q1`, `q2`, … in the order of leaving.
    pub id: String,
    /// Said before, and changed since.
    #[serde(skip_serializing_if = "is_false")]
    pub update: bool,
    /// The name in presentation format (RFC 1035 section 5.1), lower case, without the final dot.
    pub name: Arc<str>,
    /// Query type (RFC 8499), as `A` or `TYPE65280`.
    pub qtype: Arc<str>,
    /// How it travelled.
    pub transport: Transport,
    /// Who was asked.
    pub resolver: Resolver,
    /// Who asked; `null` when the kernel could not tell.
    pub process: Option<Actor>,
    /// The program that a person would name.
    pub app: Option<Arc<App>>,
    /// The local resolver between asker and wire.
    pub via: Option<Arc<Process>>,
    /// It left through an interface other than loopback.
    pub escaped: bool,
    /// What leakmon makes of it.
    pub verdict: Verdict,
    /// Why, in words.
    pub explanation: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !value
}

/// What came back for a query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// When it came, or was given up.
    pub ts: Timestamp,
    /// Which query.
    pub query: String,
    /// Response code (RFC 8499), as `NOERROR`; `timeout` when no answer came.
    pub rcode: String,
    /// Addresses in it.
    pub addresses: Vec<IpAddr>,
    /// Microseconds from question to answer; `null` without one.
    pub latency_us: Option<u64>,
}

/// An address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Endpoint {
    /// Address.
    pub addr: IpAddr,
    /// Port.
    pub port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(value: SocketAddr) -> Self {
        Self {
            addr: value.ip(),
            port: value.port(),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        SocketAddr::new(self.addr, self.port).fmt(f)
    }
}

/// A protocol spoken with a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    /// SOCKS4: addresses only.
    Socks4,
    /// SOCKS4a: a name may stand in for the address.
    Socks4a,
    /// SOCKS5 (RFC 1928).
    Socks5,
    /// CONNECT to an HTTP proxy (RFC 9110 section 9.3.6).
    HttpConnect,
    /// Another method with the whole URI, to an HTTP proxy (RFC 9112 section 3.2.2).
    Http,
}

impl ProxyProtocol {
    /// The word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socks4 => "socks4",
            Self::Socks4a => "socks4a",
            Self::Socks5 => "socks5",
            Self::HttpConnect => "http-connect",
            Self::Http => "http",
        }
    }

    /// The scheme of a proxy that speaks it ([`ProxySetting::scheme`]).
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::HttpConnect => "http",
            other => other.as_str(),
        }
    }

    /// The protocol as prose has it.
    #[must_use]
    pub fn in_prose(self) -> &'static str {
        match self {
            Self::Socks4 => "SOCKS4",
            Self::Socks4a => "SOCKS4a",
            Self::Socks5 => "SOCKS5",
            Self::HttpConnect | Self::Http => "HTTP",
        }
    }
}

/// What a proxy was asked to reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// The name, when a name was given.
    pub name: Option<String>,
    /// The address, when an address was given.
    pub addr: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// A request made of a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProxySession {
    /// When the request was complete.
    pub ts: Timestamp,
    /// Who made it.
    pub process: Option<Actor>,
    /// The program that a person would name.
    pub app: Option<Arc<App>>,
    /// Where the proxy is.
    pub proxy: Endpoint,
    /// The protocol spoken.
    pub protocol: ProxyProtocol,
    /// `connect`, `bind`, `udp-associate`, `resolve`, `resolve-ptr`, the number of another SOCKS command, or a method of
    /// HTTP in lower case.
    pub command: String,
    /// What it was asked to reach.
    pub target: Target,
    /// Whether the proxy granted it; `null` when it did not answer.
    pub accepted: Option<bool>,
}

/// Events that were lost on their way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Loss {
    /// When it was noticed.
    pub ts: Timestamp,
    /// How many.
    pub events: u64,
    /// How many of them were packets to a DNS port, so that a question may be missing.
    pub queries: u64,
    /// None had been lost until then.
    pub since: Timestamp,
    /// Where: `ring-buffer`, or `open-queries` for queries whose answers leakmon could not wait for any longer.
    #[serde(rename = "where")]
    pub place: String,
}

/// What one app did in a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AppSummary {
    /// Name; `null` for queries whose asker is not known.
    pub app: Option<String>,
    /// Queries, whatever became of them.
    pub queries: u64,
    /// Queries that are leaks.
    pub leak: u64,
    /// Queries that are explained.
    pub explained: u64,
    /// Queries by a program of which no proxy is known.
    pub no_proxy: u64,
    /// Queries about which too little is known.
    pub unknown: u64,
}

/// The last line of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// When the run ended.
    pub ts: Timestamp,
    /// By name of the app, most leaks first.
    pub apps: Vec<AppSummary>,
    /// Findings.
    pub findings: u64,
    /// Events lost on their way from the kernel.
    pub lost: u64,
    /// Queries whose answers could not be waited for any longer, because too many others waited.
    pub unfollowed: u64,
    /// Messages to or from a DNS port that could not be read as DNS.
    pub undecoded: u64,
}

/// What leakmon says, one at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Report {
    /// A name was asked.
    Query(Query),
    /// What came back.
    Answer(Answer),
    /// A proxy was asked for something.
    Proxy(ProxySession),
    /// What a program was told about proxies.
    Posture(Box<Setup>),
    /// What the machine itself offers.
    Machine(Machine),
    /// A verdict.
    Finding(Box<Finding>),
    /// Something was lost.
    Loss(Loss),
    /// The end.
    Summary(Summary),
}
