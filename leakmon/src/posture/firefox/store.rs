//! All preferences that count here, with where each is from.

use std::collections::BTreeMap;

use super::prefs::Value;
use crate::{model::Evidence, posture::without_password};

/// Preferences that say something about proxies or names.
pub fn is_wanted(name: &str) -> bool {
    ["network.proxy.", "network.trr.", "general.config."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        || [
            "network.dns.disabled",
            "doh-rollout.mode",
            "autoadmin.global_config_url",
        ]
        .contains(&name)
}

/// A value and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What the preference is set to.
    pub value: Value,
    /// The kind of place.
    pub source: &'static str,
    /// The file.
    pub path: String,
    /// What is written there, as `network.proxy.type = 1`.
    pub written: String,
}

impl Setting {
    /// A preference as a file of preferences has it.
    pub fn new(source: &'static str, path: &str, name: &str, value: Value) -> Self {
        let written = format!("{name} = {value}");
        Self {
            value,
            source,
            path: path.to_owned(),
            written,
        }
    }

    /// As evidence.
    pub fn evidence(&self) -> Evidence {
        let detail = without_password(&format!("{}: {}", self.path, self.written));
        Evidence::new(self.source, detail)
    }
}

/// Preferences as Firefox keeps them: defaults, the user's values, and locks that make the default count.
#[derive(Debug, Default)]
pub struct Store {
    defaults: BTreeMap<String, Setting>,
    users: BTreeMap<String, Setting>,
    /// Name → what locked it.
    locks: BTreeMap<String, Setting>,
    /// What was written over.
    lost: Vec<(String, Setting)>,
    /// The user's values are those of the running program: what sets them at its start did so already.
    is_running: bool,
    /// User's values that are set at every start.
    at_start: Vec<(String, Setting)>,
}

impl Store {
    /// From now on the user's values are those of the running program.
    pub fn is_running(&mut self) {
        self.is_running = true;
    }

    /// Sets the user's value as it was saved.
    pub fn set_saved(&mut self, name: &str, setting: Setting) {
        self.users.insert(name.to_owned(), setting);
    }

    /// Sets the user's value at every start.
    pub fn set_user(&mut self, name: &str, setting: Setting) {
        self.at_start.retain(|(known, _)| known != name);
        self.at_start.push((name.to_owned(), setting.clone()));
        if !self.is_running {
            self.keep_lost(name, &setting, |store| &store.users);
            self.users.insert(name.to_owned(), setting);
        }
    }

    /// Takes the user's value away at every start.
    pub fn clear_user(&mut self, name: &str) {
        self.at_start.retain(|(known, _)| known != name);
        if !self.is_running
            && let Some(old) = self.users.remove(name)
        {
            self.lost.push((name.to_owned(), old));
        }
    }

    /// What sets the user's value at every start.
    pub fn at_start(&self, name: &str) -> Option<&Setting> {
        let mut found = self.at_start.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, setting)| setting)
    }

    /// Sets the default.
    pub fn set_default(&mut self, name: &str, setting: Setting) {
        self.keep_lost(name, &setting, |store| &store.defaults);
        self.defaults.insert(name.to_owned(), setting);
    }

    fn keep_lost(
        &mut self,
        name: &str,
        setting: &Setting,
        branch: impl Fn(&Self) -> &BTreeMap<String, Setting>,
    ) {
        if let Some(old) = branch(self).get(name)
            && old.value != setting.value
        {
            let old = old.clone();
            self.lost.push((name.to_owned(), old));
        }
    }

    /// The default alone.
    pub fn default_of(&self, name: &str) -> Option<&Value> {
        self.defaults.get(name).map(|setting| &setting.value)
    }

    /// Makes the default count, whatever the user's value.
    pub fn lock(&mut self, name: &str, by: Setting) {
        self.locks.insert(name.to_owned(), by);
    }

    /// Lets the user's value count again.
    pub fn unlock(&mut self, name: &str) {
        self.locks.remove(name);
    }

    /// Whether and by what users are kept from changing it.
    pub fn locked(&self, name: &str) -> Option<&Setting> {
        self.locks.get(name)
    }

    /// What counts: the user's value, but for a locked preference the default; `None` for what the program brings along.
    pub fn get(&self, name: &str, builtin: &Value) -> Option<&Setting> {
        let of_type = |setting: &&Setting| setting.value.is_like(builtin);
        let users = self.users.get(name).filter(of_type);
        let default = self.defaults.get(name).filter(of_type);
        if self.locks.contains_key(name) {
            default
        } else {
            users.or(default)
        }
    }

    /// The values of a preference that do not count.
    pub fn losers<'a>(
        &'a self,
        name: &'a str,
        winner: Option<&'a Setting>,
    ) -> impl Iterator<Item = &'a Setting> {
        let lost = self.lost.iter().filter(move |(known, _)| known == name);
        lost.map(|(_, setting)| setting)
            .chain(self.at_start(name))
            .chain(self.defaults.get(name))
            .chain(self.users.get(name))
            .filter(move |setting| winner.is_none_or(|winner| *setting != winner))
    }
}
