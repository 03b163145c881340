//! A recording of a real browser says the same again, to the byte.

use leakmon_lab::lab::{PAGE, SERVER, SOCKS_PORT};
use leakmon_lab::{Chromium, Finished, LIMIT, Lab, Leakmon, Run, State, leakmon};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const URL: &str = "http://page.example/";
/// Bytes of a recording before its first block: the magic and the version.
const HEADER: usize = 12;

/// Runs Chromium under a recording agent until `done`, and gives what was said live and where the recording is.
fn recorded(lab: &Lab, proxy: Option<&str>, done: impl Fn(&State) -> bool) -> (Run, PathBuf) {
    let file = lab.dir().join("run.leakmon");
    let path = file.to_str().expect("a path that is text");
    let agent = Leakmon::watch(lab, &["--record", path]);
    let proxy: Vec<String> = proxy
        .iter()
        .map(|proxy| format!("--proxy-server={proxy}"))
        .collect();
    let args: Vec<&str> = proxy.iter().map(String::as_str).collect();
    let mut chromium = Chromium::open(lab, &args, URL);
    agent.wait_for(LIMIT, &done);
    let said = chromium.said();
    assert!(done(&agent.state()), "{said}");
    chromium.close();
    agent.catch_up(lab);
    (agent.stop(), file)
}

/// The replay's words are those of the live run, and its exit code is about what leaked.
fn assert_same_again(live: &Run, file: &Path, leaked: bool) {
    let path = file.to_str().expect("a path that is text");
    for _ in 0..2 {
        let replay = leakmon::run(&["replay", "--json", path]);
        assert_eq!(replay.text(), live.text, "{}", replay.stderr);
        assert_eq!(replay.status.code(), Some(i32::from(leaked)), "{replay:?}");
    }
    let mode = fs::metadata(file)
        .expect("it was recorded")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "names are private");
}

#[test]
fn over_socks4() {
    let Some(lab) = Lab::builder("replay_socks4")
        .tor()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let (live, file) = recorded(&lab, Some("socks4://127.0.0.1:9050"), |state| {
        state.proof_for(PAGE).is_some()
    });
    assert_same_again(&live, &file, true);
    assert_cut_is_told(&lab, &live, &file);
    assert_filters_apply(&file);
}

#[test]
fn over_socks5() {
    let Some(lab) = Lab::builder("replay_socks5")
        .socks()
        .web()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let proxy = format!("socks5://{}:{SOCKS_PORT}", SERVER.0);
    let (live, file) = recorded(&lab, Some(&proxy), |state| {
        state.proxies().any(|proxy| proxy["target"]["name"] == PAGE)
    });
    assert_same_again(&live, &file, false);
}

#[test]
fn without_a_proxy() {
    let Some(lab) = Lab::builder("replay_direct")
        .web()
        .needs(&["chromium"])
        .build()
    else {
        return;
    };
    let (live, file) = recorded(&lab, None, |state| state.queries_for(PAGE).count() > 0);
    assert_same_again(&live, &file, false);
}

/// A recording that was cut off says all that is before the cut, then one line, then exit code 2.
fn assert_cut_is_told(lab: &Lab, live: &Run, file: &Path) {
    let bytes = fs::read(file).expect("it was recorded");
    // Where a block ends is the agent's business, and all may be in the last one: so the cut is in a block of the test's
    // own behind it, the beginning of the first one once more.
    let within = &bytes[HEADER..HEADER + 20];
    let replay = replay_of(lab, &[&bytes[..], within].concat());
    assert_eq!(replay.text(), live.text, "{replay:?}");
    // And one in the last block.
    replay_of(lab, &bytes[..bytes.len() - 3]);
}

/// What is said of a recording that was cut off.
fn replay_of(lab: &Lab, bytes: &[u8]) -> Finished {
    let cut = lab.dir().join("cut.leakmon");
    fs::write(&cut, bytes).expect("a file can be written");
    let replay = leakmon::run(&[
        "replay",
        "--json",
        cut.to_str().expect("a path that is text"),
    ]);
    assert_eq!(replay.status.code(), Some(2), "{replay:?}");
    assert_eq!(replay.stderr.trim_end().lines().count(), 1, "{replay:?}");
    assert!(replay.stderr.contains("was cut off after"), "{replay:?}");
    replay
}

fn assert_filters_apply(file: &Path) {
    let path = file.to_str().expect("a path that is text");
    let nobody = leakmon::run(&["replay", "--json", "--app", "no-such-program", path]);
    assert_eq!(nobody.text().lines().count(), 1, "{nobody:?}");
    assert_eq!(nobody.status.code(), Some(0), "{nobody:?}");
    let chromium = leakmon::run(&["replay", "--json", "--app", "chromium", path]);
    assert!(chromium.text().contains("\"finding\""), "{chromium:?}");
}
