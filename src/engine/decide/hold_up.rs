//! A turn waits because its agent's circuit is open: its step's fallback takes over, or it waits and its task says so. Never
//! here: when a circuit opens; a substitute for the owner.

use super::Txn;
use crate::{
    engine::{
        command::{Rejection, Reply},
        event::{Event, TurnKind},
        task::Task,
        turn::Stage,
    },
    types::{ids::TurnNumber, outcome::Cause},
};

/// Steps of a plan that a note about circuits names.
const MAX_NAMED: usize = 5;

impl Txn<'_> {
    /// As with an agent that is away, but at once: it is known that nobody is asked for a while. Without a fallback that is
    /// available the turn waits, for as long as it would for a worker.
    pub(super) fn hold_up(&mut self, turn: TurnNumber, reason: String) -> Result<Reply, Rejection> {
        let state = self.task.turn(turn).ok_or(Rejection::TurnNotReady)?;
        let Stage::Ready { .. } = state.stage else { return Err(Rejection::TurnNotReady) };
        if self.task.is_ended() || state.kind == TurnKind::Decide {
            return Err(Rejection::TurnNotReady);
        }
        let is_told = state.held_up.is_some();
        let passed_to = state.step.and_then(|step| self.task.available_fallback(step, self.env.agents));
        let passes = passed_to.is_some();
        // Told once: circuits that open again and again must not fill the journal.
        if passes || !is_told {
            self.emit(Event::TurnHeldUp { turn, reason: reason.clone(), passed_to });
        }
        if passes {
            self.give_up(turn, Cause::NoWorker, reason);
        }
        Ok(Reply::Done)
    }
}

impl Task {
    /// Which steps of the plan waited for an agent whose circuit was open, for its planner.
    pub(super) fn held_up_story(&self) -> Option<String> {
        let plan = self.plan.as_ref()?;
        let turns = (0..plan.plan.steps.len()).flat_map(|step| plan.turns_of(step));
        let held_up = turns.filter_map(|&number| {
            let turn = self.turn(number)?;
            let (step, reason) = (turn.step_id.as_ref()?, turn.held_up.as_ref()?);
            Some(format!("step {step} waited for {}: {reason}", turn.agent))
        });
        let story: Vec<String> = held_up.take(MAX_NAMED).collect();
        (!story.is_empty()).then(|| story.join("; "))
    }
}
