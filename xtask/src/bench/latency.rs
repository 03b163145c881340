//! Time from a query to its line on the agent's output, both seen by one process.

use std::process::Stdio;

use anyhow::{Context, Result};

use super::agent::{Agent, Agents, Output};
use super::load::Waited;
use super::place::{self, Place};
use super::results::Latency;

/// Measures it.
pub fn measure(place: &Place, agents: &Agents, quick: bool) -> Result<Latency> {
    let count = if quick { "500" } else { "2000" };
    let leakmon = waited(place, agents.leakmon(Output::Handed)?, count)?;
    // Without the last option it gathers packets for up to a second.
    let tcpdump = agents.tcpdump(&["-l", "--immediate-mode"], Output::Handed)?;
    let tcpdump = waited(place, tcpdump, count)?;
    Ok(Latency {
        leakmon: leakmon.micros,
        tcpdump: tcpdump.micros,
        missed: leakmon.missed,
    })
}

fn waited(place: &Place, mut agent: Agent, count: &str) -> Result<Waited> {
    let args = ["latency", count];
    let output = agent.stdout.take().context("an agent has no output")?;
    let mut command = place.load(&args);
    command.stdin(Stdio::from(output)).stdout(Stdio::piped());
    let waited = place::finish(command.spawn()?, &args)?;
    agent.stop()?;
    Ok(waited)
}
