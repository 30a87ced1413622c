//! Wire to domain and back. The wire types stop here: nothing below this room names them.
//!
//! Every message is destructured field by field, so that a field added to a proto breaks the build until somebody has
//! decided what it means. Never here: decisions, calls to the runtime, anything that waits. Whatever is wrong with a
//! message is collected (`faults`), so that its sender hears of all of it at once.

pub mod answer;
pub(crate) mod chaos;
pub(crate) mod circuit;
pub mod contract;
pub mod dead_letter;
pub mod enums;
pub mod event;
pub mod faults;
pub mod halt;
pub mod plan;
pub mod question;
pub mod record;
pub mod schema;
pub mod session;
pub mod task;
pub mod time;
mod turns;
pub mod value;
pub mod verdict;

/// A count for the wire. Counts are far below the bound; one that is not shows as the greatest there is.
pub(crate) fn int32(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// A length or a number for the wire, as `int32`.
pub(crate) fn length(value: usize) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Tokens or a sequence number for the wire, as `int32`.
pub(crate) fn int64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
