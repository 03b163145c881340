//! Sockets that were open before leakmon started: whose they are is looked up once, in every network namespace.

use leakmon_lab::lab::{PAGE, SERVER};
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, wait};
use std::fs;
use std::path::{Path, PathBuf};

/// Connects a socket to a name server, says so, and asks on it when a file is there. With `share` a child that lives as
/// long holds the socket too, and does nothing.
const CONNECT_AND_WAIT: &str = r"
import os, socket, struct, sys, time
server, name, go, kind, share = sys.argv[1:6]
s = socket.socket(socket.AF_INET, getattr(socket, kind))
s.connect((server, 53))
if share == 'share' and os.fork() == 0:
    while not os.path.exists(go + '.end'): time.sleep(0.02)
    os._exit(0)
print('connected', flush=True)
while not os.path.exists(go): time.sleep(0.02)
labels = b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\0'
query = struct.pack('>6H', 4711, 0x100, 1, 0, 0, 0) + labels + struct.pack('>2H', 1, 1)
s.send((struct.pack('>H', len(query)) if kind == 'SOCK_STREAM' else b'') + query)
s.recv(512)
while not os.path.exists(go + '.end'): time.sleep(0.02)
";

/// A program with a connected socket.
struct Older {
    program: Program,
    go: PathBuf,
}

impl Older {
    fn start(lab: &Lab, kind: &str, share: &str) -> Self {
        let go = lab.dir().join(format!("go-{kind}-{share}"));
        let program = lab.start(
            "/usr/bin/python3",
            &[
                "-c",
                CONNECT_AND_WAIT,
                &SERVER.0.to_string(),
                PAGE,
                text(&go),
                kind,
                share,
            ],
        );
        let connected = wait::until_true(LIMIT, || program.stdout.text().contains("connected"));
        assert!(connected, "{}", program.said());
        Self { program, go }
    }

    /// Has it ask while leakmon watches, and gives the processes named: `null` for none.
    fn ask(self, lab: &Lab) -> Vec<serde_json::Value> {
        let agent = Leakmon::watch(lab, &[]);
        fs::write(&self.go, "").expect("a file can be written");
        let asked = lab.wait_dns(LIMIT, |log| !log.is_empty());
        assert!(asked, "{}", self.program.said());
        agent.catch_up(lab);
        agent.wait_answers(PAGE);
        let run = agent.stop();
        fs::write(self.go.with_extension("end"), "").expect("a file can be written");
        let _ = self.program.finish(LIMIT);
        let state = run.final_state();
        let queries: Vec<_> = state
            .queries_for(PAGE)
            .map(|query| query["process"].clone())
            .collect();
        assert_eq!(queries.len(), 1, "{}", run.said());
        queries
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn asked_by_its_holder(kind: &str) {
    let Some(lab) = Lab::builder("older").needs(&["python3"]).build() else {
        return;
    };
    let older = Older::start(&lab, kind, "alone");
    let pid = older.program.pid();
    for process in older.ask(&lab) {
        assert_eq!(process["pid"], pid, "{process:#}");
        assert_eq!(process["cmdline"][2], CONNECT_AND_WAIT, "{process:#}");
    }
}

#[test]
fn a_datagram_socket() {
    asked_by_its_holder("SOCK_DGRAM");
}

#[test]
fn a_connection() {
    asked_by_its_holder("SOCK_STREAM");
}

/// Two processes hold the connection: who made it cannot be told, so nobody is named.
#[test]
fn a_connection_of_two_processes_is_nobodys() {
    let Some(lab) = Lab::builder("older_shared").needs(&["python3"]).build() else {
        return;
    };
    let older = Older::start(&lab, "SOCK_STREAM", "share");
    for process in older.ask(&lab) {
        assert!(process.is_null(), "{process:#}");
    }
}
