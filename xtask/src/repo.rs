//! Where things lie in the repository.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{environment, process};

/// The committed kernel object, from the repository's root.
pub const OBJECT: &str = "leakmon-ebpf/leakmon.bpf.o";
/// What the committed kernel object was built from and with, from the repository's root.
pub const MANIFEST: &str = "leakmon-ebpf/leakmon.bpf.o.manifest.toml";

/// The repository's root: the folder above this crate's.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// The folder that cargo builds into, which the user may have moved.
pub fn target_dir() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let mut cargo = environment::cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
    let json = process::output(&mut cargo)?;
    let metadata: Metadata =
        serde_json::from_str(&json).context("`cargo metadata` printed what is no metadata")?;
    Ok(metadata.target_directory)
}
