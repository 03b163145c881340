//! What the committed kernel object was built from and with.
//!
//! The object is committed so that building leakmon takes stable Rust and nothing else. The manifest beside it lets
//! a plain test tell, without any of the kernel object's tools, that somebody changed the sources and forgot the object.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::repo;

/// Files and folders that decide what the object is, from the repository's root.
///
/// The root's Cargo.toml is not among them, though leakmon-common inherits its edition and its dependency from there:
/// it changes often for reasons that have nothing to do with the object. The lock file pins that dependency, and
/// `cargo xtask build-ebpf --check` builds with the root's Cargo.toml and would see any other influence.
const SOURCES: [&str; 6] = [
    "leakmon-common/Cargo.toml",
    "leakmon-common/src",
    "leakmon-ebpf/.cargo/config.toml",
    "leakmon-ebpf/Cargo.lock",
    "leakmon-ebpf/Cargo.toml",
    "leakmon-ebpf/src",
];

const HEADER: &str = "\
# What leakmon.bpf.o was built from and with. Written by `cargo xtask build-ebpf`; never edit it by hand.
# `cargo test -p xtask` compares both sums; `cargo xtask build-ebpf --check` rebuilds the object and compares its bytes.
";

/// The content of the manifest.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// SHA-256 of the sources, as [`sources_sha256`] counts it.
    pub sources_sha256: String,
    /// SHA-256 of the object.
    pub object_sha256: String,
    /// The tools that made the object.
    pub tools: Tools,
}

/// The tools that decide the object's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tools {
    /// What `rustc --version` says.
    pub rustc: String,
    /// What `bpf-linker --version` says.
    pub bpf_linker: String,
    /// Version of the LLVM that bpf-linker uses, which writes the machine code.
    pub llvm: String,
}

impl Manifest {
    /// Reads the committed manifest.
    pub fn read(root: &Path) -> Result<Self> {
        let text = fs::read_to_string(root.join(repo::MANIFEST)).with_context(|| {
            format!(
                "cannot read {}: run `cargo xtask build-ebpf`",
                repo::MANIFEST
            )
        })?;
        toml::from_str(&text).with_context(|| {
            format!(
                "{} is damaged: run `cargo xtask build-ebpf`",
                repo::MANIFEST
            )
        })
    }

    /// The manifest as it is committed.
    pub fn to_text(&self) -> Result<String> {
        Ok(format!(
            "{HEADER}{}",
            toml::to_string(self).context("cannot write the manifest as TOML")?
        ))
    }
}

/// The files that decide what the object is, from the repository's root and in order.
pub fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut todo: Vec<PathBuf> = SOURCES.iter().map(PathBuf::from).collect();
    while let Some(path) = todo.pop() {
        let full = root.join(&path);
        let unreadable = || {
            format!(
                "cannot read {}, which the kernel object is built from",
                full.display()
            )
        };
        if fs::metadata(&full).with_context(unreadable)?.is_dir() {
            for entry in fs::read_dir(&full).with_context(unreadable)? {
                todo.push(path.join(entry.with_context(unreadable)?.file_name()));
            }
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// SHA-256 over all sources. Each file's path and length go in before its bytes, so that renaming a file, or moving
/// text from the end of one to the start of the next, counts as a change.
pub fn sources_sha256(root: &Path) -> Result<String> {
    let mut sum = Sha256::new();
    let mut add = |bytes: &[u8]| {
        sum.update((bytes.len() as u64).to_le_bytes());
        sum.update(bytes);
    };
    for path in sources(root)? {
        let full = root.join(&path);
        add(path.as_os_str().as_encoded_bytes());
        add(&fs::read(&full).with_context(|| format!("cannot read {}", full.display()))?);
    }
    Ok(hex(&sum.finalize()))
}

/// SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of the kernel programs that does not come with its object must not be merged.
    #[test]
    fn committed_object_matches_its_sources() {
        let root = repo::root();
        let manifest = Manifest::read(&root).unwrap();
        assert_eq!(
            manifest.sources_sha256,
            sources_sha256(&root).unwrap(),
            "the sources of the kernel programs changed after {} was built: run `cargo xtask build-ebpf`",
            repo::OBJECT,
        );
        let object = fs::read(root.join(repo::OBJECT)).unwrap();
        assert_eq!(
            manifest.object_sha256,
            sha256(&object),
            "{} is not the object that {} describes: run `cargo xtask build-ebpf`",
            repo::OBJECT,
            repo::MANIFEST,
        );
    }

    #[test]
    fn a_manifest_survives_being_written_and_read() {
        let tools = Tools {
            rustc: "rustc 1".into(),
            bpf_linker: "bpf-linker 2".into(),
            llvm: "3".into(),
        };
        let manifest = Manifest {
            sources_sha256: "aa".into(),
            object_sha256: "bb".into(),
            tools,
        };
        assert_eq!(
            toml::from_str::<Manifest>(&manifest.to_text().unwrap()).unwrap(),
            manifest
        );
    }

    #[test]
    fn a_renamed_file_counts_as_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for path in SOURCES {
            let is_folder = path.ends_with("src");
            let file = if is_folder {
                root.join(path).join("main.rs")
            } else {
                root.join(path)
            };
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, path).unwrap();
        }
        let before = sources_sha256(root).unwrap();
        assert_eq!(before, sources_sha256(root).unwrap());
        fs::rename(
            root.join("leakmon-ebpf/src/main.rs"),
            root.join("leakmon-ebpf/src/other.rs"),
        )
        .unwrap();
        assert_ne!(before, sources_sha256(root).unwrap());
    }

    #[test]
    fn a_missing_source_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = sources(folder.path()).unwrap_err().to_string();
        assert!(error.contains("leakmon-ebpf/src"), "{error}");
    }
}
