//! proxychains and proxychains-ng: names are given to the proxy with `proxy_dns` only.
//!
//! Of the source of proxychains-ng 4.16: the order of the files is `get_config_path` in src/common.c, their format
//! `get_chain_data` in src/libproxychains.c, what is done with a name `tunnel_to` in src/core.c.

use super::{Fault, Route, Told, View, file_of_variable, knows};
use crate::{
    model::{Leak, ProxySetting, Resolves},
    posture::{Bypass, Language},
};

const SOURCE: &str = "proxychains.conf";
const VARIABLE: &str = "PROXYCHAINS_CONF_FILE";
const HOST_VARIABLE: &str = "PROXYCHAINS_SOCKS5_HOST";
const PORT_VARIABLE: &str = "PROXYCHAINS_SOCKS5_PORT";

/// Who resolves, as the file has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Dns {
    /// Nothing is said: the C library does.
    #[default]
    Local,
    /// A thread hands out addresses that stand for names.
    Thread,
    /// The script proxyresolv asks a name server through the proxy.
    Script,
    /// proxychains4-daemon hands out addresses that stand for names.
    Daemon,
}

impl Dns {
    fn key(self) -> Option<&'static str> {
        match self {
            Self::Local => None,
            Self::Thread => Some("proxy_dns"),
            Self::Script => Some("proxy_dns_old"),
            Self::Daemon => Some("proxy_dns_daemon"),
        }
    }
}

/// A proxy of the list, without its user and password.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: String,
    host: String,
    port: u16,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct File {
    chain: Option<String>,
    dns: Dns,
    direct: Vec<String>,
    proxies: Vec<Entry>,
}

/// What a proxychains that was loaded from `library` was told.
pub fn told(view: &View, library: &str) -> Told {
    read(view, library).unwrap_or_else(|fault| Told::unread(SOURCE, fault))
}

fn read(view: &View, library: &str) -> Result<Told, Fault> {
    if let Some(told) = of_port_variable(view, library)? {
        return Ok(told);
    }
    let Some((path, text)) = file(view)? else {
        return Ok(Told::unread(
            SOURCE,
            "none of the files in which proxychains looks for its proxies is there any more",
        ));
    };
    let file = parse(&text).map_err(|reason| Fault::malformed(&path, reason))?;
    Ok(of_file(&path, file))
}

/// Some of the older versions take a proxy from the environment.
fn of_port_variable(view: &View, library: &str) -> Result<Option<Told>, Fault> {
    let Some(port) = view.variable(PORT_VARIABLE) else {
        return Ok(None);
    };
    if !knows(view, library, PORT_VARIABLE)? {
        return Ok(None);
    }
    let proxy = ProxySetting {
        scheme: "socks5".to_owned(),
        addr: view
            .variable(HOST_VARIABLE)
            .unwrap_or("127.0.0.1")
            .to_owned(),
        port: port
            .parse()
            .map_err(|_| Fault::malformed("the environment", format!("{PORT_VARIABLE}={port}")))?,
        resolves: Resolves::Unknown,
    };
    Ok(Some(
        Told::new(
            "environment",
            format!("{PORT_VARIABLE}={port}"),
            Route::Unknown(Some(proxy)),
        )
        .and(
            "proxychains",
            "whether this version leaves names to that proxy is not known",
        ),
    ))
}

/// The first of the files that is there.
fn file(view: &View) -> Result<Option<(String, String)>, Fault> {
    if let Some(written) = view.variable(VARIABLE)
        && let (path, Some(text)) = file_of_variable(view, written)?
    {
        return Ok(Some((path, text)));
    }
    let name = "proxychains.conf";
    let places = [
        view.working_folder()
            .map(|folder| format!("{}/{name}", folder.trim_end_matches('/'))),
        view.at_home(&format!(".proxychains/{name}")),
        view.at_home(&format!("config/settings/{name}")),
        Some(format!("/etc/{name}")),
        // Debian's.
        Some("/etc/proxychains4.conf".to_owned()),
    ];
    for path in places.into_iter().flatten() {
        if let Some(text) = view.text(&path)? {
            return Ok(Some((path, text)));
        }
    }
    Ok(None)
}

fn of_file(path: &str, file: File) -> Told {
    let resolves = if file.dns == Dns::Local {
        Resolves::Local
    } else {
        Resolves::Remote
    };
    let setting = |entry: &Entry| ProxySetting {
        scheme: match (entry.kind.as_str(), resolves) {
            // Names are given to a SOCKS4 proxy as SOCKS4a has it.
            ("socks4", Resolves::Remote) => "socks4a".to_owned(),
            (kind, _) => kind.to_owned(),
        },
        addr: entry.host.clone(),
        port: entry.port,
        resolves,
    };
    let raw = file.proxies.iter().any(|entry| entry.kind == "raw");
    let mut proxies = file.proxies.iter().map(setting);
    let Some(first) = proxies.next() else {
        return Told::unread(SOURCE, Fault::malformed(path, "its [ProxyList] is empty"));
    };
    let others: Vec<ProxySetting> = proxies.collect();
    let mut told = Told::new(
        SOURCE,
        format!(
            "{path}: [ProxyList] {} {} {}",
            written(&first),
            first.addr,
            first.port
        ),
        Route::Untold,
    );
    if !others.is_empty() {
        let chain = file.chain.as_deref().unwrap_or("dynamic_chain");
        told = told.and(
            SOURCE,
            format!("{path}: {chain}, with {} more proxies", others.len()),
        );
    }
    if raw {
        told.route = Route::Unknown(None);
        return told.and(
            "proxychains",
            "connections are handed to a proxy of the kind raw as they are: what becomes of them is not known",
        );
    }
    match file.dns.key() {
        Some(key) => {
            told = told.and(SOURCE, format!("{path}: {key}")).and(
                "proxychains",
                "with it proxychains gives names to the proxy; UDP passes it by",
            );
            told.leaks = vec![passed_by()];
        }
        None => {
            told = told.and(
                "proxychains",
                format!("{path} does not say proxy_dns: the C library resolves names"),
            );
            told.advice = Some(format!(
                "write the line proxy_dns into {path}, before [ProxyList], and start the program again"
            ));
        }
    }
    Told {
        route: Route::Everything(first),
        others,
        bypass: Bypass {
            rules: file.direct,
            language: Language::Suffix,
        },
        ..told
    }
}

/// As the list has it.
fn written(proxy: &ProxySetting) -> &str {
    match proxy.scheme.as_str() {
        "socks4a" => "socks4",
        scheme => scheme,
    }
}

/// The functions that src/libproxychains.c replaces are gethostbyname, getaddrinfo, getnameinfo and gethostbyaddr, and
/// `connect` of TCP.
fn passed_by() -> Leak {
    Leak {
        what: "names that it asks a name server for itself, or looks up by gethostbyname2(3), gethostbyname_r(3) or res_query(3): proxychains takes none of these"
            .to_owned(),
        certain: false,
        stop: "let the program reach nothing but the proxy, as in a network namespace of its own"
            .to_owned(),
    }
}

fn parse(text: &str) -> Result<File, String> {
    let mut file = File::default();
    let mut in_list = false;
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if in_list {
            // The password is not to be shown, so the line is not either.
            let entry = entry(line).ok_or("an entry of its [ProxyList] makes no sense")?;
            // One with port 0 is skipped.
            if entry.port != 0 {
                file.proxies.push(entry);
            }
            continue;
        }
        match line {
            "[ProxyList]" => in_list = true,
            "strict_chain" | "dynamic_chain" | "random_chain" | "round_robin_chain" => {
                file.chain = Some(line.to_owned());
            }
            "proxy_dns" => file.dns = Dns::Thread,
            "proxy_dns_old" => file.dns = Dns::Script,
            _ if line.starts_with("proxy_dns_daemon") => file.dns = Dns::Daemon,
            _ if line.starts_with("localnet") => {
                file.direct
                    .extend(line.split_whitespace().nth(1).map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(file)
}

/// `type host port [user password]`, or a URL.
fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split_whitespace();
    let kind = fields.next()?;
    let (kind, host, port) = match (fields.next(), fields.next()) {
        (Some(host), Some(port)) => (kind, host.to_owned(), port.parse().ok()?),
        _ => {
            let (kind, rest) = line.split_once("://")?;
            let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            let (host, port) = rest.split_once(':')?;
            (kind, host.to_owned(), port.parse().ok()?)
        }
    };
    ["http", "raw", "socks4", "socks5"]
        .contains(&kind)
        .then(|| Entry {
            kind: kind.to_owned(),
            host,
            port,
        })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::posture::{Posture, testing::Scene};

    /// The file of Debian's proxychains4 4.16, without most of its comments.
    const DEBIAN: &str = "# proxychains.conf  VER 4.x\n#\n#dynamic_chain\n#\nstrict_chain\n#\n#quiet_mode\n\nproxy_dns\n\n#proxy_dns_old\n#proxy_dns_daemon 127.0.0.1:1053\n\nremote_dns_subnet 224\n\ntcp_read_time_out 15000\ntcp_connect_time_out 8000\n\n# localnet 127.0.0.0/255.0.0.0\n\n#            \tsocks5\t192.168.67.78\t1080\tlamer\tsecret\n[ProxyList]\n# add proxy here ...\nsocks4 \t127.0.0.1 9050\n";

    fn of(text: &str) -> Posture {
        let scene = Scene::new("/bin/program").file("etc/proxychains4.conf", text);
        let view = scene.view();
        Posture::combine([told(&view, "/lib.so")])
    }

    fn proxy(text: &str) -> Option<String> {
        let posture = of(text);
        posture
            .proxy()
            .map(|proxy| format!("{proxy} {:?}", proxy.resolves))
    }

    #[test]
    fn files() {
        let list = "[ProxyList]\nsocks5 10.0.0.1 1080\n";
        for (text, expected) in [
            (DEBIAN.to_owned(), Some("socks4a://127.0.0.1:9050 Remote")),
            (
                DEBIAN.replace("\nproxy_dns\n", "\n#proxy_dns\n"),
                Some("socks4://127.0.0.1:9050 Local"),
            ),
            (
                format!(" proxy_dns \n{list}"),
                Some("socks5://10.0.0.1:1080 Remote"),
            ),
            (
                format!("proxy_dns x\n{list}"),
                Some("socks5://10.0.0.1:1080 Local"),
            ),
            (
                format!("proxy_dns_old\n{list}"),
                Some("socks5://10.0.0.1:1080 Remote"),
            ),
            (
                format!("proxy_dns_daemon 127.0.0.1:1053\n{list}"),
                Some("socks5://10.0.0.1:1080 Remote"),
            ),
            (
                "[ProxyList]\nhttp://u:p@10.0.0.2:8080\n".to_owned(),
                Some("http://10.0.0.2:8080 Local"),
            ),
            (
                "[ProxyList]\nsocks5 10.0.0.1 0\nhttp 10.0.0.2 3128 u p".to_owned(),
                Some("http://10.0.0.2:3128 Local"),
            ),
            (
                "[ProxyList]\nsocks5 2001:db8::1 1\n".to_owned(),
                Some("socks5://[2001:db8::1]:1 Local"),
            ),
            (format!("{list}proxy_dns\n"), None),
            ("[ProxyList]\n".to_owned(), None),
            ("[ProxyList]\nraw 10.0.0.1 1\n".to_owned(), None),
            ("[proxylist]\nsocks5 10.0.0.1 1\n".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(proxy(&text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn without_proxy_dns_every_name_leaks() {
        let posture = of("[ProxyList]\nsocks5 10.0.0.1 1080\nsocks4 10.0.0.2 1081\n");
        assert!(posture.leaks[0].certain);
        assert!(posture.leaks[0].stop.contains("/etc/proxychains4.conf"));
        assert_eq!(posture.others[0].to_string(), "socks4://10.0.0.2:1081");
        assert!(of(DEBIAN).leaks.iter().all(|leak| !leak.certain));
    }

    #[test]
    fn networks_that_are_reached_directly() {
        let posture = of(
            "localnet 10.0.0.0/8\nlocalnet 127.0.0.0:80/8\nlocalnet\n[ProxyList]\nhttp 10.0.0.1 1\n",
        );
        assert_eq!(posture.bypass.rules, ["10.0.0.0/8", "127.0.0.0:80/8"]);
        assert_eq!(posture.bypassed_by("page.example"), None);
    }

    #[test]
    fn passwords_are_not_shown() {
        for text in [
            "[ProxyList]\nsocks5 10.0.0.1 1080 me secret\n",
            "[ProxyList]\nsocks5://me:secret@10.0.0.1:1080\n",
            "[ProxyList]\nsocks9 10.0.0.1 1080 me secret\n",
            "[ProxyList]\nsecret\n",
        ] {
            assert!(!format!("{:?}", of(text)).contains("secret"), "{text}");
        }
    }

    #[test]
    fn which_file_wins() {
        let scene = Scene::new("/bin/program");
        let write = |path: &str, port: u16| {
            scene.write(path, format!("[ProxyList]\nsocks5 10.0.0.1 {port}\n"));
        };
        let port = |variables: &[(&str, &str)]| {
            let view = scene.view().with(variables, &[]);
            told(&view, "/lib.so").route.proxy().map(|proxy| proxy.port)
        };
        let home = ("HOME", "/home/me");
        assert_eq!(port(&[home]), None);
        write("etc/proxychains4.conf", 1);
        assert_eq!(port(&[home]), Some(1));
        write("etc/proxychains.conf", 2);
        assert_eq!(port(&[home]), Some(2));
        write("home/me/.proxychains/proxychains.conf", 3);
        assert_eq!(port(&[home]), Some(3));
        write("opt/x.conf", 4);
        assert_eq!(port(&[home, (VARIABLE, "/opt/x.conf")]), Some(4));
        assert_eq!(port(&[home, (VARIABLE, "/opt/y.conf")]), Some(3));
        assert_eq!(
            port(&[home, (VARIABLE, "x.conf")]),
            None,
            "started elsewhere"
        );
        scene.write("lib.so", PORT_VARIABLE);
        assert_eq!(port(&[home, (PORT_VARIABLE, "5")]), Some(5));
        scene.write("lib.so", "");
        assert_eq!(port(&[home, (PORT_VARIABLE, "5")]), Some(3));
    }

    #[test]
    fn hostile_files() {
        assert_eq!(
            of("\0\u{fffd}[ProxyList]\n[ProxyList]\n").route,
            Route::Unknown(None)
        );
        let scene = Scene::new("/bin/program").folder("etc");
        let path = scene.path("etc/proxychains.conf");
        let read = || told(&scene.view(), "/lib.so").route;
        fs::File::create(&path)
            .unwrap()
            .set_len(100 * 1024 * 1024)
            .unwrap();
        assert_eq!(read(), Route::Unknown(None));
        fs::remove_file(&path).unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "[ProxyList]\nhttp 10.0.0.1 1\n").unwrap();
        symlink(outside.path(), &path).unwrap();
        assert_eq!(read(), Route::Unknown(None));
    }
}
