//! `leakmon report`: one page of what was saved.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};

use super::{CLEAN, FAILED, output};
use crate::{
    capture::machine,
    cli::{self, ReportFormat},
    report::{Collector, Contents, html, junit, markdown, sarif},
    saved::Saved,
    sink::{json, printable},
};

/// Makes a report.
///
/// # Errors
/// When a file is nothing that leakmon saved, or the report cannot be written.
pub fn run(args: &cli::Report) -> anyhow::Result<ExitCode> {
    let (form, target) = target(args)?;
    // Before anything is read: it may be much.
    if let Some(target) = target
        && !args.force
        && target.symlink_metadata().is_ok()
    {
        bail!("{}", exists(target));
    }
    let inputs = args.files.iter().filter(|file| *file == Path::new("-"));
    ensure!(
        inputs.count() <= 1,
        "standard input (-) can be read only once"
    );
    let mut collector = Collector::default();
    let mut whole = true;
    for file in &args.files {
        if let Some(fault) = collector.add(&Saved::open(file)?)? {
            whole = false;
            eprintln!("leakmon: {}", printable(&fault.to_string()));
        }
    }
    let files: Vec<String> = args
        .files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let text = rendered(&collector.contents(), form, &files.join(" "))?;
    match target {
        Some(target) => write_file(target, &text, args.force)?,
        None => output::print(&text)?,
    }
    Ok(ExitCode::from(if whole { CLEAN } else { FAILED }))
}

/// In which form, and where to.
fn target(args: &cli::Report) -> anyhow::Result<(ReportFormat, Option<&PathBuf>)> {
    if let Some(target) = &args.html {
        return Ok((ReportFormat::Html, Some(target)));
    }
    let target = args.output.as_ref();
    if let Some(form) = args.format {
        return Ok((form, target));
    }
    let Some(target) = target else {
        return Ok((ReportFormat::Markdown, None));
    };
    let end = target.extension().and_then(|end| end.to_str());
    let form = match end.map(str::to_ascii_lowercase).as_deref() {
        Some("html" | "htm") => ReportFormat::Html,
        Some("md" | "markdown") => ReportFormat::Markdown,
        Some("json") => ReportFormat::Json,
        Some("xml") => ReportFormat::Junit,
        Some("sarif") => ReportFormat::Sarif,
        _ => bail!(
            "the name of {} does not tell the report's form: have it end in .html, .md, .json, .xml or .sarif, or say --format",
            target.display()
        ),
    };
    Ok((form, Some(target)))
}

fn rendered(contents: &Contents, form: ReportFormat, what: &str) -> anyhow::Result<Vec<u8>> {
    Ok(match form {
        ReportFormat::Html => html::page(contents).into_bytes(),
        ReportFormat::Markdown => markdown::text(contents).into_bytes(),
        ReportFormat::Junit => junit::text(contents, what).into_bytes(),
        ReportFormat::Sarif => sarif::text(contents, what).into_bytes(),
        ReportFormat::Json => {
            let mut line = Vec::new();
            json::write_line(&mut line, contents)
                .context("the report could not be put into JSON")?;
            line
        }
    })
}

/// Makes a file that its owner alone can read, as a recording is: names are private. One that is to be replaced is replaced
/// in one step, so that it is never half a report.
fn write_file(target: &Path, text: &[u8], force: bool) -> anyhow::Result<()> {
    let fault = |error: &io::Error| {
        format!(
            "cannot write {}: {}",
            target.display(),
            machine::plain(error)
        )
    };
    if !force {
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(target);
        return match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!("{}", exists(target))
            }
            Err(error) => bail!("{}", fault(&error)),
            Ok(mut file) => file
                .write_all(text)
                .map_err(|error| anyhow::anyhow!(fault(&error))),
        };
    }
    ensure!(
        target.metadata().is_ok_and(|found| found.is_file()) || !target.exists(),
        "cannot write {}: it is no plain file",
        target.display()
    );
    // What a link leads to is replaced, and not the link.
    let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    tempfile::NamedTempFile::new_in(folder)
        .and_then(|mut file| {
            file.write_all(text)?;
            file.persist(&target).map_err(|error| error.error)
        })
        .map_err(|error| anyhow::anyhow!(fault(&error)))?;
    Ok(())
}

fn exists(target: &Path) -> String {
    format!(
        "cannot write {}: it exists already; --force replaces it",
        target.display()
    )
}
