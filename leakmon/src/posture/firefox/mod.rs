//! Firefox and its family.

use super::{Subject, Told, View};

/// What a program of the family was told, the first counts; `None` for another program.
pub fn told(_subject: &Subject<'_>) -> Option<Vec<Told>> {
    None
}

/// The profiles on disk of the user of a view: program, folder, and what it says.
pub fn profiles(_view: &View) -> Vec<(String, String, Vec<Told>)> {
    Vec::new()
}
