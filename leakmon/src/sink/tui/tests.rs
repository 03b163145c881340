//! The model and what is drawn of it, without a terminal.

use ratatui::{Terminal, backend::TestBackend, crossterm::event::Event, style::Color};

use super::{
    Tui,
    browse::{Browse, Page},
    keys::{Action, Direction},
    look::Look,
    rows::{List, Row},
    state::{MAX_APPS, MAX_FINDINGS, MAX_QUERIES, State},
    testing::{answer, app, at, end, finding, found, id, loss, query},
    view::{self, Caption},
};
use crate::{
    model::{Confidence, Query, Report, Verdict},
    sink::Sink,
};

const SIZES: [(u16, u16); 4] = [(120, 40), (80, 24), (40, 15), (40, 12)];

/// Two curls, of which one leaks, and a dig without a proxy.
fn run() -> State {
    let (leaky, tight, dig) = (app("curl", 7), app("curl", 8), app("dig", 9));
    let mut state = State::default();
    for report in [
        Report::Query(query(1, &dig, "dual.example", Verdict::NoProxy)),
        answer(1),
        Report::Query(query(2, &tight, "proxy.example", Verdict::Explained)),
        Report::Query(query(3, &leaky, "page.example", Verdict::Leak)),
        found(finding(3, &leaky, "page.example", Confidence::Configured)),
        Report::Query(query(4, &leaky, "other.example", Verdict::Leak)),
        found(finding(4, &leaky, "other.example", Confidence::Proven)),
    ] {
        state.report(&report);
    }
    state
}

fn picture(state: &State, browse: &mut Browse, size: (u16, u16)) -> String {
    draw(state, browse, &Caption::default(), size, true).0
}

/// The text drawn, and whether any of it has a colour.
fn draw(
    state: &State,
    browse: &mut Browse,
    caption: &Caption,
    (width, height): (u16, u16),
    color: bool,
) -> (String, bool) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| view::draw(frame, state, browse, caption, Look { color }))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let colored = buffer
        .content()
        .iter()
        .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
    let text = buffer
        .content()
        .chunks(usize::from(width))
        .map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect())
        .collect::<Vec<String>>()
        .join("\n");
    (text, colored)
}

fn line<'a>(picture: &'a str, has: &str) -> &'a str {
    picture
        .lines()
        .find(|line| line.contains(has))
        .unwrap_or_else(|| panic!("no line with {has}:\n{picture}"))
}

#[test]
fn a_later_word_about_the_same_thing_wins() {
    let curl = app("curl", 7);
    let mut state = State::default();
    let first = query(1, &curl, "page.example", Verdict::Unknown);
    state.report(&Report::Query(first.clone()));
    state.report(&found(finding(
        1,
        &curl,
        "page.example",
        Confidence::Observed,
    )));
    state.report(&Report::Query(Query {
        update: true,
        verdict: Verdict::Leak,
        ..first
    }));
    let mut surer = finding(1, &curl, "page.example", Confidence::Proven);
    surer.update = true;
    state.report(&found(surer));

    assert_eq!(state.queries().count(), 1);
    assert_eq!(state.queries().next().unwrap().verdict, Verdict::Leak);
    let row = state.app(Some(id(7))).unwrap();
    assert_eq!((row.queries, row.leaks), (1, 1));
    assert_eq!(row.proxy.as_deref(), Some("socks5://10.77.0.1:1080"));
    let totals = state.totals();
    assert_eq!((totals.queries, totals.leaks, totals.findings), (1, 1, 1));
    let findings: Vec<_> = state.findings().collect();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].finding.confidence, Confidence::Proven);
    assert_eq!(findings[0].resolver.unwrap().to_string(), "10.77.0.1:53");
}

#[test]
fn what_is_kept_is_bounded_and_what_fell_out_is_counted() {
    let mut state = State::default();
    let leaky = app("leaky", 1);
    state.report(&Report::Query(query(
        0,
        &leaky,
        "first.example",
        Verdict::Leak,
    )));
    let many = u64::try_from(MAX_QUERIES + MAX_APPS).unwrap();
    for number in 1..=many {
        let pid = u32::try_from(number + 1).unwrap();
        let name = format!("n{number}.example");
        let app = app("busy", pid);
        state.report(&Report::Query(query(number, &app, &name, Verdict::NoProxy)));
        state.report(&found(finding(number, &app, &name, Confidence::Observed)));
    }
    assert_eq!(state.apps().count(), MAX_APPS);
    assert_eq!(state.queries().count(), MAX_QUERIES);
    assert_eq!(state.findings().count(), MAX_FINDINGS);
    assert!(state.app(Some(id(1))).is_some(), "who leaked is kept");
    let fallen = state.fallen();
    assert_eq!(fallen.queries, many + 1 - MAX_QUERIES as u64);
    assert_eq!(fallen.findings, many - MAX_FINDINGS as u64);
    assert_eq!(fallen.apps, many + 1 - MAX_APPS as u64);
    assert_eq!(state.totals().queries, many + 1);

    // What is said of a query that is not listed any more still counts.
    state.report(&Report::Query(Query {
        update: true,
        ..query(1, &leaky, "n1.example", Verdict::Leak)
    }));
    assert_eq!(state.totals().leaks, 2);
    state.report(&answer(1));
    state.report(&answer(many));
    let latest = state.queries().next().unwrap();
    assert_eq!(latest.answer.as_deref(), Some("NOERROR 10.77.0.80"));

    let text = picture(&state, &mut Browse::new(true), (120, 40));
    assert!(
        line(&text, "Queries 4096").contains("513 older ones fell out"),
        "{text}"
    );
}

#[test]
fn every_size_shows_that_and_what_leaks() {
    for size in SIZES {
        let text = picture(&run(), &mut Browse::new(false), size);
        assert!(
            text.starts_with("LEAK") || text.starts_with("leakmon  LEAK"),
            "{text}"
        );
        let row = line(&text, "▸");
        for what in ["HIGH", "curl", "other.example"] {
            assert!(row.contains(what), "{what} at {size:?}\n{text}");
        }
        assert!(text.contains("? help"), "{text}");
        assert!(
            text.contains("use --socks5-hostname") || size.1 < 15,
            "{text}"
        );
    }
    let wide = picture(&run(), &mut Browse::new(false), (120, 40));
    assert!(
        line(&wide, "2 findings by 1 app").contains("2 of 4 queries leaked"),
        "{wide}"
    );
    let row = line(&wide, "socks5://10.77.0.1:1080  ");
    assert!(row.trim_start().starts_with("2       2"), "{wide}");
    assert!(
        line(&wide, "HIGH     proven").contains("10.77.0.1"),
        "{wide}"
    );
    assert!(
        wide.contains("asked A other.example of 10.77.0.1:53"),
        "{wide}"
    );
}

#[test]
fn too_small_a_terminal_is_told_and_none_is_a_panic() {
    let mut browse = Browse::new(false);
    let small = picture(&run(), &mut browse, (39, 20));
    assert!(
        small.contains("leakmon needs 40x8, this is 39x20"),
        "{small}"
    );
    browse.act(Action::Help, &run());
    for width in (1..130).step_by(3) {
        for height in (1..45).step_by(2) {
            picture(&run(), &mut browse, (width, height));
            picture(&State::default(), &mut Browse::new(true), (width, height));
        }
    }
}

#[test]
fn without_colours_there_is_none_and_the_words_are_the_same() {
    for size in SIZES {
        let caption = Caption::default();
        let (plain, colored) = draw(&run(), &mut Browse::new(false), &caption, size, false);
        assert!(!colored, "{plain}");
        let (with, colored) = draw(&run(), &mut Browse::new(false), &caption, size, true);
        assert!(colored);
        assert_eq!(plain, with);
    }
}

#[test]
fn losses_stand_on_every_picture() {
    let mut state = run();
    state.report(&loss(2, 100, 7));
    state.report(&loss(3, 20, 1));
    for size in SIZES {
        let text = picture(&state, &mut Browse::new(false), size);
        assert!(line(&text, "LOST 120 events").contains("since"), "{text}");
    }
    let text = picture(&state, &mut Browse::new(false), (80, 24));
    assert!(
        line(&text, "LOST").contains("8 of them questions"),
        "{text}"
    );
}

#[test]
fn what_is_hostile_is_written_out() {
    let evil = app("b\u{1b}[31mad", 7);
    let mut state = State::default();
    let name = "a\u{202e}b\n.example";
    let mut hostile = finding(1, &evil, name, Confidence::Proven);
    hostile.advice = "x\u{1b}]0;y\u{7}".to_owned();
    state.report(&Report::Query(query(1, &evil, name, Verdict::Leak)));
    state.report(&found(hostile));
    for size in SIZES {
        for action in [Action::Open, Action::App, Action::Name, Action::Resolver] {
            let mut browse = Browse::new(false);
            browse.act(action, &state);
            let text = picture(&state, &mut browse, size);
            let escaped = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
            assert!(!text.contains(escaped), "{text:?}");
        }
    }
    let text = picture(&state, &mut Browse::new(false), (120, 40));
    assert!(text.contains(r"a\u{202e}b\u{a}.example"), "{text}");
}

#[test]
fn one_goes_into_an_app_a_name_a_resolver_and_back() {
    let state = run();
    let mut browse = Browse::new(false);
    let size = (100, 30);
    browse.act(Action::App, &state);
    assert_eq!(*browse.page(), Page::App(Some(id(7))));
    let text = picture(&state, &mut browse, size);
    assert!(text.contains("Names asked by curl (pid 7) 2"), "{text}");
    assert!(!text.contains("dual.example"), "{text}");
    browse.act(Action::Move(Direction::Forth, 1), &state);
    browse.act(Action::Open, &state);
    let text = picture(&state, &mut browse, size);
    assert!(text.contains("Queries for page.example 1"), "{text}");
    browse.act(Action::Resolver, &state);
    let text = picture(&state, &mut browse, size);
    assert!(text.contains("Names asked of 10.77.0.1 4"), "{text}");
    for _ in 0..3 {
        browse.act(Action::Back, &state);
    }
    assert_eq!(*browse.page(), Page::Overview);
    browse.act(Action::Open, &state);
    assert_eq!(*browse.page(), Page::Finding("f4".to_owned()));
}

#[test]
fn a_filter_leaves_what_it_says() {
    let state = run();
    let mut browse = Browse::new(false);
    browse.act(Action::Filter, &state);
    for c in "DIGX".chars() {
        browse.act(Action::Type(c), &state);
    }
    browse.act(Action::Erase, &state);
    assert!(picture(&state, &mut browse, (80, 24)).contains("/DIG"));
    browse.act(Action::Accept, &state);
    let text = picture(&state, &mut browse, (80, 24));
    assert!(text.contains("Apps 1 of 3"), "{text}");
    assert!(text.contains("the filter hides all 2"), "{text}");
    assert!(text.contains("App: dig"), "{text}");
    browse.act(Action::Back, &state);
    assert!(picture(&state, &mut browse, (80, 24)).contains("Apps 3 "));
}

#[test]
fn rows_are_sorted_as_one_wants() {
    let state = run();
    let mut browse = Browse::new(false);
    let names = |browse: &Browse, list| {
        let (rows, _) = browse.rows(&state, list);
        rows.iter()
            .map(|row| row.name().unwrap_or_default().to_owned())
            .collect::<Vec<String>>()
    };
    assert_eq!(
        names(&browse, List::Findings),
        ["other.example", "page.example"]
    );
    browse.act(Action::Move(Direction::Forth, 1), &state);
    for _ in 0..4 {
        browse.act(Action::Sort, &state);
    }
    assert_eq!(
        names(&browse, List::Findings),
        ["other.example", "page.example"]
    );
    browse.act(Action::Pane(Direction::Back), &state);
    let pids = |browse: &Browse| {
        let (rows, _) = browse.rows(&state, List::Apps);
        rows.iter()
            .filter_map(|row| row.app().map(|id| id.pid))
            .collect::<Vec<u32>>()
    };
    assert_eq!(pids(&browse)[0], 7, "who leaks is first");
    browse.act(Action::Sort, &state);
    assert_eq!(browse.sort(List::Apps).as_str(), "queries");
}

#[test]
fn a_selected_row_stays_selected_when_others_come() {
    let mut state = run();
    let mut browse = Browse::new(false);
    let subject = |browse: &Browse, state: &State| {
        let row = browse.subject(state);
        row.and_then(|row| row.name().map(str::to_owned)).unwrap()
    };
    assert_eq!(subject(&browse, &state), "other.example");
    browse.act(Action::Move(Direction::Forth, 1), &state);
    assert_eq!(subject(&browse, &state), "page.example");
    let curl = app("curl", 7);
    state.report(&found(finding(
        5,
        &curl,
        "third.example",
        Confidence::Proven,
    )));
    assert_eq!(subject(&browse, &state), "page.example");
    browse.act(Action::Edge(Direction::Back), &state);
    state.report(&found(finding(
        6,
        &curl,
        "fourth.example",
        Confidence::Proven,
    )));
    assert_eq!(subject(&browse, &state), "fourth.example");
}

#[test]
fn the_mouse_selects_opens_and_presses_keys() {
    let state = run();
    let mut browse = Browse::new(false);
    let text = picture(&state, &mut browse, (80, 24));
    let row = u16::try_from(
        text.lines()
            .position(|line| line.contains("page.example"))
            .unwrap(),
    );
    let click = Action::Click(10, row.unwrap());
    browse.act(click, &state);
    let Some(Row::Finding(selected)) = browse.subject(&state) else {
        panic!("no finding is selected");
    };
    assert_eq!(selected.finding.name, "page.example");
    picture(&state, &mut browse, (80, 24));
    browse.act(click, &state);
    assert_eq!(*browse.page(), Page::Finding("f3".to_owned()));
    picture(&state, &mut browse, (80, 24));
    assert_eq!(browse.key_at(0, 23), Some(Action::Help));
    assert_eq!(browse.key_at(0, 5), None);
}

#[test]
fn a_stopped_picture_stays_and_says_what_came() {
    let mut tui = Tui::new(true, false);
    let p = ratatui::crossterm::event::KeyCode::Char('p');
    let pause = Event::Key(p.into());
    let curl = app("curl", 7);
    tui.report(&Report::Query(query(
        1,
        &curl,
        "one.example",
        Verdict::Leak,
    )))
    .unwrap();
    tui.take(&pause);
    tui.report(&Report::Query(query(
        2,
        &curl,
        "two.example",
        Verdict::Leak,
    )))
    .unwrap();
    tui.report(&found(finding(2, &curl, "two.example", Confidence::Proven)))
        .unwrap();
    let stopped = tui.stopped.as_deref().expect("it is stopped");
    assert_eq!(
        (stopped.totals().queries, tui.state.totals().queries),
        (1, 2)
    );
    let caption = Caption {
        paused: Some((1, 1)),
        ..Caption::default()
    };
    let (text, _) = draw(stopped, &mut tui.browse, &caption, (120, 40), true);
    assert!(
        line(&text, "PAUSED").contains("1 query and 1 finding since"),
        "{text}"
    );
    tui.take(&pause);
    assert!(tui.stopped.is_none());
}

#[test]
fn after_the_end_rates_are_those_of_the_whole_run() {
    let mut state = run();
    state.report(&end(39));
    state.tick(at(40));
    let row = state.app(Some(id(7))).unwrap();
    assert!(
        (state.rate(row) - 2.0 / 40.0).abs() < 0.01,
        "{}",
        state.rate(row)
    );
    let text = picture(&state, &mut Browse::new(false), (120, 40));
    assert!(text.contains("recording of 0:00:40"), "{text}");
    assert_eq!(
        state
            .chart(100)
            .iter()
            .map(|bucket| bucket.queries)
            .sum::<u64>(),
        4
    );
}

/// Set for the test that panics with the view on its terminal.
const PANICS: &str = "LEAKMON_TEST_PANICS";

#[test]
fn panics_with_the_view_open() {
    if std::env::var_os(PANICS).is_none() {
        return;
    }
    let _screen = super::terminal::Screen::take().expect("there is a terminal");
    panic!("as the test wants it");
}

/// The test above, run on a terminal of its own by script(1): it must give the screen back before it says why.
#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    let exe = std::env::current_exe().unwrap();
    let inner = format!(
        "{} --exact sink::tui::tests::panics_with_the_view_open --nocapture; stty -a",
        exe.display()
    );
    let output = std::process::Command::new("script")
        .args(["-qec", &inner, "/dev/null"])
        .env(PANICS, "1")
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .output()
        .expect("script is a part of every Debian (package bsdutils)");
    let text = String::from_utf8_lossy(&output.stdout);
    let place = |what: &str| {
        text.find(what)
            .unwrap_or_else(|| panic!("no {what:?} in {text:?}"))
    };
    // DECSET and DECRST 1049, the other screen with its own cursor (xterm's ctlseqs).
    assert!(place("\u{1b}[?1049h") < place("\u{1b}[?1049l"), "{text:?}");
    assert!(
        place("\u{1b}[?1049l") < place("as the test wants it"),
        "{text:?}"
    );
    assert!(
        place("\u{1b}[?1000l") < place("as the test wants it"),
        "{text:?}"
    );
    let modes = &text[place("as the test wants it")..];
    for mode in ["icanon", "echo", "isig"] {
        let is_set = modes.split_whitespace().any(|set| set == mode);
        assert!(is_set, "no {mode} in {modes}");
    }
}
