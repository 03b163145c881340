//! Configuration written as TOML.

use std::ffi::OsString;

use crate::{
    config::{Effective, Kind, Opt, Origin, Table},
    posture::{Program, Programs},
    sink::{is_harmful, printable},
};

/// How wide comments are.
const WIDTH: usize = 100;

/// A file in which every option is explained and none is set.
pub fn template(tables: &[Table]) -> String {
    let mut text = comment(
        "leakmon's configuration. The command line counts before the environment, the environment before this file, and \
         ~/.config/leakmon/config.toml before /etc/leakmon.toml; --config FILE is read instead of both. Each option \
         stands here with its built-in value, or with a word for the value when none is built in: take the # away and \
         write your own. Its variable sets it for every command that has it.",
    );
    for table in tables {
        text.push('\n');
        text.push_str(&comment(&format!(
            "leakmon {}: {}",
            table.name,
            sentence(&table.about)
        )));
        text.push_str(&format!("[{}]\n", table.name));
        for option in &table.options {
            text.push('\n');
            text.push_str(&comment(&option.help()));
            text.push_str(&comment(&format!("Variable: {}", option.variable())));
            let value = match value(option, &option.built_in()) {
                Some(value) => value,
                None => quoted(option.value_name()),
            };
            text.push_str(&format!("#{} = {value}\n", option.key));
        }
    }
    text.push('\n');
    text.push_str(&comment(
        "What a program that leakmon does not know does with proxies; docs/configuration.md tells of every key.",
    ));
    text.push_str(
        "#[[program]]\n#name = [\"mytool\"]\n#proxy-options = [\"--proxy\"]\n#environment = [\"MYTOOL_PROXY\"]\n\
         #resolves-itself = [\"socks4\", \"socks5\"]\n#leaves-names = [\"socks4a\", \"socks5h\"]\n",
    );
    text
}

/// Every option with the value that counts and where it was said, and the programs: a file that says the same again.
pub fn effective(tables: &[(&Table, Vec<Effective<'_>>)], programs: &Programs) -> String {
    let mut text = String::new();
    for (table, options) in tables {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{}]\n", table.name));
        for one in options {
            let origin = match &one.origin {
                Origin::BuiltIn => "built-in".to_owned(),
                Origin::CommandLine => "command line".to_owned(),
                Origin::Said(place) => place.to_string(),
                Origin::GaveWay(place, stronger) => {
                    format!("built-in; {place} gives way to {stronger}")
                }
            };
            let key = &one.option.key;
            let origin = printable(&origin);
            match value(one.option, &one.values) {
                Some(value) => text.push_str(&format!("{key} = {value} # {origin}\n")),
                None if one.origin == Origin::BuiltIn => {
                    text.push_str(&format!("# {key}: not set\n"))
                }
                None => text.push_str(&format!("# {key}: not set # {origin}\n")),
            }
        }
    }
    for program in &programs.programs {
        text.push('\n');
        text.push_str(&described(program));
    }
    text
}

/// A program's table.
fn described(program: &Program) -> String {
    let place = program.place.as_ref().map(ToString::to_string);
    let place = place.unwrap_or_default();
    let mut text = format!("[[program]] # {}\n", printable(&place));
    let lists = [
        ("name", &program.names),
        ("proxy-options", &program.proxy_options),
        ("direct-options", &program.direct_options),
        ("bypass-options", &program.bypass_options),
        ("environment", &program.environment),
        ("no-proxy", &program.no_proxy),
        ("resolves-itself", &program.resolves_itself),
        ("leaves-names", &program.leaves_names),
        ("ignores", &program.ignores),
    ];
    for (key, values) in lists.into_iter().filter(|(_, values)| !values.is_empty()) {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        text.push_str(&format!("{key} = [{}]\n", values.join(", ")));
    }
    if let Some(scheme) = &program.default_scheme {
        text.push_str(&format!("default-scheme = {}\n", quoted(scheme)));
    }
    if let Some(port) = program.default_port {
        text.push_str(&format!("default-port = {port}\n"));
    }
    if let Some(advice) = &program.advice {
        text.push_str(&format!("advice = {}\n", quoted(advice)));
    }
    text
}

/// An option's values; `None` when there is none, and only one would do.
fn value(option: &Opt, values: &[OsString]) -> Option<String> {
    let one = |value: &OsString| {
        let text = value.to_string_lossy();
        let is_bare = match option.kind {
            Kind::Switch => true,
            // TOML's numbers have no more bits (TOML 1.0, Integer).
            Kind::Number => text.parse::<i64>().is_ok(),
            Kind::Path | Kind::Text => false,
        };
        if is_bare {
            text.into_owned()
        } else {
            quoted(&text)
        }
    };
    if option.is_list {
        let values: Vec<String> = values.iter().map(one).collect();
        return Some(format!("[{}]", values.join(", ")));
    }
    values.first().map(one)
}

/// A basic string of TOML, with nothing in it that a terminal acts on.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_harmful(c) => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// clap takes the full stop away.
fn sentence(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    format!("{}.", first.trim_end_matches('.'))
}

fn comment(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let lines = textwrap::wrap(&words, WIDTH);
    lines.iter().map(|line| format!("# {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Said, tables};

    fn said(text: &str) -> Said {
        Said::parse(text, "c.toml", &tables()).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"))
    }

    #[test]
    fn a_template_says_nothing() {
        let tables = tables();
        let text = template(&tables);
        assert_eq!(said(&text), Said::default());
        for table in &tables {
            for option in &table.options {
                assert!(
                    text.contains(&format!("\n#{} = ", option.key)),
                    "{}",
                    option.key
                );
            }
        }
        // With the # away from each option that has a built-in value, it is that value.
        let mut bare = String::new();
        let mut table = None;
        for line in text.lines() {
            let name = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'));
            table = name
                .and_then(|name| tables.iter().find(|one| one.name == name))
                .or(table);
            let key = line
                .strip_prefix('#')
                .and_then(|line| line.split_once(" = "));
            let option = key.and_then(|(key, _)| table?.option(key));
            let is_set =
                option.is_some_and(|option| option.is_list || !option.built_in().is_empty());
            bare.push_str(if is_set { &line[1..] } else { line });
            bare.push('\n');
        }
        let said = said(&bare);
        for table in &tables {
            for option in &table.options {
                let setting = said
                    .setting(table, option)
                    .map(|setting| setting.values.clone());
                assert_eq!(
                    setting.unwrap_or_default(),
                    option.built_in(),
                    "{}",
                    option.key
                );
            }
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        let hostile = "a\"b\\c\u{1b}[31m\u{202e}\n\u{e0001}";
        let programs = Programs::parse(
            "[[program]]\nname = [\"x\", \"y\"]\nproxy-options = \"-x\"\nenvironment = \"E\"\nno-proxy = \"N\"\n\
             direct-options = \"-d\"\nbypass-options = \"-b\"\ndefault-scheme = \"socks5\"\ndefault-port = 1081\n\
             resolves-itself = \"socks4\"\nleaves-names = \"socks5\"\nignores = \"http\"\nadvice = \"do \\\"it\\\"\"\n",
            "c.toml",
        )
        .unwrap();
        assert_eq!(said(&effective(&[], &programs)).programs.programs.len(), 1);
        let mut again = said(&effective(&[], &programs)).programs;
        again.programs[0]
            .place
            .clone_from(&programs.programs[0].place);
        assert_eq!(again, programs);
        let text = format!("[watch]\nrecord = {}\n", quoted(hostile));
        assert!(!text.replace('\n', "").chars().any(is_harmful), "{text}");
        let tables = tables();
        let watch = tables.iter().find(|table| table.name == "watch").unwrap();
        let setting = said(&text)
            .setting(watch, watch.option("record").unwrap())
            .cloned();
        assert_eq!(setting.unwrap().values, [hostile]);
    }
}
