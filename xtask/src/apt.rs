//! Installing Debian packages without starting the services that some of them bring.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Result, bail};

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
