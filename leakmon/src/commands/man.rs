//! `leakmon man`: manual pages, made from the definition of the command line.

use std::{fs, io, path::Path, process::ExitCode};

use anyhow::anyhow;
use clap::{Command, CommandFactory};
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};

use super::{CLEAN, output};
use crate::{capture::machine, cli, config, version};

/// What each exit code means; the codes are those of this module's parent.
const EXIT_STATUS: [(&str, &str); 3] = [
    (
        "0",
        "leakmon did what it was asked, and nothing leaked, or the command does not judge.",
    ),
    (
        "1",
        "A leak was found, or will happen: watch with --duration, replay and audit say so.",
    ),
    (
        "2",
        "leakmon could not do its work; one line on standard error says why.",
    ),
];

/// Variables that leakmon reads besides those of options.
const VARIABLES: [(&str, &str); 4] = [
    ("LEAKMON_CONFIG", "Stands for --config."),
    (
        "LEAKMON_LOG",
        "What leakmon tells of itself on standard error: error, warn (the default), info, debug or trace, also for one part \
         of it, as leakmon::capture=debug.",
    ),
    (
        "NO_COLOR",
        "When it is set and not empty, nothing is coloured.",
    ),
    (
        "XDG_CONFIG_HOME",
        "The folder of the user's configuration, instead of ~/.config.",
    ),
];

/// Prints the page of leakmon itself, or writes one for each command.
///
/// # Errors
/// When a page cannot be written.
pub fn run(args: &cli::Man) -> anyhow::Result<ExitCode> {
    let pages = pages()?;
    match &args.out {
        None => output::print(&pages[0].1)?,
        Some(folder) => write_all(folder, &pages)?,
    }
    Ok(ExitCode::from(CLEAN))
}

fn write_all(folder: &Path, pages: &[(String, Vec<u8>)]) -> anyhow::Result<()> {
    let fault = |path: &Path, error: &io::Error| {
        anyhow!("cannot write {}: {}", path.display(), machine::plain(error))
    };
    fs::create_dir_all(folder).map_err(|error| fault(folder, &error))?;
    for (name, text) in pages {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| fault(&path, &error))?;
    }
    Ok(())
}

/// File names and texts of all pages, that of leakmon itself first.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut leakmon = cli::Cli::command().disable_help_subcommand(true);
    leakmon.build();
    let mut pages = vec![page(&leakmon, &leakmon)?];
    for command in leakmon.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        pages.push(page(command, &leakmon)?);
    }
    Ok(pages)
}

fn page(command: &Command, leakmon: &Command) -> io::Result<(String, Vec<u8>)> {
    // Headings are for the eye on a terminal: a manual page has one section of options.
    let flat = command
        .clone()
        .mut_args(|arg| arg.help_heading(None::<&str>));
    // The commit's date: no page may tell when it was made. A word has to be there, or the next one takes its place.
    let date = version::commit().and_then(|commit| commit.split_once(", "));
    let man = Man::new(flat)
        .date(date.map_or(" ", |(_, date)| date))
        .source(format!("leakmon {}", version::NUMBER))
        .manual("User Commands");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let is_leakmon = command.get_name() == leakmon.get_name();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    if let Some(examples) = command.get_after_long_help() {
        add_examples(&mut rest, &examples.to_string());
    }
    rest.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_STATUS {
        add_item(&mut rest, code, meaning);
    }
    rest.control("SH", ["ENVIRONMENT"]);
    let tables = config::tables();
    let table = tables.iter().find(|table| table.name == command.get_name());
    for option in table.iter().flat_map(|table| &table.options) {
        add_item(
            &mut rest,
            &option.variable(),
            &format!("Stands for --{}, where that is not given.", option.key),
        );
    }
    for (variable, meaning) in VARIABLES {
        add_item(&mut rest, variable, meaning);
    }
    rest.control("SH", ["FILES"]);
    add_item(&mut rest, config::MACHINE, "The machine's configuration.");
    let own = format!("~/.config/{}", config::BELOW_CONFIG);
    add_item(
        &mut rest,
        &own,
        "The user's own, of which each setting counts more.",
    );
    rest.control("SH", ["SEE ALSO"]);
    let mut others = vec![
        "tor(1)".to_owned(),
        "torsocks(1)".to_owned(),
        "tcpdump(8)".to_owned(),
    ];
    if !is_leakmon {
        others.insert(0, "leakmon(1)".to_owned());
    }
    rest.text(see(&others));
    rest.to_writer(&mut text)?;
    Ok((man.get_filename(), text))
}

/// A name in bold type, and what it is.
fn add_item(roff: &mut Roff, name: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(meaning)]);
}

/// The examples that `--help` ends with: what for by two spaces, command lines by four.
fn add_examples(roff: &mut Roff, examples: &str) {
    roff.control("SH", ["EXAMPLES"]);
    for line in examples.lines().skip(1) {
        match line.strip_prefix("    ") {
            Some(command_line) => {
                roff.control("RS", ["4"]);
                roff.control("EX", []);
                roff.text([roman(command_line)]);
                roff.control("EE", []);
                roff.control("RE", []);
            }
            None => {
                roff.control("PP", []);
                roff.text([roman(line.trim_start())]);
            }
        }
    }
}

/// Pages, as `tor(1), tcpdump(8)`.
fn see(pages: &[String]) -> Vec<Inline> {
    let mut line = Vec::new();
    for page in pages {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        line.push(bold(name));
        line.push(roman(format!("({section}")));
    }
    line
}
