//! What programs were told about proxies, and what the machine offers, in the shape in which it is put out.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{App, Evidence, Process, ProxySetting, Resolves, is_false};
use crate::time::Timestamp;

/// Something that a program's settings let leak.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// What is told to a resolver past the proxy.
    pub what: String,
    /// Whether it does leak, or only under a condition that is said.
    pub certain: bool,
    /// What to change.
    pub stop: String,
}

/// Where a program's connections go, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// Nothing is said about a proxy.
    Untold,
    /// Told to go direct.
    Direct,
    /// All through a proxy.
    Proxy,
    /// Some through a proxy.
    Depends,
    /// Not known.
    Unknown,
}

/// What a program was told about proxies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setup {
    /// When it was read.
    pub ts: Timestamp,
    /// Said before, and changed since.
    #[serde(skip_serializing_if = "is_false")]
    pub update: bool,
    /// The program that a person would name; `null` for a profile on disk.
    pub app: Option<Arc<App>>,
    /// Its first process; `null` for a profile on disk.
    pub process: Option<Arc<Process>>,
    /// The profile on disk; `null` for a running program.
    pub profile: Option<Profile>,
    /// Where its connections go.
    pub route: RouteKind,
    /// The proxy for everything, or what comes first for it.
    pub proxy: Option<ProxySetting>,
    /// Who turns the names of its connections into addresses.
    pub resolves: Resolves,
    /// What is reached without the proxy, in the program's own language.
    pub bypass: Vec<String>,
    /// What it is, when it is a proxy itself.
    pub role: Option<String>,
    /// What leaks by these settings.
    pub leaks: Vec<Leak>,
    /// Where this is written, and what it means.
    pub evidence: Vec<Evidence>,
    /// What other places say, which do not count beside it.
    pub overruled: Vec<Evidence>,
    /// What stops the program from resolving names itself.
    pub advice: Option<String>,
}

impl Setup {
    /// Whether something leaks by these settings for sure.
    #[must_use]
    pub fn will_leak(&self) -> bool {
        self.leaks.iter().any(|leak| leak.certain)
    }
}

/// A profile on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The program that it belongs to, as `Firefox`.
    pub program: String,
    /// Its folder or file.
    pub path: String,
    /// Whose it is.
    pub user: Option<String>,
}

/// Something of the machine itself that looks up names, or has them looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// What it is: `resolv.conf`, `nsswitch.conf`, `systemd-resolved`, `nscd`, `mdns`, `llmnr`, `local-resolver`,
    /// `tor-dnsport`, `doh`.
    pub what: String,
    /// How it is set.
    pub detail: String,
    /// Whether it can carry names past a proxy, or hides who asked.
    pub concerns: bool,
}

/// What the machine itself offers a program that looks up names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// When it was read.
    pub ts: Timestamp,
    /// What it offers.
    pub offers: Vec<Offer>,
}
