//! Complete: the live lease is answered; then the answer goes its way: to the gate, to its plan, to another agent or to
//! the owner.

use std::sync::Arc;

use super::{Txn, gate::is_plain_success};
use crate::{
    engine::{
        command::{Findings, Rejection, Reply},
        event::{AttemptEnd, Event, TurnKind},
    },
    types::{
        envelope::{Answer, Envelope, Status},
        ids::{Lease, TurnNumber},
        outcome::Cause,
    },
};

impl Txn<'_> {
    pub(super) fn complete(
        &mut self,
        lease: Lease,
        answer: Arc<Answer>,
        findings: Findings,
    ) -> Result<Reply, Rejection> {
        let turn = self.leased_turn(lease)?;
        if let Err(rejection) = self.live_turn(lease) {
            return self.complete_again(lease, &answer, rejection);
        }
        let kind = turn.kind;
        let key = (lease.turn, lease.attempt);
        match (kind, answer.as_ref()) {
            (TurnKind::Work | TurnKind::Validate, Answer::Decision { .. }) => {
                return Err(Rejection::NotADecideTurn);
            }
            (TurnKind::Work | TurnKind::Decide, Answer::Verdict(_)) => {
                return Err(Rejection::NotAValidateTurn);
            }
            (TurnKind::Work | TurnKind::Validate, Answer::Envelope(envelope)) if is_technical(envelope) => {
                let usage = self.task.ledger.charge(key, answer.usage());
                let reason = envelope.reason.clone();
                self.end_attempt(lease, AttemptEnd::Retryable, reason, Some(usage));
                return Ok(Reply::Completed { repeated: false });
            }
            (TurnKind::Work | TurnKind::Decide | TurnKind::Validate, _) => {}
        }
        let inputs = match answer.as_ref() {
            Answer::Envelope(envelope) => self.task.inputs_check(turn, envelope),
            Answer::Decision { .. } | Answer::Verdict(_) => None,
        };
        let Findings { result: findings, output, inputs: input_faults } = findings;
        let output_findings = match answer.as_ref() {
            Answer::Envelope(envelope) if kind == TurnKind::Work && is_plain_success(envelope) => output,
            Answer::Envelope(_) | Answer::Decision { .. } | Answer::Verdict(_) => Vec::new(),
        };
        let charged = self.task.ledger.charge(key, answer.usage());
        let overrun_before = self.task.ledger.overrun();
        self.emit(Event::TurnAnswered {
            turn: lease.turn,
            attempt: lease.attempt,
            answer,
            charged,
            findings,
            output_findings,
            inputs,
        });
        let beyond = self.beyond_budget(lease.turn, overrun_before).filter(|_| kind != TurnKind::Decide);
        if let Some(evidence) = beyond {
            self.trip(Cause::Budget, evidence);
        }
        self.route(lease.turn, kind, input_faults);
        Ok(Reply::Completed { repeated: false })
    }

    /// An answer under a lease that is not live: a harmless repeat, or refused with its usage kept.
    fn complete_again(
        &mut self,
        lease: Lease,
        answer: &Arc<Answer>,
        rejection: Rejection,
    ) -> Result<Reply, Rejection> {
        let turn = self.leased_turn(lease)?;
        if turn.last_key() == (lease.turn, lease.attempt)
            && let Some(accepted) = turn.answer()
        {
            if accepted == answer {
                return Ok(Reply::Completed { repeated: true });
            }
            return Err(Rejection::AlreadyAnswered);
        }
        let known = turn.attempts.iter().any(|attempt| attempt.lease == lease && attempt.is_repeated(answer));
        if let Some(usage) = answer.usage() {
            self.late_usage(lease, usage);
        }
        if known {
            return Ok(Reply::Completed { repeated: true });
        }
        Ok(Reply::Refused(rejection))
    }

    fn route(&mut self, turn: TurnNumber, kind: TurnKind, input_faults: Vec<String>) {
        match kind {
            TurnKind::Decide if !input_faults.is_empty() => return self.refuse_decision(turn, input_faults),
            TurnKind::Decide => return self.decided(turn),
            TurnKind::Validate => return self.validated(turn),
            TurnKind::Work => {}
        }
        if self.task.goes_on(turn) && self.ask_guards(turn) {
            return;
        }
        let Some(state) = self.task.turn(turn) else { return };
        if state.directive().is_some() {
            // What an agent is given fits what it declared, or it is not given to it.
            return if input_faults.is_empty() { self.direct(turn) } else { self.refuse(turn, input_faults) };
        }
        if let Some(step) = state.step {
            // Of what completes a static plan the gate is the judge: nothing is left that the cap could stop.
            if let Some(trip) = self.task.steps_trip(turn)
                && !self.task.completes_static_plan(state, step.step)
            {
                self.note_trip(trip);
            }
            if self.step_output_refused(turn, step.step) {
                return;
            }
            return self.step_answered(turn, step.step);
        }
        match state.envelope().map(|e| (e.status, e.reason.clone())) {
            Some((Status::Success, _)) => self.gate(turn),
            Some((status, reason)) => {
                let agent = &state.agent;
                let evidence = format!("{agent} answered {} on turn {turn}: {reason}", word(status));
                self.trip(Cause::AgentFailed, evidence);
            }
            None => {}
        }
    }
}

fn is_technical(envelope: &Envelope) -> bool {
    envelope.status == Status::Failed && envelope.retryable
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::Success => "success",
        Status::Partial => "partial",
        Status::Failed => "failed",
    }
}
