//! Notifications on the desktop, beside the main output: one for each new leak, and one for many that come at once.
//!
//! A session's bus refuses every other user, root too, and what could become another user is given up before anything is
//! watched. So each recipient has a [`Messenger`] that was started before: this program anew, as that user, without
//! rights, at the other end of a pipe.

mod bubble;
mod limit;
mod messenger;
mod recipients;

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use anyhow::Context;
use lru::LruCache;

use bubble::Leak;
pub use bubble::{Bubble, Urgency};
use limit::Limiter;
use messenger::Messenger;
use recipients::{Around, Recipient};

use crate::{
    model::{Finding, Report, ResolverPlace},
    time::Timestamp,
};

/// Queries of which is remembered whom they asked, for the findings that name them.
const MAX_ASKED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();
/// Resolvers that a bubble names.
const MAX_RESOLVERS: usize = 3;

/// How long a run's end waits for its messengers; one that hangs is left to itself.
const LAST_MOMENT: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(5);

/// Tells people of findings that are leaks.
#[derive(Debug)]
pub struct Notify {
    asked: LruCache<String, ResolverPlace>,
    people: Vec<Person>,
    /// What is still to be said about the notifications themselves.
    troubles: Vec<String>,
}

/// Somebody who is told.
#[derive(Debug)]
struct Person {
    recipient: Recipient,
    limiter: Limiter,
    messenger: Messenger,
}

impl Notify {
    /// Starts a messenger for each of the users of these names; of none, for those whom the environment tells. Needs the
    /// privileges to become them, and a file that they may execute.
    ///
    /// That nobody can be told now is no error but a trouble: what leaks is shown all the same.
    ///
    /// # Errors
    /// When a name is no user's, or another user's and this is not root.
    pub fn start(names: &[String]) -> anyhow::Result<Self> {
        let mut notify = Self {
            asked: LruCache::new(MAX_ASKED),
            people: Vec::new(),
            troubles: Vec::new(),
        };
        let recipients = recipients::choose(names, &Around::here())
            .map_err(anyhow::Error::msg)
            .context("--notify")?;
        if recipients.is_empty() {
            notify.troubles.push(
                "--notify: nobody has a desktop session here, so no notifications are shown; --notify=USER waits for that \
                 user's"
                    .to_owned(),
            );
        }
        for recipient in recipients {
            match Messenger::start(&recipient) {
                Ok(messenger) => notify.people.push(Person {
                    recipient,
                    limiter: Limiter::default(),
                    messenger,
                }),
                Err(error) => notify.troubles.push(format!(
                    "--notify: {} gets no notifications: leakmon could not be started as that user: {error}",
                    recipient.called()
                )),
            }
        }
        Ok(notify)
    }

    /// Takes one report.
    pub fn report(&mut self, report: &Report) {
        match report {
            Report::Query(query) => {
                self.asked.put(query.id.clone(), query.resolver.place());
            }
            Report::Finding(finding) if finding.kind.is_leak() => self.finding(finding),
            _ => {}
        }
    }

    fn finding(&mut self, finding: &Finding) {
        let uid = finding.process.as_ref().and_then(|actor| actor.process.uid);
        let mut resolvers: Vec<ResolverPlace> = Vec::new();
        for query in &finding.queries {
            if let Some(place) = self.asked.get(query)
                && !resolvers.contains(place)
                && resolvers.len() < MAX_RESOLVERS
            {
                resolvers.push(*place);
            }
        }
        let leak = Leak::of(finding, &resolvers);
        for person in &mut self.people {
            if person.recipient.hears_of(uid) {
                person.limiter.take(finding.ts, &leak, finding.update);
            }
        }
    }

    /// The run ends: nothing is held back any longer.
    pub fn finish(&mut self) {
        for person in &mut self.people {
            person.limiter.finish();
        }
    }

    /// Hands on what is due by now, and gives what there is to say about the notifications themselves, a line each.
    pub fn tick(&mut self, now: Timestamp) -> Vec<String> {
        let mut troubles = std::mem::take(&mut self.troubles);
        for person in &mut self.people {
            for bubble in person.limiter.due(now) {
                person.messenger.post(&bubble);
            }
            let called = person.recipient.called();
            let said = person.messenger.pump();
            troubles.extend(
                said.iter()
                    .map(|words| format!("--notify: {called}: {words}")),
            );
        }
        troubles
    }
    /// Ends: gives the messengers a moment to show the last that they were handed, since a service manager may kill them
    /// when leakmon is gone. Gives what there is to say, as [`Self::tick`].
    pub fn close(mut self) -> Vec<String> {
        let mut troubles = std::mem::take(&mut self.troubles);
        for person in &mut self.people {
            let called = person.recipient.called();
            let said = person.messenger.close();
            troubles.extend(
                said.iter()
                    .map(|words| format!("--notify: {called}: {words}")),
            );
        }
        let end = Instant::now() + LAST_MOMENT;
        while !self.people.iter_mut().all(|one| one.messenger.has_ended()) && Instant::now() < end {
            std::thread::sleep(STEP);
        }
        troubles
    }
}
