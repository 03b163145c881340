//! dnsmasq, which answers for the lab's names, and whose log is the witness of what was really asked.

use crate::program::{Program, signal_process};
use crate::servers::wait_listening;
use rustix::process::Signal;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A name that dnsmasq answers for.
#[derive(Clone, Debug)]
pub struct Record {
    /// The name.
    pub name: String,
    /// What its A and AAAA records say.
    pub addresses: Vec<IpAddr>,
}

/// One query, as dnsmasq logged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asked.
    pub client: IpAddr,
    /// From which port: the same query from the same port is a repetition.
    pub port: u16,
    /// `A`, `AAAA`, `HTTPS`, …
    pub qtype: String,
    /// The name, without a dot at its end.
    pub name: String,
}

impl Asked {
    /// Reads a line like
    /// `Nov 22 17:52:02 dnsmasq[8111]: 1 10.77.0.2/34805 query[A] page.example from 10.77.0.2`; others are `None`.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (_, entry) = line.split_once("]: ")?;
        let (_serial, entry) = entry.split_once(' ')?;
        let (peer, entry) = entry.split_once(' ')?;
        let (client, port) = peer.split_once('/')?;
        let (qtype, entry) = entry.strip_prefix("query[")?.split_once("] ")?;
        let (name, _from) = entry.rsplit_once(" from ")?;
        Some(Self {
            client: client.parse().ok()?,
            port: port.parse().ok()?,
            qtype: qtype.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// A running dnsmasq.
#[derive(Debug)]
pub struct Dnsmasq {
    program: Program,
    log: PathBuf,
}

impl Dnsmasq {
    /// Starts it by `command` (which says where), for these records, on this port of these addresses, with its files
    /// in `dir`.
    #[must_use]
    pub fn start(
        mut command: Command,
        dir: &Path,
        listen: &[IpAddr],
        port: u16,
        records: &[Record],
    ) -> Self {
        let log = dir.join(format!("dnsmasq-{port}.log"));
        let pid_file = dir.join(format!("dnsmasq-{port}.pid"));
        command
            .args([
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--user=root",
                "--keep-in-foreground",
            ])
            .args([
                "--bind-interfaces",
                "--log-queries=extra",
                "--local=/example/",
                // Longer queries it would drop unread.
                "--edns-packet-max=4096",
            ])
            .arg(format!("--log-facility={}", log.display()))
            .arg(format!("--pid-file={}", pid_file.display()))
            .arg(format!("--port={port}"));
        for address in listen {
            command.arg(format!("--listen-address={address}"));
        }
        for record in records {
            // Not --address: that answers NXDOMAIN for the types it has no value for (seen with 2.90), which denies
            // the name itself; --host-record answers them with no data, as a real zone does.
            let addresses: Vec<String> = record.addresses.iter().map(ToString::to_string).collect();
            command.arg(format!(
                "--host-record={},{}",
                record.name,
                addresses.join(",")
            ));
        }
        let mut program = Program::spawn(&mut command);
        wait_listening(&mut program, port);
        Self { program, log }
    }

    /// Lets it run again when `scene` is over: what it is asked meanwhile it answers then.
    pub fn while_it_waits<T>(&self, scene: impl FnOnce() -> T) -> T {
        let resume = Resume(self.program.pid());
        signal_process(resume.0, Signal::STOP);
        scene()
    }

    /// Every query so far, of whomever.
    #[must_use]
    pub fn log(&self) -> Vec<Asked> {
        fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .filter_map(Asked::parse)
            .collect()
    }
}

/// Lets a stopped process run again, also when a test fails meanwhile: a stopped one cannot be ended kindly.
struct Resume(u32);

impl Drop for Resume {
    fn drop(&mut self) {
        signal_process(self.0, Signal::CONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_from_the_log() {
        let line = "Nov 22 17:52:02 dnsmasq[8111]: 102 fd77::2/37400 query[AAAA] dual.example from fd77::2";
        let asked = Asked::parse(line).expect("this is a query");
        assert_eq!(asked.client.to_string(), "fd77::2");
        assert_eq!(
            (asked.port, asked.qtype.as_str(), asked.name.as_str()),
            (37400, "AAAA", "dual.example")
        );
    }

    #[test]
    fn a_name_that_cannot_be_printed_is_a_query_all_the_same() {
        let line = "Nov 22 17:52:02 dnsmasq[8111]: 105 10.77.0.2/51724 query[A] <name unprintable> from 10.77.0.2";
        assert_eq!(
            Asked::parse(line).expect("this is a query").name,
            "<name unprintable>"
        );
    }

    #[test]
    fn other_lines_are_no_queries() {
        for line in [
            "Nov 22 17:52:02 dnsmasq[8111]: started, version 2.90 cachesize 150",
            "Nov 22 17:52:02 dnsmasq[8111]: 1 10.77.0.2/34805 config page.example is 10.77.0.80",
            "",
        ] {
            assert_eq!(Asked::parse(line), None, "{line}");
        }
    }
}
