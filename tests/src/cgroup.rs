//! A cgroup v2 of the lab's own: what leakmon watches, and the sure way to end every process that the lab started.

use crate::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const EMPTY_LIMIT: Duration = Duration::from_secs(10);

/// Where the cgroup v2 hierarchy is mounted: not everywhere at /sys/fs/cgroup.
#[must_use]
pub fn v2_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// A cgroup that is emptied and removed with its owner.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a cgroup below `parent`.
    #[must_use]
    pub fn create(parent: &Path, name: &str) -> Self {
        let path = parent.join(name);
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("cannot make the cgroup {}: {error}", path.display()));
        Self { path }
    }

    /// Takes a cgroup that another process has made and cannot remove any more.
    #[must_use]
    pub fn adopt(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Kills every process in it and below, and waits until they are gone.
    pub fn kill_all(&self) {
        wait::until_true(EMPTY_LIMIT, || {
            // cgroup.kill is of 5.14; before that, ask again until no new child appears.
            if fs::write(self.path.join("cgroup.kill"), "1").is_err() {
                kill_each(&self.path);
            }
            self.is_empty() || !self.path.exists()
        });
    }

    /// No process lives in it or below.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events"))
            .is_ok_and(|events| events.contains("populated 0"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill_all();
        remove(&self.path);
    }
}

fn below(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove(path: &Path) {
    below(path).iter().for_each(|child| remove(child));
    if !wait::until_true(EMPTY_LIMIT, || {
        fs::remove_dir(path).is_ok() || !path.exists()
    }) {
        eprintln!("lab: cannot remove the cgroup {}", path.display());
    }
}

fn kill_each(path: &Path) {
    below(path).iter().for_each(|child| kill_each(child));
    let pids = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in pids
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
    {
        let _ = kill_process(pid, Signal::KILL);
    }
}
