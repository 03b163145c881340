//! git's configuration files (git-config(1)), as far as proxies need them.

use super::read;
use crate::posture::{Fault, View};

/// Most files that one may include, git's own limit of depth is 10 (config.c, `MAX_INCLUDE_DEPTH`).
const MAX_FILES: usize = 64;

/// A variable that is set, in the order of reading: later ones count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// `section.subsection.name`: section and name in lower case.
    pub key: Key,
    /// Its value.
    pub value: String,
    /// The kind of place.
    pub source: &'static str,
    /// The file, or the option, with a separator: what stands before the key in evidence.
    pub place: String,
}

/// A variable's name in its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// In lower case.
    pub section: String,
    /// As written.
    pub subsection: Option<String>,
    /// In lower case.
    pub name: String,
}

impl Key {
    /// Reads `section.name` or `section.sub.section.name`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (before, name) = text.rsplit_once('.')?;
        let (section, subsection) = match before.split_once('.') {
            Some((section, subsection)) => (section, Some(subsection.to_owned())),
            None => (before, None),
        };
        Some(Self {
            section: section.to_ascii_lowercase(),
            subsection,
            name: name.to_ascii_lowercase(),
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.subsection {
            Some(subsection) => write!(f, "{}.{subsection}.{}", self.section, self.name),
            None => write!(f, "{}.{}", self.section, self.name),
        }
    }
}

/// All that is set.
#[derive(Debug)]
pub struct Config<'a> {
    view: &'a View,
    /// In the order of reading.
    pub variables: Vec<Variable>,
    /// A file that cannot be read.
    pub fault: Option<Fault>,
    /// A file about proxies that is included under a condition.
    pub conditional: Option<String>,
    files: usize,
}

impl<'a> Config<'a> {
    /// Nothing set yet.
    #[must_use]
    pub fn new(view: &'a View) -> Self {
        Self {
            view,
            variables: Vec::new(),
            fault: None,
            conditional: None,
            files: 0,
        }
    }

    /// The last value of a key.
    #[must_use]
    pub fn last(&self, section: &str, subsection: Option<&str>, name: &str) -> Option<&Variable> {
        self.variables.iter().rev().find(|one| {
            one.key.section == section
                && one.key.subsection.as_deref() == subsection
                && one.key.name == name
        })
    }

    /// Sets a variable by its whole name.
    pub fn set(&mut self, key: &str, value: &str, source: &'static str, place: &str) {
        if let Some(key) = Key::parse(key) {
            self.variables.push(Variable {
                key,
                value: value.to_owned(),
                source,
                place: place.to_owned(),
            });
        }
    }

    /// Reads a file and what it includes; one that is not there says nothing.
    pub fn file(&mut self, path: &str) {
        if !self.counts(path) {
            return;
        }
        let text = match read(self.view, path) {
            Ok(Some(text)) => text,
            Ok(None) => return,
            Err(fault) => {
                self.fault.get_or_insert(fault);
                return;
            }
        };
        let place = format!("{path}: ");
        for (key, value) in parse(&text) {
            let is_path = key.name == "path";
            if key.section == "include" && is_path {
                if let Some(included) = self.included(path, &value) {
                    self.file(&included);
                }
            } else if key.section == "includeif"
                && is_path
                && let Some(included) = self.included(path, &value)
            {
                self.condition(&included);
            }
            self.variables.push(Variable {
                key,
                value,
                source: "gitconfig",
                place: place.clone(),
            });
        }
    }

    /// A relative path is meant from the folder of the file that says it.
    fn included(&self, from: &str, path: &str) -> Option<String> {
        if path.starts_with(['/', '~']) {
            return self.view.absolute(path);
        }
        let (folder, _) = from.rsplit_once('/')?;
        Some(format!("{folder}/{path}"))
    }

    /// Whether a condition holds is not worked out: it matters only when the file is about proxies.
    fn condition(&mut self, path: &str) {
        if !self.counts(path) {
            return;
        }
        match read(self.view, path) {
            Ok(Some(text)) => {
                let about = parse(&text).iter().any(|(key, _)| is_about_proxies(key));
                if about {
                    self.conditional = Some(format!("{path}: included under a condition"));
                }
            }
            Ok(None) => {}
            Err(fault) => {
                self.fault.get_or_insert(fault);
            }
        }
    }

    /// Counts a file; false when there were too many, of which something may count.
    fn counts(&mut self, path: &str) -> bool {
        self.files += 1;
        let few = self.files <= MAX_FILES;
        if !few {
            let fault = Fault::malformed(path, "too many files lead to it");
            self.fault.get_or_insert(fault);
        }
        few
    }
}

/// Whether a variable can name a proxy.
fn is_about_proxies(key: &Key) -> bool {
    matches!(
        (key.section.as_str(), key.name.as_str()),
        ("http" | "remote", "proxy") | ("core", "gitproxy") | ("include" | "includeif", "path")
    )
}

/// The variables of a file. What is no valid line is passed over: git itself would end with an error.
pub fn parse(text: &str) -> Vec<(Key, String)> {
    let mut found = Vec::new();
    let (mut section, mut subsection) = (String::new(), None);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start_matches('\u{feff}').trim_start();
        if let Some(header) = line.strip_prefix('[') {
            let Some((name, sub, rest)) = read_header(header) else {
                continue;
            };
            (section, subsection) = (name, sub);
            line = rest.trim_start();
        }
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name.trim(), read_value(value, &mut lines)),
            // A name alone is true.
            None => (line.trim(), "true".to_owned()),
        };
        found.push((
            Key {
                section: section.clone(),
                subsection: subsection.clone(),
                name: name.to_ascii_lowercase(),
            },
            value,
        ));
    }
    found
}

/// `section]`, `section "sub"]` or the old `section.sub]`, and what comes after.
fn read_header(text: &str) -> Option<(String, Option<String>, &str)> {
    let end = text.find(|c: char| c == ']' || c.is_whitespace())?;
    let (name, rest) = text.split_at(end);
    if let Some(rest) = rest.strip_prefix(']') {
        return Some(match name.split_once('.') {
            Some((section, sub)) => (
                section.to_ascii_lowercase(),
                Some(sub.to_ascii_lowercase()),
                rest,
            ),
            None => (name.to_ascii_lowercase(), None, rest),
        });
    }
    let mut sub = String::new();
    let quoted = rest.trim_start().strip_prefix('"')?;
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = quoted.get(at + 1..)?.trim_start().strip_prefix(']')?;
                return Some((name.to_ascii_lowercase(), Some(sub), rest));
            }
            '\\' => sub.push(chars.next()?.1),
            c => sub.push(c),
        }
    }
    None
}

/// A value: quotes, escapes, comments, and lines that go on after a backslash.
fn read_value(first: &str, lines: &mut std::str::Lines<'_>) -> String {
    let mut value = String::new();
    let mut spaces = String::new();
    let mut is_quoted = false;
    let mut line = first.trim_start();
    loop {
        let mut goes_on = false;
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            let c = match c {
                '"' => {
                    is_quoted = !is_quoted;
                    value.push_str(&std::mem::take(&mut spaces));
                    continue;
                }
                '#' | ';' if !is_quoted => break,
                '\\' => match chars.next() {
                    None => {
                        goes_on = true;
                        break;
                    }
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('b') => '\x08',
                    Some(other) => other,
                },
                c if c.is_whitespace() && !is_quoted => {
                    spaces.push(c);
                    continue;
                }
                c => c,
            };
            value.push_str(&std::mem::take(&mut spaces));
            value.push(c);
        }
        if !goes_on {
            return value;
        }
        let Some(next) = lines.next() else {
            return value;
        };
        line = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files() {
        let text = "\
[user]\n\tname = A # comment\n[Http] Proxy = \"socks5://h:1\" ; x\n\
[http \"https://a.example/X\"]\n\tproxy = so\\\ncks\n[remote.Old] proxy=x\nflag\n\
[broken\nproxy = after\n[core]\n a = \" b \"  c";
        let shown: Vec<String> = parse(text)
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            shown,
            [
                "user.name=A",
                "http.proxy=socks5://h:1",
                "http.https://a.example/X.proxy=socks",
                "remote.old.proxy=x",
                "remote.old.flag=true",
                "remote.old.proxy=after",
                "core.a= b   c",
            ]
        );
        for hostile in ["[", "[a \"", "[a \"\\", "=", "a=\\", "[]\n\"", "\\"] {
            let _ = parse(hostile);
        }
    }

    #[test]
    fn keys() {
        let key = |text| {
            Key::parse(text).map(|key| format!("{}|{:?}|{}", key.section, key.subsection, key.name))
        };
        assert_eq!(key("HTTP.Proxy").as_deref(), Some("http|None|proxy"));
        assert_eq!(
            key("http.https://A.example/.proxy").as_deref(),
            Some("http|Some(\"https://A.example/\")|proxy")
        );
        assert_eq!(key("proxy"), None);
    }
}
