//! nc of OpenBSD (nc(1): `-x` proxy, `-X` protocol) and ncat (ncat(1): `--proxy`, `--proxy-type`, `--proxy-dns`), also as what
//! ssh is told to connect with.

use super::SOURCE;
use crate::{
    model::{ProxySetting, Resolves},
    posture::{Route, Subject, Told, letters::apart, proxy::host_and_port, without_password},
};

/// Letters of nc's options that take a value.
const WITH_VALUE: &str = "IiMmOoPpqQsTVwXxDe";

/// What nc was told.
pub fn told(subject: &Subject<'_>) -> Vec<Told> {
    let program = subject.process.program().unwrap_or_default();
    let Some(proxy) = proxy(program, subject.arguments()) else {
        return Vec::new();
    };
    let options = subject
        .arguments()
        .iter()
        .take_while(|argument| !argument.starts_with("--proxy-auth") && *argument != "-P")
        .cloned()
        .collect::<Vec<_>>()
        .join(" ");
    let told = Told {
        advice: advice(program, &proxy),
        ..Told::new(SOURCE, without_password(&options), Route::Everything(proxy))
    };
    vec![match told.advice {
        Some(_) => told.and("nc", "nc resolves names itself for SOCKS4"),
        None => told,
    }]
}

fn advice(program: &str, proxy: &ProxySetting) -> Option<String> {
    (proxy.resolves == Resolves::Local).then(|| match program {
        "ncat" => "use --proxy-type socks5 with --proxy-dns remote".to_owned(),
        _ => "use -X 5 instead of -X 4: nc leaves names to a SOCKS5 proxy".to_owned(),
    })
}

/// The proxy that these arguments name. Of `ncat --proxy` without `--proxy-dns` only what is documented is said.
pub fn proxy(program: &str, arguments: &[String]) -> Option<ProxySetting> {
    if program == "ncat" {
        return ncat(arguments);
    }
    let (mut address, mut protocol) = (None, "5");
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(letters) = argument.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            continue;
        };
        match apart(letters, WITH_VALUE, &mut arguments).1 {
            Some(('x', value)) => address = Some(value),
            Some(('X', value)) => protocol = value,
            _ => {}
        }
    }
    // nc(1): 1080 for SOCKS, 3128 for HTTPS; seen with 1.219: -X 4 asks for the address, -X 5 and connect do not.
    let (scheme, port, resolves) = match protocol {
        "5" => ("socks5", 1080, Resolves::Remote),
        "4" => ("socks4", 1080, Resolves::Local),
        "connect" => ("http", 3128, Resolves::Remote),
        _ => return None,
    };
    setting(address?, scheme, port, resolves)
}

/// A command as evidence: what it gives ncat as the user and the password is left out.
#[must_use]
pub fn without_auth(command: &str) -> String {
    const OPTION: &str = "--proxy-auth";
    let mut out = String::with_capacity(command.len());
    let mut rest = command;
    while let Some((before, after)) = rest.split_once(OPTION) {
        let value = after.trim_start_matches(|c: char| c == '=' || c.is_whitespace());
        let end = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
            Some(quote) => value
                .get(1..)
                .and_then(|inner| Some(inner.find(quote)? + 2)),
            None => value.find(char::is_whitespace),
        };
        out.push_str(before);
        out.push_str(OPTION);
        out.push_str(" …");
        rest = end.and_then(|end| value.get(end..)).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// ncat(1): `--proxy-dns` is `remote` unless it is said; SOCKS4 has no names.
fn ncat(arguments: &[String]) -> Option<ProxySetting> {
    let value = |name: &str| {
        arguments.iter().enumerate().find_map(|(at, argument)| {
            let rest = argument.strip_prefix(name)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None if rest.is_empty() => arguments.get(at + 1).map(String::as_str),
                None => None,
            }
        })
    };
    let address = value("--proxy")?;
    let by_ncat = matches!(value("--proxy-dns"), Some("local" | "both" | "none"));
    let (scheme, port, resolves) = match value("--proxy-type").unwrap_or("http") {
        "socks5" if by_ncat => ("socks5", 1080, Resolves::Local),
        "socks5" => ("socks5", 1080, Resolves::Remote),
        "socks4" => ("socks4", 1080, Resolves::Unknown),
        "http" => ("http", 3128, Resolves::Remote),
        _ => return None,
    };
    setting(address, scheme, port, resolves)
}

fn setting(address: &str, scheme: &str, port: u16, resolves: Resolves) -> Option<ProxySetting> {
    let (addr, given) = host_and_port(address)?;
    Some(ProxySetting {
        scheme: scheme.to_owned(),
        addr,
        port: given.unwrap_or(port),
        resolves,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        for (program, arguments, expected) in [
            ("nc.openbsd", "-X 5 -x h:1 page 80", "socks5://h:1 Remote"),
            ("nc.openbsd", "-vX4 -xh page 80", "socks4://h:1080 Local"),
            ("nc", "-x h page 80", "socks5://h:1080 Remote"),
            ("nc", "-X connect -x h page 80", "http://h:3128 Remote"),
            ("nc", "-w 5 page 80", ""),
            (
                "ncat",
                "--proxy h:1 --proxy-type socks5 p",
                "socks5://h:1 Remote",
            ),
            (
                "ncat",
                "--proxy=h:1 --proxy-type=socks5 --proxy-dns local",
                "socks5://h:1 Local",
            ),
        ] {
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            let shown = proxy(program, &arguments)
                .map(|proxy| format!("{proxy} {:?}", proxy.resolves))
                .unwrap_or_default();
            assert_eq!(shown, expected, "{arguments:?}");
        }
    }

    #[test]
    fn passwords() {
        for (command, shown) in [
            ("ncat --proxy-auth me:secret %h", "ncat --proxy-auth … %h"),
            ("ncat --proxy-auth=me:secret", "ncat --proxy-auth …"),
            (
                "ncat --proxy-auth 'me:a secret' %h",
                "ncat --proxy-auth … %h",
            ),
            ("ncat --proxy-auth 'me:secret", "ncat --proxy-auth …"),
            ("nc %h", "nc %h"),
        ] {
            assert_eq!(without_auth(command), shown);
        }
        let process = crate::model::Process {
            exe: Some("/usr/bin/ncat".to_owned()),
            cmdline: Some(
                ["ncat", "--proxy", "h:1", "--proxy-auth=me:secret", "a", "1"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            ..crate::model::Process::unread(7, Some(0))
        };
        let said = format!(
            "{:?}",
            told(&Subject {
                process: &process,
                view: &crate::posture::View::closed(&process),
                programs: &crate::posture::Programs::default(),
            })
        );
        assert!(said.contains("h:1") && !said.contains("secret"), "{said}");
    }
}
