//! What leakmon offers at a shell's prompt: completions in the real shells, manual pages that `man` shows, help that fits
//! a screen, and a version that says what it was built from.

use leakmon_lab::tmux::Terminal;
use leakmon_lab::{Finished, LIMIT, Lab, Program, leakmon, need};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A terminal's usual size.
const SCREEN: (u16, u16) = (80, 24);
/// Columns that help takes at most, however wide the terminal is.
const WIDEST: usize = 100;

fn run(program: &str, args: &[&str]) -> Finished {
    let mut command = Command::new(program);
    command.env("PATH", need::PATH).env("LC_ALL", "C.UTF-8");
    Program::spawn(command.args(args)).finish(LIMIT)
}

/// Help as on a terminal of so many columns.
fn help(columns: usize, args: &[&str]) -> String {
    let mut command = Command::new(leakmon::binary());
    command.env("COLUMNS", columns.to_string()).args(args);
    let finished = Program::spawn(&mut command).finish(LIMIT);
    assert_eq!(finished.status.code(), Some(0), "{args:?}: {finished:?}");
    finished.text()
}

/// The subcommands that `--help` lists.
fn subcommands() -> BTreeSet<String> {
    let text = help(WIDEST, &["--help"]);
    let listed = text
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    // A line that goes on has no name.
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names: BTreeSet<String> = names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(names.contains("watch") && names.len() > 5, "{text}");
    names
}

/// The long options that a command's `--help` lists.
fn long_options(subcommand: &str) -> BTreeSet<String> {
    let text = help(WIDEST, &[subcommand, "--help"]);
    let lines = text.lines().map(str::trim_start);
    // As `-o, --output <OUT>`.
    let options = lines
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| {
            let mut words = line.split([' ', ',']);
            words.find(|word| word.starts_with("--"))
        });
    let options: BTreeSet<String> = options.map(str::to_owned).collect();
    assert!(options.contains("--help"), "{text}");
    options
}

/// A lab with leakmon and its completions for a shell in its folder.
fn lab(scenario: &str, shell: &'static str) -> Option<Lab> {
    let lab = Lab::builder(scenario).needs(&["tmux", shell]).build()?;
    std::os::unix::fs::symlink(leakmon::binary(), lab.dir().join("leakmon"))
        .expect("a link can be made");
    let script = leakmon::run(&["completions", shell]);
    assert_eq!(script.status.code(), Some(0), "{script:?}");
    fs::write(lab.dir().join("script"), &script.stdout).expect("a file can be written");
    fs::write(lab.dir().join("a-recording"), "").expect("a file can be written");
    Some(lab)
}

/// Opens a terminal in which a shell of no configuration runs with leakmon's completions.
fn terminal(lab: &Lab, commands: &[&str]) -> Terminal {
    let dir = lab.dir().to_str().expect("a path that is text");
    let path = format!("{dir}:{}", need::PATH);
    let terminal = Terminal::open(lab, (100, 40), &[("PATH", &path), ("HOME", dir)]);
    terminal.run(&format!("cd {dir}"));
    for command in commands {
        terminal.run(command);
    }
    // The shell has read all of it when it does this; what was written is not what it says.
    terminal.run("echo rea''dy");
    terminal.wait_for("\nready");
    terminal
}

/// What is written is completed to what is expected when Tab is pressed.
fn assert_completes(terminal: &Terminal, written: &str, completed: &str) {
    // The line away, then the screen: C-c would take with it what is still to be read.
    terminal.press(&["C-u", "C-l"]);
    terminal.wait_gone("leakmon");
    terminal.write(written);
    terminal.wait_for(written);
    terminal.press(&["Tab"]);
    terminal.wait_for(completed);
}

fn assert_all_complete(terminal: &Terminal) {
    for (written, completed) in [
        ("leakmon wa", "leakmon watch"),
        ("leakmon watch --du", "leakmon watch --duration"),
        (
            "leakmon replay --tui a-r",
            "leakmon replay --tui a-recording",
        ),
        (
            "leakmon watch --config a-r",
            "leakmon watch --config a-recording",
        ),
        ("leakmon completions f", "leakmon completions fish"),
    ] {
        assert_completes(terminal, written, completed);
    }
    terminal.press(&["C-u", "C-l"]);
    terminal.wait_gone("leakmon");
    terminal.write("leakmon ");
    terminal.press(&["Tab", "Tab"]);
    let names = subcommands();
    terminal.wait_until("every command", |screen| {
        names.iter().all(|name| screen.contains(name.as_str()))
    });
}

#[test]
fn bash_completes() {
    let Some(lab) = lab("shell_bash", "bash") else {
        return;
    };
    let terminal = terminal(&lab, &["exec bash --norc --noprofile -i", ". ./script"]);
    assert_all_complete(&terminal);
}

#[test]
fn zsh_completes() {
    let Some(lab) = lab("shell_zsh", "zsh") else {
        return;
    };
    let compinit = "autoload -U compinit && compinit -D -u";
    let terminal = terminal(&lab, &["exec zsh -f -i", compinit, ". ./script"]);
    assert_all_complete(&terminal);
}

#[test]
fn fish_completes() {
    let Some(lab) = lab("shell_fish", "fish") else {
        return;
    };
    let candidates = |line: &str| -> BTreeSet<String> {
        let mut command = Command::new("fish");
        let path = format!("{}:{}", lab.dir().display(), need::PATH);
        command
            .env("PATH", path)
            .env("HOME", lab.dir())
            .current_dir(lab.dir())
            .args([
                "--no-config",
                "-c",
                "source script; complete -C $argv[1]",
                line,
            ]);
        let finished = Program::spawn(&mut command).finish(LIMIT);
        assert!(finished.stderr.is_empty(), "{finished:?}");
        // Each with its description behind a tabulator.
        let text = finished.text();
        let words = text.lines().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect()
    };
    let only = |word: &str| BTreeSet::from([word.to_owned()]);
    assert_eq!(candidates("leakmon wa"), only("watch"));
    assert_eq!(candidates("leakmon watch --du"), only("--duration"));
    assert_eq!(candidates("leakmon replay a-r"), only("a-recording"));
    assert_eq!(candidates("leakmon report --format h"), only("html"));
    assert_eq!(candidates("leakmon "), subcommands());
}

#[test]
fn manual_pages_are_shown_without_a_warning() {
    let Some(lab) = Lab::builder("shell_man").needs(&["lexgrog", "man"]).build() else {
        return;
    };
    let folder = lab.dir().join("new/man1");
    let out = folder.to_str().expect("a path that is text");
    let written = leakmon::run(&["man", "--out", out]);
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    assert!(
        written.stdout.is_empty() && written.stderr.is_empty(),
        "{written:?}"
    );

    let mut names = subcommands();
    names.remove("help");
    let mut pages: BTreeSet<String> = names
        .iter()
        .map(|name| format!("leakmon-{name}.1"))
        .collect();
    pages.insert("leakmon.1".to_owned());
    let found = fs::read_dir(&folder).expect("it was made");
    let found: BTreeSet<String> = found
        .map(|file| {
            file.expect("it can be read")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    assert_eq!(found, pages);

    let version = leakmon::run(&["-V"]).text();
    for name in &pages {
        let path = format!("{out}/{name}");
        let whatis = run("lexgrog", &[&path]).text();
        let about = whatis.split('"').nth(1).unwrap_or_default();
        let title = name.trim_end_matches(".1");
        assert!(about.starts_with(&format!("{title} - ")), "{whatis}");

        let shown = run("man", &["--warnings=w", "--local-file", &path]);
        assert!(shown.stderr.is_empty(), "{name}: {}", shown.stderr);
        let text = shown.text();
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "OPTIONS",
            "EXAMPLES",
            "EXIT STATUS",
            "ENVIRONMENT",
            "FILES",
            "SEE ALSO",
        ] {
            assert!(
                text.lines().any(|line| line == section),
                "{name} has no {section}\n{text}"
            );
        }
        let foot = text.lines().last().unwrap_or_default();
        assert!(foot.starts_with(version.trim()), "{name}: {foot}");
        let Some(subcommand) = title.strip_prefix("leakmon-") else {
            continue;
        };
        let words: BTreeSet<&str> = text.split([' ', ',', '\n', '[', ']', '|']).collect();
        for option in long_options(subcommand) {
            assert!(
                words.contains(option.as_str()),
                "{name} lacks {option}\n{text}"
            );
        }
    }

    let page = leakmon::run(&["man"]);
    assert_eq!(page.status.code(), Some(0), "{page:?}");
    assert_eq!(
        page.stdout,
        fs::read(folder.join("leakmon.1")).expect("it was written")
    );
    for nowhere in ["/proc/nowhere", "/etc/passwd"] {
        let refused = leakmon::run(&["man", "--out", nowhere]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        assert!(refused.stderr.contains(nowhere), "{}", refused.stderr);
    }
}

#[test]
fn help_fits_a_screen() {
    if !need::met("shell_help", &[]) {
        return;
    }
    let (columns, lines) = (usize::from(SCREEN.0), usize::from(SCREEN.1));
    let names = subcommands();
    let commands = names.iter().map(|name| vec![name.as_str()]);
    for mut args in commands
        .filter(|args| args != &["help"])
        .chain([Vec::new()])
    {
        args.push("-h");
        let short = help(columns, &args);
        // The prompt takes the last line.
        assert!(
            short.lines().count() < lines,
            "{args:?} has too many lines\n{short}"
        );
        *args.last_mut().expect("one was put") = "--help";
        let long = help(1000, &args);
        assert!(long.contains("\nExamples:\n"), "{args:?}\n{long}");
        assert!(
            long.lines().count() > short.lines().count(),
            "{args:?}\n{long}"
        );
        for (text, widest) in [(&short, columns), (&long, WIDEST)] {
            let wide = text.lines().find(|line| line.chars().count() > widest);
            assert_eq!(wide, None, "{args:?} is wider than {widest}");
        }
    }
}

#[test]
fn the_version_says_what_it_was_built_from() {
    if !need::met("shell_version", &["sha256sum"]) {
        return;
    }
    let short = leakmon::run(&["-V"]).text();
    let long = leakmon::run(&["--version"]).text();
    assert_eq!(short.lines().count(), 1, "{short}");
    assert_eq!(long.lines().count(), 2, "{long}");
    let behind = long
        .strip_prefix(short.trim_end())
        .and_then(|rest| rest.lines().next());
    let behind = behind.and_then(|text| text.strip_prefix(" (")?.strip_suffix(')'));
    assert!(behind.is_some_and(|commit| !commit.is_empty()), "{long}");
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../leakmon-ebpf/leakmon.bpf.o");
    let sum = run(
        "sha256sum",
        &[object.to_str().expect("a path that is text")],
    )
    .text();
    let sum = sum.split(' ').next().unwrap_or_default();
    let line = format!("kernel object sha256:{sum}");
    assert_eq!(long.lines().nth(1), Some(line.as_str()));
}
