//! The signals that are passed on to the command.

use std::thread;

use anyhow::Context;
use nix::sys::{
    signal::{SigSet, Signal as Number},
    signalfd::{SfdFlags, SignalFd},
};
use rustix::process::Signal;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// `si_code` of a signal that the kernel sent, as a terminal's driver does at Ctrl-C (sigaction(2), `SI_KERNEL`).
const BY_KERNEL: i32 = 0x80;

/// What a user or a service manager ends or tells a program with.
const PASSED: [(Number, Signal); 6] = [
    (Number::SIGINT, Signal::INT),
    (Number::SIGQUIT, Signal::QUIT),
    (Number::SIGTERM, Signal::TERM),
    (Number::SIGHUP, Signal::HUP),
    (Number::SIGUSR1, Signal::USR1),
    (Number::SIGUSR2, Signal::USR2),
];

/// Signals that were caught and wait, with who sent them: a handler of tokio's does not tell.
pub struct Caught {
    fd: SignalFd,
}

/// Signals to leakmon, as they come.
pub struct Signals {
    received: UnboundedReceiver<(Signal, bool)>,
}

impl Caught {
    /// Keeps these signals from now on, instead of being ended by them.
    pub fn new() -> anyhow::Result<Self> {
        const FAULT: &str = "signals could not be caught";
        let mut set = SigSet::empty();
        for (number, _) in PASSED {
            set.add(number);
        }
        // This is the only thread, and later ones inherit it (signal(7)).
        set.thread_block().context(FAULT)?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).context(FAULT)?;
        Ok(Self { fd })
    }

    /// Hands them on, those that came meanwhile first. From here on there is a second thread: to be called when privileges
    /// have been given up, which each thread does for itself (capabilities(7)).
    pub fn hand_on(self) -> Signals {
        let (sender, received) = unbounded_channel();
        thread::spawn(move || {
            while let Ok(info) = self.fd.read_signal() {
                let Some(info) = info else { continue };
                let passed = PASSED
                    .iter()
                    .find(|(known, _)| i64::from(*known as i32) == i64::from(info.ssi_signo));
                if let Some((_, signal)) = passed
                    && sender.send((*signal, info.ssi_code == BY_KERNEL)).is_err()
                {
                    break;
                }
            }
        });
        Signals { received }
    }
}

impl Signals {
    /// The next signal, and whether the terminal sent it. For ever when none can come any more.
    pub async fn next(&mut self) -> (Signal, bool) {
        match self.received.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}
