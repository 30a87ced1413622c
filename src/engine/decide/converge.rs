//! Rounds that no longer pay: a contract that names convergence as its end sends the best draft to the gate; without that, and
//! where the gate refuses, the owner decides.

use super::Txn;
use crate::{
    engine::{
        event::{Event, Trip},
        guard::GuardKind,
        task::Task,
    },
    types::{
        envelope::{Directive, Status},
        ids::TurnNumber,
        outcome::Cause,
    },
};

impl Txn<'_> {
    /// Whether a delegation ends the rounds instead of beginning another. Asked before its plan starts.
    pub(super) fn rounds_ended(&mut self, turn: TurnNumber) -> bool {
        let Some(draft) = self.task.draft_of(turn) else { return false };
        let terms = self.task.contract.convergence;
        let drafts = self.task.contract.guards.drafts;
        let trips = self.task.guarded.rounds.verdict(draft, terms.as_ref(), &drafts);
        if trips.is_empty() {
            return false;
        }
        match self.task.converged_draft() {
            Some(best) if terms.is_some() && self.has_only_finished() => {
                let mut trips = trips;
                trips.append(&mut self.pending);
                trips.sort_by_key(|trip| trip.cause);
                self.emit(Event::GuardsTripped { trips });
                self.gate(best);
            }
            Some(_) | None => trips.into_iter().for_each(|trip| self.note_trip(trip)),
        }
        true
    }

    /// Whether all that has tripped says no more than that the work is done, which a draft that comes again says as well: of
    /// that the gate is the judge.
    fn has_only_finished(&self) -> bool {
        let is_finished = |trip: &Trip| {
            trip.pattern.as_ref().is_some_and(|pattern| {
                matches!(pattern.guard, GuardKind::Restated | GuardKind::Confirmed | GuardKind::Idle)
            })
        };
        self.pending.iter().all(is_finished)
    }

    /// The gate refused the draft on which rounds ended: the owner hears both.
    pub(super) fn draft_refused(&mut self, findings: String) {
        let converged = |trip: &&Trip| trip.cause == Cause::Converged;
        let trips: Vec<_> = self.task.trips.iter().filter(converged).cloned().collect();
        trips.into_iter().for_each(|trip| self.note_trip(trip));
        self.trip(Cause::GateRejected, findings);
    }
}

impl Task {
    /// The draft that may end the task as converged: the best result so far, if it came with a delegation as a success.
    fn converged_draft(&self) -> Option<TurnNumber> {
        let best = self.best.as_ref()?.turn;
        let is_success = self.turn(best)?.envelope()?.status == Status::Success;
        (is_success && self.is_draft(best) && !self.was_validated(best)).then_some(best)
    }

    /// Whether a validator has had the result of a turn: it is not asked about the same twice. Linear in the turns; asked
    /// only where rounds end.
    fn was_validated(&self, turn: TurnNumber) -> bool {
        self.turns.iter().any(|t| t.judges == Some(turn))
    }

    /// Whether a turn's answer delegated, so that its result is a draft of the task's.
    pub(super) fn is_draft(&self, turn: TurnNumber) -> bool {
        matches!(self.turn(turn).and_then(|t| t.directive()), Some(Directive::Delegate(_)))
    }
}
