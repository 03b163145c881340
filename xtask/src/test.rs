//! `cargo xtask test`: installs what the tests need and runs all of them, whatever fails on the way.

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::{apt, environment, lab, packages, process, repo, unpacked};

/// Install what the tests need and run them all.
#[derive(clap::Args)]
pub struct Args {
    /// Install nothing: list what is missing and stop
    #[arg(long)]
    no_install: bool,
    /// Check the formatting and run clippy too
    #[arg(long)]
    lint: bool,
    /// Run only tests whose names contain one of these
    filter: Vec<String>,
}

const LINTS: [&[&str]; 3] = [
    &["fmt", "--all", "--check"],
    &[
        "fmt",
        "--all",
        "--check",
        "--manifest-path",
        "leakmon-ebpf/Cargo.toml",
    ],
    &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ],
];

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    if !provide(args.no_install)? {
        return Ok(ExitCode::from(2));
    }
    let mut failed = Vec::new();
    let mut cargo = |arguments: &[&str], filter: &[String]| -> Result<bool> {
        let mut cargo = environment::cargo();
        cargo.args(arguments).args(filter);
        println!("\n{}", process::shown(&cargo));
        let succeeded = process::succeeds(&mut cargo)?;
        if !succeeded {
            failed.push(process::shown(&cargo));
        }
        Ok(succeeded)
    };
    if args.lint {
        for lint in LINTS {
            cargo(lint, &[])?;
        }
    }
    cargo(
        &[
            "test",
            "--workspace",
            "--exclude",
            lab::PACKAGE,
            "--no-fail-fast",
            "--",
        ],
        &args.filter,
    )?;
    if cargo(&["build", "--package", "leakmon"], &[])? {
        let leakmon = repo::target_dir()?.join("debug/leakmon");
        match lab::run(&leakmon, &args.filter) {
            Ok(programs) => failed.extend(programs),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    if failed.is_empty() {
        println!("\nall tests passed");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("\nerror: these failed:\n  {}", failed.join("\n  "));
    Ok(ExitCode::FAILURE)
}

/// Sees to it that the programs that the tests use are there; false when they are not and shall not be installed.
fn provide(no_install: bool) -> Result<bool> {
    // Both, that one look tells of all that is missing.
    let installed = provide_installed(no_install)?;
    let unpacked = provide_unpacked(no_install)?;
    Ok(installed && unpacked)
}

/// Those that are downloaded and not installed.
fn provide_unpacked(no_install: bool) -> Result<bool> {
    let target = repo::target_dir()?;
    if unpacked::is_there(&target) {
        return Ok(true);
    }
    if no_install {
        eprintln!("{}", unpacked::REPORT);
        return Ok(false);
    }
    unpacked::provide(&target)?;
    Ok(true)
}

/// Those that are installed.
fn provide_installed(no_install: bool) -> Result<bool> {
    let missing = packages::missing();
    if missing.is_empty() {
        return Ok(true);
    }
    if no_install {
        eprintln!("{}", packages::report(&missing));
        return Ok(false);
    }
    let names = packages::installable(&missing);
    let services: Vec<&str> = missing
        .iter()
        .flat_map(|package| package.services)
        .copied()
        .collect();
    apt::install(&names, &services)?;
    let missing = packages::missing();
    if let Some(package) = missing.iter().find(|package| names.contains(&package.name)) {
        bail!(
            "{} is installed, and yet not all of its programs are where the tests look: {}",
            package.name,
            package.programs.join(", ")
        );
    }
    if !missing.is_empty() {
        eprintln!("{}", packages::report(&missing));
    }
    Ok(true)
}
