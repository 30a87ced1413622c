//! The three patterns and their mixtures: fallbacks, optional steps, partial results, hand-offs inside steps, siblings.

#[path = "support/engine.rs"]
mod support;

use bailiwick::{
    engine::{
        command::{Assignment, Command, HumanAnswer},
        event::Event,
        intake,
    },
    types::{
        contract::{ContractDraft, ConvergenceDraft},
        envelope::{Confidence, Directive, Envelope, Status},
        outcome::{Cause, TaskState},
        plan::{OnStepFailure, PlanDraft, StepDraft},
        time::Span,
    },
};
use support::{Bench, delegate, draft, failed, hand_off, name, plan, step, success, usage};

/// A step of alpha that falls back to these.
fn with_fallbacks(id: &str, fallbacks: &[&str]) -> StepDraft {
    let fallback_agents = fallbacks.iter().map(|agent| (*agent).to_owned()).collect();
    StepDraft { fallback_agents, ..step(id, "alpha", &[]) }
}

fn optional(step: StepDraft) -> StepDraft {
    StepDraft { optional: true, ..step }
}

fn partial(reason: &str) -> Envelope {
    Envelope { status: Status::Partial, reason: reason.to_owned(), ..success(r#"{"half":1}"#, 10) }
}

/// Delegates a plan whose failed step cancels what runs beside it.
fn delegate_cancelling(steps: Vec<StepDraft>) -> Envelope {
    let draft = PlanDraft { on_step_failure: OnStepFailure::Cancel, ..plan(steps) };
    let plan = intake::plan(&draft, "plan").expect("a valid plan");
    Envelope { result: None, directive: Some(Directive::Delegate(plan)), ..success("null", 10) }
}

/// A contract with a plan of its own, whose last step's result is the plan's.
fn static_plan(steps: Vec<StepDraft>) -> ContractDraft {
    let result_step = steps.last().map(|step| step.id.clone()).unwrap_or_default();
    ContractDraft { first_agent: None, plan: Some(PlanDraft { result_step, ..plan(steps) }), ..draft() }
}

/// How the steps ended, in the order of their ends: "id: END", with "?" where the plan went on without it.
fn ends(bench: &Bench) -> Vec<String> {
    let end = |event: &Event| match event {
        Event::StepEnded { id, end, optional, .. } => {
            Some(format!("{id}: {end:?}{}", if *optional { "?" } else { "" }))
        }
        _ => None,
    };
    bench.records.iter().filter_map(|record| end(&record.event)).collect()
}

/// What a turn sees: "id of agent: STATUS reason".
fn seen(assignment: &Assignment) -> Vec<String> {
    let line = |e: &bailiwick::engine::command::LineageEntry| {
        format!("{} of {}: {:?} {}", e.id, e.agent, e.envelope.status, e.envelope.reason)
            .trim_end()
            .to_owned()
    };
    assignment.lineage.iter().map(line).collect()
}

fn plan_succeeded(bench: &Bench) -> bool {
    let ended = |event: &Event| match event {
        Event::PlanEnded { succeeded, .. } => Some(*succeeded),
        _ => None,
    };
    bench.records.iter().rev().find_map(|record| ended(&record.event)).expect("the plan has ended")
}

// Fallbacks.

#[test]
fn a_step_whose_agent_failed_goes_to_its_fallbacks_in_order_and_its_dependents_wait() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta", "gamma"]), step("z", "owner", &["a"])]));
    bench.turn(failed("no source", 10));
    let beta = bench.next();
    assert_eq!(
        (beta.agent.clone(), beta.step.as_ref().map(ToString::to_string)),
        (name("beta"), Some("a".into()))
    );
    assert_eq!(beta.notes, ["you take this step over from alpha, which failed: no source"]);
    assert_eq!(seen(&beta)[0], "turn-2 of alpha: Failed no source", "it sees what was tried");
    bench.answer(beta.lease, failed("no key", 10));
    let gamma = bench.next();
    assert_eq!(gamma.agent, name("gamma"));
    bench.answer(gamma.lease, success("1", 10));
    let z = bench.next();
    assert_eq!(seen(&z)[0], "a of gamma: Success", "its envelope is the last turn's");
    assert_eq!(ends(&bench), ["a: Success"]);
    assert_eq!(bench.task.summary().counters.hops, 0, "a fallback is no hand-off");
    assert_eq!(bench.task.summary().counters.turns, 5, "and a turn");
    bench.check_replay();
}

#[test]
fn a_step_has_failed_when_its_last_fallback_has_and_says_who_failed_and_why() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta"])]));
    bench.turn(failed("no source", 10));
    bench.turn(failed("no key", 10));
    let planner = bench.next();
    assert_eq!(planner.agent, name("planner"));
    assert!(
        planner.notes[0].contains("step a failed: alpha: no source; then beta: no key"),
        "{:?}",
        planner.notes
    );
    bench.check_replay();
}

#[test]
fn a_fallback_takes_over_when_attempts_are_used_up() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_attempts = 1;
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![with_fallbacks("a", &["beta"])]));
    let lost = bench.next();
    bench.lose(lost.lease);
    let beta = bench.next();
    assert_eq!((beta.agent.clone(), beta.allowance), (name("beta"), 1_000));
    assert_eq!(bench.task.summary().ledger.unheard, 1_000, "the lost attempt stays charged");
    bench.answer(beta.lease, success("1", 10));
    assert_eq!(bench.next().agent, name("planner"));
    bench.check_replay();
}

#[test]
fn a_fallback_starts_when_no_worker_came_in_a_quarter_of_the_wait() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta"])]));
    (bench.known.served, bench.known.since) = (false, bench.now);
    let look = bench.task.next_timer(bench.now).expect("a timer");
    assert_eq!(look.since(bench.now), Span::from_secs(75), "a quarter of 300 s");
    bench.pass(Span::from_secs(74));
    assert_eq!(bench.task.summary().counters.turns, 2);
    bench.pass(Span::from_secs(1));
    assert_eq!(bench.task.summary().counters.turns, 3);
    let kinds = bench.story();
    assert_eq!(kinds[kinds.len() - 2..], ["turn_closed", "turn_opened"]);
    bench.known.served = true;
    let beta = bench.next();
    assert_eq!(beta.agent, name("beta"));
    assert!(beta.notes[0].contains("no worker served alpha for 75s"), "{:?}", beta.notes);
    bench.check_replay();
}

#[test]
fn a_step_without_a_fallback_left_waits_for_its_worker_in_full() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta"])]));
    bench.turn(failed("no source", 10));
    (bench.known.served, bench.known.since) = (false, bench.now);
    bench.pass(Span::from_secs(299));
    assert!(ends(&bench).is_empty());
    bench.pass(Span::from_secs(1));
    assert_eq!(ends(&bench), ["a: Failed"]);
}

#[test]
fn an_agent_that_had_the_step_by_hand_off_is_no_fallback_for_it() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta", "gamma"])]));
    bench.turn(hand_off("beta"));
    bench.turn(failed("not mine", 10));
    assert_eq!(bench.next().agent, name("gamma"), "beta has had it");
}

#[test]
fn a_fallback_is_funded_by_its_step_and_then_as_a_retry_is() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta"]), step("b", "gamma", &["a"])]));
    let reserved = bench.task.summary().ledger.reserved;
    bench.turn(failed("no source", 400));
    assert_eq!(bench.task.summary().ledger.reserved, reserved - 400, "what is left of it stays held");
    let beta = bench.next();
    assert_eq!(beta.allowance, 1_000);
    assert_eq!(bench.task.summary().ledger.reserved, reserved, "raised by what alpha had used");
    bench.answer(beta.lease, success("1", 1_000));
    assert_eq!(bench.next().allowance, 1_000, "the next step has its own in full");
}

#[test]
fn a_fallback_that_cannot_be_funded_is_passed_over() {
    let mut draft = draft();
    let budget = draft.budget.as_mut().expect("budget");
    budget.min_tokens_per_turn = 500;
    budget.max_tokens_by_agent.insert("beta".to_owned(), 400);
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![with_fallbacks("a", &["beta", "gamma"])]));
    bench.turn(failed("no source", 10));
    assert_eq!(bench.next().agent, name("gamma"));
}

#[test]
fn an_unknown_fallback_is_refused_with_its_plan() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta", "nobody"])]));
    let correction = bench.next();
    assert_eq!(correction.agent, name("planner"));
    assert!(
        correction.notes[0].contains("step a: no worker has ever served nobody"),
        "{:?}",
        correction.notes
    );
}

#[test]
fn a_directive_refused_too_often_fails_the_step_and_no_fallback_hides_it() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["beta"])]));
    for _ in 0..3 {
        assert_eq!(bench.turn(hand_off("nobody")).agent, name("alpha"));
    }
    assert_eq!(ends(&bench), ["a: Failed"]);
    let planner = bench.next();
    assert_eq!(planner.agent, name("planner"));
    assert_eq!(planner.lineage[0].envelope.status, Status::Failed, "whatever its last envelope said");
    assert!(planner.lineage[0].envelope.reason.contains("after 2 corrections"), "{:?}", seen(&planner));
}

#[test]
fn a_static_plans_step_may_fall_back_too() {
    let mut bench = Bench::new(&static_plan(vec![with_fallbacks("a", &["beta"])]));
    bench.turn(failed("no source", 10));
    bench.turn(success(r#"{"a":1}"#, 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    bench.check_replay();
}

#[test]
fn a_fallback_counts_against_max_turns_as_every_turn_does() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_turns = 2;
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![with_fallbacks("a", &["beta"])]));
    bench.turn(failed("no source", 10));
    assert_eq!(bench.next().trips[0].cause, Cause::Turns);
}

// Optional steps.

#[test]
fn an_optional_step_may_fail_and_its_dependents_run_and_see_why() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![optional(step("a", "alpha", &[])), step("b", "beta", &["a"])]));
    bench.turn(failed("no source", 10));
    let b = bench.next();
    assert_eq!(seen(&b)[0], "a of alpha: Failed no source");
    bench.answer(b.lease, success("2", 10));
    assert!(plan_succeeded(&bench));
    assert_eq!(ends(&bench), ["a: Failed?", "b: Success"]);
    let planner = bench.next();
    assert_eq!(planner.notes, ["the plan went on without what was optional: step a failed: no source"]);
    bench.answer(planner.lease, delegate(vec![step("c", "alpha", &[])]));
    let counters = bench.task.summary().counters;
    assert_eq!((counters.rounds, counters.replans), (2, 0), "a plan that succeeded is followed by a round");
    bench.check_replay();
}

#[test]
fn an_optional_step_that_nobody_serves_does_not_hold_the_plan_up_for_ever() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![optional(step("a", "alpha", &[])), step("b", "beta", &[])]));
    let b = bench.assign(3).expect("b");
    bench.answer(b.lease, success("2", 10));
    (bench.known.served, bench.known.since) = (false, bench.now);
    bench.pass(Span::from_secs(300));
    assert_eq!(ends(&bench), ["b: Success", "a: Failed?"]);
    assert!(plan_succeeded(&bench));
}

#[test]
fn an_optional_step_has_its_fallbacks_first() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![optional(with_fallbacks("a", &["beta"]))]));
    bench.turn(failed("no source", 10));
    assert_eq!(bench.turn(failed("no key", 10)).agent, name("beta"));
    assert_eq!(ends(&bench), ["a: Failed?"]);
    assert!(plan_succeeded(&bench));
}

#[test]
fn a_static_plan_succeeds_without_its_optional_step() {
    let mut bench =
        Bench::new(&static_plan(vec![optional(step("a", "alpha", &[])), step("b", "beta", &["a"])]));
    bench.turn(failed("no source", 10));
    bench.turn(success(r#"{"b":1}"#, 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    bench.check_replay();
}

// Partial results.

#[test]
fn a_partial_result_is_passed_on_as_partial_with_its_reason() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![with_fallbacks("a", &["gamma"]), step("b", "beta", &["a"])]));
    bench.turn(partial("half the pages"));
    let b = bench.next();
    assert_eq!(seen(&b)[0], "a of alpha: Partial half the pages", "and no fallback takes over");
    assert!(b.lineage[0].envelope.result.is_some());
    bench.answer(b.lease, success("2", 10));
    assert_eq!(ends(&bench), ["a: Partial", "b: Success"]);
    assert!(plan_succeeded(&bench));
}

#[test]
fn a_static_plan_whose_result_is_partial_goes_to_the_owner_and_is_the_best_so_far() {
    let mut bench = Bench::new(&static_plan(vec![step("a", "alpha", &[])]));
    bench.turn(partial("half the pages"));
    let decide = bench.next();
    assert_eq!(decide.trips[0].cause, Cause::PlanFailed);
    assert!(decide.trips[0].evidence.contains("half the pages"), "{:?}", decide.trips);
    assert_eq!(decide.best_result, Some(support::json(r#"{"half":1}"#)));
    let partial =
        bailiwick::types::envelope::Decision::CompletePartial { result: None, reason: String::new() };
    bench.decide(decide.lease, partial);
    assert_eq!(bench.outcome(), "Partial by Owner for PlanFailed");
}

// Siblings.

#[test]
fn on_wait_a_running_sibling_finishes_but_nobody_falls_back_for_it() {
    let mut bench = Bench::new(&draft());
    let sibling = StepDraft { agent: "beta".to_owned(), ..with_fallbacks("b", &["gamma"]) };
    bench.turn(delegate(vec![step("a", "alpha", &[]), sibling, step("c", "gamma", &["b"])]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    bench.answer(a.lease, failed("no", 10));
    assert_eq!(bench.leases(), [b.lease], "it finishes");
    bench.answer(b.lease, failed("nor I", 10));
    assert_eq!(ends(&bench), ["a: Failed", "c: Skipped", "b: Failed"]);
    let planner = bench.next();
    assert!(planner.notes[0].contains("step a failed: no; step b failed: nor I"), "{:?}", planner.notes);
    assert_eq!(seen(&planner)[2], "c of gamma: Failed a step of the plan had failed");
    bench.check_replay();
}

#[test]
fn on_wait_a_running_sibling_may_still_hand_off_to_finish() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    bench.answer(a.lease, failed("no", 10));
    bench.answer(b.lease, hand_off("gamma"));
    bench.turn(success("2", 10));
    assert_eq!(ends(&bench), ["a: Failed", "b: Success"]);
    assert_eq!(bench.next().agent, name("planner"));
}

#[test]
fn on_cancel_siblings_are_cancelled_when_the_last_fallback_has_failed_and_not_before() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate_cancelling(vec![
        with_fallbacks("a", &["gamma"]),
        step("b", "beta", &[]),
        optional(step("c", "owner", &["b"])),
    ]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    bench.answer(a.lease, failed("no", 10));
    assert_eq!(bench.leases(), [b.lease], "a has a fallback");
    bench.turn(failed("nor I", 10));
    assert!(bench.leases().is_empty());
    assert_eq!(ends(&bench), ["a: Failed", "c: Skipped", "b: Cancelled"]);
    let planner = bench.next();
    assert_eq!(seen(&planner)[1], "b of beta: Failed a sibling step failed");
    bench.check_replay();
}

#[test]
fn on_cancel_an_optional_steps_failure_cancels_nobody() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate_cancelling(vec![optional(step("a", "alpha", &[])), step("b", "beta", &[])]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    bench.answer(a.lease, failed("no", 10));
    assert_eq!(bench.leases(), [b.lease]);
    bench.answer(b.lease, success("2", 10));
    assert!(plan_succeeded(&bench));
}

#[test]
fn on_cancel_a_sibling_that_waits_for_a_person_is_cancelled_with_its_question() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate_cancelling(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    let asks = Envelope { directive: Some(Directive::AskHuman("may I?".to_owned())), ..success("1", 1) };
    bench.answer(b.lease, asks);
    bench.answer(a.lease, failed("no", 10));
    assert_eq!(ends(&bench), ["a: Failed", "b: Cancelled"]);
    assert!(bench.human(1, HumanAnswer::Approve).is_err(), "the question went with it");
    let planner = bench.next();
    assert_eq!(seen(&planner)[1], "b of beta: Failed a sibling step failed");
    bench.check_replay();
}

// Hand-offs inside steps.

#[test]
fn a_steps_agent_may_hand_off_within_its_step_and_the_last_envelope_is_the_steps() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "owner", &["a"])]));
    bench.turn(hand_off("beta"));
    let beta = bench.next();
    assert_eq!(beta.step.as_ref().map(ToString::to_string), Some("a".into()));
    assert_eq!((beta.hops_left, beta.input), (11, Some(support::json("1"))));
    assert_eq!(beta.lineage[0].id, "turn-2", "it sees the turn before it in the step");
    assert_eq!(beta.lineage[0].step.as_ref().map(ToString::to_string), Some("a".into()));
    bench.answer(beta.lease, success("1", 10));
    let b = bench.next();
    assert_eq!(seen(&b)[0], "a of beta: Success");
    assert_eq!(seen(&b)[1..], ["turn-1 of planner: Success", "turn-2 of alpha: Success"]);
    assert_eq!(bench.task.summary().counters.hops, 1);
    bench.check_replay();
}

#[test]
fn hops_inside_steps_count_over_the_whole_task_and_over_the_cap_the_owner_decides() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_hops = Some(2);
    let mut bench = Bench::new(&draft);
    bench.turn(hand_off("alpha"));
    bench.turn(delegate(vec![step("a", "beta", &[])]));
    bench.turn(hand_off("gamma"));
    assert_eq!(bench.turn(hand_off("alpha")).hops_left, 0);
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert_eq!(bench.next().trips[0].cause, Cause::Hops);
    assert_eq!(ends(&bench), ["a: Cancelled"]);
    bench.check_replay();
}

#[test]
fn a_hand_off_inside_a_step_obeys_the_contracts_list() {
    let mut draft = draft();
    draft.allowed_hand_offs = vec![("alpha".to_owned(), vec!["gamma".to_owned()])];
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    bench.turn(hand_off("beta"));
    let correction = bench.next();
    assert_eq!((correction.agent.clone(), correction.step.is_some()), (name("alpha"), true));
    assert!(correction.notes[0].contains("only to gamma"), "{:?}", correction.notes);
    bench.answer(correction.lease, hand_off("gamma"));
    assert_eq!(bench.next().agent, name("gamma"));
}

#[test]
fn a_steps_agent_may_not_delegate_nor_may_one_it_handed_off_to() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    bench.turn(hand_off("beta"));
    bench.turn(delegate(vec![step("x", "gamma", &[])]));
    let correction = bench.next();
    assert_eq!(correction.agent, name("beta"));
    assert!(correction.notes[0].contains("may not delegate"), "{:?}", correction.notes);
}

#[test]
fn hand_offs_inside_a_step_share_its_tokens() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "gamma", &["a"])]));
    let reserved = bench.task.summary().ledger.reserved;
    let passes_on = |to, tokens| Envelope { usage: Some(usage(tokens)), ..hand_off(to) };
    bench.turn(passes_on("beta", 700));
    let beta = bench.next();
    assert_eq!(beta.allowance, 300, "what alpha left");
    bench.answer(beta.lease, passes_on("gamma", 300));
    let refused = bench.next();
    assert_eq!(refused.agent, name("beta"), "nothing is left to hand on");
    assert!(
        refused.notes[0].contains("0 tokens are left for gamma in step a, 1 are the least: answer the step"),
        "{:?}",
        refused.notes
    );
    bench.answer(refused.lease, success("1", 0));
    assert_eq!(bench.next().allowance, 1_000, "and the next step has its own in full");
    let ledger = bench.task.summary().ledger;
    assert_eq!(
        ledger.reserved, reserved,
        "what the correction raised the hold by stays in it while the plan runs"
    );
    bench.check_replay();
}

#[test]
fn a_hand_off_inside_a_step_may_use_what_ended_steps_saved() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &["a"])]));
    bench.turn(success("1", 100));
    bench.turn(Envelope { usage: Some(usage(900)), ..hand_off("gamma") });
    assert_eq!(bench.next().allowance, 1_000, "100 of its own and 900 that a saved");
}

#[test]
fn steps_that_hand_off_leave_their_siblings_what_those_were_promised() {
    let mut draft = draft();
    let budget = draft.budget.as_mut().expect("budget");
    (budget.max_tokens, budget.max_tokens_per_turn) = (5_000, 1_000);
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![
        step("a", "alpha", &[]),
        step("b", "beta", &[]),
        step("c", "gamma", &["a", "b"]),
    ]));
    let (a, b) = (bench.assign(2).expect("a"), bench.assign(3).expect("b"));
    bench.answer(a.lease, Envelope { usage: Some(usage(600)), ..hand_off("owner") });
    bench.answer(b.lease, Envelope { usage: Some(usage(100)), ..hand_off("gamma") });
    assert_eq!(bench.assign(5).expect("b's").allowance, 900, "its own, not what a's next turn is promised");
    assert_eq!(bench.assign(4).expect("a's").allowance, 400);
}

#[test]
fn a_lost_attempt_of_a_handed_off_turn_is_retried_as_any_is() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    bench.turn(hand_off("beta"));
    let lost = bench.next();
    assert_eq!(lost.allowance, 990);
    bench.lose(lost.lease);
    bench.pass(Span::from_secs(1));
    let again = bench.next();
    assert_eq!((again.lease.attempt, again.allowance), (2, 1_000));
    bench.answer(again.lease, success("1", 10));
    assert_eq!(bench.next().agent, name("planner"));
    bench.check_replay();
}

#[test]
fn a_question_of_an_agent_that_got_a_step_by_hand_off_stays_in_the_step() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    bench.turn(hand_off("beta"));
    let asks = Envelope { directive: Some(Directive::AskHuman("may I?".to_owned())), ..success("1", 10) };
    bench.turn(asks);
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    bench.human(1, HumanAnswer::Approve).expect("answered");
    let beta = bench.next();
    assert_eq!((beta.agent.clone(), beta.step.is_some()), (name("beta"), true));
    assert_eq!(beta.input, Some(support::json("1")), "with the input it was handed");
    bench.answer(beta.lease, success("1", 10));
    assert_eq!(ends(&bench), ["a: Success"]);
    bench.check_replay();
}

#[test]
fn a_cancel_stops_a_handed_off_turn_of_a_step_with_everything_else() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    bench.turn(hand_off("beta"));
    let beta = bench.next();
    bench.send(Command::Cancel { reason: String::new() }).expect("never rejected");
    assert!(bench.leases().is_empty());
    assert_eq!(ends(&bench), ["a: Cancelled"]);
    let late = Command::Usage { lease: beta.lease, usage: usage(40), priced: true };
    bench.send(late).expect("usage is never refused");
    assert_eq!(bench.task.summary().ledger.by_agent[&name("beta")], 40);
    bench.check_replay();
}

// Adaptive planning.

#[test]
fn a_draft_that_comes_again_goes_to_the_gate_though_its_author_states_it_again() {
    let mut draft = draft();
    draft.termination.as_mut().expect("termination").convergence =
        Some(ConvergenceDraft { min_gain: 0.01, patience: 3 });
    let mut bench = Bench::new(&draft);
    let drafts = [r#"{"sights":["walls"]}"#, r#"{"sights":["walls","harbour"]}"#];
    let round = |draft: &str, score| Envelope {
        result: Some(support::json(draft)),
        score: Confidence::new(score),
        ..delegate(vec![step("improve", "alpha", &[])])
    };
    bench.turn(round(drafts[0], 0.4));
    bench.turn(success(drafts[1], 10));
    bench.turn(round(drafts[1], 0.8));
    bench.turn(success(drafts[1], 10));
    bench.turn(round(drafts[1], 0.8));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Converged");
    let tripped = &bench.task.view().tripped[0].trips;
    let causes: Vec<_> = tripped.iter().map(|trip| trip.cause).collect();
    assert_eq!(causes.first(), Some(&Cause::Converged), "{causes:?}");
    bench.check_replay();
}

// Patterns mix.

#[test]
fn patterns_mix_and_every_limit_counts_over_the_whole_task() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("find", "alpha", &[]), step("check", "beta", &["find"])]));
    bench.turn(hand_off("gamma"));
    assert_eq!(bench.turn(success("1", 10)).agent, name("gamma"));
    bench.turn(failed("the source is gone", 10));
    let planner = bench.next();
    assert_eq!(
        seen(&planner)[..2],
        ["find of gamma: Success", "check of beta: Failed the source is gone"],
        "each step by its last envelope"
    );
    bench.answer(
        planner.lease,
        delegate(vec![optional(step("check", "beta", &[])), with_fallbacks("sum", &["gamma"])]),
    );
    let (check, sum) = (bench.assign(6).expect("check"), bench.assign(7).expect("sum"));
    assert_eq!(
        sum.lineage.iter().filter(|entry| entry.id == "check").count(),
        0,
        "the step of the plan before has given its id up: {:?}",
        seen(&sum)
    );
    bench.answer(check.lease, failed("still gone", 10));
    bench.answer(sum.lease, failed("too long", 10));
    assert_eq!(bench.turn(success("2", 10)).agent, name("gamma"));
    bench.turn(hand_off("alpha"));
    let writer = bench.next();
    assert_eq!(
        (writer.agent.clone(), writer.step.is_none()),
        (name("alpha"), true),
        "the task is handed off"
    );
    let written = Envelope { directive: None, ..success(r#"{"text":"done"}"#, 10) };
    bench.answer(writer.lease, written);
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    let counters = bench.task.summary().counters;
    assert_eq!((counters.hops, counters.rounds, counters.replans, counters.turns), (2, 1, 1, 10));
    bench.check_replay();
}

#[test]
fn an_agent_that_got_the_task_by_hand_off_may_delegate_and_has_control_back() {
    let mut bench = Bench::new(&draft());
    bench.turn(hand_off("gamma"));
    bench.turn(delegate(vec![step("a", "alpha", &[])]));
    bench.turn(success("1", 10));
    let back = bench.next();
    assert_eq!(back.agent, name("gamma"), "whoever delegated gets control back");
    bench.answer(back.lease, success("{}", 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
}
