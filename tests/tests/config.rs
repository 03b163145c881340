//! Configuration: which of all that was said of an option counts, and `leakmon config`. What counts is seen by what real
//! commands do, and the machine's own file is one in a mount namespace with an /etc of its own.

use leakmon_lab::{Finished, LIMIT, Program, leakmon, need};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user without any rights.
const NOBODY: u32 = 65534;
/// Gives the machine's configuration another text, for one program.
const WITH_MACHINE: &str =
    r#"mount -t tmpfs none /etc && printf '%s' "$0" > /etc/leakmon.toml && exec "$@""#;

/// A user's home.
struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder can be made");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
        fs::create_dir_all(dir.path().join(".config/leakmon")).expect("a folder can be made");
        Self { dir }
    }

    fn own(&self) -> PathBuf {
        self.dir.path().join(".config/leakmon/config.toml")
    }

    /// The user's own configuration.
    fn says(&self, text: &str) -> &Self {
        fs::write(self.own(), text).expect("a file can be written");
        self
    }

    /// A new file with this text.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("a path that is text").to_owned()
    }

    /// The command, where the machine's configuration is this.
    fn command(&self, machine: &str, variables: &[(&str, &str)], args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .env_clear()
            .env("PATH", need::PATH)
            .env("HOME", self.dir.path())
            .envs(variables.iter().copied())
            .current_dir(self.dir.path())
            .args([
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                WITH_MACHINE,
                machine,
            ])
            .arg(leakmon::binary())
            .args(args);
        command
    }

    fn run(&self, machine: &str, variables: &[(&str, &str)], args: &[&str]) -> Finished {
        Program::spawn(&mut self.command(machine, variables, args)).finish(LIMIT)
    }

    /// What counts for an option, with its origin.
    fn shown(&self, machine: &str, variables: &[(&str, &str)], key: &str) -> String {
        let shown = self.run(machine, variables, &["config", "show"]);
        assert_eq!(shown.status.code(), Some(0), "{shown:?}");
        let text = shown.text();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{key} =")));
        line.unwrap_or_else(|| panic!("no {key}: {shown:?}"))
            .to_owned()
    }
}

fn assert_refused(finished: &Finished, words: &[&str]) {
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    assert_eq!(finished.text(), "", "{finished:?}");
    for word in words {
        assert!(finished.stderr.contains(word), "{word}: {finished:?}");
    }
}

fn is_possible(scenario: &str) -> bool {
    need::met(scenario, &["unshare", "setpriv", "mount"])
}

#[test]
fn the_first_that_says_it_counts() {
    if !is_possible("config_precedence") {
        return;
    }
    let home = Home::new();
    let machine = "[watch]\nbuffer = \"8M\"\n";
    let own = home.own().display().to_string();
    assert_eq!(home.shown("", &[], "buffer"), "buffer = \"4M\" # built-in");
    assert_eq!(
        home.shown(machine, &[], "buffer"),
        "buffer = \"8M\" # /etc/leakmon.toml, line 2"
    );
    home.says("[watch]\n\nbuffer = \"16M\"\n");
    assert_eq!(
        home.shown(machine, &[], "buffer"),
        format!("buffer = \"16M\" # {own}, line 3")
    );
    let named = home.file("named.toml", "watch.buffer = \"32M\"\n");
    let variable = [("LEAKMON_CONFIG", &*named)];
    assert_eq!(
        home.shown(machine, &variable, "buffer"),
        format!("buffer = \"32M\" # {named}, line 1")
    );
    let variables = [variable[0], ("LEAKMON_BUFFER", "64M")];
    assert_eq!(
        home.shown(machine, &variables, "buffer"),
        "buffer = \"64M\" # LEAKMON_BUFFER"
    );
    // --config is a flag, and counts before the variable; what it does not say is built in.
    let none = home.run(
        machine,
        &variable,
        &["config", "show", "--config", "/dev/null"],
    );
    assert!(
        none.text().contains("buffer = \"4M\" # built-in"),
        "{none:?}"
    );
}

/// A report's form is seen by its first character, and its file by its being there.
#[test]
fn commands_do_what_counts() {
    if !is_possible("config_commands") {
        return;
    }
    let home = Home::new();
    let lines = home.run("", &[], &["audit", "--json"]);
    assert!(lines.text().starts_with('{'), "{lines:?}");
    let saved = home.file("saved.json", &lines.text());
    let form = |machine: &str, variables: &[(&str, &str)], args: &[&str]| {
        let args = [&["report"], args, &[saved.as_str()]].concat();
        let report = home.run(machine, variables, &args);
        assert_eq!(report.status.code(), Some(0), "{report:?}");
        report
            .text()
            .chars()
            .next()
            .expect("a report says something")
    };
    assert_eq!(form("", &[], &[]), '#');
    let json = "[report]\nformat = \"json\"\n";
    assert_eq!(form(json, &[], &[]), '{');
    assert_eq!(form(json, &[("LEAKMON_FORMAT", "html")], &[]), '<');
    assert_eq!(
        form(
            json,
            &[("LEAKMON_FORMAT", "html")],
            &["--format", "markdown"]
        ),
        '#'
    );
    home.says("[report]\nformat = \"html\"\n");
    assert_eq!(form(json, &[], &[]), '<');

    // A file that is to be written gives way to a flag that does not go with it.
    home.says("[report]\nhtml = \"page.html\"\n");
    assert_eq!(form(json, &[], &["--format", "markdown"]), '#');
    let page = home.dir.path().join("page.html");
    assert!(!page.exists());
    // A path is one of the folder in which leakmon was started.
    let report = home.run("", &[], &["report", &saved]);
    assert_eq!(report.text(), "", "{report:?}");
    assert!(page.exists(), "{report:?}");

    // Switches can be switched off again.
    home.says("[audit]\njson = true\n");
    let begins = |variables: &[(&str, &str)], args: &[&str]| {
        home.run("", variables, &[&["audit"], args].concat())
            .text()
            .starts_with('{')
    };
    assert!(begins(&[], &[]));
    assert!(!begins(&[], &["--json=false"]));
    assert!(!begins(&[("LEAKMON_JSON", "0")], &[]));
    assert!(begins(&[("LEAKMON_JSON", "0")], &["--json"]));
    // One variable is for every command that has the option.
    let finding = home.run("", &[("LEAKMON_JSON", "maybe")], &["explain", "f1", &saved]);
    assert_refused(&finding, &["LEAKMON_JSON", "'maybe' is not true or false"]);
}

#[test]
fn what_is_shown_is_read_again() {
    if !is_possible("config_show") {
        return;
    }
    let home = Home::new();
    home.says(
        "[watch]\nport = [5300, 5353]\napp = [\"a \\\"b\\\"\"]\nplain = true\n[[program]]\nname = \"mytool\"\nproxy-options = \"-x\"\n",
    );
    let machine = "[watch]\nduration = \"30s\"\njson = true\n[report]\nformat = \"json\"\n";
    let variables = [("LEAKMON_FORCE", "1")];
    let first = home.run(machine, &variables, &["config", "show"]);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    assert!(first.text().contains("gives way to"), "{first:?}");
    let file = home.file("shown.toml", &first.text());
    let second = home.run("", &[], &["config", "show", "--config", &file]);
    let values = |shown: &Finished| -> Vec<String> {
        let text = shown.text();
        let value = |line: &str| line.split(" # ").next().unwrap_or_default().to_owned();
        text.lines().map(value).collect()
    };
    assert_eq!(values(&first), values(&second), "{first:?}\n{second:?}");
    for line in [
        "port = [5300, 5353]",
        "duration = \"30s\"",
        "force = true",
        "name = [\"mytool\"]",
    ] {
        assert!(
            values(&second).iter().any(|one| one == line),
            "{line}: {second:?}"
        );
    }
}

#[test]
fn check_tells_of_every_fault() {
    if !is_possible("config_check") {
        return;
    }
    let home = Home::new();
    let good = home.run("", &[], &["config", "check"]);
    let expected = format!(
        "{}: not there\n/etc/leakmon.toml: ok\n",
        home.own().display()
    );
    assert_eq!(
        (good.status.code(), good.text()),
        (Some(0), expected),
        "{good:?}"
    );

    home.says("[watch]\nbufer = 1\n[audit]\nall = 1\n");
    let bad = home.run(
        "[replay]\ntuii = true\n",
        &[("LEAKMON_PORT", "x")],
        &["config", "check"],
    );
    assert_eq!(bad.status.code(), Some(2), "{bad:?}");
    let own = home.own().display().to_string();
    let expected = [
        "leakmon: LEAKMON_PORT: 'x' is no number".to_owned(),
        format!("leakmon: {own}, line 2: unknown key `bufer`: did you mean `buffer`?"),
        format!("leakmon: {own}, line 4: `all`: it is true or false, without quotes"),
        "leakmon: /etc/leakmon.toml, line 2: unknown key `tuii`: did you mean `tui`?".to_owned(),
    ];
    assert_eq!(bad.stderr.lines().collect::<Vec<_>>(), expected, "{bad:?}");
    assert_eq!(bad.text(), "");
    // A mistake does not wait for its day: a command whose table is right does not begin either.
    let report = home.run("", &[], &["report", "x.json"]);
    assert_refused(&report, &["line 2", "one more fault"]);

    let right = home.file("right.toml", "");
    let wrong = home.file("wrong.toml", "x");
    let both = home.run("", &[], &["config", "check", &right, &wrong]);
    assert_eq!(both.status.code(), Some(2), "{both:?}");
    assert_eq!(both.text(), format!("{right}: ok\n"));
    assert!(both.stderr.contains("wrong.toml, line 1"), "{both:?}");
}

#[test]
fn init_begins_a_file() {
    if !is_possible("config_init") {
        return;
    }
    let home = Home::new();
    let path = home.dir.path().join("new.toml");
    let new = path.to_str().expect("a path that is text");
    let made = home.run("", &[], &["config", "init", new]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let mode = fs::metadata(&path)
        .expect("it was made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o022, 0, "others can write it");
    let text = fs::read_to_string(&path).expect("it was made");
    let printed = home.run("", &[], &["config", "init"]);
    assert_eq!(printed.text(), text, "{printed:?}");
    let checked = home.run("", &[], &["config", "check", new]);
    assert_eq!(checked.text(), format!("{new}: ok\n"), "{checked:?}");
    // It says nothing: all is built in.
    let shown = home.run("", &[], &["config", "show", "--config", new]);
    let plain = home.run("", &[], &["config", "show"]);
    assert_eq!(shown.text(), plain.text());
    let again = home.run("", &[], &["config", "init", new]);
    assert_refused(&again, &[new, "exists already"]);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
}

#[test]
fn root_obeys_no_file_of_another_user() {
    if !is_possible("config_owner") {
        return;
    }
    let home = Home::new();
    home.says("[audit]\nuser = true\n");
    chown(home.own(), Some(NOBODY), Some(NOBODY)).expect("root may give it away");
    let own = home.own().display().to_string();
    let by_root = home.run("", &[], &["audit"]);
    assert_refused(&by_root, &[&own, "belongs to user 65534", "--config"]);
    // Who names it has decided.
    let named = home.run("", &[], &["config", "show", "--config", &own]);
    assert!(named.text().contains("user = true"), "{named:?}");

    chown(home.own(), Some(0), Some(0)).expect("root may take it back");
    for (mode, is_right) in [(0o644, true), (0o664, true), (0o646, false)] {
        fs::set_permissions(home.own(), Permissions::from_mode(mode)).expect("it is ours");
        let shown = home.run("", &[], &["config", "show"]);
        if is_right {
            assert!(shown.text().contains("user = true"), "{mode:o}: {shown:?}");
        } else {
            assert_refused(&shown, &[&own, "written by other users", "chmod"]);
        }
    }
    fs::set_permissions(home.own(), Permissions::from_mode(0o644)).expect("it is ours");
    let by_nobody = as_nobody(&home, &["config", "show"]);
    assert!(
        by_nobody.text().contains("user = true"),
        "root's is obeyed: {by_nobody:?}"
    );
    fs::set_permissions(home.own(), Permissions::from_mode(0o600)).expect("it is ours");
    let closed = as_nobody(&home, &["config", "show"]);
    assert_refused(&closed, &[&own, "cannot be read: permission denied"]);
}

/// Runs a copy of the agent, which is where every user can start it.
fn as_nobody(home: &Home, args: &[&str]) -> Finished {
    let agent: &Path = &home.dir.path().join("leakmon");
    if !agent.exists() {
        fs::copy(leakmon::binary(), agent).expect("the agent can be copied");
    }
    let user = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command
        .env_clear()
        .env("PATH", need::PATH)
        .env("HOME", home.dir.path())
        .args(["--reuid", &user, "--regid", &user, "--clear-groups"])
        .arg(agent)
        .args(args);
    Program::spawn(&mut command).finish(LIMIT)
}
