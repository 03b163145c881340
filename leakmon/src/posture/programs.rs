//! Programs whose ways with proxies fit a table: those that a user of leakmon told of in the configuration file, and the
//! simple ones among those that leakmon knows itself.

use std::sync::LazyLock;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::proxy::Written;
use crate::{
    config::{Document, Fault, Place, nearest},
    model::{Process, ProxySetting, Resolves},
};

/// The schemes of which a table may speak.
const SCHEMES: [&str; 7] = [
    "socks", "socks4", "socks4a", "socks5", "socks5h", "http", "https",
];

/// The programs that leakmon knows itself, as a user would write them.
static BUILT_IN: LazyLock<Programs> = LazyLock::new(|| {
    Programs::parse(include_str!("programs.toml"), "programs.toml").unwrap_or_default()
});

/// One program, and where it is told of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// File names of the executable, or of the script that an interpreter runs.
    pub names: Vec<String>,
    /// Options whose value is a proxy, with their dashes; the last of several counts.
    pub proxy_options: Vec<String>,
    /// Options whose value is a list of names that are reached without the proxy.
    pub bypass_options: Vec<String>,
    /// Options without a value that switch proxies off.
    pub direct_options: Vec<String>,
    /// Variables that are read, the first that is set counts. One that begins with `http_`, `https_` or `ftp_` is for
    /// addresses of this kind.
    pub environment: Vec<String>,
    /// Variables with a list of names that are reached without the proxy.
    pub no_proxy: Vec<String>,
    /// What a proxy without a scheme is; `http` if it is not said.
    pub default_scheme: Option<String>,
    /// The port of a proxy that has none.
    pub default_port: Option<u16>,
    /// Schemes for which it resolves names itself.
    pub resolves_itself: Vec<String>,
    /// Schemes for which it leaves names to the proxy.
    pub leaves_names: Vec<String>,
    /// Schemes that it does not know: it goes without the proxy then.
    pub ignores: Vec<String>,
    /// What to change.
    pub advice: Option<String>,
    /// Where it was described.
    pub place: Option<Place>,
}

/// What a program makes of a proxy as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Understood {
    /// It uses it.
    Proxy(ProxySetting),
    /// It goes without a proxy.
    Nothing,
    /// It does not know this kind, and goes without it.
    Ignored,
    /// What it does with it is not known.
    Unclear,
}

impl Program {
    /// What it makes of this text.
    #[must_use]
    pub fn understand(&self, text: &str) -> Understood {
        if text.trim().is_empty() {
            return Understood::Nothing;
        }
        let Some(written) = Written::parse(text) else {
            return Understood::Unclear;
        };
        let default = self.default_scheme.as_deref().unwrap_or("http");
        let scheme = written.scheme.as_deref().unwrap_or(default);
        let has = |list: &[String]| list.iter().any(|known| known == scheme);
        let resolves = if has(&self.ignores) {
            return Understood::Ignored;
        } else if has(&self.resolves_itself) {
            Resolves::Local
        } else if has(&self.leaves_names) {
            Resolves::Remote
        } else {
            return Understood::Unclear;
        };
        let (scheme, port) = match scheme {
            "socks4" => ("socks4", 1080),
            "socks4a" => ("socks4a", 1080),
            "http" => ("http", 80),
            "https" => ("https", 443),
            _ => ("socks5", 1080),
        };
        Understood::Proxy(written.setting(scheme, self.default_port.unwrap_or(port), resolves))
    }
}

/// Programs by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// In the file's order.
    pub programs: Vec<Program>,
}

impl Programs {
    /// The programs that leakmon knows itself.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Reads a text that holds programs and nothing else.
    ///
    /// # Errors
    /// When it is no TOML, or has a key or a value that means nothing: the first fault.
    pub fn parse(text: &str, path: &str) -> Result<Self, Fault> {
        let document = Document { text, path };
        let table = document.table()?;
        let mut programs = Self::default();
        let mut faults = Vec::new();
        for (key, value) in table.get_ref() {
            if key.get_ref() == KEY {
                programs = Self::read(document, key.span().start, value, &mut faults);
            } else {
                let at = key.span().start;
                faults.push(Parser { document }.unknown(at, key.get_ref(), &[KEY]));
            }
        }
        match faults.into_iter().min_by_key(Fault::line) {
            Some(fault) => Err(fault),
            None => Ok(programs),
        }
    }

    /// Reads the value of the key `program`, which is at this offset, of a configuration file.
    #[must_use]
    pub fn read(
        document: Document<'_>,
        at: usize,
        value: &Spanned<DeValue<'_>>,
        faults: &mut Vec<Fault>,
    ) -> Self {
        let mut programs = Self::default();
        let DeValue::Array(tables) = value.get_ref() else {
            faults.push(document.fault(
                at,
                "write [[program]] with two brackets: there may be several",
            ));
            return programs;
        };
        for value in tables.iter() {
            let start = value.span().start;
            if let DeValue::Table(table) = value.get_ref() {
                let program = Parser { document }.program(start, table, faults);
                programs.programs.push(program);
            } else {
                faults.push(document.fault(start, "a program is a table"));
            }
        }
        programs
    }

    /// Adds those of another file, which count instead of those of the same name here.
    pub fn replace_by(&mut self, later: Self) {
        for program in &later.programs {
            for known in &mut self.programs {
                known.names.retain(|name| !program.names.contains(name));
            }
        }
        self.programs.retain(|program| !program.names.is_empty());
        self.programs.extend(later.programs);
    }

    /// The program that a process runs, with the arguments that are the program's own.
    #[must_use]
    pub fn find<'a>(&self, process: &'a Process) -> Option<(&Program, &'a [String])> {
        names(process)
            .into_iter()
            .flatten()
            .find_map(|(name, arguments)| {
                // Of two entries of one file the later one counts.
                let mut known = self.programs.iter().rev();
                let program = known.find(|program| program.names.iter().any(|own| own == name))?;
                Some((program, arguments))
            })
    }
}

/// A name and the arguments that go with it.
type Named<'a> = (&'a str, &'a [String]);

/// The names of what a process runs: the script's, when it is an interpreter, and the executable's.
fn names(process: &Process) -> [Option<Named<'_>>; 2] {
    let arguments = process
        .cmdline
        .as_deref()
        .and_then(|cmdline| cmdline.get(1..))
        .unwrap_or_default();
    let program = process.program();
    let script = program.and_then(|program| script(program, arguments));
    [script, program.map(|program| (program, arguments))]
}

/// The script that an interpreter was started with, or Python's module.
#[must_use]
pub fn script<'a>(program: &str, arguments: &'a [String]) -> Option<Named<'a>> {
    // Versions are part of the file name: python3.11, perl5.36.0.
    let language = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    // Options that take the next argument, from the manual of each.
    let with_value: &[&str] = match language {
        "python" | "pypy" => &["-W", "-X", "--check-hash-based-pycs"],
        "perl" => &[],
        "ruby" => &["-I", "-r", "-C", "-E"],
        "node" | "nodejs" => &[
            "-r",
            "--require",
            "--import",
            "--loader",
            "-C",
            "--conditions",
        ],
        "sh" | "bash" | "dash" | "ksh" | "zsh" => &["-o", "+o", "--rcfile", "--init-file"],
        "php" => &["-d", "-c", "-z"],
        _ => return None,
    };
    let mut at = 0;
    while let Some(argument) = arguments.get(at) {
        at += 1;
        let rest = arguments.get(at..).unwrap_or_default();
        match argument.as_str() {
            "-m" if with_value.contains(&"-X") => {
                let module = rest.first()?;
                return Some((module, rest.get(1..).unwrap_or_default()));
            }
            // A program on the command line has no name.
            "-c" | "-e" | "-E" | "--eval" | "-" | "-s" if !with_value.contains(&&**argument) => {
                // Python's -E and -s are flags.
                if with_value.contains(&"-X") && matches!(argument.as_str(), "-E" | "-s") {
                    continue;
                }
                return None;
            }
            option if with_value.contains(&option) => at += 1,
            option if option.starts_with('-') && option != "--" => {}
            "--" => {}
            path => return Some((path.rsplit('/').next().unwrap_or(path), rest)),
        }
    }
    None
}

/// The key of programs in a configuration file.
pub const KEY: &str = "program";

/// Reads one program.
struct Parser<'a> {
    document: Document<'a>,
}

type Value<'i> = Spanned<DeValue<'i>>;

/// The keys of a program's table.
const KEYS: [&str; 12] = [
    "name",
    "proxy-options",
    "bypass-options",
    "direct-options",
    "environment",
    "no-proxy",
    "default-scheme",
    "default-port",
    "resolves-itself",
    "leaves-names",
    "ignores",
    "advice",
];

impl Parser<'_> {
    fn fault(&self, at: usize, what: impl Into<String>) -> Fault {
        self.document.fault(at, what)
    }

    fn program(&self, at: usize, table: &DeTable<'_>, faults: &mut Vec<Fault>) -> Program {
        let mut program = Program {
            place: Some(self.document.place(at)),
            ..Program::default()
        };
        let before = faults.len();
        for (key, value) in table {
            let at = key.span().start;
            if let Err(fault) = self.key(&mut program, at, key.get_ref(), value) {
                faults.push(fault);
            }
        }
        // Of a program with a wrong key no more is known.
        if faults.len() > before {
            return program;
        }
        if program.names.is_empty() {
            faults.push(self.fault(
                at,
                "a program needs `name`: the file name of its executable",
            ));
        }
        for scheme in &program.resolves_itself {
            if program.leaves_names.contains(scheme) {
                faults.push(self.fault(
                    at,
                    format!("`{scheme}` is both in `resolves-itself` and in `leaves-names`"),
                ));
            }
        }
        program
    }

    fn key(
        &self,
        program: &mut Program,
        at: usize,
        name: &str,
        value: &Value<'_>,
    ) -> Result<(), Fault> {
        match name {
            "name" => program.names = self.strings(name, value)?,
            "proxy-options" => program.proxy_options = self.options(name, value)?,
            "bypass-options" => program.bypass_options = self.options(name, value)?,
            "direct-options" => program.direct_options = self.options(name, value)?,
            "environment" => program.environment = self.strings(name, value)?,
            "no-proxy" => program.no_proxy = self.strings(name, value)?,
            "default-scheme" => {
                program.default_scheme = Some(self.scheme(self.string(name, value)?, value)?);
            }
            "default-port" => program.default_port = Some(self.port(value)?),
            "resolves-itself" => program.resolves_itself = self.schemes(name, value)?,
            "leaves-names" => program.leaves_names = self.schemes(name, value)?,
            "ignores" => program.ignores = self.schemes(name, value)?,
            "advice" => program.advice = Some(self.string(name, value)?.to_owned()),
            _ => return Err(self.unknown(at, name, &KEYS)),
        }
        Ok(())
    }

    fn unknown(&self, at: usize, key: &str, known: &[&str]) -> Fault {
        self.fault(at, format!("unknown key `{key}`{}", nearest(key, known)))
    }

    fn string<'v>(&self, key: &str, value: &'v Value<'_>) -> Result<&'v str, Fault> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.fault(value.span().start, format!("`{key}` is a text in quotes"))),
        }
    }

    /// A list of texts, or a single one.
    fn strings(&self, key: &str, value: &Value<'_>) -> Result<Vec<String>, Fault> {
        let wrong = |value: &Value<'_>| {
            self.fault(
                value.span().start,
                format!("`{key}` is a list of texts, as [\"a\", \"b\"]"),
            )
        };
        let text = |value: &Value<'_>| match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => Ok(text.to_string()),
            _ => Err(wrong(value)),
        };
        match value.get_ref() {
            DeValue::Array(values) => values.iter().map(text).collect(),
            _ => Ok(vec![text(value)?]),
        }
    }

    fn options(&self, key: &str, value: &Value<'_>) -> Result<Vec<String>, Fault> {
        let options = self.strings(key, value)?;
        match options.iter().find(|option| !option.starts_with('-')) {
            Some(option) => Err(self.fault(
                value.span().start,
                format!("`{key}`: write `{option}` with its dashes, as `--{option}`"),
            )),
            None => Ok(options),
        }
    }

    fn scheme(&self, scheme: &str, value: &Value<'_>) -> Result<String, Fault> {
        if SCHEMES.contains(&scheme) {
            return Ok(scheme.to_owned());
        }
        let what = format!("unknown scheme `{scheme}`{}", nearest(scheme, &SCHEMES));
        Err(self.fault(value.span().start, what))
    }

    fn schemes(&self, key: &str, value: &Value<'_>) -> Result<Vec<String>, Fault> {
        let schemes = self.strings(key, value)?;
        schemes
            .iter()
            .map(|scheme| self.scheme(scheme, value))
            .collect()
    }

    fn port(&self, value: &Value<'_>) -> Result<u16, Fault> {
        match value.get_ref() {
            DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        }
        .ok_or_else(|| {
            self.fault(
                value.span().start,
                "`default-port` is a number from 0 to 65535",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Programs::parse(text, "c.toml").unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            (
                "\n[[program]]\nname = [\"x\"]\nproxy-option = [\"-x\"]\n",
                "c.toml, line 4: unknown key `proxy-option`: did you mean `proxy-options`?",
            ),
            (
                "[[progam]]\n",
                "c.toml, line 1: unknown key `progam`: did you mean `program`?",
            ),
            (
                "[program]\nname = \"x\"\n",
                "c.toml, line 1: write [[program]] with two brackets: there may be several",
            ),
            (
                "[[program]]\nname = \"x\"\nleaves-names = [\"sock5h\"]\n",
                "c.toml, line 3: unknown scheme `sock5h`: did you mean `socks5h`?",
            ),
            (
                "[[program]]\nname = \"x\"\ndefault-port = 70000\n",
                "c.toml, line 3: `default-port` is a number from 0 to 65535",
            ),
            (
                "[[program]]\nname = 1\n",
                "c.toml, line 2: `name` is a list of texts, as [\"a\", \"b\"]",
            ),
            (
                "[[program]]\nname = \"x\"\nproxy-options = [\"proxy\"]\n",
                "c.toml, line 3: `proxy-options`: write `proxy` with its dashes, as `--proxy`",
            ),
            (
                "[[program]]\nadvice = \"x\"\n",
                "c.toml, line 1: a program needs `name`: the file name of its executable",
            ),
            (
                "[[program]]\nname = \"x\"\nresolves-itself = [\"http\"]\nleaves-names = [\"http\"]",
                "c.toml, line 1: `http` is both in `resolves-itself` and in `leaves-names`",
            ),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
        assert!(fault("[[program]]\nname = \"x").starts_with("c.toml, line 2: this is no TOML: "));
        assert!(fault("zzz = 1\n").ends_with("unknown key `zzz`; there is program"));
        assert_eq!(Programs::parse("", "c.toml"), Ok(Programs::default()));
    }

    #[test]
    fn later_ones_count() {
        let parse = |text| Programs::parse(text, "c.toml").unwrap();
        let mut programs = parse("[[program]]\nname = [\"a\", \"b\"]\nadvice = \"old\"\n");
        programs.replace_by(parse("[[program]]\nname = \"a\"\nadvice = \"new\"\n"));
        let advice = |name: &str| {
            let process = Process {
                exe: Some(format!("/bin/{name}")),
                ..Process::unread(1, None)
            };
            let (program, _) = programs.find(&process)?;
            program.advice.clone()
        };
        assert_eq!(advice("a").as_deref(), Some("new"));
        assert_eq!(advice("b").as_deref(), Some("old"));
        assert_eq!(advice("c"), None);
    }

    #[test]
    fn scripts() {
        let name = |program: &str, arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|&one| one.to_owned()).collect();
            script(program, &arguments).map(|(name, rest)| (name.to_owned(), rest.len()))
        };
        let some = |name: &str, rest| Some((name.to_owned(), rest));
        assert_eq!(
            name("python3.11", &["-u", "/x/a.py", "-v"]),
            some("a.py", 1)
        );
        assert_eq!(
            name("python3", &["-E", "-W", "x", "-m", "pip", "a"]),
            some("pip", 1)
        );
        assert_eq!(name("python3", &["-c", "x", "a"]), None);
        assert_eq!(name("dash", &["/x/tool"]), some("tool", 0));
        assert_eq!(name("bash", &["-c", "tool"]), None);
        assert_eq!(name("bash", &["-o", "pipefail", "tool"]), some("tool", 0));
        assert_eq!(name("node", &["-r", "a", "b.js"]), some("b.js", 0));
        assert_eq!(name("node", &["-e", "b.js"]), None);
        assert_eq!(name("curl", &["a"]), None);
        assert_eq!(name("python3", &["-W"]), None);
    }
}
