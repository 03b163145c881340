//! `cargo xtask bench`: what leakmon costs, beside a run without it and beside tcpdump in the same run.
//!
//! Three processes share the work. The user's builds leakmon and writes the page. A shell, as root, makes a network
//! namespace and a cgroup, and takes them away again whatever becomes of the third, which measures. Everything measured
//! happens between programs of its own on the loopback interface of that namespace.

mod agent;
mod budget;
mod kernel;
mod latency;
mod load;
mod machine;
mod memory;
mod message;
mod page;
mod place;
mod rate;
mod results;
mod throughput;
mod values;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::{environment, packages, process, repo};
use place::Place;
use results::Results;

/// Measure what leakmon costs, beside a run without it and beside tcpdump.
#[derive(clap::Args)]
pub struct Args {
    /// Measure for less than a minute: fewer rounds, shorter ones, fewer queries
    #[arg(long)]
    quick: bool,
    /// Write docs/BENCHMARKS.md
    #[arg(long)]
    write: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the command starts itself as.
#[derive(clap::Subcommand)]
enum Part {
    /// Measures, as root, in a namespace and a cgroup that are there
    #[command(hide = true)]
    Measure {
        /// The agent
        leakmon: PathBuf,
        /// The cgroup
        cgroup: PathBuf,
        /// The network namespace
        netns: String,
    },
    /// Makes the traffic, in the namespace and the cgroup
    #[command(hide = true, subcommand)]
    Load(load::Load),
}

/// The page that is written, from the repository's root.
const PAGE: &str = "docs/BENCHMARKS.md";

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.part {
        None => bench(args),
        Some(Part::Load(load)) => load::run(load),
        Some(Part::Measure {
            leakmon,
            cgroup,
            netns,
        }) => {
            let place = Place::new(cgroup, netns)?;
            let results = measure(&place, leakmon, args.quick)?;
            println!("{}", serde_json::to_string(&results)?);
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The user's part.
fn bench(args: &Args) -> Result<ExitCode> {
    let missing = packages::missing_of(&["bpftool", "ip", "tcpdump"]);
    if !missing.is_empty() {
        bail!("{}", packages::report(&missing));
    }
    process::run(environment::cargo().args(["build", "--release", "--package", "leakmon"]))?;
    let leakmon = repo::target_dir()?.join("release/leakmon");
    let xtask = env::current_exe().context("the path of xtask is not known")?;

    let mut command = place::script()?;
    command.arg(xtask).arg("bench");
    if args.quick {
        command.arg("--quick");
    }
    command.arg("measure").arg(leakmon);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.context("cannot start a shell as root")?;
    if !output.status.success() {
        bail!("nothing was measured to the end: the reason is above");
    }
    let results: Results = serde_json::from_slice(&output.stdout)
        .context("the measuring process printed what are no results")?;

    println!("{}", page::table(&results));
    if args.write {
        let path = repo::root().join(PAGE);
        fs::write(&path, page::page(&results))
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("written: {PAGE}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Root's part.
fn measure(place: &Place, leakmon: &std::path::Path, quick: bool) -> Result<Results> {
    let agents = agent::Agents::new(place, leakmon);
    let machine = machine::read()?;
    let sinks = place.start_sinks()?;
    say("kernel cost of each hook");
    let kernel = kernel::measure(place, &agents, quick)?;
    say("throughput, in turns with and without an agent");
    let throughput = throughput::measure(place, &agents, quick)?;
    say("latency");
    let latency = latency::measure(place, &agents, quick)?;
    say("queries a second");
    let rates = rate::measure(place, &agents, quick)?;
    say("memory");
    let memory = memory::measure(place, &agents, quick)?;
    drop(sinks);
    Ok(Results {
        quick,
        machine,
        kernel,
        throughput,
        latency,
        rates,
        memory,
    })
}

/// Progress goes to standard error: standard output is for the results.
fn say(what: &str) {
    eprintln!("bench: {what}");
}
