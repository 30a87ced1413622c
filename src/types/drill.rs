//! The drill of the human path: how its tasks are known, and how long one counts.

use super::{
    ids::TaskId,
    time::{Span, Timestamp},
};

/// Label keys that begin so are the server's own: a contract may carry none but [`LABEL`], on a drill.
pub const RESERVED_PREFIX: &str = "bailiwick/";
/// The label of a drill.
pub const LABEL: &str = "bailiwick/drill";
/// Its value.
pub const LABEL_VALUE: &str = "true";
/// The agent that drills: first agent and owner of every drill, and of nothing else by custom.
pub const AGENT: &str = "bailiwick-drill";
/// How long a drill counts.
pub const COUNTS_FOR: Span = Span::from_secs(90 * 86_400);

/// A drill that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    /// Its task.
    pub task: TaskId,
    /// When the question was asked.
    pub asked_at: Timestamp,
    /// Who answered, and when; `None`: nobody did.
    pub answered: Option<DrillAnswer>,
}

/// That a person answered a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillAnswer {
    /// Who, as they said.
    pub by: String,
    /// When.
    pub at: Timestamp,
}
