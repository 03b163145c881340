//! The programs for the guest, and the guest itself.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::Console;
use super::kernel::Kernel;
use crate::{environment, process, repo};

/// leakmon for this is linked statically.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// A machine that is not done by then hangs: it takes some fifteen seconds on an idle machine of today.
const LIMIT: Duration = Duration::from_secs(180);
/// How often is looked whether it is done.
const STEP: Duration = Duration::from_millis(100);

/// What the kernel is told: the console, little talk, and to stop at once when it panics.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1";

/// The programs of this repository that go into the guest.
#[derive(Debug)]
pub struct Built {
    /// The agent.
    pub leakmon: PathBuf,
    /// The first process.
    pub init: PathBuf,
}

/// Builds them: the agent as it is run where nothing else is, the first process as every other program is here.
pub fn build() -> Result<Built> {
    provide_target()?;
    let mut cargo = environment::cargo();
    cargo.args(["build", "--release", "--target", TARGET]);
    process::run(cargo.args(["--package", "leakmon"]))?;
    let mut cargo = environment::cargo();
    process::run(cargo.args(["build", "--package", "leakmon-vm-init"]))?;
    let target = repo::target_dir()?;
    Ok(Built {
        leakmon: target.join(TARGET).join("release/leakmon"),
        init: target.join("debug/leakmon-vm-init"),
    })
}

/// Sees to it that Rust's library for a static leakmon is there.
fn provide_target() -> Result<()> {
    let sysroot = || process::output(Command::new("rustc").args(["--print", "sysroot"]));
    let library = Path::new(sysroot()?.trim())
        .join("lib/rustlib")
        .join(TARGET);
    if library.exists() {
        return Ok(());
    }
    if process::find("rustup").is_none() {
        bail!("Rust's library for {TARGET} is missing, and there is no rustup to add it with");
    }
    process::run(Command::new("rustup").args(["target", "add", TARGET]))
}

/// Boots a kernel and waits for the machine's end; its console goes to a file.
pub fn boot(kernel: &Kernel, initramfs: &Path, log: &Path) -> Result<Console> {
    let console = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut qemu = Command::new("qemu-system-x86_64");
    // TCG and not KVM: the same on every machine, whatever its /dev/kvm is worth.
    qemu.args(["-accel", "tcg", "-smp", "2", "-m", "1G"])
        .args(["-nodefaults", "-no-user-config", "-nic", "none"])
        .args(["-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE])
        .stdin(Stdio::null())
        .stdout(console);
    let mut machine = qemu.spawn().context("cannot start `qemu-system-x86_64`")?;
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = machine.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= deadline {
            machine.kill()?;
            machine.wait()?;
            break None;
        }
        thread::sleep(STEP);
    };
    if status.is_some_and(|status| !status.success()) {
        bail!("qemu-system-x86_64 failed: its own message is above");
    }
    let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    Ok(Console::read(
        &String::from_utf8_lossy(&text),
        &kernel.release,
        status.is_none(),
    ))
}
