//! Which processes a person would call one program.

use std::sync::Arc;

use super::Table;
use crate::model::{App, Process};

/// Programs whose helpers run the same executable: file name of the program → the name people use.
const BROWSERS: [(&str, &str); 20] = [
    ("brave", "Brave"),
    ("brave-browser", "Brave"),
    ("chrome", "Google Chrome"),
    ("chromium", "Chromium"),
    ("chromium-browser", "Chromium"),
    ("firefox", "Firefox"),
    ("firefox-bin", "Firefox"),
    ("firefox-esr", "Firefox ESR"),
    ("firefox.real", "Tor Browser"),
    ("google-chrome", "Google Chrome"),
    ("headless_shell", "Chromium"),
    ("librewolf", "LibreWolf"),
    ("microsoft-edge", "Microsoft Edge"),
    ("msedge", "Microsoft Edge"),
    ("mullvadbrowser.real", "Mullvad Browser"),
    ("opera", "Opera"),
    ("thunderbird", "Thunderbird"),
    ("thunderbird-bin", "Thunderbird"),
    ("vivaldi-bin", "Vivaldi"),
    ("waterfox", "Waterfox"),
];

/// The app of a process, and its first process.
pub fn app_of(table: &mut Table, process: &Arc<Process>) -> (Arc<App>, Arc<Process>) {
    let mut first = Arc::clone(process);
    // A helper of a helper of a helper is as deep as browsers go; the bound only keeps hostile chains short.
    for _ in 0..8 {
        if !may_be_helper(&first) {
            break;
        }
        match table.parent(&first) {
            Some(parent) if is_served(&parent, &first) => first = parent,
            _ => break,
        }
    }
    let app = App {
        name: name_of(&first),
        pid: first.pid,
        id: first.id(),
    };
    (Arc::new(app), first)
}

/// Whether a process may be a helper, so that its parent is worth a look.
fn may_be_helper(process: &Process) -> bool {
    is_helper(process) || process.program().is_some_and(is_git)
}

/// Whether a helper's parent is the program that it serves.
fn is_served(parent: &Process, helper: &Process) -> bool {
    if helper.program().is_some_and(is_git) {
        return parent.program() == Some("git");
    }
    parent.exe.is_some() && parent.exe == helper.exe
}

/// git does its work in processes of its own: `git fetch` starts `git remote-https`, and that git-remote-https, which is
/// the same file as git-remote-http (git's transport-helper.c and Makefile).
fn is_git(program: &str) -> bool {
    program == "git" || program.starts_with("git-remote-")
}

/// Whether a process says of itself that it serves another one: Chromium's and Electron's helpers by `--type=…`
/// (content/public/common/content_switches.cc), Firefox's by `-contentproc` (toolkit/xre/nsAppRunner.cpp), dante's by
/// `danted: request-child: …` in the place of their command line (sockd/sockd_util.c).
fn is_helper(process: &Process) -> bool {
    // Helpers forked from Chromium's zygote or Firefox's fork server have one argument in which the real ones are separated
    // by spaces.
    process.cmdline.iter().flatten().any(|argument| {
        argument.starts_with("--type=")
            || argument.contains(" --type=")
            || argument == "-contentproc"
            || argument.contains(" -contentproc ")
            || argument.starts_with("danted: ")
            || argument.starts_with("sockd: ")
    })
}

fn name_of(process: &Process) -> String {
    let Some(program) = process.program() else {
        return process
            .comm
            .clone()
            .unwrap_or_else(|| format!("process {}", process.pid));
    };
    BROWSERS
        .iter()
        .find(|(file, _)| *file == program)
        .map_or_else(|| program.to_owned(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, ppid: u32, exe: &str, cmdline: &[&str]) -> Process {
        Process {
            ppid: Some(ppid),
            started_ns: Some(u64::from(pid)),
            exe: Some(exe.into()),
            cmdline: Some(cmdline.iter().map(|&s| s.to_owned()).collect()),
            ..Process::unread(pid, None)
        }
    }

    fn app(processes: &[Process]) -> Arc<App> {
        let mut table = Table::default();
        for process in processes {
            table.insert(Arc::new(process.clone()));
        }
        let last = table.get(processes.last().unwrap().pid).unwrap();
        app_of(&mut table, &last).0
    }

    const CHROMIUM: &str = "/usr/lib/chromium/chromium";

    #[test]
    fn helpers_belong_to_their_browser_and_a_shell_does_not() {
        let got = app(&[
            process(10, 1, "/usr/bin/bash", &["bash"]),
            process(20, 10, CHROMIUM, &["chromium", "--headless"]),
            process(21, 20, CHROMIUM, &["chromium --type=zygote --no-sandbox"]),
            process(22, 21, CHROMIUM, &["chromium", "--type=utility"]),
        ]);
        assert_eq!((got.name.as_str(), got.pid), ("Chromium", 20));
    }

    #[test]
    fn helpers_that_were_forked_belong_to_their_firefox() {
        let exe = "/usr/lib/firefox-esr/firefox-esr";
        let got = app(&[
            process(10, 1, exe, &["firefox-esr", "--headless"]),
            process(11, 10, exe, &[exe, "-contentproc", "-parentPid", "10"]),
            process(12, 11, exe, &[&format!("{exe} -contentproc -isForBrowser")]),
        ]);
        assert_eq!((got.name.as_str(), got.pid), ("Firefox ESR", 10));
    }

    #[test]
    fn children_without_a_command_line_belong_to_their_mother() {
        let exe = "/usr/sbin/danted";
        let got = app(&[
            process(10, 1, exe, &["danted", "-f", "/etc/x.conf"]),
            process(11, 10, exe, &["danted: monitor-child"]),
            process(12, 11, exe, &["danted: request-child: 0/1"]),
        ]);
        assert_eq!((got.name.as_str(), got.pid), ("danted", 10));
    }

    #[test]
    fn another_program_with_a_type_option_is_itself() {
        let got = app(&[
            process(10, 1, "/usr/bin/bash", &["bash"]),
            process(20, 10, "/opt/tool", &["tool", "--type=x"]),
        ]);
        assert_eq!((got.name.as_str(), got.pid), ("tool", 20));
    }

    #[test]
    fn what_git_starts_of_its_own_is_git() {
        let http = "/usr/lib/git-core/git-remote-http";
        let url = "https://page.example/";
        let family = [
            process(10, 1, "/usr/bin/bash", &["bash"]),
            process(20, 10, "/usr/bin/git", &["git", "pull"]),
            process(21, 20, "/usr/bin/git", &["git", "fetch", "origin"]),
            process(
                22,
                21,
                "/usr/lib/git-core/git",
                &["git", "remote-https", url],
            ),
            process(23, 22, http, &["git-remote-https", "origin", url]),
        ];
        let got = app(&family);
        assert_eq!((got.name.as_str(), got.pid), ("git", 20));
        // An orphan, or one that something else started, is itself.
        let alone = app(&[
            process(10, 1, "/usr/bin/bash", &["bash"]),
            process(23, 10, http, &["git-remote-https", "origin", url]),
        ]);
        assert_eq!((alone.name.as_str(), alone.pid), ("git-remote-http", 23));
        let other = app(&[
            process(20, 1, "/usr/bin/git", &["git", "fetch"]),
            process(21, 20, "/usr/bin/ssh", &["ssh", "host"]),
        ]);
        assert_eq!(other.name, "ssh");
    }

    #[test]
    fn what_is_not_known_is_not_named() {
        assert_eq!(app(&[Process::unread(7, None)]).name, "process 7");
    }
}
