//! The lab's tests (tests/), which need root: for network namespaces and for BPF.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{environment, process};

/// The lab's package.
pub const PACKAGE: &str = "leakmon-lab";

/// A test program, as cargo tells of it.
struct TestProgram {
    name: String,
    executable: PathBuf,
    /// Folder of its package, in which cargo would run it.
    folder: PathBuf,
}

/// Runs the lab's tests against a built leakmon and returns the names of those test programs that failed.
pub fn run(leakmon: &Path, filter: &[String]) -> Result<Vec<String>> {
    let mut variables = vec![format!("LEAKMON_BIN={}", leakmon.display())];
    if env::var_os("CI").is_some() {
        // Skipping for want of a program must not pass for success where nobody reads the output.
        variables.push("LEAKMON_LAB_REQUIRE=1".to_owned());
    }
    if process::is_root() {
        let mut cargo = environment::cargo();
        cargo
            .args(["test", "--package", PACKAGE, "--no-fail-fast", "--"])
            .args(filter);
        cargo.envs(
            variables
                .iter()
                .filter_map(|variable| variable.split_once('=')),
        );
        return Ok(if process::succeeds(&mut cargo)? {
            vec![]
        } else {
            vec![process::shown(&cargo)]
        });
    }
    let mut failed = Vec::new();
    for program in build()? {
        println!(
            "\nas root: {} ({})",
            program.name,
            program.executable.display()
        );
        let mut command = process::as_root("env", &[], "run the lab's tests")?;
        command
            .args(&variables)
            .arg(format!("CARGO_MANIFEST_DIR={}", program.folder.display()));
        if let Some(backtrace) = env::var_os("RUST_BACKTRACE") {
            command.arg(format!("RUST_BACKTRACE={}", backtrace.to_string_lossy()));
        }
        command
            .arg(&program.executable)
            .args(filter)
            .current_dir(&program.folder);
        if !process::succeeds(&mut command)? {
            failed.push(format!("{PACKAGE} {}", program.name));
        }
    }
    Ok(failed)
}

/// Builds the lab's test programs as the user, so that nothing in the target folder belongs to root.
fn build() -> Result<Vec<TestProgram>> {
    let mut cargo = environment::cargo();
    cargo.args([
        "test",
        "--package",
        PACKAGE,
        "--no-run",
        "--message-format=json-render-diagnostics",
    ]);
    cargo.stderr(Stdio::inherit());
    test_programs(&process::output(&mut cargo)?)
}

/// Picks the test programs from cargo's messages.
fn test_programs(messages: &str) -> Result<Vec<TestProgram>> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        #[serde(default)]
        executable: Option<PathBuf>,
        manifest_path: Option<PathBuf>,
        target: Option<Target>,
        profile: Option<Profile>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    let mut programs = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Message =
            serde_json::from_str(line).context("cannot read cargo's messages")?;
        if message.reason != "compiler-artifact"
            || !message.profile.is_some_and(|profile| profile.test)
        {
            continue;
        }
        if let (Some(executable), Some(target), Some(manifest)) =
            (message.executable, message.target, message.manifest_path)
        {
            let folder = manifest.parent().map(Path::to_path_buf).unwrap_or_default();
            programs.push(TestProgram {
                name: target.name,
                executable,
                folder,
            });
        }
    }
    // Cargo tells of them in the order in which they were done.
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_picked_from_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","manifest_path":"/r/x/Cargo.toml","target":{"name":"x"},"profile":{"test":false},"executable":null}
{"reason":"build-script-executed","package_id":"y"}
{"reason":"compiler-artifact","manifest_path":"/r/tests/Cargo.toml","target":{"name":"curl"},"profile":{"test":true},"executable":"/t/curl-1"}
{"reason":"build-finished","success":true}
"#;
        let programs = test_programs(messages).unwrap();
        assert_eq!(programs.len(), 1);
        assert_eq!(programs[0].name, "curl");
        assert_eq!(programs[0].executable, Path::new("/t/curl-1"));
        assert_eq!(programs[0].folder, Path::new("/r/tests"));
    }
}
