//! What somebody is told who comes too late: the question was answered, the dead letter was dealt with. Never here: whether
//! it is too late.

use super::{
    dead_letter::{Discarded, Redriven},
    event::EscalationEnd,
    view::Settled,
};
use crate::types::{
    outcome::{Cause, TaskState},
    time::Timestamp,
};

/// A dead letter that something was done with, for whoever comes too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledLetter {
    /// What.
    pub what: Settled,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Display for SettledLetter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.what {
            Settled::Redriven(Redriven { successor, by, .. }) => {
                write!(
                    f,
                    "{by} has redriven it already, as task {successor}: look at that one; if it is a dead letter too, redrive it"
                )
            }
            Settled::Discarded(Discarded { by, .. }) => {
                write!(
                    f,
                    "{by} has discarded it: if it is wanted after all, submit its contract as a new task"
                )
            }
        }
    }
}

/// A question that has ended, for whoever answers it too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedQuestion {
    /// How it ended.
    pub end: EscalationEnd,
    /// Who answered; empty on expiry and withdrawal.
    pub by: String,
    /// What they noted.
    pub note: String,
    /// When.
    pub at: Timestamp,
    /// How the task has ended, if it has.
    pub outcome: Option<(TaskState, Cause)>,
}

impl std::fmt::Display for ClosedQuestion {
    /// Who did what, and what came of it; without the time, which is written by whoever shows it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = &self.by;
        match self.end {
            EscalationEnd::Approved => write!(f, "{by} approved it"),
            EscalationEnd::Amended => write!(f, "{by} amended the result"),
            EscalationEnd::Extended => write!(f, "{by} extended the task"),
            EscalationEnd::Aborted => write!(f, "{by} aborted the task"),
            EscalationEnd::Withdrawn => f.write_str("it was withdrawn, because the task had ended or moved on"),
            EscalationEnd::Expired => match self.outcome {
                Some((TaskState::Partial, _)) => f.write_str(
                    "it expired: nobody answered in time, and by the default answer the task ended PARTIAL with its best \
                     result so far",
                ),
                Some(_) | None => {
                    f.write_str("it expired: nobody answered in time, and by the default answer the task ended FAILED")
                }
            },
        }
    }
}
