//! The lab in which leakmon is tested: network namespaces with real servers in them, real programs that ask them for
//! names, and witnesses that know nothing of leakmon (dnsmasq's log, tor's log, the SOCKS server's log).
//!
//! A scenario is one file in `tests/`. It builds a [`Lab`], starts [`Leakmon`] on the lab's cgroup, runs programs in the
//! client's namespace, and compares what leakmon said with what the witnesses wrote. A [`Lab`] takes everything that it
//! made away again when it is dropped, also when the scenario panics.
//!
//! The lab needs root and some programs. Where they are missing a scenario is skipped, loudly; set
//! `LEAKMON_LAB_REQUIRE` to make that a failure, so that no green run has tested nothing.

#![forbid(unsafe_code)]

pub mod audited;
pub mod bpf;
pub mod browser;
pub mod cgroup;
pub mod compare;
pub mod desktop;
pub mod dnsmasq;
pub mod firefox;
pub mod gnome;
pub mod held;
pub mod lab;
pub mod leakmon;
pub mod need;
pub mod netns;
pub mod output;
pub mod program;
pub mod resolver;
pub mod sent;
pub mod servers;
pub mod stall;
pub mod stalled;
pub mod sweep;
pub mod tmux;
pub mod tor;
pub mod wait;

pub use browser::Chromium;
pub use dnsmasq::Asked;
pub use firefox::Firefox;
pub use held::Held;
pub use lab::{Lab, LabBuilder};
pub use leakmon::{Leakmon, Run};
pub use output::State;
pub use program::{Finished, Program};
pub use resolver::{Behind, Resolver};
pub use stall::Stall;

use std::time::Duration;

/// How long a scenario waits for something that normally takes well under a second: long enough for a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(20);
