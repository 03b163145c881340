//! What an earlier run said: a recording (`watch --record`) or saved JSON lines (`watch --json`, `audit --json`), read as
//! the lines of the output contract either way.
//!
//! One line is held at a time. Where a file is read twice, it is the file that is read twice, and not its lines that are
//! kept; what can be read only once, as a pipe, is kept in a file without a name.

mod line;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

pub use line::{
    Answer, App, Evidence, Finding, Loss, Process, Profile, ProxySession, ProxySetting, Query,
    Said, Setup, Summary,
};

use crate::{
    capture::{
        Event, machine,
        recording::{self, RecordingError},
    },
    model::{CONTRACT, Report},
    pipeline::{Filter, Pipeline},
    sink::json,
    time::Timestamp,
};

/// Longest line of JSON. What leakmon writes is far shorter, a posture with its files included.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// Why what was saved could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// The file could not be opened or read.
    #[error("cannot read {}: {reason}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is something else.
    #[error("{} is neither a recording of leakmon's nor its JSON lines", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A line of it was changed or cut off.
    #[error("{}, line {line}: {reason}; what is before it is shown", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// The recording cannot be read to its end.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

impl SavedError {
    /// Whether what is before the fault was read, so that it can be shown.
    #[must_use]
    pub fn shows_what_is_before(&self) -> bool {
        match self {
            Self::Line { .. } => true,
            Self::Recording(error) => matches!(
                error,
                RecordingError::Truncated { .. } | RecordingError::Damaged { .. }
            ),
            _ => false,
        }
    }

    /// What is wrong, for a sentence about the file in which nothing of it is shown.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Line { line, reason, .. } => format!("line {line}: {reason}"),
            Self::Recording(RecordingError::Truncated { events, .. }) => {
                format!("it was cut off after {events} events")
            }
            Self::Recording(RecordingError::Damaged { events, .. }) => {
                format!("it is damaged after {events} events")
            }
            error => error.to_string(),
        }
    }
}

/// The form in which something was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A recording.
    Recording,
    /// JSON lines.
    Json,
}

impl Form {
    /// The word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Json => "JSON lines",
        }
    }
}

/// Something that was saved, open for reading.
#[derive(Debug)]
pub struct Saved {
    /// For messages.
    path: PathBuf,
    file: File,
    /// Where in the file it begins: standard input may stand anywhere.
    start: u64,
    form: Form,
}

impl Saved {
    /// Opens a file; `-` is standard input.
    ///
    /// # Errors
    /// When it cannot be read, or is nothing that leakmon saved.
    pub fn open(path: &Path) -> Result<Self, SavedError> {
        let is_input = path == Path::new("-");
        let path = if is_input {
            Path::new("standard input")
        } else {
            path
        };
        let unreadable = |error: io::Error| SavedError::Unreadable {
            path: path.to_owned(),
            reason: machine::plain(&error),
        };
        let file = if is_input {
            io::stdin().as_fd().try_clone_to_owned().map(File::from)
        } else {
            File::open(path)
        };
        Self::of(path, file.map_err(unreadable)?)
    }

    /// What an open file holds from where it stands; the path is for messages only.
    ///
    /// # Errors
    /// When it cannot be read, or is nothing that leakmon saved.
    pub fn of(path: &Path, mut file: File) -> Result<Self, SavedError> {
        let unreadable = |error: io::Error| SavedError::Unreadable {
            path: path.to_owned(),
            reason: machine::plain(&error),
        };
        if !file.metadata().map_err(unreadable)?.is_file() {
            let mut copy = tempfile::tempfile().map_err(unreadable)?;
            io::copy(&mut file, &mut copy).map_err(unreadable)?;
            copy.rewind().map_err(unreadable)?;
            file = copy;
        }
        let start = file.stream_position().map_err(unreadable)?;
        let mut first = [0];
        let read = (&file).read(&mut first).map_err(unreadable)?;
        let form = if read == 1 && first[0] == b'{' {
            Form::Json
        } else {
            Form::Recording
        };
        let saved = Self {
            path: path.to_owned(),
            file,
            start,
            form,
        };
        // Whether it is one of leakmon's is known from its beginning.
        let mut lines = saved.lines()?;
        if form == Form::Json && matches!(lines.next_line(), Err(SavedError::Line { .. })) {
            return Err(SavedError::Foreign { path: saved.path });
        }
        Ok(saved)
    }

    /// Its path, or `standard input`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The form in which it was saved.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Its lines from the beginning.
    ///
    /// # Errors
    /// When it cannot be read, or is a recording of a later version.
    pub fn lines(&self) -> Result<Lines<'_>, SavedError> {
        let mut input = BufReader::new(&self.file);
        input
            .seek(SeekFrom::Start(self.start))
            .map_err(|error| self.unreadable(&error))?;
        let source = match self.form {
            Form::Json => Source::Json { input, number: 0 },
            Form::Recording => {
                let reader = recording::Reader::new(&self.path, input).map_err(|error| {
                    match error {
                        // Shorter than a recording's head.
                        RecordingError::Foreign { .. } | RecordingError::Truncated { .. } => {
                            SavedError::Foreign {
                                path: self.path.clone(),
                            }
                        }
                        error => error.into(),
                    }
                })?;
                Source::Recording(Box::new(Replay {
                    reader,
                    pipeline: Pipeline::new(Filter::default()),
                    ready: VecDeque::new(),
                    last: None,
                    end: None,
                }))
            }
        };
        Ok(Lines {
            saved: self,
            source,
            run: 1,
            ended: false,
        })
    }

    /// Hands each line on, from the beginning. With what keeps it from being read to its end.
    ///
    /// # Errors
    /// When nothing can be read.
    pub fn each(&self, mut take: impl FnMut(Line)) -> Result<Option<SavedError>, SavedError> {
        let mut lines = self.lines()?;
        loop {
            match lines.next_line() {
                Ok(Some(line)) => take(line),
                Ok(None) => return Ok(None),
                Err(fault) if fault.shows_what_is_before() => return Ok(Some(fault)),
                Err(error) => return Err(error),
            }
        }
    }

    fn unreadable(&self, error: &io::Error) -> SavedError {
        SavedError::Unreadable {
            path: self.path.clone(),
            reason: machine::plain(error),
        }
    }
}

/// A line of what was saved.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which of the runs that the file holds, from 1: a summary ends one. Ids are of one run.
    pub run: u64,
    /// The object as the contract has it.
    pub value: Value,
    /// The same, read.
    pub said: Said,
}

/// The lines of what was saved, one at a time, in their order.
pub struct Lines<'a> {
    saved: &'a Saved,
    source: Source<'a>,
    run: u64,
    /// The last line ended a run.
    ended: bool,
}

enum Source<'a> {
    Recording(Box<Replay<'a>>),
    Json {
        input: BufReader<&'a File>,
        number: u64,
    },
}

/// A recording on its way through the pipeline.
struct Replay<'a> {
    reader: recording::Reader<BufReader<&'a File>>,
    pipeline: Pipeline,
    ready: VecDeque<Report>,
    /// Time of the last event, while the run has no end of its own.
    last: Option<Timestamp>,
    /// There are no more events, and why.
    end: Option<Option<RecordingError>>,
}

impl Replay<'_> {
    /// The next report. After the last one what is wrong with the recording, once.
    fn next_report(&mut self) -> Result<Option<Report>, RecordingError> {
        loop {
            if let Some(report) = self.ready.pop_front() {
                return Ok(Some(report));
            }
            if let Some(end) = &mut self.end {
                // A run that was killed has no end of its own.
                if let Some(at) = self.last.take() {
                    self.ready.extend(self.pipeline.feed(Event::End(at)));
                    continue;
                }
                return end.take().map_or(Ok(None), Err);
            }
            match self.reader.next_event() {
                Ok(Some(event)) => {
                    self.last = match event {
                        Event::End(_) => None,
                        _ => event.at().or(self.last),
                    };
                    self.ready.extend(self.pipeline.feed(event));
                }
                Ok(None) => self.end = Some(None),
                Err(fault) => self.end = Some(Some(fault)),
            }
        }
    }
}

impl Lines<'_> {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When nothing more can be read: what came before is all there is.
    pub fn next_line(&mut self) -> Result<Option<Line>, SavedError> {
        let (value, number) = match &mut self.source {
            Source::Recording(replay) => match replay.next_report()? {
                Some(report) => {
                    let value = json::value(&report).map_err(|error| SavedError::Unreadable {
                        path: self.saved.path.clone(),
                        reason: error.to_string(),
                    })?;
                    (value, 0)
                }
                None => return Ok(None),
            },
            Source::Json { input, number } => {
                let text = next_text(input).map_err(|error| self.saved.unreadable(&error))?;
                let Some(text) = text else { return Ok(None) };
                *number += 1;
                let value = parse(&text).map_err(|reason| SavedError::Line {
                    path: self.saved.path.clone(),
                    line: *number,
                    reason,
                })?;
                (value, *number)
            }
        };
        let said = Said::deserialize(&value).map_err(|error| SavedError::Line {
            path: self.saved.path.clone(),
            line: number,
            reason: format!("no line of leakmon's: {error}"),
        })?;
        self.run += u64::from(std::mem::take(&mut self.ended));
        self.ended = matches!(said, Said::Summary(_));
        Ok(Some(Line {
            run: self.run,
            value,
            said,
        }))
    }
}

/// The next line with its end, or as much of it as a line may have; `None` at the end.
fn next_text(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    let read = input.take(MAX_LINE).read_until(b'\n', &mut text)?;
    Ok((read > 0).then_some(text))
}

/// The object of a line, or what is wrong with it.
fn parse(text: &[u8]) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(text).map_err(|_| {
        match text.last() {
            _ if text.len() as u64 == MAX_LINE => "too long for a line of leakmon's",
            Some(b'\n') => "no JSON",
            _ => "cut off",
        }
        .to_owned()
    })?;
    match value.get("v") {
        Some(version) if *version == CONTRACT => Ok(value),
        Some(version) => Err(format!(
            "version {version} of leakmon's JSON, and this leakmon reads {CONTRACT}"
        )),
        None => Err("no line of leakmon's".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SUMMARY: &str = r#"{"v":1,"type":"summary","ts":"2026-01-01T00:00:00.000000000Z","apps":[],"findings":0,"lost":0,"unfollowed":0,"undecoded":0}"#;

    fn saved(bytes: &[u8]) -> Result<Saved, SavedError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        Saved::of(Path::new("x"), file)
    }

    /// The runs of the lines that can be read, and what is wrong after them.
    fn runs(saved: &Saved) -> (Vec<u64>, Option<String>) {
        let mut lines = saved.lines().unwrap();
        let mut runs = Vec::new();
        loop {
            match lines.next_line() {
                Ok(Some(line)) => runs.push(line.run),
                Ok(None) => return (runs, None),
                Err(error) => return (runs, Some(error.to_string())),
            }
        }
    }

    #[test]
    fn runs_are_told_apart_and_read_again_and_again() {
        let later = r#"{"v":1,"type":"what-comes-later","new":[{}]}"#;
        let saved = saved(format!("{later}\n{SUMMARY}\n{SUMMARY}\n{later}\n").as_bytes()).unwrap();
        assert_eq!(saved.form(), Form::Json);
        for _ in 0..2 {
            assert_eq!(runs(&saved), (vec![1, 1, 2, 3], None));
        }
    }

    #[test]
    fn other_files_are_told_from_leakmons() {
        for other in [
            "",
            "\n",
            "leak",
            "leakmon\n",
            "{",
            "{}\n",
            "{\"v\":2,\"type\":\"loss\"}\n",
            "leakmon: watching this machine\n",
            "\u{7f}ELF and much more of it",
        ] {
            let fault = saved(other.as_bytes()).unwrap_err();
            assert_eq!(
                fault.to_string(),
                "x is neither a recording of leakmon's nor its JSON lines",
                "{other:?}"
            );
            assert!(!fault.shows_what_is_before());
        }
        let later = saved(b"leakmon\n\xff\xff\0\0").unwrap_err().to_string();
        assert!(later.contains("has format 65535"), "{later}");
    }

    #[test]
    fn a_damaged_line_is_named() {
        let cut = &SUMMARY[..40];
        for (second, words) in [
            (cut.to_owned(), "cut off"),
            (format!("{cut}\n{SUMMARY}\n"), "no JSON"),
            (SUMMARY.replace("\"v\":1", "\"v\":2") + "\n", "version 2 of"),
            ("{\"a\":1}\n".to_owned(), "no line of leakmon's"),
            ("\n".to_owned(), "no JSON"),
            (
                SUMMARY.replace("\"ts\"", "\"at\"") + "\n",
                "missing field `ts`",
            ),
            (
                SUMMARY.replace("2026", "last") + "\n",
                "no line of leakmon's",
            ),
            ("[".repeat(100_000) + "\n", "no JSON"),
        ] {
            let saved = saved(format!("{SUMMARY}\n{second}").as_bytes()).unwrap();
            let (lines, fault) = runs(&saved);
            let fault = fault.unwrap();
            assert_eq!(lines, [1]);
            assert!(
                fault.starts_with("x, line 2: ") && fault.contains(words),
                "{fault}"
            );
        }
    }

    #[test]
    fn no_line_is_without_end() {
        let long = vec![b' '; usize::try_from(MAX_LINE).unwrap() + 9];
        let saved = saved(&[SUMMARY.as_bytes(), b"\n{", &long[..]].concat()).unwrap();
        let fault = runs(&saved).1.unwrap();
        assert!(fault.contains("line 2: too long"), "{fault}");
    }

    #[test]
    fn what_a_pipe_brings_can_be_read_twice() {
        let (read, mut write) = io::pipe().unwrap();
        write.write_all(format!("{SUMMARY}\n").as_bytes()).unwrap();
        drop(write);
        let saved =
            Saved::of(Path::new("x"), File::from(std::os::fd::OwnedFd::from(read))).unwrap();
        for _ in 0..2 {
            assert_eq!(runs(&saved), (vec![1], None));
        }
    }
}
