//! The gate: nothing ends as success except through here or a person. First what the server can check itself, then the
//! validator, then, for a share of results, a person. What is refused goes back to its author with the exact reasons. Never
//! here: a check that costs time; what those found is in the answer's event.

use super::{Opening, Txn};
use crate::{
    engine::{
        event::{Event, GateCheck, InputFrom, TurnKind},
        task::Task,
        turn::Turn,
    },
    types::{
        envelope::{Answer, Envelope, Judgement, Status, Verdict},
        ids::{AgentName, TaskId, TurnNumber},
        outcome::{Cause, EndedBy, TaskState},
    },
};

impl Txn<'_> {
    /// Judges the result of a turn that speaks for the task.
    pub(super) fn gate(&mut self, turn: TurnNumber) {
        let Some(state) = self.task.turn(turn).filter(|_| !self.has_tripped()) else { return };
        let Some(envelope) = state.envelope() else { return };
        let mut findings = self.task.standing_against(state, envelope);
        let check = if findings.is_empty() { GateCheck::OutputSchema } else { GateCheck::Rules };
        findings.extend_from_slice(state.output_findings());
        if !findings.is_empty() {
            self.judged(turn, findings.clone(), check, None);
            return self.gate_refused(turn, findings);
        }
        match self.task.contract.gate.validator.clone() {
            Some(validator) => self.open_validate(validator, turn),
            None => {
                self.judged(turn, Vec::new(), GateCheck::Rules, None);
                self.passed(turn);
            }
        }
    }

    fn judged(
        &mut self,
        turn: TurnNumber,
        findings: Vec<String>,
        check: GateCheck,
        validate_turn: Option<TurnNumber>,
    ) {
        let passed = findings.is_empty();
        self.emit(Event::GateJudged { turn, passed, findings, check, validate_turn });
    }

    /// A step's own answer against the output schema of its agent: `true` where it goes back for a revision or the step has
    /// failed.
    pub(super) fn step_output_refused(&mut self, turn: TurnNumber, step: usize) -> bool {
        let Some(state) = self.task.turn(turn) else { return false };
        let findings = state.output_findings().to_vec();
        let agent = state.agent.clone();
        if findings.is_empty() {
            return false;
        }
        self.judged(turn, findings.clone(), GateCheck::OutputSchema, None);
        let is_revisable = self.task.counters.revisions < self.task.contract.gate.max_revisions;
        if is_revisable && self.ask_guards(turn) {
            return true;
        }
        if !self.revise(turn, &findings) {
            let reason = format!(
                "{agent} answered what does not fit its own output_schema, and revisions are used up: {}",
                findings.join("; ")
            );
            self.step_failed(step, reason);
        }
        true
    }

    /// Opens a revision turn for the author with the exact reasons; `false` where revisions are used up.
    fn revise(&mut self, turn: TurnNumber, findings: &[String]) -> bool {
        let Some(state) = self.task.turn(turn) else { return false };
        if self.task.counters.revisions >= self.task.contract.gate.max_revisions {
            return false;
        }
        let step = state.step.filter(|_| self.task.is_running_step(state));
        let opening = Opening {
            revision: true,
            step,
            notes: findings.iter().map(|f| format!("the gate refused your last answer: {f}")).collect(),
            ..Opening::new(state.agent.clone(), InputFrom::Same(turn))
        };
        self.open_work(opening);
        true
    }

    /// A refusal goes back as a revision turn, capped; then to a person; then to the owner.
    fn gate_refused(&mut self, turn: TurnNumber, findings: Vec<String>) {
        let evidence = format!("the gate refused turn {turn}: {}", findings.join("; "));
        if self.task.is_draft(turn) {
            return self.draft_refused(evidence);
        }
        if self.task.counters.revisions < self.task.contract.gate.max_revisions {
            self.ask_guards(turn);
        }
        if self.has_tripped() {
            return self.trip(Cause::GateRejected, evidence);
        }
        if self.revise(turn, &findings) {
            return;
        }
        self.ask_about(turn, Cause::GateRejected, evidence, findings);
    }

    /// Puts the result of a turn to a person; where nobody can be asked, the owner decides.
    fn ask_about(&mut self, turn: TurnNumber, cause: Cause, evidence: String, findings: Vec<String>) {
        let envelope = self.task.turn(turn).and_then(Turn::envelope);
        let (candidate, confidence) = envelope.map_or((None, None), |e| (e.result.clone(), e.confidence));
        if candidate.is_some() && self.may_escalate() {
            let question = format!("Accept this result? {evidence}");
            return self.escalate(turn, question, Some(cause), candidate, confidence, findings);
        }
        self.trip(cause, evidence);
    }

    fn open_validate(&mut self, validator: AgentName, judged: TurnNumber) {
        let Some(author) = self.task.turn(judged).map(|t| t.agent.clone()) else { return };
        if author == validator {
            let reason = format!("{validator} would have to judge its own answer");
            return self.unjudged(judged, Cause::Role, reason);
        }
        if let Err(short) = self.task.validate_funding(&validator) {
            return self.unjudged(judged, Cause::Budget, format!("the validator cannot be paid: {short}"));
        }
        let turn = self.next_turn();
        self.emit(Event::TurnOpened {
            turn,
            agent: validator,
            kind: TurnKind::Validate,
            input: InputFrom::Same(judged),
            step: None,
            corrections: 0,
            revision: false,
            replan: false,
            fallback: false,
            notes: vec![format!("judge the answer of {author} on turn {judged}")],
            judges: Some(judged),
        });
    }

    /// A result that passed everything else was not judged by its validator: a person does it, or the owner decides.
    pub(super) fn unjudged(&mut self, judged: TurnNumber, cause: Cause, reason: String) {
        let evidence = format!("the result of turn {judged} was not validated: {reason}");
        self.ask_about(judged, cause, evidence, Vec::new());
    }

    /// A validate turn was answered.
    pub(super) fn validated(&mut self, turn: TurnNumber) {
        let Some(state) = self.task.turn(turn) else { return };
        let (judged, validator) = (state.judges.unwrap_or_default(), state.agent.clone());
        let verdict = match state.answer().map(std::convert::AsRef::as_ref) {
            Some(Answer::Verdict(verdict)) => verdict.clone(),
            Some(Answer::Envelope(Envelope { reason, .. })) => {
                let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                let reason = format!("{validator} answered with an envelope instead of a verdict{why}");
                return self.unjudged(judged, Cause::Role, reason);
            }
            Some(Answer::Decision { .. }) | None => return,
        };
        let findings = objections(&validator, &verdict);
        self.judged(judged, findings.clone(), GateCheck::Validator, Some(turn));
        if findings.is_empty() { self.passed(judged) } else { self.gate_refused(judged, findings) }
    }

    /// Everything passed: success, or, for a share of results, a person looks first.
    fn passed(&mut self, turn: TurnNumber) {
        let Some(state) = self.task.turn(turn) else { return };
        let agent = state.agent.clone();
        let (result, confidence) =
            state.envelope().map_or((None, None), |e| (e.result.clone(), e.confidence));
        if self.task.is_spot_checked() {
            let rate = self.task.contract.gate.spot_check_rate;
            let question = format!(
                "Spot check: is this result good? It passed everything; {rate} of all results are looked at by a person"
            );
            if result.is_some() && self.may_spot_check() {
                let cause = Some(Cause::Completed);
                return self.escalate(turn, question, cause, result, confidence, Vec::new());
            }
            let evidence = format!("a spot check of turn {turn} is due, and nobody can be asked any more");
            return self.trip(Cause::GateRejected, evidence);
        }
        let story = format!("the gate let the answer of {agent} on turn {turn} pass");
        let result = result.map(|result| (result, Vec::new()));
        let cause = if self.task.is_draft(turn) { Cause::Converged } else { Cause::Completed };
        self.end(TaskState::Succeeded, EndedBy::Gate, cause, result, story);
    }

    fn may_spot_check(&self) -> bool {
        self.task.escalations_taken() < self.task.contract.escalation.max_escalations
            && self.env.now < self.task.lifetime_end()
    }
}

impl Task {
    /// What the server itself finds against a result: confidence, presence, and what was found off the shard.
    fn standing_against(&self, turn: &Turn, envelope: &Envelope) -> Vec<String> {
        let least = self.contract.gate.min_confidence;
        let confidence = envelope.confidence.unwrap_or_default();
        let mut findings = Vec::new();
        if confidence < least {
            findings.push(format!("confidence {} is below min_confidence {}", confidence.get(), least.get()));
        }
        if envelope.result.is_none() && self.contract.result_schema.is_some() {
            findings.push("there is no result, and the contract has a result_schema".to_owned());
        }
        findings.extend_from_slice(turn.findings());
        findings
    }

    fn is_running_step(&self, turn: &Turn) -> bool {
        turn.step.is_some_and(|step| self.running_plan().is_some_and(|plan| plan.number == step.plan))
    }

    /// What a validator is to judge by. What the server has checked already says so.
    pub(super) fn criteria(&self) -> Vec<String> {
        let mut criteria = vec!["it answers the goal, and nothing else".to_owned()];
        if self.contract.result_schema.is_some() {
            criteria.push("it fits the result_schema (checked by the server)".to_owned());
        }
        let rules = self.contract.acceptance.iter();
        criteria.extend(rules.map(|rule| format!("it keeps the rule {rule} (checked by the server)")));
        criteria
    }

    /// Whether a person is to look at the result of this task although it passed everything.
    fn is_spot_checked(&self) -> bool {
        is_sampled(self.id, self.contract.gate.spot_check_rate)
    }

    /// Questions kept back for a spot check that is due: nobody can use them up to get past it.
    pub(super) fn kept_questions(&self) -> u32 {
        let asked = || self.questions.iter().any(|q| q.asked.cause == Some(Cause::Completed));
        u32::from(self.is_spot_checked() && !asked())
    }
}

/// Why a validator stands against a result; empty where it agrees.
fn objections(validator: &AgentName, verdict: &Verdict) -> Vec<String> {
    if verdict.verdict == Judgement::Agree {
        return Vec::new();
    }
    let sure = verdict.confidence.map(|c| format!(" (confidence {})", c.get())).unwrap_or_default();
    if verdict.reasons.is_empty() {
        return vec![format!("{validator} disagrees{sure}, without a reason")];
    }
    verdict.reasons.iter().map(|reason| format!("{validator} disagrees{sure}: {reason}")).collect()
}

/// Whether a share of `rate` of all tasks has this one in it: a function of the id alone, so that nobody can choose.
fn is_sampled(id: TaskId, rate: f64) -> bool {
    if rate <= 0.0 {
        return false;
    }
    // FNV-1a, then a finalizer: ids that differ in a bit land far from each other.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in id.to_string().bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    // 53 bits are what a double holds.
    #[allow(clippy::cast_precision_loss)]
    let share = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    share < rate
}

/// What an abort says of the result: a spot check that a person aborts has found it wrong.
pub(super) fn cause_of_abort(asked: Option<Cause>) -> Cause {
    match asked {
        Some(Cause::Completed) => Cause::GateRejected,
        Some(cause) => cause,
        None => Cause::AgentFailed,
    }
}

/// Whether an answer of success carries no directive, so that its result is what its agent promised.
pub(super) fn is_plain_success(envelope: &Envelope) -> bool {
    envelope.status == Status::Success && envelope.directive.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_follow_the_rate_and_the_id_alone() {
        let ids: Vec<_> = (0..4_000).map(|n| TaskId::from_key(&format!("key {n}"), 4)).collect();
        let share = |rate| ids.iter().filter(|id| is_sampled(**id, rate)).count();
        assert_eq!((share(0.0), share(1.0)), (0, 4_000));
        let tenth = share(0.1);
        assert!((300..500).contains(&tenth), "{tenth} of 4000 is not about a tenth");
        assert!(ids.iter().all(|id| is_sampled(*id, 0.3) == is_sampled(*id, 0.3)));
        assert!(ids.iter().filter(|id| is_sampled(**id, 0.1)).all(|id| is_sampled(*id, 0.2)), "samples nest");
    }
}
