//! What follows when guards trip: once for all of them, as narrow as the trip, and never at the cost of what is done.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, Rejection, Reply},
        event::{Event, StepEnd, Trip, TripScope, TurnKind},
        guard::GuardKind,
    },
    types::{
        contract::{ContractDraft, OwnerFallback},
        envelope::{
            Answer, Confidence, Decision, Directive, Envelope, HandOff, Status, WorkStep, WorkStepKind,
        },
        ids::Lease,
        limits::fixed,
        outcome::{Cause, TaskState},
        time::Span,
    },
};
use support::{Bench, delegate, draft, failed, hand_off, json, name, step, success, usage};

/// What an agent that believes itself done says again and again, before it asks the next one.
const SAME: &str =
    r#"{"summary":"The refund was approved on the second of May and will be paid out within five days."}"#;

fn passes_on(result: &str, to: &str, tokens: u64) -> Envelope {
    let directive = hand_off(to).directive;
    Envelope { directive, ..success(result, tokens) }
}

fn message(content: &str) -> WorkStep {
    WorkStep {
        kind: WorkStepKind::Message,
        tool: String::new(),
        content: content.to_owned(),
        fingerprint: false,
    }
}

fn stream(bench: &mut Bench, lease: Lease, steps: Vec<WorkStep>) -> Result<Reply, Rejection> {
    bench.send(Command::Progress { lease, steps, partial: None })
}

/// Streams the same message until its lease is gone; how many it took.
fn loops(bench: &mut Bench, lease: Lease) -> usize {
    let said = "I will look at the file once more before I decide what to do with it.";
    (1..=20)
        .find(|_| {
            stream(bench, lease, vec![message(said)]).expect("live until it trips");
            !bench.leases().contains(&lease)
        })
        .expect("a loop is stopped")
}

fn causes(trips: &[Trip]) -> Vec<Cause> {
    trips.iter().map(|trip| trip.cause).collect()
}

/// Every trip of the task's life.
fn all_trips(bench: &Bench) -> Vec<Trip> {
    bench.task.view().tripped.iter().flat_map(|together| together.trips.clone()).collect()
}

fn with_limits(set: impl FnOnce(&mut bailiwick::types::contract::LimitsDraft)) -> ContractDraft {
    let mut draft = draft();
    set(draft.limits.as_mut().expect("limits"));
    draft
}

#[test]
fn the_incident_of_58_equal_answers_ends_at_the_third() {
    const ANSWERS: u64 = 58;
    const TOKENS: u64 = 1_500;
    let mut draft = with_limits(|limits| limits.max_hops = Some(100));
    draft.budget.as_mut().expect("budget").max_tokens = 1_000_000;
    let mut bench = Bench::new(&draft);
    let mut answered = 0;
    while bench.state() != TaskState::OwnerDecides && answered < ANSWERS {
        let next = ["alpha", "beta", "gamma"][usize::try_from(answered % 3).expect("small")];
        bench.turn(passes_on(SAME, next, TOKENS));
        answered += 1;
    }
    assert_eq!(answered, 3);
    let decide = bench.next();
    assert_eq!(decide.trips[0].cause, Cause::Repetition);
    assert_eq!(decide.trips[0].turns, [1, 2, 3]);
    assert_eq!(decide.best_result, Some(json(SAME)), "what stands is at hand");
    bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: "it was done".to_owned() });
    assert_eq!(bench.outcome(), "Partial by Owner for Repetition");
    let spent = bench.task.summary().ledger.spent;
    let saved = ANSWERS * TOKENS - spent;
    println!(
        "58 equal answers: stopped at answer {answered}; {spent} tokens spent, {saved} of {} saved",
        ANSWERS * TOKENS
    );
    assert_eq!(saved, ANSWERS * TOKENS - 3 * TOKENS - 5, "all but three answers and the owner's decision");
    bench.check_replay();
}

#[test]
fn agents_that_agree_in_a_ring_are_stopped_too() {
    let mut bench = Bench::new(&draft());
    for to in ["alpha", "planner", "alpha"] {
        assert_ne!(bench.state(), TaskState::OwnerDecides);
        bench.turn(passes_on(SAME, to, 10));
    }
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert_eq!(bench.task.summary().counters.hops, 2, "the third hand-off was never made");
}

#[test]
fn several_trips_at_once_make_one_decide_turn_that_lists_them_in_order() {
    let mut bench = Bench::new(&with_limits(|limits| limits.max_hops = Some(2)));
    bench.turn(passes_on(SAME, "alpha", 10));
    bench.turn(passes_on(SAME, "beta", 10));
    bench.turn(passes_on(SAME, "gamma", 200_000));
    let decide = bench.next();
    let mut listed = causes(&decide.trips);
    listed.dedup();
    assert_eq!(listed, [Cause::Budget, Cause::Hops, Cause::Repetition]);
    let tripped = bench.story().iter().filter(|kind| **kind == "guards_tripped").count();
    assert_eq!((tripped, bench.task.summary().counters.decides), (1, 1));
    bench.decide(decide.lease, Decision::Abort("enough".to_owned()));
    assert_eq!(bench.outcome(), "Failed by Owner for Budget", "the first cause is the outcome's");
    bench.check_replay();
}

#[test]
fn a_failed_answer_that_is_beyond_the_grant_is_told_as_both() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("no idea", 200_000));
    assert_eq!(causes(&bench.next().trips), [Cause::Budget, Cause::AgentFailed]);
}

#[test]
fn a_loop_inside_a_turn_is_stopped_while_it_runs() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    assert_eq!(loops(&mut bench, lease), 3);
    let decide = bench.next();
    let trip = &decide.trips[0];
    assert_eq!(
        (trip.cause, trip.scope, trip.turns.as_slice()),
        (Cause::Repetition, TripScope::Task, &[1][..])
    );
    let pattern = trip.pattern.as_ref().expect("content was compared");
    assert_eq!((pattern.guard, pattern.times, pattern.cycle), (GuardKind::Repetition, 3, 1));
    assert!(pattern.excerpt.starts_with("I will look at the file"), "{pattern:?}");
    bench.check_replay();
}

#[test]
fn a_call_is_one_with_its_result_so_that_paging_goes_on_and_asking_in_vain_does_not() {
    let call = |content: &str, kind| WorkStep { kind, tool: "read".to_owned(), ..message(content) };
    let page = |result: &str| {
        vec![call("next page", WorkStepKind::ToolCall), call(result, WorkStepKind::ToolResult)]
    };
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    for number in 0..10 {
        stream(&mut bench, lease, page(&format!("this is what stands on page {number} of the report")))
            .expect("live");
    }
    assert_eq!(bench.leases(), [lease], "every page is another");
    for _ in 0..3 {
        stream(&mut bench, lease, page("error: the file has no further page to be read")).expect("live");
    }
    assert_eq!(bench.state(), TaskState::OwnerDecides);
}

#[test]
fn private_steps_are_compared_by_their_fingerprints() {
    let private = || WorkStep { fingerprint: true, ..message("9f2b7c1de0aa41c7") };
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    stream(&mut bench, lease, vec![private(), private(), private()]).expect("live");
    assert_eq!(bench.next().trips[0].pattern.as_ref().map(|p| p.excerpt.as_str()), Some("9f2b7c1de0aa41c7"));
}

#[test]
fn a_loop_inside_a_step_stops_only_that_step_and_its_planner_hears_of_it() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[]), step("c", "gamma", &["a"])]));
    let a = bench.assign(2).expect("a");
    let b = bench.assign(3).expect("b");
    loops(&mut bench, a.lease);
    assert_eq!(bench.leases(), [b.lease], "its sibling goes on");
    let ends: Vec<_> = bench
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::StepEnded { id, end, .. } => Some((id.to_string(), *end)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [("a".to_owned(), StepEnd::Failed), ("c".to_owned(), StepEnd::Skipped)]);
    let trips = all_trips(&bench);
    assert_eq!((trips[0].cause, trips[0].scope), (Cause::Repetition, TripScope::Step));
    bench.answer(b.lease, success("2", 10));
    let planner = bench.next();
    assert_eq!((planner.agent, planner.kind), (name("planner"), TurnKind::Work));
    assert!(planner.notes[0].contains("3 times"), "{:?}", planner.notes);
    bench.check_replay();
}

#[test]
fn a_loop_inside_a_step_of_a_static_plan_goes_to_the_owner_as_a_failed_plan() {
    let mut draft = draft();
    let mut fixed = support::plan(vec![step("a", "alpha", &[])]);
    fixed.result_step = "a".to_owned();
    (draft.first_agent, draft.plan) = (None, Some(fixed));
    let mut bench = Bench::new(&draft);
    let lease = bench.next().lease;
    loops(&mut bench, lease);
    assert_eq!(causes(&bench.next().trips), [Cause::PlanFailed]);
    assert_eq!(causes(&all_trips(&bench)), [Cause::Repetition, Cause::PlanFailed]);
}

#[test]
fn a_task_wide_trip_during_parallel_steps_cancels_every_attempt_and_keeps_what_was_committed() {
    let mut draft = draft();
    draft.guards.max_steps = 4;
    let mut bench = Bench::new(&draft);
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[]), step("c", "gamma", &[])]));
    let a = bench.assign(2).expect("a");
    bench.assign(3).expect("b");
    bench.answer(a.lease, success("1", 10));
    let c = bench.assign(4).expect("c");
    stream(&mut bench, c.lease, vec![message("first"), message("second")]).expect("live");
    assert!(bench.leases().is_empty(), "everything stops");
    let decide = bench.next();
    assert_eq!(causes(&decide.trips), [Cause::Turns]);
    let a = decide.lineage.iter().find(|entry| entry.id == "a").expect("it is told");
    assert_eq!(a.envelope.status, Status::Success, "what was committed counts");
    let to = HandOff { agent: name("alpha"), input: None };
    bench.decide(decide.lease, Decision::ReplanTo(to));
    let again = bench.next();
    assert!(again.notes[0].contains("all 4 steps are used"), "{:?}", again.notes);
    bench.check_replay();
}

#[test]
fn parallel_steps_that_agree_are_no_repetition() {
    let mut bench = Bench::new(&draft());
    let steps = ["a", "b", "c", "d", "e"].map(|id| step(id, "alpha", &[]));
    bench.turn(delegate(steps.to_vec()));
    for turn in bench.ready() {
        let lease = bench.assign(turn).expect("ready").lease;
        stream(&mut bench, lease, vec![message("I have checked this part and found nothing wrong with it.")])
            .expect("live");
        bench.answer(lease, success(SAME, 10));
    }
    assert_eq!(bench.next().agent, name("planner"));
    assert!(all_trips(&bench).is_empty());
}

#[test]
fn rounds_whose_steps_say_the_same_each_time_are_no_repetition() {
    let mut bench = Bench::new(&draft());
    for round in 0..3 {
        let said = format!("round {round} of the work: the draft is now at version {round}");
        bench.turn(Envelope { reason: said, ..delegate(vec![step("check", "alpha", &[])]) });
        bench.turn(success(r#"{"all":"checks have passed without a finding"}"#, 10));
    }
    assert_eq!(bench.next().agent, name("planner"));
    assert!(all_trips(&bench).is_empty());
}

#[test]
fn what_a_lost_attempt_streamed_is_not_held_against_the_next() {
    let mut bench = Bench::new(&draft());
    for _ in 0..3 {
        let lease = bench.next().lease;
        for said in ["first I read the whole report", "then I write down what it says"] {
            stream(&mut bench, lease, vec![message(said)]).expect("it is live, not a loop");
        }
        if lease.attempt < 3 {
            bench.lose(lease);
            bench.pass(Span::from_secs(5));
        } else {
            bench.answer(lease, success(r#"{"a":1}"#, 10));
        }
    }
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    bench.check_replay();
}

#[test]
fn an_answer_that_was_streamed_before_is_stated_once() {
    let mut bench = Bench::new(&draft());
    for to in ["alpha", "beta"] {
        let lease = bench.next().lease;
        stream(&mut bench, lease, vec![message(SAME)]).expect("live");
        bench.answer(lease, passes_on(SAME, to, 10));
    }
    assert_eq!(bench.next().agent, name("beta"), "twice is not three times");
}

#[test]
fn a_success_that_the_gate_lets_pass_ends_the_task_however_often_it_was_said() {
    let mut bench = Bench::new(&draft());
    bench.turn(passes_on(SAME, "alpha", 10));
    bench.turn(passes_on(SAME, "beta", 10));
    bench.turn(success(SAME, 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
}

#[test]
fn an_answer_that_the_gate_refuses_again_and_again_goes_to_the_owner_before_revisions_are_used_up() {
    let mut draft = draft();
    draft.gate.min_confidence = 0.95;
    draft.gate.max_revisions = Some(10);
    let mut bench = Bench::new(&draft);
    for _ in 0..3 {
        bench.turn(success(SAME, 10));
    }
    let decide = bench.next();
    let mut listed = causes(&decide.trips);
    listed.dedup();
    assert_eq!(listed, [Cause::Repetition, Cause::GateRejected]);
    assert_eq!(bench.task.summary().counters.revisions, 2);
    bench.check_replay();
}

#[test]
fn an_owner_that_loops_in_its_decide_turn_is_cancelled_first_and_then_the_fallback_applies() {
    let mut draft = draft();
    draft.escalation.owner_fallback = Some(OwnerFallback::Finish);
    let mut bench = Bench::new(&draft);
    bench.turn(failed("no", 1));
    let lease = bench.next().lease;
    loops(&mut bench, lease);
    assert_eq!(bench.outcome(), "Failed by Fallback for OwnerUnavailable");
    let trips = all_trips(&bench);
    assert_eq!(trips.last().map(|trip| trip.scope), Some(TripScope::Decision));
    let order: Vec<_> = bench.story().into_iter().skip_while(|kind| *kind != "progressed").collect();
    assert!(order.ends_with(&["attempt_ended", "turn_closed", "guards_tripped", "ended"]), "{order:?}");
    bench.check_replay();
}

#[test]
fn an_owner_that_loops_at_work_is_cancelled_and_then_asked() {
    let mut draft = draft();
    draft.first_agent = Some("owner".to_owned());
    let mut bench = Bench::new(&draft);
    let lease = bench.next().lease;
    loops(&mut bench, lease);
    assert!(bench.leases().is_empty(), "its own attempt is cancelled first");
    let decide = bench.next();
    assert_eq!((decide.agent, decide.kind), (name("owner"), TurnKind::Decide));
}

#[test]
fn after_a_decision_guards_look_only_at_what_came_after() {
    let mut bench = Bench::new(&draft());
    for to in ["alpha", "beta", "gamma"] {
        bench.turn(passes_on(SAME, to, 10));
    }
    let decide = bench.next();
    bench.decide(decide.lease, Decision::ReplanTo(HandOff { agent: name("alpha"), input: None }));
    bench.turn(passes_on(SAME, "beta", 10));
    bench.turn(passes_on(SAME, "gamma", 10));
    assert_eq!(bench.next().kind, TurnKind::Work, "two times since then");
    let lease = bench.leases()[0];
    bench.answer(lease, passes_on(SAME, "alpha", 10));
    assert_eq!(bench.next().kind, TurnKind::Decide);
    bench.check_replay();
}

#[test]
fn a_persons_go_on_answers_what_the_guards_saw() {
    let ask = || Envelope { directive: Some(Directive::AskHuman("may I?".to_owned())), ..success(SAME, 10) };
    let mut bench = Bench::new(&draft());
    for number in 1..=3 {
        bench.turn(ask());
        assert_eq!(bench.state(), TaskState::AwaitingHuman);
        bench.human(number, bailiwick::engine::command::HumanAnswer::Approve).expect("open");
    }
    assert_eq!(bench.next().kind, TurnKind::Work);
}

#[test]
fn a_guard_that_is_switched_off_is_off() {
    let mut draft = with_limits(|limits| limits.max_hops = Some(5));
    draft.guards.repetition_off = true;
    draft.guards.finished_off = true;
    let mut bench = Bench::new(&draft);
    for to in ["alpha", "beta", "gamma", "alpha", "beta", "gamma"] {
        bench.turn(passes_on(SAME, to, 10));
    }
    assert_eq!(causes(&bench.next().trips), [Cause::Hops]);
}

#[test]
fn the_decide_turn_is_paid_from_the_reserve_and_leaves_the_validators_half() {
    let mut draft = draft();
    draft.gate.validator = "judge".to_owned();
    let mut bench = Bench::new(&draft);
    bench.turn(failed("no", 90_000));
    assert_eq!(bench.task.summary().ledger.finalization_left, 10_000, "all else is spent");
    let decide = bench.next();
    assert_eq!(decide.allowance, 5_000);
    let ask = |tokens| Command::RequestBudget { lease: decide.lease, tokens, reason: String::new() };
    assert_eq!(bench.send(ask(1)), Ok(Reply::Budget { granted: 0, allowance: 5_000, left: 0 }));
}

#[test]
fn a_replan_is_possible_where_caps_leave_room_and_refused_where_they_do_not() {
    let mut bench = Bench::new(&with_limits(|limits| limits.max_hops = Some(0)));
    bench.turn(hand_off("alpha"));
    let decide = bench.next();
    assert_eq!(causes(&decide.trips), [Cause::Hops]);
    bench.decide(decide.lease, Decision::ReplanTo(HandOff { agent: name("alpha"), input: None }));
    let again = bench.next();
    assert!(again.notes[0].contains("all 0 hops are used"), "{:?}", again.notes);
    bench.decide(again.lease, Decision::Abort("then not".to_owned()));
    assert_eq!(bench.outcome(), "Failed by Owner for Hops");
}

#[test]
fn an_answer_after_its_deadline_is_late_though_no_timer_has_been_looked_at() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    bench.now = bench.now.plus(Span::from_secs(541));
    let answer = Arc::new(Answer::Envelope(success(r#"{"a":1}"#, 300)));
    let reply =
        bench.send(Command::Complete { lease, answer, findings: Vec::new().into() }).expect("decided");
    assert!(matches!(reply, Reply::Refused(Rejection::LeaseNotLive(_))), "{reply:?}");
    assert_eq!(causes(&bench.next().trips), [Cause::Deadline]);
    assert_eq!(bench.task.summary().ledger.by_agent[&name("planner")], 300, "its usage counts all the same");
    bench.check_replay();
}

#[test]
fn a_decision_after_the_owners_time_is_late_too() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("no", 1));
    let decide = bench.next();
    bench.now = bench.now.plus(Span::from_secs(61));
    let answer = Arc::new(Answer::Decision { decision: Decision::Abort("late".to_owned()), usage: None });
    let reply = bench.send(Command::Complete { lease: decide.lease, answer, findings: Vec::new().into() });
    assert!(matches!(reply, Ok(Reply::Refused(_))), "{reply:?}");
    assert_eq!(bench.state(), TaskState::AwaitingHuman, "the fallback has applied");
}

#[test]
fn an_attempt_cannot_fill_the_journal() {
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    let ask = || Command::RequestBudget { lease, tokens: 1_000_000, reason: String::new() };
    for _ in 0..fixed::MAX_BUDGET_REQUESTS {
        bench.send(ask()).expect("denied, but answered");
    }
    assert!(matches!(bench.send(ask()), Err(Rejection::TooManyReports(_))));
    let partial = || Some(json(r#"{"half":true}"#));
    for _ in 0..fixed::MAX_PROGRESS_REPORTS {
        let env = bailiwick::engine::command::Env { now: bench.now, agents: &bench.known };
        let report = Command::Progress { lease, steps: Vec::new(), partial: partial() };
        bench.records.extend(bench.task.decide(report, env).expect("within the cap").records);
    }
    let beyond = bench.send(Command::Progress { lease, steps: Vec::new(), partial: partial() });
    assert!(matches!(beyond, Err(Rejection::TooManyReports(_))), "{beyond:?}");
    bench.answer(lease, success(r#"{"a":1}"#, 10));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed", "its answer is still welcome");
}

#[test]
fn the_best_result_is_the_highest_by_rank_and_then_by_score() {
    let scored = |result: &str, score: f64, status| Envelope {
        score: Confidence::new(score),
        status,
        reason: "so far".to_owned(),
        ..passes_on(result, "alpha", 10)
    };
    let best = |bench: &Bench| bench.task.view().best_result;
    let mut bench = Bench::new(&draft());
    bench.turn(scored(r#"{"n":1}"#, 0.6, Status::Partial));
    bench.turn(Envelope {
        directive: hand_off("beta").directive,
        ..scored(r#"{"n":2}"#, 0.4, Status::Partial)
    });
    assert_eq!(best(&bench), Some(json(r#"{"n":1}"#)), "a lower score does not replace it");
    bench.turn(scored(r#"{"n":3}"#, 0.2, Status::Success));
    assert_eq!(best(&bench), Some(json(r#"{"n":3}"#)), "a higher rank does");
    let told = bench.next();
    assert_eq!(told.best_score, Some(0.2));
    bench.answer(told.lease, failed("nothing more", 10));
    let decide = bench.next();
    bench.decide(decide.lease, Decision::CompletePartial { result: None, reason: String::new() });
    assert_eq!(bench.task.view().outcome.expect("ended").result, Some(json(r#"{"n":3}"#)));
    let view = bench.task.view().best.expect("there is one");
    assert_eq!((view.turn, view.score.get()), (3, 0.2));
    bench.check_replay();
}

#[test]
fn usage_that_kills_a_parallel_step_is_one_trip_for_the_whole_task() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    let a = bench.assign(2).expect("a");
    bench.assign(3).expect("b");
    bench.send(Command::Usage { lease: a.lease, usage: usage(1_001), priced: true }).expect("recorded");
    assert!(bench.leases().is_empty());
    assert_eq!(causes(&bench.next().trips), [Cause::Budget]);
    bench.check_replay();
}
