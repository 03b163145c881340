//! Debian's kernels, out of their packages: downloaded, never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{apt, process};

/// A kernel that can be booted.
#[derive(Debug)]
pub struct Kernel {
    /// What `uname -r` says in it.
    pub release: String,
    /// Its image.
    pub image: PathBuf,
    /// Modules that are loaded before anything runs, in order.
    pub modules: Vec<PathBuf>,
}

/// Where the image is kept.
const IMAGE: &str = "vmlinuz";

/// What Debian builds as modules and loads on demand: the tables of sockets that existed before leakmon (sock_diag(7)).
const MODULES: [&str; 6] = [
    "net/ipv4/inet_diag",
    "net/ipv4/raw_diag",
    "net/ipv4/tcp_diag",
    "net/ipv4/udp_diag",
    "net/packet/af_packet_diag",
    "net/unix/unix_diag",
];

/// The newest kernel of a series, from an earlier run or from Debian.
pub fn provide(series: &str, folder: &Path) -> Result<Kernel> {
    let release = newest(series)?;
    let place = folder.join(format!("{}_{}", package(&release), version(&release)?));
    let modules = MODULES.iter().enumerate();
    let kernel = Kernel {
        image: place.join(IMAGE),
        modules: modules
            .map(|(order, module)| place.join(file_name(order, module)))
            .collect(),
        release,
    };
    if !kernel.image.exists() || !kernel.modules.iter().all(|module| module.exists()) {
        fetch(&kernel.release, &place, folder)
            .with_context(|| format!("the kernel {} could not be fetched", kernel.release))?;
    }
    Ok(kernel)
}

fn package(release: &str) -> String {
    format!("linux-image-{release}")
}

/// A module's file: the guest loads them in the order of their names.
fn file_name(order: usize, module: &str) -> String {
    let (_, name) = module.rsplit_once('/').unwrap_or(("", module));
    format!("{order}-{name}.ko")
}

/// The release of the newest kernel of a series that apt can download.
fn newest(series: &str) -> Result<String> {
    let mut apt = Command::new("apt-cache");
    apt.args(["pkgnames", &package(series)]);
    let names = process::output(&mut apt).context("Debian's kernels come by apt")?;
    // apt remembers the names of older ones, which can no longer be had.
    let mut releases = releases(&names, series);
    releases.reverse();
    match releases
        .into_iter()
        .find(|release| version(release).is_ok())
    {
        Some(release) => Ok(release),
        None => bail!(
            "apt knows no kernel {series}: run `apt-get update`; Debian 12 has 6.1, and 6.12 in its security archive"
        ),
    }
}

/// Releases of the plain kernels of a series among package names, oldest first.
fn releases(names: &str, series: &str) -> Vec<String> {
    let mut releases: Vec<&str> = names
        .lines()
        .filter_map(|name| name.trim().strip_prefix("linux-image-"))
        .filter(|release| is_plain(release, series))
        .collect();
    releases.sort_by_key(|release| numbers(release));
    releases.into_iter().map(str::to_owned).collect()
}

/// Whether this is a kernel of the series that was built for any PC: neither for clouds nor for real time.
fn is_plain(release: &str, series: &str) -> bool {
    let Some(rest) = release
        .strip_prefix(series)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.strip_suffix("-amd64"))
    else {
        return false;
    };
    let (version, revision) = rest.split_once('+').unwrap_or((rest, ""));
    version
        .bytes()
        .all(|c| c.is_ascii_digit() || b".-".contains(&c))
        && revision.bytes().all(|c| c.is_ascii_alphanumeric())
}

/// The numbers of a release, by which releases are older or newer.
fn numbers(release: &str) -> Vec<u64> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

/// The version of a kernel's package.
fn version(release: &str) -> Result<String> {
    let mut apt = Command::new("apt-cache");
    apt.args(["show", "--no-all-versions", &package(release)]);
    let shown = process::quiet_output(&mut apt).unwrap_or_default();
    let version = shown
        .lines()
        .find_map(|line| line.strip_prefix("Version: "));
    version
        .map(str::to_owned)
        .with_context(|| format!("apt has no package {}", package(release)))
}

/// Downloads a kernel's package and takes the image and the modules out of it.
fn fetch(release: &str, place: &Path, folder: &Path) -> Result<()> {
    println!("downloading the kernel {release}");
    let work = tempfile::tempdir_in(folder)?;
    let package = apt::download(&[package(release)], work.path())?
        .pop()
        .context("apt-get downloaded nothing")?;

    let kernel = work.path().join("kernel");
    fs::create_dir(&kernel)?;
    let image = format!("./boot/vmlinuz-{release}");
    let mut patterns = vec![image.clone()];
    patterns.extend(
        MODULES
            .iter()
            .map(|module| format!("./*lib/modules/{release}/kernel/{module}.ko*")),
    );
    unpack(&package, &patterns, work.path())?;
    fs::rename(work.path().join(&image), kernel.join(IMAGE))?;
    for (order, module) in MODULES.iter().enumerate() {
        let to = kernel.join(file_name(order, module));
        take_module(work.path(), release, module, &to)
            .with_context(|| format!("the module {module}"))?;
    }
    // What an xtask with fewer modules fetched gives way.
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    // In one step, so that what is there is always whole.
    fs::rename(&kernel, place)?;
    Ok(())
}

/// Unpacks what matches the patterns.
fn unpack(package: &Path, patterns: &[String], to: &Path) -> Result<()> {
    let mut archive = Command::new("dpkg-deb");
    archive.arg("--fsys-tarfile").arg(package);
    let mut archive = archive
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start `dpkg-deb`")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--wildcards", "--directory"])
        .arg(to)
        .args(patterns);
    if let Some(stdout) = archive.stdout.take() {
        tar.stdin(stdout);
    }
    let unpacked = process::run(&mut tar);
    let status = archive.wait()?;
    unpacked?;
    if !status.success() {
        bail!("`dpkg-deb --fsys-tarfile` failed: {status}");
    }
    Ok(())
}

/// Takes a module from where it was unpacked, without its compression.
fn take_module(unpacked: &Path, release: &str, module: &str, to: &Path) -> Result<()> {
    for lib in ["lib", "usr/lib"] {
        let path = unpacked.join(format!("{lib}/modules/{release}/kernel/{module}.ko"));
        if path.exists() {
            fs::rename(&path, to)?;
            return Ok(());
        }
        let compressed = path.with_extension("ko.xz");
        if compressed.exists() {
            process::run(Command::new("xz").arg("--decompress").arg(&compressed))?;
            fs::rename(&path, to)?;
            return Ok(());
        }
    }
    bail!("is not in the kernel's package");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_plain_kernel_of_a_series_is_last() {
        let names = "linux-image-6.1.0-9-amd64\nlinux-image-6.1.0-56-amd64\nlinux-image-6.1.0-57-cloud-amd64\n\
            linux-image-6.1.0-57-rt-amd64\nlinux-image-6.1.0-57-amd64-unsigned\nlinux-image-6.1.0-57-amd64-dbg\n\
            linux-image-6.12.9+deb12-amd64\nlinux-image-6.12.117+deb12-amd64\nlinux-image-6.12.118+deb12-rt-amd64\n";
        assert_eq!(releases(names, "6.1"), ["6.1.0-9-amd64", "6.1.0-56-amd64"]);
        assert_eq!(
            releases(names, "6.12"),
            ["6.12.9+deb12-amd64", "6.12.117+deb12-amd64"]
        );
        assert!(releases(names, "6.").is_empty());
    }

    #[test]
    fn modules_are_named_for_their_order() {
        assert_eq!(file_name(1, "net/ipv4/tcp_diag"), "1-tcp_diag.ko");
    }
}
