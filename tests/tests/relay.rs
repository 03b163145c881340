//! tor as a relay that resolves for others: what an exit relay asks is what its clients visit, and no leak of its own.
//!
//! The network is a real one, of the fewest members that a circuit of three hops needs: a directory authority, which is a
//! relay too, and another relay, both on the server's side; the exit relay on the client's side, where leakmon watches; and
//! a tor that is their client. Chutney, tor's own tool for test networks, sets the same options.

use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::lab::{CLIENT, DUAL, DUAL_ADDRESSES, PAGE, PAGE_TEXT, SERVER};
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{Asked, LIMIT, Lab, Leakmon, Program, tor, wait};
use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long the network may take until a circuit through the exit can be built. The authority votes every ten seconds, and
/// an exit is usable after the second vote that it takes part in: 25 seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(180);

const AUTHORITY: &str = "authority";
const AUTHORITY_PORT: u16 = 5001;
const MIDDLE_PORT: u16 = 5002;
const EXIT_PORT: u16 = 5003;
const DIRECTORY_PORT: u16 = 7001;

/// Options of the authority (tor(1), "Directory authority server options" and "Testing network options"): votes as often as
/// tor allows, and flags that a new relay would have to wait for.
const VOTING: &str = "AuthoritativeDirectory 1
V3AuthoritativeDirectory 1
TestingV3AuthInitialVotingInterval 5
TestingV3AuthInitialVoteDelay 2
TestingV3AuthInitialDistDelay 2
V3AuthVotingInterval 10
V3AuthVoteDelay 2
V3AuthDistDelay 2
V3AuthNIntervalsValid 2
TestingDirAuthVoteExit *
TestingDirAuthVoteGuard *
TestingDirAuthVoteHSDir *
TestingMinExitFlagThreshold 0
";

/// A network of tor's of which nobody else can be a member.
struct Network<'a> {
    lab: &'a Lab,
    /// Where every member finds the authority.
    authority: String,
    _relays: [Program; 2],
}

impl<'a> Network<'a> {
    /// Starts the authority and the relay in the middle, on the server's side.
    fn begin(lab: &'a Lab) -> Self {
        let identity = make_keys(lab);
        let line = |key: &str| {
            format!(
                "DirAuthority {AUTHORITY} orport={AUTHORITY_PORT} v3ident={identity} {}:{DIRECTORY_PORT} {key}",
                SERVER.0
            )
        };
        let options = relay(SERVER.0, AUTHORITY_PORT)
            + VOTING
            + &format!(
                "ContactInfo lab@example\nDirPort {DIRECTORY_PORT}\nExitPolicy reject *:*\n"
            );
        // tor makes its key and says what it is once it has been told of an authority, whichever.
        let args = member(lab, AUTHORITY, &line(&"F".repeat(40)), &options);
        let mut command = lab.command_on_server("tor");
        let listed = Program::spawn(command.args(args).arg("--list-fingerprint")).finish(LIMIT);
        let key = value_of(&listed.text(), AUTHORITY).replace(' ', "");

        let authority = line(&key);
        let start = |name, port, options: &str| {
            let args = member(lab, name, &authority, options);
            let mut program = Program::spawn(lab.command_on_server("tor").args(args));
            wait_listening(&mut program, port);
            program
        };
        let middle = relay(SERVER.0, MIDDLE_PORT) + "ExitPolicy reject *:*\n";
        Self {
            lab,
            _relays: [
                start(AUTHORITY, AUTHORITY_PORT, &options),
                start("middle", MIDDLE_PORT, &middle),
            ],
            authority,
        }
    }

    /// Starts a member on the client's side.
    fn join(&self, name: &str, port: u16, options: &str) -> Program {
        let args = member(self.lab, name, &self.authority, options);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut program = self.lab.start("tor", &args);
        wait_listening(&mut program, port);
        program
    }
}

/// Makes the keys by which the authority signs (tor-gencert(1)), and gives the fingerprint of the first of them.
fn make_keys(lab: &Lab) -> String {
    let keys = lab.dir().join(AUTHORITY).join("keys");
    fs::create_dir_all(&keys).expect("a folder can be made");
    let mut command = lab.command_on_server("sh");
    command.current_dir(&keys).args([
        "-c",
        &format!(
            "echo password | tor-gencert --create-identity-key -m 1 -a {}:{DIRECTORY_PORT} --passphrase-fd 0 \
             -i authority_identity_key -s authority_signing_key -c authority_certificate",
            SERVER.0
        ),
    ]);
    let made = Program::spawn(&mut command).finish(LIMIT);
    assert!(made.status.success(), "{made:?}");
    let certificate = fs::read_to_string(keys.join("authority_certificate"));
    value_of(&certificate.expect("it was made"), "fingerprint")
}

/// The rest of the line that begins with this word.
fn value_of(text: &str, word: &str) -> String {
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    value
        .unwrap_or_else(|| panic!("no {word} in {text}"))
        .to_owned()
}

fn relay(address: Ipv4Addr, port: u16) -> String {
    format!("Address {address}\nORPort {address}:{port} IPv4Only\nSocksPort 0\n")
}

/// Writes what a member is told, and gives the arguments to start it with.
fn member(lab: &Lab, name: &str, authority: &str, options: &str) -> [String; 4] {
    let dir = lab.dir().display();
    let torrc = lab.dir().join(format!("{name}.torrc"));
    let text = format!(
        "TestingTorNetwork 1\nAssumeReachable 1\nPathsNeededToBuildCircuits 0.67\n{authority}\nNickname {name}\n\
         DataDirectory {dir}/{name}\nLog notice file {dir}/{name}.log\n{options}"
    );
    fs::write(&torrc, text).expect("a file can be written");
    [
        "--defaults-torrc",
        "/nonexistent",
        "-f",
        torrc.to_str().expect("a path that is text"),
    ]
    .map(str::to_owned)
}

/// What has been logged by the members of a network, for the message of a failure.
fn said(lab: &Lab) -> String {
    [AUTHORITY, "middle", "exit", "user"]
        .map(|name| {
            let log = fs::read_to_string(lab.dir().join(format!("{name}.log")));
            format!("--- {name}\n{}", log.unwrap_or_default())
        })
        .join("\n")
}

/// What was asked for, in the letters that it means: tor writes a name in small and capital letters at random, so that an
/// answer can be told from a forged one (`ServerDNSRandomizeCase`).
fn in_small_letters(mut log: Vec<Asked>) -> Vec<Asked> {
    for asked in &mut log {
        asked.name.make_ascii_lowercase();
    }
    log
}

#[test]
fn an_exit_relay_asks_for_its_clients() {
    let Some(lab) = Lab::builder("relay")
        .web()
        .needs(&["tor", "tor-gencert", "tor-resolve", "curl"])
        .build()
    else {
        return;
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let network = Network::begin(&lab);
    // The exit has a name server of its own: by the address that is asked, its questions are told from all others.
    let resolv_conf = lab.dir().join("exit.resolv.conf");
    fs::write(&resolv_conf, format!("nameserver {}\n", SERVER.1)).expect("a file can be written");
    let exit = network.join(
        "exit",
        EXIT_PORT,
        &format!(
            "{}ExitRelay 1\nExitPolicyRejectPrivate 0\nExitPolicy accept *:*\nServerDNSDetectHijacking 0\nServerDNSResolvConfFile {}\n",
            relay(CLIENT.0, EXIT_PORT),
            resolv_conf.display()
        ),
    );
    let user = network.join("user", tor::PORT, &format!("SocksPort {}\n", tor::PORT));
    let is_ready = || {
        fs::read_to_string(lab.dir().join("user.log"))
            .is_ok_and(|log| log.contains("Bootstrapped 100%"))
    };
    assert!(
        wait::until_true(PATIENCE, is_ready),
        "no circuit was built\n{}",
        said(&lab)
    );

    let socks = format!("127.0.0.1:{}", tor::PORT);
    let args = [
        "-sS",
        "--socks5-hostname",
        &socks,
        &format!("http://{PAGE}/"),
    ];
    let curl = lab.start("curl", &args);
    let curl_pid = curl.pid();
    let curl = curl.finish(PATIENCE);
    assert!(
        curl.text().contains(PAGE_TEXT),
        "the page did not load: {curl:?}\n{}",
        said(&lab)
    );
    let resolved = lab.start("tor-resolve", &[DUAL, &socks]).finish(PATIENCE);
    assert_eq!(
        resolved.text().trim(),
        DUAL_ADDRESSES.0.to_string(),
        "{resolved:?}\n{}",
        said(&lab)
    );

    leakmon.wait_for(LIMIT, |state| {
        same(&seen(state.queries()), &in_small_letters(lab.dns_log()))
    });
    for name in [PAGE, DUAL] {
        leakmon.wait_for(LIMIT, |state| {
            state.proxies().any(|proxy| proxy["target"]["name"] == name)
        });
    }
    let run = leakmon.stop();
    let state = run.final_state();
    let log = in_small_letters(lab.dns_log());
    for name in [PAGE, DUAL] {
        assert!(log.iter().any(|asked| asked.name == name), "{log:?}");
        assert!(
            state.proxies().any(|proxy| proxy["target"]["name"] == name),
            "{}",
            run.said()
        );
    }
    assert!(
        log.iter().all(|asked| asked.client == CLIENT.1),
        "somebody else than the exit asked: {log:?}"
    );
    assert!(
        same(&seen(state.queries()), &log),
        "asked {:#?}\n{}",
        asked(&log),
        run.said()
    );
    for query in state.queries() {
        assert_eq!(query["process"]["pid"], exit.pid(), "{query:#}");
        assert_eq!(query["app"]["name"], "tor", "{query:#}");
        assert_eq!(query["verdict"], "explained", "{query:#}");
        assert!(
            query["explanation"]
                .to_string()
                .contains("it asks for its clients"),
            "{query:#}"
        );
        assert_eq!(query["escaped"], true, "{query:#}");
    }
    assert!(
        state
            .proxies()
            .any(|proxy| proxy["process"]["pid"] == curl_pid && proxy["accepted"] == true),
        "{}",
        run.said()
    );
    assert_ne!(user.pid(), exit.pid());
    assert_eq!(state.findings().count(), 0, "{}", run.said());
}
