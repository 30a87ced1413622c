//! Fitting the terms of the guards to recorded runs: on one half of them, with a bound on harm, reported on the other.
//! Never here: a guard's rule, reading files, writing contracts.
//!
//! Each run is replayed once; its `Summary` says for every term that could be chosen where that term would have stopped it,
//! so that trying a set of terms costs a few comparisons a run. A fit is careful about harm: it may use only a part of the
//! allowed harm (`HARM_MARGIN`), a harmful stop must buy savings (`HARM_WEIGHT`), and where successes are too few to
//! show harm, only terms as lax as the defaults are tried.

mod fit;
mod grid;
mod summary;

use std::collections::BTreeMap;

pub use summary::Summary;

use super::score::Rate;
use crate::types::guards::GuardTerms;

/// Caps on what the guards do not read, for the `limits` of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caps {
    /// Hand-offs.
    pub max_hops: u32,
    /// Turns.
    pub max_turns: u32,
    /// Tokens.
    pub max_tokens: u64,
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
    /// What no successful run of the fitted half needed more than, with a quarter to spare.
    pub caps: Caps,
    /// Whether the terms are the group's own; else they were fitted to the whole set.
    pub is_own: bool,
    /// On the half they were fitted on.
    pub train: Score,
    /// On the other half.
    pub held_out: Score,
}

/// A set as a whole, each run under its group's terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whole {
    /// On the half that was fitted on.
    pub train: Score,
    /// On the other half.
    pub held_out: Score,
}

/// A calibration.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    /// By set and group (the shape of the crew); "": all that are in no group.
    pub groups: BTreeMap<(String, String), Fitted>,
    /// By set.
    pub sets: BTreeMap<String, Whole>,
    /// Guards (no cap on steps) fitted to the first set, on every run of the second: what a stranger may expect.
    pub across: BTreeMap<(String, String), Score>,
}

/// Fits terms so that at most `max_harm` (0 to 1) of the successes should be harmed: to each set, and to a group within it
/// where its own terms do clearly better.
pub fn calibrate(summaries: &[Summary], max_harm: f64) -> Calibration {
    let mut by_set = BTreeMap::<&str, Vec<&Summary>>::new();
    for summary in summaries {
        by_set.entry(&summary.dataset).or_default().push(summary);
    }
    let mut calibration = Calibration::default();
    for (set, runs) in &by_set {
        let (set, runs) = (*set, runs.as_slice());
        let fits = fit::set(runs, max_harm);
        let group_of = |run: &Summary| fits.get_key_value(run.group.as_str()).map_or("", |(group, _)| *group);
        let terms_of = |run: &Summary| fits[group_of(run)].terms;
        let score =
            |is_train: bool| summary::score(runs.iter().filter(|run| run.is_train == is_train), terms_of);
        calibration.sets.insert(set.to_owned(), Whole { train: score(true), held_out: score(false) });
        for (group, fit) in &fits {
            let of_group = |is_train: bool| {
                runs.iter().filter(move |run| run.is_train == is_train && group_of(run) == *group)
            };
            if of_group(true).next().or_else(|| of_group(false).next()).is_none() {
                continue;
            }
            let fitted = Fitted {
                terms: fit.terms,
                caps: summary::caps(of_group(true)),
                is_own: fit.is_own,
                train: summary::score(of_group(true), |_| fit.terms),
                held_out: summary::score(of_group(false), |_| fit.terms),
            };
            calibration.groups.insert((set.to_owned(), (*group).to_owned()), fitted);
        }
    }
    calibration.across = across(&by_set, max_harm);
    calibration
}

/// Every set whose successes are enough to show harm, under what was fitted to each other such set.
fn across(by_set: &BTreeMap<&str, Vec<&Summary>>, max_harm: f64) -> BTreeMap<(String, String), Score> {
    let large: BTreeMap<_, _> = by_set.iter().filter(|(_, runs)| fit::shows_harm(runs)).collect();
    let mut across = BTreeMap::new();
    for (from, fitted) in &large {
        let terms = fit::guards(fitted, max_harm);
        for (to, runs) in large.iter().filter(|(to, _)| *to != from) {
            across.insert(((**from).to_owned(), (**to).to_owned()), summary::score(runs.iter(), |_| terms));
        }
    }
    across
}

#[cfg(test)]
mod tests;
