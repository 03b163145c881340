//! Removes what killed test binaries have left. A lab takes its things away when it is dropped, but not when its process
//! is killed; then they stay, with the programs in them, until the next lab finds them by the process id in their name.

use crate::cgroup::{self, Cgroup};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the name of everything of a lab begins with; the id of its process follows.
pub const PREFIX: &str = "leakmon-lab-";

/// Removes the things of labs whose process is dead. Those of a living one are left alone, and so are those of a dead
/// one whose id is in use again: they wait for a later time. Another lab may be sweeping just now, so what is gone
/// meanwhile is no fault.
pub fn leftovers() {
    // The programs first: they hold the rest.
    for path in cgroup::v2_mount().iter().flat_map(|root| abandoned(root)) {
        drop(Cgroup::adopt(path));
    }
    for path in abandoned(Path::new("/run/netns")) {
        let name = path.file_name().unwrap_or_default();
        let _ = Command::new("ip")
            .env("PATH", crate::need::PATH)
            .args([OsStr::new("netns"), OsStr::new("del"), name])
            .output();
    }
    for place in [Path::new("/etc/netns"), &std::env::temp_dir()] {
        for path in abandoned(place) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// What is in this folder of labs whose process is dead.
fn abandoned(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let owner = entry.file_name().to_str().and_then(owner);
            owner.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
        })
        .map(|entry| entry.path())
        .collect()
}

/// The process whose lab has made what has this name.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    pid.parse().ok().filter(|&pid| pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lab_has_an_owner() {
        assert_eq!(owner("leakmon-lab-4711-0"), Some(4711));
        assert_eq!(owner("leakmon-lab-4711-0-c"), Some(4711));
        // A temporary folder, with its random end.
        assert_eq!(owner("leakmon-lab-4711-12x9Yk2Q"), Some(4711));
        for other in [
            "leakmon-lab-browser.lock",
            "leakmon-lab-",
            "leakmon-lab-0-0",
            "leakmon-lab-4711",
            "leakmon-lab--1",
            "4711-0",
        ] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn the_living_keep_what_they_have() {
        let place = tempfile::tempdir().expect("a temporary folder can be made");
        // Above what a pid can be (PID_MAX_LIMIT, include/linux/threads.h).
        let dead = format!("{PREFIX}{}-0", u32::MAX);
        let own = format!("{PREFIX}{}-0", std::process::id());
        let first = format!("{PREFIX}1-0");
        for name in [&dead, &own, &first] {
            fs::create_dir(place.path().join(name)).expect("a folder can be made");
        }
        assert_eq!(abandoned(place.path()), [place.path().join(dead)]);
    }
}
