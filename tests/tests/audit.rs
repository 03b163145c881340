//! `leakmon audit`: whose programs and files it looks at, how it says what it saw, and what it makes of GNOME's settings,
//! held against what `gsettings` says of the same database.

use jsonschema::Validator;
use leakmon_lab::gnome;
use leakmon_lab::lab::SERVER;
use leakmon_lab::{Finished, LIMIT, Lab, Program, leakmon, wait};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user without any rights.
const NOBODY: &str = "65534";
/// Stays until it is ended.
const STAY: &str = "while :; do sleep 1000; done";
/// Names are looked up by Chromium itself.
const LEAKS: &str = "--proxy-server=socks4://10.77.0.1:1080";
/// Names are left to the proxy.
const IS_CLEAN: &str = "--proxy-server=socks5://10.77.0.1:1080";

fn lab(scenario: &str) -> Option<Lab> {
    Lab::builder(scenario)
        .needs(&["setpriv", "sleep", "dconf", "gsettings"])
        .build()
}

/// A copy of the agent where every user can start it.
fn agent(lab: &Lab) -> PathBuf {
    let agent = lab.dir().join("leakmon");
    if !agent.exists() {
        fs::copy(leakmon::binary(), &agent).expect("the agent can be copied");
    }
    agent
}

/// Runs `leakmon audit` among the lab's client's files, as a user of this number when one is given.
fn audit(lab: &Lab, user: Option<&str>, args: &[&str]) -> Finished {
    let agent = agent(lab);
    let mut command = match user {
        Some(user) => {
            let mut command = lab.command("setpriv");
            command.args(["--reuid", user, "--clear-groups"]).arg(agent);
            command
        }
        None => lab.command(agent.to_str().expect("a path that is text")),
    };
    Program::spawn(command.arg("audit").args(args)).finish(LIMIT)
}

/// A program with the name and the command line of a browser, which does nothing: what it was told is all that an audit
/// looks at. `setpriv` gives it its user.
fn browser(lab: &Lab, setpriv: &[&str], switch: &str) -> Program {
    let program = lab.dir().join("chromium");
    if !program.exists() {
        let shell = leakmon_lab::need::find("sh").expect("it was found before");
        fs::copy(shell, &program).expect("a shell can be copied");
    }
    let started = Program::spawn(
        lab.command("setpriv")
            .args(setpriv)
            .arg(&program)
            .args(["-c", STAY, switch]),
    );
    let exe = format!("/proc/{}/exe", started.pid());
    let is_there = wait::until_true(LIMIT, || {
        fs::read_link(&exe).is_ok_and(|exe| exe == program)
    });
    assert!(is_there, "{}", started.said());
    started
}

fn lines(audit: &Finished) -> Vec<Value> {
    let read = |line| {
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("not a JSON line ({error}): {line}\n{audit:?}"))
    };
    audit.text().lines().map(read).collect()
}

fn pids(lines: &[Value]) -> Vec<u64> {
    lines
        .iter()
        .filter_map(|line| line["app"]["pid"].as_u64())
        .collect()
}

fn schema() -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/events.schema.json");
    let text = fs::read_to_string(path).expect("the schema can be read");
    let schema: Value = serde_json::from_str(&text).expect("the schema is JSON");
    jsonschema::validator_for(&schema).expect("the schema is a schema")
}

#[test]
fn an_ordinary_user_sees_own_programs_and_no_others() {
    let Some(lab) = lab("audit_user") else {
        return;
    };
    let own = browser(&lab, &["--reuid", NOBODY, "--clear-groups"], LEAKS);
    let of_root = browser(&lab, &[], LEAKS);
    // This user's by its real user id, but with root's rights: the kernel lets the user see nothing of it.
    let closed = browser(&lab, &["--ruid", NOBODY, "--clear-groups"], LEAKS);

    for args in [&["--json", "--user"][..], &["--json", "--user", "--all"]] {
        let audit = audit(&lab, Some(NOBODY), args);
        assert_eq!(audit.status.code(), Some(1), "{audit:?}");
        assert_eq!(audit.stderr, "", "{audit:?}");
        let lines = lines(&audit);
        let seen = pids(&lines);
        assert!(seen.contains(&own.pid().into()), "{audit:?}");
        for other in [&of_root, &closed] {
            assert!(!seen.contains(&other.pid().into()), "{audit:?}");
        }
        for line in lines.iter().filter(|line| line["type"] == "posture") {
            assert_eq!(line["process"]["uid"], 65534, "{line:#}");
        }
    }
    let unasked = audit(&lab, Some(NOBODY), &["--json"]);
    assert_eq!(unasked.stderr.lines().count(), 1, "{unasked:?}");
    assert!(
        unasked.stderr.contains("only your own programs"),
        "{unasked:?}"
    );
    assert!(
        !pids(&lines(&unasked)).contains(&of_root.pid().into()),
        "{unasked:?}"
    );

    let by_root = pids(&lines(&audit(&lab, None, &["--json"])));
    for program in [&own, &of_root, &closed] {
        assert!(by_root.contains(&program.pid().into()), "{by_root:?}");
    }
}

#[test]
fn the_exit_code_says_whether_anything_will_leak() {
    let Some(lab) = lab("audit_codes") else {
        return;
    };
    let code = |args: &[&str]| audit(&lab, None, args).status.code();
    for (switch, expected) in [(LEAKS, 1), (IS_CLEAN, 0)] {
        let browser = browser(&lab, &[], switch);
        let pid = browser.pid().to_string();
        for form in [&[][..], &["--json"]] {
            let args = [&["--pid", &pid], form].concat();
            assert_eq!(code(&args), Some(expected), "{switch} {form:?}");
        }
    }
    // No pid is as high as this (include/linux/threads.h, PID_MAX_LIMIT).
    let nobody = audit(&lab, None, &["--pid", "4194305"]);
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
    assert_eq!(nobody.stderr.lines().count(), 1, "{nobody:?}");
    assert!(nobody.stdout.is_empty(), "{nobody:?}");
    assert_eq!(code(&["--installed", "--pid", "1"]), Some(2));
}

#[test]
fn what_people_read() {
    let Some(lab) = lab("audit_text") else {
        return;
    };
    let browser = browser(&lab, &[], LEAKS);
    let pid = browser.pid().to_string();
    let one = audit(&lab, None, &["--pid", &pid]).text();
    let said: Vec<&str> = one.lines().collect();
    assert_eq!(
        said[0],
        format!(
            "WILL LEAK Chromium (pid {pid}, root): told to use socks4://10.77.0.1:1080 for everything; resolves names itself"
        )
    );
    assert!(
        said[1].contains("command-line") && said[1].contains(LEAKS),
        "{one}"
    );
    assert_eq!(
        said.last(),
        Some(
            &"1 program that something says about a proxy: 1 will leak, 0 may leak, of 0 it is not known"
        ),
        "of the machine nothing is asked\n{one}"
    );

    // The lab's own files in /etc, as every program on its client sees them.
    let whole = audit(&lab, None, &[]).text();
    let (_, machine) = whole
        .split_once("\nthis machine ")
        .unwrap_or_else(|| panic!("{whole}"));
    let says = |words: &[&str]| {
        machine
            .lines()
            .any(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") == words.join(" "))
    };
    assert!(
        says(&["! resolv.conf programs ask", &SERVER.0.to_string()]),
        "{machine}"
    );
    assert!(says(&["nsswitch.conf hosts: files dns"]), "{machine}");
}

#[test]
fn every_line_is_valid_by_the_schema() {
    let Some(lab) = lab("audit_schema") else {
        return;
    };
    let schema = schema();
    let _browsers = [browser(&lab, &[], LEAKS), browser(&lab, &[], IS_CLEAN)];
    write_database(&lab, "h.example", 1080);
    let lines = lines(&audit(
        &lab,
        None,
        &["--json", "--all", "--installed", "--user"],
    ));
    let machine = lines.last().expect("it says something");
    assert_eq!(machine["type"], "machine");
    assert_eq!(machine["offers"][0]["what"], "resolv.conf", "{machine:#}");
    for is_profile in [true, false] {
        let found = lines
            .iter()
            .any(|line| line["profile"].is_object() == is_profile && !line["proxy"].is_null());
        assert!(found, "no such line to test: {lines:#?}");
    }
    for line in &lines {
        let errors: Vec<String> = schema
            .iter_errors(line)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{line:#}\n{}", errors.join("\n"));
        let mut spoiled = vec![
            ("type", json!("nonsense")),
            ("v", json!(2)),
            ("more", json!(1)),
        ];
        if line["type"] == "posture" {
            spoiled.extend([
                ("route", json!("sideways")),
                ("resolves", json!("nobody")),
                ("evidence", json!([{"source": "x"}])),
                (
                    "leaks",
                    json!([{"what": "x", "certain": "yes", "stop": "y"}]),
                ),
                ("profile", json!("x")),
                ("app", json!("x")),
                ("bypass", Value::Null),
            ]);
        } else {
            spoiled.push(("offers", json!([{"what": "x", "detail": "y"}])));
        }
        for (key, value) in spoiled {
            let mut spoiled = line.clone();
            spoiled[key] = value;
            assert!(!schema.is_valid(&spoiled), "the schema allows {spoiled:#}");
        }
    }
}

#[test]
fn a_reader_that_is_gone_is_no_error() {
    let Some(lab) = lab("audit_closed") else {
        return;
    };
    let browser = browser(&lab, &[], IS_CLEAN);
    let pid = browser.pid().to_string();
    for form in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let output = Command::new(leakmon::binary())
            .args(["audit", "--pid", &pid])
            .args(form)
            .stdout(writer)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
}

/// A database as GNOME's settings leave it, made by dconf itself, for whoever has the lab's folder for a home.
fn write_database(lab: &Lab, host: &str, port: u16) {
    gnome::compile(lab, gnome::USER, &gnome::socks(host, port), None);
}

/// What `gsettings` says of a key, and what leakmon has read of the same: the mode, or host and port of the SOCKS proxy.
fn both(lab: &Lab, variables: &[(&str, &str)]) -> (Option<String>, Option<String>) {
    let get = |schema: &str, key: &str| {
        let mut command = lab.command("gsettings");
        command
            .args(["get", schema, key])
            .envs(variables.iter().copied());
        let got = Program::spawn(&mut command).finish(LIMIT);
        assert!(got.status.success(), "{got:?}");
        got.text().trim().trim_matches('\'').to_owned()
    };
    let says = (get("org.gnome.system.proxy", "mode") == "manual").then(|| {
        let host = get("org.gnome.system.proxy.socks", "host");
        let port = get("org.gnome.system.proxy.socks", "port");
        let ignored =
            get("org.gnome.system.proxy", "ignore-hosts").replace(['[', ']', '\'', ' '], "");
        format!("{host} {port} {ignored}")
    });
    let mut command = lab.command(agent(lab).to_str().expect("a path that is text"));
    command
        .args(["audit", "--json", "--user", "--installed"])
        .envs(variables.iter().copied());
    let audit = Program::spawn(&mut command).finish(LIMIT);
    let reads = lines(&audit)
        .iter()
        .find(|line| line["profile"]["program"] == "GNOME settings")
        .map(|line| {
            let proxy = &line["proxy"];
            let ignored: Vec<&str> = line["bypass"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            format!(
                "{} {} {}",
                proxy["addr"].as_str().unwrap_or_default(),
                proxy["port"],
                ignored.join(",")
            )
        });
    (says, reads)
}

#[test]
fn gnomes_settings_are_read_as_gsettings_reads_them() {
    let Some(lab) = lab("audit_gnome") else {
        return;
    };
    let agree = |variables: &[(&str, &str)], expected: Option<&str>| {
        let (says, reads) = both(&lab, variables);
        assert_eq!(says.as_deref(), expected, "gsettings itself, {variables:?}");
        assert_eq!(reads, says, "{variables:?}");
    };
    agree(&[], None);
    write_database(&lab, "own.example", 1081);
    agree(&[], Some("own.example 1081 localhost,*.lan"));
    agree(&[("XDG_CONFIG_HOME", "/nowhere")], None);
    agree(&[("GSETTINGS_BACKEND", "memory")], None);

    // A database of the machine's behind the user's: it counts where the user's says nothing, and where it locks.
    let machine =
        "[system/proxy]\nmode='none'\n\n[system/proxy/socks]\nhost='machine.example'\nport=9050\n";
    let locks = "/system/proxy/socks/host\n";
    gnome::compile(&lab, "machine", machine, Some(locks));
    let path = lab.dir().join("profile");
    fs::write(
        &path,
        format!("user-db:user\nfile-db:{}/machine\n", lab.dir().display()),
    )
    .expect("a file can be written");
    let profile = [("DCONF_PROFILE", path.to_str().expect("text"))];
    agree(&profile, Some("machine.example 1081 localhost,*.lan"));
    gnome::compile(&lab, "machine", machine, Some("/system/proxy/mode\n"));
    agree(&profile, None);
    gnome::compile(
        &lab,
        ".config/dconf/user",
        "[system/proxy]\nmode='manual'\n",
        None,
    );
    gnome::compile(&lab, "machine", machine, None);
    agree(
        &profile,
        Some("machine.example 9050 localhost,127.0.0.0/8,::1"),
    );

    let keyfile = lab.dir().join(".config/glib-2.0/settings/keyfile");
    fs::create_dir_all(keyfile.parent().expect("it has one")).expect("a folder can be made");
    fs::write(
        &keyfile,
        "[system/proxy]\nmode='manual'\nignore-hosts=['a', \"b\"]\n[system/proxy/socks]\nhost=\"key.example\"\nport=1082\n",
    )
    .expect("a file can be written");
    agree(
        &[("GSETTINGS_BACKEND", "keyfile")],
        Some("key.example 1082 a,b"),
    );
}

#[test]
fn root_reads_the_settings_of_everybody() {
    let Some(lab) = lab("audit_everybody") else {
        return;
    };
    // The users that the programs of the client see: `ip netns exec` binds the file over the machine's.
    let etc = Path::new("/etc/netns").join(lab.client().name());
    let home = |name: &str| lab.dir().join(name).display().to_string();
    fs::write(
        etc.join("passwd"),
        format!(
            "root:x:0:0::{}:/bin/sh\nann:x:1001:1001::{}:/bin/sh\nbob:x:1002:1002::{}:/bin/sh\ngone:x:1003:1003::/no/such/home:/bin/sh\n",
            home("root"),
            home("ann"),
            home("bob")
        ),
    )
    .expect("a file can be written");
    fs::create_dir(home("root")).expect("a folder can be made");
    for (user, port) in [("ann", 1081), ("bob", 1082)] {
        let text = format!(
            "[system/proxy]\nmode='manual'\n\n[system/proxy/socks]\nhost='h'\nport={port}\n"
        );
        gnome::compile(&lab, &format!("{user}/.config/dconf/user"), &text, None);
    }
    let of = |args: &[&str]| -> Vec<(String, Value)> {
        lines(&audit(&lab, None, args))
            .iter()
            .filter(|line| line["profile"]["program"] == "GNOME settings")
            .map(|line| {
                (
                    line["profile"]["user"].to_string(),
                    line["proxy"]["port"].clone(),
                )
            })
            .collect()
    };
    assert_eq!(
        of(&["--json", "--installed"]),
        [
            ("\"ann\"".to_owned(), json!(1081)),
            ("\"bob\"".to_owned(), json!(1082))
        ]
    );
    assert!(of(&["--json"]).is_empty());
    assert!(of(&["--json", "--installed", "--user"]).is_empty());
}
