//! The live view on a terminal. Reports go in, as into any other sink, and pictures come out; what the reader presses
//! changes only what he sees.

mod browse;
mod chart;
mod detail;
mod head;
mod help;
mod keys;
mod look;
mod rows;
mod state;
mod table;
mod terminal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod view;

use std::{
    future::pending,
    io::{self, stdout},
    time::Duration,
};

use ratatui::crossterm::event::Event;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

pub use terminal::{is_fit, wants_color};

use self::{
    browse::Browse,
    keys::{Action, action},
    look::Look,
    state::State,
    terminal::Screen,
    view::Caption,
};
use super::{Lines, Sink, Style};
use crate::{model::Report, time::Timestamp};

/// Pictures are at least so far apart.
const PICTURE_EVERY: Duration = Duration::from_millis(100);

/// The live view.
pub struct Tui {
    state: State,
    /// What is shown while the picture is stopped.
    stopped: Option<Box<State>>,
    browse: Browse,
    caption: Caption,
    look: Look,
    /// `None` until the view is opened.
    open: Option<Open>,
    /// Something changed since the last picture.
    stale: bool,
    leaves: bool,
}

struct Open {
    screen: Screen,
    events: mpsc::Receiver<Event>,
    drawn: Option<Instant>,
}

impl Tui {
    /// A view that is not on the screen yet: of what happens now, or of a recording. With `all` it begins with every
    /// query instead of findings.
    #[must_use]
    pub fn new(live: bool, all: bool) -> Self {
        Self {
            state: State::default(),
            stopped: None,
            browse: Browse::new(all),
            caption: Caption {
                live,
                mouse: true,
                ..Caption::default()
            },
            look: Look {
                color: wants_color(),
            },
            open: None,
            stale: true,
            leaves: false,
        }
    }

    /// Takes the terminal and shows the view.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn open(&mut self) -> io::Result<()> {
        self.open = Some(Open {
            screen: Screen::take()?,
            events: terminal::events()?,
            drawn: None,
        });
        self.stale = true;
        self.draw()
    }

    /// A sentence about what is not seen, for the reader's help.
    pub fn note(&mut self, note: String) {
        self.caption.notes.push(note);
        self.stale = true;
    }

    /// Whether the reader wants the end, or is gone.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.leaves
    }

    /// Waits until there is something to draw, and takes what is pressed meanwhile.
    pub async fn wanted(&mut self) {
        let Some(open) = &mut self.open else {
            return pending().await;
        };
        let due = open.drawn.map(|drawn| drawn + PICTURE_EVERY);
        let stale = self.stale;
        tokio::select! {
            event = open.events.recv() => match event {
                Some(event) => self.take(&event),
                // Nobody can press anything any more.
                None => self.leaves = true,
            },
            () = until(due), if stale => {}
        }
    }

    /// Draws what changed, unless the last picture is too fresh.
    ///
    /// # Errors
    /// When the terminal cannot be written to, but for its being gone.
    pub fn draw(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        let fresh = open
            .drawn
            .is_some_and(|drawn| drawn.elapsed() < PICTURE_EVERY);
        if !self.stale || fresh || self.leaves {
            return Ok(());
        }
        let state = self.stopped.as_deref().unwrap_or(&self.state);
        self.caption.paused = self.stopped.as_ref().map(|stopped| {
            let (then, now) = (stopped.totals(), self.state.totals());
            (now.queries - then.queries, now.findings - then.findings)
        });
        let (browse, caption, look) = (&mut self.browse, &self.caption, self.look);
        let drawn = open
            .screen
            .draw(|frame| view::draw(frame, state, browse, caption, look));
        open.drawn = Some(Instant::now());
        self.stale = false;
        self.unless_gone(drawn)
    }

    /// Gives the terminal back, and leaves the summary on it.
    ///
    /// # Errors
    /// When the summary cannot be written, but for the terminal's being gone.
    pub fn close(&mut self) -> io::Result<()> {
        let shown = self.open.take().is_some();
        let Some(summary) = self.state.summary().filter(|_| shown) else {
            return Ok(());
        };
        let style = Style {
            all: false,
            color: self.look.color,
        };
        let mut lines = Lines::new(stdout(), style);
        let written = lines
            .report(&Report::Summary(summary.clone()))
            .and_then(|()| lines.flush());
        self.unless_gone(written)
    }

    fn take(&mut self, event: &Event) {
        let Some(action) = action(event, self.browse.is_typing()) else {
            return;
        };
        // A key of the help line is pressed by a click, too.
        let action = match action {
            Action::Click(column, row) => self.browse.key_at(column, row).unwrap_or(action),
            action => action,
        };
        self.stale = true;
        match action {
            Action::Quit => self.leaves = true,
            Action::Pause => {
                self.stopped = match self.stopped.take() {
                    Some(_) => None,
                    None => Some(Box::new(self.state.clone())),
                };
            }
            Action::Mouse => {
                self.caption.mouse = !self.caption.mouse;
                let taken = self.caption.mouse;
                let set = self.open.as_mut().map(|open| open.screen.set_mouse(taken));
                self.leaves |= set.is_some_and(|set| set.is_err());
            }
            Action::Redraw => {
                let cleared = self.open.as_mut().map(|open| open.screen.clear());
                self.leaves |= cleared.is_some_and(|cleared| cleared.is_err());
            }
            action => {
                let state = self.stopped.as_deref().unwrap_or(&self.state);
                self.browse.act(action, state);
            }
        }
    }

    /// A terminal that is gone (EIO: tty_ioctl(4), hung up) is no fault of the run.
    fn unless_gone(&mut self, written: io::Result<()>) -> io::Result<()> {
        match written {
            Err(error)
                if error.kind() == io::ErrorKind::BrokenPipe
                    || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) =>
            {
                self.leaves = true;
                Ok(())
            }
            written => written,
        }
    }
}

async fn until(due: Option<Instant>) {
    if let Some(due) = due {
        sleep_until(due).await;
    }
}

impl Sink for Tui {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        self.state.report(report);
        self.stale = true;
        Ok(())
    }

    fn tick(&mut self, now: Timestamp) -> io::Result<()> {
        // The clock of the view shows whole seconds.
        self.stale |= now.0 / 1_000_000_000 != self.state.now().0 / 1_000_000_000;
        self.state.tick(now);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draw()
    }
}
