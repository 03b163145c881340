//! The words of a finding: what each piece of evidence says, how bad it is, and what to change.

use std::fmt::Write as _;

use super::{Proof, Record};
use crate::{
    model::{
        App, Confidence, Evidence, FindingKind, Process, ProxySession, ProxySetting, Resolves,
        Severity,
    },
    time::Timestamp,
};

/// A piece of evidence and when it happened.
pub type Timed = (Timestamp, Evidence);

/// The question of a query.
pub fn of_question(record: &Record) -> Timed {
    let query = &record.query;
    let mut detail = format!(
        "asked {} {} of {} over {}",
        query.qtype,
        query.name,
        query.resolver.place(),
        query.transport.as_str(),
    );
    if let Some(resolver) = &query.via {
        let _ = write!(
            detail,
            ", where {} ({}) listens",
            resolver.program().unwrap_or("an unknown program"),
            resolver.pid
        );
    }
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

/// A request with an address that several names may have.
pub fn ambiguous(session: &ProxySession, names: &[&str], lost: bool) -> Timed {
    let mut detail = format!(
        "gave {} a {}, an address that ",
        session.proxy,
        request(session)
    );
    if names.len() > 1 {
        let _ = write!(detail, "several names asked for have: {}", names.join(", "));
    } else {
        let _ = write!(detail, "{} has", names.join(", "));
    }
    if lost {
        detail.push_str("; another name may have it too, because events were lost");
    }
    (session.ts, Evidence::new("handshake", detail))
}

/// A request with an address that was not looked up.
pub fn of_literal(session: &ProxySession) -> Timed {
    let detail = format!(
        "gave {} a {}: an address that no lookup of this program was seen to be answered with",
        session.proxy,
        request(session),
    );
    (session.ts, Evidence::new("handshake", detail))
}

/// A connection past the proxy, to an address that these names have.
pub fn of_connection(at: Timestamp, to: std::net::SocketAddr, names: &[String]) -> Timed {
    let whose = match names {
        [] => String::new(),
        [name] => format!(", the address of {name}"),
        names => format!(", the address of one of {}", names.join(", ")),
    };
    let detail = format!("connected straight to {to}{whose}, past the proxy");
    (at, Evidence::new("connection", detail))
}

/// What a local resolver asked for somebody.
pub fn of_sending_on(upstream: &Record) -> Timed {
    let (at, asked) = of_question(upstream);
    let resolver = match (&upstream.query.app, &upstream.query.process) {
        (Some(app), Some(actor)) => format!("{} ({})", app.name, actor.process.pid),
        _ => "an unknown program".to_owned(),
    };
    let detail = format!("{resolver} sent it on: {}", asked.detail);
    (at, Evidence::new("resolver", detail))
}

/// What the name itself says, when it is one that people wonder about.
pub fn of_the_name(record: &Record, app: Option<&App>) -> Option<Timed> {
    let name = &record.query.name;
    if name.contains('.') || &**name == "localhost" {
        return None;
    }
    let is_browser = app.is_some_and(|app| is_of_chromium(&app.name));
    // Three names of 7 to 15 letters at random (Chromium's
    // chrome/browser/intranet_redirect_detector/intranet_redirect_detector.cc).
    let may_be_probe =
        (7..=15).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase());
    let detail = if is_browser && may_be_probe {
        "a single label of 7 to 15 letters: what Chromium sends to see whether answers are made up (interception probe), or a word that was typed into the address bar"
    } else if is_browser {
        "a single label: a word that was typed into the address bar, or the name of a machine nearby"
    } else {
        "a single label: the name of a machine nearby, or a word where a name was expected"
    };
    Some((record.query.ts, Evidence::new("name", detail)))
}

fn is_of_chromium(app: &str) -> bool {
    [
        "Chromium",
        "Google Chrome",
        "Brave",
        "Microsoft Edge",
        "Opera",
        "vivaldi-bin",
        "Vivaldi",
    ]
    .contains(&app)
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
        (FindingKind::ProxyBypass, ..) => Severity::High,
        (FindingKind::LiteralAddress, ..) => Severity::Low,
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

/// What to change when a program connects past its proxy.
pub fn bypass_advice() -> String {
    "have the program send this through its proxy too (not every part of a program obeys its proxy settings), or keep it \
     from connecting past it: with a network namespace or a firewall rule for it"
        .to_owned()
}

/// What to do about a bare address.
pub fn literal_advice() -> String {
    "nothing, when the address was typed or stands in a page; otherwise have whatever looked it up leave names to the proxy"
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
