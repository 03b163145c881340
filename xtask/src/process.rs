//! Starting other programs, and saying in one line what went wrong with them.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Where Debian keeps programs that are meant for root and so are missing from a user's `PATH`.
const SBIN: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Runs a program to its end; its output goes where xtask's goes.
pub fn run(command: &mut Command) -> Result<()> {
    if succeeds(command)? {
        return Ok(());
    }
    bail!("`{}` failed", shown(command));
}

/// Runs a program to its end and tells whether it said that all is well.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    Ok(status.success())
}

/// Runs a program to its end and returns what it printed; its messages go where xtask's go.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", shown(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed what is no text", shown(command)))
}

/// What a program prints when it can be started and says that all is well, without its messages.
pub fn quiet_output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Finds a program as root would: in `PATH`, then where programs for root lie.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    find_in(&path, program).or_else(|| find_in(SBIN.as_ref(), program))
}

/// Finds a program in the folders of a search path.
pub fn find_in(path: &OsStr, program: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Whether xtask runs as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The start of a command line that runs as root: the program itself when xtask is root, `sudo` otherwise.
/// `reason` completes the sentence "root is needed to …".
pub fn as_root(program: impl AsRef<OsStr>, sudo_options: &[&str], reason: &str) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    let Some(sudo) = find("sudo") else {
        bail!("root is needed to {reason}, and there is no sudo: run the same command as root");
    };
    let mut command = Command::new(sudo);
    command.args(sudo_options).arg("--").arg(program);
    Ok(command)
}

/// A command line as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
