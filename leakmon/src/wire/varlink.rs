//! What programs ask of systemd-resolved over its varlink socket, /run/systemd/resolve/io.systemd.Resolve: JSON objects,
//! each with a NUL behind it (varlink.org, "Wire Format"). The methods and their parameters are those of
//! `vl_method_resolve_hostname` and its neighbours (systemd, src/resolve/resolved-varlink.c; interface
//! src/shared/varlink-io.systemd.Resolve.c). nss-resolve sends a call at once.
//!
//! `BrowseServices` listens to the local network for as long as it is asked to, and is not read.

use std::sync::Arc;

use domain::base::Rtype;
use serde_json::Value;

use super::{
    WireError,
    dns::{
        Question, address_questions, labels_of_text, mnemonic, name_of_labels, name_of_text,
        reverse_question,
    },
};

/// What a method that looks something up begins with.
const INTERFACE: &str = "io.systemd.Resolve.";
/// `AF_INET` and `AF_INET6` of Linux.
const INET: i64 = 2;
const INET6: i64 = 10;
/// `SD_RESOLVED_NO_TXT`: of a service, only where it is (systemd, src/shared/resolved-def.h).
const NO_TXT: i64 = 1 << 6;
/// Types that resolved asks nobody for: none, OPT, RRSIG, TKEY, TSIG, IXFR, AXFR (`dns_type_is_valid_query` and
/// `dns_type_is_zone_transfer`, systemd, dns-type.c).
const REFUSED_TYPES: [u16; 7] = [0, 41, 46, 249, 250, 251, 252];

/// What a client wants looked up that sent this in one go. A call that is no lookup, or one that resolved refuses, gives
/// nothing. A name is given as it is asked: resolved may add search domains, and asks for the IDNA form of a name outside
/// ASCII. The work grows with the bytes and no faster.
///
/// # Errors
/// When the last call is not there as a whole, or when what is there is no varlink.
pub fn lookups(sent: &[u8]) -> Result<Vec<Question>, WireError> {
    let calls = sent.strip_suffix(b"\0").ok_or(WireError::CutOff)?;
    let mut questions = Vec::new();
    for call in calls.split(|&byte| byte == 0) {
        let call: Value = serde_json::from_slice(call).map_err(|_| WireError::Malformed)?;
        let method = call["method"].as_str().ok_or(WireError::Malformed)?;
        // resolved refuses what wants no answer.
        if call["oneway"] == true {
            continue;
        }
        if let Some(method) = method.strip_prefix(INTERFACE) {
            questions.extend(asked(method, &call["parameters"]).unwrap_or_default());
        }
    }
    Ok(questions)
}

/// `None`: nobody is asked.
fn asked(method: &str, parameters: &Value) -> Option<Vec<Question>> {
    let text = |field: &str| parameters[field].as_str();
    match method {
        "ResolveHostname" => {
            let qtypes: &[&str] = match family(parameters)? {
                INET => &["A"],
                INET6 => &["AAAA"],
                0 => &["A", "AAAA"],
                _ => return None,
            };
            Some(address_questions(text("name")?.as_bytes(), qtypes))
        }
        "ResolveAddress" => Some(vec![address(parameters)?]),
        "ResolveRecord" => {
            let name = name_of_text(text("name")?.as_bytes())?;
            let qtype = u16::try_from(number(&parameters["type"])?).ok()?;
            let qtype = (!REFUSED_TYPES.contains(&qtype)).then(|| Rtype::from_int(qtype))?;
            Some(vec![Question {
                name: name.into(),
                qtype: mnemonic(qtype),
            }])
        }
        "ResolveService" => {
            let name = service(text("name"), text("type"), text("domain")?)?;
            let flags = number(&parameters["flags"]).unwrap_or(0);
            let name: Arc<str> = name.into();
            let ask = |&qtype: &&str| Question {
                name: Arc::clone(&name),
                qtype: qtype.into(),
            };
            // Both are asked for at once (`dns_question_new_service`, resolved-dns-question.c).
            let qtypes: &[&str] = if flags & NO_TXT == 0 {
                &["SRV", "TXT"]
            } else {
                &["SRV"]
            };
            Some(qtypes.iter().map(ask).collect())
        }
        _ => None,
    }
}

/// The number that says which kind of address is wanted, 0 for any (`json_dispatch_address_family`); `None` when it is
/// none.
fn family(parameters: &Value) -> Option<i64> {
    match &parameters["family"] {
        Value::Null => Some(0),
        family => number(family),
    }
}

/// A number, or a text that is one: systemd takes both (`sd_json_dispatch_int64`, sd-json.c).
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// The question for the name of an address, which is sent as a list of 4 or 16 numbers, as the family says
/// (`json_dispatch_byte_array_iovec`).
fn address(parameters: &Value) -> Option<Question> {
    let bytes = parameters["address"].as_array()?;
    let byte = |index: usize| bytes.get(index)?.as_u64()?.try_into().ok();
    let octets = (0..bytes.len().min(17))
        .map(byte)
        .collect::<Option<Vec<u8>>>()?;
    let addr = match family(parameters)? {
        INET => <[u8; 4]>::try_from(octets).ok()?.into(),
        INET6 => <[u8; 16]>::try_from(octets).ok()?.into(),
        _ => return None,
    };
    Some(reverse_question(addr))
}

/// The name that a service is found by: of the three parts, the first is one label, in which a dot is a dot like any other
/// byte; the first two may be missing (`dns_service_join`, dns-domain.c).
fn service(name: Option<&str>, kind: Option<&str>, domain: &str) -> Option<String> {
    let name = name.filter(|name| !name.is_empty());
    let kind = kind.filter(|kind| !kind.is_empty());
    let mut labels: Vec<Vec<u8>> = name.iter().map(|name| name.as_bytes().to_vec()).collect();
    match (name, kind) {
        (_, Some(kind)) => labels.extend(labels_of_text(kind.as_bytes())?),
        (Some(_), None) => return None,
        (None, None) => {}
    }
    labels.extend(labels_of_text(domain.as_bytes())?);
    name_of_labels(&labels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn call(method: &str, parameters: &Value) -> Vec<u8> {
        let call =
            json!({"method": format!("io.systemd.Resolve.{method}"), "parameters": parameters});
        [call.to_string().as_bytes(), b"\0"].concat()
    }

    fn said(sent: &[u8]) -> Vec<String> {
        let said = |question: Question| format!("{} {}", question.name, question.qtype);
        lookups(sent).unwrap().into_iter().map(said).collect()
    }

    fn asked(method: &str, parameters: &Value) -> Vec<String> {
        said(&call(method, parameters))
    }

    #[test]
    fn host_names() {
        let both = ["page.example A", "page.example AAAA"];
        for parameters in [
            json!({"name": "page.example", "flags": 0}),
            json!({"name": "Page.Example.", "family": 0, "ifindex": 0, "flags": 0}),
            json!({"name": "page.example", "family": null}),
        ] {
            assert_eq!(asked("ResolveHostname", &parameters), both, "{parameters}");
        }
        for (family, qtype) in [(json!(2), "A"), (json!(10), "AAAA"), (json!("10"), "AAAA")] {
            let parameters = json!({"name": "page.example", "family": family});
            assert_eq!(
                asked("ResolveHostname", &parameters),
                [format!("page.example {qtype}")]
            );
        }
        let foreign = json!({"name": "bücher.example", "family": 2});
        assert_eq!(
            asked("ResolveHostname", &foreign),
            [r"b\195\188cher.example A"]
        );
    }

    /// What `getent` with nss-resolve of systemd 252 sent.
    #[test]
    fn bytes_of_nss_resolve() {
        let sent = br#"{"method":"io.systemd.Resolve.ResolveHostname","parameters":{"name":"Page.example","flags":0}}"#;
        assert_eq!(
            said(&[sent, &b"\0"[..]].concat()),
            ["page.example A", "page.example AAAA"]
        );
        let sent = br#"{"method":"io.systemd.Resolve.ResolveAddress","parameters":{"address":[10,77,0,80],"family":2,"flags":0}}"#;
        assert_eq!(
            said(&[sent, &b"\0"[..]].concat()),
            ["80.0.77.10.in-addr.arpa PTR"]
        );
    }

    #[test]
    fn addresses_records_and_services() {
        let four = json!({"family": 2, "address": [10, 77, 0, 80], "flags": 0});
        assert_eq!(
            asked("ResolveAddress", &four),
            ["80.0.77.10.in-addr.arpa PTR"]
        );
        let six = json!({"family": 10, "address": [0xfd, 0x77, 0,0,0,0,0,0,0,0,0,0,0,0,0, 2]});
        assert!(asked("ResolveAddress", &six)[0].starts_with("2.0.0.0."));
        for (number, qtype) in [
            (16, "TXT"),
            (65, "HTTPS"),
            (65280, "TYPE65280"),
            (255, "ANY"),
        ] {
            let parameters = json!({"name": "page.example", "class": 1, "type": number});
            assert_eq!(
                asked("ResolveRecord", &parameters),
                [format!("page.example {qtype}")]
            );
        }
        let srv = |parameters| asked("ResolveService", &parameters);
        assert_eq!(
            srv(json!({"type": "_imap._tcp", "domain": "Page.example"})),
            ["_imap._tcp.page.example SRV", "_imap._tcp.page.example TXT"]
        );
        assert_eq!(
            srv(json!({"name": "Mr. X's", "type": "_http._tcp", "domain": "local", "flags": 64})),
            [r"mr\.\032x's._http._tcp.local SRV"]
        );
        assert_eq!(
            srv(
                json!({"name": "", "type": null, "domain": "_imap._tcp.page.example", "flags": 64})
            ),
            ["_imap._tcp.page.example SRV"]
        );
    }

    #[test]
    fn several_calls_in_one_go() {
        let one = call(
            "ResolveHostname",
            &json!({"name": "one.example", "family": 2}),
        );
        let other = call("FlushCaches", &json!({}));
        let two = call(
            "ResolveHostname",
            &json!({"name": "two.example", "family": 2}),
        );
        assert_eq!(
            said(&[one, other, two].concat()),
            ["one.example A", "two.example A"]
        );
    }

    #[test]
    fn what_asks_nobody_is_no_lookup() {
        for (method, parameters) in [
            ("FlushCaches", json!({})),
            ("ResolveHostname", json!({})),
            ("ResolveHostname", json!([])),
            ("ResolveHostname", json!({"name": 5})),
            (
                "ResolveHostname",
                json!({"name": "page.example", "family": 1}),
            ),
            (
                "ResolveHostname",
                json!({"name": "page.example", "family": [2]}),
            ),
            // Written out: `parse_as_address` answers by itself.
            ("ResolveHostname", json!({"name": "10.0.0.1"})),
            ("ResolveHostname", json!({"name": "fe80::1%2"})),
            ("ResolveHostname", json!({"name": "no..name"})),
            (
                "ResolveAddress",
                json!({"family": 2, "address": [10, 0, 0]}),
            ),
            (
                "ResolveAddress",
                json!({"family": 10, "address": [10, 0, 0, 1]}),
            ),
            ("ResolveAddress", json!({"address": [10, 0, 0, 1]})),
            (
                "ResolveAddress",
                json!({"family": 2, "address": [10, 0, 0, 256]}),
            ),
            (
                "ResolveAddress",
                json!({"family": 2, "address": "CgAAAQ=="}),
            ),
            ("ResolveRecord", json!({"name": "page.example"})),
            (
                "ResolveRecord",
                json!({"name": "page.example", "type": 252}),
            ),
            (
                "ResolveRecord",
                json!({"name": "page.example", "type": 65536}),
            ),
            ("ResolveService", json!({"name": "x", "domain": "local"})),
            ("ResolveService", json!({"type": "_http._tcp"})),
            (
                "ResolveService",
                json!({"name": "x".repeat(64), "type": "_a._tcp", "domain": "local"}),
            ),
        ] {
            assert_eq!(asked(method, &parameters), [""; 0], "{method} {parameters}");
        }
        assert_eq!(
            said(b"{\"method\":\"org.varlink.service.GetInfo\"}\0"),
            [""; 0]
        );
        let oneway = json!({"method": "io.systemd.Resolve.ResolveHostname", "oneway": true, "parameters": {"name": "page.example"}});
        assert_eq!(said(format!("{oneway}\0").as_bytes()), [""; 0]);
    }

    #[test]
    fn what_is_cut_off_or_broken_is_an_error() {
        let whole = call("ResolveHostname", &json!({"name": "page.example"}));
        for len in 0..whole.len() {
            assert_eq!(lookups(&whole[..len]), Err(WireError::CutOff), "{len}");
        }
        let deep = [&b"[".repeat(100_000)[..], b"\0"].concat();
        for bad in [
            &b"\0"[..],
            b"{\0",
            b"[]\0",
            b"{}\0",
            b"{\"method\":1}\0",
            b"\xff\0",
            b"5\0",
            &deep,
        ] {
            assert_eq!(lookups(bad), Err(WireError::Malformed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_are_too_hostile(bytes: Vec<u8>, name: String, kind: String, number: i64) {
            let _ = lookups(&bytes);
            for method in ["ResolveHostname", "ResolveAddress", "ResolveRecord", "ResolveService"] {
                let address: Vec<i64> = vec![number; name.len()];
                let parameters = json!({"name": name, "family": number, "type": kind, "domain": name, "address": address});
                prop_assert!(lookups(&call(method, &parameters)).is_ok());
                let parameters = json!({"name": name, "type": number});
                prop_assert!(lookups(&call(method, &parameters)).is_ok());
            }
        }
    }
}
