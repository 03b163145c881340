//! Preference files: prefs.js, user.js, and those that come with the program.

use super::lexer::{Grammar, Lexer, Token};

/// What a preference is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i32),
    /// Anything else.
    Text(String),
}

impl Value {
    /// Whether the other one is of the same type. Firefox drops a user's value of another type than the default's
    /// (modules/libpref/Preferences.cpp, `Pref::SetUserValue`).
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Text(value) => write!(f, "\"{value}\""),
        }
    }
}

/// Whose values a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// prefs.js and user.js.
    User,
    /// The program's own and the distribution's.
    Default,
}

/// One line of a preference file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The preference.
    pub name: String,
    /// What it is set to.
    pub value: Value,
    /// It sets the user's value.
    pub is_users: bool,
    /// Users cannot change it.
    pub is_locked: bool,
}

/// Reads a preference file by Firefox's grammar (modules/libpref/parser/src/lib.rs): after a mistake it goes on behind the
/// next semicolon. Only preferences that are wanted are kept.
pub fn parse(bytes: &[u8], kind: Kind, is_wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
    let mut tokens = Lexer::new(bytes, Grammar::Preferences);
    let mut entries = Vec::new();
    while let Some(first) = tokens.next() {
        let mut last = first;
        match entry(&mut last, &mut tokens, kind) {
            Some(entry) if is_wanted(&entry.name) => entries.push(entry),
            Some(_) => {}
            None => {
                if last != Token::Mark(b';') {
                    tokens.by_ref().find(|token| *token == Token::Mark(b';'));
                }
            }
        }
    }
    entries
}

/// Reads one entry; on a mistake `last` is the token that makes no sense.
fn entry(last: &mut Token, tokens: &mut Lexer<'_>, kind: Kind) -> Option<Entry> {
    let is_users = match last {
        Token::Word(word) if word == "user_pref" => true,
        Token::Word(word) if kind == Kind::Default && (word == "pref" || word == "sticky_pref") => {
            false
        }
        _ => return None,
    };
    let mut next = || {
        *last = tokens.next().unwrap_or(Token::Bad);
        last.clone()
    };
    (next() == Token::Mark(b'(')).then_some(())?;
    let Token::Text(name) = next() else {
        return None;
    };
    (next() == Token::Mark(b',')).then_some(())?;
    let value = match next() {
        Token::Text(text) => Value::Text(text),
        Token::Word(word) if word == "true" => Value::Bool(true),
        Token::Word(word) if word == "false" => Value::Bool(false),
        Token::Number(number) => Value::Int(i32::try_from(number).ok()?),
        Token::Mark(sign @ (b'+' | b'-')) => {
            let Token::Number(number) = next() else {
                return None;
            };
            let number = if sign == b'-' { -number } else { number };
            Value::Int(i32::try_from(number).ok()?)
        }
        _ => return None,
    };
    let mut is_locked = false;
    loop {
        match next() {
            Token::Mark(b')') => break,
            Token::Mark(b',') if kind == Kind::Default => match next() {
                Token::Word(word) if word == "locked" => is_locked = true,
                Token::Word(word) if word == "sticky" => {}
                _ => return None,
            },
            _ => return None,
        }
    }
    (next() == Token::Mark(b';')).then_some(())?;
    Some(Entry {
        name,
        value,
        is_users,
        is_locked,
    })
}
