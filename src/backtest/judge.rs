//! A whole backtest: files in, a report out. Each run is replayed where it is read, and only what the report needs of it is
//! kept. Never here: printing, or a rule.

use std::collections::BTreeMap;

use super::{
    calibrate::{self, Fitted, Score, Summary, Whole},
    fault::Fault,
    replay::{BacktestTerms, replay},
    report::{
        Across, Alone, CalibratedSet, Calibration, Fit, Half, MOST_FAULTS, Report, SCHEMA, Skipped, Terms,
    },
    run::{self, Got, Progress},
    sum::{Judged, Sets},
    terms,
    trace::Trace,
};
use crate::types::guards::{FinishedTerms, GuardTerms, RepetitionTerms};

/// How runs are judged.
#[derive(Debug, Clone)]
pub struct Options {
    /// By what.
    pub terms: BacktestTerms,
    /// The file the terms come from; `None`: the defaults.
    pub contract: Option<String>,
    /// Fit terms, with this share of harmful stops at most, 0 to 1.
    pub calibrate: Option<f64>,
    /// Which runs are in which half: another number, another split.
    pub salt: u64,
    /// Judge each guard alone, too.
    pub alone: bool,
    /// Threads that work; 0: as many as there are cores.
    pub workers: usize,
}

/// What is kept of a run.
struct Kept {
    set: String,
    judged: Judged,
    alone: Vec<Judged>,
    summary: Option<Summary>,
}

/// Judges every run of the files. `heard` is told how many have been judged, from time to time, and every fault at once.
pub fn judge(
    files: &[String],
    progress: &Progress,
    options: &Options,
    mut heard: impl FnMut(Heard),
) -> Report {
    let alone = if options.alone { each_alone() } else { Vec::new() };
    let work = |run: Trace| {
        let judged = |terms: &BacktestTerms| Judged::of(&run, &replay(&run, terms));
        Kept {
            judged: judged(&options.terms),
            alone: alone.iter().map(|(_, terms)| judged(terms)).collect(),
            summary: options.calibrate.map(|_| Summary::of(&run, options.salt)),
            set: run.dataset,
        }
    };
    let mut sets = Sets::default();
    let mut alone_sets = vec![Sets::default(); alone.len()];
    let mut summaries = Vec::new();
    let mut skipped = Skipped::default();
    let mut runs = 0;
    let workers = if options.workers == 0 { run::cores() } else { options.workers };
    run::each(files, progress, workers, work, |got| match got {
        Got::Done(Kept { set, judged, alone, summary }) => {
            sets.add(&set, &judged);
            alone_sets.iter_mut().zip(&alone).for_each(|(sets, judged)| sets.add(&set, judged));
            summaries.extend(summary);
            runs += 1;
            heard(Heard::Runs(runs));
        }
        Got::Fault(fault) => {
            skipped.faults += 1;
            if skipped.listed.len() < MOST_FAULTS {
                skipped.listed.push(fault.to_string());
            }
            heard(Heard::Fault(fault));
        }
        Got::Empty(traces) => skipped.empty_traces += traces,
    });
    let alone = alone.iter().zip(&alone_sets);
    Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        terms: Terms { contract: options.contract.clone(), values: terms::values(&options.terms) },
        sets: sets.report(),
        skipped,
        alone: alone
            .map(|((name, _), sets)| Alone { guard: (*name).to_owned(), sets: sets.report() })
            .collect(),
        calibration: options.calibrate.map(|max_harm| calibrated(&summaries, max_harm, options.salt)),
    }
}

/// What is told while runs are judged.
#[derive(Debug)]
pub enum Heard {
    /// So many runs have been judged.
    Runs(u64),
    /// Something could not be read.
    Fault(Fault),
}

/// The default terms with all guards but one switched off, by that one's name.
fn each_alone() -> Vec<(&'static str, BacktestTerms)> {
    let default = GuardTerms::default();
    let none = GuardTerms {
        repetition: RepetitionTerms { on: false, ..default.repetition },
        finished: FinishedTerms { restated: None, confirmed: false, idle: None, ..default.finished },
        ..default
    };
    let finished = none.finished;
    let of = |guards| BacktestTerms { guards, ..BacktestTerms::default() };
    vec![
        ("repetition", of(GuardTerms { repetition: default.repetition, ..none })),
        (
            "finished.restated",
            of(GuardTerms {
                finished: FinishedTerms { restated: default.finished.restated, ..finished },
                ..none
            }),
        ),
        (
            "finished.confirmed",
            of(GuardTerms {
                finished: FinishedTerms { confirmed: default.finished.confirmed, ..finished },
                ..none
            }),
        ),
        (
            "finished.idle",
            of(GuardTerms { finished: FinishedTerms { idle: default.finished.idle, ..finished }, ..none }),
        ),
    ]
}

fn calibrated(summaries: &[Summary], max_harm: f64, salt: u64) -> Calibration {
    let calibrate::Calibration { groups, sets, across } = calibrate::calibrate(summaries, max_harm);
    let mut fits: BTreeMap<String, Vec<Fit>> = BTreeMap::new();
    for ((set, topology), Fitted { terms, caps, is_own: _, train, held_out }) in groups {
        let fragment = terms::fragment(&terms) + &terms::caps(caps);
        let changed = terms != GuardTerms::default();
        let fit = Fit { topology, changed, fragment, fitted: half(&train), held_out: half(&held_out) };
        fits.entry(set).or_default().push(fit);
    }
    let sets = sets
        .into_iter()
        .map(|(set, Whole { train, held_out })| CalibratedSet {
            groups: fits.remove(&set).unwrap_or_default(),
            set,
            fitted: half(&train),
            held_out: half(&held_out),
        })
        .collect();
    let across =
        across.into_iter().map(|((from, to), score)| Across { from, to, judged: half(&score) }).collect();
    Calibration { max_harm, salt, sets, across }
}

fn half(score: &Score) -> Half {
    let Score { runs, stopped, harm, savable, saved, share, share_interval } = *score;
    let graded = harm.of > 0;
    Half {
        runs,
        stopped,
        harmful: harm.count,
        successes: harm.of,
        harm_rate: graded.then_some(harm.share),
        harm_interval: graded.then_some([harm.interval.0, harm.interval.1]),
        savable,
        saved_savable: saved,
        saved_of_savable: (savable > 0).then_some(share),
        saved_interval: (savable > 0).then_some([share_interval.0, share_interval.1]),
    }
}
