//! Where reports go. A sink is one file here and one line where it is chosen.

pub mod audit;
mod escape;
pub mod json;
mod lines;
pub mod notify;
mod page;
mod tui;

use std::io;

pub use escape::{is_harmful, printable};
pub use json::Json;
pub use lines::{Lines, Style};
pub use notify::Notify;
pub use page::Page;
pub use tui::{Tui, is_fit, wants_color};

use crate::{model::Report, time::Timestamp};

/// Takes reports.
pub trait Sink {
    /// Takes one report.
    ///
    /// # Errors
    /// When it cannot be written.
    fn report(&mut self, report: &Report) -> io::Result<()>;

    /// Time has passed: what was held back may be due.
    ///
    /// # Errors
    /// When it cannot be written.
    fn tick(&mut self, now: Timestamp) -> io::Result<()>;

    /// Hands on what was written so far.
    ///
    /// # Errors
    /// When it cannot be written.
    fn flush(&mut self) -> io::Result<()>;
}
