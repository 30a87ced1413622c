//! States, causes and the closed matrix of how a task can end.

use serde::{Deserialize, Serialize};

/// Where a task is in its life. The last five are ends, reached exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)] // Explained word by word in proto/bailiwick/v1/task.proto.
pub enum TaskState {
    Queued,
    Running,
    AwaitingHuman,
    OwnerDecides,
    Succeeded,
    Partial,
    Failed,
    Cancelled,
    DeadLettered,
}

/// Who ended a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum EndedBy {
    Gate,
    Owner,
    Human,
    Fallback,
    Client,
    System,
}

/// Why a task ended, or why its owner or a person was asked. The order is the fixed order in which trips are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum Cause {
    Completed,
    Converged,
    Budget,
    Hops,
    Turns,
    Replans,
    NotConverged,
    Repetition,
    Deadline,
    GateRejected,
    Role,
    AgentFailed,
    PlanFailed,
    NoWorker,
    AttemptsExhausted,
    OwnerUnavailable,
    EscalationExpired,
    Cancelled,
    Halted,
}

impl TaskState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Running,
        Self::AwaitingHuman,
        Self::OwnerDecides,
        Self::Succeeded,
        Self::Partial,
        Self::Failed,
        Self::Cancelled,
        Self::DeadLettered,
    ];

    /// Whether the task has ended.
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled | Self::DeadLettered)
    }
}

impl Cause {
    /// Every cause, in order.
    pub const ALL: [Self; 19] = [
        Self::Completed,
        Self::Converged,
        Self::Budget,
        Self::Hops,
        Self::Turns,
        Self::Replans,
        Self::NotConverged,
        Self::Repetition,
        Self::Deadline,
        Self::GateRejected,
        Self::Role,
        Self::AgentFailed,
        Self::PlanFailed,
        Self::NoWorker,
        Self::AttemptsExhausted,
        Self::OwnerUnavailable,
        Self::EscalationExpired,
        Self::Cancelled,
        Self::Halted,
    ];

    /// Whether the work itself, a guard or the gate stopped the task, so that the owner or a person could be asked.
    pub const fn is_decidable(self) -> bool {
        matches!(
            self,
            Self::Converged
                | Self::Budget
                | Self::Hops
                | Self::Turns
                | Self::Replans
                | Self::NotConverged
                | Self::Repetition
                | Self::Deadline
                | Self::GateRejected
                | Self::Role
                | Self::AgentFailed
                | Self::PlanFailed
                // Of a validator: the work is there, and somebody must judge it. Work without a worker is a dead letter.
                | Self::NoWorker
                | Self::AttemptsExhausted
        )
    }
}

impl EndedBy {
    /// Every one who can end a task.
    pub const ALL: [Self; 6] =
        [Self::Gate, Self::Owner, Self::Human, Self::Fallback, Self::Client, Self::System];
}

/// The closed matrix: whether a task can end in `state`, ended by `by`, for `cause`. The engine asserts it.
pub const fn may_end(state: TaskState, by: EndedBy, cause: Cause) -> bool {
    use Cause as C;
    use EndedBy as B;
    match (state, by) {
        (TaskState::Succeeded, B::Gate) => matches!(cause, C::Completed | C::Converged),
        (TaskState::Succeeded, B::Human) => matches!(cause, C::Completed),
        (TaskState::Partial | TaskState::Failed, B::Owner) => cause.is_decidable(),
        (TaskState::Failed, B::Human) => cause.is_decidable() || matches!(cause, C::OwnerUnavailable),
        (TaskState::Partial | TaskState::Failed, B::Fallback) => {
            cause.is_decidable() || matches!(cause, C::OwnerUnavailable | C::EscalationExpired)
        }
        (TaskState::Cancelled, B::Client) => matches!(cause, C::Cancelled),
        (TaskState::Cancelled, B::System) => matches!(cause, C::Halted),
        (TaskState::DeadLettered, B::System) => matches!(cause, C::NoWorker | C::AttemptsExhausted),
        _ => false,
    }
}
