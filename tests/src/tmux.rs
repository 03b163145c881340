//! A terminal that a person could sit at, with a shell in it: a tmux server of the lab's own.

use crate::lab::Lab;
use crate::{LIMIT, need, wait};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the shell writes when it waits for a command.
pub const PROMPT: &str = "lab> ";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A terminal. Dropping it ends everything that runs in it.
#[derive(Debug)]
pub struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// Opens a terminal of so many columns and lines on the machine itself, with a shell that has these variables.
    #[must_use]
    pub fn open(lab: &Lab, (columns, lines): (u16, u16), variables: &[(&str, &str)]) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self {
            socket: lab.dir().join(format!("tmux-{number}")),
        };
        let mut command = lab.command_on_machine("tmux");
        command
            .env("LANG", "C.UTF-8")
            .env_remove("TMUX")
            .args(["-u", "-f", "/dev/null", "-S"])
            .arg(&terminal.socket)
            .args(["new-session", "-d", "-x"])
            .args([&columns.to_string(), "-y", &lines.to_string()])
            .args(["env", "-u", "NO_COLOR"])
            .arg(format!("PATH={}", need::PATH))
            .arg(format!("PS1={PROMPT}"));
        command.args(
            variables
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        // The size is the one that is set, whoever looks at it.
        command.args(["sh", ";", "set-option", "-g", "window-size", "manual"]);
        let output = command.output().expect("tmux can be started");
        assert!(output.status.success(), "no terminal: {output:?}");
        terminal.wait_for(PROMPT.trim_end());
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .env("PATH", need::PATH)
            .env_remove("TMUX")
            .args(["-u", "-S"])
            .arg(&self.socket)
            .args(args)
            .output()
            .expect("tmux can be started");
        assert!(output.status.success(), "tmux {args:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Presses keys, each by tmux's name of it, as `Enter`, `Down` or `q`.
    pub fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Writes a text, letter by letter.
    pub fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    /// Has the shell run a command.
    pub fn run(&self, command: &str) {
        self.write(command);
        self.press(&["Enter"]);
    }

    /// What is on the screen.
    #[must_use]
    pub fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// What is on the screen, with the escape sequences that make it look as it does, to the end of each line.
    #[must_use]
    pub fn with_escapes(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-e", "-N"])
    }

    /// Whether a program has taken the other screen (`1049` in xterm's ctlseqs).
    #[must_use]
    pub fn is_on_other_screen(&self) -> bool {
        self.ask("#{alternate_on}") == "1"
    }

    /// Whether a program has taken the mouse.
    #[must_use]
    pub fn has_mouse_taken(&self) -> bool {
        self.ask("#{mouse_any_flag}") == "1"
    }

    fn ask(&self, format: &str) -> String {
        self.tmux(&["display-message", "-p", format])
            .trim_end()
            .to_owned()
    }

    /// Gives it another size.
    pub fn resize(&self, columns: u16, lines: u16) {
        let (columns, lines) = (columns.to_string(), lines.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &lines]);
    }

    /// Waits until the screen fulfils a condition, and gives it. Panics with the screen when it does not.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&str) -> bool) -> String {
        let found = wait::until(LIMIT, || Some(self.text()).filter(|text| condition(text)));
        found.unwrap_or_else(|| panic!("the screen does not show {what}:\n{}", self.text()))
    }

    /// Waits until a text is on the screen, and gives the screen.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(text, |screen| screen.contains(text))
    }

    /// Waits until a text is not on the screen any more, and gives the screen.
    pub fn wait_gone(&self, text: &str) -> String {
        self.wait_until(&format!("anything but {text}"), |screen| {
            !screen.contains(text)
        })
    }

    /// The shell's process id.
    #[must_use]
    pub fn shell(&self) -> u32 {
        let pid = self.ask("#{pane_pid}");
        pid.parse().expect("a pane has a process")
    }

    /// The process id of the program that the shell runs.
    #[must_use]
    pub fn program(&self) -> u32 {
        let shell = self.shell();
        let children = format!("/proc/{shell}/task/{shell}/children");
        let child = wait::until(LIMIT, || {
            let children = fs::read_to_string(&children).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        child.expect("the shell runs a program")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .env("PATH", need::PATH)
            .arg("-S")
            .arg(&self.socket)
            .arg("kill-server")
            .output();
    }
}
