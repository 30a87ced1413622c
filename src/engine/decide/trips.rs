//! Trips of one decision: collected while it is on its way, answered once at its end. From the first task-wide trip on nothing
//! new starts, but every cap that is asked still says whether it trips too, so that the owner hears of all at once. Never
//! here: a guard's own arithmetic.

use super::Txn;
use crate::{
    engine::{
        event::{Event, Trip, TripScope, TurnKind},
        task::Task,
    },
    types::{ids::TurnNumber, outcome::Cause},
};

impl Txn<'_> {
    /// A guard tripped for the whole task, or a turn failed: at the end of this decision everything stops, and the owner
    /// decides.
    pub(super) fn trip(&mut self, cause: Cause, evidence: String) {
        self.note_trip(Trip::new(cause, evidence));
    }

    /// The same, with the evidence in full. A cause that two caps share is told once; guards that compare content are each
    /// told.
    pub(super) fn note_trip(&mut self, trip: Trip) {
        let known = |other: &Trip| other.cause == trip.cause && other.pattern == trip.pattern;
        if !self.pending.iter().any(known) {
            self.pending.push(trip);
        }
    }

    /// Whether something task-wide has tripped in this decision, so that nothing new may start.
    pub(super) const fn has_tripped(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Answers what was collected: the owner is asked once about all of it.
    pub(super) fn answer_trips(&mut self) {
        let mut trips = std::mem::take(&mut self.pending);
        if self.task.is_ended() || trips.is_empty() {
            return;
        }
        trips.sort_by_key(|trip| trip.cause);
        let (cause, evidence) = (trips[0].cause, sentence(&trips));
        if let Some(decide) = self.task.open_decide() {
            let turn = decide.number;
            return self.owner_tripped(turn, cause, &evidence, trips);
        }
        self.stop_all(cause, &evidence);
        self.emit(Event::GuardsTripped { trips });
        self.open_decide_turn(Vec::new());
    }

    /// The owner itself tripped: its attempt is cancelled first, and it is not asked again about the same thing.
    fn owner_tripped(&mut self, turn: TurnNumber, cause: Cause, evidence: &str, mut trips: Vec<Trip>) {
        self.close_turn(turn, cause, evidence);
        for trip in &mut trips {
            trip.scope = TripScope::Decision;
        }
        self.emit(Event::GuardsTripped { trips });
        self.fall_back(format!("the owner's decide turn was stopped: {evidence}"));
    }

    /// Asks the guards over content what they see where this turn stands, and the cap on steps. Whether that stopped this turn
    /// alone.
    pub(super) fn ask_guards(&mut self, turn: TurnNumber) -> bool {
        let Some(state) = self.task.turn(turn) else { return false };
        let (kind, step) = (state.kind, state.step);
        let seen = self.task.guard_trips(turn);
        if kind == TurnKind::Work
            && let Some(trip) = self.task.steps_trip(turn)
        {
            self.note_trip(trip);
        }
        match (kind, step) {
            (_, _) if seen.is_empty() => return false,
            (TurnKind::Work, Some(_)) => self.trip_step(turn, seen),
            (TurnKind::Validate, _) => self.trip_validator(turn, seen),
            (TurnKind::Work | TurnKind::Decide, _) => {
                seen.into_iter().for_each(|trip| self.note_trip(trip));
                return false;
            }
        }
        true
    }

    /// Guards tripped inside one step of the running plan: only that step stops. It fails, and the plan goes by its rules. No
    /// fallback hides it: whoever is accountable must hear of it.
    pub(super) fn trip_step(&mut self, turn: TurnNumber, trips: Vec<Trip>) {
        let (_, evidence) = self.stop_turn(turn, trips, TripScope::Step);
        if let Some(step) = self.task.turn(turn).and_then(|t| t.step) {
            self.step_failed(step.step, evidence);
        }
    }

    /// The validator loops: the work is not to blame, and a person judges it, or the owner decides.
    fn trip_validator(&mut self, turn: TurnNumber, trips: Vec<Trip>) {
        let judged = self.task.turn(turn).and_then(|t| t.judges).unwrap_or_default();
        let (cause, evidence) = self.stop_turn(turn, trips, TripScope::Validation);
        self.unjudged(judged, cause, evidence);
    }

    /// Stops a turn alone for what tripped in it.
    fn stop_turn(&mut self, turn: TurnNumber, mut trips: Vec<Trip>, scope: TripScope) -> (Cause, String) {
        trips.sort_by_key(|trip| trip.cause);
        for trip in &mut trips {
            trip.scope = scope;
        }
        let (cause, evidence) = (trips[0].cause, sentence(&trips));
        self.withdraw_questions_of(turn);
        self.close_turn(turn, cause, &evidence);
        self.emit(Event::GuardsTripped { trips });
        (cause, evidence)
    }
}

impl Task {
    /// The cause that the owner was last asked about.
    pub(super) fn tripped(&self) -> Cause {
        self.trips.first().map_or(Cause::AgentFailed, |trip| trip.cause)
    }

    /// What the owner was last asked about, in a sentence.
    pub(super) fn trip_story(&self) -> String {
        sentence(&self.trips)
    }
}

fn sentence(trips: &[Trip]) -> String {
    let evidence: Vec<_> = trips.iter().map(|trip| trip.evidence.as_str()).collect();
    evidence.join("; ")
}
