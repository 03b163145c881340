//! `leakmon report`: the page is what was saved, it fits a telephone, and a browser that shows it asks nobody for anything.

use leakmon_lab::lab::{DUAL, PAGE, PAGE_ADDRESS, PAGE_TEXT, SERVER, SOCKS_PORT};
use leakmon_lab::{Chromium, LIMIT, Lab, Leakmon, Run, leakmon, wait};
use serde_json::Value;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Widths of a desk's screen, of a telephone's, and of a small one's.
const WIDTHS: [u32; 3] = [1200, 400, 360];
const ONION: &str = "verysecretpageforthistestofnames.onion";

/// Where the reports stay to be looked at after the test.
fn kept() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let folder = target.join("report");
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder.canonicalize().expect("it is there")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

fn lab(scenario: &str, more: &[&'static str]) -> Option<Lab> {
    Lab::builder(scenario)
        .socks()
        .web()
        .needs(&["curl", "dig"])
        .needs(more)
        .build()
}

/// A run with a leak that is proven, one of a name that must never be asked, and programs that leak nothing.
fn record(lab: &Lab, file: &Path) -> Run {
    let agent = Leakmon::watch(lab, &["--record", text(file)]);
    let proxy = format!("{}:{SOCKS_PORT}", SERVER.0);
    let url = format!("http://{PAGE}/");
    for how in ["--socks5-hostname", "--socks5"] {
        let (_, curl) = lab.run("curl", &["-sS", "--max-time", "15", how, &proxy, &url]);
        assert!(curl.text().contains(PAGE_TEXT), "{curl:?}");
    }
    for name in [DUAL, PAGE, ONION] {
        let _ = lab.run("dig", &["+short", name, "A"]);
    }
    agent.wait_for(LIMIT, |state| {
        state.proof_for(PAGE).is_some() && state.findings_for(ONION).next().is_some()
    });
    agent.catch_up(lab);
    for name in [DUAL, PAGE, ONION] {
        agent.wait_answers(name);
    }
    agent.stop()
}

/// Makes a report of these files in a form, and gives it.
fn report(form: &str, files: &[&Path]) -> String {
    let mut args = vec!["report", "--format", form];
    args.extend(files.iter().map(|file| text(file)));
    let finished = leakmon::run(&args);
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    finished.text()
}

#[test]
fn its_numbers_are_those_of_the_run() {
    let Some(lab) = lab("report_numbers", &[]) else {
        return;
    };
    let recording = lab.dir().join("run.leakmon");
    let run = record(&lab, &recording);
    let saved = lab.dir().join("run.json");
    fs::write(&saved, &run.text).expect("a file can be written");

    let json: Value = serde_json::from_str(&report("json", &[&recording])).expect("it is JSON");
    assert_counts(&run, &json, 1);
    let state = run.final_state();
    assert!(state.proof_for(PAGE).is_some(), "{}", run.said());
    let finding = json["findings"]["listed"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|finding| finding["name"] == PAGE)
        .unwrap_or_else(|| panic!("no finding for {PAGE}: {json:#}"));
    assert_eq!(finding["confidence"], "proven");
    assert_eq!(finding["program"], "curl");
    assert_eq!(finding["told"][0]["resolver"], format!("{}:53", SERVER.0));
    let socks = lab.socks_log();
    assert!(socks.contains(&PAGE_ADDRESS.to_string()), "{socks}");

    // Of the same run saved in two ways all is twice.
    let both: Value =
        serde_json::from_str(&report("json", &[&recording, &saved])).expect("it is JSON");
    assert_counts(&run, &both, 2);

    for form in ["html", "markdown", "json"] {
        let [one, other] = [(); 2].map(|()| report(form, &[&recording, &saved]));
        assert_eq!(one, other, "the same input, the same bytes");
        assert_ne!(report(form, &[&saved]), one);
    }
    assert_tiles(&report("html", &[&recording]), &json);
}

/// The report's counts are those of the run's own last line, so many times.
fn assert_counts(run: &Run, json: &Value, times: u64) {
    let summary = run.lines.last().expect("there is a summary");
    let totals = &json["totals"];
    let sum = |key: &str| -> u64 {
        let apps = summary["apps"].as_array().into_iter().flatten();
        apps.filter_map(|app| app[key].as_u64()).sum()
    };
    assert_eq!(totals["queries"], times * sum("queries"), "{json:#}");
    for key in ["leak", "explained", "no_proxy", "unknown"] {
        assert_eq!(totals["verdicts"][key], times * sum(key), "{key}: {json:#}");
    }
    let findings = summary["findings"].as_u64().expect("a number");
    assert!(findings >= 2, "{}", run.said());
    assert_eq!(totals["findings"], times * findings, "{json:#}");
    for app in summary["apps"].as_array().into_iter().flatten() {
        let program = json["programs"]["listed"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|program| program["name"] == app["app"])
            .unwrap_or_else(|| panic!("{app} is missing: {json:#}"));
        for key in ["leak", "explained", "no_proxy", "unknown"] {
            let count = app[key].as_u64().expect("a number");
            assert_eq!(program["verdicts"][key], times * count, "{program:#}");
        }
    }
}

/// The numbers at the head of the page are the JSON's.
fn assert_tiles(page: &str, json: &Value) {
    let totals = &json["totals"];
    for (what, number) in [
        ("queries", &totals["queries"]),
        ("queries leaked", &totals["verdicts"]["leak"]),
        ("programs", &totals["programs"]),
        ("programs leak", &totals["leaking"]),
        ("events lost", &totals["lost"]),
    ] {
        let tile = format!("<strong>{number}</strong> <span>{what}</span>");
        assert!(page.contains(&tile), "no {tile}");
    }
    let findings = json["findings"]["listed"].as_array().map_or(0, Vec::len);
    assert_eq!(page.matches("<tr class=\"evidence\"").count(), findings);
}

#[test]
fn a_browser_shows_it_and_asks_nobody() {
    let Some(lab) = lab("report_browser", &["chromium"]) else {
        return;
    };
    let kept = kept();
    let recording = lab.dir().join("run.leakmon");
    let _ = record(&lab, &recording);
    let page = report("html", &[&recording]);
    for (name, bytes) in [
        ("report.html", page.clone().into_bytes()),
        ("report.md", report("markdown", &[&recording]).into_bytes()),
        ("report.json", report("json", &[&recording]).into_bytes()),
        (
            "run.leakmon",
            fs::read(&recording).expect("it was recorded"),
        ),
    ] {
        fs::write(kept.join(name), bytes).expect("a file can be written");
    }
    let pages = lab.dir().join("pages");
    fs::write(pages.join("report.html"), &page).expect("a file can be written");
    let asked_before = lab.dns_log().len();
    for width in WIDTHS {
        let frame = format!("frame-{width}.html");
        fs::write(pages.join(&frame), frame_of(width)).expect("a file can be written");
        assert_fits(&lab, &frame, &kept.join(format!("report-{width}.png")));
    }
    // The witnesses: the name server was asked nothing, and the web server for the pages alone.
    let log = lab.dns_log();
    assert_eq!(log.len(), asked_before, "{log:?}");
    let expected: Vec<String> = WIDTHS
        .iter()
        .flat_map(|width| [format!("/frame-{width}.html"), "/report.html".to_owned()])
        .collect();
    assert_eq!(requests(&lab.web_log()), expected, "{}", lab.web_log());
    assert_policy_holds(&lab, &page);
}

/// Had anything got into the page that asks somebody, the page's policy would keep the browser from it; without the policy
/// it asks.
fn assert_policy_holds(lab: &Lab, page: &str) {
    let spy = format!("http://{DUAL}/spy.png");
    let spied = page.replace(
        "</main>",
        &format!(r#"<img src="{spy}"><script src="/spy.js"></script></main>"#),
    );
    let (before, rest) = spied
        .split_once("<meta http-equiv")
        .expect("it has a policy");
    let (_, after) = rest.split_once('>').expect("a tag ends");
    for (name, text, asks) in [
        ("spied.html", &spied, false),
        ("open.html", &format!("{before}{after}"), true),
    ] {
        fs::write(lab.dir().join("pages").join(name), text).expect("a file can be written");
        let asked_before = lab.dns_log().len();
        let url = format!("http://{PAGE_ADDRESS}/{name}");
        let mut chromium = Chromium::open(lab, &[], &url);
        assert!(chromium.wait(LIMIT).is_some(), "{}", chromium.said());
        let said = chromium.said();
        chromium.close();
        assert!(said.contains("leakmon report"), "{said}");
        let asked = &lab.dns_log()[asked_before..];
        assert_eq!(
            asked.iter().any(|asked| asked.name == DUAL),
            asks,
            "{asked:?}"
        );
        let script = requests(&lab.web_log())
            .iter()
            .any(|path| path == "/spy.js");
        assert_eq!(script, asks, "{}", lab.web_log());
    }
}

/// The paths that the web server was asked for, those of the recorded run left out.
fn requests(log: &str) -> Vec<String> {
    log.lines()
        .filter_map(|line| line.split_once("\"GET "))
        .filter_map(|(_, rest)| rest.split(' ').next())
        .filter(|path| *path != "/")
        .map(str::to_owned)
        .collect()
}

/// A page that holds the report in a frame of that width, and says of it what its own policy forbids it to find out: how
/// wide it is, what is wider than its window, and whether anything was kept from being loaded. What is folded is unfolded
/// first: it must fit, too.
fn frame_of(width: u32) -> String {
    format!(
        r#"<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><style>body{{margin:0}}iframe{{border:0;display:block}}</style>
<iframe id="report" src="/report.html" width="{width}" height="4000"></iframe><pre id="said"></pre>
<script>
document.getElementById("report").onload = event => {{
  const page = event.target.contentDocument, root = page.documentElement;
  const measure = () => {{
    const wide = [...page.body.querySelectorAll("*")].filter(one => !one.closest("svg"))
      .filter(one => one.getBoundingClientRect().right > root.clientWidth + 0.5 && !one.closest("thead"));
    return `${{root.clientWidth}} ${{root.scrollWidth}} ${{wide.map(one => one.outerHTML.slice(0, 80))}}`;
  }};
  const folded = measure();
  page.querySelectorAll("details").forEach(one => one.open = true);
  const unfolded = measure();
  page.querySelectorAll("details").forEach((one, index) => one.open = index == 0);
  document.getElementById("report").height = root.scrollHeight;
  document.getElementById("said").textContent =
    `folded ${{folded}};unfolded ${{unfolded}};details ${{page.querySelectorAll("details").length}};`;
}};
</script>"#
    )
}

fn assert_fits(lab: &Lab, frame: &str, picture: &Path) {
    let width: u32 = frame
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .expect("a width");
    let _ = fs::remove_file(picture);
    let shot = format!("--screenshot={}", picture.display());
    let size = format!("--window-size={},3400", width.max(500));
    let args = [shot.as_str(), &size, "--hide-scrollbars"];
    let url = format!("http://{PAGE_ADDRESS}/{frame}");
    let mut chromium = Chromium::open(lab, &args, &url);
    let there = wait::until_true(LIMIT, || {
        picture.metadata().is_ok_and(|file| file.len() > 0)
    });
    let said = chromium.wait_page(";details ", LIMIT);
    let text = chromium.said();
    chromium.close();
    assert!(there && said, "{text}");
    let fits = format!("{width} {width} ");
    assert!(
        text.contains(&format!("folded {fits};unfolded {fits};details ")),
        "{text}"
    );
}

#[test]
fn a_file_is_not_overwritten_and_bad_input_is_said() {
    let Some(lab) = lab("report_files", &[]) else {
        return;
    };
    let recording = lab.dir().join("run.leakmon");
    let run = record(&lab, &recording);
    let file = text(&recording).to_owned();
    let out = |name: &str| text(&lab.dir().join(name)).to_owned();
    let html = out("out.html");
    let made = leakmon::run(&["report", "--html", &html, &file]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let first = fs::read_to_string(&html).expect("it was written");
    assert!(first.starts_with("<!DOCTYPE html>"), "{first:.100}");
    assert_private(Path::new(&html));

    assert_refused(
        &["report", "-o", &html, &file],
        "it exists already; --force replaces it",
    );
    fs::write(&html, "something else").expect("a file can be written");
    assert_refused(&["report", "--html", &html, &file], "it exists already");
    assert_eq!(
        fs::read_to_string(&html).expect("it is there"),
        "something else"
    );
    let forced = leakmon::run(&["report", "-o", &html, "--force", &file]);
    assert_eq!(forced.status.code(), Some(0), "{forced:?}");
    assert_eq!(fs::read_to_string(&html).expect("it is there"), first);
    assert_private(Path::new(&html));

    assert_refused(
        &["report", "-o", &out("out.txt"), &file],
        "have it end in .html, .md, .json, .xml or .sarif",
    );
    assert_refused(
        &["report", "-o", &out("no/where.md"), &file],
        "no such file or directory",
    );
    let folder = text(lab.dir());
    assert_refused(
        &["report", "--force", "--html", folder, &file],
        "it is no plain file",
    );
    assert_refused(&["report", &html], "is neither a recording");
    assert_refused(&["report", "-", "-"], "can be read only once");
    assert!(!lab.dir().join("out.txt").exists());

    // Of damaged input the report is of what is before, says so, and the exit code too.
    let cut = lab.dir().join("cut.json");
    fs::write(&cut, format!("{}{{\"v\":1", run.text)).expect("a file can be written");
    let finished = leakmon::run(&["report", "--format", "json", text(&cut)]);
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert_eq!(
        finished.stderr.trim_end().lines().count(),
        1,
        "{finished:?}"
    );
    let json: Value = serde_json::from_str(&finished.text()).expect("it is JSON");
    assert_counts(&run, &json, 1);
    let fault = json["sources"][0]["fault"].as_str().unwrap_or_default();
    assert!(fault.contains("cut off"), "{json:#}");
}

fn assert_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "names are private");
}

fn assert_refused(args: &[&str], words: &str) {
    let finished = leakmon::run(args);
    assert_eq!(finished.status.code(), Some(2), "{finished:?}");
    assert_eq!(
        finished.stderr.trim_end().lines().count(),
        1,
        "{finished:?}"
    );
    assert!(finished.stderr.contains(words), "{words}: {finished:?}");
    assert_eq!(finished.text(), "");
}
