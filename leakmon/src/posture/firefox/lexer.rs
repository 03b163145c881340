//! Words, strings and numbers of preference files and AutoConfig scripts.

/// One word of such a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    /// A name or keyword.
    Word(String),
    /// A string without its quotes.
    Text(String),
    /// A whole number without its sign.
    Number(i64),
    /// Any other character.
    Mark(u8),
    /// A string with a wrong escape or without an end, or a number that is none.
    Bad,
}

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grammar {
    /// Preference files (modules/libpref/parser/src/lib.rs): `#` begins a comment, NUL ends the file, few escapes.
    Preferences,
    /// JavaScript, as far as literals go.
    Script,
}

/// Reads tokens one by one.
#[derive(Debug)]
pub struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    grammar: Grammar,
}

impl<'a> Lexer<'a> {
    /// A lexer for the whole of a file.
    pub fn new(bytes: &'a [u8], grammar: Grammar) -> Self {
        // A mark of the byte order is passed over (Parser::new).
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Self {
            bytes,
            at: 0,
            grammar,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn take_while(&mut self, is_wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|&byte| !is_wanted(byte))
            .unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn skip_block_comment(&mut self) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.windows(2).position(|pair| pair == b"*/");
        self.at += end.map_or(rest.len(), |end| end + 2);
    }

    fn string(&mut self, quote: u8) -> Token {
        let mut bytes = Vec::new();
        let mut is_bad = false;
        loop {
            match self.take() {
                None => return Token::Bad,
                Some(0) if self.grammar == Grammar::Preferences => {
                    self.at = self.bytes.len();
                    return Token::Bad;
                }
                Some(byte) if byte == quote => break,
                Some(b'\\') => is_bad |= self.escape(&mut bytes).is_none(),
                Some(byte) => bytes.push(byte),
            }
        }
        if is_bad {
            Token::Bad
        } else {
            Token::Text(String::from_utf8_lossy(&bytes).into_owned())
        }
    }

    fn escape(&mut self, bytes: &mut Vec<u8>) -> Option<()> {
        let is_script = self.grammar == Grammar::Script;
        match self.take()? {
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b'x' => {
                let value = u8::try_from(self.hex(2)?).ok().filter(|&byte| byte != 0)?;
                if is_script {
                    push(bytes, char::from(value));
                } else {
                    // A raw byte, not a character.
                    bytes.push(value);
                }
            }
            b'u' => {
                let high = self.hex(4)?;
                let value = if (0xd800..0xdc00).contains(&high) {
                    // The other half of a character beyond the first 65536.
                    (self.take()? == b'\\' && self.take()? == b'u').then_some(())?;
                    let low = self
                        .hex(4)?
                        .checked_sub(0xdc00)
                        .filter(|&low| low < 0x400)?;
                    0x1_0000 + ((high - 0xd800) << 10) + low
                } else {
                    high
                };
                push(bytes, char::from_u32(value).filter(|&c| c != '\0')?);
            }
            b't' if is_script => bytes.push(b'\t'),
            b'\n' if is_script => {}
            byte @ (b'"' | b'\'' | b'\\') => bytes.push(byte),
            byte if is_script && !byte.is_ascii_alphanumeric() => bytes.push(byte),
            _ => return None,
        }
        Some(())
    }

    fn hex(&mut self, digits: usize) -> Option<u32> {
        let text = self.bytes.get(self.at..self.at.checked_add(digits)?)?;
        if !text.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        self.at += digits;
        u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()
    }

    fn number(&mut self) -> Token {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let tail = self.take_while(is_of_word);
        if !tail.is_empty() || self.grammar == Grammar::Script && self.peek() == Some(b'.') {
            return Token::Bad;
        }
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .map_or(Token::Bad, Token::Number)
    }
}

impl Iterator for Lexer<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        loop {
            let byte = self.peek()?;
            match byte {
                0 if self.grammar == Grammar::Preferences => {
                    self.at = self.bytes.len();
                    return None;
                }
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'#' if self.grammar == Grammar::Preferences => {
                    self.take_while(|byte| byte != b'\n' && byte != b'\r');
                }
                b'/' => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'/') => {
                            self.take_while(|byte| byte != b'\n' && byte != b'\r');
                        }
                        Some(b'*') => {
                            self.at += 1;
                            self.skip_block_comment();
                        }
                        _ => return Some(Token::Mark(b'/')),
                    }
                }
                b'"' | b'\'' => {
                    self.at += 1;
                    return Some(self.string(byte));
                }
                b'0'..=b'9' => return Some(self.number()),
                byte if is_of_word(byte) => {
                    let word = self.take_while(is_of_word);
                    return Some(Token::Word(String::from_utf8_lossy(word).into_owned()));
                }
                byte => {
                    self.at += 1;
                    return Some(Token::Mark(byte));
                }
            }
        }
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$'
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}
