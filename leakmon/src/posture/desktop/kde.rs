//! KDE: `kioslaverc`, as Chromium reads it (`SettingGetterImplKDE` of
//! net/proxy_resolution/proxy_config_service_linux.cc), from the same folders.

use super::{Desktop, Kind, Mode, SOURCE, Variables, kind_of, list, shown};
use crate::{
    model::Evidence,
    posture::{Fault, View, bypass::split, proxy::Written, without_password},
};

/// Longest line that is heeded, with its end: what `fgets` takes into the buffer there (`BUFFER_SIZE`, 512).
const MAX_LINE: usize = 511;

/// KDE's settings; `None` when none are written.
///
/// # Errors
/// When a file cannot be read.
pub fn kde(view: &View) -> Result<Option<Desktop>, Fault> {
    let mut settings = Settings::default();
    // The later the weightier: each file replaces what it names, and the user's own comes last.
    for folder in folders(view)? {
        let path = format!("{}/kioslaverc", folder.trim_end_matches('/'));
        if let Some(text) = view.text(&path)? {
            settings.read(&path, &text);
        }
    }
    Ok(settings.desktop())
}

/// The folders where the file may be, the weightiest last.
fn folders(view: &View) -> Result<Vec<String>, Fault> {
    let below = |home: &str| format!("{}/share/config", home.trim_end_matches('/'));
    if let Some(home) = view.variable("KDEHOME") {
        return Ok(vec![below(home)]);
    }
    let Some(home) = view.home() else {
        return Ok(Vec::new());
    };
    let version = view.variable("KDE_SESSION_VERSION");
    let says_kde = list(view, "XDG_CURRENT_DESKTOP").any(|desktop| desktop.trim() == "KDE");
    let is_current = says_kde && matches!(version, Some("5" | "6"));
    if kind_of(view) == Some(Kind::Kde) && !is_current {
        // Chromium takes the newer one where version 4 has left two; that version is not used any more.
        let fourth = format!("{home}/.kde4");
        let is_fourth = version.is_some() && view.exists(&below(&fourth))?;
        let third = format!("{home}/.kde");
        return Ok(vec![below(if is_fourth { &fourth } else { &third })]);
    }
    let others = list(view, "XDG_CONFIG_DIRS").map(str::to_owned);
    let mut folders: Vec<String> = std::iter::once(format!("{home}/.config"))
        .chain(others)
        .collect();
    folders.reverse();
    Ok(folders)
}

/// What the files say, each key with the file that said it last.
#[derive(Default)]
struct Settings {
    proxy_type: Option<(i32, Evidence)>,
    script: Option<(String, Evidence)>,
    http: Option<(String, Evidence)>,
    https: Option<(String, Evidence)>,
    ftp: Option<(String, Evidence)>,
    socks: Option<(String, Evidence)>,
    bypass: Vec<String>,
    reversed: bool,
}

impl Settings {
    fn read(&mut self, path: &str, text: &str) {
        let mut is_ours = false;
        // A last line without its end is not heeded, nor is one that is too long.
        for line in text.split_inclusive('\n').filter_map(|line| {
            let short = line.len() <= MAX_LINE;
            line.strip_suffix('\n').filter(|_| short)
        }) {
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.starts_with('[') {
                is_ours = line.starts_with("[Proxy Settings]");
            } else if let (true, Some((key, value))) = (is_ours, line.split_once('=')) {
                // A marker of a language or of a shell's expansion, as `[$e]`, stands behind the key.
                let key = key.trim();
                let key = match key.strip_suffix(']') {
                    Some(marked) => marked
                        .rsplit_once('[')
                        .map_or("", |(key, _)| key.trim_end()),
                    None => key,
                };
                self.set(path, key, value.trim());
            }
        }
    }

    fn set(&mut self, path: &str, key: &str, value: &str) {
        let evidence = |value: &str| Evidence::new(SOURCE, format!("{path}: {key} = {value}"));
        let proxy = || {
            if value.is_empty() || value.starts_with("//:") {
                return None;
            }
            // Newer versions write a space in front of the port.
            let written = value.replacen(' ', ":", 1);
            // What is no proxy is the name of a variable, or nonsense; either may hold what is not to be shown.
            let shown = match Written::parse(&written) {
                Some(proxy) => shown(&proxy),
                None => "…".to_owned(),
            };
            Some((written, evidence(&shown)))
        };
        match key {
            "ProxyType" => {
                self.proxy_type = Some((value.parse().unwrap_or_default(), evidence(value)));
            }
            "Proxy Config Script" => {
                self.script = Some((value.to_owned(), evidence(&without_password(value))));
            }
            "httpProxy" => self.http = proxy().or(self.http.take()),
            "httpsProxy" => self.https = proxy().or(self.https.take()),
            "ftpProxy" => self.ftp = proxy().or(self.ftp.take()),
            "socksProxy" => self.socks = proxy().or(self.socks.take()),
            "NoProxyFor" => self.bypass = split(value, &[',', ' ']),
            "ReversedException" => {
                self.reversed = value == "true" || value.parse::<i32>().unwrap_or_default() != 0;
            }
            _ => {}
        }
    }

    fn desktop(self) -> Option<Desktop> {
        let (number, first) = self.proxy_type?;
        let mut desktop = Desktop {
            evidence: vec![first],
            ..Desktop::new(Kind::Kde)
        };
        let mut values = Vec::new();
        for setting in [self.http, self.https, self.ftp, self.socks] {
            values.push(setting.map(|(value, evidence)| {
                if matches!(number, 1 | 4) {
                    desktop.evidence.push(evidence);
                }
                value
            }));
        }
        let mut values = values.into_iter();
        let mut next = || values.next().flatten();
        let (http, https, ftp, socks) = (next(), next(), next(), next());
        let written = |value: Option<String>| value.as_deref().and_then(Written::parse);
        match number {
            1 => {
                desktop.mode = Mode::Manual {
                    http: written(http),
                    https: written(https),
                    ftp: written(ftp),
                    socks: written(socks),
                };
            }
            2 => {
                let script = self.script.map(|(url, evidence)| {
                    desktop.evidence.push(evidence);
                    url
                });
                desktop.mode = Mode::Auto(script.filter(|url| !url.is_empty()));
            }
            3 => desktop.mode = Mode::Auto(None),
            4 => {
                desktop.mode = Mode::Environment;
                desktop.variables = Variables {
                    http,
                    https,
                    ftp,
                    socks,
                    no_proxy: self.bypass.first().cloned(),
                };
            }
            _ => {}
        }
        if number != 4 {
            desktop.bypass = self.bypass;
        }
        desktop.reversed = self.reversed;
        Some(desktop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What is made of these files, by path.
    fn of(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Option<Desktop> {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let variables = [&[("HOME", "/h")], variables].concat();
        kde(&View::of_disk(dir.path(), None).with(&variables, &[])).unwrap()
    }

    fn text(text: &str) -> Option<Desktop> {
        of(&[("h/.config/kioslaverc", text)], &[])
    }

    fn socks(desktop: &Desktop) -> Option<(&str, &str, Option<u16>)> {
        match &desktop.mode {
            Mode::Manual { socks, .. } => {
                let written = socks.as_ref()?;
                let scheme = written.scheme.as_deref().unwrap_or_default();
                Some((scheme, &written.host, written.port))
            }
            _ => None,
        }
    }

    #[test]
    fn as_plasma_writes_it() {
        let desktop = text(
            "[Proxy Settings][$Version]\nupdate_info=x\n\n[Proxy Settings]\nNoProxyFor=localhost,*.lan 10.0.0.1\n\
             Proxy Config Script=\nProxyType=1\nReversedException=false\nftpProxy=\nhttpProxy[$e]=http://me:secret@p.example 3128\n\
             httpsProxy=http://p.example:3128\nsocksProxy=socks://127.0.0.1 1080\n",
        )
        .unwrap();
        assert_eq!(socks(&desktop), Some(("socks", "127.0.0.1", Some(1080))));
        assert!(
            matches!(&desktop.mode, Mode::Manual { http: Some(http), ftp: None, .. } if http.host == "p.example")
        );
        assert_eq!(desktop.bypass, ["localhost", "*.lan", "10.0.0.1"]);
        let said = format!("{:?}", desktop.evidence);
        assert!(
            said.contains("socksProxy = socks://127.0.0.1:1080"),
            "{said}"
        );
        assert!(
            said.contains("ProxyType = 1") && !said.contains("secret"),
            "{said}"
        );
    }

    #[test]
    fn kinds() {
        let mode =
            |body: &str| text(&format!("[Proxy Settings]\n{body}\n")).map(|desktop| desktop.mode);
        let pac = "Proxy Config Script=http://p/x.pac";
        assert_eq!(mode("ProxyType=0"), Some(Mode::None));
        assert_eq!(mode("ProxyType=nonsense"), Some(Mode::None));
        assert_eq!(
            mode(&format!("ProxyType=2\n{pac}")),
            Some(Mode::Auto(Some("http://p/x.pac".into())))
        );
        assert_eq!(mode("ProxyType=2"), Some(Mode::Auto(None)));
        assert_eq!(mode(&format!("{pac}\nProxyType=3")), Some(Mode::Auto(None)));
        assert_eq!(mode("socksProxy=h 1"), None);
        let of_variables =
            text("[Proxy Settings]\nProxyType=4\nhttpProxy=HTTP_PROXY\nNoProxyFor=NO_PROXY\n")
                .unwrap();
        assert_eq!(of_variables.mode, Mode::Environment);
        assert_eq!(of_variables.variables.http.as_deref(), Some("HTTP_PROXY"));
        assert_eq!(of_variables.variables.no_proxy.as_deref(), Some("NO_PROXY"));
        assert!(of_variables.bypass.is_empty());
        let reversed = text("[Proxy Settings]\nProxyType=1\nReversedException=1\nsocksProxy=h 1\n");
        assert!(reversed.unwrap().reversed);
    }

    #[test]
    fn what_is_not_heeded() {
        for body in [
            "ProxyType=1\n",
            "[Other]\nProxyType=1\n",
            "[Proxy Settings]\nProxyType=1",
            "[Proxy Settings]\n[$e]=1\nProxyType\n=1\n",
            "",
        ] {
            assert_eq!(text(body), None, "{body:?}");
        }
        let long = format!(
            "[Proxy Settings]\nProxyType=1\nsocksProxy={}h 1\n",
            "x".repeat(600)
        );
        assert_eq!(socks(&text(&long).unwrap()), None);
        let desktop = text("[Proxy Settings]\r\nProxyType=1\r\nsocksProxy=//:\r\n").unwrap();
        assert_eq!(socks(&desktop), None);
    }

    #[test]
    fn where_it_is() {
        let with = |host: &str| format!("[Proxy Settings]\nProxyType=1\nsocksProxy={host} 1\n");
        let (own, machine, third, fourth) = (
            with("own"),
            "[Proxy Settings]\nProxyType=1\nhttpProxy=machine 8\n",
            with("third"),
            with("fourth"),
        );
        let files = [
            ("h/.config/kioslaverc", own.as_str()),
            ("etc/xdg/kioslaverc", machine),
            ("h/.kde/share/config/kioslaverc", &third),
            ("h/.kde4/share/config/kioslaverc", &fourth),
            ("k/share/config/kioslaverc", &third),
        ];
        let host = |variables: &[(&str, &str)]| {
            let desktop = of(&files, variables).unwrap();
            socks(&desktop).unwrap().1.to_owned()
        };
        assert_eq!(host(&[]), "own");
        assert_eq!(host(&[("KDEHOME", "/k/")]), "third");
        let plasma = [
            ("XDG_CURRENT_DESKTOP", "KDE"),
            ("KDE_SESSION_VERSION", "6"),
            ("XDG_CONFIG_DIRS", "/etc/xdg"),
        ];
        let both = of(&files, &plasma).unwrap();
        assert_eq!(socks(&both).unwrap().1, "own");
        assert!(
            matches!(&both.mode, Mode::Manual { http: Some(http), .. } if http.host == "machine")
        );
        assert_eq!(
            host(&[("XDG_CURRENT_DESKTOP", "KDE"), ("KDE_SESSION_VERSION", "4")]),
            "fourth"
        );
        assert_eq!(host(&[("DESKTOP_SESSION", "kde")]), "third");
        assert_eq!(of(&[], &plasma), None);
    }
}
