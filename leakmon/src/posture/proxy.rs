//! A proxy as people write it: `scheme://user:password@host:port`. The user and the password are never kept.

use crate::model::{ProxySetting, Resolves};

/// A scheme, a host and a port, if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// In lower case; `None` when there is none.
    pub scheme: Option<String>,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
}

impl Written {
    /// Reads `[scheme://][user[:password]@]host[:port][/…]`; `None` for what is not of this form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, text),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let (host, port) = host_and_port(rest)?;
        Some(Self { scheme, host, port })
    }

    /// As a setting.
    #[must_use]
    pub fn setting(&self, scheme: &str, default_port: u16, resolves: Resolves) -> ProxySetting {
        ProxySetting {
            scheme: scheme.to_owned(),
            addr: self.host.clone(),
            port: self.port.unwrap_or(default_port),
            resolves,
        }
    }
}

/// Reads `host[:port]`, an IPv6 address in brackets.
#[must_use]
pub fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, rest.strip_prefix(':'))
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        Some(port) => Some(port.parse().ok()?),
        None => None,
    };
    let is_host = !host.is_empty() && !host.contains(char::is_whitespace);
    is_host.then(|| (host.to_owned(), port))
}

/// The text with the user and the password of every URL in it left out, to be shown as evidence.
#[must_use]
pub fn without_password(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let end = after
            .find(|c: char| c.is_whitespace() || "/?#\"';,".contains(c))
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                out.push_str("…@");
                out.push_str(host);
            }
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parse = |text| {
            Written::parse(text).map(|written| {
                (
                    written.scheme.unwrap_or_default(),
                    written.host,
                    written.port,
                )
            })
        };
        let some =
            |scheme: &str, host: &str, port| Some((scheme.to_owned(), host.to_owned(), port));
        assert_eq!(parse("SOCKS5h://h:1"), some("socks5h", "h", Some(1)));
        assert_eq!(parse("h"), some("", "h", None));
        assert_eq!(
            parse("socks5://me:p@ss@h:1/x"),
            some("socks5", "h", Some(1))
        );
        assert_eq!(
            parse("http://[2001:db8::1]:8080/"),
            some("http", "2001:db8::1", Some(8080))
        );
        for wrong in ["", "://", "http://", "h:x", "h:99999", "[::1", "a b"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("all_proxy=socks5://me:secret@h:1, x://a@b"),
            "all_proxy=socks5://…@h:1, x://…@b"
        );
        assert_eq!(without_password("socks5://h:1"), "socks5://h:1");
        assert_eq!(without_password("plain"), "plain");
    }
}
