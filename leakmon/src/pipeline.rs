//! Everything between capture and sink, the same for a live run and a replay.

use std::{num::NonZeroUsize, sync::Arc};

use leakmon_common::Owner;
use lru::LruCache;

use crate::{
    capture::Event,
    detect::{Detector, Who},
    model::{Process, Report},
    posture::posture_of,
    process::{Table, app_of},
    wire::{Decoder, Message},
};

/// Processes of which is remembered what was worked out.
const MAX_WHOS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Whose doings are of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// These processes with their descendants and the apps they belong to.
    pub pids: Vec<u32>,
    /// Apps and programs of these names, whatever the case.
    pub apps: Vec<String>,
}

impl Filter {
    fn is_open(&self) -> bool {
        self.pids.is_empty() && self.apps.is_empty()
    }

    fn lets_pass(&self, table: &mut Table, who: Option<&Who>) -> bool {
        if self.is_open() {
            return true;
        }
        let Some(who) = who else { return false };
        let process = &who.actor.process;
        self.pids
            .iter()
            .any(|&pid| who.app.pid == pid || table.descends_from(process, pid))
            || self.apps.iter().any(|name| {
                [
                    Some(who.app.name.as_str()),
                    process.program(),
                    process.comm.as_deref(),
                    who.actor.thread.as_deref(),
                ]
                .into_iter()
                .flatten()
                .any(|known| known.eq_ignore_ascii_case(name))
            })
    }
}

/// Turns events into reports.
#[derive(Debug)]
pub struct Pipeline {
    /// Pid → the process, and what was worked out of it.
    whos: LruCache<u32, (Arc<Process>, Who)>,
    decoder: Decoder,
    table: Table,
    detector: Detector,
    filter: Filter,
}

impl Pipeline {
    /// A pipeline that reports what the filter lets pass.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        Self {
            whos: LruCache::new(MAX_WHOS),
            decoder: Decoder::default(),
            table: Table::default(),
            detector: Detector::default(),
            filter,
        }
    }

    /// Takes an event, and says what follows from it.
    pub fn feed(&mut self, event: Event) -> Vec<Report> {
        match event {
            Event::Process(process) => {
                self.table.insert(process);
                Vec::new()
            }
            Event::Packet(packet) => self
                .decoder
                .decode(&packet)
                .iter()
                .flat_map(|message| self.message(message))
                .collect(),
            Event::Loss {
                at,
                events,
                queries,
                since,
            } => self.detector.loss(at, events, queries, since),
            Event::Tick(now) => self.detector.tick(now),
            Event::End(now) => self.detector.finish(now),
        }
    }

    /// Whether anything leaked until now.
    #[must_use]
    pub fn leaked(&self) -> bool {
        self.detector.leaked()
    }

    fn message(&mut self, message: &Message) -> Vec<Report> {
        let who = message.owner.as_ref().map(|owner| self.who(owner));
        if !self.filter.lets_pass(&mut self.table, who.as_ref()) {
            return Vec::new();
        }
        self.detector.message(message, who.as_ref())
    }

    /// Who acted. What is known of a process is worked out once: it does not change but with the process itself.
    fn who(&mut self, owner: &Owner) -> Who {
        let actor = self.table.actor(owner);
        if let Some((process, who)) = self.whos.get(&owner.tgid)
            && Arc::ptr_eq(process, &actor.process)
        {
            return Who {
                actor,
                ..who.clone()
            };
        }
        let (app, first) = app_of(&mut self.table, &actor.process);
        let who = Who {
            posture: Arc::new(posture_of(&first)),
            actor,
            app,
        };
        let process = Arc::clone(&who.actor.process);
        self.whos.put(owner.tgid, (process, who.clone()));
        who
    }
}
