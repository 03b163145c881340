//! AutoConfig: a script of the administrator's that sets preferences at every start.
//!
//! Where it is and when it runs is extensions/pref/autoconfig/src/nsReadConfig.cpp, what its functions do
//! extensions/pref/autoconfig/src/prefcalls.js. It is JavaScript: calls with plain values are understood, and of what
//! only a run of the script would show it is said that it is not known.

use super::{
    lexer::{Grammar, Lexer, Token},
    prefs::Value,
    store::{Setting, Store, is_wanted},
};

/// The kind of place.
pub const SOURCE: &str = "autoconfig";

/// What `general.config.obscure_value` is when nobody sets it (nsReadConfig.cpp).
pub const OBSCURED_BY: i32 = 13;

/// Most words of a script that are looked at; long ones have some thousand.
const MAX_TOKENS: usize = 200_000;

/// Stands for preferences whose names are worked out.
pub const ANY: &str = "network.proxy.*";

/// One call of a function that deals with a preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub function: Function,
    /// The preference.
    pub name: String,
    /// The second argument.
    pub value: Option<Value>,
}

/// The functions that deal with preferences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Sets the user's value.
    Pref,
    /// Sets the default.
    DefaultPref,
    /// Sets the default, and makes it count.
    LockPref,
    /// Lets the user's value count.
    UnlockPref,
    /// Takes the user's value away.
    ClearPref,
}

impl Function {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "pref" => Self::Pref,
            "defaultPref" => Self::DefaultPref,
            "lockPref" => Self::LockPref,
            "unlockPref" => Self::UnlockPref,
            "clearPref" => Self::ClearPref,
            _ => return None,
        })
    }

    fn takes_value(self) -> bool {
        matches!(self, Self::Pref | Self::DefaultPref | Self::LockPref)
    }
}

/// What a script does, as far as it can be told without running it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Calls that are made for sure, in order.
    pub calls: Vec<Call>,
    /// Preferences that count here and that it may set or not, or to a value that is worked out.
    pub unclear: Vec<String>,
}

/// Takes the disguise away: each byte was moved on by so much.
pub fn unobscured(mut bytes: Vec<u8>, by: i32) -> Vec<u8> {
    if by > 0 {
        let by = u8::try_from(by % 256).unwrap_or_default();
        for byte in &mut bytes {
            *byte = byte.wrapping_sub(by);
        }
    }
    bytes
}

/// Reads a script; its first line is passed over.
pub fn parse(bytes: &[u8]) -> Script {
    let start = bytes.iter().position(|&byte| byte == b'\n');
    let bytes = start
        .and_then(|start| bytes.get(start..))
        .unwrap_or_default();
    let mut reader = Reader {
        tokens: Lexer::new(bytes, Grammar::Script)
            .take(MAX_TOKENS)
            .collect(),
        at: 0,
        script: Script::default(),
    };
    reader.read();
    if reader.tokens.len() == MAX_TOKENS {
        reader.script.unclear.push(ANY.to_owned());
    }
    reader.script
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    script: Script,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn is_mark(&self, ahead: usize, mark: u8) -> bool {
        self.peek(ahead) == Some(&Token::Mark(mark))
    }

    fn read(&mut self) {
        // What is inside braces runs under a condition, later or never, but for `try`.
        let mut blocks: Vec<bool> = Vec::new();
        // `if (…) call;` is under a condition without braces.
        let mut is_conditional = false;
        let mut after_try = false;
        while let Some(token) = self.peek(0).cloned() {
            self.at += 1;
            match token {
                Token::Mark(b'{') => {
                    blocks.push(after_try);
                    after_try = false;
                    is_conditional = false;
                }
                Token::Mark(b'}') => {
                    blocks.pop();
                    is_conditional = false;
                }
                Token::Mark(b';') => is_conditional = false,
                Token::Word(word) => {
                    after_try = word == "try";
                    if let Some(function) = Function::of(&word).filter(|_| self.is_mark(0, b'(')) {
                        let is_sure = !is_conditional && blocks.iter().all(|&is_try| is_try);
                        self.call(function, is_sure);
                        self.skip_arguments();
                    } else if !after_try {
                        // A statement of another kind: what it calls is not sure up to its end.
                        is_conditional = true;
                    }
                }
                Token::Mark(b'(' | b')') => {}
                _ => is_conditional = true,
            }
        }
    }

    /// Goes on behind the closing parenthesis: a line that ends there needs no semicolon.
    fn skip_arguments(&mut self) {
        let mut depth = 0usize;
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Mark(b'(') => depth += 1,
                Token::Mark(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                break;
            }
        }
    }

    /// A call, from its opening parenthesis on.
    fn call(&mut self, function: Function, is_sure: bool) {
        let name = match (self.peek(1), self.peek(2)) {
            (Some(Token::Text(name)), Some(Token::Mark(b',' | b')'))) => name.clone(),
            // The name is worked out: it may be any.
            _ => {
                self.script.unclear.push(ANY.to_owned());
                return;
            }
        };
        if !is_wanted(&name) {
            return;
        }
        let value = self.value();
        let is_complete = value.is_some() || !function.takes_value();
        if is_sure && is_complete {
            self.script.calls.push(Call {
                function,
                name,
                value,
            });
        } else {
            self.script.unclear.push(name);
        }
    }

    /// The second argument, when it is a plain value and the last.
    fn value(&self) -> Option<Value> {
        if !self.is_mark(2, b',') {
            return None;
        }
        let (value, length) = match (self.peek(3)?, self.peek(4)) {
            (Token::Text(text), _) => (Value::Text(text.clone()), 1),
            (Token::Word(word), _) if word == "true" || word == "false" => {
                (Value::Bool(word == "true"), 1)
            }
            (Token::Number(number), _) => (Value::Int(i32::try_from(*number).ok()?), 1),
            (Token::Mark(b'-'), Some(Token::Number(number))) => {
                (Value::Int(i32::try_from(-number).ok()?), 2)
            }
            _ => return None,
        };
        self.is_mark(3 + length, b')').then_some(value)
    }
}

/// Applies what a script does for sure.
pub fn apply(script: &Script, path: &str, store: &mut Store) {
    for call in &script.calls {
        let name = call.name.as_str();
        match (call.function, &call.value) {
            (Function::Pref, Some(value)) => store.set_user(name, written(path, call, value)),
            (Function::DefaultPref, Some(value)) => {
                store.set_default(name, written(path, call, value));
            }
            (Function::LockPref, Some(value)) => {
                let setting = written(path, call, value);
                store.set_default(name, setting.clone());
                store.lock(name, setting);
            }
            (Function::UnlockPref, _) => store.unlock(name),
            (Function::ClearPref, _) => store.clear_user(name),
            (_, None) => {}
        }
    }
}

fn written(path: &str, call: &Call, value: &Value) -> Setting {
    let function = match call.function {
        Function::Pref => "pref",
        Function::DefaultPref => "defaultPref",
        _ => "lockPref",
    };
    Setting {
        value: value.clone(),
        source: SOURCE,
        path: path.to_owned(),
        written: format!("{function}(\"{}\", {value})", call.name),
    }
}
