//! Programs, settings and ways to a resolver, each run for real: what leakmon must find, and what it must not.
//!
//! The table of it all is docs/verdict-table.md. With `LEAKMON_WRITE_TABLE=1` it is written, else it has to be as it is.

use leakmon_lab::lab::{PAGE_ADDRESS, PAGE_TEXT, SERVER};
use leakmon_lab::output::evidence_text;
use leakmon_lab::servers::wait_listening;
use leakmon_lab::{Behind, Chromium, LIMIT, Lab, Leakmon, Program, Resolver, State};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Where dante listens, which is asked for SOCKS4.
const SOCKS4: &str = "10.77.0.1:1081";
/// Where microsocks listens, which knows SOCKS5 and says what it was given.
const SOCKS5: &str = "10.77.0.1:1080";
/// Where tor listens, which is asked for SOCKS4a. It has no network, and says what it was given.
const SOCKS4A: &str = "127.0.0.1:9050";

/// How names are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Direct,
    Behind(Resolver),
}

impl Way {
    const ALL: [Self; 8] = [
        Self::Direct,
        Self::Behind(Resolver::ResolvedStub),
        Self::Behind(Resolver::Resolved),
        Self::Behind(Resolver::Nscd { shared: false }),
        Self::Behind(Resolver::Dnsmasq),
        Self::Behind(Resolver::Unbound),
        Self::Behind(Resolver::DnsmasqToUnbound),
        Self::Behind(Resolver::Tor),
    ];

    fn words(self) -> &'static str {
        match self {
            Self::Direct => "straight to the server",
            Self::Behind(Resolver::ResolvedStub) => "systemd-resolved, 127.0.0.53",
            Self::Behind(Resolver::Resolved) => "systemd-resolved, nss-resolve",
            Self::Behind(Resolver::Nscd { .. }) => "nscd",
            Self::Behind(Resolver::Dnsmasq) => "dnsmasq",
            Self::Behind(Resolver::Unbound) => "unbound",
            Self::Behind(Resolver::DnsmasqToUnbound) => "dnsmasq, then unbound",
            Self::Behind(Resolver::Tor) => "tor's DNSPort",
        }
    }

    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Direct => &[],
            Self::Behind(resolver) => resolver.programs(),
        }
    }

    /// Whether what is asked this way reaches the name server.
    fn leaves(self) -> bool {
        self != Self::Behind(Resolver::Tor)
    }

    /// How the programs of the C library ask.
    fn transport(self) -> &'static str {
        match self {
            Self::Behind(Resolver::Resolved) => "varlink",
            Self::Behind(Resolver::Nscd { .. }) => "nscd",
            _ => "udp",
        }
    }
}

/// A program with its settings.
#[derive(Clone, Copy, Debug)]
enum What {
    /// curl with these options.
    Curl(&'static [&'static str]),
    /// curl with this variable in its environment.
    CurlTold(&'static str, &'static str),
    /// Python's requests with this scheme of a proxy.
    Requests(&'static str),
    /// git with this scheme in http.proxy.
    Git(&'static str),
    /// curl under proxychains, with or without proxy_dns.
    Proxychains(bool),
    /// wget, which has no SOCKS.
    Wget,
    /// getent, which has no proxy at all.
    Getent,
    /// Chromium with this option.
    Chromium(&'static str),
}

/// What has to come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// A finding, as sure as this.
    Leak(&'static str),
    /// The name is asked for, and that is no leak: the verdict.
    Asked(&'static str),
    /// The name is not asked for.
    Quiet,
}

const PROVEN: Outcome = Outcome::Leak("proven");

/// What is run in every way, with what comes of it when names leave the machine.
const EVERYWHERE: [(What, Outcome); 5] = [
    (What::Curl(&["--socks4", SOCKS4]), PROVEN),
    (What::Curl(&["--socks5", SOCKS5]), PROVEN),
    (What::Curl(&["--socks5-hostname", SOCKS5]), Outcome::Quiet),
    (What::Requests("socks5"), PROVEN),
    (What::Getent, Outcome::Asked("no-proxy")),
];

/// What is run where names are asked straight of the server.
const DIRECTLY: [(What, Outcome); 16] = [
    (What::Curl(&["--socks4a", SOCKS4A]), Outcome::Quiet),
    (What::Requests("socks5h"), Outcome::Quiet),
    (What::Requests("socks4"), PROVEN),
    (
        What::CurlTold("ALL_PROXY", "socks5://10.77.0.1:1080"),
        PROVEN,
    ),
    (
        What::CurlTold("ALL_PROXY", "socks5h://10.77.0.1:1080"),
        Outcome::Quiet,
    ),
    (
        What::CurlTold("http_proxy", "socks4://10.77.0.1:1081"),
        PROVEN,
    ),
    (
        What::CurlTold("http_proxy", "socks4a://127.0.0.1:9050"),
        Outcome::Quiet,
    ),
    (
        What::Curl(&["--socks5", SOCKS5, "--noproxy", ".example"]),
        Outcome::Asked("explained"),
    ),
    (What::Git("socks5"), PROVEN),
    (What::Git("socks5h"), Outcome::Quiet),
    (What::Proxychains(true), Outcome::Quiet),
    (What::Proxychains(false), PROVEN),
    (What::Wget, Outcome::Asked("no-proxy")),
    (
        What::Chromium("--proxy-server=socks4://10.77.0.1:1081"),
        PROVEN,
    ),
    (
        What::Chromium("--proxy-server=socks5://10.77.0.1:1080"),
        Outcome::Quiet,
    ),
    (
        What::Chromium("--no-proxy-server"),
        Outcome::Asked("no-proxy"),
    ),
];

impl What {
    fn words(self) -> String {
        match self {
            Self::Curl(args) => format!("`curl {}`", args.join(" ")),
            Self::CurlTold(name, value) => format!("`{name}={value} curl`"),
            Self::Requests(scheme) => format!("Python requests, `{scheme}://`"),
            Self::Git(scheme) => format!("git, `http.proxy={scheme}://…`"),
            Self::Proxychains(true) => "`proxychains4 curl`, `proxy_dns`".to_owned(),
            Self::Proxychains(false) => "`proxychains4 curl`, no `proxy_dns`".to_owned(),
            Self::Wget => "wget".to_owned(),
            Self::Getent => "`getent ahosts`".to_owned(),
            Self::Chromium(arg) => format!("Chromium, `{arg}`"),
        }
    }
}

impl Outcome {
    fn words(self) -> String {
        match self {
            Self::Leak(confidence) => format!("**leak**, {confidence}"),
            Self::Asked("explained") => "asked, explained: no leak".to_owned(),
            Self::Asked(_) => "asked, no proxy: no leak".to_owned(),
            Self::Quiet => "not asked".to_owned(),
        }
    }

    /// What comes of it where names do not leave the machine.
    fn contained(self) -> Self {
        match self {
            Self::Leak(_) => Self::Asked("explained"),
            other => other,
        }
    }
}

/// The client's side, with or without a resolver.
enum Side<'lab> {
    Direct(&'lab Lab),
    Behind(Behind<'lab>),
}

impl Side<'_> {
    fn command(&self, program: &str) -> Command {
        match self {
            Self::Direct(lab) => lab.command(program),
            Self::Behind(behind) => behind.command(program),
        }
    }
}

/// A case that was begun.
struct Case {
    what: What,
    name: String,
    outcome: Outcome,
    /// The process that was started.
    pid: u32,
}

/// Names of the cases of one way.
fn name(number: usize) -> String {
    format!("case{number}.example")
}

/// Most cases of one way.
const MAX_CASES: usize = EVERYWHERE.len() + DIRECTLY.len();

fn lab(way: Way) -> Option<Lab> {
    let scenario = format!(
        "verdicts_{}",
        way.words().replace([' ', ',', '\'', '.'], "_")
    );
    let mut builder = Lab::builder(&scenario)
        .lasting(600)
        .web()
        .socks()
        .tor()
        .needs(way.programs())
        .needs(&["danted", "curl", "getent", "python3"]);
    for number in 0..MAX_CASES {
        builder = builder.record(&name(number), &[IpAddr::V4(PAGE_ADDRESS)]);
    }
    if way == Way::Direct {
        builder = builder.needs(&["git", "proxychains4", "wget", "chromium"]);
    }
    builder.build()
}

fn dante(lab: &Lab) -> Program {
    let config = lab.dir().join("danted.conf");
    fs::write(
        &config,
        format!(
            "logoutput: stderr\ninternal: {0} port = 1081\nexternal: {0}\nclientmethod: none\nsocksmethod: none\nclient pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\nsocks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 log: connect }}\n",
            SERVER.0
        ),
    )
    .expect("a file can be written in the lab's folder");
    let mut command = lab.command_on_server("danted");
    let mut danted = Program::spawn(command.arg("-f").arg(&config));
    wait_listening(&mut danted, 1081);
    danted
}

fn proxy_url(scheme: &str) -> String {
    let server = match scheme {
        "socks4" => SOCKS4,
        _ => SOCKS5,
    };
    format!("{scheme}://{server}")
}

/// Runs a case to its end, and gives the process that it was.
fn run(lab: &Lab, danted: &Program, side: &Side<'_>, what: What, name: &str, way: Way) -> u32 {
    let url = format!("http://{name}/");
    let is_page = |text: &str| text.contains(PAGE_TEXT);
    // Behind tor's DNSPort an address is one that tor alone knows.
    // tor has no network.
    let has_page = way.leaves() && !what.words().contains(SOCKS4A);
    let finish = |mut command: Command| {
        let program = Program::spawn(&mut command);
        let pid = program.pid();
        (pid, program.finish(LIMIT))
    };
    let (pid, done) = match what {
        What::Curl(args) => {
            let mut command = side.command("curl");
            command
                .args(["-sS", "--max-time", "5"])
                .args(args)
                .arg(&url);
            finish(command)
        }
        What::CurlTold(variable, value) => {
            let mut command = side.command("curl");
            command
                .env(variable, value)
                .args(["-sS", "--max-time", "5", &url]);
            finish(command)
        }
        What::Requests(scheme) => {
            let mut command = side.command("/usr/bin/python3");
            command.args([
                "-c",
                "import requests, sys; print(requests.get(sys.argv[1], proxies={'http': sys.argv[2]}, timeout=10).text)",
                &url,
                &proxy_url(scheme),
            ]);
            finish(command)
        }
        What::Git(scheme) => {
            let mut command = side.command("git");
            command.args([
                "-c",
                &format!("http.proxy={}", proxy_url(scheme)),
                "ls-remote",
                &url,
            ]);
            let (pid, done) = finish(command);
            // The page is no repository: git says so once it has it.
            assert!(
                done.stderr.contains("not found") || done.stderr.contains("not valid"),
                "{done:?}"
            );
            return pid;
        }
        What::Proxychains(proxy_dns) => {
            let config = lab.dir().join("proxychains.conf");
            let dns = if proxy_dns { "proxy_dns\n" } else { "" };
            fs::write(
                &config,
                format!("strict_chain\n{dns}[ProxyList]\nsocks5 10.77.0.1 1080\n"),
            )
            .expect("a file can be written in the lab's folder");
            let mut command = side.command("proxychains4");
            command
                .args(["-q", "-f"])
                .arg(&config)
                .args(["curl", "-sS", "--max-time", "5", &url]);
            finish(command)
        }
        What::Wget => {
            let mut command = side.command("wget");
            command.args(["-q", "-O", "-", "--timeout=10", "--tries=1", &url]);
            finish(command)
        }
        What::Getent => {
            let mut command = side.command("getent");
            command.args(["ahosts", name]);
            let (pid, done) = finish(command);
            assert!(done.status.success(), "{done:?}");
            return pid;
        }
        What::Chromium(arg) => {
            let mut chromium = Chromium::open(lab, &[arg], &url);
            assert!(chromium.wait_page(PAGE_TEXT, LIMIT), "{}", chromium.said());
            let pid = chromium.pid();
            chromium.close();
            return pid;
        }
    };
    assert!(
        !has_page || is_page(&done.text()),
        "{what:?}: {done:?}\n{}",
        danted.said()
    );
    pid
}

/// Whether leakmon has said by now what is expected of a case.
fn is_said(state: &State, case: &Case) -> bool {
    match case.outcome {
        Outcome::Leak(confidence) => state
            .findings_for(&case.name)
            .any(|finding| finding["confidence"] == confidence),
        Outcome::Asked(verdict) => {
            let mut asked = state.queries_for(&case.name).peekable();
            asked.peek().is_some()
                && state
                    .queries_for(&case.name)
                    .filter(|query| is_of(query, case))
                    .all(|query| query["verdict"] == verdict)
        }
        Outcome::Quiet => true,
    }
}

/// Whether a query is the program's own, and not that of a resolver that it asked.
fn is_of(query: &Value, case: &Case) -> bool {
    query["app"]["pid"] == case.pid
}

/// Everything of one way; gives its rows of the table.
fn hold(way: Way, cases: &[(What, Outcome)]) -> Option<Vec<String>> {
    let lab = lab(way)?;
    let danted = dante(&lab);
    let side = match way {
        Way::Direct => Side::Direct(&lab),
        Way::Behind(resolver) => Side::Behind(lab.behind(resolver)),
    };
    let leakmon = Leakmon::watch(&lab, &[]);
    let mut begun = Vec::new();
    for (number, &(what, outcome)) in cases.iter().enumerate() {
        let name = name(number);
        let outcome = if way.leaves() {
            outcome
        } else {
            outcome.contained()
        };
        let pid = run(&lab, &danted, &side, what, &name, way);
        let case = Case {
            what,
            name,
            outcome,
            pid,
        };
        leakmon.wait_for(LIMIT, |state| is_said(state, &case));
        begun.push(case);
    }
    let resolver = match &side {
        Side::Direct(_) => None,
        Side::Behind(behind) => Some(behind.pid()),
    };
    let run = leakmon.stop();
    let state = run.final_state();
    let socks = format!(
        "{}\n{}\n{}",
        danted.said(),
        lab.socks_log(),
        lab.tor_log().join("\n")
    );
    for case in &begun {
        let context = format!(
            "{case_what:?} {way:?}\n{}",
            run.said(),
            case_what = case.what
        );
        check(&lab, way, case, &state, resolver, &socks, &context);
    }
    let expected = begun
        .iter()
        .filter(|case| matches!(case.outcome, Outcome::Leak(_)))
        .count();
    // No finding of anything else.
    assert_eq!(
        state.findings().count(),
        expected,
        "{way:?}\n{}",
        run.said()
    );
    Some(
        begun
            .iter()
            .map(|case| {
                format!(
                    "| {} | {} | {} |",
                    way.words(),
                    case.what.words(),
                    case.outcome.words()
                )
            })
            .collect(),
    )
}

fn check(
    lab: &Lab,
    way: Way,
    case: &Case,
    state: &State,
    resolver: Option<u32>,
    socks: &str,
    context: &str,
) {
    let findings: Vec<&Value> = state.findings_for(&case.name).collect();
    let asked = lab.is_asked(&case.name);
    // tor leaves names out of its log.
    let by_tor = case.what.words().contains(SOCKS4A)
        && socks.contains("(using socks4a to port 80) instructed Tor to take care of the DNS");
    let given_by_name = socks.contains(&case.name) || by_tor;
    match case.outcome {
        Outcome::Leak(confidence) => {
            assert!(asked, "the name server was not asked\n{context}");
            assert!(!given_by_name, "the proxy was given the name: {socks}");
            assert_eq!(findings.len(), 1, "{context}");
            let finding = findings[0];
            assert_eq!(finding["confidence"], confidence, "{context}");
            assert_eq!(finding["kind"], "self-resolution", "{context}");
            assert_eq!(finding["app"]["pid"], case.pid, "{context}");
            assert_eq!(finding["severity"], "high", "{context}");
            let evidence = evidence_text(finding);
            assert!(
                evidence.contains(&format!("{}:53", SERVER.0)) && evidence.contains("lab0"),
                "to whom, and through which interface: {evidence}"
            );
        }
        Outcome::Asked(verdict) => {
            assert_eq!(asked, way.leaves(), "{context}");
            assert!(findings.is_empty(), "{context}");
            let own: Vec<&Value> = state
                .queries_for(&case.name)
                .filter(|query| is_of(query, case))
                .collect();
            assert!(!own.is_empty(), "{context}");
            for query in own {
                assert_eq!(query["verdict"], verdict, "{query:#}\n{context}");
            }
        }
        Outcome::Quiet => {
            assert!(!asked, "the name server was asked\n{context}");
            assert!(given_by_name, "the proxy was not given the name: {socks}");
            assert!(findings.is_empty(), "{context}");
            assert_eq!(state.queries_for(&case.name).count(), 0, "{context}");
        }
    }
    let Some(resolver) = resolver else { return };
    for query in state.queries_for(&case.name) {
        if is_of(query, case) {
            assert_eq!(query["via"]["pid"], resolver, "{query:#}");
            assert_eq!(query["escaped"], way.leaves(), "{query:#}");
            if !matches!(case.what, What::Chromium(_)) {
                assert_eq!(query["transport"], way.transport(), "{query:#}");
            }
        } else {
            // What the resolver itself asks is no program's leak.
            assert_eq!(query["verdict"], "explained", "{query:#}");
        }
    }
}

#[test]
fn what_is_found_and_what_is_not() {
    let mut table = String::from(HEAD);
    let mut rows = 0;
    for way in Way::ALL {
        let mut cases = EVERYWHERE.to_vec();
        if way == Way::Direct {
            cases.extend(DIRECTLY);
        }
        let Some(lines) = hold(way, &cases) else {
            return;
        };
        rows += lines.len();
        for line in lines {
            writeln!(table, "{line}").expect("text can be written");
        }
    }
    assert!(rows >= 40, "{rows} cases");
    println!("{table}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/verdict-table.md");
    if env::var_os("LEAKMON_WRITE_TABLE").is_some() {
        fs::write(&path, &table).expect("the table can be written");
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        published, table,
        "docs/verdict-table.md is not this table: LEAKMON_WRITE_TABLE=1 writes it"
    );
}

const HEAD: &str = "# What leakmon finds, and what it does not

Every row was run for real: the program fetched a page (or looked up a name) whose name nobody had asked for before, with
names asked in that way, and with dante as the server for SOCKS4, microsocks for SOCKS5, tor for SOCKS4a. The name server's
own log says whether the name reached it, the SOCKS server's whether it was given the name or an address.
`tests/tests/verdicts.rs` runs them all again and compares leakmon's words with these logs and with this table. For every leak the finding names the program, not the
resolver behind which it is, and says to which server and through which interface the name left.

| names are asked | program | what comes of it |
|---|---|---|
";
