//! A run as calibration sees it: where every term that could be chosen would have stopped it, and what a stop is worth
//! there. Never here: choosing terms.

use super::{
    Caps, Score,
    grid::{IDLE, REPEATS},
};
use crate::{
    backtest::{
        replay::{Bill, levels},
        score::Rate,
        trace::{RunOutcome, Trace},
    },
    types::guards::GuardTerms,
};

/// No stop.
pub(super) const NEVER: u16 = u16::MAX;
/// Bootstrap samples.
const SAMPLES: usize = 400;
/// More agents than this are no shape of a crew but a list of names.
const MAX_CREW: usize = 8;

/// All that calibration needs of a run: made in one pass, some hundred bytes.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The set it belongs to.
    pub dataset: String,
    /// The shape of its crew: as recorded, else the names of its agents.
    pub group: String,
    /// How it was graded.
    pub outcome: RunOutcome,
    /// Whether it belongs to the half that terms are fitted on.
    pub is_train: bool,
    /// Tokens that could be saved.
    pub savable: u64,
    /// Hand-offs, turns and tokens of the whole run.
    pub(super) used: Caps,
    /// By times from 2 on: the step at which equal or like content had come round so often.
    repeats: [u16; REPEATS],
    restated: [u16; REPEATS],
    confirmed: u16,
    idle: [u16; IDLE],
    /// By observed step: its index.
    steps: Box<[u16]>,
    /// By index of a step: tokens saved by a stop after it; `None`: it harms.
    worth: Box<[Option<u32>]>,
}

impl Summary {
    /// The summary of a run. Which half it belongs to is decided by the hash of its id and `salt`.
    pub fn of(trace: &Trace, salt: u64) -> Self {
        let bill = Bill::of(trace);
        let mut summary = Self {
            dataset: trace.dataset.clone(),
            group: group(trace),
            outcome: trace.outcome,
            is_train: is_train(&trace.trace_id, salt),
            savable: bill.savable,
            used: Caps { max_tokens: bill.total, ..Caps::default() },
            repeats: [NEVER; REPEATS],
            restated: [NEVER; REPEATS],
            confirmed: NEVER,
            idle: [NEVER; IDLE],
            steps: Box::default(),
            worth: worth(trace, &bill),
        };
        let mut steps = Vec::with_capacity(trace.steps.len());
        for (step, levels) in levels(trace, &GuardTerms::default()) {
            let at = u16::try_from(step.index).unwrap_or(NEVER);
            mark(&mut summary.repeats, levels.repetition.max(levels.near_repetition), at);
            mark(&mut summary.restated, levels.restated, at);
            mark(&mut summary.idle, levels.idle, at);
            if levels.confirmed {
                summary.confirmed = summary.confirmed.min(at);
            }
            if levels.steps as usize > steps.len() {
                steps.push(at);
            }
            summary.used.max_hops = step.hops;
            summary.used.max_turns = step.turn;
        }
        summary.steps = steps.into();
        summary
    }

    /// The step after which these terms stop the run, the cap on steps apart; `NEVER`: none.
    pub(super) fn stop(&self, terms: &GuardTerms) -> u16 {
        let at =
            |table: &[u16], count: u32| table.get(count.saturating_sub(2) as usize).copied().unwrap_or(NEVER);
        let mut stop = NEVER;
        if terms.repetition.on {
            stop = stop.min(at(&self.repeats, terms.repetition.times));
        }
        if terms.finished.on {
            stop = stop.min(terms.finished.restated.map_or(NEVER, |times| at(&self.restated, times)));
            stop = stop.min(terms.finished.idle.map_or(NEVER, |run| at(&self.idle, run)));
            if terms.finished.confirmed {
                stop = stop.min(self.confirmed);
            }
        }
        stop
    }

    /// The step after which a cap on observed steps stops the run.
    pub(super) fn capped(&self, max_steps: Option<u32>) -> u16 {
        let last = max_steps.and_then(|most| self.steps.get((most as usize).saturating_sub(1)));
        last.copied().unwrap_or(NEVER)
    }

    /// Observed steps.
    pub(super) fn steps(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// What a stop after this step saves; `None`: it harms.
    pub(super) fn worth(&self, stop: u16) -> Option<u64> {
        match self.worth.get(usize::from(stop)) {
            Some(worth) => worth.map(u64::from),
            None => Some(0),
        }
    }
}

/// The first step at which each level was reached; levels count from 2.
fn mark(first: &mut [u16], level: u32, at: u16) {
    let reached = (level.saturating_sub(1) as usize).min(first.len());
    first[..reached].iter_mut().for_each(|first| *first = (*first).min(at));
}

fn worth(trace: &Trace, bill: &Bill) -> Box<[Option<u32>]> {
    let mut left = bill.total;
    let worth = |(index, billed): (usize, &u64)| {
        left -= billed;
        if bill.is_harmful(trace.outcome, index) {
            return None;
        }
        let saved = if trace.outcome == RunOutcome::Unknown { 0 } else { left };
        Some(u32::try_from(saved).unwrap_or(u32::MAX))
    };
    bill.steps.iter().enumerate().map(worth).collect()
}

fn group(trace: &Trace) -> String {
    if !trace.topology.is_empty() {
        return trace.topology.clone();
    }
    let mut agents: Vec<&str> = trace.steps.iter().map(|step| step.agent.as_str()).collect();
    agents.sort_unstable();
    agents.dedup();
    if agents.len() > MAX_CREW { String::new() } else { agents.join(" + ") }
}

/// A fair coin that falls the same way for the same id and salt on every machine (FNV-1a, then mixed).
fn is_train(id: &str, salt: u64) -> bool {
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325 ^ mix(salt), fnv);
    mix(hash) & 1 == 0
}

const fn mix(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// What terms achieve on these runs, each under its own.
pub(super) fn score<'a>(
    runs: impl Iterator<Item = &'a &'a Summary>,
    terms_of: impl Fn(&Summary) -> GuardTerms,
) -> Score {
    let mut stopped = 0;
    let (mut successes, mut harmful) = (0, 0);
    let mut tokens = Vec::new();
    for run in runs {
        let terms = terms_of(run);
        let stop = run.stop(&terms).min(run.capped(terms.max_steps));
        let worth = run.worth(stop);
        stopped += u64::from(stop != NEVER);
        successes += u64::from(run.outcome == RunOutcome::Success);
        harmful += u64::from(worth.is_none());
        tokens.push((worth.unwrap_or(0), run.savable));
    }
    let (saved, savable) = sum(tokens.iter());
    Score {
        runs: tokens.len() as u64,
        stopped,
        harm: Rate::of(harmful, successes),
        savable,
        saved,
        share: share(saved, savable),
        share_interval: bootstrap(&tokens),
    }
}

/// The 95 % interval of the share saved, by drawing runs with replacement; the draws are the same every time.
fn bootstrap(tokens: &[(u64, u64)]) -> (f64, f64) {
    if tokens.is_empty() {
        return (0.0, 0.0);
    }
    let mut draw = 0_u64;
    let mut shares: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let picks = tokens.iter().map(|_| {
                draw += 1;
                &tokens[(mix(draw) % tokens.len() as u64) as usize]
            });
            let (saved, savable) = sum(picks);
            share(saved, savable)
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    (shares[SAMPLES / 40], shares[SAMPLES - 1 - SAMPLES / 40])
}

fn sum<'a>(tokens: impl Iterator<Item = &'a (u64, u64)>) -> (u64, u64) {
    tokens.fold((0, 0), |(saved, savable), one| (saved + one.0, savable + one.1))
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The most that a successful run used, with a quarter to spare; of none, nothing is known: zeros.
pub(super) fn caps<'a>(runs: impl Iterator<Item = &'a &'a Summary>) -> Caps {
    let most =
        runs.filter(|run| run.outcome == RunOutcome::Success).fold(Caps::default(), |most, run| Caps {
            max_hops: most.max_hops.max(run.used.max_hops),
            max_turns: most.max_turns.max(run.used.max_turns),
            max_tokens: most.max_tokens.max(run.used.max_tokens),
        });
    Caps {
        max_hops: most.max_hops + most.max_hops.div_ceil(4),
        max_turns: most.max_turns + most.max_turns.div_ceil(4),
        max_tokens: most.max_tokens + most.max_tokens.div_ceil(4),
    }
}
