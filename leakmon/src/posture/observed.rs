//! Handshakes that were seen: a program that speaks SOCKS was told to, wherever that may be written.

use crate::{
    model::{Endpoint, Evidence, ProxyProtocol},
    time::Timestamp,
};

/// Proxies remembered of one app.
const MAX_PROXIES: usize = 64;

/// A proxy that an app spoke with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What was spoken.
    pub protocol: ProxyProtocol,
    /// When it was first spoken.
    pub first: Timestamp,
    /// When it was last spoken.
    pub last: Timestamp,
}

impl Observed {
    /// As evidence.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        let mut detail = format!("spoke {} with {}", self.protocol.in_prose(), self.endpoint);
        if self.last > self.first {
            detail.push_str(", last at ");
            detail.push_str(&self.last.to_string());
        }
        Evidence::new("handshake", detail)
    }
}

/// Notes that an app spoke with a proxy.
pub fn note(known: &mut Vec<Observed>, endpoint: Endpoint, protocol: ProxyProtocol, at: Timestamp) {
    let same = |known: &&mut Observed| known.endpoint == endpoint && known.protocol == protocol;
    if let Some(known) = known.iter_mut().find(same) {
        known.last = known.last.max(at);
    } else if known.len() < MAX_PROXIES {
        known.push(Observed {
            endpoint,
            protocol,
            first: at,
            last: at,
        });
    }
}
