//! A report that is written at the end of a run, when all is known.

use std::io::{self, Write};

use super::Sink;
use crate::{
    model::Report,
    report::{Collector, Contents, junit, sarif},
    time::Timestamp,
};

/// Adds up what is reported, and writes it in one piece.
pub struct Page<W> {
    out: W,
    what: String,
    collector: Collector,
    form: fn(&Contents, &str) -> String,
}

impl<W: Write> Page<W> {
    /// JUnit's XML; `what` says what was watched.
    pub fn junit(out: W, what: &str) -> Self {
        Self::new(out, what, junit::text)
    }

    /// SARIF.
    pub fn sarif(out: W, what: &str) -> Self {
        Self::new(out, what, sarif::text)
    }

    fn new(out: W, what: &str, form: fn(&Contents, &str) -> String) -> Self {
        let mut collector = Collector::default();
        collector.begin(what);
        Self {
            out,
            what: what.to_owned(),
            collector,
            form,
        }
    }
}

impl<W: Write> Sink for Page<W> {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        self.collector.report(report)?;
        // The last of a run.
        if matches!(report, Report::Summary(_)) {
            let contents = std::mem::take(&mut self.collector).contents();
            let text = (self.form)(&contents, &self.what);
            self.out.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    fn tick(&mut self, _now: Timestamp) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
