//! The help.

use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    look::Look,
    state::{MAX_APPS, MAX_FINDINGS, MAX_QUERIES},
    table::fit,
    view::Caption,
};
use crate::sink::printable;

/// The keys, and what the view does not show.
pub fn help_text(caption: &Caption, width: usize, look: Look) -> Vec<Line<'static>> {
    const KEYS: [(&str, &str); 15] = [
        ("q, Ctrl-C", "quit"),
        ("Up Down j k", "another row; PgUp PgDn Home End go further"),
        ("Tab", "the next pane; Shift-Tab the one before"),
        ("Enter, Right", "open the selected row"),
        (
            "a",
            "the app of the selected row: what it asked and was told",
        ),
        ("n", "the name: who asked for it, and of whom"),
        ("r", "the resolver: what it was asked"),
        ("Esc, Left", "back; on the first page it drops the filter"),
        (
            "/",
            "show only rows with a text: an app, pid, name, address, verdict",
        ),
        ("s", "sort the list by something else"),
        ("e", "every query instead of the findings, and back"),
        ("p, Space", "stop the picture; leakmon goes on watching"),
        (
            "m",
            "leave the mouse to the terminal, to select text; and take it again",
        ),
        (
            "Mouse",
            "click selects, click again opens, right goes back, wheel scrolls",
        ),
        ("?", "this help"),
    ];
    let mut lines = Vec::new();
    let mut add = |label: &str, text: &str, style: Style| {
        let text = printable(text).into_owned();
        let options = textwrap::Options::new(width.saturating_sub(14).max(8)).break_words(true);
        for (index, part) in textwrap::wrap(&text, options).into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            lines.push(Line::from(vec![
                Span::styled(fit(label, 14, false), style),
                Span::raw(part.into_owned()),
            ]));
        }
    };
    for (key, what) in KEYS {
        add(key, what, look.key());
    }
    let mouse = if caption.mouse {
        "leakmon's: m leaves it to the terminal"
    } else {
        "the terminal's: m takes it"
    };
    add("Mouse now", mouse, look.dim());
    for note in &caption.notes {
        add("Note", note, look.warning());
    }
    let kept = format!(
        "{MAX_APPS} apps, the latest {MAX_FINDINGS} findings and {MAX_QUERIES} queries are listed; counts are of the whole run"
    );
    add("Lists", &kept, look.dim());
    lines
}
