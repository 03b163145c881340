//! As whom the command runs: as the user who called leakmon, and not as root, when sudo or one of its kind was used.

use std::{
    env,
    ffi::OsString,
    fs,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::Path,
};

use anyhow::Context;

use crate::accounts::{Account, accounts, caller};

const PASSWD: &str = "/etc/passwd";
/// Processes upwards from leakmon among which sudo is looked for.
const MAX_ANCESTORS: usize = 8;

/// A user with what the command is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoker {
    /// User id.
    pub uid: u32,
    /// Group ids, the user's own first.
    pub gids: Vec<u32>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
}

impl Invoker {
    /// A variable of the environment.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    /// Whose what leakmon writes of the run is.
    pub fn owner(&self) -> Owner {
        Owner {
            uid: self.uid,
            gid: self.gids[0],
        }
    }
}

/// Whose the files are that leakmon makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The user with that name or number, else the one who called sudo; `None` when the command runs as leakmon does.
///
/// # Errors
/// When there is no such user, or leakmon may not act for another.
pub fn find(user: Option<&str>) -> anyhow::Result<Option<Invoker>> {
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    let group = fs::read_to_string("/etc/group").unwrap_or_default();
    if let Some(user) = user {
        let account = accounts(&passwd)
            .find(|account| account.name == user || account.uid.to_string() == user)
            .with_context(|| {
                format!("no user of /etc/passwd has the name or number '{user}' that --user gives")
            })?;
        anyhow::ensure!(
            rustix::process::geteuid().is_root(),
            "--user takes root: sudo leakmon run --user {user} …"
        );
        let environment = env::vars_os().collect();
        return Ok(Some(of_account(&account, &group, environment, false)));
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let Some(uid) = caller(|name| env::var(name).ok(), &passwd) else {
        return Ok(None);
    };
    let (environment, is_own) = match environment_of_sudo() {
        Some(own) => (own, true),
        None => (env::vars_os().collect(), false),
    };
    let invoker = match accounts(&passwd).find(|account| account.uid == uid) {
        Some(account) => of_account(&account, &group, environment, is_own),
        // A user of another directory than /etc/passwd: what sudo says of it.
        None => Invoker {
            uid,
            gids: vec![sudo_gid().context(
                "the user who called sudo is not in /etc/passwd; say who the command is to run as: --user",
            )?],
            environment,
        },
    };
    Ok(Some(invoker))
}

/// Who called leakmon through sudo, for the files that it makes: `None` when nobody did, or their group is not known.
pub fn owner() -> Option<Owner> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string(PASSWD).unwrap_or_default();
    let uid = caller(|name| env::var(name).ok(), &passwd)?;
    let known = accounts(&passwd).find(|account| account.uid == uid);
    let gid = known.map(|account| account.gid).or_else(sudo_gid)?;
    Some(Owner { uid, gid })
}

/// The group of the user who called sudo (sudo(8)).
fn sudo_gid() -> Option<u32> {
    env::var("SUDO_GID").ok()?.parse().ok()
}

/// `is_own`: the environment is the user's own already.
fn of_account(
    account: &Account<'_>,
    group: &str,
    mut environment: Vec<(OsString, OsString)>,
    is_own: bool,
) -> Invoker {
    if !is_own {
        let runtime = format!("/run/user/{}", account.uid);
        let runtime = Path::new(&runtime).is_dir().then_some(runtime);
        environment = environment_for(account, environment, runtime.as_deref());
    }
    Invoker {
        uid: account.uid,
        gids: gids(account, group),
        environment,
    }
}

/// The user's groups: its own, and those that list it (group(5)).
fn gids(account: &Account<'_>, group: &str) -> Vec<u32> {
    let listed = group.lines().filter_map(|line| {
        let mut fields = line.split(':').skip(2);
        let gid: u32 = fields.next()?.parse().ok()?;
        let mut members = fields.next()?.split(',');
        (gid != account.gid && members.any(|member| member == account.name)).then_some(gid)
    });
    std::iter::once(account.gid).chain(listed).collect()
}

/// Root's environment made the user's: whose it is, and where that user's session is.
fn environment_for(
    account: &Account<'_>,
    mut environment: Vec<(OsString, OsString)>,
    runtime: Option<&str>,
) -> Vec<(OsString, OsString)> {
    let of_root = ["SUDO_", "PKEXEC_", "DOAS_"];
    environment.retain(|(name, _)| {
        !of_root
            .iter()
            .any(|start| name.as_bytes().starts_with(start.as_bytes()))
    });
    let session = runtime.map(|runtime| {
        [
            ("XDG_RUNTIME_DIR", runtime.to_owned()),
            (
                "DBUS_SESSION_BUS_ADDRESS",
                format!("unix:path={runtime}/bus"),
            ),
        ]
    });
    let own = [
        ("HOME", account.home.to_owned()),
        ("SHELL", account.shell.to_owned()),
        ("USER", account.name.to_owned()),
        ("LOGNAME", account.name.to_owned()),
    ];
    for (name, value) in own.into_iter().chain(session.into_iter().flatten()) {
        environment.retain(|(known, _)| known != name);
        environment.push((name.into(), value.into()));
    }
    environment
}

/// The environment that sudo was called with: it hands on only some of it (sudoers(5), `env_reset`), and a proxy's
/// variables are not among that.
fn environment_of_sudo() -> Option<Vec<(OsString, OsString)>> {
    let mut pid = std::process::id();
    for _ in 0..MAX_ANCESTORS {
        let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
        let stat = process.stat().ok()?;
        if stat.comm == "sudo" || stat.comm == "doas" {
            return parse(&fs::read(format!("/proc/{pid}/environ")).ok()?);
        }
        pid = u32::try_from(stat.ppid).ok()?;
    }
    None
}

/// An environment as proc_pid_environ(5) has it; `None` for an empty one.
fn parse(block: &[u8]) -> Option<Vec<(OsString, OsString)>> {
    let variables: Vec<_> = block
        .split(|byte| *byte == 0)
        .filter_map(|variable| {
            let equals = variable.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&variable[..equals], &variable[equals + 1..]);
            let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
            (!name.is_empty()).then(|| (owned(name), owned(value)))
        })
        .collect();
    (!variables.is_empty()).then_some(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Account<'static> {
        let mut known = accounts("me:x:1000:1001:Me,,,:/home/me:/bin/zsh");
        known.next().unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let owned = |(name, value): &(&str, &str)| (name.into(), value.into());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn groups_are_the_own_and_those_that_list_the_user() {
        let group = "root:x:0:\naudio:x:29:pulse,me\nmen:x:30:men,me2\nme:x:1001:me\nbroken\n";
        assert_eq!(gids(&me(), group), [1001, 29]);
    }

    #[test]
    fn roots_environment_becomes_the_users() {
        let roots = pairs(&[
            ("HOME", "/root"),
            ("USER", "root"),
            ("SUDO_UID", "1000"),
            ("PATH", "/usr/bin"),
            ("XDG_RUNTIME_DIR", "/run/user/0"),
        ]);
        let mut own = environment_for(&me(), roots, Some("/run/user/1000"));
        own.sort();
        let expected = pairs(&[
            ("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus"),
            ("HOME", "/home/me"),
            ("LOGNAME", "me"),
            ("PATH", "/usr/bin"),
            ("SHELL", "/bin/zsh"),
            ("USER", "me"),
            ("XDG_RUNTIME_DIR", "/run/user/1000"),
        ]);
        assert_eq!(own, expected);
    }

    #[test]
    fn an_environment_is_pairs_up_to_the_first_equals_sign() {
        let parsed = parse(b"A=1\0B=x=y\0C=\0nothing\0=odd\0").unwrap();
        assert_eq!(parsed, pairs(&[("A", "1"), ("B", "x=y"), ("C", "")]));
        assert_eq!(parse(b""), None);
    }
}
