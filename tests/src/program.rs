//! A running program whose output is kept, and which never outlives its owner.

use crate::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a killed program may keep its pipes open: a grandchild may hold them.
const DRAIN: Duration = Duration::from_secs(5);

/// What a program has written so far to one of its streams.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: Arc<AtomicBool>,
}

impl Captured {
    fn follow(mut stream: impl Read + Send + 'static) -> Self {
        let captured = Self::default();
        let copy = captured.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(read) = stream.read(&mut chunk) {
                if read == 0 {
                    break;
                }
                copy.bytes
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(&chunk[..read]);
            }
            copy.closed.store(true, Ordering::Release);
        });
        captured
    }

    /// The bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The bytes written so far, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// A program that was started by the lab. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    child: Child,
    what: String,
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
}

impl Program {
    /// Starts `command` without standard input, keeping what it writes.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        let stdout = child
            .stdout
            .take()
            .map(Captured::follow)
            .unwrap_or_default();
        let stderr = child
            .stderr
            .take()
            .map(Captured::follow)
            .unwrap_or_default();
        Self {
            child,
            what,
            stdout,
            stderr,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends it a signal. One that has ended already is left alone.
    pub fn signal(&mut self, signal: Signal) {
        if self.try_wait().is_none() {
            signal_process(self.pid(), signal);
        }
    }

    /// Waits for its end. Panics, with what it wrote, when that takes longer than the limit.
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let Some(status) = wait::until(limit, || self.try_wait()) else {
            panic!(
                "{} did not end within {limit:?}\n{}",
                self.what,
                self.said()
            );
        };
        wait::until_true(DRAIN, || self.stdout.is_closed() && self.stderr.is_closed());
        Finished {
            status,
            stdout: self.stdout.bytes(),
            stderr: self.stderr.text(),
        }
    }

    /// Everything that it wrote, for the message of a failure.
    #[must_use]
    pub fn said(&self) -> String {
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            self.stdout.text(),
            self.stderr.text()
        )
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is left of a program that has ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: String,
}

impl Finished {
    /// The standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Sends a signal to a process of the lab.
pub fn signal_process(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process has an id");
    kill_process(pid, signal).expect("a process of the lab can be signalled");
}

/// The processes that a process of one thread has started and that still run.
#[must_use]
pub fn children(pid: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// Runs a short command of the lab's own to its end, and panics when it fails.
pub fn run(program: &str, args: &[&str]) {
    let output = Command::new(program)
        .args(args)
        .env("PATH", crate::need::PATH)
        .output()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {} failed: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
