//! What programs were told, for people to read: the ones that leak first.

use std::io::{self, Write};

use super::{lines::in_a_line, printable};
use crate::model::{Evidence, Machine, Offer, Setup};

/// Writes all of them, a line that counts, and what the machine itself offers.
///
/// # Errors
/// When they cannot be written.
pub fn write(mut out: impl Write, setups: &[Setup], machine: Option<&Machine>) -> io::Result<()> {
    let mut sorted: Vec<&Setup> = setups.iter().collect();
    sorted.sort_by_key(|setup| rank(setup));
    for setup in &sorted {
        write_setup(&mut out, setup)?;
    }
    let leaking = setups.iter().filter(|setup| setup.will_leak()).count();
    let maybe = setups.iter().filter(|setup| rank(setup) == 1).count();
    writeln!(
        out,
        "{} with proxy settings: {leaking} will leak, {maybe} may leak",
        super::lines::counted(setups.len() as u64, "program", "programs"),
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

/// The worse the earlier.
fn rank(setup: &Setup) -> u8 {
    if setup.will_leak() {
        0
    } else if setup.leaks.is_empty() {
        2
    } else {
        1
    }
}

fn write_setup(out: &mut impl Write, setup: &Setup) -> io::Result<()> {
    let mark = ["WILL LEAK", "may leak", "ok"][usize::from(rank(setup))];
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
    writeln!(out, "    {:<13}{}", printable(what), printable(detail))
}
