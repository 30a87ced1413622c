//! A step that takes more than one turn: its agent failed and the next fallback takes over, or it handed off within the
//! step. The step is one account and one place in the plan, whoever has the turn; its envelope is the last turn's. Never
//! here: which steps open, and what follows when one ends; that is `plan_flow`.
//!
//! A fallback takes over from an agent that could not do its work: it answered FAILED, used up its attempts or its own
//! cap, or was away. It does not take over from one that a guard stopped (a directive refused too often, a repetition):
//! whoever is accountable must hear of that, and another agent would hide it. Nor does it start once the plan has failed:
//! the planner waits for control by then.

use super::{Opening, Txn};
use crate::{
    engine::{
        command::Agents,
        event::{InputFrom, StepRef},
        plan_run::PlanRun,
        task::Task,
        turn::Turn,
    },
    types::{
        envelope::Status,
        ids::{AgentName, TurnNumber},
        limits::fixed::FALLBACK_WAIT_PART,
        time::Span,
    },
};

/// Characters of each agent's reason in the story of a step that several failed at.
const STORY_CHARS: usize = 300;

impl Txn<'_> {
    /// The agent of a step's turn has failed at it: the next fallback has a turn, or the step has failed.
    pub(super) fn step_agent_failed(&mut self, turn: TurnNumber, reason: &str) {
        let Some(state) = self.task.turn(turn) else { return };
        let (agent, Some(step)) = (state.agent.clone(), state.step) else { return };
        // One whose own circuit is open is asked only where no other is left.
        let available = self.task.available_fallback(step, self.env.agents);
        let Some(fallback) = available.or_else(|| self.task.next_fallback(step)) else {
            let story = self.task.step_story(step).unwrap_or_else(|| reason.to_owned());
            return self.step_failed(step.step, story);
        };
        let opening = Opening {
            step: Some(step),
            fallback: true,
            notes: vec![format!("you take this step over from {agent}, which failed: {reason}")],
            ..Opening::new(fallback, InputFrom::Step)
        };
        self.open_work(opening);
    }
}

impl Task {
    /// The agent that takes a step over when the one that has it fails: the first fallback that has not worked on it and
    /// can be funded.
    pub(super) fn next_fallback(&self, step: StepRef) -> Option<AgentName> {
        let plan = self.running_plan().filter(|plan| plan.number == step.plan && !plan.has_failed())?;
        let fundable = |agent: &&AgentName| self.step_draw(agent, step.step, true).is_ok();
        self.untried_fallbacks(plan, step.step).find(fundable).cloned()
    }

    /// The same, of those whose circuit is closed.
    pub(super) fn available_fallback(&self, step: StepRef, agents: &dyn Agents) -> Option<AgentName> {
        let plan = self.running_plan().filter(|plan| plan.number == step.plan && !plan.has_failed())?;
        let fundable = |agent: &&AgentName| self.step_draw(agent, step.step, true).is_ok();
        let available = |agent: &&AgentName| agents.circuit(agent).is_none() && fundable(agent);
        self.untried_fallbacks(plan, step.step).find(available).cloned()
    }

    /// The fallbacks of a step that have not worked on it.
    fn untried_fallbacks<'a>(
        &'a self,
        plan: &'a PlanRun,
        step: usize,
    ) -> impl Iterator<Item = &'a AgentName> + 'a {
        let fallbacks = plan.plan.steps.get(step).map_or(&[][..], |step| &step.fallback_agents);
        let tried = move |agent: &AgentName| {
            plan.turns_of(step).iter().any(|&turn| self.turn(turn).is_some_and(|t| t.agent == *agent))
        };
        fallbacks.iter().filter(move |agent| !tried(agent))
    }

    /// How long a turn waits while no worker serves its agent.
    pub(super) fn worker_wait(&self, turn: &Turn) -> Span {
        let wait = self.contract.limits.worker_wait;
        if turn.step.and_then(|step| self.next_fallback(step)).is_some() {
            wait.part(FALLBACK_WAIT_PART).max(Span(1))
        } else {
            wait
        }
    }

    /// At least how long a turn waits: `worker_wait` without asking whether a fallback can be funded, which costs as much as
    /// steps run beside it. Asked for every turn that waits, with every command.
    pub(in crate::engine) fn shortest_wait(&self, turn: &Turn) -> Span {
        let wait = self.contract.limits.worker_wait;
        let falls_back = |(plan, step): (&PlanRun, StepRef)| {
            plan.number == step.plan
                && !plan.has_failed()
                && self.untried_fallbacks(plan, step.step).next().is_some()
        };
        if self.running_plan().zip(turn.step).is_some_and(falls_back) {
            wait.part(FALLBACK_WAIT_PART).max(Span(1))
        } else {
            wait
        }
    }

    /// Who failed at a step and why, where more than one agent did.
    fn step_story(&self, step: StepRef) -> Option<String> {
        let plan = self.running_plan()?;
        let failures: Vec<_> = plan
            .turns_of(step.step)
            .iter()
            .filter_map(|&number| {
                let turn = self.turn(number)?;
                let envelope = turn.lineage_envelope().filter(|e| e.status == Status::Failed)?;
                let reason: String = envelope.reason.chars().take(STORY_CHARS).collect();
                Some(format!("{}: {reason}", turn.agent))
            })
            .collect();
        (failures.len() > 1).then(|| failures.join("; then "))
    }
}
