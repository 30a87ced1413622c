//! Adding up replayed runs, by set, outcome and guard. Mergeable, so that every core counts for itself. Never here: replay.

use std::collections::BTreeMap;

use super::{
    replay::{Replayed, StoppedBy},
    trace::{RunOutcome, Trace},
};

/// Sums over runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// Runs.
    pub runs: u64,
    /// Runs stopped.
    pub stopped: u64,
    /// Runs stopped to their harm.
    pub harmful: u64,
    /// Runs that went round in circles, or on after they were done, whatever their outcome.
    pub runaway: u64,
    /// Runaways stopped.
    pub runaway_stopped: u64,
    /// Tokens billed.
    pub billed: u64,
    /// Tokens billed after the stops.
    pub saved: u64,
    /// Tokens that could be saved.
    pub savable: u64,
    /// How many of those are saved.
    pub saved_of_savable: u64,
    /// Steps after which runs were stopped, added up (divide by `stopped`).
    pub stop_steps: u64,
}

impl Sums {
    fn add(&mut self, replayed: &Replayed) {
        let stopped = u64::from(replayed.stop.is_some());
        self.runs += 1;
        self.stopped += stopped;
        self.harmful += u64::from(replayed.harmful);
        self.runaway += u64::from(replayed.runaway);
        self.runaway_stopped += u64::from(replayed.runaway) * stopped;
        self.billed += replayed.billed_total;
        self.saved += replayed.billed_saved;
        self.savable += replayed.savable;
        self.saved_of_savable += replayed.saved_of_savable;
        self.stop_steps += replayed.stop.as_ref().map_or(0, |stop| stop.step_index as u64);
    }

    fn merge(&mut self, other: &Self) {
        let Self {
            runs,
            stopped,
            harmful,
            runaway,
            runaway_stopped,
            billed,
            saved,
            savable,
            saved_of_savable,
            stop_steps,
        } = other;
        self.runs += runs;
        self.stopped += stopped;
        self.harmful += harmful;
        self.runaway += runaway;
        self.runaway_stopped += runaway_stopped;
        self.billed += billed;
        self.saved += saved;
        self.savable += savable;
        self.saved_of_savable += saved_of_savable;
        self.stop_steps += stop_steps;
    }

    /// Share of the savable tokens that is saved, 0 to 1.
    pub fn saved_share(&self) -> f64 {
        share(self.saved_of_savable, self.savable)
    }
}

/// What replayed runs add up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// By set and outcome.
    pub by_outcome: BTreeMap<(String, RunOutcome), Sums>,
    /// By set, outcome and what stopped the runs; only stopped runs.
    pub by_stop: BTreeMap<(String, RunOutcome, StoppedBy), Sums>,
}

impl Tally {
    /// Counts one run.
    pub fn add(&mut self, trace: &Trace, replayed: &Replayed) {
        let set = trace.dataset.clone();
        self.by_outcome.entry((set.clone(), trace.outcome)).or_default().add(replayed);
        if let Some(stop) = &replayed.stop {
            self.by_stop.entry((set, trace.outcome, stop.by)).or_default().add(replayed);
        }
    }

    /// Takes in what another has counted.
    pub fn merge(&mut self, other: Self) {
        for (key, sums) in other.by_outcome {
            self.by_outcome.entry(key).or_default().merge(&sums);
        }
        for (key, sums) in other.by_stop {
            self.by_stop.entry(key).or_default().merge(&sums);
        }
    }

    /// The sets, in order.
    pub fn sets(&self) -> Vec<&str> {
        let mut sets: Vec<&str> = self.by_outcome.keys().map(|(set, _)| set.as_str()).collect();
        sets.dedup();
        sets
    }

    /// The sums of a set over all its outcomes.
    pub fn set(&self, set: &str) -> Sums {
        let mut sums = Sums::default();
        self.by_outcome.iter().filter(|((name, _), _)| name == set).for_each(|(_, one)| sums.merge(one));
        sums
    }

    /// Harmful stops of a set among its successes, 0 to 1, with its 95 % confidence interval.
    pub fn harm(&self, set: &str) -> Rate {
        let successes =
            self.by_outcome.get(&(set.to_owned(), RunOutcome::Success)).copied().unwrap_or_default();
        Rate::of(successes.harmful, successes.runs)
    }
}

/// A rate with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// Their share, 0 to 1.
    pub share: f64,
    /// The interval (Wilson score).
    pub interval: (f64, f64),
}

impl Rate {
    /// The rate of `count` in `of`.
    pub fn of(count: u64, of: u64) -> Self {
        Self { count, of, share: share(count, of), interval: wilson(count, of) }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The Wilson score interval at 95 %; it is sound for rare events too.
fn wilson(count: u64, of: u64) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    const Z: f64 = 1.959_964;
    let (n, p) = (of as f64, share(count, of));
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    (((centre - spread) / whole).max(0.0), ((centre + spread) / whole).min(1.0))
}
