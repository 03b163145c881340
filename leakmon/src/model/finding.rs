//! Findings: verdicts, with what they rest on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, App, is_false};
use crate::time::Timestamp;

/// What kind of leak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A program with a proxy resolved a name itself.
    SelfResolution,
    /// A name left the machine that DNS must never be asked for: `.onion` (RFC 7686), `.i2p`.
    SpecialName,
    /// A program that was told to reach everything through a proxy connected past it.
    ProxyBypass,
    /// A proxy was given an address that no lookup of the program's was answered with: perhaps one that stood in a page
    /// or was typed, so no leak by itself.
    LiteralAddress,
}

impl FindingKind {
    /// The word used in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SelfResolution => "self-resolution",
            Self::SpecialName => "special-name",
            Self::ProxyBypass => "proxy-bypass",
            Self::LiteralAddress => "literal-address",
        }
    }

    /// Whether it is about connections or requests, and not about queries.
    #[must_use]
    pub fn is_of_connections(self) -> bool {
        matches!(self, Self::ProxyBypass | Self::LiteralAddress)
    }

    /// Whether a finding of this kind says that something leaked.
    #[must_use]
    pub fn is_leak(self) -> bool {
        self != Self::LiteralAddress
    }
}

/// How bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Probably intended.
    Low,
    /// A leak within the machine, or one not fully established.
    Medium,
    /// A name left the machine past the proxy.
    High,
    /// A name that must never be asked left the machine.
    Critical,
}

/// How sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The program was seen to speak to a proxy, and asked for the name itself.
    Observed,
    /// The program's configuration sends everything through a proxy, and it asked for the name itself.
    Configured,
    /// The program asked for the name, was answered an address, and gave the proxy that address; or the name alone is
    /// proof, because it must never leave the machine.
    Proven,
}

impl Confidence {
    /// The word used in output.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observed => "observed",
            Self::Configured => "configured",
            Self::Proven => "proven",
        }
    }
}

/// Who is meant to turn names into addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolves {
    /// The program itself.
    Local,
    /// The proxy.
    Remote,
    /// One or the other.
    Depends,
    /// Not known.
    Unknown,
}

/// A proxy as a finding names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxySetting {
    /// `socks4`, `socks4a`, `socks5`, `http`, `https`.
    pub scheme: String,
    /// Host name or address.
    pub addr: String,
    /// Port.
    pub port: u16,
    /// Who is meant to resolve names.
    pub resolves: Resolves,
}

impl std::fmt::Display for ProxySetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.addr.contains(':') {
            write!(f, "{}://[{}]:{}", self.scheme, self.addr, self.port)
        } else {
            write!(f, "{}://{}:{}", self.scheme, self.addr, self.port)
        }
    }
}

/// One piece of what a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Where it comes from: `query`, `answer`, `handshake`; for what a program was told, the kind of place, as
    /// `command-line`, `environment`, `policy`, `preferences`.
    pub source: String,
    /// What it says.
    pub detail: String,
}

impl Evidence {
    /// Evidence from `source` that says `detail`.
    pub fn new(source: &str, detail: impl Into<String>) -> Self {
        Self {
            source: source.to_owned(),
            detail: detail.into(),
        }
    }
}

/// A piece of evidence of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// When it happened; `null` for what was written before.
    pub ts: Option<Timestamp>,
    /// What it is.
    #[serde(flatten)]
    pub evidence: Evidence,
}

/// A verdict with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// When it became sure, or surer.
    pub ts: Timestamp,
    /// `f1`, `f2`, …
    pub id: String,
    /// Said before, and changed since: the later line wins.
    #[serde(skip_serializing_if = "is_false")]
    pub update: bool,
    /// What kind of leak.
    pub kind: FindingKind,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// The program that a person would name; `null` for a special name when the kernel could not tell who asked.
    pub app: Option<Arc<App>>,
    /// The process that sent the query; `null` likewise.
    pub process: Option<Actor>,
    /// The name that leaked; for a connection or a request with a bare address of which no single name is known, that address.
    pub name: String,
    /// How often it happened: queries, connections or requests.
    pub count: u64,
    /// Ids of the queries that leaked it, the first of them when there are many.
    pub queries: Vec<String>,
    /// The proxy that was to be used; `null` for a special name when none is known.
    pub proxy: Option<ProxySetting>,
    /// The chain of evidence, in the order in which things happened.
    pub evidence: Vec<Link>,
    /// What to change.
    pub advice: String,
}
