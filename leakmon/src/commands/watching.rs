//! A run that is watched: what the kernel sends goes through the pipeline to the output, until whoever began it ends it.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::{
    invoker::Owner,
    output::{Audience, Output},
};
use crate::{
    capture::{CaptureError, Degradation, Event, Options, recording::Writer},
    cli,
    live::{self, Live},
    pipeline::{Filter, Pipeline},
    posture::Programs,
    sink::{Notify, printable},
    time::Timestamp,
};

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;
/// How often what waits is looked at.
const TICK: Duration = Duration::from_millis(100);
/// The kernel programs wake the agent once in a while only ([`leakmon_common::WAKE_NS`]): what they sent since is looked
/// for after that time.
const SECOND_LOOK: Duration = Duration::from_millis(2);
/// Bytes that the shortest record takes in the ring buffer: a process's event with its head of eight bytes
/// (`BPF_RINGBUF_HDR_SZ`, include/uapi/linux/bpf.h).
const SHORTEST_RECORD: usize = size_of::<leakmon_common::ProcessEvent>() + 8;

/// A running capture with all that is behind it.
pub struct Watching {
    live: Live,
    pipeline: Pipeline,
    output: Output,
    recording: Option<Writer>,
    notify: Option<Notify>,
    ticks: Interval,
    second_look: Option<Instant>,
    buffer: u32,
    lost: u64,
}

/// Attaches the kernel programs to a cgroup.
///
/// # Errors
/// When the machine cannot be watched.
pub fn attach(
    args: &cli::Capturing,
    programs: Programs,
    cgroup: &Path,
) -> Result<Live, CaptureError> {
    let mut ports = args.ports.clone();
    ports.push(DNS_PORT);
    let options = Options {
        cgroup: cgroup.to_owned(),
        ports,
        ring_bytes: args.buffer,
    };
    Live::start(&options, Arc::new(programs))
}

/// Makes the file that the events are kept in, if there is to be one: its owner's, when that is not leakmon's user.
///
/// # Errors
/// When it exists or cannot be made.
pub fn recording(path: Option<&Path>, owner: Option<Owner>) -> anyhow::Result<Option<Writer>> {
    let Some(path) = path else { return Ok(None) };
    let writer = Writer::create(path)?;
    if let Some(owner) = owner {
        writer.give(owner.uid, owner.gid)?;
    }
    Ok(Some(writer))
}

/// Says on standard error what is not seen; of sockets older than leakmon only when there can be any.
pub fn tell_degradations(live: &Live, any_older: bool) {
    let tells = |degradation: &&Degradation| {
        any_older || !matches!(degradation, Degradation::OlderSockets(_))
    };
    for degradation in live.degradations().iter().filter(tells) {
        eprintln!("leakmon: {}", printable(&degradation.to_string()));
    }
}

impl Watching {
    /// Reports to `output` what `filter` lets pass.
    pub fn new(
        live: Live,
        filter: Filter,
        mut output: Output,
        recording: Option<Writer>,
        buffer: u32,
    ) -> Self {
        for degradation in live.degradations() {
            output.note(&degradation.to_string());
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self {
            live,
            pipeline: Pipeline::new(filter),
            output,
            recording,
            notify: None,
            ticks,
            second_look: None,
            buffer,
            lost: 0,
        }
    }

    /// Tells of new leaks there, too.
    pub fn notify(&mut self, notify: Option<Notify>) {
        self.notify = notify;
    }

    /// Waits until there is something to do, and does it. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// When the capture fails or the output cannot be written.
    pub async fn step(&mut self) -> anyhow::Result<Audience> {
        let mut events = Vec::new();
        tokio::select! {
            ready = self.live.ready() => {
                ready?;
                self.live.take(&mut events)?;
                self.second_look = Some(Instant::now() + SECOND_LOOK);
            }
            () = until(self.second_look), if self.second_look.is_some() => {
                self.live.take(&mut events)?;
                self.second_look = None;
            }
            _ = self.ticks.tick() => {
                // A record may have been handed in later than the others of its time.
                self.live.take(&mut events)?;
                events.extend(self.live.tick()?);
                self.flush_recording()?;
            }
            () = self.output.wanted() => {}
        }
        self.take(events, self.live.now())
    }

    /// Ends the run: what the kernel has sent by now still belongs to it.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn finish(mut self) -> anyhow::Result<Ended> {
        // A flood must not keep the run from ending.
        let most = self.buffer as usize / SHORTEST_RECORD;
        for _ in 0..=most / live::BATCH {
            let mut events = Vec::new();
            let emptied = self.live.take(&mut events)?;
            self.take(events, self.live.now())?;
            if emptied {
                break;
            }
        }
        let mut events = self.live.tick()?;
        events.push(Event::End(self.live.now()));
        self.take(events, self.live.now())?;
        self.flush_recording()?;
        self.end_notify();
        self.output.close()?;
        Ok(Ended {
            leaked: self.pipeline.leaked(),
            lost: self.lost,
        })
    }

    fn take(&mut self, events: Vec<Event>, now: Timestamp) -> anyhow::Result<Audience> {
        for event in &events {
            if let Event::Loss { events, .. } = event {
                self.lost += events;
            }
            if let Some(recording) = &mut self.recording {
                recording.add(event)?;
            }
        }
        let (pipeline, notify) = (&mut self.pipeline, &mut self.notify);
        let reports = events
            .into_iter()
            .flat_map(|event| pipeline.feed(event))
            .inspect(|report| {
                if let Some(notify) = notify {
                    notify.report(report);
                }
            });
        let audience = self.output.write(reports, Some(now))?;
        if let Some(notify) = &mut self.notify {
            for trouble in notify.tick(now) {
                self.output.say(&trouble);
            }
        }
        Ok(audience)
    }

    /// What was held back is told, whatever became of the output.
    pub fn end_notify(&mut self) {
        let Some(mut notify) = self.notify.take() else {
            return;
        };
        notify.finish();
        let mut troubles = notify.tick(self.live.now());
        troubles.extend(notify.close());
        for trouble in troubles {
            self.output.say(&trouble);
        }
    }

    fn flush_recording(&mut self) -> anyhow::Result<()> {
        if let Some(recording) = &mut self.recording {
            recording.flush()?;
        }
        Ok(())
    }
}

/// A run that is over.
pub struct Ended {
    /// Whether anything leaked.
    pub leaked: bool,
    /// Events that were lost on their way from the kernel.
    pub lost: u64,
}

/// Sleeps until then; for ever without an end.
pub async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
