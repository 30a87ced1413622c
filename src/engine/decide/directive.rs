//! Directives: what an answering agent wants next. One that is refused goes back to the same agent with the reasons, capped;
//! then to the owner, or, inside a plan, to the planner.

use std::sync::Arc;

use super::{Opening, Txn};
use crate::{
    engine::{
        event::{Event, InputFrom, PlanKind, Trip},
        turn::Turn,
    },
    types::{
        envelope::{Directive, HandOff},
        ids::TurnNumber,
        outcome::Cause,
        plan::Plan,
    },
};

impl Txn<'_> {
    pub(super) fn direct(&mut self, turn: TurnNumber) {
        let Some(state) = self.task.turn(turn) else { return };
        let Some(directive) = state.directive().cloned() else { return };
        let is_step = state.step.is_some();
        match directive {
            Directive::Delegate(_) | Directive::InvalidPlan(_) if is_step => {
                self.refuse(turn, vec!["a step's agent may not delegate: answer the step".to_owned()]);
            }
            Directive::HandOff(to) => self.hand_off(turn, &to),
            Directive::Delegate(plan) => self.delegate(turn, plan),
            Directive::InvalidPlan(reasons) => self.refuse(turn, reasons),
            Directive::AskHuman(question) => self.ask_human(turn, question),
        }
    }

    /// Passes control on: of the task, or, where a step's agent hands off, of its step.
    fn hand_off(&mut self, turn: TurnNumber, to: &HandOff) {
        let Some(state) = self.task.turn(turn) else { return };
        let step = state.step;
        let mut reasons = self.faults_of_hand_off(state, to);
        if let Some(step) = step
            && let Err(short) = self.task.step_draw(&to.agent, step.step, false)
        {
            reasons.push(format!("{short}: answer the step yourself"));
        }
        if !reasons.is_empty() {
            return self.refuse(turn, reasons);
        }
        let from = state.agent.clone();
        let hops = self.task.counters.hops;
        if hops >= self.task.contract.limits.max_hops {
            let evidence = format!(
                "{from} wanted to hand off to {} on turn {turn}, and {hops} of {hops} hops are used",
                to.agent
            );
            self.trip(Cause::Hops, evidence);
        }
        if !self.may_open(&to.agent, step.is_some()) {
            return;
        }
        self.emit(Event::HandedOff { turn, from, to: to.agent.clone(), hop: hops + 1 });
        self.open_work(Opening { step, ..Opening::new(to.agent.clone(), InputFrom::AnswerOf(turn)) });
    }

    fn faults_of_hand_off(&self, from: &Turn, to: &HandOff) -> Vec<String> {
        let mut reasons = Vec::new();
        if to.agent == from.agent {
            reasons.push("you cannot hand off to yourself: answer, or name another agent".to_owned());
        }
        if !self.env.agents.is_known(&to.agent) {
            reasons.push(format!("no worker has ever served {}: hand off to a known agent", to.agent));
        }
        let allowed = &self.task.contract.allowed_hand_offs;
        if !allowed.is_empty() && !allowed.get(&from.agent).is_some_and(|list| list.contains(&to.agent)) {
            let list = allowed.get(&from.agent).map_or_else(
                || "to nobody".to_owned(),
                |list| {
                    let names: Vec<_> = list.iter().map(ToString::to_string).collect();
                    format!("only to {}", names.join(", "))
                },
            );
            reasons.push(format!("the contract lets {} hand off {list}", from.agent));
        }
        reasons
    }

    fn delegate(&mut self, turn: TurnNumber, plan: Plan) {
        let is_replan = self.task.replan_next;
        let reasons = self.unknown_agents(&plan);
        if !reasons.is_empty() {
            return self.refuse(turn, reasons);
        }
        let limits = self.task.contract.limits.clone();
        let counters = self.task.counters;
        if is_replan && counters.replans >= limits.max_replans {
            let evidence = format!(
                "turn {turn} wanted another re-plan, and {} of {} are used",
                counters.replans, limits.max_replans
            );
            self.trip(Cause::Replans, evidence);
        }
        if !is_replan && counters.rounds >= limits.max_rounds {
            let evidence = format!(
                "turn {turn} wanted another round, and {} of {} are used",
                counters.rounds, limits.max_rounds
            );
            self.trip(Cause::NotConverged, evidence);
        }
        if (!is_replan && self.rounds_ended(turn)) || self.has_tripped() {
            return;
        }
        // Fan-out admission: whole or not at all.
        if let Err(reasons) = self.task.plan_sum(&plan, true) {
            return self.refuse_for(Cause::Budget, turn, reasons);
        }
        let kind = if is_replan { PlanKind::Replan } else { PlanKind::Round };
        self.start_plan(turn, Arc::new(plan), kind);
    }

    pub(super) fn unknown_agents(&self, plan: &Plan) -> Vec<String> {
        plan.steps
            .iter()
            .flat_map(|step| step.agents().map(move |agent| (&step.id, agent)))
            .filter(|(_, agent)| !self.env.agents.is_known(agent))
            .map(|(id, agent)| format!("step {id}: no worker has ever served {agent}: name a known agent"))
            .collect()
    }

    fn ask_human(&mut self, turn: TurnNumber, question: String) {
        if !self.may_escalate() {
            let asked = self.task.counters.escalations;
            let reason =
                format!("{asked} questions have been put to a person, which is the cap: go on without");
            return self.refuse(turn, vec![reason]);
        }
        if !self.has_tripped() {
            self.escalate(turn, question, None, None, None, Vec::new());
        }
    }

    pub(super) fn refuse(&mut self, turn: TurnNumber, reasons: Vec<String>) {
        self.refuse_for(Cause::Role, turn, reasons);
    }

    /// Refuses a directive: a correction turn, or, when those are used up, the owner (or the planner), with this cause.
    fn refuse_for(&mut self, cause: Cause, turn: TurnNumber, reasons: Vec<String>) {
        self.emit(Event::DirectiveRefused { turn, reasons: reasons.clone() });
        let Some(state) = self.task.turn(turn) else { return };
        let (agent, step, corrections) = (state.agent.clone(), state.step, state.corrections);
        if corrections < self.task.contract.limits.max_corrections {
            let opening = Opening {
                step,
                corrections: corrections + 1,
                notes: reasons.into_iter().map(|r| format!("your directive was refused: {r}")).collect(),
                ..Opening::new(agent, InputFrom::Same(turn))
            };
            return self.open_work(opening);
        }
        let evidence = format!(
            "{agent} was refused on turn {turn} after {corrections} corrections: {}",
            reasons.join("; ")
        );
        match step {
            Some(step) => self.trip_step(turn, step.step, vec![Trip::new(cause, evidence).on(turn)]),
            None => self.trip(cause, evidence),
        }
    }
}
