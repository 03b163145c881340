//! What the lab needs of the machine, and what happens when it is not there.

use std::env;
use std::io::Write;
use std::path::PathBuf;

/// Set (to anything) where a skipped scenario must count as a failure, as in continuous integration.
pub const REQUIRE: &str = "LEAKMON_LAB_REQUIRE";

/// The search path of every program in the lab: the tester's own may put wrappers in front of the real ones.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What `cargo xtask test` has downloaded and not installed, below cargo's folder.
const UNPACKED: &str = "unpacked/systemd-resolved";

/// Where a program is: in the lab's search path, or among the unpacked ones.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let unpacked = unpacked().into_iter();
    env::split_paths(PATH)
        // Debian 12 has it below /lib, newer ones below /usr/lib.
        .chain(
            unpacked.flat_map(|tree| ["lib", "usr/lib"].map(|lib| tree.join(lib).join("systemd"))),
        )
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

/// The tree of the packages that are unpacked and not installed; nothing where `cargo xtask test` has not been.
#[must_use]
pub fn unpacked() -> Option<PathBuf> {
    // A test runs where cargo has built it.
    let built = env::current_exe().ok()?;
    let mut above = built.ancestors().map(|folder| folder.join(UNPACKED));
    above.find(|tree| tree.is_dir())
}

/// Says whether a scenario can run here. If not, says loudly what is missing, or panics under [`REQUIRE`].
#[must_use]
pub fn met(scenario: &str, programs: &[&str]) -> bool {
    let missing = missing(programs);
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert!(
        env::var_os(REQUIRE).is_none(),
        "{scenario}: {REQUIRE} is set, and this is missing: {missing}"
    );
    // Not eprintln!: the test harness swallows what that writes in a test that passes.
    let _ = writeln!(std::io::stderr(), "SKIPPED {scenario}: missing {missing}");
    false
}

fn missing(programs: &[&str]) -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("root (network namespaces and BPF need it)".to_owned());
    }
    if crate::cgroup::v2_mount().is_none() {
        missing.push("a mounted cgroup v2 hierarchy".to_owned());
    }
    missing.extend(
        programs
            .iter()
            .filter(|name| find(name).is_none())
            .map(|name| format!("the program {name}")),
    );
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_named() {
        let missing = missing(&["sh", "no-such-program-anywhere"]);
        assert!(
            missing
                .iter()
                .any(|line| line == "the program no-such-program-anywhere"),
            "{missing:?}"
        );
        assert!(
            !missing.iter().any(|line| line == "the program sh"),
            "{missing:?}"
        );
    }
}
