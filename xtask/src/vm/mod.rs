//! `cargo xtask vm`: runs leakmon in virtual machines with Debian's own kernels, where vm-init asserts what it sees.
//!
//! QEMU emulates the processor: this works on machines without KVM too, and takes some ten seconds a kernel. The guest
//! has no disk and no network: its whole system is an initramfs of the programs that are installed here.

mod console;
mod guest;
mod image;
mod kernel;

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{packages, repo};
use console::Console;

/// Run the capture tests under Debian's own kernels, in virtual machines.
#[derive(clap::Args)]
pub struct Args {
    /// The kernel series to boot; may be given several times
    #[arg(long = "kernel", value_name = "SERIES", default_values = ["6.1", "6.12"])]
    kernels: Vec<String>,
    /// Keep what the consoles said even when all is well
    #[arg(long)]
    keep_log: bool,
}

/// What xtask itself runs here, besides what a Debian system always has.
const HOST_PROGRAMS: [&str; 2] = ["qemu-system-x86_64", "xz"];

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    if !cfg!(target_arch = "x86_64") {
        bail!(
            "the virtual machines run the programs that are installed here: this needs an x86_64 machine"
        );
    }
    let missing = packages::missing_of(&[&HOST_PROGRAMS[..], &image::PROGRAMS].concat());
    if !missing.is_empty() {
        bail!("{}", packages::report(&missing));
    }
    let folder = repo::target_dir()?.join("vm");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let kernels = args
        .kernels
        .iter()
        .map(|series| kernel::provide(series, &folder))
        .collect::<Result<Vec<_>>>()?;
    let built = guest::build()?;

    let mut rows = Vec::new();
    for kernel in &kernels {
        println!("\nbooting {}", kernel.release);
        let initramfs = folder.join(format!("{}.cpio", kernel.release));
        image::write(&initramfs, kernel, &built)?;
        let log = folder.join(format!("{}.log", kernel.release));
        let started = Instant::now();
        let console = guest::boot(kernel, &initramfs, &log)?;
        let took = started.elapsed();
        let _ = fs::remove_file(&initramfs);
        tell(&console);
        if console.is_good() && !args.keep_log {
            let _ = fs::remove_file(&log);
        } else {
            println!("  console: {}", log.display());
        }
        println!("{} passed, {} failed", console.passed(), console.failed());
        rows.push((kernel, console, took));
    }
    Ok(conclude(&rows))
}

/// The cases of one machine, and the end of its console when not all is well.
fn tell(console: &Console) {
    for case in &console.cases {
        match &case.failure {
            None => println!("  ok    {}", case.name),
            Some(why) => println!("  FAIL  {}: {why}", case.name),
        }
    }
    if let Some(fault) = console.fault() {
        println!("  FAIL  {fault}");
    }
    if !console.is_good() {
        println!("  the console's last lines:");
        for line in &console.tail {
            println!("    {line}");
        }
    }
}

/// The table.
fn conclude(rows: &[(&kernel::Kernel, Console, Duration)]) -> ExitCode {
    println!("\n{:<28}{:<10}{:<10}seconds", "kernel", "passed", "failed");
    for (kernel, console, took) in rows {
        println!(
            "{:<28}{:<10}{:<10}{:.1}",
            kernel.release,
            console.passed(),
            console.failed(),
            took.as_secs_f32()
        );
    }
    if rows.iter().all(|(_, console, _)| console.is_good()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
