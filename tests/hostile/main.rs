//! Hostile input: every message of the three services made up, twisted and sent over real gRPC, and clients and workers
//! that take what they can get. Nothing panics, every refusal is typed, memory stays bounded, others are served meanwhile.
//! docs/hostile.md has the bounds, the kept corpus and how to look for longer.

#![allow(unreachable_pub)] // Each file is a room of this test, no part of a library.

#[path = "../end_to_end/harness.rs"]
#[allow(dead_code)]
mod harness;

mod contracts;
mod corpus;
mod dice;
mod every_rpc;
mod flood;
mod idle;
mod methods;
mod panics;
mod process;
mod raw;
mod shape;
mod sizes;
mod slow;
mod streams;

/// Cases for each message: `HOSTILE_CASES`.
fn cases() -> u64 {
    number("HOSTILE_CASES", 40)
}

/// Where the dice start: `HOSTILE_SEED`. A failure prints it.
fn seed() -> u64 {
    number("HOSTILE_SEED", 1)
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text}: write a whole number")),
        Err(_) => default,
    }
}
