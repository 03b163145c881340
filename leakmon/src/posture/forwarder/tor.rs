//! tor: what it offers to others.
//!
//! tor(1): options of the command line win over those of the torrc, and these over the defaults file; an option of which
//! there may be several is replaced as a whole, or added to with a `+`. Ports without an address are on 127.0.0.1.

use super::Forwarder;
use crate::posture::{Fault, Subject, View, without_password};

const SOURCE: &str = "torrc";
/// Lines that are kept.
const MAX_LINES: usize = 10_000;
/// Files that include one another.
const MAX_DEPTH: usize = 4;
/// Files that are read in all.
const MAX_FILES: usize = 512;
/// Options of the command line that are followed by no value (tor(1), "Command-line options").
const WITHOUT_VALUE: [&str; 10] = [
    "allow-missing-torrc",
    "help",
    "hush",
    "ignore-missing-torrc",
    "keygen",
    "list-deprecated-options",
    "list-torrc-options",
    "quiet",
    "verify-config",
    "version",
];

/// An option that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    /// In lower case.
    key: String,
    value: String,
    /// Whether it was set with a `+`.
    adds: bool,
}

/// What tor offers.
pub fn forwarder(subject: &Subject<'_>) -> Forwarder {
    let view = subject.view;
    let (options, paths) = command_line(subject.arguments());
    let mut layers: Vec<Vec<Set>> = Vec::new();
    let mut forwarder = Forwarder::new("tor, a SOCKS proxy");
    for path in [paths.defaults, paths.torrc] {
        match file(view, &path) {
            Ok(Some((path, lines))) => {
                forwarder = forwarder.and(SOURCE, path);
                layers.push(lines);
            }
            Ok(None) => {}
            // What it offers is not known, but what it is.
            Err(fault) => return forwarder.and(SOURCE, fault.to_string()),
        }
    }
    layers.push(options);
    let options = Options(layers);
    forwarder.role = options.role();
    for key in ["Socks4Proxy", "Socks5Proxy", "HTTPSProxy"] {
        for value in options.all(key) {
            forwarder = forwarder.and(
                "tor",
                without_password(&format!(
                    "{key} {value}: it reaches relays through this proxy, by their addresses"
                )),
            );
        }
    }
    forwarder
}

/// Which files tor reads: a path as written, or where it looks without one.
struct Paths {
    defaults: Vec<String>,
    torrc: Vec<String>,
}

fn command_line(arguments: &[String]) -> (Vec<Set>, Paths) {
    let mut paths = Paths {
        defaults: vec!["/etc/tor/torrc-defaults".to_owned()],
        torrc: vec!["/etc/tor/torrc".to_owned(), "~/.torrc".to_owned()],
    };
    let mut options = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let key = argument.trim_start_matches('-');
        if WITHOUT_VALUE.contains(&key) {
            continue;
        }
        let Some(value) = arguments.next() else {
            break;
        };
        match key {
            "f" | "torrc-file" => paths.torrc = vec![value.clone()],
            "defaults-torrc" => paths.defaults = vec![value.clone()],
            _ => options.extend(set(key, value)),
        }
    }
    (options, paths)
}

fn set(key: &str, value: &str) -> Option<Set> {
    let (key, adds) = match key.strip_prefix('+') {
        Some(key) => (key, true),
        None => (key.trim_start_matches('/'), false),
    };
    let value = value.trim().trim_matches('"');
    (!key.is_empty()).then(|| Set {
        key: key.to_ascii_lowercase(),
        value: value.to_owned(),
        adds,
    })
}

/// The first of these files that is there.
fn file(view: &View, paths: &[String]) -> Result<Option<(String, Vec<Set>)>, Fault> {
    for written in paths {
        let path = view.meant(written)?;
        if let Some(text) = view.text(&path)? {
            let mut lines = Vec::new();
            read(view, &text, 0, &mut 0, &mut lines)?;
            return Ok(Some((path, lines)));
        }
    }
    Ok(None)
}

/// A file and those that it includes.
fn read(
    view: &View,
    text: &str,
    depth: usize,
    files: &mut usize,
    out: &mut Vec<Set>,
) -> Result<(), Fault> {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (key, value) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        if !key.eq_ignore_ascii_case("%include") {
            if out.len() < MAX_LINES {
                out.extend(set(key, value));
            }
        } else if depth < MAX_DEPTH && *files < MAX_FILES {
            // An empty folder costs a look, too.
            *files += 1;
            for path in included(view, value.trim().trim_matches('"'))? {
                *files += 1;
                if *files < MAX_FILES
                    && let Some(text) = view.text(&path)?
                {
                    read(view, &text, depth + 1, files, out)?;
                }
            }
        }
    }
    Ok(())
}

/// The files of an `%include`: one, or those of a folder, or those that a pattern for file names covers.
fn included(view: &View, path: &str) -> Result<Vec<String>, Fault> {
    let (folder, pattern) = match path.rsplit_once('/') {
        Some((folder, pattern)) if pattern.contains(['*', '?']) => (folder, pattern),
        _ => (path.trim_end_matches('/'), "*"),
    };
    // A file has no list.
    let names = view.list(folder).unwrap_or_default();
    if names.is_empty() {
        return Ok(vec![path.to_owned()]);
    }
    Ok(names
        .into_iter()
        .filter(|name| !name.starts_with('.') && super::glob(pattern, name))
        .map(|name| format!("{folder}/{name}"))
        .collect())
}

/// The options of all places, the weakest first.
struct Options(Vec<Vec<Set>>);

impl Options {
    /// The values of an option, as they count in the end.
    fn all(&self, key: &str) -> Vec<&str> {
        let mut values: Vec<&str> = Vec::new();
        for layer in &self.0 {
            let here = || layer.iter().filter(|set| set.key.eq_ignore_ascii_case(key));
            if here().any(|set| !set.adds) {
                values.clear();
            }
            values.extend(here().map(|set| set.value.as_str()));
        }
        values.retain(|value| !value.is_empty());
        values
    }

    /// Where it listens for something.
    fn ports(&self, key: &str) -> Vec<String> {
        self.all(key)
            .into_iter()
            .filter_map(|value| value.split_whitespace().next())
            .filter(|port| *port != "0")
            .map(|port| match port {
                "auto" => "a port of its choice".to_owned(),
                port if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                    format!("127.0.0.1:{port}")
                }
                port => port.trim_matches('"').to_owned(),
            })
            .collect()
    }

    fn is_exit(&self) -> bool {
        let is = |key, value| self.all(key).last() == Some(&value);
        let policy = self.all("ExitPolicy");
        let refuses = policy
            .first()
            .is_some_and(|rule| rule.replace(' ', "").starts_with("reject*:*"));
        // Without a word about exits a relay is none (ExitRelay auto).
        !is("ExitRelay", "0")
            && !refuses
            && (is("ExitRelay", "1")
                || is("ReducedExitPolicy", "1")
                || is("IPv6Exit", "1")
                || policy.iter().any(|rule| rule.contains("accept")))
    }

    fn role(&self) -> String {
        let mut parts = Vec::new();
        let socks = if self.all("SocksPort").is_empty() {
            vec!["127.0.0.1:9050".to_owned()]
        } else {
            self.ports("SocksPort")
        };
        if !socks.is_empty() {
            parts.push(format!("a SOCKS proxy on {}", socks.join(", ")));
        }
        for (key, what) in [
            ("DNSPort", "a resolver"),
            ("HTTPTunnelPort", "an HTTP proxy"),
            ("TransPort", "a transparent proxy"),
            ("NATDPort", "a transparent proxy"),
        ] {
            let ports = self.ports(key);
            if !ports.is_empty() {
                parts.push(format!("{what} on {} ({key})", ports.join(", ")));
            }
        }
        if !self.ports("ORPort").is_empty() {
            parts.push(if self.is_exit() {
                "an exit relay that resolves for others".to_owned()
            } else {
                "a relay".to_owned()
            });
        }
        if parts.is_empty() {
            parts.push("a client that offers no port".to_owned());
        }
        format!("tor, {}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use crate::posture::{Route, testing::Scene};

    /// /usr/share/tor/tor-service-defaults-torrc of Debian's tor 0.4.9.
    const DEBIAN: &str = "DataDirectory /var/lib/tor\nPidFile /run/tor/tor.pid\nRunAsDaemon 1\nUser debian-tor\n\nControlSocket /run/tor/control GroupWritable RelaxDirModeCheck\nControlSocketsGroupWritable 1\nSocksPort unix:/run/tor/socks WorldWritable\nSocksPort 9050\n\nCookieAuthentication 1\n";

    fn role(arguments: &[&str], files: &[(&str, &str)]) -> String {
        let posture = Scene::new("/usr/bin/tor")
            .args(arguments)
            .files(files)
            .ask(super::super::posture)
            .unwrap();
        assert_eq!(posture.route, Route::Untold);
        posture.role.unwrap()
    }

    #[test]
    fn of_the_packaged_files() {
        let arguments = [
            "--defaults-torrc",
            "/usr/share/tor/tor-service-defaults-torrc",
            "-f",
            "/etc/tor/torrc",
            "--RunAsDaemon",
            "0",
        ];
        let role = role(
            &arguments,
            &[
                ("/usr/share/tor/tor-service-defaults-torrc", DEBIAN),
                ("/etc/tor/torrc", "# SocksPort 9100\n#DNSPort 53\n"),
            ],
        );
        assert_eq!(
            role,
            "tor, a SOCKS proxy on unix:/run/tor/socks, 127.0.0.1:9050"
        );
    }

    #[test]
    fn what_it_offers() {
        for (text, arguments, expected) in [
            ("", &[][..], "tor, a SOCKS proxy on 127.0.0.1:9050"),
            (
                "socksport 9150 IsolateDestAddr # x",
                &[],
                "tor, a SOCKS proxy on 127.0.0.1:9150",
            ),
            ("SocksPort 0", &[], "tor, a client that offers no port"),
            (
                "SocksPort 1\nSocksPort 2",
                &["+SocksPort", "3"],
                "tor, a SOCKS proxy on 127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3",
            ),
            (
                "SocksPort 1",
                &["--SocksPort", "auto"],
                "tor, a SOCKS proxy on a port of its choice",
            ),
            (
                "SocksPort 0\nDNSPort 127.0.0.1:5353\nTransPort 9040",
                &["--quiet"],
                "tor, a resolver on 127.0.0.1:5353 (DNSPort), a transparent proxy on 127.0.0.1:9040 (TransPort)",
            ),
            ("SocksPort 0\nORPort 9001", &[], "tor, a relay"),
            (
                "SocksPort 0\nORPort 9001\nExitRelay 1",
                &[],
                "tor, an exit relay that resolves for others",
            ),
            (
                "SocksPort 0\nORPort 9001\nExitPolicy reject *:*",
                &[],
                "tor, a relay",
            ),
            (
                "SocksPort 0\nORPort 9001\nExitPolicy accept *:80,reject *:*",
                &[],
                "tor, an exit relay that resolves for others",
            ),
            (
                "SocksPort 0\nORPort 9001\nExitRelay 0\nExitPolicy accept *:80",
                &[],
                "tor, a relay",
            ),
        ] {
            assert_eq!(
                role(arguments, &[("/etc/tor/torrc", text)]),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn includes() {
        let files = [
            (
                "/etc/tor/torrc",
                "%include /etc/tor/d/*.conf\n%include /etc/tor/one\n%include /etc/tor/torrc",
            ),
            ("/etc/tor/d/a.conf", "SocksPort 1"),
            ("/etc/tor/d/b.off", "SocksPort 2"),
            ("/etc/tor/one", "DNSPort 3"),
        ];
        let role = role(&[], &files);
        assert!(
            role.starts_with("tor, a SOCKS proxy on 127.0.0.1:1,"),
            "{role}"
        );
        assert!(!role.contains("127.0.0.1:2"), "{role}");
        assert!(role.contains("127.0.0.1:3 (DNSPort)"), "{role}");
    }

    #[test]
    fn files_that_include_one_another_come_to_an_end() {
        let include = "%include /etc/tor/d\n".repeat(8);
        let names: Vec<String> = (0..64).map(|n| format!("/etc/tor/d/{n}")).collect();
        let mut files = vec![("/etc/tor/torrc", include.as_str())];
        files.extend(names.iter().map(|name| (name.as_str(), include.as_str())));
        assert_eq!(role(&[], &files), "tor, a SOCKS proxy on 127.0.0.1:9050");
    }

    #[test]
    fn hostile_files() {
        for text in [
            "%include",
            "+ 1\n/ 1\n\u{fffd}",
            "SocksPort \"",
            "SocksPort",
        ] {
            let _ = role(&["-f"], &[("/etc/tor/torrc", text)]);
        }
        assert_eq!(
            role(&["-f", "/etc"], &[("/etc/tor/torrc", "")]),
            "tor, a SOCKS proxy"
        );
    }
}
