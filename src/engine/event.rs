//! What the journal says. Events are facts: they carry figures, never rules, so that a later engine replays them to the
//! same state. Never remove or change a field; add with a default and raise `VERSION`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use super::room::{Extended, Room, Used};
pub use super::trip::{Pattern, Trip, TripScope};
use super::{
    dead_letter::{Discarded, Redriven, Redrives},
    family::{ChildEnded, ChildReport, ChildStarted, Parent},
    ledger::LedgerView,
};
use crate::types::{
    contract::Contract,
    envelope::{Answer, Confidence, WorkStep},
    halt::HaltMark,
    ids::{AgentName, AttemptNumber, Lease, StepId, TurnNumber, WorkerId},
    outcome::{Cause, EndedBy, TaskState},
    payload::Payload,
    plan::Plan,
    time::Timestamp,
    usage::Usage,
};

/// Version of the JSON encoding below.
pub const VERSION: u16 = 3;

/// An event with its number and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Number within the task, from 1.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// One durable fact about a task. Explained, in the same words, in proto/bailiwick/v1/event.proto.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Event {
    Submitted {
        contract: Arc<Contract>,
        /// Hash of the contract as it came in, before defaults: what an idempotency key is compared on.
        fingerprint: u128,
        #[serde(default)]
        trace: TraceContext,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Box<Parent>>,
        /// The dead letter that it was made of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        redrives: Option<Box<Redrives>>,
    },
    TurnOpened {
        turn: TurnNumber,
        agent: AgentName,
        kind: TurnKind,
        input: InputFrom,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepRef>,
        /// Corrections in a row that led here.
        #[serde(default, skip_serializing_if = "is_zero")]
        corrections: u32,
        /// Whether it is a revision turn.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        revision: bool,
        /// Whether the owner's decision to go on with this agent counts as a re-plan.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replan: bool,
        /// Whether it is a fallback's turn of a step whose agent has failed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fallback: bool,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
        /// The turn that a validate turn judges.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        judges: Option<TurnNumber>,
    },
    AttemptStarted {
        turn: TurnNumber,
        attempt: AttemptNumber,
        lease: Lease,
        worker: WorkerId,
        allowance: u64,
        /// Tokens that a plan's hold was raised by to fund this attempt (a retry beyond the plan's sum).
        #[serde(default, skip_serializing_if = "is_zero_u64")]
        hold_raised: u64,
        /// Whether a validate turn is paid from its half of the finalization reserve.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        from_reserve: bool,
    },
    Progressed {
        turn: TurnNumber,
        attempt: AttemptNumber,
        steps: Vec<WorkStep>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partial: Option<Payload>,
    },
    UsageRecorded {
        turn: TurnNumber,
        attempt: AttemptNumber,
        /// Cumulative.
        usage: Usage,
    },
    BudgetAnswered {
        turn: TurnNumber,
        attempt: AttemptNumber,
        asked: u64,
        granted: u64,
        allowance: u64,
        left: u64,
        /// What for, as the worker said.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    TurnAnswered {
        turn: TurnNumber,
        attempt: AttemptNumber,
        answer: Arc<Answer>,
        /// What the attempt is charged with in all.
        charged: Usage,
        /// What the contract's checks (schema, rules) found against the result.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        findings: Vec<String>,
        /// What the agent's own output schema found against it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        output_findings: Vec<String>,
        /// What the answer said of its inputs, where there is something to say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inputs: Option<InputsCheck>,
    },
    AttemptEnded {
        turn: TurnNumber,
        attempt: AttemptNumber,
        end: AttemptEnd,
        reason: String,
        /// Why the server revoked it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<Cause>,
        /// Final usage, where the attempt's own answer said it (retryable failures). Absent: it stays charged in full until
        /// it is heard of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
        /// When the turn may have another attempt. Absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    TurnClosed {
        turn: TurnNumber,
        cause: Cause,
        reason: String,
    },
    HandedOff {
        turn: TurnNumber,
        from: AgentName,
        to: AgentName,
        hop: u32,
    },
    PlanStarted {
        number: u32,
        /// The turn that delegated it; 0 for the contract's static plan.
        planner_turn: TurnNumber,
        plan: Arc<Plan>,
        held: u64,
        kind: PlanKind,
    },
    StepEnded {
        plan: u32,
        step: usize,
        id: StepId,
        end: StepEnd,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        /// Whether it failed and the plan goes on without it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        optional: bool,
    },
    PlanEnded {
        number: u32,
        succeeded: bool,
        released: u64,
    },
    DirectiveRefused {
        turn: TurnNumber,
        reasons: Vec<String>,
    },
    GateJudged {
        turn: TurnNumber,
        passed: bool,
        findings: Vec<String>,
        /// What judged.
        #[serde(default)]
        check: GateCheck,
        /// The turn in which the validator judged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        validate_turn: Option<TurnNumber>,
    },
    GuardsTripped {
        trips: Vec<Trip>,
    },
    Escalated(Box<Escalated>),
    EscalationEnded {
        number: u32,
        end: EscalationEnd,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
        /// The result that a person put in the place of the candidate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<Payload>,
    },
    /// A person has raised caps of the contract.
    Extended(Box<Extended>),
    Ended {
        outcome: Box<Outcome>,
        ledger: Box<LedgerView>,
    },
    /// Usage after the end. Follows `Ended`, as the two below that say what was done with a dead letter; nothing else does.
    LateUsage {
        turn: TurnNumber,
        attempt: AttemptNumber,
        usage: Usage,
        /// The child that it is about, submitted by the attempt, with its whole account.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        child: Option<Box<ChildReport>>,
    },
    /// A successor was made of a dead letter.
    Redriven(Box<Redriven>),
    /// Nothing more is to come of a dead letter.
    Discarded(Box<Discarded>),
    ChildStarted(Box<ChildStarted>),
    ChildEnded(Box<ChildEnded>),
    /// A halt ends the task: `Ended` follows.
    Halted(Box<HaltMark>),
    /// A turn waits because its agent's circuit is open; or its step was passed on to a fallback for that.
    TurnHeldUp {
        turn: TurnNumber,
        reason: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passed_to: Option<AgentName>,
    },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference.
fn is_zero(value: &u32) -> bool {
    *value == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

impl Event {
    /// Whether it may follow the outcome: what was used, or what was done with a dead letter. It changes no outcome.
    pub const fn may_follow_the_end(&self) -> bool {
        matches!(self, Self::LateUsage { .. } | Self::Redriven(_) | Self::Discarded(_))
    }

    /// The kind, as the journal names it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::TurnOpened { .. } => "turn_opened",
            Self::AttemptStarted { .. } => "attempt_started",
            Self::Progressed { .. } => "progressed",
            Self::UsageRecorded { .. } => "usage_recorded",
            Self::BudgetAnswered { .. } => "budget_answered",
            Self::TurnAnswered { .. } => "turn_answered",
            Self::AttemptEnded { .. } => "attempt_ended",
            Self::TurnClosed { .. } => "turn_closed",
            Self::HandedOff { .. } => "handed_off",
            Self::PlanStarted { .. } => "plan_started",
            Self::StepEnded { .. } => "step_ended",
            Self::PlanEnded { .. } => "plan_ended",
            Self::DirectiveRefused { .. } => "directive_refused",
            Self::GateJudged { .. } => "gate_judged",
            Self::GuardsTripped { .. } => "guards_tripped",
            Self::Escalated(_) => "escalated",
            Self::EscalationEnded { .. } => "escalation_ended",
            Self::Extended(_) => "extended",
            Self::Ended { .. } => "ended",
            Self::LateUsage { .. } => "late_usage",
            Self::Redriven(_) => "redriven",
            Self::Discarded(_) => "discarded",
            Self::ChildStarted(_) => "child_started",
            Self::ChildEnded(_) => "child_ended",
            Self::Halted(_) => "halted",
            Self::TurnHeldUp { .. } => "turn_held_up",
        }
    }
}

/// The W3C trace context that came with the submission.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TraceContext {
    /// `traceparent`, if it came and was well formed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// `tracestate`, if it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
}

/// What kind of invocation a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TurnKind {
    /// Work on the task.
    Work,
    /// The owner decides.
    Decide,
    /// A validator judges a result.
    Validate,
}

/// What judged a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GateCheck {
    /// The contract's own: confidence, schema, rules.
    #[default]
    Rules,
    /// The output schema of the agent that answered.
    OutputSchema,
    /// The validator.
    Validator,
}

/// What an answer said of the inputs it had.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InputsCheck {
    /// Dependencies it did not name, though it named others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
    /// Names that are no lineage entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// It had dependencies and named nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_said: bool,
}

/// Where a turn's input comes from: a reference, so that the journal holds every payload once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputFrom {
    /// The contract's input.
    Contract,
    /// The step's input.
    Step,
    /// The hand-off or re-plan in the answer of this turn.
    AnswerOf(TurnNumber),
    /// The same input as this turn had.
    Same(TurnNumber),
}

/// A step of a plan of the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StepRef {
    /// The plan's number within the task, from 1.
    pub plan: u32,
    /// The step's index within the plan.
    pub step: usize,
}

/// What a delegation counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PlanKind {
    /// The contract's own plan: counts as neither.
    Static,
    /// The first delegation, or one after a plan that succeeded.
    Round,
    /// After a failure or a refusal, or decided by the owner.
    Replan,
}

/// Why an attempt ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AttemptEnd {
    /// Its worker was not heard of for the lease time.
    LeaseExpired,
    /// Its worker gave it back, or came back without it.
    Released,
    /// It failed in a way marked retryable.
    Retryable,
    /// The server revoked it.
    Revoked,
    /// Its worker went away before the work could be sent: nobody ever had it, so it costs nothing and is no try.
    Undelivered,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum StepEnd {
    Success,
    Partial,
    Failed,
    Skipped,
    Cancelled,
}

impl StepEnd {
    /// Whether dependents may run.
    pub const fn satisfies(self) -> bool {
        matches!(self, Self::Success | Self::Partial)
    }
}

/// A question to a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Escalated {
    /// Number within the task, from 1.
    pub number: u32,
    /// The turn that led to it; 0: none.
    pub turn: TurnNumber,
    /// The question.
    pub question: String,
    /// Why a person is asked; `None`: an agent asked by itself.
    pub cause: Option<Cause>,
    /// The result that approval makes the outcome; `None`: approval means "go on".
    pub candidate: Option<Payload>,
    /// The candidate's confidence.
    pub confidence: Option<Confidence>,
    /// What the gate found against the candidate.
    pub findings: Vec<String>,
    /// When the default answer applies.
    pub expires_at: Timestamp,
    /// What had happened until then, a line each, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<String>,
    /// What had been used of every cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room>,
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[allow(missing_docs)]
pub enum EscalationEnd {
    Approved,
    Aborted,
    Expired,
    Withdrawn,
    Amended,
    Extended,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The end state.
    pub state: TaskState,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// Why.
    pub cause: Cause,
    /// The result that passed, or the best so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
    /// The story in a sentence.
    pub reason: String,
    /// What stands against the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
}
