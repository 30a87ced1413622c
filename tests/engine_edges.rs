//! Where rules meet: what a worker that is wrong, unlucky or hostile does to the ledger and to the cause of an end.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, Reply},
        event::AttemptEnd,
        intake,
    },
    types::{
        contract::ContractDraft,
        envelope::{Answer, Decision, Envelope},
        limits::Ceilings,
        outcome::{Cause, TaskState},
        time::Span,
        usage::Usage,
    },
};
use support::{Bench, delegate, draft, failed, hand_off, json, name, step, success, usage};

/// A draft with these tokens for a turn, at most and at least.
fn turns_of(most: i64, least: i64) -> ContractDraft {
    let mut draft = draft();
    if let Some(budget) = &mut draft.budget {
        (budget.max_tokens_per_turn, budget.min_tokens_per_turn) = (most, least);
    }
    draft
}

#[test]
fn a_technical_failure_that_overspent_the_grant_is_a_matter_of_budget() {
    let mut bench = Bench::new(&draft());
    bench.turn(Envelope { retryable: true, ..failed("the model is down", 200_000) });
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert_eq!(bench.next().trips[0].cause, Cause::Budget);
    bench.check_replay();
}

#[test]
fn money_that_runs_out_with_an_answer_trips_the_guard_as_tokens_do() {
    let mut draft = draft();
    if let Some(budget) = &mut draft.budget {
        budget.max_cost_nano_usd = 50_000;
    }
    let mut bench = Bench::new(&draft);
    let dear = Usage { cost_nano_usd: 50_001, ..usage(10) };
    bench.turn(Envelope { usage: Some(dear), ..success("{}", 10) });
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert_eq!(bench.next().trips[0].cause, Cause::Budget);
    bench.check_replay();
}

#[test]
fn a_turn_that_only_vanished_attempts_leave_no_funds_for_is_a_technical_failure() {
    let mut bench = Bench::new(&turns_of(40_000, 25_000));
    let lost = bench.next();
    bench.lose(lost.lease);
    bench.pass(Span::from_secs(1));
    bench.turn(Envelope { usage: Some(usage(30_000)), ..hand_off("alpha") });
    assert_eq!(bench.outcome(), "DeadLettered by System for AttemptsExhausted");
    bench.check_replay();
}

#[test]
fn a_plan_that_cannot_be_funded_however_often_it_is_corrected_is_a_matter_of_budget() {
    let mut bench = Bench::new(&draft());
    for _ in 0..3 {
        let greedy = (0..90).map(|n| step(&format!("s{n}"), "alpha", &[])).collect();
        bench.turn(delegate(greedy));
    }
    assert_eq!(bench.next().trips[0].cause, Cause::Budget);
    bench.check_replay();
}

#[test]
fn a_step_that_asks_for_less_than_a_turn_is_worth_is_refused_with_its_plan() {
    let mut bench = Bench::new(&turns_of(20_000, 2_000));
    bench.turn(delegate(vec![step("small", "alpha", &[])]));
    let correction = bench.next();
    assert_eq!(correction.agent, name("planner"));
    assert!(correction.notes[0].contains("step small"), "{:?}", correction.notes);
    bench.check_replay();
}

#[test]
fn money_beyond_all_counting_is_counted_as_the_most_there_is() {
    let mut bench = Bench::new(&draft());
    let endless = Usage { cost_nano_usd: u64::MAX, ..usage(10) };
    bench.turn(Envelope { usage: Some(endless), ..hand_off("alpha") });
    bench.turn(Envelope { usage: Some(endless), ..success("{}", 10) });
    assert_eq!(bench.task.summary().ledger.usage.cost_nano_usd, u64::MAX);
}

#[test]
fn a_result_reported_on_the_way_is_said_to_be_unchecked() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    let draft_of_it = Some(json(r#""not even an object""#));
    bench.send(Command::Progress { lease, steps: Vec::new(), partial: draft_of_it }).expect("live");
    bench.answer(lease, failed("no idea", 10));
    let decide = bench.next();
    bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: String::new() });
    let outcome = bench.task.view().outcome.expect("it has ended");
    assert!(outcome.findings[0].contains("not been checked"), "{:?}", outcome.findings);
    bench.check_replay();
}

#[test]
fn a_technical_failure_sent_again_is_known() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    let answer = Arc::new(Answer::Envelope(Envelope { retryable: true, ..failed("outage", 10) }));
    let complete = || Command::Complete { lease, answer: Arc::clone(&answer), findings: Vec::new().into() };
    assert_eq!(bench.send(complete()), Ok(Reply::Completed { repeated: false }));
    let events = bench.records.len();
    assert_eq!(bench.send(complete()), Ok(Reply::Completed { repeated: true }));
    assert_eq!(bench.records.len(), events);
    bench.check_replay();
}

#[test]
fn what_is_missing_hides_no_other_fault() {
    let mut draft = draft();
    if let (Some(budget), Some(limits)) = (&mut draft.budget, &mut draft.limits) {
        budget.max_tokens = 0;
        budget.max_tokens_per_turn = -1;
        budget.max_tokens_by_agent.insert("nobody".to_owned(), 5);
        limits.deadline = None;
        limits.worker_wait = Some(-1);
    }
    let faults = intake::complete(&draft, &Ceilings::default(), &|agent| agent.as_str() != "nobody")
        .expect_err("it is full of faults");
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "budget.max_tokens",
            "budget.max_tokens_by_agent.nobody",
            "budget.max_tokens_per_turn",
            "limits.deadline",
            "limits.worker_wait"
        ]
    );
}

#[test]
fn a_worker_that_is_away_for_a_moment_is_waited_for_from_then_on() {
    let mut draft = draft();
    if let Some(limits) = &mut draft.limits {
        limits.worker_wait = Some(100_000_000);
    }
    let mut bench = Bench::new(&draft);
    bench.pass(Span::from_secs(150));
    (bench.known.served, bench.known.since) = (false, bench.now);
    bench.pass(Span::from_secs(1));
    assert_eq!(bench.state(), TaskState::Queued, "it waited behind a busy worker, not without one");
    bench.pass(Span::from_secs(98));
    assert_eq!(bench.state(), TaskState::Queued);
    let look = bench.task.next_timer(bench.now).expect("an open task has a timer");
    assert!(look.since(bench.now) <= Span::from_secs(25), "it is looked at again soon");
    bench.pass(Span::from_secs(1));
    assert_eq!(bench.outcome(), "DeadLettered by System for NoWorker");
}

#[test]
fn work_that_never_reached_its_worker_costs_nothing_and_is_no_try() {
    let mut bench = Bench::new(&draft());
    for _ in 0..5 {
        let assignment = bench.next();
        let end = AttemptEnd::Undelivered;
        let gone =
            Command::EndLease { lease: assignment.lease, end, reason: "the session closed".to_owned() };
        bench.send(gone).expect("was live");
        let ledger = bench.task.summary().ledger;
        assert_eq!((ledger.spent, ledger.unheard), (0, 0));
        bench.pass(Span::from_secs(10));
    }
    bench.turn(success("{}", 1));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    bench.check_replay();
}
