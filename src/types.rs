//! The domain.

pub mod ids;
pub mod outcome;
pub mod payload;
pub mod time;
