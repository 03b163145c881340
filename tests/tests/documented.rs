//! What the pages say, done: every command line on them is run as a reader would type it, every link leads somewhere, every
//! option is told of. Pages are found when the test runs, so a new one is held to it without a word here.

#[path = "documented/pages.rs"]
mod pages;
#[path = "documented/typed.rs"]
mod typed;

use leakmon_lab::{LIMIT, Lab, Program, leakmon};
use pages::{CommandLine, Page};
use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use typed::{Desk, Placeholder};

/// A command line that is not run here, because something else runs it (or what it stands for) already.
struct Elsewhere {
    /// As it is on a page.
    command: &'static str,
    /// What runs it, from the repository's root.
    file: &'static str,
    /// Words of that file by which it does.
    words: &'static str,
}

const CI: &str = ".ci/run";

const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        command: "cargo build",
        file: "tests/src/leakmon.rs",
        words: r#".args(["build", "--quiet", "-p", "leakmon""#,
    },
    Elsewhere {
        command: "cargo build && LEAKMON_BIN=$PWD/target/debug/leakmon cargo test -p leakmon-lab --test curl",
        file: "xtask/src/lab.rs",
        words: r#"format!("LEAKMON_BIN={}""#,
    },
    Elsewhere {
        command: "cargo run -p leakmon-lab --example demo",
        file: CI,
        words: "cargo xtask picture --check",
    },
    Elsewhere {
        command: "cargo test -p leakmon",
        file: "xtask/src/test.rs",
        words: r#""--workspace","#,
    },
    Elsewhere {
        command: "cargo xtask bench",
        file: CI,
        words: "cargo xtask bench --quick",
    },
    Elsewhere {
        command: "cargo xtask bench --write",
        file: CI,
        words: "cargo xtask bench --quick",
    },
    Elsewhere {
        command: "cargo xtask build-ebpf",
        file: CI,
        words: "cargo xtask build-ebpf --install --check",
    },
    Elsewhere {
        command: "cargo xtask build-ebpf --check",
        file: CI,
        words: "cargo xtask build-ebpf --install --check",
    },
    Elsewhere {
        command: "LEAKMON_LOG=debug cargo xtask run --ebpf-log -- watch",
        file: CI,
        words: "LEAKMON_LOG=debug cargo xtask run --ebpf-log -- watch --duration 1s",
    },
    Elsewhere {
        command: "cargo xtask run -- watch",
        file: CI,
        words: "cargo xtask run -- watch --duration 1s",
    },
    Elsewhere {
        command: "cargo xtask test",
        file: CI,
        words: "cargo xtask test --lint",
    },
    Elsewhere {
        command: "cargo xtask test --lint",
        file: CI,
        words: "cargo xtask test --lint",
    },
    Elsewhere {
        command: "cargo xtask vm",
        file: CI,
        words: "cargo xtask vm",
    },
    Elsewhere {
        command: "sudo leakmon watch --notify --plain",
        file: "tests/tests/notify.rs",
        words: "--notify",
    },
];

/// How a configuration is checked; its file follows.
const CHECK_CONFIGURATION: &[&str] = &["config", "check"];

/// Command lines are typed at so many desks at once. Most of the time each waits for leakmon to attach or to end.
const DESKS: usize = 4;

/// What is typed one after the other, in one folder.
struct Sitting<'a> {
    page: &'a Page,
    commands: Vec<&'a CommandLine>,
}

#[test]
fn every_command_line_on_the_pages_works() {
    let Some(lab) = Lab::builder("documented")
        .socks()
        .web()
        .needs(&["curl", "setpriv", "sudo", "tmux"])
        .build()
    else {
        return;
    };
    let pages = pages::all();
    let mut faults = elsewhere(&pages);
    let desk = Desk::set_up(&lab);
    let sittings = Mutex::new(sittings(&pages));
    let next = || {
        sittings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let sit = || {
        let mut faults = Vec::new();
        while let Some(sitting) = next() {
            let folder = desk.folder();
            for command in sitting.commands {
                if let Err(fault) = desk.type_in(&folder, command) {
                    faults.push(told(sitting.page, command.line, &command.text, &fault));
                }
            }
        }
        faults
    };
    thread::scope(|scope| {
        let desks: Vec<_> = (0..DESKS).map(|_| scope.spawn(sit)).collect();
        for desk in desks {
            faults.extend(desk.join().expect("what fails is told, not panicked"));
        }
    });
    faults.extend(desk.unused().into_iter().map(|Placeholder { after, word, .. }| {
        format!("no page uses `{after} {word}` any more: take it out of PLACEHOLDERS in typed.rs")
    }));
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

fn told(page: &Page, line: usize, what: &str, fault: &str) -> String {
    format!("{}:{line}: `{what}`\n{fault}", page.path.display())
}

/// What is to be typed: of each page the blocks in their order, and each other command line once, in a folder of its own.
fn sittings(pages: &[Page]) -> VecDeque<Sitting<'_>> {
    let is_here =
        |command: &&CommandLine| ELSEWHERE.iter().all(|other| other.command != command.text);
    let mut sittings = VecDeque::new();
    let mut typed = BTreeSet::new();
    for page in pages {
        let blocks = page.commands.iter().filter(|command| command.in_block);
        let commands: Vec<_> = blocks.filter(is_here).collect();
        typed.extend(commands.iter().map(|command| command.text.as_str()));
        sittings.push_back(Sitting { page, commands });
    }
    for page in pages {
        for command in page.commands.iter().filter(is_here) {
            if typed.insert(&command.text) {
                let commands = vec![command];
                sittings.push_back(Sitting { page, commands });
            }
        }
    }
    sittings
}

/// What is wrong with the list of command lines that something else runs.
fn elsewhere(pages: &[Page]) -> Vec<String> {
    let mut faults = Vec::new();
    for Elsewhere {
        command,
        file,
        words,
    } in ELSEWHERE
    {
        let mut commands = pages.iter().flat_map(|page| &page.commands);
        if !commands.any(|other| other.text == *command) {
            faults.push(format!(
                "no page says `{command}` any more: take it out of ELSEWHERE"
            ));
        }
        if !fs::read_to_string(pages::root().join(file)).is_ok_and(|text| text.contains(words)) {
            faults.push(format!(
                "`{command}` is said to be run by {file}, which does not say `{words}`"
            ));
        }
    }
    faults
}

#[test]
fn blocks_of_data_are_what_they_claim() {
    let Some(lab) = Lab::builder("documented_data").build() else {
        return;
    };
    let mut faults = Vec::new();
    for page in pages::all() {
        for block in &page.blocks {
            let fault = match block.language.as_str() {
                "json" => serde_json::from_str::<serde_json::Value>(&block.text)
                    .err()
                    .map(|error| error.to_string()),
                "toml" => {
                    let file = lab.dir().join("documented.toml");
                    fs::write(&file, &block.text).expect("a file can be written");
                    let mut command = lab.command_on_machine(leakmon::binary());
                    let finished =
                        Program::spawn(command.args(CHECK_CONFIGURATION).arg(file)).finish(LIMIT);
                    (finished.status.code() == Some(2)).then_some(finished.stderr)
                }
                _ => None,
            };
            faults.extend(fault.map(|fault| told(&page, block.line, &block.language, &fault)));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages::all();
    let mut faults = Vec::new();
    for page in &pages {
        let links = page.links.iter().filter(|link| !link.text.contains(':'));
        for link in links {
            let (path, anchor) = link.text.split_once('#').unwrap_or((&link.text, ""));
            let target = if path.is_empty() {
                page.path.clone()
            } else {
                plain(&page.path.parent().unwrap_or(Path::new("")).join(path))
            };
            let mut fault = "";
            if !pages::root().join(&target).exists() {
                fault = "there is no such file";
            } else if !anchor.is_empty() {
                let other = pages.iter().find(|other| other.path == target);
                if !other.is_some_and(|other| other.anchors.iter().any(|own| own == anchor)) {
                    fault = "there is no such heading";
                }
            }
            if !fault.is_empty() {
                faults.push(told(page, link.line, &link.text, fault));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
}

/// A path of the repository without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}

#[test]
fn every_option_is_told_of() {
    let pages = pages::all();
    // The changelog is about versions: it does not explain.
    let explains = |page: &&Page| page.path != Path::new("CHANGELOG.md");
    let text: String = pages
        .iter()
        .filter(explains)
        .map(|page| page.text.as_str())
        .collect();
    let mut missing = String::new();
    for subcommand in subcommands() {
        for option in options(&help(&[&subcommand])) {
            if !has_word(&text, &option) {
                writeln!(missing, "leakmon {subcommand} {option}").expect("a string takes all");
            }
        }
    }
    assert!(
        missing.is_empty(),
        "no page names these options:\n{missing}"
    );
}

fn help(args: &[&str]) -> String {
    let mut command = Command::new(leakmon::binary());
    let output = command.args(args).arg("--help").output();
    let output = output.expect("leakmon can be started");
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("help is text")
}

/// What stands below `Commands:`, each with its explanation after two spaces or on the next, deeper line.
fn subcommands() -> Vec<String> {
    let help = help(&[]);
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<String> = listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert!(names.iter().any(|name| name == "watch"), "{help}");
    names
}

/// The long options of a subcommand's help, each at the begin of a line of its own, perhaps after the short one.
fn options(help: &str) -> Vec<String> {
    let names = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = match line.split_once(", ") {
            Some((short, long)) if short.len() == 2 && short.starts_with('-') => long,
            _ => line,
        };
        let name = line.split([' ', '=', '[']).next()?;
        (name.starts_with("--") && !["--help", "--version"].contains(&name))
            .then(|| name.to_owned())
    });
    names.collect()
}

/// Whether a text has an option that goes no further, as `--json` does in `--json-lines`.
fn has_word(text: &str, option: &str) -> bool {
    text.match_indices(option).any(|(at, _)| {
        let next = text[at + option.len()..].chars().next();
        next.is_none_or(|c| !c.is_alphanumeric() && c != '-')
    })
}
