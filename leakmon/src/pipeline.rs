//! Everything between capture and sink, the same for a live run and a replay.

use std::{num::NonZeroUsize, sync::Arc};

use leakmon_common::Owner;
use lru::LruCache;

use crate::{
    capture::{Event, Request},
    detect::{Detector, Local, Who},
    model::{Actor, Place, Process, ProcessId, Report, Service, Setup, Transport},
    posture::{Posture, Programs, Subject, View, posture_of},
    process::{Table, app_of},
    time::Timestamp,
    wire::{Decoder, Message, Payload, nscd, varlink},
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
    /// Processes in this cgroup and below it, as a path in the hierarchy.
    pub cgroup: Option<String>,
}

impl Filter {
    fn is_open(&self) -> bool {
        self.pids.is_empty() && self.apps.is_empty() && self.cgroup.is_none()
    }

    fn lets_pass(&self, table: &mut Table, who: Option<&Who>) -> bool {
        if self.is_open() {
            return true;
        }
        let Some(who) = who else { return false };
        let process = &who.actor.process;
        let below = |cgroup: &String| process.is_below(cgroup);
        self.cgroup.as_ref().is_some_and(below)
            || self
                .pids
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
    /// The apps' postures that events brought, by first process.
    postures: LruCache<ProcessId, Arc<Posture>>,
    /// Network namespace and place → the first process of the app that listens there, and whether it is watched.
    listeners: LruCache<(u64, Place), (Option<ProcessId>, bool)>,
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
            postures: LruCache::new(MAX_WHOS),
            listeners: LruCache::new(MAX_WHOS),
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
            Event::Posture { at, first, posture } => self.posture(at, first, posture),
            Event::Listener {
                netns,
                place,
                first,
                watched,
                ..
            } => {
                self.listeners.put((netns, place), (first, watched));
                Vec::new()
            }
            Event::Connect(connect) => {
                let who = self.who(&connect.owner);
                if !self.filter.lets_pass(&mut self.table, Some(&who)) {
                    return Vec::new();
                }
                self.detector
                    .connected(connect.at, connect.destination, &who)
            }
            Event::Request(request) => self.service(&request),
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
        let local = self.hears(message, who.as_ref());
        if !self.filter.lets_pass(&mut self.table, who.as_ref()) {
            // What a resolver asks is what shows whether a question was sent on.
            return match &who {
                Some(who) if self.detector.is_resolver(&who.app) => {
                    self.detector.aside(message, who, local.as_ref())
                }
                _ => Vec::new(),
            };
        }
        self.detector.message(message, who.as_ref(), local.as_ref())
    }

    /// What was asked of a service of this machine.
    fn service(&mut self, request: &Request) -> Vec<Report> {
        let who = self.who(&request.owner);
        if !self.filter.lets_pass(&mut self.table, Some(&who)) {
            return Vec::new();
        }
        let lookups = match request.service {
            Service::Resolved => varlink::lookups(&request.payload),
            Service::Nscd => nscd::lookups(&request.payload),
        };
        let Ok(questions) = lookups else {
            self.detector.undecoded();
            return Vec::new();
        };
        let local = self.listener(&who, Place::Service(request.service));
        self.detector.service(
            request.at,
            request.service,
            &questions,
            Some(&who),
            local.as_ref(),
        )
    }

    /// The resolver of this machine that hears a question.
    fn hears(&mut self, message: &Message, who: Option<&Who>) -> Option<Local> {
        let Payload::Dns(transport, dns) = &message.payload else {
            return None;
        };
        if message.escaped || dns.answer.is_some() {
            return None;
        }
        let place = match transport {
            Transport::Tcp => Place::Tcp(message.peer),
            _ => Place::Udp(message.peer),
        };
        self.listener(who?, place)
    }

    fn listener(&mut self, who: &Who, place: Place) -> Option<Local> {
        let key = (who.actor.process.netns?, place);
        let (first, watched) = *self.listeners.get(&key)?;
        let process = self
            .table
            .get(first?.pid)
            .filter(|process| Some(process.id()) == first)?;
        let (app, first) = app_of(&mut self.table, &process);
        let who = Who {
            posture: self.posture_of(&first),
            actor: Actor {
                process,
                thread: None,
            },
            app,
        };
        Some(Local { who, watched })
    }

    fn posture(&mut self, at: Timestamp, first: ProcessId, posture: Arc<Posture>) -> Vec<Report> {
        let is_news = !posture.is_empty() || self.postures.contains(&first);
        let update = self.postures.put(first, Arc::clone(&posture)).is_some();
        // What was worked out before rests on the old one.
        self.whos.clear();
        let process = self.table.get(first.pid);
        let Some(process) = process.filter(|process| is_news && process.id() == first) else {
            return Vec::new();
        };
        let (app, _) = app_of(&mut self.table, &process);
        let who = Who {
            actor: Actor {
                process: Arc::clone(&process),
                thread: None,
            },
            app: Arc::clone(&app),
            posture: Arc::clone(&posture),
        };
        if !self.filter.lets_pass(&mut self.table, Some(&who)) {
            return Vec::new();
        }
        let setup = posture.setup(at, Some(app), Some(process), None);
        vec![Report::Posture(Box::new(Setup { update, ..setup }))]
    }

    /// What an app was told: as an event had it, else by what is known of its first process alone.
    fn posture_of(&mut self, first: &Process) -> Arc<Posture> {
        if let Some(posture) = self.postures.get(&first.id()) {
            return Arc::clone(posture);
        }
        Arc::new(posture_of(&Subject {
            process: first,
            view: &View::closed(first),
            programs: &Programs::default(),
        }))
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
            posture: self.posture_of(&first),
            actor,
            app,
        };
        let process = Arc::clone(&who.actor.process);
        self.whos.put(owner.tgid, (process, who.clone()));
        who
    }
}
