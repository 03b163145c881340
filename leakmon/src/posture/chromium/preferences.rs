//! Profiles: which are in use, and what their `Preferences` say, of the user and of extensions.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{brands::Brand, rules::Setting, switches::Switches};
use crate::posture::{Fault, View};

/// Most profiles that are looked at: people have a handful.
const MAX_PROFILES: usize = 32;

/// Files of a profile that are open for as long as it is in use (seen with 156).
const ALWAYS_OPEN: [&str; 3] = ["History", "Login Data", "Web Data"];

/// Profiles that are not a user's (chrome/common/chrome_constants.cc).
const NOBODYS: [&str; 2] = ["System Profile", "Guest Profile"];

/// The profiles that a running program uses, by their folders.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// The folder of all profiles.
    pub folder: Option<String>,
    /// Their own folders.
    pub profiles: Vec<String>,
    /// The open files told it; otherwise it is what the program would choose.
    pub is_certain: bool,
}

/// Finds the profiles in use: best by the files that the program has open, else as it chooses them when it starts
/// (chrome/common/chrome_paths_linux.cc, chrome/browser/profiles/profiles_state.cc).
pub fn in_use(view: &View, brand: &Brand, exe: &str, switches: Switches<'_>) -> InUse {
    let open = open_profiles(view);
    let told = switches
        .get("user-data-dir")
        .filter(|path| !path.is_empty())
        .or_else(|| view.variable("CHROME_USER_DATA_DIR"))
        .and_then(|path| view.absolute(path));
    if let Some(first) = open.first() {
        let folder = told.or_else(|| first.rsplit_once('/').map(|(folder, _)| folder.to_owned()));
        return InUse {
            folder,
            profiles: open,
            is_certain: true,
        };
    }
    let Some(folder) = told.or_else(|| default_folder(view, brand, exe)) else {
        return InUse::default();
    };
    let folder = folder.trim_end_matches('/').to_owned();
    let names = match switches
        .get("profile-directory")
        .filter(|name| !name.is_empty())
    {
        Some(name) => vec![name.to_owned()],
        None => last_used(view, &folder),
    };
    InUse {
        profiles: names
            .iter()
            .filter(|name| !name.contains('/'))
            .map(|name| format!("{folder}/{name}"))
            .collect(),
        folder: Some(folder),
        is_certain: false,
    }
}

fn open_profiles(view: &View) -> Vec<String> {
    let mut profiles: Vec<String> = Vec::new();
    for path in view.open_files().unwrap_or_default() {
        let Some((profile, file)) = path.rsplit_once('/') else {
            continue;
        };
        let name = profile.rsplit('/').next().unwrap_or_default();
        if ALWAYS_OPEN.contains(&file)
            && !NOBODYS.contains(&name)
            && !profiles.iter().any(|known| known == profile)
            && profiles.len() < MAX_PROFILES
        {
            profiles.push(profile.to_owned());
        }
    }
    profiles.sort();
    profiles
}

fn default_folder(view: &View, brand: &Brand, exe: &str) -> Option<String> {
    let config = match view.variable("CHROME_CONFIG_HOME") {
        Some(path) => path.to_owned(),
        None => view.config_home()?,
    };
    Some(format!("{config}/{}", brand.folder(exe)?))
}

/// The profiles that are opened without further ado: those open when the browser ended, else the last used one.
fn last_used(view: &View, folder: &str) -> Vec<String> {
    let state = json(view, &format!("{folder}/Local State"));
    let profile = state
        .ok()
        .flatten()
        .and_then(|mut state| state.remove("profile"));
    let names = |key: &str| -> Vec<String> {
        let value = profile.as_ref().and_then(|profile| profile.get(key));
        match value {
            Some(Value::String(name)) if !name.is_empty() => vec![name.clone()],
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .take(MAX_PROFILES)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        }
    };
    let mut used = names("last_active_profiles");
    for name in names("last_used") {
        if !used.contains(&name) {
            used.push(name);
        }
    }
    if used.is_empty() {
        used.push("Default".to_owned());
    }
    used
}

/// The folders of the profiles that are below a folder.
pub fn on_disk(view: &View, folder: &str) -> Vec<String> {
    let names = view.list(folder).unwrap_or_default();
    let mut profiles: Vec<String> = names
        .iter()
        .filter(|name| !NOBODYS.contains(&name.as_str()))
        .map(|name| format!("{folder}/{name}"))
        // Opera had a single profile, in the folder itself.
        .chain(std::iter::once(folder.to_owned()))
        .filter(|profile| has_preferences(view, profile))
        .collect();
    profiles.truncate(MAX_PROFILES);
    profiles
}

fn has_preferences(view: &View, profile: &str) -> bool {
    view.exists(&format!("{profile}/Preferences"))
        .unwrap_or(false)
}

/// What one profile says.
#[derive(Debug, Default)]
pub struct Profile {
    /// Its user: where it is written, and what it is.
    pub own: Option<(String, Setting)>,
    /// Its extensions, the one that wins first.
    pub extensions: Vec<Extension>,
    /// What could not be read.
    pub unread: Vec<Fault>,
}

/// An extension that sets the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Where it is written.
    pub place: String,
    /// Its name, as far as it is known, with its id.
    pub name: String,
    /// What it sets.
    pub setting: Setting,
    /// When it was installed or updated, in microseconds since 1601.
    installed: i64,
}

#[derive(Deserialize)]
struct Preferences {
    proxy: Option<Value>,
    extensions: Option<Value>,
}

impl Profile {
    /// Reads a profile's files.
    pub fn read(view: &View, folder: &str, switches: Switches<'_>) -> Self {
        let mut profile = Self::default();
        let mut extensions: Vec<Extension> = Vec::new();
        for (file, has_own) in [("Preferences", true), ("Secure Preferences", false)] {
            let path = format!("{folder}/{file}");
            let preferences = match typed::<Preferences>(view, &path) {
                Ok(Some(preferences)) => preferences,
                Ok(None) => continue,
                Err(fault) => {
                    profile.unread.push(fault);
                    continue;
                }
            };
            // A value of another type is passed over (components/prefs/pref_value_store.cc).
            if let (true, Some(Value::Object(value))) = (has_own, &preferences.proxy) {
                let setting = Setting::of_preference(value);
                profile.own = Some((format!("{path}: proxy: {}", setting.shown()), setting));
            }
            let settings = preferences.extensions.as_ref();
            let settings = settings.and_then(|extensions| extensions.get("settings")?.as_object());
            for (id, value) in settings.into_iter().flatten() {
                let found = value
                    .as_object()
                    .and_then(|value| extension(&path, id, value, switches));
                if let Some(found) = found
                    && !extensions.iter().any(|known| known.name == found.name)
                {
                    extensions.push(found);
                }
            }
        }
        // The last installed wins, and of two at once the greater id (extensions/browser/extension_pref_value_map.cc).
        extensions.sort_by(|a, b| (b.installed, &b.place).cmp(&(a.installed, &a.place)));
        profile.extensions = extensions;
        profile
    }
}

/// What an extension sets, if it is in force (extensions/browser/extension_prefs.cc).
fn extension(
    path: &str,
    id: &str,
    value: &Map<String, Value>,
    switches: Switches<'_>,
) -> Option<Extension> {
    // What holds outside of private windows only goes before what holds everywhere.
    let (key, proxy) = ["regular_only_preferences", "preferences"]
        .iter()
        .find_map(|key| Some((key, value.get(*key)?.get("proxy")?.as_object()?)))?;
    let is_disabled = match value.get("disable_reasons") {
        Some(Value::Array(reasons)) => !reasons.is_empty(),
        Some(Value::Number(reasons)) => reasons.as_i64() != Some(0),
        _ => false,
    } || value
        .get("state")
        .and_then(Value::as_i64)
        .is_some_and(|state| state != 1);
    let folder = value
        .get("path")
        .and_then(Value::as_str)
        .unwrap_or_default();
    // One from the command line (mojom/manifest.mojom, kCommandLine) is there only while it is named there.
    let is_left_over = value.get("location").and_then(Value::as_i64) == Some(8)
        && !switches.lists("load-extension", folder);
    let is_kept_out = switches.get("disable-extensions").is_some()
        || switches.get("disable-extensions-except").is_some()
            && !switches.lists("disable-extensions-except", folder);
    if is_disabled || is_left_over || is_kept_out {
        return None;
    }
    let number = |key: &str| value.get(key)?.as_str()?.parse().ok();
    let name = value
        .get("manifest")
        .and_then(|manifest| manifest.get("name")?.as_str())
        // A name that stands for a translation says nothing.
        .filter(|name| !name.starts_with("__MSG_"));
    let setting = Setting::of_preference(proxy);
    Some(Extension {
        place: format!(
            "{path}: extensions.settings.{id}.{key}.proxy: {}",
            setting.shown()
        ),
        name: name.map_or_else(|| id.to_owned(), |name| format!("{name} ({id})")),
        setting,
        installed: number("last_update_time")
            .or_else(|| number("install_time"))
            .unwrap_or_default(),
    })
}

/// The mode of encrypted DNS that the user chose, as evidence; `None` for the automatic one.
pub fn secure_dns(view: &View, folder: &str) -> Option<String> {
    let path = format!("{folder}/Local State");
    let state = json(view, &path).ok()??;
    let dns = state.get("dns_over_https")?;
    let mode = dns.get("mode")?.as_str()?;
    let templates = dns
        .get("templates")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let templates = if templates.is_empty() {
        String::new()
    } else {
        format!(
            ", templates = {}",
            crate::posture::without_password(templates)
        )
    };
    Some(format!("{path}: dns_over_https.mode = {mode}{templates}"))
}

fn json(view: &View, path: &str) -> Result<Option<Map<String, Value>>, Fault> {
    typed(view, path)
}

fn typed<T: for<'a> Deserialize<'a>>(view: &View, path: &str) -> Result<Option<T>, Fault> {
    let Some(text) = view.text(path)? else {
        return Ok(None);
    };
    match serde_json::from_str(&text) {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Fault::malformed(path, error)),
    }
}
