//! A report in the Static Analysis Results Interchange Format, version 2.1.0 (OASIS), as code hosts and editors show it.

use serde_json::{Value, json};

use super::{
    Contents, Finding,
    words::{counted, named, sentence, unseen},
};
use crate::{
    model::FindingKind::{LiteralAddress, ProxyBypass, SelfResolution, SpecialName},
    time::Timestamp,
};

/// The schema of the format.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// What each kind of finding means.
const RULES: [(&str, &str); 4] = [
    (
        SelfResolution.as_str(),
        "A program that was told to use a proxy looked up a name itself, so that its resolver learns of it.",
    ),
    (
        SpecialName.as_str(),
        "DNS was asked for a name that must never leave the machine (.onion, RFC 7686; .i2p).",
    ),
    (
        ProxyBypass.as_str(),
        "A program that was told to reach everything through a proxy connected past it.",
    ),
    (
        LiteralAddress.as_str(),
        "A proxy was given a bare address for which no lookup was seen; this may be no leak.",
    ),
];

/// The whole report; `what` is the command, or the files, that it is about.
#[must_use]
pub fn text(contents: &Contents, what: &str) -> String {
    let listed = &contents.findings.listed;
    let left_out = contents.findings.left_out;
    let notifications: Vec<Value> = unseen(contents)
        .into_iter()
        .chain((left_out > 0).then(|| {
            let more = counted(left_out, "finding is", "findings are");
            format!("{more} not listed")
        }))
        .map(|text| json!({"level": "warning", "message": {"text": text}}))
        .collect();
    let rules: Vec<Value> = RULES
        .iter()
        .map(|(id, words)| json!({"id": id, "shortDescription": {"text": words}}))
        .collect();
    let mut invocation = json!({
        "executionSuccessful": contents.totals.lost == 0,
        "commandLine": what,
        "toolExecutionNotifications": notifications,
    });
    for (key, time) in [
        ("startTimeUtc", contents.first),
        ("endTimeUtc", contents.last),
    ] {
        if let Some(time) = time {
            invocation[key] = utc(time).into();
        }
    }
    let report = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "leakmon",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "invocations": [invocation],
            "results": listed.iter().map(result).collect::<Vec<_>>(),
        }],
    });
    format!("{report:#}\n")
}

/// Date and time as SARIF 2.1.0 section 3.9 has them, to the millisecond.
fn utc(time: Timestamp) -> String {
    format!("{}Z", &time.to_string()[..23])
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity.as_str() {
        "critical" | "high" => "error",
        "medium" => "warning",
        _ => "note",
    };
    let chain: Vec<Value> = finding
        .evidence
        .iter()
        .map(|piece| {
            let text = format!("{}: {}", piece.source, piece.detail);
            let mut step = json!({"location": {"message": {"text": text}}});
            if let Some(ts) = piece.ts {
                step["executionTimeUtc"] = utc(ts).into();
            }
            step
        })
        .collect();
    let program = named(finding.program.as_deref());
    let mut location = json!({"logicalLocations": [{"name": program, "kind": "module"}]});
    if let Some(exe) = &finding.exe {
        let path = percent_encoding::utf8_percent_encode(exe, IN_PATHS);
        location["physicalLocation"] =
            json!({"artifactLocation": {"uri": format!("file://{path}")}});
    }
    json!({
        "ruleId": finding.kind,
        "level": level,
        "message": {"text": format!("{} [{}]. To stop it: {}", sentence(finding), finding.confidence, finding.advice)},
        "locations": [location],
        // The same leak in another run is the same to whoever keeps the results.
        "partialFingerprints": {"leakmon/v1": format!("{program}/{}/{}", finding.kind, finding.name)},
        "codeFlows": [{"threadFlows": [{"locations": chain}]}],
        "occurrenceCount": finding.count.max(1),
        "properties": {
            "id": finding.id,
            "severity": finding.severity,
            "confidence": finding.confidence,
            "name": finding.name,
        },
    })
}

/// What is not written as it is in the path of a URI (RFC 3986 section 3.3).
const IN_PATHS: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
