//! What this machine offers for capture.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::CaptureError;

/// Oldest kernel with every hook and helper in use.
pub const OLDEST_KERNEL: (u32, u32) = (5, 10);

/// Inode of the initial cgroup namespace (`PROC_CGROUP_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";
/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The release of the running kernel, as `6.1.0-18-amd64`.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned()
}

/// Major and minor version in a kernel's release.
#[must_use]
pub fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Where the cgroup v2 hierarchy is mounted: under /sys/fs/cgroup (unified) or beside version 1 (hybrid).
#[must_use]
pub fn cgroup2_mount() -> Option<PathBuf> {
    mount_of_type(&fs::read_to_string("/proc/self/mounts").ok()?, "cgroup2")
}

/// Where tracefs is mounted.
#[must_use]
pub fn tracefs_mount() -> Option<PathBuf> {
    mount_of_type(&fs::read_to_string("/proc/self/mounts").ok()?, "tracefs")
}

/// The first mount point of a file system type in a mount table (proc_pid_mounts(5), fstab(5)).
fn mount_of_type(table: &str, wanted: &str) -> Option<PathBuf> {
    table.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_device, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == wanted).then(|| PathBuf::from(unescape(place)))
    })
}

/// Spaces and the like stand as three octal digits in the mount table.
pub(super) fn unescape(field: &str) -> String {
    [
        (r"\040", " "),
        (r"\011", "\t"),
        (r"\012", "\n"),
        (r"\134", "\\"),
    ]
    .iter()
    .fold(field.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Whether a folder is a cgroup of the version 2 hierarchy.
///
/// # Errors
/// When it is not there or something else.
pub fn check_cgroup(path: &Path) -> Result<(), CaptureError> {
    let fault = |reason: &str| CaptureError::Cgroup {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    match fs::metadata(path) {
        Err(error) => return Err(fault(&plain(&error))),
        Ok(metadata) if !metadata.is_dir() => return Err(fault("not a folder")),
        Ok(_) => {}
    }
    // Every cgroup of version 2, the root included, has this file (Documentation/admin-guide/cgroup-v2.rst).
    if !path.join("cgroup.controllers").exists() {
        return Err(fault("not a folder of the cgroup v2 hierarchy"));
    }
    Ok(())
}

/// Id and depth of a cgroup, as the kernel's helpers know it; `None` for the root of the hierarchy. The id is the
/// folder's inode number (kernfs, fs/kernfs/dir.c, on 64-bit machines).
#[must_use]
pub fn cgroup_id(path: &Path) -> Option<(u64, u32)> {
    let root = cgroup2_mount()?.canonicalize().ok()?;
    let path = path.canonicalize().ok()?;
    let level = path.strip_prefix(root).ok()?.components().count();
    let id = fs::metadata(path).ok()?.ino();
    (level > 0).then_some((id, u32::try_from(level).ok()?))
}

/// A cgroup's path in the hierarchy, as proc_pid_cgroup(5) has it; `None` for the root.
#[must_use]
pub fn below_the_root(path: &Path) -> Option<String> {
    let root = cgroup2_mount()?.canonicalize().ok()?;
    let path = path.canonicalize().ok()?;
    let below = path.strip_prefix(root).ok()?.to_str()?;
    (!below.is_empty()).then(|| format!("/{below}"))
}

/// An I/O error in words, without its number.
#[must_use]
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// Inode of the initial user namespace (`PROC_USER_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

/// Whether this process is in the machine's first user namespace. In any other its capabilities do not hold for the
/// kernel's programs, however complete they look (user_namespaces(7)).
#[must_use]
pub fn in_first_user_namespace() -> bool {
    fs::read_link("/proc/self/ns/user").is_ok_and(|link| link.as_os_str() == INITIAL_USER_NAMESPACE)
}

/// In which ways this process sees only a part of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The visible hierarchy is not the whole one: other programs' traffic is not seen.
    pub partial_cgroups: bool,
    /// The kernel's process ids are not those of /proc here.
    pub foreign_pids: bool,
}

/// How much of the machine is visible from here.
#[must_use]
pub fn view() -> View {
    let differs = |namespace: &str, initial: &str| {
        fs::read_link(format!("/proc/self/ns/{namespace}"))
            .is_ok_and(|link| link.as_os_str() != initial)
    };
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    View {
        partial_cgroups: is_partial(&table, differs("cgroup", INITIAL_CGROUP_NAMESPACE)),
        foreign_pids: differs("pid", INITIAL_PID_NAMESPACE),
    }
}

/// Whether the cgroup v2 mount in a mountinfo table (proc_pid_mountinfo(5)) shows less than the whole hierarchy, given
/// whether this is another cgroup namespace than the machine's first. A table without such a mount hides nothing.
fn is_partial(table: &str, other_namespace: bool) -> bool {
    let root = table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == "cgroup2").then(|| before.split(' ').nth(3))?
    });
    match root {
        None => false,
        // A mount from outside the namespace, whose root lies above the namespace's (cgroup_namespaces(7)).
        Some(root) if root.starts_with("/..") => !other_namespace,
        Some(root) => other_namespace || root != "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions() {
        assert_eq!(kernel_version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(kernel_version("5.10.209"), Some((5, 10)));
        assert_eq!(kernel_version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(kernel_version("nonsense"), None);
    }

    #[test]
    fn finds_the_mount_in_unified_and_hybrid_tables() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/uni\\040fied cgroup2 rw 0 0\n";
        assert_eq!(
            mount_of_type(hybrid, "cgroup2"),
            Some("/sys/fs/cgroup/uni fied".into())
        );
        assert_eq!(mount_of_type("proc /proc proc rw 0 0\n", "cgroup2"), None);
    }

    #[test]
    fn a_container_shows_a_part() {
        let whole = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let part = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let outside = "30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(!is_partial(whole, false));
        assert!(is_partial(whole, true));
        assert!(is_partial(part, false) && is_partial(part, true));
        assert!(!is_partial(outside, true));
        assert!(!is_partial("", false));
    }
}
