//! Which capabilities watching takes, and which are kept once the programs are attached (capabilities(7)).

pub use caps::Capability;
use caps::{CapSet, CapsHashSet};

use crate::capture::machine;

/// Loading and attaching the kernel programs, and reading other users' processes.
const NEEDED: [(Capability, &str); 5] = [
    (Capability::CAP_BPF, "CAP_BPF"),
    (Capability::CAP_PERFMON, "CAP_PERFMON"),
    (Capability::CAP_NET_ADMIN, "CAP_NET_ADMIN"),
    (Capability::CAP_SYS_PTRACE, "CAP_SYS_PTRACE"),
    (Capability::CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH"),
];

/// Kept for the rest of the run: reading maps (before 5.19 the kernel asks for `CAP_BPF` on every bpf call), and
/// reading /proc.
const KEPT: [Capability; 3] = [
    Capability::CAP_BPF,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];

/// Names of the capabilities that this process lacks and needs.
#[must_use]
pub fn missing() -> Vec<&'static str> {
    if !machine::in_first_user_namespace() {
        return vec!["privileges outside this user namespace (a rootless container?)"];
    }
    let held = caps::read(None, CapSet::Effective).unwrap_or_default();
    NEEDED
        .iter()
        .filter(|(capability, _)| !held.contains(capability))
        .map(|(_, name)| *name)
        .collect()
}

/// Nice value of a run (nice(2)): in a flood each of many busy programs gets as much processor time as leakmon, which is
/// then too late to empty the ring buffer. It needs a tenth of one at most, and sleeps otherwise. auditd does the same.
const NICE: i32 = -10;

/// Comes before busy programs when processor time is short. Not to be allowed to is no reason not to watch.
pub fn come_first() {
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("the priority could not be raised: {error}");
    }
}

/// Gives up every capability, for good.
///
/// # Errors
/// When the kernel refuses, in words.
pub fn drop_all() -> Result<(), String> {
    for set in [
        CapSet::Ambient,
        CapSet::Inheritable,
        CapSet::Effective,
        CapSet::Permitted,
    ] {
        caps::clear(None, set).map_err(|error| error.to_string())?;
    }
    rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())
}

/// Gives up every capability that is not needed any more, for good; these are, beside what every run needs.
///
/// # Errors
/// When the kernel refuses, in words.
pub fn drop_unneeded(needed: &[Capability]) -> Result<(), String> {
    let held = caps::read(None, CapSet::Permitted).map_err(|error| error.to_string())?;
    let kept: CapsHashSet = KEPT
        .iter()
        .chain(needed)
        .copied()
        .filter(|capability| held.contains(capability))
        .collect();
    caps::clear(None, CapSet::Ambient).map_err(|error| error.to_string())?;
    caps::clear(None, CapSet::Inheritable).map_err(|error| error.to_string())?;
    caps::set(None, CapSet::Effective, &kept).map_err(|error| error.to_string())?;
    caps::set(None, CapSet::Permitted, &kept).map_err(|error| error.to_string())?;
    // Nothing that this process starts can win privileges back.
    rustix::thread::set_no_new_privs(true).map_err(|error| error.to_string())
}
