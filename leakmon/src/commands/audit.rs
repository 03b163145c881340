//! `leakmon audit`: what programs were told, and what will leak by it. Loads no kernel program.

use std::{
    collections::BTreeMap,
    io::{self, BufWriter},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;

use super::verdict;
use crate::{
    cli,
    model::{App, Machine, Process, Report, Setup},
    posture::{Programs, Subject, View, installed, machine, posture_of},
    process::{Reader, Table, app_of},
    sink::{Json, Sink, audit},
    time::BootClock,
};

/// Looks at every program that runs, and says what it was told.
///
/// # Errors
/// When the output cannot be written.
pub fn run(args: &cli::Audit, programs: &Programs) -> anyhow::Result<ExitCode> {
    let own = rustix::process::getuid();
    let only_own = args.user || !own.is_root();
    if !own.is_root() && !args.user {
        eprintln!(
            "leakmon: not root: only your own programs are looked at (--user says so and silences this line)"
        );
    }
    let clock = BootClock::now();
    let now = clock.wall_now();
    let mut setups = Vec::new();
    let running = Reader::new(clock, false).running();
    for (app, first) in apps(&running, only_own.then(|| own.as_raw()), &args.pids)? {
        let view = View::of(&first);
        let posture = posture_of(&Subject {
            process: &first,
            view: &view,
            programs,
        });
        // One that ended meanwhile is not there any more.
        if view.is_open() && (args.all || !posture.is_empty()) {
            setups.push(posture.setup(now, Some(app), Some(first), None));
        }
    }
    let disk = Path::new("/");
    if args.installed {
        let users = if only_own {
            let variables = std::env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            });
            installed::user(disk, own.as_raw(), variables)
                .into_iter()
                .collect()
        } else {
            installed::users(disk)
        };
        for user in &users {
            setups.extend(installed::setups(disk, user, programs, args.all, now));
        }
    }
    // Who asks for some processes asks for nothing else.
    let machine = args.pids.is_empty().then(|| Machine {
        ts: now,
        offers: machine::offers(&View::of_disk(disk, None), &running),
    });
    let leaks = setups.iter().any(Setup::will_leak);
    let out = BufWriter::new(io::stdout());
    let written = if args.json {
        let mut json = Json::new(out);
        setups
            .into_iter()
            .map(|setup| Report::Posture(Box::new(setup)))
            .chain(machine.map(Report::Machine))
            .try_for_each(|report| json.report(&report))
            .and_then(|()| json.flush())
    } else {
        audit::write(out, &setups, machine.as_ref())
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("the output could not be written")?,
    }
    Ok(verdict(leaks))
}

/// The programs that run, each with its first process, in the order of their pids.
fn apps(
    running: &[Arc<Process>],
    uid: Option<u32>,
    pids: &[u32],
) -> anyhow::Result<Vec<(Arc<App>, Arc<Process>)>> {
    let mut table = Table::default();
    for process in running {
        table.insert(Arc::clone(process));
    }
    for pid in pids {
        anyhow::ensure!(
            table.get(*pid).is_some(),
            "no process has the pid {pid} that --pid gives: ps -e lists those that run"
        );
    }
    let mut apps = BTreeMap::new();
    for process in running {
        let is_wanted =
            pids.is_empty() || pids.iter().any(|&pid| table.descends_from(process, pid));
        // Threads of the kernel have no program.
        if !is_wanted || uid.is_some() && process.uid != uid || process.exe.is_none() {
            continue;
        }
        let (app, first) = app_of(&mut table, process);
        if first.pid != std::process::id() {
            apps.insert(first.id(), (app, first));
        }
    }
    Ok(apps.into_values().collect())
}
