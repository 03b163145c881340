//! What a Firefox is told, on a machine that is made up for each test.

mod elsewhere;
mod preferences;

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::*;
use crate::posture::{Posture, Route, testing::Scene};

const PROFILE: &str = "/home/me/.mozilla/firefox/x.default";

/// A machine with Firefox on it.
struct Machine(Scene);

impl Machine {
    fn new() -> Self {
        let scene = Scene::new("/usr/lib/firefox/firefox")
            .uid(1000)
            .variable("HOME", "/home/me")
            .open(&format!("{PROFILE}/.parentlock"))
            .open(&format!("{PROFILE}/cookies.sqlite"));
        let machine = Self(scene);
        machine.version("153.7.0").folder(PROFILE);
        let lock = format!("127.0.1.1:+{}", machine.0.process().pid);
        symlink(lock, machine.path(&format!("{PROFILE}/lock"))).unwrap();
        machine
    }

    /// Another program in its place.
    fn exe(self, exe: &str) -> Self {
        Self(self.0.exe(exe))
    }

    fn variables(self, variables: &[(&str, &str)]) -> Self {
        Self(self.0.variables(variables))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path(path)
    }

    fn folder(&self, path: &str) -> &Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    /// A file from before the program was started.
    fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.0.write(path, text);
        self.touch(path, SystemTime::now() - Duration::from_secs(60))
    }

    /// A file that was written while the program ran.
    fn newer(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.file(path, text)
            .touch(path, SystemTime::now() + Duration::from_secs(60))
    }

    fn touch(&self, path: &str, time: SystemTime) -> &Self {
        let file = File::options().append(true).open(self.path(path)).unwrap();
        file.set_modified(time).unwrap();
        self
    }

    fn version(&self, version: &str) -> &Self {
        self.file(
            "/usr/lib/firefox/platform.ini",
            format!("[Build]\nBuildID=1\nMilestone={version}\n"),
        )
    }

    fn user_js(&self, lines: &[&str]) -> &Self {
        self.file(&format!("{PROFILE}/user.js"), lines_of(lines))
    }

    fn view(&self) -> View {
        self.0.view()
    }

    fn posture(&self) -> Posture {
        self.posture_in(&self.view())
    }

    fn posture_in(&self, view: &View) -> Posture {
        Posture::combine(self.0.ask_in(view, told).unwrap())
    }

    /// The route in short.
    fn says(&self) -> String {
        short(&self.posture())
    }
}

fn short(posture: &Posture) -> String {
    let proxy = posture
        .proxy()
        .map(|proxy| format!("{proxy} {:?}", proxy.resolves));
    let proxy = proxy.as_deref().unwrap_or("nothing");
    match posture.route {
        Route::Untold => "untold".to_owned(),
        Route::Direct => "direct".to_owned(),
        Route::Everything(_) => proxy.to_owned(),
        Route::Some(_) => format!("some {proxy}"),
        Route::Unknown(_) => format!("unknown {proxy}"),
    }
}

/// Lines of user.js: `type = 1` is network.proxy.type.
fn lines_of(lines: &[&str]) -> String {
    let line = |line: &&str| {
        let (name, value) = line.split_once(" = ").unwrap();
        let name = if name.contains('.') {
            name.to_owned()
        } else {
            format!("network.proxy.{name}")
        };
        format!("user_pref(\"{name}\", {value});\n")
    };
    lines.iter().map(line).collect()
}

const SOCKS: [&str; 3] = ["type = 1", "socks = \"h\"", "socks_port = 1"];
