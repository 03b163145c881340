//! `leakmon watch`: this machine, as it happens.

use std::{
    io::{self, BufWriter, IsTerminal, Stdout},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::verdict;
use crate::{
    capture::{CaptureError, Options, machine},
    cli,
    live::Live,
    model::Report,
    pipeline::{Filter, Pipeline},
    privilege,
    sink::{Json, Lines, Sink, Style},
};

/// The port of DNS (RFC 1035 section 4.2).
const DNS_PORT: u16 = 53;
/// How often what waits is looked at.
const TICK: Duration = Duration::from_millis(100);

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
    let cgroup = match &args.cgroup {
        Some(cgroup) => cgroup.clone(),
        None => machine::cgroup2_mount().ok_or(CaptureError::NoCgroup2)?,
    };
    let mut ports = args.ports.clone();
    ports.push(DNS_PORT);
    // Signals are caught before anything is attached, so that none is missed.
    let mut signals = Signals::new()?;
    let mut live = Live::start(&Options {
        cgroup: cgroup.clone(),
        ports,
    })?;
    privilege::drop_unneeded()
        .map_err(|reason| anyhow::anyhow!("privileges could not be given up: {reason}"))?;
    announce(args, &cgroup.display().to_string());

    let mut pipeline = Pipeline::new(Filter {
        pids: args.pids.clone(),
        apps: args.apps.clone(),
    });
    let mut output = Output::new(args);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let end = args.duration.map(|duration| Instant::now() + duration);
    loop {
        let mut events = Vec::new();
        tokio::select! {
            ready = live.ready() => {
                ready?;
                live.take(|event| events.push(event));
            }
            _ = ticks.tick() => events = live.tick()?,
            () = signals.any() => break,
            () = until(end) => break,
        }
        let reports = events.into_iter().flat_map(|event| pipeline.feed(event));
        if output.write(reports, &live)?.is_closed() {
            return Ok(ExitCode::SUCCESS);
        }
    }
    // What the kernel has sent by now still belongs to the run.
    let mut events = Vec::new();
    while !live.take(|event| events.push(event)) {}
    events.extend(live.tick()?);
    let mut reports: Vec<Report> = events
        .into_iter()
        .flat_map(|event| pipeline.feed(event))
        .collect();
    let (last, leaked) = pipeline.finish(live.now());
    reports.extend(last);
    output.write(reports, &live)?;
    Ok(verdict(leaked && args.duration.is_some()))
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
        format!("cgroup {}", crate::sink::printable(cgroup))
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
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let catch = |kind| signal(kind).context("signals could not be caught");
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Whether anybody still reads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Reading,
    Gone,
}

impl Reader {
    fn is_closed(self) -> bool {
        self == Self::Gone
    }
}

/// Standard output in the wanted form.
struct Output(Box<dyn Sink>);

impl Output {
    fn new(args: &cli::Watch) -> Self {
        let out: BufWriter<Stdout> = BufWriter::new(io::stdout());
        let color = io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self(if args.json {
            Box::new(Json::new(out))
        } else {
            let all = args.all;
            Box::new(Lines::new(out, Style { all, color }))
        })
    }

    /// Writes reports and what is due. A reader who closed the pipe wants no more: that is no error.
    fn write(
        &mut self,
        reports: impl IntoIterator<Item = Report>,
        live: &Live,
    ) -> anyhow::Result<Reader> {
        let written = reports
            .into_iter()
            .try_for_each(|report| self.0.report(&report))
            .and_then(|()| self.0.tick(live.now()))
            .and_then(|()| self.0.flush());
        match written {
            Ok(()) => Ok(Reader::Reading),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(error) => Err(error).context("the output could not be written"),
        }
    }
}
