//! `leakmon replay`: a recording, as if it happened now.

use std::process::ExitCode;

use anyhow::Context;

use super::{
    output::{Audience, NO_VIEW, Output},
    verdict,
    watch::Signals,
};
use crate::{
    capture::{Event, recording::Reader},
    cli,
    pipeline::Pipeline,
};

/// Runs everything behind capture over a recording.
///
/// # Errors
/// When the recording cannot be read to its end; what is before that was put out.
pub fn run(args: &cli::Replay) -> anyhow::Result<ExitCode> {
    let mut reader = Reader::open(&args.file)?;
    let mut pipeline = Pipeline::new(args.form.filter());
    let mut output = Output::of_recording(args);
    let mut leaked = false;
    let mut last = None;
    let fault = loop {
        match reader.next_event() {
            Ok(Some(event)) => {
                last = event.at().or(last);
                let now = event.at();
                let ends = matches!(event, Event::End(_));
                let reports = pipeline.feed(event);
                leaked = pipeline.leaked();
                if output.write(reports, now)? == Audience::Gone {
                    return Ok(ExitCode::SUCCESS);
                }
                if ends {
                    last = None;
                }
            }
            Ok(None) => break None,
            Err(fault) => break Some(fault),
        }
    };
    // A run that was killed has no end of its own.
    if let Some(at) = last {
        output.write(pipeline.feed(Event::End(at)), Some(at))?;
        leaked = pipeline.leaked();
    }
    if let Output::View(view) = &mut output {
        if let Some(fault) = &fault {
            view.note(fault.to_string());
        }
        show(&mut output)?;
    }
    match fault {
        Some(fault) => Err(fault.into()),
        None => Ok(verdict(leaked)),
    }
}

/// Shows the view until its reader wants no more of it.
fn show(output: &mut Output) -> anyhow::Result<()> {
    let reading = async {
        let mut signals = Signals::new()?;
        if let Output::View(view) = output {
            view.open().context(NO_VIEW)?;
        }
        while output.write([], None)? == Audience::Reading {
            tokio::select! {
                () = output.wanted() => {}
                () = signals.any() => break,
            }
        }
        output.close()
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the event loop could not be set up")?
        .block_on(reading)
}
