//! What is wrong with a configuration, and where: always one line.

use std::fmt;

use toml::{Spanned, de::DeTable};

/// Most characters of a fault: a file may hold a value of any length.
const LONGEST: usize = 400;

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, the first is 1.
    Line {
        /// The file.
        path: String,
        /// Its line.
        line: usize,
    },
    /// A file as a whole.
    File(String),
    /// A variable of the environment.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { path, line } => write!(f, "{path}, line {line}"),
            Self::File(path) => f.write_str(path),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// What is wrong, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
}

impl Fault {
    /// A fault at a place.
    #[must_use]
    pub fn new(place: Place, what: impl Into<String>) -> Self {
        let mut what = what.into();
        if let Some((end, _)) = what.char_indices().nth(LONGEST) {
            what.truncate(end);
            what.push('…');
        }
        Self { place, what }
    }

    /// Its line, for sorting.
    #[must_use]
    pub fn line(&self) -> usize {
        match self.place {
            Place::Line { line, .. } => line,
            Place::File(_) | Place::Variable(_) => 0,
        }
    }
}

/// A text in TOML, which knows its lines.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    /// What it holds.
    pub text: &'a str,
    /// For messages.
    pub path: &'a str,
}

impl<'a> Document<'a> {
    /// Its outermost table.
    ///
    /// # Errors
    /// When it is no TOML.
    pub fn table(&self) -> Result<Spanned<DeTable<'a>>, Fault> {
        DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            let why = error.message().replace('\n', " ");
            self.fault(at, format!("this is no TOML: {why}"))
        })
    }

    /// Where the byte at this offset is.
    #[must_use]
    pub fn place(&self, at: usize) -> Place {
        let before = self.text.as_bytes().iter().take(at);
        Place::Line {
            path: self.path.to_owned(),
            line: 1 + before.filter(|&&byte| byte == b'\n').count(),
        }
    }

    /// A fault at the byte at this offset.
    #[must_use]
    pub fn fault(&self, at: usize, what: impl Into<String>) -> Fault {
        Fault::new(self.place(at), what)
    }
}

/// The nearest right word, when one is near.
#[must_use]
pub fn near<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    // What is far longer than every word is near to none, and is not worth the comparison.
    if wrong.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|&word| (strsim::damerau_levenshtein(wrong, word), word))
        .min()
        .filter(|&(distance, word)| distance * 2 <= word.len())
        .map(|(_, word)| word)
}

/// The end of a sentence about a wrong word: the nearest right one, or all of them when none is near.
#[must_use]
pub fn nearest(wrong: &str, known: &[&str]) -> String {
    match near(wrong, known) {
        Some(word) => format!(": did you mean `{word}`?"),
        None => format!("; there is {}", known.join(", ")),
    }
}
