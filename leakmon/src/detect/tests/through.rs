//! Questions to resolvers of this machine, and connections past the proxy.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    super::{Detector, Local, Who},
    RESOLVER, told,
};
use crate::{
    model::{
        Actor, App, Confidence, Finding, FindingKind, Process, ProxyProtocol, Query, Report,
        Resolves, Service, Severity, Target, Transport, Verdict,
    },
    posture::{Posture, Route},
    time::Timestamp,
    wire::{
        Message, Payload,
        dns::{Address, DnsAnswer, DnsMessage, Question},
        proxy::{Reply, Request},
    },
};

const STUB: &str = "127.0.0.53:53";
const PAGE: &str = "10.77.0.80";
const NAME: &str = "page.example";

fn program(pid: u32, path: &str, posture: Posture) -> Who {
    let process = Arc::new(Process {
        exe: Some(path.into()),
        started_ns: Some(1),
        netns: Some(1),
        ..Process::unread(pid, Some(1000))
    });
    Who {
        app: Arc::new(App {
            name: process.program().unwrap().into(),
            pid,
            id: process.id(),
        }),
        actor: Actor {
            process,
            thread: None,
        },
        posture: Arc::new(posture),
    }
}

/// A program that was told to use a proxy for everything, and resolves names itself.
fn leaky(pid: u32) -> Who {
    let posture = Posture::clone(&told(Resolves::Local).posture);
    program(pid, "/usr/bin/curl", posture)
}

fn resolved() -> Local {
    local("/usr/lib/systemd/systemd-resolved")
}

fn local(path: &str) -> Local {
    Local {
        who: program(90, path, Posture::default()),
        watched: true,
    }
}

struct Scene {
    detector: Detector,
    at: Timestamp,
    said: Vec<Report>,
}

impl Scene {
    fn new() -> Self {
        Self {
            detector: Detector::default(),
            at: Timestamp(1_700_000_000_000_000_000),
            said: Vec::new(),
        }
    }

    fn message(
        &mut self,
        cookie: u64,
        peer: &str,
        payload: Payload,
        who: &Who,
        local: Option<&Local>,
    ) {
        self.at = self.at.plus(Duration::from_millis(1));
        let message = Message {
            at: self.at,
            cookie,
            owner: None,
            peer: peer.parse().unwrap(),
            escaped: peer == RESOLVER,
            interface: Some("eth0".into()),
            payload,
        };
        self.said
            .extend(self.detector.message(&message, Some(who), local));
    }

    fn dns(name: &str, answer: Option<DnsAnswer>) -> Payload {
        let message = DnsMessage {
            id: 1,
            questions: vec![Question {
                name: name.into(),
                qtype: "A".into(),
            }],
            answer,
        };
        Payload::Dns(Transport::Udp, message)
    }

    /// A program asks a resolver; the socket is its own.
    fn asks(&mut self, who: &Who, peer: &str, name: &str, local: Option<&Local>) {
        let cookie = u64::from(who.app.pid);
        self.message(cookie, peer, Self::dns(name, None), who, local);
    }

    fn is_answered(
        &mut self,
        who: &Who,
        peer: &str,
        name: &str,
        aliases: &[&str],
        addresses: &[&str],
    ) {
        let answer = DnsAnswer {
            rcode: "NOERROR".into(),
            addresses: addresses
                .iter()
                .map(|addr| Address {
                    addr: addr.parse().unwrap(),
                    ttl: 60,
                })
                .collect(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        };
        let cookie = u64::from(who.app.pid);
        self.message(cookie, peer, Self::dns(name, Some(answer)), who, None);
    }

    /// The resolver asks another machine and is answered.
    fn looks_up(&mut self, local: &Local, name: &str, addresses: &[&str]) {
        self.asks(&local.who, RESOLVER, name, None);
        self.is_answered(&local.who, RESOLVER, name, &[], addresses);
    }

    fn asks_service(&mut self, who: &Who, name: &str, local: Option<&Local>) {
        self.at = self.at.plus(Duration::from_millis(1));
        let question = Question {
            name: name.into(),
            qtype: "A".into(),
        };
        self.said.extend(self.detector.service(
            self.at,
            Service::Resolved,
            &[question],
            Some(who),
            local,
        ));
    }

    /// The proxy is given an address, and grants it.
    fn gives(&mut self, who: &Who, addr: &str) {
        let cookie = u64::from(who.app.pid) + 1000;
        let request = Request {
            protocol: ProxyProtocol::Socks4,
            command: "connect".into(),
            target: Target {
                name: None,
                addr: Some(addr.parse().unwrap()),
                port: 80,
            },
        };
        self.message(
            cookie,
            "127.0.0.1:9050",
            Payload::ProxyRequest(request),
            who,
            None,
        );
        let reply = Reply {
            method: None,
            accepted: Some(true),
        };
        self.message(
            cookie,
            "127.0.0.1:9050",
            Payload::ProxyReply(reply),
            who,
            None,
        );
    }

    fn connects(&mut self, who: &Who, to: &str) {
        self.at = self.at.plus(Duration::from_millis(1));
        let to: SocketAddr = to.parse().unwrap();
        self.said.extend(self.detector.connected(self.at, to, who));
    }

    fn wait(&mut self, seconds: u64) {
        self.at = self.at.plus(Duration::from_secs(seconds));
        self.said.extend(self.detector.tick(self.at));
    }

    fn lose(&mut self) {
        let since = self.at;
        self.at = self.at.plus(Duration::from_millis(1));
        self.said.extend(self.detector.loss(self.at, 1, 1, since));
    }

    /// A query as it was said last.
    fn query(&self, id: &str) -> &Query {
        self.said
            .iter()
            .rev()
            .find_map(|report| match report {
                Report::Query(query) if query.id == id => Some(query),
                _ => None,
            })
            .unwrap()
    }

    /// The findings as they were said last.
    fn findings(&self) -> Vec<&Finding> {
        let mut found: Vec<&Finding> = Vec::new();
        for report in &self.said {
            if let Report::Finding(finding) = report {
                found.retain(|known| known.id != finding.id);
                found.push(finding);
            }
        }
        found
    }

    fn one_finding(&self) -> &Finding {
        let found = self.findings();
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0]
    }
}

fn says(finding: &Finding, words: &str) -> bool {
    finding
        .evidence
        .iter()
        .any(|link| link.evidence.detail.contains(words))
}

#[test]
fn what_a_local_resolver_sends_on_is_its_askers_leak() {
    let (mut scene, curl, stub) = (Scene::new(), leaky(7), resolved());
    scene.asks(&curl, STUB, NAME, Some(&stub));
    assert_eq!(scene.query("q1").verdict, Verdict::Unknown);
    assert!(scene.findings().is_empty());
    scene.looks_up(&stub, NAME, &[PAGE]);
    let asked = scene.query("q1");
    assert_eq!((asked.verdict, asked.escaped), (Verdict::Leak, true));
    assert_eq!(asked.via.as_ref().unwrap().pid, 90);
    assert_eq!(scene.query("q2").verdict, Verdict::Explained);
    assert!(
        scene
            .query("q2")
            .explanation
            .as_ref()
            .unwrap()
            .contains("curl (7)")
    );
    let finding = scene.one_finding();
    assert_eq!(finding.app.as_ref().unwrap().pid, 7);
    assert_eq!(
        (finding.confidence, finding.severity),
        (Confidence::Configured, Severity::High)
    );
    assert!(
        says(finding, "systemd-resolved (90) sent it on"),
        "{finding:#?}"
    );
    scene.is_answered(&curl, STUB, NAME, &[], &[PAGE]);
    scene.gives(&curl, PAGE);
    assert_eq!(scene.one_finding().confidence, Confidence::Proven);
    assert_eq!(scene.one_finding().count, 1);
}

#[test]
fn what_it_answers_by_itself_is_contained() {
    let (mut scene, curl, stub) = (Scene::new(), leaky(7), resolved());
    let other = program(8, "/usr/bin/wget", Posture::default());
    scene.asks(&other, STUB, NAME, Some(&stub));
    scene.looks_up(&stub, NAME, &[PAGE]);
    scene.is_answered(&other, STUB, NAME, &[], &[PAGE]);
    scene.asks(&curl, STUB, NAME, Some(&stub));
    scene.is_answered(&curl, STUB, NAME, &[], &[PAGE]);
    scene.gives(&curl, PAGE);
    let asked = scene.query("q3");
    assert_eq!((asked.verdict, asked.escaped), (Verdict::Explained, false));
    assert!(asked.explanation.as_ref().unwrap().starts_with("contained"));
    assert!(scene.findings().is_empty(), "{:#?}", scene.findings());
}

#[test]
fn two_askers_of_one_question_are_both_named() {
    let (mut scene, stub) = (Scene::new(), resolved());
    let (one, two) = (leaky(7), leaky(8));
    scene.asks(&one, STUB, NAME, Some(&stub));
    scene.asks(&stub.who, RESOLVER, NAME, None);
    // While the resolver waits for the answer.
    scene.asks(&two, STUB, NAME, Some(&stub));
    let pids: Vec<u32> = scene
        .findings()
        .iter()
        .map(|finding| finding.app.as_ref().unwrap().pid)
        .collect();
    assert_eq!(pids, [7, 8]);
}

#[test]
fn without_an_answer_nothing_is_said_of_a_question_that_was_not_sent_on() {
    let (mut scene, curl, stub) = (Scene::new(), leaky(7), resolved());
    scene.asks(&curl, STUB, NAME, Some(&stub));
    scene.wait(60);
    assert_eq!(scene.query("q1").verdict, Verdict::Unknown);
    assert!(scene.findings().is_empty());
}

#[test]
fn an_answer_of_a_resolver_whose_way_out_is_not_seen_is_a_lesser_leak() {
    let (mut scene, curl) = (Scene::new(), leaky(7));
    let proxy = local("/usr/bin/dnscrypt-proxy");
    scene.asks(&curl, STUB, NAME, Some(&proxy));
    scene.is_answered(&curl, STUB, NAME, &[], &[PAGE]);
    assert_eq!(scene.query("q1").verdict, Verdict::Leak);
    let why = scene.query("q1").explanation.clone().unwrap();
    assert!(why.contains("not known"), "{why}");
    assert_eq!(scene.one_finding().severity, Severity::Medium);
    // One that is known to ask in the clear.
    let mut scene = Scene::new();
    let dnsmasq = local("/usr/sbin/dnsmasq");
    scene.asks(&curl, STUB, "other.example", Some(&dnsmasq));
    scene.looks_up(&dnsmasq, "other.example", &["10.77.0.90"]);
    scene.asks(&curl, STUB, NAME, Some(&dnsmasq));
    scene.is_answered(&curl, STUB, NAME, &[], &[PAGE]);
    assert_eq!(scene.query("q3").verdict, Verdict::Explained);
    // Unless what it asked may have been lost.
    let third = "third.example";
    scene.asks(&curl, STUB, third, Some(&dnsmasq));
    scene.lose();
    scene.is_answered(&curl, STUB, third, &[], &["10.77.0.91"]);
    assert_eq!(scene.query("q4").verdict, Verdict::Leak);
}

#[test]
fn a_resolver_that_is_not_watched_is_no_excuse() {
    let (mut scene, curl) = (Scene::new(), leaky(7));
    let stub = Local {
        watched: false,
        ..resolved()
    };
    scene.asks(&curl, STUB, NAME, Some(&stub));
    assert_eq!(scene.query("q1").verdict, Verdict::Leak);
    assert_eq!(scene.one_finding().severity, Severity::Medium);
}

#[test]
fn tor_resolves_inside_its_network() {
    let (mut scene, curl, tor) = (Scene::new(), leaky(7), local("/usr/bin/tor"));
    scene.asks(&curl, STUB, NAME, Some(&tor));
    assert_eq!(scene.query("q1").verdict, Verdict::Explained);
    // Behind another resolver as well.
    let dnsmasq = Local {
        who: program(91, "/usr/sbin/dnsmasq", Posture::default()),
        watched: true,
    };
    scene.asks(&curl, "127.0.0.1:53", "other.example", Some(&dnsmasq));
    scene.asks(&dnsmasq.who, "127.0.0.1:5353", "other.example", Some(&tor));
    scene.is_answered(
        &dnsmasq.who,
        "127.0.0.1:5353",
        "other.example",
        &[],
        &[PAGE],
    );
    scene.is_answered(&curl, "127.0.0.1:53", "other.example", &[], &[PAGE]);
    scene.gives(&curl, PAGE);
    assert_eq!(scene.query("q2").verdict, Verdict::Explained);
    assert!(scene.findings().is_empty());
}

#[test]
fn a_resolver_behind_a_resolver_is_looked_through() {
    let (mut scene, curl) = (Scene::new(), leaky(7));
    let dnsmasq = Local {
        who: program(91, "/usr/sbin/dnsmasq", Posture::default()),
        watched: true,
    };
    let unbound = local("/usr/sbin/unbound");
    scene.asks(&curl, "127.0.0.1:53", NAME, Some(&dnsmasq));
    scene.asks(&dnsmasq.who, "127.0.0.1:5335", NAME, Some(&unbound));
    assert!(scene.findings().is_empty());
    scene.asks(&unbound.who, RESOLVER, NAME, None);
    assert_eq!(scene.one_finding().app.as_ref().unwrap().pid, 7);
    assert!(says(scene.one_finding(), "unbound (90) sent it on"));
}

#[test]
fn a_question_over_a_socket_is_proven_by_what_the_resolver_was_answered() {
    let (mut scene, curl, stub) = (Scene::new(), leaky(7), resolved());
    scene.asks_service(&curl, NAME, Some(&stub));
    // The resolver asks for the name that the first one stands for, too.
    scene.asks(&stub.who, RESOLVER, NAME, None);
    scene.is_answered(&stub.who, RESOLVER, NAME, &["host.example"], &[]);
    scene.looks_up(&stub, "host.example", &[PAGE]);
    scene.gives(&curl, PAGE);
    let finding = scene.one_finding();
    assert_eq!(finding.confidence, Confidence::Proven);
    assert_eq!(finding.name, NAME);
    assert_eq!(scene.query("q1").transport, Transport::Varlink);
    // Minutes later, from what it knows.
    let other = leaky(8);
    scene.asks_service(&other, NAME, Some(&stub));
    scene.wait(3);
    assert_eq!(scene.query("q4").verdict, Verdict::Explained);
    scene.gives(&other, PAGE);
    assert_eq!(scene.findings().len(), 1);
}

#[test]
fn a_special_name_is_the_askers_once_it_has_left() {
    let (mut scene, stub) = (Scene::new(), resolved());
    let wget = program(8, "/usr/bin/wget", Posture::default());
    scene.asks(&wget, STUB, "secret.onion", Some(&stub));
    assert!(scene.findings().is_empty());
    scene.looks_up(&stub, "secret.onion", &[]);
    let finding = scene.one_finding();
    assert_eq!(finding.kind, FindingKind::SpecialName);
    assert_eq!(finding.app.as_ref().unwrap().pid, 8);
    // Nobody asked for this one.
    scene.looks_up(&stub, "other.onion", &[]);
    assert_eq!(scene.findings().len(), 2);
    assert_eq!(scene.findings()[1].app.as_ref().unwrap().pid, 90);
}

#[test]
fn what_a_resolver_asks_by_itself_is_explained() {
    let (mut scene, curl, stub) = (Scene::new(), leaky(7), resolved());
    scene.asks(&curl, STUB, NAME, Some(&stub));
    scene.looks_up(&stub, "refreshed.example", &[PAGE]);
    assert_eq!(scene.query("q2").verdict, Verdict::Explained);
    assert!(scene.findings().is_empty());
}

#[test]
fn lost_events_leave_a_name_unproven() {
    let (mut scene, curl) = (Scene::new(), leaky(7));
    scene.asks(&curl, RESOLVER, NAME, None);
    scene.is_answered(&curl, RESOLVER, NAME, &[], &[PAGE]);
    scene.lose();
    scene.gives(&curl, PAGE);
    assert_eq!(scene.one_finding().confidence, Confidence::Configured);
    scene.wait(600);
    scene.asks(&curl, RESOLVER, NAME, None);
    scene.is_answered(&curl, RESOLVER, NAME, &[], &[PAGE]);
    scene.gives(&curl, PAGE);
    assert_eq!(scene.one_finding().confidence, Confidence::Proven);
}

#[test]
fn repetitions_are_one_finding_with_a_count() {
    let (mut scene, curl) = (Scene::new(), leaky(7));
    for _ in 0..50 {
        scene.asks(&curl, RESOLVER, NAME, None);
        scene.is_answered(&curl, RESOLVER, NAME, &[], &[PAGE]);
    }
    scene.gives(&curl, PAGE);
    scene.wait(11);
    let finding = scene.one_finding();
    assert_eq!(finding.count, 50);
    assert_eq!(finding.queries.len(), 32);
}

#[test]
fn a_connection_past_the_proxy_is_a_bypass() {
    let (mut scene, curl) = (Scene::new(), leaky(7));
    scene.asks(&curl, RESOLVER, NAME, None);
    scene.is_answered(&curl, RESOLVER, NAME, &[], &[PAGE]);
    scene.connects(&curl, "10.77.0.80:443");
    // The proxy itself, and what is on the list of names that go past it.
    scene.connects(&curl, "127.0.0.1:9050");
    scene.asks(&curl, RESOLVER, "www.intern.example", None);
    scene.is_answered(&curl, RESOLVER, "www.intern.example", &[], &["10.77.0.90"]);
    scene.connects(&curl, "10.77.0.90:443");
    let bypasses: Vec<_> = scene
        .findings()
        .into_iter()
        .filter(|finding| finding.kind == FindingKind::ProxyBypass)
        .collect();
    assert_eq!(bypasses.len(), 1, "{bypasses:#?}");
    assert_eq!(
        (bypasses[0].name.as_str(), bypasses[0].severity),
        (NAME, Severity::High)
    );
    // An address that several names have is nobody's.
    scene.connects(&curl, "10.77.0.99:443");
    assert!(
        scene
            .findings()
            .iter()
            .any(|finding| finding.name == "10.77.0.99")
    );
}

#[test]
fn settings_that_decide_for_each_connection_are_judged_by_the_connection() {
    let some = Posture::clone(&told(Resolves::Depends).posture);
    assert!(matches!(some.route, Route::Some(_)));
    let (mut scene, browser) = (Scene::new(), program(7, "/usr/bin/chromium", some));
    scene.asks(&browser, RESOLVER, "direct.example", None);
    scene.is_answered(&browser, RESOLVER, "direct.example", &[], &["10.77.0.90"]);
    scene.asks(&browser, RESOLVER, NAME, None);
    scene.is_answered(&browser, RESOLVER, NAME, &[], &[PAGE]);
    scene.gives(&browser, PAGE);
    scene.connects(&browser, "10.77.0.90:443");
    assert_eq!(scene.query("q1").verdict, Verdict::Explained);
    assert_eq!(scene.query("q2").verdict, Verdict::Leak);
    assert_eq!(scene.one_finding().name, NAME);
}

#[test]
fn a_program_that_goes_both_ways_by_itself_is_said_to() {
    let (mut scene, split) = (Scene::new(), program(7, "/opt/split", Posture::default()));
    scene.gives(&split, "192.0.2.1");
    scene.asks(&split, RESOLVER, NAME, None);
    scene.is_answered(&split, RESOLVER, NAME, &[], &[PAGE]);
    assert_eq!(scene.query("q1").verdict, Verdict::Leak);
    scene.connects(&split, "10.77.0.80:443");
    assert_eq!(scene.query("q1").verdict, Verdict::Explained);
    let found = scene.findings();
    let own = found
        .iter()
        .find(|finding| finding.kind == FindingKind::SelfResolution)
        .unwrap();
    assert_eq!(own.severity, Severity::Low);
    assert!(says(own, "straight to 10.77.0.80:443"));
    assert!(!scene.detector.leaked());
    // Asked again it is still its own rule; the address at the proxy is more.
    scene.asks(&split, RESOLVER, NAME, None);
    scene.is_answered(&split, RESOLVER, NAME, &[], &[PAGE]);
    assert!(!scene.detector.leaked());
    scene.gives(&split, PAGE);
    assert!(scene.detector.leaked());
}

#[test]
fn going_direct_explains_every_question_for_the_name() {
    let (mut scene, split) = (Scene::new(), program(7, "/opt/split", Posture::default()));
    scene.gives(&split, "192.0.2.1");
    scene.asks(&split, RESOLVER, NAME, None);
    scene.is_answered(&split, RESOLVER, NAME, &[], &[PAGE]);
    // As AAAA is, of a name that has an A record only.
    scene.asks(&split, RESOLVER, NAME, None);
    scene.is_answered(&split, RESOLVER, NAME, &[], &[]);
    scene.connects(&split, "10.77.0.80:443");
    for id in ["q1", "q2"] {
        assert_eq!(scene.query(id).verdict, Verdict::Explained, "{id}");
    }
}

#[test]
fn going_direct_is_no_excuse_for_a_special_name() {
    let (mut scene, split) = (Scene::new(), program(7, "/opt/split", Posture::default()));
    scene.gives(&split, "192.0.2.1");
    scene.asks(&split, RESOLVER, "secret.onion", None);
    // By a resolver that makes answers up.
    scene.is_answered(&split, RESOLVER, "secret.onion", &[], &[PAGE]);
    scene.connects(&split, "10.77.0.80:443");
    assert_eq!(scene.query("q1").verdict, Verdict::Leak);
}

#[test]
fn a_bare_address_is_noted_and_is_no_leak() {
    let (mut scene, curl) = (Scene::new(), leaky(7));
    scene.gives(&curl, "192.0.2.1");
    let finding = scene.one_finding();
    assert_eq!(finding.kind, FindingKind::LiteralAddress);
    assert_eq!(finding.severity, Severity::Low);
    assert!(!scene.detector.leaked());
}
