//! Programs of a table: what their options and their variables say.

use super::{SOURCE, scheme_of};
use crate::{
    model::Resolves,
    posture::{
        Bypass, Language, Route, Told, View,
        environment::{self, Reads},
        programs::{Program, Understood},
        without_password,
    },
};

/// The kinds of addresses that variables and options may be for.
const KINDS: [&str; 3] = ["http", "https", "ftp"];

/// What such a program was told, the first counts.
pub fn told(view: &View, program: &Program, arguments: &[String]) -> Vec<Told> {
    let mut all: Vec<Told> = Vec::new();
    let direct = arguments
        .iter()
        .find(|argument| program.direct_options.contains(argument));
    if let Some(option) = direct {
        all.push(Told::new(SOURCE, option, Route::Direct));
    }
    let schemes: Vec<String> = arguments.iter().filter_map(|one| scheme_of(one)).collect();
    let schemes: Vec<&str> = schemes
        .iter()
        .map(String::as_str)
        .filter(|scheme| KINDS.contains(scheme))
        .collect();
    if let Some((option, value)) = last(arguments, &program.proxy_options) {
        let understood = program.understand(value);
        let kind = environment::kind(option.trim_start_matches('-'));
        let for_all = kind
            .is_none_or(|kind| !schemes.is_empty() && schemes.iter().all(|scheme| *scheme == kind));
        let rest = (!for_all).then_some(Understood::Nothing);
        let told = environment::merge(rest.into_iter().chain([understood.clone()]));
        let told = told.and(SOURCE, without_password(&format!("{option} {value}")));
        all.push(match understood {
            Understood::Unclear => told.and("program", "what it makes of this is not known"),
            _ => told,
        });
    }
    let texts = |list: &'_ [String]| list.to_vec();
    let (proxies, no_proxy) = (texts(&program.environment), texts(&program.no_proxy));
    let proxies: Vec<&str> = proxies.iter().map(String::as_str).collect();
    let no_proxy: Vec<&str> = no_proxy.iter().map(String::as_str).collect();
    let reads = Reads {
        proxies: &proxies,
        no_proxy: &no_proxy,
    };
    match reads.told(view, &schemes, |value| program.understand(value)) {
        Some(told) => all.push(told),
        None if proxies.is_empty() => {}
        None => all.extend(environment::unread(view)),
    }
    let bypass = match last(arguments, &program.bypass_options) {
        Some((_, list)) => Bypass::new(list, &[',', ' '], Language::Suffix),
        None => reads.bypass(view),
    };
    for told in &mut all {
        told.bypass = bypass.clone();
        if !told.leaks.is_empty() {
            told.evidence.push(crate::model::Evidence::new(
                "program",
                "it does not know this kind of proxy and goes without it",
            ));
        }
        let resolves_itself = told
            .route
            .proxy()
            .is_some_and(|proxy| proxy.resolves == Resolves::Local);
        if let Some(advice) = &program.advice {
            if resolves_itself || !told.leaks.is_empty() {
                told.advice = Some(advice.clone());
            }
            for leak in &mut told.leaks {
                leak.stop.clone_from(advice);
            }
        }
    }
    all
}

/// The last of these options: `--option VALUE`, `--option=VALUE`, and for one letter `-oVALUE` too.
fn last<'a>(arguments: &'a [String], options: &'a [String]) -> Option<(&'a str, &'a str)> {
    let mut found = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            break;
        }
        for option in options {
            let Some(rest) = argument.strip_prefix(option.as_str()) else {
                continue;
            };
            let value = if rest.is_empty() {
                arguments.next().map(String::as_str)
            } else if option.len() == 2 {
                Some(rest)
            } else {
                rest.strip_prefix('=')
            };
            if let Some(value) = value {
                found = Some((option.as_str(), value));
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{Posture, Programs, testing::Scene};

    fn posture(text: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Posture {
        let programs = Programs::parse(text, "t.toml").unwrap();
        let scene = Scene::new("/usr/bin/mytool")
            .args(arguments)
            .variables(variables);
        let told = told(&scene.view(), &programs.programs[0], scene.arguments());
        Posture::combine(told)
    }

    const TOOL: &str = r#"
[[program]]
name = "mytool"
proxy-options = ["--proxy", "-x"]
bypass-options = ["--direct"]
direct-options = ["--no-proxy"]
environment = ["MYTOOL_PROXY", "http_proxy", "all_proxy"]
no-proxy = ["no_proxy"]
resolves-itself = ["socks5"]
leaves-names = ["socks5h", "http"]
advice = "use socks5h"
"#;

    #[test]
    fn options_before_variables() {
        let local = posture(TOOL, &["-xsocks5://u:secret@h:1"], &[("all_proxy", "x")]);
        assert_eq!(local.resolves(), Resolves::Local);
        assert_eq!(local.proxy().unwrap().to_string(), "socks5://h:1");
        assert_eq!(local.leaks[0].stop, "use socks5h");
        assert!(!format!("{local:?}").contains("secret"));
        assert_eq!(local.overruled.len(), 1);
        let remote = posture(TOOL, &["--proxy=socks5h://h", "--direct", "a,b"], &[]);
        assert_eq!(remote.resolves(), Resolves::Remote);
        assert_eq!(remote.bypass.rules, ["a", "b"]);
        assert!(remote.leaks.is_empty());
        assert_eq!(
            posture(TOOL, &["--no-proxy", "--proxy", "h"], &[]).route,
            Route::Direct
        );
        assert_eq!(posture(TOOL, &["--proxy", ""], &[]).route, Route::Direct);
        assert_eq!(
            posture(TOOL, &["--proxy", "weird://h"], &[]).resolves(),
            Resolves::Unknown
        );
        assert!(posture(TOOL, &["--", "--proxy", "h"], &[]).is_empty());
    }

    #[test]
    fn variables() {
        let own = [("MYTOOL_PROXY", "socks5://a"), ("all_proxy", "socks5h://b")];
        assert_eq!(posture(TOOL, &[], &own).proxy().unwrap().addr, "a");
        let http = [("http_proxy", "h:1")];
        assert_eq!(posture(TOOL, &[], &http).resolves(), Resolves::Depends);
        let web = posture(TOOL, &["http://page.example"], &http);
        assert_eq!(web.proxy().unwrap().to_string(), "http://h:1");
        assert_eq!(web.resolves(), Resolves::Remote);
        let other = posture(TOOL, &["https://page.example"], &http);
        assert!(other.is_empty());
        assert!(posture(TOOL, &[], &[]).is_empty());
    }

    #[test]
    fn the_built_in_ones() {
        let built_in = Programs::built_in();
        assert!(built_in.programs.len() >= 3, "programs.toml can be read");
        let posture = |name: &str, arguments: &[&str], variables: &[(&str, &str)]| {
            let scene = Scene::new(&format!("/usr/bin/{name}"))
                .args(arguments)
                .variables(variables);
            let (process, view) = (scene.process(), scene.view());
            let (program, arguments) = built_in.find(&process).unwrap();
            Posture::combine(told(&view, program, arguments))
        };
        let aria = posture("aria2c", &["http://p/"], &[("all_proxy", "socks5://h:1")]);
        assert_eq!(aria.route, Route::Direct);
        assert!(aria.leaks[0].certain);
        let aria = posture("aria2c", &["--http-proxy=h", "https://p/"], &[]);
        assert_eq!(aria.resolves(), Resolves::Depends);
        let tube = posture(
            "python3.11",
            &["/usr/bin/yt-dlp", "--proxy", "socks5://h"],
            &[],
        );
        assert_eq!(tube.resolves(), Resolves::Remote);
        let pip = posture("python3", &["-m", "pip", "--proxy=socks5://h"], &[]);
        assert_eq!(pip.resolves(), Resolves::Local);
    }
}
