//! The program itself: which one it is, of what version, and where its own files are.

use crate::{model::Process, posture::View};

/// The first version that has a preference of its own for SOCKS5 names, true by default (StaticPrefList.yaml,
/// `network.proxy.socks5_remote_dns`; Firefox 128).
pub const SOCKS5_OF_ITS_OWN: u32 = 128;

/// The programs of the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Firefox and Firefox ESR.
    Firefox,
    /// LibreWolf.
    LibreWolf,
    /// Mullvad Browser.
    MullvadBrowser,
    /// Thunderbird.
    Thunderbird,
    /// Tor Browser.
    TorBrowser,
    /// Waterfox.
    Waterfox,
}

impl Program {
    /// By the file name of the executable.
    pub fn of(process: &Process) -> Option<Self> {
        Some(match process.program()? {
            "firefox" | "firefox-bin" | "firefox-esr" => Self::Firefox,
            "firefox.real" => Self::TorBrowser,
            "librewolf" | "librewolf-bin" => Self::LibreWolf,
            "mullvadbrowser" | "mullvadbrowser.real" => Self::MullvadBrowser,
            "thunderbird" | "thunderbird-bin" => Self::Thunderbird,
            "waterfox" | "waterfox-bin" => Self::Waterfox,
            _ => return None,
        })
    }

    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firefox => "Firefox",
            Self::LibreWolf => "LibreWolf",
            Self::MullvadBrowser => "Mullvad Browser",
            Self::Thunderbird => "Thunderbird",
            Self::TorBrowser => "Tor Browser",
            Self::Waterfox => "Waterfox",
        }
    }

    /// The name of its folder in /etc: its name for itself in lower case (toolkit/xre/nsXREDirProvider.cpp).
    fn in_etc(self) -> &'static str {
        match self {
            Self::Firefox | Self::TorBrowser => "firefox",
            Self::LibreWolf => "librewolf",
            Self::MullvadBrowser => "mullvadbrowser",
            Self::Thunderbird => "thunderbird",
            Self::Waterfox => "waterfox",
        }
    }

    /// Where a person finds its preferences.
    pub fn editor(self) -> &'static str {
        match self {
            Self::Thunderbird => "the Config Editor",
            _ => "about:config",
        }
    }
}

/// A program's own files.
#[derive(Clone, Debug)]
pub struct Install {
    /// Which it is.
    pub program: Program,
    /// The folder of the executable.
    pub folder: Option<String>,
    /// The first number of the version of its platform.
    pub version: Option<u32>,
    /// Its folder for the administrator's files.
    pub config: String,
}

impl Install {
    /// Of a running program.
    pub fn of(process: &Process, view: &View) -> Option<Self> {
        let mut program = Program::of(process)?;
        let exe = process.exe.as_deref()?;
        // After an update the files beside it are those of another version.
        let is_there = !exe.ends_with(" (deleted)");
        let folder = exe
            .rsplit_once('/')
            .map(|(folder, _)| folder.to_owned())
            .filter(|_| is_there);
        if let (Program::Firefox, Some(folder)) = (program, &folder)
            && view
                .exists(&format!("{folder}/TorBrowser"))
                .unwrap_or_default()
        {
            program = Program::TorBrowser;
        }
        Some(Self::new(program, folder, view))
    }

    /// Of a program whose folder is known; without one its version is not known either.
    pub fn new(program: Program, folder: Option<String>, view: &View) -> Self {
        let version = folder.as_deref().and_then(|folder| version(folder, view));
        let base = match view.variable("MOZ_SYSTEM_CONFIG_DIR") {
            Some(folder) => folder.trim_end_matches('/'),
            None if view.exists("/.flatpak-info").unwrap_or_default() => "/app/etc",
            None => "/etc",
        };
        Self {
            program,
            folder,
            version,
            config: format!("{base}/{}", program.in_etc()),
        }
    }

    /// Folders of default preferences, a later one wins. Seen with Debian's 153; upstream is
    /// modules/libpref/Preferences.cpp, `InitInitialObjects`.
    pub fn defaults(&self) -> Vec<String> {
        let mut folders = Vec::new();
        if let Some(folder) = &self.folder {
            let app = match self.program {
                Program::Thunderbird => "",
                _ => "browser/",
            };
            folders.push(format!("{folder}/defaults/pref"));
            folders.push(format!("{folder}/{app}defaults/preferences"));
            // Debian: a link to /etc/firefox-esr.
            folders.push(format!("{folder}/{app}defaults/syspref"));
        }
        folders.push(format!("{}/defaults/pref", self.config));
        folders
    }

    /// Policy files, the first that is there counts alone (EnterprisePoliciesParent.sys.mjs).
    pub fn policies(&self) -> Vec<String> {
        let mut files = Vec::new();
        // Tor Browser and Mullvad Browser are built with --disable-system-policies.
        if !matches!(self.program, Program::TorBrowser | Program::MullvadBrowser) {
            files.push(format!("{}/policies/policies.json", self.config));
        }
        if let Some(folder) = &self.folder {
            files.push(format!("{folder}/distribution/policies.json"));
        }
        files
    }

    /// Name and version, as `Firefox 153`.
    pub fn title(&self) -> String {
        match self.version {
            // The platform's version is not the program's own.
            Some(version) if self.program == Program::Firefox => {
                format!("{} {version}", self.program.name())
            }
            _ => self.program.name().to_owned(),
        }
    }
}

/// The version of the platform, which is Firefox's whatever the program: `Milestone` in platform.ini.
fn version(folder: &str, view: &View) -> Option<u32> {
    let text = view.text(&format!("{folder}/platform.ini")).ok()??;
    let milestone = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Milestone="))?;
    milestone.split('.').next()?.trim().parse().ok()
}
