//! GNOME: `org.gnome.system.proxy` of GSettings, kept by dconf, or in a key file where programs are told so.
//!
//! Which databases count is engine/dconf-engine-profile.c of dconf, which value of several engine/dconf-engine.c
//! (`dconf_engine_read`): the first database that has it, but for a locked key, where the last that locks it, or one after.

use super::{
    Desktop, Kind, Mode, SOURCE,
    gvdb::{Damaged, Table, Value},
    list, shown,
};
use crate::{
    model::Evidence,
    posture::{
        Fault, View,
        proxy::{Written, host_and_port},
        without_password,
    },
};

/// Where the settings are, in dconf's tree.
const ROOT: &str = "/system/proxy/";
/// The default of `ignore-hosts` (gsettings-desktop-schemas, org.gnome.system.proxy.gschema.xml).
const IGNORED: [&str; 3] = ["localhost", "127.0.0.0/8", "::1"];
/// Most databases of a profile: they are held in memory together.
const MAX_DATABASES: usize = 16;
/// The default of the port for `http:`; that of the others is none.
const HTTP_PORT: i32 = 8080;

/// GNOME's settings, whatever the desktop is; `None` when nothing is written of whether to use a proxy, which means none
/// by the schema's default.
///
/// Whether the schema is installed, without which no program reads them, is not asked: it need not be where this view looks.
///
/// # Errors
/// When a database cannot be read, or makes no sense.
pub fn gnome(view: &View) -> Result<Option<Desktop>, Fault> {
    let store = match view.variable("GSETTINGS_BACKEND") {
        Some("keyfile") => key_files(view)?,
        Some("memory" | "null") => return Ok(None),
        _ if is_without_dconf(view)? => key_files(view)?,
        _ => databases(view)?,
    };
    let settings = Settings { store };
    let Some((mode, evidence)) = settings.text("mode")? else {
        return Ok(None);
    };
    let mut desktop = Desktop {
        evidence: vec![evidence],
        ..Desktop::new(Kind::Gnome)
    };
    match mode.as_str() {
        "none" => {}
        "auto" => {
            let url = settings.text("autoconfig-url")?.map(|(url, evidence)| {
                desktop.evidence.push(evidence);
                url
            });
            desktop.mode = Mode::Auto(url.filter(|url| !url.is_empty()));
        }
        "manual" => {
            let mut server =
                |scheme: &str, default| settings.server(scheme, default, &mut desktop.evidence);
            desktop.mode = Mode::Manual {
                http: server("http", HTTP_PORT)?,
                https: server("https", 0)?,
                ftp: server("ftp", 0)?,
                socks: server("socks", 0)?,
            };
        }
        // No mode of the schema: the default counts then.
        _ => return Ok(None),
    }
    desktop.bypass = match settings.value("ignore-hosts")? {
        Some((Value::Texts(hosts), _)) => hosts,
        _ => IGNORED.map(str::to_owned).to_vec(),
    };
    desktop.same = !matches!(
        settings.value("use-same-proxy")?,
        Some((Value::Flag(false), _))
    );
    Ok(Some(desktop))
}

/// What GNOME's settings are when nothing is written; `None` where their schema is not installed, since no program can
/// read them then (`g_settings_schema_source_lookup`).
///
/// # Errors
/// When a compiled schema cannot be read, or makes no sense.
pub fn default(view: &View) -> Result<Option<Desktop>, Fault> {
    for folder in schema_folders(view) {
        let path = format!("{folder}/gschemas.compiled");
        let Some(bytes) = view.bytes(&path)? else {
            continue;
        };
        let damaged = |fault: Damaged| Fault::malformed(&path, fault);
        let schemas = Table::of_file(&bytes).map_err(damaged)?;
        if schemas
            .table("org.gnome.system.proxy")
            .map_err(damaged)?
            .is_some()
        {
            return Ok(Some(Desktop {
                evidence: vec![Evidence::new(
                    SOURCE,
                    "/system/proxy/mode is not set: 'none' by default",
                )],
                bypass: IGNORED.map(str::to_owned).to_vec(),
                same: true,
                ..Desktop::new(Kind::Gnome)
            }));
        }
    }
    Ok(None)
}

/// Where compiled schemas are (glib's gio/gsettingsschema.c, `initialise_schema_sources`).
fn schema_folders(view: &View) -> Vec<String> {
    let own = match view.variable("XDG_DATA_HOME") {
        Some(path) => Some(path.to_owned()),
        None => view.at_home(".local/share"),
    };
    let chosen = list(view, "GSETTINGS_SCHEMA_DIR").map(str::to_owned);
    let installed = own.into_iter().chain(data_folders(view));
    chosen
        .chain(installed.map(|folder| format!("{}/glib-2.0/schemas", folder.trim_end_matches('/'))))
        .collect()
}

/// `XDG_DATA_DIRS` (XDG Base Directory Specification).
fn data_folders(view: &View) -> Vec<String> {
    let mut folders: Vec<String> = list(view, "XDG_DATA_DIRS").map(str::to_owned).collect();
    if folders.is_empty() {
        folders = vec!["/usr/local/share".to_owned(), "/usr/share".to_owned()];
    }
    folders
}

/// Whether GIO keeps settings in a key file since dconf is closed to the program: a Flatpak that may not talk to it
/// (gio/gportalsupport.c).
fn is_without_dconf(view: &View) -> Result<bool, Fault> {
    let Some(info) = view.text("/.flatpak-info")? else {
        return Ok(false);
    };
    let policy = KeyFile::find(&info, "Session Bus Policy", "ca.desrt.dconf");
    Ok(policy != Some("talk"))
}

/// Where values come from, the first counts, unless a later one locks the key.
type Store = Vec<Source>;

struct Source {
    path: String,
    content: Content,
}

enum Content {
    Database(Vec<u8>),
    KeyFile { text: String, locks: Vec<String> },
}

impl Source {
    fn value(&self, key: &str) -> Result<Option<Value>, Fault> {
        match &self.content {
            Content::Database(bytes) => Table::of_file(bytes)
                .and_then(|table| table.value(key))
                .map_err(|fault| Fault::malformed(&self.path, fault)),
            Content::KeyFile { text, .. } => Ok(KeyFile::value(text, key)),
        }
    }

    fn locks(&self, key: &str) -> Result<bool, Fault> {
        match &self.content {
            Content::Database(bytes) => Table::of_file(bytes)
                .and_then(|table| match table.table(".locks")? {
                    Some(locks) => locks.has(key),
                    None => Ok(false),
                })
                .map_err(|fault| Fault::malformed(&self.path, fault)),
            Content::KeyFile { locks, .. } => Ok(locks.iter().any(|lock| lock == key)),
        }
    }
}

struct Settings {
    store: Store,
}

impl Settings {
    fn value(&self, key: &str) -> Result<Option<(Value, Evidence)>, Fault> {
        let key = format!("{ROOT}{key}");
        let mut first = 0;
        for (index, source) in self.store.iter().enumerate().skip(1) {
            if source.locks(&key)? {
                first = index;
            }
        }
        for source in self.store.iter().skip(first) {
            if let Some(value) = source.value(&key)? {
                let shown = match &value {
                    Value::Text(text) => format!("'{}'", without_password(text)),
                    other => format!("{other:?}"),
                };
                let detail = format!("{}: {key} = {shown}", source.path);
                return Ok(Some((value, Evidence::new(SOURCE, detail))));
            }
        }
        Ok(None)
    }

    fn text(&self, key: &str) -> Result<Option<(String, Evidence)>, Fault> {
        // A value of another type than the schema's is as none.
        Ok(match self.value(key)? {
            Some((Value::Text(text), evidence)) => Some((text, evidence)),
            _ => None,
        })
    }

    /// The proxy for a scheme. A port that is out of its range is as none, and zero means that none is given.
    fn server(
        &self,
        scheme: &str,
        default_port: i32,
        evidence: &mut Vec<Evidence>,
    ) -> Result<Option<Written>, Fault> {
        let Some((host, Evidence { detail, .. })) = self.text(&format!("{scheme}/host"))? else {
            return Ok(None);
        };
        let port = match self.value(&format!("{scheme}/port"))? {
            Some((Value::Number(port @ 0..=65535), _)) => port,
            _ => default_port,
        };
        let port = u16::try_from(port).ok().filter(|&port| port != 0);
        // An address of IPv6 has no brackets here.
        let host = host.trim();
        let written = if host.parse::<std::net::Ipv6Addr>().is_ok() {
            host_and_port(&format!("[{host}]")).map(|(host, port)| Written {
                scheme: None,
                host,
                port,
            })
        } else {
            Written::parse(host)
        };
        let Some(mut written) = written else {
            return Ok(None);
        };
        written.port = port.or(written.port);
        let place = detail.split(" = ").next().unwrap_or_default();
        evidence.push(Evidence::new(
            SOURCE,
            format!("{place} = {}", shown(&written)),
        ));
        Ok(Some(written))
    }
}

/// dconf's databases.
fn databases(view: &View) -> Result<Store, Fault> {
    let mut store = Vec::new();
    for line in profile(view)?.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some((kind, name)) = line.split_once(':') else {
            continue;
        };
        let path = match kind {
            _ if name.is_empty() => continue,
            "user-db" => match view.config_home() {
                Some(folder) => format!("{folder}/dconf/{name}"),
                None => continue,
            },
            "system-db" => format!("/etc/dconf/db/{name}"),
            "file-db" => name.to_owned(),
            // A database that a service keeps, in no place that could be read.
            "service-db" => {
                return Err(Fault::malformed(
                    "dconf's profile",
                    format!("{line} is kept by a service"),
                ));
            }
            _ => continue,
        };
        if store.len() == MAX_DATABASES {
            return Err(Fault::malformed(
                "dconf's profile",
                format!("it names more than {MAX_DATABASES} databases"),
            ));
        }
        if let Some(bytes) = view.bytes(&path)? {
            store.push(Source {
                path,
                content: Content::Database(bytes),
            });
        } else {
            // Its place counts: locks of the first are not heeded.
            store.push(Source {
                path,
                content: Content::KeyFile {
                    text: String::new(),
                    locks: Vec::new(),
                },
            });
        }
    }
    Ok(store)
}

/// The lines that say which databases there are.
fn profile(view: &View) -> Result<String, Fault> {
    let default = || "user-db:user\n".to_owned();
    if let Some(text) = view
        .uid()
        .map_or(Ok(None), |uid| view.text(&format!("/run/dconf/user/{uid}")))?
    {
        return Ok(text);
    }
    if let Some(name) = view.variable("DCONF_PROFILE") {
        // One that is named and not there leaves no database at all.
        return Ok(if name.starts_with('/') {
            view.text(name)?
        } else {
            named_profile(view, name)?
        }
        .unwrap_or_default());
    }
    if let Some(folder) = view.variable("XDG_RUNTIME_DIR")
        && let Some(text) = view.text(&format!("{folder}/dconf/profile"))?
    {
        return Ok(text);
    }
    Ok(named_profile(view, "user")?.unwrap_or_else(default))
}

fn named_profile(view: &View, name: &str) -> Result<Option<String>, Fault> {
    for folder in std::iter::once("/etc".to_owned()).chain(data_folders(view)) {
        let text = view.text(&format!(
            "{}/dconf/profile/{name}",
            folder.trim_end_matches('/')
        ))?;
        if text.is_some() {
            return Ok(text);
        }
    }
    Ok(None)
}

/// The key files of GIO's own backend (gio/gkeyfilesettingsbackend.c).
fn key_files(view: &View) -> Result<Store, Fault> {
    let own = match view.config_home() {
        Some(folder) => format!("{folder}/glib-2.0/settings/keyfile"),
        None => return Ok(Vec::new()),
    };
    let machine = "/etc/glib-2.0/settings/defaults";
    let locks = view
        .text("/etc/glib-2.0/settings/locks")?
        .unwrap_or_default();
    let locks = locks.lines().map(|line| line.trim().to_owned()).collect();
    let text = |path: &str| Ok::<_, Fault>(view.text(path)?.unwrap_or_default());
    Ok(vec![
        Source {
            content: Content::KeyFile {
                text: text(&own)?,
                locks: Vec::new(),
            },
            path: own,
        },
        Source {
            content: Content::KeyFile {
                text: text(machine)?,
                locks,
            },
            path: machine.to_owned(),
        },
    ])
}

/// Text in groups, as GLib's key files have it.
struct KeyFile;

impl KeyFile {
    /// What a key of a group says, as written; the last one counts.
    fn find<'a>(text: &'a str, group: &str, key: &str) -> Option<&'a str> {
        let mut is_in = false;
        let mut found = None;
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                is_in = name.strip_suffix(']') == Some(group);
            } else if let (true, Some((name, value))) = (is_in, line.split_once('='))
                && name.trim() == key
            {
                found = Some(value.trim());
            }
        }
        found
    }

    /// The value of a setting by its path: the group is the path's folder, without slashes around it.
    fn value(text: &str, key: &str) -> Option<Value> {
        let (group, name) = key.trim_start_matches('/').rsplit_once('/')?;
        let text = Self::find(text, group, name)?;
        if let Some(list) = text
            .strip_prefix('[')
            .and_then(|list| list.strip_suffix(']'))
        {
            let mut rest = list.trim();
            let mut texts = Vec::new();
            while !rest.is_empty() {
                let (text, after) = quoted(rest)?;
                texts.push(text);
                rest = after.trim_start();
                rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            }
            return Some(Value::Texts(texts));
        }
        Some(match text {
            "true" => Value::Flag(true),
            "false" => Value::Flag(false),
            "@as []" => Value::Texts(Vec::new()),
            _ => match (text.parse(), quoted(text)) {
                (Ok(number), _) => Value::Number(number),
                (_, Some((text, ""))) => Value::Text(text),
                _ => Value::Other,
            },
        })
    }
}

/// The text in quotes at the beginning, and what follows it (GVariant text format).
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?.1),
            _ if c == quote => return Some((out, text.get(at + 1..)?)),
            _ => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Made by `dconf compile` from the key file beside it.
    const SOCKS: &[u8] = include_bytes!("testdata/socks.dconf");
    /// From the same, with a lock on the mode.
    const LOCKED: &[u8] = include_bytes!("testdata/locked.dconf");
    /// The mode 'none' and another SOCKS proxy.
    const NONE: &[u8] = include_bytes!("testdata/none.dconf");
    /// A schema of this name, made by `glib-compile-schemas`.
    const SCHEMAS: &[u8] = include_bytes!("testdata/gschemas.compiled");

    fn of(files: &[(&str, &[u8])], variables: &[(&str, &str)]) -> Result<Option<Desktop>, Fault> {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let variables = [&[("HOME", "/h")], variables].concat();
        super::super::read(&View::of_disk(dir.path(), Some(7)).with(&variables, &[]))
    }

    const IN_GNOME: (&str, &str) = ("XDG_CURRENT_DESKTOP", "GNOME");
    const USER: &str = "h/.config/dconf/user";

    fn socks(desktop: &Desktop) -> Option<String> {
        match &desktop.mode {
            Mode::Manual { socks, .. } => socks.as_ref().map(shown),
            _ => None,
        }
    }

    #[test]
    fn a_users_database() {
        let desktop = of(&[(USER, SOCKS)], &[IN_GNOME]).unwrap().unwrap();
        assert_eq!(socks(&desktop).as_deref(), Some("127.0.0.1:9050"));
        assert!(
            matches!(&desktop.mode, Mode::Manual { http: Some(http), https: None, ftp: None, .. }
            if http.host == "proxy.example" && http.port == Some(3128))
        );
        assert_eq!(desktop.bypass, ["localhost", "127.0.0.0/8", "*.lan"]);
        assert!(!desktop.same);
        let said: Vec<&str> = desktop
            .evidence
            .iter()
            .map(|said| said.detail.as_str())
            .collect();
        assert_eq!(
            said,
            [
                "/h/.config/dconf/user: /system/proxy/mode = 'manual'",
                "/h/.config/dconf/user: /system/proxy/http/host = proxy.example:3128",
                "/h/.config/dconf/user: /system/proxy/socks/host = 127.0.0.1:9050",
            ]
        );
        assert_eq!(of(&[(USER, SOCKS)], &[]), Ok(None), "another desktop");
        let elsewhere = [IN_GNOME, ("XDG_CONFIG_HOME", "/c")];
        assert!(
            of(&[("c/dconf/user", SOCKS)], &elsewhere)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn nothing_is_set() {
        assert_eq!(of(&[], &[IN_GNOME]), Ok(None));
        let schemas = ("usr/share/glib-2.0/schemas/gschemas.compiled", SCHEMAS);
        let desktop = of(&[schemas], &[IN_GNOME]).unwrap().unwrap();
        assert_eq!(desktop.mode, Mode::None);
        assert!(desktop.evidence[0].detail.contains("by default"));
        let written = of(&[(USER, NONE)], &[IN_GNOME]).unwrap().unwrap();
        assert_eq!(written.mode, Mode::None);
        assert_eq!(written.evidence.len(), 1);
    }

    #[test]
    fn databases_of_the_machine() {
        let profile = (
            "etc/dconf/profile/user",
            &b"# a comment\n user-db:user # mine\nnonsense\nsystem-db:local\n"[..],
        );
        let mode = |files: &[(&str, &[u8])], variables: &[(&str, &str)]| {
            let variables = [&[IN_GNOME], variables].concat();
            of(files, &variables)
                .unwrap()
                .map(|desktop| socks(&desktop))
        };
        let (local, file) = ("etc/dconf/db/local", "db");
        let (mine, other) = (
            Some("127.0.0.1:9050".to_owned()),
            Some("other.example:1081".to_owned()),
        );
        // The user's own counts first, unless the machine's locks the key: then that of the machine, key by key.
        assert_eq!(mode(&[profile, (local, SOCKS)], &[]), Some(mine.clone()));
        assert_eq!(
            mode(&[profile, (USER, NONE), (local, SOCKS)], &[]),
            Some(None)
        );
        assert_eq!(
            mode(&[profile, (USER, NONE), (local, LOCKED)], &[]),
            Some(other.clone())
        );
        // Locks of the first database are not heeded.
        assert_eq!(mode(&[(USER, LOCKED)], &[]), Some(mine.clone()));
        // A profile by name, by path, of the session, of the machine for one user; one that is not there.
        let named = [("DCONF_PROFILE", "kiosk")];
        let kiosk = ("usr/share/dconf/profile/kiosk", &b"file-db:/db"[..]);
        assert_eq!(
            mode(&[profile, kiosk, (file, SOCKS)], &named),
            Some(mine.clone())
        );
        assert_eq!(mode(&[profile, (USER, SOCKS)], &named), None);
        let path = [("DCONF_PROFILE", "/p")];
        assert_eq!(
            mode(&[("p", b"system-db:local\n"), (local, SOCKS)], &path),
            Some(mine.clone())
        );
        let runtime = [("XDG_RUNTIME_DIR", "/r")];
        assert_eq!(
            mode(
                &[("r/dconf/profile", b"file-db:/db"), (file, SOCKS)],
                &runtime
            ),
            Some(mine.clone())
        );
        let mandatory = ("run/dconf/user/7", &b"file-db:/db"[..]);
        assert_eq!(
            mode(&[mandatory, kiosk, (file, SOCKS), (USER, NONE)], &named),
            Some(mine)
        );
    }

    #[test]
    fn key_files() {
        let own = "h/.config/glib-2.0/settings/keyfile";
        let text = br#"
[system/proxy]
mode='manual'
ignore-hosts=['a\'b', "c"]
[system/proxy/socks]
host='::1'
port=1080
[system/proxy/http]
host='http://me:secret@p.example'
port=99999
"#;
        let told = [IN_GNOME, ("GSETTINGS_BACKEND", "keyfile")];
        let desktop = of(&[(own, text), (USER, NONE)], &told).unwrap().unwrap();
        assert_eq!(socks(&desktop).as_deref(), Some("[::1]:1080"));
        assert_eq!(desktop.bypass, ["a'b", "c"]);
        let said = format!("{:?}", desktop.evidence);
        assert!(
            said.contains("p.example:8080") && !said.contains("secret"),
            "{said}"
        );
        let sandboxed = [
            (own, &text[..]),
            (".flatpak-info", b"[Application]\nname=x\n"),
            (USER, NONE),
        ];
        assert!(socks(&of(&sandboxed, &[IN_GNOME]).unwrap().unwrap()).is_some());
        let talks = [
            (own, &text[..]),
            (
                ".flatpak-info",
                b"[Session Bus Policy]\nca.desrt.dconf=talk\n",
            ),
            (USER, NONE),
        ];
        assert_eq!(of(&talks, &[IN_GNOME]).unwrap().unwrap().mode, Mode::None);
        let machine = [
            ("etc/glib-2.0/settings/defaults", &text[..]),
            ("etc/glib-2.0/settings/locks", b"/system/proxy/mode\n"),
            (own, b"[system/proxy]\nmode='none'\n"),
        ];
        assert!(socks(&of(&machine, &told).unwrap().unwrap()).is_some());
        assert_eq!(
            of(
                &[(USER, SOCKS)],
                &[IN_GNOME, ("GSETTINGS_BACKEND", "memory")]
            ),
            Ok(None)
        );
    }

    #[test]
    fn what_is_damaged_is_not_none() {
        for bytes in [&b""[..], b"GVariant", &SOCKS[..100], &[0xff; 4096]] {
            assert!(matches!(
                of(&[(USER, bytes)], &[IN_GNOME]),
                Err(Fault::Malformed { .. })
            ));
        }
        let service = ("etc/dconf/profile/user", &b"service-db:keyfile/user\n"[..]);
        assert!(of(&[service], &[IN_GNOME]).is_err());
        let big = vec![b'x'; 9 * 1024 * 1024];
        assert!(matches!(
            of(&[(USER, &big)], &[IN_GNOME]),
            Err(Fault::TooLong { .. })
        ));
    }

    #[test]
    fn hostile_key_files() {
        for text in [
            "[system/proxy]\nmode='manual",
            "[system/proxy]\nmode='\\",
            "[\n]=",
            "[system/proxy]\nmode=[\"\n",
            "[system/proxy]\nmode=['a' 'b', x]",
        ] {
            let backend = [IN_GNOME, ("GSETTINGS_BACKEND", "keyfile")];
            assert_eq!(
                of(
                    &[("h/.config/glib-2.0/settings/keyfile", text.as_bytes())],
                    &backend
                ),
                Ok(None)
            );
        }
        assert_eq!(
            KeyFile::value("[a]\nb='\u{fffd}'", "/a/b"),
            Some(Value::Text("\u{fffd}".into()))
        );
    }
}
