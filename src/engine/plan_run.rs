//! A plan that runs, as state: which steps wait for what. Every operation costs its own step and dependents only, so a plan
//! of a thousand steps stays linear. Changed only by `apply`.

use std::{collections::BTreeSet, sync::Arc};

use super::event::StepEnd;
use crate::types::{
    ids::TurnNumber,
    plan::{OnStepFailure, Plan},
};

/// A running (or the last ended) plan.
#[derive(Debug, Clone)]
pub(super) struct PlanRun {
    pub(super) number: u32,
    pub(super) plan: Arc<Plan>,
    /// The turn that delegated it; 0 for the contract's.
    pub(super) planner_turn: TurnNumber,
    /// `None` while it runs.
    pub(super) succeeded: Option<bool>,
    steps: Vec<StepRun>,
    /// For each step, the steps that need it.
    dependents: Vec<Vec<usize>>,
    /// Steps whose dependencies are satisfied and that have no turn yet.
    ready: BTreeSet<usize>,
    /// Steps that have not been opened and have not ended.
    unopened: BTreeSet<usize>,
    /// What those ask for, added up.
    unopened_sum: Asked,
    running: BTreeSet<usize>,
    /// Failed, and the plan with them.
    failed: Vec<usize>,
    /// Failed, but optional.
    missed: Vec<usize>,
}

/// What steps ask for: tokens, and how many do not say.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    tokens: u64,
    unsaid: u64,
}

#[derive(Debug, Clone)]
struct StepRun {
    missing: usize,
    /// The turns that worked on it, in order: its agent's, and those of fallbacks, hand-offs and corrections.
    turns: Vec<TurnNumber>,
    end: Option<(StepEnd, String)>,
}

impl PlanRun {
    pub(super) fn new(number: u32, plan: Arc<Plan>, planner_turn: TurnNumber) -> Self {
        let mut dependents = vec![Vec::new(); plan.steps.len()];
        for (index, step) in plan.steps.iter().enumerate() {
            for &needed in &step.depends_on {
                dependents[needed].push(index);
            }
        }
        let steps: Vec<_> = plan
            .steps
            .iter()
            .map(|step| StepRun { missing: step.depends_on.len(), turns: Vec::new(), end: None })
            .collect();
        let ready = (0..steps.len()).filter(|&i| steps[i].missing == 0).collect();
        let unopened = (0..steps.len()).collect();
        let said = plan.steps.iter().filter_map(|step| step.max_tokens);
        let unopened_sum = Asked {
            tokens: said.fold(0, u64::saturating_add),
            unsaid: plan.steps.iter().filter(|step| step.max_tokens.is_none()).count() as u64,
        };
        Self {
            number,
            plan,
            planner_turn,
            succeeded: None,
            steps,
            dependents,
            ready,
            unopened,
            unopened_sum,
            running: BTreeSet::new(),
            failed: Vec::new(),
            missed: Vec::new(),
        }
    }

    pub(super) fn open_step(&mut self, step: usize, turn: TurnNumber) {
        self.ready.remove(&step);
        self.leave_unopened(step);
        self.running.insert(step);
        self.steps[step].turns.push(turn);
    }

    /// Ends a step. An `optional` one that failed satisfies its dependents all the same.
    pub(super) fn end_step(&mut self, step: usize, end: StepEnd, reason: String, optional: bool) {
        self.ready.remove(&step);
        self.leave_unopened(step);
        self.running.remove(&step);
        if end == StepEnd::Failed {
            if optional { self.missed.push(step) } else { self.failed.push(step) }
        }
        self.steps[step].end = Some((end, reason));
        if !end.satisfies() && !optional {
            return;
        }
        for &dependent in &self.dependents[step] {
            let waiting = &mut self.steps[dependent];
            waiting.missing -= 1;
            if waiting.missing == 0 && self.unopened.contains(&dependent) {
                self.ready.insert(dependent);
            }
        }
    }

    fn leave_unopened(&mut self, step: usize) {
        if !self.unopened.remove(&step) {
            return;
        }
        match self.plan.steps[step].max_tokens {
            Some(tokens) => self.unopened_sum.tokens = self.unopened_sum.tokens.saturating_sub(tokens),
            None => self.unopened_sum.unsaid -= 1,
        }
    }

    pub(super) const fn is_running(&self) -> bool {
        self.succeeded.is_none()
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// The next step to open, if its dependencies and `max_parallel` allow one.
    pub(super) fn next_ready(&self, max_parallel: u32) -> Option<usize> {
        let room = self.running.len() < usize::try_from(max_parallel).unwrap_or(usize::MAX);
        if room && !self.has_failed() { self.ready.first().copied() } else { None }
    }

    pub(super) fn unopened(&self) -> Vec<usize> {
        self.unopened.iter().copied().collect()
    }

    pub(super) fn running(&self) -> Vec<usize> {
        self.running.iter().copied().collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn all_ended(&self) -> bool {
        self.running.is_empty() && self.unopened.is_empty()
    }

    /// Whether everything but this running step has ended.
    pub(super) fn waits_only_for(&self, step: usize) -> bool {
        self.unopened.is_empty() && self.running.iter().eq([&step])
    }

    pub(super) fn cancels_siblings(&self) -> bool {
        self.plan.on_step_failure == OnStepFailure::Cancel
    }

    /// The turn that last worked on a step; 0 if none did.
    pub(super) fn turn_of(&self, step: usize) -> TurnNumber {
        self.steps[step].turns.last().copied().unwrap_or_default()
    }

    /// The turns that worked on a step, in order.
    pub(super) fn turns_of(&self, step: usize) -> &[TurnNumber] {
        &self.steps[step].turns
    }

    /// Tokens a step is held: its own figure, or `per_turn`.
    pub(super) fn tokens_of(&self, step: usize, per_turn: u64) -> u64 {
        self.plan.steps[step].max_tokens.unwrap_or(per_turn)
    }

    pub(super) fn end_of(&self, step: usize) -> Option<(StepEnd, &str)> {
        self.steps[step].end.as_ref().map(|(end, reason)| (*end, reason.as_str()))
    }

    /// Tokens that steps without a turn will still need, with `per_turn` for those that do not say.
    pub(super) const fn committed(&self, per_turn: u64) -> u64 {
        let Asked { tokens, unsaid } = self.unopened_sum;
        tokens + unsaid * per_turn
    }

    /// The failures, in a sentence.
    pub(super) fn failure_story(&self) -> String {
        self.story_of(&self.failed)
    }

    /// The failures of optional steps, in a sentence; empty where there are none.
    pub(super) fn missed_story(&self) -> String {
        self.story_of(&self.missed)
    }

    fn story_of(&self, steps: &[usize]) -> String {
        let story: Vec<_> = steps
            .iter()
            .take(5)
            .map(|&i| {
                format!("step {} failed: {}", self.plan.steps[i].id, self.end_of(i).map_or("", |e| e.1))
            })
            .collect();
        story.join("; ")
    }
}
