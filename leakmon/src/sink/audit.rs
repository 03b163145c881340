//! What programs were told, for people to read: the ones that leak first.

use std::io::{self, Write};

use super::{lines::in_a_line, printable};
use crate::model::{Evidence, Machine, Offer, RouteKind, Setup};

/// Writes all of them, a line that counts, and what the machine itself offers.
///
/// # Errors
/// When they cannot be written.
pub fn write(mut out: impl Write, setups: &[Setup], machine: Option<&Machine>) -> io::Result<()> {
    let mut sorted: Vec<&Setup> = setups.iter().collect();
    sorted.sort_by_key(|setup| Outlook::of(setup));
    for setup in &sorted {
        write_setup(&mut out, setup)?;
    }
    let count = |outlook| {
        let same = |setup: &&Setup| Outlook::of(setup) == outlook;
        setups.iter().filter(same).count()
    };
    let profiles = setups
        .iter()
        .filter(|setup| setup.profile.is_some())
        .count();
    let counted = super::lines::counted;
    write!(
        out,
        "{}",
        counted((setups.len() - profiles) as u64, "program", "programs")
    )?;
    if profiles > 0 {
        write!(
            out,
            " and {}",
            counted(profiles as u64, "profile", "profiles")
        )?;
    }
    writeln!(
        out,
        " that something says about a proxy: {} will leak, {} may leak, of {} it is not known",
        count(Outlook::WillLeak),
        count(Outlook::MayLeak),
        count(Outlook::Unknown),
    )?;
    if let Some(machine) = machine {
        write_machine(&mut out, machine)?;
    }
    out.flush()
}

/// A line for each thing, with a mark in front of those that concern.
fn write_machine(out: &mut impl Write, machine: &Machine) -> io::Result<()> {
    writeln!(
        out,
        "this machine (! can carry names past a proxy, or hides who asked)"
    )?;
    for Offer {
        what,
        detail,
        concerns,
    } in &machine.offers
    {
        let mark = if *concerns { '!' } else { ' ' };
        writeln!(out, "  {mark} {:<17}{}", printable(what), printable(detail))?;
    }
    Ok(())
}

/// What is to be expected of a program; the worse the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outlook {
    WillLeak,
    MayLeak,
    Unknown,
    Clean,
    NoProxy,
}

impl Outlook {
    fn of(setup: &Setup) -> Self {
        match setup.route {
            _ if setup.will_leak() => Self::WillLeak,
            _ if !setup.leaks.is_empty() => Self::MayLeak,
            RouteKind::Unknown | RouteKind::Depends => Self::Unknown,
            RouteKind::Untold | RouteKind::Direct if setup.role.is_none() => Self::NoProxy,
            _ => Self::Clean,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::WillLeak => "WILL LEAK",
            Self::MayLeak => "may leak",
            Self::Unknown => "unknown",
            Self::Clean => "ok",
            Self::NoProxy => "no proxy",
        }
    }
}

fn write_setup(out: &mut impl Write, setup: &Setup) -> io::Result<()> {
    let mark = Outlook::of(setup).as_str();
    let of = |user: &Option<String>| match user {
        Some(user) => format!(", {}", printable(user)),
        None => String::new(),
    };
    let name = match (&setup.app, &setup.profile) {
        (Some(app), _) => format!(
            "{} (pid {}{})",
            printable(&app.name),
            app.pid,
            setup
                .process
                .as_ref()
                .map(|process| of(&process.user))
                .unwrap_or_default(),
        ),
        (None, Some(profile)) => format!(
            "{} (on disk{}) {}",
            printable(&profile.program),
            of(&profile.user),
            printable(&profile.path)
        ),
        (None, None) => String::new(),
    };
    writeln!(out, "{mark:<9} {name}: {}", printable(&in_a_line(setup)))?;
    for Evidence { source, detail } in &setup.evidence {
        line(out, source, detail)?;
    }
    if !setup.bypass.is_empty() {
        line(
            out,
            "bypass",
            &format!("reached without the proxy: {}", setup.bypass.join(", ")),
        )?;
    }
    for leak in &setup.leaks {
        line(
            out,
            if leak.certain { "leaks" } else { "may leak" },
            &leak.what,
        )?;
        line(out, "to stop it", &leak.stop)?;
    }
    for Evidence { source, detail } in &setup.overruled {
        line(out, "overruled", &format!("{source}: {detail}"))?;
    }
    Ok(())
}

fn line(out: &mut impl Write, what: &str, detail: &str) -> io::Result<()> {
    writeln!(out, "    {:<12} {}", printable(what), printable(detail))
}
