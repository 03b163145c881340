//! The command line, with what the environment and files add to it.
//!
//! It is read twice. The first time tells which command it is, which options are on it, and which file it names. What the
//! environment and files say of the others is then put before them, as if it had been written there, and the whole is
//! read again: an option's value is understood in one way, wherever it was said.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use clap::{
    Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use super::{
    fault::Fault,
    merged::{Given, Origin, effective},
    options::{CONFIG, Kind, Opt, Table, tables, truth},
    sources::{Named, Sources, Variables},
};
use crate::{cli::Cli, posture::Programs, sink::printable};

/// What leakmon is to do.
#[derive(Debug)]
pub struct Run {
    /// The command with its options.
    pub cli: Cli,
    /// What files tell of programs.
    pub programs: Programs,
}

/// Why there is nothing to do.
#[derive(Debug)]
pub enum Stop {
    /// Help or the version was asked for, or nothing at all, and is to be printed.
    Print(Box<clap::Error>),
    /// Something is wrong, which is said in one line.
    Fault(String),
}

/// Reads a command line, whose first word is the program's own name.
///
/// # Errors
/// When there is nothing to do: something is wrong, or only help is wanted.
pub fn read(arguments: Vec<OsString>, variables: Variables) -> Result<Run, Stop> {
    let first = parse(lenient(definition()), &arguments)?;
    let tables = tables();
    let of_command = first.subcommand().and_then(|(name, matches)| {
        let table = tables.iter().find(|table| table.name == name)?;
        Some((table, matches))
    });
    let (added, programs) = match of_command {
        None => (Vec::new(), Programs::default()),
        Some((table, matches)) => {
            let option = first.get_one::<PathBuf>(CONFIG);
            let named = Named::of(option.map(PathBuf::as_path), &variables);
            variables
                .check_names(&tables)
                .map_err(|fault| one(&fault))?;
            let sources =
                Sources::read(named.as_ref(), variables).map_err(|faults| all(&faults))?;
            let given = given(matches, table)?;
            (added(table, &given, &sources)?, sources.programs())
        }
    };
    let mut arguments = arguments;
    let at = command_at(&arguments).map_or(arguments.len(), |at| at + 1);
    arguments.splice(at..at, added);
    let matches = parse(definition(), &arguments)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| refused(error, &arguments))?;
    Ok(Run { cli, programs })
}

fn one(fault: &Fault) -> Stop {
    Stop::Fault(fault.to_string())
}

fn all(faults: &[Fault]) -> Stop {
    let first = faults.first().map(ToString::to_string).unwrap_or_default();
    Stop::Fault(match faults.len() {
        0 | 1 => first,
        2 => format!("{first} (`leakmon config check` tells of one more fault)"),
        many => format!(
            "{first} (`leakmon config check` tells of {} more faults)",
            many - 1
        ),
    })
}

/// The definition of the command line, in which every switch can also be switched off, as `--plain=false`: a file may
/// have switched it on. Which options do not go together is looked at by [`effective`], which knows what gives way.
fn definition() -> Command {
    Cli::command().mut_subcommands(|command| {
        if command.has_subcommands() {
            return command;
        }
        command.mut_args(|argument| {
            let argument = argument.conflicts_with(Resettable::Reset);
            if !matches!(argument.get_action(), ArgAction::SetTrue) {
                return argument;
            }
            argument
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .value_parser(truth)
        })
    })
}

/// What an option lacks may be in a file.
fn lenient(definition: Command) -> Command {
    definition.mut_subcommands(|command| {
        command.mut_args(|argument| {
            let is_option = !argument.is_positional();
            let argument = argument.requires(Resettable::Reset);
            if is_option {
                argument.required(false)
            } else {
                argument
            }
        })
    })
}

fn parse(command: Command, arguments: &[OsString]) -> Result<ArgMatches, Stop> {
    command.try_get_matches_from(arguments).map_err(|error| {
        // The words of the definition as it is written are the simpler ones.
        let plain = Cli::command().try_get_matches_from(arguments);
        let error = match plain {
            Err(plain) if plain.kind() == error.kind() => plain,
            _ => error,
        };
        refused(error, arguments)
    })
}

/// What is on the command line.
fn given(matches: &ArgMatches, table: &Table) -> Result<Vec<Given>, Stop> {
    let mut all: Vec<Given> = Vec::new();
    for id in matches.ids() {
        // Groups, which every structure of arguments is, have an id, too.
        let argument = matches.try_contains_id(id.as_str()).is_ok();
        let source = matches.value_source(id.as_str());
        if !argument || source != Some(ValueSource::CommandLine) {
            continue;
        }
        let option = table
            .options
            .iter()
            .find(|option| option.id() == id.as_str());
        let is_off = option.is_some_and(|option| option.kind == Kind::Switch)
            && !matches.get_flag(id.as_str());
        let shown = option.map_or_else(|| id.to_string(), |option| format!("--{}", option.key));
        let against = all
            .iter()
            .find(|other| !other.is_off && table.conflict(&other.id, id.as_str()));
        if let Some(other) = against.filter(|_| !is_off) {
            return Err(Stop::Fault(format!(
                "{shown} cannot be used together with {}; see leakmon {} --help",
                other.shown, table.name
            )));
        }
        all.push(Given {
            id: id.to_string(),
            shown,
            is_off,
        });
    }
    Ok(all)
}

/// What is to be put before the options on the command line.
fn added(table: &Table, given: &[Given], sources: &Sources) -> Result<Vec<OsString>, Stop> {
    let all = effective(table, given, sources).map_err(|fault| one(&fault))?;
    let said = all
        .iter()
        .filter(|one| matches!(one.origin, Origin::Said(_)));
    let arguments = said.flat_map(|one| {
        let values = one.values.iter();
        values.map(|value| argument(one.option, value))
    });
    Ok(arguments.collect())
}

fn argument(option: &Opt, value: &OsStr) -> OsString {
    let mut argument = OsString::from(format!("--{}=", option.key));
    argument.push(value);
    argument
}

/// Where the command's name is: the first word that is no option of leakmon's itself, and no option's value.
fn command_at(arguments: &[OsString]) -> Option<usize> {
    let cli = Cli::command();
    let takes_value = |word: &str| {
        let is_it = |option: &Arg| {
            option
                .get_long()
                .is_some_and(|long| word == format!("--{long}"))
        };
        cli.get_opts().any(is_it)
    };
    let mut at = 1;
    loop {
        let word = arguments.get(at)?.to_string_lossy();
        if !word.starts_with('-') {
            return Some(at);
        }
        at += if takes_value(&word) { 2 } else { 1 };
    }
}

/// What clap says in several lines, in one.
fn refused(mut error: clap::Error, arguments: &[OsString]) -> Stop {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Stop::Print(Box::new(error));
    }
    // A word with an end of line in it must not be taken for a part of the message.
    let hostile: Vec<(ContextKind, String)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, printable(text).into_owned())),
            _ => None,
        })
        .collect();
    for (kind, text) in hostile {
        error.insert(kind, ContextValue::String(text));
    }
    let text = error.render().to_string();
    let mut what = String::new();
    let mut tips = Vec::new();
    for paragraph in text.split("\n\n") {
        let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(words) = words.strip_prefix("error: ") {
            words.clone_into(&mut what);
        } else if words.starts_with("tip: ") {
            tips.extend(
                words
                    .split("tip: ")
                    .map(str::trim)
                    .filter(|tip| !tip.is_empty())
                    .map(str::to_owned),
            );
        } else if !words.starts_with("Usage:") && !words.starts_with("For more information") {
            what = format!("{what} {words}");
        }
    }
    if tips.is_empty() {
        let known: Vec<String> = Cli::command()
            .get_subcommands()
            .map(|one| one.get_name().to_owned())
            .collect();
        let command = command_at(arguments)
            .map(|at| arguments[at].to_string_lossy())
            .filter(|name| known.iter().any(|known| known == name));
        tips.push(match command {
            Some(command) => format!("see leakmon {command} --help"),
            None => "see leakmon --help".to_owned(),
        });
    }
    Stop::Fault(format!("{what}; {}", tips.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    /// What a line means with these variables and this file.
    fn with(line: &str, variables: &[(&str, &str)], file: &str) -> Result<Cli, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, file).unwrap();
        let config = ("LEAKMON_CONFIG", path.to_str().unwrap());
        let variables = variables.iter().chain([&config]);
        let variables = Variables::of(variables.map(|(name, value)| (name.into(), value.into())));
        match read(words(line), variables) {
            Ok(run) => Ok(run.cli),
            Err(Stop::Fault(line)) => Err(line.replace(path.to_str().unwrap(), "c.toml")),
            Err(Stop::Print(error)) => Err(format!("printed: {:?}", error.kind())),
        }
    }

    fn watch(line: &str, variables: &[(&str, &str)], file: &str) -> cli::Watch {
        match with(line, variables, file).unwrap().command {
            cli::Command::Watch(watch) => watch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
        lenient(definition()).debug_assert();
    }

    #[test]
    fn the_first_source_that_says_it_counts() {
        const M: u32 = 1024 * 1024;
        let file = "[watch]\nbuffer = \"8M\"\nport = [5300, 5353]\nplain = true\n";
        let variable = [("LEAKMON_BUFFER", "16M"), ("LEAKMON_PORT", "54")];
        assert_eq!(watch("leakmon watch", &[], "").capturing.buffer, 4 * M);
        assert_eq!(watch("leakmon watch", &[], file).capturing.buffer, 8 * M);
        assert_eq!(
            watch("leakmon watch", &[], file).capturing.ports,
            [5300, 5353]
        );
        assert_eq!(
            watch("leakmon watch", &variable, file).capturing.buffer,
            16 * M
        );
        assert_eq!(
            watch("leakmon watch", &variable, file).capturing.ports,
            [54]
        );
        let both = watch("leakmon watch --buffer 32M --port 55", &variable, file);
        assert_eq!(
            (both.capturing.buffer, &both.capturing.ports[..]),
            (32 * M, &[55][..])
        );
        let by_option = watch("leakmon --config /dev/null watch", &[], file);
        assert_eq!(
            (by_option.capturing.buffer, by_option.plain),
            (4 * M, false)
        );
        assert_eq!(
            watch("leakmon watch --config=/dev/null", &[], file)
                .capturing
                .buffer,
            4 * M
        );
    }

    #[test]
    fn switches_can_be_switched_off() {
        let file = "[watch]\nplain = true\n";
        assert!(watch("leakmon watch", &[], file).plain);
        assert!(!watch("leakmon watch --plain=false", &[], file).plain);
        assert!(watch("leakmon watch --plain=true", &[], "").plain);
        assert!(!watch("leakmon watch", &[("LEAKMON_PLAIN", "0")], file).plain);
        let json = watch("leakmon watch --json", &[], file);
        assert!(json.form.json && !json.plain);
        let off = watch("leakmon watch --json --plain=false", &[], file);
        assert!(off.form.json && !off.plain);
        let fault = with("leakmon watch --plain=maybe", &[], "").unwrap_err();
        assert!(fault.contains("'maybe' is not true or false"), "{fault}");
    }

    #[test]
    fn a_fault_is_one_line() {
        for (line, expected) in [
            (
                "leakmon wacth",
                "unrecognized subcommand 'wacth'; a similar subcommand exists: 'watch'",
            ),
            (
                "leakmon watch --jsn",
                "unexpected argument '--jsn' found; a similar argument exists: '--json'",
            ),
            (
                "leakmon watch --buffer 3M",
                "invalid value '3M' for '--buffer <BYTES>': '3M' is not a power of two from 256K to 1024M; see leakmon watch --help",
            ),
            (
                "leakmon watch --plain --json",
                "--json cannot be used together with --plain; see leakmon watch --help",
            ),
            (
                "leakmon report",
                "the following required arguments were not provided: <FILE>...; see leakmon report --help",
            ),
            (
                "leakmon report --format htm x",
                "invalid value 'htm' for '--format <FORM>' [possible values: html, markdown, json, junit, sarif]; a similar value exists: 'html'",
            ),
            (
                "leakmon watch --a\nb",
                "unexpected argument '--a\\u{a}b' found; see leakmon watch --help",
            ),
        ] {
            let fault = with(line, &[], "").unwrap_err();
            assert_eq!(fault, expected);
        }
        let fault = with("leakmon watch", &[("LEAKMON_BUFFER", "3M")], "").unwrap_err();
        assert_eq!(
            fault,
            "LEAKMON_BUFFER: '3M' is not a power of two from 256K to 1024M"
        );
        let fault = with("leakmon watch", &[], "[audit]\nalll = true\nx = 1\n").unwrap_err();
        assert_eq!(
            fault,
            "c.toml, line 2: unknown key `alll`: did you mean `all`? (`leakmon config check` tells of one more fault)"
        );
        // What is wrong on the line is said first, and help needs no file.
        let fault = with("leakmon watch --jsn", &[], "x").unwrap_err();
        assert!(fault.contains("--jsn"), "{fault}");
        assert_eq!(
            with("leakmon watch --help", &[], "x").unwrap_err(),
            "printed: DisplayHelp"
        );
        assert_eq!(
            with("leakmon --version", &[], "x").unwrap_err(),
            "printed: DisplayVersion"
        );
        assert_eq!(
            with("leakmon", &[], "x").unwrap_err(),
            "printed: DisplayHelpOnMissingArgumentOrSubcommand"
        );
    }
}
