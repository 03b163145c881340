//! Options of one letter, joined in a word, as getopt(3) reads them.

use std::slice::Iter;

/// Takes a word of options without its dash apart: the letters without a value, and the one with which they end because it
/// takes a value, which is the rest of the word, or else the next word.
pub fn apart<'a>(
    letters: &'a str,
    takes_value: &str,
    next: &mut Iter<'a, String>,
) -> (&'a str, Option<(char, &'a str)>) {
    let Some((at, letter)) = letters
        .char_indices()
        .find(|(_, letter)| takes_value.contains(*letter))
    else {
        return (letters, None);
    };
    let (flags, rest) = letters.split_at(at);
    let value = match rest.strip_prefix(letter) {
        Some(value) if !value.is_empty() => value,
        _ => next.next().map_or("", String::as_str),
    };
    (flags, Some((letter, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_letters() {
        let next = ["next".to_owned()];
        for (letters, expected) in [
            ("vN", ("vN", None)),
            ("vD1080", ("v", Some(('D', "1080")))),
            ("vD", ("v", Some(('D', "next")))),
            ("DvN", ("", Some(('D', "vN")))),
            ("üD1", ("ü", Some(('D', "1")))),
        ] {
            assert_eq!(apart(letters, "D", &mut next.iter()), expected, "{letters}");
        }
        assert_eq!(apart("D", "D", &mut [].iter()), ("", Some(('D', ""))));
    }
}
