//! Assign: a ready turn meets a worker. The allowance is reserved before the lease is granted.

use super::Txn;
use crate::{
    engine::{
        command::{Assignment, Rejection, Reply},
        event::{Event, TurnKind},
        task::Task,
        turn::{Stage, Turn},
    },
    types::{
        ids::{Lease, TurnNumber, WorkerId},
        limits::fixed::RECENT_LINEAGE,
        outcome::Cause,
    },
};

impl Txn<'_> {
    pub(super) fn assign(&mut self, lease: Lease, worker: WorkerId) -> Result<Reply, Rejection> {
        let now = self.env.now;
        let turn = self.task.turn(lease.turn).ok_or(Rejection::TurnNotReady)?;
        let Stage::Ready { not_before, .. } = turn.stage else { return Err(Rejection::TurnNotReady) };
        if self.task.is_ended() || now < not_before {
            return Err(Rejection::TurnNotReady);
        }
        let attempt = turn.next_attempt();
        let number = turn.number;
        let funding = match self.task.funding(turn) {
            Ok(funding) => funding,
            Err(short) => {
                self.unfunded(number, &short);
                return Ok(Reply::Done);
            }
        };
        let lease = Lease { attempt, ..lease };
        self.emit(Event::AttemptStarted {
            turn: number,
            attempt,
            lease,
            worker,
            allowance: funding.allowance,
            hold_raised: funding.raise_hold,
            from_reserve: funding.from_reserve,
        });
        let assignment = self.task.assignment(number).expect("the attempt just started is live");
        Ok(Reply::Assigned(Box::new(assignment)))
    }

    /// A turn that waited cannot be paid for any more. If what is missing hangs on attempts that vanished, the cause is
    /// technical, not BUDGET.
    fn unfunded(&mut self, turn: TurnNumber, short: &str) {
        let technical = self.task.turn(turn).is_some_and(|t| {
            !t.attempts.is_empty() || (t.step.is_none() && self.task.is_short_by_vanished(&t.agent))
        });
        if technical || self.task.open_decide().is_some() {
            let reason =
                format!("no further attempt can be funded while vanished ones stay charged: {short}");
            return self.give_up(turn, Cause::AttemptsExhausted, reason);
        }
        let is_alone = self.task.turn(turn).is_some_and(|t| t.step.is_some() || t.kind == TurnKind::Validate);
        if is_alone {
            self.give_up(turn, Cause::Budget, short.to_owned());
        } else {
            self.trip(Cause::Budget, short.to_owned());
        }
    }
}

impl Task {
    /// The assignment of a turn whose last attempt is live.
    pub(super) fn assignment(&self, number: TurnNumber) -> Option<Assignment> {
        let turn = self.turn(number)?;
        let live = turn.live()?;
        let limits = &self.contract.limits;
        let decides = turn.kind == TurnKind::Decide;
        let judged = turn.judges.and_then(|judged| self.turn(judged));
        let (lineage, lineage_total) = self.lineage_for(turn, RECENT_LINEAGE);
        Some(Assignment {
            lease: live.lease,
            worker: live.worker.clone(),
            agent: turn.agent.clone(),
            kind: turn.kind,
            goal: self.contract.goal.clone(),
            input: turn.input.clone(),
            lineage,
            lineage_total,
            result_schema: self.contract.result_schema.clone(),
            min_confidence: self.contract.gate.min_confidence.get(),
            hops_left: limits.max_hops - self.counters.hops,
            turns_left: limits.max_turns - self.counters.turns,
            replans_left: limits.max_replans - self.counters.replans,
            rounds_left: limits.max_rounds - self.counters.rounds,
            convergence: self.contract.convergence,
            best_score: self.best.as_ref().map(|best| best.score.get()),
            allowance: self.ledger.allowance(turn.last_key()),
            deadline: self.turn_deadline(turn),
            step: turn.step_id.clone(),
            notes: turn.notes.clone(),
            trips: if decides { self.trips.clone() } else { Vec::new() },
            best_result: if decides { self.best.as_ref().map(|b| b.result.clone()) } else { None },
            traceparent: self.trace.traceparent.clone(),
            tracestate: self.trace.tracestate.clone(),
            acceptance: self.contract.acceptance.clone(),
            candidate: judged.and_then(|judged| judged.envelope().cloned()),
            author: judged.map(|judged| judged.agent.clone()),
            criteria: if judged.is_some() { self.criteria() } else { Vec::new() },
        })
    }

    /// When an answer to the turn comes too late, as the clock stands.
    pub(super) fn turn_deadline(&self, turn: &Turn) -> crate::types::time::Timestamp {
        let at = self.updated_at;
        match turn.kind {
            TurnKind::Work => self.work_deadline_at(at),
            TurnKind::Validate => self.validate_deadline_at(at),
            TurnKind::Decide => {
                turn.opened_at.plus(self.contract.limits.decide_timeout).min(self.deadline_at(at))
            }
        }
    }

    /// Whether the answer to a turn can become the outcome, so that its result must pass the contract's checks.
    pub(in crate::engine) fn can_become_outcome(&self, turn: &Turn) -> bool {
        match turn.step {
            None => turn.kind != TurnKind::Validate,
            Some(step) => self
                .running_plan()
                .is_some_and(|p| p.planner_turn == 0 && p.plan.result_step == Some(step.step)),
        }
    }
}
