//! Variables of the environment.

use super::{
    Bypass, Language, Route, Subject, Told, View,
    programs::{Understood, script},
    proxy::Written,
    without_password,
};
use crate::model::{Leak, ProxySetting, Resolves};

/// What places of this kind are called.
pub const SOURCE: &str = "environment";

/// Variables that carry a proxy, the most general first. Which of them a program reads is its own business.
const PROXIES: [&str; 12] = [
    "all_proxy",
    "ALL_PROXY",
    "socks_proxy",
    "SOCKS_PROXY",
    "SOCKS_SERVER",
    "https_proxy",
    "HTTPS_PROXY",
    "http_proxy",
    "HTTP_PROXY",
    "ftp_proxy",
    "FTP_PROXY",
    "auto_proxy",
];

/// Which variables a program reads.
#[derive(Clone, Copy, Debug)]
pub struct Reads<'a> {
    /// For addresses of one scheme, and for all others; the first that is set counts.
    pub proxies: &'a [&'a str],
    /// Lists of names that are reached without the proxy; the first that is set counts.
    pub no_proxy: &'a [&'a str],
}

/// What follows for one kind of address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Name and value as evidence.
    pub detail: String,
    /// What the program makes of it.
    pub understood: Understood,
}

impl Reads<'_> {
    /// What the variables say of addresses of this scheme.
    pub fn for_scheme(
        &self,
        view: &View,
        scheme: &str,
        understand: impl Fn(&str) -> Understood,
    ) -> Option<Found> {
        let name = self.proxies.iter().find(|name| {
            let is_for = kind(name).is_none_or(|kind| kind.eq_ignore_ascii_case(scheme));
            is_for && view.variable(name).is_some()
        })?;
        let value = view.variable(name)?;
        Some(Found {
            detail: written(name, value),
            understood: understand(value),
        })
    }

    /// The list of names that are reached without the proxy.
    #[must_use]
    pub fn bypass(&self, view: &View) -> Bypass {
        self.no_proxy
            .iter()
            .find_map(|name| view.variable(name))
            .map(|list| Bypass::new(list, &[',', ' '], Language::Suffix))
            .unwrap_or_default()
    }

    /// What the variables say. `schemes` are those of the addresses that the program was given; where none is known, web
    /// addresses of both kinds count.
    pub fn told(
        &self,
        view: &View,
        schemes: &[&str],
        understand: impl Fn(&str) -> Understood,
    ) -> Option<Told> {
        let schemes = if schemes.is_empty() {
            &["http", "https"]
        } else {
            schemes
        };
        let found: Vec<Option<Found>> = schemes
            .iter()
            .map(|scheme| self.for_scheme(view, scheme, &understand))
            .collect();
        let mut told = Told {
            bypass: self.bypass(view),
            ..merge(found.iter().map(|found| {
                found
                    .as_ref()
                    .map_or(Understood::Nothing, |found| found.understood.clone())
            }))
        };
        for found in found.into_iter().flatten() {
            if told
                .evidence
                .iter()
                .all(|known| known.detail != found.detail)
            {
                told = told.and(SOURCE, found.detail);
            }
        }
        (!told.evidence.is_empty()).then_some(told)
    }
}

/// The scheme of the addresses that a variable or an option is for, without its dashes; `None` for all.
pub fn kind(name: &str) -> Option<&str> {
    let (kind, rest) = name.split_once(['_', '-'])?;
    let is_kind = ["http", "https", "ftp"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known));
    (is_kind && rest.eq_ignore_ascii_case("proxy")).then_some(kind)
}

/// What follows from what is understood of each kind of address, without evidence.
pub fn merge(all: impl IntoIterator<Item = Understood>) -> Told {
    let mut proxies: Vec<ProxySetting> = Vec::new();
    let (mut without, mut ignored, mut unclear) = (false, false, false);
    for understood in all {
        match understood {
            Understood::Proxy(proxy) if proxies.contains(&proxy) => {}
            Understood::Proxy(proxy) => proxies.push(proxy),
            Understood::Nothing => without = true,
            Understood::Ignored => ignored = true,
            Understood::Unclear => unclear = true,
        }
    }
    // The one that matters more comes first.
    proxies.sort_by_key(|proxy| proxy.resolves != Resolves::Local);
    let mut proxies = proxies.into_iter();
    let first = proxies.next();
    let others: Vec<ProxySetting> = proxies.collect();
    let route = match first {
        _ if unclear => Route::Unknown(first),
        Some(first) if others.is_empty() && !without && !ignored => Route::Everything(first),
        Some(first) => Route::Some(Some(first)),
        None if ignored || without => Route::Direct,
        None => Route::Untold,
    };
    let leak = ignored.then(|| Leak {
        what:
            "every name that it connects to: it does not know this kind of proxy, and goes without"
                .to_owned(),
        certain: route == Route::Direct,
        stop: "give it a kind of proxy that it knows".to_owned(),
    });
    Told {
        route,
        others,
        leaks: leak.into_iter().collect(),
        ..Told::default()
    }
}

/// A variable as evidence.
#[must_use]
pub fn written(name: &str, value: &str) -> String {
    without_password(&format!("{name}={value}"))
}

/// Why nothing can be said of the environment, for a program that reads it. Nothing of one that has ended.
pub fn unread(view: &View) -> Option<Told> {
    let fault = view.environment_fault().filter(|_| view.is_open())?;
    (!matches!(fault, super::Fault::Gone { .. })).then(|| Told::unread(SOURCE, fault))
}

/// What the environment says to a program of which leakmon does not know whether it reads it.
///
/// Nothing is said of one whose environment cannot be read: whether it would matter is not known either.
pub fn of_unknown_program(subject: &Subject<'_>) -> Vec<Told> {
    let Some(program) = subject.process.program() else {
        return Vec::new();
    };
    if is_deaf(program) && script(program, subject.arguments()).is_none() {
        return Vec::new();
    }
    let view = subject.view;
    let set: Vec<(&str, &str)> = PROXIES
        .iter()
        .filter_map(|name| Some((*name, view.variable(name)?)))
        .collect();
    let Some((_, value)) = set.first() else {
        return Vec::new();
    };
    let mut told = Told {
        route: Route::Unknown(by_convention(value)),
        bypass: Reads {
            proxies: &[],
            no_proxy: &["no_proxy", "NO_PROXY"],
        }
        .bypass(view),
        ..Told::default()
    };
    let mut shown: Vec<&str> = Vec::new();
    for (name, value) in &set {
        // People set the same in both spellings.
        if !shown.contains(value) {
            shown.push(value);
            told = told.and(SOURCE, written(name, value));
        }
    }
    vec![told.and(SOURCE, doubt(subject, program))]
}

/// Why it is not known what the variables mean to a program.
fn doubt(subject: &Subject<'_>, program: &str) -> &'static str {
    let is_python = program.starts_with("python") || program.starts_with("pypy");
    if program == "node" || program == "nodejs" {
        return if subject.view.variable("NODE_USE_ENV_PROXY") == Some("1") {
            "whether this program reads it is not known: with NODE_USE_ENV_PROXY=1 Node's fetch reads http_proxy and https_proxy from version 24 on (22.21 in its line), with HTTP proxies only"
        } else {
            "whether this program reads it is not known: Node's own fetch does not without NODE_USE_ENV_PROXY=1, its libraries may"
        };
    }
    if is_python {
        return "whether this program reads it is not known: requests does, and resolves names itself for socks4:// and socks5://, but not for socks4a:// and socks5h://; urllib.request does not read all_proxy";
    }
    "whether this program reads it is not known"
}

/// A proxy as most programs would read it. For `socks5` they differ in who resolves names.
fn by_convention(value: &str) -> Option<ProxySetting> {
    let written = Written::parse(value)?;
    let (scheme, port, resolves) = match written.scheme.as_deref() {
        Some("socks4") => ("socks4", 1080, Resolves::Local),
        Some("socks4a") => ("socks4a", 1080, Resolves::Remote),
        Some("socks5") => ("socks5", 1080, Resolves::Unknown),
        Some("socks5h") => ("socks5", 1080, Resolves::Remote),
        Some("http") => ("http", 80, Resolves::Remote),
        Some("https") => ("https", 443, Resolves::Remote),
        _ => return None,
    };
    Some(written.setting(scheme, port, resolves))
}

/// Programs that read none of these variables: they have no business with the network, ask name servers directly, or are
/// the network's own. A variable that is set for a whole session reaches them all.
fn is_deaf(program: &str) -> bool {
    const BEGINNINGS: [&str; 19] = [
        "systemd",
        "(sd-",
        "dbus-",
        "gvfs",
        "gnome-session",
        "gnome-keyring",
        "gnome-shell",
        "gnome-terminal",
        "kwin",
        "plasma",
        "xdg-",
        "xfce",
        "mate-",
        "pipewire",
        "wireplumber",
        "at-spi",
        "polkit",
        "gdm",
        "sddm",
    ];
    const NAMES: &[&str] = &[
        // Asks name servers itself.
        "dig",
        "host",
        "nslookup",
        "getent",
        "ping",
        "kdig",
        "drill",
        "delv",
        "resolvectl",
        "traceroute",
        "mtr",
        "avahi-daemon",
        "avahi-resolve",
        "nc.openbsd",
        "nc.traditional",
        "ssh",
        "sshd",
        "tor",
        "dnsmasq",
        "unbound",
        "microsocks",
        "privoxy",
        "nscd",
        "named",
        "telnet",
        "socat",
        // Shells, terminals, and what a session consists of.
        "sh",
        "bash",
        "dash",
        "zsh",
        "fish",
        "ksh",
        "busybox",
        "tmux",
        "tmux: server",
        "screen",
        "sudo",
        "su",
        "login",
        "agetty",
        "xterm",
        "konsole",
        "alacritty",
        "kitty",
        "foot",
        "Xorg",
        "Xwayland",
        "Xvfb",
        "sway",
        "i3",
        "dconf-service",
        "ssh-agent",
        "gpg-agent",
        "pulseaudio",
        "ibus-daemon",
        "script",
        "strace",
        "ltrace",
        "gdb",
        "init",
        "cron",
        "rsyslogd",
        "containerd-shim",
        "conmon",
        "bwrap",
        "unshare",
        "ip",
        "nft",
        "tcpdump",
        "tshark",
        "dumpcap",
        // Tools that only look at files and processes.
        "cat",
        "tac",
        "head",
        "tail",
        "less",
        "more",
        "sleep",
        "tee",
        "tr",
        "sort",
        "uniq",
        "cut",
        "grep",
        "sed",
        "gawk",
        "mawk",
        "find",
        "xargs",
        "ls",
        "cp",
        "mv",
        "rm",
        "dd",
        "du",
        "df",
        "env",
        "timeout",
        "nohup",
        "nice",
        "stdbuf",
        "watch",
        "top",
        "htop",
        "ps",
        "man",
        "vi",
        "vim",
        "vim.basic",
        "vim.tiny",
        "nvim",
        "nano",
        "make",
        "ninja",
        "cc1",
        "cc1plus",
        "gcc",
        "g++",
        "clang",
        "ld",
        "rustc",
        "tar",
        "gzip",
        "xz",
        "zstd",
        "rsync",
        "inotifywait",
        "yes",
        "coreutils",
        "seq",
        "wc",
        "true",
        "false",
        "test",
        "mkfifo",
        "sha256sum",
        "md5sum",
    ];
    NAMES.contains(&program) || BEGINNINGS.iter().any(|begin| program.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Process,
        posture::{Posture, Programs},
    };

    fn process(exe: &str, arguments: &[&str]) -> Process {
        let cmdline = [&[exe], arguments].concat();
        Process {
            exe: Some(exe.to_owned()),
            cmdline: Some(cmdline.iter().map(|&one| one.to_owned()).collect()),
            ..Process::unread(1, None)
        }
    }

    fn posture(exe: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Posture {
        let dir = tempfile::tempdir().unwrap();
        let view = View::of_disk(dir.path(), Some(0)).with(variables, &[]);
        Posture::combine(of_unknown_program(&Subject {
            process: &process(exe, arguments),
            view: &view,
            programs: &Programs::default(),
        }))
    }

    const SOCKS: [(&str, &str); 1] = [("all_proxy", "socks5://me:secret@h:1")];

    #[test]
    fn of_a_program_that_is_not_known_nothing_is_claimed() {
        let unknown = posture("/opt/tool", &[], &SOCKS);
        assert_eq!(unknown.route, Route::Unknown(by_convention("socks5://h:1")));
        assert!(unknown.leaks.is_empty() && !unknown.proxies_everything());
        assert!(!format!("{unknown:?}").contains("secret"));
        assert!(
            unknown
                .evidence
                .last()
                .unwrap()
                .detail
                .contains("not known")
        );
        let both = [("all_proxy", "socks5h://h"), ("ALL_PROXY", "socks5h://h")];
        assert_eq!(posture("/opt/tool", &[], &both).evidence.len(), 2);
        let odd = posture("/opt/tool", &[], &[("http_proxy", "socks://h")]);
        assert_eq!(odd.route, Route::Unknown(None));
    }

    #[test]
    fn an_ordinary_program_stays_empty() {
        assert!(posture("/opt/tool", &[], &[("PATH", "/bin"), ("no_proxy", "x")]).is_empty());
        for exe in [
            "/usr/bin/dig",
            "/usr/bin/bash",
            "/usr/lib/systemd/systemd-resolved",
        ] {
            assert!(posture(exe, &[], &SOCKS).is_empty(), "{exe}");
        }
        assert!(!posture("/usr/bin/bash", &["/opt/script"], &SOCKS).is_empty());
        // Neither what cannot be read nor what has no program is of interest.
        for process in [process("/opt/tool", &[]), Process::unread(u32::MAX, None)] {
            let told = of_unknown_program(&Subject {
                process: &process,
                view: &View::closed(&process),
                programs: &Programs::default(),
            });
            assert!(told.is_empty());
        }
    }

    #[test]
    fn variables_for_some_addresses() {
        for (name, expected) in [
            ("http_proxy", Some("http")),
            ("HTTPS_PROXY", Some("HTTPS")),
            ("ftp-proxy", Some("ftp")),
            ("all_proxy", None),
            ("MYTOOL_PROXY", None),
            ("http_proxy_x", None),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
    }
}
