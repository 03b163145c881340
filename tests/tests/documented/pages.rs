//! What the pages for people hold: command lines, blocks of data, links and what they can lead to.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Something on a page, with the number of the line on which it begins.
#[derive(Debug)]
pub struct Found {
    pub line: usize,
    pub text: String,
}

/// A command line.
#[derive(Debug)]
pub struct CommandLine {
    pub line: usize,
    pub text: String,
    /// It stands in a block of its own, so that those above it on the page were typed before.
    pub in_block: bool,
}

/// A fenced block that is no shell's, with its language.
#[derive(Debug)]
pub struct Block {
    pub line: usize,
    pub language: String,
    pub text: String,
}

/// A page.
#[derive(Debug, Default)]
pub struct Page {
    /// From the repository's root.
    pub path: PathBuf,
    pub text: String,
    pub commands: Vec<CommandLine>,
    pub blocks: Vec<Block>,
    /// Targets of links and pictures.
    pub links: Vec<Found>,
    /// What `#…` in a link may name.
    pub anchors: Vec<String>,
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every page of the repository: those in `docs`, and those beside it that are there.
pub fn all() -> Vec<Page> {
    let mut paths: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .expect("there is a folder of pages")
        .map(|entry| Path::new("docs").join(entry.expect("it can be read").file_name()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.sort();
    for name in ["CHANGELOG.md", "CONTRIBUTING.md", "README.md"] {
        if root().join(name).exists() {
            paths.insert(0, name.into());
        }
    }
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(root().join(&path)).expect("a page can be read");
        Self::parse(path, text)
    }

    fn parse(path: PathBuf, text: String) -> Self {
        let mut page = Self {
            path,
            ..Self::default()
        };
        let line = |range: &Range<usize>| 1 + text[..range.start].matches('\n').count();
        let mut block: Option<Block> = None;
        let mut heading: Option<String> = None;
        for (event, range) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    block = Some(Block {
                        // What it holds begins below its fence.
                        line: line(&range) + usize::from(kind.is_fenced()),
                        language: match kind {
                            CodeBlockKind::Fenced(language) => language.to_string(),
                            CodeBlockKind::Indented => String::new(),
                        },
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => {
                    page.keep(block.take().expect("what ends has begun"));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let heading = heading.take().expect("what ends has begun");
                    page.anchors.push(anchor(&heading, &page.anchors));
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(Found {
                        line: line(&range),
                        text: dest_url.to_string(),
                    });
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    if is_command(&code) {
                        page.commands.push(CommandLine {
                            line: line(&range),
                            text: code.to_string(),
                            in_block: false,
                        });
                    }
                }
                _ => {}
            }
        }
        page.text = text;
        page
    }

    fn keep(&mut self, block: Block) {
        let is_script = block.language == "sh";
        let lines = joined(&block.text);
        let commands = lines.iter().filter_map(|(below, line)| {
            let command = match line.strip_prefix("$ ") {
                Some(typed) => typed,
                None if is_script => line,
                None => return None,
            };
            let command = command.trim();
            let is_one = !command.is_empty() && !command.starts_with('#');
            is_one.then(|| CommandLine {
                line: block.line + below,
                text: command.to_owned(),
                in_block: true,
            })
        });
        self.commands.extend(commands);
        self.blocks.push(block);
    }
}

/// Whether a span of code is a command line, perhaps with variables before it.
fn is_command(span: &str) -> bool {
    let mut words = span.split_whitespace().skip_while(|word| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    });
    let first = match words.next() {
        Some("sudo") => words.next(),
        first => first,
    };
    matches!(first, Some("leakmon" | "cargo")) && words.next().is_some()
}

/// The lines with their numbers from 0, those that end in a backslash with the next.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let part = line.strip_suffix('\\');
        match joined.last_mut() {
            Some((_, last)) if goes_on => last.push_str(part.unwrap_or(line).trim_start()),
            _ => joined.push((number, part.unwrap_or(line).to_owned())),
        }
        goes_on = part.is_some();
    }
    joined
}

/// What a code host calls a heading: small letters, digits, `-` and `_`, with `-` for a space; a number for the second one
/// of a name (github.com/gjtorikian/html-pipeline, `toc_filter.rb`).
fn anchor(heading: &str, others: &[String]) -> String {
    let kept = heading
        .to_lowercase()
        .replace(' ', "-")
        .replace(|c: char| !c.is_alphanumeric() && c != '-' && c != '_', "");
    let mut names = std::iter::once(kept.clone()).chain((1..).map(|n| format!("{kept}-{n}")));
    let free = names.find(|name| !others.contains(name));
    free.expect("numbers do not end")
}

#[test]
fn a_page_is_taken_apart() {
    let text = "# `leakmon run`, twice\n\nSee `leakmon\nwatch` and `leakmon`, `A=b sudo leakmon x`, `leakmon-ebpf/ y`.\n\
        ## Two words\n## Two words\n| `cargo a` |\n|---|\n| [a](b.md#c) |\n\n```sh\n# nothing\none \\\n  two\n\n\
        three\n```\n\n```\n$ four\nfour's output\n```\n\n```json\n{}\n```\n";
    let page = Page::parse("page.md".into(), text.to_owned());
    let commands: Vec<_> = page
        .commands
        .iter()
        .map(|c| (c.line, c.text.as_str(), c.in_block))
        .collect();
    let expected = [
        (1, "leakmon run", false),
        (3, "leakmon watch", false),
        (4, "A=b sudo leakmon x", false),
        (7, "cargo a", false),
        (13, "one two", true),
        (16, "three", true),
        (20, "four", true),
    ];
    assert_eq!(commands, expected);
    assert_eq!(
        page.anchors,
        ["leakmon-run-twice", "two-words", "two-words-1"]
    );
    assert_eq!(
        (page.links[0].line, page.links[0].text.as_str()),
        (9, "b.md#c")
    );
    let json = page.blocks.iter().find(|block| block.language == "json");
    assert_eq!(
        json.map(|block| (block.line, block.text.as_str())),
        Some((25, "{}\n"))
    );
}
