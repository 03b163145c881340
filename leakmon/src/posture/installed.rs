//! Profiles on disk that no running program need be using.
