//! What watching takes of this machine.

use std::path::Path;

use super::{Check, State, facts::without_host};
use crate::{
    capture::{self, machine},
    privilege,
};

/// All that watching takes.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![kernel(), cgroup2(), capabilities(), tracefs(), view()];
    checks.extend(hooks());
    checks
}

fn kernel() -> Check {
    let release = without_host(&machine::kernel_release());
    let (major, minor) = machine::OLDEST_KERNEL;
    if machine::kernel_version(&release).is_some_and(|version| version >= machine::OLDEST_KERNEL) {
        Check::new("kernel", State::Good, release)
    } else {
        let detail = format!("{release}: boot Linux {major}.{minor} or newer");
        Check::new("kernel", State::Missing, detail)
    }
}

fn cgroup2() -> Check {
    match machine::cgroup2_mount() {
        Some(path) => Check::new("cgroup v2", State::Good, place(&path)),
        None => Check::new(
            "cgroup v2",
            State::Missing,
            capture::CaptureError::NoCgroup2.to_string(),
        ),
    }
}

/// A mount point, unless somebody has chosen its name.
fn place(path: &Path) -> String {
    if path.starts_with("/sys") {
        path.display().to_string()
    } else {
        "mounted elsewhere than below /sys".to_owned()
    }
}

fn capabilities() -> Check {
    let missing = privilege::missing();
    if missing.is_empty() {
        Check::new("capabilities", State::Good, "all that watching takes")
    } else {
        let detail = format!(
            "{}: run leakmon as the machine's root (sudo leakmon …)",
            missing.join(", ")
        );
        Check::new("capabilities", State::Missing, detail)
    }
}

fn tracefs() -> Check {
    match machine::tracefs_mount() {
        Some(path) => Check::new("tracefs", State::Good, place(&path)),
        None => Check::new(
            "tracefs",
            State::Lesser,
            "not mounted; leakmon mounts it for itself, for a moment",
        ),
    }
}

fn view() -> Check {
    let view = machine::view();
    let detail = match (view.partial_cgroups, view.foreign_pids) {
        (false, false) => return Check::new("view", State::Good, "the whole machine"),
        (true, false) => "only a part of the machine's cgroups is visible",
        (false, true) => "not the machine's first pid namespace: programs cannot be named",
        (true, true) => {
            "only a part of the machine's cgroups is visible, and programs cannot be named"
        }
    };
    let detail = format!("{detail}; run leakmon outside the container");
    Check::new("view", State::Lesser, detail)
}

/// Whether the kernel takes each program.
fn hooks() -> Vec<Check> {
    let (trials, senders) = match capture::try_hooks() {
        Ok(tried) => tried,
        Err(error) => return vec![Check::new("hooks", State::Missing, error.to_string())],
    };
    let mut checks: Vec<Check> = trials
        .into_iter()
        .map(|trial| match trial.result {
            Ok(()) => Check::new(trial.hook, State::Good, "works"),
            Err(reason) if trial.needed => Check::new(
                trial.hook,
                State::Missing,
                format!("refused: {reason}; the kernel log may say why (dmesg)"),
            ),
            Err(reason) => Check::new(
                trial.hook,
                State::Lesser,
                format!("refused: {reason}; leakmon watches without it and says what that hides"),
            ),
        })
        .collect();
    checks.push(match senders {
        None => Check::new("senders", State::Good, "told apart on shared sockets"),
        Some(degradation) => Check::new("senders", State::Lesser, degradation.to_string()),
    });
    checks
}
