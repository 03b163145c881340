//! Variables of the environment.

use super::{Subject, Told};

/// What the environment says to a program of which leakmon does not know whether it reads it.
pub fn of_unknown_program(_subject: &Subject<'_>) -> Vec<Told> {
    Vec::new()
}
