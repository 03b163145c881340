//! One configuration file: a table for each command, and programs.

use std::{collections::BTreeMap, ffi::OsString};

use toml::{
    Spanned,
    de::{DeInteger, DeTable, DeValue},
};

use super::{
    fault::{Document, Fault, Place, near, nearest},
    options::{CONFIG, Kind, Opt, Table, other_commands},
};
use crate::posture::{PROGRAM, Programs};

/// What somebody said of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its values as the command line would have them; of a switch `true` or `false`.
    pub values: Vec<OsString>,
    /// Where it was said.
    pub place: Place,
}

impl Setting {
    /// Whether it asks for anything: a switch that is off and an empty list do not.
    #[must_use]
    pub fn is_active(&self, option: &Opt) -> bool {
        match option.kind {
            Kind::Switch => self.values.iter().any(|value| value == "true"),
            _ => !self.values.is_empty(),
        }
    }
}

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// By the command and the option's key.
    settings: BTreeMap<(String, String), Setting>,
    /// What it tells of programs.
    pub programs: Programs,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Said {
    /// Reads a file.
    ///
    /// # Errors
    /// With everything that is wrong in it, in the order of its lines.
    pub fn parse(text: &str, path: &str, tables: &[Table]) -> Result<Self, Vec<Fault>> {
        let document = Document { text, path };
        let outermost = document.table().map_err(|fault| vec![fault])?;
        let mut parser = Parser {
            document,
            tables,
            said: Self::default(),
            faults: Vec::new(),
        };
        for (key, value) in outermost.get_ref() {
            parser.outermost(key.span().start, key.get_ref(), value);
        }
        if parser.faults.is_empty() {
            return Ok(parser.said);
        }
        parser.faults.sort_by_key(Fault::line);
        Err(parser.faults)
    }

    /// What it says of an option of a command.
    #[must_use]
    pub fn setting(&self, table: &Table, option: &Opt) -> Option<&Setting> {
        self.settings.get(&(table.name.clone(), option.key.clone()))
    }
}

struct Parser<'a> {
    document: Document<'a>,
    tables: &'a [Table],
    said: Said,
    faults: Vec<Fault>,
}

impl Parser<'_> {
    fn fault(&mut self, at: usize, what: impl Into<String>) {
        self.faults.push(self.document.fault(at, what));
    }

    fn outermost(&mut self, at: usize, key: &str, value: &Value<'_>) {
        if key == PROGRAM {
            self.said.programs = Programs::read(self.document, at, value, &mut self.faults);
            return;
        }
        let Some(table) = self.tables.iter().find(|table| table.name == key) else {
            let what = self.unknown_table(key, matches!(value.get_ref(), DeValue::Table(_)));
            return self.fault(at, what);
        };
        match value.get_ref() {
            DeValue::Table(values) => self.table(table, values),
            DeValue::Array(_) => self.fault(
                at,
                format!("write [{key}] with one bracket on each side: there is one of it"),
            ),
            _ => self.fault(
                at,
                format!("`{key}` is a table: write [{key}], and its keys below it"),
            ),
        }
    }

    fn unknown_table(&self, key: &str, is_table: bool) -> String {
        if other_commands().iter().any(|command| command == key) {
            return format!("`leakmon {key}` has no options that a file could set");
        }
        let has = |table: &&Table| table.option(key).is_some();
        let mut tables = self
            .tables
            .iter()
            .filter(has)
            .map(|table| table.name.as_str());
        if let Some(first) = tables.next().filter(|_| !is_table) {
            let all = tables.fold(format!("[{first}]"), |all, table| {
                format!("{all} or [{table}]")
            });
            return format!("`{key}` belongs into a table: write it below {all}");
        }
        if !is_table && matches!(key, CONFIG | "help" | "version") {
            return only_argument(key);
        }
        let mut known: Vec<&str> = self
            .tables
            .iter()
            .map(|table| table.name.as_str())
            .collect();
        known.push(PROGRAM);
        let what = if is_table { "table" } else { "key" };
        format!("unknown {what} `{key}`{}", nearest(key, &known))
    }

    fn table(&mut self, table: &Table, values: &DeTable<'_>) {
        for (key, value) in values {
            let at = key.span().start;
            let key: &str = key.get_ref();
            let Some(option) = table.option(key) else {
                let what = self.unknown_key(table, key);
                self.fault(at, what);
                continue;
            };
            match texts(option, value) {
                Ok(values) => {
                    let place = self.document.place(at);
                    let setting = Setting { values, place };
                    let of = (table.name.clone(), key.to_owned());
                    self.said.settings.insert(of, setting);
                }
                Err((at, what)) => self.fault(at, format!("`{key}`: {what}")),
            }
        }
        self.conflicts(table);
    }

    fn unknown_key(&self, table: &Table, key: &str) -> String {
        if key == CONFIG || table.only_arguments.iter().any(|only| only == key) {
            return only_argument(key);
        }
        let known: Vec<&str> = table
            .options
            .iter()
            .map(|option| option.key.as_str())
            .collect();
        let other = |other: &&Table| other.option(key).is_some();
        match self.tables.iter().find(other) {
            Some(other) if near(key, &known).is_none() => format!(
                "unknown key `{key}`: it is an option of {}, and not of {}",
                other.name, table.name
            ),
            _ => format!("unknown key `{key}`{}", nearest(key, &known)),
        }
    }

    /// Options of one table that do not go together: nobody could say which of them was meant.
    fn conflicts(&mut self, table: &Table) {
        let mut active: Vec<(&Opt, Place)> = Vec::new();
        for option in &table.options {
            let Some(setting) = self.said.setting(table, option) else {
                continue;
            };
            if !setting.is_active(option) {
                continue;
            }
            let against = active
                .iter()
                .find(|(other, _)| table.conflict(other.id(), option.id()));
            if let Some((other, _)) = against {
                let what = format!(
                    "`{}` cannot be set together with `{}`",
                    option.key, other.key
                );
                self.faults.push(Fault::new(setting.place.clone(), what));
            } else {
                active.push((option, setting.place.clone()));
            }
        }
    }
}

fn only_argument(key: &str) -> String {
    if key == CONFIG {
        return "`config` is no key of a file: it names one, as --config FILE or LEAKMON_CONFIG"
            .to_owned();
    }
    format!("`{key}` is no key of a file: it is given on the command line only")
}

/// What is wrong, and where.
type Wrong = (usize, String);

/// The values of an option as the command line would have them.
fn texts(option: &Opt, value: &Value<'_>) -> Result<Vec<OsString>, Wrong> {
    match value.get_ref() {
        DeValue::Array(values) if option.is_list => {
            values.iter().map(|value| text(option, value)).collect()
        }
        DeValue::Array(_) => Err((
            value.span().start,
            "it is one value, and no list".to_owned(),
        )),
        _ => Ok(vec![text(option, value)?]),
    }
}

fn text(option: &Opt, value: &Value<'_>) -> Result<OsString, Wrong> {
    let at = value.span().start;
    let wrong = |what: &str| Err((at, what.to_owned()));
    let text = match (option.kind, value.get_ref()) {
        (Kind::Switch, DeValue::Boolean(value)) => return Ok(value.to_string().into()),
        (Kind::Switch, _) => return wrong("it is true or false, without quotes"),
        (Kind::Number, DeValue::Integer(number)) => match decimal(number) {
            Some(number) => number,
            None => return wrong("this number is too large for anything"),
        },
        (Kind::Number, DeValue::String(text)) if text.parse::<i128>().is_ok() => {
            return Err((at, format!("it is a number: write {text} without quotes")));
        }
        (_, DeValue::String(text)) => text.to_string(),
        // Only what has units may be a text.
        (Kind::Number, _) if option.built_in().iter().all(is_number) => {
            return wrong("it is a number");
        }
        (Kind::Number, _) => return wrong("it is a number, or a text in quotes"),
        _ => return wrong("it is a text in quotes"),
    };
    if option.kind == Kind::Path && text.starts_with('~') {
        return wrong("write the whole path: nothing stands for ~ here");
    }
    option.check(text.as_ref()).map_err(|what| (at, what))?;
    Ok(text.into())
}

fn is_number(value: &OsString) -> bool {
    value
        .to_str()
        .is_some_and(|text| text.parse::<i128>().is_ok())
}

/// TOML has other radices, too.
fn decimal(number: &DeInteger<'_>) -> Option<String> {
    let number = i128::from_str_radix(number.as_str(), number.radix());
    Some(number.ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::tables;

    fn faults(text: &str) -> Vec<String> {
        let faults = Said::parse(text, "c.toml", &tables()).unwrap_err();
        faults.iter().map(ToString::to_string).collect()
    }

    fn values(text: &str, table: &str, key: &str) -> Vec<OsString> {
        let tables = tables();
        let said = Said::parse(text, "c.toml", &tables).unwrap();
        let table = tables.iter().find(|one| one.name == table).unwrap();
        let setting = said.setting(table, table.option(key).unwrap());
        setting.unwrap().values.clone()
    }

    #[test]
    fn what_is_right_is_read() {
        let text = "watch.plain = true\nwatch.port = [5300, 0x14e9]\n[audit]\npid = 1\n[report]\nformat = \"json\"\n";
        assert_eq!(values(text, "watch", "plain"), ["true"]);
        assert_eq!(values(text, "watch", "port"), ["5300", "5353"]);
        assert_eq!(values(text, "audit", "pid"), ["1"]);
        assert_eq!(values(text, "report", "format"), ["json"]);
        assert_eq!(values("[watch]\nport = []\n", "watch", "port"), [""; 0]);
        assert_eq!(
            values("[watch]\nbuffer = 1048576\n", "watch", "buffer"),
            ["1048576"]
        );
        let programs = "[[program]]\nname = \"x\"\n[watch]\njson = true\n";
        let said = Said::parse(programs, "c.toml", &tables()).unwrap();
        assert_eq!(said.programs.programs.len(), 1);
        assert_eq!(Said::parse("", "c.toml", &tables()), Ok(Said::default()));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            (
                "[wacth]\n",
                "line 1: unknown table `wacth`: did you mean `watch`?",
            ),
            (
                "[[progam]]\n",
                "line 1: unknown key `progam`: did you mean `program`?",
            ),
            (
                "[watch]\n\nbufer = \"8M\"\n",
                "line 3: unknown key `bufer`: did you mean `buffer`?",
            ),
            (
                "buffer = \"8M\"\n",
                "line 1: `buffer` belongs into a table: write it below [watch] or [run]",
            ),
            (
                "[watch]\ninstalled = true\n",
                "line 2: unknown key `installed`: it is an option of audit, and not of watch",
            ),
            (
                "[[watch]]\n",
                "line 1: write [watch] with one bracket on each side: there is one of it",
            ),
            (
                "watch = 1\n",
                "line 1: `watch` is a table: write [watch], and its keys below it",
            ),
            (
                "[doctor]\n",
                "line 1: `leakmon doctor` has no options that a file could set",
            ),
            (
                "[config]\n",
                "line 1: `leakmon config` has no options that a file could set",
            ),
            (
                "[watch]\nconfig = \"x\"\n",
                "line 2: `config` is no key of a file: it names one, as --config FILE or LEAKMON_CONFIG",
            ),
            (
                "[replay]\nfile = \"x\"\n",
                "line 2: `file` is no key of a file: it is given on the command line only",
            ),
            (
                "[watch]\nhelp = true\n",
                "line 2: `help` is no key of a file: it is given on the command line only",
            ),
            (
                "[watch]\nplain = \"yes\"\n",
                "line 2: `plain`: it is true or false, without quotes",
            ),
            (
                "[watch]\nport = \"5300\"\n",
                "line 2: `port`: it is a number: write 5300 without quotes",
            ),
            (
                "[watch]\nport = [53,\n true]\n",
                "line 3: `port`: it is a number",
            ),
            (
                "[watch]\nport = 70000\n",
                "line 2: `port`: 70000 is not in 1..=65535",
            ),
            (
                "[watch]\nbuffer = true\n",
                "line 2: `buffer`: it is a number, or a text in quotes",
            ),
            (
                "[watch]\nbuffer = [\"8M\"]\n",
                "line 2: `buffer`: it is one value, and no list",
            ),
            (
                "[watch]\napp = 3\n",
                "line 2: `app`: it is a text in quotes",
            ),
            (
                "[watch]\nrecord = \"~/x\"\n",
                "line 2: `record`: write the whole path: nothing stands for ~ here",
            ),
            (
                "[report]\nformat = \"htm\"\n",
                "line 2: `format`: unknown value `htm`: did you mean `html`?",
            ),
            (
                "[watch]\nplain = true\njson = true\n",
                "line 2: `plain` cannot be set together with `json`",
            ),
        ] {
            assert_eq!(faults(text), [format!("c.toml, {expected}")], "{text}");
        }
        let odd = "[watch]\nx = 1\n[[program]]\ny = 2\n[audit]\nuser = 3\n";
        assert_eq!(faults(odd).len(), 3, "{:?}", faults(odd));
        assert!(faults("[watch\n")[0].starts_with("c.toml, line 1: this is no TOML: "));
        let long = format!(
            "[watch]\nrecord = [\"{}\"]\n{} = 1\n",
            "x".repeat(9999),
            "y".repeat(9999)
        );
        assert!(faults(&long).iter().all(|fault| fault.len() < 1000));
    }
}
