//! DESIGN.md's budgets, and whether they are kept.

use super::results::{Hook, Kernel, Kind, Memory, Results, Throughput, Traffic};
use super::values::{median, quantile};

/// A budget and what was measured of it.
pub struct Budget {
    /// What is limited.
    pub what: String,
    /// The limit.
    pub aim: &'static str,
    /// What was measured.
    pub measured: String,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// Why it is missed, where it is.
    pub cause: &'static str,
}

/// Whether a budget is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// The benchmark could not go so far.
    OutOfReach,
}

impl Verdict {
    fn of(kept: bool) -> Self {
        if kept { Self::Met } else { Self::Missed }
    }
}

const OTHER_NS: f64 = 50.0;
const QUERY_NS: f64 = 1500.0;
const LEFT_PERCENT: f64 = 98.0;
/// A sender's clock is not exact to the last query.
const QUERIES_A_SECOND: f64 = 99_000.0;
const P99_MICROS: f64 = 5000.0;
const RESIDENT: u64 = 30_000_000;

const OTHER_CAUSE: &str = "Egress and ingress also ask for the state of a TCP connection, to know whether it has only begun; and a segment of up \
to 64 KB that is copied between two runs takes the programs' place in the processor's caches. Which of the two weighs \
more was not separated. With so many bytes a packet it is a small part of the whole.";
const QUERY_CAUSE: &str = "From one socket the work itself is far less, as the run with leakmon held still shows; a fresh socket adds the \
programs that learn its owner and forget it again (*others* below), and with them is over the budget even so. The rest \
is waking leakmon, which the kernel does at most once a millisecond, so for every second query at this rate: \
presumably the interrupt that the processor sends itself for it, which on a virtual machine leaves the guest, and the \
woken leakmon, which may take the sender's processor at once.";
const THROUGHPUT_CAUSE: &str = "Each packet passes three programs here, because both of its ends are on one machine. A profile of the sender of \
datagrams, taken once by hand, has about a quarter of what is lost in the programs themselves, and most of the rest in \
the kernel's way to them: `__cgroup_bpf_run_filter_skb` twice, and the hook on the interface, which is there for \
packet sockets alone.";
const RATE_CAUSE: &str = "leakmon reads, judges and prints on one thread, and its processor time for a query (see below) is what one core has to \
give at this rate. The sender and the kernel's part need the other core.";
const RATE_LIMIT: &str = "Nothing was lost, but the sender got no further, and alone it would not get far enough either on this machine. What it \
loses to leakmon is the time in the kernel (see below), and a share of the processors.";
const LATENCY_CAUSE: &str = "leakmon was not given a processor in time.";
const MEMORY_CAUSE: &str = "A query that waits for its answer is kept for ten seconds with its name and its socket, in two indexes, up to 32,768 of them: \
beyond that leakmon stops waiting for the oldest, and says so. What was taken once is not given back. The ring buffer is mapped twice \
in a row, so that no record is torn, and counts twice.";

/// All of them.
pub fn budgets(results: &Results) -> Vec<Budget> {
    let mut budgets = kernel(&results.kernel);
    // The others have no budget.
    let traffic = results.throughput.iter();
    let traffic = traffic.filter(|one| matches!(one.kind, Kind::Tcp | Kind::Udp));
    budgets.extend(traffic.map(throughput));
    for rate in &results.rates {
        let verdict = match rate.leakmon.lossy {
            _ if rate.leakmon.without_loss >= QUERIES_A_SECOND => Verdict::Met,
            None if rate.bare < QUERIES_A_SECOND => Verdict::OutOfReach,
            _ => Verdict::Missed,
        };
        budgets.push(Budget {
            what: format!("Queries a second without loss, {}", rate.kind.name()),
            aim: "100,000",
            measured: thousands(rate.leakmon.without_loss),
            verdict,
            cause: if verdict == Verdict::OutOfReach {
                RATE_LIMIT
            } else {
                RATE_CAUSE
            },
        });
    }
    let p99 = quantile(&results.latency.leakmon, 0.99);
    budgets.push(Budget {
        what: "From a query to its line, 99 of 100".to_owned(),
        aim: "5 ms",
        measured: format!("{:.2} ms", p99 / 1000.0),
        verdict: Verdict::of(p99 <= P99_MICROS && results.latency.missed == 0),
        cause: LATENCY_CAUSE,
    });
    budgets.extend(results.memory.iter().map(memory));
    budgets
}

fn kernel(kernel: &Kernel) -> Vec<Budget> {
    let of = |kind: Kind| kernel.traffic.iter().find(|traffic| traffic.kind == kind);
    let other = [Kind::Udp, Kind::Tcp].into_iter().filter_map(|kind| {
        let traffic = of(kind)?;
        let (leaving, arriving) = (kernel.leaving(traffic), kernel.arriving(traffic));
        Some(Budget {
            what: format!("In the kernel, {}", kind.name()),
            aim: "50 ns",
            measured: format!("{leaving:.0} ns leaving, {arriving:.0} ns arriving"),
            verdict: Verdict::of(leaving.max(arriving) <= OTHER_NS),
            cause: OTHER_CAUSE,
        })
    });
    let queries = [Kind::Queries, Kind::Fresh, Kind::Busy]
        .into_iter()
        .filter_map(|kind| {
            let ns = kernel.each(of(kind)?);
            Some(Budget {
                what: format!("In the kernel, {}", kind.name()),
                aim: "1.5 µs",
                measured: micros(ns),
                verdict: Verdict::of(ns <= QUERY_NS),
                cause: QUERY_CAUSE,
            })
        });
    other.chain(queries).collect()
}

fn throughput(throughput: &Throughput) -> Budget {
    let left = median(&throughput.left(&throughput.leakmon));
    Budget {
        what: format!("Throughput, {}", throughput.kind.name()),
        aim: "98 %",
        measured: format!("{left:.1} % of bare"),
        verdict: Verdict::of(left >= LEFT_PERCENT),
        cause: THROUGHPUT_CAUSE,
    }
}

fn memory(memory: &Memory) -> Budget {
    Budget {
        what: format!(
            "Resident after {} {}",
            thousands(memory.sent as f64),
            if memory.kind == Kind::Answered {
                "queries"
            } else {
                "queries without an answer"
            }
        ),
        aim: "30 MB",
        measured: megabytes(memory.peak),
        verdict: Verdict::of(memory.peak <= RESIDENT),
        cause: MEMORY_CAUSE,
    }
}

impl Kernel {
    /// Nanoseconds of a run, without those of the statistics.
    pub fn run(&self, hook: &Hook) -> f64 {
        (hook.ns as f64 / hook.runs.max(1) as f64 - self.statistics_ns).max(0.0)
    }

    fn runs_of(&self, traffic: &Traffic, names: &[&str]) -> f64 {
        let hooks = traffic.hooks.iter();
        hooks
            .filter(|hook| names.contains(&hook.name.as_str()))
            .map(|hook| self.run(hook))
            .sum()
    }

    /// Nanoseconds of a packet that leaves.
    pub fn leaving(&self, traffic: &Traffic) -> f64 {
        self.runs_of(traffic, &["egress", "interface"])
    }

    /// Nanoseconds of a packet that arrives.
    pub fn arriving(&self, traffic: &Traffic) -> f64 {
        self.runs_of(traffic, &["ingress"])
    }

    /// Nanoseconds of all programs for each query or datagram, on both of its ends.
    pub fn each(&self, traffic: &Traffic) -> f64 {
        let hooks = traffic.hooks.iter();
        let ns: f64 = hooks.map(|hook| self.run(hook) * hook.runs as f64).sum();
        ns / traffic.count.max(1) as f64
    }
}

impl Kind {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "bulk TCP",
            Self::Udp => "small UDP datagrams",
            Self::Calls => "system calls",
            Self::Programs => "programs started",
            Self::Queries => "queries from one socket",
            Self::Busy => "queries from one socket, leakmon at work",
            Self::Held => "queries from one socket, leakmon held still",
            Self::Answered => "queries from one socket with their answers",
            Self::Fresh => "queries from a fresh socket each",
            Self::HeldFresh => "queries from a fresh socket each, leakmon held still",
        }
    }
}

/// Nanoseconds, as microseconds.
pub fn micros(ns: f64) -> String {
    format!("{:.2} µs", ns / 1000.0)
}

/// Bytes, as megabytes.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// A whole number with commas.
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(0.0), "0");
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }

    #[test]
    fn what_the_statistics_take_is_no_cost() {
        let kernel = Kernel {
            statistics_ns: 40.0,
            test_runs: vec![],
            traffic: vec![],
        };
        let hook = |name: &str, ns| Hook {
            name: name.to_owned(),
            runs: 10,
            ns,
        };
        let traffic = Traffic {
            kind: Kind::Udp,
            count: 10,
            hooks: vec![
                hook("egress", 700),
                hook("ingress", 390),
                hook("interface", 500),
            ],
        };
        assert_eq!(kernel.leaving(&traffic), 40.0);
        assert_eq!(kernel.arriving(&traffic), 0.0);
        assert_eq!(kernel.each(&traffic), 40.0);
    }
}
