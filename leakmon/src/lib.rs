//! leakmon: which program of this machine asked for which name, where that question went, and whether the program had
//! been told to leave names to a SOCKS proxy.
//!
//! Everything flows one way: [`capture`] → [`wire`] → [`process`] → [`posture`] → [`detect`] → [`sink`]. From `wire` on
//! nothing reads a clock or the machine: what capture yields decides what comes out ([`pipeline`]).

pub mod accounts;
pub mod capture;
pub mod cli;
pub mod commands;
pub mod config;
pub mod detect;
pub mod live;
pub mod model;
pub mod pipeline;
pub mod posture;
pub mod privilege;
pub mod process;
pub mod report;
pub mod saved;
pub mod sink;
pub mod time;
pub mod version;
pub mod wire;
