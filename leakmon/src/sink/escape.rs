//! Text from the wire and from /proc is made harmless before it reaches a terminal.

use std::{borrow::Cow, fmt::Write as _};

/// The text with everything that a terminal may act on, or that hides or reorders other text, written out as
/// `\u{…}`: control characters, and characters of Unicode's format category.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_harmful(c) {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Control characters (C0, DEL, C1), line and paragraph separators, and the format characters that reorder, join or
/// hide (Unicode Standard chapters 23.1, 23.2 and 23.9).
#[must_use]
pub fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xad | 0x61c
                | 0x180e
                | 0x200b..=0x200f
                | 0x2028..=0x202e
                | 0x2060..=0x206f
                | 0xfe00..=0xfe0f
                | 0xfeff
                | 0xfff9..=0xfffb
                | 0xe0000..=0xe0fff
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_acts_on_is_written_out() {
        assert_eq!(printable("page.example"), "page.example");
        assert_eq!(
            printable("a\x1b[31m\nb\u{9b}c"),
            r"a\u{1b}[31m\u{a}b\u{9b}c"
        );
        assert_eq!(printable("gpj\u{202e}exe"), r"gpj\u{202e}exe");
        assert_eq!(printable("müller"), "müller");
    }
}
