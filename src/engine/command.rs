//! What can be asked of a task, and what it answers. A command is decided against the state at a given time: the answer
//! is events and a reply, or a rejection and nothing changed.

use std::sync::Arc;

pub use super::too_late::{ClosedQuestion, SettledLetter};
use super::{
    answer_checks::AnswerChecks,
    dead_letter::{Discarded, Redriven, Redrives},
    event::{AttemptEnd, Trip, TurnKind},
    family::ChildReport,
    intake::Violation,
};
use crate::types::{
    contract::{ContractDraft, Convergence},
    envelope::{Answer, Envelope, WorkStep},
    extension::Extension,
    halt::HaltMark,
    ids::{AgentName, AttemptNumber, Lease, Namespace, StepId, TaskId, TurnNumber, WorkerId},
    limits::Ceilings,
    outcome::{Cause, TaskState},
    payload::Payload,
    time::{Span, Timestamp},
    usage::Usage,
};

/// What the engine may ask about agents. The registry is the runtime's; this is its snapshot for one decision.
pub trait Agents {
    /// Whether a worker has ever served it.
    fn is_known(&self, agent: &AgentName) -> bool;
    /// Since when no worker serves it; `None` while one does.
    /// An agent whose circuit is open counts as served by nobody.
    fn away_since(&self, agent: &AgentName) -> Option<Timestamp>;
    /// The agent's circuit, while it is not closed.
    fn circuit(&self, agent: &AgentName) -> Option<Circuit> {
        let _ = agent;
        None
    }
}

/// An agent's circuit that is not closed: too many of its attempts have failed for technical reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circuit {
    /// Since when.
    pub since: Timestamp,
    /// The same with the evidence, in a sentence: "unavailable: circuit open since ..., 5 of the last 5 attempts failed".
    pub reason: String,
}

/// What comes in with every decision.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The time of the decision. Never earlier than that of the last one on the same task.
    pub now: Timestamp,
    /// The agents.
    pub agents: &'a dyn Agents,
}

/// What can be asked of a task that exists.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Lease a ready turn to a worker. `lease` names the turn and its next attempt.
    Assign {
        /// The turn and fresh random bits; the attempt number is filled in by the engine (see the reply's lease).
        lease: Lease,
        /// The worker.
        worker: WorkerId,
    },
    /// Record steps and a partial result.
    Progress {
        /// The lease.
        lease: Lease,
        /// The steps.
        steps: Vec<WorkStep>,
        /// The best result so far.
        partial: Option<Payload>,
    },
    /// Record cumulative usage; accepted under any lease ever granted.
    Usage {
        /// The lease.
        lease: Lease,
        /// Cumulative.
        usage: Usage,
        /// Whether the model had a price; matters only under `max_cost`.
        priced: bool,
    },
    /// Raise the allowance.
    RequestBudget {
        /// The lease.
        lease: Lease,
        /// Tokens beyond the present allowance.
        tokens: u64,
        /// What for; may be empty.
        reason: String,
    },
    /// Answer the turn.
    Complete {
        /// The lease.
        lease: Lease,
        /// The answer.
        answer: Arc<Answer>,
        /// What the checks made off the shard found.
        findings: Findings,
    },
    /// The lease lapsed or was given back.
    EndLease {
        /// The lease.
        lease: Lease,
        /// `LeaseExpired`, `Released` or `Undelivered`.
        end: AttemptEnd,
        /// In a sentence.
        reason: String,
    },
    /// End the task for its client.
    Cancel {
        /// Why.
        reason: String,
    },
    /// End the task for a halt, if it covers it; or if its attempts have been `told` to stop already.
    #[allow(missing_docs)]
    Halt { halt: HaltMark, told: bool },
    /// A person's answer.
    AnswerEscalation {
        /// The question's number.
        number: u32,
        /// The answer.
        answer: HumanAnswer,
        /// Who.
        by: String,
        /// What they noted.
        note: String,
    },
    /// Submit a child.
    StartChild {
        /// The lease of the attempt that submits it.
        lease: Lease,
        /// The child's id: the same for the same name under the same attempt.
        child: TaskId,
        /// Its contract as it came in; what it leaves open is a part of what this task has left.
        draft: Arc<ContractDraft>,
        /// The server's ceilings.
        ceilings: Box<Ceilings>,
        /// Hash of the contract as it came in.
        fingerprint: u128,
    },
    /// A child tells what it used.
    HearChild(Box<ChildReport>),
    /// A turn that is ready waits because its agent's circuit is open. Harmless where it does no more.
    HoldUp {
        /// The turn.
        turn: TurnNumber,
        /// In a sentence.
        reason: String,
    },
    /// Make a successor of a dead letter.
    Redrive(Box<Redriven>),
    /// Say that nothing more is to come of a dead letter.
    Discard(Box<Discarded>),
    /// Look at the clock. Spurious ticks are harmless.
    Tick,
}

/// What the checks made off the shard found against an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Against the result, by the contract's schema and acceptance rules.
    pub result: Vec<String>,
    /// Against the result, by the output schema of the agent itself.
    pub output: Vec<String>,
    /// Against what a directive would give to other agents, by their input schemas.
    pub inputs: Vec<String>,
}

impl From<Vec<String>> for Findings {
    fn from(result: Vec<String>) -> Self {
        Self { result, ..Self::default() }
    }
}

/// What a person can answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HumanAnswer {
    /// Accept the candidate, or go on where there is none.
    Approve,
    /// End SUCCEEDED with this result.
    Amend {
        /// The result.
        result: Payload,
        /// What the check of the result, made off the shard, found against it.
        findings: Vec<String>,
    },
    /// Raise caps and go on.
    Extend {
        /// By how much.
        by: Extension,
        /// What no cap may pass, as the server is configured now.
        ceilings: Box<Ceilings>,
    },
    /// End FAILED.
    Abort,
}

/// What a decided command answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It is done. To `Assign`: the turn could not be funded, and what follows from that is in the events; the slot goes
    /// back.
    Done,
    /// The command was refused, and something is recorded all the same: the usage that came with a result (a fence refuses
    /// results, never usage), or what was due before the command came.
    Refused(Rejection),
    /// The work to send to the worker once durable.
    Assigned(Box<Assignment>),
    /// What a request for budget got.
    Budget {
        /// Tokens granted; 0 is a denial.
        granted: u64,
        /// The allowance now.
        allowance: u64,
        /// Tokens that could still be granted.
        left: u64,
    },
    /// Usage is recorded; the allowance now, 0 when the lease is not live.
    UsageRecorded {
        /// Tokens.
        allowance: u64,
    },
    /// The answer is accepted; or it had been, and nothing changed.
    Completed {
        /// Whether this very answer had been accepted before.
        repeated: bool,
    },
    /// The child is in the journal, to be made as soon as that is durable; or it had been before.
    ChildStarted {
        /// Its number within this task.
        number: u32,
        /// Whether it had been submitted before.
        existing: bool,
    },
    /// The dead letter has this successor, to be made in the same commit unless it was there before.
    Redriven {
        /// The successor.
        successor: TaskId,
        /// What the successor is to know; `None`: this very redrive had been made before.
        begun: Option<Box<Redrives>>,
    },
    /// The dead letter is discarded; or it had been, and nothing changed.
    Discarded {
        /// Whether it had been discarded before.
        already: bool,
    },
    /// The task is cancelled or halted; or it had ended, and nothing changed.
    Cancelled {
        /// Whether it had ended already.
        already_ended: bool,
    },
}

/// Work under a lease, complete but for what only the runtime knows (trace ids).
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // Named as the fields of `Assignment` in proto/bailiwick/v1/worker_service.proto are.
pub struct Assignment {
    pub lease: Lease,
    pub worker: WorkerId,
    pub agent: AgentName,
    pub kind: TurnKind,
    pub goal: String,
    pub input: Option<Payload>,
    pub lineage: Vec<LineageEntry>,
    pub lineage_total: usize,
    pub result_schema: Option<Payload>,
    pub min_confidence: f64,
    pub hops_left: u32,
    pub turns_left: u32,
    pub replans_left: u32,
    pub rounds_left: u32,
    pub convergence: Option<Convergence>,
    pub best_score: Option<f64>,
    pub allowance: u64,
    pub deadline: Timestamp,
    pub step: Option<StepId>,
    pub notes: Vec<String>,
    pub trips: Vec<Trip>,
    pub best_result: Option<Payload>,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub acceptance: Vec<String>,
    pub candidate: Option<Envelope>,
    pub author: Option<AgentName>,
    pub criteria: Vec<String>,
}

/// One envelope of the task's history.
#[derive(Debug, Clone, PartialEq)]
pub struct LineageEntry {
    /// The step's id, or "turn-<n>".
    pub id: String,
    /// The turn; 0 for a step that was skipped before it had one.
    pub turn: TurnNumber,
    /// The agent.
    pub agent: AgentName,
    /// The step.
    pub step: Option<StepId>,
    /// What it answered, or FAILED with the reason.
    pub envelope: Envelope,
}

/// What the runtime must do once the events behind it are durable. Pure data: replaying events makes none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Offer the turn to the dispatcher, from `not_before` on.
    Ready {
        /// The turn.
        turn: TurnNumber,
        /// The agent.
        agent: AgentName,
        /// The kind: decide turns bypass bulkheads.
        kind: TurnKind,
        /// The task's namespace.
        namespace: Namespace,
        /// Higher first.
        priority: u8,
        /// When it may start.
        not_before: Timestamp,
    },
    /// Take the turn back from the dispatcher.
    Withdraw {
        /// The turn.
        turn: TurnNumber,
    },
    /// Tell the worker to stop. A brake: may precede durability.
    Revoke {
        /// The lease.
        lease: Lease,
        /// The worker.
        worker: WorkerId,
        /// How its attempt ended.
        end: AttemptEnd,
        /// Why.
        reason: String,
        /// The cause; `None` where the lease was simply lost.
        cause: Option<Cause>,
    },
    /// The lease is closed by its answer: the dispatcher forgets it.
    Close {
        /// Whether the answer was a technical failure.
        technical: bool,
        /// The lease.
        lease: Lease,
        /// The worker.
        worker: WorkerId,
    },
    /// The task has ended.
    Ended,
    /// Make the child with this number (`Task::birth`), if it is not there yet.
    StartChild {
        /// The number.
        number: u32,
    },
    /// Cancel the child with this number (`Task::stopped_child`).
    CancelChild {
        /// The number.
        number: u32,
    },
    /// Tell the parent what this task used (`Task::report`).
    TellParent,
}

/// A lease that is live, for recovery.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveLease {
    /// The lease.
    pub lease: Lease,
    /// The worker.
    pub worker: WorkerId,
    /// The agent.
    pub agent: AgentName,
    /// The task's namespace.
    pub namespace: Namespace,
    /// The attempt's number within the turn.
    pub attempt: AttemptNumber,
    /// What its answer must be checked against.
    pub checks: AnswerChecks,
}

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such lease was ever granted.
    #[error("no such lease: use the lease of the Assignment, unchanged")]
    LeaseUnknown,
    /// The lease is no longer live.
    #[error("the lease is no longer live ({0}): stop, report its usage, and wait for another assignment")]
    LeaseNotLive(String),
    /// Another answer was accepted under the lease.
    #[error("another answer was accepted under this lease: drop this one")]
    AlreadyAnswered,
    /// A decision on a turn that is no decide turn.
    #[error(
        "this is no decide turn: only the owner decides, on one; answer work with an envelope, a validate turn with a verdict"
    )]
    NotADecideTurn,
    /// A verdict on a turn that is no validate turn.
    #[error("this is no validate turn: answer work with an envelope, a decide turn with a decision")]
    NotAValidateTurn,
    /// The turn is not waiting for a worker.
    #[error("the turn is not ready")]
    TurnNotReady,
    /// No such question.
    #[error("the task has no such question: `bailiwick inbox` lists the open ones")]
    EscalationUnknown,
    /// The question has ended.
    #[error("the question is no longer open: {0}")]
    EscalationClosed(Box<ClosedQuestion>),
    /// The attempt has reported more than it may.
    #[error("the attempt has sent {0}, the most it may: stop reporting and answer the turn")]
    TooManyReports(String),
    /// There is no candidate and nothing to go on with.
    #[error("there is no result to approve: amend with one, extend, abort, or let it expire")]
    NothingToApprove,
    /// The result that was to take the candidate's place does not fit. The question stays open.
    #[error("the amended result does not fit: {}", .0.join("; "))]
    AmendmentRefused(Vec<String>),
    /// Caps cannot be raised like that. The question stays open.
    #[error("the extension cannot be made: {}", sentences(.0))]
    ExtensionRefused(Vec<Violation>),
    /// The task has ended.
    #[error("the task has ended")]
    TaskEnded,
    /// A child under a turn that is not work.
    #[error("only work turns have children: judge or decide, and let the work submit them")]
    ChildNotAllowed,
    /// Too many levels.
    #[error(
        "this task is {depth} levels deep and its limits.max_depth is 0: it may have no children, do the work under this task"
    )]
    DepthExceeded {
        /// Levels above the task.
        depth: u32,
    },
    /// Too many children.
    #[error("all {max} children of limits.max_children have been submitted: do the work under this task")]
    ChildrenExceeded {
        /// The cap.
        max: u32,
    },
    /// Too few tokens.
    #[error(
        "a child of {asked} tokens was asked for, and {left} of this task's are free: ask for at most that, or do the work \
         under this task where it is less than 1000"
    )]
    BudgetTooSmall {
        /// Tokens asked for, or the least there may be.
        asked: u64,
        /// Tokens that are free.
        left: u64,
    },
    /// No turns or no time.
    #[error(
        "{turns} work turns and {time} are left of this task, and a child needs at least 1 turn and 1s: do the work under this \
         task"
    )]
    ParentExhausted {
        /// Work turns that are free.
        turns: u32,
        /// Time until its work must stop.
        time: Span,
    },
    /// The key names another contract under this lease.
    #[error(
        "the idempotency key already names child {0} under this lease, whose contract is another: use a new key"
    )]
    ChildKeyTaken(TaskId, Vec<String>),
    /// Only dead letters are redriven and discarded.
    #[error(
        "the task is {0:?} and no dead letter: only a task that ended DEAD_LETTERED is redriven or discarded"
    )]
    NotADeadLetter(TaskState),
    /// A child is its parent's affair.
    #[error(
        "the task is a child of {parent}, which was told of its end and answers for the work: where the parent still runs, it \
         decides what follows; where it is a dead letter, redrive the parent; else submit the contract as a task of its own"
    )]
    RedriveOfChild {
        /// The parent.
        parent: TaskId,
    },
    /// The dead letter has been redriven or discarded already.
    #[error("{0}")]
    LetterSettled(Box<SettledLetter>),
    /// The child's contract has these faults.
    #[error("the child's contract has {} faults", .0.len())]
    ChildContract(Vec<Violation>),
}

fn sentences(faults: &[Violation]) -> String {
    let each: Vec<_> = faults.iter().map(|fault| format!("{} {}", fault.field, fault.description)).collect();
    each.join("; ")
}
