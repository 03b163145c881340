//! A kernel that refuses one hook. Somebody else may hold a cgroup for a program of theirs alone; every later one is then
//! refused there, and leakmon must neither work by halves nor leave behind what it had attached by then.

use leakmon_lab::bpf::{self, Ids};
use leakmon_lab::lab::PAGE;
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, leakmon};

/// Hooks early, in the middle and late in the order of attachment: kernel name of the program, the hook as leakmon names
/// it, and as bpftool names it (bpftool-cgroup(8)).
const HOOKS: [(&str, &str, &str); 3] = [
    ("sock_create", "cgroup/sock_create", "sock_create"),
    ("connect6", "cgroup/connect6", "connect6"),
    ("egress", "cgroup_skb/egress", "egress"),
];

fn watch(lab: &Lab) -> leakmon_lab::Finished {
    let mut command = lab.command_on_machine(leakmon::binary());
    command
        .args(["watch", "--json", "--cgroup"])
        .arg(lab.cgroup());
    Program::spawn(&mut command).finish(LIMIT)
}

#[test]
fn a_hook_that_is_refused_is_named_and_nothing_stays() {
    let Some(lab) = Lab::builder("refused").needs(&["bpftool", "dig"]).build() else {
        return;
    };
    for (program, hook, place) in HOOKS {
        // The programs at hand are leakmon's own: one of an agent that watches elsewhere.
        let mut command = lab.command_on_machine(leakmon::binary());
        command
            .args(["watch", "--json", "--cgroup"])
            .arg(lab.machine_cgroup());
        let elsewhere = Leakmon::start(command);
        let id = bpf::program_named(&Ids::held_by(elsewhere.pid()), program);
        // Without a flag nobody else may attach here or below (cgroup v2's "exclusive", kernel/bpf/cgroup.c).
        bpf::attach_exclusively(lab.cgroup(), place, id);
        assert_eq!(bpf::attached_to(lab.cgroup()), 1);

        let finished = watch(&lab);
        let stderr = &finished.stderr;
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        assert_eq!(stderr.lines().count(), 1, "not one line: {stderr}");
        assert!(
            stderr.starts_with("leakmon: ") && stderr.contains(hook),
            "{hook} is not named: {stderr}"
        );
        assert!(finished.stdout.is_empty(), "{finished:?}");
        assert_eq!(
            bpf::attached_to(lab.cgroup()),
            1,
            "something was left beside the one that was there, or took its place ({hook})"
        );

        bpf::detach(lab.cgroup(), place, id);
        assert_eq!(bpf::attached_to(lab.cgroup()), 0, "{hook}");
        let (_, dig) = lab.run("dig", &["+short", PAGE]);
        assert!(dig.status.success(), "{dig:?}");
        drop(elsewhere);
    }
    // It was the other program and nothing else that stood in the way.
    let agent = Leakmon::watch(&lab, &[]);
    assert!(bpf::attached_to(lab.cgroup()) > 1);
    assert_eq!(agent.stop().code, Some(0));
}
