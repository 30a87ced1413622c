//! Ownership: when a guard trips, what runs is stopped and the owner gets one decide turn, paid from the finalization
//! reserve. If it does not decide, the contract's fallback does.

use std::sync::Arc;

use super::{Opening, Txn};
use crate::{
    engine::event::{Event, InputFrom, PlanKind, TurnKind},
    types::{
        contract::OwnerFallback,
        envelope::{Answer, Decision, HandOff},
        ids::TurnNumber,
        outcome::{Cause, EndedBy, TaskState},
        payload::Payload,
        plan::Plan,
    },
};

impl Txn<'_> {
    /// Asks the owner about what has tripped.
    pub(super) fn open_decide_turn(&mut self, notes: Vec<String>) {
        let limits = &self.task.contract.limits;
        if self.task.counters.decides >= limits.max_decides {
            let story =
                format!("{} of {0} decide turns are used: {}", limits.max_decides, self.task.trip_story());
            return self.fall_back_for(self.task.tripped(), story);
        }
        if self.env.now >= self.task.deadline_at(self.env.now) {
            let story = format!("no time is left for a decision: {}", self.task.trip_story());
            return self.fall_back_for(self.task.tripped(), story);
        }
        if let Err(short) = self.task.decide_allowance() {
            return self.fall_back_for(self.task.tripped(), format!("{short}: {}", self.task.trip_story()));
        }
        let turn = self.next_turn();
        let agent = self.task.contract.owner.clone();
        self.emit(Event::TurnOpened {
            turn,
            agent,
            kind: TurnKind::Decide,
            input: InputFrom::Contract,
            step: None,
            corrections: 0,
            revision: false,
            replan: false,
            fallback: false,
            notes,
            judges: None,
        });
    }

    /// The owner is away, failed or answered out of role.
    pub(super) fn fall_back(&mut self, story: String) {
        self.fall_back_for(Cause::OwnerUnavailable, story);
    }

    /// The contract's fallback: ask a person where that is wanted and possible, else end with what there is.
    fn fall_back_for(&mut self, cause: Cause, story: String) {
        if self.task.contract.escalation.owner_fallback == OwnerFallback::Escalate && self.may_escalate() {
            let (candidate, confidence, findings) = self.best_candidate();
            let question = format!("How should this end? {story}");
            return self.escalate(0, question, Some(cause), candidate, confidence, findings);
        }
        self.finish(cause, story);
    }

    /// Ends PARTIAL with the best result so far, FAILED where there is none.
    pub(super) fn finish(&mut self, cause: Cause, story: String) {
        let state = if self.task.best.is_some() { TaskState::Partial } else { TaskState::Failed };
        self.end(state, EndedBy::Fallback, cause, None, story);
    }

    /// The owner answered its decide turn.
    pub(super) fn decided(&mut self, turn: TurnNumber) {
        let answer = self.task.turn(turn).and_then(|t| t.answer()).cloned();
        let findings = self.task.turn(turn).map(|t| t.findings().to_vec()).unwrap_or_default();
        let decision = match answer.as_deref() {
            Some(Answer::Decision { decision, .. }) => decision.clone(),
            Some(Answer::Envelope(_) | Answer::Verdict(_)) | None => {
                return self.fall_back("the owner answered its decide turn out of role".to_owned());
            }
        };
        match decision {
            Decision::ReplanWith(plan) => self.replan_with(turn, plan),
            Decision::InvalidReplan(reasons) => self.refuse_decision(turn, reasons),
            Decision::ReplanTo(to) => self.replan_to(turn, &to),
            Decision::CompletePartial { result, reason } => {
                self.complete_partial(turn, result, findings, &reason);
            }
            Decision::Escalate(question) => {
                let cause = self.task.tripped();
                if !self.may_escalate() {
                    return self
                        .fall_back_for(cause, format!("no question is left: {}", self.task.trip_story()));
                }
                let (candidate, confidence, findings) = self.best_candidate();
                self.escalate(turn, question, Some(cause), candidate, confidence, findings);
            }
            Decision::Abort(reason) => {
                let story = format!("{reason} ({})", self.task.trip_story());
                self.end(TaskState::Failed, EndedBy::Owner, self.task.tripped(), None, story);
            }
        }
    }

    fn complete_partial(
        &mut self,
        turn: TurnNumber,
        result: Option<Payload>,
        findings: Vec<String>,
        reason: &str,
    ) {
        if result.is_none() && self.task.best.is_none() {
            let reason = "there is no result yet: give one, re-plan, escalate or abort".to_owned();
            return self.refuse_decision(turn, vec![reason]);
        }
        let story = if reason.is_empty() {
            self.task.trip_story()
        } else {
            format!("{reason} ({})", self.task.trip_story())
        };
        let result = result.map(|result| (result, findings));
        self.end(TaskState::Partial, EndedBy::Owner, self.task.tripped(), result, story);
    }

    fn replan_with(&mut self, turn: TurnNumber, plan: Plan) {
        let mut reasons = self.no_room_to_replan();
        reasons.extend(self.unknown_agents(&plan));
        if reasons.is_empty()
            && let Err(short) = self.task.plan_sum(&plan, true)
        {
            reasons = short;
        }
        if reasons.is_empty() {
            self.start_plan(turn, Arc::new(plan), PlanKind::Replan);
        } else {
            self.refuse_decision(turn, reasons);
        }
    }

    fn replan_to(&mut self, turn: TurnNumber, to: &HandOff) {
        let mut reasons = self.no_room_to_replan();
        if !self.env.agents.is_known(&to.agent) {
            reasons.push(format!("no worker has ever served {}: name a known agent", to.agent));
        }
        if let Err(short) = self.task.main_allowance(&to.agent) {
            reasons.push(short);
        }
        if !reasons.is_empty() {
            return self.refuse_decision(turn, reasons);
        }
        let opening = Opening { replan: true, ..Opening::new(to.agent.clone(), InputFrom::AnswerOf(turn)) };
        self.open_work(opening);
    }

    /// A re-plan only where the cap that tripped leaves room, as counters and caps stand now: a person may have raised them.
    fn no_room_to_replan(&self) -> Vec<String> {
        let limits = &self.task.contract.limits;
        let counters = &self.task.counters;
        let tripped = |cause| self.task.trips.iter().any(|trip| trip.cause == cause);
        let mut reasons = Vec::new();
        if counters.replans >= limits.max_replans {
            reasons.push(format!("all {} re-plans are used", limits.max_replans));
        }
        if counters.turns >= limits.max_turns {
            reasons.push(format!("all {} work turns are used", limits.max_turns));
        }
        if let Some(most) = self.task.contract.guards.max_steps.filter(|&most| counters.steps >= most) {
            reasons.push(format!("all {most} steps are used"));
        }
        if self.env.now >= self.task.work_deadline_at(self.env.now) {
            reasons.push("the time for work is used".to_owned());
        }
        if tripped(Cause::Hops) && counters.hops >= limits.max_hops {
            reasons.push(format!("all {} hops are used", limits.max_hops));
        }
        if tripped(Cause::NotConverged) && counters.rounds >= limits.max_rounds {
            reasons.push(format!("all {} rounds are used", limits.max_rounds));
        }
        reasons.into_iter().map(|r| format!("{r}: complete partially, escalate or abort")).collect()
    }

    /// A decision that cannot be carried out: the owner is asked again, within its caps.
    pub(super) fn refuse_decision(&mut self, turn: TurnNumber, reasons: Vec<String>) {
        self.emit(Event::DirectiveRefused { turn, reasons: reasons.clone() });
        let notes = reasons.into_iter().map(|r| format!("your decision was refused: {r}")).collect();
        self.open_decide_turn(notes);
    }
}
