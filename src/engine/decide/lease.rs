//! Attempts that end without an answer: lapsed, given back, or failed in a way worth another try. Technical failures only;
//! an agent's own failure is never retried.

use super::Txn;
use crate::{
    engine::{
        command::{Rejection, Reply},
        event::{AttemptEnd, Event, TurnKind},
        turn::Turn,
    },
    types::{
        ids::{Lease, TurnNumber},
        outcome::{Cause, EndedBy, TaskState},
        time::{Span, Timestamp},
        usage::Usage,
    },
};

impl Txn<'_> {
    pub(super) fn end_lease(
        &mut self,
        lease: Lease,
        end: AttemptEnd,
        reason: String,
    ) -> Result<Reply, Rejection> {
        self.live_turn(lease)?;
        // What never reached a worker was not used.
        let usage = (end == AttemptEnd::Undelivered).then(Usage::default);
        self.end_attempt(lease, end, reason, usage);
        Ok(Reply::Done)
    }

    /// Ends the live attempt of a lease; the turn waits for another one or is given up.
    pub(super) fn end_attempt(
        &mut self,
        lease: Lease,
        end: AttemptEnd,
        reason: String,
        usage: Option<Usage>,
    ) {
        let Some(state) = self.task.turn(lease.turn) else { return };
        let tries = state.tries() - usize::from(end == AttemptEnd::Undelivered);
        let tries_left =
            tries < usize::try_from(self.task.contract.limits.max_attempts).unwrap_or(usize::MAX);
        let retry_at = tries_left.then(|| self.retry_at(state));
        let overrun_before = self.task.ledger.overrun();
        self.emit(Event::AttemptEnded {
            turn: lease.turn,
            attempt: lease.attempt,
            end,
            reason: reason.clone(),
            cause: None,
            usage,
            retry_at,
        });
        // A failure that overspent is no longer a technical matter.
        let beyond = usage.and_then(|_| self.beyond_budget(lease.turn, overrun_before));
        if let Some(evidence) = beyond {
            return self.trip(Cause::Budget, evidence);
        }
        if retry_at.is_none() {
            let story = format!("{tries} attempts failed, the last one: {reason}");
            return self.give_up(lease.turn, Cause::AttemptsExhausted, story);
        }
        // Asked now rather than when a worker comes: what cannot be funded need not wait.
        let short = self.task.turn(lease.turn).and_then(|turn| self.task.funding(turn).err());
        if let Some(short) = short {
            let story = format!("no further attempt can be funded while vanished ones stay charged: {short}");
            self.give_up(lease.turn, Cause::AttemptsExhausted, story);
        }
    }

    /// Exponential backoff; none for the owner's decision, whose time is short.
    fn retry_at(&self, turn: &Turn) -> Timestamp {
        let retry = &self.task.contract.retry;
        let wait = match turn.kind {
            TurnKind::Decide => Span::ZERO,
            TurnKind::Work | TurnKind::Validate => {
                let doublings = u32::try_from(turn.attempts.len().saturating_sub(1)).unwrap_or(20).min(20);
                retry.initial_backoff.times(1 << doublings).min(retry.max_backoff)
            }
        };
        self.env.now.plus(wait)
    }

    /// A turn that no attempt will answer: its step falls back or fails, the fallback decides, or the task is a dead letter.
    pub(super) fn give_up(&mut self, turn: TurnNumber, cause: Cause, reason: String) {
        let Some(state) = self.task.turn(turn) else { return };
        let (kind, step, agent) = (state.kind, state.step, state.agent.clone());
        let judged = state.judges;
        self.close_turn(turn, cause, &reason);
        match (kind, step) {
            (TurnKind::Decide, _) => self.fall_back(format!("the owner {agent} did not decide: {reason}")),
            (TurnKind::Validate, _) => {
                let reason = format!("the validator {agent} gave no verdict: {reason}");
                self.unjudged(judged.unwrap_or_default(), cause, reason);
            }
            (TurnKind::Work, Some(_)) => self.step_agent_failed(turn, &reason),
            (TurnKind::Work, None) => {
                let story = format!("turn {turn} of {agent}: {reason}");
                self.end(TaskState::DeadLettered, EndedBy::System, cause, None, story);
            }
        }
    }
}
