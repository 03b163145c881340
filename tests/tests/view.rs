//! From inside a container only a part of the machine is visible. leakmon says so, and makes nothing up about the rest.

use leakmon_lab::cgroup::{self, Cgroup};
use leakmon_lab::compare::{same, seen};
use leakmon_lab::lab::{DUAL, PAGE};
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, leakmon, need};
use std::process::Command;

/// In a cgroup namespace: a container's runtime mounts the hierarchy anew, so that its root is the container's cgroup.
const CONTAINED: &str = r#"umount --lazy "$0" && mount -t cgroup2 none "$0" && exec "$@""#;

/// In a pid namespace: gives a process the pid that is the first argument, then becomes the rest.
const WITH_DECOY: &str =
    r#"echo $(($0 - 1)) > /proc/sys/kernel/ns_last_pid; sleep 1000 & [ $! = "$0" ] && exec "$@""#;

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .needs(&["dig", "getent", "mount", "sleep", "umount", "unshare"])
        .build()
}

/// What is said where only a part of the cgroups is visible.
const PART: &[&str] = &["part", "cgroup", "not seen"];
/// What is said where /proc has other pids than the kernel.
const FOREIGN: &[&str] = &["pid namespace", "thread names"];

/// Whether one line has all of these words.
fn announces(stderr: &str, words: &[&str]) -> bool {
    let lower = stderr.to_lowercase();
    lower
        .lines()
        .any(|line| words.iter().all(|word| line.contains(word)))
}

#[test]
fn a_container_without_the_machines_cgroups_is_told_that_it_sees_a_part() {
    let Some(lab) = lab("view_cgroup") else {
        return;
    };
    let mount = cgroup::v2_mount().expect("it was found before");
    let mut command = lab.command_on_machine("unshare");
    command
        .args(["--cgroup", "--mount", "sh", "-c", CONTAINED])
        .arg(mount)
        .arg(leakmon::binary())
        .args(["watch", "--json"]);
    let agent = Leakmon::start(command);

    let (_, outside) = lab.run("dig", &["+short", PAGE]);
    assert!(outside.status.success(), "{outside:?}");
    let below = Cgroup::create(lab.machine_cgroup(), "below");
    let inside =
        Program::spawn(lab.command_below(&below, "dig").args(["+short", DUAL])).finish(LIMIT);
    assert!(inside.status.success(), "{inside:?}");
    agent.wait_for(LIMIT, |state| state.queries().next().is_some());
    let run = agent.stop();

    assert!(announces(&run.stderr, PART), "{}", run.stderr);
    let state = run.final_state();
    assert_eq!(state.queries_for(DUAL).count(), 1, "{}", run.said());
    assert_eq!(
        state.queries_for(PAGE).count(),
        0,
        "it sees more than it says\n{}",
        run.said()
    );
}

#[test]
fn the_machine_itself_is_told_nothing_of_a_part() {
    let Some(lab) = lab("view_whole") else {
        return;
    };
    let mut command = lab.command_on_machine(leakmon::binary());
    command.args(["watch", "--json"]);
    let run = Leakmon::start(command).stop();
    // Where the tests run in a container themselves, it is told, and rightly so.
    if is_first("cgroup", "4026531835") && is_first("pid", "4026531836") {
        for words in [PART, FOREIGN] {
            assert!(!announces(&run.stderr, words), "{}", run.stderr);
        }
    }
}

/// Whether this process is in the machine's first namespace of a kind (include/linux/proc_ns.h).
fn is_first(kind: &str, inode: &str) -> bool {
    std::fs::read_link(format!("/proc/self/ns/{kind}"))
        .is_ok_and(|link| link.as_os_str() == format!("{kind}:[{inode}]").as_str())
}

#[test]
fn in_another_pid_namespace_no_program_gets_the_name_of_another() {
    let Some(lab) = lab("view_pid") else {
        return;
    };
    // In the namespace a process of another program has the very pid that the asker has for the kernel. The asker is
    // getent, since dig asks from a thread with a name of its own.
    let getent = lab.hold("getent", &["ahosts", DUAL]);
    let pid = getent.pid();
    let mut command = lab.command_on_machine("unshare");
    command
        .args(["--pid", "--fork", "--kill-child", "--mount-proc"])
        .args(["sh", "-c", WITH_DECOY, &pid.to_string()])
        .arg(leakmon::binary())
        .args(["watch", "--json", "--cgroup"])
        .arg(lab.cgroup());
    let agent = Leakmon::start(command);
    let finished = getent.run(LIMIT);
    assert!(finished.status.success(), "{finished:?}");
    agent.catch_up(&lab);
    agent.wait_answers(DUAL);
    let run = agent.stop();

    assert!(announces(&run.stderr, FOREIGN), "{}", run.stderr);
    let state = run.final_state();
    let log = lab.dns_log();
    assert!(
        !log.is_empty() && same(&seen(state.queries()), &log),
        "{log:?}\n{}",
        run.said()
    );
    for query in state.queries() {
        let process = &query["process"];
        assert_eq!(process["pid"], pid, "the kernel's pid: {process:#}");
        assert_eq!(process["thread"], "getent", "{process:#}");
        assert_eq!(process["uid"], 0, "the kernel told it: {process:#}");
        // What the kernel itself has told when the program began is right here too.
        let exe = &process["exe"];
        assert!(
            exe.is_null() || exe.as_str().is_some_and(|exe| exe.ends_with("/getent")),
            "{process:#}"
        );
        let cmdline = &process["cmdline"];
        assert!(cmdline.is_null() || cmdline[0] == "getent", "{process:#}");
        let comm = &process["comm"];
        assert!(comm.is_null() || comm == "getent", "{process:#}");
        for unknown in ["ppid", "start_time", "cgroup", "netns"] {
            assert!(
                process[unknown].is_null(),
                "{unknown} is made up: {process:#}"
            );
        }
    }
    assert!(
        !run.text.contains("sleep"),
        "a namesake's name was given\n{}",
        run.said()
    );
}

#[test]
fn in_a_user_namespace_privileges_that_are_none_are_explained() {
    if !need::met("view_user", &["unshare"]) {
        return;
    }
    for json in [&["--json"][..], &[]] {
        let mut command = Command::new("unshare");
        command
            .env("PATH", need::PATH)
            .args(["--user", "--map-root-user"])
            .arg(leakmon::binary())
            .arg("watch")
            .args(json);
        let finished = Program::spawn(&mut command).finish(LIMIT);
        let stderr = &finished.stderr;
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        assert_eq!(stderr.lines().count(), 1, "not one line: {stderr}");
        assert!(
            stderr.starts_with("leakmon: ") && !stderr.to_lowercase().contains("panick"),
            "{stderr}"
        );
        assert!(finished.stdout.is_empty(), "{finished:?}");
    }
}
