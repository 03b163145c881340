//! What must hold whatever comes in: no order, no repetition and no loss makes a proof of what is none.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{Detector, Who};
use crate::{
    model::{Actor, App, Confidence, Process, ProxyProtocol, Report, Target, Transport, Verdict},
    posture::Posture,
    time::Timestamp,
    wire::{
        Message, Payload,
        dns::{Address, DnsAnswer, DnsMessage, Question},
        proxy::{Reply, Request},
    },
};

/// What an app does: names and addresses by number, of which there are few, so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Ask { id: u16, name: u8 },
    Answer { id: u16, name: u8, address: u8 },
    Give { connection: u8, address: u8 },
    Reply { connection: u8 },
    Refuse { connection: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..4_u16;
    let small = || 0..4_u8;
    prop_oneof![
        (id(), small()).prop_map(|(id, name)| Step::Ask { id, name }),
        (id(), small(), small()).prop_map(|(id, name, address)| Step::Answer { id, name, address }),
        (small(), small()).prop_map(|(connection, address)| Step::Give {
            connection,
            address
        }),
        small().prop_map(|connection| Step::Reply { connection }),
        small().prop_map(|connection| Step::Refuse { connection }),
    ]
}

/// A step of one of the apps.
type Act = (u32, Step);

fn acts() -> impl Strategy<Value = Vec<Act>> {
    vec((0..3_u32, step()), 0..60)
}

fn who(app: u32) -> Who {
    let process = Arc::new(Process {
        exe: Some(format!("/usr/bin/app{app}")),
        started_ns: Some(1),
        ..Process::unread(100 + app, Some(1000))
    });
    Who {
        app: Arc::new(App {
            name: format!("app{app}"),
            pid: process.pid,
            id: process.id(),
        }),
        actor: Actor {
            process,
            thread: None,
        },
        posture: Arc::new(Posture::default()),
    }
}

fn address(number: u8) -> std::net::IpAddr {
    std::net::Ipv4Addr::new(10, 77, 0, 80 + number).into()
}

fn message(app: u32, step: &Step, at: Timestamp) -> Message {
    let dns = |id: u16, name: u8, answer| {
        let message = DnsMessage {
            id,
            questions: vec![Question {
                name: format!("name{name}.example"),
                qtype: "A".into(),
            }],
            answer,
        };
        Payload::Dns(Transport::Udp, message)
    };
    let (connection, payload) = match *step {
        Step::Ask { id, name } => (None, dns(id, name, None)),
        Step::Answer {
            id,
            name,
            address: number,
        } => {
            let answer = DnsAnswer {
                rcode: "NOERROR".into(),
                addresses: vec![Address {
                    addr: address(number),
                    ttl: 60,
                }],
                aliases: Vec::new(),
            };
            (None, dns(id, name, Some(answer)))
        }
        Step::Give {
            connection,
            address: number,
        } => {
            let request = Request {
                protocol: ProxyProtocol::Socks5,
                command: "connect".into(),
                target: Target {
                    name: None,
                    addr: Some(address(number)),
                    port: 80,
                },
            };
            (Some(connection), Payload::ProxyRequest(request))
        }
        Step::Reply { connection } => {
            let reply = Reply {
                method: Some(0),
                accepted: Some(true),
            };
            (Some(connection), Payload::ProxyReply(reply))
        }
        Step::Refuse { connection } => (Some(connection), Payload::NoProxy),
    };
    let cookie = u64::from(app) * 100 + connection.map_or(0, |number| u64::from(number) + 1);
    let peer = if connection.is_some() {
        "127.0.0.1:9050"
    } else {
        "10.77.0.1:53"
    };
    Message {
        at,
        cookie,
        owner: None,
        peer: peer.parse().unwrap(),
        escaped: connection.is_none(),
        interface: None,
        payload,
    }
}

/// What was found in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// App and name of what is proven.
    proven: BTreeSet<(String, String)>,
    /// App, name and last verdict of every name.
    verdicts: BTreeSet<(String, String, Verdict)>,
}

fn run(acts: &[Act]) -> Outcome {
    let mut detector = Detector::default();
    let mut at = Timestamp(1_700_000_000_000_000_000);
    let mut said = Vec::new();
    for (app, step) in acts {
        // So close together that nothing is given up between.
        at = at.plus(Duration::from_micros(1));
        said.extend(detector.message(&message(*app, step, at), Some(&who(*app))));
    }
    said.extend(detector.finish(at));
    let mut outcome = Outcome::default();
    let mut last = std::collections::BTreeMap::new();
    for report in said {
        match report {
            Report::Finding(finding) if finding.confidence == Confidence::Proven => {
                let app = finding.app.as_ref().unwrap().name.clone();
                outcome.proven.insert((app, finding.name));
            }
            Report::Query(query) => {
                let app = query.app.as_ref().unwrap().name.clone();
                last.insert(query.id.clone(), (app, query.name, query.verdict));
            }
            _ => {}
        }
    }
    outcome.verdicts = last.into_values().collect();
    outcome
}

/// What may be proven at the most: the app asked for the name, was answered the address, and gave it to what it took for a
/// proxy, in this order.
fn possible(acts: &[Act]) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for (gave, (app, step)) in acts.iter().enumerate() {
        let Step::Give { address: given, .. } = step else {
            continue;
        };
        for (answered, (other, step)) in acts[..gave].iter().enumerate() {
            let Step::Answer { id, name, address } = step else {
                continue;
            };
            let is_asked = acts[..answered].iter().any(|(asker, step)| {
                asker == app && matches!(step, Step::Ask { id: i, name: n } if i == id && n == name)
            });
            if other == app && address == given && is_asked {
                found.insert((format!("app{app}"), format!("name{name}.example")));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_proven_without_question_answer_and_request(acts in acts()) {
        let proven = run(&acts).proven;
        prop_assert!(proven.is_subset(&possible(&acts)), "{proven:?}");
    }

    #[test]
    fn lost_answers_prove_nothing_new(acts in acts(), lost in vec(any::<Index>(), 0..8)) {
        // Of an address that had two names, the loss of one answer would make a proof for the other: so each address has
        // one name here.
        let acts: Vec<Act> = acts
            .into_iter()
            .map(|(app, step)| match step {
                Step::Answer { id, name, .. } => (app, Step::Answer { id, name, address: name }),
                step => (app, step),
            })
            .collect();
        let mut kept = acts.clone();
        for index in lost {
            if !kept.is_empty() {
                let index = index.index(kept.len());
                if matches!(kept[index].1, Step::Answer { .. }) {
                    kept.remove(index);
                }
            }
        }
        prop_assert!(run(&kept).proven.is_subset(&run(&acts).proven));
    }

    #[test]
    fn repeated_answers_change_nothing(acts in acts(), again in vec(any::<Index>(), 0..8)) {
        let mut doubled = acts.clone();
        for index in again {
            if !doubled.is_empty() {
                let index = index.index(doubled.len());
                if let (app, step @ Step::Answer { .. }) = doubled[index].clone() {
                    doubled.insert(index, (app, step));
                }
            }
        }
        prop_assert_eq!(run(&doubled), run(&acts));
    }

    #[test]
    fn the_order_between_apps_does_not_matter(acts in acts()) {
        // All of one app, then all of the next: the order within each stays.
        let mut sorted = acts.clone();
        sorted.sort_by_key(|(app, _)| *app);
        prop_assert_eq!(run(&sorted), run(&acts));
    }
}
