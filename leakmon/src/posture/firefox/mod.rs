//! Firefox and its family: preferences, policies, AutoConfig.
//!
//! What a preference is in the end is worked out as Firefox does it, in this order: defaults of the program and the
//! distribution, prefs.js, user.js, AutoConfig, policies (modules/libpref/Preferences.cpp; EnterprisePoliciesParent.sys.mjs).
//! A running Firefox has read all of these but once. What is changed in it afterwards it writes to prefs.js within half a
//! second, together with what user.js had set: so as soon as prefs.js was written since the start, it alone tells what the
//! user's values are, and what user.js and `pref()` of AutoConfig say counts again at the next start (seen with 153).

mod autoconfig;
mod extensions;
mod install;
mod lexer;
mod policies;
mod prefs;
mod profile;
mod route;
mod settings;
mod store;
mod system;

#[cfg(test)]
mod tests;

use install::{Install, Program};
use prefs::{Kind, Value};
use settings::Settings;
use store::{Setting, Store, is_wanted};

use super::{Fault, Subject, Told, View};
use crate::model::Evidence;

/// Files of default preferences in one folder that are read.
const MAX_DEFAULTS: usize = 64;

/// What a program of the family was told, the first counts; `None` for another program.
pub fn told(subject: &Subject<'_>) -> Option<Vec<Told>> {
    let program = Program::of(subject.process)?;
    let view = subject.view;
    if !view.is_open() {
        return Some(vec![Told::unread(
            "profile",
            format!("what {} was told cannot be read", program.name()),
        )]);
    }
    let install =
        Install::of(subject.process, view).unwrap_or_else(|| Install::new(program, None, view));
    let profile = profile::in_use(install.program, subject.arguments(), view);
    Some(Reading::of(&install, profile, true, view).told())
}

/// Profiles on disk: the program, the folder, and what it was told.
#[allow(dead_code, reason = "for the audit of what is installed")]
pub fn profiles(view: &View) -> Vec<(String, String, Vec<Told>)> {
    let mut found = Vec::new();
    for (program, root) in profile::roots(view) {
        match profile::read(&root, view) {
            Ok(profiles) => {
                for profile in profiles {
                    let folder = profile::last_install(&profile.folder, view);
                    let install = Install::new(program, folder, view);
                    let told =
                        Reading::of(&install, Ok(profile.folder.clone()), false, view).told();
                    found.push((program.name().to_owned(), profile.folder, told));
                }
            }
            Err(fault) => {
                let told = vec![Told::unread("profile", fault)];
                found.push((program.name().to_owned(), root, told));
            }
        }
    }
    found
}

/// All that a program reads of its preferences.
struct Reading<'a> {
    install: &'a Install,
    view: &'a View,
    store: Store,
    /// When the program locked its profile, before it read any preference; only of a running one.
    started: Option<(i64, u64)>,
    is_running: bool,
    /// Places that may say anything about what users cannot change.
    doubts: Vec<Told>,
    /// Places that may say anything about the user's values.
    users_doubts: Vec<Told>,
    /// What does not count for another reason than precedence.
    void: Vec<Evidence>,
}

impl<'a> Reading<'a> {
    fn of(
        install: &'a Install,
        profile: Result<String, profile::Unknown>,
        is_running: bool,
        view: &'a View,
    ) -> Self {
        let mut reading = Self {
            install,
            view,
            store: Store::default(),
            started: None,
            is_running,
            doubts: Vec::new(),
            users_doubts: Vec::new(),
            void: Vec::new(),
        };
        if let (true, Ok(profile)) = (is_running, &profile) {
            reading.started = view.modified(&format!("{profile}/lock"));
        }
        reading.defaults();
        match profile {
            Ok(profile) => reading.users(&profile),
            Err(fault) => reading.users_doubts.push(Told::unread("profile", fault)),
        }
        reading.autoconfig();
        reading.policies();
        reading
    }

    /// Whether a file was written after the program had started, and read what was there before.
    fn is_newer(&self, path: &str) -> bool {
        match (self.started, self.view.modified(path)) {
            (Some(started), Some(written)) => written > started,
            _ => false,
        }
    }

    fn doubt_when_newer(&mut self, source: &str, path: &str) {
        if self.is_newer(path) {
            self.doubts.push(Told::unread(
                source,
                format!("{path} was changed after the program had started, and counts from its next start on"),
            ));
        }
    }

    fn defaults(&mut self) {
        for folder in self.install.defaults() {
            // Of several files the one whose name is first is read last.
            let files = match self.view.list(&folder) {
                Ok(files) => files,
                Err(fault) => {
                    self.doubts.push(Told::unread(settings::DEFAULTS, fault));
                    continue;
                }
            };
            let files = files.iter().filter(|name| name.ends_with(".js"));
            for file in files.rev().take(MAX_DEFAULTS) {
                self.default_file(&format!("{folder}/{file}"));
            }
        }
    }

    fn default_file(&mut self, path: &str) {
        let bytes = match self.view.bytes(path) {
            Ok(bytes) => bytes.unwrap_or_default(),
            Err(fault) => {
                self.doubts.push(Told::unread(settings::DEFAULTS, fault));
                return;
            }
        };
        let entries = prefs::parse(&bytes, Kind::Default, is_wanted);
        for entry in entries {
            let setting = Setting::new(settings::DEFAULTS, path, &entry.name, entry.value);
            if entry.is_users {
                self.store.set_saved(&entry.name, setting);
            } else if self.store.locked(&entry.name).is_none() {
                self.store.set_default(&entry.name, setting.clone());
                if entry.is_locked {
                    self.store.lock(&entry.name, setting);
                }
            }
        }
    }

    fn users(&mut self, profile: &str) {
        let saved = format!("{profile}/prefs.js");
        let is_there = self.user_file("prefs.js", &saved);
        let own = format!("{profile}/user.js");
        if self.is_running {
            if is_there && self.is_newer(&saved) {
                self.store.is_running();
            } else if self.started.is_none() && self.view.exists(&own).unwrap_or(true) {
                self.users_doubts.push(Told::unread(
                    "user.js",
                    format!("whether {own} still counts is not known: {profile}/lock is not there"),
                ));
            } else {
                self.doubt_when_newer("user.js", &own);
            }
        }
        self.user_file("user.js", &own);
        let path = format!("{profile}/extensions.json");
        match extensions::with_proxies(&path, self.view) {
            Ok(names) => self.doubts.extend(names.into_iter().map(|name| {
                let what = format!("{path}: {name} may choose a proxy for each connection");
                Told::unread(extensions::SOURCE, what)
            })),
            Err(fault) => self.doubts.push(Told::unread(extensions::SOURCE, fault)),
        }
    }

    /// Reads a file of the profile; `false` when there is none.
    fn user_file(&mut self, source: &'static str, path: &str) -> bool {
        let bytes = match self.view.bytes(path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return false,
            Err(fault) => {
                self.users_doubts.push(Told::unread(source, fault));
                return true;
            }
        };
        for entry in prefs::parse(&bytes, Kind::User, is_wanted) {
            let setting = Setting::new(source, path, &entry.name, entry.value);
            if source == "prefs.js" {
                self.store.set_saved(&entry.name, setting);
            } else {
                self.store.set_user(&entry.name, setting);
            }
        }
        true
    }

    fn autoconfig(&mut self) {
        let text = |store: &Store, name: &str| match store.default_of(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            _ => None,
        };
        let Some(file) = text(&self.store, "general.config.filename") else {
            return;
        };
        let by = match self.store.default_of("general.config.obscure_value") {
            Some(Value::Int(by)) => *by,
            _ => autoconfig::OBSCURED_BY,
        };
        // A file name, which is looked up beside the program (nsReadConfig.cpp, openAndEvaluateJSFile); in a snap or
        // flatpak, where nobody can put a file there, in the folder for the administrator's files.
        let places: Vec<String> = self
            .install
            .folder
            .iter()
            .chain([&self.install.config])
            .map(|folder| format!("{folder}/{file}"))
            .collect();
        if file.contains('/') || !self.script(&places, by) {
            self.doubts.push(Told::unread(
                autoconfig::SOURCE,
                format!("{file}, which general.config.filename names, is not to be found"),
            ));
        }
        if self.install.program == Program::LibreWolf {
            // librewolf.cfg names this file itself, by the variable HOME.
            if let Some(path) = self.view.at_home(".librewolf/librewolf.overrides.cfg") {
                self.script(&[path], 0);
            }
        } else if let Some(url) = text(&self.store, "autoadmin.global_config_url") {
            self.doubts.push(Told::unread(
                autoconfig::SOURCE,
                format!(
                    "what the script at {} sets is not known",
                    super::without_password(&url)
                ),
            ));
        }
    }

    /// Runs the first script that is there.
    fn script(&mut self, places: &[String], obscured_by: i32) -> bool {
        for path in places {
            match self.view.bytes(path) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    self.doubt_when_newer(autoconfig::SOURCE, path);
                    let script = autoconfig::parse(&autoconfig::unobscured(bytes, obscured_by));
                    let is_known = self.install.program == Program::LibreWolf;
                    let mut unclear = script.unclear.iter().filter(|name| {
                        name.starts_with("network.")
                            || !is_known && name.as_str() == "autoadmin.global_config_url"
                    });
                    if let Some(name) = unclear.next() {
                        self.doubts.push(Told::unread(
                            autoconfig::SOURCE,
                            format!("{path}: what it sets {name} to is known only to who runs it"),
                        ));
                    }
                    autoconfig::apply(&script, path, &mut self.store);
                    return true;
                }
                Err(fault) => {
                    self.doubts.push(Told::unread(autoconfig::SOURCE, fault));
                    return true;
                }
            }
        }
        false
    }

    fn policies(&mut self) {
        for path in self.install.policies() {
            match self.view.text(&path) {
                Ok(None) => continue,
                Ok(Some(text)) => {
                    self.doubt_when_newer(policies::SOURCE, &path);
                    if let Err(error) = policies::apply(&text, &path, &mut self.store) {
                        let fault = Fault::malformed(&path, &error);
                        if error.is_certain {
                            self.void.push(Evidence::new(
                                policies::SOURCE,
                                format!("{fault}: none of its policies counts"),
                            ));
                        } else {
                            self.doubts.push(Told::unread(policies::SOURCE, fault));
                        }
                    }
                }
                Err(fault) => self.doubts.push(Told::unread(policies::SOURCE, fault)),
            }
            break;
        }
    }

    /// What follows from all of it: doubts first, then what counts, then what does not.
    fn told(self) -> Vec<Told> {
        let settings = Settings::new(&self.store, self.install);
        let mut answer = route::of(&settings, self.install, self.view);
        let mut told = self.doubts;
        if !settings.are_locked() {
            told.extend(self.users_doubts);
        }
        let overruled = Told {
            evidence: self.void.into_iter().chain(settings.overruled()).collect(),
            ..Told::default()
        };
        if answer.route != super::Route::Untold {
            answer.evidence.splice(0..0, settings.evidence());
            told.push(answer);
        }
        if !overruled.evidence.is_empty() {
            told.push(overruled);
        }
        told
    }
}
