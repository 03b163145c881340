//! What may be told of the machine: nothing that names it.

use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use super::results::Machine;

/// Reads it.
pub fn read() -> Result<Machine> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo cannot be read")?;
    let field = |name: &str| {
        let line = cpuinfo.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(": "))
            .map(|(_, value)| value.trim().to_owned())
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    Ok(Machine {
        cpu: field("model name").unwrap_or_else(|| "unknown processor".to_owned()),
        cores: thread::available_parallelism().map_or(1, usize::from),
        is_virtual: field("flags").is_some_and(|flags| flags.split(' ').any(|f| f == "hypervisor")),
        kernel: version(&kernel),
        load: load
            .split(' ')
            .next()
            .and_then(|load| load.parse().ok())
            .unwrap_or_default(),
        tcpdump: tcpdump(),
    })
}

/// The numbers at the beginning.
fn version(release: &str) -> String {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
    release[..end.unwrap_or(release.len())].to_owned()
}

/// `tcpdump version 4.99.3` is its first line.
fn tcpdump() -> String {
    let output = Command::new("tcpdump").arg("--version").output();
    let text = output.map(|output| [output.stdout, output.stderr].concat());
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    let version = text
        .lines()
        .next()
        .and_then(|line| line.split(' ').next_back());
    version.unwrap_or("of unknown version").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builders_additions_are_left_out() {
        assert_eq!(version("6.12.9-amd64\n"), "6.12.9");
        assert_eq!(version("6.1.0"), "6.1.0");
    }
}
