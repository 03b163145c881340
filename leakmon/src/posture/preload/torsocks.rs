//! torsocks: names go to tor as its own SOCKS command RESOLVE, UDP is refused.
//!
//! Of its source (2.4): the file's format is `utils_tokenize_ignore_comments` and `parse_config_line`, its order with the
//! environment `init_config` and `read_env` in src/lib/torsocks.c.

use super::{Fault, Route, Told, View, file_of_variable, knows};
use crate::{
    model::{Leak, ProxySetting, Resolves},
    posture::{Bypass, Language},
};

const SOURCE: &str = "torsocks.conf";
const DEFAULT_FILE: &str = "/etc/tor/torsocks.conf";
const ADDRESS_VARIABLE: &str = "TORSOCKS_TOR_ADDRESS";
const PORT_VARIABLE: &str = "TORSOCKS_TOR_PORT";

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct File {
    address: Option<String>,
    port: Option<u16>,
    /// `AllowOutboundLocalhost`: 1 for TCP to this machine, 2 for UDP too.
    localhost: u8,
}

/// What a torsocks that was loaded from `library` was told.
pub fn told(view: &View, library: &str) -> Told {
    read(view, library).unwrap_or_else(|fault| Told::unread(SOURCE, fault))
}

fn read(view: &View, library: &str) -> Result<Told, Fault> {
    let (path, text) = match view.variable("TORSOCKS_CONF_FILE") {
        Some(written) => file_of_variable(view, written)?,
        None => (DEFAULT_FILE.to_owned(), view.text(DEFAULT_FILE)?),
    };
    let file = match &text {
        Some(text) => parse(text).map_err(|reason| Fault::malformed(&path, reason))?,
        None => File::default(),
    };
    let mut proxy = ProxySetting {
        scheme: "socks5".to_owned(),
        addr: file
            .address
            .clone()
            .unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: file.port.unwrap_or(9050),
        resolves: Resolves::Remote,
    };
    let written = match (&text, &file.address, file.port) {
        (None, ..) => format!("{path}: there is none, so that torsocks uses 127.0.0.1:9050"),
        (_, None, None) => format!("{path}: says nothing, so that torsocks uses 127.0.0.1:9050"),
        _ => format!("{path}: TorAddress {}, TorPort {}", proxy.addr, proxy.port),
    };
    let mut evidence = Told::new(SOURCE, written, Route::Untold);
    // Versions before 2.4 do not read these.
    if let Some(address) = view.variable(ADDRESS_VARIABLE)
        && knows(view, library, ADDRESS_VARIABLE)?
    {
        proxy.addr = address.to_owned();
        evidence = evidence.and("environment", format!("{ADDRESS_VARIABLE}={address}"));
    }
    if let Some(port) = view.variable(PORT_VARIABLE)
        && knows(view, library, PORT_VARIABLE)?
    {
        proxy.port =
            parse_port(port).map_err(|reason| Fault::malformed("the environment", reason))?;
        evidence = evidence.and("environment", format!("{PORT_VARIABLE}={port}"));
    }
    let mut evidence = evidence.and(
        "torsocks",
        "torsocks leaves names to tor (RESOLVE), and refuses UDP",
    );
    if file.localhost == 2 {
        evidence = evidence.and(
            SOURCE,
            format!(
                "{path}: AllowOutboundLocalhost 2: UDP to this machine is let through, so that the program itself can ask a resolver here"
            ),
        );
    }
    let bypass = if file.localhost > 0 {
        Bypass {
            rules: vec!["127.0.0.0/8".to_owned(), "::1".to_owned()],
            language: Language::Suffix,
        }
    } else {
        Bypass::default()
    };
    Ok(Told {
        evidence: evidence.evidence,
        bypass,
        leaks: vec![passed_by()],
        advice: Some(
            "have the program leave names to tor itself, if it can (as curl --socks5-hostname): torsocks does not take every lookup of the C library".to_owned(),
        ),
        route: Route::Everything(proxy),
        ..Told::default()
    })
}

/// src/lib/getaddrinfo.c hands a call without hints on to the C library, and nothing takes res_query(3), whose queries
/// the C library sends without passing by the functions that torsocks replaces.
fn passed_by() -> Leak {
    Leak {
        what: "names that it looks up by res_query(3), or by getaddrinfo(3) without hints: torsocks takes neither"
            .to_owned(),
        certain: false,
        stop: "let the program reach nothing but the proxy, as in a network namespace of its own"
            .to_owned(),
    }
}

fn parse(text: &str) -> Result<File, String> {
    let mut file = File::default();
    for line in text.split_inclusive('\n') {
        // The last character goes, be it the end of the line or not (parse_config_file).
        let mut characters = line.chars();
        characters.next_back();
        let line = characters.as_str();
        if line.starts_with('#') {
            continue;
        }
        let mut tokens = line.split([' ', '\t']).filter(|token| !token.is_empty());
        let (Some(key), Some(value)) = (tokens.next(), tokens.next()) else {
            continue;
        };
        match key {
            "TorAddress" => {
                value
                    .parse::<std::net::IpAddr>()
                    .map_err(|_| format!("TorAddress {value} is no address"))?;
                file.address = Some(value.to_owned());
            }
            "TorPort" => file.port = Some(parse_port(value)?),
            "AllowOutboundLocalhost" => {
                file.localhost = match value {
                    "1" => 1,
                    "2" => 2,
                    _ => 0,
                };
            }
            _ => {}
        }
    }
    Ok(file)
}

fn parse_port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|&port| port != 0)
        .ok_or_else(|| format!("{text} is no port"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{Posture, testing::Scene};

    /// The file of Debian's torsocks 2.4.0, without most of its comments.
    const DEBIAN: &str = "# This is the configuration for libtorsocks\n\n# Default Tor address and port.\nTorAddress 127.0.0.1\nTorPort 9050\n\n# Tor hidden sites do not have real IP addresses.\nOnionAddrRange 127.42.42.0/24\n\n#SOCKS5Username <username>\n#SOCKS5Password <password>\n#AllowInbound 1\n#AllowOutboundLocalhost 1\n#IsolatePID 1\n";

    fn posture(text: Option<&[u8]>, variables: &[(&str, &str)], library: &[u8]) -> Posture {
        let mut scene = Scene::new("/bin/program")
            .variables(variables)
            .folder("etc/tor")
            .file("lib.so", library);
        if let Some(text) = text {
            scene = scene.file("etc/tor/torsocks.conf", text);
        }
        let view = scene.view();
        Posture::combine([told(&view, "/lib.so")])
    }

    fn proxy(text: &str) -> Option<String> {
        let posture = posture(Some(text.as_bytes()), &[], b"");
        posture.proxy().map(ToString::to_string)
    }

    #[test]
    fn files() {
        for (text, expected) in [
            (DEBIAN, Some("socks5://127.0.0.1:9050")),
            ("", Some("socks5://127.0.0.1:9050")),
            ("TorPort 9150\n", Some("socks5://127.0.0.1:9150")),
            ("\tTorAddress\t10.0.0.1 x\n", Some("socks5://10.0.0.1:9050")),
            (
                "TorAddress ::1\nTorPort 1\nTorPort 2\n",
                Some("socks5://[::1]:2"),
            ),
            (
                "#TorPort 1\ntorport 2\nTorPort\n",
                Some("socks5://127.0.0.1:9050"),
            ),
            ("TorPort 9150", Some("socks5://127.0.0.1:915")),
            ("TorPort 0\n", None),
            ("TorAddress tor.example\n", None),
        ] {
            assert_eq!(proxy(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_left_to_the_program() {
        let posture = posture(None, &[], b"");
        assert_eq!(posture.resolves(), Resolves::Remote);
        assert!(posture.evidence[0].detail.contains("there is none"));
        assert_eq!(posture.leaks.len(), 1);
        assert!(!posture.leaks[0].certain);
    }

    #[test]
    fn the_environment_wins_where_the_library_knows_it() {
        let variables = [
            ("TORSOCKS_TOR_ADDRESS", "10.0.0.9"),
            ("TORSOCKS_TOR_PORT", "9150"),
        ];
        let new = b"\0TORSOCKS_TOR_ADDRESS\0TORSOCKS_TOR_PORT\0";
        let new = posture(Some(DEBIAN.as_bytes()), &variables, new);
        assert_eq!(new.proxy().unwrap().to_string(), "socks5://10.0.0.9:9150");
        let old = posture(Some(DEBIAN.as_bytes()), &variables, b"TORSOCKS_CONF_FILE");
        assert_eq!(old.proxy().unwrap().to_string(), "socks5://127.0.0.1:9050");
        let gone = posture(Some(DEBIAN.as_bytes()), &variables[1..], b"");
        assert_eq!(gone.proxy().unwrap().port, 9050);
    }

    #[test]
    fn the_file_that_the_environment_names() {
        let named = |path| posture(Some(b"TorPort 1\n"), &[("TORSOCKS_CONF_FILE", path)], b"");
        assert_eq!(named("/etc/tor/torsocks.conf").proxy().unwrap().port, 1);
        assert_eq!(named("/nowhere").proxy().unwrap().port, 9050);
        assert_eq!(named("x.conf").route, Route::Unknown(None));
        assert_eq!(named("/etc").route, Route::Unknown(None));
    }

    #[test]
    fn this_machine_may_be_reached_directly() {
        let local = |value: &str| {
            posture(
                Some(format!("AllowOutboundLocalhost {value}\n").as_bytes()),
                &[],
                b"",
            )
        };
        assert!(local("0").bypass.rules.is_empty());
        assert_eq!(local("1").bypass.rules.len(), 2);
        assert_eq!(local("1").bypassed_by("page.example"), None);
        let udp = local("2");
        assert!(
            udp.evidence
                .iter()
                .any(|piece| piece.detail.contains("UDP to this machine"))
        );
    }

    #[test]
    fn hostile_files() {
        for text in [
            &b"\xff\xfe\0TorPort \xff\n"[..],
            b"TorAddress",
            b"TorPort 99999999999999999999\n",
        ] {
            let _ = posture(Some(text), &[], b"");
        }
        let long = vec![b'x'; 9 * 1024 * 1024];
        assert_eq!(posture(Some(&long), &[], b"").route, Route::Unknown(None));
    }
}
