//! Everything that somebody may get wrong: the exit code is 2, standard output is empty, and one line says what is wrong
//! and where, in characters that a terminal does not act on.

use leakmon_lab::{Finished, LIMIT, Lab, Program, leakmon};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The number of a user without any rights.
const NOBODY: &str = "65534";
/// A recording's first bytes: the magic and the version 1 (leakmon/src/capture/recording.rs).
const MAGIC: &[u8] = b"leakmon\n";

/// Arguments, and words that the line has to have. `@` is the folder with the files of [`prepare`].
type Row = (&'static [&'static str], &'static [&'static str]);

/// Wrong arguments.
const ARGUMENTS: &[Row] = &[
    (&["wacth"], &["'wacth'", "'watch'"]),
    (&["--nonsense"], &["'--nonsense'", "leakmon --help"]),
    (&["watch", "--jsn"], &["'--jsn'", "'--json'"]),
    (
        &["watch", "--a\x1b[31m\nb"],
        &["[31m", "leakmon watch --help"],
    ),
    (&["watch", "stray"], &["'stray'", "leakmon watch --help"]),
    (&["watch", "--buffer", "3M"], &["'3M'", "--buffer", "256K"]),
    (&["watch", "--buffer"], &["--buffer", "required"]),
    (
        &["watch", "--duration", "30"],
        &["'30'", "--duration", "as 30s"],
    ),
    (
        &["watch", "--duration", "-1s"],
        &["-1", "leakmon watch --help"],
    ),
    (&["watch", "--port", "0"], &["'0'", "--port", "1..=65535"]),
    (&["watch", "--port", "dns"], &["'dns'", "--port"]),
    (&["watch", "--pid", "0"], &["'0'", "--pid"]),
    (
        &["watch", "--pid", "4294967295"],
        &["4294967295", "--pid", "ps -e"],
    ),
    (
        &["watch", "--plain", "--json"],
        &["--plain", "--json", "--help"],
    ),
    (
        &["watch", "--plain=maybe"],
        &["'maybe'", "--plain", "true or false"],
    ),
    (
        &["watch", "--json", "--json"],
        &["--json", "multiple times"],
    ),
    (&["watch", "--config"], &["--config", "required"]),
    (
        &["audit", "--pid", "4294967295"],
        &["4294967295", "--pid", "ps -e"],
    ),
    (
        &["audit", "--installed", "--pid", "1"],
        &["--installed", "--pid"],
    ),
    (&["audit", "--uesr"], &["'--uesr'", "'--user'"]),
    (&["replay"], &["<FILE>", "leakmon replay --help"]),
    (
        &["replay", "--tui", "--json", "@/empty"],
        &["--tui", "--json"],
    ),
    (
        &["replay", "@/empty", "@/empty"],
        &["/empty", "leakmon replay --help"],
    ),
    (&["explain", "f1"], &["<FILE>", "leakmon explain --help"]),
    (&["report"], &["<FILE>", "leakmon report --help"]),
    (
        &["report", "--format", "htm", "x"],
        &["'htm'", "--format", "'html'"],
    ),
    (
        &["report", "--html", "a", "--output", "b", "x"],
        &["--html", "--output"],
    ),
    (
        &["report", "--output", "page.txt", "x"],
        &["page.txt", ".html", "--format"],
    ),
    (
        &["doctor", "--json"],
        &["'--json'", "leakmon doctor --help"],
    ),
    (&["config", "shwo"], &["'shwo'", "'show'"]),
    (&["config", "show", "x"], &["'x'", "leakmon config --help"]),
    (
        &["config", "init", "--config", "x"],
        &["--config", "leakmon config init FILE"],
    ),
];

/// Files that are not there, are something else, or cannot be read or written.
const FILES: &[Row] = &[
    (&["replay", "@/none"], &["@/none", "no such file"]),
    (&["replay", "@/folder"], &["@/folder", "is a directory"]),
    (&["replay", "@/empty"], &["@/empty", "no recording"]),
    (&["replay", "@/text"], &["@/text", "no recording"]),
    (&["replay", "@/head"], &["@/head", "cut off"]),
    (&["replay", "@/future"], &["@/future", "format 9999"]),
    (&["replay", "@/cut"], &["@/cut", "cut off"]),
    (
        &["replay", "@/lines.json"],
        &["@/lines.json", "no recording"],
    ),
    (
        &["replay", "--config", "@/none", "@/empty"],
        &["@/none", "--config"],
    ),
    (&["explain", "f1", "@/none"], &["@/none", "no such file"]),
    (
        &["explain", "f1", "@/folder"],
        &["@/folder", "is a directory"],
    ),
    (&["explain", "f1", "@/empty"], &["@/empty", "neither"]),
    (&["explain", "f1", "@/text"], &["@/text", "neither"]),
    (
        &["explain", "f1", "@/other.json"],
        &["@/other.json", "neither"],
    ),
    (&["explain", "f1", "@/future"], &["@/future", "format 9999"]),
    (
        &["explain", "f\x1b[31m", "@/lines.json"],
        &["@/lines.json", "no finding"],
    ),
    (&["report", "@/none"], &["@/none", "no such file"]),
    (&["report", "@/folder"], &["@/folder", "is a directory"]),
    (&["report", "@/text"], &["@/text", "neither"]),
    (&["report", "@/other.json"], &["@/other.json", "neither"]),
    (&["report", "-", "-"], &["-", "only once"]),
    (
        &["report", "--html", "@/text", "@/lines.json"],
        &["@/text", "exists", "--force"],
    ),
    (
        &["report", "--html", "@/none/x.html", "@/lines.json"],
        &["@/none/x.html", "no such"],
    ),
    (
        &["report", "--force", "--html", "@/folder", "@/lines.json"],
        &["@/folder", "no plain file"],
    ),
    (
        &["audit", "--config", "@/none"],
        &["@/none", "does not exist", "--config"],
    ),
    (
        &["audit", "--config", "@/folder"],
        &["@/folder", "is a folder"],
    ),
    (
        &["watch", "--config", "@/fifo"],
        &["@/fifo", "no plain file"],
    ),
    (
        &["watch", "--config", "/dev/zero"],
        &["/dev/zero", "no plain file"],
    ),
    (
        &["config", "check", "@/none"],
        &["@/none", "does not exist"],
    ),
    (&["config", "check", "@/fifo"], &["@/fifo", "no plain file"]),
    (
        &["config", "show", "--config", "@/huge"],
        &["@/huge", "longer than any"],
    ),
    (
        &["config", "check", "@/deep"],
        &["@/deep, line 1", "no TOML"],
    ),
    (
        &["config", "check", "@/latin1"],
        &["@/latin1, line 2", "UTF-8"],
    ),
    (
        &["config", "init", "@/text"],
        &["@/text", "exists", "another name"],
    ),
    (
        &["config", "init", "@/none/x.toml"],
        &["@/none/x.toml", "mkdir -p"],
    ),
    (
        &["config", "init", "@/text/x.toml"],
        &["@/text/x.toml", "not a directory"],
    ),
    (&["watch", "--cgroup", "@/none"], &["@/none", "cgroup"]),
    (&["watch", "--cgroup", "@/folder"], &["@/folder", "cgroup"]),
    (&["watch", "--cgroup", "@/text"], &["@/text", "cgroup"]),
];

/// What a configuration may get wrong, and the words that the line has to have.
const CONFIGURATIONS: &[(&str, &[&str])] = &[
    ("watch", &["line 1", "no TOML"]),
    ("[watch\n", &["line 1", "no TOML"]),
    ("[watch]\nall = true\nall = true\n", &["line 3", "no TOML"]),
    ("[wacth]\n", &["line 1", "`wacth`", "`watch`"]),
    ("[\"w\\u001b[31m\\u202e\"]\n", &["line 1", "unknown table"]),
    ("[[watch]]\n", &["line 1", "[watch]"]),
    ("watch = 3\n", &["line 1", "[watch]"]),
    ("[doctor]\n", &["line 1", "leakmon doctor"]),
    ("buffer = \"8M\"\n", &["line 1", "`buffer`", "[watch]"]),
    (
        "[watch]\nbufer = \"8M\"\n",
        &["line 2", "`bufer`", "`buffer`"],
    ),
    (
        "[watch]\nzzzzzz = 1\n",
        &["line 2", "`zzzzzz`", "there is all, json"],
    ),
    ("[watch]\ntui = true\n", &["line 2", "`tui`", "replay"]),
    (
        "[watch]\nconfig = \"x\"\n",
        &["line 2", "`config`", "--config"],
    ),
    (
        "[replay]\nfile = \"x\"\n",
        &["line 2", "`file`", "command line"],
    ),
    (
        "[watch]\nplain = \"yes\"\n",
        &["line 2", "`plain`", "true or false"],
    ),
    (
        "[watch]\nport = \"53\"\n",
        &["line 2", "`port`", "without quotes"],
    ),
    (
        "[watch]\nport = [53, 70000]\n",
        &["line 2", "70000", "65535"],
    ),
    ("[watch]\nport = 1.5\n", &["line 2", "`port`", "number"]),
    (
        "[watch]\nduration = 30\n",
        &["line 2", "`duration`", "quotes"],
    ),
    (
        "[watch]\nduration = \"30\"\n",
        &["line 2", "`duration`", "as 30s"],
    ),
    (
        "[watch]\nbuffer = \"3M\"\n",
        &["line 2", "`buffer`", "256K"],
    ),
    (
        "[watch]\nbuffer = [\"8M\"]\n",
        &["line 2", "`buffer`", "one value"],
    ),
    (
        "[watch]\nrecord = \"~/x\"\n",
        &["line 2", "`record`", "whole path"],
    ),
    ("[watch]\nrecord = \"\"\n", &["line 2", "`record`", "empty"]),
    (
        "[watch]\njson = true\nplain = true\n",
        &["`plain`", "`json`"],
    ),
    (
        "[report]\nformat = \"markdwon\"\n",
        &["line 2", "`format`", "`markdown`"],
    ),
    ("[program]\nname = \"x\"\n", &["line 1", "[[program]]"]),
    ("[[program]]\nadvice = \"x\"\n", &["line 1", "`name`"]),
    (
        "[[program]]\nname = \"x\"\nleaves-names = \"sock5h\"\n",
        &["line 3", "`socks5h`"],
    ),
];

/// Variables with wrong values.
const VARIABLES: &[(&str, &str, &[&str])] = &[
    ("LEAKMON_BUFFER", "3M", &["LEAKMON_BUFFER", "256K"]),
    ("LEAKMON_PORT", "53,x", &["LEAKMON_PORT", "'x'"]),
    ("LEAKMON_PLAIN", "yes", &["LEAKMON_PLAIN", "true or false"]),
    ("LEAKMON_BUFER", "8M", &["LEAKMON_BUFER", "LEAKMON_BUFFER"]),
    (
        "LEAKMON_CONFIG",
        "/no/such",
        &["/no/such", "LEAKMON_CONFIG"],
    ),
];

fn prepare(dir: &Path) {
    let write = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).expect("a file can be written");
    };
    write("empty", b"");
    write("text", b"This is no recording, whatever it may be.\n");
    write("head", &MAGIC[..5]);
    write("future", &[MAGIC, &9999_u32.to_le_bytes()].concat());
    write("cut", &[MAGIC, &1_u32.to_le_bytes(), &[7; 3]].concat());
    write("other.json", b"{\"some\":\"thing\"}\n");
    write("huge", &vec![b'#'; 2 * 1024 * 1024]);
    write("deep", format!("a = {}", "[".repeat(100_000)).as_bytes());
    write("latin1", b"[watch]\napp = \"m\xfcller\"\n");
    let made = Command::new("mkfifo").arg(dir.join("fifo")).status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "no pipe can be made"
    );
    fs::create_dir(dir.join("folder")).expect("a folder can be made");
    let audit = leakmon::run(&["audit", "--json", "--pid", &std::process::id().to_string()]);
    let summary = b"{\"v\":1,\"type\":\"loss\",\"ts\":\"2026-01-01T00:00:00Z\",\"events\":1}\n";
    // What an audit says of a program that was told nothing is nothing.
    let lines = if audit.stdout.is_empty() {
        &summary[..]
    } else {
        &audit.stdout
    };
    write("lines.json", lines);
}

/// Everything that is wrong with how a fault was said.
fn wrong(finished: &Finished, words: &[String]) -> Option<String> {
    let stderr = &finished.stderr;
    let mut all = Vec::new();
    if finished.status.code() != Some(2) {
        all.push("the exit code is not 2".to_owned());
    }
    if !finished.stdout.is_empty() {
        all.push("something is on standard output".to_owned());
    }
    if stderr.matches('\n').count() != 1 || !stderr.ends_with('\n') {
        all.push("it is not one line".to_owned());
    }
    if !stderr.starts_with("leakmon: ") {
        all.push("it does not say who speaks".to_owned());
    }
    let is_harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    if stderr.contains(is_harmful) {
        all.push("a terminal would act on it".to_owned());
    }
    if stderr.contains("panicked") {
        all.push("it panicked".to_owned());
    }
    if stderr.chars().count() > 1000 {
        all.push("it is endless".to_owned());
    }
    for word in words.iter().filter(|word| !stderr.contains(*word)) {
        all.push(format!("it has no {word:?}"));
    }
    (!all.is_empty()).then(|| format!("{}: {finished:?}", all.join(", ")))
}

fn run(mut command: Command, home: &Path) -> Finished {
    command.env("HOME", home).env_remove("XDG_CONFIG_HOME");
    Program::spawn(&mut command).finish(LIMIT)
}

fn agent(args: &[String]) -> Command {
    let mut command = Command::new(leakmon::binary());
    command.args(args);
    command
}

#[test]
fn every_mistake_is_one_line() {
    let Some(lab) = Lab::builder("bad_input")
        .needs(&["mkfifo", "setpriv"])
        .build()
    else {
        return;
    };
    let dir = lab.dir();
    prepare(dir);
    let path = dir.to_str().expect("a path that is text");
    let filled = |words: &[&str]| -> Vec<String> {
        words.iter().map(|word| word.replace('@', path)).collect()
    };
    let mut faults = Vec::new();
    let mut rows = 0;
    let mut look = |what: String, finished: &Finished, words: &[String]| {
        rows += 1;
        faults.extend(wrong(finished, words).map(|wrong| format!("{what}: {wrong}")));
    };
    for (args, words) in ARGUMENTS.iter().chain(FILES) {
        let finished = run(agent(&filled(args)), dir);
        look(format!("{args:?}"), &finished, &filled(words));
    }
    let config = format!("{path}/wrong.toml");
    for (text, words) in CONFIGURATIONS {
        fs::write(&config, text).expect("a file can be written");
        let mut words = filled(words);
        words.push(config.clone());
        // The same, whoever reads it.
        for args in [
            &["watch", "--config", &config][..],
            &["config", "show", "--config", &config],
            &["config", "check", &config],
        ] {
            let finished = run(agent(&filled(args)), dir);
            look(format!("{text:?} {}", args[0]), &finished, &words);
        }
    }
    for (name, value, words) in VARIABLES {
        let mut command = agent(&["watch".to_owned()]);
        command.env(name, value);
        look(
            format!("{name}={value}"),
            &run(command, dir),
            &filled(words),
        );
    }

    // What is no text is no option, and no reason to panic.
    let odd = std::ffi::OsStr::from_bytes(b"--\xff\x1b");
    let mut command = Command::new(leakmon::binary());
    command.arg("watch").arg(odd);
    look("no text".to_owned(), &run(command, dir), &[]);
    let mut command = Command::new(leakmon::binary());
    command
        .args(["replay", "--app"])
        .arg(std::ffi::OsStr::from_bytes(b"\xff"))
        .arg("x");
    look(
        "a name that is no text".to_owned(),
        &run(command, dir),
        &["UTF-8".to_owned()],
    );

    // A recording that cannot be made ends the run before anything is seen.
    for (target, words) in [
        ("@/text", &["@/text", "exists", "another name"][..]),
        ("@/none/x", &["@/none/x", "no such file"]),
    ] {
        let mut command = lab.command_on_machine(leakmon::binary());
        command.args(["watch", "--record", &target.replace('@', path), "--cgroup"]);
        command.arg(lab.cgroup());
        let finished = Program::spawn(&mut command).finish(LIMIT);
        look(format!("--record {target}"), &finished, &filled(words));
    }
    without_rights(dir, &mut look);
    assert!(
        faults.is_empty(),
        "{} of {rows} rows\n{}",
        faults.len(),
        faults.join("\n")
    );
    assert!(rows > 150, "{rows} rows");
}

/// What an ordinary user may not read, write and do.
fn without_rights(dir: &Path, look: &mut impl FnMut(String, &Finished, &[String])) {
    let place = dir.join("nobody");
    fs::create_dir(&place).expect("a folder can be made");
    for folder in dir.ancestors().take(1).chain([&*place]) {
        fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is ours");
    }
    let copy = place.join("leakmon");
    fs::copy(leakmon::binary(), &copy).expect("the agent can be copied");
    let closed = place.join("closed");
    fs::write(&closed, "").expect("a file can be written");
    fs::set_permissions(&closed, Permissions::from_mode(0o600)).expect("it is ours");
    let lines = dir.join("lines.json");
    let text = |path: &Path| path.to_str().expect("a path that is text").to_owned();
    let (closed, lines, new) = (text(&closed), text(&lines), text(&place.join("new.html")));
    for (args, words) in [
        (&["watch"][..], &["not allowed", "sudo"][..]),
        (&["replay", &closed], &[&closed, "permission denied"]),
        (&["explain", "f1", &closed], &[&closed, "permission denied"]),
        (&["report", &closed], &[&closed, "permission denied"]),
        (
            &["report", "--html", &new, &lines],
            &[&new, "permission denied"],
        ),
        (
            &["audit", "--user", "--config", &closed],
            &[&closed, "permission denied"],
        ),
        (
            &["config", "check", &closed],
            &[&closed, "permission denied"],
        ),
        (&["config", "init", &new], &[&new, "permission denied"]),
    ] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        command.arg(&copy).args(args);
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        look(format!("as nobody {args:?}"), &run(command, &place), &words);
    }
}

/// Nothing at all gets the help, which is more than a line.
#[test]
fn nothing_gets_the_help() {
    for (args, code) in [
        (&[][..], 2),
        (&["config"], 2),
        (&["--help"], 0),
        (&["watch", "--help"], 0),
    ] {
        let finished = leakmon::run(args);
        assert_eq!(finished.status.code(), Some(code), "{finished:?}");
        let (help, other) = if code == 0 {
            (finished.text(), finished.stderr.clone())
        } else {
            (finished.stderr.clone(), finished.text())
        };
        assert!(help.contains("Usage: leakmon"), "{finished:?}");
        assert_eq!(other, "", "{finished:?}");
    }
}
