//! wget: `http_proxy`, `https_proxy` and `ftp_proxy` in lower case, the same in its own files and by `-e`, which win over
//! the environment (seen with 1.21). It knows no SOCKS and no `all_proxy`, and refuses a proxy of any scheme but `http`
//! (src/retr.c, `retrieve_url`).

use super::{SOURCE, read, scheme_of};
use crate::{
    model::{Leak, Resolves},
    posture::{
        Bypass, Fault, Language, Route, Subject, Told, View,
        environment::{self, Reads},
        programs::Understood,
        proxy::Written,
        without_password,
    },
};

/// What places of this kind are called.
const RC: &str = "wgetrc";

/// What wget's own files and `-e` may set (wget(1) and the manual's "Wgetrc Commands").
#[derive(Debug, Default)]
struct Settings {
    /// Kind of address, place, value as evidence, and the value.
    proxies: Vec<(&'static str, &'static str, String, String)>,
    /// Whether proxies are used, with where it says so.
    use_proxy: Option<(bool, &'static str, String)>,
    no_proxy: Option<String>,
}

/// What wget was told, the first counts.
pub fn told(subject: &Subject<'_>) -> Vec<Told> {
    let (view, arguments) = (subject.view, subject.arguments());
    let mut settings = Settings::default();
    let mut fault = None;
    if !arguments.iter().any(|argument| argument == "--no-config") {
        for path in files(view, arguments) {
            match read(view, &path) {
                Ok(text) => text
                    .iter()
                    .flat_map(|text| text.lines())
                    .for_each(|line| settings.command(line, RC, &format!("{path}: "))),
                Err(unreadable) => fault = Some(unreadable),
            }
        }
    }
    settings.options(arguments);
    decide(view, arguments, settings, fault)
}

fn decide(
    view: &View,
    arguments: &[String],
    settings: Settings,
    fault: Option<Fault>,
) -> Vec<Told> {
    let mut all = Vec::new();
    if let Some((false, source, detail)) = &settings.use_proxy {
        all.push(Told::new(source, detail, Route::Direct));
    }
    let is_told_by_option = all
        .iter()
        .any(|told| told.evidence.iter().any(|one| one.source == SOURCE));
    if let Some(fault) = fault.filter(|_| !is_told_by_option) {
        all.insert(0, Told::unread(RC, fault));
    }
    let schemes = schemes(arguments);
    let reads = Reads {
        proxies: &["http_proxy", "https_proxy", "ftp_proxy"],
        no_proxy: &["no_proxy"],
    };
    let kinds: Vec<&str> = if schemes.is_empty() {
        vec!["http", "https"]
    } else {
        schemes.iter().map(String::as_str).collect()
    };
    let mut evidence = Vec::new();
    let understood: Vec<Understood> = kinds
        .iter()
        .map(|kind| {
            let own = settings.proxies.iter().rev().find(|(own, ..)| own == kind);
            if let Some((_, source, detail, value)) = own {
                evidence.push((*source, detail.clone()));
                return understand(value);
            }
            let found = reads.for_scheme(view, kind, understand);
            found.map_or(Understood::Nothing, |found| {
                evidence.push((environment::SOURCE, found.detail));
                found.understood
            })
        })
        .collect();
    let refuses = understood.contains(&Understood::Unclear);
    let mut told = environment::merge(understood);
    // wget follows whatever it is led to.
    let other = match kinds[..] {
        ["http"] => Some("https"),
        ["https"] => Some("http"),
        _ => None,
    };
    let is_unset = |kind: &&str| {
        settings.proxies.iter().all(|(own, ..)| own != kind)
            && reads.for_scheme(view, kind, understand).is_none()
    };
    if let Some(other) = other
        .filter(|_| matches!(told.route, Route::Everything(_)))
        .filter(is_unset)
    {
        told.leaks.push(Leak {
            what: format!(
                "the names of {other} addresses that it is led to: no proxy is set for them"
            ),
            certain: false,
            stop: format!("set {other}_proxy too"),
        });
    }
    told.bypass = match &settings.no_proxy {
        Some(list) => Bypass::new(list, &[','], Language::Suffix),
        None => reads.bypass(view),
    };
    evidence.dedup();
    for (source, detail) in evidence {
        told = told.and(source, detail);
    }
    if refuses {
        told = told.and(
            "wget",
            "wget knows HTTP proxies only, and ends with an error for another",
        );
    }
    if told.evidence.is_empty() {
        all.extend(environment::unread(view));
    } else {
        all.push(told);
    }
    // What people believe to have set is worth a word.
    for name in ["all_proxy", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"] {
        if let Some(value) = view.variable(name) {
            let detail = format!(
                "{}: wget does not read {name}",
                environment::written(name, value)
            );
            all.push(Told::new(environment::SOURCE, detail, Route::Untold));
        }
    }
    all
}

fn understand(value: &str) -> Understood {
    match Written::parse(value) {
        None if value.trim().is_empty() => Understood::Nothing,
        Some(written) if matches!(written.scheme.as_deref(), None | Some("http")) => {
            Understood::Proxy(written.setting("http", 80, Resolves::Remote))
        }
        _ => Understood::Unclear,
    }
}

/// The files in the order in which they are read, later ones count (src/init.c, `initialize`).
fn files(view: &View, arguments: &[String]) -> Vec<String> {
    if let Some(path) = value_of(arguments, "--config") {
        return view.absolute(path).into_iter().collect();
    }
    let system = view.variable("SYSTEM_WGETRC").unwrap_or("/etc/wgetrc");
    let own = match view.variable("WGETRC") {
        Some(path) => view.absolute(path),
        None => view.at_home(".wgetrc"),
    };
    std::iter::once(system.to_owned()).chain(own).collect()
}

/// The value of `--name=value` or `--name value`; the last counts.
fn value_of<'a>(arguments: &'a [String], name: &str) -> Option<&'a str> {
    let mut found = None;
    for (at, argument) in arguments.iter().enumerate() {
        if argument == name {
            found = arguments.get(at + 1).map(String::as_str);
        } else if let Some(value) = argument
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='))
        {
            found = Some(value);
        }
    }
    found
}

/// The schemes of the addresses on the command line. One without a scheme is HTTP (src/url.c, `rewrite_shorthand_url`), but
/// may be the value of an option as well.
fn schemes(arguments: &[String]) -> Vec<String> {
    let from_file = arguments
        .iter()
        .any(|argument| argument.starts_with("-i") || argument.starts_with("--input-file"));
    let mut schemes: Vec<String> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-') && !argument.contains("_proxy"))
        .filter_map(|argument| scheme_of(argument))
        .collect();
    if from_file {
        schemes.clear();
    }
    schemes.sort();
    schemes.dedup();
    schemes
}

impl Settings {
    /// A line of a file, or the value of `-e`: case, `-` and `_` of the name do not count.
    fn command(&mut self, line: &str, source: &'static str, place: &str) {
        let Some((name, value)) = line.split_once('=') else {
            return;
        };
        let (written, value) = (name.trim(), value.trim());
        if written.starts_with('#') {
            return;
        }
        let name: String = written
            .chars()
            .filter(|c| !matches!(c, '-' | '_'))
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let detail = without_password(&format!("{place}{written} = {value}"));
        let kind = match name.as_str() {
            "httpproxy" => "http",
            "httpsproxy" => "https",
            "ftpproxy" => "ftp",
            "noproxy" => {
                self.no_proxy = Some(value.to_owned());
                return;
            }
            "useproxy" => {
                let is_on = !matches!(value.to_ascii_lowercase().as_str(), "off" | "no" | "0");
                self.use_proxy = Some((is_on, source, detail));
                return;
            }
            _ => return,
        };
        self.proxies.push((kind, source, detail, value.to_owned()));
    }

    fn options(&mut self, arguments: &[String]) {
        for (at, argument) in arguments.iter().enumerate() {
            let next = arguments.get(at + 1).map_or("", String::as_str);
            let mut switch = |is_on| self.use_proxy = Some((is_on, SOURCE, argument.clone()));
            match argument.as_str() {
                "--" => break,
                "--no-proxy" | "--proxy=off" | "--proxy=no" | "-Y0" | "-Yoff" => switch(false),
                "--proxy" | "--proxy=on" | "--proxy=yes" => switch(true),
                "-Y" => switch(!matches!(next, "off" | "no" | "0")),
                "-e" | "--execute" => self.command(next, SOURCE, "-e "),
                _ => {
                    let command = argument
                        .strip_prefix("--execute=")
                        .or_else(|| argument.strip_prefix("-e"));
                    if let Some(command) = command {
                        self.command(command, SOURCE, "-e ");
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{Posture, testing::Scene};

    fn posture(arguments: &[&str], variables: &[(&str, &str)], rc: &str) -> Posture {
        Scene::new("/usr/bin/wget")
            .args(arguments)
            .variable("HOME", "/h")
            .variables(variables)
            .file("h/.wgetrc", rc)
            .posture(told)
    }

    const URL: &str = "http://page.example/";

    #[test]
    fn places() {
        let env = [("http_proxy", "http://env:1")];
        assert_eq!(posture(&[URL], &env, "").proxy().unwrap().addr, "env");
        let rc = "# x\nHTTP-Proxy = u:p@rc:3\n";
        let both = posture(&[URL], &env, rc);
        assert_eq!(both.proxy().unwrap().to_string(), "http://rc:3");
        assert_eq!(both.resolves(), Resolves::Remote);
        let option = posture(&["-e", "http_proxy=opt:1", URL], &env, rc);
        assert_eq!(option.proxy().unwrap().addr, "opt");
        assert_eq!(posture(&["--no-proxy", URL], &env, rc).route, Route::Direct);
        assert_eq!(
            posture(&[URL], &env, "use_proxy = off\n").route,
            Route::Direct
        );
        assert_eq!(
            posture(&["--proxy", URL], &env, "use_proxy = off\n")
                .proxy()
                .unwrap()
                .addr,
            "env"
        );
        assert_eq!(
            posture(&["--no-config", URL], &env, rc)
                .proxy()
                .unwrap()
                .addr,
            "env"
        );
        assert!(posture(&[URL], &[], "").is_empty());
    }

    #[test]
    fn what_wget_does_not_know() {
        let all = posture(&[URL], &[("all_proxy", "socks5://h:1")], "");
        assert_eq!(all.route, Route::Untold);
        assert!(all.overruled[0].detail.contains("does not read"), "{all:?}");
        let socks = posture(&[URL], &[("http_proxy", "socks5://h:1")], "");
        assert_eq!(socks.resolves(), Resolves::Unknown);
        let https = posture(&["https://page.example/"], &[("http_proxy", "h:1")], "");
        assert_eq!(https.proxy(), None);
        let some = posture(&["-i", "list"], &[("http_proxy", "h:1")], "");
        assert_eq!(some.resolves(), Resolves::Depends);
    }
}
