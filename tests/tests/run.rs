//! `leakmon run`: exit codes and reports of commands that leak and of commands that do not, as the user who called, with
//! everything that they start.

use leakmon_lab::browser::{self, quiet_arguments};
use leakmon_lab::compare::{same, seen};
use leakmon_lab::lab::{PAGE, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::program::{Finished, signal_process};
use leakmon_lab::resolver::Resolver;
use leakmon_lab::tmux::Terminal;
use leakmon_lab::{Asked, Firefox, LIMIT, Lab, Program, State, firefox, leakmon, wait};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const URL: &str = "http://page.example/";
/// A browser's time to start, load a page and end.
const PATIENCE: Duration = Duration::from_secs(90);
/// A user that nobody is.
const USER: u32 = 65_534;

/// The mount namespace of the lab's client has no cgroup hierarchy: `ip netns exec` mounts a /sys of its own. Argument: the
/// folder to mount one at.
const WITH_CGROUPS: &str =
    r#"mkdir -p "$0" && { mountpoint -q "$0" || mount -t cgroup2 cgroups "$0"; } && exec "$@""#;

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["curl", "setpriv"])
        .build()
}

fn proxy(scheme: &str) -> String {
    format!("{scheme}://{}:{SOCKS_PORT}", SERVER.0)
}

/// `leakmon run` on the lab's client, as somebody at that machine starts it.
fn command(lab: &Lab, args: &[&str]) -> Command {
    prepared(lab, lab.command("sh"), args)
}

fn prepared(lab: &Lab, mut shell: Command, args: &[&str]) -> Command {
    shell
        .args(["-c", WITH_CGROUPS])
        .arg(lab.dir().join("cgroups"))
        .arg(leakmon::binary())
        .arg("run")
        .args(args);
    shell
}

fn run(lab: &Lab, args: &[&str]) -> Finished {
    finish(lab, command(lab, args))
}

/// Whatever happened, nothing of the run is left.
fn finish(lab: &Lab, mut command: Command) -> Finished {
    let finished = Program::spawn(&mut command).finish(PATIENCE);
    assert_eq!(cgroups(lab), Vec::<PathBuf>::new(), "{finished:?}");
    finished
}

/// The cgroups of runs.
fn cgroups(lab: &Lab) -> Vec<PathBuf> {
    let entries = fs::read_dir(lab.cgroup()).expect("the lab's cgroup is there");
    entries
        .map(|entry| entry.expect("a folder can be read").path())
        .filter(|path| path.is_dir())
        .filter(|path| {
            let name = path.file_name().expect("it has a name");
            name.to_string_lossy().starts_with("run-")
        })
        .collect()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// A run with a report in JSON, and what the name server was asked meanwhile.
struct Reported {
    finished: Finished,
    state: State,
    log: Vec<Asked>,
}

fn run_json(lab: &Lab, args: &[&str]) -> Reported {
    let before = lab.dns_log().len();
    let report = lab.dir().join("report.json");
    let report = report.to_str().expect("a path in UTF-8");
    let options = ["--format", "json", "--force", "-o", report];
    let finished = run(lab, &[&options, args].concat());
    let text = fs::read_to_string(report).expect("there is a report");
    Reported {
        finished,
        state: State::of(&lines(&text)),
        log: lab.dns_log().split_off(before),
    }
}

impl Reported {
    fn said(&self) -> String {
        format!(
            "{:?}\nasked {:?}\n{:#?}",
            self.finished,
            self.log,
            self.state.lines()
        )
    }

    fn is_asked(&self) -> bool {
        self.log.iter().any(|asked| asked.name == PAGE)
    }

    /// Every query is there, and the page's name is a leak of this app's.
    fn assert_leaked(&self, app: &str) {
        assert_eq!(self.finished.status.code(), Some(1), "{}", self.said());
        assert!(self.is_asked(), "it did not leak: {}", self.said());
        assert!(
            same(&seen(self.state.queries()), &self.log),
            "{}",
            self.said()
        );
        let finding = self.state.findings_for(PAGE).next();
        let finding = finding.unwrap_or_else(|| panic!("no finding: {}", self.said()));
        assert_eq!(finding["app"]["name"], app, "{finding}");
        let last = self.state.lines().last().expect("there is a summary");
        assert_eq!(last["type"], "summary");
    }

    /// The proxy was given the name, and nobody else.
    fn assert_clean(&self) {
        assert_eq!(self.finished.status.code(), Some(0), "{}", self.said());
        assert_eq!(self.state.findings().count(), 0, "{}", self.said());
        assert!(!self.is_asked(), "{}", self.said());
        assert!(
            same(&seen(self.state.queries()), &self.log),
            "{}",
            self.said()
        );
        let mut proxies = self.state.proxies();
        assert!(
            proxies.any(|session| session["target"]["name"] == PAGE),
            "the proxy was not given the name: {}",
            self.said()
        );
    }
}

#[test]
fn curl_that_leaks_and_curl_that_does_not() {
    let Some(lab) = lab("run_curl") else { return };
    let curl = |scheme: &str| run_json(&lab, &["curl", "-sS", "-x", &proxy(scheme), URL]);
    let clean = curl("socks5h");
    assert!(
        clean.finished.text().contains(PAGE_TEXT),
        "{}",
        clean.said()
    );
    clean.assert_clean();
    let leaking = curl("socks5");
    assert!(
        leaking.finished.text().contains(PAGE_TEXT),
        "{}",
        leaking.said()
    );
    leaking.assert_leaked("curl");
    assert!(
        leaking.state.proof_for(PAGE).is_some(),
        "{}",
        leaking.said()
    );
}

#[test]
fn the_commands_own_output_and_exit_code_are_passed_on() {
    let Some(lab) = lab("run_codes") else { return };
    for (script, code) in [
        ("echo out; exit 0", 0),
        ("echo out; exit 42", 42),
        ("echo out; kill -TERM $$", 128 + 15),
        // curl's own: the page is not there.
        (
            "echo out; exec curl -sS --fail http://10.77.0.80/nothing",
            22,
        ),
    ] {
        let finished = run(&lab, &["--", "sh", "-c", script]);
        assert_eq!(finished.status.code(), Some(code), "{script}: {finished:?}");
        assert_eq!(finished.text(), "out\n", "{script}");
        assert!(
            finished.stderr.contains("0 findings; 0 events lost"),
            "{script}: {finished:?}"
        );
    }
    // A leak counts more, and the own code is still told.
    let script = format!("curl -s -o /dev/null -x {} {URL}; exit 9", proxy("socks5"));
    let finished = run(&lab, &["--", "sh", "-c", &script]);
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains(" LEAK "), "{finished:?}");
    assert!(
        finished.stderr.contains("the command's own exit code is 9"),
        "{finished:?}"
    );
}

#[test]
fn a_command_that_is_none_is_told_in_a_line() {
    let Some(lab) = lab("run_none") else { return };
    let unusable = lab.dir().join("unusable");
    fs::write(&unusable, "no program\n").expect("a file can be written");
    let unusable = unusable.to_str().expect("a path in UTF-8");
    for (command, says) in [
        ("no-such-program-there-is", "no such program"),
        ("/no/such/program", "no such program"),
        (unusable, "permission denied"),
    ] {
        let finished = run(&lab, &[command]);
        assert_eq!(finished.status.code(), Some(2), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
        assert!(
            finished.stderr.contains(command) && finished.stderr.contains(says),
            "{finished:?}"
        );
    }
}

#[test]
fn reports_for_services_that_test() {
    let Some(lab) = Lab::builder("run_forms")
        .socks()
        .web()
        .needs(&["curl", "python3"])
        .build()
    else {
        return;
    };
    let report = |form: &str, scheme: &str| {
        let finished = run(
            &lab,
            &[
                "--format",
                form,
                "-o",
                "-",
                "curl",
                "-sS",
                "-o",
                "/dev/null",
                "-x",
                &proxy(scheme),
                URL,
            ],
        );
        let code = if scheme == "socks5" { 1 } else { 0 };
        assert_eq!(finished.status.code(), Some(code), "{finished:?}");
        finished.text()
    };
    // Read by what services read it with.
    let junit = |text: &str| -> Value {
        let path = lab.dir().join("junit.xml");
        fs::write(&path, text).expect("a file can be written");
        let read = r"
import json, sys, junitparser
xml = junitparser.JUnitXml.fromfile(sys.argv[1])
suites = list(xml)
xml.update_statistics()
print(json.dumps({'tests': xml.tests, 'failures': xml.failures, 'errors': xml.errors, 'suites': [s.name for s in suites],
    'cases': [{'class': c.classname, 'name': c.name, 'results': [[type(r).__name__, r.message, r.text] for r in c.result]}
              for s in suites for c in s]}))";
        let output = Command::new("/usr/bin/python3")
            .args(["-c", read])
            .arg(&path)
            .output()
            .expect("python can be started");
        assert!(output.status.success(), "{output:?}\n{text}");
        serde_json::from_slice(&output.stdout).expect("it writes JSON")
    };
    let clean = junit(&report("junit", "socks5h"));
    assert_eq!(
        (&clean["failures"], &clean["errors"]),
        (&0.into(), &0.into()),
        "{clean}"
    );
    let leaked = junit(&report("junit", "socks5"));
    assert_eq!(leaked["failures"], 1, "{leaked}");
    assert_eq!(leaked["errors"], 0, "{leaked}");
    let suite = format!("curl -sS -o /dev/null -x {} {URL}", proxy("socks5"));
    assert_eq!(leaked["suites"][0], suite.as_str());
    let case = &leaked["cases"][0];
    assert_eq!(case["class"], "curl", "{leaked}");
    assert_eq!(case["name"], format!("self-resolution: {PAGE}").as_str());
    let failure = case["results"][0].to_string();
    for part in [
        format!(
            "curl resolved {PAGE} itself, past {} [proven]",
            proxy("socks5")
        ),
        "to stop it: ".to_owned(),
        "handshake: ".to_owned(),
    ] {
        assert!(failure.contains(&part), "{part}: {failure}");
    }

    let clean: Value = serde_json::from_str(&report("sarif", "socks5h")).expect("JSON");
    assert_eq!(clean["runs"][0]["results"], serde_json::json!([]));
    let leaked: Value = serde_json::from_str(&report("sarif", "socks5")).expect("JSON");
    let results = leaked["runs"][0]["results"].as_array().expect("a list");
    assert_eq!(results.len(), 1, "{leaked:#}");
    assert_eq!(results[0]["ruleId"], "self-resolution");
    assert_eq!(results[0]["level"], "error");
    assert_eq!(results[0]["properties"]["name"], PAGE);
    let place = &results[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(place, "file:///usr/bin/curl");
}

#[test]
fn chromium() {
    let Some(lab) = Lab::builder("run_chromium")
        .socks()
        .web()
        .needs(&[browser::PROGRAM])
        .build()
    else {
        return;
    };
    let _alone = browser::alone();
    let profile = lab.dir().join("profile");
    let open = |scheme: &str| {
        let profile = format!("--user-data-dir={}-{scheme}", profile.display());
        let server = format!("--proxy-server={}", proxy(scheme));
        let quiet = quiet_arguments();
        let own = [profile.as_str(), &server, "--dump-dom", URL];
        run_json(
            &lab,
            &[&["--", browser::PROGRAM], quiet.as_slice(), &own].concat(),
        )
    };
    let clean = open("socks5");
    assert!(
        clean.finished.text().contains(PAGE_TEXT),
        "{}",
        clean.said()
    );
    clean.assert_clean();
    // microsocks speaks SOCKS5 only, so the page does not load; that the name was asked is the leak.
    open("socks4").assert_leaked("Chromium");
}

/// Firefox looks up the machine's own name when it starts, proxy or not; this one is in everybody's hosts file.
const NAMED_LOCALHOST: &str = r#"echo localhost > /proc/sys/kernel/hostname && exec "$0" "$@""#;

#[test]
fn firefox_with_a_picture() {
    let Some(lab) = Lab::builder("run_firefox")
        .socks()
        .web()
        .needs(&[firefox::PROGRAM, "unshare"])
        .build()
    else {
        return;
    };
    let _alone = browser::alone();
    let open = |remote: &str| {
        let profile = Firefox::builder(&lab)
            .socks(&SERVER.0.to_string(), SOCKS_PORT, 5)
            .pref("network.proxy.socks5_remote_dns", remote)
            // Else its own services, when the proxy fails them, go without: a leak too, sooner or later.
            .pref("network.proxy.failover_direct", "false")
            .pref("network.proxy.allow_bypass", "false")
            .make_profile();
        let picture = profile.join("page.png");
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let answer = run_json(
            &lab,
            &[
                "--",
                "unshare",
                "--uts",
                "sh",
                "-c",
                NAMED_LOCALHOST,
                firefox::PROGRAM,
                "--headless",
                "--no-remote",
                "--profile",
                &text(&profile),
                "--screenshot",
                &text(&picture),
                URL,
            ],
        );
        assert!(picture.exists(), "no page: {}", answer.said());
        answer
    };
    open("true").assert_clean();
    open("false").assert_leaked("Firefox ESR");
}

/// A program that tells each signal that reaches it, and ends at the third. Python's own interpreter is not bothered by
/// being interrupted, as a shell is while it waits for another program.
const TELLS_SIGNALS: &str = r#"
import signal, sys
got = []
def tell(number, frame):
    got.append(signal.Signals(number).name)
    print(got[-1], flush=True)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, tell)
print("ready", flush=True)
while len(got) < int(sys.argv[1]):
    signal.pause()
sys.exit(5)
"#;

#[test]
fn signals_reach_the_command() {
    let Some(lab) = lab("run_signals") else {
        return;
    };
    let mut command = command(&lab, &["--", "/usr/bin/python3", "-c", TELLS_SIGNALS, "4"]);
    let leakmon = Program::spawn(&mut command);
    let said = |what: &str| {
        let there = wait::until_true(LIMIT, || {
            leakmon.stdout.text().lines().any(|line| line == what)
        });
        assert!(there, "{what}: {}", leakmon.said());
    };
    said("ready");
    for (signal, name) in [
        (Signal::USR1, "SIGUSR1"),
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::TERM, "SIGTERM"),
    ] {
        signal_process(leakmon.pid(), signal);
        said(name);
    }
    let finished = leakmon.finish(LIMIT);
    assert_eq!(finished.status.code(), Some(5), "{finished:?}");
    assert_eq!(
        finished.text().lines().count(),
        5,
        "each comes once: {finished:?}"
    );
}

#[test]
fn the_terminals_signals_reach_the_command_once() {
    let Some(lab) = Lab::builder("run_terminal")
        .needs(&["tmux", "python3"])
        .build()
    else {
        return;
    };
    let terminal = Terminal::open(&lab, (120, 24), &[]);
    let script = lab.dir().join("tells.py");
    fs::write(&script, TELLS_SIGNALS).expect("a file can be written");
    terminal.run(&format!(
        "{} run -- /usr/bin/python3 {} 2; echo code $?",
        leakmon::binary().display(),
        script.display()
    ));
    terminal.wait_for("ready");
    let interrupted = |times: usize| {
        terminal.press(&["C-c"]);
        terminal.wait_until("the interrupts are told", |text| {
            text.matches("SIGINT").count() >= times
        });
    };
    interrupted(1);
    // A second one of leakmon's own making would have come before this, and ended it.
    assert!(!terminal.text().contains("code 5"), "{}", terminal.text());
    interrupted(2);
    let text = terminal.wait_for("code 5");
    assert_eq!(text.matches("SIGINT").count(), 2, "{text}");
}

/// What the command is told of itself.
const WHO: &str = r#"id -u; id -g; id -G; grep CapEff /proc/self/status; echo "$HOME $USER $ALL_PROXY"; : > "$0""#;

#[test]
fn it_runs_as_the_user_who_called_sudo() {
    let Some(lab) = lab("run_user") else { return };
    let open = lab.dir().join("open");
    fs::create_dir(&open).expect("a folder can be made");
    std::os::unix::fs::chown(&open, Some(USER), Some(USER)).expect("root gives folders away");
    let touched = open.join("touched");
    let report = open.join("report.txt");
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let recording = open.join("recording");
    let mut command = command(&lab, &["-o", &text(&report), "--record", &text(&recording)]);
    command.args(["--", "sh", "-c", WHO, &text(&touched)]);
    command.envs([
        ("SUDO_UID", "65534"),
        ("SUDO_GID", "65534"),
        ("SUDO_USER", "nobody"),
    ]);
    let finished = finish(&lab, command);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    let said = finished.text();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said[..3], ["65534", "65534", "65534"], "{finished:?}");
    assert!(said[3].ends_with("0000000000000000"), "{finished:?}");
    assert_eq!(said[4].trim_end(), "/nonexistent nobody", "{finished:?}");
    for path in [&touched, &report, &recording] {
        let metadata = path.metadata().expect("it is there");
        let owner = (metadata.uid(), metadata.gid());
        assert_eq!(owner, (USER, USER), "{}", path.display());
    }
    for path in [&report, &recording] {
        let mode = path.metadata().expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }

    // Unless somebody else is wanted.
    let mut command = self::command(&lab, &["--user", "root", "--", "id", "-u"]);
    command.env("SUDO_UID", "65534");
    assert_eq!(finish(&lab, command).text(), "0\n");
    let finished = run(&lab, &["--user", "nobody", "--", "id", "-u"]);
    assert_eq!(finished.text(), "65534\n", "{finished:?}");
    let finished = run(&lab, &["--user", "no-such-user", "--", "id"]);
    assert_eq!(finished.status.code(), Some(2));
    assert!(finished.stderr.contains("no-such-user"), "{finished:?}");
}

#[test]
fn sudo_itself_calls_it() {
    let Some(lab) = Lab::builder("run_sudo")
        .socks()
        .web()
        .needs(&["curl", "setpriv", "sudo"])
        .build()
    else {
        return;
    };
    let sudoers = lab.dir().join("sudoers");
    fs::write(
        &sudoers,
        "Defaults env_reset\nnobody ALL=(root) NOPASSWD: ALL\n",
    )
    .expect("a file can be written");
    let output = Command::new("chmod").arg("0440").arg(&sudoers).status();
    assert!(output.expect("chmod can be started").success());
    // The one in the target folder may be below a home that others cannot read.
    let copy = lab.dir().join("leakmon");
    fs::copy(leakmon::binary(), &copy).expect("the agent can be copied");
    // The mount namespace is that of `ip netns exec`: the machine's own sudoers stays as it is.
    let script = r#"
mkdir -p "$0/cgroups" && mount -t cgroup2 cgroups "$0/cgroups" && mount --bind "$0/sudoers" /etc/sudoers || exit 90
exec setpriv --reuid=65534 --regid=65534 --clear-groups env ALL_PROXY="$1" HOME=/tmp/mine sudo -n "$0/leakmon" run -- sh -c 'id -u; echo "$HOME"; exec curl -sS "$1"' sh "$2"
"#;
    let proxied = |scheme: &str| {
        let mut command = lab.command("sh");
        command
            .args(["-c", script])
            .arg(lab.dir())
            .args([&proxy(scheme), URL]);
        finish(&lab, command)
    };
    // sudo keeps no proxy's variables: that the page is fetched past the name server shows that the user's own are back.
    let finished = proxied("socks5h");
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    let said = finished.text();
    assert!(said.starts_with("65534\n/tmp/mine\n"), "{finished:?}");
    assert!(said.contains(PAGE_TEXT), "{finished:?}");
    assert!(!lab.is_asked(PAGE), "{:?}", lab.dns_log());
    let finished = proxied("socks5");
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(lab.is_asked(PAGE), "{finished:?}");
    assert!(finished.stderr.contains(" LEAK "), "{finished:?}");
}

#[test]
fn what_detaches_itself_is_followed() {
    let Some(lab) = lab("run_daemon") else { return };
    let (go, gone) = (lab.dir().join("go"), lab.dir().join("gone"));
    // The daemon leaves its session and its parent, and asks only when the command is long gone.
    let daemon = format!(
        "until [ -e {} ]; do sleep 0.02; done; curl -s -o /dev/null -x {} {URL}",
        go.display(),
        proxy("socks5")
    );
    let script = r#"setsid -f sh -c "$0" < /dev/null > /dev/null 2>&1; : > "$1""#;
    let gone_path = gone.to_str().expect("a path in UTF-8");
    let mut command = command(&lab, &["--", "sh", "-c", script, &daemon, gone_path]);
    let mut leakmon = Program::spawn(&mut command);
    assert!(
        wait::until_true(LIMIT, || leakmon
            .stderr
            .text()
            .contains("the command has ended")),
        "{}",
        leakmon.said()
    );
    assert!(
        gone.exists() && leakmon.try_wait().is_none(),
        "{}",
        leakmon.said()
    );
    fs::write(&go, "").expect("a file can be written");
    let finished = leakmon.finish(LIMIT);
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(lab.is_asked(PAGE), "{finished:?}");
    assert!(
        finished.stderr.contains(&format!("resolved {PAGE} itself")),
        "{finished:?}"
    );
}

#[test]
fn its_time_is_over() {
    let Some(lab) = lab("run_duration") else {
        return;
    };
    // One that ends when it is asked to, and one that does not.
    let script = r#"setsid -f sh -c 'trap "" TERM; while :; do sleep 1; done' < /dev/null > /dev/null 2>&1; echo ready; exec sleep 1000"#;
    let finished = run(&lab, &["--duration", "500ms", "--", "sh", "-c", script]);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert_eq!(finished.text(), "ready\n", "{finished:?}");
}

#[test]
fn a_process_that_runs_is_followed_to_its_end() {
    let Some(lab) = lab("run_pid") else { return };
    let fetch = |scheme: &str| {
        let shell = lab.hold(
            "sh",
            &[
                "-c",
                "curl -sS -x \"$0\" \"$1\"; exit 0",
                &proxy(scheme),
                URL,
            ],
        );
        let mut leakmon = Program::spawn(&mut command(&lab, &["--pid", &shell.pid().to_string()]));
        assert!(
            wait::until_true(LIMIT, || leakmon.stderr.text().contains("following ")
                || leakmon.try_wait().is_some()),
            "{}",
            leakmon.said()
        );
        let finished = shell.run(LIMIT);
        assert!(finished.text().contains(PAGE_TEXT), "{finished:?}");
        leakmon.finish(LIMIT)
    };
    let finished = fetch("socks5h");
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    let finished = fetch("socks5");
    assert_eq!(finished.status.code(), Some(1), "{finished:?}");
    assert!(finished.stderr.contains(" LEAK "), "{finished:?}");
}

#[test]
fn a_resolver_of_the_machine_is_looked_through() {
    let resolver = Resolver::Dnsmasq;
    let Some(lab) = Lab::builder("run_resolver")
        .socks()
        .web()
        .lasting(600)
        .needs(&["curl"])
        .needs(resolver.programs())
        .build()
    else {
        return;
    };
    let behind = lab.behind(resolver);
    let sh = |script: &str| {
        let args = ["--all", "--", "sh", "-c", script, &proxy("socks5"), URL];
        finish(&lab, prepared(&lab, behind.command("sh"), &args))
    };
    let leaking = sh(r#"exec curl -4sS -o /dev/null -x "$0" "$1""#);
    assert_eq!(leaking.status.code(), Some(1), "{leaking:?}");
    assert!(lab.is_asked(PAGE), "{leaking:?}");
    assert!(leaking.stderr.contains("sent it on"), "{leaking:?}");
    // The resolver, seen to ask in the clear for another program, knows the name now and tells nobody.
    let contained =
        sh(r#"getent ahostsv4 dual.example > /dev/null; exec curl -4sS -o /dev/null -x "$0" "$1""#);
    assert_eq!(contained.status.code(), Some(0), "{contained:?}");
    assert!(contained.stderr.contains("contained"), "{contained:?}");
    // What the resolver asks itself is no part of the run.
    for run in [leaking, contained] {
        let mut lines = run.stderr.lines();
        assert!(
            !lines.any(|line| line.contains("query    dnsmasq")),
            "{run:?}"
        );
    }
}
