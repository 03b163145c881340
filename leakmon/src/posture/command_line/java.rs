//! Java: system properties of the command line, of the variables that stand beside it, and of `net.properties` (java.net,
//! "Networking properties").
//!
//! Of several the last counts, in the order `JAVA_TOOL_OPTIONS`, `JDK_JAVA_OPTIONS`, the command line, `_JAVA_OPTIONS` (seen
//! with 17).

use super::{SOURCE, read};
use crate::{
    model::{ProxySetting, Resolves},
    posture::{Bypass, Fault, Language, Route, Subject, Told, View, environment, without_password},
};

/// The file of defaults.
const FILE: &str = "net.properties";

/// The properties that are about proxies (sun.net.spi.DefaultProxySelector).
const PROPERTIES: [&str; 13] = [
    "socksProxyHost",
    "socksProxyPort",
    "socksProxyVersion",
    "socksNonProxyHosts",
    "http.proxyHost",
    "http.proxyPort",
    "http.nonProxyHosts",
    "https.proxyHost",
    "https.proxyPort",
    "proxyHost",
    "proxyPort",
    "java.net.useSystemProxies",
    "ftp.proxyHost",
];

/// A property, and where it is set.
#[derive(Clone, Debug)]
struct Property {
    name: &'static str,
    value: String,
    source: &'static str,
    detail: String,
}

/// What Java was told, the first counts.
pub fn told(subject: &Subject<'_>) -> Vec<Told> {
    let view = subject.view;
    let mut properties = Vec::new();
    let mut fault = None;
    match file(subject) {
        Ok(own) => properties.extend(own),
        Err(unreadable) => fault = Some(unreadable),
    }
    properties.extend(of_variable(view, "JAVA_TOOL_OPTIONS"));
    properties.extend(of_variable(view, "JDK_JAVA_OPTIONS"));
    let mut doubt = None;
    properties.extend(of_command_line(view, subject.arguments(), &mut doubt));
    properties.extend(of_variable(view, "_JAVA_OPTIONS"));
    let mut all = decide(&properties);
    if all.is_empty() {
        all.extend(fault.map(|fault| Told::unread(FILE, fault)));
        all.extend(environment::unread(view));
    }
    // What it says counts instead of what stands before it.
    all.splice(0..0, doubt.map(|fault| Told::unread(SOURCE, fault)));
    all
}

fn decide(properties: &[Property]) -> Vec<Told> {
    let last = |name: &str| properties.iter().rev().find(|one| one.name == name);
    let value = |name: &str| {
        last(name)
            .map(|one| one.value.as_str())
            .filter(|value| !value.is_empty())
    };
    let port = |name: &str, default| value(name).map_or(Some(default), |port| port.parse().ok());
    let mut evidence: Vec<&Property> = Vec::new();
    let mut note = |name: &str| evidence.extend(last(name));

    let http = value("http.proxyHost").or_else(|| value("proxyHost"));
    let http = http.and_then(|host| {
        note(if value("http.proxyHost").is_some() {
            "http.proxyHost"
        } else {
            "proxyHost"
        });
        let port = port("http.proxyPort", port("proxyPort", 80)?)?;
        Some(setting("http", host, port, Resolves::Remote))
    });
    let https = value("https.proxyHost").and_then(|host| {
        note("https.proxyHost");
        Some(setting(
            "http",
            host,
            port("https.proxyPort", 443)?,
            Resolves::Remote,
        ))
    });
    let socks = value("socksProxyHost").and_then(|host| {
        note("socksProxyHost");
        let scheme = if value("socksProxyVersion") == Some("4") {
            note("socksProxyVersion");
            "socks4"
        } else {
            "socks5"
        };
        Some(setting(
            scheme,
            host,
            port("socksProxyPort", 1080)?,
            Resolves::Local,
        ))
    });
    // Without the quotes of a shell it may still be a list of one: `a|b`.
    let not = value("http.nonProxyHosts").unwrap_or("localhost|127.*|[::1]");
    let bypass = Bypass::new(not, &['|'], Language::Java);
    let by_desktop = value("java.net.useSystemProxies") == Some("true");
    if by_desktop {
        note("java.net.useSystemProxies");
    }
    let (route, others) = match (socks.clone(), http.or(https)) {
        // What HTTP has of its own is not for other connections.
        (Some(socks), Some(web)) => (Route::Some(Some(socks)), vec![web]),
        (Some(socks), None) => (Route::Everything(socks), Vec::new()),
        (None, Some(web)) => (Route::Some(Some(web)), Vec::new()),
        (None, None) if by_desktop => (Route::Unknown(None), Vec::new()),
        (None, None) => return Vec::new(),
    };
    let mut told = Told {
        route,
        others,
        bypass,
        ..Told::default()
    };
    for property in &evidence {
        told = told.and(property.source, property.detail.clone());
    }
    if let Some(socks) = socks {
        told = told.and(
            "java",
            "Java resolves names itself for new Socket(host) and for URLs; java.net.http.HttpClient takes no SOCKS proxy, resolves and goes direct",
        );
        told.advice = Some(format!(
            "start it under torsocks or proxychains4 instead, or give it an HTTP proxy in front of {socks} with -Dhttp.proxyHost and -Dhttps.proxyHost: Java gives a SOCKS proxy no names"
        ));
    } else if told.route.proxy().is_some() {
        told = told.and("java", "for HTTP only: other connections go direct");
    } else {
        told = told.and(
            "java",
            "the desktop's settings count, which are not known for Java",
        );
    }
    let overruled = properties.iter().filter(|one| {
        one.name.ends_with("roxyHost") && evidence.iter().all(|used| used.detail != one.detail)
    });
    std::iter::once(told)
        .chain(overruled.map(|one| Told::new(one.source, one.detail.clone(), Route::Untold)))
        .collect()
}

fn setting(scheme: &str, addr: &str, port: u16, resolves: Resolves) -> ProxySetting {
    ProxySetting {
        scheme: scheme.to_owned(),
        addr: addr.trim_matches(['[', ']']).to_owned(),
        port,
        resolves,
    }
}

/// `-Dname=value`, when it is about proxies.
fn property(option: &str, source: &'static str, place: &str) -> Option<Property> {
    let (name, value) = option.strip_prefix("-D")?.split_once('=')?;
    let name = PROPERTIES.into_iter().find(|known| *known == name)?;
    Some(Property {
        name,
        value: value.trim().to_owned(),
        source,
        detail: without_password(&format!("{place}{option}")),
    })
}

fn of_variable(view: &View, name: &str) -> Vec<Property> {
    let place = format!("{name}: ");
    view.variable(name)
        .map(|value| {
            words(value)
                .iter()
                .filter_map(|option| property(option, environment::SOURCE, &place))
                .collect()
        })
        .unwrap_or_default()
}

/// The options up to the program's class, which are Java's own; `@file` stands for more of them (java(1), "java Command-Line
/// Argument Files").
fn of_command_line(view: &View, arguments: &[String], doubt: &mut Option<Fault>) -> Vec<Property> {
    const WITH_VALUE: [&str; 13] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-exports",
        "--add-opens",
        "--add-reads",
        "--limit-modules",
        "--patch-module",
        "--source",
    ];
    let mut found = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if let Some(path) = argument.strip_prefix('@') {
            let text = match view.absolute(path) {
                Some(path) => read(view, &path),
                None => Ok(None),
            };
            let text = text.unwrap_or_else(|fault| {
                *doubt = Some(fault);
                None
            });
            let place = format!("{path}: ");
            let options = words(text.as_deref().unwrap_or_default());
            found.extend(
                options
                    .iter()
                    .filter_map(|one| property(one, SOURCE, &place)),
            );
        } else if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if argument.starts_with('-') && argument != "-jar" && argument != "-m" {
            found.extend(property(argument, SOURCE, ""));
        } else {
            break;
        }
    }
    found
}

/// The defaults that come with this Java: conf/net.properties beside bin, in Java 8 lib/net.properties.
fn file(subject: &Subject<'_>) -> Result<Vec<Property>, Fault> {
    let folder = subject
        .process
        .exe
        .as_deref()
        .and_then(|exe| exe.strip_suffix("/bin/java"));
    let Some(folder) = folder else {
        return Ok(Vec::new());
    };
    for path in ["conf", "lib"].map(|place| format!("{folder}/{place}/{FILE}")) {
        if let Some(text) = read(subject.view, &path)? {
            let place = format!("{path}: ");
            return Ok(text
                .lines()
                .filter_map(|line| {
                    let (name, value) = line.trim().split_once('=')?;
                    let option = format!("-D{}={}", name.trim(), value.trim());
                    let mut property = property(&option, FILE, "")?;
                    property.detail = without_password(&format!("{place}{}", line.trim()));
                    Some(property)
                })
                .collect());
        }
    }
    Ok(Vec::new())
}

/// Words as in a shell, with single and double quotes.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{
        Posture,
        testing::{Scene, shown},
    };

    fn posture(arguments: &[&str], variables: &[(&str, &str)]) -> Posture {
        let properties =
            "# x\njava.net.useSystemProxies=false\nhttp.nonProxyHosts=localhost|127.*|[::1]\n";
        Scene::new("/j/bin/java")
            .args(arguments)
            .variables(variables)
            .file("j/conf/net.properties", properties)
            .file("a", "-Xmx1g\n-DsocksProxyHost=\"file\"\n")
            .posture(told)
    }

    #[test]
    fn properties() {
        for (arguments, expected) in [
            (&["-DsocksProxyHost=h", "T"][..], "socks5://h:1080 Local"),
            (
                &[
                    "-DsocksProxyHost=h",
                    "-DsocksProxyPort=9",
                    "-DsocksProxyVersion=4",
                    "T",
                ],
                "socks4://h:9 Local",
            ),
            (
                &["-Dhttp.proxyHost=h", "-Dhttp.proxyPort=3", "T"],
                "http://h:3 Depends",
            ),
            (&["-DproxyHost=h", "T"], "http://h:80 Depends"),
            (
                &["-DsocksProxyHost=s", "-Dhttp.proxyHost=h", "T"],
                "socks5://s:1080 Depends",
            ),
            (&["@/a", "T"], "socks5://file:1080 Local"),
            (
                &["-cp", "x", "-DsocksProxyHost=h", "-jar", "x"],
                "socks5://h:1080 Local",
            ),
            (&["-Djava.net.useSystemProxies=true", "T"], " Unknown"),
        ] {
            assert_eq!(shown(&posture(arguments, &[])), expected, "{arguments:?}");
        }
        for arguments in [
            &["T", "-DsocksProxyHost=h"][..],
            &["-jar", "x.jar", "-DsocksProxyHost=h"],
            &["-DsocksProxyHost=", "T"],
            &["-DsocksProxyHost=h", "-DsocksProxyHost=", "T"],
            &[],
        ] {
            let none = posture(arguments, &[]);
            assert_eq!(none.route, Route::Untold, "{arguments:?}");
        }
        assert!(posture(&["T"], &[("all_proxy", "socks5://h")]).is_empty());
        let not = posture(
            &["-DsocksProxyHost=h", "-Dhttp.nonProxyHosts=*.lan|x", "T"],
            &[],
        );
        assert_eq!(not.bypassed_by("printer.lan"), Some("*.lan"));
    }

    #[test]
    fn the_order_of_places() {
        let variables = |names: &[&'static str]| -> Vec<(&'static str, String)> {
            names
                .iter()
                .map(|name| (*name, format!("-Da=\"b c\" -DsocksProxyHost={name}")))
                .collect()
        };
        for (names, arguments, winner) in [
            (&["JAVA_TOOL_OPTIONS"][..], &["T"][..], "JAVA_TOOL_OPTIONS"),
            (
                &["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"],
                &["T"],
                "JDK_JAVA_OPTIONS",
            ),
            (
                &["JDK_JAVA_OPTIONS"],
                &["-DsocksProxyHost=line", "T"],
                "line",
            ),
            (
                &["_JAVA_OPTIONS"],
                &["-DsocksProxyHost=line", "T"],
                "_JAVA_OPTIONS",
            ),
        ] {
            let variables = variables(names);
            let variables: Vec<(&str, &str)> = variables
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let posture = posture(arguments, &variables);
            assert_eq!(posture.proxy().unwrap().addr, winner);
        }
    }
}
