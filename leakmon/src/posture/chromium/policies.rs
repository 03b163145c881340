//! Policies: JSON files that an administrator wrote (components/policy/core/common/config_dir_policy_loader.cc), and what
//! becomes of those about proxies (components/proxy_config/proxy_policy_handler.cc).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::rules::Setting;
use crate::posture::{Fault, View};

/// The older policies, each on its own; together they are as one.
const SEPARATE: [&str; 5] = [
    "ProxyMode",
    "ProxyServerMode",
    "ProxyServer",
    "ProxyPacUrl",
    "ProxyBypassList",
];

/// The other policies that are looked at; all else in a file is let go.
const WANTED: [&str; 4] = [
    "DnsOverHttpsMode",
    "ProxyOverrideRules",
    "ProxyPacMandatory",
    "ProxySettings",
];
/// Files of a folder that are read.
const MAX_FILES: usize = 256;

/// What the files of one folder say.
#[derive(Debug, Default)]
pub struct Policies {
    /// About proxies: where it is written, and what it is.
    pub proxy: Option<(String, Setting)>,
    /// About proxies too, but not valid, so that Chromium leaves it out of account: where, and why.
    pub void: Option<String>,
    /// About encrypted DNS: where it is written, and the mode.
    pub secure_dns: Option<String>,
    /// About which addresses go another way, whatever else is said. Not every version heeds it.
    pub overrides: Option<String>,
    /// What could not be read.
    pub unread: Vec<Fault>,
}

impl Policies {
    /// Reads a folder: of the same policy in several files the last counts, in the order of their names.
    pub fn read(view: &View, folder: &str) -> Self {
        let mut policies = Self::default();
        let names = match view.list(folder) {
            Ok(names) => names,
            Err(fault) => {
                policies.unread.push(fault);
                return policies;
            }
        };
        if names.len() > MAX_FILES {
            let reason = format!("it has more than {MAX_FILES} files");
            policies.unread.push(Fault::malformed(folder, reason));
        }
        let mut merged: BTreeMap<String, (String, Value)> = BTreeMap::new();
        for name in names.into_iter().take(MAX_FILES) {
            let path = format!("{folder}/{name}");
            match file(view, &path) {
                Ok(values) => {
                    let with_path = |(key, value)| (key, (path.clone(), value));
                    let is_wanted = |(key, _): &(String, Value)| {
                        WANTED.contains(&key.as_str()) || SEPARATE.contains(&key.as_str())
                    };
                    merged.extend(values.into_iter().filter(is_wanted).map(with_path));
                }
                Err(Fault::NoFile { .. }) => {}
                Err(fault) => policies.unread.push(fault),
            }
        }
        policies.settle(&merged);
        policies
    }

    fn settle(&mut self, merged: &BTreeMap<String, (String, Value)>) {
        self.secure_dns = merged.get("DnsOverHttpsMode").and_then(|(path, mode)| {
            Some(format!("{path}: DnsOverHttpsMode = {}", mode.as_str()?))
        });
        self.overrides = merged.get("ProxyOverrideRules").and_then(|(path, rules)| {
            let is_empty = rules.as_array().is_none_or(Vec::is_empty);
            (!is_empty).then(|| format!("{path}: ProxyOverrideRules"))
        });
        let (place, values) = match merged.get("ProxySettings") {
            // The newer one counts alone.
            Some((path, Value::Object(values))) => {
                (format!("{path}: ProxySettings:"), values.clone())
            }
            Some(_) => return,
            None => {
                let mut paths: Vec<&str> = Vec::new();
                let mut values = Map::new();
                for key in SEPARATE {
                    if let Some((path, value)) = merged.get(key) {
                        values.insert(key.to_owned(), value.clone());
                        if !paths.contains(&path.as_str()) {
                            paths.push(path);
                        }
                    }
                }
                (format!("{}:", paths.join(", ")), values)
            }
        };
        match setting(&values) {
            Ok(Some((mode, setting))) => {
                let place = format!("{place} {mode}{}", policy_words(&setting));
                self.proxy = Some((place, setting));
            }
            Ok(None) => {}
            Err(reason) => {
                self.void = Some(format!(
                    "{place} {reason}, so Chromium leaves all of it out of account"
                ))
            }
        }
    }
}

/// The values of a file; none when there is none, or when it says nothing about proxies that could be understood.
fn file(view: &View, path: &str) -> Result<Map<String, Value>, Fault> {
    let Some(text) = view.text(path)? else {
        return Ok(Map::new());
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match serde_json::from_str(&plain(text)) {
        Ok(Value::Object(values)) => Ok(values),
        Ok(_) => Ok(Map::new()),
        // Chromium leaves a broken file out, too, but it may understand one that serde_json does not.
        Err(error) if text.contains("Proxy") => Err(Fault::malformed(path, error)),
        Err(_) => Ok(Map::new()),
    }
}

/// JSON without the comments and the commas before a closing bracket that Chromium allows in these files (base/json/json_reader.h,
/// `JSON_PARSE_CHROMIUM_EXTENSIONS` and `JSON_ALLOW_TRAILING_COMMAS`; seen with 156).
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Where the last comma stands in `out`, if nothing but space follows it.
    let mut comma = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = end_of_string(rest);
            let (string, after) = rest.split_at(end);
            out.push_str(string);
            comma = None;
            rest = after;
            continue;
        }
        if rest.starts_with("//") {
            rest = rest
                .find(['\n', '\r'])
                .and_then(|end| rest.get(end..))
                .unwrap_or_default();
            continue;
        }
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
            out.push(' ');
            continue;
        }
        match c {
            ',' => comma = Some(out.len()),
            ']' | '}' => {
                if let Some(at) = comma.take() {
                    out.replace_range(at..=at, " ");
                }
            }
            c if c.is_whitespace() => {}
            _ => comma = None,
        }
        out.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    out
}

/// The length of the string literal at the beginning.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The words of a policy with what the mode needs.
fn policy_words(setting: &Setting) -> String {
    let shown = setting.shown();
    // The first part is the mode, which is written above.
    let rest = shown.split_once(", ").map(|(_, rest)| rest);
    rest.map_or_else(String::new, |rest| {
        let rest = rest
            .replacen("pac_url =", "ProxyPacUrl =", 1)
            .replacen("server =", "ProxyServer =", 1)
            .replacen("bypass_list =", "ProxyBypassList =", 1);
        format!(", {rest}")
    })
}

/// What the policies about proxies come to, with the mode as it is written; an error says why they are not valid.
fn setting(values: &Map<String, Value>) -> Result<Option<(String, Setting)>, String> {
    let value = |key: &str| {
        let value = values.get(key)?;
        let is_none = value.is_null() || value.as_str() == Some("");
        (!is_none).then_some(value)
    };
    let (server, script, bypass) = (
        value("ProxyServer"),
        value("ProxyPacUrl"),
        value("ProxyBypassList"),
    );
    let (written, mode) = match (value("ProxyMode"), value("ProxyServerMode")) {
        (Some(mode), _) => {
            let mode = mode.as_str().ok_or("ProxyMode is no text")?;
            (format!("ProxyMode = {mode}"), mode)
        }
        (None, Some(number)) => {
            let mode = match number.as_i64() {
                Some(0) => "direct",
                Some(1) => "auto_detect",
                Some(2) => match (server, script) {
                    (Some(_), None) => "fixed_servers",
                    (None, Some(_)) => "pac_script",
                    _ => {
                        return Err(
                            "ProxyServerMode = 2 needs either ProxyServer or ProxyPacUrl".into(),
                        );
                    }
                },
                Some(3) => "system",
                _ => return Err(format!("ProxyServerMode = {number} is not known")),
            };
            (format!("ProxyServerMode = {number}"), mode)
        }
        (None, None) if server.or(script).or(bypass).is_some() => {
            return Err("there is no ProxyMode".into());
        }
        (None, None) => return Ok(None),
    };
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let (setting, allows_script, allows_servers) = match mode {
        "direct" => (Setting::Direct, false, false),
        "auto_detect" => (Setting::AutoDetect, false, false),
        "system" => (Setting::System, false, false),
        "pac_script" => {
            let url = text(script).ok_or("ProxyMode = pac_script needs ProxyPacUrl")?;
            (Setting::Script(url), true, false)
        }
        "fixed_servers" => {
            let server = text(server).ok_or("ProxyMode = fixed_servers needs ProxyServer")?;
            let bypass = text(bypass).unwrap_or_default();
            (Setting::Servers { server, bypass }, false, true)
        }
        _ => return Err(format!("ProxyMode = {mode} is not known")),
    };
    for (key, value, is_allowed) in [
        ("ProxyPacUrl", script, allows_script),
        (
            "ProxyPacMandatory",
            value("ProxyPacMandatory"),
            allows_script,
        ),
        ("ProxyServer", server, allows_servers),
        ("ProxyBypassList", bypass, allows_servers),
    ] {
        if value.is_some() && !is_allowed {
            return Err(format!("{key} does not go with {written}"));
        }
    }
    Ok(Some((written, setting)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(files: &[(&str, &str)]) -> Policies {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("managed")).unwrap();
        for (name, text) in files {
            fs::write(dir.path().join("managed").join(name), text).unwrap();
        }
        Policies::read(&View::of_disk(dir.path(), None), "/managed")
    }

    fn place(json: &str) -> Option<String> {
        read(&[("a.json", json)]).proxy.map(|(place, _)| place)
    }

    #[test]
    fn what_is_valid() {
        for (json, expected) in [
            (
                r#"{"ProxySettings":{"ProxyMode":"fixed_servers","ProxyServer":"socks5://me:pw@h:1"}}"#,
                "/managed/a.json: ProxySettings: ProxyMode = fixed_servers, ProxyServer = socks5://…@h:1",
            ),
            (
                r#"{"ProxyMode":"fixed_servers","ProxyServer":"h:1","ProxyBypassList":"*.b"}"#,
                "/managed/a.json: ProxyMode = fixed_servers, ProxyServer = h:1, ProxyBypassList = *.b",
            ),
            (
                r#"{"ProxyServerMode":2,"ProxyPacUrl":"http://p/"}"#,
                "/managed/a.json: ProxyServerMode = 2, ProxyPacUrl = http://p/",
            ),
            (
                r#"{"ProxyMode":"direct","ProxyServer":""}"#,
                "/managed/a.json: ProxyMode = direct",
            ),
            (
                r#"{"ProxyServerMode":3,"ProxyServer":null}"#,
                "/managed/a.json: ProxyServerMode = 3",
            ),
            (
                r#"{"ProxyMode":"auto_detect","ProxyServerMode":0}"#,
                "/managed/a.json: ProxyMode = auto_detect",
            ),
            // As people write them.
            (
                "\u{feff}{ // {\n\"ProxyMode\": \"direct\", /* , */ }\n",
                "/managed/a.json: ProxyMode = direct",
            ),
        ] {
            assert_eq!(place(json).as_deref(), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_is_left_out_of_account() {
        for json in [
            r#"{"ProxyServer":"h:1"}"#,
            r#"{"ProxyMode":"direct","ProxyServer":"h:1"}"#,
            r#"{"ProxyMode":"fixed_servers"}"#,
            r#"{"ProxyMode":"fixed_servers","ProxyServer":"h","ProxyPacUrl":"u"}"#,
            r#"{"ProxyMode":"pac_script"}"#,
            r#"{"ProxyMode":"sometimes"}"#,
            r#"{"ProxyMode":1}"#,
            r#"{"ProxyServerMode":2}"#,
            r#"{"ProxyServerMode":2,"ProxyServer":"h","ProxyPacUrl":"u"}"#,
            r#"{"ProxyServerMode":9}"#,
            r#"{"ProxySettings":{"ProxyServer":"h"}}"#,
        ] {
            let policies = read(&[("a.json", json)]);
            assert!(
                policies.proxy.is_none() && policies.void.is_some(),
                "{json}"
            );
            assert!(policies.unread.is_empty(), "{json}");
        }
        for json in [
            "{}",
            "[]",
            "1",
            r#"{"ProxySettings":1,"ProxyMode":"direct"}"#,
            r#"{"A":1"#,
        ] {
            let policies = read(&[("a.json", json)]);
            assert!(
                policies.proxy.is_none() && policies.void.is_none(),
                "{json}"
            );
            assert!(policies.unread.is_empty(), "{json}");
        }
    }

    #[test]
    fn several_files() {
        let policies = read(&[
            (
                "b.json",
                r#"{"ProxyServer":"b","DnsOverHttpsMode":"secure"}"#,
            ),
            (
                "a.json",
                r#"{"ProxyMode":"fixed_servers","ProxyServer":"a"}"#,
            ),
        ]);
        assert_eq!(
            policies.proxy.unwrap().0,
            "/managed/a.json, /managed/b.json: ProxyMode = fixed_servers, ProxyServer = b"
        );
        assert_eq!(
            policies.secure_dns.unwrap(),
            "/managed/b.json: DnsOverHttpsMode = secure"
        );
        // The newer policy counts alone, wherever it stands (seen with 156).
        let policies = read(&[
            ("a.json", r#"{"ProxySettings":{"ProxyMode":"direct"}}"#),
            (
                "b.json",
                r#"{"ProxyMode":"fixed_servers","ProxyServer":"b"}"#,
            ),
        ]);
        assert_eq!(policies.proxy.unwrap().1, Setting::Direct);
    }

    #[test]
    fn hostile_files() {
        let whole = r#"{"ProxySettings": {"ProxyMode": "fixed_servers", /*c*/ "ProxyServer": "socks5://h:1",},}"#;
        for end in 0..whole.len() {
            let policies = read(&[("a.json", &whole[..end])]);
            assert!(policies.proxy.is_none(), "{end}");
        }
        for text in [
            &"{\"Proxy\":".repeat(100_000),
            &"[".repeat(100_000),
            &"\"\\".repeat(100_000),
            &"/*".repeat(100_000),
            &",".repeat(100_000),
            "{\"ProxyMode\":\"\u{fffd}\"}",
        ] {
            assert!(read(&[("a.json", text)]).proxy.is_none());
        }
        let dir = tempfile::tempdir().unwrap();
        let managed = dir.path().join("managed");
        fs::create_dir_all(managed.join("folder")).unwrap();
        std::os::unix::fs::symlink("/../../../../etc/passwd", managed.join("out")).unwrap();
        fs::File::create(managed.join("long"))
            .unwrap()
            .set_len(100 * 1024 * 1024)
            .unwrap();
        fs::write(managed.join("bytes"), b"\xff\xfe{").unwrap();
        let policies = Policies::read(&View::of_disk(dir.path(), None), "/managed");
        assert!(policies.proxy.is_none());
        assert!(
            matches!(policies.unread[..], [Fault::TooLong { .. }]),
            "{policies:?}"
        );
    }

    #[test]
    fn rules_for_some_addresses_are_noticed() {
        let policies = read(&[("a.json", r#"{"ProxyOverrideRules":[{}]}"#)]);
        assert_eq!(
            policies.overrides.unwrap(),
            "/managed/a.json: ProxyOverrideRules"
        );
        assert!(
            read(&[("a.json", r#"{"ProxyOverrideRules":[]}"#)])
                .overrides
                .is_none()
        );
    }
}
