//! What leakmon and the machine are.

use std::{env, fs, path::Path};

use super::Check;
use crate::{capture::machine::plain, config, version};

/// Places of the description of the distribution, of which the first counts (os-release(5)).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// What the kernel was told about BPF (Documentation/admin-guide/sysctl/net.rst, kernel.rst).
const SETTINGS: [(&str, &str); 2] = [
    (
        "net.core.bpf_jit_enable",
        "/proc/sys/net/core/bpf_jit_enable",
    ),
    (
        "unprivileged_bpf_disabled",
        "/proc/sys/kernel/unprivileged_bpf_disabled",
    ),
];

/// All that is told of leakmon and the machine.
pub(super) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = ["leakmon", "kernel object"]
        .into_iter()
        .zip(version::LONG.lines())
        .map(|(what, line)| Check::fact(what, line.trim_start_matches("kernel object ")))
        .collect();
    checks.push(Check::fact("distribution", distribution()));
    let architecture = rustix::system::uname();
    let architecture = architecture.machine().to_string_lossy();
    checks.push(Check::fact("architecture", architecture));
    checks.push(Check::fact("lockdown", lockdown()));
    let btf = if Path::new("/sys/kernel/btf/vmlinux").exists() {
        "of the kernel is there; leakmon does not need it"
    } else {
        "of the kernel is not there; leakmon does not need it"
    };
    checks.push(Check::fact("BTF", btf));
    for (name, path) in SETTINGS {
        checks.push(Check::fact(name, value(path)));
    }
    checks.extend(configuration());
    checks
}

/// What a small file of the kernel holds.
fn value(path: &str) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().to_owned(),
        Err(error) => format!("not known: {}", plain(&error)),
    }
}

fn distribution() -> String {
    let text = OS_RELEASE
        .iter()
        .find_map(|path| fs::read_to_string(path).ok());
    text.and_then(|text| pretty_name(&text))
        .map_or_else(|| "not known".to_owned(), |name| without_host(&name))
}

/// The name for people in os-release(5), which may be quoted as for a shell.
fn pretty_name(text: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// Which lockdown mode is on: `none [integrity] confidentiality` (security/lockdown/lockdown.c). Without securityfs the
/// kernel does not say.
fn lockdown() -> String {
    let text = match fs::read_to_string("/sys/kernel/security/lockdown") {
        Ok(text) => text,
        Err(error) => return format!("not known: {}", plain(&error)),
    };
    let chosen = text.split(['[', ']']).nth(1);
    chosen.unwrap_or("not known").to_owned()
}

/// Which configuration files are there, by names that tell nobody's home.
fn configuration() -> Vec<Check> {
    let exists = |path: &Path| match path.try_exists() {
        Ok(true) => "is there".to_owned(),
        Ok(false) => "is not there".to_owned(),
        Err(error) => format!("not known: {}", plain(&error)),
    };
    let mut checks = vec![Check::fact(
        "configuration",
        format!("{} {}", config::MACHINE, exists(Path::new(config::MACHINE))),
    )];
    let absolute = |name| env::var(name).ok().filter(|path| path.starts_with('/'));
    let own = match (absolute("XDG_CONFIG_HOME"), absolute("HOME")) {
        (Some(folder), _) => Some(("$XDG_CONFIG_HOME", folder)),
        (None, Some(home)) => Some(("~/.config", format!("{home}/.config"))),
        (None, None) => None,
    };
    if let Some((shown, folder)) = own {
        let below = config::BELOW_CONFIG;
        let detail = format!(
            "{shown}/{below} {}",
            exists(&Path::new(&folder).join(below))
        );
        checks.push(Check::fact("configuration", detail));
    }
    checks
}

/// A kernel or distribution that somebody made may be named after the machine.
pub(super) fn without_host(text: &str) -> String {
    let host = rustix::system::uname();
    without_word(text, &host.nodename().to_string_lossy())
}

/// The text without a word and the first label of it.
fn without_word(text: &str, word: &str) -> String {
    let label = word.split('.').next().unwrap_or_default();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut shown = String::new();
    for piece in text.split_inclusive(|c| !is_part(c)) {
        let bare = piece.trim_end_matches(|c| !is_part(c));
        // Numbers are the version's own.
        if bare == label && bare.contains(char::is_alphabetic) {
            shown.push('…');
            shown.push_str(&piece[bare.len()..]);
        } else {
            shown.push_str(piece);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_distributions() {
        for (text, expected) in [
            (
                "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
                Some("Debian GNU/Linux 12 (bookworm)"),
            ),
            ("PRETTY_NAME='Void Linux'\n", Some("Void Linux")),
            ("PRETTY_NAME=Arch\n", Some("Arch")),
            ("NAME=Arch\n", None),
        ] {
            assert_eq!(pretty_name(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_kernel_named_after_its_machine() {
        for (text, host, expected) in [
            ("6.12.3-attic+", "attic", "6.12.3-…+"),
            ("6.12.3-attic", "attic.home.arpa", "6.12.3-…"),
            ("6.12.3-attics", "attic", "6.12.3-attics"),
            ("6.12.3", "12", "6.12.3"),
        ] {
            assert_eq!(without_word(text, host), expected);
        }
    }
}
