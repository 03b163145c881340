//! The lab itself: a client and a server namespace, the servers, the client's cgroup, and their end.

use crate::cgroup::{self, Cgroup};
use crate::dnsmasq::{Asked, Dnsmasq, Record};
use crate::held::Held;
use crate::netns::{self, Namespace};
use crate::program::{Finished, Program};
use crate::servers::wait_listening;
use crate::sweep;
use crate::tor::{self, Tor};
use crate::{LIMIT, need, wait};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// The client's addresses. Every lab has the same ones: they are in namespaces of their own.
pub const CLIENT: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 77, 0, 2),
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2),
);
/// The addresses of the name server, the first also of the SOCKS server.
pub const SERVER: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 77, 0, 1),
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1),
);
/// The port of the SOCKS server.
pub const SOCKS_PORT: u16 = 1080;

/// The name of the web server: it has an A record and no AAAA record.
pub const PAGE: &str = "page.example";
/// The address of the web server, which no program could know without asking.
pub const PAGE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 80);
/// What the page says, and nothing else does.
pub const PAGE_TEXT: &str = "this page came over the wire of the lab";

/// A name with both an A and an AAAA record. Nothing listens there.
pub const DUAL: &str = "dual.example";
/// The addresses of [`DUAL`].
pub const DUAL_ADDRESSES: (Ipv4Addr, Ipv6Addr) = (
    Ipv4Addr::new(10, 77, 0, 81),
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x81),
);

/// Counts the labs of this process: the names of two at once must differ.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What a lab is to have.
#[derive(Debug)]
pub struct LabBuilder {
    scenario: String,
    records: Vec<Record>,
    needs: Vec<&'static str>,
    tor: bool,
    socks: bool,
    web: bool,
    other_dns: Option<u16>,
    lasting: u32,
}

impl LabBuilder {
    /// Another name that the lab's name server knows, with its A and AAAA records.
    #[must_use]
    pub fn record(mut self, name: &str, addresses: &[IpAddr]) -> Self {
        self.records.push(Record {
            name: name.to_owned(),
            addresses: addresses.to_vec(),
        });
        self
    }

    /// Programs without which the scenario makes no sense.
    #[must_use]
    pub fn needs(mut self, programs: &[&'static str]) -> Self {
        self.needs.extend(programs);
        self
    }

    /// With tor on the client's side, as a user has it: 127.0.0.1, port [`tor::PORT`].
    #[must_use]
    pub fn tor(mut self) -> Self {
        self.tor = true;
        self.needs(&["tor"])
    }

    /// With a SOCKS5 server that truly relays, on the server's side, port [`SOCKS_PORT`].
    #[must_use]
    pub fn socks(mut self) -> Self {
        self.socks = true;
        self.needs(&["microsocks"])
    }

    /// With the web server [`PAGE`].
    #[must_use]
    pub fn web(mut self) -> Self {
        self.web = true;
        self.needs(&["python3"])
    }

    /// With a second name server for the same names, on another port than 53.
    #[must_use]
    pub fn dns_on(mut self, port: u16) -> Self {
        self.other_dns = Some(port);
        self
    }

    /// With answers that may be kept for so many seconds (their TTL, RFC 1035 section 3.2.1); else they may not be kept.
    #[must_use]
    pub fn lasting(mut self, seconds: u32) -> Self {
        self.lasting = seconds;
        self
    }

    /// Builds the lab, or says why the scenario is skipped.
    #[must_use]
    pub fn build(self) -> Option<Lab> {
        need::met(&self.scenario, &self.needs).then(|| Lab::set_up(&self))
    }
}

/// A lab. What it made goes with it, in the order of its fields: programs, then their cgroups, then the namespaces.
#[derive(Debug)]
pub struct Lab {
    web: Option<Program>,
    socks: Option<Program>,
    tor: Option<Tor>,
    dns: Dnsmasq,
    other_dns: Option<Dnsmasq>,
    client_cgroup: Cgroup,
    server_cgroup: Cgroup,
    machine_cgroup: Cgroup,
    _cgroup: Cgroup,
    client: Namespace,
    server: Namespace,
    dir: TempDir,
}

impl Lab {
    /// Begins a lab for the scenario of that name; it always has the name server.
    #[must_use]
    pub fn builder(scenario: &str) -> LabBuilder {
        LabBuilder {
            scenario: scenario.to_owned(),
            records: vec![
                Record {
                    name: PAGE.to_owned(),
                    addresses: vec![PAGE_ADDRESS.into()],
                },
                Record {
                    name: DUAL.to_owned(),
                    addresses: vec![DUAL_ADDRESSES.0.into(), DUAL_ADDRESSES.1.into()],
                },
            ],
            needs: vec!["ip", "sh", "dnsmasq"],
            tor: false,
            socks: false,
            web: false,
            other_dns: None,
            lasting: 0,
        }
    }

    fn set_up(wanted: &LabBuilder) -> Self {
        sweep::leftovers();
        let name = format!(
            "{}{}-{}",
            sweep::PREFIX,
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = tempfile::Builder::new()
            .prefix(&name)
            // A program under another user has to get at its files.
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder can be made");
        let client = Namespace::create(
            &format!("{name}-c"),
            &[
                ("resolv.conf", &format!("nameserver {}\n", SERVER.0)),
                ("nsswitch.conf", "hosts: files dns\n"),
                ("hosts", "127.0.0.1 localhost\n::1 localhost\n"),
            ],
        );
        // The servers know the names by their hosts file: they never ask, so every query in the log is the client's.
        let server = Namespace::create(
            &format!("{name}-s"),
            &[
                ("resolv.conf", ""),
                ("nsswitch.conf", "hosts: files\n"),
                ("hosts", &hosts(&wanted.records)),
            ],
        );
        netns::join(&client, &server);
        client.configure(&[format!("{}/24", CLIENT.0), format!("{}/64", CLIENT.1)]);
        server.configure(&[
            format!("{}/24", SERVER.0),
            format!("{}/64", SERVER.1),
            format!("{PAGE_ADDRESS}/24"),
        ]);
        let root = cgroup::v2_mount().expect("cgroup v2 was found before");
        let cgroup = Cgroup::create(&root, &name);
        let client_cgroup = Cgroup::create(cgroup.path(), "client");
        let server_cgroup = Cgroup::create(cgroup.path(), "server");
        let machine_cgroup = Cgroup::create(cgroup.path(), "machine");

        let on_server = |program: &str| command_in(&server_cgroup, &server, dir.path(), program);
        let on_client = |program: &str| command_in(&client_cgroup, &client, dir.path(), program);
        let listen = [SERVER.0.into(), SERVER.1.into()];
        let dns_on = |port| {
            let mut command = on_server("dnsmasq");
            command.arg(format!("--local-ttl={}", wanted.lasting));
            Dnsmasq::start(command, dir.path(), &listen, port, &wanted.records)
        };
        Self {
            dns: dns_on(53),
            other_dns: wanted.other_dns.map(dns_on),
            tor: wanted.tor.then(|| Tor::start(on_client("tor"), dir.path())),
            socks: wanted.socks.then(|| start_socks(on_server("microsocks"))),
            web: wanted
                .web
                .then(|| start_web(on_server("/usr/bin/python3"), dir.path())),
            client_cgroup,
            server_cgroup,
            machine_cgroup,
            _cgroup: cgroup,
            client,
            server,
            dir,
        }
    }

    /// The cgroup of the client's programs: what leakmon is told to watch.
    #[must_use]
    pub fn cgroup(&self) -> &Path {
        self.client_cgroup.path()
    }

    /// The cgroup of the programs on the machine itself, leakmon among them.
    #[must_use]
    pub fn machine_cgroup(&self) -> &Path {
        self.machine_cgroup.path()
    }

    /// A folder for files, readable by every user, which goes with the lab.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The client's namespace.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.client
    }

    /// The server's namespace.
    #[must_use]
    pub fn server(&self) -> &Namespace {
        &self.server
    }

    /// A command on the client's side. The process that is started becomes the program: the pid is the program's.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        command_in(&self.client_cgroup, &self.client, self.dir(), program)
    }

    /// A command on the server's side.
    #[must_use]
    pub fn command_on_server(&self, program: &str) -> Command {
        command_in(&self.server_cgroup, &self.server, self.dir(), program)
    }

    /// A command on the client's side in a cgroup below the client's own, so that it can be ended with its helpers.
    #[must_use]
    pub fn command_below(&self, below: &Cgroup, program: &str) -> Command {
        command_in(below, &self.client, self.dir(), program)
    }

    /// A command on the client's side in a mount namespace that is there already, given by a file. The process that is
    /// started becomes the program here too.
    pub(crate) fn command_inside(&self, mounts: &Path, program: &str) -> Command {
        let mut command = shell(self.dir());
        command
            .args([
                "-c",
                // Its folder is looked up again in the namespace, where another one may have that name.
                r#"echo 0 > "$0/cgroup.procs" && mounts=$1 net=$2 && shift 2 && exec nsenter --mount="$mounts" --net="$net" env --chdir="$PWD" "$@""#,
            ])
            .args([self.cgroup(), mounts])
            .arg(Path::new("/run/netns").join(self.client.name()))
            .arg(program);
        command
    }

    /// A command on the machine itself, in no namespace of the lab's and with the tester's own environment, but in a
    /// cgroup of the lab's: what a killed test binary leaves running is found and ended by the next.
    #[must_use]
    pub fn command_on_machine(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        command
            .env("PATH", need::PATH)
            .args(["-c", r#"echo 0 > "$0/cgroup.procs" && exec "$@""#])
            .arg(self.machine_cgroup.path())
            .arg(program);
        command
    }

    /// Starts a program on the client's side.
    #[must_use]
    pub fn start(&self, program: &str, args: &[&str]) -> Program {
        Program::spawn(self.command(program).args(args))
    }

    /// Starts a process on the client's side that becomes the program only when it is told to: its process id is known
    /// before it does anything.
    #[must_use]
    pub fn hold(&self, program: &str, args: &[&str]) -> Held {
        self.hold_by(self.command("sh"), program, args)
    }

    /// The same, where `shell` says how it is started.
    pub(crate) fn hold_by(&self, shell: Command, program: &str, args: &[&str]) -> Held {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let go = self.dir().join(format!("go-{number}"));
        Held::spawn(shell, go, program, args)
    }

    /// Runs a program on the client's side to its end. Gives its process id too.
    #[must_use]
    pub fn run(&self, program: &str, args: &[&str]) -> (u32, Finished) {
        let program = self.start(program, args);
        (program.pid(), program.finish(LIMIT))
    }

    /// Keeps the name server from answering until `scene` is over.
    pub fn while_dns_waits<T>(&self, scene: impl FnOnce() -> T) -> T {
        self.dns.while_it_waits(scene)
    }

    /// Every query that the client has made so far, as the name server logged it.
    #[must_use]
    pub fn dns_log(&self) -> Vec<Asked> {
        from_client(self.dns.log())
    }

    /// Every query that the client has made so far to the name server on another port.
    #[must_use]
    pub fn other_dns_log(&self) -> Vec<Asked> {
        let dns = self.other_dns.as_ref();
        from_client(dns.expect("the scenario asked for a second one").log())
    }

    /// Waits until the name server's log fulfils a condition.
    pub fn wait_dns(&self, limit: Duration, condition: impl Fn(&[Asked]) -> bool) -> bool {
        wait::until_true(limit, || condition(&self.dns_log()))
    }

    /// Whether dnsmasq was asked for this name.
    #[must_use]
    pub fn is_asked(&self, name: &str) -> bool {
        self.dns_log().iter().any(|asked| asked.name == name)
    }

    /// Waits until dnsmasq is asked for this name, and says whether it was.
    #[must_use]
    pub fn wait_asked(&self, name: &str) -> bool {
        wait::until_true(LIMIT, || self.is_asked(name))
    }

    /// The lines of tor's log so far.
    #[must_use]
    pub fn tor_log(&self) -> Vec<String> {
        self.tor.as_ref().expect("the scenario asked for tor").log()
    }

    /// Waits until tor has warned of a request with an address instead of a name.
    pub fn wait_tor_warning(&self, limit: Duration) -> bool {
        wait::until_true(limit, || {
            self.tor_log()
                .iter()
                .any(|line| line.contains(tor::WARNING))
        })
    }

    /// What the SOCKS server has said so far: a line for each connection, with the name or address it was given.
    #[must_use]
    pub fn socks_log(&self) -> String {
        self.socks
            .as_ref()
            .expect("the scenario asked for a SOCKS server")
            .stderr
            .text()
    }

    /// The requests that the web server has seen so far.
    #[must_use]
    pub fn web_log(&self) -> String {
        self.web
            .as_ref()
            .expect("the scenario asked for a web server")
            .stderr
            .text()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Helpers of the programs too, before the namespaces are removed under their feet.
        self.client_cgroup.kill_all();
        self.server_cgroup.kill_all();
        self.machine_cgroup.kill_all();
    }
}

fn from_client(mut log: Vec<Asked>) -> Vec<Asked> {
    let client: [IpAddr; 2] = [CLIENT.0.into(), CLIENT.1.into()];
    log.retain(|asked| client.contains(&asked.client));
    log
}

/// A shell with nothing of the tester's own environment.
fn shell(home: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .env_clear()
        .env("PATH", need::PATH)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("LANG", "C.UTF-8")
        .current_dir(home);
    command
}

/// The shell puts itself into the cgroup and then becomes `ip`, which becomes the program: one process all along.
fn command_in(cgroup: &Cgroup, namespace: &Namespace, home: &Path, program: &str) -> Command {
    let mut command = shell(home);
    command
        .args([
            "-c",
            r#"echo 0 > "$0/cgroup.procs" && exec ip netns exec "$@""#,
        ])
        .arg(cgroup.path())
        .args([namespace.name(), program]);
    command
}

fn start_socks(mut command: Command) -> Program {
    let mut program =
        Program::spawn(command.args(["-i", &SERVER.0.to_string(), "-p", &SOCKS_PORT.to_string()]));
    wait_listening(&mut program, SOCKS_PORT);
    program
}

fn start_web(mut command: Command, dir: &Path) -> Program {
    let pages = dir.join("pages");
    fs::create_dir(&pages).expect("a folder can be made");
    fs::write(
        pages.join("index.html"),
        format!("<!doctype html><title>lab</title><p>{PAGE_TEXT}</p>\n"),
    )
    .expect("a page can be written");
    command
        .args([
            "-u",
            "-m",
            "http.server",
            "--bind",
            &PAGE_ADDRESS.to_string(),
            "80",
        ])
        .current_dir(pages);
    let mut program = Program::spawn(&mut command);
    wait_listening(&mut program, 80);
    program
}

fn hosts(records: &[Record]) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for record in records {
        for address in &record.addresses {
            text.push_str(&format!("{address} {}\n", record.name));
        }
    }
    text
}
