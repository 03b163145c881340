//! Reports for the tests of the live view, each kind made in one place.

use std::sync::Arc;

use crate::{
    model::{
        Answer, App, Confidence, Evidence, Finding, FindingKind, Link, Loss, Process, ProcessId,
        ProxySetting, Query, Report, Resolver, Resolves, Severity, Summary, Transport, Verdict,
    },
    time::Timestamp,
};

/// The second in which the tests' runs begin.
pub const BEGIN: u64 = 1_700_000_000;

/// A point in time, so many seconds after the beginning.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp((BEGIN + seconds) * 1_000_000_000)
}

/// The app of that pid.
pub fn app(name: &str, pid: u32) -> Arc<App> {
    Arc::new(App {
        name: name.to_owned(),
        pid,
        id: id(pid),
    })
}

/// What tells the app of that pid from every other.
pub fn id(pid: u32) -> ProcessId {
    Process::unread(pid, None).id()
}

/// A query for an A record.
pub fn query(number: u64, app: &Arc<App>, name: &str, verdict: Verdict) -> Query {
    Query {
        ts: at(number / 10),
        id: format!("q{number}"),
        update: false,
        name: name.into(),
        qtype: "A".into(),
        transport: Transport::Udp,
        resolver: Resolver {
            addr: std::net::IpAddr::from([10, 77, 0, 1]).into(),
            port: 53,
            interface: Some("lab0".to_owned()),
            process: None,
        },
        process: None,
        app: Some(Arc::clone(app)),
        via: None,
        escaped: true,
        verdict,
        explanation: Some("because".to_owned()),
    }
}

/// An answer with one address.
pub fn answer(number: u64) -> Report {
    Report::Answer(Answer {
        ts: at(number / 10),
        query: format!("q{number}"),
        rcode: "NOERROR".to_owned(),
        addresses: vec![[10, 77, 0, 80].into()],
        latency_us: Some(100),
    })
}

/// A finding about the name that a query asked for.
pub fn finding(number: u64, app: &Arc<App>, name: &str, confidence: Confidence) -> Finding {
    Finding {
        ts: at(number / 10),
        id: format!("f{number}"),
        update: false,
        kind: FindingKind::SelfResolution,
        severity: Severity::High,
        confidence,
        app: Some(Arc::clone(app)),
        process: None,
        name: name.to_owned(),
        count: 1,
        queries: vec![format!("q{number}")],
        proxy: Some(ProxySetting {
            scheme: "socks5".to_owned(),
            addr: "10.77.0.1".to_owned(),
            port: 1080,
            resolves: Resolves::Remote,
        }),
        evidence: vec![
            Link {
                ts: None,
                evidence: Evidence::new("command-line", "--socks5 10.77.0.1:1080"),
            },
            Link {
                ts: Some(at(number / 10)),
                evidence: Evidence::new("query", format!("asked A {name} of 10.77.0.1:53")),
            },
        ],
        advice: "use --socks5-hostname".to_owned(),
    }
}

/// A finding as a report.
pub fn found(finding: Finding) -> Report {
    Report::Finding(Box::new(finding))
}

/// Lost events.
pub fn loss(second: u64, events: u64, queries: u64) -> Report {
    Report::Loss(Loss {
        ts: at(second),
        events,
        queries,
        since: at(second.saturating_sub(1)),
        place: "ring-buffer".to_owned(),
    })
}

/// The end of a run.
pub fn end(second: u64) -> Report {
    Report::Summary(Summary {
        ts: at(second),
        ..Summary::default()
    })
}
