//! What this leakmon was built from: `leakmon --version`, and the head of a bug report.

use std::sync::LazyLock;

/// The version, as 0.1.0.
pub const NUMBER: &str = env!("CARGO_PKG_VERSION");
/// SHA-256 of the embedded kernel object, in hexadecimal digits. The one of the committed object stands in
/// leakmon-ebpf/leakmon.bpf.o.manifest.toml.
pub const OBJECT_SHA256: &str = env!("LEAKMON_OBJECT_SHA256");
/// The commit with its date, as build.rs found them; empty outside of a clone.
const COMMIT: &str = env!("LEAKMON_COMMIT");

/// The commit that it was built from, with that commit's date, as `a76475cf7e21, 2026-11-23`; the hash ends in `-dirty` when
/// the sources were others than the commit's. `None` when it was built from an archive.
#[must_use]
pub fn commit() -> Option<&'static str> {
    (!COMMIT.is_empty()).then_some(COMMIT)
}

/// What `--version` says after the program's name.
pub static LONG: LazyLock<String> = LazyLock::new(|| long(commit()));

fn long(commit: Option<&str>) -> String {
    let commit = commit.unwrap_or("commit unknown");
    format!("{NUMBER} ({commit})\nkernel object sha256:{OBJECT_SHA256}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_a_commit() {
        let head = |commit| {
            let text = long(commit);
            let (head, object) = text.split_once('\n').unwrap();
            assert_eq!(object, format!("kernel object sha256:{OBJECT_SHA256}"));
            head.to_owned()
        };
        let dirty = "a76475cf7e21-dirty, 2026-11-23";
        assert_eq!(head(Some(dirty)), format!("{NUMBER} ({dirty})"));
        assert_eq!(head(None), format!("{NUMBER} (commit unknown)"));
    }

    /// git itself says which commit it is, or that there is none. The one that was built from may have changed since: then
    /// cargo would have built it anew.
    #[test]
    fn the_commit_is_the_one_that_git_tells() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let head = || {
            let output = std::process::Command::new("git")
                .env_remove("GIT_DIR")
                .args(["-C", root, "rev-parse", "HEAD"])
                .output()
                .ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let is_clone = std::path::Path::new(root).join(".git").exists();
        let head = is_clone.then(head).flatten();
        let told = commit().map(|commit| commit.split(['-', ',']).next().unwrap());
        assert_eq!(told, head.as_deref().and_then(|hash| hash.get(..12)));
    }
}
