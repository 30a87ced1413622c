//! The runtime, from outside: a store in memory, a clock that stands until it is moved, and workers that are plain code.
//! Nothing here waits for real time.

mod kit;

mod burn;
mod children;
mod circuits;
mod dead_letters;
mod failures;
mod flow;
mod gate;
mod halts;
mod leases;
mod limits;
mod parking;
mod patterns;
mod recovery;
mod restart;
mod sessions;
mod watching;

/// Open tasks that the worlds keep in memory.
const RESIDENTS: usize = 20_000;
