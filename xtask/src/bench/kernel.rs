//! Time that leakmon's programs take in the kernel, by the kernel's own statistics.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::agent::{Agents, Output};
use super::load::{RESPONDER, SILENT, SMALL, Sent};
use super::place::Place;
use super::results::{Hook, Kernel, Kind, Traffic};
use crate::process;

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// The program that leaves at once unless a frame comes from a packet socket: what it is charged is what the statistics
/// themselves take.
const NEAR_NOTHING: &str = "interface";
/// The programs that see every packet.
const PACKET_PROGRAMS: [&str; 3] = ["egress", "ingress", NEAR_NOTHING];
/// How often a test run repeats a program.
const REPEAT: &str = "1000000";
/// Queries a second that find leakmon asleep.
const SLOW: &str = "2000";
/// Queries a second that find it at work.
const BUSY: &str = "80000";
/// Queries that find room while it is held still.
const HELD: &str = "5000";

/// A program as bpftool lists it.
#[derive(Deserialize)]
struct Program {
    id: u32,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    run_time_ns: u64,
    #[serde(default)]
    run_cnt: u64,
}

/// Measures it.
pub fn measure(place: &Place, agents: &Agents, quick: bool) -> Result<Kernel> {
    let (millis, slow, busy) = if quick {
        ("500", "1000", "40000")
    } else {
        ("2000", "4000", "160000")
    };
    let agent = agents.leakmon(Output::Nowhere)?;
    let programs = Held::by(agent.pid())?;

    statistics(false)?;
    let packet = Packet::write()?;
    let mut test_runs = Vec::new();
    for name in PACKET_PROGRAMS {
        test_runs.push((name.to_owned(), programs.test_run(name, &packet)?));
    }
    statistics(true)?;
    let before = programs.times()?;
    programs.test_run(NEAR_NOTHING, &packet)?;
    let statistics_ns = programs
        .since(&before)?
        .into_iter()
        .find(|hook| hook.name == NEAR_NOTHING)
        .map(|hook| hook.ns as f64 / hook.runs as f64)
        .context("the kernel keeps no statistics of BPF programs")?;

    let loads: [(Kind, &[&str]); 8] = [
        (Kind::Udp, &["udp", millis]),
        (Kind::Tcp, &["tcp", millis]),
        (Kind::Held, &["queries", SILENT, HELD, BUSY]),
        (Kind::HeldFresh, &["queries", SILENT, HELD, BUSY, "--fresh"]),
        (Kind::Queries, &["queries", SILENT, slow, SLOW]),
        (Kind::Busy, &["queries", SILENT, busy, BUSY]),
        (Kind::Answered, &["queries", RESPONDER, slow, SLOW]),
        (Kind::Fresh, &["queries", SILENT, slow, SLOW, "--fresh"]),
    ];
    let mut traffic = Vec::new();
    for (kind, load) in loads {
        let before = programs.times()?;
        let sent: Sent = if matches!(kind, Kind::Held | Kind::HeldFresh) {
            agent.held_still(|| place.run_load(load))?
        } else {
            place.run_load(load)?
        };
        let mut hooks = programs.since(&before)?;
        hooks.retain(|hook| hook.runs > 0);
        let segments = hooks.iter().find(|hook| hook.name == "egress");
        let count = match kind {
            Kind::Tcp => segments.map_or(0, |hook| hook.runs),
            _ => sent.count,
        };
        traffic.push(Traffic { kind, count, hooks });
    }
    statistics(false)?;
    agent.stop()?;
    Ok(Kernel {
        statistics_ns,
        test_runs,
        traffic,
    })
}

/// Switches the statistics. The script that has made the place puts them back.
fn statistics(on: bool) -> Result<()> {
    fs::write(STATISTICS, if on { "1" } else { "0" })
        .with_context(|| format!("{STATISTICS} cannot be written"))
}

/// The programs that a process holds, of those that sockets and packets come by.
struct Held(BTreeSet<u32>);

impl Held {
    fn by(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/fdinfo");
        let entries = fs::read_dir(&path).with_context(|| format!("{path} cannot be read"))?;
        let texts = entries
            .flatten()
            .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default());
        let ids = |text: String| -> Vec<u32> {
            let lines = text.lines();
            let values = lines.filter_map(|line| line.strip_prefix("prog_id:"));
            values.filter_map(|id| id.trim().parse().ok()).collect()
        };
        Ok(Self(texts.flat_map(ids).collect()))
    }

    fn list(&self) -> Result<Vec<Program>> {
        let json = process::output(Command::new("bpftool").args(["-j", "prog", "list"]))?;
        let mut list: Vec<Program> =
            serde_json::from_str(&json).context("bpftool printed what is no list of programs")?;
        // The others are the whole machine's: they tell of processes.
        let is_of_network = |kind: &str| kind.starts_with("cgroup") || kind == "sched_cls";
        list.retain(|program| self.0.contains(&program.id) && is_of_network(&program.kind));
        Ok(list)
    }

    fn times(&self) -> Result<BTreeMap<String, (u64, u64)>> {
        let list = self.list()?.into_iter();
        Ok(list
            .map(|program| (program.name, (program.run_cnt, program.run_time_ns)))
            .collect())
    }

    fn since(&self, before: &BTreeMap<String, (u64, u64)>) -> Result<Vec<Hook>> {
        let now = self.times()?.into_iter();
        Ok(now
            .map(|(name, (runs, ns))| {
                let (runs_before, ns_before) = before.get(&name).copied().unwrap_or_default();
                Hook {
                    name,
                    runs: runs - runs_before,
                    ns: ns - ns_before,
                }
            })
            .collect())
    }

    /// Nanoseconds of a run, in the kernel's own test of it, whose loop is counted too.
    fn test_run(&self, name: &str, packet: &Packet) -> Result<f64> {
        #[derive(Deserialize)]
        struct Run {
            duration: f64,
        }
        let list = self.list()?;
        let program = list.iter().find(|program| program.name == name);
        let id = program.with_context(|| format!("leakmon has no program {name}"))?;
        let mut bpftool = Command::new("bpftool");
        bpftool.args(["-j", "prog", "run", "id", &id.id.to_string(), "data_in"]);
        bpftool.arg(&packet.path).args(["repeat", REPEAT]);
        let run: Run = serde_json::from_str(&process::output(&mut bpftool)?)
            .context("bpftool printed what is no test run")?;
        Ok(run.duration)
    }
}

/// A datagram that is no DNS, in a file.
struct Packet {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Packet {
    fn write() -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let path = folder.path().join("packet");
        fs::write(&path, datagram()).context("no temporary file can be written")?;
        Ok(Self {
            _folder: folder,
            path,
        })
    }
}

/// Ethernet, IPv4, UDP and a payload. Nobody looks at the checksums.
fn datagram() -> Vec<u8> {
    let mut bytes = vec![0; 12];
    bytes.extend([0x08, 0x00]);
    bytes.extend([0x45, 0, 0, (20 + 8 + SMALL) as u8, 0, 1, 0, 0, 64, 17, 0, 0]);
    bytes.extend([127, 0, 0, 1, 127, 0, 0, 1]);
    bytes.extend([0x9c, 0x40, 0x13, 0x89, 0, (8 + SMALL) as u8, 0, 0]);
    bytes.extend([0x55; SMALL]);
    bytes
}
