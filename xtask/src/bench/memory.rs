//! Memory and processor time of leakmon over a great many queries for names that are all different.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::agent::{Agents, Output};
use super::load::{RESPONDER, SILENT, Sent};
use super::place::Place;
use super::results::{Kind, Memory, Resident};

/// Queries a second: well below what leakmon is to take, so that all of them count.
const RATE: &str = "30000";
/// leakmon waits ten seconds for an answer.
const GIVEN_UP: Duration = Duration::from_secs(11);
/// What it has before it when the last query was sent is taken within this time.
const BACKLOG: Duration = Duration::from_millis(500);

/// Measures it.
pub fn measure(place: &Place, agents: &Agents, quick: bool) -> Result<Vec<Memory>> {
    let count = if quick { "100000" } else { "1000000" };
    [Kind::Answered, Kind::Queries]
        .into_iter()
        .map(|kind| {
            let agent = agents.leakmon(Output::Read)?;
            let pid = agent.pid();
            let (before, cpu_before) = (resident(pid)?, cpu(pid)?);
            let server = if kind == Kind::Answered {
                RESPONDER
            } else {
                SILENT
            };
            let sent: Sent = place.run_load(&["queries", server, count, RATE])?;
            thread::sleep(BACKLOG);
            let (after, cpu) = (resident(pid)?, cpu(pid)? - cpu_before);
            let later = if quick {
                None
            } else {
                thread::sleep(GIVEN_UP);
                Some(resident(pid)?)
            };
            let peak = status(pid, "VmHWM:")?;
            let summary = agent.summary()?;
            Ok(Memory {
                kind,
                sent: sent.count,
                rate: sent.rate(),
                seen: summary.queries(),
                lost: summary.lost,
                unfollowed: summary.unfollowed,
                before,
                after,
                later,
                peak,
                cpu,
            })
        })
        .collect()
}

fn resident(pid: u32) -> Result<Resident> {
    let path = format!("/proc/{pid}/smaps");
    let smaps = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    Ok(Resident {
        all: status(pid, "VmRSS:")?,
        anonymous: status(pid, "RssAnon:")?,
        ring: of_bpf_maps(&smaps),
    })
}

/// Resident bytes of mapped BPF maps, of which leakmon has one: the ring buffer.
fn of_bpf_maps(smaps: &str) -> u64 {
    let mut is_map = false;
    let mut kilobytes = 0;
    for line in smaps.lines() {
        let mut fields = line.split_whitespace();
        match fields.next() {
            // A mapping begins with its addresses.
            Some(first) if !first.ends_with(':') => is_map = line.ends_with("anon_inode:bpf-map"),
            Some("Rss:") if is_map => {
                let size = fields.next().and_then(|size| size.parse::<u64>().ok());
                kilobytes += size.unwrap_or_default();
            }
            _ => {}
        }
    }
    kilobytes * 1024
}

/// A size of /proc/PID/status, in bytes.
fn status(pid: u32, key: &str) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    Ok(kilobytes.with_context(|| format!("{path} has no {key}"))? * 1024)
}

/// Seconds of processor time, its own and the kernel's for it.
fn cpu(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
    ticks(&stat)
        .map(|ticks| ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
        .with_context(|| format!("{path} has no processor time"))
}

/// Fields 14 and 15 (proc_pid_stat(5)); the second, in parentheses, may hold anything.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_is_found_among_the_mappings() {
        let smaps = "\
7f00-7f01 r--s 00001000 00:10 1038    anon_inode:bpf-map
Size:              16388 kB
Rss:               16384 kB
7f02-7f03 rw-p 00000000 00:00 0
Rss:                 100 kB
7f04-7f05 rw-s 00000000 00:10 1038    anon_inode:bpf-map
Rss:                   4 kB
";
        assert_eq!(of_bpf_maps(smaps), 16388 * 1024);
    }

    #[test]
    fn times_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(42));
    }
}
