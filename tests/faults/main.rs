//! Real faults under real processes: a disk that is full, a database that is read-only or broken, processes that stand still,
//! a network that delays, cuts and half-closes. What is not a process's or a disk's fault is played in the simulation.
//!
//! Whatever happens: what was acknowledged is kept, what could not be kept was not acknowledged, and no result counts twice.

#[allow(clippy::duplicate_mod)]
#[path = "../support/hand.rs"]
mod hand;
#[allow(clippy::duplicate_mod)]
#[path = "../support/server.rs"]
mod server;

mod crew;
mod disk;
mod frozen;
mod network;
mod proxy;
mod unsound;
