//! Programs that a user of leakmon told of, in the configuration file.

/// One program and its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {}

/// The programs of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Programs {
    /// In the file's order.
    pub programs: Vec<Program>,
}
