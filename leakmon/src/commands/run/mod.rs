//! `leakmon run`: a command with everything that it starts, from its beginning to its end.

mod become_command;
mod place;
mod report;
mod signals;
mod start;

use std::{
    io::{self, IsTerminal},
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::time::{Instant, Interval, interval};

pub use become_command::become_command;

use self::{
    place::Place,
    signals::{Caught, Signals},
    start::Started,
};
use super::{
    FAILED, LEAKED,
    invoker::{self, Invoker},
    output::Audience,
    watch::check_pids,
    watching::{Ended, Watching, attach, recording, tell_degradations, until},
};
use crate::{
    capture::{CaptureError, machine},
    cli,
    pipeline::Filter,
    posture::Programs,
    privilege,
    sink::printable,
};

/// How often it is looked whether processes are left.
const LOOK: Duration = Duration::from_millis(100);
/// How long a command that is to end may take for it before it is killed.
const GRACE: Duration = Duration::from_secs(5);
/// What a shell adds to a signal's number for the exit code of what it ended (POSIX.1-2024, Shell Command Language 2.8.2).
const BY_SIGNAL: i32 = 128;

/// Runs a command, or follows processes, to the end.
///
/// # Errors
/// When the command cannot be started or watched, or the report cannot be written.
pub fn run(args: &cli::Run, programs: Programs) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop could not be set up")?
        .block_on(async {
            if args.command.is_empty() {
                follow(args, programs).await
            } else {
                command(args, programs).await
            }
        })
}

async fn command(args: &cli::Run, programs: Programs) -> anyhow::Result<ExitCode> {
    let invoker = invoker::find(args.user.as_deref())?;
    start::check(&args.command, invoker.as_ref())?;
    let mount = machine::cgroup2_mount().ok_or(CaptureError::NoCgroup2)?;
    ensure_privileges()?;
    let target = report::Target::open(args, invoker.as_ref().map(Invoker::owner))?;
    let caught = Caught::new()?;
    let place = Place::create(&mount)?;
    // What a resolver of this machine sends on tells whether a question left it, and the resolver is not the command's.
    let whole = place::resolver_runs();
    let watched = if whole { &mount } else { place.path() };
    let live = attach(&args.capturing, programs, watched)?;
    let record = args.capturing.record.as_deref();
    let recording = recording(record, invoker.as_ref().map(Invoker::owner))?;
    tell_degradations(&live, whole);
    let mut started = start::start(&args.command, &place, invoker.as_ref())?;
    privilege::come_first();
    let given_up = privilege::drop_unneeded(&[privilege::Capability::CAP_KILL]);
    if let Err(reason) = given_up {
        place.kill();
        bail!("privileges could not be given up: {reason}");
    }
    let filter = if whole {
        Filter {
            pids: vec![started.pid],
            cgroup: machine::below_the_root(place.path()),
            ..Filter::default()
        }
    } else {
        Filter::default()
    };
    let watching = Watching::new(
        live,
        filter,
        target.output(args),
        recording,
        args.capturing.buffer,
    );
    let course = Course {
        looks: interval(LOOK),
        end: args.duration.map(|duration| Instant::now() + duration),
        kill: None,
        status: None,
        cut: false,
        told: false,
    };
    let signals = caught.hand_on();
    let followed = course.follow(watching, &mut started, &place, signals).await;
    let (watching, course) = match followed {
        Ok(followed) => followed,
        Err(error) => {
            // Nobody would watch it any more.
            place.kill();
            return Err(error);
        }
    };
    if let Some(fault) = started.fault() {
        bail!("{fault}");
    }
    let own = course.code();
    let ended = watching.finish()?;
    if ended.leaked && own > LEAKED {
        eprintln!("leakmon: the command's own exit code is {own}");
    }
    Ok(exit_code(&ended, own))
}

/// What the run's exit code is, given the command's own.
fn exit_code(ended: &Ended, own: u8) -> ExitCode {
    if ended.leaked {
        return ExitCode::from(LEAKED);
    }
    if ended.lost > 0 {
        eprintln!(
            "leakmon: {} events were lost, so that nothing can be said of what did not leak; --buffer gives them more room",
            ended.lost
        );
        return ExitCode::from(FAILED);
    }
    ExitCode::from(own)
}

/// A command on its way.
struct Course {
    looks: Interval,
    /// When it is to end at the latest.
    end: Option<Instant>,
    /// When it is killed, having been told to end.
    kill: Option<Instant>,
    /// How it ended.
    status: Option<ExitStatus>,
    /// leakmon ended it, because its time was over.
    cut: bool,
    /// That others go on was said.
    told: bool,
}

impl Course {
    /// Watches until the command and all that it started have ended.
    async fn follow(
        mut self,
        mut watching: Watching,
        started: &mut Started,
        place: &Place,
        mut signals: Signals,
    ) -> anyhow::Result<(Watching, Self)> {
        loop {
            tokio::select! {
                audience = watching.step() => {
                    // Whom the report is for may be gone; the command goes on, and so does its exit code.
                    let (Audience::Reading | Audience::Leaving | Audience::Gone) = audience?;
                }
                (signal, by_terminal) = signals.next() => {
                    if self.status.is_some() {
                        break;
                    }
                    // What the terminal sends, it sends to the command too.
                    if !by_terminal {
                        started.signal(signal);
                    }
                }
                status = started.wait(), if self.status.is_none() => {
                    self.status = Some(status?);
                    if place.is_empty() {
                        break;
                    }
                }
                _ = self.looks.tick(), if self.status.is_some() => {
                    if place.is_empty() {
                        break;
                    }
                    self.tell(place);
                }
                () = until(self.end) => {
                    self.cut = true;
                    self.end = None;
                    self.kill = Some(Instant::now() + GRACE);
                    place.signal(Signal::TERM);
                }
                () = until(self.kill) => {
                    self.kill = None;
                    place.kill();
                }
            }
        }
        Ok((watching, self))
    }

    /// Says once that the command has left others behind.
    fn tell(&mut self, place: &Place) {
        if self.told || self.kill.is_some() {
            return;
        }
        self.told = true;
        let left = match place.pids().len() {
            1 => "a process that it started goes".to_owned(),
            left => format!("{left} processes that it started go"),
        };
        let how = if io::stderr().is_terminal() {
            "Ctrl-C ends that"
        } else {
            "a signal to leakmon ends that"
        };
        eprintln!("leakmon: the command has ended; {left} on under watch; {how}");
    }

    /// The command's exit code, as a shell gives it.
    fn code(&self) -> u8 {
        use std::os::unix::process::ExitStatusExt;
        // It was leakmon that ended it, and not its own doing.
        let Some(status) = self.status.filter(|_| !self.cut) else {
            return super::CLEAN;
        };
        let code = match (status.code(), status.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => BY_SIGNAL + signal,
            (None, None) => 0,
        };
        u8::try_from(code).unwrap_or(u8::MAX)
    }
}

/// Follows processes that run already.
async fn follow(args: &cli::Run, programs: Programs) -> anyhow::Result<ExitCode> {
    check_pids(&args.pids)?;
    let running: Vec<_> = args.pids.iter().filter_map(|&pid| begun(pid)).collect();
    let mount = machine::cgroup2_mount().ok_or(CaptureError::NoCgroup2)?;
    ensure_privileges()?;
    let owner = invoker::owner();
    let target = report::Target::open(args, owner)?;
    let caught = Caught::new()?;
    let live = attach(&args.capturing, programs, &mount)?;
    let record = args.capturing.record.as_deref();
    let recording = recording(record, owner)?;
    privilege::come_first();
    privilege::drop_unneeded(&[])
        .map_err(|reason| anyhow::anyhow!("privileges could not be given up: {reason}"))?;
    tell_degradations(&live, true);
    let mut signals = caught.hand_on();
    let pids: Vec<String> = args.pids.iter().map(u32::to_string).collect();
    eprintln!(
        "leakmon: following {} until {}; Ctrl-C ends",
        pids.join(", "),
        if pids.len() == 1 {
            "it ends"
        } else {
            "they end"
        }
    );
    let filter = Filter {
        pids: args.pids.clone(),
        ..Filter::default()
    };
    let buffer = args.capturing.buffer;
    let mut watching = Watching::new(live, filter, target.output(args), recording, buffer);
    let end = args.duration.map(|duration| Instant::now() + duration);
    let mut looks = interval(LOOK);
    loop {
        tokio::select! {
            audience = watching.step() => {
                if audience? == Audience::Gone {
                    break;
                }
            }
            _ = signals.next() => break,
            _ = looks.tick() => {
                if !running.iter().any(|(pid, start)| begun(*pid) == Some((*pid, *start))) {
                    break;
                }
            }
            () = until(end) => break,
        }
    }
    Ok(exit_code(&watching.finish()?, super::CLEAN))
}

/// A process with its time of start, which no other one with that pid has (proc_pid_stat(5), field 22); `None` when it has
/// ended.
fn begun(pid: u32) -> Option<(u32, u64)> {
    let process = procfs::process::Process::new(i32::try_from(pid).ok()?).ok()?;
    let stat = process.stat().ok()?;
    // A zombie has ended, whether or not its parent has asked.
    (stat.state != 'Z' && stat.state != 'X').then_some((pid, stat.starttime))
}

/// Before anything is made that would have to be undone.
fn ensure_privileges() -> anyhow::Result<()> {
    let missing = privilege::missing();
    if !missing.is_empty() {
        return Err(CaptureError::Privilege { missing }.into());
    }
    Ok(())
}

/// The command as a shell would have it, for people.
fn in_words(command: &[std::ffi::OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    printable(&words.join(" ")).to_string()
}
