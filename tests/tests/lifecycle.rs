//! The agent's life: it leaves nothing behind, harms nobody's DNS, and says in one line why it cannot work.

use leakmon_lab::bpf::{self, Ids};
use leakmon_lab::lab::{PAGE, PAGE_ADDRESS};
use leakmon_lab::{Finished, LIMIT, Lab, Leakmon, Program, cgroup, leakmon, need, wait};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

fn assert_dns_works(lab: &Lab, when: &str) {
    let (_, dig) = lab.run("dig", &["+short", PAGE]);
    assert_eq!(
        dig.text().trim(),
        PAGE_ADDRESS.to_string(),
        "{when}: {dig:?}"
    );
}

#[test]
fn a_killed_agent_leaves_nothing_in_the_kernel() {
    let Some(lab) = Lab::builder("lifecycle_kill")
        .needs(&["dig", "bpftool"])
        .build()
    else {
        return;
    };
    assert_dns_works(&lab, "before");
    assert_eq!(bpf::attached_to(lab.cgroup()), 0);

    let agent = Leakmon::watch(&lab, &[]);
    let held = Ids::held_by(agent.pid());
    let loaded = held.shared_with(&Ids::loaded());
    assert!(
        !loaded.programs.is_empty() && !loaded.links.is_empty(),
        "nothing is loaded, so nothing is proven: {held:?}"
    );
    assert!(
        bpf::attached_to(lab.cgroup()) > 0,
        "nothing is attached, so nothing is proven"
    );
    assert_dns_works(&lab, "while it runs");
    agent.kill();

    // The kernel frees programs a moment after their last user.
    let gone = wait::until_true(LIMIT, || held.shared_with(&Ids::loaded()).is_empty());
    assert!(gone, "left behind: {:?}", held.shared_with(&Ids::loaded()));
    assert_eq!(bpf::attached_to(lab.cgroup()), 0);
    assert_dns_works(&lab, "after");

    let asked_before = lab.dns_log().len();
    let second = Leakmon::watch(&lab, &[]);
    assert_dns_works(&lab, "while a second one runs");
    second.wait_for(LIMIT, |state| state.queries().next().is_some());
    let run = second.stop();
    assert_eq!(
        run.final_state().queries_for(PAGE).count(),
        lab.dns_log().len() - asked_before,
        "{}",
        run.said()
    );
}

#[test]
fn two_agents_at_once_both_see_and_do_not_disturb() {
    let Some(lab) = Lab::builder("lifecycle_two").needs(&["dig"]).build() else {
        return;
    };
    let agents = [Leakmon::watch(&lab, &[]), Leakmon::watch(&lab, &[])];
    assert_dns_works(&lab, "under two agents");
    for agent in agents {
        agent.wait_for(LIMIT, |state| state.queries().next().is_some());
        let run = agent.stop();
        assert_eq!(
            run.final_state().queries_for(PAGE).count(),
            1,
            "{}",
            run.said()
        );
    }
    assert_dns_works(&lab, "after two agents");
}

#[test]
fn ctrl_c_ends_a_run_with_its_summary_and_code_0() {
    let Some(lab) = Lab::builder("lifecycle_interrupt").build() else {
        return;
    };
    let run = Leakmon::watch(&lab, &[]).stop();
    assert_eq!(
        run.lines.last().map(|line| &line["type"]),
        Some(&"summary".into()),
        "{}",
        run.said()
    );
    assert_eq!(run.code, Some(0), "{}", run.said());
}

#[test]
fn a_recording_is_that_of_the_user_who_called_sudo() {
    const USER: u32 = 65534;
    let Some(lab) = Lab::builder("lifecycle_record").needs(&["dig"]).build() else {
        return;
    };
    let recording = lab.dir().join("recording");
    let mut command = Command::new(leakmon::binary());
    command.env("SUDO_UID", USER.to_string());
    command.args(["watch", "--json", "--all", "--record"]);
    command.arg(&recording).arg("--cgroup").arg(lab.cgroup());
    let agent = Leakmon::start(command);
    assert_dns_works(&lab, "while it is recorded");
    agent.wait_for(LIMIT, |state| state.queries_for(PAGE).next().is_some());
    let run = agent.stop();
    assert_eq!(run.code, Some(0), "{}", run.said());
    let metadata = recording.metadata().expect("it is there");
    assert_eq!(metadata.uid(), USER);
    assert_eq!(metadata.mode() & 0o777, 0o600);

    // So that user needs no root to look at it.
    let copy = lab.dir().join("leakmon");
    fs::copy(leakmon::binary(), &copy).expect("the agent can be copied");
    let mut replay = Command::new("setpriv");
    replay.env("HOME", "/nonexistent");
    replay.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    replay.arg(&copy).args(["replay", "--json", "--all"]);
    let replayed = Program::spawn(replay.arg(&recording)).finish(LIMIT);
    assert_eq!(replayed.status.code(), Some(0), "{replayed:?}");
    assert!(replayed.text().contains(PAGE), "{replayed:?}");
}

/// It could not work: exit code 2, one line that says why, and no word of a panic.
fn assert_refuses(finished: &Finished, says: &[&str]) {
    let stderr = &finished.stderr;
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert_eq!(
        stderr.trim_end().lines().count(),
        1,
        "not one line: {stderr}"
    );
    assert_explains(stderr, says);
    assert!(finished.stdout.is_empty(), "{finished:?}");
}

fn assert_explains(stderr: &str, says: &[&str]) {
    let lower = stderr.to_lowercase();
    assert!(
        !lower.contains("panick") && !lower.contains("backtrace"),
        "{stderr}"
    );
    assert!(
        says.iter().any(|word| lower.contains(word)),
        "none of {says:?} in: {stderr}"
    );
}

#[test]
fn another_user_than_root_is_told_so() {
    let Some(lab) = Lab::builder("lifecycle_user").needs(&["setpriv"]).build() else {
        return;
    };
    // The one in the target folder may be below a home that others cannot read.
    let copy = lab.dir().join("leakmon");
    fs::copy(leakmon::binary(), &copy).expect("the agent can be copied");
    let mut command = Command::new("setpriv");
    command
        .env("PATH", need::PATH)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
        .arg(&copy)
        .args(["watch", "--json", "--cgroup"])
        .arg(lab.cgroup());
    let finished = Program::spawn(&mut command).finish(LIMIT);
    assert_refuses(&finished, &["root", "capabilit", "privilege", "cap_bpf"]);
}

#[test]
fn a_place_without_cgroup_v2_is_named() {
    if !need::met("lifecycle_no_cgroup_v2", &["sh", "umount", "unshare"]) {
        return;
    }
    let mount = cgroup::v2_mount().expect("it was found before");
    let mut command = Command::new("unshare");
    command
        .env("PATH", need::PATH)
        .args(["--mount", "sh", "-c"]);
    command
        .arg(r#"umount --lazy "$0" && exec "$@""#)
        .arg(mount)
        .arg(leakmon::binary())
        .args(["watch", "--json"]);
    assert_refuses(&Program::spawn(&mut command).finish(LIMIT), &["cgroup"]);
}

#[test]
fn bad_arguments_are_explained() {
    if !need::met("lifecycle_arguments", &[]) {
        return;
    }
    for (args, says) in [
        (&["watch", "--duration", "nonsense"][..], &["duration"][..]),
        (&["watch", "--port", "0"], &["port"]),
        (&["watch", "--no-such-flag"], &["no-such-flag"]),
        (&["no-such-command"], &["no-such-command"]),
    ] {
        // The parser of arguments adds its usage: more than one line here.
        let finished = leakmon::run(args);
        assert_eq!(finished.status.code(), Some(2), "{args:?}: {finished:?}");
        assert_explains(&finished.stderr, says);
    }
    assert_refuses(
        &leakmon::run(&["watch", "--cgroup", "/nonexistent"]),
        &["/nonexistent"],
    );
}

#[test]
fn doctor_tells_what_it_looked_at() {
    if !need::met("lifecycle_doctor", &[]) {
        return;
    }
    let finished = leakmon::run(&["doctor"]);
    let text = finished.text().to_lowercase();
    for about in ["kernel", "cgroup v2", "capabilit", "tracefs"] {
        assert!(
            text.lines().any(|line| line.contains(about)),
            "no line about {about}\n{text}\n{}",
            finished.stderr
        );
    }
}
