//! How each resolver is started, with which files, and what tells that it can be asked.

use super::Resolver;
use crate::lab::SERVER;
use crate::servers::Sign;
use std::fs;
use std::path::Path;

/// The port of a resolver that only another resolver asks.
const UPSTREAM_PORT: u16 = 5335;

/// The user that systemd-resolved becomes (src/resolve/resolved.c), and an id that nobody has: systemd's docs/UIDS-GIDS.md
/// leaves those from 60706 to 61183 unused.
const RESOLVED_USER: (&str, u32) = ("systemd-resolve", 60_999);

/// Where nscd is asked (nscd/nscd-client.h).
const NSCD_SOCKET: &str = "/var/run/nscd/socket";
/// Where systemd-resolved is asked (src/resolve/resolved-varlink.c).
const RESOLVED_SOCKET: &str = "/run/systemd/resolve/io.systemd.Resolve";

/// How a resolver is started.
#[derive(Debug)]
pub struct Recipe {
    /// The program.
    pub program: &'static str,
    /// Whether it and its libraries are among the packages that are not installed.
    pub unpacked: bool,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it needs in its environment.
    pub env: Vec<(&'static str, &'static str)>,
    /// Its files, by their paths below /etc.
    pub files: Vec<(&'static str, String)>,
    /// What tells that it can be asked.
    pub sign: Sign,
}

impl Recipe {
    fn new(program: &'static str, args: &[&str], sign: Sign) -> Self {
        Self {
            program,
            unpacked: false,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            env: vec![],
            files: vec![],
            sign,
        }
    }
}

/// What has to be started, in order: one that is asked by another comes first. Files of theirs can be in `dir`.
pub fn recipes(resolver: Resolver, dir: &Path) -> Vec<Recipe> {
    match resolver {
        Resolver::Resolved | Resolver::ResolvedStub => vec![resolved()],
        Resolver::Nscd { shared } => vec![nscd(shared)],
        Resolver::Dnsmasq => vec![dnsmasq(&SERVER.0.to_string())],
        Resolver::Unbound => vec![unbound(53)],
        Resolver::Tor => vec![tor(dir)],
        Resolver::DnsmasqToUnbound => vec![
            unbound(UPSTREAM_PORT),
            dnsmasq(&format!("127.0.0.1#{UPSTREAM_PORT}")),
        ],
    }
}

fn resolved() -> Recipe {
    let mut recipe = Recipe::new(
        "/usr/lib/systemd/systemd-resolved",
        &[],
        // The last thing that it opens (manager_start, src/resolve/resolved-manager.c), after 127.0.0.53.
        Sign::Unix(RESOLVED_SOCKET),
    );
    recipe.unpacked = true;
    recipe.env = vec![
        ("SYSTEMD_LOG_LEVEL", "debug"),
        ("SYSTEMD_LOG_TARGET", "console"),
    ];
    let (user, id) = RESOLVED_USER;
    recipe.files = vec![
        (
            "systemd/resolved.conf",
            format!(
                "[Resolve]\nDNS={}\nFallbackDNS=\nDomains=~.\nLLMNR=no\nMulticastDNS=no\nDNSSEC=no\nDNSOverTLS=no\nCache=yes\n",
                SERVER.0
            ),
        ),
        (
            "passwd",
            with_line("passwd", user, &format!("x:{id}:{id}::/:/usr/sbin/nologin")),
        ),
        ("group", with_line("group", user, &format!("x:{id}:"))),
    ];
    recipe
}

/// The machine's own file of that name, with a line for a user or group that is not in it.
fn with_line(file: &str, name: &str, rest: &str) -> String {
    let mut text = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
    if !text
        .lines()
        .any(|line| line.split(':').next() == Some(name))
    {
        text.push_str(&format!("{name}:{rest}\n"));
    }
    text
}

fn nscd(shared: bool) -> Recipe {
    // Debugging keeps it in the foreground too, and has it log whom it answers what.
    let mut recipe = Recipe::new("nscd", &["-d"], Sign::Unix(NSCD_SOCKET));
    let shared = if shared { "yes" } else { "no" };
    recipe.files = vec![(
        "nscd.conf",
        format!(
            "debug-level 3\nenable-cache hosts yes\npersistent hosts no\nshared hosts {shared}\nenable-cache passwd no\nenable-cache group no\nenable-cache services no\nenable-cache netgroup no\n"
        ),
    )];
    recipe
}

fn dnsmasq(server: &str) -> Recipe {
    let args = [
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file=",
        "--keep-in-foreground",
        "--listen-address=127.0.0.1",
        "--bind-interfaces",
        "--cache-size=150",
        "--log-queries=extra",
        "--log-facility=-",
        &format!("--server={server}"),
    ];
    Recipe::new("dnsmasq", &args, Sign::Tcp(53))
}

fn unbound(port: u16) -> Recipe {
    let mut recipe = Recipe::new(
        "unbound",
        &["-d", "-p", "-c", "/etc/unbound/unbound.conf"],
        Sign::Tcp(port),
    );
    recipe.files = vec![(
        "unbound/unbound.conf",
        format!(
            "server:\n  interface: 127.0.0.1\n  port: {port}\n  module-config: iterator\n  chroot: \"\"\n  username: \"\"\n  directory: /etc/unbound\n  pidfile: \"\"\n  use-syslog: no\n  logfile: \"\"\n  log-queries: yes\n  log-replies: yes\n  num-threads: 1\n  use-caps-for-id: no\nremote-control:\n  control-enable: no\nforward-zone:\n  name: \".\"\n  forward-addr: {}\n",
            SERVER.0
        ),
    )];
    recipe
}

/// With names mapped it answers without a network: it makes the address itself, whatever the name ends with. It has to
/// believe that it has a network (`DisableNetwork` would keep its ports closed).
fn tor(dir: &Path) -> Recipe {
    let data = dir.join("tor-dns").display().to_string();
    let args = [
        "-f",
        "/nonexistent",
        "--defaults-torrc",
        "/nonexistent",
        "--ignore-missing-torrc",
        "--SocksPort",
        "0",
        "--DNSPort",
        "127.0.0.1:53",
        "--AutomapHostsOnResolve",
        "1",
        "--AutomapHostsSuffixes",
        ".",
        "--DataDirectory",
        &data,
        "--SafeLogging",
        "0",
        "--Log",
        "info stdout",
    ];
    Recipe::new("tor", &args, Sign::Udp(53))
}
