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

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(port: u16) -> Endpoint {
        Endpoint {
            addr: [127, 0, 0, 1].into(),
            port,
        }
    }

    #[test]
    fn each_proxy_once_with_the_first_and_the_last_time() {
        let mut known = Vec::new();
        let second = 1_000_000_000;
        for (port, protocol, at) in [
            (9050, ProxyProtocol::Socks5, 10),
            (9050, ProxyProtocol::Socks5, 30),
            (9050, ProxyProtocol::Socks5, 20),
            (9050, ProxyProtocol::Socks4, 40),
            (8118, ProxyProtocol::HttpConnect, 50),
        ] {
            note(&mut known, endpoint(port), protocol, Timestamp(at * second));
        }
        let details: Vec<String> = known.iter().map(|known| known.evidence().detail).collect();
        assert_eq!(
            details,
            [
                "spoke SOCKS5 with 127.0.0.1:9050, last at 1970-01-01T00:00:30.000000000Z",
                "spoke SOCKS4 with 127.0.0.1:9050",
                "spoke HTTP with 127.0.0.1:8118",
            ]
        );
    }

    #[test]
    fn a_program_that_tries_every_port_is_bounded() {
        let mut known = Vec::new();
        for port in 0..1000 {
            note(
                &mut known,
                endpoint(port),
                ProxyProtocol::Socks4,
                Timestamp(1),
            );
        }
        assert_eq!(known.len(), MAX_PROXIES);
    }
}
