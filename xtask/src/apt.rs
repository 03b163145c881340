//! Installing Debian packages without starting the services that some of them bring.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Installs the packages named in its arguments; `$SERVICES` are units that must not run because of it.
///
/// `policy-rc.d` is Debian's way to forbid package scripts to start services: 101 means "do not". One that is there
/// is somebody's own decision and stays. The trap takes ours away again on errors and signals too.
const SCRIPT: &str = r#"
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' HUP TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends "$@"
if command -v systemctl > /dev/null; then
    for service in $SERVICES; do systemctl --quiet disable "$service" 2> /dev/null || true; done
fi
"#;

/// The command that a user would type to install these packages.
pub fn command_line(packages: &[impl AsRef<str>]) -> String {
    let sudo = if process::is_root() { "" } else { "sudo " };
    let packages = packages
        .iter()
        .map(AsRef::as_ref)
        .collect::<Vec<_>>()
        .join(" ");
    format!("{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {packages}")
}

/// Installs packages, as root. Of what they bring, `services` are neither started now nor at the next boot.
pub fn install(packages: &[impl AsRef<str>], services: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = packages.iter().map(AsRef::as_ref).collect();
    if process::find("apt-get").is_none() {
        bail!(
            "this system has no apt-get: install by other means what Debian calls {}",
            names.join(", ")
        );
    }
    println!("installing {}", names.join(", "));
    let mut command = process::as_root("env", &[], "install packages")?;
    command
        .arg(format!("SERVICES={}", services.join(" ")))
        .args(["sh", "-euc", SCRIPT, "sh"])
        .args(&names);
    if process::succeeds(&mut command)? {
        return Ok(());
    }
    bail!(
        "apt-get could not install {}: its own message is above",
        names.join(", ")
    );
}

/// Downloads packages into a folder that holds no other, without installing them, and gives their files. Nobody need be
/// root for it.
pub fn download(packages: &[impl AsRef<str>], folder: &Path) -> Result<Vec<PathBuf>> {
    let mut apt = Command::new("apt-get");
    if process::is_root() {
        // apt would download as a user who may not write here.
        apt.args(["-o", "APT::Sandbox::User=root"]);
    }
    apt.args(["download", "-qq"])
        .args(packages.iter().map(AsRef::as_ref))
        .current_dir(folder);
    process::run(&mut apt)?;
    let files: Vec<PathBuf> = fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    if files.len() != packages.len() {
        bail!(
            "apt-get downloaded {} files for {} packages",
            files.len(),
            packages.len()
        );
    }
    Ok(files)
}

/// Reads the archive's lists anew, as root.
pub fn update() -> Result<()> {
    let mut apt = process::as_root("apt-get", &[], "read the archive's lists")?;
    process::run(apt.arg("update")).context("the archive's lists cannot be read")
}

/// Whether this is Ubuntu, whose archive has empty packages in place of the browsers.
pub fn is_ubuntu() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release
        .lines()
        .any(|line| line == "ID=ubuntu" || line == "ID=\"ubuntu\"")
}

/// Whether a program is run by snap, in a sandbox that reaches neither the lab's folders nor its namespaces.
pub fn is_snap(program: &Path) -> bool {
    if program
        .canonicalize()
        .is_ok_and(|real| real.starts_with("/snap") || real.ends_with("bin/snap"))
    {
        return true;
    }
    // Ubuntu's transition package has a shell script that starts the snap.
    let Ok(file) = File::open(program) else {
        return false;
    };
    let mut head = Vec::new();
    file.take(4096).read_to_end(&mut head).is_ok()
        && String::from_utf8_lossy(&head).contains("/snap/bin/")
}
