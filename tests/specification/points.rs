//! One test for each of the ten points of the readiness list: the engine enforces it, and `check` says so of a contract that
//! has it.

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, HumanAnswer, Rejection, Reply},
        event::{Event, StepEnd, TurnKind},
        intake,
        readiness::{Fact, Point, Readiness, ServerFacts, points},
    },
    types::{
        chaos::CrewTested,
        contract::ContractDraft,
        drill::{Drill, DrillAnswer},
        envelope::{Answer, Confidence, Decision, Envelope},
        ids::TaskId,
        limits::Ceilings,
        outcome::{Cause, TaskState},
        time::{Span, Timestamp},
    },
};

use crate::support::{
    Bench, ask, contract, delegate, draft, failed, hand_off, json, name, step, success, usage, verdict,
};

/// What `check` says of a point.
fn told(draft: &ContractDraft, facts: &ServerFacts, number: usize) -> Point {
    let point = points(&contract(draft), facts).swap_remove(number - 1);
    assert_eq!(point.number as usize, number);
    point
}

#[track_caller]
fn check(draft: &ContractDraft, number: usize, readiness: Readiness, says: &str) {
    let point = told(draft, &ServerFacts::default(), number);
    assert_eq!(point.readiness, readiness, "{point:?}");
    assert!(point.advice.contains(says), "{point:?}");
}

fn with_limits(set: impl FnOnce(&mut bailiwick::types::contract::LimitsDraft)) -> ContractDraft {
    let mut draft = draft();
    set(draft.limits.as_mut().expect("limits"));
    draft
}

/// What the owner is asked about.
fn asked_about(bench: &mut Bench) -> Vec<Cause> {
    let decide = bench.next();
    assert_eq!((decide.kind, decide.agent), (TurnKind::Decide, name("owner")));
    decide.trips.iter().map(|trip| trip.cause).collect()
}

#[test]
fn point_1_a_turn_cannot_spend_more_than_was_reserved_for_it_nor_a_task_more_than_it_was_granted() {
    check(&draft(), 1, Readiness::Enforced, "100,000 tokens in all, 22,500 a turn");
    let mut bench = Bench::new(&draft());
    let work = bench.next();
    assert_eq!((work.allowance, bench.task.summary().ledger.reserved), (22_500, 22_500));
    let over = Command::Usage { lease: work.lease, usage: usage(work.allowance + 1), priced: true };
    assert_eq!(bench.send(over), Ok(Reply::UsageRecorded { allowance: 0 }));
    assert!(bench.leases().is_empty(), "it is killed by the report that crosses the line");
    assert_eq!(asked_about(&mut bench), [Cause::Budget]);

    // The task as a whole: turn by turn, until nothing more can be reserved.
    let mut bench = Bench::new(&draft());
    for to in ["alpha", "beta", "gamma", "planner"] {
        bench.turn(Envelope { usage: Some(usage(22_500)), ..hand_off(to) });
    }
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.spent, ledger.overrun, ledger.granted), (90_000, 0, 100_000));
    assert_eq!(ledger.finalization_left, 10_000, "work never touches the owner's reserve");
    assert_eq!(asked_about(&mut bench), [Cause::Budget]);

    let mut greedy = draft();
    greedy.budget.as_mut().expect("a budget").max_tokens_per_turn = 90_000;
    check(&greedy, 1, Readiness::Weak, "set budget.max_tokens_per_turn, such as 22,500");
}

#[test]
fn point_2_the_hop_counter_is_the_servers_and_its_cap_is_hard() {
    let draft = with_limits(|limits| limits.max_hops = Some(2));
    check(&draft, 2, Readiness::Enforced, "2 hops at most");
    let mut bench = Bench::new(&draft);
    assert_eq!(bench.turn(hand_off("alpha")).hops_left, 2);
    // Inside a step as well as between turns: there is one counter.
    bench.turn(delegate(vec![step("find", "beta", &[])]));
    assert_eq!(bench.turn(hand_off("gamma")).hops_left, 1);
    assert_eq!(bench.turn(hand_off("alpha")).hops_left, 0);
    assert_eq!(bench.task.summary().counters.hops, 2, "the third was never made");
    assert_eq!(asked_about(&mut bench), [Cause::Hops]);
}

#[test]
fn point_3_the_deadline_is_one_for_the_whole_task_and_the_owners_time_lies_inside_it() {
    let mut draft = draft();
    draft.escalation.max_escalations = Some(0);
    check(&draft, 3, Readiness::Enforced, "10 minutes, the last 1 minute of it for the owner's decision");
    let mut bench = Bench::new(&draft);
    bench.next();
    bench.pass(Span::from_secs(539));
    assert_eq!(bench.state(), TaskState::Running);
    bench.pass(Span::from_secs(1));
    assert!(bench.leases().is_empty(), "whatever ran is stopped");
    assert_eq!(asked_about(&mut bench), [Cause::Deadline]);
    bench.pass(Span::from_secs(60));
    assert!(bench.task.is_ended(), "after ten minutes it is over, decided or not");
}

#[test]
fn point_4_the_owner_of_the_contract_decides_whoever_failed_and_is_paid_from_its_own_reserve() {
    check(
        &draft(),
        4,
        Readiness::Enforced,
        "owner decides when a guard trips, paid from a reserve of 10,000",
    );
    let mut bench = Bench::new(&draft());
    bench.turn(hand_off("alpha"));
    bench.turn(failed("no", 22_500));
    let decide = bench.next();
    assert_eq!((decide.kind, &decide.agent, decide.allowance), (TurnKind::Decide, &name("owner"), 5_000));
    let faults =
        intake::complete(&ContractDraft { owner: String::new(), ..draft() }, &Ceilings::default(), &|_| true)
            .expect_err("a contract without an owner");
    assert_eq!(faults[0].field, "owner");
}

#[test]
fn point_5_a_turn_is_answered_by_its_own_typed_message_and_by_nothing_else() {
    check(&draft(), 5, Readiness::Enforced, "StatusEnvelope");
    let mut bench = Bench::new(&draft());
    let lease = bench.next().lease;
    let send = |bench: &mut Bench, answer| {
        bench.send(Command::Complete { lease, answer: Arc::new(answer), findings: Vec::new().into() })
    };
    let decision = Answer::Decision { decision: Decision::Abort("mine".to_owned()), usage: None };
    assert_eq!(send(&mut bench, decision), Err(Rejection::NotADecideTurn));
    assert_eq!(send(&mut bench, verdict(&[], 1)), Err(Rejection::NotAValidateTurn));
    assert_eq!(bench.leases(), [lease], "a malformed answer costs nothing: the turn can still be answered");
    assert_eq!(Confidence::new(1.7), None, "a confidence is 0 to 1");
    // What the text says does not count: the status does.
    bench.answer(lease, failed("SUCCESS! Everything went very well.", 10));
    assert_eq!(asked_about(&mut bench), [Cause::AgentFailed]);
}

#[test]
fn point_6_a_failed_step_is_planned_anew_and_never_blindly_retried() {
    check(&draft(), 6, Readiness::Enforced, "returns to its planner, 3 re-plans at most");
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("find", "alpha", &[]), step("write", "beta", &["find"])]));
    bench.turn(failed("the source is gone", 10));
    let ends: Vec<_> = bench
        .records
        .iter()
        .filter_map(|record| match &record.event {
            Event::StepEnded { id, end, .. } => Some((id.to_string(), *end)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [("find".to_owned(), StepEnd::Failed), ("write".to_owned(), StepEnd::Skipped)]);
    let planner = bench.next();
    assert_eq!((planner.agent, planner.replans_left), (name("planner"), 3));
    assert!(planner.lineage.iter().any(|entry| entry.envelope.reason == "the source is gone"));
    bench.answer(planner.lease, delegate(vec![step("find_elsewhere", "gamma", &[])]));
    assert_eq!(bench.task.summary().counters.replans, 1);
    assert_eq!(bench.next().agent, name("gamma"));
    check(&with_limits(|limits| limits.max_replans = Some(0)), 6, Readiness::Weak, "set limits.max_replans");
}

#[test]
fn point_7_a_result_below_the_confidence_threshold_does_not_pass() {
    check(&draft(), 7, Readiness::Weak, "set gate.min_confidence");
    let mut draft = draft();
    draft.gate.min_confidence = 0.8;
    check(&draft, 7, Readiness::Enforced, "before SUCCEEDED: min_confidence 0.8");
    let mut bench = Bench::new(&draft);
    bench.turn(Envelope { confidence: Confidence::new(0.79), ..success(r#"{"n":1}"#, 10) });
    let revision = bench.next();
    assert!(
        revision.notes[0].contains("confidence 0.79 is below min_confidence 0.8"),
        "{:?}",
        revision.notes
    );
    bench.answer(revision.lease, Envelope { confidence: None, ..success(r#"{"n":2}"#, 10) });
    assert_eq!(bench.state(), TaskState::Running, "saying nothing is no confidence");
    bench.turn(Envelope { confidence: Confidence::new(0.8), ..success(r#"{"n":3}"#, 10) });
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
}

#[test]
fn point_8_a_question_waits_for_a_person_silence_approves_nothing_and_a_drill_is_dated() {
    let now = Timestamp(1_790_000_000_000_000);
    let drilled = |last_drill| told(&draft(), &ServerFacts { now, last_drill, ..ServerFacts::default() }, 8);
    let never = drilled(Fact::Never);
    assert_eq!(never.readiness, Readiness::Weak);
    assert!(never.advice.starts_with("never drilled: run `bailiwick drill`"), "{}", never.advice);
    let answered = Some(DrillAnswer { by: "ann".to_owned(), at: now });
    let task = TaskId::from_key("drill", 1);
    let done = drilled(Fact::Last(Drill { task, asked_at: now.minus(Span::from_secs(42)), answered }));
    assert_eq!(done.readiness, Readiness::Enforced);
    let says =
        "drilled on 2026-09-21, ann answered after 42 seconds; up to 3 questions, 1 day each, then PARTIAL";
    assert_eq!(done.advice, says);

    let mut bench = Bench::new(&draft());
    bench.turn(Envelope { result: Some(json(r#"{"half":1}"#)), ..ask("is this enough?") });
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    bench.pass(Span::from_secs(86_399));
    assert_eq!(bench.state(), TaskState::AwaitingHuman, "the task's own clock stands while it waits");
    bench.pass(Span::from_secs(1));
    assert_eq!(bench.outcome(), "Partial by Fallback for EscalationExpired");
    assert!(bench.human(1, HumanAnswer::Approve).is_err(), "too late");
    bench.check_replay();
}

#[test]
fn point_9_nothing_runs_without_a_term_that_ends_it_and_every_turn_is_told() {
    let mut bare = draft();
    bare.termination = None;
    let faults = intake::complete(&bare, &Ceilings::default(), &|_| true).expect_err("no term ends it");
    assert!(faults.iter().any(|fault| fault.field.starts_with("termination")), "{faults:?}");

    let mut draft = draft();
    let termination = draft.termination.as_mut().expect("termination");
    termination.result_schema = Some(json(r#"{"type":"object","required":["sum"]}"#));
    termination.acceptance = vec!["result.sum > 0".to_owned()];
    check(&draft, 9, Readiness::Enforced, "sent with every turn: result_schema, 1 acceptance rule");
    let mut bench = Bench::new(&draft);
    for to in ["alpha", "beta"] {
        let turn = bench.turn(hand_off(to));
        assert_eq!(turn.result_schema, draft.termination.as_ref().and_then(|t| t.result_schema.clone()));
        assert_eq!((turn.acceptance, turn.turns_left > 0), (vec!["result.sum > 0".to_owned()], true));
    }
    draft.guards.repetition_off = true;
    draft.guards.finished_off = true;
    check(&draft, 9, Readiness::Weak, "switch guards.repetition and guards.finished on again");
}

#[test]
fn point_10_workers_that_die_lose_no_task_and_no_token_and_a_poison_turn_ends_as_a_dead_letter() {
    check(&draft(), 10, Readiness::Weak, "unknown: ask a server");
    let never = told(&draft(), &ServerFacts { last_chaos: Fact::Never, ..ServerFacts::default() }, 10);
    assert!(never.readiness == Readiness::Absent, "{}", never.advice);
    assert!(never.advice.contains("no run with deliberate failures is recorded"), "{}", never.advice);
    let at = Timestamp(1_790_000_000_000_000);
    let tested = |crew: CrewTested, days: u64| {
        let now = at.plus(Span::from_secs(86_400).times(days));
        let last_chaos = Fact::Last(CrewTested { at, ..crew });
        let point = told(&draft(), &ServerFacts { now, last_chaos, ..ServerFacts::default() }, 10);
        (point.readiness, point.advice)
    };
    let passed = tested(CrewTested::default(), 90);
    assert_eq!(passed, (Readiness::Enforced, "last run on 2026-09-21, passed".to_owned()));
    let agent = || vec!["alpha".parse().expect("a name")];
    let (old, says) = tested(CrewTested::default(), 91);
    assert!(old == Readiness::Weak && says.contains("91 days ago"), "{says}");
    let (part, says) = tested(CrewTested { untested: agent(), ..CrewTested::default() }, 0);
    assert!(part == Readiness::Weak && says.contains("without alpha"), "{says}");
    let (failed, says) = tested(CrewTested { failed: agent(), ..CrewTested::default() }, 0);
    assert!(failed == Readiness::Absent && says.contains("alpha, of 2026-09-21, failed"), "{says}");

    let mut bench = Bench::new(&draft());
    let lost = bench.next();
    bench.lose(lost.lease);
    bench.pass(Span::from_secs(1));
    assert_eq!(bench.task.summary().ledger.reserved, lost.allowance, "it stays charged until it is heard of");
    let again = bench.next();
    assert_eq!((again.agent, again.input, again.goal), (lost.agent, lost.input, lost.goal));
    let late = Arc::new(Answer::Envelope(success(r#"{"n":1}"#, 700)));
    let reply =
        bench.send(Command::Complete { lease: lost.lease, answer: late, findings: Vec::new().into() });
    assert!(matches!(reply, Ok(Reply::Refused(Rejection::LeaseNotLive(_)))), "{reply:?}");
    assert_eq!(bench.task.summary().ledger.spent, 700, "a fence refuses results, never usage");
    for attempt in 0..2 {
        let lease = if attempt == 0 { again.lease } else { bench.next().lease };
        bench.lose(lease);
        bench.pass(Span::from_secs(10));
    }
    assert_eq!(bench.outcome(), "DeadLettered by System for AttemptsExhausted");
    bench.check_replay();
}
