//! The live view on a real terminal, driven by keys.

use leakmon_lab::lab::{DUAL, PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::program::signal_process;
use leakmon_lab::tmux::Terminal;
use leakmon_lab::{LIMIT, Lab, Leakmon, leakmon, wait};
use rustix::process::Signal;
use std::path::{Path, PathBuf};

const URL: &str = "http://page.example/";

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["curl", "dig", "stty", "tmux"])
        .build()
}

/// Fetches the page through the SOCKS server, `how` saying who resolves.
fn fetch(lab: &Lab, how: &str) {
    let proxy = format!("{}:{SOCKS_PORT}", SERVER.0);
    let (_, curl) = lab.run("curl", &["-sS", "--max-time", "15", how, &proxy, URL]);
    assert!(curl.text().contains(PAGE_TEXT), "no page: {curl:?}");
}

fn ask(lab: &Lab) {
    let (_, dig) = lab.run("dig", &["+short", DUAL, "A"]);
    assert!(dig.status.success(), "{dig:?}");
}

/// A run with a leak that is proven, a program that leaves names to the proxy, and one without any proxy.
fn record(lab: &Lab) -> PathBuf {
    let file = lab.dir().join("run.leakmon");
    let path = file.to_str().expect("a path that is text");
    let agent = Leakmon::watch(lab, &["--record", path]);
    ask(lab);
    fetch(lab, "--socks5-hostname");
    fetch(lab, "--socks5");
    agent.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    agent.catch_up(lab);
    let run = agent.stop();
    assert!(
        run.final_state().proof_for(PAGE).is_some(),
        "{}",
        run.said()
    );
    file
}

/// Replays a recording in the live view of a terminal.
fn replay(lab: &Lab, file: &Path, size: (u16, u16), variables: &[(&str, &str)]) -> Terminal {
    let terminal = Terminal::open(lab, size, variables);
    terminal.run(&command(&["replay", "--tui"], file));
    terminal.wait_for("? help");
    terminal
}

/// A command of the agent about a file, and what it exits with.
fn command(args: &[&str], file: &Path) -> String {
    format!(
        "{} {} {}; echo code $?",
        leakmon::binary().display(),
        args.join(" "),
        file.display()
    )
}

/// The shell is back on its own screen, and the terminal is as a shell needs it.
fn assert_restored(terminal: &Terminal) {
    terminal.wait_until("the shell's screen", |_| !terminal.is_on_other_screen());
    assert!(!terminal.has_mouse_taken());
    terminal.run("clear; stty -a");
    let modes = terminal.wait_for("-echoprt");
    for mode in ["icanon", "isig", "echo", "opost", "icrnl"] {
        let is_set = modes.split_whitespace().any(|set| set == mode);
        assert!(is_set, "no {mode}:\n{modes}");
    }
}

/// The line of the selected row.
fn selected(screen: &str) -> &str {
    let mut lines = screen.lines();
    let line = lines.find(|line| line.starts_with('▸'));
    line.unwrap_or_else(|| panic!("no row is selected:\n{screen}"))
}

#[test]
fn a_recording_is_browsed_at_every_size() {
    let Some(lab) = lab("tui_browse") else { return };
    let file = record(&lab);
    for size in [(120, 40), (80, 24), (40, 15)] {
        let (columns, lines) = size;
        let terminal = replay(&lab, &file, size, &[]);
        let screen = terminal.wait_for("2 of 3 queries leaked");
        assert_eq!(screen.lines().count(), usize::from(lines), "{screen}");
        let row = selected(&screen);
        for what in ["HIGH", "curl", PAGE] {
            assert!(row.contains(what), "{what}\n{screen}");
        }
        assert!(screen.contains("--socks5-hostname"), "no advice\n{screen}");
        if columns >= 80 {
            assert!(
                row.contains("proven") && row.contains(&SERVER.0.to_string()),
                "{screen}"
            );
            assert!(screen.contains("socks5://10.77.0.1:1080"), "{screen}");
            let proof = format!("a SOCKS5 CONNECT request for {PAGE_ADDRESS}:80");
            assert!(screen.contains(&proof), "{screen}");
        }

        // Into the finding, its name, the resolver that was asked, the app, and back.
        terminal.press(&["Enter"]);
        let screen = terminal.wait_until("the proof alone", |screen| {
            screen.contains(&format!("━ Proof: {PAGE}")) && !screen.contains("Findings")
        });
        assert!(screen.contains("--socks5-hostname"), "{screen}");
        terminal.press(&["n"]);
        terminal.wait_for("LEAK      curl");
        terminal.press(&["r"]);
        let screen = terminal.wait_for(DUAL);
        assert!(screen.contains(PAGE), "{screen}");
        terminal.press(&["a"]);
        let screen = terminal.wait_gone(DUAL);
        assert!(selected(&screen).contains(PAGE), "{screen}");
        // Two Escapes at once would be taken for one: each is waited for.
        terminal.press(&["Escape"]);
        terminal.wait_for(DUAL);
        terminal.press(&["Escape"]);
        terminal.wait_for("LEAK      curl");
        terminal.press(&["Escape"]);
        terminal.wait_for(&format!("━ Proof: {PAGE}"));
        terminal.press(&["Escape"]);
        terminal.wait_for("Apps 3");

        // A filter hides, and Escape drops it.
        terminal.press(&["/"]);
        terminal.wait_for("Enter keeps it");
        terminal.write("DIG");
        terminal.wait_for("/DIG");
        terminal.press(&["Enter"]);
        terminal.wait_for("Esc unfilter");
        let screen = terminal.wait_for("Apps 1");
        assert!(screen.contains("Findings 0"), "{screen}");
        assert!(selected(&screen).contains("dig"), "{screen}");
        terminal.press(&["Escape"]);
        terminal.wait_for("Findings 1");

        // Every query instead of the findings.
        terminal.press(&["e"]);
        let screen = terminal.wait_for("Queries 3");
        assert!(
            screen.contains("no-proxy") && screen.contains(DUAL),
            "{screen}"
        );
        terminal.press(&["e"]);
        terminal.wait_for("Findings 1");

        terminal.press(&["?"]);
        let screen = terminal.wait_for("Help");
        assert!(screen.contains("quit"), "{screen}");
        terminal.press(&["?"]);
        terminal.wait_gone("Help");

        terminal.press(&["q"]);
        let screen = terminal.wait_for("code 1");
        assert!(
            screen.contains("3 queries by 2 programs, 1 finding"),
            "{screen}"
        );
        assert_restored(&terminal);
    }
}

#[test]
fn rows_are_sorted_and_the_size_changes_while_it_runs() {
    let Some(lab) = lab("tui_sort") else { return };
    let file = record(&lab);
    let terminal = replay(&lab, &file, (80, 24), &[]);
    // From the findings to the detail to the apps.
    terminal.press(&["Tab", "Tab"]);
    terminal.wait_for("━ Apps 3");
    terminal.wait_until("who leaks first", |screen| {
        screen.contains("by leaks") && selected(screen).contains("curl")
    });
    terminal.press(&["s", "s", "s", "s"]);
    let screen = terminal.wait_for("by app");
    let apps: Vec<usize> = ["curl", "dig"]
        .iter()
        .filter_map(|app| screen.find(&format!(" {app} ")))
        .collect();
    assert!(apps.is_sorted() && apps.len() == 2, "{screen}");
    terminal.press(&["s"]);
    terminal.wait_for("by leaks");

    terminal.resize(40, 15);
    terminal.wait_until("a pane at a time", |screen| {
        screen.contains(" Apps 3  Findings 1  Detail") && screen.lines().count() == 15
    });
    terminal.resize(30, 6);
    terminal.wait_for("leakmon needs 40x8");
    terminal.resize(120, 40);
    let screen = terminal.wait_for("WHO RESOLVES");
    assert!(screen.contains("━ Apps 3"), "{screen}");
    terminal.press(&["q"]);
    terminal.wait_for("code 1");
    assert_restored(&terminal);
}

#[test]
fn without_colours_none_is_sent_and_a_dumb_terminal_gets_lines() {
    let Some(lab) = lab("tui_plain") else { return };
    let file = record(&lab);
    let terminal = replay(&lab, &file, (80, 24), &[]);
    let with = terminal.with_escapes();
    assert!(colors(&with) > 0, "{with:?}");
    drop(terminal);

    let terminal = replay(&lab, &file, (80, 24), &[("NO_COLOR", "1")]);
    let without = terminal.with_escapes();
    assert_eq!(colors(&without), 0, "{without:?}");
    assert!(selected(&terminal.text()).contains("HIGH"));
    terminal.press(&["q"]);
    terminal.wait_for("code 1");
    assert_eq!(colors(&terminal.with_escapes()), 0);
    drop(terminal);

    for variables in [&[("TERM", "dumb")][..], &[("TERM", "")]] {
        let terminal = Terminal::open(&lab, (120, 40), variables);
        terminal.run(&command(&["replay", "--tui"], &file));
        let screen = terminal.wait_for("code 1");
        assert!(screen.contains("lines instead"), "{screen}");
        assert!(screen.contains("LEAK     curl"), "{screen}");
        assert!(!terminal.is_on_other_screen(), "{screen}");
    }
    // And without being asked there is no view of a recording.
    let terminal = Terminal::open(&lab, (120, 40), &[]);
    terminal.run(&command(&["replay"], &file));
    let screen = terminal.wait_for("code 1");
    assert!(screen.contains("LEAK     curl"), "{screen}");
}

/// Escape sequences that set a colour: 30 to 38, 40 to 48, 90 to 107 (ECMA-48 section 8.3.117, xterm's ctlseqs).
fn colors(screen: &str) -> usize {
    let sequences = screen.split("\u{1b}[").skip(1);
    let numbers = sequences.filter_map(|rest| rest.split_once('m').map(|(numbers, _)| numbers));
    let all = numbers.flat_map(|numbers| numbers.split(';'));
    all.filter_map(|number| number.parse::<u8>().ok())
        .filter(|number| matches!(number, 30..=38 | 40..=48 | 90..=107))
        .count()
}

/// Starts `leakmon watch` on a terminal, and waits until it shows that it does.
fn watch(lab: &Lab, size: (u16, u16), options: &str) -> Terminal {
    let terminal = Terminal::open(lab, size, &[]);
    let args = format!("watch {options} --cgroup");
    terminal.run(&command(&[&args], lab.cgroup()));
    terminal.wait_for("no leak so far");
    terminal
}

#[test]
fn a_live_run_shows_a_leak_as_it_happens_and_can_be_stopped() {
    let Some(lab) = lab("tui_live") else { return };
    let terminal = watch(&lab, (120, 40), "");
    ask(&lab);
    terminal.wait_until("dig", |screen| {
        screen.contains(" dig ") && screen.contains("Apps 1")
    });
    fetch(&lab, "--socks5");
    let screen = terminal.wait_for("proven");
    assert!(selected(&screen).contains(PAGE), "{screen}");
    let leaked = |screen: &str| screen.contains("2 of 3 queries leaked");
    let screen = terminal.wait_until("both queries of curl", leaked);
    assert!(screen.contains("--socks5-hostname"), "{screen}");

    terminal.press(&["p"]);
    terminal.wait_for("PAUSED");
    ask(&lab);
    let screen = terminal.wait_for("PAUSED: 1 query");
    assert!(leaked(&screen), "the picture went on\n{screen}");
    terminal.press(&["p"]);
    terminal.wait_for("2 of 4 queries leaked");

    terminal.press(&["q"]);
    let screen = terminal.wait_for("code 0");
    assert!(
        screen.contains("4 queries by 2 programs, 1 finding"),
        "{screen}"
    );
    assert_restored(&terminal);
}

#[test]
fn signals_give_the_terminal_back() {
    let Some(lab) = lab("tui_signals") else {
        return;
    };
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let terminal = watch(&lab, (80, 24), "");
        assert!(terminal.is_on_other_screen());
        signal_process(terminal.program(), signal);
        let screen = terminal.wait_for("code 0");
        assert!(screen.contains("0 queries by 0 programs"), "{screen}");
        assert_restored(&terminal);
    }
    let file = record(&lab);
    let terminal = replay(&lab, &file, (80, 24), &[]);
    signal_process(terminal.program(), Signal::TERM);
    terminal.wait_for("code 1");
    assert_restored(&terminal);
}

#[test]
fn a_terminal_that_is_closed_ends_the_run_and_spoils_no_recording() {
    let Some(lab) = lab("tui_closed") else { return };
    let file = lab.dir().join("closed.leakmon");
    let terminal = watch(&lab, (80, 24), &format!("--record {}", file.display()));
    fetch(&lab, "--socks5");
    terminal.wait_for("proven");
    let process = PathBuf::from(format!("/proc/{}", terminal.program()));
    drop(terminal);
    assert!(
        wait::until_true(LIMIT, || !process.exists()),
        "it runs without a terminal"
    );
    let path = file.to_str().expect("a path that is text");
    let replay = leakmon::run(&["replay", path]);
    assert_eq!(replay.status.code(), Some(1), "{replay:?}");
    assert!(replay.text().contains("1 finding"), "{replay:?}");
}

#[test]
fn plain_and_a_pipe_give_lines_and_a_bounded_run_ends_by_itself() {
    let Some(lab) = lab("tui_lines") else { return };
    for (options, after) in [("--plain", ""), ("", " | cat")] {
        let terminal = Terminal::open(&lab, (120, 40), &[]);
        terminal.run(&format!(
            "{} watch {options} --cgroup {}{after}",
            leakmon::binary().display(),
            lab.cgroup().display()
        ));
        terminal.wait_for("leakmon: watching");
        fetch(&lab, "--socks5");
        terminal.wait_for("LEAK     curl");
        assert!(!terminal.is_on_other_screen());
        // Not with Ctrl-C, which would end cat as well.
        signal_process(terminal.program(), Signal::INT);
        terminal.wait_for("1 finding; 0 events lost");
    }
    let terminal = watch(&lab, (80, 24), "--duration 6s");
    fetch(&lab, "--socks5");
    let screen = terminal.wait_for("code 1");
    assert!(screen.contains("1 finding"), "{screen}");
    assert_restored(&terminal);
}
