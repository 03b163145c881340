//! Firefox and its family.

use super::{Subject, Told};

/// What a program of the family was told, the first counts; `None` for another program.
pub fn told(_subject: &Subject<'_>) -> Option<Vec<Told>> {
    None
}
