//! What guards over content know of a task. Fed by `apply` from journalled facts alone, so that a replay sees what the live
//! run saw. Never here: what follows from a trip.

use super::{
    convergence::Draft,
    event::{Trip, TripScope, TurnKind},
    task::Task,
    view::Tripped,
};
use crate::types::{ids::TurnNumber, payload::Payload, time::Timestamp};

impl Task {
    /// Guards tripped. What the owner is asked about is answered with that: from here on only what comes after counts.
    pub(super) fn on_tripped(&mut self, trips: &[Trip], at: Timestamp) {
        self.tripped.push(Tripped { at, seq: self.seq, trips: trips.to_vec() });
        if trips.iter().any(|trip| trip.scope == TripScope::Task) {
            self.trips = trips.to_vec();
            self.settle_guards();
        }
    }

    /// The owner or a person has answered what the guards saw.
    pub(super) fn settle_guards(&mut self) {
        self.rounds.settle();
    }

    /// A plan has begun: the draft its planner sent with it belongs to the rounds.
    pub(super) fn record_round(&mut self, planner_turn: TurnNumber) {
        let terms = self.contract.convergence;
        let mut rounds = std::mem::take(&mut self.rounds);
        if let Some(draft) = self.draft_of(planner_turn) {
            rounds.record(draft, terms.as_ref());
        }
        self.rounds = rounds;
    }

    /// The draft that a work turn's answer carries, if its result could be the task's.
    pub(super) fn draft_of(&self, turn: TurnNumber) -> Option<Draft<'_>> {
        let state = self.turn(turn).filter(|t| t.kind == TurnKind::Work && t.step.is_none())?;
        let envelope = state.envelope()?;
        let result = envelope.result.as_ref().filter(|_| state.findings().is_empty())?;
        Some(Draft { turn, score: envelope.score().get(), result })
    }
}

/// How alike two drafts are, in thousandths, where they are the same in substance.
pub(super) fn same_in_substance(a: &Payload, b: &Payload) -> Option<u16> {
    (a == b).then_some(1_000)
}
