//! What must hold whatever comes in: no order, no repetition and no loss makes a proof of what is none.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{Detector, Local, Who};
use crate::{
    model::{
        Actor, App, Confidence, FindingKind, Process, ProxyProtocol, Report, Service, Target,
        Transport, Verdict,
    },
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
    AskLocal { id: u16, name: u8 },
    AnswerLocal { id: u16, name: u8, address: u8 },
    AskService { name: u8 },
    Lose,
}

/// The one that is a resolver of this machine, which the others ask.
const RESOLVER: u32 = 3;

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

/// With a resolver of this machine, and with losses.
fn local_acts() -> impl Strategy<Value = Vec<Act>> {
    let id = || 0..4_u16;
    let small = || 0..4_u8;
    let local = prop_oneof![
        (id(), small()).prop_map(|(id, name)| Step::AskLocal { id, name }),
        (id(), small(), small()).prop_map(|(id, name, address)| Step::AnswerLocal {
            id,
            name,
            address
        }),
        small().prop_map(|name| Step::AskService { name }),
    ];
    let upstream = prop_oneof![
        (id(), small()).prop_map(|(id, name)| Step::Ask { id, name }),
        (id(), small(), small()).prop_map(|(id, name, address)| Step::Answer { id, name, address }),
    ];
    let act = prop_oneof![
        3 => (0..3_u32, local),
        3 => (0..3_u32, step()),
        4 => (Just(RESOLVER), upstream),
        1 => (0..3_u32, Just(Step::Lose)),
    ];
    vec(act, 0..80)
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

fn answer(number: u8) -> DnsAnswer {
    DnsAnswer {
        rcode: "NOERROR".into(),
        addresses: vec![Address {
            addr: address(number),
            ttl: 60,
        }],
        aliases: Vec::new(),
    }
}

fn question(name: u8) -> Question {
    Question {
        name: format!("name{name}.example").into(),
        qtype: "A".into(),
    }
}

/// What is seen on the wire; `None` for what is no message.
fn message(app: u32, step: &Step, at: Timestamp) -> Option<Message> {
    let dns = |id: u16, name: u8, answer| {
        let message = DnsMessage {
            id,
            questions: vec![question(name)],
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
        } => (None, dns(id, name, Some(answer(number)))),
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
        Step::AskLocal { id, name } => (None, dns(id, name, None)),
        Step::AnswerLocal {
            id,
            name,
            address: number,
        } => (None, dns(id, name, Some(answer(number)))),
        Step::AskService { .. } | Step::Lose => return None,
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
    let is_local = matches!(step, Step::AskLocal { .. } | Step::AnswerLocal { .. });
    let peer = if connection.is_some() {
        "127.0.0.1:9050"
    } else if is_local {
        "127.0.0.53:53"
    } else {
        "10.77.0.1:53"
    };
    Some(Message {
        at,
        cookie,
        owner: None,
        peer: peer.parse().unwrap(),
        escaped: connection.is_none() && !is_local,
        interface: None,
        payload,
    })
}

fn act(detector: &mut Detector, app: u32, step: &Step, at: Timestamp) -> Vec<Report> {
    let local = Local {
        who: who(RESOLVER),
        watched: true,
    };
    let who = who(app);
    match *step {
        Step::AskService { name } => detector.service(
            at,
            Service::Resolved,
            &[question(name)],
            Some(&who),
            Some(&local),
        ),
        Step::Lose => detector.loss(at, 1, 0, at),
        _ => {
            let hears = matches!(step, Step::AskLocal { .. }).then_some(&local);
            message(app, step, at)
                .map(|message| detector.message(&message, Some(&who), hears))
                .unwrap_or_default()
        }
    }
}

/// What was found in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// App and name of what is proven.
    proven: BTreeSet<(String, String)>,
    /// App and name of what is found to be resolved by the app itself, however sure.
    found: BTreeSet<(String, String)>,
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
        said.extend(act(&mut detector, *app, step, at));
    }
    said.extend(detector.finish(at));
    let mut outcome = Outcome::default();
    let mut last = std::collections::BTreeMap::new();
    for report in said {
        match report {
            Report::Finding(finding) if finding.kind == FindingKind::SelfResolution => {
                let app = finding.app.as_ref().unwrap().name.clone();
                if finding.confidence == Confidence::Proven {
                    outcome.proven.insert((app.clone(), finding.name.clone()));
                }
                outcome.found.insert((app, finding.name));
            }
            Report::Query(query) => {
                let app = query.app.as_ref().unwrap().name.clone();
                last.insert(
                    query.id.clone(),
                    (app, query.name.to_string(), query.verdict),
                );
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
            let (Step::Answer { name, address, .. } | Step::AnswerLocal { name, address, .. }) =
                step
            else {
                continue;
            };
            let asks = |step: &Step| match step {
                Step::Ask { name: asked, .. } | Step::AskLocal { name: asked, .. } => asked == name,
                _ => false,
            };
            let asks_service =
                |step: &Step| matches!(step, Step::AskService { name: asked } if asked == name);
            let by_app = |asks: &dyn Fn(&Step) -> bool, before: usize| {
                acts[..before]
                    .iter()
                    .any(|(asker, step)| asker == app && asks(step))
            };
            // Over a socket the program hears what the resolver was told, before or after it asked.
            let is_asked = other == app && by_app(&asks, answered)
                || *other == RESOLVER && by_app(&asks_service, gave);
            if address == given && is_asked {
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
    fn nothing_is_proven_through_a_resolver_without_them_either(acts in local_acts()) {
        let proven = run(&acts).proven;
        prop_assert!(proven.is_subset(&possible(&acts)), "{proven:?}");
    }

    #[test]
    fn nothing_is_found_of_what_a_program_never_asked(acts in local_acts()) {
        let asked: BTreeSet<(String, String)> = acts
            .iter()
            .filter_map(|(app, step)| match step {
                Step::Ask { name, .. } | Step::AskLocal { name, .. } | Step::AskService { name } => {
                    Some((format!("app{app}"), format!("name{name}.example")))
                }
                _ => None,
            })
            .collect();
        let found = run(&acts).found;
        prop_assert!(found.is_subset(&asked), "{found:?}");
    }

    #[test]
    fn what_was_lost_proves_nothing_even_of_an_address_of_many_names(
        acts in local_acts(),
        lost in vec(any::<Index>(), 0..8),
    ) {
        let mut kept = acts.clone();
        for index in lost {
            if !kept.is_empty() {
                let index = index.index(kept.len());
                if matches!(kept[index].1, Step::Answer { .. } | Step::AnswerLocal { .. }) {
                    // leakmon knows that it lost something, and not what.
                    kept[index].1 = Step::Lose;
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
