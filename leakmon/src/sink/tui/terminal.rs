//! The terminal: taken when the live view begins, and given back however it ends.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout, Write, stdin, stdout},
    panic,
    sync::{
        Once,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, DisableMouseCapture, EnableMouseCapture, Event},
        execute, queue,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use tokio::sync::mpsc;

/// Bytes of a picture that are written at once.
const PICTURE: usize = 64 * 1024;
/// Events of the keyboard and the mouse that may wait.
const MAX_EVENTS: usize = 256;

/// The terminal is leakmon's now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether there is a terminal that a live view can be on: both ways, in the foreground, and one that can move its
/// cursor (term(7): `dumb` cannot).
#[must_use]
pub fn is_fit() -> bool {
    let moves = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    // Whoever is in the background is stopped when it changes the terminal (termios(3), SIGTTOU).
    let foreground = || {
        rustix::termios::tcgetpgrp(stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
    };
    moves && stdin().is_terminal() && stdout().is_terminal() && foreground()
}

/// Whether colours are wanted (<https://no-color.org>).
#[must_use]
pub fn wants_color() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The terminal while it is leakmon's.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Screen {
    /// Takes the terminal: another screen, every key as it is pressed, and the mouse.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn take() -> io::Result<Self> {
        restore_after_panics();
        TAKEN.store(true, Ordering::SeqCst);
        let taken = enable_raw_mode().and_then(|()| {
            execute!(stdout(), EnterAlternateScreen, EnableMouseCapture)?;
            let out = BufWriter::with_capacity(PICTURE, stdout());
            Terminal::new(CrosstermBackend::new(out))
        });
        match taken {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws a picture, of which only what changed is written.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn draw(&mut self, picture: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(picture).map(drop)
    }

    /// The next picture is drawn as a whole: something else may have written to the terminal.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn clear(&mut self) -> io::Result<()> {
        // Terminal::clear would ask the terminal where its cursor is, and the answer comes in between the keys.
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }

    /// Takes the mouse, or leaves it to the terminal.
    ///
    /// # Errors
    /// When the terminal cannot be written to.
    pub fn set_mouse(&mut self, taken: bool) -> io::Result<()> {
        let out = self.terminal.backend_mut();
        if taken {
            execute!(out, EnableMouseCapture)
        } else {
            execute!(out, DisableMouseCapture)
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Makes the terminal as it was. Whatever fails: there is nobody to tell.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let mut out = stdout();
        let _ = queue!(out, DisableMouseCapture, LeaveAlternateScreen, Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}

/// The message of a panic is for the screen that stays.
fn restore_after_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            next(panic);
        }));
    });
}

/// What is pressed from now on. Reading is left to a thread: a key may come in pieces, and crossterm waits for the rest.
///
/// # Errors
/// When there can be no thread.
pub fn events() -> io::Result<mpsc::Receiver<Event>> {
    let (sender, events) = mpsc::channel(MAX_EVENTS);
    thread::Builder::new()
        .name("leakmon-keys".to_owned())
        .spawn(move || {
            while let Ok(event) = event::read() {
                if sender.blocking_send(event).is_err() {
                    break;
                }
            }
        })?;
    Ok(events)
}
