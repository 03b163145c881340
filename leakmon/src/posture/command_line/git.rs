//! git: `http.proxy` and its relatives, then the environment as its HTTP helper reads it (http.c, `http_init` and
//! `get_curl_handle`; git-config(1)).
//!
//! The helper is a process of its own, git-remote-http, linked with curl's library. `-c` reaches it in
//! `GIT_CONFIG_PARAMETERS`, which git's first process does not have in its own environment.

use super::{
    SOURCE, curl_proxy, git_config::Config, git_config::Variable, git_url, java::words,
    leaving_names, scheme_of,
};
use crate::{
    model::Resolves,
    posture::{
        Bypass, Route, Subject, Told, View,
        environment::{self, Reads},
        programs::Understood,
        without_password,
    },
};

/// The commands that talk to other machines, and may do so over HTTP.
const COMMANDS: [&str; 17] = [
    "archive",
    "clone",
    "fetch",
    "fetch-pack",
    "http-fetch",
    "http-push",
    "lfs",
    "ls-remote",
    "maintenance",
    "pull",
    "push",
    "remote",
    "remote-ftp",
    "remote-ftps",
    "remote-http",
    "remote-https",
    "submodule",
];

/// What git reads itself (http.c): `HTTPS_PROXY` only for HTTPS, `HTTP_PROXY` never.
const READS: Reads<'_> = Reads {
    proxies: &[
        "http_proxy",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ],
    no_proxy: &["no_proxy", "NO_PROXY"],
};

/// git's command line: options before the command, the command, its arguments.
#[derive(Debug, Default)]
struct Line<'a> {
    /// `-c name=value`.
    settings: Vec<(&'a str, &'a str)>,
    /// `--config-env=name=variable`.
    from_variables: Vec<(&'a str, &'a str)>,
    folder: Option<&'a str>,
    git_dir: Option<&'a str>,
    command: &'a str,
    arguments: &'a [String],
}

/// What git was told, the first counts.
pub fn told(subject: &Subject<'_>) -> Vec<Told> {
    let view = subject.view;
    let program = subject.process.program().unwrap_or_default();
    let line = match program.strip_prefix("git-") {
        Some(command) => Line {
            command,
            arguments: subject.arguments(),
            ..Line::default()
        },
        None => Line::read(subject.arguments()),
    };
    let config = configuration(
        view,
        subject.process.exe.as_deref().unwrap_or_default(),
        &line,
    );
    if !COMMANDS.contains(&line.command) {
        let alias = config.last("alias", None, &line.command.to_ascii_lowercase());
        let first = alias.and_then(|alias| alias.value.split_whitespace().next());
        if !first.is_some_and(|first| COMMANDS.contains(&first)) {
            return Vec::new();
        }
    }
    decide(view, &config, &line)
}

fn decide(view: &View, config: &Config<'_>, line: &Line<'_>) -> Vec<Told> {
    let mut remote = Remote::of(config, line);
    remote.url = remote.url.map(|url| rewritten(config, url));
    // Other ways than HTTP have nothing to do with all this: ssh is a program of its own.
    if let Some(url) = &remote.url {
        match scheme_of(url).as_deref() {
            Some("http" | "https" | "ftp" | "ftps") => {}
            Some("git") => return git_protocol(config),
            _ => return Vec::new(),
        }
    }
    let mut all = Vec::new();
    let mut settings = Vec::new();
    settings.extend(
        remote
            .name
            .as_deref()
            .and_then(|name| config.last("remote", Some(name), "proxy")),
    );
    let (matching, unmatched) = by_url(config, remote.url.as_deref());
    settings.extend(matching);
    settings.extend(config.last("http", None, "proxy"));

    if let Some(fault) = &config.fault {
        let by_option = settings
            .first()
            .is_some_and(|one| one.source != "gitconfig");
        if !by_option {
            all.push(Told::unread("gitconfig", fault));
        }
    }
    if let Some(detail) = &config.conditional {
        all.push(
            Told::new("gitconfig", detail, Route::Unknown(None))
                .and("git", "whether the condition holds is not known"),
        );
    }
    for variable in unmatched {
        // Without the address it is not known whether it counts.
        let proxy = curl_proxy(&variable.value, "http");
        all.push(Told {
            bypass: bypass(view),
            ..Told::new(variable.source, detail(variable), Route::Some(proxy))
        });
    }
    for variable in settings {
        let understood = understand(&variable.value);
        let told = environment::merge([understood.clone()]);
        let told = told.and(variable.source, detail(variable));
        let told = explained(told);
        let advice = match &understood {
            Understood::Proxy(proxy) if proxy.resolves == Resolves::Local => {
                let (key, leaving) = (shown_key(variable), leaving_names(proxy));
                Some(match variable.source {
                    "gitconfig" => {
                        let file = variable.place.trim_end_matches(": ");
                        format!("git config --file {file} {key} {leaving}")
                    }
                    _ => format!("use -c {key}={leaving}"),
                })
            }
            _ => None,
        };
        all.push(Told {
            bypass: bypass(view),
            advice,
            ..told
        });
    }
    let scheme = remote.url.as_deref().and_then(scheme_of);
    let schemes: Vec<&str> = scheme.as_deref().into_iter().collect();
    match READS.told(view, &schemes, understand) {
        Some(told) => {
            let advice = told
                .route
                .proxy()
                .filter(|proxy| proxy.resolves == Resolves::Local);
            let advice = advice
                .map(|proxy| format!("git config --global http.proxy {}", leaving_names(proxy)));
            all.push(Told {
                advice,
                ..explained(told)
            });
        }
        None => all.extend(environment::unread(view)),
    }
    all
}

fn explained(told: Told) -> Told {
    match told
        .route
        .proxy()
        .map(|proxy| (proxy.scheme.as_str(), proxy.resolves))
    {
        Some((scheme, Resolves::Local)) => {
            let meaning = format!("git resolves names itself for {scheme}://");
            told.and("git", meaning)
        }
        _ => told,
    }
}

/// git hands curl's library the scheme that is written, and `http` for none.
fn understand(value: &str) -> Understood {
    if value.is_empty() {
        return Understood::Nothing;
    }
    curl_proxy(value, "http").map_or(Understood::Unclear, Understood::Proxy)
}

fn bypass(view: &View) -> Bypass {
    READS.bypass(view)
}

/// The name of a variable, in which an address may stand.
fn shown_key(variable: &Variable) -> String {
    without_password(&variable.key.to_string())
}

fn detail(variable: &Variable) -> String {
    let key = shown_key(variable);
    let shown = without_password(&format!("{}{key} = {}", variable.place, variable.value));
    match (
        variable.value.contains("://"),
        variable.value.rsplit_once('@'),
    ) {
        (false, Some((_, host))) => format!("{}{key} = …@{host}", variable.place),
        _ => shown,
    }
}

/// `git://` has a command of its own to connect with (git-config(1), core.gitProxy).
fn git_protocol(config: &Config<'_>) -> Vec<Told> {
    let command = config.last("core", None, "gitproxy");
    command
        .filter(|command| command.value != "none")
        .map(|command| {
            Told::new(command.source, detail(command), Route::Unknown(None)).and(
                "git",
                "git leaves the host's name to this command; what that does with it is not known",
            )
        })
        .into_iter()
        .collect()
}

/// The `http.<url>.proxy` that counts for an address: the one that fits best, of equals the last. Without an address all of
/// them are given back, since any may count.
fn by_url<'a>(
    config: &'a Config<'_>,
    url: Option<&str>,
) -> (Option<&'a Variable>, Vec<&'a Variable>) {
    let own = config.variables.iter().filter(|one| {
        one.key.section == "http" && one.key.name == "proxy" && one.key.subsection.is_some()
    });
    let Some(url) = url else {
        return (None, own.collect());
    };
    let best = own
        .filter_map(|one| Some((git_url::fit(one.key.subsection.as_deref()?, url)?, one)))
        .max_by_key(|(fit, _)| *fit);
    (best.map(|(_, one)| one), Vec::new())
}

/// An address as `url.<base>.insteadOf` makes it: the longest beginning that fits counts (git-config(1)).
fn rewritten(config: &Config<'_>, url: String) -> String {
    let bases = config
        .variables
        .iter()
        .filter(|one| one.key.section == "url" && one.key.name == "insteadof");
    let longest = bases
        .filter_map(|one| Some((one, url.strip_prefix(&one.value)?)))
        .max_by_key(|(one, _)| one.value.len());
    match longest {
        Some((one, rest)) => format!(
            "{}{rest}",
            one.key.subsection.as_deref().unwrap_or_default()
        ),
        None => url,
    }
}

/// The other side of the command.
#[derive(Debug, Default)]
struct Remote {
    name: Option<String>,
    url: Option<String>,
}

impl Remote {
    fn of(config: &Config<'_>, line: &Line<'_>) -> Self {
        let plain: Vec<&str> = line
            .arguments
            .iter()
            .map(String::as_str)
            .filter(|argument| !argument.starts_with('-'))
            .collect();
        if let Some(url) = plain.iter().find(|one| scheme_of(one).is_some()) {
            let is_helper = line.command.starts_with("remote-");
            let name = plain.first().filter(|name| is_helper && *name != url);
            return Self {
                name: name.map(|name| (*name).to_owned()),
                url: Some((*url).to_owned()),
            };
        }
        if !["fetch", "pull", "push", "ls-remote"].contains(&line.command) {
            return Self::default();
        }
        let known = |name: &&&str| config.last("remote", Some(name), "url").is_some();
        let name = match plain.iter().find(known) {
            Some(name) => (*name).to_owned(),
            // `git@host:path` and paths are no remotes' names; which is meant without any may depend on the branch.
            None if plain.is_empty() => {
                let mut names = config
                    .variables
                    .iter()
                    .filter(|one| one.key.section == "remote" && one.key.name == "url")
                    .filter_map(|one| one.key.subsection.as_deref());
                match (names.next(), names.next()) {
                    (Some(only), None) => only.to_owned(),
                    _ => return Self::default(),
                }
            }
            None => {
                return Self {
                    name: None,
                    url: plain
                        .first()
                        .map(|one| (*one).to_owned())
                        .filter(|one| one.contains([':', '/'])),
                };
            }
        };
        let url = config.last("remote", Some(&name), "url");
        Self {
            url: url.map(|url| url.value.clone()),
            name: Some(name),
        }
    }
}

/// Reads all that may set something, what counts most last.
fn configuration<'a>(view: &'a View, exe: &str, line: &Line<'_>) -> Config<'a> {
    let mut config = Config::new(view);
    // A git of /usr/local has its file there (Makefile, `ETC_GITCONFIG`).
    let system = match view.variable("GIT_CONFIG_SYSTEM") {
        Some(path) => path,
        None if exe.starts_with("/usr/local/") => "/usr/local/etc/gitconfig",
        None => "/etc/gitconfig",
    };
    if view.variable("GIT_CONFIG_NOSYSTEM").is_none() {
        config.file(system);
    }
    if let Some(path) = view.variable("GIT_CONFIG_GLOBAL") {
        config.file(path);
    } else {
        if let Some(folder) = view.config_home() {
            config.file(&format!("{folder}/git/config"));
        }
        if let Some(path) = view.at_home(".gitconfig") {
            config.file(&path);
        }
    }
    if let Some(folder) = repository(view, line) {
        config.file(&format!("{folder}/config"));
    }
    let count = view
        .variable("GIT_CONFIG_COUNT")
        .and_then(|count| count.parse::<u32>().ok());
    for number in 0..count.unwrap_or_default().min(1024) {
        let part = |part: &str| view.variable(&format!("GIT_CONFIG_{part}_{number}"));
        if let (Some(key), value) = (part("KEY"), part("VALUE").unwrap_or_default()) {
            config.set(key, value, environment::SOURCE, "GIT_CONFIG_COUNT: ");
        }
    }
    // 'key'='value' 'key'='value', or in older versions 'key=value' (config.c, `git_config_from_parameters`).
    for word in words(view.variable("GIT_CONFIG_PARAMETERS").unwrap_or_default()) {
        if let Some((key, value)) = parameter(&word) {
            config.set(key, value, environment::SOURCE, "GIT_CONFIG_PARAMETERS: ");
        }
    }
    for (key, value) in &line.settings {
        config.set(key, value, SOURCE, "-c ");
    }
    for (key, variable) in &line.from_variables {
        let value = view.variable(variable).unwrap_or_default();
        config.set(key, value, SOURCE, "--config-env ");
    }
    config
}

/// `key=value`, of which the key may have `=` in an address; the name of a variable has none (git(1), `-c`: the first `=`
/// counts there).
fn parameter(text: &str) -> Option<(&str, &str)> {
    text.split_once('=')
}

/// The folder with the repository's `config`.
fn repository(view: &View, line: &Line<'_>) -> Option<String> {
    if !view.is_open() {
        return None;
    }
    let start = match line.folder {
        Some(folder) => view.absolute(folder)?,
        None => view.working_folder()?,
    };
    let from_start = |path: &str| match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{start}/{path}"),
    };
    if let Some(dir) = line.git_dir.or_else(|| view.variable("GIT_DIR")) {
        return Some(from_start(dir));
    }
    let mut folder = start.as_str();
    for _ in 0..64 {
        let dot = format!("{}/.git", folder.trim_end_matches('/'));
        if view.exists(&format!("{dot}/config")) == Ok(true) {
            return Some(dot);
        }
        // A work tree beside the repository (gitrepository-layout(5)).
        if let Ok(Some(text)) = view.text(&dot) {
            let dir = text.lines().next()?.strip_prefix("gitdir:")?.trim();
            let dir = match dir.starts_with('/') {
                true => dir.to_owned(),
                false => format!("{folder}/{dir}"),
            };
            return Some(match view.text(&format!("{dir}/commondir")) {
                Ok(Some(common)) => format!("{dir}/{}", common.trim()),
                _ => dir,
            });
        }
        if view.exists(&format!("{folder}/HEAD")) == Ok(true)
            && view.exists(&format!("{folder}/objects")) == Ok(true)
        {
            return Some(folder.to_owned());
        }
        folder = match folder.rsplit_once('/') {
            Some((above, _)) if !above.is_empty() => above,
            _ => return None,
        };
    }
    None
}

impl<'a> Line<'a> {
    fn read(arguments: &'a [String]) -> Self {
        let mut line = Self::default();
        let mut at = 0;
        while let Some(argument) = arguments.get(at) {
            at += 1;
            let next = arguments.get(at).map_or("", String::as_str);
            match argument.as_str() {
                "-c" => {
                    line.settings
                        .push(next.split_once('=').unwrap_or((next, "true")));
                    at += 1;
                }
                "-C" => {
                    line.folder = Some(next);
                    at += 1;
                }
                "--git-dir" => {
                    line.git_dir = Some(next);
                    at += 1;
                }
                "--config-env" => {
                    line.from_variables.extend(next.rsplit_once('='));
                    at += 1;
                }
                "--work-tree" | "--namespace" | "--super-prefix" | "--exec-path" => at += 1,
                option if option.starts_with('-') => {
                    if let Some(dir) = option.strip_prefix("--git-dir=") {
                        line.git_dir = Some(dir);
                    }
                    if let Some(pair) = option.strip_prefix("--config-env=") {
                        line.from_variables.extend(pair.rsplit_once('='));
                    }
                }
                command => {
                    line.command = command;
                    line.arguments = arguments.get(at..).unwrap_or_default();
                    break;
                }
            }
        }
        // `git clone -c` and `--config` set what counts for this clone too (git-clone(1)).
        if line.command == "clone" {
            let mut arguments = line.arguments.iter();
            while let Some(argument) = arguments.next() {
                let value = match argument.as_str() {
                    "-c" | "--config" => arguments.next().map(String::as_str),
                    other => other.strip_prefix("--config="),
                };
                line.settings
                    .extend(value.and_then(|value| value.split_once('=')));
            }
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posture::{
        Posture,
        testing::{Scene, shown},
    };

    fn posture(arguments: &[&str], variables: &[(&str, &str)], file: &str) -> Posture {
        let origin =
            "[remote \"origin\"]\n url = https://origin.example/x\n proxy = socks5://o:1\n";
        Scene::new("/usr/bin/git")
            .args(arguments)
            .variable("HOME", "/h")
            .variables(variables)
            .folder("h/.config/git")
            .file("h/.gitconfig", file)
            .file("h/more", "[http]\nproxy = socks5h://more\n")
            .file("r/.git/config", origin)
            .posture(told)
    }

    const URL: &str = "http://page.example/r.git";

    #[test]
    fn options_files_and_variables() {
        let local = "[http]\n\tproxy = socks5://file:1\n";
        for (arguments, variables, file, expected) in [
            (
                &["-c", "http.proxy=socks5://h:1", "ls-remote", URL][..],
                &[][..],
                "",
                "socks5://h:1 Local",
            ),
            (
                &["-c", "http.proxy=socks5h://h:1", "ls-remote", URL],
                &[],
                local,
                "socks5://h:1 Remote",
            ),
            (
                &["-c", "http.proxy=socks://h", "clone", URL],
                &[],
                "",
                "socks4://h:1080 Local",
            ),
            (
                &["-c", "http.proxy=h:1", "clone", URL],
                &[],
                "",
                "http://h:1 Remote",
            ),
            (
                &["clone", URL],
                &[("all_proxy", "socks5h://e")],
                local,
                "socks5://file:1 Local",
            ),
            (
                &["clone", URL],
                &[("all_proxy", "socks5://e")],
                "",
                "socks5://e:1080 Local",
            ),
            (
                &["clone", URL],
                &[("http_proxy", "socks5h://e"), ("all_proxy", "x")],
                "",
                "socks5://e:1080 Remote",
            ),
            (
                &["clone", URL],
                &[("GIT_CONFIG_PARAMETERS", "'http.proxy'='socks5h://p:1'")],
                local,
                "socks5://p:1 Remote",
            ),
            (
                &["clone", URL],
                &[
                    ("GIT_CONFIG_COUNT", "1"),
                    ("GIT_CONFIG_KEY_0", "http.proxy"),
                    ("GIT_CONFIG_VALUE_0", "socks5h://n"),
                ],
                local,
                "socks5://n:1080 Remote",
            ),
            (
                &["clone", "-c", "http.proxy=socks5h://c", URL],
                &[],
                local,
                "socks5://c:1080 Remote",
            ),
            (
                &["clone", URL],
                &[],
                "[include]\npath = more\n",
                "socks5://more:1080 Remote",
            ),
            (
                &["clone", URL],
                &[],
                "[includeIf \"gitdir:x\"]\npath = more\n",
                " Unknown",
            ),
            (&["-C", "/r", "fetch"], &[], local, "socks5://o:1 Local"),
            (
                &["-C", "/r", "ls-remote", "origin"],
                &[],
                "",
                "socks5://o:1 Local",
            ),
        ] {
            assert_eq!(
                shown(&posture(arguments, variables, file)),
                expected,
                "{arguments:?} {variables:?}"
            );
        }
        let off = posture(
            &["-c", "http.proxy=", "clone", URL],
            &[("all_proxy", "socks5://e")],
            local,
        );
        assert_eq!(off.route, Route::Direct);
        for arguments in [
            &["log"][..],
            &["clone", "git@host:x"],
            &["clone", "ssh://h/x"],
            &["clone", "/x"],
            &[],
        ] {
            let got = posture(arguments, &[], local);
            assert!(
                got.route != Route::Direct || got.is_empty(),
                "{arguments:?}"
            );
        }
        assert!(posture(&["log"], &[("all_proxy", "socks5://e")], local).is_empty());
        assert!(posture(&["clone", "ssh://h/x"], &[], local).is_empty());
        assert!(posture(&["clone", URL], &[], "").is_empty());
        let alias = "[alias]\nget = clone --bare\n[http]\nproxy = socks5://file:1\n";
        assert_eq!(
            shown(&posture(&["get", URL], &[], alias)),
            "socks5://file:1 Local"
        );
    }

    #[test]
    fn proxies_for_some_addresses() {
        let file = "[http]\nproxy = socks5://all\n[http \"http://*.example\"]\nproxy = socks5h://wild\n\
                    [http \"http://page.example/\"]\nproxy = socks5h://page\n[http \"http://page.example/rx\"]\nproxy = x\n";
        for (url, addr) in [
            (URL, "page"),
            ("http://x.example/", "wild"),
            ("https://page.example/", "all"),
            ("http://page.example:81/", "all"),
        ] {
            let posture = posture(&["clone", url], &[], file);
            assert_eq!(posture.proxy().unwrap().addr, addr, "{url}");
        }
        let instead =
            format!("{file}[url \"ssh://git@page.example/\"]\ninsteadOf = http://page.example/\n");
        assert!(posture(&["clone", URL], &[], &instead).is_empty());
        assert_eq!(
            posture(&["fetch", "unknown"], &[], file).resolves(),
            Resolves::Depends
        );
    }

    #[test]
    fn what_to_do() {
        let option = posture(
            &["-c", "http.proxy=socks5://me:pw@h:1", "clone", URL],
            &[],
            "",
        );
        assert_eq!(
            option.advice.as_deref(),
            Some("use -c http.proxy=socks5h://h:1")
        );
        assert!(!format!("{option:?}").contains("pw"));
        let file = posture(&["clone", URL], &[], "[http]\nproxy = socks5://h:1\n");
        assert_eq!(
            file.advice.as_deref(),
            Some("git config --file /h/.gitconfig http.proxy socks5h://h:1")
        );
    }
}
