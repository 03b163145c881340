//! The proxy settings of the desktop of the user who runs a program, as files say them.
//!
//! Programs differ in what SOCKS means there (version 4, 4a or 5), so that is left to who asks.

mod gnome;
mod gvdb;
mod kde;

pub use gnome::gnome;
pub use kde::kde;

use super::{Bypass, Fault, Language, Route, Subject, Told, View, proxy::Written};
use crate::model::{Evidence, Leak, ProxySetting, Resolves};

/// Most entries of a list of folders in a variable.
const MAX_LIST: usize = 256;

/// As evidence names it.
pub const SOURCE: &str = "desktop";

/// Whose settings count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GNOME and the desktops that keep its settings.
    Gnome,
    /// KDE.
    Kde,
}

/// How connections go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Without a proxy. Chromium goes direct then, whatever the environment says (`GetConfigFromSettings` of
    /// net/proxy_resolution/proxy_config_service_linux.cc); Firefox looks at the environment then
    /// (`GetProxyFromGSettings` of toolkit/system/unixproxy/nsUnixSystemProxySettings.cpp).
    #[default]
    None,
    /// Through these, by the scheme of what is asked for. A port is `None` where none is written, or zero.
    Manual {
        /// For `http:`.
        http: Option<Written>,
        /// For `https:`.
        https: Option<Written>,
        /// For `ftp:`.
        ftp: Option<Written>,
        /// For everything else, or everything.
        socks: Option<Written>,
    },
    /// As a script says, by its URL as written; without one it is looked for in the network (WPAD).
    Auto(Option<String>),
    /// KDE: through what variables of the environment say, those of [`Desktop::variables`].
    Environment,
}

/// Names of variables that KDE's settings give in place of proxies, as they are written there. Chromium looks up all but
/// `socks`, whose name it takes for a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// For `http:`.
    pub http: Option<String>,
    /// For `https:`.
    pub https: Option<String>,
    /// For `ftp:`.
    pub ftp: Option<String>,
    /// For the rest.
    pub socks: Option<String>,
    /// For what goes without a proxy.
    pub no_proxy: Option<String>,
}

/// What a desktop is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desktop {
    /// Whose settings these are.
    pub kind: Kind,
    /// How connections go.
    pub mode: Mode,
    /// What is reached without the proxy, as written.
    pub bypass: Vec<String>,
    /// KDE: the list says what is reached through the proxy, and all else goes without.
    pub reversed: bool,
    /// GNOME's `use-same-proxy`, which browsers leave out of account: what has no proxy of its own uses that for `http:`.
    pub same: bool,
    /// For [`Mode::Environment`].
    pub variables: Variables,
    /// Where it is written.
    pub evidence: Vec<Evidence>,
}

impl Desktop {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            mode: Mode::None,
            bypass: Vec::new(),
            reversed: false,
            same: false,
            variables: Variables::default(),
            evidence: Vec::new(),
        }
    }
}

/// The desktop that a program runs in, by its environment, as Chromium decides it (base/nix/xdg_util.cc,
/// `GetDesktopEnvironment`), and whose settings it then reads (proxy_config_service_linux.cc, `Delegate::Delegate`): XFCE,
/// Deepin, LXQt, UKUI and COSMIC have none that it would read.
#[must_use]
pub fn kind_of(view: &View) -> Option<Kind> {
    for desktop in list(view, "XDG_CURRENT_DESKTOP") {
        match desktop.trim() {
            "Unity" | "GNOME" | "X-Cinnamon" | "Pantheon" => return Some(Kind::Gnome),
            "KDE" => return Some(Kind::Kde),
            "Deepin" | "XFCE" | "UKUI" | "LXQt" | "COSMIC" => return None,
            _ => {}
        }
    }
    match view.variable("DESKTOP_SESSION") {
        Some("gnome" | "mate") => return Some(Kind::Gnome),
        Some("kde4" | "kde-plasma" | "kde") => return Some(Kind::Kde),
        Some("deepin" | "ukui" | "xubuntu") => return None,
        Some(session) if session.contains("xfce") => return None,
        _ => {}
    }
    if view.variable("GNOME_DESKTOP_SESSION_ID").is_some() {
        Some(Kind::Gnome)
    } else if view.variable("KDE_FULL_SESSION").is_some() {
        Some(Kind::Kde)
    } else {
        None
    }
}

/// The entries of a list that colons separate.
fn list<'a>(view: &'a View, variable: &str) -> impl Iterator<Item = &'a str> {
    let list = view.variable(variable).unwrap_or_default();
    list.split(':')
        .filter(|entry| !entry.is_empty())
        .take(MAX_LIST)
}

/// The settings of the desktop that a program runs in; `None` when there is no such desktop, or its settings are not
/// installed (GNOME) or not written (KDE).
///
/// # Errors
/// When they cannot be read, or make no sense.
pub fn read(view: &View) -> Result<Option<Desktop>, Fault> {
    match kind_of(view) {
        None => Ok(None),
        Some(Kind::Kde) => kde(view),
        Some(Kind::Gnome) => match gnome(view)? {
            Some(desktop) => Ok(Some(desktop)),
            None => gnome::default(view),
        },
    }
}

/// Programs that connect through GIO's own resolver of proxies and have no settings of their own for it, by file name.
/// WebKitGTK leaves names and proxies to libsoup, and libsoup to GIO.
const GIO_PROGRAMS: &[&str] = &["epiphany", "epiphany-browser", "gvfsd-http"];

/// What a program that follows GNOME's settings through GIO was told; `None` for another program, and for one in another
/// desktop, where what GIO does is not known.
///
/// GIO reads these settings where `XDG_CURRENT_DESKTOP` says GNOME (`g_proxy_resolver_gnome_is_supported` of glib-networking's
/// proxy/gnome/gproxyresolvergnome.c); a proxy for `http:` is also that for `https:` when this has none, and a SOCKS proxy is
/// for the rest (`update_settings` there).
pub fn told(subject: &Subject<'_>) -> Option<Vec<Told>> {
    let program = subject.process.program()?;
    let view = subject.view;
    let in_gnome = view
        .variable("XDG_CURRENT_DESKTOP")
        .is_some_and(|desktops| desktops.contains("GNOME"));
    if !GIO_PROGRAMS.contains(&program) || !in_gnome {
        return None;
    }
    for (sign, what) in [
        (
            view.exists("/.flatpak-info"),
            "in a sandbox GIO asks the desktop's portal for proxies",
        ),
        (
            Ok(view.variable("GIO_USE_PROXY_RESOLVER").is_some()),
            "GIO_USE_PROXY_RESOLVER chooses another resolver of proxies",
        ),
    ] {
        match sign {
            Ok(false) => {}
            Ok(true) => return Some(vec![Told::new(SOURCE, what, Route::Unknown(None))]),
            Err(fault) => return Some(vec![Told::unread(SOURCE, fault)]),
        }
    }
    Some(match read(view) {
        Ok(Some(desktop)) => vec![of_gio(&desktop)],
        Ok(None) => Vec::new(),
        Err(fault) => vec![Told::unread(SOURCE, fault)],
    })
}

/// What GIO makes of settings. It tries `socks` as SOCKS5, then as 4a, then as 4 (glib's gio/gsimpleproxyresolver.c), each
/// after the one before has failed, and for SOCKS4 it resolves the name itself (gio/gproxyaddressenumerator.c).
#[must_use]
pub fn of_gio(desktop: &Desktop) -> Told {
    let (route, others) = match &desktop.mode {
        Mode::None => (Route::Direct, Vec::new()),
        Mode::Auto(_) => (Route::Some(None), Vec::new()),
        Mode::Environment => (Route::Unknown(None), Vec::new()),
        Mode::Manual {
            http, https, socks, ..
        } => {
            let setting = |written: &Option<Written>, scheme: &str, port| {
                let written = written.as_ref()?;
                Some(written.setting(scheme, port, Resolves::Remote))
            };
            let http = setting(http, "http", 80);
            let rest =
                setting(socks, "socks5", 1080).or_else(|| http.clone().filter(|_| desktop.same));
            by_scheme(http, setting(https, "http", 80), rest)
        }
    };
    let mut told = Told {
        evidence: desktop.evidence.clone(),
        route,
        others,
        bypass: Bypass {
            rules: desktop.bypass.clone(),
            language: Language::Suffix,
        },
        ..Told::default()
    };
    if matches!(&desktop.mode, Mode::Manual { socks: Some(_), .. }) {
        told = told.and(
            "gio",
            "GIO tries SOCKS5, then SOCKS4a, and leaves names to both",
        );
        told.leaks.push(Leak {
            what: "names that the proxy does not reach by SOCKS5 or SOCKS4a: SOCKS4 is tried last, for which GIO resolves them itself".to_owned(),
            certain: false,
            stop: "GIO has no setting for it: keep the program from every name server, as in a network namespace whose only way out is the proxy".to_owned(),
        });
    }
    told
}

/// Where pages go, which have the schemes `http` and `https`, when the rest goes to `rest`.
fn by_scheme(
    http: Option<ProxySetting>,
    https: Option<ProxySetting>,
    rest: Option<ProxySetting>,
) -> (Route, Vec<ProxySetting>) {
    let https = https.or_else(|| http.clone()).or_else(|| rest.clone());
    match (https, http.or_else(|| rest.clone())) {
        (Some(https), Some(http)) => {
            let mut others: Vec<_> = [Some(http), rest].into_iter().flatten().collect();
            others.retain(|other| *other != https);
            others.dedup();
            (Route::Everything(https), others)
        }
        (None, None) => (Route::Direct, Vec::new()),
        (https, http) => (Route::Some(https.or(http)), Vec::new()),
    }
}

/// A written proxy as evidence: never with its user and password, which [`Written`] does not keep.
fn shown(written: &Written) -> String {
    let host = if written.host.contains(':') {
        format!("[{}]", written.host)
    } else {
        written.host.clone()
    };
    let scheme = written
        .scheme
        .as_ref()
        .map_or_else(String::new, |scheme| format!("{scheme}://"));
    let port = written
        .port
        .map_or_else(String::new, |port| format!(":{port}"));
    format!("{scheme}{host}{port}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Process,
        posture::{Posture, Programs},
    };

    fn kind(variables: &[(&str, &str)]) -> Option<Kind> {
        let dir = tempfile::tempdir().unwrap();
        kind_of(&View::of_disk(dir.path(), None).with(variables, &[]))
    }

    #[test]
    fn desktops() {
        let (gnome, kde) = (Some(Kind::Gnome), Some(Kind::Kde));
        for (variables, expected) in [
            (&[][..], None),
            (&[("XDG_CURRENT_DESKTOP", "GNOME")], gnome),
            (&[("XDG_CURRENT_DESKTOP", "ubuntu:GNOME")], gnome),
            (&[("XDG_CURRENT_DESKTOP", "Unity")], gnome),
            (&[("XDG_CURRENT_DESKTOP", "X-Cinnamon")], gnome),
            (&[("XDG_CURRENT_DESKTOP", "Pantheon")], gnome),
            (&[("XDG_CURRENT_DESKTOP", "KDE")], kde),
            (
                &[
                    ("XDG_CURRENT_DESKTOP", "XFCE"),
                    ("DESKTOP_SESSION", "gnome"),
                ],
                None,
            ),
            (&[("XDG_CURRENT_DESKTOP", "gnome")], None),
            (
                &[("XDG_CURRENT_DESKTOP", "sway"), ("DESKTOP_SESSION", "mate")],
                gnome,
            ),
            (&[("DESKTOP_SESSION", "kde-plasma")], kde),
            (&[("DESKTOP_SESSION", "xfce4")], None),
            (&[("GNOME_DESKTOP_SESSION_ID", "this-is-deprecated")], gnome),
            (
                &[("DESKTOP_SESSION", "default"), ("KDE_FULL_SESSION", "true")],
                kde,
            ),
        ] {
            assert_eq!(kind(variables), expected, "{variables:?}");
        }
    }

    fn gio(http: &str, https: &str, socks: &str, same: bool) -> Posture {
        Posture::combine([of_gio(&Desktop {
            mode: Mode::Manual {
                http: Written::parse(http),
                https: Written::parse(https),
                ftp: None,
                socks: Written::parse(socks),
            },
            same,
            evidence: vec![Evidence::new(SOURCE, "x")],
            ..Desktop::new(Kind::Gnome)
        })])
    }

    #[test]
    fn what_gio_makes_of_it() {
        let socks = gio("", "", "h:1", true);
        assert_eq!(socks.proxy().unwrap().to_string(), "socks5://h:1");
        assert_eq!(socks.resolves(), Resolves::Remote);
        assert!(socks.leaks.len() == 1 && !socks.leaks[0].certain);

        let both = gio("p:8", "", "h:1", false);
        assert_eq!(both.proxy().unwrap().to_string(), "http://p:8");
        assert_eq!(both.others[0].to_string(), "socks5://h:1");

        assert_eq!(gio("", "p:8", "", true).resolves(), Resolves::Depends);
        assert_eq!(gio("", "", "", true).route, Route::Direct);
        assert_eq!(gio("p:8", "", "", false).resolves(), Resolves::Remote);
    }

    #[test]
    fn programs_that_follow_gnome() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("home/me/.config/dconf")).unwrap();
        std::fs::write(
            dir.path().join("home/me/.config/dconf/user"),
            include_bytes!("testdata/socks.dconf"),
        )
        .unwrap();
        let told_of = |exe: &str, variables: &[(&str, &str)]| {
            let view = View::of_disk(dir.path(), None).with(variables, &[]);
            let process = Process {
                exe: Some(exe.into()),
                ..Process::unread(1, None)
            };
            let programs = Programs::default();
            told(&Subject {
                process: &process,
                view: &view,
                programs: &programs,
            })
        };
        let gnome = [
            ("HOME", "/home/me"),
            ("XDG_CURRENT_DESKTOP", "ubuntu:GNOME"),
        ];
        let posture = Posture::combine(told_of("/usr/bin/epiphany", &gnome).unwrap());
        assert_eq!(
            posture.proxy().unwrap().to_string(),
            "http://proxy.example:3128"
        );
        assert_eq!(posture.bypassed_by("nas.lan"), Some("*.lan"));
        assert!(told_of("/usr/bin/curl", &gnome).is_none());
        let elsewhere = [("HOME", "/home/me"), ("XDG_CURRENT_DESKTOP", "sway")];
        assert!(told_of("/usr/bin/epiphany", &elsewhere).is_none());
        std::fs::write(dir.path().join(".flatpak-info"), "").unwrap();
        let sandboxed = Posture::combine(told_of("/usr/bin/epiphany", &gnome).unwrap());
        assert_eq!(sandboxed.resolves(), Resolves::Unknown);
    }
}
