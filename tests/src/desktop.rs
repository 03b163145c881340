//! A desktop session of a user whom the machine does not know: the user's bus in /run/user, a screen that nobody sees,
//! and dunst, which shows notifications and keeps what it has shown.
//!
//! /run/user and /tmp are the session's own, in mount namespaces: nothing of it is on the machine.

use crate::lab::Lab;
use crate::program::Program;
use crate::{LIMIT, wait};
use serde_json::Value;
use std::process::Command;

/// The number of the user and of the group. No machine gives it to anybody.
pub const USER: u32 = 54_321;

/// What a session takes.
pub const NEEDS: [&str; 9] = [
    "unshare",
    "nsenter",
    "setpriv",
    "mount",
    "dbus-daemon",
    "Xvfb",
    "dunst",
    "dunstctl",
    "busctl",
];

/// Every notification stays until it is closed, so that it is in the history once, as it was last.
const DUNSTRC: &str = "[global]
    history_length = 0
    stack_duplicates = false
    notification_limit = 0
    markup = full
    format = \"%s\\n%b\"
[urgency_low]
    timeout = 0
[urgency_normal]
    timeout = 0
[urgency_critical]
    timeout = 0
";

/// A place with a /run/user of its own, in which nobody is logged in.
#[derive(Debug)]
pub struct Machine<'a> {
    lab: &'a Lab,
    holder: Program,
}

impl<'a> Machine<'a> {
    /// Makes the place.
    #[must_use]
    pub fn new(lab: &'a Lab) -> Self {
        let mut command = lab.command_on_machine("unshare");
        command
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("mount -t tmpfs -o mode=755 lab /run/user && echo made && exec sleep infinity");
        let holder = Program::spawn(&mut command);
        let made = wait::until_true(LIMIT, || holder.stdout.text().contains("made"));
        assert!(made, "no /run/user of its own\n{}", holder.said());
        Self { lab, holder }
    }

    /// A command in it, as root, in nobody's name.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.command_beside(&self.holder, program)
    }

    fn command_beside(&self, other: &Program, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.lab.command_on_machine("nsenter");
        command
            .arg(format!("--mount=/proc/{}/ns/mnt", other.pid()))
            .arg(program);
        for caller in ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"] {
            command.env_remove(caller);
        }
        command
    }

    /// Logs the user in.
    #[must_use]
    pub fn log_in(&self) -> Session<'_> {
        let folder = format!("/run/user/{USER}");
        let owner = USER.to_string();
        let mut install = self.command("install");
        install.args(["-d", "-m", "700", "-o", &owner, "-g", &owner, &folder]);
        let made = Program::spawn(&mut install).finish(LIMIT);
        assert!(made.status.success(), "{made:?}");

        let mut bus = self.command("setpriv");
        as_user(&mut bus, "dbus-daemon").args([
            "--session",
            "--nofork",
            "--nopidfile",
            "--nosyslog",
            "--print-address=1",
            &format!("--address=unix:path={folder}/bus"),
        ]);
        let bus = Program::spawn(&mut bus);
        let ready = wait::until_true(LIMIT, || bus.stdout.text().contains("unix:"));
        assert!(ready, "no session bus\n{}", bus.said());

        // It leaves a lock and a socket in /tmp when it is killed.
        let mut screen = self.command("unshare");
        screen.args(["--mount", "--propagation", "private", "sh", "-c"]);
        screen.args([r#"mount -t tmpfs -o mode=1777 lab /tmp && exec "$@""#, "sh"]);
        screen.arg("setpriv");
        as_user(&mut screen, "Xvfb").args(["-displayfd", "1", "-nolisten", "tcp"]);
        let screen = Program::spawn(&mut screen);
        let ready = wait::until_true(LIMIT, || screen.stdout.text().ends_with('\n'));
        assert!(ready, "no screen\n{}", screen.said());
        let display = format!(":{}", screen.stdout.text().trim());

        let config = self.lab.dir().join("dunstrc");
        std::fs::write(&config, DUNSTRC).expect("a file can be written");
        let mut dunst = self.command_beside(&screen, "setpriv");
        as_user(&mut dunst, "dunst")
            .arg("-conf")
            .arg(&config)
            .env("DISPLAY", display);
        let session = Session {
            dunst: Program::spawn(&mut dunst),
            _screen: screen,
            _bus: bus,
            machine: self,
        };
        let ready = wait::until_true(LIMIT, || session.ask(&["is-paused"]).is_some());
        assert!(ready, "dunst does not run\n{}", session.dunst.said());
        session
    }
}

/// Has `setpriv` start the program as the user, in the user's session.
fn as_user<'a>(setpriv: &'a mut Command, program: &str) -> &'a mut Command {
    let folder = format!("/run/user/{USER}");
    setpriv
        .args([
            &format!("--reuid={USER}"),
            &format!("--regid={USER}"),
            "--clear-groups",
            "--",
            program,
        ])
        .env("HOME", &folder)
        .env("XDG_RUNTIME_DIR", &folder)
        .env(
            "DBUS_SESSION_BUS_ADDRESS",
            format!("unix:path={folder}/bus"),
        )
}

/// The session of a user who is logged in.
#[derive(Debug)]
pub struct Session<'a> {
    dunst: Program,
    _screen: Program,
    _bus: Program,
    machine: &'a Machine<'a>,
}

/// A notification as dunst has shown it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Who sent it.
    pub app: String,
    /// Its first line, as it was sent.
    pub summary: String,
    /// The rest, as it was sent.
    pub body: String,
    /// All of it in the markup that was drawn.
    pub drawn: String,
    /// How urgent.
    pub urgency: String,
}

impl Session<'_> {
    fn ask(&self, args: &[&str]) -> Option<String> {
        let mut command = self.machine.command("setpriv");
        as_user(&mut command, "dunstctl").args(args);
        let answer = Program::spawn(&mut command).finish(LIMIT);
        answer.status.success().then(|| answer.text())
    }

    /// How many notifications are on the screen, or wait for room on it.
    #[must_use]
    pub fn on_screen(&self) -> u64 {
        ["displayed", "waiting"]
            .iter()
            .filter_map(|which| self.ask(&["count", which])?.trim().parse::<u64>().ok())
            .sum()
    }

    /// Closes all notifications, and gives those that were ever shown, the first of them first.
    #[must_use]
    pub fn history(&self) -> Vec<Shown> {
        self.ask(&["close-all"]).expect("dunst answers");
        let emptied = wait::until_true(LIMIT, || self.on_screen() == 0);
        assert!(emptied, "dunst does not close its notifications");
        let text = self.ask(&["history"]).expect("dunst answers");
        let history: Value = serde_json::from_str(&text).expect("dunst's history is JSON");
        let mut shown: Vec<(i64, Shown)> = history["data"][0]
            .as_array()
            .expect("dunst's history is a list")
            .iter()
            .map(|one| {
                let text = |key: &str| one[key]["data"].as_str().unwrap_or_default().to_owned();
                let shown = Shown {
                    app: text("appname"),
                    summary: text("summary"),
                    body: text("body"),
                    drawn: text("message"),
                    urgency: text("urgency"),
                };
                (one["id"]["data"].as_i64().unwrap_or_default(), shown)
            })
            .collect();
        shown.sort_by_key(|(id, _)| *id);
        shown.into_iter().map(|(_, shown)| shown).collect()
    }
}
