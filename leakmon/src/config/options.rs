//! What can be configured. There is no list of it: every option of every command in [`crate::cli`] that has a long name
//! is a key of that command's table, and a variable.

use std::{
    any::TypeId,
    error::Error as _,
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{
    Arg, ArgAction, Command, CommandFactory,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::fault::nearest;
use crate::cli::Cli;

/// What every variable's name begins with.
pub const PREFIX: &str = "LEAKMON_";
/// The option that names the configuration itself, on every command.
pub const CONFIG: &str = "config";
/// Variables of leakmon's that are no options.
pub const OTHER_VARIABLES: [&str; 1] = ["LEAKMON_LOG"];

/// What an option's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// True or false: an option without a value.
    Switch,
    /// A number; some may be written with a unit, and are text then.
    Number,
    /// The path of a file or folder.
    Path,
    /// Any other text.
    Text,
}

/// One option of a command.
#[derive(Clone, Debug)]
pub struct Opt {
    /// Its name in a file, and on the command line with two dashes before it.
    pub key: String,
    /// What its value is.
    pub kind: Kind,
    /// Whether it may have several values.
    pub is_list: bool,
    arg: Arg,
}

impl Opt {
    /// An option that can be configured; none for what only the command line has.
    fn of(arg: &Arg) -> Option<Self> {
        let key = arg.get_long()?.to_owned();
        let kind = match arg.get_action() {
            ArgAction::SetTrue => Kind::Switch,
            ArgAction::Set | ArgAction::Append => {
                let id = arg.get_value_parser().type_id();
                if id == TypeId::of::<PathBuf>() {
                    Kind::Path
                } else if numbers().into_iter().any(|number| id == number) {
                    Kind::Number
                } else {
                    Kind::Text
                }
            }
            _ => return None,
        };
        Some(Self {
            key,
            kind,
            is_list: matches!(arg.get_action(), ArgAction::Append),
            arg: arg.clone(),
        })
    }

    /// Its name among a command's arguments.
    #[must_use]
    pub fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// The variable that sets it, for every command that has it.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(&self.key)
    }

    /// Its values when nobody says any.
    #[must_use]
    pub fn built_in(&self) -> Vec<OsString> {
        match self.kind {
            Kind::Switch => vec!["false".into()],
            _ => {
                let values = self.arg.get_default_values().iter();
                values.map(|value| value.as_os_str().to_owned()).collect()
            }
        }
    }

    /// What a value is called in its help.
    #[must_use]
    pub fn value_name(&self) -> &str {
        self.arg
            .get_value_names()
            .and_then(|names| names.first())
            .map_or("VALUE", |name| name.as_str())
    }

    /// Its help, the longer form when there is one; and its words, when it takes only some.
    #[must_use]
    pub fn help(&self) -> String {
        let help = self.arg.get_long_help().or_else(|| self.arg.get_help());
        let mut help = help.map(ToString::to_string).unwrap_or_default();
        // clap takes it away.
        if !help.ends_with('.') {
            help.push('.');
        }
        let words = self.arg.get_possible_values();
        if self.kind != Kind::Switch && !words.is_empty() {
            let words: Vec<&str> = words
                .iter()
                .map(clap::builder::PossibleValue::get_name)
                .collect();
            help = format!("{help} One of {}.", words.join(", "));
        }
        help
    }

    /// Asks the option's own parser about a value.
    ///
    /// # Errors
    /// With what is wrong, when the option does not take it.
    pub fn check(&self, value: &OsStr) -> Result<(), String> {
        let shown = value.to_string_lossy();
        if self.kind == Kind::Switch {
            return truth(&shown).map(|_| ());
        }
        if value.is_empty() {
            return Err("it is empty".to_owned());
        }
        // Another option with the same parser: the option's own speaks of arguments that are not there.
        let alone = Arg::new("value")
            .long("value")
            .value_parser(self.arg.get_value_parser().clone());
        let mut argument = OsString::from("--value=");
        argument.push(value);
        let parsed = Command::new("leakmon")
            .no_binary_name(true)
            .disable_help_flag(true)
            .arg(alone)
            .try_get_matches_from([argument]);
        let Err(error) = parsed else {
            return Ok(());
        };
        if let Some(ContextValue::Strings(words)) = error.get(ContextKind::ValidValue)
            && !words.is_empty()
        {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            return Err(format!(
                "unknown value `{shown}`{}",
                nearest(&shown, &words)
            ));
        }
        let reason = match error.source() {
            _ if error.kind() == ErrorKind::InvalidUtf8 => "it is not UTF-8".to_owned(),
            Some(reason) => reason.to_string(),
            None => "it cannot be understood".to_owned(),
        };
        if self.kind == Kind::Number && reason.contains("invalid digit") {
            return Err(format!("'{shown}' is no number"));
        }
        Err(
            if reason.contains(&*shown)
                && reason.starts_with(['\'', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            {
                reason
            } else {
                format!("'{shown}' cannot be taken: {reason}")
            },
        )
    }
}

/// The types of numbers.
fn numbers() -> [TypeId; 10] {
    [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
        TypeId::of::<i8>(),
        TypeId::of::<i16>(),
        TypeId::of::<i32>(),
        TypeId::of::<i64>(),
        TypeId::of::<isize>(),
    ]
}

/// The variable of an option.
#[must_use]
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// The value of a switch.
///
/// # Errors
/// When it is neither.
pub fn truth(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("'{text}' is not true or false")),
    }
}

/// A command's options.
#[derive(Clone, Debug)]
pub struct Table {
    /// The command's name.
    pub name: String,
    /// What it does.
    pub about: String,
    /// In the order of its help.
    pub options: Vec<Opt>,
    /// What only its command line takes: the keys that somebody may try for it.
    pub only_arguments: Vec<String>,
    /// Arguments that do not go together, by their ids.
    conflicts: Vec<(String, String)>,
}

impl Table {
    fn of(command: &Command) -> Option<Self> {
        let options: Vec<Opt> = command.get_arguments().filter_map(Opt::of).collect();
        // What has commands of its own has no work of its own to configure.
        // What is hidden leakmon starts itself, with all that it needs to know.
        if options.is_empty() || command.has_subcommands() || command.is_hide_set() {
            return None;
        }
        let mut only_arguments = vec!["help".to_owned()];
        for argument in command.get_arguments().filter(|one| one.is_positional()) {
            only_arguments.push(argument.get_id().to_string());
        }
        let conflicts = command
            .get_arguments()
            .flat_map(|one| {
                let others = command.get_arg_conflicts_with(one).into_iter();
                others.map(|other| (one.get_id().to_string(), other.get_id().to_string()))
            })
            .collect();
        Some(Self {
            name: command.get_name().to_owned(),
            about: command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default(),
            options,
            only_arguments,
            conflicts,
        })
    }

    /// The option of this name.
    #[must_use]
    pub fn option(&self, key: &str) -> Option<&Opt> {
        self.options.iter().find(|option| option.key == key)
    }

    /// Whether two arguments do not go together, by their ids.
    #[must_use]
    pub fn conflict(&self, one: &str, other: &str) -> bool {
        self.conflicts
            .iter()
            .any(|(a, b)| (a == one && b == other) || (a == other && b == one))
    }
}

/// The tables of all commands that have options.
#[must_use]
pub fn tables() -> Vec<Table> {
    Cli::command()
        .get_subcommands()
        .filter_map(Table::of)
        .collect()
}

/// The names of the commands that have none.
#[must_use]
pub fn other_commands() -> Vec<String> {
    Cli::command()
        .get_subcommands()
        .filter(|command| Table::of(command).is_none() && !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_can_be_configured() {
        let cli = Cli::command();
        let commands = cli
            .get_subcommands()
            .filter(|command| !command.has_subcommands() && !command.is_hide_set());
        let mut options = 0;
        for command in commands {
            let arguments = command.get_arguments().filter(|one| !one.is_positional());
            for argument in arguments {
                let of = format!("{} of {}", argument.get_id(), command.get_name());
                let option = Opt::of(argument).unwrap_or_else(|| panic!("{of} has no key"));
                for value in option.built_in() {
                    assert_eq!(option.check(&value), Ok(()), "{of}");
                }
                assert!(
                    !OTHER_VARIABLES.contains(&option.variable().as_str()),
                    "{of}"
                );
                assert_ne!(option.key, CONFIG, "{of}: it is an option of all commands");
                options += 1;
            }
        }
        assert_eq!(
            options,
            tables()
                .iter()
                .map(|table| table.options.len())
                .sum::<usize>()
        );
        assert!(options > 20, "{options}");
    }

    #[test]
    fn no_table_is_taken_for_programs() {
        assert!(
            tables()
                .iter()
                .all(|table| table.name != crate::posture::PROGRAM)
        );
    }

    fn option(table: &str, key: &str) -> Opt {
        let tables = tables();
        let table = tables.iter().find(|one| one.name == table).unwrap();
        table.option(key).unwrap().clone()
    }

    #[test]
    fn values_are_checked_as_the_flags_are() {
        let fault = |table, key, value: &str| option(table, key).check(value.as_ref()).unwrap_err();
        assert_eq!(
            fault("watch", "buffer", "3M"),
            "'3M' is not a power of two from 256K to 1024M"
        );
        assert_eq!(fault("watch", "port", "0"), "0 is not in 1..=65535");
        assert_eq!(fault("watch", "port", "dns"), "'dns' is no number");
        assert_eq!(fault("watch", "record", ""), "it is empty");
        assert_eq!(fault("watch", "plain", "yes"), "'yes' is not true or false");
        assert_eq!(
            fault("report", "format", "htm"),
            "unknown value `htm`: did you mean `html`?"
        );
        assert_eq!(
            fault("report", "format", "x"),
            "unknown value `x`; there is html, markdown, json, junit, sarif"
        );
        assert_eq!(
            option("watch", "port").check("-".as_ref()).unwrap_err(),
            "'-' is no number"
        );
    }

    #[test]
    fn kinds() {
        assert_eq!(option("watch", "plain").kind, Kind::Switch);
        assert_eq!(option("watch", "buffer").kind, Kind::Number);
        assert_eq!(option("watch", "record").kind, Kind::Path);
        assert_eq!(option("watch", "duration").kind, Kind::Text);
        assert!(option("watch", "app").is_list);
        assert_eq!(option("watch", "port").variable(), "LEAKMON_PORT");
        assert_eq!(option("watch", "buffer").built_in(), ["4M"]);
    }
}
