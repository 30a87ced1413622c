//! Complete: the live lease is answered; then the answer goes its way: to the gate, to its plan, to another agent or to
//! the owner.

use std::sync::Arc;

use super::{Opening, Txn};
use crate::{
    engine::{
        command::{Rejection, Reply},
        event::{AttemptEnd, Event, InputFrom, TurnKind},
    },
    types::{
        envelope::{Answer, Envelope, Status},
        ids::{Lease, TurnNumber},
        outcome::{Cause, EndedBy, TaskState},
    },
};

impl Txn<'_> {
    pub(super) fn complete(
        &mut self,
        lease: Lease,
        answer: Arc<Answer>,
        findings: Vec<String>,
    ) -> Result<Reply, Rejection> {
        let turn = self.leased_turn(lease)?;
        if let Err(rejection) = self.live_turn(lease) {
            return self.complete_again(lease, &answer, rejection);
        }
        let kind = turn.kind;
        let key = (lease.turn, lease.attempt);
        match (kind, answer.as_ref()) {
            (TurnKind::Work, Answer::Decision { .. }) => return Err(Rejection::NotADecideTurn),
            (TurnKind::Work, Answer::Envelope(envelope)) if is_technical(envelope) => {
                let usage = self.task.ledger.charge(key, answer.usage());
                let reason = envelope.reason.clone();
                self.end_attempt(lease, AttemptEnd::Retryable, reason, Some(usage));
                return Ok(Reply::Completed { repeated: false });
            }
            (TurnKind::Work | TurnKind::Decide, _) => {}
        }
        let charged = self.task.ledger.charge(key, answer.usage());
        let overrun_before = self.task.ledger.overrun();
        self.emit(Event::TurnAnswered {
            turn: lease.turn,
            attempt: lease.attempt,
            answer,
            charged,
            findings,
        });
        let beyond = self.beyond_budget(lease.turn, overrun_before).filter(|_| kind == TurnKind::Work);
        if let Some(evidence) = beyond {
            self.trip(Cause::Budget, evidence);
        }
        self.route(lease.turn, kind);
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

    fn route(&mut self, turn: TurnNumber, kind: TurnKind) {
        if kind == TurnKind::Decide {
            return self.decided(turn);
        }
        let Some(state) = self.task.turn(turn) else { return };
        if state.directive().is_some() {
            return self.direct(turn);
        }
        if let Some(step) = state.step {
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

    /// The gate: nothing ends as success except through here or a person.
    pub(super) fn gate(&mut self, turn: TurnNumber) {
        let Some(state) = self.task.turn(turn).filter(|_| !self.has_tripped()) else { return };
        let Some(envelope) = state.envelope() else { return };
        let gate = &self.task.contract.gate;
        let mut findings = Vec::new();
        let confidence = envelope.confidence.unwrap_or_default();
        if confidence < gate.min_confidence {
            findings.push(format!(
                "confidence {} is below min_confidence {}",
                confidence.get(),
                gate.min_confidence.get()
            ));
        }
        if envelope.result.is_none() && self.task.contract.result_schema.is_some() {
            findings.push("there is no result, and the contract has a result_schema".to_owned());
        }
        findings.extend_from_slice(state.findings());
        let (agent, result) = (state.agent.clone(), envelope.result.clone());
        let passed = findings.is_empty();
        self.emit(Event::GateJudged { turn, passed, findings: findings.clone() });
        if passed {
            let story = format!("the gate let the answer of {agent} on turn {turn} pass");
            let result = result.map(|result| (result, Vec::new()));
            let cause = if self.task.is_draft(turn) { Cause::Converged } else { Cause::Completed };
            return self.end(TaskState::Succeeded, EndedBy::Gate, cause, result, story);
        }
        self.gate_refused(turn, findings);
    }

    /// A refusal goes back as a revision turn with the exact reasons, capped; then to a person; then to the owner.
    fn gate_refused(&mut self, turn: TurnNumber, findings: Vec<String>) {
        let evidence = format!("the gate refused turn {turn}: {}", findings.join("; "));
        if self.task.is_draft(turn) {
            return self.draft_refused(evidence);
        }
        let Some(state) = self.task.turn(turn) else { return };
        if self.task.counters.revisions < self.task.contract.gate.max_revisions {
            let opening = Opening {
                revision: true,
                notes: findings.iter().map(|f| format!("the gate refused your last answer: {f}")).collect(),
                ..Opening::new(state.agent.clone(), InputFrom::Same(turn))
            };
            return self.open_work(opening);
        }
        let (candidate, confidence) =
            state.envelope().map_or((None, None), |e| (e.result.clone(), e.confidence));
        if candidate.is_some() && self.may_escalate() {
            let question = format!("Accept this result? {evidence}");
            return self.escalate(turn, question, Some(Cause::GateRejected), candidate, confidence, findings);
        }
        self.trip(Cause::GateRejected, evidence);
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
