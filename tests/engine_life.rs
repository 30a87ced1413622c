//! The life of a task, behaviour by behaviour: each test is a sentence that a user could say.

#[path = "support/engine.rs"]
mod support;

use std::sync::Arc;

use bailiwick::{
    engine::{
        command::{Command, HumanAnswer, Rejection, Reply},
        event::{AttemptEnd, EscalationEnd, Event, StepEnd, TurnKind},
        intake,
    },
    types::{
        contract::OwnerFallback,
        envelope::{Answer, Confidence, Decision, Directive, Envelope, HandOff, Status},
        outcome::{Cause, EndedBy, TaskState, may_end},
        plan::{OnStepFailure, PlanDraft},
        time::Span,
    },
};
use support::{Bench, delegate, draft, failed, hand_off, json, name, plan, step, success, usage};

#[test]
fn a_task_runs_from_submission_to_success_through_the_gate() {
    let mut bench = Bench::new(&draft());
    assert_eq!(bench.state(), TaskState::Queued);
    let assignment = bench.next();
    assert_eq!(bench.state(), TaskState::Running);
    assert_eq!((assignment.agent, assignment.kind), (name("planner"), TurnKind::Work));
    assert_eq!(assignment.allowance, 22_500, "a quarter of what the reserve leaves");
    bench.answer(assignment.lease, success(r#"{"a":1}"#, 500));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    let view = bench.task.view();
    assert_eq!((view.summary.ledger.spent, view.summary.ledger.reserved), (500, 0));
    assert_eq!(
        bench.story(),
        ["submitted", "turn_opened", "attempt_started", "turn_answered", "gate_judged", "ended"]
    );
    bench.check_replay();
}

#[test]
fn the_server_counts_hops_and_the_owner_decides_at_the_cap() {
    let mut bench = Bench::new(&draft());
    for hop in 0..12_u32 {
        let to = if hop % 2 == 0 { "alpha" } else { "beta" };
        let assignment = bench.turn(hand_off(to));
        assert_eq!(assignment.hops_left, 12 - hop);
    }
    bench.turn(hand_off("alpha"));
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    let decide = bench.next();
    assert_eq!((decide.agent, decide.kind), (name("owner"), TurnKind::Decide));
    assert_eq!(decide.trips[0].cause, Cause::Hops);
    let enough = Decision::CompletePartial { result: Some(json("{}")), reason: "enough".to_owned() };
    bench.decide(decide.lease, enough);
    assert_eq!(bench.outcome(), "Partial by Owner for Hops");
    assert_eq!(bench.task.summary().counters.hops, 12);
    bench.check_replay();
}

#[test]
fn a_plan_runs_its_steps_as_dependencies_allow_and_returns_to_the_planner_with_every_envelope() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![
        step("a", "alpha", &[]),
        step("b", "beta", &[]),
        step("c", "gamma", &["a", "b"]),
    ]));
    assert_eq!(bench.ready().len(), 2, "a and b run in parallel");
    let first = bench.assign(2).expect("a");
    let second = bench.assign(3).expect("b");
    bench.answer(second.lease, success("2", 100));
    assert!(bench.ready().is_empty(), "c waits for a");
    bench.answer(first.lease, success("1", 100));
    let third = bench.next();
    assert_eq!(third.lineage.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["a", "b", "turn-1"]);
    bench.answer(third.lease, success("3", 100));
    let back = bench.next();
    assert_eq!(back.agent, name("planner"));
    assert_eq!(back.lineage.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "turn-1"]);
    assert_eq!(bench.task.summary().ledger.reserved, back.allowance, "the plan's hold is released");
    bench.answer(back.lease, success(r#"{"done":true}"#, 100));
    assert_eq!(bench.outcome(), "Succeeded by Gate for Completed");
    bench.check_replay();
}

#[test]
fn max_parallel_bounds_the_steps_that_run_at_once() {
    let mut draft = draft();
    draft.limits.as_mut().expect("limits").max_parallel = 2;
    let mut bench = Bench::new(&draft);
    let ids: Vec<_> = (0..5).map(|i| format!("s{i}")).collect();
    bench.turn(delegate(ids.iter().map(|id| step(id, "alpha", &[])).collect()));
    for left in [5, 4, 3, 2, 1] {
        let ready = bench.ready();
        assert_eq!(ready.len(), left.min(2));
        let assignment = bench.assign(ready[0]).expect("assigned");
        bench.answer(assignment.lease, success("1", 1));
    }
    assert_eq!(bench.next().agent, name("planner"));
}

#[test]
fn a_failed_step_skips_what_depends_on_it_and_the_planner_replans() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[]), step("c", "gamma", &["a"])]));
    let a = bench.assign(2).expect("a");
    let b = bench.assign(3).expect("b");
    bench.answer(a.lease, failed("no source", 10));
    assert_eq!(bench.leases(), [b.lease], "the running sibling finishes");
    bench.answer(b.lease, success("2", 10));
    let planner = bench.next();
    assert!(planner.notes[0].contains("step a failed: no source"), "{:?}", planner.notes);
    let statuses: Vec<_> = planner.lineage.iter().map(|e| (e.id.as_str(), e.envelope.status)).collect();
    assert_eq!(statuses[..3], [("a", Status::Failed), ("b", Status::Success), ("c", Status::Failed)]);
    bench.answer(planner.lease, delegate(vec![step("a", "gamma", &[])]));
    let counters = bench.task.summary().counters;
    assert_eq!((counters.rounds, counters.replans), (1, 1), "a delegation after a failure is a re-plan");
    bench.check_replay();
}

#[test]
fn a_plan_may_cancel_the_siblings_of_a_failed_step() {
    let mut bench = Bench::new(&draft());
    let draft = PlanDraft {
        on_step_failure: OnStepFailure::Cancel,
        ..plan(vec![step("a", "alpha", &[]), step("b", "beta", &[])])
    };
    let cancelling = intake::plan(&draft, "plan").expect("valid");
    let directive = Some(Directive::Delegate(cancelling));
    bench.turn(Envelope { directive, ..success("1", 1) });
    let a = bench.assign(2).expect("a");
    let b = bench.assign(3).expect("b");
    bench.answer(a.lease, failed("no", 10));
    assert!(bench.leases().is_empty(), "b is revoked");
    assert_eq!(bench.next().agent, name("planner"));
    let ends: Vec<_> = bench
        .records
        .iter()
        .filter_map(|r| match &r.event {
            Event::StepEnded { id, end, .. } => Some((id.to_string(), *end)),
            _ => None,
        })
        .collect();
    assert_eq!(ends, [("a".to_owned(), StepEnd::Failed), ("b".to_owned(), StepEnd::Cancelled)]);
    let late = bench.send(Command::Usage { lease: b.lease, usage: usage(400), priced: true });
    assert_eq!(late, Ok(Reply::UsageRecorded { allowance: 0 }));
    assert_eq!(bench.task.summary().ledger.by_agent[&name("beta")], 400, "usage is never refused");
}

#[test]
fn a_plan_that_cannot_be_funded_is_refused_whole_with_the_sums() {
    let mut bench = Bench::new(&draft());
    let mut big = step("a", "alpha", &[]);
    big.max_tokens = 80_000;
    let refused = bench.turn(delegate(vec![big]));
    let correction = bench.next();
    assert_eq!(correction.agent, refused.agent);
    assert!(correction.notes[0].contains("needs 102500 tokens"), "{:?}", correction.notes);
    assert!(correction.notes[0].contains("89990 are free"), "{:?}", correction.notes);
}

#[test]
fn a_refused_directive_returns_to_its_agent_and_after_the_cap_to_the_owner() {
    let mut bench = Bench::new(&draft());
    for expected in ["planner", "planner", "planner"] {
        assert_eq!(bench.turn(hand_off("nobody")).agent, name(expected));
    }
    let decide = bench.next();
    assert_eq!((decide.kind, decide.trips[0].cause), (TurnKind::Decide, Cause::Role));
}

#[test]
fn a_hand_off_that_the_contract_does_not_allow_is_refused() {
    let mut draft = draft();
    draft.allowed_hand_offs = vec![("planner".to_owned(), vec!["alpha".to_owned()])];
    let mut bench = Bench::new(&draft);
    bench.turn(hand_off("beta"));
    let correction = bench.next();
    assert!(correction.notes[0].contains("only to alpha"), "{:?}", correction.notes);
    bench.answer(correction.lease, hand_off("alpha"));
    assert_eq!(bench.next().agent, name("alpha"));
}

#[test]
fn an_attempt_that_vanishes_stays_charged_and_another_takes_over() {
    let mut bench = Bench::new(&draft());
    let first = bench.next();
    bench.lose(first.lease);
    assert!(bench.ready().is_empty(), "the retry waits for its backoff");
    bench.pass(Span::from_millis(200));
    let second = bench.next();
    assert_eq!((second.lease.turn, second.lease.attempt), (1, 2));
    let ledger = bench.task.summary().ledger;
    assert_eq!(ledger.unheard, first.allowance);
    assert_eq!(ledger.reserved, first.allowance + second.allowance);
    bench.answer(second.lease, success("{}", 100));
    let late = Command::Usage { lease: first.lease, usage: usage(70), priced: true };
    bench.send(late.clone()).expect("usage is never refused");
    bench.send(late).expect("and a repeat is harmless");
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.spent, ledger.reserved, ledger.unheard), (170, 0, 0));
    assert_eq!(bench.story().last(), Some(&"late_usage"));
    bench.check_replay();
}

#[test]
fn attempts_that_are_used_up_make_a_dead_letter_never_a_budget_failure() {
    let mut bench = Bench::new(&draft());
    for _ in 0..3 {
        let assignment = bench.next();
        bench.lose(assignment.lease);
        bench.pass(Span::from_secs(10));
    }
    assert_eq!(bench.outcome(), "DeadLettered by System for AttemptsExhausted");
}

#[test]
fn a_retry_that_vanished_attempts_leave_no_funds_for_is_a_technical_failure() {
    let mut draft = draft();
    let budget = draft.budget.as_mut().expect("budget");
    budget.max_tokens_per_turn = 60_000;
    budget.min_tokens_per_turn = 50_000;
    let mut bench = Bench::new(&draft);
    let first = bench.next();
    bench.lose(first.lease);
    assert_eq!(bench.outcome(), "DeadLettered by System for AttemptsExhausted");
}

#[test]
fn a_fence_refuses_the_result_of_a_lost_lease_and_keeps_its_usage() {
    let mut bench = Bench::new(&draft());
    let first = bench.next();
    bench.lose(first.lease);
    let answer = Arc::new(Answer::Envelope(success("{}", 300)));
    let complete = Command::Complete { lease: first.lease, answer, findings: Vec::new().into() };
    let reply = bench.send(complete).expect("decided");
    assert!(matches!(reply, Reply::Refused(Rejection::LeaseNotLive(_))), "{reply:?}");
    assert_eq!(bench.task.summary().ledger.spent, 300);
    assert!(!bench.task.is_ended());
}

#[test]
fn resending_an_answer_is_harmless_and_another_answer_is_refused() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.turn(success("{}", 5));
    let events = bench.records.len();
    assert_eq!(bench.answer(assignment.lease, success("{}", 5)), Reply::Completed { repeated: true });
    assert_eq!(bench.records.len(), events);
    let answer = Arc::new(Answer::Envelope(success("1", 5)));
    let other = Command::Complete { lease: assignment.lease, answer, findings: Vec::new().into() };
    assert_eq!(bench.send(other), Err(Rejection::AlreadyAnswered));
}

#[test]
fn spending_past_the_allowance_kills_the_attempt_and_the_owner_decides() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    let over = usage(assignment.allowance + 1);
    let reply = bench.send(Command::Usage { lease: assignment.lease, usage: over, priced: true });
    assert_eq!(reply, Ok(Reply::UsageRecorded { allowance: 0 }));
    assert!(bench.leases().is_empty());
    let decide = bench.next();
    assert_eq!(decide.trips[0].cause, Cause::Budget);
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.spent, ledger.overrun), (22_501, 0), "the excess is debited from the free grant");
}

#[test]
fn what_is_spent_beyond_the_grant_is_kept_as_overrun_and_the_reserve_stays_untouched() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    let over = usage(150_000);
    bench.send(Command::Usage { lease: assignment.lease, usage: over, priced: true }).expect("recorded");
    let ledger = bench.task.summary().ledger;
    assert_eq!((ledger.spent, ledger.overrun), (90_000, 60_000));
    assert_eq!(ledger.finalization_left, 10_000);
    let decide = bench.next();
    assert_eq!(decide.allowance, 5_000, "the owner's turn is paid from the reserve");
    bench.decide(decide.lease, Decision::Abort("too dear".to_owned()));
    assert_eq!(bench.outcome(), "Failed by Owner for Budget");
}

#[test]
fn a_worker_may_ask_for_more_and_a_denial_says_what_remains() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    let ask = |tokens| Command::RequestBudget {
        lease: assignment.lease,
        tokens,
        reason: "one more page".to_owned(),
    };
    let granted = bench.send(ask(10_000));
    assert_eq!(granted, Ok(Reply::Budget { granted: 10_000, allowance: 32_500, left: 57_500 }));
    let denied = bench.send(ask(57_501));
    assert_eq!(denied, Ok(Reply::Budget { granted: 0, allowance: 32_500, left: 57_500 }));
    let said =
        |event: &Event| matches!(event, Event::BudgetAnswered { reason, .. } if reason == "one more page");
    assert!(bench.records.iter().any(|record| said(&record.event)), "what it was for stays in the journal");
}

#[test]
fn an_answer_without_usage_is_charged_its_whole_allowance() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.turn(Envelope { usage: None, ..success("{}", 0) });
    assert_eq!(bench.task.summary().ledger.spent, assignment.allowance);
}

#[test]
fn an_agent_cannot_spend_beyond_its_own_cap() {
    let mut draft = draft();
    draft.budget.as_mut().expect("budget").max_tokens_by_agent.insert("planner".to_owned(), 1_000);
    let mut bench = Bench::new(&draft);
    let assignment = bench.next();
    assert_eq!(assignment.allowance, 1_000);
    bench.answer(
        assignment.lease,
        Envelope { status: Status::Success, ..delegate(vec![step("a", "alpha", &[])]) },
    );
    let step = bench.next();
    bench.answer(step.lease, success("1", 10));
    assert_eq!(bench.next().allowance, 990, "what is left of its cap");
}

#[test]
fn a_failed_answer_goes_to_the_owner_and_is_not_retried() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("I cannot", 10));
    let decide = bench.next();
    assert_eq!(decide.trips[0].cause, Cause::AgentFailed);
    let to = HandOff { agent: name("alpha"), input: Some(json("{}")) };
    bench.decide(decide.lease, Decision::ReplanTo(to));
    let second = bench.next();
    assert_eq!((second.agent, second.input), (name("alpha"), Some(json("{}"))));
    let counters = bench.task.summary().counters;
    assert_eq!((counters.replans, counters.hops), (1, 0));
}

#[test]
fn a_failure_marked_retryable_is_tried_again() {
    let mut bench = Bench::new(&draft());
    bench.turn(Envelope { retryable: true, ..failed("rate limit", 10) });
    bench.pass(Span::from_secs(1));
    let second = bench.next();
    assert_eq!(second.lease.attempt, 2);
    assert_eq!(bench.task.summary().ledger.spent, 10, "its usage is known, so nothing else stays charged");
}

#[test]
fn low_confidence_is_sent_back_and_then_waits_for_a_person() {
    let mut draft = draft();
    draft.gate.min_confidence = 0.8;
    draft.gate.max_revisions = Some(1);
    let mut bench = Bench::new(&draft);
    let unsure = || Envelope { confidence: Confidence::new(0.5), ..success(r#"{"x":1}"#, 10) };
    bench.turn(unsure());
    let revision = bench.next();
    assert!(revision.notes[0].contains("confidence 0.5 is below min_confidence 0.8"));
    bench.answer(revision.lease, unsure());
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
    bench.human(1, HumanAnswer::Approve).expect("approved");
    assert_eq!(bench.outcome(), "Succeeded by Human for Completed");
    let again = bench.human(1, HumanAnswer::Abort);
    assert!(
        matches!(again, Err(Rejection::EscalationClosed(closed)) if closed.by == "ada"),
        "the first answer wins"
    );
    bench.check_replay();
}

#[test]
fn the_clock_stands_still_while_a_person_is_waited_for() {
    let mut bench = Bench::new(&draft());
    bench.turn(Envelope { directive: Some(Directive::AskHuman("may I?".to_owned())), ..success("1", 1) });
    let before = bench.task.view().deadline;
    bench.pass(Span::from_secs(3_600));
    assert_eq!(bench.state(), TaskState::AwaitingHuman, "an hour is more than the deadline");
    bench.human(1, HumanAnswer::Approve).expect("approved");
    assert_eq!(bench.task.view().deadline, before.plus(Span::from_secs(3_600)));
    let next = bench.next();
    assert!(next.notes[0].contains("ada says: go on: fine"), "{:?}", next.notes);
}

#[test]
fn an_unanswered_question_expires_and_never_approves() {
    let mut bench = Bench::new(&draft());
    bench.turn(Envelope { directive: Some(Directive::AskHuman("may I?".to_owned())), ..success("{}", 1) });
    bench.pass(Span::from_secs(86_400));
    assert_eq!(bench.outcome(), "Partial by Fallback for EscalationExpired");
    let late = bench.human(1, HumanAnswer::Approve);
    assert!(matches!(late, Err(Rejection::EscalationClosed(closed)) if closed.end == EscalationEnd::Expired));
}

#[test]
fn the_deadline_stops_the_work_and_leaves_the_owner_its_reserve_of_time() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    bench.pass(Span::from_secs(539));
    assert_eq!(bench.leases(), [assignment.lease]);
    bench.pass(Span::from_secs(1));
    assert!(bench.leases().is_empty(), "the running attempt is revoked");
    let decide = bench.next();
    assert_eq!(decide.trips[0].cause, Cause::Deadline);
    let to = HandOff { agent: name("alpha"), input: None };
    bench.decide(decide.lease, Decision::ReplanTo(to));
    let again = bench.next();
    assert!(again.notes[0].contains("your decision was refused"), "no time is left for a re-plan");
    bench.pass(Span::from_secs(60));
    assert_eq!(bench.state(), TaskState::AwaitingHuman, "the owner was too late: the fallback asks a person");
}

#[test]
fn an_owner_that_answers_out_of_role_is_replaced_by_the_fallback() {
    let mut draft = draft();
    draft.escalation.owner_fallback = Some(OwnerFallback::Finish);
    let mut bench = Bench::new(&draft);
    bench.turn(failed("no", 1));
    let decide = bench.next();
    bench.answer(decide.lease, success("{}", 1));
    assert_eq!(bench.outcome(), "Failed by Fallback for OwnerUnavailable");
}

#[test]
fn only_the_owner_decides() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    let answer = Arc::new(Answer::Decision { decision: Decision::Abort("mine".to_owned()), usage: None });
    let reply =
        bench.send(Command::Complete { lease: assignment.lease, answer, findings: Vec::new().into() });
    assert_eq!(reply, Err(Rejection::NotADecideTurn));
    assert_eq!(bench.leases(), [assignment.lease], "the attempt goes on");
}

#[test]
fn a_clients_cancel_is_immediate_and_keeps_the_best_result() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    let partial = Some(json(r#"{"half":true}"#));
    bench.send(Command::Progress { lease: assignment.lease, steps: Vec::new(), partial }).expect("live");
    let reply = bench.send(Command::Cancel { reason: "changed my mind".to_owned() });
    assert_eq!(reply, Ok(Reply::Cancelled { already_ended: false }));
    assert_eq!(bench.outcome(), "Cancelled by Client for Cancelled");
    let outcome = bench.task.view().outcome.expect("ended");
    assert_eq!(outcome.result, Some(json(r#"{"half":true}"#)));
    assert_eq!(
        bench.send(Command::Cancel { reason: String::new() }),
        Ok(Reply::Cancelled { already_ended: true })
    );
}

#[test]
fn a_known_agent_without_a_worker_is_waited_for_and_then_the_task_is_a_dead_letter() {
    let mut bench = Bench::new(&draft());
    bench.pass(Span::from_secs(299));
    bench.known.served = false;
    bench.pass(Span::from_secs(1));
    assert_eq!(bench.outcome(), "DeadLettered by System for NoWorker");
}

#[test]
fn a_turn_that_waits_for_a_busy_worker_is_no_dead_letter() {
    let mut bench = Bench::new(&draft());
    bench.pass(Span::from_secs(400));
    assert_eq!(bench.ready(), [1]);
    let next = bench.task.next_timer(bench.now).expect("looked at again");
    assert!(next > bench.now, "and not at once");
}

#[test]
fn a_static_plan_needs_no_planner_and_its_failure_goes_to_the_owner() {
    let mut draft = draft();
    let mut fixed = plan(vec![step("find", "alpha", &[]), step("sum", "beta", &["find"])]);
    fixed.result_step = "sum".to_owned();
    draft.first_agent = None;
    draft.plan = Some(fixed);
    let mut good = Bench::new(&draft);
    good.turn(success("1", 1));
    good.turn(success(r#"{"sum":1}"#, 1));
    assert_eq!(good.outcome(), "Succeeded by Gate for Completed");
    let mut bad = Bench::new(&draft);
    bad.turn(failed("nothing there", 1));
    assert_eq!(bad.next().trips[0].cause, Cause::PlanFailed);
    good.check_replay();
    bad.check_replay();
}

#[test]
fn turns_rounds_and_replans_are_capped() {
    let check = |set: &dyn Fn(&mut bailiwick::types::contract::LimitsDraft), fails: bool, cause| {
        let mut draft = draft();
        set(draft.limits.as_mut().expect("limits"));
        let mut bench = Bench::new(&draft);
        for _ in 0..20 {
            if bench.state() == TaskState::OwnerDecides {
                break;
            }
            let assignment = bench.next();
            match (assignment.step.is_some(), fails) {
                (false, _) => bench.answer(assignment.lease, delegate(vec![step("a", "alpha", &[])])),
                (true, true) => bench.answer(assignment.lease, failed("no", 1)),
                (true, false) => bench.answer(assignment.lease, success("1", 1)),
            };
        }
        assert_eq!(bench.next().trips[0].cause, cause);
    };
    check(&|limits| limits.max_turns = 3, false, Cause::Turns);
    check(&|limits| limits.max_rounds = 2, false, Cause::NotConverged);
    check(&|limits| limits.max_replans = Some(1), true, Cause::Replans);
}

#[test]
fn the_outcome_matrix_is_closed() {
    let mut cells = Vec::new();
    for state in TaskState::ALL {
        for by in EndedBy::ALL {
            let causes = Cause::ALL.iter().filter(|cause| may_end(state, by, **cause)).count();
            if causes > 0 {
                cells.push(format!("{state:?} by {by:?}: {causes}"));
            }
        }
    }
    assert_eq!(
        cells,
        [
            "Succeeded by Gate: 2",
            "Succeeded by Human: 1",
            "Partial by Owner: 14",
            "Partial by Fallback: 16",
            "Failed by Owner: 14",
            "Failed by Human: 15",
            "Failed by Fallback: 16",
            "Cancelled by Client: 1",
            "Cancelled by System: 1",
            "DeadLettered by System: 2",
        ]
    );
}

#[test]
fn a_lease_that_was_never_granted_is_unknown_and_a_released_one_is_retried() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    let forged = bailiwick::types::ids::Lease { secret: 99, ..assignment.lease };
    let usage = usage(1);
    assert_eq!(
        bench.send(Command::Usage { lease: forged, usage, priced: true }),
        Err(Rejection::LeaseUnknown)
    );
    let end = AttemptEnd::Released;
    let back = Command::EndLease { lease: assignment.lease, end, reason: "draining".to_owned() };
    bench.send(back).expect("was live");
    bench.pass(Span::from_millis(200));
    assert_eq!(bench.next().lease.attempt, 2);
}
