//! The command line. Which switch wins is chrome/browser/prefs/chrome_command_line_pref_store.cc.

use super::rules::{Setting, is_data};
use crate::posture::{bypass::split, without_password};

/// The switches of a program.
#[derive(Clone, Copy, Debug)]
pub struct Switches<'a> {
    arguments: &'a [String],
}

impl<'a> Switches<'a> {
    /// Those among the program's arguments.
    pub fn new(arguments: &'a [String]) -> Self {
        Self { arguments }
    }

    /// The value of a switch, empty for one without; the last of several wins, and `--` ends them (base/command_line.cc).
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.arguments
            .iter()
            .take_while(|argument| *argument != "--")
            .filter_map(|argument| {
                let rest = argument
                    .strip_prefix("--")
                    .or_else(|| argument.strip_prefix('-'))?
                    .strip_prefix(name)?;
                if rest.is_empty() {
                    Some("")
                } else {
                    rest.strip_prefix('=')
                }
            })
            .last()
    }

    /// What they say about proxies, as it is written and what it is.
    pub fn proxy(self) -> Option<(String, Setting)> {
        let (name, value, setting) = if let Some(value) = self.get("no-proxy-server") {
            ("no-proxy-server", value, Setting::Direct)
        } else if let Some(url) = self.get("proxy-pac-url") {
            ("proxy-pac-url", url, Setting::Script(url.to_owned()))
        } else if let Some(value) = self.get("proxy-auto-detect") {
            ("proxy-auto-detect", value, Setting::AutoDetect)
        } else {
            let server = self.get("proxy-server")?;
            let bypass = self.get("proxy-bypass-list").unwrap_or_default();
            let setting = Setting::Servers {
                server: server.to_owned(),
                bypass: bypass.to_owned(),
            };
            ("proxy-server", server, setting)
        };
        Some((written(name, value), setting))
    }

    /// What `--host-resolver-rules` keeps from being resolved.
    pub fn resolver_rules(self) -> Option<ResolverRules> {
        self.get("host-resolver-rules").map(ResolverRules::parse)
    }

    /// Whether a list of paths in a switch has this one.
    pub fn lists(self, name: &str, path: &str) -> bool {
        let listed = self.get(name).unwrap_or_default();
        listed
            .split(',')
            .any(|listed| listed.trim_end_matches('/') == path.trim_end_matches('/'))
    }
}

fn written(name: &str, value: &str) -> String {
    if value.is_empty() {
        format!("--{name}")
    } else if is_data(value) {
        format!("--{name}=data:…")
    } else {
        format!("--{name}={}", without_password(value))
    }
}

/// Rules that put one name in place of another before it is resolved (net/base/host_mapping_rules.cc).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolverRules {
    /// As written.
    pub text: String,
    /// No name is resolved but those excepted.
    pub is_total: bool,
    /// Those excepted, as written.
    pub excepted: Vec<String>,
}

impl ResolverRules {
    fn parse(text: &str) -> Self {
        let mut rules = Self {
            text: without_password(text),
            ..Self::default()
        };
        let mut map_rules = 0;
        for rule in split(text, &[',']) {
            // Two spaces make a word more, and the rule void.
            let words: Vec<&str> = rule.split(' ').collect();
            match words[..] {
                [exclude, pattern] if exclude.eq_ignore_ascii_case("exclude") => {
                    rules.excepted.push(pattern.to_owned());
                }
                [map, pattern, replacement] if map.eq_ignore_ascii_case("map") => {
                    // The first that fits counts.
                    if map_rules == 0 {
                        rules.is_total = pattern == "*" && replacement == "~NOTFOUND";
                    }
                    map_rules += 1;
                }
                _ => {}
            }
        }
        rules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(of: &[&str]) -> Vec<String> {
        of.iter().map(|&argument| argument.to_owned()).collect()
    }

    #[test]
    fn which_switch_wins() {
        for (given, expected) in [
            (&["--headless"][..], None),
            (
                &["--proxy-server=a", "--no-proxy-server"],
                Some("--no-proxy-server"),
            ),
            (
                &["--proxy-server=a", "--proxy-auto-detect"],
                Some("--proxy-auto-detect"),
            ),
            (
                &["--proxy-auto-detect", "--proxy-pac-url=http://me:pw@p/"],
                Some("--proxy-pac-url=http://…@p/"),
            ),
            (
                &["--proxy-pac-url=data:,secret"],
                Some("--proxy-pac-url=data:…"),
            ),
            (
                &["--proxy-server=a", "-proxy-server=b"],
                Some("--proxy-server=b"),
            ),
            (&["--", "--proxy-server=a"], None),
            (&["--proxy-servers=a", "proxy-server=b"], None),
        ] {
            let arguments = arguments(given);
            let said = Switches::new(&arguments).proxy();
            assert_eq!(
                said.map(|(written, _)| written).as_deref(),
                expected,
                "{given:?}"
            );
        }
    }

    #[test]
    fn rules_for_names() {
        for (text, is_total, excepted) in [
            (
                "MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
                true,
                &["127.0.0.1"][..],
            ),
            ("exclude a,map * ~NOTFOUND,EXCLUDE *.b", true, &["a", "*.b"]),
            ("MAP *  ~NOTFOUND", false, &[]),
            ("MAP * ~notfound", false, &[]),
            ("MAP *.example ~NOTFOUND", false, &[]),
            ("MAP * 127.0.0.1", false, &[]),
            ("MAP x 1.2.3.4, MAP * ~NOTFOUND", false, &[]),
            ("MAP * ~NOTFOUND extra", false, &[]),
            ("", false, &[]),
            (", ,  ", false, &[]),
        ] {
            let argument = arguments(&[&format!("--host-resolver-rules={text}")]);
            let rules = Switches::new(&argument).resolver_rules().unwrap();
            assert_eq!(rules.is_total, is_total, "{text}");
            assert_eq!(rules.excepted, excepted, "{text}");
        }
    }

    #[test]
    fn lists_of_paths() {
        let arguments = arguments(&["--load-extension=/a/b/,/c"]);
        let switches = Switches::new(&arguments);
        assert!(switches.lists("load-extension", "/a/b") && switches.lists("load-extension", "/c"));
        assert!(!switches.lists("load-extension", "/a") && !switches.lists("x", "/a"));
    }
}
