//! The highest rate of queries that an agent takes without loss.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::agent::{Agents, Output};
use super::load::{SILENT, Sent};
use super::place::Place;
use super::results::{Kind, Lossy, Rate, Search};
use super::values::median;

/// The rates that are tried, in queries a second.
const RATES: [u32; 15] = [
    5_000, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 80_000, 100_000, 125_000, 150_000,
    175_000, 200_000, 250_000, 300_000,
];
/// The same for the short form.
const QUICK_RATES: [u32; 4] = [20_000, 50_000, 100_000, 200_000];
/// More than any sender can do.
const FLAT_OUT: u32 = 10_000_000;
/// How many are then sent in the time of a trial's second.
const FLAT_OUT_COUNT: u32 = 100_000;
/// A sender that comes this close to its rate has held it.
const HELD: f64 = 0.97;
/// What an agent may have before it when the last query was sent is taken within this time.
const BACKLOG: Duration = Duration::from_millis(300);

/// What came of one rate.
struct Trial {
    sent: Sent,
    seen: u64,
    lost: u64,
}

impl Trial {
    fn missing(&self) -> u64 {
        self.lost.max(self.sent.count.saturating_sub(self.seen))
    }

    fn unsaid(&self) -> u64 {
        self.missing() - self.lost.min(self.missing())
    }
}

/// Measures it.
pub fn measure(place: &Place, agents: &Agents, quick: bool) -> Result<Vec<Rate>> {
    let (rates, seconds, bare_runs) = if quick {
        (&QUICK_RATES[..], 1.0, 1)
    } else {
        (&RATES[..], 2.0, 3)
    };
    [Kind::Queries, Kind::Fresh]
        .into_iter()
        .map(|kind| {
            let send = |rate: u32, a_second: u32| -> Result<Sent> {
                let count = (f64::from(a_second) * seconds) as u32;
                let (count, rate) = (count.to_string(), rate.to_string());
                let mut args = vec!["queries", SILENT, &count, &rate];
                if kind == Kind::Fresh {
                    args.push("--fresh");
                }
                place.run_load(&args)
            };
            let bare: Vec<f64> = (0..bare_runs)
                .map(|_| send(FLAT_OUT, FLAT_OUT_COUNT).map(|sent| sent.rate()))
                .collect::<Result<_>>()?;
            let leakmon = search(rates, |rate| {
                let agent = agents.leakmon(Output::Read)?;
                let sent = send(rate, rate)?;
                let summary = agent.summary()?;
                Ok(Trial {
                    sent,
                    seen: summary.queries(),
                    lost: summary.lost,
                })
            })?;
            let tcpdump = search(rates, |rate| {
                let agent = agents.tcpdump(&["-l"], Output::Read)?;
                let sent = send(rate, rate)?;
                // It does not look at what it has not read yet when it is told to end.
                thread::sleep(BACKLOG);
                let captured = agent.captured()?;
                Ok(Trial {
                    sent,
                    seen: captured.captured + captured.dropped,
                    lost: captured.dropped,
                })
            })?;
            Ok(Rate {
                kind,
                seconds,
                bare: median(&bare),
                leakmon,
                tcpdump,
            })
        })
        .collect()
}

/// Finds the highest of the rates, which go up, by halving. A trial that loses, or that does not come up to its rate, is
/// repeated once: the machine has other things to do too.
fn search(rates: &[u32], trial: impl Fn(u32) -> Result<Trial>) -> Result<Search> {
    let mut found = Search {
        without_loss: 0.0,
        lossy: None,
        unsaid: 0,
    };
    let (mut low, mut high) = (0, rates.len());
    while low < high {
        let middle = low.midpoint(high);
        let rate = rates[middle];
        let passes =
            |trial: &Trial| trial.missing() == 0 && trial.sent.rate() >= HELD * f64::from(rate);
        let mut last = trial(rate)?;
        if !passes(&last) {
            found.unsaid += last.unsaid();
            last = trial(rate)?;
        }
        found.add(rate, &last);
        if passes(&last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(found)
}

impl Search {
    fn add(&mut self, wanted: u32, trial: &Trial) {
        let sent = trial.sent.rate();
        if trial.missing() == 0 {
            self.without_loss = self.without_loss.max(sent);
        } else if self.lossy.is_none_or(|known| wanted < known.wanted) {
            self.lossy = Some(Lossy {
                wanted,
                sent,
                share: trial.missing() as f64 / trial.sent.count as f64,
            });
        }
        self.unsaid += trial.unsaid();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(rate: u32, limit: u32) -> Trial {
        let lost = u64::from(rate.saturating_sub(limit));
        Trial {
            sent: Sent {
                count: rate.into(),
                seconds: 1.0,
                cpu: 1.0,
                answers: 0,
            },
            seen: u64::from(rate) - lost,
            lost,
        }
    }

    #[test]
    fn the_highest_rate_is_found() {
        for (limit, best, lossy) in [
            (0, 0, Some(5_000)),
            (110_000, 100_000, Some(125_000)),
            (1_000_000, 300_000, None),
        ] {
            let found = search(&RATES, |rate| Ok(trial(rate, limit))).unwrap();
            assert_eq!(found.without_loss as u32, best);
            assert_eq!(found.lossy.map(|lossy| lossy.wanted), lossy);
            assert_eq!(found.unsaid, 0);
        }
    }
}
