//! The agent under test.

use crate::compare;
use crate::lab::Lab;
use crate::output::State;
use crate::program::{Finished, Program, children, signal_process};
use crate::{LIMIT, wait};
use rustix::process::Signal;
use serde_json::Value;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// Says where the agent is, so that a packaged one can be tested. Without it the workspace's own is built.
pub const BINARY: &str = "LEAKMON_BIN";

/// What the agent writes to standard error when its hooks are in place.
const READY: &str = "leakmon: watching";

/// The path of the agent. Builds it when nobody said where it is; once for each test binary, and cargo does the rest.
pub fn binary() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| env::var_os(BINARY).map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "-p", "leakmon", "--target-dir"])
        .arg(&target)
        .current_dir(&workspace)
        .status()
        .expect("cargo can be started");
    assert!(
        status.success(),
        "leakmon cannot be built; set {BINARY} to test one that is built already"
    );
    target.join("debug/leakmon")
}

/// A running `leakmon watch`.
#[derive(Debug)]
pub struct Leakmon {
    program: Program,
}

impl Leakmon {
    /// Starts `leakmon watch --json --all` on the lab's client and waits until its hooks are in place.
    #[must_use]
    pub fn watch(lab: &Lab, args: &[&str]) -> Self {
        let json: Vec<&str> = ["--json", "--all"].iter().chain(args).copied().collect();
        Self::watch_as(lab, &json)
    }

    /// Starts `leakmon watch` on the lab's client with just these arguments, and waits until its hooks are in place.
    #[must_use]
    pub fn watch_as(lab: &Lab, args: &[&str]) -> Self {
        let mut command = lab.command_on_machine(binary());
        command
            .arg("watch")
            .args(args)
            .arg("--cgroup")
            .arg(lab.cgroup());
        Self::start(command)
    }

    /// Starts a command that is or becomes `leakmon watch`, and waits until its hooks are in place.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut program = Program::spawn(&mut command);
        let ready = wait::until_true(LIMIT, || {
            // A line comes in pieces, and its end is worth waiting for.
            whole_lines(&program.stderr.text())
                .lines()
                .any(|line| line.starts_with(READY))
                || program.try_wait().is_some()
        });
        assert!(
            ready && program.try_wait().is_none(),
            "leakmon does not watch\n{}",
            program.said()
        );
        Self { program }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.program.stderr.text()
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn text(&self) -> String {
        self.program.stdout.text()
    }

    /// Its lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        parse(whole_lines(&self.text()))
    }

    /// What it has said so far, updates applied.
    #[must_use]
    pub fn state(&self) -> State {
        State::of(&self.lines())
    }

    /// Waits until what it has said fulfils a condition.
    pub fn wait_for(&self, limit: Duration, condition: impl Fn(&State) -> bool) -> bool {
        wait::until_true(limit, || condition(&self.state()))
    }

    /// Waits until it has seen all that the name server was asked. It may still be missing some when the limit is over;
    /// the scenario then says what.
    pub fn catch_up(&self, lab: &Lab) {
        self.wait_for(LIMIT, |state| {
            compare::same(&compare::seen(state.queries()), &lab.dns_log())
        });
    }

    /// Waits until it has told what became of every query for a name.
    pub fn wait_answers(&self, name: &str) {
        self.wait_for(LIMIT, |state| {
            state
                .queries_for(name)
                .all(|query| state.answers_to(query).next().is_some())
        });
    }

    /// Lets it run again when `scene` is over: all that happens meanwhile it learns of too late to look at it.
    pub fn blindfold<T>(&self, scene: impl FnOnce() -> T) -> T {
        let stat = format!("/proc/{}/stat", self.pid());
        signal_process(self.pid(), Signal::STOP);
        // `pid (name) state …`, where T is stopped (proc_pid_stat(5)).
        let stopped = wait::until_true(LIMIT, || {
            fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") T "))
        });
        assert!(stopped, "leakmon cannot be stopped");
        let result = scene();
        signal_process(self.pid(), Signal::CONT);
        result
    }

    /// Stops it as a person would, with Ctrl-C, and gives all that it said.
    #[must_use]
    pub fn stop(mut self) -> Run {
        // `unshare --fork` waits for leakmon, and lets Ctrl-C pass.
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid())).unwrap_or_default();
        match children(self.pid()).first() {
            Some(&child) if name.trim() == "unshare" => signal_process(child, Signal::INT),
            _ => self.program.signal(Signal::INT),
        }
        self.wait_end(LIMIT)
    }

    /// Waits until it ends by itself, as with `--duration`.
    #[must_use]
    pub fn wait_end(self, limit: Duration) -> Run {
        let finished = self.program.finish(limit);
        let text = finished.text();
        Run {
            lines: parse(&text),
            text,
            code: finished.status.code(),
            stderr: finished.stderr,
        }
    }

    /// Ends it without any chance to tidy up.
    pub fn kill(mut self) {
        self.program.signal(Signal::KILL);
        wait::until(LIMIT, || self.program.try_wait()).expect("a killed program ends");
    }
}

/// Runs the agent with other arguments to its end.
#[must_use]
pub fn run(args: &[&str]) -> Finished {
    Program::spawn(Command::new(binary()).args(args)).finish(LIMIT)
}

/// A finished `leakmon watch`.
#[derive(Debug)]
pub struct Run {
    /// Its JSON lines, in order. Empty for a run without `--json`.
    pub lines: Vec<Value>,
    /// Its standard output as it was.
    pub text: String,
    /// Its standard error.
    pub stderr: String,
    /// Its exit code; none when it died by a signal.
    pub code: Option<i32>,
}

impl Run {
    /// What it said in the end.
    #[must_use]
    pub fn final_state(&self) -> State {
        State::of(&self.lines)
    }

    /// Everything that it said, for the message of a failure.
    #[must_use]
    pub fn said(&self) -> String {
        format!(
            "--- leakmon's output\n{}\n--- leakmon's standard error\n{}",
            self.text, self.stderr
        )
    }
}

/// The last line may still be on its way.
fn whole_lines(text: &str) -> &str {
    text.rfind('\n').map_or("", |end| &text[..end])
}

/// Reads JSON lines. Output that is meant for people gives none; a spoiled line among good ones is a failure.
fn parse(text: &str) -> Vec<Value> {
    if !text.starts_with('{') {
        return Vec::new();
    }
    let read = |line| {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("not a JSON line ({error}): {line}"))
    };
    text.lines().map(read).collect()
}
