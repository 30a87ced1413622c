//! What a real server process keeps over `kill -9` and a restart, and how it stops when it is asked to: one test a promise.
//!
//! Real processes and real time; every wait is for an event, none for a time, but where a lease or a deadline must pass.

#[path = "../support/hand.rs"]
mod hand;
#[allow(clippy::duplicate_mod)]
#[path = "../support/server.rs"]
mod server;

mod halts;
mod keeps;
mod leases;
mod refuses;
mod stops;
