//! What watches the traffic: leakmon, and tcpdump as its peer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::place::{Place, Running};

/// How long an agent may take to start, and to end.
const LIMIT: Duration = Duration::from_secs(30);
/// What an agent that was held still has before it is taken within this time.
const CATCH_UP: Duration = Duration::from_millis(500);
/// The pipe of an agent's output: what Linux grants without privilege at most (pipe(7)).
const PIPE: usize = 1024 * 1024;
/// How a line of leakmon's begins that tells of a loss.
const LOSS: &[u8] = br#"{"v":1,"type":"loss""#;
/// Where events are lost that leakmon never saw.
const RING: &str = "ring-buffer";

/// The agents of this machine.
pub struct Agents<'a> {
    place: &'a Place,
    leakmon: &'a Path,
}

/// Where an agent's output goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// To /dev/null.
    Nowhere,
    /// To a reader that keeps what tells of losses, and the end.
    Read,
    /// To whoever takes [`Agent::stdout`].
    Handed,
}

/// A running agent.
pub struct Agent {
    running: Running,
    messages: Receiver<String>,
    lines: Option<JoinHandle<Vec<u8>>>,
    /// Its output, when it is to be handed on.
    pub stdout: Option<ChildStdout>,
}

/// What leakmon says at its end.
#[derive(Deserialize)]
pub struct Summary {
    apps: Vec<App>,
    /// Events that never reached it, as it says.
    #[serde(skip)]
    pub lost: u64,
    /// Queries that it has said, but whose answers it did not wait for to the end.
    #[serde(skip)]
    pub unfollowed: u64,
}

#[derive(Deserialize)]
struct Loss {
    events: u64,
    #[serde(rename = "where")]
    place: String,
}

#[derive(Deserialize)]
struct App {
    queries: u64,
}

impl Summary {
    /// Queries that it has seen.
    pub fn queries(&self) -> u64 {
        self.apps.iter().map(|app| app.queries).sum()
    }
}

/// What tcpdump says at its end.
pub struct Captured {
    /// Packets that it has printed or written.
    pub captured: u64,
    /// Packets that the kernel has lost for want of room.
    pub dropped: u64,
}

impl<'a> Agents<'a> {
    /// The agents: this leakmon, and the system's tcpdump.
    pub fn new(place: &'a Place, leakmon: &'a Path) -> Self {
        Self { place, leakmon }
    }

    /// `leakmon watch --json` on the traffic, with its hooks in place.
    pub fn leakmon(&self, output: Output) -> Result<Agent> {
        let mut command = self.place.agent(self.leakmon);
        command.args(["watch", "--json", "--cgroup"]);
        command.arg(self.place.watched());
        Agent::start(command, "leakmon: watching", output)
    }

    /// `tcpdump` on every interface of the traffic's namespace, with these options, when it listens.
    pub fn tcpdump(&self, options: &[&str], output: Output) -> Result<Agent> {
        let mut command = self.place.agent_inside("tcpdump");
        command.args(["-n", "-i", "any", "-Z", "root"]);
        command.args(options).args(["port", "53"]);
        // Its line ends with the snapshot length.
        Agent::start(command, "listening on", output)
    }
}

impl Agent {
    fn start(mut command: Command, ready: &str, output: Output) -> Result<Self> {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command.stdout(match output {
            Output::Nowhere => Stdio::null(),
            Output::Read | Output::Handed => Stdio::piped(),
        });
        let mut child = command.spawn().context("cannot start an agent")?;
        let (mut stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (give, messages) = mpsc::channel();
        if let Some(stderr) = stderr {
            thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    let _ = give.send(line);
                }
            });
        }
        let running = Running(child);
        let mut said = Vec::new();
        loop {
            match messages.recv_timeout(LIMIT) {
                Ok(line) if line.contains(ready) => break,
                Ok(line) => said.push(line),
                Err(_) => bail!("an agent does not start: {}", said.join("; ")),
            }
        }
        let mut lines = None;
        if output == Output::Read
            && let Some(stdout) = stdout.take()
        {
            let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
            lines = Some(thread::spawn(move || read_lines(stdout)));
        }
        Ok(Self {
            running,
            messages,
            lines,
            stdout,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Lets it run again when `scene` is over.
    pub fn held_still<T>(&self, scene: impl FnOnce() -> Result<T>) -> Result<T> {
        self.signal(Signal::STOP)?;
        let result = scene();
        self.signal(Signal::CONT)?;
        thread::sleep(CATCH_UP);
        result
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("an agent has no process id")?, signal)
            .context("an agent cannot be signalled")
    }

    /// Ends it as Ctrl-C does, and returns what was kept of its output, and its messages.
    pub fn stop(mut self) -> Result<(String, Vec<String>)> {
        self.signal(Signal::INT)?;
        let asked = Instant::now();
        while self.running.0.try_wait()?.is_none() {
            if asked.elapsed() > LIMIT {
                bail!("an agent did not end within {} s", LIMIT.as_secs());
            }
            thread::sleep(Duration::from_millis(10));
        }
        let lines = self.lines.take().map(JoinHandle::join);
        let lines = lines.and_then(Result::ok).unwrap_or_default();
        let messages = self.messages.iter().collect();
        Ok((String::from_utf8_lossy(&lines).into_owned(), messages))
    }

    /// Ends leakmon, whose output was kept.
    pub fn summary(self) -> Result<Summary> {
        let (output, messages) = self.stop()?;
        let mut lines: Vec<&str> = output.lines().collect();
        let last = lines.pop().unwrap_or_default();
        let mut summary: Summary = serde_json::from_str(last)
            .with_context(|| format!("leakmon ended without a summary: {}", messages.join("; ")))?;
        for line in lines {
            let loss: Loss = serde_json::from_str(line).context("leakmon told of no loss")?;
            if loss.place == RING {
                summary.lost += loss.events;
            } else {
                summary.unfollowed += loss.events;
            }
        }
        Ok(summary)
    }

    /// Ends tcpdump.
    pub fn captured(self) -> Result<Captured> {
        let (_, messages) = self.stop()?;
        let number = |what: &str| {
            let line = messages.iter().find(|line| line.contains(what));
            line.and_then(|line| line.split(' ').next()?.parse().ok())
                .with_context(|| format!("tcpdump did not say how many were {what}"))
        };
        Ok(Captured {
            captured: number("captured")?,
            dropped: number("dropped by kernel")?,
        })
    }
}

/// Reads lines to their end, and returns those that tell of losses and the last one.
fn read_lines(stdout: ChildStdout) -> Vec<u8> {
    let mut stdout = BufReader::with_capacity(PIPE / 4, stdout);
    let (mut kept, mut last, mut line) = (Vec::new(), Vec::new(), Vec::new());
    while stdout
        .read_until(b'\n', &mut line)
        .is_ok_and(|read| read > 0)
    {
        if line.starts_with(LOSS) {
            kept.extend_from_slice(&line);
        }
        std::mem::swap(&mut last, &mut line);
        line.clear();
    }
    kept.extend(last);
    kept
}
