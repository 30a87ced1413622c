//! Calibration on made-up runs whose best terms are known.

use super::*;
use crate::backtest::trace::{RunOutcome, StepKind, StepRole, Trace, TraceStep};

fn step(i: u64, agent: &str, text: String) -> TraceStep {
    TraceStep {
        i,
        agent: agent.to_owned(),
        role: StepRole::Assistant,
        kind: StepKind::Message,
        tool: None,
        text,
        call: None,
        templated: false,
        prompt_tokens: Some(90),
        completion_tokens: Some(10),
    }
}

/// What somebody else says who has nothing to say.
const NOD: &str = "Fine.";

fn speaker(text: &str) -> &'static str {
    if text == NOD { "checker" } else { "solver" }
}

/// A run of these messages, fixed at `fixed` if it succeeds.
fn run(number: usize, topology: &str, outcome: RunOutcome, fixed: Option<u64>, texts: Vec<String>) -> Trace {
    Trace {
        trace_id: format!("run-{topology}-{number}"),
        dataset: "made-up".to_owned(),
        topology: topology.to_owned(),
        outcome,
        outcome_fixed_at: fixed,
        steps: (0..).zip(texts).map(|(i, text)| step(i, speaker(&text), text)).collect(),
    }
}

/// Three steps to an answer, which is then stated again and again.
fn settles(number: usize) -> Trace {
    let mut texts: Vec<String> = (0..3).map(|n| format!("step {n} of problem {number}")).collect();
    texts.extend((0..3).flat_map(|_| [format!("so it is \\boxed{{{number}}}"), NOD.to_owned()]));
    run(number, "settles", RunOutcome::Success, Some(3), texts)
}

/// An answer stated twice that is given up afterwards.
fn wavers(number: usize) -> Trace {
    let stated = format!("it is \\boxed{{{number}}}");
    let mut texts = vec![stated.clone(), NOD.to_owned(), stated];
    texts.extend([format!("no, \\boxed{{{}}}", number + 1), format!("that is all for problem {number}")]);
    run(number, "wavers", RunOutcome::Success, Some(3), texts)
}

fn calibrated(traces: &[Trace]) -> Calibration {
    let summaries: Vec<_> = traces.iter().map(|trace| Summary::of(trace, 0)).collect();
    calibrate(&summaries, 0.01)
}

#[test]
fn terms_are_fitted_by_the_shape_of_the_crew() {
    let traces: Vec<_> = (0..400).flat_map(|number| [settles(number), wavers(number)]).collect();
    let found = calibrated(&traces);
    let group = |name: &str| &found.groups[&("made-up".to_owned(), name.to_owned())];
    assert_eq!(group("settles").terms.finished.restated, Some(2));
    assert_ne!(group("wavers").terms.finished.restated, Some(2), "there it would harm every run");
    let whole = found.sets["made-up"].held_out;
    assert_eq!(whole.harm.count, 0);
    assert!(whole.share > 0.5, "{whole:?}");
    assert!(whole.share_interval.0 <= whole.share && whole.share <= whole.share_interval.1, "{whole:?}");
    assert_eq!(group("settles").terms.max_steps, Some(12), "nine steps and a quarter more");
    assert_eq!(group("settles").caps.max_turns, 12);
}

#[test]
fn both_halves_are_about_equal_and_every_run_is_in_one() {
    let traces: Vec<_> = (0..1_000).map(settles).collect();
    let train = traces.iter().filter(|trace| Summary::of(trace, 0).is_train).count();
    assert!((400..600).contains(&train), "{train}");
    let other = traces
        .iter()
        .filter(|trace| Summary::of(trace, 1).is_train != Summary::of(trace, 0).is_train)
        .count();
    assert!((400..600).contains(&other), "{other}");
}

#[test]
fn a_few_runs_change_no_default_and_set_no_cap() {
    let traces: Vec<_> = (0..20).map(settles).collect();
    let found = calibrated(&traces);
    assert!(found.groups.values().all(|group| group.terms == GuardTerms::default()), "{found:?}");
}

#[test]
fn nothing_to_fit_on_is_no_reason_to_fail() {
    assert_eq!(calibrated(&[]), Calibration::default());
    let unknown = Trace { outcome: RunOutcome::Unknown, steps: Vec::new(), ..settles(1) };
    assert_eq!(calibrated(&[unknown]).sets["made-up"].held_out.harm.count, 0);
}

#[test]
fn a_summary_stops_where_the_replay_does() {
    use crate::backtest::replay::{BacktestTerms, replay};
    let mut terms = GuardTerms::default();
    for times in [2, 3, 4] {
        for restated in [None, Some(2), Some(3)] {
            for max_steps in [None, Some(2), Some(5)] {
                terms.repetition.times = times;
                terms.finished.restated = restated;
                terms.max_steps = max_steps;
                for trace in [settles(7), wavers(7)] {
                    let summary = Summary::of(&trace, 0);
                    let replayed = replay(&trace, &BacktestTerms { guards: terms, ..Default::default() });
                    let stop = summary.stop(&terms).min(summary.capped(max_steps));
                    let expected = replayed.stop.map_or(summary::NEVER, |stop| stop.step_index as u16);
                    assert_eq!(stop, expected, "{terms:?}");
                    assert_eq!(summary.worth(stop).is_none(), replayed.harmful);
                    assert_eq!(summary.worth(stop).unwrap_or(0), replayed.saved_of_savable);
                }
            }
        }
    }
}
