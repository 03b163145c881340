//! `leakmon doctor`: what it prints holds what a bug report needs, and no name of a machine, a user, a site or a program's
//! arguments.

use leakmon_lab::{Finished, LIMIT, Lab, Program, leakmon, need, wait};
use std::fs;
use std::process::Command;

/// Stands in every place whose text must not get out.
const SECRET: &str = "k7secret";

/// A home folder, a machine's name, a search domain, a service of names, and a program's arguments, all with the secret in
/// them, and leakmon there; without rights if that is wanted.
fn doctor(lab: &Lab, is_root: bool) -> Finished {
    let home = lab.dir().join(format!("home-{SECRET}"));
    let config = home.join(".config/leakmon");
    fs::create_dir_all(&config).expect("a folder can be made");
    fs::write(
        config.join("config.toml"),
        format!("[[program]]\nname = [\"{SECRET}\"]\n"),
    )
    .expect("a file can be written");
    // The one in the target folder may be below a home that others cannot read.
    let copy = lab.dir().join("leakmon");
    fs::copy(leakmon::binary(), &copy).expect("the agent can be copied");
    let mut command = Command::new("unshare");
    command
        .env("PATH", need::PATH)
        .env("HOME", &home)
        .env("USER", SECRET)
        .env_remove("XDG_CONFIG_HOME")
        .args(["--uts", "--mount", "sh", "-euc"]);
    // Bound over the machine's in this mount namespace alone.
    command.arg(
        "hostname \"$1\"
         cd \"$2\"
         printf 'search %s.example\\nnameserver 127.0.0.53\\noptions edns0\\n' \"$1\" > resolv.conf
         printf 'hosts: files %s dns\\n' \"$1\" > nsswitch.conf
         printf 'PRETTY_NAME=\"Linux of %s\"\\n' \"$1\" > os-release
         for file in resolv.conf nsswitch.conf os-release; do
             mount --bind $file \"$(readlink -f /etc/$file)\"
         done
         mkdir -p tracefs-$1
         mount -t tracefs tracefs tracefs-$1
         test \"$(hostname)\" = \"$1\"
         grep -q \"$1\" /etc/resolv.conf /etc/nsswitch.conf /etc/os-release
         shift 2
         exec \"$@\"",
    );
    command.arg("sh").arg(SECRET).arg(lab.dir());
    if !is_root {
        command.args([
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]);
    }
    command.arg(&copy).arg("doctor");
    Program::spawn(&mut command).finish(LIMIT)
}

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .needs(&["hostname", "mount", "setpriv", "sh", "sleep", "unshare"])
        .build()
}

/// Runs leakmon while a program runs with the secret in its arguments, which its user can see.
fn doctor_beside_a_secret(lab: &Lab, is_root: bool) -> Finished {
    let program = lab.start("sh", &["-c", "sleep 600; :", SECRET]);
    let arguments = format!("/proc/{}/cmdline", program.pid());
    let runs = || fs::read_to_string(&arguments).is_ok_and(|text| text.contains(SECRET));
    assert!(wait::until_true(LIMIT, runs), "{}", program.said());
    let finished = doctor(lab, is_root);
    assert!(runs(), "it has ended too early: {}", program.said());
    finished
}

fn assert_private(finished: &Finished) -> String {
    let text = finished.text();
    assert!(
        !text.contains(SECRET) && !finished.stderr.contains(SECRET),
        "{text}\n{}",
        finished.stderr
    );
    text
}

/// What the line of that name says: names have a column of 28 characters, behind one of 8.
fn told<'a>(text: &'a str, what: &str) -> &'a str {
    let name = format!("{what:<28}");
    let mut lines = text.lines().filter_map(|line| line.get(8..));
    lines
        .find_map(|line| line.strip_prefix(&name))
        .unwrap_or_else(|| panic!("no line about {what}\n{text}"))
}

/// A block that Markdown shows as it is: nothing before or behind it, and nothing of the kind within.
fn assert_pasteable(text: &str) {
    let inner = text
        .strip_prefix("```text\n")
        .and_then(|text| text.strip_suffix("\n```\n"))
        .unwrap_or_else(|| panic!("not one block\n{text}"));
    assert!(!inner.contains("```"), "{text}");
}

#[test]
fn root_gets_a_report_without_names() {
    let Some(lab) = lab("doctor_root") else {
        return;
    };
    let finished = doctor_beside_a_secret(&lab, true);
    let text = assert_private(&finished);
    assert_pasteable(&text);
    assert_eq!(
        finished.status.code(),
        Some(0),
        "{text}\n{}",
        finished.stderr
    );
    assert!(!text.contains("MISSING"), "{text}");

    let uname = |option: &str| {
        let output = Command::new("uname").arg(option).output();
        String::from_utf8(output.expect("uname can be started").stdout).expect("text")
    };
    assert_eq!(told(&text, "kernel"), uname("-r").trim());
    assert_eq!(told(&text, "architecture"), uname("-m").trim());
    assert_eq!(told(&text, "distribution"), "Linux of …");
    let version = leakmon::run(&["--version"]).text();
    for (what, line) in ["leakmon", "kernel object"].iter().zip(version.lines()) {
        assert_eq!(format!("{what} {}", told(&text, what)), line);
    }
    let jit = fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").expect("root can read it");
    assert_eq!(told(&text, "net.core.bpf_jit_enable"), jit.trim());
    assert_eq!(told(&text, "nsswitch.conf"), "hosts: files (another) dns");
    assert_eq!(
        told(&text, "resolv.conf"),
        "programs ask systemd-resolved's stub on loopback; options edns0; 1 search domain"
    );
    // The lab's own name server.
    let resolvers = told(&text, "local resolvers");
    assert!(
        resolvers
            .split([',', ';'])
            .any(|word| word.trim() == "dnsmasq"),
        "{text}"
    );
    let own = "~/.config/leakmon/config.toml is there";
    assert!(text.lines().any(|line| line.ends_with(own)), "{text}");
    for hook in [
        "cgroup/sock_create",
        "cgroup_skb/egress",
        "sched_process_exec",
    ] {
        assert_eq!(told(&text, hook), "works");
    }
}

#[test]
fn another_user_gets_one_too_and_what_is_missing() {
    let Some(lab) = lab("doctor_nobody") else {
        return;
    };
    let finished = doctor_beside_a_secret(&lab, false);
    let text = assert_private(&finished);
    assert_pasteable(&text);
    assert_eq!(
        finished.status.code(),
        Some(2),
        "{text}\n{}",
        finished.stderr
    );
    let line = text
        .lines()
        .find(|line| line.starts_with("MISSING") && line.contains("CAP_BPF"));
    assert!(
        line.is_some_and(|line| line.contains("sudo leakmon")),
        "{text}"
    );
    // The name server's program is another user's: it may not be said that none runs, and no more.
    assert!(
        told(&text, "local resolvers").ends_with("some programs could not be looked at"),
        "{text}"
    );
}
