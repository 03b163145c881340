//! Which program asked which resolver, as bands from one to the other.
//!
//! The names stand beside the picture as text of the page, so that they are as large on a telephone as elsewhere; only the
//! bands between them are drawn, and stretched to the room there is.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{cell, more, named, section as section_with, t, table};
use crate::report::{
    Contents, Flow, Way,
    words::{counted, to},
};

/// Height of a program's or a resolver's place, in pixels; style.css has it too.
const ROW: u64 = 76;
/// The thickest band.
const THICKEST: u64 = 56;
/// Bands and places that are drawn.
const MAX_BANDS: usize = 24;
const MAX_NODES: usize = 10;
/// Width of the picture, in its own units.
const WIDTH: u64 = 100;

/// The section.
pub fn section(contents: &Contents) -> Markup {
    let flows = &contents.flows;
    if flows.listed.is_empty() {
        return html! {};
    }
    let head = [
        "Program",
        "Resolver",
        "Interface",
        "Listens there",
        "Queries",
        "Leaked",
        "Left the machine",
        "Findings",
    ];
    let rows: Vec<Vec<Markup>> = flows
        .listed
        .iter()
        .map(|flow| {
            vec![
                html! { (named(flow.program.as_deref())) },
                html! { span.x { (t(&flow.way.resolver)) } },
                cell(flow.way.interface.as_deref().unwrap_or("–")),
                cell(flow.way.via.as_deref().unwrap_or("–")),
                html! { (flow.verdicts.sum()) },
                html! { (flow.verdicts.leak) },
                html! { (flow.escaped) },
                html! { (flow.findings) },
            ]
        })
        .collect();
    section_with(
        "flows",
        "Who asked whom",
        &html! {
            (figure(&flows.listed))
            details {
                summary { "The numbers" }
                (table("What each program asked of each resolver", &head, &rows))
            }
            (more(flows.left_out, "ways"))
        },
    )
}

/// A place at which bands end.
#[derive(Default)]
struct Node {
    row: u64,
    queries: u64,
    leaks: u64,
    /// Up to where bands are drawn already.
    used: u64,
}

impl Node {
    /// Room for a band, from the top of the picture.
    fn take(&mut self, thickness: u64) -> u64 {
        let top = self.row * ROW + (ROW - THICKEST) / 2 + self.used;
        self.used += thickness;
        top
    }
}

/// The places of one side, in their order.
struct Side<'a, K> {
    nodes: BTreeMap<&'a K, Node>,
}

impl<'a, K: Ord> Side<'a, K> {
    fn of(flows: &[&'a Flow], key: impl Fn(&'a Flow) -> &'a K) -> Self {
        let mut nodes: BTreeMap<&K, Node> = BTreeMap::new();
        for flow in flows {
            let row = nodes.len() as u64;
            let node = nodes.entry(key(flow)).or_insert_with(|| Node {
                row,
                ..Node::default()
            });
            node.queries += flow.verdicts.sum();
            node.leaks += flow.verdicts.leak;
        }
        Self { nodes }
    }

    fn in_order(&self) -> Vec<(&'a K, &Node)> {
        let mut all: Vec<_> = self.nodes.iter().map(|(key, node)| (*key, node)).collect();
        all.sort_by_key(|(_, node)| node.row);
        all
    }
}

fn figure(flows: &[Flow]) -> Markup {
    let drawn = drawn(flows);
    let mut programs = Side::of(&drawn, |flow| &flow.program);
    let mut resolvers = Side::of(&drawn, |flow| &flow.way);
    let rows = programs.nodes.len().max(resolvers.nodes.len()) as u64;
    let thickest = [
        &programs.nodes.values().map(|node| node.queries).max(),
        &resolvers.nodes.values().map(|node| node.queries).max(),
    ]
    .into_iter()
    .flatten()
    .copied()
    .max()
    .unwrap_or(0)
    .max(1);
    let height = rows * ROW;
    let bands: Vec<Markup> = drawn
        .iter()
        .map(|flow| band(flow, &mut programs, &mut resolvers, thickest))
        .collect();
    html! {
        figure.flows {
            div.sides {
                ul.left aria-label="Programs" {
                    @for (program, node) in programs.in_order() {
                        li { span.what { (named(program.as_deref())) } (numbers(node)) }
                    }
                }
                svg role="img" aria-labelledby="flows-title" preserveAspectRatio="none"
                    viewBox={ "0 0 " (WIDTH) " " (height) } height=(height) {
                    title id="flows-title" { "Bands from programs to the resolvers that they asked; the table below has the numbers" }
                    @for band in &bands { (band) }
                }
                ul.right aria-label="Resolvers" {
                    @for (way, node) in resolvers.in_order() { li { (place(way)) (numbers(node)) } }
                }
            }
            figcaption {
                span.key.leak { "leaked" } span.key.no-proxy { "all others" }
                @if drawn.len() < flows.len() {
                    " Drawn are " (drawn.len()) " of " (counted(flows.len() as u64, "way", "ways")) ", those with the most leaks."
                }
            }
        }
    }
}

/// The first ways between as many places as can be drawn.
fn drawn(flows: &[Flow]) -> Vec<&Flow> {
    let (mut programs, mut resolvers) = (Vec::new(), Vec::new());
    let mut drawn = Vec::new();
    for flow in flows {
        let is_new_program = !programs.contains(&&flow.program);
        let is_new_resolver = !resolvers.contains(&&flow.way);
        if is_new_program && programs.len() == MAX_NODES
            || is_new_resolver && resolvers.len() == MAX_NODES
            || drawn.len() == MAX_BANDS
        {
            continue;
        }
        if is_new_program {
            programs.push(&flow.program);
        }
        if is_new_resolver {
            resolvers.push(&flow.way);
        }
        drawn.push(flow);
    }
    drawn
}

fn place(way: &Way) -> Markup {
    let mut about = Vec::new();
    if let Some(interface) = &way.interface {
        about.push(format!("through {interface}"));
    }
    if let Some(via) = &way.via {
        about.push(format!("{via} listens"));
    }
    html! {
        span.what { (t(&way.resolver)) }
        @if !about.is_empty() { span.about { (t(&about.join(", "))) } }
    }
}

fn numbers(node: &Node) -> Markup {
    html! {
        @if node.leaks > 0 {
            span.number.bad { span aria-hidden="true" { "▲ " } (node.leaks) " of " (node.queries) " leaked" }
        } @else {
            span.number { (counted(node.queries, "query", "queries")) }
        }
    }
}

/// A band for the leaks of a way, and one for the rest.
fn band(
    flow: &Flow,
    programs: &mut Side<'_, Option<String>>,
    resolvers: &mut Side<'_, Way>,
    thickest: u64,
) -> Markup {
    let leaks = flow.verdicts.leak;
    let parts = [
        ("leak", "leaked", leaks),
        ("no-proxy", "did not leak", flow.verdicts.sum() - leaks),
    ];
    let words = format!(
        "{} to {}",
        crate::report::words::named(flow.program.as_deref()),
        to(&flow.way)
    );
    html! {
        @for (class, did, count) in parts {
            @if count > 0 {
                @let thickness = (count * THICKEST / thickest).max(2);
                @let left = programs.nodes.get_mut(&flow.program).map_or(0, |node| node.take(thickness));
                @let right = resolvers.nodes.get_mut(&flow.way).map_or(0, |node| node.take(thickness));
                path class=(class) d=(shape(left, right, thickness)) {
                    title { (t(&words)) ": " (counted(count, "query", "queries")) " " (did) }
                }
            }
        }
    }
}

/// A band from a height on the left to one on the right.
fn shape(left: u64, right: u64, thickness: u64) -> String {
    let (middle, left_end, right_end) = (WIDTH / 2, left + thickness, right + thickness);
    format!(
        "M0 {left}C{middle} {left} {middle} {right} {WIDTH} {right}V{right_end}\
         C{middle} {right_end} {middle} {left_end} 0 {left_end}Z"
    )
}
