//! The options of curl, as far as one has to know which of them take a value, and how they may be shortened.

/// Long options with a value (`curl --help all` of 7.88, and the manual of 8.16 for newer ones).
const WITH_VALUE: &[&str] = &[
    "abstract-unix-socket",
    "alt-svc",
    "aws-sigv4",
    "cacert",
    "capath",
    "cert",
    "cert-type",
    "ciphers",
    "config",
    "connect-timeout",
    "connect-to",
    "continue-at",
    "cookie",
    "cookie-jar",
    "create-file-mode",
    "crlfile",
    "curves",
    "data",
    "data-ascii",
    "data-binary",
    "data-raw",
    "data-urlencode",
    "delegation",
    "dns-interface",
    "dns-ipv4-addr",
    "dns-ipv6-addr",
    "dns-servers",
    "doh-url",
    "dump-header",
    "ech",
    "egd-file",
    "engine",
    "etag-compare",
    "etag-save",
    "expect100-timeout",
    "form",
    "form-string",
    "ftp-account",
    "ftp-alternative-to-user",
    "ftp-method",
    "ftp-port",
    "ftp-ssl-ccc-mode",
    "happy-eyeballs-timeout-ms",
    "haproxy-clientip",
    "header",
    "help",
    "hostpubmd5",
    "hostpubsha256",
    "hsts",
    "interface",
    "ip-tos",
    "ipfs-gateway",
    "json",
    "keepalive-cnt",
    "keepalive-time",
    "key",
    "key-type",
    "knownhosts",
    "krb",
    "libcurl",
    "limit-rate",
    "local-port",
    "login-options",
    "mail-auth",
    "mail-from",
    "mail-rcpt",
    "max-filesize",
    "max-redirs",
    "max-time",
    "netrc-file",
    "noproxy",
    "oauth2-bearer",
    "output",
    "output-dir",
    "parallel-max",
    "parallel-max-host",
    "pass",
    "pinnedpubkey",
    "preproxy",
    "proto",
    "proto-default",
    "proto-redir",
    "proxy",
    "proxy-cacert",
    "proxy-capath",
    "proxy-cert",
    "proxy-cert-type",
    "proxy-ciphers",
    "proxy-crlfile",
    "proxy-header",
    "proxy-key",
    "proxy-key-type",
    "proxy-pass",
    "proxy-pinnedpubkey",
    "proxy-service-name",
    "proxy-tls13-ciphers",
    "proxy-tlsauthtype",
    "proxy-tlspassword",
    "proxy-tlsuser",
    "proxy-user",
    "proxy1.0",
    "pubkey",
    "quote",
    "random-file",
    "range",
    "rate",
    "referer",
    "request",
    "request-target",
    "resolve",
    "retry",
    "retry-delay",
    "retry-max-time",
    "sasl-authzid",
    "service-name",
    "signature-algorithms",
    "socks4",
    "socks4a",
    "socks5",
    "socks5-gssapi-service",
    "socks5-hostname",
    "speed-limit",
    "speed-time",
    "stderr",
    "telnet-option",
    "tftp-blksize",
    "time-cond",
    "tls-max",
    "tls13-ciphers",
    "tlsauthtype",
    "tlspassword",
    "tlsuser",
    "trace",
    "trace-ascii",
    "trace-config",
    "unix-socket",
    "upload-file",
    "upload-flags",
    "url",
    "url-query",
    "user",
    "user-agent",
    "variable",
    "vlan-priority",
    "write-out",
];

/// Long options without.
const FLAGS: &[&str] = &[
    "anyauth",
    "append",
    "basic",
    "ca-native",
    "cert-status",
    "compressed",
    "compressed-ssh",
    "create-dirs",
    "crlf",
    "digest",
    "disable",
    "disable-eprt",
    "disable-epsv",
    "disallow-username-in-url",
    "doh-cert-status",
    "doh-insecure",
    "dump-ca-embed",
    "fail",
    "fail-early",
    "fail-with-body",
    "false-start",
    "follow",
    "form-escape",
    "ftp-create-dirs",
    "ftp-pasv",
    "ftp-pret",
    "ftp-skip-pasv-ip",
    "ftp-ssl-ccc",
    "ftp-ssl-control",
    "get",
    "globoff",
    "haproxy-protocol",
    "head",
    "http0.9",
    "http1.0",
    "http1.1",
    "http2",
    "http2-prior-knowledge",
    "http3",
    "http3-only",
    "ignore-content-length",
    "include",
    "insecure",
    "ipv4",
    "ipv6",
    "junk-session-cookies",
    "list-only",
    "location",
    "location-trusted",
    "mail-rcpt-allowfails",
    "manual",
    "metalink",
    "mptcp",
    "negotiate",
    "netrc",
    "netrc-optional",
    "next",
    "no-alpn",
    "no-buffer",
    "no-clobber",
    "no-keepalive",
    "no-npn",
    "no-progress-meter",
    "no-sessionid",
    "ntlm",
    "ntlm-wb",
    "out-null",
    "parallel",
    "parallel-immediate",
    "path-as-is",
    "post301",
    "post302",
    "post303",
    "progress-bar",
    "proxy-anyauth",
    "proxy-basic",
    "proxy-ca-native",
    "proxy-digest",
    "proxy-http2",
    "proxy-insecure",
    "proxy-negotiate",
    "proxy-ntlm",
    "proxy-ssl-allow-beast",
    "proxy-ssl-auto-client-cert",
    "proxy-tlsv1",
    "proxytunnel",
    "raw",
    "remote-header-name",
    "remote-name",
    "remote-name-all",
    "remote-time",
    "remove-on-error",
    "retry-all-errors",
    "retry-connrefused",
    "sasl-ir",
    "show-error",
    "silent",
    "skip-existing",
    "socks5-basic",
    "socks5-gssapi",
    "socks5-gssapi-nec",
    "ssl",
    "ssl-allow-beast",
    "ssl-auto-client-cert",
    "ssl-no-revoke",
    "ssl-reqd",
    "ssl-revoke-best-effort",
    "sslv2",
    "sslv3",
    "styled-output",
    "suppress-connect-headers",
    "tcp-fastopen",
    "tcp-nodelay",
    "tftp-no-options",
    "tls-earlydata",
    "tlsv1",
    "tlsv1.0",
    "tlsv1.1",
    "tlsv1.2",
    "tlsv1.3",
    "tr-encoding",
    "trace-ids",
    "trace-time",
    "use-ascii",
    "verbose",
    "version",
    "xattr",
];

/// Options of one letter with a value.
const LETTERS_WITH_VALUE: &str = "ACDEFHKPQTUXYbcdehmortuwxyz";

/// What counts of them here, by letter.
fn of_letter(letter: char) -> Option<&'static str> {
    Some(match letter {
        'x' => "proxy",
        'K' => "config",
        'L' => "location",
        ':' => "next",
        _ => return None,
    })
}

/// One option or address of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// The option's full name without dashes; `url` for an address.
    pub name: &'a str,
    /// As it was written.
    pub written: &'a str,
    /// Its value.
    pub value: Option<&'a str>,
}

/// The long option that is meant: its full name, or a beginning that only one has (src/tool_getparam.c of 7.88; newer
/// versions end with an error for a shortened one). Whether it takes a value comes with it.
pub fn long(name: &str) -> Option<(&'static str, bool)> {
    let known = || {
        let with_value = WITH_VALUE.iter().map(|&known| (known, true));
        with_value.chain(FLAGS.iter().map(|&known| (known, false)))
    };
    if let Some(exact) = known().find(|(known, _)| *known == name) {
        return Some(exact);
    }
    let mut beginning = known().filter(|(known, _)| known.starts_with(name));
    match (beginning.next(), beginning.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Reads a command line.
pub fn items(arguments: &[String]) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut arguments = arguments.iter();
    let mut only_addresses = false;
    while let Some(argument) = arguments.next() {
        if only_addresses || !argument.starts_with('-') || argument == "-" {
            items.push(Item {
                name: "url",
                written: "",
                value: Some(argument),
            });
        } else if argument == "--" {
            only_addresses = true;
        } else if let Some(name) = argument.strip_prefix("--") {
            let expanded = name.strip_prefix("expand-").unwrap_or(name);
            if let Some((known, has_value)) = long(expanded) {
                items.push(Item {
                    name: known,
                    written: argument,
                    value: if has_value {
                        arguments.next().map(String::as_str)
                    } else {
                        None
                    },
                });
            }
        } else {
            letters(argument, &mut arguments, &mut items);
        }
    }
    items
}

/// Options of one letter: several without a value may stand together, and one with a value takes the rest.
fn letters<'a>(
    argument: &'a str,
    rest: &mut std::slice::Iter<'a, String>,
    items: &mut Vec<Item<'a>>,
) {
    for (at, letter) in argument.char_indices().skip(1) {
        let has_value = LETTERS_WITH_VALUE.contains(letter);
        let after = argument.get(at + letter.len_utf8()..).unwrap_or_default();
        let value = if !has_value {
            None
        } else if after.is_empty() {
            rest.next().map(String::as_str)
        } else {
            Some(after)
        };
        if let Some(name) = of_letter(letter) {
            items.push(Item {
                name,
                written: match letter {
                    'x' => "-x",
                    'K' => "-K",
                    _ => argument,
                },
                value,
            });
        }
        if has_value {
            break;
        }
    }
}

/// An option of a configuration file, `name`, `name = value` or `name: value`, also with dashes; in quotes `\\`, `\"`, `\t`,
/// `\n`, `\r` and `\v` are what they usually are (curl(1), `--config`; src/tool_parsecfg.c).
pub fn of_line(line: &str) -> Option<(String, Option<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '/', '*']) {
        return None;
    }
    let is_dashed = line.starts_with('-');
    let separates = |c: char| c.is_whitespace() || !is_dashed && matches!(c, '=' | ':');
    let end = line.find(separates).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(separates);
    let value = match rest.strip_prefix('"') {
        Some(quoted) => Some(unquoted(quoted)),
        None => rest.split_whitespace().next().map(str::to_owned),
    };
    let name = match name.strip_prefix("--") {
        Some(long) => long,
        None if is_dashed => {
            let mut letters = name.chars().skip(1);
            of_letter(letters.next()?)?
        }
        None => name,
    };
    let (known, has_value) = long(name.strip_prefix("expand-").unwrap_or(name))?;
    Some((known.to_owned(), value.filter(|_| has_value)))
}

fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => out.extend(chars.next().map(|c| match c {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'v' => '\x0b',
                other => other,
            })),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Vec<(String, Option<String>)> {
        let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
        items(&arguments)
            .into_iter()
            .map(|item| (item.name.to_owned(), item.value.map(str::to_owned)))
            .collect()
    }

    #[test]
    fn command_lines() {
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(
            read(&["-sSx", "h:1", "-ofile", "-o", "-x", "u"]),
            [some("proxy", "h:1"), some("url", "u")]
        );
        assert_eq!(read(&["-sxh:1"]), [some("proxy", "h:1")]);
        assert_eq!(read(&["--socks5-h", "h"]), [some("socks5-hostname", "h")]);
        assert_eq!(read(&["--prox", "h"]), [some("url", "h")], "ambiguous");
        assert_eq!(read(&["--proxy=h"]), [], "curl does not know this form");
        assert_eq!(read(&["--", "-x"]), [some("url", "-x")]);
        assert_eq!(read(&["-x"]), [("proxy".to_owned(), None)]);
        assert_eq!(
            read(&["--data", "--proxy", "u"]),
            [some("data", "--proxy"), some("url", "u")]
        );
    }

    #[test]
    fn lines() {
        let some = |name: &str, value: &str| Some((name.to_owned(), Some(value.to_owned())));
        assert_eq!(
            of_line("proxy = socks5://h:1"),
            some("proxy", "socks5://h:1")
        );
        assert_eq!(of_line("  --proxy \"a\\\"b\""), some("proxy", "a\"b"));
        assert_eq!(of_line("-x h:1"), some("proxy", "h:1"));
        assert_eq!(of_line("socks5-hostname: h"), some("socks5-hostname", "h"));
        assert_eq!(of_line("next"), Some(("next".to_owned(), None)));
        assert_eq!(of_line("# proxy = h"), None);
        assert_eq!(of_line("silent"), Some(("silent".to_owned(), None)));
        assert_eq!(of_line("-"), None);
    }
}
