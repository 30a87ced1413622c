//! The engine: every decision of Bailiwick, pure. Floor 0.
//!
//! Never here: async, clocks, randomness, I/O, wire types. Same state, same command, same time: same events.

pub mod command;
pub mod event;
pub mod intake;
pub mod ledger;
pub mod readiness;
pub mod task;
pub mod view;
