//! Conversations with SOCKS servers, byte by byte: every version, command, refusal and split that a client may come up
//! with. What leakmon says of them is held against the bytes that the client was answered and against the server's log.

use leakmon_lab::lab::{CLIENT, DUAL, PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{LIMIT, Lab, Leakmon, Program, tor, wait};
use serde_json::{Value, json};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const PYTHON: &str = "/usr/bin/python3";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Does as it is told: sends bytes given in hexadecimal, each as a segment of its own that the other end has before the
/// next one leaves; for `?N` waits for N bytes or the end, and says what came; for `@` connects to the address that came
/// last.
const TALK: &str = r"
import fcntl, socket, struct, sys, time
SIOCOUTQ = 0x5411
talk = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=15)
talk.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
others = []
for step in sys.argv[3:]:
    if step == '@':
        others.append(socket.create_connection((socket.inet_ntoa(came[4:8]), int.from_bytes(came[8:10], 'big')), 15))
    elif step.startswith('?'):
        came = b''
        while len(came) < int(step[1:]):
            more = talk.recv(int(step[1:]) - len(came))
            if not more:
                break
            came += more
        print(came.hex(), flush=True)
    else:
        talk.sendall(bytes.fromhex(step))
        while struct.unpack('i', fcntl.ioctl(talk, SIOCOUTQ, b'\0\0\0\0'))[0]:
            time.sleep(0.001)
";

/// Says back whatever it is told.
const ECHO: &str = r"
import socketserver, sys
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(4096):
            self.request.sendall(data)
socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Echo).serve_forever()
";

/// What a client does in turn.
enum Step<'a> {
    /// It sends these bytes in one segment.
    Send(&'a [u8]),
    /// It waits for so many bytes.
    Wait(usize),
    /// It connects to where it was told, as the peer that a BIND waits for.
    Connect,
}
use Step::{Connect, Send, Wait};

/// A client's conversation: its process, and what it was answered.
#[derive(Debug)]
struct Talk {
    pid: u32,
    answers: Vec<Vec<u8>>,
}

fn talk(lab: &Lab, (addr, port): (IpAddr, u16), steps: &[Step<'_>]) -> Talk {
    let mut args = vec!["-c".to_owned(), TALK.to_owned()];
    args.extend([addr.to_string(), port.to_string()]);
    args.extend(steps.iter().map(|step| match step {
        Send(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Wait(len) => format!("?{len}"),
        Connect => "@".to_owned(),
    }));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (pid, client) = lab.run(PYTHON, &args);
    assert!(client.status.success(), "{client:?}");
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
        u8::from_str_radix(pair, 16).expect("hexadecimal digits")
    };
    let answer = |line: &str| line.as_bytes().chunks(2).map(byte).collect();
    let answers = client.text().lines().map(answer).collect();
    Talk { pid, answers }
}

/// What leakmon is to say of a conversation: one line, with these fields.
struct Said<'a> {
    protocol: &'a str,
    command: &'a str,
    target: Value,
    accepted: Option<bool>,
}

impl Said<'_> {
    fn assert_by(&self, leakmon: &Leakmon, proxy: (IpAddr, u16), talk: &Talk) {
        let by_it = |line: &&Value| line["process"]["pid"] == talk.pid;
        leakmon.wait_for(LIMIT, |state| state.proxies().any(|line| by_it(&line)));
        let state = leakmon.state();
        let lines: Vec<&Value> = state.proxies().filter(by_it).collect();
        let [line] = lines[..] else {
            panic!("{talk:?}: {lines:#?}\n{}", leakmon.text());
        };
        let expected = json!([
            {"addr": proxy.0, "port": proxy.1}, self.protocol, self.command, self.target, self.accepted
        ]);
        let fields = ["proxy", "protocol", "command", "target", "accepted"];
        let mut got: Vec<Value> = fields.iter().map(|field| line[field].clone()).collect();
        for endpoint in [0, 3] {
            if let Some(fields) = got[endpoint].as_object_mut() {
                fields.retain(|name, value| {
                    ["addr", "name", "port"].contains(&name.as_str()) && !value.is_null()
                });
            }
        }
        assert_eq!(Value::from(got), expected, "{talk:?}: {line:#}");
    }
}

fn addr(addr: Ipv4Addr, port: u16) -> Value {
    json!({"addr": addr, "port": port})
}

fn name(name: &str, port: u16) -> Value {
    json!({"name": name, "port": port})
}

/// A request of SOCKS5 (RFC 1928 section 4) by an IPv4 address.
fn five_addr(command: u8, addr: Ipv4Addr, port: u16) -> Vec<u8> {
    [&[5, command, 0, 1][..], &addr.octets(), &port.to_be_bytes()].concat()
}

/// A request of SOCKS5 by a name.
fn five_name(command: u8, name: &str, port: u16) -> Vec<u8> {
    let len = u8::try_from(name.len()).expect("a short name");
    [
        &[5, command, 0, 3, len],
        name.as_bytes(),
        &port.to_be_bytes(),
    ]
    .concat()
}

/// A request of SOCKS4 by an IPv4 address.
fn four_addr(command: u8, addr: Ipv4Addr, port: u16) -> Vec<u8> {
    [
        &[4, command][..],
        &port.to_be_bytes(),
        &addr.octets(),
        b"user\0",
    ]
    .concat()
}

/// A request of SOCKS4a by a name.
fn four_name(command: u8, name: &str, port: u16) -> Vec<u8> {
    let address = Ipv4Addr::new(0, 0, 0, 1);
    [
        &four_addr(command, address, port)[..],
        name.as_bytes(),
        b"\0",
    ]
    .concat()
}

/// User name and password (RFC 1929 section 2).
fn password(password: &str) -> Vec<u8> {
    let len = u8::try_from(password.len()).expect("a short password");
    [&[1, 2, b'm', b'e', len], password.as_bytes()].concat()
}

/// tor without a network answers what it can by itself: it makes up addresses for names in `.test`, and with `SafeSocks`
/// refuses to connect to an address.
fn start_tor(lab: &Lab) -> Program {
    let path = |name: &str| lab.dir().join(name).display().to_string();
    let log = format!("[app]debug file {}", path("tor.log"));
    let port = tor::PORT.to_string();
    let data = path("tor");
    let mut tor = lab.start(
        "tor",
        &[
            "-f",
            "/nonexistent",
            "--defaults-torrc",
            "/nonexistent",
            "--ignore-missing-torrc",
            "--SocksPort",
            &port,
            "--DataDirectory",
            &data,
            "--SafeSocks",
            "1",
            "--SafeLogging",
            "0",
            "--AutomapHostsOnResolve",
            "1",
            "--AutomapHostsSuffixes",
            ".test",
            "--Log",
            &log,
        ],
    );
    wait_listening(&mut tor, tor::PORT);
    tor
}

fn assert_tor_was_asked(lab: &Lab, target: &str) {
    let line = format!("Client asked for {target}");
    let log = || fs::read_to_string(lab.dir().join("tor.log")).unwrap_or_default();
    assert!(
        wait::until_true(LIMIT, || log().lines().any(|text| text.ends_with(&line))),
        "{target}: {}",
        log()
    );
}

#[test]
fn with_tor() {
    let Some(lab) = Lab::builder("socks_tor").needs(&["tor", "python3"]).build() else {
        return;
    };
    let tor = start_tor(&lab);
    let leakmon = Leakmon::watch(&lab, &[]);
    let proxy = (LOCALHOST, tor::PORT);
    let check = |steps: &[Step<'_>], protocol, command, target: Value, accepted| {
        let talk = talk(&lab, proxy, steps);
        let said = Said {
            protocol,
            command,
            target,
            accepted,
        };
        said.assert_by(&leakmon, proxy, &talk);
        talk.answers
    };

    // RESOLVE, in both versions, split wherever it may be.
    let request = four_name(0xf0, "four.test", 0);
    let (head, tail) = request.split_at(1);
    let (middle, tail) = tail.split_at(10);
    let steps = [Send(head), Send(middle), Send(tail), Wait(8)];
    let answers = check(
        &steps,
        "socks4a",
        "resolve",
        name("four.test", 0),
        Some(true),
    );
    assert_eq!(answers[0][..2], [0, 0x5a]);
    assert_tor_was_asked(&lab, "four.test:0");
    let made_up: [u8; 4] = answers[0][4..8].try_into().expect("an address");
    let made_up = Ipv4Addr::from(made_up);

    let request = five_name(0xf0, "five.test", 0);
    let (head, tail) = request.split_at(6);
    let steps = [
        Send(&[5]),
        Send(&[1]),
        Send(&[0]),
        Wait(2),
        Send(head),
        Send(tail),
        Wait(22),
    ];
    let answers = check(
        &steps,
        "socks5",
        "resolve",
        name("five.test", 0),
        Some(true),
    );
    assert_eq!(answers[0], [5, 0]);
    assert_eq!(answers[1][..4], [5, 0, 0, 4]);
    assert_tor_was_asked(&lab, "five.test:0");
    let made_up_six: [u8; 16] = answers[1][4..20].try_into().expect("an address");

    // RESOLVE_PTR, after a user name and password that tor tells circuits apart by. It would have to ask the network.
    let auth = password("tag");
    let request = five_addr(0xf1, made_up, 0);
    let steps = [
        Send(&[5, 2, 0, 2]),
        Wait(2),
        Send(&auth),
        Wait(2),
        Send(&request),
        Wait(10),
    ];
    let answers = check(
        &steps,
        "socks5",
        "resolve-ptr",
        addr(made_up, 0),
        Some(false),
    );
    assert_eq!(answers[..2], [vec![5, 2], vec![1, 0]]);
    assert_eq!(answers[2][..2], [5, 4]);
    assert_tor_was_asked(&lab, &format!("{made_up}:0"));

    // The same without waiting for anything, in one segment, for an IPv6 address. tor leaves out what it would have said
    // first.
    let request = [&[5, 0xf1, 0, 4][..], &made_up_six, &[0, 0]].concat();
    let made_up_six = Ipv6Addr::from(made_up_six);
    let all = [&[5, 1, 2][..], &auth, &request].concat();
    let target = json!({"addr": made_up_six, "port": 0});
    let steps = [Send(&all), Wait(4)];
    let answers = check(&steps, "socks5", "resolve-ptr", target, Some(false));
    assert_eq!(answers[0], [1, 0, 5, 4]);
    assert_tor_was_asked(&lab, &format!("[{made_up_six}]:0"));

    // Refused: an address, in both versions, and a command that tor does not know.
    let request = four_addr(1, PAGE_ADDRESS, 80);
    let answers = check(
        &[Send(&request), Wait(8)],
        "socks4",
        "connect",
        addr(PAGE_ADDRESS, 80),
        Some(false),
    );
    assert_eq!(answers[0][..2], [0, 0x5b]);
    let request = five_addr(1, PAGE_ADDRESS, 443);
    let steps = [Send(&[5, 1, 0]), Wait(2), Send(&request), Wait(10)];
    let answers = check(
        &steps,
        "socks5",
        "connect",
        addr(PAGE_ADDRESS, 443),
        Some(false),
    );
    assert_eq!(answers[1][..2], [5, 2]);
    let request = five_name(2, "five.test", 80);
    let steps = [Send(&[5, 1, 0]), Wait(2), Send(&request), Wait(10)];
    let answers = check(&steps, "socks5", "bind", name("five.test", 80), Some(false));
    assert_eq!(answers[1][..2], [5, 7]);

    // Refused in the same way: nothing but the refusal.
    for auth in [&[5, 1, 0][..], &[&[5, 1, 2], &auth[..]].concat()] {
        let all = [auth, &five_addr(1, PAGE_ADDRESS, 443)].concat();
        let target = addr(PAGE_ADDRESS, 443);
        let answers = check(
            &[Send(&all), Wait(10)],
            "socks5",
            "connect",
            target,
            Some(false),
        );
        assert_eq!(answers[0][..4], [5, 2, 0, 1]);
    }

    // No network, no answer: neither granted nor refused. Even what is for the other end is sent with it.
    let all = [
        &[5, 1, 0][..],
        &five_name(1, PAGE, 80),
        b"GET / HTTP/1.1\r\n\r\n",
    ]
    .concat();
    let answers = check(
        &[Send(&all), Wait(2)],
        "socks5",
        "connect",
        name(PAGE, 80),
        None,
    );
    assert_eq!(answers[0], [5, 0]);
    assert_tor_was_asked(&lab, &format!("{PAGE}:80"));
    let request = four_name(1, DUAL, 443);
    check(
        &[Send(&request)],
        "socks4a",
        "connect",
        name(DUAL, 443),
        None,
    );
    assert_tor_was_asked(&lab, &format!("{DUAL}:443"));

    // A method that nobody can read behind: tor knows none of it, and nothing is asked.
    let refused = talk(&lab, proxy, &[Send(&[5, 1, 0x80]), Wait(2)]);
    assert_eq!(refused.answers[0], [5, 0xff]);
    let run = leakmon.stop();
    let state = run.final_state();
    // Nor is any of it tor's own doing, whose end of each conversation is watched as well.
    assert_eq!(state.proxies().count(), 11, "{}", run.said());
    assert!(
        state.proxies().all(
            |line| line["process"]["pid"] != refused.pid && line["process"]["pid"] != tor.pid()
        ),
        "{}",
        run.said()
    );
}

#[test]
fn with_a_password() {
    const PORT: u16 = 1081;
    let Some(lab) = Lab::builder("socks_password")
        .web()
        .needs(&["microsocks", "python3"])
        .build()
    else {
        return;
    };
    let mut command = lab.command_on_server("microsocks");
    let (host, port) = (SERVER.0.to_string(), PORT.to_string());
    let mut microsocks =
        Program::spawn(command.args(["-i", &host, "-p", &port, "-u", "me", "-P", "right"]));
    wait_listening(&mut microsocks, PORT);
    let leakmon = Leakmon::watch(&lab, &[]);
    let proxy = (SERVER.0.into(), PORT);
    let check = |steps: &[Step<'_>], target: Value, accepted| {
        let talk = talk(&lab, proxy, steps);
        let said = Said {
            protocol: "socks5",
            command: "connect",
            target,
            accepted: Some(accepted),
        };
        said.assert_by(&leakmon, proxy, &talk);
        talk.answers
    };
    let greeting = [5, 2, 0, 2];
    let right = password("right");
    let wrong = password("wrong");
    let to_page = five_name(1, PAGE, 80);

    let get = b"GET / HTTP/1.0\r\n\r\n";
    let steps = [
        Send(&greeting),
        Wait(2),
        Send(&right),
        Wait(2),
        Send(&to_page),
        Wait(10),
        Send(get),
        Wait(4096),
    ];
    let answers = check(&steps, name(PAGE, 80), true);
    assert_eq!(answers[..2], [vec![5, 2], vec![1, 0]]);
    assert_eq!(answers[2][..2], [5, 0]);
    assert!(String::from_utf8_lossy(&answers[3]).contains(PAGE_TEXT));
    let connected = format!("connected to {PAGE}:80");
    assert!(
        wait::until_true(LIMIT, || microsocks.said().contains(&connected)),
        "{}",
        microsocks.said()
    );

    // Nothing listens on that port.
    let request = five_addr(1, PAGE_ADDRESS, 81);
    let steps = [
        Send(&greeting),
        Wait(2),
        Send(&right),
        Wait(2),
        Send(&request),
        Wait(10),
    ];
    let answers = check(&steps, addr(PAGE_ADDRESS, 81), false);
    assert_eq!(answers[2][..2], [5, 5]);

    // A client that asks before it knows that its password is wrong, or that it needs one.
    let both = [&wrong[..], &to_page].concat();
    let steps = [Send(&greeting), Wait(2), Send(&both), Wait(2)];
    let answers = check(&steps, name(PAGE, 80), false);
    assert_eq!(answers[0], [5, 2]);
    assert_eq!(
        (answers[1][0], answers[1][1] == 0),
        (1, false),
        "{answers:?}"
    );
    let all = [&[5, 1, 0][..], &to_page].concat();
    let answers = check(&[Send(&all), Wait(2)], name(PAGE, 80), false);
    assert_eq!(answers[0], [5, 0xff]);

    // And one that waits, and then has nothing to ask.
    let refused = talk(
        &lab,
        proxy,
        &[Send(&greeting), Wait(2), Send(&wrong), Wait(2)],
    );
    assert_eq!(refused.answers[1][0], 1, "{refused:?}");
    assert_ne!(refused.answers[1][1], 0, "{refused:?}");
    let run = leakmon.stop();
    assert_eq!(run.final_state().proxies().count(), 4, "{}", run.said());
}

#[test]
fn with_dante() {
    const PORT: u16 = 1082;
    let Some(lab) = Lab::builder("socks_dante")
        .web()
        .needs(&["danted", "python3"])
        .build()
    else {
        return;
    };
    let config = lab.dir().join("danted.conf");
    let text = format!(
        "logoutput: stderr\ninternal: {0} port = {PORT}\nexternal: {0}\nclientmethod: none\nsocksmethod: none\n\
         client pass {{ from: 0/0 to: 0/0 }}\n\
         socks block {{ from: 0/0 to: {PAGE_ADDRESS}/32 port = 82 }}\n\
         socks pass {{ from: 0/0 to: 0/0 }}\n",
        SERVER.0
    );
    fs::write(&config, text).expect("a file can be written in the lab's folder");
    let mut command = lab.command_on_server("danted");
    let mut danted = Program::spawn(command.arg("-f").arg(&config));
    wait_listening(&mut danted, PORT);
    let leakmon = Leakmon::watch(&lab, &[]);
    let proxy = (SERVER.0.into(), PORT);
    let check = |steps: &[Step<'_>], protocol, command, target: Value, accepted| {
        let talk = talk(&lab, proxy, steps);
        let said = Said {
            protocol,
            command,
            target,
            accepted: Some(accepted),
        };
        said.assert_by(&leakmon, proxy, &talk);
        talk.answers
    };

    // The client does not know yet where its datagrams will come from (RFC 1928 section 4).
    let anywhere = Ipv4Addr::UNSPECIFIED;
    let request = five_addr(3, anywhere, 0);
    let steps = [Send(&[5, 1, 0]), Wait(2), Send(&request), Wait(10)];
    let answers = check(&steps, "socks5", "udp-associate", addr(anywhere, 0), true);
    assert_eq!(answers[1][..2], [5, 0]);

    // Two replies: where it listens, and who came.
    let request = five_addr(2, CLIENT.0, 0);
    let steps = [
        Send(&[5, 1, 0]),
        Wait(2),
        Send(&request),
        Wait(10),
        Connect,
        Wait(10),
    ];
    let answers = check(&steps, "socks5", "bind", addr(CLIENT.0, 0), true);
    assert_eq!(answers[1][..2], [5, 0]);
    assert_eq!(
        answers[2][..8],
        [&[5, 0, 0, 1][..], &CLIENT.0.octets()].concat()
    );

    // SOCKS4 in small pieces; what the rules forbid, in both versions.
    let request = four_addr(1, PAGE_ADDRESS, 80);
    let steps: Vec<_> = request.chunks(2).map(Send).chain([Wait(8)]).collect();
    let answers = check(&steps, "socks4", "connect", addr(PAGE_ADDRESS, 80), true);
    assert_eq!(answers[0][..2], [0, 0x5a]);
    let request = four_addr(1, PAGE_ADDRESS, 82);
    let answers = check(
        &[Send(&request), Wait(8)],
        "socks4",
        "connect",
        addr(PAGE_ADDRESS, 82),
        false,
    );
    assert_eq!(answers[0][..2], [0, 0x5b]);
    let request = five_addr(1, PAGE_ADDRESS, 82);
    let steps = [Send(&[5, 1, 0]), Wait(2), Send(&request), Wait(10)];
    let answers = check(&steps, "socks5", "connect", addr(PAGE_ADDRESS, 82), false);
    assert_eq!(answers[1][..2], [5, 2]);
    let run = leakmon.stop();
    assert_eq!(run.final_state().proxies().count(), 5, "{}", run.said());
}

#[test]
fn what_only_looks_like_socks_is_none() {
    const ECHO_PORT: u16 = 7;
    let Some(lab) = Lab::builder("socks_none")
        .socks()
        .web()
        .needs(&["python3"])
        .build()
    else {
        return;
    };
    let mut command = lab.command_on_server(PYTHON);
    let mut echo =
        Program::spawn(command.args(["-c", ECHO, &SERVER.0.to_string(), &ECHO_PORT.to_string()]));
    wait_listening(&mut echo, ECHO_PORT);
    let leakmon = Leakmon::watch(&lab, &[]);
    let greeting = [5, 2, 0, 2];
    // A web server answers lines.
    let end = b"\r\n\r\n";
    let five = [&greeting[..], &five_name(1, PAGE, 80)].concat();
    let with_password = [&[5, 1, 2][..], &password("right"), &five_name(1, PAGE, 80)].concat();
    let four = four_addr(1, PAGE_ADDRESS, 80);
    let four_a = four_name(0xf0, PAGE, 0);
    for said in [&five, &with_password, &four, &four_a] {
        let web = talk(
            &lab,
            (PAGE_ADDRESS.into(), 80),
            &[Send(&[said, &end[..]].concat()), Wait(4096)],
        );
        assert!(
            String::from_utf8_lossy(&web.answers[0]).contains("DOCTYPE"),
            "{web:?}"
        );
        let echoed = talk(
            &lab,
            (SERVER.0.into(), ECHO_PORT),
            &[Send(said), Wait(said.len())],
        );
        assert_eq!(&echoed.answers[0], said);
    }
    // It waits for the answer to each part, and goes on whatever that is.
    let rest = &five[greeting.len()..];
    let parts = [
        Send(&greeting),
        Wait(greeting.len()),
        Send(rest),
        Wait(rest.len()),
    ];
    talk(&lab, (SERVER.0.into(), ECHO_PORT), &parts);

    // The same to a SOCKS server, to know that all before has been seen.
    let proxy = (SERVER.0.into(), SOCKS_PORT);
    let real = talk(
        &lab,
        proxy,
        &[Send(&greeting), Wait(2), Send(rest), Wait(10)],
    );
    let said = Said {
        protocol: "socks5",
        command: "connect",
        target: name(PAGE, 80),
        accepted: Some(true),
    };
    said.assert_by(&leakmon, proxy, &real);
    let run = leakmon.stop();
    assert_eq!(run.final_state().proxies().count(), 1, "{}", run.said());
}
