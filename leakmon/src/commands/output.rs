//! Standard output in the wanted form.

use std::io::{self, BufWriter, IsTerminal, Stdout};

use anyhow::Context;

use crate::{
    cli,
    model::Report,
    sink::{Json, Lines, Sink, Style},
    time::Timestamp,
};

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Somebody does.
    Reading,
    /// The pipe was closed: there is nothing left to do.
    Gone,
}

/// Whether standard output is a terminal whose user wants colours (<https://no-color.org>).
pub fn is_colored() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Standard output.
pub struct Output(Box<dyn Sink>);

impl Output {
    /// Output as the options want it.
    #[must_use]
    pub fn new(args: &cli::Form) -> Self {
        let out: BufWriter<Stdout> = BufWriter::new(io::stdout());
        let color = is_colored();
        Self(if args.json {
            Box::new(Json::new(out))
        } else {
            let all = args.all;
            Box::new(Lines::new(out, Style { all, color }))
        })
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
        let written = reports
            .into_iter()
            .try_for_each(|report| self.0.report(&report))
            .and_then(|()| now.map_or(Ok(()), |now| self.0.tick(now)))
            .and_then(|()| self.0.flush());
        match written {
            Ok(()) => Ok(Audience::Reading),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Audience::Gone),
            Err(error) => Err(error).context("the output could not be written"),
        }
    }
}
