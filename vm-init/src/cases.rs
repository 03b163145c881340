//! The cases: what is asked, and what leakmon has to say about it. Each has names of its own.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use leakmon_lab::compare::{asked, same, seen};
use leakmon_lab::output::{State, evidence_text};
use leakmon_lab::program::{Finished, Program};
use leakmon_lab::{LIMIT, wait};
use serde_json::Value;

use crate::ask::CONNECTED;
use crate::guest::{self, DNS, Dns, HUGE, LARGE, PAGE_TEXT, SOCKS_PORT, Watch, command, lines};
use crate::machine::{self, PAGE_ADDRESS};
use crate::report::Report;

/// The name that curl asks for itself, and so leaks.
const LEAKED: &str = "leaked.example";
/// The name that curl leaves to the proxy.
const LEFT: &str = "left.example";

type Outcome = Result<(), String>;

/// A program that asks for one name.
struct Asking {
    case: &'static str,
    /// The program and its arguments.
    line: &'static [&'static str],
    /// `RES_OPTIONS` (resolv.conf(5)).
    options: &'static str,
    exe: &'static str,
    name: &'static str,
    /// In alphabetical order.
    qtypes: &'static [&'static str],
    transport: &'static str,
    server: IpAddr,
}

const DIG: &str = "/usr/bin/dig";
const GETENT: &str = "/usr/bin/getent";
const INIT: &str = "/init";

/// The ways in which programs ask. dig and getent connect first; getent sends both questions in one `sendmmsg`.
#[rustfmt::skip]
const ASKING: [Asking; 11] = [
    Asking {
        case: "dig over UDP", line: &["dig", "@127.0.0.1", "udp4.example"], options: "",
        exe: DIG, name: "udp4.example", qtypes: &["A"], transport: "udp", server: DNS[0],
    },
    Asking {
        case: "dig over TCP", line: &["dig", "@127.0.0.1", "+tcp", "tcp4.example"], options: "",
        exe: DIG, name: "tcp4.example", qtypes: &["A"], transport: "tcp", server: DNS[0],
    },
    Asking {
        case: "dig over UDP and IPv6", line: &["dig", "@::1", "udp6.example"], options: "",
        exe: DIG, name: "udp6.example", qtypes: &["A"], transport: "udp", server: DNS[1],
    },
    Asking {
        case: "dig over TCP and IPv6", line: &["dig", "@::1", "+tcp", "tcp6.example"], options: "",
        exe: DIG, name: "tcp6.example", qtypes: &["A"], transport: "tcp", server: DNS[1],
    },
    Asking {
        case: "getent", line: &["getent", "ahosts", "getent.example"], options: "",
        exe: GETENT, name: "getent.example", qtypes: &["A", "AAAA"], transport: "udp", server: DNS[0],
    },
    Asking {
        case: "getent over TCP", line: &["getent", "ahosts", "use-vc.example"], options: "use-vc",
        exe: GETENT, name: "use-vc.example", qtypes: &["A", "AAAA"], transport: "tcp", server: DNS[0],
    },
    Asking {
        case: "sendto without connect", line: &["/init", "127.0.0.1", "sendto4.example"], options: "",
        exe: INIT, name: "sendto4.example", qtypes: &["A"], transport: "udp", server: DNS[0],
    },
    Asking {
        case: "sendto without connect over IPv6", line: &["/init", "::1", "sendto6.example"], options: "",
        exe: INIT, name: "sendto6.example", qtypes: &["A"], transport: "udp", server: DNS[1],
    },
    Asking {
        case: "a long answer over UDP", line: &["dig", "@127.0.0.1", "+bufsize=4096", LARGE, "TXT"], options: "",
        exe: DIG, name: LARGE, qtypes: &["TXT"], transport: "udp", server: DNS[0],
    },
    Asking {
        case: "a long answer over TCP and IPv6", line: &["dig", "@::1", "+tcp", LARGE, "TXT"], options: "",
        exe: DIG, name: LARGE, qtypes: &["TXT"], transport: "tcp", server: DNS[1],
    },
    Asking {
        case: "a longer answer over TCP", line: &["dig", "@127.0.0.1", "+tcp", HUGE, "TXT"], options: "",
        exe: DIG, name: HUGE, qtypes: &["TXT"], transport: "tcp", server: DNS[0],
    },
];

/// The program of [`Older`].
const OLDER: Asking = Asking {
    case: "a socket older than leakmon",
    line: &["/init", "127.0.0.1", "older.example", "/tmp/older"],
    options: "",
    exe: INIT,
    name: "older.example",
    qtypes: &["A"],
    transport: "udp",
    server: DNS[0],
};

/// Runs them all.
pub fn run(report: &mut Report) {
    report.case("doctor finds nothing amiss", doctor);
    let Some(servers) = report.case("the servers start", Servers::start) else {
        return;
    };
    let older = report.case("a socket is opened before leakmon starts", Older::open);
    let Some(watch) = report.case("leakmon watches", Watch::start) else {
        return;
    };
    report.case("leakmon lacks nothing that this kernel has", || {
        complete(&watch)
    });
    for asking in &ASKING {
        report.case(asking.case, || asking.check(&watch));
    }
    if let Some(older) = older {
        report.case(OLDER.case, || older.check(&watch));
    }
    report.case("curl --socks5 leaks, and it is proven", || leak(&watch));
    report.case("curl --socks5-hostname does not leak", || no_leak(&watch));
    let caught_up = watch.wait(|state| same(&seen(state.queries()), &servers.dns.log()));
    let said = report.case("leakmon ends by Ctrl-C, with a summary", || end(watch));
    let state = said.map_or(caught_up, |said| State::of(&said));
    report.case(
        "leakmon's queries are those of the name server's log",
        || exact(&state, &servers.dns),
    );
    report.case(
        "the kernel has nothing to complain of",
        machine::is_untainted,
    );
    if !report.all_passed() {
        for line in state.lines() {
            println!("VM SAID {line}");
        }
    }
}

/// What runs beside leakmon.
struct Servers {
    dns: Dns,
    _socks: Program,
}

impl Servers {
    fn start() -> Result<Self, String> {
        let mut names: Vec<&str> = ASKING.iter().map(|asking| asking.name).collect();
        names.retain(|name| ![LARGE, HUGE].contains(name));
        names.extend([LEAKED, LEFT, OLDER.name]);
        guest::start_web()?;
        Ok(Self {
            dns: Dns::start(&names),
            _socks: guest::start_socks(),
        })
    }
}

/// How a line of `leakmon doctor` begins that says that something works.
const WORKS: &str = "ok ";

/// How its lines begin that complain of nothing: of what works, of the machine as it is, and around the block.
const NOT_AMISS: [&str; 3] = [WORKS, "info ", "```"];

/// Everything is there in this machine, so nothing may be missing, and nothing less than this kernel can do.
fn doctor() -> Outcome {
    let doctor = guest::leakmon(&["doctor"]);
    let text = doctor.text();
    let mut amiss: Vec<String> = text
        .lines()
        .filter(|line| !NOT_AMISS.iter().any(|start| line.starts_with(start)))
        .map(str::to_owned)
        .collect();
    without_lacking(&mut amiss);
    let works = text.lines().any(|line| line.starts_with(WORKS));
    if !doctor.status.success() || !amiss.is_empty() || !works {
        return Err(format!(
            "{} {}{}",
            doctor.status,
            amiss.join("\n"),
            doctor.stderr
        ));
    }
    Ok(())
}

/// What leakmon may lack: a part of what it says, and the kernel from which on it may not.
const LACKING: [(&str, (u32, u32)); 2] = [("packet sockets", (6, 6)), ("tcx/egress", (6, 6))];

/// Takes out what this kernel cannot have.
fn without_lacking(lines: &mut Vec<String>) {
    let version = machine::kernel_version();
    for (part, since) in LACKING {
        lines.retain(|line| version >= since || !line.contains(part));
    }
}

fn complete(watch: &Watch) -> Outcome {
    let mut lacks = watch.lacks();
    without_lacking(&mut lacks);
    if lacks.is_empty() {
        Ok(())
    } else {
        Err(lacks.join("\n"))
    }
}

/// A program that has connected, and waits to ask until leakmon watches.
struct Older(Program);

impl Older {
    fn open() -> Result<Self, String> {
        let program = Program::spawn(&mut OLDER.command());
        let connected = || program.stdout.text().contains(CONNECTED);
        if wait::until_true(LIMIT, connected) {
            Ok(Self(program))
        } else {
            Err(program.said())
        }
    }

    fn check(self, watch: &Watch) -> Outcome {
        let go = OLDER.line[3];
        fs::write(go, "").map_err(|error| format!("{go}: {error}"))?;
        let pid = self.0.pid();
        succeeded(OLDER.exe, self.0.finish(LIMIT))?;
        OLDER.is_seen(watch, pid)
    }
}

impl Asking {
    fn command(&self) -> Command {
        let mut program = command(self.line[0]);
        program.args(&self.line[1..]);
        if !self.options.is_empty() {
            program.env("RES_OPTIONS", self.options);
        }
        program
    }

    fn check(&self, watch: &Watch) -> Outcome {
        let (pid, _) = succeed(&mut self.command())?;
        self.is_seen(watch, pid)
    }

    /// Whether leakmon tells of it, and rightly.
    fn is_seen(&self, watch: &Watch, pid: u32) -> Outcome {
        let is_of_it = |query: &&Value| query["process"]["pid"] == pid;
        let state = watch.wait(|state| {
            let answered = |query: &Value| state.answers_to(query).next().is_some();
            let answered = state
                .queries_for(self.name)
                .filter(is_of_it)
                .filter(|query| answered(query));
            answered.count() >= self.qtypes.len()
        });
        let queries: Vec<&Value> = state.queries_for(self.name).filter(is_of_it).collect();
        let all: Vec<&Value> = state.queries_for(self.name).collect();
        let mut qtypes: Vec<&str> = queries
            .iter()
            .filter_map(|query| query["qtype"].as_str())
            .collect();
        qtypes.sort_unstable();
        expect(
            "the types",
            &qtypes.join(", "),
            &self.qtypes.join(", "),
            &all,
        )?;
        for query in queries {
            let process = &query["process"];
            expect("the program", &process["exe"], &self.exe.into(), &query)?;
            expect(
                "the transport",
                &query["transport"],
                &self.transport.into(),
                &query,
            )?;
            let server = self.server.to_string();
            expect(
                "the server",
                &query["resolver"]["addr"],
                &server.into(),
                &query,
            )?;
            expect("the verdict", &query["verdict"], &"no-proxy".into(), &query)?;
            let answer = state.answers_to(query).next();
            let answer = answer.ok_or_else(|| format!("no answer to {query}"))?;
            expect("the answer", &answer["rcode"], &"NOERROR".into(), &answer)?;
            if query["qtype"] == "A" {
                let address = PAGE_ADDRESS.to_string();
                expect(
                    "the address",
                    &answer["addresses"][0],
                    &address.into(),
                    &answer,
                )?;
            }
        }
        Ok(())
    }
}

/// Fetches the page of that name through the SOCKS server.
fn fetch(how: &str, name: &str) -> Result<u32, String> {
    let proxy = format!("{}:{SOCKS_PORT}", DNS[0]);
    let url = format!("http://{name}/");
    let mut curl = command("curl");
    curl.args(["-sS", "--max-time", "15", how, &proxy, &url]);
    let (pid, curl) = succeed(&mut curl)?;
    expect("the page", curl.text().trim(), PAGE_TEXT, &curl.stderr)?;
    Ok(pid)
}

fn leak(watch: &Watch) -> Outcome {
    let curl = fetch("--socks5", LEAKED)?;
    let state = watch.wait(|state| state.proof_for(LEAKED).is_some());
    let Some(proof) = state.proof_for(LEAKED) else {
        let about: Vec<&Value> = state
            .lines()
            .iter()
            .filter(|line| line["type"] != "answer")
            .collect();
        return Err(format!(
            "nothing proven; {} lines, last {:?}",
            about.len(),
            about.last()
        ));
    };
    expect("the program", &proof["app"]["pid"], &curl.into(), &proof)?;
    expect(
        "the proxy",
        &proof["proxy"]["scheme"],
        &"socks5".into(),
        &proof,
    )?;
    expect(
        "its port",
        &proof["proxy"]["port"],
        &SOCKS_PORT.into(),
        &proof,
    )?;
    if !evidence_text(proof).contains(&PAGE_ADDRESS.to_string()) {
        return Err(format!("the evidence does not name the address: {proof}"));
    }
    Ok(())
}

/// The proxy asks in curl's stead: that is its task, and no leak of anybody's.
fn no_leak(watch: &Watch) -> Outcome {
    let curl = fetch("--socks5-hostname", LEFT)?;
    let state = watch.wait(|state| {
        state.queries_for(LEFT).count() >= 2
            && state.proxies().any(|proxy| proxy["target"]["name"] == LEFT)
    });
    let requests: Vec<&Value> = state
        .proxies()
        .filter(|proxy| proxy["target"]["name"] == LEFT)
        .collect();
    let [request] = requests.as_slice() else {
        return Err(format!(
            "one request to the proxy was to be seen, not {requests:?}"
        ));
    };
    expect(
        "the program",
        &request["process"]["pid"],
        &curl.into(),
        request,
    )?;
    if state.queries_for(LEFT).next().is_none() {
        return Err("the proxy's own query was not seen".to_owned());
    }
    for query in state.queries_for(LEFT) {
        expect(
            "the asker",
            &query["process"]["exe"],
            &"/usr/bin/microsocks".into(),
            &query,
        )?;
    }
    match state.findings().find(|finding| finding["name"] != LEAKED) {
        None => Ok(()),
        Some(finding) => Err(format!("this is no leak: {finding}")),
    }
}

fn end(watch: Watch) -> Result<Vec<Value>, String> {
    let leakmon = watch.stop();
    let lines = lines(&leakmon.text());
    let summary = lines.last().cloned().unwrap_or_default();
    expect(
        "the exit code",
        &leakmon.status.code(),
        &Some(0),
        &leakmon.stderr,
    )?;
    expect(
        "the last line",
        &summary["type"],
        &"summary".into(),
        &summary,
    )?;
    expect("lost", &summary["lost"], &0.into(), &summary)?;
    expect("undecoded", &summary["undecoded"], &0.into(), &summary)?;
    Ok(lines)
}

/// Nothing is missing, nothing is invented, and every query has its program.
fn exact(state: &State, dns: &Dns) -> Outcome {
    let log = dns.log();
    let queries = seen(state.queries());
    if log.is_empty() || !same(&queries, &log) {
        return Err(format!("asked {:?}, seen {queries:?}", asked(&log)));
    }
    match state
        .queries()
        .find(|query| query["process"]["exe"].is_null())
    {
        None => Ok(()),
        Some(query) => Err(format!("whose is it? {query}")),
    }
}

fn succeed(command: &mut Command) -> Result<(u32, Finished), String> {
    let (pid, finished) = guest::run(command);
    let program = command.get_program().to_string_lossy();
    Ok((pid, succeeded(&program, finished)?))
}

fn succeeded(program: &str, finished: Finished) -> Result<Finished, String> {
    if finished.status.success() {
        return Ok(finished);
    }
    Err(format!(
        "{program}: {} {}{}",
        finished.status,
        finished.text(),
        finished.stderr
    ))
}

fn expect<T: PartialEq + std::fmt::Debug + ?Sized>(
    what: &str,
    is: &T,
    should: &T,
    of: &dyn std::fmt::Debug,
) -> Outcome {
    if is == should {
        return Ok(());
    }
    Err(format!("{what}: {is:?} and not {should:?}: {of:?}"))
}
