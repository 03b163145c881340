//! xtask as cargo's `RUSTC_WRAPPER`, so that the kernel object comes out the same in every folder.
//!
//! Two things of the folder get into an object. Source paths do, and rustc has a flag against them; here each package's
//! folder is known exactly, wherever the sources of dependencies and of `core` lie on this machine. The other is the
//! `-C metadata` of cargo, from which rustc makes the hash in every symbol: for a dependency by path outside the
//! workspace (leakmon-common, as the kernel programs see it) it is made from the absolute path, and no flag or setting
//! changes that.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::manifest;

/// Set for the build of the kernel object: xtask was started as a wrapper of rustc.
const ASKED: &str = "LEAKMON_XTASK_WRAPS_RUSTC";
/// What the kernel programs are compiled for. Compilations for the host (build scripts, macros) are left alone.
pub const TARGET: &str = "bpfel-unknown-none";

/// Makes the given cargo call xtask in place of rustc.
pub fn wrap(cargo: &mut Command) -> Result<()> {
    let own = env::current_exe().context("cannot find xtask's own program file")?;
    cargo.env("RUSTC_WRAPPER", own).env(ASKED, "1");
    Ok(())
}

/// Whether xtask was started in place of rustc.
pub fn is_asked() -> bool {
    env::var_os(ASKED).is_some()
}

/// Becomes rustc.
pub fn exec() -> Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let Some(rustc) = arguments.next() else {
        bail!("{ASKED} is set, and there is no rustc to become: unset it")
    };
    let arguments = match Package::of_cargo() {
        Some(package) => independent_of_folders(arguments.collect(), &package),
        None => arguments.collect(),
    };
    let error = Command::new(&rustc).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", rustc.display()))
}

/// The package that cargo has compiled.
struct Package {
    name: String,
    version: String,
    /// Its folder, under the names that a compiler may see it by.
    folders: Vec<PathBuf>,
}

impl Package {
    /// Cargo tells in the environment; nothing is there when it merely asks rustc about itself.
    fn of_cargo() -> Option<Self> {
        let folder = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
        let mut folders = vec![folder];
        if let Ok(real) = folders[0].canonicalize() {
            folders.push(real);
        }
        folders.dedup();
        Some(Self {
            name: env::var("CARGO_PKG_NAME").ok()?,
            version: env::var("CARGO_PKG_VERSION").ok()?,
            folders,
        })
    }
}

/// The same arguments for rustc, with everything replaced or hidden that tells where the sources lie.
fn independent_of_folders(arguments: Vec<OsString>, package: &Package) -> Vec<OsString> {
    let after = |flag: &str| {
        arguments
            .iter()
            .skip_while(|argument| *argument != flag)
            .nth(1)
    };
    let Some(crate_name) =
        after("--crate-name").filter(|_| after("--target").is_some_and(|target| target == TARGET))
    else {
        return arguments;
    };
    let identity = [
        &package.name,
        &package.version,
        &*crate_name.to_string_lossy(),
    ]
    .join(" ");
    let metadata = OsString::from(format!(
        "metadata={}",
        &manifest::sha256(identity.as_bytes())[..16]
    ));
    let remaps = package.folders.iter().map(|folder| {
        let mut remap = OsString::from("--remap-path-prefix=");
        remap.push(folder);
        remap.push(format!("=/{}-{}", package.name, package.version));
        remap
    });
    let is_metadata = |argument: &OsString| argument.to_string_lossy().starts_with("metadata=");
    let kept = arguments.iter().map(|argument| {
        if is_metadata(argument) {
            &metadata
        } else {
            argument
        }
        .clone()
    });
    kept.chain(remaps).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(folder: &str, arguments: &[&str]) -> Vec<String> {
        let package = Package {
            name: "p".into(),
            version: "1.2.3".into(),
            folders: vec![folder.into()],
        };
        let arguments = arguments.iter().map(OsString::from).collect();
        let rewritten = independent_of_folders(arguments, &package);
        rewritten
            .into_iter()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_folder_is_hidden_from_the_object() {
        let arguments = [
            "--crate-name",
            "p",
            "-C",
            "metadata=0123",
            "--target",
            TARGET,
        ];
        let here = rewritten("/here/p", &arguments);
        assert_eq!(here.last().unwrap(), "--remap-path-prefix=/here/p=/p-1.2.3");
        assert!(!here.contains(&"metadata=0123".to_owned()));
        let there = rewritten(
            "/there/p",
            &[
                "--crate-name",
                "p",
                "-C",
                "metadata=4567",
                "--target",
                TARGET,
            ],
        );
        assert_eq!(here[..6], there[..6]);
    }

    #[test]
    fn compilations_for_the_host_are_left_alone() {
        let arguments = ["--crate-name", "build_script_build", "-C", "metadata=0123"];
        assert_eq!(rewritten("/here/p", &arguments), arguments);
    }
}
