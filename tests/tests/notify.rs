//! `leakmon watch --notify`: what a user's desktop shows of leaks that root's leakmon finds. The witness is dunst, which
//! keeps what it has shown.

use leakmon_lab::desktop::{Machine, NEEDS, Session, Shown, USER};
use leakmon_lab::lab::{PAGE, SERVER, SOCKS_PORT};
use leakmon_lab::program::{children, signal_process};
use leakmon_lab::{LIMIT, Lab, Leakmon, Run, State, leakmon, wait};
use rustix::process::Signal;
use std::fs;
use std::path::Path;

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&NEEDS)
        .needs(&["curl"])
        .build()
}

/// Watches as root, in the name of `caller`.
fn watch(lab: &Lab, machine: &Machine<'_>, caller: Option<u32>, notify: &str) -> Leakmon {
    let mut command = machine.command(leakmon::binary());
    command.args(["watch", "--json", "--all", notify, "--cgroup"]);
    command.arg(lab.cgroup());
    if let Some(uid) = caller {
        command.env("SUDO_UID", uid.to_string());
    }
    Leakmon::start(command)
}

/// The process that shows the notifications.
fn helper(leakmon: &Leakmon) -> u32 {
    let helpers = children(leakmon.pid());
    assert_eq!(helpers.len(), 1, "{}", leakmon.stderr());
    helpers[0]
}

/// Ends leakmon, and waits until all that it had to tell was told.
fn stop(leakmon: Leakmon) -> Run {
    let helpers = children(leakmon.pid());
    let run = leakmon.stop();
    let ended = wait::until_true(LIMIT, || {
        helpers
            .iter()
            .all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    });
    assert!(ended, "the helper stays\n{}", run.said());
    run
}

fn proxy() -> String {
    format!("{}:{SOCKS_PORT}", SERVER.0)
}

fn fetch(lab: &Lab, how: &str) {
    let url = format!("http://{PAGE}/");
    let (_, curl) = lab.run("curl", &["-sS", "--max-time", "15", how, &proxy(), &url]);
    assert!(curl.status.success(), "{curl:?}");
}

/// Has a user's curl ask for a name that does not exist, on its way to the proxy.
fn ask(lab: &Lab, uid: u32, name: &str) {
    let uid = uid.to_string();
    let user = ["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"];
    let url = format!("http://{name}/");
    let fetch = [
        "curl",
        "-sS",
        "--max-time",
        "15",
        "--socks5",
        &proxy(),
        &url,
    ];
    // It fails: nobody knows the name.
    let _ = lab.run("setpriv", &[&user[..], &fetch].concat());
    assert!(lab.wait_asked(name), "curl did not leak {name}");
}

/// How many leaks leakmon's own output tells of.
fn leaks(run: &Run) -> u64 {
    let state = run.final_state();
    let leaks = state
        .findings()
        .filter(|finding| finding["kind"] != "literal-address");
    leaks.count() as u64
}

/// How many leaks a notification tells of.
fn told(shown: &Shown) -> u64 {
    match shown.summary.split_once(' ') {
        Some((count, rest)) if rest.contains("leaks") => count.parse().expect("a number of leaks"),
        _ => 1,
    }
}

fn summaries(session: &Session<'_>) -> Vec<String> {
    let history = session.history();
    history.iter().map(|shown| shown.summary.clone()).collect()
}

#[test]
fn a_leak_is_one_notification_to_whoever_called_sudo() {
    let Some(lab) = lab("notify_sudo") else {
        return;
    };
    let machine = Machine::new(&lab);
    let session = machine.log_in();
    let leakmon = watch(&lab, &machine, Some(USER), "--notify");
    has_no_rights(helper(&leakmon));
    let threads = fs::read_dir(format!("/proc/{}/task", leakmon.pid())).expect("it runs");
    assert_eq!(
        threads.count(),
        1,
        "leakmon itself has more than one thread"
    );
    fetch(&lab, "--socks5");
    let proven = leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    assert!(proven, "{:?}", leakmon.lines());
    assert!(
        wait::until_true(LIMIT, || session.on_screen() == 1),
        "{}",
        leakmon.stderr()
    );
    let run = stop(leakmon);
    let history = session.history();
    assert_eq!(history.len(), 1, "{history:#?}\n{}", run.said());
    assert_eq!(history[0].app, "leakmon");
    assert_eq!(history[0].summary, format!("curl leaked {PAGE}"));
    assert_eq!(
        history[0].body,
        format!(
            "Asked {}:53 for {PAGE} itself, past socks5://{} (proven)",
            SERVER.0,
            proxy()
        )
    );
    assert_eq!(history[0].urgency, Some(1));
    assert!(!run.stderr.contains("--notify"), "{}", run.stderr);
}

fn own_stat() -> String {
    fs::read_to_string("/proc/self/stat").expect("it is there")
}

/// After the name in parentheses comes field 3; nice is field 19 (proc_pid_stat(5)).
fn nice(stat: &str) -> &str {
    let (_, after) = stat.rsplit_once(") ").expect("a line of stat");
    after.split(' ').nth(16).expect("it has 52 fields")
}

/// The helper is the user's own, with nothing of root's.
fn has_no_rights(pid: u32) {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    // It gives up what it has as its first deed, but it has to be started first.
    let confined = wait::until_true(LIMIT, || read("status").contains("NoNewPrivs:\t1"));
    let status = read("status");
    assert!(confined, "{status}");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}"))
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let user = USER.to_string();
    assert_eq!(field("Uid:"), [&*user; 4]);
    assert_eq!(field("Gid:"), [&*user; 4]);
    assert_eq!(field("Groups:"), [""; 0]);
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    // leakmon raises its own priority; the helper has that of who called it.
    assert_eq!(nice(&read("stat")), nice(&own_stat()), "{}", read("stat"));
    assert_eq!(
        read("environ")
            .split('\0')
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, _)| name)
            .collect::<Vec<_>>(),
        ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"]
    );
    let files = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    for file in files.flatten() {
        let is = fs::read_link(file.path()).unwrap_or_default();
        let is = is.to_string_lossy();
        let own = ["pipe:", "socket:", "anon_inode:[event", "/dev/null"];
        assert!(
            is.is_empty() || own.iter().any(|own| is.starts_with(own)),
            "it holds {is}"
        );
    }
}

#[test]
fn a_program_that_does_not_leak_is_no_notification() {
    let Some(lab) = lab("notify_clean") else {
        return;
    };
    let machine = Machine::new(&lab);
    let session = machine.log_in();
    let leakmon = watch(&lab, &machine, Some(USER), "--notify");
    fetch(&lab, "--socks5-hostname");
    let seen = leakmon.wait_for(LIMIT, |state| {
        state.proxies().any(|proxy| proxy["target"]["name"] == PAGE)
    });
    assert!(seen, "the run was not observed");
    let run = stop(leakmon);
    assert_eq!(leaks(&run), 0, "{}", run.said());
    assert_eq!(summaries(&session), [""; 0]);
    assert!(!run.stderr.contains("--notify"), "{}", run.stderr);
}

#[test]
fn many_leaks_are_few_notifications_that_count_them_all() {
    const NAMES: u64 = 30;
    let Some(lab) = lab("notify_flood") else {
        return;
    };
    let machine = Machine::new(&lab);
    let session = machine.log_in();
    let leakmon = watch(&lab, &machine, Some(USER), "--notify");
    let script = format!(
        "for number in $(seq {NAMES}); do curl -s --max-time 15 --socks5 {} http://n$number.example/; done; true",
        proxy()
    );
    let (_, curls) = lab.run("sh", &["-c", &script]);
    assert!(curls.status.success(), "{curls:?}");
    leakmon.wait_for(LIMIT, |state| state.findings().count() as u64 >= NAMES);
    let run = stop(leakmon);
    assert!(leaks(&run) >= NAMES, "{}", run.said());
    let history = session.history();
    assert!(
        (1..NAMES / 2).contains(&(history.len() as u64)),
        "{history:#?}"
    );
    let told: u64 = history.iter().map(told).sum();
    assert_eq!(told, leaks(&run), "{history:#?}\n{}", run.said());
    assert!(
        history
            .iter()
            .any(|shown| shown.summary.contains("leaks by curl")),
        "{history:#?}"
    );
}

/// A label may hold any octet (RFC 2181 section 11), and dig asks for whatever it is given. DNS must never be asked for
/// an .onion name, so this is as bad as it gets.
#[test]
fn a_name_with_markup_in_it_is_shown_as_it_is() {
    const NAME: &str = "<b>a&b</b>.onion";
    let needs = [&NEEDS[..], &["dig"]].concat();
    let Some(lab) = Lab::builder("notify_markup").needs(&needs).build() else {
        return;
    };
    let machine = Machine::new(&lab);
    let session = machine.log_in();
    let leakmon = watch(&lab, &machine, Some(USER), "--notify");
    let (_, dig) = lab.run("dig", &["+tries=1", NAME, "A"]);
    assert!(dig.status.success(), "{dig:?}");
    let found = leakmon.wait_for(LIMIT, |state| state.findings_for(NAME).next().is_some());
    assert!(found, "{:#?}", leakmon.lines());
    let run = stop(leakmon);
    let history = session.history();
    assert_eq!(history.len(), 1, "{history:#?}\n{}", run.said());
    assert_eq!(history[0].urgency, Some(2));
    // What is drawn is markup; nothing in it may be a tag.
    let drawn = &history[0].drawn;
    assert!(!drawn.contains('<'), "{drawn}");
    let literal = drawn
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    assert_eq!(literal.matches(NAME).count(), 2, "{drawn}");
}

#[test]
fn without_a_session_it_says_so_once_and_watches() {
    let Some(lab) = lab("notify_nobody") else {
        return;
    };
    let machine = Machine::new(&lab);
    let leakmon = watch(&lab, &machine, None, "--notify");
    assert_eq!(children(leakmon.pid()), [0; 0]);
    fetch(&lab, "--socks5");
    assert!(leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some()));
    let run = leakmon.stop();
    assert_eq!(
        run.stderr
            .matches("--notify: nobody has a desktop session here")
            .count(),
        1,
        "{}",
        run.stderr
    );
    assert_eq!(run.code, Some(0), "{}", run.said());
}

/// Bytes that a process has read, from pipes too (proc_pid_io(5)).
fn bytes_read(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("it runs");
    let read = io.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.and_then(|bytes| bytes.parse().ok()).expect("a number")
}

#[test]
fn who_logs_in_later_is_told_how_much_was_missed() {
    let Some(lab) = lab("notify_later") else {
        return;
    };
    let machine = Machine::new(&lab);
    let leakmon = watch(&lab, &machine, Some(USER), "--notify");
    let excuse = "no notification can be shown just now";
    let said = wait::until_true(LIMIT, || leakmon.stderr().contains(excuse));
    assert!(said, "{}", leakmon.stderr());
    let helper = helper(&leakmon);
    let before = bytes_read(helper);
    ask(&lab, 0, "early.example");
    let handed = wait::until_true(LIMIT, || bytes_read(helper) > before);
    assert!(handed, "the helper was not told of the leak");
    let session = machine.log_in();
    let shown = wait::until_true(LIMIT, || session.on_screen() == 1);
    assert!(shown, "{}", leakmon.stderr());
    ask(&lab, 0, "late.example");
    assert!(leakmon.wait_for(LIMIT, |state| {
        state.findings_for("late.example").next().is_some()
    }));
    let run = stop(leakmon);
    let history = session.history();
    assert_eq!(
        history.iter().map(told).sum::<u64>(),
        leaks(&run),
        "{history:#?}"
    );
    assert!(
        history[0]
            .body
            .contains("while no notification could be shown"),
        "{history:#?}"
    );
    assert_eq!(
        history.last().map(|shown| shown.summary.as_str()),
        Some("curl leaked late.example"),
        "{history:#?}"
    );
    assert_eq!(run.stderr.matches("--notify").count(), 1, "{}", run.stderr);
}

#[test]
fn a_service_tells_everybody_of_their_own_leaks_and_of_the_machines() {
    let Some(lab) = lab("notify_service") else {
        return;
    };
    let machine = Machine::new(&lab);
    let session = machine.log_in();
    let leakmon = watch(&lab, &machine, None, "--notify");
    for (uid, name) in [
        (USER, "own.example"),
        (USER + 1, "anothers.example"),
        (0, "roots.example"),
    ] {
        ask(&lab, uid, name);
        assert!(
            leakmon.wait_for(LIMIT, |state| state.findings_for(name).next().is_some()),
            "{name}: {:#?}",
            leakmon.lines()
        );
    }
    let run = stop(leakmon);
    let history = session.history();
    let text = format!("{history:?}");
    assert!(text.contains("own.example"), "{text}");
    assert!(text.contains("roots.example"), "{text}");
    assert!(!text.contains("anothers.example"), "{text}");
    assert_eq!(history.iter().map(told).sum::<u64>(), 2, "{text}");
    assert_eq!(leaks(&run), 3, "{}", run.said());
}

#[test]
fn a_user_who_is_named_is_told_of_everybodys_leaks() {
    let Some(lab) = lab("notify_named") else {
        return;
    };
    let machine = Machine::new(&lab);
    let session = machine.log_in();
    let leakmon = watch(&lab, &machine, None, "--notify-user=lab");
    for (uid, name) in [(USER, "own.example"), (USER + 1, "anothers.example")] {
        ask(&lab, uid, name);
        assert!(
            leakmon.wait_for(LIMIT, |state| state.findings_for(name).next().is_some()),
            "{name}: {:#?}",
            leakmon.lines()
        );
    }
    let run = stop(leakmon);
    let history = session.history();
    assert_eq!(history.iter().map(told).sum::<u64>(), 2, "{history:#?}");
    assert_eq!(leaks(&run), 2, "{}", run.said());
    let bodies: String = history.iter().map(|shown| shown.drawn.as_str()).collect();
    assert!(bodies.contains("anothers.example"), "{history:#?}");
    assert!(!run.stderr.contains("--notify"), "{}", run.stderr);
}

#[test]
fn a_helper_that_dies_is_said_once_and_the_watch_goes_on() {
    let Some(lab) = lab("notify_dies") else {
        return;
    };
    let machine = Machine::new(&lab);
    let leakmon = watch(&lab, &machine, Some(USER), "--notify");
    let helper = helper(&leakmon);
    signal_process(helper, Signal::KILL);
    let words = "the process that shows the notifications has ended";
    let said = wait::until_true(LIMIT, || leakmon.stderr().contains(words));
    assert!(said, "{}", leakmon.stderr());
    let reaped = wait::until_true(LIMIT, || !Path::new(&format!("/proc/{helper}")).exists());
    assert!(reaped, "it stays a zombie");
    fetch(&lab, "--socks5");
    assert!(leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some()));
    let run = leakmon.stop();
    assert_eq!(run.stderr.matches(words).count(), 1, "{}", run.stderr);
}

/// A helper that is stopped takes nothing: leakmon does not wait for it.
#[test]
fn a_helper_that_hangs_does_not_keep_leakmon() {
    let Some(lab) = lab("notify_hangs") else {
        return;
    };
    let machine = Machine::new(&lab);
    let session = machine.log_in();
    let leakmon = watch(&lab, &machine, Some(USER), "--notify");
    let helper = helper(&leakmon);
    signal_process(helper, Signal::STOP);
    fetch(&lab, "--socks5");
    assert!(leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some()));
    fetch(&lab, "--socks5-hostname");
    let goes_on = |state: &State| state.proxies().any(|proxy| proxy["target"]["name"] == PAGE);
    assert!(leakmon.wait_for(LIMIT, goes_on), "{:?}", leakmon.lines());
    assert_eq!(session.on_screen(), 0);
    signal_process(helper, Signal::CONT);
    let shown = wait::until_true(LIMIT, || session.on_screen() == 1);
    assert!(shown, "what is in the pipe is lost");
    assert_eq!(stop(leakmon).code, Some(0));
}

#[test]
fn a_user_who_is_nobody_is_refused() {
    let finished = leakmon::run(&[
        "watch",
        "--duration",
        "1s",
        "--notify-user=no-such-user-anywhere",
    ]);
    assert_ne!(finished.status.code(), Some(0));
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
}
