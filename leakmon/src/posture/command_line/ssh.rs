//! ssh as a client: what it connects through. It reads no proxy variables; `ProxyCommand` and `ProxyJump` of its command line,
//! the user's file and the machine's count, whichever is said first (ssh_config(5)).

use super::{SOURCE, nc, ssh_config::Config};
use crate::{
    model::{Leak, ProxySetting, Resolves},
    posture::{
        Fault, Route, Subject, Told, letters::apart, proxy::host_and_port, without_password,
    },
};

use super::java::words;

/// What places of this kind are called.
pub const FILE: &str = "ssh_config";

/// Letters of options that take a value (ssh(1)).
const WITH_VALUE: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// What the command line says.
#[derive(Debug, Default)]
struct Line<'a> {
    host: Option<&'a str>,
    /// `-F`.
    file: Option<&'a str>,
    /// `-o` and `-J`, as keyword, value, and as written.
    options: Vec<(String, String, String)>,
}

/// What ssh was told, the first counts.
pub fn told(subject: &Subject<'_>) -> Vec<Told> {
    let line = Line::read(subject.arguments());
    let Some(host) = line.host else {
        return Vec::new();
    };
    let mut config = Config::new(subject.view, host);
    for (keyword, value, written) in &line.options {
        config.take(keyword, value, SOURCE, written);
    }
    match line.file {
        Some("none") => {}
        Some(path) => config.file(subject.view.absolute(path).as_deref(), false),
        None => {
            let own = subject.view.at_home(".ssh/config");
            config.file(own.as_deref(), false);
            config.file(Some("/etc/ssh/ssh_config"), true);
        }
    }
    decide(&config)
}

fn decide(config: &Config<'_>) -> Vec<Told> {
    let Some(first) = config.way() else {
        let doubt = config
            .fault
            .as_ref()
            .map(|fault: &Fault| Told::unread(FILE, fault));
        let unclear = config.unclear.as_ref().map(|detail| {
            Told::new(FILE, detail, Route::Unknown(None))
                .and("ssh", "whether this counts for the host is not known")
        });
        return doubt.into_iter().chain(unclear).collect();
    };
    // What may count before it and is not known leaves all open.
    let mut all: Vec<Told> = Vec::new();
    if let Some(fault) = config.fault.as_ref().filter(|_| first.source != SOURCE) {
        all.push(Told::unread(FILE, fault));
    }
    if let Some(detail) = config.unclear.as_ref().filter(|_| first.source != SOURCE) {
        all.push(Told::new(FILE, detail, Route::Unknown(None)));
    }
    if first.value.eq_ignore_ascii_case("none") {
        all.push(Told::new(first.source, &first.written, Route::Direct));
        return all;
    }
    let mut told = if first.keyword == "proxyjump" {
        Told::new(first.source, &first.written, Route::Direct).and(
            "ssh",
            "ssh resolves the first jump host's name only: the host's own is resolved there",
        )
    } else {
        command(
            &first.value,
            Told::new(first.source, &first.written, Route::Untold),
        )
    };
    told.leaks = leaks(config);
    all.push(told);
    all
}

/// What follows from `ProxyCommand`: ssh leaves the name to it, and it may be known what it does with it.
fn command(command: &str, told: Told) -> Told {
    let words = words(command);
    let words = match words.split_first() {
        Some((first, rest)) if first == "exec" => rest,
        _ => &words[..],
    };
    let program = words
        .first()
        .map_or("", |path| path.rsplit('/').next().unwrap_or(path));
    let arguments = words.get(1..).unwrap_or_default();
    let is_plain = !command.contains(['|', ';', '&', '$', '`']);
    let proxy = match program {
        _ if !is_plain => None,
        "nc" | "nc.openbsd" | "ncat" => nc::proxy(program, arguments),
        "connect" | "connect-proxy" => connect(arguments),
        _ => None,
    };
    match proxy {
        Some(proxy) => {
            let own = proxy.resolves == Resolves::Local;
            let told = Told {
                route: Route::Everything(proxy),
                ..told
            };
            if own {
                Told {
                    advice: Some(format!(
                        "give {program} a SOCKS5 proxy in ProxyCommand, as nc -X 5 -x HOST:PORT %h %p"
                    )),
                    ..told.and(
                        "ssh",
                        format!("{program} resolves the host's name for SOCKS4"),
                    )
                }
            } else {
                told.and(
                    "ssh",
                    format!("ssh leaves the host's name to {program}, and that to the proxy"),
                )
            }
        }
        None => Told {
            route: Route::Unknown(None),
            ..told.and(
                "ssh",
                "ssh leaves the host's name to this command; what that does with it is not known",
            )
        },
    }
}

/// connect-proxy(1): `-S` SOCKS, `-4` and `-5`, `-H` HTTP, `-R` who resolves.
fn connect(arguments: &[String]) -> Option<ProxySetting> {
    let after = |letter: &str| {
        let at = arguments.iter().position(|argument| argument == letter)?;
        arguments.get(at + 1)
    };
    let has = |letter: &str| arguments.iter().any(|argument| argument == letter);
    if let Some(proxy) = after("-H") {
        let (addr, port) = host_and_port(proxy)?;
        return Some(ProxySetting {
            scheme: "http".to_owned(),
            addr,
            port: port.unwrap_or(80),
            resolves: Resolves::Remote,
        });
    }
    let address = after("-S")?;
    let (addr, port) = host_and_port(address.rsplit('@').next().unwrap_or(address))?;
    Some(ProxySetting {
        scheme: if has("-4") { "socks4" } else { "socks5" }.to_owned(),
        addr,
        port: port.unwrap_or(1080),
        resolves: match after("-R").map(String::as_str) {
            Some("remote") => Resolves::Remote,
            Some("local") => Resolves::Local,
            _ => Resolves::Unknown,
        },
    })
}

/// What ssh asks for besides the name that it connects to.
fn leaks(config: &Config<'_>) -> Vec<Leak> {
    let mut leaks = Vec::new();
    // With `yes` ssh does not do this for a host that it reaches by a command (ssh_config(5)).
    let always = config
        .value("canonicalizehostname")
        .is_some_and(|value| value.eq_ignore_ascii_case("always"));
    let domains = config
        .value("canonicaldomains")
        .filter(|domains| !domains.eq_ignore_ascii_case("none"));
    let dots = config
        .value("canonicalizemaxdots")
        .and_then(|dots| dots.parse().ok())
        .unwrap_or(1);
    if let Some(domains) = domains.filter(|_| always && config.dots() <= dots) {
        leaks.push(Leak {
            what: format!(
                "the host's name with these added: {domains}; ssh looks it up to make it canonical"
            ),
            certain: true,
            stop: "set CanonicalizeHostname no".to_owned(),
        });
    }
    if config
        .value("verifyhostkeydns")
        .is_some_and(|value| !value.eq_ignore_ascii_case("no"))
    {
        leaks.push(Leak {
            what: "the host's name: ssh asks for its SSHFP record when it verifies the host's key"
                .to_owned(),
            certain: false,
            stop: "set VerifyHostKeyDNS no".to_owned(),
        });
    }
    leaks
}

impl<'a> Line<'a> {
    fn read(arguments: &'a [String]) -> Self {
        let mut line = Self::default();
        let mut arguments = arguments.iter();
        let mut ended = false;
        while let Some(argument) = arguments.next() {
            let letters = argument
                .strip_prefix('-')
                .filter(|rest| !rest.is_empty() && !ended);
            let Some(letters) = letters else {
                if line.host.is_some() {
                    break;
                }
                line.host = Some(host_of(argument));
                continue;
            };
            if letters == "-" {
                ended = true;
                continue;
            }
            match apart(letters, WITH_VALUE, &mut arguments).1 {
                Some(('F', value)) => line.file = Some(value),
                Some(('J', value)) => line.options.push((
                    "proxyjump".to_owned(),
                    value.to_owned(),
                    format!("-J {value}"),
                )),
                Some(('o', value)) => {
                    if let Some((keyword, given)) = super::ssh_config::keyword_and_value(value) {
                        let written = without_password(&format!("-o {value}"));
                        line.options.push((keyword, given, written));
                    }
                }
                _ => {}
            }
        }
        line
    }
}

/// `[user@]host` or `ssh://[user@]host[:port]`.
fn host_of(destination: &str) -> &str {
    match destination.strip_prefix("ssh://") {
        Some(rest) => {
            let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
            rest.split([':', '/']).next().unwrap_or(rest)
        }
        None => destination
            .rsplit_once('@')
            .map_or(destination, |(_, host)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{
        Posture,
        testing::{Scene, shown},
    };

    fn posture(arguments: &[&str], file: &str) -> Posture {
        let included = "Host included\nProxyCommand nc -X 5 -x inc:1 %h %p\n";
        Scene::new("/usr/bin/ssh")
            .args(arguments)
            .variables(&[("HOME", "/h"), ("all_proxy", "socks5://ignored")])
            .file("h/.ssh/config", file)
            .file("h/.ssh/conf.d/a.conf", included)
            .posture(told)
    }

    const FILE: &str = "\
Host *.onion !plain.onion
    ProxyCommand=nc -X 5 -x 127.0.0.1:9050 %h %p
Host jumped
    ProxyJump jump.example
Host *
    Include conf.d/*.conf
Match host matched
    ProxyCommand other
Host *
    CanonicalizeHostname always
    CanonicalDomains a.example b.example
";

    #[test]
    fn command_line() {
        let nc = "ProxyCommand=nc.openbsd -X 5 -x h:1 %h %p";
        assert_eq!(
            shown(&posture(&["-o", nc, "page"], "")),
            "socks5://h:1 Remote"
        );
        let four = "-oProxyCommand nc -X4 -x h:1 %h %p";
        let four = posture(&["-v", four, "me@page", "ls", "-J", "x"], "");
        assert_eq!(shown(&four), "socks4://h:1 Local");
        assert!(four.advice.unwrap().contains("-X 5"));
        let jump = posture(&["-J", "jump", "page"], "");
        assert_eq!(jump.route, Route::Direct);
        let script = posture(&["-o", "ProxyCommand my-script %h | cat", "page"], "");
        assert_eq!(script.resolves(), Resolves::Unknown);
        assert!(posture(&["page"], "").is_empty());
        assert!(posture(&[], "").is_empty());
        let first = posture(&["-o", "ProxyCommand none", "-J", "x", "page"], "");
        assert_eq!(first.route, Route::Direct);
    }

    #[test]
    fn files() {
        assert_eq!(
            shown(&posture(&["x.onion"], FILE)),
            "socks5://127.0.0.1:9050 Remote"
        );
        assert_eq!(posture(&["jumped"], FILE).route, Route::Direct);
        assert!(posture(&["jumped"], FILE).leaks[0].certain);
        assert_eq!(
            shown(&posture(&["included"], FILE)),
            "socks5://inc:1 Remote"
        );
        assert_eq!(
            posture(&["plain.onion"], FILE).resolves(),
            Resolves::Unknown,
            "Match"
        );
        assert!(posture(&["-F", "none", "x.onion"], FILE).is_empty());
        let line = posture(&["-J", "other", "x.onion"], FILE);
        assert_eq!(line.route, Route::Direct);
    }
}
