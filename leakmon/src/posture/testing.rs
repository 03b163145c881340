//! For unit tests: a program with a disk of its own, and what it was told there.

use std::{fs, path::PathBuf};

use super::{Posture, Programs, Subject, Told, View};
use crate::model::Process;

/// One program: how it was started, and the files that it sees.
pub struct Scene {
    dir: tempfile::TempDir,
    exe: String,
    arguments: Vec<String>,
    variables: Vec<(String, String)>,
    open: Vec<String>,
    uid: u32,
}

impl Scene {
    /// The program at this path, run by root without arguments, variables or files.
    pub fn new(exe: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            exe: exe.to_owned(),
            arguments: Vec::new(),
            variables: Vec::new(),
            open: Vec::new(),
            uid: 0,
        }
    }

    /// Another program with all of this one's.
    pub fn exe(mut self, exe: &str) -> Self {
        exe.clone_into(&mut self.exe);
        self
    }

    /// Another user.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = uid;
        self
    }

    /// More arguments.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// More variables.
    pub fn variables(mut self, variables: &[(&str, &str)]) -> Self {
        let pair = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        self.variables.extend(variables.iter().map(pair));
        self
    }

    /// One more variable.
    pub fn variable(self, name: &str, value: &str) -> Self {
        self.variables(&[(name, value)])
    }

    /// A file, with the folders above it.
    pub fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        self.write(path, text);
        self
    }

    /// The same for more than one.
    pub fn files<T: AsRef<[u8]>>(self, files: &[(&str, T)]) -> Self {
        for (path, text) in files {
            self.write(path, text);
        }
        self
    }

    /// A folder, with those above it.
    pub fn folder(self, path: &str) -> Self {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    /// One more file that the program has open.
    pub fn open(mut self, path: &str) -> Self {
        self.open.push(path.to_owned());
        self
    }

    /// Writes a file, with the folders above it.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Where a file of the program's disk is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    /// Its arguments, without its name.
    pub fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The process, whose name is that of its file.
    pub fn process(&self) -> Process {
        let name = self.exe.rsplit('/').next().unwrap().to_owned();
        Process {
            exe: Some(self.exe.clone()),
            cmdline: Some([&[name], self.arguments.as_slice()].concat()),
            ..Process::unread(1, Some(self.uid))
        }
    }

    /// What it sees.
    pub fn view(&self) -> View {
        let variables: Vec<(&str, &str)> = self
            .variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let open: Vec<&str> = self.open.iter().map(String::as_str).collect();
        View::of_disk(self.dir.path(), Some(self.uid)).with(&variables, &open)
    }

    /// What is said of it, by one that looks at programs.
    pub fn ask<T>(&self, what: impl FnOnce(&Subject<'_>) -> T) -> T {
        self.ask_in(&self.view(), what)
    }

    /// The same when it sees something else.
    pub fn ask_in<T>(&self, view: &View, what: impl FnOnce(&Subject<'_>) -> T) -> T {
        what(&Subject {
            process: &self.process(),
            view,
            programs: &Programs::default(),
        })
    }

    /// What comes of everything that it was told.
    pub fn posture<I: IntoIterator<Item = Told>>(
        &self,
        told: impl FnOnce(&Subject<'_>) -> I,
    ) -> Posture {
        Posture::combine(self.ask(told))
    }
}

/// The proxy, and who resolves.
pub fn shown(posture: &Posture) -> String {
    let proxy = posture.proxy().map(ToString::to_string).unwrap_or_default();
    format!("{proxy} {:?}", posture.resolves())
}
