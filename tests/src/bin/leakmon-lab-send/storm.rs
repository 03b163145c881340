//! Many programs that live for a moment only.

use crate::{Outcome, wrong};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Runs `count` programs, `width` at a time, each of which asks one name (`PREFIX-NUMBER.example`) and is gone. Prints
/// `PID NAME` for each, with the process id that the kernel gave it.
pub fn storm(server: SocketAddr, prefix: &str, count: usize, width: usize) -> Outcome {
    let program = std::env::current_exe()?;
    let server = server.to_string();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..width)
            .map(|_| {
                scope.spawn(|| -> Outcome {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count {
                            return Ok(());
                        }
                        let name = format!("{prefix}-{number}.example");
                        let mut child = Command::new(&program)
                            .args(["udp-once", &server, &name])
                            .spawn()?;
                        let pid = child.id();
                        if !child.wait()?.success() {
                            return Err(wrong("a child failed"));
                        }
                        writeln!(io::stdout(), "{pid} {name}")?;
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

/// Runs programs that ask nothing, one after the other, until it is killed. Prints the process id of each.
pub fn noise() -> Outcome {
    loop {
        let mut child = Command::new("/bin/true").stdin(Stdio::null()).spawn()?;
        let pid = child.id();
        child.wait()?;
        writeln!(io::stdout(), "{pid}")?;
    }
}
