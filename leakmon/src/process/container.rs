//! What a process's place in the cgroup hierarchies tells: its container, its systemd unit, and the package it came from.
//!
//! Engines and systemd name cgroups by rules, and the rules are all that is read here: nothing asks an engine.
//!
//! | maker | name | source |
//! |---|---|---|
//! | Docker, systemd driver | `docker-ID.scope` | moby: daemon/oci_linux.go |
//! | Docker, cgroupfs driver | `/docker/ID` | the same |
//! | Podman | `libpod-ID.scope`, `libpod-payload-ID` in a service with `--cgroups=split` | podman: libpod/container_internal_linux.go |
//! | Kubernetes | `cri-containerd-ID.scope`, `crio-ID.scope`, `kubepods…/ID`, `…:cri-containerd:ID` | containerd: internal/cri/server/podsandbox; cri-o: internal/config/cgmgr |
//! | LXC, LXD, Incus | `lxc.payload.NAME`, `lxc.payload/NAME`, `/lxc/NAME` | lxc: src/lxc/cgroups/cgfsng.c, and its issue 2782 |
//! | systemd-machined, -nspawn | `machine-NAME.scope`, `systemd-nspawn@NAME.service` | systemd: src/nspawn/nspawn-register.c |
//! | Flatpak | `app-flatpak-APP-PID.scope` | flatpak: common/flatpak-run.c |
//! | snapd | `snap.SNAP.APP-UUID.scope`, `snap.SNAP.hook.HOOK-UUID.scope`, `snap.SNAP.APP.service` | snapd: sandbox/cgroup/tracking.go |

/// Digits of an engine's container id: a SHA-256 or as many random bits.
const ID_LEN: usize = 64;

/// What a process's cgroups tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Full id, or name when the engine goes by names, of the innermost container.
    pub container: Option<String>,
    /// The innermost service or scope that is not merely the container's own.
    pub unit: Option<String>,
}

impl Membership {
    /// Of a process with cgroups at these paths, the most telling first: that of version 2, and on a machine with both
    /// versions those of version 1.
    #[must_use]
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all = Self::default();
        for path in paths {
            let one = Self::of_path(path);
            all.container = all.container.or(one.container);
            all.unit = all.unit.or(one.unit);
        }
        all
    }

    fn of_path(path: &str) -> Self {
        // The mark of a cgroup that was removed while processes were in it (cgroup_show_path, kernel/cgroup/cgroup.c).
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut found = Self::default();
        for (at, part) in parts.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| parts[at]);
            let after = parts.get(at + 1).copied();
            let container = engine_id(part)
                .map(str::to_owned)
                .or_else(|| name(before, part, after));
            let unit = (part.ends_with(".service") || part.ends_with(".scope"))
                .then(|| unescape_cgroup(part).to_owned());
            match (container, unit) {
                // The unit around a container keeps its meaning; the container's own scope says nothing more.
                (Some(container), _) => found.container = Some(container),
                (None, Some(unit)) => found.unit = Some(unit),
                (None, None) => {}
            }
        }
        found
    }
}

/// The id at the end of a cgroup's name, alone or after an engine's prefix.
fn engine_id(part: &str) -> Option<&str> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let start = part.len().checked_sub(ID_LEN)?;
    let (prefix, id) = part.split_at_checked(start)?;
    let is_id = id
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // What watches over a container from outside has the container's id too (`libpod-conmon-ID.scope`).
    let is_inside =
        prefix.is_empty() || prefix.ends_with(['-', ':']) && !prefix.ends_with("conmon-");
    (is_id && is_inside).then_some(id)
}

/// The name of a container whose engine goes by names, by a cgroup's name and those around it.
fn name(before: Option<&str>, part: &str, after: Option<&str>) -> Option<String> {
    // What systemd-nspawn itself does is in a cgroup beside its container's (src/nspawn/nspawn-cgroup.c).
    let supervises = after == Some("supervisor");
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return some(name.to_owned());
    }
    if matches!(before, Some("lxc" | "lxc.payload")) {
        return some(part.to_owned());
    }
    if let Some(machine) = between(part, "machine-", ".scope") {
        let machine = unescape_unit(machine);
        // A virtual machine's scope holds its emulator, which is a program of this machine.
        return some(machine).filter(|name| !supervises && !name.starts_with("qemu-"));
    }
    if let Some(machine) = between(part, "systemd-nspawn@", ".service") {
        return some(unescape_unit(machine)).filter(|_| after == Some("payload"));
    }
    None
}

/// A program that came as a package with an environment of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Package {
    /// A Flatpak app, by its id.
    Flatpak(String),
    /// A snap, by its name.
    Snap(String),
}

/// The package that a systemd unit was made for.
#[must_use]
pub fn package_of(unit: &str) -> Option<Package> {
    if let Some(instance) = between(unit, "app-flatpak-", ".scope") {
        let (app, _pid) = instance.rsplit_once('-')?;
        return some(unescape_unit(app)).map(Package::Flatpak);
    }
    let rest = unit.strip_prefix("snap.")?;
    let tag = rest
        .strip_suffix(".scope")
        .or_else(|| rest.strip_suffix(".service"))?;
    let (snap, app) = tag.split_once('.')?;
    // A component of a snap stands after a plus sign.
    let snap = unescape_unit(snap);
    let snap = snap.split('+').next().unwrap_or_default();
    some(snap.to_owned())
        .filter(|_| !app.is_empty())
        .map(Package::Snap)
}

/// The namespaces that tell a container without an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// Inode of the pid namespace.
    pub pid: u64,
    /// Inode of the mount namespace.
    pub mount: u64,
}

impl Isolation {
    /// The name of the container that a process with these namespaces is in, as leakmon with its own ones sees it: when no
    /// engine gave it a name that is left in its cgroup (`unshare`, bubblewrap, a container with a cgroup of its own), it is
    /// called by what makes it one, as `pidns:4026532281`.
    ///
    /// Both namespaces must be others: browsers put their helpers into pid namespaces, and systemd its services into mount
    /// namespaces, without making containers of them. A pid namespace within another one has a name of its own.
    #[must_use]
    pub fn container(self, own: Self) -> Option<String> {
        (self.pid != own.pid && self.mount != own.mount).then(|| format!("pidns:{}", self.pid))
    }
}

/// Undoes how systemd keeps names apart from the kernel's files in a cgroup's folder: an underscore in front
/// (cg_escape, src/basic/cgroup-util.c).
fn unescape_cgroup(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

/// Undoes the `\xNN` of systemd.unit(5), "String Escaping for Inclusion in Unit Names". The names looked at here hold no
/// slash, so a dash is none.
fn unescape_unit(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'\\', b'x', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &rest[4..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn between<'a>(text: &'a str, prefix: &str, suffix: &str) -> Option<&'a str> {
    text.strip_prefix(prefix)?.strip_suffix(suffix)
}

fn some(name: String) -> Option<String> {
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5f3b1c0a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a";
    const INNER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn paths() {
        let cases: &[(&str, Option<&str>, Option<&str>)] = &[
            // No container.
            ("/", None, None),
            ("", None, None),
            ("/init.scope", None, Some("init.scope")),
            (
                "/system.slice/tor@default.service",
                None,
                Some("tor@default.service"),
            ),
            (
                "/user.slice/user-1000.slice/session-2.scope",
                None,
                Some("session-2.scope"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-firefox-77.scope",
                None,
                Some("app-gnome-firefox-77.scope"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.socket",
                None,
                Some("user@1000.service"),
            ),
            (
                "/system.slice/gone.service (deleted)",
                None,
                Some("gone.service"),
            ),
            ("/system.slice/_cpu.service", None, Some("cpu.service")),
            ("/process_api/fe8497b0c5a19197d74c6d1020d5aa26", None, None),
            (
                "/sha/5F3B1C0A9D8E7F6A5B4C3D2E1F0A9B8C7D6E5F4A3B2C1D0E9F8A7B6C5D4E3F2A",
                None,
                None,
            ),
            (
                "/x5f3b1c0a9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a",
                None,
                None,
            ),
            // Docker.
            ("/system.slice/docker-$ID.scope", Some(ID), None),
            ("/docker/$ID", Some(ID), None),
            ("/docker/$ID/docker/$INNER", Some(INNER), None),
            (
                "/docker/$ID/system.slice/nginx.service",
                Some(ID),
                Some("nginx.service"),
            ),
            ("/../../docker/$ID", Some(ID), None),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-$ID.scope",
                Some(ID),
                Some("user@1000.service"),
            ),
            // Podman, and what watches over its containers.
            ("/machine.slice/libpod-$ID.scope/container", Some(ID), None),
            ("/libpod_parent/libpod-$ID", Some(ID), None),
            (
                "/machine.slice/libpod-conmon-$ID.scope",
                None,
                Some("libpod-conmon-$ID.scope"),
            ),
            ("/libpod_parent/conmon-$ID", None, None),
            (
                "/system.slice/caddy.service/libpod-payload-$ID",
                Some(ID),
                Some("caddy.service"),
            ),
            (
                "/system.slice/caddy.service/runtime",
                None,
                Some("caddy.service"),
            ),
            // Kubernetes.
            (
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podab_cd.slice/cri-containerd-$ID.scope",
                Some(ID),
                None,
            ),
            (
                "/kubepods.slice/kubepods-podab_cd.slice/crio-$ID.scope/container",
                Some(ID),
                None,
            ),
            (
                "/kubepods/besteffort/pod8e2f4c9a-1111-2222-3333-444455556666/$ID",
                Some(ID),
                None,
            ),
            (
                "/system.slice/containerd.service/kubepods-besteffort-podab_cd.slice:cri-containerd:$ID",
                Some(ID),
                Some("containerd.service"),
            ),
            ("/default/$ID", Some(ID), None),
            // LXC.
            ("/lxc.payload.web", Some("web"), None),
            (
                "/lxc.payload.web/system.slice/nginx.service",
                Some("web"),
                Some("nginx.service"),
            ),
            (
                "/lxc.payload/web/init.scope",
                Some("web"),
                Some("init.scope"),
            ),
            ("/lxc/101/ns", Some("101"), None),
            ("/lxc.monitor.web", None, None),
            ("/lxc.monitor/web", None, None),
            ("/lxc.payload.", None, None),
            ("/lxc", None, None),
            // systemd.
            (
                r"/machine.slice/machine-a\x2dbox.scope",
                Some("a-box"),
                None,
            ),
            (
                "/machine.slice/machine-box.scope/payload/system.slice/nginx.service",
                Some("box"),
                Some("nginx.service"),
            ),
            (
                "/machine.slice/machine-box.scope/supervisor",
                None,
                Some("machine-box.scope"),
            ),
            (
                "/machine.slice/systemd-nspawn@box.service/payload",
                Some("box"),
                None,
            ),
            (
                "/machine.slice/systemd-nspawn@box.service/supervisor",
                None,
                Some("systemd-nspawn@box.service"),
            ),
            (
                r"/machine.slice/machine-qemu\x2d1\x2dvm.scope",
                None,
                Some(r"machine-qemu\x2d1\x2dvm.scope"),
            ),
            // Packages.
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-flatpak-org.mozilla.firefox-1234.scope",
                None,
                Some("app-flatpak-org.mozilla.firefox-1234.scope"),
            ),
        ];
        for (path, container, unit) in cases {
            let fill = |text: &str| text.replace("$ID", ID).replace("$INNER", INNER);
            let expected = Membership {
                container: container.map(str::to_owned),
                unit: unit.map(fill),
            };
            assert_eq!(Membership::of([fill(path).as_str()]), expected, "{path}");
        }
    }

    #[test]
    fn version_1_tells_what_version_2_does_not() {
        let docker = format!("/docker/{ID}");
        let hybrid = Membership::of(["/", "/system.slice/x.service", docker.as_str(), "/lxc/y"]);
        assert_eq!(hybrid.container.as_deref(), Some(ID));
        assert_eq!(hybrid.unit.as_deref(), Some("x.service"));
        assert_eq!(Membership::of([]), Membership::default());
    }

    #[test]
    fn packages() {
        let flatpak = |name: &str| Some(Package::Flatpak(name.to_owned()));
        let snap = |name: &str| Some(Package::Snap(name.to_owned()));
        let cases = [
            (
                "app-flatpak-org.mozilla.firefox-1234.scope",
                flatpak("org.mozilla.firefox"),
            ),
            (r"app-flatpak-org.a.b\x2dc-1.scope", flatpak("org.a.b-c")),
            ("app-flatpak-x.scope", None),
            ("app-flatpak--1.scope", None),
            ("app-gnome-firefox-77.scope", None),
            (
                "snap.firefox.firefox-6c8d7b8e-0d9c-4a6b-9c58-3a8d8f1b2c3d.scope",
                snap("firefox"),
            ),
            (
                "snap.firefox.firefox.6c8d7b8e-0d9c-4a6b-9c58-3a8d8f1b2c3d.scope",
                snap("firefox"),
            ),
            (
                "snap.hello-world.hook.configure-6c8d7b8e.scope",
                snap("hello-world"),
            ),
            (r"snap.big\x2bpart.hook.install-6c8d7b8e.scope", snap("big")),
            ("snap.cups.cupsd.service", snap("cups")),
            ("snap.firefox.scope", None),
            ("snap..x.scope", None),
            ("snapd.service", None),
        ];
        for (unit, package) in cases {
            assert_eq!(package_of(unit), package, "{unit}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape_unit(r"a\x2db"), "a-b");
        assert_eq!(unescape_unit(r"\xc3\xa9"), "é");
        for odd in [r"\x", r"\x2", r"\xzz", r"\", "\\x2é", ""] {
            assert_eq!(unescape_unit(odd), odd);
        }
    }

    #[test]
    fn only_a_name_of_its_own_for_what_is_apart() {
        let own = Isolation { pid: 1, mount: 2 };
        assert_eq!(own.container(own), None);
        assert_eq!(
            Isolation { pid: 3, ..own }.container(own),
            None,
            "a browser's helper"
        );
        assert_eq!(
            Isolation { mount: 3, ..own }.container(own),
            None,
            "a service"
        );
        let apart = Isolation { pid: 3, mount: 4 };
        assert_eq!(apart.container(own).as_deref(), Some("pidns:3"));
    }
}
