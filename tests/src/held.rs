//! A process that waits for a word before it becomes a program. So its id can be told to others before it does anything.

use crate::program::{Finished, Program};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The shell looks for a file; `sleep` here is its step of waiting, as in [`crate::wait`].
const WAIT: &str = r#"until [ -e "$0" ]; do sleep 0.02; done; exec "$@""#;

/// A process that waits to become a program.
#[derive(Debug)]
pub struct Held {
    program: Program,
    go: PathBuf,
}

impl Held {
    /// Starts `shell`, which becomes the program when the file `go` appears.
    pub(crate) fn spawn(mut shell: Command, go: PathBuf, program: &str, args: &[&str]) -> Self {
        shell.args(["-c", WAIT]).arg(&go).arg(program).args(args);
        Self {
            program: Program::spawn(&mut shell),
            go,
        }
    }

    /// Its process id, which will be the program's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Lets it go on, and waits until the program has ended.
    #[must_use]
    pub fn run(self, limit: Duration) -> Finished {
        fs::write(&self.go, "").expect("a file can be written in the lab's folder");
        self.program.finish(limit)
    }
}
