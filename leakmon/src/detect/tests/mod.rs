//! The rules, each on the smallest run that shows it.

mod through;

use std::{sync::Arc, time::Duration};

use super::{Detector, Who};
use crate::{
    model::{
        Actor, App, Confidence, Finding, FindingKind, Process, ProxyProtocol, ProxySetting, Query,
        Report, Resolves, Severity, Target, Transport, Verdict,
    },
    posture::{Bypass, Language, Posture, Route},
    time::Timestamp,
    wire::{
        Message, Payload,
        dns::{Address, DnsAnswer, DnsMessage, Question},
        proxy::{Reply, Request},
    },
};

const RESOLVER: &str = "10.77.0.1:53";
const PROXY: &str = "127.0.0.1:9050";
const PAGE: &str = "10.77.0.80";

fn who(posture: Posture) -> Who {
    let process = Arc::new(Process {
        exe: Some("/usr/bin/curl".into()),
        started_ns: Some(1),
        ..Process::unread(7, Some(1000))
    });
    Who {
        app: Arc::new(App {
            name: "curl".into(),
            pid: 7,
            id: process.id(),
        }),
        actor: Actor {
            process,
            thread: None,
        },
        posture: Arc::new(posture),
    }
}

fn direct() -> Who {
    who(Posture::default())
}

fn told(resolves: Resolves) -> Who {
    told_of("127.0.0.1", resolves)
}

/// Told to send everything through the proxy on that host; for [`Resolves::Depends`], only some.
fn told_of(host: &str, resolves: Resolves) -> Who {
    let proxy = ProxySetting {
        scheme: "socks4".into(),
        addr: host.into(),
        port: 9050,
        resolves,
    };
    who(Posture {
        route: if resolves == Resolves::Depends {
            Route::Some(Some(proxy))
        } else {
            Route::Everything(proxy)
        },
        bypass: Bypass::new("*.intern.example", &[','], Language::Chromium),
        ..Posture::default()
    })
}

/// A run: messages a millisecond apart, and everything that was reported.
struct Run {
    detector: Detector,
    at: Timestamp,
    said: Vec<Report>,
    who: Option<Who>,
}

impl Run {
    fn of(who: Who) -> Self {
        Self {
            detector: Detector::default(),
            at: Timestamp(1_700_000_000_000_000_000),
            said: Vec::new(),
            who: Some(who),
        }
    }

    fn say(&mut self, cookie: u64, peer: &str, payload: Payload) {
        self.at = self.at.plus(Duration::from_millis(1));
        let message = Message {
            at: self.at,
            cookie,
            owner: None,
            peer: peer.parse().unwrap(),
            escaped: peer == RESOLVER,
            interface: None,
            payload,
        };
        let who = self.who.clone();
        self.said
            .extend(self.detector.message(&message, who.as_ref(), None));
    }

    fn dns(&mut self, id: u16, name: &str, qtype: &str, answer: Option<&[&str]>) {
        let addresses = |list: &[&str]| {
            list.iter()
                .map(|addr| Address {
                    addr: addr.parse().unwrap(),
                    ttl: 60,
                })
                .collect()
        };
        let message = DnsMessage {
            id,
            questions: vec![Question {
                name: name.into(),
                qtype: qtype.into(),
            }],
            answer: answer.map(|list| DnsAnswer {
                rcode: "NOERROR".into(),
                addresses: addresses(list),
                aliases: Vec::new(),
            }),
        };
        self.say(1, RESOLVER, Payload::Dns(Transport::Udp, message));
    }

    fn lookup(&mut self, id: u16, name: &str, addresses: &[&str]) {
        self.dns(id, name, "A", None);
        self.dns(id, name, "A", Some(addresses));
    }

    fn request(&mut self, peer: &str, name: Option<&str>, addr: Option<&str>) {
        let request = Request {
            protocol: ProxyProtocol::Socks5,
            command: "connect".into(),
            target: Target {
                name: name.map(str::to_owned),
                addr: addr.map(|addr| addr.parse().unwrap()),
                port: 80,
            },
        };
        self.say(2, peer, Payload::ProxyRequest(request));
    }

    fn reply(&mut self, peer: &str, accepted: Option<bool>) {
        let reply = Reply {
            method: Some(0),
            accepted,
        };
        self.say(2, peer, Payload::ProxyReply(reply));
    }

    fn tick(&mut self, later: u64) {
        self.at = self.at.plus(Duration::from_secs(later));
        self.said.extend(self.detector.tick(self.at));
    }

    fn finish(&mut self) -> bool {
        self.said.extend(self.detector.finish(self.at));
        self.detector.leaked()
    }

    /// The last word on each query.
    fn verdicts(&self) -> Vec<(&str, Verdict)> {
        let mut last: Vec<&Query> = Vec::new();
        for report in &self.said {
            if let Report::Query(query) = report {
                match last.iter_mut().find(|known| known.id == query.id) {
                    Some(known) => *known = query,
                    None => last.push(query),
                }
            }
        }
        last.iter()
            .map(|query| (&*query.name, query.verdict))
            .collect()
    }

    fn findings(&self) -> Vec<&Finding> {
        self.said
            .iter()
            .filter_map(|report| match report {
                Report::Finding(finding) => Some(&**finding),
                _ => None,
            })
            .collect()
    }
}

#[test]
fn an_address_given_to_the_proxy_proves_the_name() {
    let mut run = Run::of(direct());
    run.dns(1, "page.example", "A", None);
    run.dns(2, "page.example", "AAAA", None);
    run.dns(1, "page.example", "A", Some(&[PAGE]));
    run.dns(2, "page.example", "AAAA", Some(&[]));
    assert!(run.findings().is_empty(), "nothing is known of a proxy yet");
    run.request(PROXY, None, Some(PAGE));
    assert!(run.findings().is_empty(), "nothing has answered yet");
    run.reply(PROXY, Some(true));
    assert_eq!(run.findings().len(), 1);
    let finding = run.findings()[0];
    assert_eq!(finding.confidence, Confidence::Proven);
    assert_eq!(finding.severity, Severity::High);
    assert_eq!(finding.queries, ["q1", "q2"]);
    let sources: Vec<&str> = finding
        .evidence
        .iter()
        .map(|piece| piece.evidence.source.as_str())
        .collect();
    assert_eq!(sources, ["query", "query", "answer", "answer", "handshake"]);
    assert!(
        finding.evidence[4]
            .evidence
            .detail
            .contains("10.77.0.80:80")
    );
    assert_eq!(
        run.verdicts(),
        [
            ("page.example", Verdict::Leak),
            ("page.example", Verdict::Leak)
        ]
    );
    assert!(run.finish());
}

#[test]
fn a_name_given_to_the_proxy_proves_nothing() {
    let mut run = Run::of(direct());
    run.lookup(1, "other.example", &[PAGE]);
    run.request(PROXY, Some("page.example"), None);
    assert_eq!(run.verdicts(), [("other.example", Verdict::NoProxy)]);
    assert!(!run.finish());
}

#[test]
fn an_address_of_several_names_picks_none() {
    let mut run = Run::of(told(Resolves::Local));
    run.lookup(1, "one.example", &[PAGE]);
    run.lookup(2, "two.example", &[PAGE]);
    run.request(PROXY, None, Some(PAGE));
    run.finish();
    assert!(
        run.findings()
            .iter()
            .all(|finding| finding.confidence == Confidence::Configured)
    );
    let last = run.findings().into_iter().next_back().unwrap();
    assert!(
        last.evidence
            .iter()
            .any(|piece| piece.evidence.detail.contains("one.example, two.example"))
    );
}

#[test]
fn a_configured_proxy_makes_a_lookup_a_leak_at_once() {
    for resolves in [Resolves::Local, Resolves::Remote] {
        let mut run = Run::of(told(resolves));
        run.dns(1, "page.example", "A", None);
        assert_eq!(run.findings()[0].confidence, Confidence::Configured);
        assert!(!run.findings()[0].update);
        run.dns(1, "page.example", "A", Some(&[PAGE]));
        run.request(PROXY, None, Some(PAGE));
        let findings = run.findings();
        assert_eq!(findings.len(), 2);
        assert_eq!(findings[1].confidence, Confidence::Proven);
        assert!(findings[1].update && findings[1].id == findings[0].id);
    }
}

#[test]
fn a_proxy_for_some_connections_says_nothing_of_a_name() {
    let mut run = Run::of(told(Resolves::Depends));
    run.dns(1, "page.example", "A", None);
    assert_eq!(run.verdicts(), [("page.example", Verdict::Unknown)]);
    assert!(!run.finish());
}

/// A proxy that was told this of another one.
fn forwarder(role: &str, route: Route) -> Who {
    who(Posture {
        role: Some(role.into()),
        route,
        ..Posture::default()
    })
}

#[test]
fn a_proxy_asks_for_its_clients() {
    for route in [Route::Untold, Route::Direct] {
        let mut run = Run::of(forwarder("tor, a SOCKS proxy", route));
        run.dns(1, "page.example", "A", None);
        assert_eq!(run.verdicts(), [("page.example", Verdict::Explained)]);
        assert!(!run.finish());
    }
    let mut run = Run::of(forwarder("privoxy, an HTTP proxy", Route::Unknown(None)));
    run.dns(1, "page.example", "A", None);
    assert_eq!(run.verdicts(), [("page.example", Verdict::Unknown)]);
}

#[test]
fn a_proxy_that_hands_on_to_another_leaks_what_it_asks() {
    for (scheme, resolves) in [("socks4", Resolves::Local), ("socks5", Resolves::Remote)] {
        let proxy = ProxySetting {
            scheme: scheme.into(),
            addr: "127.0.0.1".into(),
            port: 9050,
            resolves,
        };
        let mut run = Run::of(forwarder(
            "privoxy, an HTTP proxy",
            Route::Everything(proxy),
        ));
        run.dns(1, "page.example", "A", None);
        assert_eq!(run.verdicts(), [("page.example", Verdict::Leak)]);
        assert_eq!(run.findings()[0].confidence, Confidence::Configured);
        assert!(run.finish());
    }
}

#[test]
fn explained_names_are_no_leaks() {
    let mut run = Run::of(told(Resolves::Local));
    run.dns(1, "localhost", "A", None);
    run.dns(2, "x.localhost", "A", None);
    run.dns(3, "git.intern.example", "A", None);
    assert!(
        run.verdicts()
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::Explained)
    );
    let mut run = Run::of(told_of("Proxy.example.", Resolves::Local));
    run.dns(1, "proxy.example", "A", None);
    assert_eq!(run.verdicts(), [("proxy.example", Verdict::Explained)]);
    assert!(!run.finish());
}

#[test]
fn the_name_by_which_a_proxy_was_found_is_its_own() {
    let mut run = Run::of(direct());
    run.lookup(1, "proxy.example", &["10.77.0.9"]);
    run.request("10.77.0.9:1080", Some("page.example"), None);
    run.reply("10.77.0.9:1080", Some(true));
    assert_eq!(run.verdicts(), [("proxy.example", Verdict::Explained)]);
    run.lookup(2, "proxy.example", &["10.77.0.9"]);
    assert_eq!(run.verdicts()[1].1, Verdict::Explained);
    assert!(!run.finish());
}

#[test]
fn a_page_beside_the_proxy_is_not_its_name() {
    let mut run = Run::of(direct());
    run.lookup(1, "page.example", &["10.77.0.9"]);
    run.request("10.77.0.9:1080", None, Some("10.77.0.9"));
    run.reply("10.77.0.9:1080", Some(true));
    assert_eq!(run.verdicts(), [("page.example", Verdict::Leak)]);
}

#[test]
fn a_name_that_must_never_leave_is_critical_whoever_asks() {
    let mut run = Run::of(direct());
    run.dns(1, "x.onion", "A", None);
    run.dns(2, "onion.example", "A", None);
    run.dns(3, "x.i2p", "A", None);
    assert_eq!(
        run.verdicts(),
        [
            ("x.onion", Verdict::Leak),
            ("onion.example", Verdict::NoProxy),
            ("x.i2p", Verdict::Leak)
        ]
    );
    let findings = run.findings();
    assert_eq!(findings.len(), 2);
    for finding in findings {
        assert_eq!(finding.kind, FindingKind::SpecialName);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(finding.confidence, Confidence::Proven);
        assert_eq!(finding.proxy, None);
    }
    assert!(run.finish());

    let mut nobodys = Run::of(direct());
    nobodys.who = None;
    nobodys.dns(1, "x.onion", "A", None);
    assert_eq!(nobodys.findings()[0].app, None);

    let mut local = Run::of(direct());
    let question = DnsMessage {
        id: 1,
        questions: vec![Question {
            name: "x.onion".into(),
            qtype: "A".into(),
        }],
        answer: None,
    };
    local.say(1, "127.0.0.1:53", Payload::Dns(Transport::Udp, question));
    assert!(local.findings().is_empty(), "it has not left");
}

#[test]
fn what_is_answered_otherwise_is_no_proxy() {
    let mut run = Run::of(direct());
    run.lookup(1, "page.example", &[PAGE]);
    run.request(PROXY, None, Some(PAGE));
    run.say(2, PROXY, Payload::NoProxy);
    run.tick(60);
    run.dns(2, "late.example", "A", None);
    assert!(!run.finish());
    assert!(
        run.verdicts()
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::NoProxy)
    );
    let is_session = |report: &Report| matches!(report, Report::Proxy(_));
    assert!(!run.said.iter().any(is_session));
}

#[test]
fn silence_proves_nothing_and_a_late_reply_does() {
    let mut run = Run::of(direct());
    run.lookup(1, "page.example", &[PAGE]);
    run.request(PROXY, None, Some(PAGE));
    run.tick(60);
    let sessions = |run: &Run| {
        let is_session = |report: &&Report| matches!(report, Report::Proxy(_));
        run.said.iter().filter(is_session).count()
    };
    assert_eq!(sessions(&run), 1);
    assert!(run.findings().is_empty());
    run.reply(PROXY, Some(true));
    assert_eq!(run.findings()[0].confidence, Confidence::Proven);
    assert_eq!(sessions(&run), 1, "it was said already");

    let mut silent = Run::of(direct());
    silent.lookup(1, "page.example", &[PAGE]);
    silent.request(PROXY, None, Some(PAGE));
    silent.tick(60);
    assert!(!silent.finish());
    assert_eq!(silent.verdicts(), [("page.example", Verdict::NoProxy)]);

    let mut other = Run::of(direct());
    other.lookup(1, "page.example", &[PAGE]);
    other.request(PROXY, None, Some(PAGE));
    other.tick(60);
    other.say(2, PROXY, Payload::NoProxy);
    other.reply(PROXY, Some(true));
    assert!(!other.finish(), "it has shown that it is no proxy");
}

#[test]
fn after_a_handshake_a_lookup_is_an_observed_leak() {
    let mut run = Run::of(direct());
    run.request(PROXY, Some("page.example"), None);
    run.dns(1, "early.example", "A", None);
    assert_eq!(
        run.verdicts(),
        [("early.example", Verdict::NoProxy)],
        "nobody has answered like a proxy yet"
    );
    run.reply(PROXY, None);
    run.dns(2, "late.example", "A", None);
    assert_eq!(run.verdicts()[1], ("late.example", Verdict::Leak));
    let finding = run.findings()[0];
    assert_eq!(finding.confidence, Confidence::Observed);
    assert_eq!(finding.severity, Severity::Medium);
    assert_eq!(finding.evidence[0].evidence.source, "handshake");
}

#[test]
fn an_old_answer_proves_nothing() {
    let mut run = Run::of(direct());
    run.lookup(1, "page.example", &[PAGE]);
    run.tick(301);
    run.request(PROXY, None, Some(PAGE));
    assert!(run.findings().is_empty());
}

#[test]
fn a_repeated_query_is_the_same_and_a_lost_answer_times_out() {
    let mut run = Run::of(direct());
    run.dns(1, "page.example", "A", None);
    run.dns(1, "page.example", "A", None);
    assert_eq!(run.verdicts().len(), 1);
    run.tick(11);
    run.tick(11);
    let answers: Vec<&str> = run
        .said
        .iter()
        .filter_map(|report| match report {
            Report::Answer(answer) => Some(answer.rcode.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(answers, ["timeout"]);
    // Too late, and for nobody.
    run.dns(1, "page.example", "A", Some(&[PAGE]));
    run.request(PROXY, None, Some(PAGE));
    assert!(run.findings().is_empty());
}

#[test]
fn a_forged_answer_is_for_nobody() {
    let mut run = Run::of(direct());
    run.dns(1, "page.example", "A", None);
    run.dns(2, "page.example", "A", Some(&[PAGE]));
    run.dns(1, "other.example", "A", Some(&[PAGE]));
    run.request(PROXY, None, Some(PAGE));
    assert!(run.findings().is_empty());
}

#[test]
fn an_unknown_asker_is_unknown() {
    let mut run = Run::of(direct());
    run.who = None;
    run.lookup(1, "page.example", &[PAGE]);
    run.request(PROXY, None, Some(PAGE));
    assert_eq!(run.verdicts(), [("page.example", Verdict::Unknown)]);
    assert!(!run.finish());
}

#[test]
fn another_app_with_the_same_address_proves_nothing() {
    let mut run = Run::of(direct());
    run.lookup(1, "page.example", &[PAGE]);
    let mut other = direct();
    Arc::make_mut(&mut other.app).id.pid = 8;
    run.who = Some(other);
    run.request(PROXY, None, Some(PAGE));
    assert!(run.findings().is_empty());
}

#[test]
fn a_request_without_a_reply_is_said_all_the_same() {
    let accepted = |run: &Run| {
        run.said
            .iter()
            .filter_map(|report| match report {
                Report::Proxy(session) => Some(session.accepted),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let mut run = Run::of(direct());
    run.request(PROXY, Some("page.example"), None);
    assert!(accepted(&run).is_empty());
    run.tick(3);
    assert_eq!(accepted(&run), [None]);
    run.request(PROXY, Some("page.example"), None);
    run.reply(PROXY, Some(false));
    assert_eq!(accepted(&run), [None, Some(false)]);
}

#[test]
fn too_many_open_queries_are_given_up_and_said() {
    let mut run = Run::of(direct());
    for number in 0..=u16::MAX {
        run.dns(number, "page.example", "A", None);
    }
    run.tick(0);
    let lost: u64 = run
        .said
        .iter()
        .filter_map(|report| match report {
            Report::Loss(loss) => Some(loss.events),
            _ => None,
        })
        .sum();
    let answers = |run: &Run| {
        let timeouts = run
            .said
            .iter()
            .filter(|report| matches!(report, Report::Answer(_)));
        timeouts.count() as u64
    };
    run.tick(60);
    assert!(lost > 0);
    assert_eq!(lost + answers(&run), 65_536);
}

#[test]
fn the_summary_counts_the_last_word() {
    let mut run = Run::of(direct());
    run.lookup(1, "page.example", &[PAGE]);
    run.request(PROXY, None, Some(PAGE));
    run.reply(PROXY, Some(true));
    run.finish();
    let Some(Report::Summary(summary)) = run.said.last() else {
        panic!("no summary");
    };
    assert_eq!(summary.findings, 1);
    assert_eq!(summary.apps.len(), 1);
    assert_eq!((summary.apps[0].queries, summary.apps[0].leak), (1, 1));
    assert_eq!(summary.apps[0].no_proxy, 0);
}
