//! Dead letters: what an operator did with one. It follows the outcome and changes neither it nor the books: a redrive is a
//! task of its own, linked both ways. Never here: how the successor is made; it is submitted as any other task is.

use serde::{Deserialize, Serialize};

use super::{
    event::Outcome,
    task::Task,
    view::{DeadLetterView, Settled},
};
use crate::types::{ids::TaskId, outcome::TaskState, time::Timestamp};

/// A successor was made of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redriven {
    /// The successor.
    pub successor: TaskId,
    /// Hash of the changes that were asked for: the same redrive again is the same successor.
    pub fingerprint: u128,
    /// The fields of the contract that differ in the successor, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Who.
    pub by: String,
    /// What they noted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A dead letter was looked at, and nothing more is to come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// Who.
    pub by: String,
    /// What they noted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What a successor knows of the dead letter it was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrives {
    /// The dead letter.
    pub task: TaskId,
    /// Who redrove it.
    pub by: String,
    /// What they noted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// How far it came, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub story: Vec<String>,
}

impl Redrives {
    /// What the successor's first agent is told.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!("this task is done anew: task {} could not be finished", self.task)];
        if !self.note.is_empty() {
            notes.push(format!("{} notes: {}", self.by, self.note));
        }
        notes.extend(self.story.iter().map(|line| format!("before: {line}")));
        notes
    }
}

/// What was done with a dead letter, as state.
#[derive(Debug, Clone)]
pub(super) struct Settlement {
    pub(super) what: Settled,
    pub(super) at: Timestamp,
}

impl Task {
    /// Whether it is a dead letter.
    pub fn is_dead_letter(&self) -> bool {
        self.state() == TaskState::DeadLettered
    }

    /// What its successor is to know of it.
    pub(super) fn redrives(&self, by: String, note: String) -> Redrives {
        let mut story = self.story();
        if let Some(Outcome { cause, reason, .. }) = &self.outcome {
            story.push(format!("ended for {cause:?}: {reason}"));
        }
        Redrives { task: self.id, by, note, story }
    }

    /// What was done with it, if it is a dead letter.
    pub(super) fn dead_letter_view(&self) -> Option<DeadLetterView> {
        self.is_dead_letter().then(|| DeadLetterView {
            settled: self.settled.as_ref().map(|settlement| settlement.what.clone()),
            at: self.settled.as_ref().map(|settlement| settlement.at),
        })
    }
}
