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

/// The text with the user and the password of every URL in it left out, and of every `user:password@host` without a
/// scheme, to be shown as evidence. In doubt more is left out.
#[must_use]
pub fn without_password(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        hide_plain(before, &mut out);
        out.push_str("://");
        let end = after
            .find(|c: char| c.is_whitespace() || "/?#\"';,".contains(c))
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(end);
        if let Some((_, host)) = authority.rsplit_once('@') {
            out.push_str("…@");
            out.push_str(host);
            rest = tail;
        } else if let Some(at) = end_of_password(authority, after) {
            out.push_str("…@");
            rest = after.get(at + 1..).unwrap_or_default();
        } else {
            out.push_str(authority);
            rest = tail;
        }
    }
    hide_plain(rest, &mut out);
    out
}

/// Where the `@` is behind a password that has a `/` or the like in it: what follows the colon is no port then.
fn end_of_password(authority: &str, after: &str) -> Option<usize> {
    let (_, port) = authority.rsplit_once(':')?;
    if authority.ends_with(']') || !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let word = after.split(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    let word = word
        .map(|word| word.split("://").next().unwrap_or(word))
        .next()?;
    word.rfind('@')
}

/// Takes over text without schemes.
fn hide_plain(text: &str, out: &mut String) {
    for word in text.split_inclusive(|c: char| c.is_whitespace() || c == '"' || c == '\'') {
        // `name=user:password@host`
        let start = word.find('=').map_or(0, |at| at + 1);
        let (name, value) = word.split_at(start);
        match value.rsplit_once('@') {
            Some((user, host)) if user.contains(':') => {
                out.push_str(name);
                out.push_str("…@");
                out.push_str(host);
            }
            _ => out.push_str(word),
        }
    }
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
        for (text, shown) in [
            ("http_proxy=me:secret@h:1", "http_proxy=…@h:1"),
            ("--proxy me:se@cret@h:1 x", "--proxy …@h:1 x"),
            ("socks5://me:se/cret@h:1/x", "socks5://…@h:1/x"),
            ("\"http://me:#secret@h\"", "\"http://…@h\""),
            ("http://h:1/x?a=b@c", "http://h:1/x?a=b@c"),
            ("ssh -W %h:%p me@gate", "ssh -W %h:%p me@gate"),
            (
                "git@host:path, http://[::1]:8",
                "git@host:path, http://[::1]:8",
            ),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }
}
