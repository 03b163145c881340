//! Is this query a leak? The rules, in the order in which they are tried.

use super::app::AppState;
use crate::{
    model::{Confidence, FindingKind, Query, Verdict},
    posture::{Posture, Route},
};

/// A verdict and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, in words.
    pub explanation: String,
    /// For a leak: what kind, and how sure.
    pub leak: Option<(FindingKind, Confidence)>,
}

impl Ruling {
    /// A ruling that makes no finding.
    pub fn new(verdict: Verdict, explanation: impl Into<String>) -> Self {
        Self {
            verdict,
            explanation: explanation.into(),
            leak: None,
        }
    }

    /// Whether it is about a name that must never leave the machine.
    pub fn is_special(&self) -> bool {
        matches!(self.leak, Some((FindingKind::SpecialName, _)))
    }

    fn leak(confidence: Confidence, explanation: impl Into<String>) -> Self {
        Self {
            leak: Some((FindingKind::SelfResolution, confidence)),
            ..Self::new(Verdict::Leak, explanation)
        }
    }
}

/// The ruling on a name that must never leave the machine, whoever asks, for when it does; `None` for any other name.
pub fn special(name: &str) -> Option<Ruling> {
    let why = match name.rsplit('.').next() {
        Some("onion") => "names of tor's onion services must never be asked of DNS (RFC 7686)",
        Some("i2p") => "names of I2P are known inside I2P alone",
        _ => return None,
    };
    Some(Ruling {
        leak: Some((FindingKind::SpecialName, Confidence::Proven)),
        ..Ruling::new(Verdict::Leak, why)
    })
}

/// The ruling on a query whose asker is not known.
pub fn nobody() -> Ruling {
    Ruling::new(
        Verdict::Unknown,
        "the kernel programs saw nobody create or use this socket: it is older than leakmon",
    )
}

/// The ruling on a query of an app.
pub fn rule(app: &AppState, query: &Query) -> Ruling {
    let name = &*query.name;
    let speaks = app.confirmed_proxy();
    let posture = &app.posture;
    if posture.proxy().is_none() && speaks.is_none() {
        return without_proxy(app, query);
    }
    if is_localhost(name) {
        return Ruling::new(
            Verdict::Explained,
            "a name of this machine itself (RFC 6761)",
        );
    }
    if posture.is_proxy_host(name) || app.is_proxy_name(name) {
        return Ruling::new(Verdict::Explained, "the proxy's own name");
    }
    if let Some(rule) = posture.bypassed_by(name) {
        return Ruling::new(
            Verdict::Explained,
            format!("on the list of names reached without the proxy: {rule}"),
        );
    }
    if posture.proxies_everything()
        && let Some(proxy) = posture.proxy()
    {
        return Ruling::leak(
            Confidence::Configured,
            format!("told to reach everything through {proxy}, and asked for the name itself"),
        );
    }
    // Where the settings decide for each connection, or cannot be read, a lookup is a leak only once its address went to
    // the proxy.
    if let Some(proxy) = speaks
        && !matches!(posture.route, Route::Some(_) | Route::Unknown(_))
    {
        return Ruling::leak(
            Confidence::Observed,
            format!(
                "speaks {} with {}, and asked for the name itself",
                proxy.protocol.in_prose(),
                proxy.endpoint
            ),
        );
    }
    let why = if let Route::Unknown(_) = posture.route {
        format!(
            "whether it uses a proxy is not known: {}",
            first_words(posture)
        )
    } else {
        "told to use a proxy for some connections; which ones is not known".to_owned()
    };
    Ruling::new(Verdict::Unknown, why)
}

fn first_words(posture: &Posture) -> &str {
    posture
        .evidence
        .first()
        .map_or("nothing could be read", |evidence| evidence.detail.as_str())
}

fn without_proxy(app: &AppState, query: &Query) -> Ruling {
    let process = query.process.as_ref().map(|actor| &actor.process);
    if process.is_none_or(|process| process.exe.is_none()) {
        return Ruling::new(
            Verdict::Unknown,
            "the process was gone or closed to view before it could be read",
        );
    }
    let posture = &app.posture;
    // With settings that cannot be read it may have been told to leave names to another proxy.
    if let Some(role) = &posture.role
        && !matches!(posture.route, Route::Unknown(_))
    {
        return Ruling::new(
            Verdict::Explained,
            format!("it is {role}: it asks for its clients, or to reach its servers"),
        );
    }
    match posture.route {
        Route::Unknown(_) => Ruling::new(
            Verdict::Unknown,
            format!(
                "whether it uses a proxy is not known: {}",
                first_words(posture)
            ),
        ),
        Route::Some(_) => Ruling::new(
            Verdict::Unknown,
            "its proxy settings decide for each connection; what they decided is not known",
        ),
        Route::Direct => Ruling::new(
            Verdict::NoProxy,
            format!("told to use no proxy: {}", first_words(posture)),
        ),
        Route::Untold | Route::Everything(_) => {
            Ruling::new(Verdict::NoProxy, "no proxy is known for this program")
        }
    }
}

/// RFC 6761 section 6.3.
fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}
