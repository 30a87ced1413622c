//! A plan on its way: steps open as dependencies and `max_parallel` allow; a failed step stops the plan and gives the
//! planner control with every envelope. A failed envelope is never blindly retried.

use std::sync::Arc;

use super::{Opening, Txn};
use crate::{
    engine::{
        event::{AttemptEnd, Event, InputFrom, PlanKind, StepEnd, StepRef},
        plan_run::PlanRun,
        task::Task,
        turn::Turn,
    },
    types::{envelope::Status, ids::TurnNumber, outcome::Cause, plan::Plan},
};

impl Txn<'_> {
    /// Holds a plan's sum and opens its first steps. The caller has checked agents, caps and the sum; a static plan was
    /// checked at intake.
    pub(super) fn start_plan(&mut self, planner_turn: TurnNumber, plan: Arc<Plan>, kind: PlanKind) {
        let has_planner = planner_turn != 0;
        let held = match self.task.plan_sum(&plan, has_planner) {
            Ok(held) => held,
            Err(reasons) => return self.trip(Cause::Budget, reasons.join("; ")),
        };
        let number = self.task.plans + 1;
        self.emit(Event::PlanStarted { number, planner_turn, plan, held, kind });
        self.advance_plan();
    }

    /// Opens every step that may run, and ends the plan when nothing is left.
    fn advance_plan(&mut self) {
        let max_parallel = self.task.contract.limits.max_parallel;
        while let Some(plan) = self.task.running_plan() {
            let Some(step) = plan.next_ready(max_parallel).filter(|_| !self.has_tripped()) else { break };
            let opening = Opening {
                step: Some(StepRef { plan: plan.number, step }),
                ..Opening::new(plan.plan.steps[step].agent.clone(), InputFrom::Step)
            };
            self.open_work(opening);
        }
        let Some(plan) = self.task.running_plan() else { return };
        if plan.has_failed() && plan.is_idle() {
            let story = plan.failure_story();
            self.skip_unopened("the plan was stopped before it started");
            self.end_plan(false, &story);
        } else if plan.all_ended() {
            self.end_plan(true, "");
        }
    }

    /// A step's turn was answered without a directive.
    pub(super) fn step_answered(&mut self, turn: TurnNumber, step: usize) {
        let Some(envelope) = self.task.turn(turn).and_then(|t| t.envelope()) else { return };
        let reason = envelope.reason.clone();
        match envelope.status {
            Status::Success => self.end_step(step, StepEnd::Success, String::new()),
            Status::Partial => self.end_step(step, StepEnd::Partial, reason),
            Status::Failed => return self.step_agent_failed(turn, &reason),
        }
        self.advance_plan();
    }

    /// A step failed. An optional one is gone without; else nothing new starts, and siblings finish or are cancelled, as
    /// the plan says.
    pub(super) fn step_failed(&mut self, step: usize, reason: String) {
        self.end_step(step, StepEnd::Failed, reason);
        if !self.task.running_plan().is_some_and(|plan| plan.has_failed()) {
            return self.advance_plan();
        }
        self.skip_unopened("a step of the plan had failed");
        if self.task.running_plan().is_some_and(|plan| plan.cancels_siblings()) {
            self.cancel_running_steps("a sibling step failed", None);
        }
        self.advance_plan();
    }

    fn end_step(&mut self, step: usize, end: StepEnd, reason: String) {
        let Some(plan) = self.task.running_plan() else { return };
        let number = plan.number;
        let step_of = &plan.plan.steps[step];
        let (id, optional) = (step_of.id.clone(), step_of.optional && end == StepEnd::Failed);
        self.emit(Event::StepEnded { plan: number, step, id, end, reason, optional });
    }

    fn skip_unopened(&mut self, reason: &str) {
        let unopened = self.task.running_plan().map(|plan| plan.unopened()).unwrap_or_default();
        for step in unopened {
            self.end_step(step, StepEnd::Skipped, reason.to_owned());
        }
    }

    /// Revokes what runs of the plan.
    fn cancel_running_steps(&mut self, reason: &str, cause: Option<Cause>) {
        let running = self.task.running_plan().map(|plan| plan.running()).unwrap_or_default();
        for step in running {
            let turn = self.task.running_plan().map_or(0, |plan| plan.turn_of(step));
            self.withdraw_questions_of(turn);
            self.close_turn(turn, cause.unwrap_or(Cause::PlanFailed), reason);
            self.end_step(step, StepEnd::Cancelled, reason.to_owned());
        }
    }

    fn end_plan(&mut self, succeeded: bool, story: &str) {
        let Some(plan) = self.task.running_plan() else { return };
        let (number, planner_turn) = (plan.number, plan.planner_turn);
        let result_turn = plan.plan.result_step.map(|step| plan.turn_of(step));
        let missed = plan.missed_story();
        let released = self.task.ledger.plan_free();
        self.emit(Event::PlanEnded { number, succeeded, released });
        match (planner_turn, succeeded) {
            (0, true) => self.static_plan_succeeded(result_turn.unwrap_or_default()),
            (0, false) => self.trip(Cause::PlanFailed, format!("the contract's plan failed: {story}")),
            (_, _) => self.return_to_planner(planner_turn, story, &missed),
        }
    }

    /// The planner gets control back with every envelope.
    fn return_to_planner(&mut self, planner_turn: TurnNumber, story: &str, missed: &str) {
        let Some(planner) = self.task.turn(planner_turn) else { return };
        let mut notes = Vec::new();
        if !story.is_empty() {
            notes.push(format!(
                "your plan failed: {story}; answer with what there is or delegate another plan"
            ));
        }
        if !missed.is_empty() {
            notes.push(format!("the plan went on without what was optional: {missed}"));
        }
        notes.extend(self.task.held_up_story());
        let opening = Opening { notes, ..Opening::new(planner.agent.clone(), InputFrom::Same(planner_turn)) };
        self.open_work(opening);
    }

    /// A static plan's result is that of the step it names; a partial one goes to the owner.
    fn static_plan_succeeded(&mut self, turn: TurnNumber) {
        let envelope = self.task.turn(turn).and_then(|t| t.envelope());
        match envelope.map(|e| (e.status, e.reason.clone())) {
            Some((Status::Success, _)) => self.gate(turn),
            Some((Status::Partial | Status::Failed, reason)) => {
                self.trip(Cause::PlanFailed, format!("the plan's result is partial: {reason}"));
            }
            None => self.trip(Cause::PlanFailed, "the plan's result step gave no answer".to_owned()),
        }
    }

    /// Stops everything that is open: turns, the plan, questions.
    pub(super) fn stop_all(&mut self, cause: Cause, reason: &str) {
        if self.task.running_plan().is_some() {
            self.cancel_running_steps(reason, Some(cause));
            self.skip_unopened(reason);
            if let Some(plan) = self.task.running_plan() {
                let number = plan.number;
                let released = self.task.ledger.plan_free();
                self.emit(Event::PlanEnded { number, succeeded: false, released });
            }
        }
        self.stop_all_children(reason);
        let open: Vec<_> = self.task.open.iter().copied().collect();
        for turn in open {
            self.close_turn(turn, cause, reason);
        }
        let questions: Vec<_> = self.task.open_questions.iter().copied().collect();
        for number in questions {
            self.withdraw_question(number);
        }
    }

    /// Ends a turn without an answer, revoking its lease if one is live.
    pub(super) fn close_turn(&mut self, turn: TurnNumber, cause: Cause, reason: &str) {
        let Some(state) = self.task.turn(turn) else { return };
        if !state.is_open() {
            return;
        }
        if state.live().is_some() {
            let attempt = state.last_key().1;
            self.emit(Event::AttemptEnded {
                turn,
                attempt,
                end: AttemptEnd::Revoked,
                reason: reason.to_owned(),
                cause: Some(cause),
                usage: None,
                retry_at: None,
            });
            self.stop_children_of(turn, attempt, reason);
        }
        self.emit(Event::TurnClosed { turn, cause, reason: reason.to_owned() });
    }
}

impl Task {
    /// Whether a step's answer is the last thing that the contract's plan waits for.
    pub(super) fn completes_static_plan(&self, turn: &Turn, step: usize) -> bool {
        let failed = turn.envelope().is_none_or(|envelope| envelope.status == Status::Failed);
        let is_last =
            |plan: &PlanRun| plan.planner_turn == 0 && !plan.has_failed() && plan.waits_only_for(step);
        !failed && turn.output_findings().is_empty() && self.running_plan().is_some_and(is_last)
    }
}
