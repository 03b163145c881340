//! `ssh -D`: a SOCKS proxy whose requests are carried out, names resolved too, on the server's side.
//!
//! The options are those of ssh(1) (OpenSSH 9.2), the configuration files those of ssh_config(5).

use super::{Forwarder, glob};
use crate::accounts::accounts;
use crate::posture::{Subject, View, letters::apart};

/// Options of one letter that are followed by a value.
const WITH_VALUE: &str = "BDEFIJLOPQRSWbceilmopw";
/// Files that include one another, as in OpenSSH's readconf.c.
const MAX_DEPTH: usize = 16;
/// Files that are read in all.
const MAX_FILES: usize = 256;
/// Forwards that are shown.
const MAX_FORWARDS: usize = 16;
/// The longest name of a host (RFC 1035 section 2.3.4).
const MAX_HOST: usize = 255;

/// What the command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Command {
    /// Values of `-D`.
    forwards: Vec<String>,
    /// Options of `-o`, a keyword in lower case and its value.
    options: Vec<(String, String)>,
    /// `-F`.
    file: Option<String>,
    /// The server, as named.
    host: Option<String>,
    /// `-g`: for other machines too.
    is_open: bool,
    /// It does something else than to log in.
    is_other: bool,
}

/// What an ssh with a dynamic forward is; `None` for one without, or when that cannot be decided.
pub fn forwarder(subject: &Subject<'_>) -> Option<Forwarder> {
    let command = command_line(subject.arguments());
    let host = command.host.as_deref()?;
    if command.is_other || host.len() > MAX_HOST {
        return None;
    }
    let mut found = Found::default();
    for value in &command.forwards {
        found.add("command-line", &format!("-D {value}"), value);
    }
    for (key, value) in &command.options {
        found.option("command-line", &format!("-o {key}={value}"), key, value);
    }
    for (path, folder) in files(subject, command.file.as_deref()) {
        // What cannot be read adds nothing: this ssh is then no proxy as far as is known.
        let mut active = true;
        read(
            subject.view,
            &path,
            &folder,
            host,
            0,
            &mut active,
            &mut found,
        );
    }
    if found.forwards.is_empty() || found.clears == Some(true) {
        return None;
    }
    let on: Vec<String> = found
        .forwards
        .iter()
        .map(|forward| listens_on(&forward.value, command.is_open))
        .collect();
    let mut forwarder = Forwarder::new(format!("ssh -D, a SOCKS proxy on {}", on.join(", ")));
    for forward in found.forwards {
        forwarder = forwarder.and(forward.source, forward.detail);
    }
    Some(forwarder.and(
        "ssh",
        format!("names given to it are resolved on the side of {host}; it looks up that name only, for itself"),
    ))
}

fn command_line(arguments: &[String]) -> Command {
    let mut command = Command::default();
    let mut arguments = arguments.iter();
    let mut options_end = false;
    while let Some(argument) = arguments.next() {
        let cluster = match argument.strip_prefix('-') {
            Some(cluster) if !options_end && !cluster.is_empty() => cluster,
            // The first word is the server, after which options may go on; the second begins the remote command.
            _ if command.host.is_none() => {
                command.host = Some(server(argument));
                continue;
            }
            _ => break,
        };
        if cluster == "-" {
            options_end = true;
            continue;
        }
        let (flags, option) = apart(cluster, WITH_VALUE, &mut arguments);
        command.is_open |= flags.contains('g');
        command.is_other |= flags.contains(['G', 'V']);
        match option {
            Some(('D', value)) => command.forwards.push(value.to_owned()),
            Some(('F', value)) => command.file = Some(value.to_owned()),
            Some(('o', value)) => command.options.extend(keyword(value)),
            // Asks a running ssh, lists what it knows, or is a pipe: -W clears all forwards.
            Some(('O' | 'Q' | 'W', _)) => command.is_other = true,
            _ => {}
        }
    }
    command
}

/// The host of `[user@]host` or `ssh://[user@]host[:port]`.
fn server(written: &str) -> String {
    let (host, is_uri) = match written.strip_prefix("ssh://") {
        Some(rest) => (rest.split('/').next().unwrap_or(rest), true),
        None => (written, false),
    };
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = match host.split_once(':') {
        Some((host, _)) if is_uri => host,
        _ => host,
    };
    host.to_ascii_lowercase()
}

/// A keyword in lower case and its value: between them whitespace or one equals sign.
fn keyword(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    let end = line.find(|c: char| c.is_whitespace() || c == '=')?;
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let value = rest.strip_prefix('=').unwrap_or(rest).trim();
    let is_comment = key.starts_with('#') || key.is_empty();
    (!is_comment).then(|| (key.to_ascii_lowercase(), value.to_owned()))
}

/// A forward, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Forward {
    source: &'static str,
    detail: String,
    value: String,
}

/// What was found about forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Found {
    forwards: Vec<Forward>,
    /// `ClearAllForwardings`: the first that is found counts.
    clears: Option<bool>,
    /// Files that were read.
    files: usize,
    /// Patterns for files that were followed.
    patterns: usize,
}

impl Found {
    fn add(&mut self, source: &'static str, detail: &str, value: &str) {
        if self.forwards.len() < MAX_FORWARDS && !value.is_empty() {
            self.forwards.push(Forward {
                source,
                detail: detail.to_owned(),
                value: value.to_owned(),
            });
        }
    }

    fn option(&mut self, source: &'static str, detail: &str, key: &str, value: &str) {
        let value = value.trim_matches('"');
        match key {
            "dynamicforward" => self.add(source, detail, value),
            "clearallforwardings" => {
                self.clears.get_or_insert(value.eq_ignore_ascii_case("yes"));
            }
            _ => {}
        }
    }
}

/// The configuration files, and the folders from which their relative includes go. ssh goes by the home folder in
/// /etc/passwd, whatever `HOME` says.
fn files(subject: &Subject<'_>, file: Option<&str>) -> Vec<(String, String)> {
    let home = home(subject);
    let of_user = home.as_ref().map(|home| format!("{home}/.ssh"));
    match file {
        Some(file) if file.eq_ignore_ascii_case("none") => Vec::new(),
        Some(file) => subject
            .view
            .absolute(file)
            .map(|path| (path, of_user.unwrap_or_default()))
            .into_iter()
            .collect(),
        None => of_user
            .map(|folder| (format!("{folder}/config"), folder))
            .into_iter()
            .chain([("/etc/ssh/ssh_config".to_owned(), "/etc/ssh".to_owned())])
            .collect(),
    }
}

fn home(subject: &Subject<'_>) -> Option<String> {
    let uid = subject.process.uid?;
    let passwd = subject.view.text("/etc/passwd").ok()??;
    let user = accounts(&passwd).find(|account| account.uid == uid)?;
    Some(user.home_folder().to_owned())
}

/// Reads a file and those that it includes; `active` says whether the block that a line stands in is for this host.
fn read(
    view: &View,
    path: &str,
    folder: &str,
    host: &str,
    depth: usize,
    active: &mut bool,
    found: &mut Found,
) {
    found.files += 1;
    if found.files > MAX_FILES {
        return;
    }
    let Ok(Some(text)) = view.text(path) else {
        return;
    };
    for (key, value) in text.lines().filter_map(keyword) {
        match key.as_str() {
            "host" => *active = is_for(&value, host),
            // Other criteria cannot be decided from here.
            "match" => *active = value.eq_ignore_ascii_case("all"),
            "include" if *active && depth < MAX_DEPTH => {
                for pattern in value.split_whitespace() {
                    // A pattern costs a look at a folder, whether it covers a file or not.
                    found.patterns += 1;
                    if found.patterns > MAX_FILES {
                        return;
                    }
                    for path in included(view, pattern.trim_matches('"'), folder) {
                        // A block that begins in an included file ends with it.
                        let mut active = true;
                        read(view, &path, folder, host, depth + 1, &mut active, found);
                    }
                }
            }
            key if *active => {
                found.option("ssh_config", &format!("{path}: {key} {value}"), key, &value);
            }
            _ => {}
        }
    }
}

/// Whether a list of patterns is for a host: one has to match, and none with a `!` may.
fn is_for(patterns: &str, host: &str) -> bool {
    let mut is = false;
    for pattern in patterns.split_whitespace() {
        let pattern = pattern.trim_matches('"').to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(pattern, host) => return false,
            Some(_) => {}
            None => is |= glob(&pattern, host),
        }
    }
    is
}

/// The files that a pattern of `Include` covers, which may have stars in its last part.
fn included(view: &View, pattern: &str, folder: &str) -> Vec<String> {
    let path = if pattern.starts_with('/') {
        pattern.to_owned()
    } else if let Some(rest) = pattern.strip_prefix("~/") {
        // `folder` is ~/.ssh for the user's own file.
        format!("{}/{rest}", folder.trim_end_matches("/.ssh"))
    } else {
        format!("{folder}/{pattern}")
    };
    match path.rsplit_once('/') {
        Some((folder, pattern)) if pattern.contains(['*', '?']) => view
            .list(folder)
            .unwrap_or_default()
            .into_iter()
            .filter(|name| !name.starts_with('.') && glob(pattern, name))
            .map(|name| format!("{folder}/{name}"))
            .collect(),
        _ => vec![path],
    }
}

/// Where a forward listens: `[bind_address:]port`, on this machine alone unless something else is said.
fn listens_on(value: &str, is_open: bool) -> String {
    match value.rsplit_once([':', '/']) {
        Some(("" | "*", port)) => format!("*:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        Some((address, port)) => format!("{address}:{port}"),
        None if is_open => format!("*:{value}"),
        None => format!("127.0.0.1:{value}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::posture::{Route, testing::Scene};

    /// The role of an ssh with these arguments, on a disk with these files.
    fn role(arguments: &[&str], files: &[(&str, &str)]) -> Option<String> {
        let posture = Scene::new("/usr/bin/ssh")
            .uid(1000)
            .args(arguments)
            .variable("HOME", "/elsewhere")
            .file("/etc/passwd", "me:x:1000:1000::/home/me:/bin/sh\n")
            .files(files)
            .ask(super::super::posture)?;
        assert_eq!(posture.route, Route::Untold);
        posture.role
    }

    fn at(place: &str) -> Option<String> {
        Some(format!("ssh -D, a SOCKS proxy on {place}"))
    }

    #[test]
    fn command_lines() {
        for (arguments, expected) in [
            (&["-D", "1080", "host"][..], at("127.0.0.1:1080")),
            (&["-D1080", "me@host"], at("127.0.0.1:1080")),
            (&["-fNCqD", "1080", "host"], at("127.0.0.1:1080")),
            (&["-NfD1080", "ssh://me@host:22"], at("127.0.0.1:1080")),
            (&["host", "-ND", "*:1"], at("*:1")),
            (&["-gND", "1", "host"], at("*:1")),
            (
                &["-D", "[::1]:1", "-D", "localhost:2", "host"],
                at("[::1]:1, 127.0.0.1:2"),
            ),
            (&["-o", "DynamicForward=1", "host"], at("127.0.0.1:1")),
            (&["-oDynamicForward 1", "host"], at("127.0.0.1:1")),
            (&["-p", "22", "host"], None),
            (&["-L", "-D1", "host"], None),
            (&["host", "curl", "-D", "1"], None),
            (&["host", "--", "-D", "1"], None),
            (&["-O", "forward", "-D", "1", "host"], None),
            (&["-W", "a:1", "-D", "1", "host"], None),
            (&["-o", "ClearAllForwardings=yes", "-D", "1", "host"], None),
            (&["-D", "1"], None),
            (&["-D"], None),
            (&["-", "\u{fffd}"], None),
            (&[], None),
        ] {
            assert_eq!(role(arguments, &[]), expected, "{arguments:?}");
        }
    }

    #[test]
    fn configuration_files() {
        let of = |text| role(&["Work.example"], &[("/home/me/.ssh/config", text)]);
        for (text, expected) in [
            ("DynamicForward 1", at("127.0.0.1:1")),
            ("dynamicforward = 1", at("127.0.0.1:1")),
            (
                "Host work.*\n  DynamicForward 127.0.0.2:1",
                at("127.0.0.2:1"),
            ),
            ("Host * !work.example\n  DynamicForward 1", None),
            (
                "Host other\n  DynamicForward 1\nHost *\n#DynamicForward 2\n",
                None,
            ),
            ("Match host work.example\n  DynamicForward 1", None),
            ("Match all\n  DynamicForward 1", at("127.0.0.1:1")),
            (
                "Host work.example\nClearAllForwardings yes\nHost *\nDynamicForward 1",
                None,
            ),
            ("Include x/*.conf", at("127.0.0.1:9")),
            ("Host other\nInclude x/*.conf", None),
            ("Include config", None),
            (
                "Include config config\nDynamicForward 1",
                at(&["127.0.0.1:1"; 16].join(", ")),
            ),
        ] {
            let files = [
                ("/home/me/.ssh/config", text),
                (
                    "/home/me/.ssh/x/a.conf",
                    "Host work.example\nDynamicForward 9\n",
                ),
                ("/home/me/.ssh/x/b.off", "DynamicForward 8\n"),
            ];
            assert_eq!(role(&["Work.example"], &files), expected, "{text}");
        }
        assert_eq!(of("DynamicForward"), None);
        let of_machine = [("/etc/ssh/ssh_config", "Host *\nDynamicForward 3")];
        assert_eq!(role(&["host"], &of_machine), at("127.0.0.1:3"));
        assert_eq!(role(&["-F", "none", "host"], &of_machine), None);
        assert_eq!(
            role(&["-F", "/etc/ssh/ssh_config", "host"], &of_machine),
            at("127.0.0.1:3")
        );
    }
}
