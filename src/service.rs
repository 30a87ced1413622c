//! The tonic services: parse the wire into the domain's types, call the runtime, say what came of it. Floor 3.
//!
//! Never here: a decision, the store, the engine beyond its public words, a clock that a decision could see. Wire types
//! stop here.

pub mod calls;
mod cancels;
mod changes;
mod chaos;
pub mod convert;
mod dead_letters;
mod direct;
mod follow;
mod frame;
mod halts;
mod inbox;
mod lanes;
mod operator;
mod page;
mod polled;
#[cfg(test)]
mod rig;
pub mod server;
mod session;
mod shed;
pub mod status;
mod submissions;
mod submitting;
mod tasks;
mod trace;
pub mod webhooks;
mod work;
mod worker;

/// The largest message that is accepted, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
