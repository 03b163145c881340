//! Profiles: which one a running program uses, and those on disk.

use super::install::Program;
use crate::posture::{Fault, View};

/// Profiles of one program that are looked at.
const MAX_PROFILES: usize = 64;

/// Files of a profile that a running program keeps open, beside its databases. Seen with 153.
const OPEN: [&str; 2] = ["cert9.db", "key4.db"];

/// Why the profile of a running program is not known.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// Something cannot be read.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It has only begun.
    #[error("which profile it uses is not known yet: it has none of its files open")]
    NotYet,
}

/// The profile that a running program uses.
///
/// Its lock and its databases are open as long as it runs. Until they are, the command line may say it.
///
/// # Errors
/// When it cannot be told, or not yet.
pub fn in_use(program: Program, arguments: &[String], view: &View) -> Result<String, Unknown> {
    let open = view.open_files()?;
    let in_folder = |path: &str| {
        let (folder, file) = path.rsplit_once('/')?;
        Some((folder.to_owned(), file.to_owned()))
    };
    let files: Vec<(String, String)> = open.iter().filter_map(|path| in_folder(path)).collect();
    // Another lock, in the folder for temporary files, is held while it starts (toolkit/xre/nsAppRunner.cpp, the remote
    // service's): that folder has no databases.
    let locked = files.iter().find(|(folder, file)| {
        file == ".parentlock"
            && files.iter().any(|(other, file)| {
                other == folder && (file.ends_with(".sqlite") || OPEN.contains(&file.as_str()))
            })
    });
    if let Some((folder, _)) = locked {
        return Ok(folder.clone());
    }
    if let Some(folder) = on_command_line(program, arguments, view)? {
        return Ok(folder);
    }
    Err(Unknown::NotYet)
}

/// `-profile FOLDER` and `-P NAME` (toolkit/profile/nsToolkitProfileService.cpp).
fn on_command_line(
    program: Program,
    arguments: &[String],
    view: &View,
) -> Result<Option<String>, Fault> {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| {
            argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))
                .is_some_and(|argument| argument.eq_ignore_ascii_case(name))
        })?;
        arguments
            .get(at + 1)
            .filter(|value| !value.starts_with('-'))
    };
    if let Some(folder) = value("profile") {
        return Ok(view.absolute(folder.trim_end_matches('/')));
    }
    let Some(name) = value("P") else {
        return Ok(None);
    };
    for (known, folder) in roots(view) {
        if known == program {
            let profiles = read(&folder, view)?;
            let named = profiles.into_iter().find(|profile| profile.name == *name);
            if let Some(profile) = named {
                return Ok(Some(profile.folder));
            }
        }
    }
    Ok(None)
}

/// Folders with a profiles.ini, by program.
pub fn roots(view: &View) -> Vec<(Program, String)> {
    let mut roots = Vec::new();
    let mut add = |program, path: Option<String>| {
        if let Some(path) = path {
            roots.push((program, path));
        }
    };
    for (program, path) in [
        (Program::Firefox, ".mozilla/firefox"),
        (Program::Firefox, "snap/firefox/common/.mozilla/firefox"),
        (
            Program::Firefox,
            ".var/app/org.mozilla.firefox/.mozilla/firefox",
        ),
        (
            Program::Firefox,
            ".var/app/org.mozilla.firefox/config/mozilla/firefox",
        ),
        (Program::LibreWolf, ".librewolf"),
        (
            Program::LibreWolf,
            ".var/app/io.gitlab.librewolf-community/.librewolf",
        ),
        (
            Program::TorBrowser,
            ".local/share/torbrowser/tbb/x86_64/tor-browser/Browser/TorBrowser/Data/Browser",
        ),
        (Program::Thunderbird, ".thunderbird"),
        (Program::Thunderbird, "snap/thunderbird/common/.thunderbird"),
        (
            Program::Thunderbird,
            ".var/app/org.mozilla.Thunderbird/.thunderbird",
        ),
        (Program::Waterfox, ".waterfox"),
        (
            Program::Waterfox,
            ".var/app/net.waterfox.waterfox/.waterfox",
        ),
    ] {
        add(program, view.at_home(path));
    }
    // Firefox 147 and newer keep new profiles here.
    let config = view.config_home();
    for (program, path) in [
        (Program::Firefox, "mozilla/firefox"),
        (Program::LibreWolf, "librewolf/librewolf"),
    ] {
        add(
            program,
            config.as_ref().map(|config| format!("{config}/{path}")),
        );
    }
    roots
}

/// A profile of profiles.ini.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: String,
}

/// The profiles that `root`/profiles.ini lists.
///
/// # Errors
/// When there is one that cannot be read.
pub fn read(root: &str, view: &View) -> Result<Vec<Profile>, Fault> {
    let text = view.text(&format!("{root}/profiles.ini"))?;
    Ok(text.map(|text| listed(&text, root)).unwrap_or_default())
}

/// Reads profiles.ini: sections `[ProfileN]` with `Name`, `Path` and `IsRelative`.
fn listed(text: &str, root: &str) -> Vec<Profile> {
    let mut profiles = Vec::new();
    let (mut is_profile, mut name, mut path, mut is_relative) = (false, "", "", false);
    // A last section that is none ends the one before.
    for line in text.lines().chain(["["]) {
        let line = line.trim();
        if let Some(section) = line.strip_prefix('[') {
            if is_profile && !path.is_empty() && profiles.len() < MAX_PROFILES {
                let folder = if is_relative {
                    format!("{root}/{path}")
                } else {
                    path.to_owned()
                };
                profiles.push(Profile {
                    name: name.to_owned(),
                    folder,
                });
            }
            (name, path, is_relative) = ("", "", false);
            is_profile = section.starts_with("Profile");
        } else if let Some((key, value)) = line.split_once('=') {
            match key {
                "Name" => name = value,
                "Path" => path = value.trim_end_matches('/'),
                "IsRelative" => is_relative = value == "1",
                _ => {}
            }
        }
    }
    profiles
}

/// The folder of the program that last used a profile: `LastPlatformDir` in its compatibility.ini.
pub fn last_install(profile: &str, view: &View) -> Option<String> {
    let text = view.text(&format!("{profile}/compatibility.ini")).ok()??;
    let folder = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("LastPlatformDir="))?;
    folder.starts_with('/').then(|| folder.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_of_a_list() {
        let text = "[Install4F96D1932A9F858E]\nDefault=a.default-esr\nLocked=1\n\n[Profile1]\nName=default\n\
                    IsRelative=1\nPath=b.default\nDefault=1\n\n[Profile0]\nName=work\nIsRelative=0\nPath=/data/own/\n\n\
                    [General]\nStartWithLastProfile=1\n[Profile2]\nName=nowhere";
        let profile = |name: &str, folder: &str| Profile {
            name: name.to_owned(),
            folder: folder.to_owned(),
        };
        assert_eq!(
            listed(text, "/r"),
            [
                profile("default", "/r/b.default"),
                profile("work", "/data/own")
            ]
        );
        for end in 0..text.len() {
            let _ = listed(text.get(..end).unwrap_or_default(), "/r");
        }
        let many = "[Profile0]\nPath=x\n".repeat(1000);
        assert_eq!(listed(&many, "/r").len(), MAX_PROFILES);
    }

    #[test]
    fn the_profile_whose_lock_and_databases_are_open() {
        let view = |open: &[&str]| {
            View::of_disk(std::path::Path::new("/nonexistent"), None).with(&[], open)
        };
        let found = in_use(
            Program::Firefox,
            &[],
            &view(&[
                "/tmp/firefox-esr/.parentlock",
                "/home/me/.mozilla/firefox/a/.parentlock",
                "/home/me/.mozilla/firefox/a/cookies.sqlite",
            ]),
        );
        assert_eq!(found.unwrap(), "/home/me/.mozilla/firefox/a");
        let starting = view(&["/tmp/firefox-esr/.parentlock"]);
        assert!(in_use(Program::Firefox, &[], &starting).is_err());
        for flag in ["-profile", "--profile", "--Profile"] {
            let arguments = [flag.to_owned(), "/p/".to_owned()];
            assert_eq!(
                in_use(Program::Firefox, &arguments, &starting).unwrap(),
                "/p"
            );
        }
    }
}
