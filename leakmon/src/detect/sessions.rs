//! Requests to proxies: whether there is a proxy at the other end, and what its having been given an address proves.

use super::{Case, Detector, MAX_SESSIONS, Proof, Session, Who, evidence};
use crate::{
    model::{Confidence, FindingKind, ProxySession, Report, Verdict},
    wire::{
        Message,
        proxy::{Reply, Request},
    },
};

impl Detector {
    /// A whole request to what may be a proxy.
    pub(super) fn request(
        &mut self,
        message: &Message,
        request: &Request,
        who: Option<&Who>,
        out: &mut Vec<Report>,
    ) {
        let session = ProxySession {
            ts: message.at,
            process: who.map(|who| who.actor.clone()),
            app: who.map(|who| std::sync::Arc::clone(&who.app)),
            proxy: message.peer.into(),
            protocol: request.protocol,
            command: request.command.clone(),
            target: request.target.clone(),
            accepted: None,
        };
        let mut unproven = None;
        if let Some(who) = who {
            if self.app(who).knows_proxy(session.proxy) {
                self.is_proxied(who, &session, out);
            } else {
                unproven = Some(who.clone());
            }
        }
        self.sessions.push_back(Session {
            cookie: message.cookie,
            session,
            unproven,
        });
        if self.sessions.len() > MAX_SESSIONS {
            self.say_oldest_session(out);
        }
    }

    /// What answers is no proxy: the request was none.
    pub(super) fn no_proxy(&mut self, cookie: u64) {
        for sessions in [&mut self.sessions, &mut self.unanswered] {
            sessions.retain(|session| session.cookie != cookie);
        }
    }

    /// A request was made of what is a proxy: what follows for the names that were looked up before.
    fn is_proxied(&mut self, who: &Who, session: &ProxySession, out: &mut Vec<Report>) {
        let app = self.app(who);
        app.spoke(session);
        let possible = session
            .target
            .addr
            .filter(|_| leads_there(&session.command))
            .map(|addr| app.lookups_of(addr, session.ts))
            .unwrap_or_default();
        let mut proxy_names = app.lookups_of(session.proxy.addr, session.ts);
        proxy_names.retain(|(_, name)| possible.iter().all(|(_, other)| other != name));
        app.add_proxy_names(&proxy_names);
        for (number, _) in proxy_names {
            self.explain(number, "the proxy's own name", out);
        }
        if possible.is_empty() {
            self.literal(who, session, out);
        } else {
            self.prove(who, session, &possible, out);
        }
    }

    /// The proxy was given an address that the program never asked for: it stood in a page, was typed, or comes from a
    /// lookup that leakmon did not see. A program that is a proxy itself passes on what it was given.
    fn literal(&mut self, who: &Who, session: &ProxySession, out: &mut Vec<Report>) {
        let Some(addr) = session.target.addr else {
            return;
        };
        if addr.is_loopback()
            || addr.is_unspecified()
            || !leads_there(&session.command)
            || who.posture.role.is_some()
        {
            return;
        }
        let case = Case {
            kind: FindingKind::LiteralAddress,
            confidence: Confidence::Observed,
            name: addr.to_string(),
            actor: Some(who.actor.clone()),
            proof: None,
            session: Some(session),
            pieces: vec![evidence::of_literal(session)],
        };
        self.find(who.app.id, &[], &case, session.ts, out);
    }

    /// The proxy was given an address: the names that were answered with it are proven to have leaked, when there is
    /// one such name only.
    fn prove(
        &mut self,
        who: &Who,
        session: &ProxySession,
        possible: &[(u64, String)],
        out: &mut Vec<Report>,
    ) {
        let Some((latest, name)) = possible.last() else {
            return;
        };
        // While events were lost, another name may have been answered with the same address.
        let lost = self.lost_around(session.ts);
        if lost || possible.iter().any(|(_, other)| other != name) {
            let mut names: Vec<&str> = possible.iter().map(|(_, name)| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let piece = evidence::ambiguous(session, &names, lost);
            self.app(who).add_to_findings(&names, &piece);
            return;
        }
        // Whoever asked for AAAA and was given the address of an A told the resolver the name twice.
        let mut told = self.app(who).queries_of(name);
        for &number in &told {
            // The address is in use: whatever was asked has answered.
            self.settle(number, session.ts, out);
        }
        told.retain(|&number| match self.stayed(number) {
            Some(why) => {
                self.explain(number, &why, out);
                false
            }
            None => true,
        });
        if told.is_empty() {
            return;
        }
        for &number in &told {
            let why = format!(
                "then gave {} the name's address instead of the name",
                session.proxy
            );
            self.change_verdict(number, Verdict::Leak, &why, out);
        }
        let proof = Proof {
            session,
            answered_at: self
                .records
                .peek(latest)
                .and_then(|record| record.answer.as_ref())
                .map(|answer| answer.ts),
        };
        let case = Case {
            kind: FindingKind::SelfResolution,
            confidence: Confidence::Proven,
            name: name.clone(),
            actor: None,
            session: Some(session),
            proof: Some(proof),
            pieces: Vec::new(),
        };
        self.find(who.app.id, &told, &case, session.ts, out);
    }

    /// What a proxy said.
    pub(super) fn reply(
        &mut self,
        message: &Message,
        reply: Reply,
        who: Option<&Who>,
        out: &mut Vec<Report>,
    ) {
        if let Some(who) = who {
            self.app(who).answers_like_a_proxy(message.peer.into());
        }
        let is_it = |waiting: &Session| waiting.cookie == message.cookie;
        let Some(index) = self.sessions.iter().position(is_it) else {
            if let Some(index) = self.unanswered.iter().position(is_it)
                && let Some(late) = self.unanswered.remove(index)
                && let Some(who) = late.unproven
            {
                self.is_proxied(&who, &late.session, out);
            }
            return;
        };
        let unproven = self.sessions.get_mut(index).and_then(|waiting| {
            let who = waiting.unproven.take()?;
            Some((who, waiting.session.clone()))
        });
        if let Some((who, session)) = unproven {
            self.is_proxied(&who, &session, out);
        }
        if reply.accepted.is_some()
            && let Some(Session { mut session, .. }) = self.sessions.remove(index)
        {
            session.accepted = reply.accepted;
            out.push(Report::Proxy(session));
        }
    }

    /// Nothing came back yet. Silence proves nothing: there may be no proxy at the other end, or a slow one.
    pub(super) fn say_oldest_session(&mut self, out: &mut Vec<Report>) {
        let Some(waiting) = self.sessions.pop_front() else {
            return;
        };
        out.push(Report::Proxy(waiting.session.clone()));
        if waiting.unproven.is_some() {
            if self.unanswered.len() == MAX_SESSIONS {
                self.unanswered.pop_front();
            }
            self.unanswered.push_back(waiting);
        }
    }
}

/// Whether a command has the proxy reach its target: the address in UDP ASSOCIATE is the client's own (RFC 1928 section 7),
/// that in BIND is of a server which the client has reached already (section 4), and RESOLVE and RESOLVE_PTR are
/// questions (socks-extensions of the tor specifications).
fn leads_there(command: &str) -> bool {
    !matches!(
        command,
        "udp-associate" | "bind" | "resolve" | "resolve-ptr"
    )
}
