//! `leakmon explain`: the chain of one finding.

mod chain;
mod words;

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use anyhow::bail;

use self::chain::{Chain, Search};
use super::{
    CLEAN,
    output::{is_colored, written},
};
use crate::{
    cli,
    saved::{Saved, SavedError},
    sink::{json, printable},
};

/// Shows the chain of one finding.
///
/// # Errors
/// When what was saved cannot be read to its end, what is before that having been shown; when it has no such finding; when
/// the output cannot be written.
pub fn run(args: &cli::Explain) -> anyhow::Result<ExitCode> {
    let saved = Saved::open(&args.file)?;
    let (search, fault) = Search::through(&saved, &args.finding)?;
    let Some(found) = search.found else {
        let part = fault.map_or_else(String::new, |fault| {
            format!(" in what can be read of it ({})", fault.words())
        });
        bail!(
            "{} has no finding {}{part}: {}",
            saved.path().display(),
            args.finding,
            search.others.words()
        );
    };
    if found.runs > 1 {
        eprintln!(
            "leakmon: {} holds several runs, and {} of them have a finding {}: this is the last one's",
            printable(&saved.path().display().to_string()),
            found.runs,
            printable(&args.finding),
        );
    }
    let (chain, fault) = Chain::of(&saved, found, fault)?;
    written(write(&chain, args.json))?;
    done(fault)
}

fn write(chain: &Chain, as_json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout());
    if as_json {
        json::write_line(&mut out, &chain.json())?;
    } else {
        words::write(&mut out, chain, is_colored())?;
    }
    out.flush()
}

/// The end of what was shown as far as it goes.
fn done(fault: Option<SavedError>) -> anyhow::Result<ExitCode> {
    match fault {
        Some(fault) => Err(fault.into()),
        None => Ok(ExitCode::from(CLEAN)),
    }
}

#[cfg(test)]
mod tests;
