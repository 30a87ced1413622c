//! Adaptive planning: a manager delegates and re-delegates with its best result so far, until rounds no longer pay.

#[path = "support/engine.rs"]
mod support;

use bailiwick::{
    engine::{event::TurnKind, guard::GuardKind},
    types::{
        contract::{ContractDraft, ConvergenceDraft},
        envelope::{Confidence, Decision, Envelope, HandOff, Status},
        outcome::{Cause, TaskState},
        time::Span,
    },
};
use support::{Bench, delegate, draft, failed, json, name, step, success};

fn converging(min_gain: f64, patience: i32) -> ContractDraft {
    let mut draft = draft();
    draft.termination.as_mut().expect("termination").convergence =
        Some(ConvergenceDraft { min_gain, patience });
    draft
}

/// The manager's next round: a draft with a score.
fn round(version: u32, score: f64) -> Envelope {
    let plan = delegate(vec![step("improve", "alpha", &[])]);
    Envelope {
        result: Some(json(&format!(r#"{{"draft":"version {version}"}}"#))),
        score: Confidence::new(score),
        ..plan
    }
}

/// Plays rounds; returns how many of them were begun.
fn play(bench: &mut Bench, rounds: &[(u32, f64)]) -> u32 {
    for (version, score) in rounds {
        bench.turn(round(*version, *score));
        if bench.task.is_ended() || bench.state() == TaskState::OwnerDecides {
            break;
        }
        let said = format!(r#"{{"hint":"make version {version} better"}}"#);
        bench.turn(success(&said, 10));
    }
    bench.task.summary().counters.rounds
}

#[test]
fn rounds_that_no_longer_pay_end_with_the_best_draft_through_the_gate() {
    let mut bench = Bench::new(&converging(0.05, 2));
    let begun = play(&mut bench, &[(1, 0.5), (2, 0.8), (3, 0.7), (4, 0.81), (5, 0.9)]);
    assert_eq!(begun, 3);
    assert_eq!(bench.outcome(), "Succeeded by Gate for Converged");
    let view = bench.task.view();
    assert_eq!(view.outcome.expect("ended").result, Some(json(r#"{"draft":"version 4"}"#)));
    let trip = &view.tripped[0].trips[0];
    assert_eq!((trip.cause, trip.turns.as_slice()), (Cause::Converged, &[5, 7][..]));
    assert_eq!(trip.pattern.as_ref().map(|pattern| pattern.guard), Some(GuardKind::NoGain));
    bench.check_replay();
}

#[test]
fn a_worse_last_draft_does_not_replace_the_best() {
    let mut bench = Bench::new(&converging(0.05, 2));
    play(&mut bench, &[(1, 0.9), (2, 0.4), (3, 0.3)]);
    assert_eq!(bench.task.view().outcome.expect("ended").result, Some(json(r#"{"draft":"version 1"}"#)));
}

#[test]
fn rounds_that_pay_go_on_to_their_cap_and_then_the_owner_decides() {
    let mut bench = Bench::new(&converging(0.05, 2));
    let begun = play(&mut bench, &[(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4), (5, 0.5), (6, 0.6)]);
    assert_eq!(begun, 5);
    let decide = bench.next();
    assert_eq!(decide.trips[0].cause, Cause::NotConverged);
    assert_eq!(decide.best_result, Some(json(r#"{"draft":"version 6"}"#)));
}

#[test]
fn two_drafts_that_are_the_same_end_the_rounds_whatever_their_scores() {
    let mut bench = Bench::new(&draft());
    let begun = play(&mut bench, &[(1, 0.5), (1, 0.9), (2, 1.0)]);
    assert_eq!(begun, 1);
    let decide = bench.next();
    assert_eq!(decide.trips[0].cause, Cause::Converged, "no contract says that this is success");
    bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: "good enough".to_owned() });
    assert_eq!(bench.outcome(), "Partial by Owner for Converged");
    bench.check_replay();
}

#[test]
fn a_draft_that_the_gate_refuses_goes_to_the_owner_with_both_reasons() {
    let mut draft = converging(0.05, 1);
    draft.gate.min_confidence = 0.95;
    let mut bench = Bench::new(&draft);
    play(&mut bench, &[(1, 0.5), (2, 0.5)]);
    let decide = bench.next();
    let causes: Vec<_> = decide.trips.iter().map(|trip| trip.cause).collect();
    assert_eq!(causes, [Cause::Converged, Cause::GateRejected]);
    assert_eq!(bench.task.summary().counters.revisions, 0, "rounds have stopped paying: no revision turn");
    bench.check_replay();
}

#[test]
fn a_partial_draft_is_no_success_so_the_owner_decides() {
    let mut bench = Bench::new(&converging(0.05, 1));
    for version in 1..=2 {
        let half = Envelope { status: Status::Partial, reason: "half".to_owned(), ..round(version, 0.5) };
        bench.turn(half);
        if bench.state() != TaskState::OwnerDecides {
            bench.turn(success(r#"{"hint":"more"}"#, 10));
        }
    }
    assert_eq!(bench.next().trips[0].cause, Cause::Converged);
}

#[test]
fn after_the_owners_replan_rounds_count_anew_and_the_score_stays_the_one_to_beat() {
    let mut draft = converging(0.1, 1);
    draft.gate.min_confidence = 0.95;
    let mut bench = Bench::new(&draft);
    play(&mut bench, &[(1, 0.5), (2, 0.5)]);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::ReplanTo(HandOff { agent: name("planner"), input: None }));
    bench.turn(round(3, 0.55));
    assert_eq!(bench.next().kind, TurnKind::Decide, "still no gain over 0.5");
    bench.check_replay();
}

#[test]
fn a_delegation_after_a_failed_plan_is_a_replan_and_says_nothing_of_the_draft() {
    let mut bench = Bench::new(&converging(0.05, 1));
    bench.turn(round(1, 0.5));
    bench.turn(failed("the source is down", 10));
    bench.turn(round(1, 0.5));
    assert_eq!(bench.next().agent, name("alpha"), "it may try again with the same draft");
    let counters = bench.task.summary().counters;
    assert_eq!((counters.rounds, counters.replans), (1, 1));
}

#[test]
fn a_plan_without_a_draft_is_a_round_without_a_gain() {
    let mut bench = Bench::new(&converging(0.05, 2));
    for number in 1..=3 {
        assert_ne!(bench.state(), TaskState::OwnerDecides, "round {number}");
        bench.turn(delegate(vec![step("improve", "alpha", &[])]));
        if bench.state() != TaskState::OwnerDecides {
            bench.turn(success(&format!(r#"{{"finding":{number}}}"#), 10));
        }
    }
    assert_eq!(bench.next().trips[0].cause, Cause::Converged);
}

#[test]
fn the_terms_and_the_score_to_beat_ride_on_every_assignment() {
    let mut bench = Bench::new(&converging(0.05, 2));
    let first = bench.turn(round(1, 0.5));
    let terms = first.convergence.expect("the contract has them");
    assert_eq!((terms.min_gain, terms.patience, first.best_score), (0.05, 2, None));
    assert_eq!(bench.next().best_score, Some(0.5));
}

#[test]
fn the_best_draft_survives_a_deadline_that_nobody_decides_about() {
    let mut draft = converging(0.05, 2);
    draft.escalation.max_escalations = Some(0);
    draft.limits.as_mut().expect("limits").decide_timeout = Some(30_000_000);
    let mut bench = Bench::new(&draft);
    play(&mut bench, &[(1, 0.5), (2, 0.8)]);
    bench.pass(Span::from_secs(540));
    bench.pass(Span::from_secs(30));
    assert_eq!(bench.outcome(), "Partial by Fallback for OwnerUnavailable");
    assert_eq!(bench.task.view().outcome.expect("ended").result, Some(json(r#"{"draft":"version 2"}"#)));
    bench.check_replay();
}
