//! What has been used of every cap, and what a person adds to them: figures that events carry. Never here: a rule.

use serde::{Deserialize, Serialize};

use crate::types::{extension::Extension, time::Span};

/// What has been used of a cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Used {
    pub used: u64,
    pub cap: u64,
}

/// What has been used of every cap that a person can raise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Tokens: spent and still reserved; granted.
    pub tokens: Used,
    /// Money, in nano-USD, where the contract limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_nano_usd: Option<Used>,
    /// Hand-offs.
    pub hops: Used,
    /// Work turns.
    pub turns: Used,
    /// Rounds.
    pub rounds: Used,
    /// Re-plans.
    pub replans: Used,
    /// Revision turns.
    pub revisions: Used,
    /// Decide turns.
    pub decides: Used,
    /// Observed steps, where they have a cap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Used>,
    /// Time until the deadline.
    pub time_left: Span,
}

/// What a person has added to the caps, with what followed from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extended {
    /// The question that this answered.
    pub number: u32,
    /// Who.
    pub by: String,
    /// What they added.
    pub added: Extension,
    /// The part of the added tokens that refilled the finalization reserve.
    pub reserve_tokens: u64,
    /// Decide turns that were added, so that the owner can decide what to do with the room.
    pub decides: u32,
}
