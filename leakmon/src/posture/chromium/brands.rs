//! The programs of the family: how they are known, and where each keeps its settings.

use crate::{
    model::Process,
    posture::{Fault, View},
};

/// What a program of the family reads beside its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Policies, profiles and the system's settings.
    Browser,
    /// The system's settings: the old headless mode has neither policies nor profiles (headless/lib/browser).
    Shell,
    /// The system's settings, unless the app sets a proxy itself (Electron's `session.setProxy`), which is written nowhere.
    Electron,
}

/// A program of the family.
#[derive(Debug)]
pub struct Brand {
    /// What people call it.
    pub name: &'static str,
    /// File names of its executable.
    programs: &'static [&'static str],
    /// A part of the executable's path without which it is not this one.
    path: &'static str,
    /// What it reads.
    pub kind: Kind,
    /// Folders of its policies.
    pub policies: &'static [&'static str],
    /// Folders of which it is not known whether this build reads policies there: distributions and vendors differ.
    pub maybe_policies: &'static [&'static str],
    /// Its folders of profiles, below the configuration folder; the first is that of the stable version.
    pub folders: &'static [&'static str],
    /// Further such folders below the home folder: those of Snap and Flatpak.
    pub packaged: &'static [&'static str],
}

/// What has no folders.
const BARE: Brand = Brand {
    name: "",
    programs: &[],
    path: "",
    kind: Kind::Shell,
    policies: &[],
    maybe_policies: &[],
    folders: &[],
    packaged: &[],
};

/// An Electron app, whatever its name.
static ELECTRON: Brand = Brand {
    name: "Electron",
    kind: Kind::Electron,
    ..BARE
};

/// Policies: components/policy/core/common/policy_paths.cc, and for Brave and Edge their own documentation. Profiles:
/// chrome/common/chrome_paths_linux.cc, and the vendors' names in the same place.
static BRANDS: [Brand; 8] = [
    Brand {
        name: "Google Chrome",
        programs: &["chrome", "google-chrome"],
        path: "/google/",
        kind: Kind::Browser,
        policies: &["/etc/opt/chrome/policies"],
        folders: &[
            "google-chrome",
            "google-chrome-beta",
            "google-chrome-unstable",
        ],
        packaged: &[".var/app/com.google.Chrome/config/google-chrome"],
        ..BARE
    },
    Brand {
        name: "Chromium",
        programs: &["chromium", "chromium-browser"],
        kind: Kind::Browser,
        policies: &["/etc/chromium/policies"],
        maybe_policies: &["/etc/chromium-browser/policies"],
        folders: &["chromium"],
        packaged: &[
            "snap/chromium/common/chromium",
            ".var/app/org.chromium.Chromium/config/chromium",
            ".var/app/io.github.ungoogled_software.ungoogled_chromium/config/chromium",
        ],
        ..BARE
    },
    // Chromium's own builds, those for testing and many packages call it so.
    Brand {
        name: "Chromium",
        programs: &["chrome"],
        kind: Kind::Browser,
        maybe_policies: &[
            "/etc/chromium/policies",
            "/etc/chromium-browser/policies",
            "/etc/opt/chrome/policies",
            "/etc/opt/chrome_for_testing/policies",
        ],
        folders: &["chromium", "google-chrome-for-testing", "google-chrome"],
        ..BARE
    },
    Brand {
        name: "Chromium",
        programs: &["headless_shell", "chrome-headless-shell"],
        ..BARE
    },
    Brand {
        name: "Brave",
        programs: &["brave", "brave-browser"],
        kind: Kind::Browser,
        policies: &["/etc/brave/policies"],
        folders: &[
            "BraveSoftware/Brave-Browser",
            "BraveSoftware/Brave-Browser-Beta",
            "BraveSoftware/Brave-Browser-Nightly",
        ],
        packaged: &[
            "snap/brave/current/.config/BraveSoftware/Brave-Browser",
            ".var/app/com.brave.Browser/config/BraveSoftware/Brave-Browser",
        ],
        ..BARE
    },
    Brand {
        name: "Microsoft Edge",
        programs: &["msedge", "microsoft-edge"],
        kind: Kind::Browser,
        policies: &["/etc/opt/edge/policies"],
        folders: &[
            "microsoft-edge",
            "microsoft-edge-beta",
            "microsoft-edge-dev",
        ],
        packaged: &[".var/app/com.microsoft.Edge/config/microsoft-edge"],
        ..BARE
    },
    Brand {
        name: "Vivaldi",
        programs: &["vivaldi-bin"],
        kind: Kind::Browser,
        maybe_policies: &[
            "/etc/opt/vivaldi/policies",
            "/etc/vivaldi/policies",
            "/etc/chromium/policies",
        ],
        folders: &["vivaldi", "vivaldi-snapshot"],
        packaged: &[".var/app/com.vivaldi.Vivaldi/config/vivaldi"],
        ..BARE
    },
    Brand {
        name: "Opera",
        programs: &["opera"],
        kind: Kind::Browser,
        maybe_policies: &[
            "/etc/opt/opera/policies",
            "/etc/opera/policies",
            "/etc/chromium/policies",
        ],
        folders: &["opera", "opera-beta", "opera-developer"],
        packaged: &[
            "snap/opera/current/.config/opera",
            ".var/app/com.opera.Opera/config/opera",
        ],
        ..BARE
    },
];

impl Brand {
    /// The brand of a program; `None` for one that is not of the family.
    pub fn of(process: &Process, view: &View) -> Option<&'static Self> {
        let program = process.program()?;
        let exe = process.exe.as_deref().unwrap_or_default();
        let known = BRANDS
            .iter()
            .find(|brand| brand.programs.contains(&program) && exe.contains(brand.path));
        known.or_else(|| is_electron(exe, view).unwrap_or(false).then_some(&ELECTRON))
    }

    /// Those with profiles of their own.
    pub fn with_profiles() -> impl Iterator<Item = &'static Self> {
        BRANDS.iter().filter(|brand| {
            // The builds that are all called chrome have no folders but those of others.
            brand.kind == Kind::Browser && !(brand.name == "Chromium" && brand.policies.is_empty())
        })
    }

    /// The folder of profiles below the configuration folder that an executable of this path uses by itself: a channel
    /// has it in the names of both.
    pub fn folder(&self, exe: &str) -> Option<&'static str> {
        let channel = |folder: &&&str| {
            let channel = folder.rsplit('-').next().unwrap_or_default();
            let is_channel = [
                "beta",
                "unstable",
                "dev",
                "developer",
                "snapshot",
                "nightly",
            ]
            .iter()
            .any(|known| channel.eq_ignore_ascii_case(known));
            is_channel
                && exe
                    .to_ascii_lowercase()
                    .contains(&format!("-{}", channel.to_ascii_lowercase()))
        };
        self.folders
            .iter()
            .find(channel)
            .or_else(|| self.folders.first())
            .copied()
    }
}

/// Whether an executable is Electron's: it has Chromium's resources beside it, and the app's in a folder `resources`
/// (Electron's documentation, "Application Packaging").
fn is_electron(exe: &str, view: &View) -> Result<bool, Fault> {
    let exe = exe.strip_suffix(" (deleted)").unwrap_or(exe);
    let Some((folder, _)) = exe.rsplit_once('/') else {
        return Ok(false);
    };
    if !view.exists(&format!("{folder}/chrome_100_percent.pak"))? {
        return Ok(false);
    }
    for app in ["app.asar", "app", "default_app.asar"] {
        if view.exists(&format!("{folder}/resources/{app}"))? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn process(exe: &str) -> Process {
        Process {
            exe: Some(exe.to_owned()),
            ..Process::unread(1, None)
        }
    }

    #[test]
    fn programs() {
        let dir = tempfile::tempdir().unwrap();
        let view = View::of_disk(dir.path(), None);
        for (exe, name, folder) in [
            ("/usr/lib/chromium/chromium", "Chromium", Some("chromium")),
            (
                "/opt/google/chrome/chrome",
                "Google Chrome",
                Some("google-chrome"),
            ),
            (
                "/opt/google/chrome-beta/chrome",
                "Google Chrome",
                Some("google-chrome-beta"),
            ),
            (
                "/snap/chromium/3/usr/lib/chromium-browser/chrome",
                "Chromium",
                Some("chromium"),
            ),
            (
                "/opt/brave.com/brave/brave (deleted)",
                "Brave",
                Some("BraveSoftware/Brave-Browser"),
            ),
            (
                "/opt/brave.com/brave-nightly/brave",
                "Brave",
                Some("BraveSoftware/Brave-Browser-Nightly"),
            ),
            (
                "/opt/microsoft/msedge-dev/msedge",
                "Microsoft Edge",
                Some("microsoft-edge-dev"),
            ),
            (
                "/opt/vivaldi-snapshot/vivaldi-bin",
                "Vivaldi",
                Some("vivaldi-snapshot"),
            ),
            ("/usr/lib/headless_shell", "Chromium", None),
        ] {
            let brand = Brand::of(&process(exe), &view).unwrap();
            assert_eq!((brand.name, brand.folder(exe)), (name, folder), "{exe}");
        }
        assert!(Brand::of(&process("/usr/bin/curl"), &view).is_none());
    }

    #[test]
    fn electron_is_known_by_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let view = View::of_disk(dir.path(), None);
        let app = process("/opt/Some App/some-app");
        assert!(Brand::of(&app, &view).is_none());
        fs::create_dir_all(dir.path().join("opt/Some App/resources")).unwrap();
        fs::write(dir.path().join("opt/Some App/resources/app.asar"), "").unwrap();
        assert!(
            Brand::of(&app, &view).is_none(),
            "an archive of that name is not enough"
        );
        fs::write(dir.path().join("opt/Some App/chrome_100_percent.pak"), "").unwrap();
        assert_eq!(Brand::of(&app, &view).unwrap().kind, Kind::Electron);
    }
}
