//! The tokens of a script, as far as its string literals need them: what is in a comment or a regular expression is none.
//!
//! A parser for the whole language would descend into hostile nesting; this goes over the text once.

/// A token of ECMAScript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or a keyword.
    Word(String),
    /// A string literal, without quotes and escapes.
    Text(String),
    /// A part of a template literal that has expressions in it.
    Piece(String),
    /// A number or a regular expression.
    Other,
    /// Any other character that is no space.
    Sign(char),
}

/// Most tokens of a script that are read.
const MAX_TOKENS: usize = 1_000_000;

/// The tokens of a script, and whether all of it could be read.
pub(super) fn tokens(script: &str) -> (Vec<Token>, bool) {
    let mut lexer = Lexer {
        rest: script.strip_prefix('\u{feff}').unwrap_or(script),
        tokens: Vec::new(),
        templates: Vec::new(),
        braces: 0,
        is_whole: true,
    };
    while lexer.step() {}
    let is_whole = lexer.is_whole && lexer.templates.is_empty();
    (lexer.tokens, is_whole)
}

struct Lexer<'a> {
    rest: &'a str,
    tokens: Vec<Token>,
    /// How many braces were open where each template literal that is not over yet began an expression.
    templates: Vec<usize>,
    braces: usize,
    is_whole: bool,
}

impl Lexer<'_> {
    fn step(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        let Some(next) = self.rest.chars().next() else {
            return false;
        };
        if self.tokens.len() >= MAX_TOKENS {
            self.is_whole = false;
            return false;
        }
        // The second is a comment in scripts too (ECMAScript, annex B.1.1).
        if self.rest.starts_with("//") || self.rest.starts_with("<!--") {
            self.skip_to(is_line_end);
        } else if let Some(comment) = self.rest.strip_prefix("/*") {
            match comment.split_once("*/") {
                Some((_, after)) => self.rest = after,
                None => self.stop(),
            }
        } else if next == '"' || next == '\'' {
            self.skip(1);
            self.text(next);
        } else if next == '`' {
            self.skip(1);
            self.template(true);
        } else if next == '/' && self.expects_a_value() {
            self.regular_expression();
        } else if is_word(next) {
            let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
            let word = self.rest.get(..end).unwrap_or_default().to_owned();
            self.skip(end);
            self.tokens.push(if next.is_ascii_digit() {
                Token::Other
            } else {
                Token::Word(word)
            });
        } else {
            self.skip(next.len_utf8());
            self.sign(next);
        }
        true
    }

    fn sign(&mut self, sign: char) {
        match sign {
            '{' => self.braces += 1,
            '}' if self.templates.last() == Some(&self.braces) => {
                self.templates.pop();
                self.template(false);
                return;
            }
            '}' => self.braces = self.braces.saturating_sub(1),
            _ => {}
        }
        self.tokens.push(Token::Sign(sign));
    }

    /// Whether a slash here begins a regular expression, and does not divide. After `)` and `}` it may do either; that
    /// it divides is taken for granted, which at worst takes an expression's text for tokens.
    fn expects_a_value(&self) -> bool {
        match self.tokens.last() {
            None => true,
            Some(Token::Sign(sign)) => !")]}".contains(*sign),
            Some(Token::Word(word)) => [
                "return",
                "typeof",
                "case",
                "in",
                "of",
                "delete",
                "void",
                "throw",
                "new",
                "instanceof",
                "do",
                "else",
            ]
            .contains(&word.as_str()),
            Some(Token::Text(_) | Token::Piece(_) | Token::Other) => false,
        }
    }

    /// A literal up to its closing quote.
    fn text(&mut self, quote: char) {
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                c if c == quote => {
                    self.tokens.push(Token::Text(text));
                    return;
                }
                '\\' => self.escape(&mut text),
                '\n' | '\r' => break,
                c => text.push(c),
            }
        }
        // It does not end where it should: no engine runs this, or it was read wrongly.
        self.is_whole = false;
        self.tokens.push(Token::Other);
    }

    /// A template literal up to its end or its next expression.
    fn template(&mut self, is_start: bool) {
        let mut text = String::new();
        while let Some(c) = self.next() {
            match c {
                '`' => {
                    self.tokens.push(if is_start {
                        Token::Text(text)
                    } else {
                        Token::Piece(text)
                    });
                    return;
                }
                '\\' => self.escape(&mut text),
                '$' if self.rest.starts_with('{') => {
                    self.skip(1);
                    self.templates.push(self.braces);
                    self.tokens.push(Token::Piece(text));
                    return;
                }
                c => text.push(c),
            }
        }
        self.is_whole = false;
    }

    /// What follows a backslash (ECMAScript, section 12.9.4); an escape that is none stands for its character.
    fn escape(&mut self, text: &mut String) {
        let Some(c) = self.next() else { return };
        let code = match c {
            'n' => Some(0x0a),
            't' => Some(0x09),
            'r' => Some(0x0d),
            'b' => Some(0x08),
            'f' => Some(0x0c),
            'v' => Some(0x0b),
            '0' => Some(0),
            'x' => self.hexadecimal(2),
            'u' => match self.rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
                Some((digits, after)) => {
                    let code = u32::from_str_radix(digits, 16).ok();
                    if code.is_some() {
                        self.rest = after;
                    }
                    code
                }
                None => self.hexadecimal(4),
            },
            '\r' => {
                self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
                return;
            }
            '\n' => return,
            _ => None,
        };
        text.push(code.map_or(c, |code| {
            char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
        }));
    }

    fn hexadecimal(&mut self, digits: usize) -> Option<u32> {
        let code = u32::from_str_radix(self.rest.get(..digits)?, 16).ok()?;
        self.skip(digits);
        Some(code)
    }

    fn regular_expression(&mut self) {
        self.skip(1);
        let mut in_class = false;
        while let Some(c) = self.next() {
            match c {
                '\\' => {
                    self.next();
                }
                '[' => in_class = true,
                ']' => in_class = false,
                '/' if !in_class => {
                    self.skip_to(|c| !is_word(c));
                    self.tokens.push(Token::Other);
                    return;
                }
                '\n' | '\r' => break,
                _ => {}
            }
        }
        self.is_whole = false;
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.skip(c.len_utf8());
        Some(c)
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn skip_to(&mut self, is_end: impl Fn(char) -> bool) {
        self.skip(self.rest.find(is_end).unwrap_or(self.rest.len()));
    }

    fn stop(&mut self) {
        self.is_whole = false;
        self.rest = "";
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(script: &str) -> Vec<String> {
        let found = tokens(script).0.into_iter();
        found
            .filter_map(|token| match token {
                Token::Text(text) => Some(text),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn literals() {
        for (script, expected) in [
            (r#"a = "b" + 'c'"#, &["b", "c"][..]),
            (
                r#"// "no"
               "yes" /* "no" */ <!-- "no"#,
                &["yes"],
            ),
            (r#"/"/.test(x) ? "y" : 'n'"#, &["y", "n"]),
            (r#"1 / 2 + "a" / 3"#, &["a"]),
            (r#"return /[/"]/g, "a""#, &["a"]),
            (
                r#""\x53\u004f\u{43}KS\n\'\
!""#,
                &["SOCKS\n'!"],
            ),
            (r"`plain`", &["plain"]),
            (r"`SOCKS ${ {a: `x ${1}`}, 'y' } z` + 'w'", &["y", "w"]),
            (r#""\u{110000}\ud800""#, &["\u{fffd}\u{fffd}"]),
        ] {
            assert_eq!(texts(script), expected, "{script}");
            assert!(tokens(script).1, "{script}");
        }
    }

    #[test]
    fn what_does_not_end_is_noticed() {
        for script in [
            "'a", "\"a\nb\"", "`a", "`${", "/* a", "a = /b", "'\\", "\"\\u{", "'\\x",
        ] {
            assert!(!tokens(script).1, "{script}");
        }
    }

    #[test]
    fn nesting_is_harmless() {
        for deep in ["{", "(", "`${", "/*", "'", "\\", "${"] {
            tokens(&deep.repeat(1_000_000));
        }
    }
}
