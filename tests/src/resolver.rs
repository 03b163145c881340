//! Local resolvers on the client's side, as a user's machine has them: real ones, which ask the lab's name server for the
//! programs that are started behind them.
//!
//! Such a machine differs from others by files of /etc and by sockets below /run. Here these are in a mount namespace of
//! the resolver's own, in which the programs are started too. Nobody else sees them, and they are gone when the last
//! process has left and [`Behind`] is dropped, also when the test itself is killed.
//!
//! What the programs do in it (glibc 2.36 and systemd 252, seen in their system calls):
//!
//! - behind [`Resolver::Nscd`], glibc asks nscd before it looks at nsswitch.conf: each request is a connection of its own
//!   to /var/run/nscd/socket with one `sendto`, a header of three 32-bit numbers (version 2, type, length of the key) and
//!   the key with its NUL. The first lookup of a process asks for the whole cache (`GETFDHST`, 13, key `hosts`). Where it
//!   is shared, the answer carries a descriptor that is mapped, and a name that is found there is never sent at all.
//!   Otherwise the name follows: `GETAI` (14) for `getaddrinfo`, `GETHOSTBYNAME` (4) and `GETHOSTBYNAMEv6` (5). With
//!   `LOCALDOMAIN` in its environment glibc asks no nscd (nscd/nscd_helper.c, nscd/nscd_getai.c);
//! - behind [`Resolver::Resolved`], `libnss_resolve.so.2` connects to /run/systemd/resolve/io.systemd.Resolve and sends
//!   one JSON object with a NUL at its end. A program that has a resolver of its own (dig, Chromium) asks 127.0.0.53;
//! - behind the others, glibc sends DNS to 127.0.0.1 or 127.0.0.53 as to any name server.

mod daemon;

use crate::held::Held;
use crate::lab::{Lab, SERVER};
use crate::program::{Finished, Program, run};
use crate::servers::wait_for;
use crate::{LIMIT, need};
use daemon::Recipe;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A resolver that stands between the client's programs and the lab's name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolver {
    /// systemd-resolved, which programs of glibc's ask over its varlink socket (nss-resolve), and others on 127.0.0.53.
    Resolved,
    /// systemd-resolved, which all programs ask on 127.0.0.53.
    ResolvedStub,
    /// nscd, which programs of glibc's ask over its socket.
    Nscd {
        /// Whether programs may read its cache in their own memory (`shared hosts yes`, Debian's setting).
        shared: bool,
    },
    /// dnsmasq on 127.0.0.1, with a cache.
    Dnsmasq,
    /// unbound on 127.0.0.1, with a cache.
    Unbound,
    /// tor's `DNSPort` on 127.0.0.1, which has an address of its own making for every name (`AutomapHostsOnResolve`) and
    /// never asks a name server.
    Tor,
    /// dnsmasq on 127.0.0.1, which asks an unbound on 127.0.0.1, port 5335.
    DnsmasqToUnbound,
}

impl Resolver {
    /// The programs that it needs, for [`crate::LabBuilder::needs`].
    #[must_use]
    pub fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Resolved | Self::ResolvedStub => &["nsenter", "systemd-resolved"],
            Self::Nscd { .. } => &["nsenter", "nscd"],
            Self::Dnsmasq => &["nsenter", "dnsmasq"],
            Self::Unbound => &["nsenter", "unbound"],
            Self::Tor => &["nsenter", "tor"],
            Self::DnsmasqToUnbound => &["nsenter", "dnsmasq", "unbound"],
        }
    }

    /// What programs are told: resolv.conf and the hosts line of nsswitch.conf.
    fn settings(self) -> (String, &'static str) {
        let nameserver = match self {
            // As systemd-resolved itself writes it (src/resolve/resolved-resolv-conf.c).
            Self::Resolved | Self::ResolvedStub => {
                "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch .".to_owned()
            }
            Self::Nscd { .. } => format!("nameserver {}", SERVER.0),
            Self::Dnsmasq | Self::Unbound | Self::Tor | Self::DnsmasqToUnbound => {
                "nameserver 127.0.0.1".to_owned()
            }
        };
        let hosts = match self {
            Self::Resolved => "resolve [!UNAVAIL=return] files",
            _ => "files dns",
        };
        (nameserver, hosts)
    }
}

/// The client's side behind a resolver. The resolver ends with it.
#[derive(Debug)]
pub struct Behind<'lab> {
    lab: &'lab Lab,
    asked: Daemon,
    upstream: Option<Daemon>,
    /// Keeps the mount namespace, whether the resolver lives or not.
    mounts: File,
}

/// A running resolver.
#[derive(Debug)]
pub struct Daemon {
    program: Program,
}

impl Daemon {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Everything that it has said so far, whether to standard output or to standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.said()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.program.try_wait().is_none()
    }
}

/// Makes what differs from the rest of the client's side, and becomes the resolver. Arguments: the folder with the files
/// of /etc, the folder of unpacked packages or nothing, the resolver and its arguments.
///
/// Folders are laid over each other without a place for changes (Documentation/filesystems/overlayfs.rst, "Multiple lower
/// layers"). Those of the tester's are entered and not named to mount(8), whose options a colon or a comma would end.
const SET_UP: &str = r#"
set -e
mount -t tmpfs -o mode=755 run /run
mkdir /run/nscd /run/systemd
cd "$1"
mount -t overlay -o lowerdir=.:/etc etc /etc
if [ -n "$2" ]; then
    cd "$2"
    # A package of a newer Debian has nothing in /lib, which is the same folder.
    [ -d lib ] && libraries=lib:usr/lib || libraries=usr/lib
    mount -t overlay -o "lowerdir=$libraries:/usr/lib" libraries /usr/lib
fi
shift 2
cd "$HOME"
exec "$@"
"#;

impl Lab {
    /// Starts a resolver on the client's side, in its network namespace and its cgroup, and waits until it can be asked.
    /// Two that listen on the same address cannot be there at once.
    #[must_use]
    pub fn behind(&self, resolver: Resolver) -> Behind<'_> {
        let etc = self.etc_of(resolver);
        let mut recipes = daemon::recipes(resolver, self.dir()).into_iter();
        let first = recipes.next().expect("every resolver is a program");
        for (path, text) in &first.files {
            let path = etc.join(path);
            fs::create_dir_all(path.parent().expect("a file in a folder"))
                .expect("a folder can be made");
            fs::write(path, text).expect("a file can be written in the lab's folder");
        }
        let first = Daemon::start(self.setting_up(&etc, &first), first);
        let mounts = File::open(format!("/proc/{}/ns/mnt", first.pid()))
            .expect("a process has a mount namespace");
        let second = recipes.next().map(|recipe| {
            let command = self.command_inside(&path_of(&mounts), recipe.program);
            Daemon::start(command, recipe)
        });
        let (asked, upstream) = match second {
            Some(second) => (second, Some(first)),
            None => (first, None),
        };
        Behind {
            lab: self,
            asked,
            upstream,
            mounts,
        }
    }

    /// A new folder with the client's own files of /etc, and over them those that say whom to ask.
    fn etc_of(&self, resolver: Resolver) -> PathBuf {
        let etc = (0..)
            .map(|number| self.dir().join(format!("etc-{number}")))
            .find(|etc| !etc.exists())
            .expect("numbers do not end");
        let own = format!("/etc/netns/{}", self.client().name());
        run("cp", &["-R", &own, etc.to_str().expect("a path in UTF-8")]);
        let (nameserver, hosts) = resolver.settings();
        for (file, text) in [
            ("resolv.conf", nameserver),
            ("nsswitch.conf", format!("hosts: {hosts}")),
        ] {
            fs::write(etc.join(file), text + "\n").expect("a file can be written");
        }
        etc
    }

    /// The command that makes the mount namespace and becomes the resolver.
    fn setting_up(&self, etc: &Path, recipe: &Recipe) -> Command {
        let unpacked = recipe.unpacked.then(need::unpacked).flatten();
        let mut command = self.command("sh");
        command
            .args(["-c", SET_UP, "sh"])
            .arg(etc)
            .arg(unpacked.unwrap_or_default())
            .arg(recipe.program);
        command
    }
}

impl Daemon {
    fn start(mut command: Command, recipe: Recipe) -> Self {
        let mut program =
            Program::spawn(command.args(recipe.args).envs(recipe.env.iter().copied()));
        wait_for(&mut program, recipe.sign);
        Self { program }
    }
}

/// The path under which every process of root's finds an open file of this one.
fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        file.as_raw_fd()
    ))
}

impl Behind<'_> {
    /// A command behind the resolver. As with [`Lab::command`], the process that is started becomes the program.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.lab.command_inside(&path_of(&self.mounts), program)
    }

    /// Starts a program behind the resolver.
    #[must_use]
    pub fn start(&self, program: &str, args: &[&str]) -> Program {
        Program::spawn(self.command(program).args(args))
    }

    /// Starts a process that becomes the program only when it is told to; see [`Lab::hold`].
    #[must_use]
    pub fn hold(&self, program: &str, args: &[&str]) -> Held {
        self.lab.hold_by(self.command("sh"), program, args)
    }

    /// Runs a program behind the resolver to its end. Gives its process id too.
    #[must_use]
    pub fn run(&self, program: &str, args: &[&str]) -> (u32, Finished) {
        let program = self.start(program, args);
        (program.pid(), program.finish(LIMIT))
    }

    /// The process id of the resolver that programs ask.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.asked.pid()
    }

    /// What that resolver has logged so far, at its most talkative.
    #[must_use]
    pub fn log(&self) -> String {
        self.asked.log()
    }

    /// The resolver that is asked by the resolver, in [`Resolver::DnsmasqToUnbound`].
    #[must_use]
    pub fn upstream(&self) -> Option<&Daemon> {
        self.upstream.as_ref()
    }

    /// Whether everything that stands between is still there.
    pub fn is_alive(&mut self) -> bool {
        self.asked.is_alive() && self.upstream.as_mut().is_none_or(Daemon::is_alive)
    }
}
