//! polipo: an HTTP proxy that can hand requests on to others. It leaves names to each of them.
//!
//! The variables are those of its manual ("Parent proxies"), the path and the order with the command line `main` in
//! main.c, the format `parseConfigLine` in config.c, the default kind of SOCKS socks.c.

use super::Forwarder;
use crate::{
    model::{ProxySetting, Resolves},
    posture::{Fault, Route, Subject, Told, proxy::host_and_port},
};

const SOURCE: &str = "polipo-config";

/// What polipo is, and where it hands requests on to.
pub fn forwarder(subject: &Subject<'_>) -> Forwarder {
    let told = read(subject).unwrap_or_else(|fault| Told::unread(SOURCE, fault));
    Forwarder {
        told: Some(told),
        ..Forwarder::new("polipo, an HTTP proxy")
    }
}

/// A variable: where it is set, and to what.
#[derive(Clone, Debug, Default)]
struct Variables {
    socks: Option<(String, String)>,
    socks_type: Option<String>,
    parent: Option<(String, String)>,
}

impl Variables {
    fn set(&mut self, place: &str, line: &str) {
        let Some((name, value)) = line.split_once('=') else {
            return;
        };
        let value = value.split('#').next().unwrap_or_default();
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        let is_set = !value.is_empty();
        match name.trim() {
            "socksParentProxy" => self.socks = is_set.then(|| (place.to_owned(), value)),
            "parentProxy" => self.parent = is_set.then(|| (place.to_owned(), value)),
            "socksProxyType" => self.socks_type = Some(value),
            _ => {}
        }
    }
}

fn read(subject: &Subject<'_>) -> Result<Told, Fault> {
    let view = subject.view;
    let mut file = None;
    let mut arguments = subject.arguments().iter();
    let mut variables = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-c" => file = arguments.next().cloned(),
            option if option.starts_with('-') => {}
            variable => variables.push(variable),
        }
    }
    let path = match file {
        Some(file) => view.meant(&file)?,
        None => match view.at_home(".polipo") {
            Some(path) if view.exists(&path)? => path,
            _ => "/etc/polipo/config".to_owned(),
        },
    };
    let mut set = Variables::default();
    for line in view.text(&path)?.unwrap_or_default().lines() {
        if !line.trim_start().starts_with('#') {
            set.set(&path, line);
        }
    }
    for variable in variables {
        set.set("command-line", variable);
    }
    Ok(of_variables(&path, &set))
}

fn of_variables(path: &str, set: &Variables) -> Told {
    let told = |key: &str, place: &str, scheme: &str, value: &str| {
        let Some((addr, Some(port))) = host_and_port(value) else {
            return Told::unread(
                SOURCE,
                Fault::malformed(path, format!("{key} is no host and port")),
            );
        };
        let proxy = ProxySetting {
            scheme: scheme.to_owned(),
            addr,
            port,
            resolves: Resolves::Remote,
        };
        let detail = if place == "command-line" {
            format!("{key}={value}")
        } else {
            format!("{place}: {key} = {value}")
        };
        let source = if place == "command-line" {
            place
        } else {
            SOURCE
        };
        Told::new(source, detail, Route::Everything(proxy))
    };
    let parent = set
        .parent
        .as_ref()
        .map(|(place, value)| told("parentProxy", place, "http", value));
    if let Some((place, value)) = &set.socks {
        let scheme = match set.socks_type.as_deref() {
            Some("socks4a") => "socks4a",
            _ => "socks5",
        };
        let mut told = told("socksParentProxy", place, scheme, value);
        // An HTTP proxy is reached through the SOCKS proxy.
        if let Some(parent) = parent {
            told.others.extend(parent.route.proxy().cloned());
            told.evidence.extend(parent.evidence);
        }
        return told;
    }
    parent.unwrap_or_else(|| {
        Told::new(
            SOURCE,
            format!("{path}: hands requests on to no proxy: polipo resolves names for its clients"),
            Route::Direct,
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::posture::{Posture, testing::Scene};

    fn posture(text: &str, arguments: &[&str]) -> Posture {
        Scene::new("/usr/bin/polipo")
            .args(arguments)
            .variable("HOME", "/root")
            .file("etc/polipo/config", text)
            .ask(super::super::posture)
            .unwrap()
    }

    #[test]
    fn upstreams() {
        for (text, arguments, expected) in [
            ("", &[][..], None),
            (
                "socksParentProxy = \"localhost:9050\"\n",
                &[],
                Some("socks5://localhost:9050"),
            ),
            (
                "socksParentProxy = h:1 # x\nsocksProxyType = socks4a\nparentProxy = p:2",
                &[],
                Some("socks4a://h:1"),
            ),
            (
                "parentProxy=p.example:3128",
                &[],
                Some("http://p.example:3128"),
            ),
            ("# socksParentProxy = h:1", &[], None),
            (
                "socksParentProxy = h:1",
                &["-c", "/etc/polipo/config", "socksParentProxy=i:2"],
                Some("socks5://i:2"),
            ),
            ("socksParentProxy = h", &[], None),
            ("socksParentProxy = h:1", &["socksParentProxy="], None),
        ] {
            let posture = posture(text, arguments);
            let proxy = posture.proxy().map(ToString::to_string);
            assert_eq!(proxy.as_deref(), expected, "{text}");
            assert!(posture.leaks.is_empty());
            assert_eq!(posture.role.as_deref(), Some("polipo, an HTTP proxy"));
        }
    }
}
