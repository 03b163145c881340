//! The words of a finding: what each piece of evidence says, how bad it is, and what to change.

use std::fmt::Write as _;

use super::{Proof, Record};
use crate::{
    model::{
        Confidence, Evidence, FindingKind, Process, ProxySession, ProxySetting, Resolves, Severity,
    },
    time::Timestamp,
};

/// A piece of evidence and when it happened.
type Timed = (Timestamp, Evidence);

/// The question of a query.
pub fn of_question(record: &Record) -> Timed {
    let query = &record.query;
    let mut detail = format!(
        "asked {} {} of {} over {}",
        query.qtype,
        query.name,
        endpoint(query.resolver.addr, query.resolver.port),
        query.transport.as_str(),
    );
    if let Some(interface) = &query.resolver.interface {
        let _ = write!(detail, " through {interface}");
    }
    (query.ts, Evidence::new("query", detail))
}

/// The answer to a query; `None` when it has none.
pub fn of_answer(record: &Record) -> Option<Timed> {
    let answer = record.answer.as_ref()?;
    let latency = answer.latency_us?;
    let (qtype, name) = (&record.query.qtype, &record.query.name);
    let mut detail = if answer.addresses.is_empty() {
        format!("{qtype} {name}: {}, no address", answer.rcode)
    } else {
        let addresses: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
        format!("{qtype} {name}: {}", addresses.join(", "))
    };
    let _ = write!(detail, ", after {}", milliseconds(latency));
    Some((answer.ts, Evidence::new("answer", detail)))
}

/// A request that gave a proxy the address which the name had been answered with.
pub fn of_proof(proof: &Proof<'_>) -> Timed {
    let session = proof.session;
    let mut detail = format!(
        "gave {} a {}: the address, not the name",
        session.proxy,
        request(session),
    );
    if let Some(answered_at) = proof.answered_at {
        let later = session.ts.since(answered_at).as_micros();
        let later = milliseconds(u64::try_from(later).unwrap_or(u64::MAX));
        let _ = write!(detail, ", {later} after the answer");
    }
    (session.ts, Evidence::new("handshake", detail))
}

/// A request with an address that several names were answered with.
pub fn ambiguous(session: &ProxySession, names: &[&str]) -> Timed {
    let detail = format!(
        "gave {} a {}, an address that several names asked for have: {}",
        session.proxy,
        request(session),
        names.join(", "),
    );
    (session.ts, Evidence::new("handshake", detail))
}

fn request(session: &ProxySession) -> String {
    let target = session.target.addr.map_or_else(
        || session.target.name.clone().unwrap_or_default(),
        |addr| endpoint(addr, session.target.port),
    );
    format!(
        "{} {} request for {target}",
        session.protocol.in_prose(),
        session.command.to_uppercase(),
    )
}

fn endpoint(addr: std::net::IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(addr, port).to_string()
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100)
}

/// How bad it is: worse when the name left the machine, less when nothing says that it was not meant.
pub fn severity(kind: FindingKind, confidence: Confidence, escaped: bool) -> Severity {
    match (kind, confidence, escaped) {
        (FindingKind::SpecialName, ..) => Severity::Critical,
        (_, Confidence::Observed, false) => Severity::Low,
        (_, Confidence::Observed, true) | (_, _, false) => Severity::Medium,
        (_, _, true) => Severity::High,
    }
}

/// What to change when a name left the machine that must never.
pub fn special_advice() -> String {
    "have whatever asks give such names to tor's or I2P's own proxy, by name; and have the resolver refuse them \
     (dnsmasq: local=/onion/ and local=/i2p/; unbound: local-zone: \"onion.\" always_nxdomain)"
        .to_owned()
}

/// What to change, when no configuration is known that could be named.
pub fn advice(process: &Process, proxy: &ProxySetting) -> String {
    let curl = process.program() == Some("curl");
    match (proxy.scheme.as_str(), curl) {
        ("socks4", true) => "use --socks4a, or socks4a:// in the proxy's URL: then curl gives the proxy the name".to_owned(),
        (_, true) => "use --socks5-hostname, or socks5h:// in the proxy's URL: then curl gives the proxy the name".to_owned(),
        ("socks4", false) => "SOCKS4 carries addresses only: have the program use SOCKS4a, or SOCKS5 with names resolved by the proxy".to_owned(),
        _ if proxy.resolves == Resolves::Local => "have the program leave names to the proxy (often written socks5h:// or called remote DNS)".to_owned(),
        _ => "have the program leave every name to the proxy (often written socks5h:// or called remote DNS), or send it through a resolver behind the proxy".to_owned(),
    }
}
