//! Standard output in the wanted form.

use std::{
    future::pending,
    io::{self, BufWriter, IsTerminal, Stdout, Write},
};

use anyhow::Context;

use crate::{
    cli,
    model::Report,
    sink::{Json, Lines, Sink, Style, Tui, is_fit, printable, wants_color},
    time::Timestamp,
};

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Somebody does.
    Reading,
    /// The reader of the live view wants the end of the run.
    Leaving,
    /// The pipe was closed: there is nothing left to do.
    Gone,
}

/// Whether standard output is a terminal whose user wants colours (<https://no-color.org>).
pub fn is_colored() -> bool {
    io::stdout().is_terminal()
        && wants_color()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Writes to standard output what is ready as a whole.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    written(out.write_all(text).and_then(|()| out.flush()))
}

/// What became of writing to standard output. A reader who closed the pipe wants no more: that is no error.
///
/// # Errors
/// When it could not be written.
pub fn written(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("the output could not be written")
        }
        _ => Ok(()),
    }
}

/// Standard output.
pub enum Output {
    /// Line by line.
    Stream(Box<dyn Sink>),
    /// A live view.
    View(Box<Tui>),
}

impl Output {
    /// Output line by line, as the options want it.
    #[must_use]
    pub fn new(args: &cli::Form) -> Self {
        let out: BufWriter<Stdout> = BufWriter::new(io::stdout());
        let color = is_colored();
        Self::Stream(if args.json {
            Box::new(Json::new(out))
        } else {
            let all = args.all;
            Box::new(Lines::new(out, Style { all, color }))
        })
    }

    /// The output of a live run: a view where there is a terminal for it, unless the options want lines.
    ///
    /// # Errors
    /// When the terminal does not take the view.
    pub fn live(args: &cli::Watch) -> anyhow::Result<Self> {
        if args.form.json || args.plain || !is_fit() {
            return Ok(Self::new(&args.form));
        }
        let mut view = Tui::new(true, args.form.all);
        view.open().context(NO_VIEW)?;
        Ok(Self::View(Box::new(view)))
    }

    /// The output of a replay: a view that is not shown yet, if it is wanted and there is a terminal for it.
    #[must_use]
    pub fn of_recording(args: &cli::Replay) -> Self {
        if args.tui && is_fit() {
            return Self::View(Box::new(Tui::new(false, args.form.all)));
        }
        if args.tui {
            eprintln!("leakmon: there is no terminal here for --tui: lines instead");
        }
        Self::new(&args.form)
    }

    /// Writes reports, and what is due at `now`. A reader who closed the pipe wants no more: that is no error.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn write(
        &mut self,
        reports: impl IntoIterator<Item = Report>,
        now: Option<Timestamp>,
    ) -> anyhow::Result<Audience> {
        let sink: &mut dyn Sink = match self {
            Self::Stream(sink) => sink.as_mut(),
            Self::View(view) => view.as_mut(),
        };
        let written = reports
            .into_iter()
            .try_for_each(|report| sink.report(&report))
            .and_then(|()| now.map_or(Ok(()), |now| sink.tick(now)))
            .and_then(|()| sink.flush());
        match written {
            Ok(()) if matches!(self, Self::View(view) if view.leaves()) => Ok(Audience::Leaving),
            Ok(()) => Ok(Audience::Reading),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Audience::Gone),
            Err(error) => Err(error).context("the output could not be written"),
        }
    }

    /// Waits until the output wants to be written again though nothing new may be there: a key was pressed. For ever
    /// when there is no view.
    pub async fn wanted(&mut self) {
        match self {
            Self::Stream(_) => pending().await,
            Self::View(view) => view.wanted().await,
        }
    }

    /// Tells the reader of a view what is not seen; lines have it on standard error.
    pub fn note(&mut self, note: &str) {
        if let Self::View(view) = self {
            view.note(note.to_owned());
        }
    }

    /// Tells of a trouble that does not end the run: in a view, else on standard error.
    pub fn say(&mut self, trouble: &str) {
        match self {
            Self::Stream(_) => eprintln!("leakmon: {}", printable(trouble)),
            Self::View(view) => view.note(trouble.to_owned()),
        }
    }

    /// Ends a view, and leaves its summary on the terminal.
    ///
    /// # Errors
    /// When the summary cannot be written.
    pub fn close(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::View(view) => view.close().context("the output could not be written"),
        }
    }
}

/// What could not be done.
pub const NO_VIEW: &str = "the terminal does not take the live view; --plain writes lines";
