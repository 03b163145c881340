//! Programs that are proxies themselves.

use super::{Posture, Subject};

/// The posture of a program that is a proxy; `None` for another program.
pub fn posture(_subject: &Subject<'_>) -> Option<Posture> {
    None
}
