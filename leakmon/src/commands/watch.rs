//! `leakmon watch`: this machine, as it happens.

use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    output::{Audience, Output},
    verdict,
};
use crate::{
    capture::{CaptureError, Event, Options, machine, recording::Writer},
    cli, config,
    live::{self, Live},
    pipeline::Pipeline,
    privilege,
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

/// Watches until told to stop.
///
/// # Errors
/// When the machine cannot be watched or the output cannot be written.
pub fn run(args: &cli::Watch) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop could not be set up")?
        .block_on(watch(args))
}

async fn watch(args: &cli::Watch) -> anyhow::Result<ExitCode> {
    let programs = config::load(args.config.as_deref())?;
    let cgroup = match &args.cgroup {
        Some(cgroup) => cgroup.clone(),
        None => machine::cgroup2_mount().ok_or(CaptureError::NoCgroup2)?,
    };
    for pid in &args.form.pids {
        let is_there = Path::new(&format!("/proc/{pid}")).exists();
        anyhow::ensure!(
            is_there,
            "no process has the pid {pid} that --pid gives: ps -e lists those that run"
        );
    }
    let mut ports = args.ports.clone();
    ports.push(DNS_PORT);
    // Signals are caught before anything is attached, so that none is missed.
    let mut signals = Signals::new()?;
    let options = Options {
        cgroup: cgroup.clone(),
        ports,
        ring_bytes: args.buffer,
    };
    let mut live = Live::start(&options, Arc::new(programs))?;
    // Before leakmon comes first and gives up its privileges: who shows the notifications has neither.
    let notify = args.notify.as_deref().map(Notify::start).transpose()?;
    privilege::come_first();
    // Before privileges are given up, and not for a run that does not begin.
    let recording = args.record.as_deref().map(Writer::create).transpose()?;
    privilege::drop_unneeded()
        .map_err(|reason| anyhow::anyhow!("privileges could not be given up: {reason}"))?;
    for degradation in live.degradations() {
        eprintln!("leakmon: {}", printable(&degradation.to_string()));
    }
    announce(args, &cgroup.display().to_string());

    let mut run = Run {
        pipeline: Pipeline::new(args.form.filter()),
        output: Output::live(args)?,
        recording,
        notify,
    };
    for degradation in live.degradations() {
        run.output.note(&degradation.to_string());
    }
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let end = args.duration.map(|duration| Instant::now() + duration);
    let mut second_look = None;
    loop {
        let mut events = Vec::new();
        tokio::select! {
            ready = live.ready() => {
                ready?;
                live.take(&mut events)?;
                second_look = Some(Instant::now() + SECOND_LOOK);
            }
            () = until(second_look), if second_look.is_some() => {
                live.take(&mut events)?;
                second_look = None;
            }
            _ = ticks.tick() => {
                // A record may have been handed in later than the others of its time.
                live.take(&mut events)?;
                events.extend(live.tick()?);
                run.flush_recording()?;
            }
            () = run.output.wanted() => {}
            () = signals.any() => break,
            () = until(end) => break,
        }
        match run.take(events, live.now())? {
            Audience::Reading => {}
            Audience::Leaving => break,
            Audience::Gone => {
                run.end_notify(live.now());
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    // What the kernel has sent by now still belongs to the run; a flood must not keep it from ending.
    let most = args.buffer as usize / SHORTEST_RECORD;
    for _ in 0..=most / live::BATCH {
        let mut events = Vec::new();
        let emptied = live.take(&mut events)?;
        run.take(events, live.now())?;
        if emptied {
            break;
        }
    }
    let mut events = live.tick()?;
    events.push(Event::End(live.now()));
    run.take(events, live.now())?;
    run.flush_recording()?;
    run.end_notify(live.now());
    run.output.close()?;
    Ok(verdict(run.pipeline.leaked() && args.duration.is_some()))
}

/// What events go through.
struct Run {
    pipeline: Pipeline,
    output: Output,
    recording: Option<Writer>,
    notify: Option<Notify>,
}

impl Run {
    fn take(&mut self, events: Vec<Event>, now: Timestamp) -> anyhow::Result<Audience> {
        if let Some(recording) = &mut self.recording {
            for event in &events {
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
    fn end_notify(&mut self, now: Timestamp) {
        let Some(mut notify) = self.notify.take() else {
            return;
        };
        notify.finish();
        let mut troubles = notify.tick(now);
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

/// Sleeps until then; for ever without an end.
async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Says on stderr what is watched, and what is not seen from here.
fn announce(args: &cli::Watch, cgroup: &str) {
    let view = machine::view();
    if view.partial_cgroups && args.cgroup.is_none() {
        eprintln!(
            "leakmon: only a part of this machine's cgroups is visible from here (a container?): programs outside it are not seen"
        );
    }
    if view.foreign_pids {
        eprintln!(
            "leakmon: this is not the machine's first pid namespace: programs are shown with the kernel's pids and thread names only"
        );
    }
    let place = if args.cgroup.is_some() {
        format!("cgroup {}", printable(cgroup))
    } else {
        "this machine".to_owned()
    };
    let end = if args.duration.is_some() {
        ""
    } else {
        "; Ctrl-C ends"
    };
    eprintln!("leakmon: watching {place}{end}");
}

/// The ways in which a run is asked to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("signals could not be caught");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
