//! `cargo xtask run`: builds leakmon and becomes it.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::{build_ebpf, environment, process, repo};

/// Build leakmon and run it, as root.
#[derive(clap::Args)]
pub struct Args {
    /// Build and use the kernel object that logs
    #[arg(long)]
    ebpf_log: bool,
    /// leakmon's arguments
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

/// What leakmon, or a program that it starts, uses of the user's environment. sudo keeps little else.
const PASSED_ON: [&str; 22] = [
    "ALL_PROXY",
    "COLORTERM",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "FTP_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_COLOR",
    "NO_PROXY",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "SOCKS_SERVER",
    "SOCKS_VERSION",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "auto_proxy",
    "ftp_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Runs the subcommand. Does not return once leakmon has started: the process becomes leakmon (or sudo), so that
/// signals reach it and its exit code is the caller's.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut cargo = environment::cargo();
    cargo.args(["build", "--release", "--package", "leakmon"]);
    if args.ebpf_log {
        build_ebpf::run_debug_log()?;
        cargo.args(["--features", "ebpf-log"]);
    }
    process::run(&mut cargo)?;

    let leakmon = repo::target_dir()?.join("release/leakmon");
    let set: Vec<&str> = PASSED_ON
        .into_iter()
        .filter(|name| env::var_os(name).is_some())
        .collect();
    let preserve = format!("--preserve-env={}", set.join(","));
    let options: &[&str] = if set.is_empty() { &[] } else { &[&preserve] };
    let mut command = process::as_root(&leakmon, options, "load leakmon's kernel programs")?;
    environment::as_before_cargo(&mut command);
    let error = command.args(&args.arguments).exec();
    Err(error).with_context(|| format!("cannot start `{}`", process::shown(&command)))
}
