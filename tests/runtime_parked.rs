//! Every test of the runtime once more, in a world where a shard keeps no task in memory: each is parked as soon as it may
//! be, and loaded again with whatever happens to it.

#[path = "runtime/children.rs"]
mod children;
#[path = "runtime/failures.rs"]
mod failures;
#[path = "runtime/flow.rs"]
mod flow;
#[path = "runtime/gate.rs"]
mod gate;
#[path = "runtime/kit.rs"]
mod kit;
#[path = "runtime/leases.rs"]
mod leases;
#[path = "runtime/limits.rs"]
mod limits;
#[path = "runtime/patterns.rs"]
mod patterns;
#[path = "runtime/recovery.rs"]
mod recovery;
#[path = "runtime/restart.rs"]
mod restart;
#[path = "runtime/sessions.rs"]
mod sessions;
#[path = "runtime/watching.rs"]
mod watching;

/// Open tasks that the worlds keep in memory.
const RESIDENTS: usize = 0;
