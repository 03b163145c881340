//! Settings on disk that no running program need be using: profiles of browsers, and files of a user's that steer other
//! programs.
//!
//! A user may put links in place of these files that lead anywhere on the machine. Nothing is gained by it: only regular files
//! are read, only what parses as a setting of the kind in question is shown, and it is shown to whoever started leakmon,
//! who could read the file as well. Refusing links would hide the settings of everybody who keeps dotfiles elsewhere.

use std::path::Path;

use super::{
    Posture, Programs, Route, Subject, Told, View, chromium, command_line,
    desktop::{self, Desktop, Mode},
    firefox,
};
use crate::accounts::{Account, accounts};
use crate::model::{Evidence, Process, Profile, ProxySetting, Resolves, Setup};
use crate::time::Timestamp;

/// Programs without a screen that read a file of the user's, the file, and an argument with which they heed it.
const PROGRAMS: &[(&str, &str, Option<&str>)] = &[
    ("curl", ".curlrc", None),
    ("git", ".gitconfig", Some("fetch")),
    ("wget", ".wgetrc", None),
];

/// A user with a home folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// As /etc/passwd has it.
    pub name: Option<String>,
    /// Number.
    pub uid: u32,
    /// Home folder.
    pub home: String,
    /// Further variables of the environment that say where settings are, when they are known.
    pub variables: Vec<(String, String)>,
}

/// Everybody in /etc/passwd whose home folder exists, each folder once.
#[must_use]
pub fn users(root: &Path) -> Vec<User> {
    let view = View::of_disk(root, None);
    let passwd = view.text("/etc/passwd").ok().flatten().unwrap_or_default();
    let mut users: Vec<User> = Vec::new();
    for user in accounts(&passwd).filter_map(user_of) {
        // Who has no home of their own is given the root folder.
        let is_known = users.iter().any(|known| known.home == user.home);
        if !is_known && user.home.len() > 1 && view.exists(&user.home).unwrap_or_default() {
            users.push(user);
        }
    }
    users
}

/// The user of this number, who has these variables in the environment.
#[must_use]
pub fn user(
    root: &Path,
    uid: u32,
    variables: impl Iterator<Item = (String, String)>,
) -> Option<User> {
    let passwd = View::of_disk(root, None)
        .text("/etc/passwd")
        .ok()
        .flatten()
        .unwrap_or_default();
    let known = accounts(&passwd)
        .filter_map(user_of)
        .find(|user| user.uid == uid);
    // Only what says where settings are: what else a shell has in its environment need not reach other programs.
    let mut variables: Vec<_> = variables
        .filter(|(name, _)| {
            ["XDG_", "KDE", "DCONF_", "GSETTINGS_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
                || name == "HOME"
        })
        .collect();
    let home = variables
        .iter()
        .position(|(name, value)| name == "HOME" && value.starts_with('/'))
        .map(|at| variables.swap_remove(at).1);
    variables.retain(|(name, _)| name != "HOME");
    let (name, listed) = known.map_or((None, None), |user| (user.name, Some(user.home)));
    Some(User {
        name,
        uid,
        home: home.or(listed)?,
        variables,
    })
}

fn user_of(account: Account<'_>) -> Option<User> {
    account.home.starts_with('/').then(|| User {
        name: Some(account.name.to_owned()),
        uid: account.uid,
        home: account.home.to_owned(),
        variables: Vec::new(),
    })
}

/// What is on disk for a user: a posture for each profile and file, but for those that say nothing of proxies unless `all`
/// are asked for.
#[must_use]
pub fn setups(
    root: &Path,
    user: &User,
    programs: &Programs,
    all: bool,
    now: Timestamp,
) -> Vec<Setup> {
    let home = ("HOME".to_owned(), user.home.clone());
    let variables = std::iter::once(home).chain(user.variables.clone());
    let view = View::of_user(root, user.uid, variables.collect());
    let mut found = firefox::profiles(&view);
    found.extend(chromium::profiles(&view));
    found.extend(of_programs(&view, user, programs));
    let at = |file: &str| format!("{}/{file}", view.config_home().unwrap_or_default());
    found.extend(of_desktop(
        "GNOME settings",
        at("dconf/user"),
        desktop::gnome(&view),
    ));
    found.extend(of_desktop(
        "KDE settings",
        at("kioslaverc"),
        desktop::kde(&view),
    ));
    found
        .into_iter()
        .filter_map(|(program, path, told)| {
            let posture = Posture::combine(told);
            let profile = Profile {
                program,
                path,
                user: user.name.clone(),
            };
            (all || !posture.is_empty()).then(|| posture.setup(now, None, None, Some(profile)))
        })
        .collect()
}

type Found = Vec<(String, String, Vec<Told>)>;

/// Programs that would read a file of the user's: what they would be told by it if they were started without arguments.
fn of_programs(view: &View, user: &User, programs: &Programs) -> Found {
    let mut found = Vec::new();
    for (program, file, argument) in PROGRAMS {
        let Some(path) = view.at_home(file) else {
            continue;
        };
        // A file that is not there needs no telling, one that cannot be reached does.
        if view.exists(&path) == Ok(false) {
            continue;
        }
        let process = Process {
            comm: Some((*program).to_owned()),
            exe: Some(format!("/usr/bin/{program}")),
            cmdline: Some(
                std::iter::once(*program)
                    .chain(*argument)
                    .map(str::to_owned)
                    .collect(),
            ),
            environment: Some(Vec::new()),
            ..Process::unread(0, Some(user.uid))
        };
        let subject = Subject {
            process: &process,
            view,
            programs,
        };
        found.extend(command_line::told(&subject).map(|told| ((*program).to_owned(), path, told)));
    }
    found
}

/// A desktop's settings, for whichever program follows them. What SOCKS means in them, programs differ about.
fn of_desktop(
    program: &str,
    path: String,
    read: Result<Option<Desktop>, super::Fault>,
) -> Option<(String, String, Vec<Told>)> {
    let told = match read {
        Ok(None) => return None,
        Err(fault) => Told::unread(desktop::SOURCE, fault),
        Ok(Some(desktop)) => {
            let unknown = |scheme: &str, written: &super::proxy::Written, port| ProxySetting {
                scheme: scheme.to_owned(),
                addr: written.host.clone(),
                port: written.port.unwrap_or(port),
                resolves: Resolves::Unknown,
            };
            let route = match &desktop.mode {
                Mode::None => return None,
                Mode::Auto(_) => Route::Some(None),
                Mode::Environment => Route::Unknown(None),
                Mode::Manual {
                    socks: Some(socks),
                    http: None,
                    https: None,
                    ..
                } => Route::Everything(unknown("socks5", socks, 1080)),
                Mode::Manual {
                    http, https, socks, ..
                } => Route::Some(
                    https
                        .as_ref()
                        .or(http.as_ref())
                        .map(|proxy| unknown("http", proxy, 80))
                        .or_else(|| socks.as_ref().map(|proxy| unknown("socks5", proxy, 1080))),
                ),
            };
            let mut told = Told {
                evidence: desktop.evidence,
                route,
                ..Told::default()
            };
            if matches!(&desktop.mode, Mode::Manual { socks: Some(_), .. }) {
                told.evidence.push(Evidence::new(
                    desktop::SOURCE,
                    "SOCKS is version 5 here for Chromium, which leaves names to the proxy, and version 4 for Firefox, whose own preference decides",
                ));
            }
            told.bypass.rules = desktop.bypass;
            told
        }
    };
    Some((program.to_owned(), path, vec![told]))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nme:x:1000:1000:,,,:/home/me:/bin/sh\n\
        again:x:1001:1001::/home/me:/bin/sh\ngone:x:1002:1002::/home/gone:/bin/sh\nnonsense\nx:y:z\nn:x:no:0::/home:/\n";

    fn disk() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["etc", "root", "home/me/.config/dconf"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("etc/passwd"), PASSWD).unwrap();
        dir
    }

    fn all_of(dir: &tempfile::TempDir, user: &User) -> Vec<String> {
        setups(dir.path(), user, &Programs::default(), false, Timestamp(0))
            .iter()
            .map(|setup| {
                let profile = setup.profile.as_ref().unwrap();
                assert!(setup.app.is_none() && setup.process.is_none());
                let proxy = setup.proxy.as_ref().map(ToString::to_string);
                format!(
                    "{} {} {} {:?}",
                    profile.program,
                    profile.path,
                    proxy.unwrap_or_default(),
                    setup.resolves
                )
            })
            .collect()
    }

    #[test]
    fn who_there_is() {
        let dir = disk();
        let names: Vec<_> = users(dir.path())
            .into_iter()
            .filter_map(|user| user.name)
            .collect();
        assert_eq!(names, ["root", "me"]);
        let variables = |home: &str| {
            vec![
                ("HOME".to_owned(), home.to_owned()),
                ("XDG_CONFIG_HOME".to_owned(), "/c".to_owned()),
                ("all_proxy".to_owned(), "socks5://h".to_owned()),
            ]
            .into_iter()
        };
        let me = user(dir.path(), 1000, variables("/elsewhere")).unwrap();
        assert_eq!(
            (me.name.as_deref(), me.home.as_str()),
            (Some("me"), "/elsewhere")
        );
        assert_eq!(me.variables.len(), 1);
        assert_eq!(
            user(dir.path(), 1000, variables("")).unwrap().home,
            "/home/me"
        );
        assert_eq!(user(dir.path(), 7, variables("/x")).unwrap().name, None);
        assert_eq!(user(dir.path(), 7, std::iter::empty()), None);
        assert!(users(&dir.path().join("etc")).is_empty());
    }

    #[test]
    fn files_of_programs_without_a_screen() {
        let dir = disk();
        let home = dir.path().join("home/me");
        for (file, text) in [
            (".curlrc", "proxy = socks5://h:1\n"),
            (".gitconfig", "[http]\nproxy = socks5h://h:2\n"),
            (
                ".wgetrc",
                "https_proxy = http://h:3\nhttp_proxy = http://h:3\n",
            ),
        ] {
            fs::write(home.join(file), text).unwrap();
        }
        let me = user(dir.path(), 1000, std::iter::empty()).unwrap();
        assert_eq!(
            all_of(&dir, &me),
            [
                "curl /home/me/.curlrc socks5://h:1 Local",
                "git /home/me/.gitconfig socks5://h:2 Remote",
                "wget /home/me/.wgetrc http://h:3 Remote",
            ]
        );
    }

    #[test]
    fn settings_of_desktops() {
        let dir = disk();
        let me = user(dir.path(), 1000, std::iter::empty()).unwrap();
        assert!(all_of(&dir, &me).is_empty());
        let config = dir.path().join("home/me/.config");
        fs::write(
            config.join("dconf/user"),
            include_bytes!("desktop/testdata/socks.dconf"),
        )
        .unwrap();
        fs::write(
            config.join("kioslaverc"),
            "[Proxy Settings]\nProxyType=1\nsocksProxy=socks://h 1\n",
        )
        .unwrap();
        assert_eq!(
            all_of(&dir, &me),
            [
                "GNOME settings /home/me/.config/dconf/user http://proxy.example:3128 Depends",
                "KDE settings /home/me/.config/kioslaverc socks5://h:1 Unknown",
            ]
        );
        let root = user(dir.path(), 0, std::iter::empty()).unwrap();
        assert!(all_of(&dir, &root).is_empty(), "another user's");
    }

    #[test]
    fn links_and_damaged_files() {
        let dir = disk();
        let me = user(dir.path(), 1000, std::iter::empty()).unwrap();
        let config = dir.path().join("home/me/.config");
        fs::write(dir.path().join("etc/shadow"), "root:$y$secret:1::::::\n").unwrap();
        symlink("/etc/shadow", config.join("kioslaverc")).unwrap();
        symlink("/etc/shadow", dir.path().join("home/me/.curlrc")).unwrap();
        symlink("/etc/shadow", config.join("dconf/user")).unwrap();
        let said = format!(
            "{:?}",
            setups(dir.path(), &me, &Programs::default(), true, Timestamp(0))
        );
        assert!(!said.contains("secret"), "{said}");
        assert_eq!(
            all_of(&dir, &me),
            ["GNOME settings /home/me/.config/dconf/user  Unknown"]
        );
        fs::remove_file(config.join("dconf/user")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            config.join("dconf/user"),
            rustix::fs::Mode::RUSR,
        )
        .unwrap();
        assert!(
            format!(
                "{:?}",
                setups(dir.path(), &me, &Programs::default(), false, Timestamp(0))
            )
            .contains("is no file")
        );
    }
}
