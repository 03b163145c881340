//! Where everything is measured: a network namespace and a cgroup of the benchmark's own.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use crate::process;

/// Makes the place, runs what it is told to with the cgroup and the namespace as its last arguments, and takes the
/// place away, also after an error, a signal or a crash. What a killed shell has left, the next one takes away.
///
/// The kernel's statistics of BPF programs are put back as they were: they cost every program on the machine. Two
/// benchmarks at once would also put back each other's.
const SCRIPT: &str = r#"
root=$1
shift
prefix=leakmon-bench-
stats=/proc/sys/kernel/bpf_stats_enabled
before=$(cat "$stats")

remove() {
    if [ -d "$root/$1" ]; then
        for part in load agents; do
            for pid in $(cat "$root/$1/$part/cgroup.procs" 2> /dev/null); do kill -KILL "$pid" 2> /dev/null; done
        done
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            rmdir "$root/$1/load" "$root/$1/agents" "$root/$1" 2> /dev/null
            [ -d "$root/$1" ] || break
            sleep 0.2
        done
    fi
    if [ -e "/run/netns/$1" ]; then ip netns del "$1"; fi
}
tidy() {
    trap '' HUP INT TERM
    set +e
    echo "$before" > "$stats"
    remove "$prefix$$"
}
for place in "$root/$prefix"* "/run/netns/$prefix"*; do
    name=${place##*/}
    [ -e "$place" ] || continue
    if grep -q "$prefix" "/proc/${name#"$prefix"}/cmdline" 2> /dev/null; then
        echo "error: another benchmark is running, and each would measure the other: wait for its end" >&2
        exit 2
    fi
    remove "$name" || true
done
trap tidy EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir "$root/$prefix$$" "$root/$prefix$$/load" "$root/$prefix$$/agents"
ip netns add "$prefix$$"
ip -n "$prefix$$" link set lo up
"$@" "$root/$prefix$$" "$prefix$$"
"#;

/// Puts the process into a cgroup before it becomes the program.
const INTO_CGROUP: &str = r#"echo 0 > "$0/cgroup.procs" && exec "$@""#;

/// The command line that makes the place; what is to run there follows as arguments.
pub fn script() -> Result<Command> {
    let Some(root) = cgroup2_mount() else {
        bail!(
            "no cgroup v2 hierarchy is mounted: mount one with `mount -t cgroup2 none /sys/fs/cgroup`"
        );
    };
    let mut command =
        process::as_root("sh", &[], "make a network namespace and load BPF programs")?;
    command.args(["-euc", SCRIPT, "sh"]).arg(root);
    Ok(command)
}

fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// The place.
pub struct Place {
    cgroup: PathBuf,
    netns: String,
    xtask: PathBuf,
}

/// A program of the place. It does not outlive its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    /// The place that the script has made.
    pub fn new(cgroup: &Path, netns: &str) -> Result<Self> {
        Ok(Self {
            cgroup: cgroup.to_path_buf(),
            netns: netns.to_owned(),
            xtask: env::current_exe().context("the path of xtask is not known")?,
        })
    }

    /// The cgroup of the traffic: what leakmon is told to watch.
    pub fn watched(&self) -> PathBuf {
        self.cgroup.join("load")
    }

    /// An agent outside the namespace.
    pub fn agent(&self, program: &Path) -> Command {
        let mut command = self.in_cgroup("agents");
        command.arg(program);
        command
    }

    /// An agent inside the namespace.
    pub fn agent_inside(&self, program: &str) -> Command {
        let mut command = self.in_cgroup("agents");
        command.args(["ip", "netns", "exec", &self.netns, program]);
        command
    }

    /// A source or sink of traffic.
    pub fn load(&self, args: &[&str]) -> Command {
        let mut command = self.in_cgroup("load");
        command
            .args(["ip", "netns", "exec", &self.netns])
            .arg(&self.xtask)
            .args(["bench", "load"])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs a source of traffic to its end, and returns what it says of itself.
    pub fn run_load<T: DeserializeOwned>(&self, args: &[&str]) -> Result<T> {
        finish(self.load(args).stdout(Stdio::piped()).spawn()?, args)
    }

    /// Starts whatever takes the traffic, and waits until it does.
    pub fn start_sinks(&self) -> Result<Running> {
        let mut child = self.load(&["sinks"]).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take();
        let running = Running(child);
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        if line != "ready\n" {
            bail!("what takes the traffic did not start: its own message is above");
        }
        Ok(running)
    }

    fn in_cgroup(&self, below: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", INTO_CGROUP])
            .arg(self.cgroup.join(below));
        command
    }
}

/// Waits for a source of traffic, and returns what it says of itself.
pub fn finish<T: DeserializeOwned>(child: Child, args: &[&str]) -> Result<T> {
    let mut running = Running(child);
    let what = || format!("`bench load {}`", args.join(" "));
    let mut text = String::new();
    if let Some(mut stdout) = running.0.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    let status = running.0.wait()?;
    if !status.success() {
        bail!("{} failed: {status}", what());
    }
    serde_json::from_str(&text).with_context(|| format!("{} printed what is no result", what()))
}
