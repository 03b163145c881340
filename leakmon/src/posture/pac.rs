//! What a proxy auto-configuration script can answer, read without running it.
//!
//! The words of an answer are those of Chromium's net/base/proxy_string_util.cc and Firefox's
//! netwerk/base/nsProtocolProxyService.cpp (`ExtractProxyInfo`); what a browser looks up for a script's own questions is in
//! net/proxy_resolution/pac_library.cc and netwerk/base/ProxyAutoConfig.cpp.

mod tokens;

use data_url::DataUrl;

use self::tokens::{Token, tokens};
use super::{Route, Told, View, proxy::host_and_port, without_password};
use crate::model::{Leak, ProxySetting, Resolves};

const SOURCE: &str = "pac";
/// Different answers that are listed.
const MAX_ANSWERS: usize = 16;
/// Proxies of one answer that are read; the rest counts as others.
const MAX_PROXIES: usize = 16;
/// Characters of one answer that are shown.
const MAX_SHOWN: usize = 200;
/// Browsers refuse longer ones (kDefaultMaxResponseBytes in Chromium's pac_file_fetcher_impl.cc); a `data:` URL has no such
/// limit there.
const MAX_SCRIPT: usize = 1024 * 1024;

/// What the script at `url` can answer. `socks_means` is the scheme that the word `SOCKS` stands for in this program, and
/// `resolves` says who resolves names for a proxy of a scheme.
///
/// Scripts on servers are not fetched: leakmon sends nothing.
pub fn told(
    view: &View,
    url: &str,
    socks_means: &str,
    resolves: &dyn Fn(&str) -> Resolves,
) -> Told {
    let url = url.trim();
    let shown = shown(url);
    let unknown = |why: &str| Told::new(SOURCE, format!("{shown}: {why}"), Route::Some(None));
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let script = match scheme.to_ascii_lowercase().as_str() {
        "data" => match data(url) {
            Some(script) => script,
            None => return unknown("the URL cannot be decoded"),
        },
        "file" => {
            let Some(path) = path_of(url) else {
                return unknown("the URL names no file of this machine");
            };
            match view.bytes(&path) {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return unknown("there is no such file"),
                Err(fault) => return Told::unread(SOURCE, fault),
            }
        }
        "http" | "https" => {
            return unknown(
                "a script on a server decides for each address; leakmon sends nothing, so it was not read",
            );
        }
        _ => return unknown("a script that leakmon cannot read decides for each address"),
    };
    if script.len() > MAX_SCRIPT {
        return unknown("the script is longer than 1 MiB and is not read");
    }
    let script = Script::read(&String::from_utf8_lossy(&script), socks_means, resolves);
    script.told(&shown)
}

/// The URL as evidence: a script in it is left out.
fn shown(url: &str) -> String {
    match url.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => "data:… URL".to_owned(),
        _ => without_password(url),
    }
}

fn data(url: &str) -> Option<Vec<u8>> {
    let (bytes, _) = DataUrl::process(url).ok()?.decode_to_vec().ok()?;
    Some(bytes)
}

/// The path of a `file:` URL of this machine (RFC 8089).
fn path_of(url: &str) -> Option<String> {
    let rest = url.get(5..)?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => {
            let (host, _) = rest.split_once('/')?;
            if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                return None;
            }
            rest.get(host.len()..)?
        }
        None => rest,
    };
    let path = path.split(['?', '#']).next().unwrap_or(path);
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    decoded.starts_with('/').then(|| decoded.into_owned())
}

/// One answer: proxies in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    text: String,
    proxies: Vec<ProxySetting>,
    /// It also allows to go without a proxy, or by one that is not known here.
    is_open: bool,
}

impl Answer {
    /// Reads `PROXY h:p; SOCKS5 h:p; DIRECT`; `None` for text that is no answer.
    fn parse(text: &str, socks_means: &str, resolves: &dyn Fn(&str) -> Resolves) -> Option<Self> {
        let mut answer = Self {
            text: without_password(text.trim())
                .chars()
                .take(MAX_SHOWN)
                .collect(),
            proxies: Vec::new(),
            is_open: false,
        };
        let mut is_one = false;
        for entry in text.split(';').map(str::trim).filter(|e| !e.is_empty()) {
            is_one = true;
            let (word, host) = entry
                .split_once(|c: char| c.is_ascii_whitespace())
                .unwrap_or((entry, ""));
            let (scheme, port) = match word.to_ascii_lowercase().as_str() {
                "direct" if host.is_empty() => {
                    answer.is_open = true;
                    continue;
                }
                "proxy" | "http" => ("http", 80),
                "https" => ("https", 443),
                "socks" => (socks_means, 1080),
                "socks4" => ("socks4", 1080),
                "socks5" => ("socks5", 1080),
                "quic" => {
                    host_and_port(host.trim())?;
                    answer.is_open = true;
                    continue;
                }
                _ => return None,
            };
            let (addr, given) = host_and_port(host.trim())?;
            if answer.proxies.len() == MAX_PROXIES {
                answer.is_open = true;
                break;
            }
            answer.proxies.push(ProxySetting {
                scheme: scheme.to_owned(),
                addr,
                port: given.unwrap_or(port),
                resolves: resolves(scheme),
            });
        }
        is_one.then_some(answer)
    }

    /// The first proxy; when those after it treat names otherwise, that depends.
    fn first(&self) -> Option<ProxySetting> {
        let mut first = self.proxies.first()?.clone();
        if self.proxies.iter().any(|p| p.resolves != first.resolves) {
            first.resolves = Resolves::Depends;
        }
        Some(first)
    }
}

/// Whether a literal is the beginning of an answer that goes on elsewhere.
fn is_piece(text: &str) -> bool {
    let last = text.rsplit(';').next().unwrap_or(text).trim_start();
    let word = last.trim_end();
    word.len() < last.len()
        && [
            "proxy", "http", "https", "socks", "socks4", "socks5", "quic",
        ]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
}

/// Functions that make the browser look up a name for the script.
const LOOKUPS: [&str; 6] = [
    "dnsResolve",
    "dnsResolveEx",
    "isResolvable",
    "isResolvableEx",
    "isInNet",
    "isInNetEx",
];
/// Functions that may make it look up this machine's own name.
const OWN_ADDRESS: [&str; 2] = ["myIpAddress", "myIpAddressEx"];

/// What was found in a script.
#[derive(Debug, Default)]
struct Script {
    /// Its different answers, in the order in which they are written.
    answers: Vec<Answer>,
    /// Why its literals may not be all that it answers.
    doubt: Option<&'static str>,
    lookups: Vec<&'static str>,
    own_address: Vec<&'static str>,
}

impl Script {
    fn read(text: &str, socks_means: &str, resolves: &dyn Fn(&str) -> Resolves) -> Self {
        let (tokens, is_whole) = tokens(text);
        let mut script = Self::default();
        let mut in_pieces = false;
        for (at, token) in tokens.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| tokens.get(at));
            let after = tokens.get(at + 1);
            match token {
                Token::Text(text) => {
                    let plus = Some(&Token::Sign('+'));
                    let answer = Answer::parse(text, socks_means, resolves);
                    in_pieces |=
                        is_piece(text) || answer.is_some() && (before == plus || after == plus);
                    if let Some(answer) = answer
                        && !script.answers.contains(&answer)
                        && script.answers.len() <= MAX_ANSWERS
                    {
                        script.answers.push(answer);
                    }
                }
                Token::Piece(text) => in_pieces |= is_piece(text),
                Token::Word(word) if after == Some(&Token::Sign('(')) => {
                    let is_own = before == Some(&Token::Word("function".to_owned()))
                        || before == Some(&Token::Sign('.'));
                    if !is_own {
                        script.note_call(word, tokens.get(at + 2));
                    }
                }
                _ => {}
            }
        }
        script.doubt = if !is_whole {
            Some("the script cannot be understood to its end")
        } else if in_pieces {
            Some("the script puts its answers together from pieces")
        } else {
            returns(&tokens, |text| {
                Answer::parse(text, socks_means, resolves).is_some()
            })
        };
        script
    }

    fn note_call(&mut self, word: &str, argument: Option<&Token>) {
        let known = |list: &[&'static str]| list.iter().find(|known| **known == word).copied();
        if let Some(function) = known(&OWN_ADDRESS)
            && !self.own_address.contains(&function)
        {
            self.own_address.push(function);
        }
        // An address is compared as it is; dnsResolve in this place is noted for itself.
        let is_address = word.starts_with("isInNet")
            && matches!(argument, Some(Token::Word(word))
                if OWN_ADDRESS.contains(&word.as_str()) || word.starts_with("dnsResolve"));
        if let Some(function) = known(&LOOKUPS)
            && !is_address
            && !self.lookups.contains(&function)
        {
            self.lookups.push(function);
        }
    }

    fn told(&self, shown: &str) -> Told {
        let first = self.answers.iter().find_map(Answer::first);
        let route = match (&self.answers[..], self.doubt) {
            ([only], None) if !only.is_open => {
                first.clone().map_or(Route::Some(None), Route::Everything)
            }
            // A script whose only answer is DIRECT is another way to say so.
            ([only], None)
                if only.proxies.is_empty() && only.text.eq_ignore_ascii_case("direct") =>
            {
                Route::Direct
            }
            _ => Route::Some(first.clone()),
        };
        let summary = match (&self.answers[..], &route) {
            ([], _) => "no answer can be read from the script".to_owned(),
            ([only], Route::Everything(_) | Route::Direct) => {
                format!("the script always answers {}", only.text)
            }
            ([only], _) => format!("the script can answer {}", only.text),
            (answers, _) => {
                let listed: Vec<_> = answers
                    .iter()
                    .take(MAX_ANSWERS)
                    .map(|answer| answer.text.as_str())
                    .collect();
                let more = if answers.len() > MAX_ANSWERS {
                    ", …"
                } else {
                    ""
                };
                format!("the script can answer: {}{more}", listed.join(", or "))
            }
        };
        let mut told = Told::new(SOURCE, format!("{shown}: {summary}"), route);
        if let Some(doubt) = self.doubt {
            told = told.and(SOURCE, format!("{doubt}: it may answer anything else too"));
        }
        for proxy in self.answers.iter().flat_map(|answer| &answer.proxies) {
            let is_first = first.as_ref().is_some_and(|first| {
                (&first.scheme, &first.addr, first.port) == (&proxy.scheme, &proxy.addr, proxy.port)
            });
            if !is_first && !told.others.contains(proxy) {
                told.others.push(proxy.clone());
            }
        }
        let mut leak = |what: String, functions: &[&str]| {
            if !functions.is_empty() {
                told.leaks.push(Leak {
                    what,
                    certain: false,
                    stop: format!("take {} out of the script", functions.join(" and ")),
                });
            }
        };
        let lookups = self.lookups.join(" and ");
        leak(
            format!(
                "names that the script has the browser look up, to decide about them ({lookups})"
            ),
            &self.lookups,
        );
        leak(
            "this machine's own name, which the script may have the browser look up (myIpAddress)"
                .to_owned(),
            &self.own_address,
        );
        told
    }
}

/// Why the literals that `FindProxyForURL` returns may not be all its answers; `None` when it always returns one of them.
fn returns(tokens: &[Token], is_answer: impl Fn(&str) -> bool) -> Option<&'static str> {
    const ELSEWHERE: &str = "the script's answers do not all stand where it returns them";
    let Some(body) = body(tokens) else {
        return Some("the script's FindProxyForURL is not written plainly");
    };
    let mut depth = 0_usize;
    let mut is_sure = false;
    for (at, token) in body.iter().enumerate() {
        match token {
            Token::Sign('{') => depth += 1,
            Token::Sign('}') => depth = depth.saturating_sub(1),
            // What is thrown is no answer: the browser goes direct then, or not at all.
            Token::Word(word) if word == "throw" => return Some(ELSEWHERE),
            Token::Word(word) if word == "return" => {
                let value = body.get(at + 1..).unwrap_or_default();
                match value {
                    [Token::Text(text), Token::Sign(';' | '}'), ..] | [Token::Text(text)]
                        if is_answer(text) => {}
                    _ => return Some(ELSEWHERE),
                }
                // Not the branch of an `if` without braces.
                let begins_a_statement = match at.checked_sub(1).and_then(|at| body.get(at)) {
                    None | Some(Token::Sign(';' | '{' | '}')) => true,
                    Some(_) => false,
                };
                is_sure |= depth == 0 && begins_a_statement;
            }
            _ => {}
        }
    }
    // Without an answer a browser goes direct, or reports an error.
    (!is_sure).then_some("the script may end without an answer")
}

/// What is between the braces of `function FindProxyForURL(…) {…}`, the only mention of that name.
fn body(tokens: &[Token]) -> Option<&[Token]> {
    let is_name = |token: &Token| matches!(token, Token::Word(word) if word == "FindProxyForURL");
    let at = tokens.iter().position(is_name)?;
    let (before, rest) = tokens.split_at_checked(at)?;
    let rest = rest.get(1..)?;
    if rest.iter().any(is_name) {
        return None;
    }
    let is_function =
        |token: Option<&Token>| matches!(token, Some(Token::Word(word)) if word == "function");
    let rest = if is_function(before.last()) {
        rest
    } else if rest.first() == Some(&Token::Sign('=')) && is_function(rest.get(1)) {
        rest.get(2..)?
    } else {
        return None;
    };
    if rest.first() != Some(&Token::Sign('(')) {
        return None;
    }
    let start = rest.iter().position(|token| *token == Token::Sign('{'))?;
    let is_parameter =
        |token: &Token| matches!(token, Token::Word(_) | Token::Sign('(' | ',' | ')'));
    if !rest.get(..start)?.iter().all(is_parameter) {
        return None;
    }
    let body = rest.get(start + 1..)?;
    let mut depth = 0_usize;
    let end = body.iter().position(|token| match token {
        Token::Sign('{') => {
            depth += 1;
            false
        }
        Token::Sign('}') if depth == 0 => true,
        Token::Sign('}') => {
            depth -= 1;
            false
        }
        _ => false,
    })?;
    body.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::Posture;

    fn resolves(scheme: &str) -> Resolves {
        if scheme == "socks4" {
            Resolves::Local
        } else {
            Resolves::Remote
        }
    }

    fn of_url(url: &str) -> Told {
        let dir = tempfile::tempdir().unwrap();
        told(&View::of_disk(dir.path(), None), url, "socks4", &resolves)
    }

    fn of_script(script: &str) -> Told {
        let encoded: String = script.bytes().map(|byte| format!("%{byte:02x}")).collect();
        of_url(&format!("data:application/x-ns-proxy-autoconfig,{encoded}"))
    }

    /// The route in short, and how many further proxies there are.
    fn short(told: &Told) -> String {
        let others = told.others.len();
        let proxy = told.route.proxy().map_or_else(String::new, |proxy| {
            format!(" {proxy} {:?}", proxy.resolves)
        });
        let kind = match told.route {
            Route::Everything(_) => "all",
            Route::Some(_) => "some",
            Route::Direct => "direct",
            Route::Untold => "untold",
            Route::Unknown(_) => "unknown",
        };
        format!("{kind}{proxy} +{others}")
    }

    fn always(body: &str) -> String {
        format!("function FindProxyForURL(url, host) {{ {body} }}")
    }

    #[test]
    fn scripts() {
        for (body, expected) in [
            (
                "return 'SOCKS5 127.0.0.1:9050';",
                "all socks5://127.0.0.1:9050 Remote +0",
            ),
            ("return 'SOCKS h:1'", "all socks4://h:1 Local +0"),
            ("return 'socks4 h';", "all socks4://h:1080 Local +0"),
            ("return 'PROXY h';", "all http://h:80 Remote +0"),
            (
                "return 'HTTPS [::1]:8443';",
                "all https://[::1]:8443 Remote +0",
            ),
            (
                "return 'SOCKS5 a:1; SOCKS5 b:1';",
                "all socks5://a:1 Remote +1",
            ),
            (
                "return 'SOCKS5 a:1; SOCKS a:1';",
                "all socks5://a:1 Depends +1",
            ),
            (
                "return 'SOCKS5 a:1; DIRECT';",
                "some socks5://a:1 Remote +0",
            ),
            (
                "return 'SOCKS5 a:1; QUIC b:1';",
                "some socks5://a:1 Remote +0",
            ),
            ("return 'DIRECT';", "direct +0"),
            (
                "if (x) return 'DIRECT'; return 'SOCKS5 a:1';",
                "some socks5://a:1 Remote +0",
            ),
            (
                "if (x) { return 'SOCKS5 b:1'; } return 'PROXY a:1';",
                "some socks5://b:1 Remote +1",
            ),
            (
                "if (x) { return 'SOCKS5 a:1'; } return 'SOCKS5 a:1';",
                "all socks5://a:1 Remote +0",
            ),
            (
                "/* return 'DIRECT'; */ return 'SOCKS5 a:1'; // 'DIRECT'\n",
                "all socks5://a:1 Remote +0",
            ),
            // What may not be all that it answers.
            ("if (x) return 'SOCKS5 a:1';", "some socks5://a:1 Remote +0"),
            (
                "if (x) { return 'SOCKS5 a:1'; }",
                "some socks5://a:1 Remote +0",
            ),
            ("return 'SOCKS5 a:' + port;", "some +0"),
            ("return 'SOCKS5 ' + proxy;", "some +0"),
            ("return `SOCKS5 ${proxy}`;", "some +0"),
            (
                "return 'SOCKS5 a:1;' + 'DIRECT';",
                "some socks5://a:1 Remote +0",
            ),
            (
                "var p = 'SOCKS5 a:1'; return p;",
                "some socks5://a:1 Remote +0",
            ),
            (
                "return x ? 'SOCKS5 a:1' : y;",
                "some socks5://a:1 Remote +0",
            ),
            (
                "if (x) return; return 'SOCKS5 a:1';",
                "some socks5://a:1 Remote +0",
            ),
            (
                "if (x) throw 1; return 'SOCKS5 a:1';",
                "some socks5://a:1 Remote +0",
            ),
            (
                "if (x) { return y } return 'SOCKS5 a:1';",
                "some socks5://a:1 Remote +0",
            ),
            ("return 'nothing';", "some +0"),
            ("", "some +0"),
        ] {
            assert_eq!(short(&of_script(&always(body))), expected, "{body}");
        }
        for (script, expected) in [
            (
                "var FindProxyForURL = function(url, host) { return \"\\x53OCKS5 a:1\" };",
                "all socks5://a:1 Remote +0",
            ),
            (
                "function f(){return true} function FindProxyForURL(u,h){return 'SOCKS5 a:1'}",
                "all socks5://a:1 Remote +0",
            ),
            // The later of two counts.
            (
                "function FindProxyForURL(u,h){return 'SOCKS5 a:1'} FindProxyForURL = g;",
                "some socks5://a:1 Remote +0",
            ),
            (
                "var FindProxyForURL = f('SOCKS5 a:1');",
                "some socks5://a:1 Remote +0",
            ),
            (
                "function FindProxyForURL(u,h){return 'SOCKS5 a:1'",
                "some socks5://a:1 Remote +0",
            ),
            (
                "function FindProxyForURL(u,h){return 'SOCKS5 a:1'} /*",
                "some socks5://a:1 Remote +0",
            ),
            ("", "some +0"),
        ] {
            assert_eq!(short(&of_script(script)), expected, "{script}");
        }
    }

    #[test]
    fn what_the_word_socks_means_is_the_programs() {
        let url = "data:,function FindProxyForURL(url, host) { return 'SOCKS h:1'; }";
        let dir = tempfile::tempdir().unwrap();
        let view = View::of_disk(dir.path(), None);
        let route = told(&view, url, "socks5", &resolves).route;
        assert_eq!(route.proxy().unwrap().scheme, "socks5");
    }

    #[test]
    fn every_answer_is_shown() {
        let told = of_script(&always(
            "if (a) return 'DIRECT'; if (b) return 'SOCKS5 x:1'; return 'PROXY http://me:pw@y:2';",
        ));
        let detail = &told.evidence[0].detail;
        assert!(detail.contains("DIRECT, or SOCKS5 x:1"), "{detail}");
        assert!(detail.starts_with("data:… URL: "), "{detail}");
        assert!(!format!("{told:?}").contains("pw"), "{told:?}");
        let pieces = of_script(&always("return 'SOCKS5 ' + p;"));
        assert!(pieces.evidence[1].detail.contains("pieces"), "{pieces:?}");
    }

    #[test]
    fn names_that_scripts_have_looked_up() {
        let leaks = |body: &str| -> Vec<String> {
            let told = of_script(&always(&format!("{body} return 'SOCKS5 a:1';")));
            assert!(told.leaks.iter().all(|leak| !leak.certain));
            told.leaks.into_iter().map(|leak| leak.stop).collect()
        };
        assert_eq!(
            leaks("dnsResolve(host);"),
            ["take dnsResolve out of the script"]
        );
        assert_eq!(
            leaks("if (isInNet(host, '10.0.0.0', '255.0.0.0')) ;"),
            ["take isInNet out of the script"]
        );
        assert_eq!(
            leaks("isInNet(dnsResolve(host), 'a', 'b'); isResolvable(host);"),
            ["take dnsResolve and isResolvable out of the script"]
        );
        assert_eq!(
            leaks("isInNet(myIpAddress(), 'a', 'b');"),
            ["take myIpAddress out of the script"]
        );
        for harmless in [
            "// dnsResolve(host)",
            "dnsDomainIs(host, '.a'); shExpMatch(host, 'b'); isPlainHostName(host);",
            "x.dnsResolve(host);",
            "'dnsResolve(host)';",
        ] {
            assert!(leaks(&format!("{harmless}\n")).is_empty(), "{harmless}");
        }
    }

    #[test]
    fn urls() {
        let script = always("return 'SOCKS5 a:1';");
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a b.pac"), &script).unwrap();
        std::fs::File::create(dir.path().join("long.pac"))
            .unwrap()
            .set_len(2 * 1024 * 1024)
            .unwrap();
        std::os::unix::fs::symlink("/../../etc/shadow", dir.path().join("out.pac")).unwrap();
        let view = View::of_disk(dir.path(), None);
        for (url, expected) in [
            ("file:///a%20b.pac", "all socks5://a:1 Remote +0"),
            (
                "FILE://localhost/a%20b.pac?x#y",
                "all socks5://a:1 Remote +0",
            ),
            ("file:/a%20b.pac", "all socks5://a:1 Remote +0"),
            ("file://server/a%20b.pac", "some +0"),
            ("file:///none.pac", "some +0"),
            ("file:///out.pac", "some +0"),
            ("file:///long.pac", "some +0"),
            ("file:///", "unknown +0"),
            ("file:", "some +0"),
            ("http://user:pw@wpad/wpad.dat", "some +0"),
            (
                "data:;base64,ZnVuY3Rpb24gRmluZFByb3h5Rm9yVVJMKHUsaCl7cmV0dXJuICdTT0NLUzUgYToxJ30=",
                "all socks5://a:1 Remote +0",
            ),
            ("data:;base64,!", "some +0"),
            ("data:", "some +0"),
            ("dätä", "some +0"),
            ("", "some +0"),
        ] {
            let told = told(&view, url, "socks4", &resolves);
            assert_eq!(short(&told), expected, "{url}");
            assert!(!format!("{told:?}").contains("pw"), "{told:?}");
        }
    }

    #[test]
    fn hostile_scripts_are_harmless() {
        let script = always(
            "if (isInNet(host, `a${'b'}`)) { return \"SOCKS5 a:1\"; } return /x/ ? 'DIRECT' : 1;",
        );
        for end in 0..script.len() {
            of_script(&script[..end]);
        }
        let many: String = (0..50_000).map(|n| format!("'SOCKS5 a{n}:1';")).collect();
        let told = of_script(&many);
        assert!(told.others.len() <= MAX_ANSWERS && told.evidence[0].detail.len() < 4096);
        let long = of_script(&format!("'{}'", "SOCKS5 a:1;".repeat(50_000)));
        assert!(long.evidence[0].detail.len() < 4096);
        let deep = of_script(&"function FindProxyForURL(){".repeat(30_000));
        assert!(!Posture::combine([deep]).proxies_everything());
    }
}
