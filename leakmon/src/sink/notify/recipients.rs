//! Who is told.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use crate::accounts::{accounts, caller};

/// Where pam_systemd(8) makes a folder for each user with a session, named by the user's number.
const RUN_USER: &str = "/run/user";
/// The user's bus in it (systemd's dbus.socket; file-hierarchy(7)).
const BUS: &str = "bus";

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Number.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    /// As /etc/passwd has it.
    pub name: Option<String>,
    /// The folder of the user's sessions.
    pub folder: PathBuf,
    /// Address of the bus (D-Bus Specification, "Server Addresses").
    pub address: String,
    /// Whether the messenger has to become this user first.
    pub is_other: bool,
    /// Told of every leak, not only of the user's own.
    hears_all: bool,
}

impl Recipient {
    /// For words: the name, or the number.
    #[must_use]
    pub fn called(&self) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None => format!("user {}", self.uid),
        }
    }

    /// Whether this user is told what a program of that user leaks. What a person looks up is nobody else's business,
    /// unless root made it so; what the machine's own services do is everybody's.
    #[must_use]
    pub fn hears_of(&self, uid: Option<u32>) -> bool {
        self.hears_all || uid.is_none_or(|uid| uid == self.uid || is_of_the_machine(uid))
    }
}

/// Root, and numbers that services have: system users, those of `DynamicUser=`, display managers' greeters and nobody
/// (systemd's docs/UIDS-GIDS.md).
fn is_of_the_machine(uid: u32) -> bool {
    matches!(uid, 0..1000 | 60_578..=60_705 | 61_184..=65_519 | 65_534)
}

/// What decides who is told.
#[derive(Debug)]
pub struct Around<'a> {
    /// The folder of the folders of sessions.
    run_user: &'a Path,
    passwd: String,
    variable: fn(&str) -> Option<String>,
    uid: u32,
    gid: u32,
}

impl Around<'static> {
    /// This machine and this process.
    #[must_use]
    pub fn here() -> Self {
        Self {
            run_user: Path::new(RUN_USER),
            passwd: fs::read_to_string("/etc/passwd").unwrap_or_default(),
            variable: |name| std::env::var(name).ok(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}

impl Around<'_> {
    fn uid_of(&self, name: &str) -> Option<u32> {
        let found = accounts(&self.passwd).find(|account| account.name == name);
        found.map_or_else(|| name.parse().ok(), |account| Some(account.uid))
    }

    /// The user of that number; nobody when no group is known that the messenger could have.
    fn recipient(&self, uid: u32, hears_all: bool) -> Option<Recipient> {
        let folder = self.run_user.join(uid.to_string());
        let known = accounts(&self.passwd).find(|account| account.uid == uid);
        let gid = match known {
            Some(account) => account.gid,
            None if uid == self.uid => self.gid,
            None => fs::symlink_metadata(&folder)
                .ok()
                .filter(|folder| folder.uid() == uid)?
                .gid(),
        };
        Some(Recipient {
            uid,
            gid,
            name: known.map(|account| account.name.to_owned()),
            address: format!("unix:path={}", folder.join(BUS).display()),
            folder,
            is_other: uid != self.uid,
            hears_all,
        })
    }

    /// Users who have a bus just now, root's among them but no other user that is not a person's.
    fn in_session(&self) -> Vec<u32> {
        let folders = fs::read_dir(self.run_user).into_iter().flatten().flatten();
        let mut uids: Vec<u32> = folders
            .filter_map(|folder| {
                let uid: u32 = folder.file_name().to_str()?.parse().ok()?;
                let bus = fs::symlink_metadata(folder.path().join(BUS)).ok()?;
                let is_own = bus.uid() == uid && folder.metadata().ok()?.uid() == uid;
                let is_persons = uid == 0 || !is_of_the_machine(uid);
                (is_own && is_persons && bus.file_type().is_socket()).then_some(uid)
            })
            .collect();
        uids.sort_unstable();
        uids
    }
}

/// Who is told: these users; of none, the one who runs leakmon, be it through sudo; when root itself does, everybody with
/// a session.
///
/// # Errors
/// When a name is no user's, or another user's and this is not root, in words.
pub fn choose(names: &[String], around: &Around<'_>) -> Result<Vec<Recipient>, String> {
    if !names.is_empty() {
        let mut chosen: Vec<Recipient> = Vec::new();
        for name in names {
            let recipient = around
                .uid_of(name)
                .and_then(|uid| around.recipient(uid, true))
                .ok_or_else(|| format!("nobody here is called '{name}'"))?;
            if recipient.is_other && around.uid != 0 {
                return Err(format!("only root can have '{name}' notified"));
            }
            if !chosen.contains(&recipient) {
                chosen.push(recipient);
            }
        }
        return Ok(chosen);
    }
    if around.uid != 0 {
        let mut own = around.recipient(around.uid, true);
        // Another kind of address might look up a name or start a program.
        let told = (around.variable)("DBUS_SESSION_BUS_ADDRESS");
        if let (Some(own), Some(told)) = (&mut own, told.filter(|told| told.starts_with("unix:"))) {
            own.address = told;
        }
        return Ok(own.into_iter().collect());
    }
    if let Some(caller) = caller(around.variable, &around.passwd)
        && let Some(recipient) = around.recipient(caller, true)
    {
        return Ok(vec![recipient]);
    }
    let in_session = around.in_session().into_iter();
    Ok(in_session
        .filter_map(|uid| around.recipient(uid, false))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\ngdm:x:120:130::/var/lib/gdm:/bin/false\n\
                          alice:x:4711:4712::/home/alice:/bin/sh\nbroken\n";

    fn around<'a>(
        run_user: &'a Path,
        uid: u32,
        variable: fn(&str) -> Option<String>,
    ) -> Around<'a> {
        Around {
            run_user,
            passwd: PASSWD.to_owned(),
            variable,
            uid,
            gid: 99,
        }
    }

    fn uids(recipients: &[Recipient]) -> Vec<(u32, u32)> {
        recipients.iter().map(|one| (one.uid, one.gid)).collect()
    }

    #[test]
    fn whoever_called_leakmon_as_root_is_told_of_everything() {
        let none = Path::new("/nowhere");
        for variable in [
            (|name| (name == "SUDO_UID").then(|| "4711".to_owned())) as fn(&str) -> Option<String>,
            |name| (name == "PKEXEC_UID").then(|| "4711".to_owned()),
            |name| (name == "DOAS_USER").then(|| "alice".to_owned()),
        ] {
            let chosen = choose(&[], &around(none, 0, variable)).unwrap();
            assert_eq!(uids(&chosen), [(4711, 4712)]);
            assert!(chosen[0].is_other && chosen[0].hears_of(Some(4713)));
            assert_eq!(chosen[0].address, "unix:path=/nowhere/4711/bus");
            assert_eq!(chosen[0].called(), "alice");
        }
        for variable in [
            (|name| (name == "SUDO_UID").then(|| "0".to_owned())) as fn(&str) -> Option<String>,
            |name| (name == "SUDO_UID").then(|| "me".to_owned()),
            |name| (name == "DOAS_USER").then(|| "nobody-known".to_owned()),
            |_| None,
        ] {
            assert_eq!(choose(&[], &around(none, 0, variable)).unwrap(), []);
        }
    }

    #[test]
    fn a_user_is_told_on_the_bus_of_the_own_session() {
        let chosen = choose(&[], &around(Path::new("/run/user"), 4711, |_| None)).unwrap();
        assert_eq!(chosen[0].address, "unix:path=/run/user/4711/bus");
        assert!(!chosen[0].is_other);
        let chosen = choose(
            &[],
            &around(Path::new("/run/user"), 555, |_| {
                Some("unix:abstract=/tmp/x".to_owned())
            }),
        )
        .unwrap();
        assert_eq!(uids(&chosen), [(555, 99)]);
        assert_eq!(chosen[0].address, "unix:abstract=/tmp/x");
        let chosen = choose(
            &[],
            &around(Path::new("/run/user"), 555, |_| {
                Some("tcp:host=elsewhere.example,port=1".to_owned())
            }),
        )
        .unwrap();
        assert_eq!(chosen[0].address, "unix:path=/run/user/555/bus");
    }

    #[test]
    fn named_users_are_told_whether_or_not_they_are_there() {
        let none = Path::new("/nowhere");
        let names = ["alice".to_owned(), "4711".to_owned()];
        let chosen = choose(&names, &around(none, 0, |_| None)).unwrap();
        assert_eq!(uids(&chosen), [(4711, 4712)]);
        let fault = choose(&["bob".to_owned()], &around(none, 0, |_| None)).unwrap_err();
        assert_eq!(fault, "nobody here is called 'bob'");
        let fault = choose(&names, &around(none, 555, |_| None)).unwrap_err();
        assert_eq!(fault, "only root can have 'alice' notified");
        assert_eq!(
            choose(&names, &around(none, 4711, |_| None)).unwrap().len(),
            1
        );
    }

    /// Only a folder whose name, owner and bus belong to one user is a session. The test's own user owns all of these.
    #[test]
    fn sessions_are_those_whose_bus_is_their_users() {
        let dir = tempfile::tempdir().unwrap();
        let own = rustix::process::geteuid().as_raw();
        let buses: Vec<UnixListener> = [own.to_string(), "4711".into(), "x".into(), "-1".into()]
            .iter()
            .filter(|name| !is_of_the_machine(own) || own == 0 || **name != own.to_string())
            .map(|name| {
                fs::create_dir(dir.path().join(name)).unwrap();
                UnixListener::bind(dir.path().join(name).join(BUS)).unwrap()
            })
            .collect();
        let is_persons = own == 0 || !is_of_the_machine(own);
        let chosen = choose(&[], &around(dir.path(), 0, |_| None)).unwrap();
        let expected: Vec<u32> = is_persons.then_some(own).into_iter().collect();
        assert_eq!(
            chosen.iter().map(|one| one.uid).collect::<Vec<_>>(),
            expected
        );
        assert!(chosen.iter().all(|one| !one.hears_of(Some(own + 4000))));
        drop(buses);
        fs::remove_file(dir.path().join(own.to_string()).join(BUS)).unwrap_or_default();
        fs::write(dir.path().join(own.to_string()).join(BUS), "").unwrap_or_default();
        assert_eq!(choose(&[], &around(dir.path(), 0, |_| None)).unwrap(), []);
    }

    #[test]
    fn what_one_person_leaks_another_is_not_told() {
        let alice = around(Path::new("/nowhere"), 0, |_| None)
            .recipient(4711, false)
            .unwrap();
        for everybodys in [
            None,
            Some(0),
            Some(120),
            Some(4711),
            Some(60_600),
            Some(65_534),
        ] {
            assert!(alice.hears_of(everybodys), "{everybodys:?}");
        }
        for anothers in [1000, 4712, 60_000, 100_999, 524_288] {
            assert!(!alice.hears_of(Some(anothers)), "{anothers}");
        }
    }
}
