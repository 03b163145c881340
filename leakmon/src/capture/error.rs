//! Why capture could not begin: one line each, with the remedy.

use std::{io, path::PathBuf};

/// Why capture could not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The process may not load and attach kernel programs.
    #[error(
        "not allowed to watch this machine: missing {}; run leakmon as the machine's root (sudo leakmon …)",
        .missing.join(", ")
    )]
    Privilege {
        /// Names of the missing capabilities.
        missing: Vec<&'static str>,
    },
    /// The kernel is older than the oldest supported one.
    #[error("kernel {found} is too old: leakmon needs Linux 5.10 or newer")]
    KernelTooOld {
        /// The kernel's release.
        found: String,
    },
    /// No cgroup v2 hierarchy is mounted.
    #[error(
        "no cgroup v2 hierarchy is mounted, and the hooks are attached to one; mount it: \
         mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified"
    )]
    NoCgroup2,
    /// The cgroup given by the user cannot be used.
    #[error("cannot watch cgroup {}: {reason}", .path.display())]
    Cgroup {
        /// The path given.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The embedded kernel object could not be set up.
    #[error("the kernel programs could not be loaded: {reason}")]
    Load {
        /// What the kernel said.
        reason: String,
    },
    /// The kernel refused one hook.
    #[error(
        "the kernel refused the hook {hook}: {reason}; `leakmon doctor` shows what this machine offers"
    )]
    Hook {
        /// Name of the hook.
        hook: &'static str,
        /// What the kernel said.
        reason: String,
    },
    /// An operation on the ring buffer failed.
    #[error("events of the kernel programs could not be read: {0}")]
    Events(#[from] io::Error),
}
