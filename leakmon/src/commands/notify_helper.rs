//! `leakmon notify-helper`: shows the notifications of `watch --notify`, as the user who is to see them.
//!
//! What it reads are [`Bubble`]s, one JSON object a line. What it writes to standard output is passed on by `watch`.

use std::{
    collections::HashMap, io::Write, num::NonZeroUsize, os::fd::AsFd, process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use lru::LruCache;
use tokio::net::unix::pipe::Receiver;
use zbus::{Connection, Variant, connection::Builder};

use super::CLEAN;
use crate::{privilege, sink::notify::Bubble};

/// Name of the service, and of its interface (Desktop Notifications Specification 1.2, "D-BUS Protocol").
const SERVICE: &str = "org.freedesktop.Notifications";
const OBJECT: &str = "/org/freedesktop/Notifications";
/// The server decides how long a bubble stays.
const SERVERS_OWN: i32 = -1;
/// A service that has to be started first is given 25 seconds by most callers (D-Bus's own default).
const PATIENCE: Duration = Duration::from_secs(25);
/// How often is tried to tell what could not be shown: a user may log in later.
const AGAIN: Duration = Duration::from_secs(5);
/// Bubbles whose place a later one may take.
const MAX_SHOWN: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// A line that is longer is none of leakmon's.
const LONGEST_LINE: usize = 64 * 1024;

/// Shows notifications until standard input ends.
///
/// # Errors
/// When it has rights that it cannot give up, or standard input is no pipe.
pub fn run() -> anyhow::Result<ExitCode> {
    privilege::drop_all()
        .map_err(|reason| anyhow::anyhow!("privileges could not be given up: {reason}"))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop could not be set up")?
        .block_on(show())
}

async fn show() -> anyhow::Result<ExitCode> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let stdin = stdin
        .and_then(Receiver::from_owned_fd)
        .context("notify-helper is started by `leakmon watch --notify`, with a pipe")?;
    let mut lines = Lines {
        stdin,
        bytes: Vec::new(),
    };
    let mut desktop = Desktop::default();
    // Who cannot be told should learn it before anything leaks.
    if let Err(error) = desktop.connect().await {
        desktop.complain(&error);
    }
    loop {
        tokio::select! {
            line = lines.next() => match line {
                Some(line) => {
                    let bubble = serde_json::from_slice(&line).context("not a notification")?;
                    desktop.show(&bubble).await;
                }
                None => break,
            },
            () = tokio::time::sleep(AGAIN), if desktop.missed > 0 => desktop.catch_up().await,
        }
    }
    Ok(ExitCode::from(CLEAN))
}

/// Lines of a pipe.
struct Lines {
    stdin: Receiver,
    bytes: Vec<u8>,
}

impl Lines {
    /// The next line; none when the pipe is closed. May be dropped and called again: what was read is kept.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|&byte| byte == b'\n') {
                return Some(self.bytes.drain(..=end).collect());
            }
            if self.bytes.len() > LONGEST_LINE {
                return None;
            }
            self.stdin.readable().await.ok()?;
            let mut chunk = [0; 4096];
            match self.stdin.try_read(&mut chunk) {
                Ok(0) => return None,
                Ok(read) => self.bytes.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return None,
            }
        }
    }
}

/// The user's desktop, as far as it is there.
struct Desktop {
    server: Option<Server>,
    /// By finding: the number that the server gave its bubble.
    shown: LruCache<String, u32>,
    /// Findings of which no bubble could be shown.
    missed: u64,
    complained: bool,
}

/// Who shows notifications.
struct Server {
    bus: Connection,
    /// Takes the body for markup.
    reads_markup: bool,
}

impl Default for Desktop {
    fn default() -> Self {
        Self {
            server: None,
            shown: LruCache::new(MAX_SHOWN),
            missed: 0,
            complained: false,
        }
    }
}

impl Desktop {
    async fn show(&mut self, bubble: &Bubble) {
        if let Err(error) = self.try_show(bubble).await {
            self.missed += bubble.count;
            self.complain(&error);
        } else {
            self.catch_up().await;
        }
    }

    /// Tells how much was missed, if the desktop is there again.
    async fn catch_up(&mut self) {
        if self.missed > 0 && self.try_show(&Bubble::of_missed(self.missed)).await.is_ok() {
            self.missed = 0;
        }
    }

    /// Says once that nothing can be shown.
    fn complain(&mut self, error: &zbus::Error) {
        if !self.complained {
            self.complained = true;
            let mut out = std::io::stdout();
            // Nobody may read it any more.
            let _ = writeln!(
                out,
                "no notification can be shown just now, leaks are counted until one can: {}",
                error.to_string().replace('\n', " ")
            );
            let _ = out.flush();
        }
    }

    async fn try_show(&mut self, bubble: &Bubble) -> zbus::Result<()> {
        let had_server = self.server.is_some();
        match self.notify(bubble).await {
            // The session may have ended, and another begun, since the last bubble.
            Err(_) if had_server => self.notify(bubble).await,
            done => done,
        }
    }

    async fn notify(&mut self, bubble: &Bubble) -> zbus::Result<()> {
        if self.server.is_none() {
            self.connect().await?;
        }
        let Some(server) = &self.server else {
            return Err(zbus::Error::InvalidReply);
        };
        let finding = bubble.finding.as_deref();
        let replaced = finding
            .and_then(|finding| self.shown.get(finding))
            .copied()
            .unwrap_or(0);
        let body = if server.reads_markup {
            escaped(&bubble.body)
        } else {
            bubble.body.clone()
        };
        let hints = HashMap::from([("urgency", Variant::U8(bubble.urgency.byte()))]);
        let actions: [&str; 0] = [];
        let arguments = (
            "leakmon",
            replaced,
            "dialog-warning",
            bubble.title.as_str(),
            body.as_str(),
            actions.as_slice(),
            hints,
            SERVERS_OWN,
        );
        let sent =
            server
                .bus
                .call_method(Some(SERVICE), OBJECT, Some(SERVICE), "Notify", &arguments);
        match sent
            .await
            .and_then(|reply| reply.body().deserialize::<u32>())
        {
            Ok(number) => {
                if let Some(finding) = finding {
                    self.shown.put(finding.to_owned(), number);
                }
                Ok(())
            }
            Err(error) => {
                self.server = None;
                self.shown.clear();
                Err(error)
            }
        }
    }

    /// Looks for the session's bus, where `watch` said that it is, and for who shows notifications there.
    async fn connect(&mut self) -> zbus::Result<()> {
        let bus = Builder::session().method_timeout(PATIENCE).build().await?;
        let reply = bus
            .call_method(Some(SERVICE), OBJECT, Some(SERVICE), "GetCapabilities", &())
            .await?;
        let capabilities: Vec<String> = reply.body().deserialize()?;
        self.server = Some(Server {
            bus,
            reads_markup: capabilities.iter().any(|one| one == "body-markup"),
        });
        Ok(())
    }
}

/// The text as markup that shows it as it is (Desktop Notifications Specification 1.2, "Markup").
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_shown_as_it_is() {
        assert_eq!(
            escaped("<b>a</b> &amp; b.example"),
            "&lt;b&gt;a&lt;/b&gt; &amp;amp; b.example"
        );
        assert_eq!(escaped("page.example"), "page.example");
    }
}
