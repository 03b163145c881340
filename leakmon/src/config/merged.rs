//! Which of all that was said of an option counts.

use std::ffi::OsString;

use super::{
    fault::{Fault, Place},
    file::Setting,
    options::{Opt, Table},
    sources::Sources,
};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    CommandLine,
    /// A line of a file, or a variable.
    Said(Place),
    /// Nobody said any.
    BuiltIn,
    /// What was said at this place gives way to what counts more and does not go together with it.
    GaveWay(Place, String),
}

/// An option with the values that count.
#[derive(Clone, Debug)]
pub struct Effective<'a> {
    /// The option.
    pub option: &'a Opt,
    /// Its values; on the command line only clap knows them.
    pub values: Vec<OsString>,
    /// Where they come from.
    pub origin: Origin,
}

/// An argument that is on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its id.
    pub id: String,
    /// As it is written, for messages.
    pub shown: String,
    /// Whether it is a switch that was switched off, which goes together with everything.
    pub is_off: bool,
}

/// What somebody asks for, and how much that counts: the smaller the rank, the more.
struct Wish<'a> {
    rank: usize,
    option: &'a Opt,
    setting: Setting,
}

/// The options of a command with the values that count, beside what is on its command line.
///
/// # Errors
/// When a variable has a wrong value, or two things that count the same do not go together.
pub fn effective<'a>(
    table: &'a Table,
    given: &[Given],
    sources: &Sources,
) -> Result<Vec<Effective<'a>>, Fault> {
    let mut wishes = Vec::new();
    for option in &table.options {
        if given.iter().any(|given| given.id == option.id()) {
            continue;
        }
        let wish =
            match sources.variables.setting(option)? {
                Some(setting) => Some((0, setting)),
                None => sources.files.iter().enumerate().find_map(|(rank, file)| {
                    Some((rank + 1, file.setting(table, option)?.clone()))
                }),
            };
        wishes.extend(wish.map(|(rank, setting)| Wish {
            rank,
            option,
            setting,
        }));
    }
    // Stable: of one rank in the order of the options.
    wishes.sort_by_key(|wish| wish.rank);
    let on_line = given.iter().filter(|given| !given.is_off);
    // What was granted by now: its id, its rank, its words.
    let mut granted: Vec<(&str, Option<usize>, String)> = on_line
        .map(|given| (given.id.as_str(), None, given.shown.clone()))
        .collect();
    let mut all: Vec<Effective<'a>> = Vec::new();
    for wish in wishes {
        let option = wish.option;
        let against = granted
            .iter()
            .find(|(id, ..)| wish.setting.is_active(option) && table.conflict(id, option.id()));
        let (values, origin) = match against {
            Some((_, rank, words)) if *rank == Some(wish.rank) => {
                let what = format!("it cannot be set together with {words}");
                return Err(Fault::new(wish.setting.place, what));
            }
            Some((_, _, words)) => (
                option.built_in(),
                Origin::GaveWay(wish.setting.place, words.clone()),
            ),
            None => {
                if wish.setting.is_active(option) {
                    let words = wish.setting.place.to_string();
                    granted.push((option.id(), Some(wish.rank), words));
                }
                (wish.setting.values, Origin::Said(wish.setting.place))
            }
        };
        all.push(Effective {
            option,
            values,
            origin,
        });
    }
    for option in &table.options {
        if all.iter().any(|one| one.option.id() == option.id()) {
            continue;
        }
        let is_given = given.iter().any(|given| given.id == option.id());
        all.push(Effective {
            option,
            values: option.built_in(),
            origin: if is_given {
                Origin::CommandLine
            } else {
                Origin::BuiltIn
            },
        });
    }
    let position = |one: &Effective<'_>| {
        let mut options = table.options.iter();
        options.position(|option| option.id() == one.option.id())
    };
    all.sort_by_key(position);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Said, options::tables, sources::Variables};

    fn sources(variables: &[(&str, &str)], files: &[&str]) -> Sources {
        let read = |(at, text): (usize, &&str)| {
            Said::parse(text, &format!("{at}.toml"), &tables()).unwrap()
        };
        Sources {
            variables: Variables::of(variables.iter().map(|(a, b)| (a.into(), b.into()))),
            files: files.iter().enumerate().map(read).collect(),
        }
    }

    fn given(id: &str) -> Given {
        Given {
            id: id.to_owned(),
            shown: format!("--{id}"),
            is_off: false,
        }
    }

    /// The option's first value, and its origin.
    fn of(key: &str, given: &[Given], sources: &Sources) -> (String, Origin) {
        let tables = tables();
        let table = tables.iter().find(|table| table.name == "watch").unwrap();
        let all = effective(table, given, sources).unwrap();
        assert_eq!(all.len(), table.options.len());
        let one = all.iter().find(|one| one.option.key == key).unwrap();
        let value = one.values.first().cloned().unwrap_or_default();
        (value.into_string().unwrap(), one.origin.clone())
    }

    fn line(path: &str, line: usize) -> Origin {
        let path = path.to_owned();
        Origin::Said(Place::Line { path, line })
    }

    #[test]
    fn what_comes_first_counts() {
        let files = [
            "[watch]\nbuffer = \"8M\"\n",
            "[watch]\nall = true\nbuffer = \"16M\"\n",
        ];
        let both = sources(&[], &files);
        assert_eq!(of("buffer", &[], &both), ("8M".into(), line("0.toml", 2)));
        assert_eq!(of("all", &[], &both), ("true".into(), line("1.toml", 2)));
        assert_eq!(of("json", &[], &both), ("false".into(), Origin::BuiltIn));
        let variable = sources(&[("LEAKMON_BUFFER", "32M")], &files);
        let expected = Origin::Said(Place::Variable("LEAKMON_BUFFER".into()));
        assert_eq!(of("buffer", &[], &variable), ("32M".into(), expected));
        let (_, origin) = of("buffer", &[given("buffer")], &variable);
        assert_eq!(origin, Origin::CommandLine);
        // What is switched off by what counts more is off.
        let off = sources(&[("LEAKMON_ALL", "0")], &files);
        assert_eq!(of("all", &[], &off).0, "false");
    }

    #[test]
    fn what_does_not_go_together_gives_way() {
        let plain = sources(&[], &["[watch]\nplain = true\n"]);
        let (value, origin) = of("plain", &[given("json")], &plain);
        assert_eq!(value, "false");
        assert!(matches!(origin, Origin::GaveWay(_, words) if words == "--json"));
        let mut off = given("json");
        off.is_off = true;
        assert_eq!(of("plain", &[off], &plain).0, "true");
        let files = sources(&[], &["[watch]\njson = true\n", "[watch]\nplain = true\n"]);
        assert_eq!(of("plain", &[], &files).0, "false");
        assert_eq!(of("json", &[], &files).0, "true");
        let variables = sources(&[("LEAKMON_JSON", "1"), ("LEAKMON_PLAIN", "1")], &[]);
        let tables = tables();
        let table = tables.iter().find(|table| table.name == "watch").unwrap();
        let fault = effective(table, &[], &variables).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "LEAKMON_PLAIN: it cannot be set together with LEAKMON_JSON"
        );
    }
}
