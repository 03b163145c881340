//! tor without any network: it still reads SOCKS requests, and warns of those that carry an address instead of a name.
//! That warning is a witness of a leak that has nothing to do with leakmon.

use crate::program::Program;
use crate::servers::wait_listening;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where tor listens for SOCKS, in the client's namespace.
pub const PORT: u16 = 9050;

/// What tor says of a program that has resolved the name itself.
pub const WARNING: &str = "is giving Tor only an IP address";

/// A running tor.
#[derive(Debug)]
pub struct Tor {
    _program: Program,
    log: PathBuf,
}

impl Tor {
    /// Starts it by `command` (which says where), with its files in `dir`.
    ///
    /// `DisableNetwork` has to stay off, since it keeps the SOCKS port closed too. The namespace has no way out, and
    /// tor gets nowhere by itself.
    #[must_use]
    pub fn start(mut command: Command, dir: &Path) -> Self {
        let log = dir.join("tor.log");
        command
            .args([
                "-f",
                "/nonexistent",
                "--defaults-torrc",
                "/nonexistent",
                "--ignore-missing-torrc",
            ])
            .args([
                "--SocksPort",
                &format!("127.0.0.1:{PORT}"),
                "--TestSocks",
                "1",
            ])
            .arg("--DataDirectory")
            .arg(dir.join("tor"))
            .args(["--Log", &format!("notice file {}", log.display())]);
        let mut program = Program::spawn(&mut command);
        wait_listening(&mut program, PORT);
        Self {
            _program: program,
            log,
        }
    }

    /// The lines of its log so far.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        fs::read_to_string(&self.log)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }
}
