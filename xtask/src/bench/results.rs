//! What was measured, as the measuring process hands it to the one that writes the page.

use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// The short form.
    pub quick: bool,
    /// Where.
    pub machine: Machine,
    /// Time in the kernel.
    pub kernel: Kernel,
    /// Throughput of what is no DNS.
    pub throughput: Vec<Throughput>,
    /// Time from a query to its line.
    pub latency: Latency,
    /// Queries a second without loss.
    pub rates: Vec<Rate>,
    /// Memory after many queries.
    pub memory: Vec<Memory>,
}

/// The machine, as far as it may be known.
#[derive(Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Its processor, as it calls itself.
    pub cpu: String,
    /// How many of them.
    pub cores: usize,
    /// It is a virtual one.
    pub is_virtual: bool,
    /// Version of the kernel, without a builder's additions.
    pub kernel: String,
    /// How many programs wanted to run in the minute before the start.
    pub load: f64,
    /// The peer's version.
    pub tcpdump: String,
}

/// Time in the kernel, by the kernel's own statistics.
#[derive(Debug, Serialize, Deserialize)]
pub struct Kernel {
    /// What the statistics charge a program that does next to nothing, in nanoseconds.
    pub statistics_ns: f64,
    /// A packet that is no DNS, in the kernel's test run without statistics, by program.
    pub test_runs: Vec<(String, f64)>,
    /// In traffic.
    pub traffic: Vec<Traffic>,
}

/// Time in the kernel for one kind of traffic.
#[derive(Debug, Serialize, Deserialize)]
pub struct Traffic {
    /// What was sent.
    pub kind: Kind,
    /// How many were sent: queries or datagrams; segments that passed egress for TCP.
    pub count: u64,
    /// What each program took.
    pub hooks: Vec<Hook>,
}

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Bulk TCP.
    Tcp,
    /// Small datagrams.
    Udp,
    /// System calls that have nothing to do with the network.
    Calls,
    /// Programs that start and end.
    Programs,
    /// Queries from one socket.
    Queries,
    /// Queries from one socket, so many that leakmon never sleeps.
    Busy,
    /// Queries from one socket while leakmon is held still, so that nobody is woken.
    Held,
    /// Queries that are answered.
    Answered,
    /// Queries from a fresh socket each.
    Fresh,
    /// Queries from a fresh socket each while leakmon is held still.
    HeldFresh,
}

/// What a program took.
#[derive(Debug, Serialize, Deserialize)]
pub struct Hook {
    /// The program.
    pub name: String,
    /// Runs.
    pub runs: u64,
    /// Nanoseconds in all, with those of the statistics.
    pub ns: u64,
}

/// Throughput of one kind of traffic; one figure a round each.
#[derive(Debug, Serialize, Deserialize)]
pub struct Throughput {
    /// What was sent.
    pub kind: Kind,
    /// Nobody watches.
    pub bare: Vec<f64>,
    /// leakmon watches.
    pub leakmon: Vec<f64>,
    /// Nobody watches, once more: what differs from the first is noise.
    pub again: Vec<f64>,
    /// tcpdump watches.
    pub tcpdump: Vec<f64>,
}

/// Time from a query to its line, in microseconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Latency {
    /// leakmon's.
    pub leakmon: Vec<f64>,
    /// tcpdump's.
    pub tcpdump: Vec<f64>,
    /// Queries without a line from leakmon.
    pub missed: u32,
}

/// The highest rate without loss.
#[derive(Debug, Serialize, Deserialize)]
pub struct Rate {
    /// From one socket, or from a fresh one each.
    pub kind: Kind,
    /// For how many seconds each rate was held.
    pub seconds: f64,
    /// What the sender can do when nobody watches.
    pub bare: f64,
    /// leakmon's.
    pub leakmon: Search,
    /// tcpdump's.
    pub tcpdump: Search,
}

/// What a search for the highest rate has found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Search {
    /// Queries a second that were really sent in the best trial without loss; 0 when every trial lost some.
    pub without_loss: f64,
    /// The lowest rate that lost some; none when the sender could do no more.
    pub lossy: Option<Lossy>,
    /// Queries that are missing though no loss was told, over all trials.
    pub unsaid: u64,
}

/// A rate that lost some queries.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Lossy {
    /// The rate that the sender was asked for.
    pub wanted: u32,
    /// The rate that it came to.
    pub sent: f64,
    /// The share that was lost.
    pub share: f64,
}

/// Memory after many queries.
#[derive(Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Answered or not.
    pub kind: Kind,
    /// Queries sent, for names that are all different.
    pub sent: u64,
    /// At this rate.
    pub rate: f64,
    /// Queries that leakmon counted.
    pub seen: u64,
    /// Events that never reached leakmon.
    pub lost: u64,
    /// Queries whose answers leakmon did not wait for to the end.
    pub unfollowed: u64,
    /// Before the first.
    pub before: Resident,
    /// After the last.
    pub after: Resident,
    /// When all queries are done with, answered or given up, where that was waited for.
    pub later: Option<Resident>,
    /// The most at any time, in bytes.
    pub peak: u64,
    /// Processor time of leakmon, in seconds.
    pub cpu: f64,
}

/// Resident memory, in bytes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Resident {
    /// In all.
    pub all: u64,
    /// Its own.
    pub anonymous: u64,
    /// The ring buffer, which is mapped twice in a row and counted twice.
    pub ring: u64,
}
