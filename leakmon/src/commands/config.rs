//! `leakmon config`: what can be configured, what is, and what is wrong in it.

mod text;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};

use super::{CLEAN, FAILED};
use crate::{
    capture::machine,
    cli::{self, ConfigAction},
    config::{
        Fault, Named, Place, Sources, Table, Variables, effective, places, read_file, tables,
    },
    sink::printable,
};

/// Checks, shows or begins the configuration; the file is the one that the command line names.
///
/// # Errors
/// When what is to be shown cannot be understood, or something cannot be written.
pub fn run(args: &cli::Config, named: Option<&Path>) -> anyhow::Result<ExitCode> {
    let variables = Variables::of_this_process();
    let tables = tables();
    match &args.action {
        ConfigAction::Check { files } if files.is_empty() => {
            check(Named::of(named, &variables).as_ref(), variables, &tables)
        }
        ConfigAction::Check { files } => check_files(files, &tables),
        ConfigAction::Show => show(Named::of(named, &variables).as_ref(), variables, &tables),
        ConfigAction::Init { file } => {
            ensure!(
                named.is_none(),
                "config init reads no file: to write one, leave --config away, as leakmon config init FILE"
            );
            init(file.as_deref(), &text::template(&tables))
        }
    }
}

/// Checks what leakmon would read.
fn check(
    named: Option<&Named>,
    variables: Variables,
    tables: &[Table],
) -> anyhow::Result<ExitCode> {
    let mut faults = Vec::new();
    if let Err(wrong) = variables.check_names(tables) {
        faults.push(wrong);
    }
    for table in tables {
        for option in &table.options {
            faults.extend(variables.setting(option).err());
        }
    }
    let sources = Sources::read(named, variables);
    let faulty = match &sources {
        Ok(sources) => {
            // A variable's fault was found above.
            if faults.is_empty() {
                let effective = tables
                    .iter()
                    .map(|table| effective(table, &[], sources).err());
                faults.extend(effective.flatten());
            }
            &[][..]
        }
        Err(wrong) => &wrong[..],
    };
    faults.extend(faulty.iter().cloned());
    // One variable is an option of several commands.
    faults.dedup();
    let paths = named.map_or_else(places, |named| vec![named.path.clone()]);
    let mut good = String::new();
    for path in paths {
        let shown = path.display().to_string();
        let is_faulty = faulty.iter().any(|fault| match &fault.place {
            Place::Line { path, .. } | Place::File(path) => *path == shown,
            Place::Variable(_) => false,
        });
        if !is_faulty {
            let state = if path.exists() { "ok" } else { "not there" };
            good.push_str(&format!("{}: {state}\n", printable(&shown)));
        }
    }
    told(&good, &faults)
}

/// Checks files, whether or not leakmon would read them.
fn check_files(files: &[PathBuf], tables: &[Table]) -> anyhow::Result<ExitCode> {
    let mut faults = Vec::new();
    let mut good = String::new();
    for path in files {
        let shown = path.display().to_string();
        match read_file(path, tables) {
            Ok(Some(_)) => good.push_str(&format!("{}: ok\n", printable(&shown))),
            Ok(None) => faults.push(Fault::new(Place::File(shown), "does not exist")),
            Err(wrong) => faults.extend(wrong),
        }
    }
    told(&good, &faults)
}

fn told(good: &str, faults: &[Fault]) -> anyhow::Result<ExitCode> {
    put(good)?;
    for fault in faults {
        eprintln!("leakmon: {}", printable(&fault.to_string()));
    }
    Ok(ExitCode::from(if faults.is_empty() {
        CLEAN
    } else {
        FAILED
    }))
}

fn show(named: Option<&Named>, variables: Variables, tables: &[Table]) -> anyhow::Result<ExitCode> {
    let wrong = |fault: Fault| anyhow::anyhow!("{fault}");
    variables.check_names(tables).map_err(wrong)?;
    let sources = Sources::read(named, variables).map_err(|faults| {
        let first = faults.into_iter().next();
        first.map_or_else(|| anyhow::anyhow!("no file could be read"), wrong)
    })?;
    let mut shown = Vec::new();
    for table in tables {
        shown.push((table, effective(table, &[], &sources).map_err(wrong)?));
    }
    put(&text::effective(&shown, &sources.programs()))?;
    Ok(ExitCode::from(CLEAN))
}

/// Writes a new file, or to standard output. Everybody may read it: it holds nothing, and users read the machine's.
fn init(file: Option<&Path>, text: &str) -> anyhow::Result<ExitCode> {
    let Some(path) = file else {
        put(text)?;
        return Ok(ExitCode::from(CLEAN));
    };
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path);
    let shown = path.display();
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => Ok(ExitCode::from(CLEAN)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("cannot write {shown}: it exists already; remove it or choose another name")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("cannot write {shown}: its folder does not exist; make it with mkdir -p")
        }
        Err(error) => bail!("cannot write {shown}: {}", machine::plain(&error)),
    }
}

/// A reader who closed the pipe wants no more: that is no error.
fn put(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("the output could not be written")
        }
        _ => Ok(()),
    }
}
