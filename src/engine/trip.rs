//! A guard that tripped, as a fact with its evidence: what the owner, people and traces are told. Never here: what follows
//! from it; that is `decide::trips`.

use serde::{Deserialize, Serialize};

use super::guard::{GuardKind, GuardTrip};
use crate::types::{ids::TurnNumber, outcome::Cause};

/// A guard that tripped, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// The cause.
    pub cause: Cause,
    /// The evidence, in a sentence with its figures.
    pub evidence: String,
    /// What it stops.
    #[serde(default, skip_serializing_if = "TripScope::is_task")]
    pub scope: TripScope,
    /// The turns that are the evidence, oldest first; empty where the figures are all there is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<TurnNumber>,
    /// What repeated, where a guard compared content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Pattern>,
}

/// What a guard over content saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Which guard.
    pub guard: GuardKind,
    /// The beginning of what repeated; for fingerprints, the fingerprint.
    pub excerpt: String,
    /// How many times it was seen.
    pub times: u32,
    /// Entries in one round of the cycle; 1: the same again and again.
    pub cycle: u32,
    /// How alike the least alike two are, in thousandths; 1000: the same after normalisation.
    pub similarity_permille: u16,
}

impl From<GuardTrip> for Pattern {
    fn from(trip: GuardTrip) -> Self {
        let GuardTrip { guard, turns: _, agent: _, repeated, times, cycle, similarity_permille, in_turn: _ } =
            trip;
        Self { guard, excerpt: repeated, times, cycle, similarity_permille }
    }
}

/// What a trip stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TripScope {
    /// Everything of the task: its owner decides.
    #[default]
    Task,
    /// One step of a plan: it fails, and the plan goes by its rules.
    Step,
    /// The owner's own decide turn: the contract's fallback applies.
    Decision,
}

impl TripScope {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde wants a reference.
    const fn is_task(&self) -> bool {
        matches!(self, Self::Task)
    }
}

impl Trip {
    /// A task-wide trip whose evidence is its sentence.
    pub const fn new(cause: Cause, evidence: String) -> Self {
        Self { cause, evidence, scope: TripScope::Task, turns: Vec::new(), pattern: None }
    }

    /// What a guard over content reports.
    pub fn of_guard(trip: GuardTrip) -> Self {
        let cause = match trip.guard {
            GuardKind::Repetition
            | GuardKind::Cycle
            | GuardKind::NearRepetition
            | GuardKind::Restated
            | GuardKind::Confirmed
            | GuardKind::Idle => Cause::Repetition,
            GuardKind::Drafts | GuardKind::NoGain => Cause::Converged,
            GuardKind::Steps => Cause::Turns,
        };
        let (evidence, turns) = (trip.evidence(), trip.turns.clone());
        Self { turns, pattern: Some(Pattern::from(trip)), ..Self::new(cause, evidence) }
    }

    /// The same, seen on this turn.
    pub fn on(self, turn: TurnNumber) -> Self {
        Self { turns: vec![turn], ..self }
    }
}
