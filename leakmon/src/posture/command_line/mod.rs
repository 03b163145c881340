//! Programs that are told of a proxy on their command line, by files of their own and by the environment: one file each,
//! and a table for those that need no more ([`super::Programs`]).

mod curl;
mod curl_options;
mod git;
mod git_config;
mod git_url;
mod java;
mod nc;
mod ssh;
mod ssh_config;
mod table;
mod wget;

use super::{Fault, Programs, Subject, Told, View, proxy::Written};
use crate::model::{ProxySetting, Resolves};

/// What places of this kind are called.
const SOURCE: &str = "command-line";

/// What a known program was told, the first counts; `None` for another program.
pub fn told(subject: &Subject<'_>) -> Option<Vec<Told>> {
    let process = subject.process;
    // Without its command line nothing else decides: it comes first everywhere.
    process.cmdline.as_ref()?;
    // What the user says of a program counts instead of what leakmon knows.
    if let Some((program, arguments)) = subject.programs.find(process) {
        return Some(table::told(subject.view, program, arguments));
    }
    let program = process.program()?;
    match program {
        "curl" => Some(curl::told(subject)),
        "git" => Some(git::told(subject)),
        "java" => Some(java::told(subject)),
        "nc" | "nc.openbsd" | "ncat" => Some(nc::told(subject)),
        "ssh" => Some(ssh::told(subject)),
        "wget" => Some(wget::told(subject)),
        _ if program.starts_with("git-remote-") => Some(git::told(subject)),
        _ => {
            let (program, arguments) = Programs::built_in().find(process)?;
            Some(table::told(subject.view, program, arguments))
        }
    }
}

/// A scheme as curl's library understands it (lib/url.c, `parse_proxy`): what is shown, and who resolves names. `socks` is
/// SOCKS4 there.
fn as_curl(scheme: &str) -> Option<(&'static str, Resolves)> {
    Some(match scheme {
        "socks4" | "socks" => ("socks4", Resolves::Local),
        "socks4a" => ("socks4a", Resolves::Remote),
        "socks5" => ("socks5", Resolves::Local),
        "socks5h" => ("socks5", Resolves::Remote),
        "http" => ("http", Resolves::Remote),
        "https" => ("https", Resolves::Remote),
        _ => return None,
    })
}

/// A proxy as curl's library reads it: without a scheme `default` counts, without a port 1080, or 443 for HTTPS
/// (curl(1), `--proxy`).
fn curl_proxy(text: &str, default: &str) -> Option<ProxySetting> {
    let written = Written::parse(text)?;
    let (scheme, resolves) = as_curl(written.scheme.as_deref().unwrap_or(default))?;
    let port = if scheme == "https" { 443 } else { 1080 };
    Some(written.setting(scheme, port, resolves))
}

/// The same proxy, written so that curl's library leaves names to it.
fn leaving_names(proxy: &ProxySetting) -> String {
    let scheme = if proxy.scheme.starts_with("socks4") {
        "socks4a"
    } else {
        "socks5h"
    };
    let scheme = ProxySetting {
        scheme: scheme.to_owned(),
        ..proxy.clone()
    };
    scheme.to_string()
}

/// The scheme of an address, in lower case.
fn scheme_of(url: &str) -> Option<String> {
    let (scheme, _) = url.split_once("://")?;
    let is_scheme = !scheme.is_empty()
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

/// A program's own file. One of a program that has ended is as good as none: nothing is made of it.
fn read(view: &View, path: &str) -> Result<Option<String>, Fault> {
    if !view.is_open() {
        return Ok(None);
    }
    match view.text(path) {
        Err(Fault::Gone { .. }) => Ok(None),
        read => read,
    }
}
