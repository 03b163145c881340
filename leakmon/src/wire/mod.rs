//! From untrusted bytes to types. No I/O, no panics, no growth without bound.

mod decoder;
pub mod dns;
mod http;
pub mod nscd;
pub mod proxy;
mod socks;
mod stream;
pub mod varlink;

pub use decoder::{Decoder, Message, Payload};

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// Shorter than a DNS header (RFC 1035 section 4.1.1).
    #[error("shorter than a DNS header")]
    Short,
    /// The question section is empty or broken.
    #[error("no readable question")]
    NoQuestion,
    /// A request to a local resolver is not there to its end.
    #[error("a request to a local resolver that is cut off")]
    CutOff,
    /// A request to a local resolver breaks the rules of its protocol.
    #[error("no request to a local resolver")]
    Malformed,
}
