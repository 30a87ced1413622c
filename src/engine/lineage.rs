//! Lineage: the envelopes so far. History is the server's, never an agent's.

use std::collections::BTreeSet;

use super::{
    command::{LineageEntry, Rejection},
    event::{StepRef, TurnKind},
    task::Task,
    turn::{Turn, failed_envelope},
};
use crate::types::{
    envelope::Status,
    ids::{Lease, TurnNumber},
};

impl Task {
    /// The whole lineage that a live lease may read: dependencies first, then all others, oldest first within each.
    pub fn lineage(&self, lease: &Lease) -> Result<Vec<LineageEntry>, Rejection> {
        let turn = self.turn(lease.turn).ok_or(Rejection::LeaseUnknown)?;
        match turn.live() {
            Some(live) if live.lease == *lease => Ok(self.lineage_for(turn, usize::MAX).0),
            _ if !turn.attempts.iter().any(|attempt| attempt.lease == *lease) => Err(Rejection::LeaseUnknown),
            Some(_) | None => Err(Rejection::LeaseNotLive("history is read under a live lease".to_owned())),
        }
    }

    /// What a turn is shown: its dependencies and the turns that had its step before it (all), then the `recent` newest
    /// others, oldest first within each; and how many there are in all.
    pub(super) fn lineage_for(&self, turn: &Turn, recent: usize) -> (Vec<LineageEntry>, usize) {
        let mut dependencies = self.dependencies(turn);
        dependencies.extend(self.earlier_in_step(turn));
        // A dependency that had a turn stands in the history too, once: it is not walked to be counted, for it grows with
        // the task and this is asked at every assignment.
        let shown: BTreeSet<TurnNumber> = dependencies.iter().map(|d| d.turn).filter(|&n| n != 0).collect();
        let total = dependencies.len() + self.history.len() - shown.len();
        let mut others: Vec<_> = self
            .history
            .iter()
            .rev()
            .filter(|number| !shown.contains(number))
            .take(recent)
            .filter_map(|&number| self.entry(number))
            .collect();
        others.reverse();
        let mut entries = dependencies;
        entries.extend(others);
        (entries, total)
    }

    /// The envelopes a turn depends on: a step's dependencies; for the planner's next turn, every step of its plan.
    pub(super) fn dependencies(&self, turn: &Turn) -> Vec<LineageEntry> {
        let Some(plan) = &self.plan else { return Vec::new() };
        match turn.step {
            Some(step) if step.plan == plan.number => {
                plan.plan.steps[step.step].depends_on.iter().filter_map(|&i| self.step_entry(i)).collect()
            }
            None if plan.succeeded.is_some() && turn.kind != TurnKind::Decide => {
                (0..plan.plan.steps.len()).filter_map(|i| self.step_entry(i)).collect()
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// The envelopes of the turns that had the turn's step before it, in order.
    fn earlier_in_step(&self, turn: &Turn) -> Vec<LineageEntry> {
        let plan = self.plan.as_ref().filter(|plan| turn.step.is_some_and(|step| step.plan == plan.number));
        let turns = plan.zip(turn.step).map_or(&[][..], |(plan, step)| plan.turns_of(step.step));
        turns
            .iter()
            .filter(|&&number| number < turn.number)
            .filter_map(|&number| self.entry(number))
            .collect()
    }

    fn step_entry(&self, index: usize) -> Option<LineageEntry> {
        let plan = self.plan.as_ref()?;
        let end = plan.end_of(index);
        if let Some(mut entry) = self.entry(plan.turn_of(index)) {
            // Its last turn went well, and the step did not: a directive was refused, or the plan was stopped meanwhile.
            if let Some((end, reason)) = end
                && !end.satisfies()
                && entry.envelope.status != Status::Failed
            {
                entry.envelope = failed_envelope(reason.to_owned());
            }
            return Some(entry);
        }
        let step = plan.plan.steps.get(index)?;
        let (_, reason) = end?;
        Some(LineageEntry {
            id: step.id.to_string(),
            turn: 0,
            agent: step.agent.clone(),
            step: Some(step.id.clone()),
            envelope: failed_envelope(reason.to_owned()),
        })
    }

    pub(super) fn entry(&self, number: TurnNumber) -> Option<LineageEntry> {
        let turn = self.turn(number)?;
        let envelope = turn.lineage_envelope()?;
        // A step's id stands for its last turn, while its plan is the latest: ids are unique within a lineage.
        let is_last = |step: StepRef| {
            self.plan.as_ref().is_some_and(|p| p.number == step.plan && p.turn_of(step.step) == number)
        };
        let id = match &turn.step_id {
            Some(id) if turn.step.is_some_and(is_last) => id.to_string(),
            Some(_) | None => format!("turn-{number}"),
        };
        Some(LineageEntry {
            id,
            turn: number,
            agent: turn.agent.clone(),
            step: turn.step_id.clone(),
            envelope,
        })
    }
}
