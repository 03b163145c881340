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
        if !is_helper(&first) {
            break;
        }
        match table.parent(&first) {
            Some(parent) if parent.exe.is_some() && parent.exe == first.exe => first = parent,
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

/// Whether a process says of itself that it serves another one: Chromium's and Electron's helpers by `--type=…`
/// (content/public/common/content_switches.cc), Firefox's by `-contentproc` (toolkit/xre/nsAppRunner.cpp), dante's by
/// `danted: request-child: …` in the place of their command line (sockd/sockd_util.c).
fn is_helper(process: &Process) -> bool {
    // Helpers forked from Chromium's zygote have one argument in which the real ones are separated by spaces.
    process.cmdline.iter().flatten().any(|argument| {
        argument.starts_with("--type=")
            || argument.contains(" --type=")
            || argument == "-contentproc"
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
    fn what_is_not_known_is_not_named() {
        assert_eq!(app(&[Process::unread(7, None)]).name, "process 7");
    }
}
