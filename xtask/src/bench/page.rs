//! The results as a table for the terminal and as the page for the repository.

use std::fmt::Write as _;

use super::budget::{Verdict, budgets, megabytes, micros, thousands};
use super::results::{Kernel, Kind, Memory, Rate, Results, Search, Throughput};
use super::values::{median, quantile};

/// The table of the budgets, for a terminal.
pub fn table(results: &Results) -> String {
    let budgets = budgets(results);
    let rows = budgets.iter().map(|budget| {
        [
            budget.what.as_str(),
            budget.aim,
            &budget.measured,
            said(budget.verdict),
        ]
        .map(str::to_owned)
    });
    let rows: Vec<_> = [["", "budget", "measured", ""].map(str::to_owned)]
        .into_iter()
        .chain(rows)
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths = [0, 1, 2].map(width);
    let mut text = String::new();
    for [what, aim, measured, verdict] in &rows {
        let [a, b, c] = widths;
        let line = format!("{what:<a$}  {aim:>b$}  {measured:>c$}  {verdict}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn said(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Met => "met",
        Verdict::Missed => "missed",
        Verdict::OutOfReach => "out of reach",
    }
}

/// The page.
pub fn page(results: &Results) -> String {
    let mut page = String::new();
    head(&mut page, results);
    budget_section(&mut page, results);
    kernel_section(&mut page, &results.kernel);
    throughput_section(&mut page, &results.throughput);
    rate_section(&mut page, &results.rates);
    latency_section(&mut page, results);
    memory_section(&mut page, &results.memory);
    page
}

fn add(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

fn row(page: &mut String, cells: &[String]) {
    let _ = writeln!(page, "| {} |", cells.join(" | "));
}

fn heading(page: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| (*cell).to_owned()).collect();
    row(page, &cells);
    let _ = writeln!(page, "|{}", "---|".repeat(cells.len()));
}

fn head(page: &mut String, results: &Results) {
    let machine = &results.machine;
    let quick = if results.quick { " --quick" } else { "" };
    add(page, "# Benchmarks\n");
    let _ = writeln!(
        page,
        "What leakmon costs, and what it keeps up with. This page is written by\n\n\
         ```sh\ncargo xtask bench{quick} --write\n```\n\n\
         which needs root (through sudo), and the Debian packages bpftool, iproute2 and tcpdump. Run it on your own machine: the\n\
         absolute figures are this one's, and other programs ran on it meanwhile. The ratios travel better: each stands beside a run\n\
         without leakmon and beside tcpdump, in turns.\n\n\
         Measured on {}{}, {} cores, Linux {}, with tcpdump {}; load average at the start {:.1}. All traffic goes over the loopback\n\
         interface of a network namespace of the benchmark's own, so that each packet is looked at twice: when it leaves and when it\n\
         arrives. leakmon runs as `leakmon watch --json`, a release build with its default settings.\n",
        machine.cpu,
        if machine.is_virtual {
            " (a virtual machine)"
        } else {
            ""
        },
        machine.cores,
        machine.kernel,
        machine.tcpdump,
        machine.load,
    );
}

fn budget_section(page: &mut String, results: &Results) {
    let budgets = budgets(results);
    add(page, "## Budgets\n");
    heading(page, &["", "budget", "measured", ""]);
    for budget in &budgets {
        let verdict = if budget.verdict == Verdict::Met {
            said(budget.verdict).to_owned()
        } else {
            format!("**{}**", said(budget.verdict))
        };
        row(
            page,
            &[
                budget.what.clone(),
                budget.aim.to_owned(),
                budget.measured.clone(),
                verdict,
            ],
        );
    }
    let mut causes: Vec<&str> = Vec::new();
    for budget in budgets
        .iter()
        .filter(|budget| budget.verdict != Verdict::Met)
    {
        if !causes.contains(&budget.cause) {
            causes.push(budget.cause);
        }
    }
    if !causes.is_empty() {
        add(page, "\nWhat is not met, and why:\n");
    }
    for cause in causes {
        let missed = budgets
            .iter()
            .filter(|budget| budget.verdict != Verdict::Met && budget.cause == cause);
        let names: Vec<&str> = missed.map(|budget| budget.what.as_str()).collect();
        let _ = writeln!(page, "- *{}.* {cause}", names.join("; "));
    }
    page.push('\n');
}

fn kernel_section(page: &mut String, kernel: &Kernel) {
    let _ = writeln!(
        page,
        "## Time in the kernel\n\n\
         By the kernel's own statistics (`kernel.bpf_stats_enabled`), which take time themselves: a program that does next to nothing\n\
         is charged {:.0} ns. That much is taken off every figure. Times are by the clock: whoever takes the processor away from a\n\
         program is charged to it.\n",
        kernel.statistics_ns
    );
    heading(
        page,
        &[
            "",
            "`egress`",
            "`interface`",
            "`ingress`",
            "others",
            "in all",
        ],
    );
    for traffic in &kernel.traffic {
        let of = |name: &str| {
            let hook = traffic.hooks.iter().find(|hook| hook.name == name);
            hook.map_or_else(String::new, |hook| {
                format!("{} ns", thousands(kernel.run(hook)))
            })
        };
        let others: f64 = traffic
            .hooks
            .iter()
            .filter(|hook| !["egress", "interface", "ingress"].contains(&hook.name.as_str()))
            .map(|hook| kernel.run(hook) * hook.runs as f64 / traffic.count.max(1) as f64)
            .sum();
        row(
            page,
            &[
                traffic.kind.name().to_owned(),
                of("egress"),
                of("interface"),
                of("ingress"),
                format!("{} ns", thousands(others)),
                format!("{} ns", thousands(kernel.each(traffic))),
            ],
        );
    }
    let runs: Vec<String> = kernel
        .test_runs
        .iter()
        .map(|(name, ns)| format!("`{name}` {ns:.0} ns"))
        .collect();
    let _ = writeln!(
        page,
        "\nThe first three columns are one run of that program; the fourth is the programs that learn who uses a socket, for each query\n\
         or packet; the last is all of them, on both ends. With answers `egress` and `ingress` run twice a query. Queries come\n\
         2,000 a second, so that leakmon sleeps in between, unless it says otherwise: at work, 80,000 a second; held still, by a signal.\n\n\
         As a check without the statistics: the kernel's own test run of a small datagram, a million times in a row, takes {}, its loop\n\
         included.\n",
        runs.join(", ")
    );
}

fn throughput_section(page: &mut String, all: &[Throughput]) {
    add(
        page,
        "## Everything else on the machine\n\n\
         In turns: nobody watches, leakmon does, nobody does, tcpdump does (`tcpdump -i any -w /dev/null port 53`), and again. Each watched\n\
         run is compared with the two bare ones beside it; here are the medians, and the least and the most in parentheses. The figures\n\
         are for each second in which the sender really had a processor, so that other programs disturb them little; only those of\n\
         the programs are by the clock on the wall.\n\n\
         TCP has both of its ends in one thread, and what the datagrams are sent to throws them away: no traffic has less to share\n\
         the cost with. The system call is getppid, the cheapest there is: an agent that listens to any one system call slows every\n\
         call of every process. The program is /bin/true.\n",
    );
    heading(
        page,
        &[
            "",
            "bare",
            "with leakmon",
            "with tcpdump",
            "bare once more (noise)",
        ],
    );
    for one in all {
        let share = |values: &[f64]| {
            format!(
                "{:.1} % ({:.1} to {:.1})",
                median(values),
                quantile(values, 0.0),
                quantile(values, 1.0)
            )
        };
        let bare = median(&[&one.bare[..], &one.again].concat());
        let bare = match one.kind {
            Kind::Tcp => format!("{:.2} GB/s", bare / 1e9),
            Kind::Calls => format!("{:.2} million/s", bare / 1e6),
            _ => format!("{}/s", thousands(bare)),
        };
        row(
            page,
            &[
                one.kind.name().to_owned(),
                bare,
                share(&one.left(&one.leakmon)),
                share(&one.left(&one.tcpdump)),
                share(&one.noise()),
            ],
        );
    }
    page.push('\n');
}

fn rate_section(page: &mut String, rates: &[Rate]) {
    let seconds = rates.first().map_or(0.0, |rate| rate.seconds);
    let _ = writeln!(
        page,
        "## Queries a second without loss\n\n\
         Each rate is held for {seconds:.0} s, with names that are all different and a server that is silent; a rate that loses is tried\n\
         once more. leakmon's and tcpdump's (`tcpdump -n -l port 53`) lines go to a reader that throws them away. What is lost is\n\
         what they say themselves, at the lowest rate that lost any; for leakmon, the queries that it counts are compared with those sent as well.\n"
    );
    heading(
        page,
        &[
            "",
            "sender alone",
            "leakmon",
            "leakmon loses",
            "tcpdump",
            "tcpdump loses",
            "leakmon by tcpdump",
        ],
    );
    let lossy = |search: &Search| match search.lossy {
        Some(lossy) => format!(
            "{:.1} % at {} ({} wanted)",
            lossy.share * 100.0,
            thousands(lossy.sent),
            thousands(lossy.wanted.into())
        ),
        None => "nothing".to_owned(),
    };
    for rate in rates {
        let (leakmon, tcpdump) = (rate.leakmon.without_loss, rate.tcpdump.without_loss);
        let ratio = if tcpdump > 0.0 {
            format!("{:.1}", leakmon / tcpdump)
        } else {
            String::new()
        };
        row(
            page,
            &[
                rate.kind.name().to_owned(),
                thousands(rate.bare),
                thousands(leakmon),
                lossy(&rate.leakmon),
                thousands(tcpdump),
                lossy(&rate.tcpdump),
                ratio,
            ],
        );
    }
    let unsaid: u64 = rates.iter().map(|rate| rate.leakmon.unsaid).sum();
    let _ = writeln!(
        page,
        "\nQueries that leakmon missed without saying so, in all trials: {}.\n",
        thousands(unsaid as f64)
    );
}

fn latency_section(page: &mut String, results: &Results) {
    let latency = &results.latency;
    let _ = writeln!(
        page,
        "## From a query to its line\n\n\
         One process sends a query and reads the agent's output until the name is there; then it sends the next, {} in all. tcpdump runs\n\
         with `-l --immediate-mode`: without that it gathers packets for up to a second.\n",
        latency.leakmon.len()
    );
    heading(
        page,
        &["", "half of them within", "99 of 100", "the longest"],
    );
    for (name, values) in [("leakmon", &latency.leakmon), ("tcpdump", &latency.tcpdump)] {
        let cell = |share| format!("{} µs", thousands(quantile(values, share)));
        row(page, &[name.to_owned(), cell(0.5), cell(0.99), cell(1.0)]);
    }
    let ratio = |share| quantile(&latency.leakmon, share) / quantile(&latency.tcpdump, share);
    row(
        page,
        &[
            "leakmon by tcpdump".to_owned(),
            format!("{:.1}", ratio(0.5)),
            format!("{:.1}", ratio(0.99)),
            String::new(),
        ],
    );
    page.push('\n');
}

fn memory_section(page: &mut String, all: &[Memory]) {
    add(
        page,
        "## Memory and processor time of leakmon\n\n\
         Names that are all different, from one socket. Resident memory is the kernel's count (VmRSS), in which the ring buffer is there\n\
         twice; its own is RssAnon. The peak is VmHWM.\n",
    );
    heading(
        page,
        &[
            "",
            "before",
            "after the last",
            "peak",
            "later",
            "ring buffer",
            "processor time a query",
            "lost",
            "not waited for",
        ],
    );
    for one in all {
        let resident = |memory: &super::results::Resident| {
            format!(
                "{} (own {})",
                megabytes(memory.all),
                megabytes(memory.anonymous)
            )
        };
        row(
            page,
            &[
                format!(
                    "{} {}, {} a second",
                    thousands(one.sent as f64),
                    if one.kind == Kind::Answered {
                        "answered"
                    } else {
                        "not answered"
                    },
                    thousands(one.rate)
                ),
                resident(&one.before),
                resident(&one.after),
                megabytes(one.peak),
                one.later.as_ref().map_or_else(String::new, resident),
                megabytes(one.after.ring),
                micros(one.cpu * 1e9 / one.seen.max(1) as f64),
                thousands(one.lost as f64),
                thousands(one.unfollowed as f64),
            ],
        );
    }
    add(
        page,
        "\nA query is *not waited for* when 32,768 later ones wait for an answer as well: leakmon says it, and stops waiting. *Later* is 11\n\
         seconds after the last query, when nothing waits any more.",
    );
}
