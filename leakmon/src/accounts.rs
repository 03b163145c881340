//! Users of this machine, as /etc/passwd has them (passwd(5)), and which of them called leakmon as root.
//!
//! The file is read as it is: asking the name service switch could send queries.

/// Those that make a command run as root, and the variable in which they say the number of who called them: sudo(8) and
/// run0(1), pkexec(1).
const CALLERS: [&str; 2] = ["SUDO_UID", "PKEXEC_UID"];
/// doas(1) gives the name.
const DOAS_CALLER: &str = "DOAS_USER";

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// Name to log in with.
    pub name: &'a str,
    /// Number.
    pub uid: u32,
    /// Number of the user's own group.
    pub gid: u32,
    /// Home folder; empty when none is said.
    pub home: &'a str,
    /// Program that is started at login; empty when none is said.
    pub shell: &'a str,
}

impl<'a> Account<'a> {
    /// The home folder without a slash at its end, so that a path can follow. Empty for the root folder.
    #[must_use]
    pub fn home_folder(&self) -> &'a str {
        self.home.trim_end_matches('/')
    }
}

/// The users of a passwd file. Lines that are none are left out.
pub fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or_default(),
            shell: fields.next().unwrap_or_default(),
        })
    })
}

/// Number of the user who called leakmon through sudo, pkexec or doas, unless that was root, who is no more of a person.
pub fn caller(variable: impl Fn(&str) -> Option<String>, passwd: &str) -> Option<u32> {
    CALLERS
        .iter()
        .find_map(|name| variable(name)?.parse().ok())
        .or_else(|| {
            let name = variable(DOAS_CALLER)?;
            Some(accounts(passwd).find(|account| account.name == name)?.uid)
        })
        .filter(|&uid| uid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\n+::::::\nme:x:1000:1001:Me,,,:/home/me/:/bin/zsh\nbare:x:7:7\n";
        let home_folders: Vec<_> = accounts(passwd)
            .map(|one| (one.name, one.home_folder()))
            .collect();
        assert_eq!(
            home_folders,
            [("root", "/root"), ("me", "/home/me"), ("bare", "")]
        );
        assert_eq!(
            accounts(passwd).nth(1),
            Some(Account {
                name: "me",
                uid: 1000,
                gid: 1001,
                home: "/home/me/",
                shell: "/bin/zsh",
            })
        );
    }

    #[test]
    fn the_caller_is_not_root() {
        let passwd = "me:x:1000:1001:Me,,,:/home/me:/bin/zsh";
        let of = |name: &'static str, value: &'static str| {
            caller(|asked| (asked == name).then(|| value.to_owned()), passwd)
        };
        assert_eq!(of("SUDO_UID", "1000"), Some(1000));
        assert_eq!(of("PKEXEC_UID", "1000"), Some(1000));
        assert_eq!(of("DOAS_USER", "me"), Some(1000));
        assert_eq!(of("SUDO_UID", "0"), None);
        assert_eq!(of("SUDO_UID", "nonsense"), None);
        assert_eq!(of("DOAS_USER", "nobody-known"), None);
    }
}
