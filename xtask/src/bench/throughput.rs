//! Throughput of what is no DNS, in turns: nobody watches, leakmon does, nobody does, tcpdump does.
//!
//! By the time for which the sender has a processor, so that it matters little what else runs on the machine.

use anyhow::Result;

use super::agent::{Agents, Output};
use super::load::Sent;
use super::place::Place;
use super::results::{Kind, Throughput};

/// Measures it.
pub fn measure(place: &Place, agents: &Agents, quick: bool) -> Result<Vec<Throughput>> {
    let (rounds, millis) = if quick { (3, "200") } else { (7, "600") };
    let loads = [
        (Kind::Tcp, "tcp"),
        (Kind::Udp, "udp"),
        (Kind::Calls, "calls"),
        (Kind::Programs, "programs"),
    ];
    let mut results = loads.map(|(kind, load)| {
        let result = Throughput {
            kind,
            bare: Vec::new(),
            leakmon: Vec::new(),
            again: Vec::new(),
            tcpdump: Vec::new(),
        };
        (result, load)
    });
    for _ in 0..rounds {
        let mut turn = |into: fn(&mut Throughput) -> &mut Vec<f64>| -> Result<()> {
            for (result, load) in &mut results {
                let sent: Sent = place.run_load(&[load, millis])?;
                let rate = match result.kind {
                    // A program's start and end are not its starter's time.
                    Kind::Programs => sent.rate(),
                    _ => sent.count as f64 / sent.cpu,
                };
                into(result).push(rate);
            }
            Ok(())
        };
        turn(|result| &mut result.bare)?;
        let leakmon = agents.leakmon(Output::Nowhere)?;
        turn(|result| &mut result.leakmon)?;
        leakmon.stop()?;
        turn(|result| &mut result.again)?;
        let tcpdump = agents.tcpdump(&["-w", "/dev/null"], Output::Nowhere)?;
        turn(|result| &mut result.tcpdump)?;
        tcpdump.stop()?;
    }
    Ok(results.map(|(result, _)| result).into())
}

impl Throughput {
    /// For each round, what was left of the mean of the two bare runs beside it, in percent.
    pub fn left(&self, watched: &[f64]) -> Vec<f64> {
        let bare = self.bare.iter().zip(&self.again);
        watched
            .iter()
            .zip(bare)
            .map(|(watched, (one, other))| 200.0 * watched / (one + other))
            .collect()
    }

    /// For each round, the second bare run by the first, in percent.
    pub fn noise(&self) -> Vec<f64> {
        let both = self.bare.iter().zip(&self.again);
        both.map(|(one, other)| 100.0 * other / one).collect()
    }
}
