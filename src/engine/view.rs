//! What people and clients see of a task. A view is made from state on demand and never read back by a decision.

use serde::{Deserialize, Serialize};

use super::{
    dead_letter::{Discarded, Redriven, Redrives},
    event::{Escalated, EscalationEnd, Extended, InputsCheck, Outcome, TraceContext, Trip, TurnKind},
    family::Parent,
    ledger::LedgerView,
};
use crate::types::{
    contract::{Contract, DefaultAnswer},
    envelope::{Answer, Confidence},
    ids::{AgentName, AttemptNumber, Namespace, StepId, TaskId, TurnNumber, WorkerId},
    outcome::{Cause, EndedBy, TaskState},
    payload::Payload,
    time::Timestamp,
};
use std::{collections::BTreeMap, sync::Arc};

/// Characters of the goal that a summary shows.
pub const GOAL_CHARS: usize = 200;

/// A goal, as far as a line shows it.
pub(super) fn short(goal: &str) -> String {
    let end = goal.char_indices().nth(GOAL_CHARS).map_or(goal.len(), |(at, _)| at);
    goal[..end].to_owned()
}

/// What has been counted over the whole task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)] // Explained in proto/bailiwick/v1/task.proto.
pub struct Counters {
    pub hops: u32,
    pub turns: u32,
    pub replans: u32,
    pub rounds: u32,
    pub attempts: u32,
    pub decides: u32,
    pub escalations: u32,
    pub revisions: u32,
    /// A summary from before there were children has none.
    #[serde(default)]
    pub children: u32,
    #[serde(default)]
    pub steps: u32,
}

/// Trips that were answered together.
#[derive(Debug, Clone, PartialEq)]
pub struct Tripped {
    /// When.
    pub at: Timestamp,
    /// The event's number.
    pub seq: u64,
    /// Every trip, in the order of causes.
    pub trips: Vec<Trip>,
}

/// The best result so far, as the server keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct BestView {
    /// The turn it came with.
    pub turn: TurnNumber,
    /// Its score, 0 to 1.
    pub score: Confidence,
    /// How sure its agent was.
    pub confidence: Confidence,
    /// What stands against it.
    pub findings: Vec<String>,
}

/// A task in a line. Its JSON is `SummaryRow.view`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SummaryView {
    pub task: TaskId,
    pub state: TaskState,
    pub ended_by: Option<EndedBy>,
    pub cause: Option<Cause>,
    pub goal: String,
    pub owner: AgentName,
    pub labels: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub seq: u64,
    pub counters: Counters,
    pub ledger: LedgerView,
    pub agents: Arc<[AgentName]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    #[serde(default, skip_serializing_if = "Namespace::is_default")]
    pub namespace: Namespace,
    /// Whether a child has not been heard of: what it used is still to come, even after the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsettled: bool,
    /// What was done with it, if it is a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<SettledAs>,
}

/// What was done with a dead letter, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SettledAs {
    /// A successor was made of it.
    Redriven,
    /// Nothing more is to come of it.
    Discarded,
}

impl SettledAs {
    pub(super) const fn of(what: &Settled) -> Self {
        match what {
            Settled::Redriven(_) => Self::Redriven,
            Settled::Discarded(_) => Self::Discarded,
        }
    }
}

/// What was done with a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Settled {
    Redriven(Redriven),
    Discarded(Discarded),
}

/// A dead letter, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterView {
    /// What was done with it; `None`: it is open.
    pub settled: Option<Settled>,
    /// When.
    pub at: Option<Timestamp>,
}

/// Where a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TurnState {
    Ready,
    Leased,
    Answered,
    Closed,
}

/// One turn, as it stands.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct TurnView {
    pub turn: TurnNumber,
    pub agent: AgentName,
    pub kind: TurnKind,
    pub state: TurnState,
    pub step: Option<StepId>,
    pub attempts: u32,
    pub worker: Option<WorkerId>,
    pub allowance: u64,
    pub spent: u64,
    pub opened_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub answer: Option<Arc<Answer>>,
    pub notes: Vec<String>,
    /// The turn that a validate turn judges.
    pub judges: Option<TurnNumber>,
    pub inputs: Option<InputsCheck>,
}

/// A task in full.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct TaskView {
    pub summary: SummaryView,
    pub contract: Arc<Contract>,
    pub turns: Vec<TurnView>,
    pub outcome: Option<Outcome>,
    pub best_result: Option<Payload>,
    pub trace: TraceContext,
    pub deadline: Timestamp,
    pub parent: Option<Parent>,
    pub children: Vec<ChildView>,
    pub tripped: Vec<Tripped>,
    pub best: Option<BestView>,
    pub redrives: Option<Redrives>,
    pub dead_letter: Option<DeadLetterView>,
}

/// A child, as its parent's account has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Named as the fields of `Child` in proto/bailiwick/v1/task.proto.
pub struct ChildView {
    pub child: TaskId,
    pub number: u32,
    pub turn: TurnNumber,
    pub attempt: AttemptNumber,
    pub goal: String,
    pub state: Option<TaskState>,
    pub open: bool,
    pub tokens: u64,
    pub reserved: u64,
    pub spent: u64,
    pub hops: u32,
    pub turns: u32,
    pub started_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub reason: String,
}

/// A question. Its JSON is `EscalationRow.view`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct EscalationView {
    pub task: TaskId,
    pub goal: String,
    pub asked: Escalated,
    pub asked_at: Timestamp,
    pub default_answer: DefaultAnswer,
    /// `None` while open.
    pub end: Option<EscalationEnd>,
    pub by: String,
    pub note: String,
    pub ended_at: Option<Timestamp>,
    /// The task's labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The result that a person put in the candidate's place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
    /// What a person added to the caps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended: Option<Extended>,
}
