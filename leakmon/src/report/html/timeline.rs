//! Queries over time, as bars.

use std::time::Duration;

use maud::{Markup, html};

use super::{section as section_with, table};
use crate::report::{
    Bucket, Timeline, Verdicts,
    words::{by_verdict, counted, span, time, time_of_day},
};

/// Height of the picture, in its own units.
const HEIGHT: u64 = 1000;
/// A leak is at least this high: what matters most must not be too small to be seen.
const LEAST: u64 = 40;
/// Bars are at most one of so many wide.
const MIN_BARS: usize = 24;

/// The section.
pub fn section(timeline: &Timeline) -> Markup {
    let (Some(first), Some(last)) = (timeline.buckets.first(), timeline.buckets.last()) else {
        return html! {};
    };
    let highest = timeline
        .buckets
        .iter()
        .map(|bucket| bucket.verdicts.sum())
        .max()
        .unwrap_or(0)
        .max(1);
    let start = |bucket: &Bucket| {
        if timeline.width_ms < 1000 {
            format!("{} {}", &time(bucket.ts)[..10], time_of_day(bucket.ts))
        } else {
            time(bucket.ts)
        }
    };
    let width = span(Duration::from_millis(timeline.width_ms));
    let bars = timeline.buckets.len().max(MIN_BARS);
    let busy: Vec<Vec<Markup>> = timeline
        .buckets
        .iter()
        .filter(|bucket| bucket.verdicts.sum() > 0)
        .map(|bucket| {
            let Verdicts {
                leak,
                explained,
                no_proxy,
                unknown,
            } = bucket.verdicts;
            let at = html! { (&time(bucket.ts)[..10]) " " (time_of_day(bucket.ts)) };
            let counts = [leak, explained, no_proxy, unknown];
            std::iter::once(at)
                .chain(counts.map(|count| html! { (count) }))
                .collect()
        })
        .collect();
    let content = html! {
        figure.timeline {
            svg role="img" aria-labelledby="timeline-title" preserveAspectRatio="none"
                viewBox={ "0 0 " (bars) " " (HEIGHT) } {
                title id="timeline-title" {
                    "Queries over time, at most " (highest) " within " (width)
                }
                @for (index, bucket) in timeline.buckets.iter().enumerate() {
                    (bar(index, bucket.verdicts, highest, &time_of_day(bucket.ts)))
                }
            }
            div.axis aria-hidden="true" {
                span { (start(first)) }
                @if timeline.buckets.len() >= MIN_BARS { span { (start(last)) } }
            }
            figcaption {
                "A bar is " (width) ", the highest " (counted(highest, "query", "queries")) ". "
                span.key.leak { "leaked" } span.key.unknown { "unknown" }
                span.key.explained { "explained" } span.key.no-proxy { "without a proxy" }
            }
        }
        details {
            summary { "The numbers" }
            (table("Queries over time", &["From (UTC)", "Leaked", "Explained", "Without a proxy", "Unknown"], &busy))
        }
    };
    section_with("timeline", "When", &content)
}

fn bar(index: usize, verdicts: Verdicts, highest: u64, at: &str) -> Markup {
    if verdicts.sum() == 0 {
        return html! {};
    }
    let mut top = HEIGHT;
    let parts = [
        ("leak", verdicts.leak, LEAST),
        ("unknown", verdicts.unknown, 0),
        ("explained", verdicts.explained, 0),
        ("no-proxy", verdicts.no_proxy, 0),
    ];
    html! {
        g {
            title { "from " (at) ": " (by_verdict(verdicts)) }
            @for (class, count, least) in parts {
                @if count > 0 {
                    @let height = (count * HEIGHT / highest).max(least).min(top);
                    @let () = top -= height;
                    rect class=(class) x=(format!("{index}.1")) width="0.8" y=(top) height=(height) {}
                }
            }
        }
    }
}
