//! Headless Chromium from a fresh profile, which exits by itself or is ended with all its helpers.

use crate::cgroup::Cgroup;
use crate::lab::Lab;
use crate::program::Program;
use crate::wait;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The program, as Debian calls it.
pub const PROGRAM: &str = "chromium";

/// What a headless browser needs to run as root, without its services in the background.
const FLAGS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// With these Chromium asks for the page's name only (seen with 156): what it would look up beside it, in spite of the
/// flags above, is clients2.google.com (extensions, the network's time), update.googleapis.com and accounts.google.com.
const QUIET: [&str; 4] = [
    "--gaia-url=http://127.0.0.1:9/",
    "--component-updater=url-source=http://127.0.0.1:9/",
    "--apps-gallery-update-url=http://127.0.0.1:9/",
    "--disable-features=NetworkTimeServiceQuerying",
];

/// The lab's own arguments, for a browser that somebody else starts.
#[must_use]
pub fn quiet_arguments() -> Vec<&'static str> {
    FLAGS.iter().chain(&QUIET).copied().collect()
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Waits until no other browser of a lab runs on this machine, and keeps others from it as long as the file is held.
#[must_use]
pub fn alone() -> File {
    let alone = File::create(std::env::temp_dir().join("leakmon-lab-browser.lock"))
        .expect("a lock file can be made");
    alone.lock().expect("a lock file can be locked");
    alone
}

/// How a browser that stays open is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stay<'a> {
    /// Arguments beside the lab's own flags.
    pub args: &'a [&'a str],
    /// Variables of its environment.
    pub variables: &'a [(&'a str, &'a str)],
    /// The text of the profile's `Preferences`.
    pub preferences: Option<&'a str>,
    /// With its services in the background.
    pub chattering: bool,
    /// What it opens.
    pub url: &'a str,
}

/// A running Chromium. It holds the machine's browser lock: two at once on a small machine only make each other slow.
#[derive(Debug)]
pub struct Chromium {
    program: Program,
    cgroup: Cgroup,
    executable: PathBuf,
    profiles: PathBuf,
    _alone: File,
}

impl Chromium {
    /// Opens `url` with `args` beside the lab's own flags. The page's text goes to standard output, and Chromium ends
    /// when the page has loaded or has failed.
    #[must_use]
    pub fn open(lab: &Lab, args: &[&str], url: &str) -> Self {
        let quiet: Vec<&str> = QUIET.iter().chain(args).copied().collect();
        Self::start(lab, &quiet, url)
    }

    /// The same, but Chromium also asks for the names of its own services, as it does on a user's desk.
    #[must_use]
    pub fn open_chattering(lab: &Lab, args: &[&str], url: &str) -> Self {
        Self::start(lab, args, url)
    }

    /// Opens a browser that stays open until it is closed, and can be told to open further pages.
    #[must_use]
    pub fn stay(lab: &Lab, stay: Stay<'_>) -> Self {
        let mut args = vec!["--remote-debugging-port=0"];
        if !stay.chattering {
            args.extend(QUIET);
        }
        args.extend(stay.args);
        args.push(stay.url);
        let flags = if stay.chattering { &FLAGS[..5] } else { &FLAGS };
        Self::launch(lab, flags, &args, stay.variables, stay.preferences)
    }

    fn start(lab: &Lab, args: &[&str], url: &str) -> Self {
        let args: Vec<&str> = args.iter().copied().chain(["--dump-dom", url]).collect();
        Self::launch(lab, &FLAGS, &args, &[], None)
    }

    fn launch(
        lab: &Lab,
        flags: &[&str],
        args: &[&str],
        variables: &[(&str, &str)],
        preferences: Option<&str>,
    ) -> Self {
        let alone = alone();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup = Cgroup::create(lab.cgroup(), &format!("browser-{number}"));
        let profiles = lab.dir().join(format!("profile-{number}"));
        if let Some(text) = preferences {
            fs::create_dir_all(profiles.join("Default")).expect("a folder can be made");
            fs::write(profiles.join("Default/Preferences"), text).expect("a file can be written");
        }
        let mut command = lab.command_below(&cgroup, PROGRAM);
        command
            .envs(variables.iter().copied())
            .args(flags)
            .arg(format!("--user-data-dir={}", profiles.display()))
            .args(args);
        let mut program = Program::spawn(&mut command);
        // The shell becomes ip, then Debian's launcher script, then the browser: that one has its profile's name on its
        // command line and is no interpreter.
        let executable = wait::until(crate::LIMIT, || {
            let executable = fs::read_link(format!("/proc/{}/exe", program.pid())).ok()?;
            let is_browser = executable.ends_with(format!("{PROGRAM}/{PROGRAM}"));
            (is_browser || program.try_wait().is_some()).then_some(executable)
        })
        .unwrap_or_else(|| panic!("Chromium did not start\n{}", program.said()));
        Self {
            program,
            cgroup,
            executable,
            profiles,
            _alone: alone,
        }
    }

    /// Waits until the profile's `Preferences` are on disk and have this in them: Chromium writes them after some seconds.
    pub fn wait_preferences(&self, text: &str, limit: Duration) -> bool {
        let path = self.profiles.join("Default/Preferences");
        wait::until_true(limit, || {
            fs::read_to_string(&path).is_ok_and(|preferences| preferences.contains(text))
        })
    }

    /// Has a browser that stays open a further page.
    pub fn open_further(&self, lab: &Lab, url: &str) {
        let port = wait::until(crate::LIMIT, || {
            let text = fs::read_to_string(self.profiles.join("DevToolsActivePort")).ok()?;
            text.lines().next().map(str::to_owned)
        })
        .unwrap_or_else(|| panic!("Chromium cannot be told anything\n{}", self.said()));
        let new = format!("http://127.0.0.1:{port}/json/new?{url}");
        let (_, curl) = lab.run("curl", &["--silent", "--show-error", "-X", "PUT", &new]);
        assert!(curl.status.success(), "{curl:?}");
    }

    /// The browser process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// The executable of the browser process, as the kernel has it.
    #[must_use]
    pub fn executable(&self) -> &str {
        self.executable.to_str().expect("a path that is text")
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::until(limit, || self.program.try_wait())
    }

    /// Waits until the page's text is there.
    pub fn wait_page(&self, text: &str, limit: Duration) -> bool {
        wait::until_true(limit, || self.program.stdout.text().contains(text))
    }

    /// What it wrote, for the message of a failure.
    #[must_use]
    pub fn said(&self) -> String {
        self.program.said()
    }

    /// Ends it with all its helpers, so that no query comes after this.
    pub fn close(&mut self) {
        self.cgroup.kill_all();
        wait::until(crate::LIMIT, || self.program.try_wait()).expect("a killed browser ends");
    }
}
