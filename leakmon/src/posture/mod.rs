//! What programs were told about proxies. One file a source: each maps text to [`Told`], and the files themselves are read
//! through a [`View`], as the program sees them.

mod bypass;
mod chromium;
mod command_line;
mod desktop;
mod environment;
mod firefox;
mod forwarder;
#[cfg(test)]
mod hostile;
pub mod installed;
mod letters;
pub mod machine;
pub mod observed;
mod pac;
mod preload;
mod programs;
mod proxy;
#[cfg(test)]
mod testing;
mod told;
mod view;
mod watcher;

pub use bypass::{Bypass, Language};
pub use forwarder::is_resolver;
pub use observed::Observed;
pub use programs::{KEY as PROGRAM, Program, Programs};
pub use proxy::without_password;
pub use told::{Posture, Route, Told};
pub use view::{Fault, View};
pub use watcher::Watcher;

use crate::model::Process;

/// A program, what it sees, and what users of leakmon told of programs that it does not know.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The app's first process.
    pub process: &'a Process,
    /// What it sees.
    pub view: &'a View,
    /// Programs of the configuration file.
    pub programs: &'a Programs,
}

impl<'a> Subject<'a> {
    /// The program's arguments, without its name; none when they are not known.
    #[must_use]
    pub fn arguments(&self) -> &'a [String] {
        self.process
            .cmdline
            .as_deref()
            .and_then(|cmdline| cmdline.get(1..))
            .unwrap_or_default()
    }
}

/// What a program was told.
#[must_use]
pub fn posture_of(subject: &Subject<'_>) -> Posture {
    if let Some(posture) = forwarder::posture(subject) {
        return posture;
    }
    // A preloaded library takes every connection, whatever the program itself was told.
    let mut told = preload::told(subject);
    told.extend(
        firefox::told(subject)
            .or_else(|| chromium::told(subject))
            .or_else(|| desktop::told(subject))
            .or_else(|| command_line::told(subject))
            .unwrap_or_else(|| environment::of_unknown_program(subject)),
    );
    Posture::combine(told)
}
