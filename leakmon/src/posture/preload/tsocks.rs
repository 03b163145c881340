//! tsocks: takes TCP connections to addresses, and no lookup.
//!
//! The format is tsocks.conf(5), in the points that it leaves open what validateconf(1) of 1.8beta5 says.

use super::{Fault, Route, Told, View, file_of_variable};
use crate::{
    model::{ProxySetting, Resolves},
    posture::{Bypass, Language},
};

const SOURCE: &str = "tsocks.conf";
const DEFAULT_FILE: &str = "/etc/tsocks.conf";

/// A server, by default or for some networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Server {
    host: Option<String>,
    port: Option<u16>,
    version: Option<u8>,
}

impl Server {
    fn setting(&self) -> Option<ProxySetting> {
        Some(ProxySetting {
            scheme: match self.version {
                Some(5) => "socks5",
                _ => "socks4",
            }
            .to_owned(),
            addr: self.host.clone()?,
            port: self.port.unwrap_or(1080),
            resolves: Resolves::Local,
        })
    }
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct File {
    server: Server,
    paths: Vec<Server>,
    direct: Vec<String>,
    /// Go direct where there is no server.
    fallback: bool,
}

/// What tsocks was told.
pub fn told(view: &View) -> Told {
    read(view).unwrap_or_else(|fault| Told::unread(SOURCE, fault))
}

fn read(view: &View) -> Result<Told, Fault> {
    let (path, text) = match view.variable("TSOCKS_CONF_FILE") {
        Some(written) => file_of_variable(view, written)?,
        None => match view.at_home(".tsocks.conf") {
            Some(path) if view.exists(&path)? => {
                let text = view.text(&path)?;
                (path, text)
            }
            _ => (DEFAULT_FILE.to_owned(), view.text(DEFAULT_FILE)?),
        },
    };
    Ok(match text {
        Some(text) => of_file(&path, &parse(&text)),
        None => Told::new(
            SOURCE,
            format!("{path}: there is none, so that tsocks takes no connection"),
            Route::Direct,
        ),
    })
}

fn of_file(path: &str, file: &File) -> Told {
    let others: Vec<ProxySetting> = file.paths.iter().filter_map(Server::setting).collect();
    let server = file.server.setting();
    let written = match &server {
        Some(server) => format!(
            "{path}: server = {}, server_port = {}, server_type = {}",
            server.addr,
            server.port,
            server.scheme.trim_start_matches("socks")
        ),
        None => format!("{path}: says no server for all addresses"),
    };
    let mut told = Told::new(SOURCE, written, Route::Untold);
    told.route = match (server, others.first()) {
        (Some(server), _) => Route::Everything(server),
        (None, Some(other)) => Route::Some(Some(other.clone())),
        (None, None) if file.fallback => Route::Direct,
        // Connections fail.
        (None, None) => Route::Unknown(None),
    };
    if !others.is_empty() {
        told = told.and(
            SOURCE,
            format!("{path}: {} path blocks, for some networks", others.len()),
        );
    }
    if told.route.proxy().is_some() {
        told = told.and(
            "tsocks",
            "tsocks takes connections to addresses: the C library resolves names",
        );
        told.advice = Some(
            "start it with torsocks, or with proxychains4 and proxy_dns, in the place of tsocks, which cannot leave names to the proxy".to_owned(),
        );
    }
    Told {
        others,
        bypass: Bypass {
            rules: file.direct.clone(),
            language: Language::Suffix,
        },
        ..told
    }
}

/// A line is words: `key = value`, the equals sign a word of its own. What is written twice counts the first time.
fn parse(text: &str) -> File {
    let mut file = File::default();
    let mut in_path = false;
    for line in text.split_inclusive('\n') {
        // The last character goes, be it the end of the line or not.
        let mut characters = line.chars();
        characters.next_back();
        let words: Vec<&str> = characters
            .as_str()
            .split([' ', '\t'])
            .filter(|word| !word.is_empty())
            .take_while(|word| !word.starts_with('#'))
            .collect();
        match words.as_slice() {
            ["path", "{"] => {
                in_path = true;
                file.paths.push(Server::default());
            }
            ["}"] => in_path = false,
            ["local", "=", network] if !in_path => file.direct.push((*network).to_owned()),
            ["fallback", "=", value] => file.fallback = *value == "yes",
            [key, "=", value] => {
                let server = match file.paths.last_mut() {
                    Some(server) if in_path => server,
                    _ => &mut file.server,
                };
                match *key {
                    "server" => {
                        server.host.get_or_insert_with(|| (*value).to_owned());
                    }
                    "server_port" => server.port = server.port.or(value.parse().ok()),
                    "server_type" => {
                        let version = value
                            .parse()
                            .ok()
                            .filter(|version| [4, 5].contains(version));
                        server.version = server.version.or(version);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{Posture, testing::Scene};

    /// The file of Debian's tsocks 1.8beta5, without its comments.
    const DEBIAN: &str = "local = 192.168.0.0/255.255.255.0\nlocal = 10.0.0.0/255.0.0.0\n\npath {\n\treaches = 150.0.0.0/255.255.0.0\n\treaches = 150.1.0.0:80/255.255.0.0\n\tserver = 10.1.7.25\n\tserver_type = 5\n\tdefault_user = delius\n\tdefault_pass = hello\n}\n\nserver = 192.168.0.1\nserver_type = 5\nserver_port = 1080 \n";

    fn of(text: &str) -> Posture {
        Posture::combine([of_file("/etc/tsocks.conf", &parse(text))])
    }

    #[test]
    fn files() {
        for (text, expected) in [
            (DEBIAN, Some("socks5://192.168.0.1:1080")),
            ("server = 1.2.3.4\n", Some("socks4://1.2.3.4:1080")),
            ("server=1.2.3.4\n", None),
            ("Server = 1.2.3.4\n", None),
            (
                "server = 1.2.3.4\nserver = 5.6.7.8\nserver_port = 99\nserver_port = 100\n",
                Some("socks4://1.2.3.4:99"),
            ),
            (
                "server = s.example # x\nserver_type = 6\n",
                Some("socks4://s.example:1080"),
            ),
            (
                "server = 1.2.3.4\nserver_type = 5",
                Some("socks4://1.2.3.4:1080"),
            ),
            ("", None),
        ] {
            let posture = of(text);
            let proxy = posture.proxy().map(ToString::to_string);
            assert_eq!(proxy.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn every_name_leaks() {
        let posture = of(DEBIAN);
        assert_eq!(posture.resolves(), Resolves::Local);
        assert!(posture.leaks[0].certain);
        assert_eq!(posture.others[0].to_string(), "socks5://10.1.7.25:1080");
        assert_eq!(posture.bypass.rules.len(), 2);
        assert!(!format!("{posture:?}").contains("hello"));
    }

    #[test]
    fn without_a_server() {
        assert_eq!(of("fallback = yes\n").route, Route::Direct);
        assert_eq!(
            of("local = 10.0.0.0/255.0.0.0\n").route,
            Route::Unknown(None)
        );
        let some = of("path {\nserver = 1.2.3.4\n}\n");
        assert_eq!(some.resolves(), Resolves::Depends);
        assert!(!some.leaks[0].certain);
    }

    #[test]
    fn which_file_wins() {
        let scene = Scene::new("/bin/program");
        let host = |variables: &[(&str, &str)]| told(&scene.view().with(variables, &[])).route;
        let home = ("HOME", "/home/me");
        assert_eq!(host(&[home]), Route::Direct);
        for (path, port) in [
            ("etc/tsocks.conf", 1),
            ("home/me/.tsocks.conf", 2),
            ("x", 3),
        ] {
            scene.write(path, format!("server = 1.2.3.4\nserver_port = {port}\n"));
            let route = host(&[home]);
            assert_eq!(route.proxy().unwrap().port, port.min(2));
        }
        let named = host(&[home, ("TSOCKS_CONF_FILE", "/x")]);
        assert_eq!(named.proxy().unwrap().port, 3);
        assert_eq!(host(&[home, ("TSOCKS_CONF_FILE", "/y")]), Route::Direct);
        assert_eq!(
            host(&[home, ("TSOCKS_CONF_FILE", "y")]),
            Route::Unknown(None)
        );
    }

    #[test]
    fn hostile_files() {
        for text in [
            "path {",
            "}\n}\n",
            "path {\npath {\nserver = \n",
            "\0\u{fffd} = \u{fffd}\n",
        ] {
            let _ = of(text);
        }
    }
}
