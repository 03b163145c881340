//! The top of every picture: the verdict, what was lost, and how it went over time.

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    symbols::bar,
    text::{Line, Span},
    widgets::{Paragraph, RenderDirection, Sparkline},
};
use textwrap::core::display_width;

use super::{
    chart::Bucket,
    look::Look,
    state::{Lost, State},
    table::{a_second, fit, short, time},
    view::Caption,
};
use crate::sink::{lines::counted, printable};

/// One line: is anything leaking?
pub fn header(state: &State, caption: &Caption, look: Look, width: usize) -> Line<'static> {
    let totals = state.totals();
    let apps = state.apps().filter(|app| app.leaks > 0).count() as u64;
    let ended = state.summary().is_some();
    let (mark, style) = match (totals.findings, ended) {
        (0, false) => ("no leak so far", look.good()),
        (0, true) => ("no leak", look.good()),
        _ => ("LEAK", look.bad()),
    };
    let wide = width >= 80;
    let mut text = if totals.findings == 0 {
        format!("  {}", counted(totals.queries, "query", "queries"))
    } else if wide {
        format!(
            "  {} by {}, {} of {} leaked",
            counted(totals.findings, "finding", "findings"),
            counted(apps, "app", "apps"),
            totals.leaks,
            counted(totals.queries, "query", "queries"),
        )
    } else {
        format!(
            "  {} of {} leaked",
            totals.leaks,
            counted(totals.queries, "query", "queries"),
        )
    };
    if wide && !caption.notes.is_empty() {
        let notes = counted(caption.notes.len() as u64, "note", "notes");
        text.push_str(&format!("  ({notes}: ?)"));
    }
    let right = match caption.paused {
        Some((0, _)) => "PAUSED".to_owned(),
        Some((queries, 0)) if wide => {
            format!("PAUSED: {} since", counted(queries, "query", "queries"))
        }
        Some((queries, 0)) => format!("PAUSED +{}", short(queries)),
        Some((queries, findings)) if wide => {
            let findings = counted(findings, "finding", "findings");
            format!(
                "PAUSED: {} and {findings} since",
                counted(queries, "query", "queries")
            )
        }
        Some((queries, findings)) => {
            format!("PAUSED +{}, {} leaks", short(queries), short(findings))
        }
        None => {
            let seconds = state.seconds();
            let run = format!(
                "{}:{:02}:{:02}",
                seconds / 3600,
                seconds / 60 % 60,
                seconds % 60
            );
            match (caption.live, wide) {
                (true, _) => run,
                (false, true) => format!("recording of {run}"),
                (false, false) => format!("rec {run}"),
            }
        }
    };
    let name = if wide { "leakmon  " } else { "" };
    let used = display_width(name) + display_width(mark) + display_width(&right);
    let text = fit(&text, width.saturating_sub(used + 1), false);
    let right_style = if caption.paused.is_some() {
        look.warning().patch(look.bold())
    } else {
        look.dim()
    };
    Line::from(vec![
        Span::styled(name, look.bold()),
        Span::styled(mark, style),
        Span::raw(text),
        Span::raw(" "),
        Span::styled(right, right_style),
    ])
}

/// What was lost is never overlooked.
pub fn losses(state: &State, width: usize, look: Look) -> Vec<Line<'static>> {
    let line = |lost: &Lost| {
        let since = time(lost.since);
        let text = if lost.place == "ring-buffer" {
            format!(
                "LOST {} since {since}, {} of them questions{}",
                counted(lost.events, "event", "events"),
                lost.queries,
                if width >= 100 {
                    ": what they would have shown is not known"
                } else {
                    ""
                },
            )
        } else {
            format!(
                "LOST track of {} since {since} ({})",
                counted(lost.events, "query", "queries"),
                printable(&lost.place),
            )
        };
        Line::styled(fit(&text, width, false), look.bad())
    };
    state.lost().iter().map(line).collect()
}

/// Queries and leaks over time.
pub fn draw_charts(frame: &mut Frame<'_>, area: Rect, state: &State, look: Look) {
    if area.height == 0 {
        return;
    }
    let [left, _, right] = Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Length(2),
        Constraint::Fill(1),
    ])
    .areas(area);
    let totals = state.totals();
    let halves = [
        (left, "queries", totals.queries, Style::new()),
        (right, "leaks", totals.leaks, look.bad()),
    ];
    for (index, (half, label, total, style)) in halves.into_iter().enumerate() {
        let label_width = if half.width < 30 { label.len() + 1 } else { 16 };
        let [text, bars] = Layout::horizontal([
            Constraint::Length(u16::try_from(label_width).unwrap_or(16)),
            Constraint::Fill(1),
        ])
        .areas(half);
        let buckets = state.chart(usize::from(bars.width));
        let of = |bucket: &Bucket| {
            if index == 0 {
                bucket.queries
            } else {
                bucket.leaks
            }
        };
        let rate = if state.summary().is_some() {
            state.average(total)
        } else {
            let latest = state.chart(10);
            let span = latest.len().max(1);
            let sum: u64 = latest.iter().map(of).sum();
            #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
            let rate = sum as f64 / span as f64;
            rate
        };
        let mut lines = vec![Line::styled(label, look.bold())];
        if half.width >= 30 {
            let rate = format!(" {}/s", a_second(rate));
            lines[0].push_span(Span::raw(rate));
            if area.height > 1 {
                let most = buckets.iter().map(of).max().unwrap_or(0);
                lines.push(Line::styled(format!("most {}", short(most)), look.dim()));
                let what = if state.summary().is_some() {
                    "whole run".to_owned()
                } else {
                    format!("last {} s", buckets.len())
                };
                lines.push(Line::styled(what, look.dim()));
            }
        }
        frame.render_widget(Paragraph::new(lines), text);
        // A mark where nothing happened tells a quiet second from one before the run.
        let set = bar::Set {
            empty: if area.height == 1 { "·" } else { " " },
            ..bar::NINE_LEVELS
        };
        let newest_first: Vec<u64> = buckets.iter().rev().map(of).collect();
        frame.render_widget(
            Sparkline::default()
                .data(newest_first)
                .direction(RenderDirection::RightToLeft)
                .bar_set(set)
                .style(style),
            bars,
        );
    }
}
