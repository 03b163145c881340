//! Where the report of a run goes, and in which form.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, IsTerminal, Write},
    os::unix::fs::{OpenOptionsExt, fchown},
    path::Path,
};

use super::in_words;
use crate::{
    capture::machine,
    cli::{self, RunFormat},
    commands::{invoker::Owner, output::Output},
    sink::{Json, Lines, Page, Style, wants_color},
};

/// What the report is written to.
pub struct Target {
    out: Box<dyn Write>,
    is_terminal: bool,
}

impl Target {
    /// Opens it before the command begins, with the privileges that it takes.
    pub fn open(args: &cli::Run, owner: Option<Owner>) -> anyhow::Result<Self> {
        Ok(match args.output.as_deref() {
            None => Self {
                out: Box::new(io::stderr()),
                is_terminal: io::stderr().is_terminal(),
            },
            Some(path) if path == Path::new("-") => Self {
                out: Box::new(io::stdout()),
                is_terminal: io::stdout().is_terminal(),
            },
            Some(path) => Self {
                out: Box::new(create(path, args.force, owner)?),
                is_terminal: false,
            },
        })
    }

    /// Writes what is reported in the form that is wanted.
    pub fn output(self, args: &cli::Run) -> Output {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let style = Style {
            all: args.all,
            color: self.is_terminal && wants_color() && !dumb,
        };
        let out = BufWriter::new(self.out);
        let what = if args.command.is_empty() {
            let pids: Vec<String> = args.pids.iter().map(u32::to_string).collect();
            format!("pid {}", pids.join(", "))
        } else {
            in_words(&args.command)
        };
        Output::Stream(match args.format {
            RunFormat::Text => Box::new(Lines::new(out, style)),
            RunFormat::Json => Box::new(Json::new(out)),
            RunFormat::Junit => Box::new(Page::junit(out, &what)),
            RunFormat::Sarif => Box::new(Page::sarif(out, &what)),
        })
    }
}

/// Makes a file that the user who called leakmon can read, and nobody else: names are private.
fn create(path: &Path, force: bool, owner: Option<Owner>) -> anyhow::Result<File> {
    let shown = path.display();
    let fault = |error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            anyhow::anyhow!("cannot write {shown}: it exists already; --force replaces it")
        }
        _ => anyhow::anyhow!("cannot write {shown}: {}", machine::plain(error)),
    };
    if force && let Ok(found) = path.symlink_metadata() {
        anyhow::ensure!(found.is_file(), "cannot write {shown}: it is no plain file");
        fs::remove_file(path).map_err(|error| fault(&error))?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| fault(&error))?;
    if let Some(owner) = owner {
        fchown(&file, Some(owner.uid), Some(owner.gid)).map_err(|error| fault(&error))?;
    }
    Ok(file)
}
