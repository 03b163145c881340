//! ssh's configuration files, as far as can be told from outside (ssh_config(5)): the first value of a keyword counts.

use super::{nc, read, ssh};
use crate::posture::{Fault, View, without_password};

/// Most files, and patterns for files, that one may include.
const MAX_FILES: usize = 128;

/// The keywords that count here.
const KEYWORDS: [&str; 6] = [
    "canonicaldomains",
    "canonicalizemaxdots",
    "proxycommand",
    "proxyjump",
    "canonicalizehostname",
    "verifyhostkeydns",
];

/// A keyword's value, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// In lower case.
    pub keyword: String,
    /// Without quotes around it.
    pub value: String,
    /// The kind of place.
    pub source: &'static str,
    /// As evidence.
    pub written: String,
}

/// What is set for one host.
#[derive(Debug)]
pub struct Config<'a> {
    view: &'a View,
    host: String,
    set: Vec<Set>,
    files: usize,
    /// A file that cannot be read.
    pub fault: Option<Fault>,
    /// A way that counts under a condition that is not known, and comes before all known ones.
    pub unclear: Option<String>,
}

/// Whether a block is for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Yes,
    No,
    Unclear,
}

impl<'a> Config<'a> {
    /// Nothing set yet.
    #[must_use]
    pub fn new(view: &'a View, host: &str) -> Self {
        Self {
            view,
            host: host.to_ascii_lowercase(),
            set: Vec::new(),
            files: 0,
            fault: None,
            unclear: None,
        }
    }

    /// Takes a keyword that counts for the host.
    pub fn take(&mut self, keyword: &str, value: &str, source: &'static str, written: &str) {
        if KEYWORDS.contains(&keyword) && self.value(keyword).is_none() {
            self.set.push(Set {
                keyword: keyword.to_owned(),
                value: value.to_owned(),
                source,
                written: nc::without_auth(&without_password(written)),
            });
        }
    }

    /// The value that counts.
    #[must_use]
    pub fn value(&self, keyword: &str) -> Option<&str> {
        let set = self.set.iter().find(|set| set.keyword == keyword)?;
        Some(&set.value)
    }

    /// Dots in the host's name.
    #[must_use]
    pub fn dots(&self) -> usize {
        self.host.matches('.').count()
    }

    /// `ProxyCommand` or `ProxyJump`, whichever comes first.
    #[must_use]
    pub fn way(&self) -> Option<&Set> {
        self.set
            .iter()
            .find(|set| set.keyword == "proxycommand" || set.keyword == "proxyjump")
    }

    /// Reads a file, the machine's or the user's.
    pub fn file(&mut self, path: Option<&str>, is_machines: bool) {
        if let Some(path) = path {
            self.read(path, is_machines, Block::Yes);
        }
    }

    fn read(&mut self, path: &str, is_machines: bool, outer: Block) {
        if !self.counts(path) {
            return;
        }
        let text = match read(self.view, path) {
            Ok(text) => text.unwrap_or_default(),
            Err(fault) => {
                if self.way().is_none() {
                    self.fault.get_or_insert(fault);
                }
                return;
            }
        };
        let mut block = outer;
        for line in text.lines() {
            let Some((keyword, value)) = keyword_and_value(line) else {
                continue;
            };
            match keyword.as_str() {
                "host" => block = narrowed(outer, self.host_block(&value)),
                "match" => block = narrowed(outer, self.match_block(&value)),
                "include" if block != Block::No => {
                    for pattern in value.split_whitespace() {
                        // A pattern costs a look at a folder, whether it covers a file or not.
                        if !self.counts(path) {
                            return;
                        }
                        for path in self.included(pattern.trim_matches('"'), is_machines) {
                            self.read(&path, is_machines, block);
                        }
                    }
                }
                _ => self.line(block, &keyword, &value, &format!("{path}: {}", line.trim())),
            }
        }
    }

    /// Counts a file or a pattern for files; false when there were too many, of which something may count.
    fn counts(&mut self, path: &str) -> bool {
        self.files += 1;
        let few = self.files <= MAX_FILES;
        if !few && self.way().is_none() {
            let fault = Fault::malformed(path, "it leads to more files than are read");
            self.fault.get_or_insert(fault);
        }
        few
    }

    fn line(&mut self, block: Block, keyword: &str, value: &str, written: &str) {
        match block {
            Block::Yes => self.take(keyword, value, ssh::FILE, written),
            Block::No => {}
            Block::Unclear => {
                let is_way = keyword == "proxycommand" || keyword == "proxyjump";
                if is_way && self.way().is_none() && self.unclear.is_none() {
                    self.unclear = Some(nc::without_auth(&without_password(written)));
                }
            }
        }
    }

    fn host_block(&self, patterns: &str) -> Block {
        let mut found = Block::No;
        for pattern in patterns.split_whitespace() {
            let pattern = pattern.trim_matches('"').to_ascii_lowercase();
            match pattern.strip_prefix('!') {
                Some(not) if matches(not.as_bytes(), self.host.as_bytes()) => return Block::No,
                Some(_) => {}
                None if matches(pattern.as_bytes(), self.host.as_bytes()) => found = Block::Yes,
                None => {}
            }
        }
        found
    }

    /// Conditions other than `all` may run programs or look at what only ssh knows.
    fn match_block(&self, conditions: &str) -> Block {
        if conditions.eq_ignore_ascii_case("all") {
            Block::Yes
        } else {
            Block::Unclear
        }
    }

    /// The files that `Include` means: relative ones are in ~/.ssh or /etc/ssh; patterns may be in the last part.
    fn included(&mut self, pattern: &str, is_machines: bool) -> Vec<String> {
        let path = if pattern.starts_with('/') {
            Some(pattern.to_owned())
        } else if let Some(rest) = pattern.strip_prefix("~/") {
            self.view.at_home(rest)
        } else if is_machines {
            Some(format!("/etc/ssh/{pattern}"))
        } else {
            self.view.at_home(&format!(".ssh/{pattern}"))
        };
        let Some(path) = path else {
            return Vec::new();
        };
        let Some((folder, name)) = path.rsplit_once('/').filter(|_| path.contains(['*', '?']))
        else {
            return vec![path];
        };
        if !self.view.is_open() {
            return Vec::new();
        }
        match self.view.list(folder) {
            Ok(names) => names
                .iter()
                .filter(|known| {
                    !known.starts_with('.') && matches(name.as_bytes(), known.as_bytes())
                })
                .map(|known| format!("{folder}/{known}"))
                .collect(),
            Err(fault) => {
                self.fault.get_or_insert(fault);
                Vec::new()
            }
        }
    }
}

fn narrowed(outer: Block, inner: Block) -> Block {
    match (outer, inner) {
        (Block::No, _) | (_, Block::No) => Block::No,
        (Block::Yes, Block::Yes) => Block::Yes,
        _ => Block::Unclear,
    }
}

/// `keyword value` or `keyword=value`; a value may be in quotes.
pub fn keyword_and_value(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let (keyword, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix('=').unwrap_or(rest).trim();
    let keyword = keyword.to_ascii_lowercase();
    // A command is the whole rest of the line, quotes and all.
    let value = match value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(quoted) if !quoted.contains('"') && keyword != "proxycommand" => quoted,
        _ => value,
    };
    Some((keyword, value.to_owned()))
}

/// `*` stands for any characters, `?` for one (ssh_config(5), PATTERNS).
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'?' || Some(&c) == text.get(t) => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|&c| c == b'*'))
}
