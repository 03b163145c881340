//! Reads what programs were told when they first act, and again when it changed.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use lru::LruCache;

use super::{Posture, Programs, Subject, View, posture_of, view::Looked};
use crate::{
    model::{Process, ProcessId},
    time::Timestamp,
};

/// Apps whose posture is kept in view.
const MAX_APPS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// How often what an app was told is looked at again: programs write their settings with more delay than this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// An app that did nothing for so long is looked at only when it acts again.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Known {
    process: Arc<Process>,
    posture: Arc<Posture>,
    looked: Vec<Looked>,
    looked_at: Timestamp,
    acted_at: Timestamp,
}

/// What the apps of a live run were told.
#[derive(Debug)]
pub struct Watcher {
    programs: Arc<Programs>,
    apps: LruCache<ProcessId, Known>,
}

impl Watcher {
    /// A watcher that knows these programs besides its own.
    #[must_use]
    pub fn new(programs: Arc<Programs>) -> Self {
        Self {
            programs,
            apps: LruCache::new(MAX_APPS),
        }
    }

    /// An app with this first process acts: its posture, when it is new or changed.
    pub fn acts(&mut self, first: &Arc<Process>, now: Timestamp) -> Option<Arc<Posture>> {
        let id = first.id();
        if let Some(known) = self.apps.get_mut(&id) {
            known.acted_at = now;
            if known.process == *first {
                return known.look_again(now, &self.programs);
            }
            // It runs another program since.
        }
        let (posture, looked) = read(first, &self.programs);
        let posture = Arc::new(posture);
        let known = self.apps.put(
            id,
            Known {
                process: Arc::clone(first),
                posture: Arc::clone(&posture),
                looked,
                looked_at: now,
                acted_at: now,
            },
        );
        // Read again only because events were lost: that is no news.
        known
            .is_none_or(|known| known.posture != posture)
            .then_some(posture)
    }

    /// Time passes: the postures that changed of the apps that are at work.
    pub fn tick(&mut self, now: Timestamp) -> Vec<(ProcessId, Arc<Posture>)> {
        let programs = &self.programs;
        self.apps
            .iter_mut()
            .take_while(|(_, known)| known.acted_at.plus(IDLE) > now)
            .filter_map(|(id, known)| Some((*id, known.look_again(now, programs)?)))
            .collect()
    }
}

impl Known {
    fn look_again(&mut self, now: Timestamp, programs: &Programs) -> Option<Arc<Posture>> {
        if self.looked_at.plus(LOOK_AGAIN) > now {
            return None;
        }
        self.looked_at = now;
        let view = View::of(&self.process);
        // What was known of a program that ended stays as it was.
        let in_doubt = matches!(self.posture.route, super::Route::Unknown(_));
        if !view.is_open() || !(in_doubt || view.changed(&self.looked)) {
            return None;
        }
        let (posture, looked) = read(&self.process, programs);
        self.looked = looked;
        if posture == *self.posture {
            return None;
        }
        self.posture = Arc::new(posture);
        Some(Arc::clone(&self.posture))
    }
}

fn read(process: &Process, programs: &Programs) -> (Posture, Vec<Looked>) {
    let view = if process.exe.is_some() {
        View::of(process)
    } else {
        View::closed(process)
    };
    let posture = posture_of(&Subject {
        process,
        view: &view,
        programs,
    });
    (posture, view.looked())
}
