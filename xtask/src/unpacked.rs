//! systemd-resolved for the lab, out of its Debian packages: downloaded and unpacked, never installed. Its installation
//! replaces /etc/resolv.conf by a link to its own file and so takes over the machine's name resolution.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{apt, process};

/// systemd-resolved, glibc's module that asks it, and those of its libraries that no other package of the tests brings.
/// libsystemd-shared has to be of the very same version.
const PACKAGES: [&str; 5] = [
    "libip4tc2",
    "libkmod2",
    "libnss-resolve",
    "libsystemd-shared",
    "systemd-resolved",
];

/// The folder below cargo's where tests/src/need.rs looks for it.
const FOLDER: &str = "unpacked/systemd-resolved";

/// The program in its folder: Debian 12 has it below /lib, newer ones below /usr/lib.
const PROGRAMS: [&str; 2] = [
    "lib/systemd/systemd-resolved",
    "usr/lib/systemd/systemd-resolved",
];

/// What is said when it is missing and shall not be downloaded.
pub const REPORT: &str = "missing: systemd-resolved (downloaded and unpacked, never installed): a local resolver with a socket of its own\n\
                          download with: cargo xtask test";

/// Whether an earlier run has unpacked it.
pub fn is_there(target: &Path) -> bool {
    program(&target.join(FOLDER)).is_some()
}

fn program(place: &Path) -> Option<PathBuf> {
    PROGRAMS
        .iter()
        .map(|program| place.join(program))
        .find(|path| path.is_file())
}

/// Downloads and unpacks it below cargo's folder.
pub fn provide(target: &Path) -> Result<()> {
    let place = target.join(FOLDER);
    let folder = place.parent().unwrap_or(target);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("downloading {}", PACKAGES.join(", "));
    fetch(&place, folder).context("systemd-resolved could not be fetched")
}

fn fetch(place: &Path, folder: &Path) -> Result<()> {
    let work = tempfile::tempdir_in(folder)?;
    let downloaded = apt::download(&PACKAGES, work.path()).or_else(|_| {
        // The archive forgets old versions, which old lists still name; a fresh machine has no lists at all.
        apt::update()?;
        apt::download(&PACKAGES, work.path())
    })?;
    let tree = work.path().join("tree");
    for package in downloaded {
        process::run(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(package)
                .arg(&tree),
        )?;
    }
    if program(&tree).is_none() {
        bail!("the program is in none of the places where it is looked for");
    }
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    // In one step, so that what is there is always whole.
    fs::rename(&tree, place)?;
    Ok(())
}
