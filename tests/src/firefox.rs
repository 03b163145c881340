//! Headless Firefox ESR from a fresh profile, ended with all its helpers, and its remote control.

use crate::browser::alone;
use crate::cgroup::Cgroup;
use crate::lab::Lab;
use crate::program::Program;
use crate::wait;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The program, as Debian calls it.
pub const PROGRAM: &str = "firefox-esr";

/// Where Debian has it.
const INSTALL: &str = "/usr/lib/firefox-esr";

/// How long a start and a page may take: a cold start on a loaded machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// Where its remote control listens, in the client's namespace.
const MARIONETTE_PORT: u16 = 2828;

/// Without these Firefox looks up names of its own services, and opens pages of its own, while a scenario is about
/// another one. None of them is about proxies.
const QUIET: [(&str, &str); 26] = [
    ("app.normandy.enabled", "false"),
    ("app.update.enabled", "false"),
    ("browser.aboutwelcome.enabled", "false"),
    ("browser.discovery.enabled", "false"),
    ("browser.newtabpage.enabled", "false"),
    (
        "browser.newtabpage.activity-stream.feeds.system.topstories",
        "false",
    ),
    ("browser.region.network.url", "\"\""),
    ("browser.safebrowsing.downloads.enabled", "false"),
    ("browser.safebrowsing.malware.enabled", "false"),
    ("browser.safebrowsing.phishing.enabled", "false"),
    ("browser.shell.checkDefaultBrowser", "false"),
    ("browser.startup.homepage", "\"about:blank\""),
    ("browser.startup.homepage_override.mstone", "\"ignore\""),
    ("datareporting.policy.dataSubmissionEnabled", "false"),
    ("dom.push.connection.enabled", "false"),
    ("dom.security.https_first", "false"),
    ("extensions.getAddons.cache.enabled", "false"),
    ("extensions.systemAddon.update.enabled", "false"),
    ("extensions.update.enabled", "false"),
    ("media.gmp-manager.updateEnabled", "false"),
    ("network.captive-portal-service.enabled", "false"),
    ("network.connectivity-service.enabled", "false"),
    ("remote.prefs.recommended", "false"),
    ("services.settings.server", "\"data:,\""),
    ("termsofuse.bypassNotification", "true"),
    ("toolkit.telemetry.enabled", "false"),
];

static NEXT: AtomicU32 = AtomicU32::new(0);

/// How Firefox is to be started.
#[derive(Debug)]
pub struct FirefoxBuilder<'a> {
    lab: &'a Lab,
    user_js: String,
    program: PathBuf,
    variables: Vec<(String, String)>,
    etc: Option<PathBuf>,
    controlled: bool,
}

impl FirefoxBuilder<'_> {
    /// With a line in user.js; the value as it is written there.
    #[must_use]
    pub fn pref(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.user_js, "user_pref(\"{name}\", {value});");
        self
    }

    /// With these manual settings of a SOCKS proxy.
    #[must_use]
    pub fn socks(self, addr: &str, port: u16, version: u8) -> Self {
        self.pref("network.proxy.type", "1")
            .pref("network.proxy.socks", &format!("\"{addr}\""))
            .pref("network.proxy.socks_port", &port.to_string())
            .pref("network.proxy.socks_version", &version.to_string())
    }

    /// With a variable in its environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// From another folder than the packaged one, as [`private_install`] makes it.
    #[must_use]
    pub fn install(mut self, folder: &Path) -> Self {
        self.program = folder.join(PROGRAM);
        self
    }

    /// With these files (path below /etc and text) in an /etc of its own.
    #[must_use]
    pub fn etc(mut self, files: &[(&str, &str)]) -> Self {
        let folder = self.lab.dir().join(format!("etc-{}", next()));
        for (file, text) in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().expect("a file is in a folder"))
                .expect("a folder can be made");
            fs::write(path, text).expect("a file can be written");
        }
        self.etc = Some(folder);
        self
    }

    /// With its remote control open.
    #[must_use]
    pub fn controlled(mut self) -> Self {
        self.controlled = true;
        self
    }

    /// Makes its profile, for a Firefox that somebody else starts.
    #[must_use]
    pub fn make_profile(&self) -> PathBuf {
        let profile = self.lab.dir().join(format!("profile-{}", next()));
        fs::create_dir(&profile).expect("a folder can be made");
        fs::write(profile.join("user.js"), &self.user_js).expect("a file can be written");
        profile
    }

    /// Starts it with a page.
    #[must_use]
    pub fn open(self, url: &str) -> Firefox {
        let alone = alone();
        let number = next();
        let profile = self.make_profile();
        let cgroup = Cgroup::create(self.lab.cgroup(), &format!("firefox-{number}"));
        // The mount namespace is that of `ip netns exec` already: nothing is mounted for anybody else.
        let mut command = if let Some(etc) = &self.etc {
            let mut command = self.lab.command_below(&cgroup, "sh");
            let copy = self.lab.dir().join(format!("own-etc-{number}"));
            command
                .args([
                    "-c",
                    r#"cp -a /etc "$0" && cp -a "$1/." "$0/" && mount --bind "$0" /etc && shift && exec "$@""#,
                ])
                .arg(copy)
                .arg(etc)
                .arg(&self.program);
            command
        } else {
            let program = self.program.to_str().expect("a path that is text");
            self.lab.command_below(&cgroup, program)
        };
        command
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .env("MOZ_CRASHREPORTER_DISABLE", "1")
            .args(["--headless", "--no-remote", "--profile"])
            .arg(&profile);
        if self.controlled {
            command.args(["--marionette", "--remote-allow-system-access"]);
        }
        command.arg(url);
        let mut program = Program::spawn(&mut command);
        wait::until(PATIENCE, || {
            let executable = fs::read_link(format!("/proc/{}/exe", program.pid())).ok()?;
            (executable.ends_with(PROGRAM) || program.try_wait().is_some()).then_some(())
        })
        .unwrap_or_else(|| panic!("Firefox did not start\n{}", program.said()));
        Firefox {
            program,
            cgroup,
            profile,
            _alone: alone,
        }
    }
}

/// A running Firefox. It holds the machine's browser lock.
#[derive(Debug)]
pub struct Firefox {
    program: Program,
    cgroup: Cgroup,
    profile: PathBuf,
    _alone: File,
}

impl Firefox {
    /// Begins a quiet one with an empty profile.
    #[must_use]
    pub fn builder(lab: &Lab) -> FirefoxBuilder<'_> {
        let builder = FirefoxBuilder {
            lab,
            user_js: String::new(),
            program: PathBuf::from(PROGRAM),
            variables: Vec::new(),
            etc: None,
            controlled: false,
        };
        QUIET
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.pref(name, value))
    }

    /// The parent process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Its profile.
    #[must_use]
    pub fn profile(&self) -> &Path {
        &self.profile
    }

    /// Waits until it has saved its preferences since it was started, and until they fulfil a condition.
    pub fn wait_saved(&self, condition: impl Fn(&str) -> bool) -> bool {
        wait::until_true(PATIENCE, || {
            fs::read_to_string(self.profile.join("prefs.js")).is_ok_and(|text| condition(&text))
        })
    }

    /// Its remote control.
    #[must_use]
    pub fn control(&self, lab: &Lab) -> Marionette {
        let namespace = PathBuf::from("/run/netns").join(lab.client().name());
        // A socket belongs to the namespace of the thread that made it.
        let stream = thread::spawn(move || {
            let namespace = File::open(namespace).expect("the lab's namespace is there");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root can enter a namespace");
            wait::until(PATIENCE, || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, MARIONETTE_PORT)).ok()
            })
        })
        .join()
        .expect("the thread ends");
        let stream = stream.unwrap_or_else(|| panic!("no remote control\n{}", self.program.said()));
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout can be set");
        Marionette::begin(stream)
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

/// A copy of Firefox's folder in which `defaults/pref` and `distribution` are its own; all else are links.
#[must_use]
pub fn private_install(lab: &Lab) -> PathBuf {
    let folder = lab.dir().join(format!("install-{}", next()));
    fs::create_dir_all(folder.join("distribution")).expect("a folder can be made");
    fs::create_dir_all(folder.join("defaults/pref")).expect("a folder can be made");
    let entries = fs::read_dir(INSTALL).expect("Firefox is installed");
    for entry in entries {
        let entry = entry.expect("a folder can be read");
        let to = folder.join(entry.file_name());
        if entry.file_name() == PROGRAM {
            fs::copy(entry.path(), to).expect("a program can be copied");
        } else if !to.exists() {
            symlink(entry.path(), to).expect("a link can be made");
        }
    }
    fs::copy(
        Path::new(INSTALL).join("defaults/pref/channel-prefs.js"),
        folder.join("defaults/pref/channel-prefs.js"),
    )
    .expect("a file can be copied");
    folder
}

/// Firefox's remote control (Marionette, protocol 3: lengths and JSON).
#[derive(Debug)]
pub struct Marionette {
    stream: TcpStream,
    last: u64,
}

impl Marionette {
    fn begin(stream: TcpStream) -> Self {
        let mut control = Self { stream, last: 0 };
        let hello = control.receive();
        assert_eq!(hello["marionetteProtocol"], 3, "{hello}");
        control.call("WebDriver:NewSession", &json!({}));
        control
    }

    /// Sets a preference, as about:config does.
    pub fn set_pref(&mut self, name: &str, value: bool) {
        self.call("Marionette:SetContext", &json!({"value": "chrome"}));
        self.call(
            "WebDriver:ExecuteScript",
            &json!({
                "script": "Services.prefs.setBoolPref(arguments[0], arguments[1])",
                "args": [name, value],
            }),
        );
        self.call("Marionette:SetContext", &json!({"value": "content"}));
    }

    /// Loads a page and gives its source.
    pub fn visit(&mut self, url: &str) -> String {
        self.call("WebDriver:Navigate", &json!({"url": url}));
        let page = self.call("WebDriver:GetPageSource", &json!({}));
        page["value"].as_str().unwrap_or_default().to_owned()
    }

    fn call(&mut self, command: &str, arguments: &Value) -> Value {
        self.last += 1;
        let message = json!([0, self.last, command, arguments]).to_string();
        write!(self.stream, "{}:{message}", message.len()).expect("Firefox listens");
        let answer = self.receive();
        assert_eq!(answer[1], self.last, "another answer: {answer}");
        assert!(answer[2].is_null(), "{command} failed: {answer:#}");
        answer[3].clone()
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut byte = [0];
            self.stream
                .read_exact(&mut byte)
                .expect("Firefox answers in time");
            match byte[0] {
                b':' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut message = vec![0; length];
        self.stream
            .read_exact(&mut message)
            .expect("Firefox answers in time");
        serde_json::from_slice(&message).expect("JSON")
    }
}

fn next() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}
