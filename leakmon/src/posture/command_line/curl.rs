//! curl: its command line, its configuration files, its environment (curl(1); src/tool_getparam.c and lib/url.c of 7.88).

use super::{SOURCE, curl_options as options, curl_proxy, leaving_names, read, scheme_of};
use crate::{
    model::{Leak, ProxySetting, Resolves},
    posture::{
        Bypass, Fault, Language, Route, Subject, Told, View,
        environment::{self, Reads},
        programs::Understood,
        without_password,
    },
};

/// What places of this kind are called.
const RC: &str = "curlrc";
/// Most configuration files that one may lead to another.
const MAX_FILES: usize = 10;

/// Most groups of transfers that are looked at.
const MAX_GROUPS: usize = 64;

/// The variables of an address: curl takes HTTP's in lower case only, since a web server passes a header of that name on
/// (lib/url.c, `detect_proxy`).
pub const READS: Reads<'_> = Reads {
    proxies: &[
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "ftp_proxy",
        "FTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ],
    no_proxy: &["no_proxy", "NO_PROXY"],
};

/// A setting, with where it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    /// The option's name.
    option: String,
    value: String,
    source: &'static str,
    detail: String,
}

impl Setting {
    /// What curl makes of it.
    fn understood(&self) -> Understood {
        if self.value.trim().is_empty() {
            return Understood::Nothing;
        }
        // curl 8.3 puts variables in there for `--expand-…`.
        if self.value.contains("{{") {
            return Understood::Unclear;
        }
        let default = match self.option.as_str() {
            "socks4" => "socks4",
            "socks4a" => "socks4a",
            "socks5" => "socks5",
            "socks5-hostname" => "socks5h",
            _ => "http",
        };
        curl_proxy(&self.value, default).map_or(Understood::Unclear, Understood::Proxy)
    }
}

/// The settings of the transfers up to a `--next`.
#[derive(Clone, Debug, Default)]
struct Group {
    /// All that set the proxy; the last counts.
    proxies: Vec<Setting>,
    preproxy: Option<Setting>,
    noproxy: Option<String>,
    addresses: Vec<String>,
    default_scheme: Option<String>,
    follows: bool,
    encrypts_lookups: bool,
}

/// What a command line and the files that it names come to.
#[derive(Debug)]
struct Run<'a> {
    view: &'a View,
    groups: Vec<Group>,
    files: usize,
    fault: Option<Fault>,
    /// There are more groups than are looked at.
    is_cut: bool,
}

/// What curl was told, the first counts.
pub fn told(subject: &Subject<'_>) -> Vec<Told> {
    let (view, arguments) = (subject.view, subject.arguments());
    let mut run = Run {
        view,
        groups: vec![Group::default()],
        files: 0,
        fault: None,
        is_cut: false,
    };
    // Only the very first argument switches the file off.
    let is_off = arguments
        .first()
        .is_some_and(|first| first == "-q" || first == "--disable");
    if !is_off {
        run.own_file();
    }
    for item in options::items(arguments) {
        let detail = format!("{} {}", item.written, item.value.unwrap_or_default());
        run.take(item.name, item.value, SOURCE, &detail);
    }
    run.told()
}

impl Run<'_> {
    /// The first file that is there counts (src/tool_findfile.c).
    fn own_file(&mut self) {
        let view = self.view;
        let in_folder = |name: &str, file: &str| {
            let folder = view.variable(name)?.trim_end_matches('/');
            Some(format!("{folder}/{file}"))
        };
        let config = view.variable("XDG_CONFIG_HOME").is_none();
        let places = [
            in_folder("CURL_HOME", ".curlrc"),
            in_folder("XDG_CONFIG_HOME", "curlrc"),
            in_folder("XDG_CONFIG_HOME", ".curlrc"),
            view.at_home(".curlrc"),
            in_folder("CURL_HOME", ".config/curlrc").filter(|_| config),
            view.at_home(".config/curlrc").filter(|_| config),
        ];
        for path in places.into_iter().flatten() {
            if self.file(&path) {
                return;
            }
        }
    }

    /// Reads a file; false when there is none.
    fn file(&mut self, path: &str) -> bool {
        self.files += 1;
        if self.files > MAX_FILES {
            let fault = Fault::malformed(path, "one file leads to more than are read");
            self.fault.get_or_insert(fault);
            return false;
        }
        match read(self.view, path) {
            Ok(Some(text)) => {
                for line in text.lines() {
                    if let Some((name, value)) = options::of_line(line) {
                        let shown = value.as_deref().unwrap_or_default();
                        let detail = format!("{path}: {name} = {shown}");
                        self.take(&name, value.as_deref(), RC, &detail);
                    }
                }
                true
            }
            Ok(None) => false,
            Err(fault) => {
                self.fault.get_or_insert(fault);
                true
            }
        }
    }

    fn take(&mut self, name: &str, value: Option<&str>, source: &'static str, detail: &str) {
        if name == "next" {
            if self
                .groups
                .last()
                .is_some_and(|group| !group.addresses.is_empty())
            {
                if self.groups.len() < MAX_GROUPS {
                    self.groups.push(Group::default());
                } else {
                    self.is_cut = true;
                }
            }
            return;
        }
        if name == "config" {
            match value {
                // What comes through a pipe cannot be read again.
                Some("-") => {
                    self.fault = Some(Fault::NoFile {
                        path: "curl's configuration on standard input".to_owned(),
                    });
                }
                Some(path) => {
                    if let Some(path) = self.view.absolute(path) {
                        self.file(&path);
                    }
                }
                None => {}
            }
            return;
        }
        let Some(group) = self.groups.last_mut().filter(|_| !self.is_cut) else {
            return;
        };
        let setting = || Setting {
            option: name.to_owned(),
            value: value.unwrap_or_default().to_owned(),
            source,
            detail: hidden(detail),
        };
        match name {
            "proxy" | "proxy1.0" | "socks4" | "socks4a" | "socks5" | "socks5-hostname" => {
                group.proxies.push(setting());
            }
            "preproxy" => group.preproxy = Some(setting()),
            "noproxy" => group.noproxy = value.map(str::to_owned),
            "url" => group.addresses.extend(value.map(str::to_owned)),
            "proto-default" => group.default_scheme = value.map(str::to_owned),
            "location" | "location-trusted" | "follow" => group.follows = true,
            "doh-url" => group.encrypts_lookups = true,
            _ => {}
        }
    }

    fn told(self) -> Vec<Told> {
        let mut understood = Vec::new();
        let mut evidence: Vec<(&'static str, String)> = Vec::new();
        let mut overruled: Vec<(&'static str, String)> = Vec::new();
        let mut leaks = Vec::new();
        let mut bypass = None;
        let mut advice = None;
        let mut rests_on_files = false;
        for group in &self.groups {
            let (last, before) = match group.proxies.split_last() {
                Some((last, before)) => (Some(last), before),
                None => (None, &[][..]),
            };
            overruled.extend(before.iter().map(|one| (one.source, one.detail.clone())));
            rests_on_files |= last.is_none_or(|last| last.source == RC);
            let own = own_route(last, group.preproxy.as_ref());
            let schemes = group.schemes();
            for scheme in &schemes {
                let by_environment = READS.for_scheme(self.view, scheme, |value| {
                    curl_proxy(value, "http").map_or(Understood::Unclear, Understood::Proxy)
                });
                let found = match (&own, by_environment) {
                    (Some(own), by_environment) => {
                        let settings = last.iter().copied().chain(&group.preproxy);
                        evidence.extend(settings.map(|one| (one.source, one.detail.clone())));
                        let lost = by_environment.map(|found| (environment::SOURCE, found.detail));
                        overruled.extend(lost);
                        advice = advice.or_else(|| advice_for(last, own));
                        own.clone()
                    }
                    (None, Some(found)) => {
                        advice = advice.or_else(|| advice_for_variable(&found));
                        evidence.push((environment::SOURCE, found.detail));
                        found.understood
                    }
                    (None, None) => Understood::Nothing,
                };
                let found = if group.encrypts_lookups {
                    doubted(found)
                } else {
                    found
                };
                if own.is_none() && group.follows {
                    leaks.extend(self.led_elsewhere(scheme, &found));
                }
                understood.push(found);
            }
            let list = match &group.noproxy {
                Some(list) => Bypass::new(list, &[',', ' '], Language::Suffix),
                None => READS.bypass(self.view),
            };
            bypass.get_or_insert(list);
        }
        let is_told = !evidence.is_empty();
        let mut told = environment::merge(understood);
        told.bypass = bypass.unwrap_or_default();
        told.advice = advice;
        told.leaks.extend(leaks);
        for (source, detail) in evidence {
            if told.evidence.iter().all(|known| known.detail != detail) {
                told = told.and(source, detail);
            }
        }
        if let Some(meaning) = told.route.proxy().and_then(meaning) {
            told = told.and("curl", meaning);
        }
        let mut all = Vec::new();
        if self.is_cut {
            all.push(Told::unread(
                SOURCE,
                format!("it has more transfers (--next) than the {MAX_GROUPS} that are looked at"),
            ));
        }
        // An unread file could say otherwise, unless the command line comes after it.
        all.extend(
            self.fault
                .filter(|_| rests_on_files)
                .map(|fault| Told::unread(RC, fault)),
        );
        if is_told {
            all.push(told);
        } else {
            all.extend(environment::unread(self.view));
        }
        overruled.dedup();
        all.extend(
            overruled
                .into_iter()
                .map(|(source, detail)| Told::new(source, detail, Route::Untold)),
        );
        all
    }

    /// What an answer that leads to an address of the other kind gives away, when it is followed.
    fn led_elsewhere(&self, scheme: &str, found: &Understood) -> Option<Leak> {
        let other = match scheme {
            "http" => "https",
            "https" => "http",
            _ => return None,
        };
        let proxied = |found: &Understood| matches!(found, Understood::Proxy(_));
        let there = READS.for_scheme(self.view, other, |value| {
            curl_proxy(value, "http").map_or(Understood::Unclear, Understood::Proxy)
        });
        let goes_direct = there.is_none_or(|there| there.understood == Understood::Nothing);
        (proxied(found) && goes_direct).then(|| Leak {
            what: format!("the names of {other} addresses that it is led to: --location is given, and no proxy is set for them"),
            certain: false,
            stop: "set all_proxy instead of the variable for one kind of address".to_owned(),
        })
    }
}

impl Group {
    /// The schemes of its addresses; one without is guessed by the host's name (lib/url.c, `findprotocol`; curl(1), URL).
    fn schemes(&self) -> Vec<String> {
        let default = self.default_scheme.as_deref();
        let mut schemes: Vec<String> = self
            .addresses
            .iter()
            .map(|url| {
                scheme_of(url).unwrap_or_else(|| {
                    let host = url.to_ascii_lowercase();
                    let guess = ["ftp", "dict", "ldap", "imap", "smtp", "pop3"]
                        .into_iter()
                        .find(|name| host.starts_with(&format!("{name}.")));
                    default.or(guess).unwrap_or("http").to_owned()
                })
            })
            .collect();
        schemes.sort();
        schemes.dedup();
        if schemes.is_empty() {
            // Not known which, so both count.
            schemes = vec!["http".to_owned(), "https".to_owned()];
        }
        schemes
    }
}

/// What the options of a group come to; `None` when the environment decides. `--preproxy` is a SOCKS proxy in front of an
/// HTTP one, or the only one (curl(1)).
fn own_route(proxy: Option<&Setting>, preproxy: Option<&Setting>) -> Option<Understood> {
    let proxy = proxy.map(Setting::understood);
    let preproxy = preproxy.map(Setting::understood);
    match (proxy, preproxy) {
        (None | Some(Understood::Nothing), Some(preproxy)) => Some(preproxy),
        (proxy, _) => proxy,
    }
}

/// With `--doh-url` curl's own lookups are encrypted: whether one leaks is not told by the proxy.
fn doubted(found: Understood) -> Understood {
    match found {
        Understood::Proxy(proxy) if proxy.resolves == Resolves::Local => {
            Understood::Proxy(ProxySetting {
                resolves: Resolves::Unknown,
                ..proxy
            })
        }
        found => found,
    }
}

fn meaning(proxy: &ProxySetting) -> Option<&'static str> {
    Some(match (proxy.scheme.as_str(), proxy.resolves) {
        ("socks4", Resolves::Local) => "curl resolves names itself for socks4:// and socks://",
        ("socks5", Resolves::Local) => "curl resolves names itself for socks5:// and --socks5",
        ("socks4a" | "socks5", Resolves::Remote) => {
            "curl leaves names to the proxy for socks4a://, socks5h:// and --socks5-hostname"
        }
        (_, Resolves::Unknown) => "curl resolves names itself, by DNS over HTTPS (--doh-url)",
        _ => return None,
    })
}

fn local(understood: &Understood) -> Option<&ProxySetting> {
    match understood {
        Understood::Proxy(proxy) if proxy.resolves == Resolves::Local => Some(proxy),
        _ => None,
    }
}

fn advice_for(setting: Option<&Setting>, understood: &Understood) -> Option<String> {
    let proxy = local(understood)?;
    let address = leaving_names(proxy);
    let host = address.split_once("://").map_or("", |(_, host)| host);
    Some(match setting.map(|setting| setting.option.as_str()) {
        Some("socks5") => format!("use --socks5-hostname {host} instead of --socks5"),
        Some("socks4") => format!("use --socks4a {host} instead of --socks4"),
        Some(_) => format!("use -x {address}"),
        None => format!("use --preproxy {address}"),
    })
}

fn advice_for_variable(found: &environment::Found) -> Option<String> {
    let proxy = local(&found.understood)?;
    let (name, _) = found.detail.split_once('=')?;
    Some(format!("set {name}={}", leaving_names(proxy)))
}

/// As evidence: also a proxy that is written without a scheme may carry a password.
fn hidden(detail: &str) -> String {
    let shown = without_password(detail.trim_end());
    if shown.contains("://") {
        return shown;
    }
    match (shown.rsplit_once(' '), shown.rsplit_once('@')) {
        (Some((before, _)), Some((_, host))) => format!("{before} …@{host}"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{
        Posture,
        testing::{Scene, shown},
    };

    fn scene(arguments: &[&str], variables: &[(&str, &str)]) -> Scene {
        Scene::new("/usr/bin/curl")
            .args(arguments)
            .variable("HOME", "/h")
            .variables(variables)
            .file("k", "socks4a = k:1\n")
    }

    fn posture_with(arguments: &[&str], variables: &[(&str, &str)], rc: &str) -> Posture {
        scene(arguments, variables)
            .file("h/.curlrc", rc)
            .posture(told)
    }

    fn posture(arguments: &[&str], variables: &[(&str, &str)]) -> Posture {
        scene(arguments, variables).posture(told)
    }

    const URL: &str = "http://page.example/";

    #[test]
    fn options() {
        for (arguments, expected) in [
            (&["--socks5", "h:1", URL][..], "socks5://h:1 Local"),
            (&["--socks5-hostname", "h:1", URL], "socks5://h:1 Remote"),
            (&["-sSxsocks5://h", URL], "socks5://h:1080 Local"),
            (&["-x", "socks5h://h:1", URL], "socks5://h:1 Remote"),
            (&["-x", "socks://h:1", URL], "socks4://h:1 Local"),
            (&["--socks4a", "h:1", URL], "socks4a://h:1 Remote"),
            (&["-x", "h", URL], "http://h:1080 Remote"),
            (&["--proxy1.0", "h", URL], "http://h:1080 Remote"),
            (&["-x", "h", "--socks5", "i", URL], "socks5://i:1080 Local"),
            (&["--socks5", "i", "-x", "h", URL], "http://h:1080 Remote"),
            (&["--socks5", "socks5h://h", URL], "socks5://h:1080 Remote"),
            (&["--preproxy", "socks5://h", URL], "socks5://h:1080 Local"),
            (
                &["--preproxy", "socks5://h", "-x", "p", URL],
                "http://p:1080 Remote",
            ),
            (&["-K", "/k", URL], "socks4a://k:1 Remote"),
            (
                &["--socks5", "a", URL, "--next", "--socks5", "a", URL],
                "socks5://a:1080 Local",
            ),
            (
                &["--socks5", "a", URL, "--next", URL],
                "socks5://a:1080 Depends",
            ),
            (&["-x", "weird://h", URL], " Unknown"),
            (&["--expand-proxy", "{{p}}", URL], " Unknown"),
            (
                &["--socks5", "a", "--doh-url", "https://d/", URL],
                "socks5://a:1080 Unknown",
            ),
        ] {
            assert_eq!(shown(&posture(arguments, &[])), expected, "{arguments:?}");
        }
        assert_eq!(
            posture(&["-x", "", URL], &[("all_proxy", "socks5://h")]).route,
            Route::Direct
        );
        assert!(posture(&[URL], &[]).is_empty());
        assert!(posture(&[], &[]).is_empty());
    }

    #[test]
    fn variables_by_the_kind_of_address() {
        let all = [
            ("all_proxy", "socks5://a:1"),
            ("http_proxy", "socks5h://b:2"),
        ];
        assert_eq!(shown(&posture(&[URL], &all)), "socks5://b:2 Remote");
        assert_eq!(shown(&posture(&["https://p/"], &all)), "socks5://a:1 Local");
        assert_eq!(shown(&posture(&["p"], &all)), "socks5://b:2 Remote");
        assert_eq!(shown(&posture(&["ftp.p"], &all)), "socks5://a:1 Local");
        assert!(posture(&[URL], &[("HTTP_PROXY", "socks5://h")]).is_empty());
        assert!(posture(&[URL], &[("https_proxy", "socks5://h")]).is_empty());
        assert_eq!(
            shown(&posture(&[], &[("http_proxy", "h")])),
            "http://h:1080 Depends"
        );
        let led = posture(&["-L", URL], &[("http_proxy", "socks5h://h")]);
        assert!(led.leaks.iter().any(|leak| !leak.certain), "{led:?}");
        let list = posture(&[URL], &[("all_proxy", "h"), ("NO_PROXY", ".lan, x")]);
        assert_eq!(list.bypass.rules, [".lan", "x"]);
        let none = posture(
            &["--noproxy", "", URL],
            &[("all_proxy", "h"), ("NO_PROXY", "x")],
        );
        assert!(none.bypass.rules.is_empty());
    }

    #[test]
    fn the_file() {
        let rc = "proxy = \"socks5://me:secret@rc:1\"\n";
        let own = posture_with(&[URL], &[("all_proxy", "socks5h://e")], rc);
        assert_eq!(shown(&own), "socks5://rc:1 Local");
        assert_eq!(own.evidence[0].source, "curlrc");
        assert!(!format!("{own:?}").contains("secret"));
        assert_eq!(own.overruled.len(), 1, "{own:?}");
        assert!(posture_with(&["-q", URL], &[], rc).is_empty());
        let option = posture_with(&["-x", "socks5h://o:1", URL], &[], rc);
        assert_eq!(shown(&option), "socks5://o:1 Remote");
        assert_eq!(option.overruled[0].source, "curlrc");
    }

    #[test]
    fn what_to_do() {
        let advice = |arguments: &[&str], variables: &[(&str, &str)]| {
            posture(arguments, variables).advice.unwrap()
        };
        assert_eq!(
            advice(&["--socks5", "h:1", URL], &[]),
            "use --socks5-hostname h:1 instead of --socks5"
        );
        assert_eq!(
            advice(&[URL], &[("all_proxy", "socks5://h:1")]),
            "set all_proxy=socks5h://h:1"
        );
        assert_eq!(
            advice(&["-x", "socks4://h:1", URL], &[]),
            "use -x socks4a://h:1"
        );
        assert!(!hidden("-x me:secret@h:1").contains("secret"));
        assert!(!hidden("--proxy socks5://me:secret@h:1").contains("secret"));
    }

    #[test]
    fn an_unreadable_file_leaves_doubt() {
        let posture = |arguments: &[&str]| scene(arguments, &[]).folder("h/.curlrc").posture(told);
        assert_eq!(posture(&[URL]).resolves(), Resolves::Unknown);
        assert_eq!(
            posture(&["-x", "socks5h://h", URL]).resolves(),
            Resolves::Remote
        );
    }
}
