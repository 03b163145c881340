//! Programs that ask one name and are gone at once, by the thousand: each is seen, and none is taken for another, even
//! when process ids come round again.

use leakmon_lab::lab::SERVER;
use leakmon_lab::sent::said_by;
use leakmon_lab::{Lab, Leakmon, Program, Run, wait};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The program that sends, and that runs itself by the thousand.
const SEND: &str = env!("CARGO_BIN_EXE_leakmon-lab-send");
/// How many run at once.
const WIDTH: &str = "8";
/// Ten thousand programs take about ten seconds on two cores.
const STORM_LIMIT: Duration = Duration::from_secs(120);
/// Where the kernel has the highest process id, for this process id namespace.
const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// Above what a small machine runs at once, and low enough to be reached again and again.
const FEW_PIDS: &str = "3000";

/// Each of these tests wants the machine for itself.
static ALONE: Mutex<()> = Mutex::new(());

fn server() -> String {
    format!("{}:53", SERVER.0)
}

/// Asks that many names by as many programs, under watch. Gives what leakmon said, and who asked for what.
fn storm(lab: &Lab, prefix: &str, count: usize) -> (Run, BTreeMap<String, u32>) {
    let agent = Leakmon::watch(lab, &[]);
    let program = lab.start(
        SEND,
        &["storm", &server(), prefix, &count.to_string(), WIDTH],
    );
    let finished = program.finish(STORM_LIMIT);
    assert!(finished.status.success(), "{}", finished.stderr);
    let sent = said_by(&finished.text());
    assert_eq!(sent.len(), count, "each name is asked once");
    assert!(
        wait::until_true(STORM_LIMIT, || lab.dns_log().len() >= count),
        "the name server was asked {} times",
        lab.dns_log().len()
    );
    agent.wait_for(STORM_LIMIT, |state| state.queries().count() >= count);
    (agent.stop(), sent)
}

/// Each name was seen once, by its own process; what is told of that process is right, and told of nearly all.
fn assert_attributed(run: &Run, sent: &BTreeMap<String, u32>) {
    let state = run.final_state();
    let mut left = sent.clone();
    let mut wrong = Vec::new();
    let mut unknown = Vec::new();
    for query in state.queries() {
        let name = query["name"].as_str().unwrap_or_default();
        let pid = left
            .remove(name)
            .unwrap_or_else(|| panic!("seen twice, or never sent: {query}"));
        let process = &query["process"];
        let told = |field: &str, right: Value| {
            let said = &process[field];
            let nothing = said.is_null() || said.as_array().is_some_and(Vec::is_empty);
            (said == &right, nothing)
        };
        let fields = [
            told("pid", pid.into()),
            told("exe", SEND.into()),
            told("cmdline", json!([SEND, "udp-once", server(), name])),
        ];
        if fields.iter().any(|(right, nothing)| !right && !nothing) {
            wrong.push(query.clone());
        } else if fields.iter().any(|(_, nothing)| *nothing) {
            unknown.push(query.clone());
        }
    }
    let count = sent.len();
    let summary = run.lines.last().expect("there is a summary");
    let told = format!(
        "{count} sent; {} never seen; {} wrong; {} not known in full; {} events lost",
        left.len(),
        wrong.len(),
        unknown.len(),
        summary["lost"]
    );
    eprintln!("one_shots: {told}");
    assert!(left.is_empty(), "{told}: {left:?}");
    assert!(
        wrong.is_empty(),
        "{told}:\n{}",
        wrong
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    );
    // 99.9 % of them.
    assert!(unknown.len() * 1000 <= count, "{told}, as {:#}", unknown[0]);
    assert_eq!(summary["lost"], 0, "{summary}");
}

#[test]
fn ten_thousand_short_lives() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lab) = Lab::builder("one_shots").build() else {
        return;
    };
    let (run, sent) = storm(&lab, "shot", 10_000);
    assert_attributed(&run, &sent);
}

/// Lowers the machine's highest process id. A shell puts it back as soon as this process lets go of its standard input,
/// which it does even when it is killed.
struct FewPids {
    keeper: Child,
    before: String,
}

impl FewPids {
    fn set() -> Self {
        let before = fs::read_to_string(PID_MAX).expect("there is a highest process id");
        let mut keeper = Command::new("sh")
            .args(["-c", r#"echo ready; read end; echo "$0" > "$1""#])
            .args([before.trim(), PID_MAX])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell can be started");
        let mut ready = [0; 6];
        let stdout = keeper.stdout.as_mut().expect("it has an output");
        std::io::Read::read_exact(stdout, &mut ready).expect("the keeper keeps");
        fs::write(PID_MAX, FEW_PIDS).expect("the highest process id can be set");
        Self { keeper, before }
    }
}

impl Drop for FewPids {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let now = fs::read_to_string(PID_MAX).unwrap_or_default();
        if now != self.before {
            eprintln!("one_shots: {PID_MAX} is {now}, and was {}", self.before);
        }
    }
}

#[test]
fn short_lives_among_others_whose_process_ids_come_round_again() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(lab) = Lab::builder("one_shots_reuse").build() else {
        return;
    };
    let _few = FewPids::set();
    // Outside of what is watched, as the rest of a busy machine is.
    let noise = Program::spawn(lab.command_on_machine(SEND).args(["noise", "127.0.0.1"]));
    let (run, sent) = storm(&lab, "reuse", 2_000);
    let text = noise.stdout.text();
    drop(noise);

    let of_noise: Vec<u32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let all: Vec<u32> = of_noise.iter().chain(sent.values()).copied().collect();
    let distinct: BTreeSet<u32> = all.iter().copied().collect();
    let reused = all.len() - distinct.len();
    eprintln!(
        "one_shots: {} other programs, {reused} process ids again",
        of_noise.len()
    );
    assert!(reused > 100, "only {reused} process ids came round again");
    assert_attributed(&run, &sent);
}
