//! Tells the program what it is built from: the commit, where there is one, and the sum of the embedded kernel object.
//! Nothing of the machine or the time goes in: the same commit gives the same words everywhere.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

/// What goes into the program, as paths of the repository: only changes of these make a build differ from its commit.
const SOURCES: [&str; 5] = [
    "Cargo.lock",
    "Cargo.toml",
    "leakmon",
    "leakmon-common",
    "leakmon-ebpf",
];

/// Digits of a commit's hash that are told. Not git's own short form, whose length depends on the clone.
const DIGITS: usize = 12;

fn main() {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = package.join("..");
    for source in SOURCES {
        rerun_on_change(&root.join(source));
    }
    let object = root.join(if env::var_os("CARGO_FEATURE_EBPF_LOG").is_some() {
        "target/ebpf-log/leakmon.bpf.o"
    } else {
        "leakmon-ebpf/leakmon.bpf.o"
    });
    rerun_on_change(&object);
    let bytes = fs::read(&object)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", object.display()));
    let sum: String = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    println!("cargo::rustc-env=LEAKMON_OBJECT_SHA256={sum}");
    let commit = commit(&root).unwrap_or_default();
    println!("cargo::rustc-env=LEAKMON_COMMIT={commit}");
}

/// The commit, as `a76475cf7e21, 2026-11-23` or `a76475cf7e21-dirty, 2026-11-23`; `None` without git or outside of a
/// clone, as in an unpacked archive.
fn commit(root: &Path) -> Option<String> {
    // A folder, or a file in a further work tree. Without it git would look for one above: another project's.
    if !root.join(".git").exists() {
        return None;
    }
    let head = git(root, &["show", "--no-patch", "--format=%H %cs", "HEAD"])?;
    let (hash, date) = head.split_once(' ')?;
    // Where the commit is noted: each changes with it. One that is not there would have cargo build anew each time.
    let branch = git(root, &["symbolic-ref", "--quiet", "HEAD"]);
    for noted in ["HEAD", "logs/HEAD", "packed-refs"]
        .into_iter()
        .chain(branch.as_deref())
    {
        let path = root.join(git(root, &["rev-parse", "--git-path", noted])?);
        if path.exists() {
            rerun_on_change(&path);
        }
    }
    // What git does not know is not built unless something that it knows was changed to name it.
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(root, &[&status[..], &SOURCES].concat())?;
    let dirty = if changed.is_empty() { "" } else { "-dirty" };
    Some(format!("{}{dirty}, {date}", hash.get(..DIGITS)?))
}

/// What git says about the repository at `root`; `None` when it cannot be started or refuses.
fn git(root: &Path, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // In a hook these name the repository that the hook runs for.
    for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(variable);
    }
    let output = command
        .arg("--no-optional-locks")
        .arg("-C")
        .arg(root)
        .args(args)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

fn rerun_on_change(path: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
}
