//! The search for terms: every combination on the grid, with the harm bounded and priced. Never here: the held-out half.

use std::collections::BTreeMap;

use super::{grid, summary::Summary};
use crate::{
    backtest::trace::RunOutcome,
    types::guards::{GuardTerms, MAX_STEPS},
};

/// The part of the allowed harm that a fit may use: what fits one half harms the other a little more.
const HARM_MARGIN: f64 = 0.5;
/// A harmed success in a hundred must buy so many hundredths of the savable tokens.
const HARM_WEIGHT: f64 = 30.0;
/// A group gets terms of its own where they are better by this much of its savable tokens, 0 to 1.
const OWN_GAIN: f64 = 0.02;
/// Fewer runs are not a group of their own.
const MIN_GROUP: usize = 50;
/// From so few successes no cap on steps can be told.
const MIN_SUCCESSES: u64 = 50;
/// Runs of a group that are looked at, at most.
const MAX_RUNS: usize = 20_000;

/// Terms fitted to a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fit {
    pub(super) terms: GuardTerms,
    pub(super) is_own: bool,
}

/// Terms by group, fitted to the runs of a set that are there to be fitted on. Runs whose group is not among them are under
/// the terms of the whole set, at "".
pub(super) fn set<'a>(runs: &[&'a Summary], max_harm: f64) -> BTreeMap<&'a str, Fit> {
    let train: Vec<&Summary> = runs.iter().copied().filter(|run| run.is_train).collect();
    let whole = best(&train, max_harm);
    let mut groups = BTreeMap::<&str, Vec<&Summary>>::new();
    for run in &train {
        groups.entry(&run.group).or_default().push(run);
    }
    groups.retain(|_, runs| runs.len() >= MIN_GROUP);
    let fit = |(group, runs): (&'a str, Vec<&Summary>)| {
        let own = best(&runs, max_harm);
        let gain = value(&runs, &own) - value(&runs, &whole);
        let is_own = gain > OWN_GAIN || own_is_safer(&runs, &own, &whole, max_harm);
        let terms = if is_own { own } else { whole };
        // A cap is always the group's own, where it has one.
        (group, Fit { terms: GuardTerms { max_steps: own.max_steps.or(terms.max_steps), ..terms }, is_own })
    };
    let mut fits: BTreeMap<&str, Fit> = groups.into_iter().map(fit).collect();
    fits.entry("").or_insert(Fit { terms: whole, is_own: false });
    fits
}

/// Whether these runs have successes enough for harm to show.
pub(super) fn shows_harm(runs: &[&Summary]) -> bool {
    successes(runs) >= MIN_SUCCESSES
}

/// The guards that fit these runs best, without the cap on steps, which is a crew's own.
pub(super) fn guards(runs: &[&Summary], max_harm: f64) -> GuardTerms {
    GuardTerms { max_steps: None, ..best(runs, max_harm) }
}

/// Whether the whole set's terms harm more of a group than is allowed, and its own do not.
fn own_is_safer(runs: &[&Summary], own: &GuardTerms, whole: &GuardTerms, max_harm: f64) -> bool {
    let most = max_harm * successes(runs) as f64;
    let harm = |terms| outcome(runs, terms).harmed as f64;
    successes(runs) as f64 * max_harm >= 1.0 && harm(whole) > most && harm(own) <= most
}

/// What terms do to runs.
#[derive(Debug, Clone, Copy, Default)]
struct Outcome {
    saved: u64,
    harmed: u64,
}

impl Outcome {
    fn add(&mut self, worth: Option<u64>) {
        match worth {
            Some(saved) => self.saved += saved,
            None => self.harmed += 1,
        }
    }

    /// The share of the savable that is saved, less the price of harm.
    fn value(self, savable: u64, successes: u64) -> f64 {
        let saved = self.saved as f64 / savable.max(1) as f64;
        saved - HARM_WEIGHT * self.harmed as f64 / successes.max(1) as f64
    }
}

fn successes(runs: &[&Summary]) -> u64 {
    runs.iter().filter(|run| run.outcome == RunOutcome::Success).count() as u64
}

fn outcome(runs: &[&Summary], terms: &GuardTerms) -> Outcome {
    let mut outcome = Outcome::default();
    for run in runs {
        outcome.add(run.worth(run.stop(terms).min(run.capped(terms.max_steps))));
    }
    outcome
}

fn value(runs: &[&Summary], terms: &GuardTerms) -> f64 {
    outcome(runs, terms).value(runs.iter().map(|run| run.savable).sum(), successes(runs))
}

/// The best terms for these runs whose harm stays within the margin; the defaults where none does. The cap on steps is not
/// searched: it is what no success needed, with room to spare.
fn best(runs: &[&Summary], max_harm: f64) -> GuardTerms {
    let every = runs.len().div_ceil(MAX_RUNS).max(1);
    let runs: Vec<&Summary> = runs.iter().copied().step_by(every).collect();
    let successes = successes(&runs);
    let savable = runs.iter().map(|run| run.savable).sum();
    let allowed = HARM_MARGIN * max_harm * successes as f64;
    let max_steps = (successes >= MIN_SUCCESSES).then(|| cap(&runs)).flatten();
    let mut best = (f64::NEG_INFINITY, GuardTerms { max_steps, ..GuardTerms::default() });
    for terms in grid::terms() {
        let terms = GuardTerms { max_steps, ..terms };
        let outcome = outcome(&runs, &terms);
        let value = outcome.value(savable, successes);
        if outcome.harmed as f64 <= allowed && value > best.0 + 1e-9 {
            best = (value, terms);
        }
    }
    best.1
}

/// A quarter more steps than any success needed.
fn cap(runs: &[&Summary]) -> Option<u32> {
    let successes = runs.iter().filter(|run| run.outcome == RunOutcome::Success);
    successes.map(|run| run.steps()).max().map(|most| (most + most.div_ceil(4)).min(MAX_STEPS))
}
