//! `leakmon watch`: this machine, as it happens.

use std::{path::Path, process::ExitCode};

use anyhow::Context;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::Instant,
};

use super::{
    invoker,
    output::{Audience, Output},
    verdict,
    watching::{Watching, attach, recording, tell_degradations, until},
};
use crate::{
    capture::{CaptureError, machine},
    cli,
    posture::Programs,
    privilege,
    sink::{Notify, printable},
};

/// Watches until told to stop.
///
/// # Errors
/// When the machine cannot be watched or the output cannot be written.
pub fn run(args: &cli::Watch, programs: Programs) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop could not be set up")?
        .block_on(watch(args, programs))
}

async fn watch(args: &cli::Watch, programs: Programs) -> anyhow::Result<ExitCode> {
    let cgroup = match &args.cgroup {
        Some(cgroup) => cgroup.clone(),
        None => machine::cgroup2_mount().ok_or(CaptureError::NoCgroup2)?,
    };
    check_pids(&args.form.pids)?;
    // Signals are caught before anything is attached, so that none is missed.
    let mut signals = Signals::new()?;
    let live = attach(&args.capturing, programs, &cgroup)?;
    // Before privileges are given up, and not for a run that does not begin.
    let recording = recording(args.capturing.record.as_deref(), invoker::owner())?;
    // Before leakmon comes first and gives up its privileges: who shows the notifications has neither.
    let notify = (args.notify || !args.notify_users.is_empty())
        .then(|| Notify::start(&args.notify_users))
        .transpose()?;
    privilege::come_first();
    privilege::drop_unneeded(&[])
        .map_err(|reason| anyhow::anyhow!("privileges could not be given up: {reason}"))?;
    tell_degradations(&live, true);
    announce(args, &cgroup.display().to_string());

    let output = Output::live(args)?;
    let buffer = args.capturing.buffer;
    let mut watching = Watching::new(live, args.form.filter(), output, recording, buffer);
    watching.notify(notify);
    let end = args.duration.map(|duration| Instant::now() + duration);
    loop {
        let audience = tokio::select! {
            audience = watching.step() => audience?,
            () = signals.any() => break,
            () = until(end) => break,
        };
        match audience {
            Audience::Reading => {}
            Audience::Leaving => break,
            Audience::Gone => {
                watching.end_notify();
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    let ended = watching.finish()?;
    Ok(verdict(ended.leaked && args.duration.is_some()))
}

/// Whether there are processes with these pids.
pub(super) fn check_pids(pids: &[u32]) -> anyhow::Result<()> {
    for pid in pids {
        let is_there = Path::new(&format!("/proc/{pid}")).exists();
        anyhow::ensure!(
            is_there,
            "no process has the pid {pid} that --pid gives: ps -e lists those that run"
        );
    }
    Ok(())
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
