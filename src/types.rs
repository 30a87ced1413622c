//! The domain's words as types. Floor 0.
//!
//! Never here: async, clocks, randomness, I/O, wire types. A value of these types is valid by construction: whoever
//! holds one need not check it again.

pub mod chaos;
pub mod contract;
pub mod dice;
pub mod drill;
pub mod envelope;
pub mod extension;
pub mod guards;
pub mod halt;
pub mod ids;
pub mod limits;
pub mod name_limits;
pub mod outcome;
pub mod payload;
pub mod plan;
pub mod time;
pub mod trace_ids;
pub mod usage;
