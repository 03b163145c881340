//! The output contract: one JSON object a line.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use super::Sink;
use crate::{
    model::{CONTRACT, Report},
    time::Timestamp,
};

/// Writes reports as JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    #[serde(flatten)]
    report: &'a Report,
}

impl<'a> Line<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            v: CONTRACT,
            report,
        }
    }
}

/// The object that a report is written as.
///
/// # Errors
/// Never for what leakmon reports: every key of it is text.
pub fn value(report: &Report) -> serde_json::Result<serde_json::Value> {
    serde_json::to_value(Line::of(report))
}

/// Writes one line.
///
/// # Errors
/// When it cannot be written.
pub fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *out, Ascii,
    ))?;
    out.write_all(b"\n")
}

impl<W: Write> Json<W> {
    /// A sink that writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> Sink for Json<W> {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        write_line(&mut self.out, &Line::of(report))
    }

    fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Writes every character outside printable ASCII by its number, as JSON allows: JSON lines reach terminals too.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // The serializer has escaped control characters itself, so this is what is left; nearly always nothing.
        if fragment.is_ascii() && !fragment.as_bytes().contains(&0x7f) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut plain = 0;
        for (index, c) in fragment.char_indices() {
            if matches!(c, ' '..='~') {
                continue;
            }
            writer.write_all(&fragment.as_bytes()[plain..index])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = index + c.len_utf8();
        }
        CompactFormatter.write_string_fragment(writer, &fragment[plain..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Loss;

    #[test]
    fn a_line_is_ascii_and_comes_back_unchanged() {
        let place = "a\x1b\u{7f}\u{9b}\u{202e}😀ü\"\\";
        let mut json = Json::new(Vec::new());
        json.report(&Report::Loss(Loss {
            ts: Timestamp(0),
            events: 1,
            queries: 0,
            since: Timestamp(0),
            place: place.into(),
        }))
        .unwrap();
        let text = String::from_utf8(json.out).unwrap();
        assert!(
            text.trim_end_matches('\n')
                .chars()
                .all(|c| matches!(c, ' '..='~')),
            "{text}"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["where"], place);
        assert_eq!((&value["v"], &value["type"]), (&1.into(), &"loss".into()));
    }
}
