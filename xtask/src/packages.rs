//! The Debian packages that the tests need: the one list of them.

use crate::{apt, process};

/// A Debian package and what the tests want of it. Its names are the same in Debian 12 and in Ubuntu 24.04.
#[derive(Debug)]
pub struct Package {
    /// The package.
    pub name: &'static str,
    /// The programs, or files by their paths, whose presence tells that it is there.
    pub programs: &'static [&'static str],
    /// What for.
    pub why: &'static str,
    /// Services that it would start; the tests run the programs themselves.
    pub services: &'static [&'static str],
}

/// Where the tests look for programs: the system's folders, whatever a developer has put in front of them in `PATH`.
const SEARCHED: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// dnsmasq-base and not dnsmasq: the latter is nothing but a service that takes port 53.
pub const PACKAGES: [Package; 44] = [
    Package {
        name: "aria2",
        programs: &["aria2c"],
        why: "a downloader with HTTP proxies only",
        services: &[],
    },
    Package {
        name: "bind9-dnsutils",
        programs: &["dig"],
        why: "asks names over UDP and TCP",
        services: &[],
    },
    Package {
        name: "bpftool",
        programs: &["bpftool"],
        why: "lists what leakmon has attached",
        services: &[],
    },
    Package {
        name: CHROMIUM,
        programs: &["chromium"],
        why: "a browser with SOCKS4 and SOCKS5",
        services: &[],
    },
    Package {
        name: "curl",
        programs: &["curl"],
        why: "socks4, socks4a, socks5 and socks5h",
        services: &[],
    },
    Package {
        name: "dante-server",
        programs: &["danted"],
        why: "a SOCKS proxy with a configuration file",
        services: &["danted.service"],
    },
    Package {
        name: "dbus-daemon",
        programs: &["dbus-daemon", "dbus-send"],
        why: "a desktop session's bus",
        services: &[],
    },
    Package {
        name: "dconf-cli",
        programs: &["dconf"],
        why: "makes GNOME's settings without a desktop",
        services: &[],
    },
    Package {
        name: "dconf-gsettings-backend",
        programs: &["/usr/share/doc/dconf-gsettings-backend/copyright"],
        why: "reads GNOME's settings",
        services: &[],
    },
    Package {
        name: "default-jdk-headless",
        programs: &["java", "javac"],
        why: "-DsocksProxyHost",
        services: &[],
    },
    Package {
        name: "dnsmasq-base",
        programs: &["dnsmasq"],
        why: "the lab's name server",
        services: &[],
    },
    Package {
        name: "dunst",
        programs: &["dunst", "dunstctl"],
        why: "shows notifications, and keeps what it showed",
        services: &[],
    },
    Package {
        name: FIREFOX,
        programs: &["firefox-esr"],
        why: "a browser with its settings in files",
        services: &[],
    },
    Package {
        name: "fish",
        programs: &["fish"],
        why: "completes leakmon's options",
        services: &[],
    },
    Package {
        name: "git",
        programs: &["git"],
        why: "http.proxy",
        services: &[],
    },
    Package {
        name: "gsettings-desktop-schemas",
        programs: &["/usr/share/glib-2.0/schemas/org.gnome.system.proxy.gschema.xml"],
        why: "GNOME's proxy settings",
        services: &[],
    },
    Package {
        name: "iproute2",
        programs: &["ip"],
        why: "makes network namespaces",
        services: &[],
    },
    Package {
        name: "libglib2.0-bin",
        programs: &["gsettings"],
        why: "shows GNOME's settings",
        services: &[],
    },
    Package {
        name: "man-db",
        programs: &["lexgrog", "man"],
        why: "shows leakmon's manual pages",
        services: &[],
    },
    Package {
        name: "microsocks",
        programs: &["microsocks"],
        why: "a SOCKS5 proxy",
        services: &["microsocks.service"],
    },
    Package {
        name: "netcat-openbsd",
        programs: &["nc.openbsd"],
        why: "ssh's way through a SOCKS proxy",
        services: &[],
    },
    Package {
        name: "nscd",
        programs: &["nscd"],
        why: "keeps names for every program of glibc's",
        services: &["nscd.service"],
    },
    Package {
        name: "openssh-client",
        programs: &["ssh", "ssh-keygen"],
        why: "ssh -D",
        services: &[],
    },
    Package {
        name: "openssh-server",
        programs: &["sshd"],
        why: "the other end of ssh -D",
        services: &["ssh.service", "ssh.socket"],
    },
    Package {
        name: "privoxy",
        programs: &["privoxy"],
        why: "forward-socks4 and its relatives",
        services: &["privoxy.service"],
    },
    Package {
        name: "proxychains4",
        programs: &["proxychains4"],
        why: "proxy_dns",
        services: &[],
    },
    Package {
        name: "python3",
        programs: &["python3"],
        why: "the lab's web server",
        services: &[],
    },
    Package {
        name: "python3-junitparser",
        programs: &["/usr/lib/python3/dist-packages/junitparser/__init__.py"],
        why: "reads JUnit's reports",
        services: &[],
    },
    Package {
        name: "python3-requests",
        programs: &["/usr/lib/python3/dist-packages/requests/__init__.py"],
        why: "socks5 and socks5h",
        services: &[],
    },
    Package {
        name: "python3-socks",
        programs: &["/usr/lib/python3/dist-packages/socks.py"],
        why: "SOCKS for Python's requests",
        services: &[],
    },
    Package {
        name: "qemu-system-x86",
        programs: &["qemu-system-x86_64"],
        why: "runs other kernels (`cargo xtask vm`)",
        services: &[],
    },
    Package {
        name: "sudo",
        programs: &["sudo"],
        why: "calls `leakmon run` as users do",
        services: &[],
    },
    Package {
        name: "systemd",
        programs: &["busctl"],
        why: "asks dunst what it showed",
        services: &[],
    },
    Package {
        name: "tcpdump",
        programs: &["tcpdump"],
        why: "stands beside leakmon in `cargo xtask bench`",
        services: &[],
    },
    Package {
        name: "tmux",
        programs: &["tmux"],
        why: "a terminal for leakmon's live view",
        services: &[],
    },
    Package {
        name: "tor",
        programs: &["tor"],
        why: "judges SOCKS requests itself",
        services: &["tor.service"],
    },
    Package {
        name: "torsocks",
        programs: &["torsocks"],
        why: "takes a program's connections to tor",
        services: &[],
    },
    Package {
        name: "tsocks",
        programs: &["tsocks"],
        why: "takes a program's connections to a SOCKS proxy",
        services: &[],
    },
    Package {
        name: "unbound",
        programs: &["unbound"],
        why: "a local resolver that forwards",
        services: &["unbound.service", "unbound-resolvconf.service"],
    },
    Package {
        name: "util-linux",
        programs: &["nsenter", "setpriv", "unshare"],
        why: "makes and enters namespaces, drops privileges",
        services: &[],
    },
    Package {
        name: "wget",
        programs: &["wget"],
        why: "a downloader without SOCKS",
        services: &[],
    },
    Package {
        name: "xvfb",
        programs: &["Xvfb"],
        why: "a screen for notifications",
        services: &[],
    },
    Package {
        name: "xz-utils",
        programs: &["xz"],
        why: "unpacks the modules of other kernels (`cargo xtask vm`)",
        services: &[],
    },
    Package {
        name: "zsh",
        programs: &["zsh"],
        why: "completes leakmon's options",
        services: &[],
    },
];

const CHROMIUM: &str = "chromium";
const FIREFOX: &str = "firefox-esr";

impl Package {
    /// Whether the tests can use what they want of it.
    pub fn is_there(&self) -> bool {
        let found = |program: &&str| process::find_in(SEARCHED.as_ref(), program);
        let all_found = self.programs.iter().all(|program| found(program).is_some());
        all_found
            && !(self.is_browser() && found(&self.name).is_some_and(|path| apt::is_snap(&path)))
    }

    /// What to do when apt cannot mend it.
    pub fn by_hand(&self) -> Option<&'static str> {
        (self.is_browser() && apt::is_ubuntu()).then_some(
            "Ubuntu has browsers as snaps only, whose sandbox keeps them out of the lab: link one that is no snap (an \
             unpacked upstream build will do) as /usr/local/bin/chromium or /usr/local/bin/firefox-esr; until then its \
             tests are skipped",
        )
    }

    fn is_browser(&self) -> bool {
        [CHROMIUM, FIREFOX].contains(&self.name)
    }
}

/// What is missing here.
pub fn missing() -> Vec<&'static Package> {
    PACKAGES
        .iter()
        .filter(|package| !package.is_there())
        .collect()
}

/// What is missing here of the packages that have these programs.
pub fn missing_of(programs: &[&str]) -> Vec<&'static Package> {
    let mut missing = missing();
    missing.retain(|package| {
        let has = |program: &&str| programs.contains(program);
        package.programs.iter().any(has)
    });
    missing
}

/// Missing packages for people: one line each, and the command that mends it.
pub fn report(missing: &[&Package]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for package in missing {
        lines.push(format!(
            "missing: {} (package {}): {}",
            package.programs.join(", "),
            package.name,
            package.why
        ));
        lines.extend(package.by_hand().map(|advice| format!("  {advice}")));
    }
    let names = installable(missing);
    if !names.is_empty() {
        lines.push(format!("install with: {}", apt::command_line(&names)));
    }
    lines.join("\n")
}

/// Names of those that apt can install.
pub fn installable(missing: &[&Package]) -> Vec<&'static str> {
    missing
        .iter()
        .filter(|package| package.by_hand().is_none())
        .map(|package| package.name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_in_order_and_checked_by_a_program() {
        assert!(PACKAGES.is_sorted_by_key(|package| package.name));
        assert!(
            PACKAGES
                .iter()
                .all(|package| !package.programs.is_empty() && !package.why.is_empty())
        );
    }

    /// Both take over the name resolution of the machine they are installed on.
    #[test]
    fn packages_that_break_the_machines_own_dns_are_never_installed() {
        for forbidden in ["dnsmasq", "systemd-resolved"] {
            assert!(
                PACKAGES.iter().all(|package| package.name != forbidden),
                "{forbidden}"
            );
        }
    }
}
