//! A run of `leakmon-lab-send` under watch: what it says that it asked, what the name server says, what leakmon says.

use crate::dnsmasq::Asked;
use crate::lab::{Lab, SERVER};
use crate::leakmon::{Leakmon, Run};
use crate::netns::INTERFACE;
use crate::program::Program;
use crate::{LIMIT, State, wait};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;

/// The thread name of the program, which the kernel cuts to 15 bytes.
pub const COMM: &str = "leakmon-lab-sen";

/// Names the file that a program waits for before it ends, and the line by which it says that it waits.
const STAY: &str = "LEAKMON_LAB_STAY";
const DONE: &str = "done\n";

/// What is to be seen of a shape, beside the names and the process.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// Who was asked.
    pub server: IpAddr,
    /// The type of the questions.
    pub qtype: &'static str,
    /// The name of the thread that asks.
    pub thread: Option<&'static str>,
    /// leakmon can tell what became of the query: the answer comes to the socket that asked.
    pub answered: bool,
    /// leakmon may also say that it does not know who asked. It never may say another.
    pub unknown_allowed: bool,
}

impl Expected {
    /// A over UDP, over IPv4, by the main thread.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            transport: "udp",
            server: SERVER.0.into(),
            qtype: "A",
            thread: Some(COMM),
            answered: true,
            unknown_allowed: false,
        }
    }

    /// The same over TCP.
    #[must_use]
    pub fn tcp() -> Self {
        Self {
            transport: "tcp",
            ..Self::plain()
        }
    }

    /// The same over IPv6.
    #[must_use]
    pub fn v6(self) -> Self {
        Self {
            server: SERVER.1.into(),
            ..self
        }
    }
}

/// A finished run.
#[derive(Debug)]
pub struct Trial {
    /// What leakmon said.
    pub run: Run,
    /// The process that was started; its children may have asked.
    pub pid: u32,
    /// Names with the process that says it asked.
    pub sent: BTreeMap<String, u32>,
}

impl Trial {
    /// Runs `program` with these arguments under watch. It stays until leakmon has seen what it says, and knows the answers
    /// where there are to be some: what is told of a program that is gone is the business of other tests.
    #[must_use]
    pub fn of(lab: &Lab, program: &str, args: &[&str], answered: bool) -> Self {
        let agent = Leakmon::watch(lab, &[]);
        let go = lab.dir().join("go-on");
        let mut command = lab.command(program);
        let mut asker = Program::spawn(command.args(args).env(STAY, &go));
        let pid = asker.pid();
        wait::until_true(LIMIT, || {
            asker.try_wait().is_some() || asker.stdout.text().ends_with(DONE)
        });
        let sent = said_by(&asker.stdout.text());
        agent.wait_for(LIMIT, |state| {
            sent.keys().all(|name| {
                let mut queries = state.queries_for(name).peekable();
                queries.peek().is_some()
                    && queries.all(|query| !answered || state.answers_to(query).next().is_some())
            })
        });
        fs::write(&go, "").expect("a file can be written in the lab's folder");
        let finished = asker.finish(LIMIT);
        let run = agent.stop();
        assert!(
            finished.status.success() && !sent.is_empty(),
            "{program} {args:?}: {finished:?}\n{}",
            run.said()
        );
        Self { run, pid, sent }
    }

    /// Each name, and nothing else, reached the name server once, with this type: otherwise the trial proves nothing.
    pub fn assert_arrived(&self, log: &[Asked], qtype: &str) {
        let mut left = self.sent.clone();
        for asked in log {
            // dnsmasq has its own way to say a type without a name.
            let logged = asked.qtype.replace("type=", "TYPE");
            assert_eq!(logged, qtype, "{asked:?}");
            assert!(left.remove(&asked.name).is_some(), "{asked:?} of {log:?}");
        }
        assert!(left.is_empty(), "never arrived: {left:?}");
    }

    /// leakmon saw each name once, as it was asked, by the process that says so and that runs `program`, and nothing
    /// else.
    pub fn assert_seen(&self, program: &str, expected: &Expected) {
        self.assert_seen_by(program, program, expected);
    }

    /// The same for a program whose command line begins otherwise than with the path of its executable.
    pub fn assert_seen_by(&self, exe: &str, argument: &str, expected: &Expected) {
        let state = self.run.final_state();
        let mut left = self.sent.clone();
        for query in state.queries() {
            let name = query["name"].as_str().unwrap_or_default();
            let pid = left.remove(name).unwrap_or_else(|| {
                panic!("seen twice, or never sent: {query}\n{}", self.run.said())
            });
            check(query, (exe, argument), pid, expected);
            if expected.answered {
                check_answers(&state, query, &self.run);
            }
        }
        assert!(left.is_empty(), "never seen: {left:?}\n{}", self.run.said());
        let summary = self.run.lines.last().expect("there is a summary");
        assert_eq!(summary["lost"], 0, "{summary}");
        assert_eq!(summary["undecoded"], 0, "{summary}");
    }
}

/// What the program says: lines of `PID NAME`, and perhaps one that it is done.
#[must_use]
pub fn said_by(text: &str) -> BTreeMap<String, u32> {
    text.lines()
        .filter_map(|line| {
            let (pid, name) = line.split_once(' ')?;
            Some((name.to_owned(), pid.parse().expect("a process id")))
        })
        .collect()
}

fn check(query: &Value, (exe, argument): (&str, &str), pid: u32, expected: &Expected) {
    assert_eq!(query["transport"], expected.transport, "{query}");
    assert_eq!(query["qtype"], expected.qtype, "{query}");
    let resolver = &query["resolver"];
    assert_eq!(resolver["addr"], expected.server.to_string(), "{query}");
    assert_eq!(resolver["port"], 53, "{query}");
    assert_eq!(query["escaped"], true, "{query}");
    let process = &query["process"];
    if process.is_null() && expected.unknown_allowed {
        return;
    }
    assert_eq!(process["pid"], pid, "{query}");
    assert_eq!(process["exe"], exe, "{query}");
    assert_eq!(process["cmdline"][0], argument, "{query}");
    assert_eq!(resolver["interface"], INTERFACE, "{query}");
    if let Some(thread) = expected.thread {
        assert_eq!(process["thread"], thread, "{query}");
    }
}

fn check_answers(state: &State, query: &Value, run: &Run) {
    let answers: Vec<_> = state.answers_to(query).collect();
    assert_eq!(answers.len(), 1, "{query}: {answers:?}\n{}", run.said());
    // The name server knows of its own names only, and denies all others.
    assert_eq!(answers[0]["rcode"], "NXDOMAIN", "{query}: {answers:?}");
}
