//! The command's own cgroup: whatever it starts stays in it, however it detaches itself (cgroups(7)).

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{capture::machine, posture::is_resolver};

/// A cgroup that is removed when leakmon lets go of it.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// Makes one below leakmon's own, so that what holds for the user's session holds for the command too.
    pub fn create(mount: &Path) -> anyhow::Result<Self> {
        let table = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let own = own(&table).map_or_else(
            || mount.to_owned(),
            |own| mount.join(own.trim_start_matches('/')),
        );
        let path = folder(own).join(format!("run-{}", std::process::id()));
        let created = fs::create_dir(&path);
        created.map(|()| Self { path: path.clone() }).map_err(|error| {
            anyhow::anyhow!(
                "cannot make the command's cgroup {}: {}; where the hierarchy is read-only, as in many containers, leakmon run --pid follows a process without one",
                path.display(),
                machine::plain(&error)
            )
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing runs in it or below. One that cannot be read is taken to be empty: nothing could be waited for.
    pub fn is_empty(&self) -> bool {
        fs::read_to_string(self.path.join("cgroup.events")).map_or(true, |events| {
            events.lines().any(|line| line == "populated 0")
        })
    }

    /// The processes in it and below.
    pub fn pids(&self) -> Vec<Pid> {
        pids_below(&self.path)
    }

    /// Sends a signal to all of them.
    pub fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            // One that has ended meanwhile needs none.
            let _ = kill_process(pid, signal);
        }
    }

    /// Kills all of them: at once from 5.14 on (`cgroup.kill`, Documentation/admin-guide/cgroup-v2.rst).
    pub fn kill(&self) {
        if fs::write(self.path.join("cgroup.kill"), "1").is_err() {
            self.signal(Signal::KILL);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!("the cgroup {} stays: {error}", self.path.display());
        }
    }
}

/// Where the command's cgroup is made, given leakmon's own.
///
/// The root of the hierarchy is not even its owner's to write to, and leakmon has given up what overrides that by the time
/// when the cgroup is removed; so there it is made one level deeper, and that level stays.
fn folder(own: PathBuf) -> PathBuf {
    let is_writable = own
        .metadata()
        .is_ok_and(|metadata| metadata.permissions().mode() & 0o200 != 0);
    if is_writable {
        return own;
    }
    let below = own.join("leakmon");
    // That it cannot be made is told when the next one cannot.
    let _ = fs::create_dir(&below);
    below
}

/// The path of a process's version 2 cgroup in its table (proc_pid_cgroup(5)).
fn own(table: &str) -> Option<&str> {
    table.lines().find_map(|line| line.strip_prefix("0::"))
}

fn folders_below(path: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

fn pids_below(path: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    let own = text
        .lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?));
    own.chain(folders_below(path).flat_map(|below| pids_below(&below)))
        .collect()
}

/// Removes a cgroup with those that the command made below it, as a browser's sandbox or a service manager does.
fn remove(path: &Path) -> io::Result<()> {
    for below in folders_below(path) {
        remove(&below)?;
    }
    fs::remove_dir(path)
}

/// Whether a resolver runs in this network namespace, so that the command's questions may go through it.
pub fn resolver_runs() -> bool {
    let netns = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = netns("self");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .any(|pid| {
            let exe = pid
                .starts_with(|first: char| first.is_ascii_digit())
                .then(|| fs::read_link(format!("/proc/{pid}/exe")).ok())
                .flatten();
            exe.as_deref()
                .and_then(Path::file_name)
                .and_then(|name| name.to_str())
                .is_some_and(is_resolver)
                && netns(&pid) == own
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_cgroup_is_that_of_version_2() {
        let hybrid = "5:cpu:/a\n0::/user.slice/session-2.scope\n";
        assert_eq!(own(hybrid), Some("/user.slice/session-2.scope"));
        assert_eq!(own("1:name=systemd:/\n"), None);
    }
}
