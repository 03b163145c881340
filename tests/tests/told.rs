//! What a program was told in a file, under `leakmon watch`: read with the few privileges that are kept, and kept in the
//! recording.

use leakmon_lab::lab::{PAGE, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::output::evidence_text;
use leakmon_lab::{LIMIT, Lab, Leakmon, State, leakmon};
use rustix::fs::{Gid, Uid};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

/// A user without any privileges.
const NOBODY: u32 = 65534;

#[test]
fn a_file_that_only_another_user_can_read_decides_and_is_recorded() {
    let Some(lab) = Lab::builder("told_private")
        .socks()
        .web()
        .needs(&["curl", "setpriv"])
        .build()
    else {
        return;
    };
    let home = lab.dir().join("home");
    let curlrc = home.join(".curlrc");
    fs::create_dir(&home).expect("a folder can be made");
    let proxy = format!("{}:{SOCKS_PORT}", SERVER.0);
    fs::write(&curlrc, format!("proxy = socks5://me:secret@{proxy}\n"))
        .expect("a file can be written");
    for (path, mode) in [(&curlrc, 0o600), (&home, 0o700)] {
        let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        rustix::fs::chown(path, Some(uid), Some(gid)).expect("root can give files away");
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode can be set");
    }
    let recording = lab.dir().join("recording");
    let recording = recording.to_str().expect("a path that is text");
    let leakmon = Leakmon::watch(&lab, &["--record", recording]);

    let user = NOBODY.to_string();
    let set_home = format!("HOME={}", home.display());
    let (pid, curl) = lab.run(
        "setpriv",
        &[
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "env",
            &set_home,
            "curl",
            "-sS",
            "--max-time",
            "15",
            "http://page.example/",
        ],
    );
    assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
    assert!(
        lab.dns_log().iter().any(|asked| asked.name == PAGE),
        "curl did not leak: {:?}",
        lab.dns_log()
    );
    leakmon.wait_for(LIMIT, |state| state.proof_for(PAGE).is_some());
    let run = leakmon.stop();
    fs::remove_file(&curlrc).expect("a file can be removed");
    let replayed = leakmon::run(&["replay", "--json", recording]);
    let lines: Vec<Value> = replayed
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    for state in [run.final_state(), State::of(&lines)] {
        let proof = state
            .proof_for(PAGE)
            .unwrap_or_else(|| panic!("nothing proven\n{}", run.said()));
        assert_eq!(proof["process"]["pid"], pid, "{proof:#}");
        let evidence = evidence_text(proof);
        assert!(
            evidence.contains("/home/.curlrc") && evidence.contains("socks5://…@"),
            "{evidence}"
        );
        let told = state
            .lines()
            .iter()
            .find(|line| line["type"] == "posture" && line["process"]["pid"] == pid)
            .unwrap_or_else(|| panic!("no posture\n{}", run.said()));
        assert_eq!(told["resolves"], "local", "{told:#}");
        assert_eq!(told["proxy"]["port"], SOCKS_PORT, "{told:#}");
    }
    let recorded = fs::read(recording).expect("it was recorded");
    let recorded = String::from_utf8_lossy(&recorded).into_owned();
    for text in [run.said(), replayed.text(), recorded] {
        assert!(!text.contains("secret"), "{text}");
    }
}
