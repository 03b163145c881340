//! Colours, or none (<https://no-color.org>): what they say is always said by a word or a mark, too.

use ratatui::style::{Color, Modifier, Style};

use crate::model::Severity;

/// How things look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// With colours.
    pub color: bool,
}

impl Look {
    fn colored(self, color: Color) -> Style {
        if self.color {
            Style::new().fg(color)
        } else {
            Style::new()
        }
    }

    /// A leak.
    pub fn bad(self) -> Style {
        self.colored(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// Something to look at.
    pub fn warning(self) -> Style {
        self.colored(Color::Yellow)
    }

    /// What helps.
    pub fn good(self) -> Style {
        self.colored(Color::Green)
    }

    /// What can be pressed.
    pub fn key(self) -> Style {
        self.colored(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// What matters.
    pub fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What matters less.
    pub fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// The selected row.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A finding.
    pub fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Critical | Severity::High => self.bad(),
            Severity::Medium => self.warning(),
            Severity::Low | Severity::Info => Style::new(),
        }
    }
}
