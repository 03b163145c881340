//! `cargo xtask picture`: the README's picture, made of the screen of a real run.
//!
//! The lab's example `demo` runs Chromium over tor's SOCKS4 port under `leakmon watch` on a terminal, and prints that
//! terminal's screen. Each cell has its place in the picture, whatever the widths of the reader's fonts are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::num::NonZeroU16;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use vt100::{Cell, Color, Parser, Screen};

use crate::{environment, lab, process, repo};

/// Make docs/leakmon.svg of a real run.
#[derive(clap::Args)]
pub struct Args {
    /// Write nothing: compare the words of the picture that is there with those of a new run
    #[arg(long)]
    check: bool,
}

/// The picture, from the repository's root.
const PICTURE: &str = "docs/leakmon.svg";

/// What stands on the window's frame, and is the picture's name.
const TITLE: &str = "sudo leakmon watch";

/// As wide as the example's terminal.
const COLUMNS: NonZeroU16 = NonZeroU16::new(100).unwrap();

/// Size of a cell. The fonts below are 0.6 times as wide as high, and `textLength` moves every other to these places.
const CELL: (f32, f32) = (8.4, 18.0);
const FONT: &str = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace";
/// Room around the screen, and above it for the frame's title.
const MARGIN: f32 = 14.0;
const FRAME: f32 = 32.0;

/// The default colours; the window has its own ground, so that it can be read on a light page and on a dark one.
const TEXT: &str = "#d8dee9";
const GROUND: &str = "#14181f";
/// The sixteen colours of a terminal: black, red, green, yellow, blue, magenta, cyan, white, and their brighter ones.
const PALETTE: [&str; 16] = [
    "#3b4252", "#ff6b6b", "#8fd672", "#f0c35e", "#74a8f7", "#d596e8", "#62d3e3", "#d8dee9",
    "#5c6678", "#ff8f8f", "#a9e58f", "#f7d88a", "#97c0ff", "#e4b4f2", "#8be3f0", "#f4f6fa",
];

/// Runs the subcommand.
pub fn run(args: &Args) -> Result<ExitCode> {
    let picture = draw(&screen(&take()?)?);
    let path = repo::root().join(PICTURE);
    if !args.check {
        fs::write(&path, picture).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let there =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let (old, new) = (words(&there), words(&picture));
    if old == new {
        println!("{PICTURE} says what leakmon says");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{PICTURE} is not what leakmon shows: run `cargo xtask picture`\nnot shown any more: {}\nnew: {}",
        beyond(&old, &new),
        beyond(&new, &old)
    );
    Ok(ExitCode::FAILURE)
}

/// The words that are oftener in the one than in the other.
fn beyond(one: &BTreeMap<String, usize>, other: &BTreeMap<String, usize>) -> String {
    let more = one
        .iter()
        .filter(|(word, count)| other.get(*word).is_none_or(|there| there < count));
    more.map(|(word, _)| word.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs the example and gives what it prints.
fn take() -> Result<String> {
    let mut cargo = environment::cargo();
    cargo.args([
        "build",
        "--package",
        lab::PACKAGE,
        "--example",
        "demo",
        "--package",
        "leakmon",
    ]);
    process::run(&mut cargo)?;
    let built = repo::target_dir()?.join("debug");
    let leakmon = format!("LEAKMON_BIN={}", built.join("leakmon").display());
    let mut demo = process::as_root("env", &[], "run the lab")?;
    demo.arg(leakmon)
        .arg(built.join("examples/demo"))
        .arg("--view");
    process::output(&mut demo)
}

/// The screen whose lines these are, without what is empty below.
fn screen(lines: &str) -> Result<Screen> {
    let rows = NonZeroU16::try_from(u16::try_from(lines.lines().count())?)
        .context("there is no screen")?;
    let mut parser = Parser::new(rows, COLUMNS, 0);
    parser.process(
        lines
            .trim_end_matches('\n')
            .replace('\n', "\r\n")
            .as_bytes(),
    );
    let screen = parser.screen().clone();
    ensure!(!screen.contents().trim().is_empty(), "the screen is empty");
    Ok(screen)
}

/// The words of a picture that do not differ from run to run, and how often they are there: without numbers, times, units
/// and bars.
fn words(picture: &str) -> BTreeMap<String, usize> {
    let texts = picture.lines().filter(|line| line.starts_with("<text"));
    let shown = texts.filter_map(|line| line.split(['<', '>']).nth(2));
    let mut words = BTreeMap::new();
    for text in shown.map(|text| text.replace("&amp;", "&")) {
        let all = text.split(|c: char| !c.is_alphabetic());
        for word in all.filter(|word| word.chars().count() > 2 && !VARYING.contains(word)) {
            *words.entry(word.to_owned()).or_default() += 1;
        }
    }
    words
}

/// The first line's word for what leakmon says when it starts, which is of the machine.
const VARYING: [&str; 2] = ["note", "notes"];

/// How a cell is drawn.
#[derive(Clone, Debug, PartialEq)]
struct Look {
    text: &'static str,
    ground: Option<&'static str>,
    bold: bool,
    dim: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        let text = color(cell.fgcolor());
        let ground = color(cell.bgcolor());
        let (text, ground) = if cell.inverse() {
            (Some(ground.unwrap_or(GROUND)), Some(text.unwrap_or(TEXT)))
        } else {
            (text, ground)
        };
        Self {
            text: text.unwrap_or(TEXT),
            ground,
            bold: cell.bold(),
            dim: cell.dim(),
        }
    }

    fn attributes(&self) -> String {
        let mut attributes = format!(r#"fill="{}""#, self.text);
        if self.bold {
            attributes.push_str(r#" font-weight="bold""#);
        }
        if self.dim {
            attributes.push_str(r#" opacity="0.65""#);
        }
        attributes
    }
}

/// leakmon uses the terminal's own sixteen colours and no others.
fn color(color: Color) -> Option<&'static str> {
    match color {
        Color::Idx(number) => PALETTE.get(usize::from(number)).copied(),
        Color::Default | Color::Rgb(..) => None,
    }
}

/// What is drawn in one piece: a text, or a character that has to fill its cells without a gap.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Text,
    /// A line across, so many units high.
    Line(f32),
    /// A bar from below, in parts of the cell's height.
    Bar(f32),
}

fn shape(text: &str) -> Shape {
    match text.chars().next() {
        Some('─') => Shape::Line(1.0),
        Some('━') => Shape::Line(2.5),
        // U+2581 to U+2588: one to eight eighths.
        Some(bar @ '▁'..='█') => Shape::Bar((u32::from(bar) - 0x2580) as f32 / 8.0),
        _ => Shape::Text,
    }
}

/// Cells of a row that are drawn in one piece.
#[derive(Debug)]
struct Run {
    column: u16,
    cells: u16,
    look: Look,
    shape: Shape,
    text: String,
}

/// The pieces of a row. A gap of two spaces ends one, so that columns stay columns.
fn runs(screen: &Screen, row: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..screen.size().1.get() {
        let Some(cell) = screen
            .cell(row, column)
            .filter(|cell| !cell.is_wide_continuation())
        else {
            continue;
        };
        let text = if cell.has_contents() {
            cell.contents()
        } else {
            " "
        };
        let (look, shape) = (Look::of(cell), shape(text));
        let cells = 1 + u16::from(cell.is_wide());
        match runs.last_mut() {
            Some(run)
                if run.look == look
                    && run.shape == shape
                    && !(run.text.ends_with("  ") && text != " ")
                    // A glyph from another font takes its own place.
                    && (run.shape != Shape::Text || (text.is_ascii() && run.text.is_ascii())) =>
            {
                run.cells += cells;
                run.text.push_str(text);
            }
            _ => runs.push(Run {
                column,
                cells,
                look,
                shape,
                text: text.to_owned(),
            }),
        }
    }
    runs
}

/// The picture: one element a line. What has edges across the cells has none that are blurred: where two met, a seam
/// would show.
fn draw(screen: &Screen) -> String {
    let rows = screen.size().0.get();
    let width = f32::from(COLUMNS.get()) * CELL.0 + 2.0 * MARGIN;
    let height = f32::from(rows) * CELL.1 + FRAME + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" shape-rendering=\"crispEdges\" viewBox=\"0 0 {width:.1} {height:.1}\" width=\"{width:.1}\" \
         height=\"{height:.1}\">\n<title>{TITLE}: Chromium resolved page.example itself, past its proxy</title>\n\
         <style>text {{ font-family: {FONT}; font-size: 14px; white-space: pre }}</style>\n\
         <g shape-rendering=\"auto\">\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{:.1}\" height=\"{:.1}\" rx=\"8\" fill=\"{GROUND}\" stroke=\"#4c566a\"/>\n",
        width - 1.0,
        height - 1.0
    );
    for (number, light) in ["#ff6b6b", "#f0c35e", "#8fd672"].iter().enumerate() {
        let x = MARGIN + 6.0 + 20.0 * number as f32;
        put(
            &mut svg,
            format_args!(r#"<circle cx="{x}" cy="16" r="6" fill="{light}"/>"#),
        );
    }
    svg.push_str("</g>\n");
    put(
        &mut svg,
        format_args!(
            r##"<text x="{:.1}" y="21" text-anchor="middle" fill="#8b95a7">{TITLE}</text>"##,
            width / 2.0
        ),
    );
    for row in 0..rows {
        for run in runs(screen, row) {
            draw_run(&mut svg, row, &run);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_run(svg: &mut String, row: u16, run: &Run) {
    let (x, y) = (
        MARGIN + f32::from(run.column) * CELL.0,
        FRAME + f32::from(row) * CELL.1,
    );
    let width = f32::from(run.cells) * CELL.0;
    let look = run.look.attributes();
    if let Some(ground) = run.look.ground {
        put(
            svg,
            format_args!(
                r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{:.1}" fill="{ground}"/>"#,
                CELL.1
            ),
        );
    }
    let (top, high) = match run.shape {
        Shape::Line(high) => ((CELL.1 - high) / 2.0, high),
        Shape::Bar(part) => (CELL.1 * (1.0 - part), CELL.1 * part),
        Shape::Text => {
            let text = run.text.trim_end();
            let begin = text.len() - text.trim_start().len();
            let text = &text[begin..];
            if !text.is_empty() {
                // Spaces are one byte and one cell each; a text of several characters has ASCII alone.
                let cells = if text.is_ascii() {
                    text.len()
                } else {
                    usize::from(run.cells)
                };
                put(
                    svg,
                    format_args!(
                        r#"<text x="{:.1}" y="{:.1}" textLength="{:.1}" {look}>{}</text>"#,
                        x + begin as f32 * CELL.0,
                        y + 13.5,
                        cells as f32 * CELL.0,
                        escaped(text)
                    ),
                );
            }
            return;
        }
    };
    put(
        svg,
        format_args!(
            r#"<rect x="{x:.1}" y="{:.1}" width="{width:.1}" height="{high:.1}" {look}/>"#,
            y + top
        ),
    );
}

fn put(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a string takes all");
}

/// As text of XML (XML 1.0 section 2.4).
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_place() {
        let screen = screen("\x1b[1;31mLEAK\x1b[0m  a<b & c\n\x1b[7m▸ x\x1b[0m━━█\n").unwrap();
        let svg = draw(&screen);
        let text = |x: f32, row: f32, cells: f32, rest: &str| {
            let (x, y, wide) = (
                MARGIN + x * CELL.0,
                FRAME + row * CELL.1 + 13.5,
                cells * CELL.0,
            );
            format!("<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{wide:.1}\" {rest}\n")
        };
        for element in [
            text(
                0.0,
                0.0,
                4.0,
                "fill=\"#ff6b6b\" font-weight=\"bold\">LEAK</text>",
            ),
            text(6.0, 0.0, 7.0, "fill=\"#d8dee9\">a&lt;b &amp; c</text>"),
            text(0.0, 1.0, 1.0, "fill=\"#14181f\">▸</text>"),
            text(2.0, 1.0, 1.0, "fill=\"#14181f\">x</text>"),
        ] {
            assert!(svg.contains(&element), "{element}{svg}");
        }
        // The frame's, two of the selected row, a line of two cells, and a bar.
        assert_eq!(svg.matches("<rect").count(), 5, "{svg}");
        let shown = ["LEAK", "leakmon", "sudo", "watch"].map(str::to_owned);
        assert_eq!(words(&svg), BTreeMap::from(shown.map(|word| (word, 1))));
    }
}
