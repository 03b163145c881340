//! The environment for the programs that xtask starts: the user's own, without what cargo added to start xtask.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::repo;

/// Cargo's settings for how to reach the network and how to talk; every other `CARGO…` variable is either about
/// xtask itself or changes what is built.
const HARMLESS: [&str; 8] = [
    "CARGO_HOME",
    "CARGO_BUILD_JOBS",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// What cargo sets for the program of a package when it runs it.
const OF_XTASK: [&str; 6] = [
    "CARGO_BIN_NAME",
    "CARGO_CRATE_NAME",
    "CARGO_MANIFEST_DIR",
    "CARGO_MANIFEST_PATH",
    "CARGO_PKG_",
    "CARGO_PRIMARY_PACKAGE",
];

/// Variables besides `CARGO…` by which a user changes how everything is compiled.
const COMPILER: [&str; 8] = [
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
];

/// Cargo, started in the repository's root as the user would have started it.
pub fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(repo::root());
    as_before_cargo(&mut cargo);
    cargo
}

/// Takes away what cargo added to the environment when it started xtask.
pub fn as_before_cargo(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text == "CARGO" || OF_XTASK.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    let Some(paths) = env::var_os("LD_LIBRARY_PATH") else {
        return;
    };
    match without_cargos(&paths) {
        Some(paths) => command.env("LD_LIBRARY_PATH", paths),
        None => command.env_remove("LD_LIBRARY_PATH"),
    };
}

/// Takes away everything by which a user changes what cargo builds, for a build that must come out the same for all.
pub fn same_for_all(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let changes_the_build =
            text.starts_with("CARGO") && !HARMLESS.iter().any(|prefix| text.starts_with(prefix));
        if changes_the_build || COMPILER.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command.env_remove("LD_LIBRARY_PATH");
}

/// A search path without the folders that cargo and rustup put before the user's own; `None` when nothing is left.
fn without_cargos(paths: &OsString) -> Option<OsString> {
    let target = env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_path_buf));
    let toolchains = env::var_os("RUSTUP_HOME").map(|home| Path::new(&home).join("toolchains"));
    let is_cargos = |path: &Path| {
        [&target, &toolchains]
            .into_iter()
            .flatten()
            .any(|added| path.starts_with(added))
    };
    let own: Vec<_> = env::split_paths(paths)
        .filter(|path| !is_cargos(path) && *path != *"")
        .collect();
    if own.is_empty() {
        None
    } else {
        env::join_paths(own).ok()
    }
}
