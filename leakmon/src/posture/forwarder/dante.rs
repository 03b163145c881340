//! dante: a SOCKS server that can hand connections on to another.
//!
//! sockd.conf(5) of 1.4: `route { … via: HOST port = N … proxyprotocol: … }`, each for its addresses.

use super::Forwarder;
use crate::{
    model::{ProxySetting, Resolves},
    posture::{Fault, Route, Subject, Told},
};

const SOURCE: &str = "sockd.conf";

/// What dante is, and where it hands connections on to.
pub fn forwarder(subject: &Subject<'_>) -> Forwarder {
    let told = read(subject).unwrap_or_else(|fault| Told::unread(SOURCE, fault));
    Forwarder {
        told: Some(told),
        ..Forwarder::new("dante, a SOCKS proxy")
    }
}

fn read(subject: &Subject<'_>) -> Result<Told, Fault> {
    let view = subject.view;
    // A child without its mother has lost the command line, and may have another file.
    let title = subject.process.cmdline.iter().flatten().next();
    if title.is_none_or(|title| title.contains(": ")) {
        return Ok(Told::unread(
            SOURCE,
            "its command line is not known, which may name the file",
        ));
    }
    let mut arguments = subject.arguments().iter();
    let mut written = None;
    while let Some(argument) = arguments.next() {
        if let Some(rest) = argument.strip_prefix("-f") {
            written = if rest.is_empty() {
                arguments.next().map(String::as_str)
            } else {
                Some(rest)
            };
        }
    }
    // Debian's, and the one of the source.
    let places = match written {
        Some(path) => vec![path],
        None => vec!["/etc/danted.conf", "/etc/sockd.conf"],
    };
    for written in &places {
        let path = view.meant(written)?;
        if let Some(text) = view.text(&path)? {
            return Ok(of_text(&path, &text));
        }
    }
    Ok(Told::unread(
        SOURCE,
        format!("{} is not there any more", places.join(", ")),
    ))
}

fn of_text(path: &str, text: &str) -> Told {
    let Some((upstreams, for_all)) = upstreams(text) else {
        return Told::unread(
            SOURCE,
            Fault::malformed(path, "a route names a proxy that makes no sense"),
        );
    };
    let Some(first) = upstreams.first() else {
        return Told::new(
            SOURCE,
            format!(
                "{path}: hands connections on to no proxy: dante resolves names for its clients"
            ),
            Route::Direct,
        );
    };
    let mut told = Told::new(
        SOURCE,
        format!("{path}: route via {} port {}", first.addr, first.port),
        if for_all {
            Route::Everything(first.clone())
        } else {
            Route::Some(Some(first.clone()))
        },
    );
    if first.resolves == Resolves::Local {
        told = told.and(
            "dante",
            "dante resolves the names that its clients give it, and gives the other proxy addresses",
        );
        told.advice = Some(format!(
            "have its clients use {first} themselves: dante gives no name on to another proxy"
        ));
    }
    told.others = upstreams.into_iter().skip(1).collect();
    told
}

/// The proxies of the route blocks, and whether the first of them is for all connections; `None` when one cannot be told.
///
/// Seen with 1.4.2: a name that a client gives is resolved first, and a `socks_v5` proxy is given the address.
fn upstreams(text: &str) -> Option<(Vec<ProxySetting>, bool)> {
    let bare: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ")
        .replace('{', " { ")
        .replace('}', " } ")
        .replace('=', " = ")
        .replace(':', " : ");
    let words: Vec<&str> = bare.split_whitespace().collect();
    // Another way of resolving may be another matter.
    let is_usual = !words.contains(&"resolveprotocol");
    // No block stands in another: one without an end goes up to the next, which keeps the work in bounds.
    let is_brace = |word: &&str| matches!(*word, "{" | "}");
    let blocks: Vec<&[&str]> = words
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| *pair == ["route", "{"])
        .filter_map(|(at, _)| words.get(at + 2..)?.split(is_brace).next())
        .collect();
    let for_all = matches!(blocks.as_slice(), [block] if is_for_all(block));
    let proxies: Option<Vec<ProxySetting>> = blocks
        .into_iter()
        .filter_map(|block| after(block, "via").map(|via| (block, via)))
        .filter(|(_, via)| via.first() != Some(&"direct"))
        .map(|(block, via)| upstream(block, via, is_usual))
        .collect();
    Some((proxies?, for_all))
}

/// The words after `key:` in a block.
fn after<'a>(block: &'a [&'a str], key: &str) -> Option<&'a [&'a str]> {
    let at = block.windows(2).position(|pair| pair == [key, ":"])?;
    block.get(at + 2..)
}

fn is_for_all(block: &[&str]) -> bool {
    let is_any = |key| {
        after(block, key)
            .and_then(|words| words.first())
            .is_some_and(|network| ["0.0.0.0/0", "0/0"].contains(network))
    };
    is_any("from")
        && is_any("to")
        && after(block, "command").is_none()
        && after(block, "protocol").is_none()
}

fn upstream(block: &[&str], via: &[&str], is_usual: bool) -> Option<ProxySetting> {
    let [host, "port", "=", port, ..] = via else {
        return None;
    };
    let protocol = after(block, "proxyprotocol").and_then(|words| words.first());
    let scheme = match protocol {
        Some(&"socks_v4") => "socks4",
        Some(protocol) if protocol.starts_with("http") => "http",
        _ => "socks5",
    };
    Some(ProxySetting {
        scheme: scheme.to_owned(),
        addr: (*host).to_owned(),
        port: port.parse().ok()?,
        resolves: if is_usual && scheme != "http" {
            Resolves::Local
        } else {
            Resolves::Unknown
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        for (text, expected) in [
            (
                "internal: 127.0.0.1 port = 1080\nexternal: eth0\n",
                "Direct",
            ),
            (
                "route {\n from: 0.0.0.0/0 to: 0.0.0.0/0 via: 10.0.0.1 port = 1080 # x\n proxyprotocol: socks_v4\n}\n",
                "all socks4://10.0.0.1:1080 Local",
            ),
            (
                "route { from: 0/0 to: 10.0.0.0/8 via: a port = 1 }",
                "some socks5://a:1 Local",
            ),
            (
                "route { from: 0/0 to: 0/0 via: a port = 1 command: bind }",
                "some socks5://a:1 Local",
            ),
            (
                "resolveprotocol: fake\nroute{from:0/0 to:0/0 via:a port=1}",
                "all socks5://a:1 Unknown",
            ),
            (
                "route{via:p.example port=8080 proxyprotocol: http_v1.0}",
                "some http://p.example:8080 Unknown",
            ),
            ("route { via: direct }", "Direct"),
            ("# route { via: a port = 1 }", "Direct"),
            ("route {", "Direct"),
            ("route { via: a port", "Unknown(None)"),
            ("route { via: a port = socks }", "Unknown(None)"),
        ] {
            let route = of_text("/c", text).route;
            let said = match &route {
                Route::Everything(proxy) => format!("all {proxy} {:?}", proxy.resolves),
                Route::Some(Some(proxy)) => format!("some {proxy} {:?}", proxy.resolves),
                other => format!("{other:?}"),
            };
            assert_eq!(said, expected, "{text}");
        }
    }

    #[test]
    fn blocks_without_an_end() {
        // Each went up to the end of the file: a day's work for one of 8 MiB.
        assert_eq!(
            upstreams(&"route { ".repeat(200_000)),
            Some((Vec::new(), false))
        );
    }
}
