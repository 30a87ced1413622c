//! One turn of a task, as state. Changed only by `apply`.

use std::sync::Arc;

use super::{
    event::{InputsCheck, StepRef, TurnKind},
    view::TurnState,
};
use crate::types::{
    envelope::{Answer, Directive, Envelope, Status, WorkStep},
    ids::{AgentName, AttemptNumber, Lease, StepId, TurnNumber, WorkerId},
    payload::Payload,
    time::Timestamp,
};

/// One invocation of one agent.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) number: TurnNumber,
    pub(super) agent: AgentName,
    pub(super) kind: TurnKind,
    pub(super) step: Option<StepRef>,
    pub(super) step_id: Option<StepId>,
    /// Whether another agent passed control to this one.
    pub(super) by_hand_off: bool,
    pub(super) input: Option<Payload>,
    pub(super) corrections: u32,
    pub(super) notes: Vec<String>,
    /// The turn that a validate turn judges.
    pub(super) judges: Option<TurnNumber>,
    /// Why it waited, if its agent's circuit was open.
    pub(super) held_up: Option<Box<str>>,
    pub(super) opened_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    /// Every attempt that was ever leased, in order; the last one may be live.
    pub(super) attempts: Vec<Attempt>,
    pub(super) stage: Stage,
}

/// Where a turn is, with only what that stage has.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Waits for a worker, since `since` and from `not_before` on.
    Ready { since: Timestamp, not_before: Timestamp },
    /// Its last attempt is live.
    Leased,
    /// Answered, with what was found against it.
    Answered {
        answer: Arc<Answer>,
        /// By the contract's checks.
        findings: Vec<String>,
        /// By the output schema of the agent itself.
        output_findings: Vec<String>,
        inputs: Option<InputsCheck>,
    },
    /// Ended without an answer.
    Closed { reason: String },
}

/// One try of a turn by one worker.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) lease: Lease,
    pub(super) worker: WorkerId,
    /// Why it ended without an answer; empty while live or answered.
    pub(super) ended: String,
    /// Whether it ended by an answer of its own that was marked retryable.
    pub(super) retryable: bool,
    /// Whether no worker ever had it: then it is no try.
    pub(super) undelivered: bool,
    /// What it has reported.
    pub(super) said: Said,
}

/// How much an attempt has said on its way: bounded, because all of it is journalled.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    pub(super) reports: u32,
    pub(super) bytes: u64,
    pub(super) budget_requests: u32,
}

impl Attempt {
    /// Whether the answer is the technical failure that ended this attempt, sent again.
    pub(super) fn is_repeated(&self, answer: &Answer) -> bool {
        match answer {
            Answer::Envelope(envelope) => {
                self.retryable && envelope.retryable && envelope.reason == self.ended
            }
            Answer::Decision { .. } | Answer::Verdict(_) => false,
        }
    }
}

impl Turn {
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. } | Stage::Leased)
    }

    /// The lease that is live, if one is.
    pub(super) fn live(&self) -> Option<&Attempt> {
        match self.stage {
            Stage::Leased => self.attempts.last(),
            Stage::Ready { .. } | Stage::Answered { .. } | Stage::Closed { .. } => None,
        }
    }

    /// The number the next attempt would have.
    pub(super) fn next_attempt(&self) -> AttemptNumber {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX - 1) + 1
    }

    /// How often a worker has really had it.
    pub(super) fn tries(&self) -> usize {
        self.attempts.iter().filter(|attempt| !attempt.undelivered).count()
    }

    /// The key of the last attempt in the ledger.
    pub(super) fn last_key(&self) -> (TurnNumber, AttemptNumber) {
        (self.number, self.next_attempt() - 1)
    }

    pub(super) fn answer(&self) -> Option<&Arc<Answer>> {
        match &self.stage {
            Stage::Answered { answer, .. } => Some(answer),
            Stage::Ready { .. } | Stage::Leased | Stage::Closed { .. } => None,
        }
    }

    pub(super) fn envelope(&self) -> Option<&Envelope> {
        match self.answer()?.as_ref() {
            Answer::Envelope(envelope) => Some(envelope),
            Answer::Decision { .. } | Answer::Verdict(_) => None,
        }
    }

    pub(super) fn directive(&self) -> Option<&Directive> {
        self.envelope()?.directive.as_ref()
    }

    pub(super) fn findings(&self) -> &[String] {
        match &self.stage {
            Stage::Answered { findings, .. } => findings,
            Stage::Ready { .. } | Stage::Leased | Stage::Closed { .. } => &[],
        }
    }

    /// What the agent's own output schema found against the result.
    pub(super) fn output_findings(&self) -> &[String] {
        match &self.stage {
            Stage::Answered { output_findings, .. } => output_findings,
            Stage::Ready { .. } | Stage::Leased | Stage::Closed { .. } => &[],
        }
    }

    /// What the answer said of its inputs.
    pub(super) const fn inputs(&self) -> Option<&InputsCheck> {
        match &self.stage {
            Stage::Answered { inputs, .. } => inputs.as_ref(),
            Stage::Ready { .. } | Stage::Leased | Stage::Closed { .. } => None,
        }
    }

    /// What lineage shows of it: its envelope, or FAILED with the reason it was closed for.
    pub(super) fn lineage_envelope(&self) -> Option<Envelope> {
        match &self.stage {
            Stage::Answered { .. } => self.envelope().cloned(),
            Stage::Closed { reason } => Some(failed_envelope(reason.clone())),
            Stage::Ready { .. } | Stage::Leased => None,
        }
    }

    pub(super) const fn state(&self) -> TurnState {
        match self.stage {
            Stage::Ready { .. } => TurnState::Ready,
            Stage::Leased => TurnState::Leased,
            Stage::Answered { .. } => TurnState::Answered,
            Stage::Closed { .. } => TurnState::Closed,
        }
    }
}

/// What a progress report adds to the journal, in bytes of content.
pub(super) fn progress_bytes(steps: &[WorkStep], partial: Option<&Payload>) -> u64 {
    let steps: usize = steps.iter().map(|step| step.tool.len() + step.content.len()).sum();
    let partial = partial.map_or(0, |partial| partial.as_str().len());
    u64::try_from(steps + partial).unwrap_or(u64::MAX)
}

/// The envelope that stands for work that has none.
pub(super) fn failed_envelope(reason: String) -> Envelope {
    Envelope {
        status: Status::Failed,
        result: None,
        confidence: None,
        reason,
        usage: None,
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    }
}
