//! One test for each cell of the outcome matrix that can occur: who ended the task, how, and why. The tests are written from
//! the list of cells, and the list is held against the matrix: neither can change without the other.

use std::collections::BTreeSet;

use bailiwick::{
    engine::command::{Command, HumanAnswer, Reply},
    types::{
        contract::{ContractDraft, ConvergenceDraft, DefaultAnswer, OwnerFallback},
        envelope::{Confidence, Decision, Envelope, Status},
        halt::{HaltMark, HaltScope},
        outcome::{Cause, EndedBy, TaskState, may_end},
        time::Span,
    },
};

use crate::{
    causes::asked_for,
    support::{Bench, delegate, draft, failed, json, plan, step, success},
};

/// Cells that the matrix allows and nothing reaches yet: none.
const RESERVED: [(TaskState, EndedBy, Cause); 0] = [];

/// Writes one test a line: its name, the cell, and how a task comes there.
macro_rules! cells {
    ($($name:ident: $state:ident by $by:ident for $cause:ident, $ending:ident;)*) => {
        /// Every cell that has a test of its own.
        const NAMED: &[(TaskState, EndedBy, Cause)] =
            &[$((TaskState::$state, EndedBy::$by, Cause::$cause)),*];

        $(#[test]
        fn $name() {
            let bench: Bench = $ending(Cause::$cause);
            let cell = concat!(stringify!($state), " by ", stringify!($by), " for ", stringify!($cause));
            assert_eq!(bench.outcome(), cell);
            bench.check_replay();
        })*
    };
}

cells! {
    the_gate_lets_a_completed_result_pass: Succeeded by Gate for Completed, completes;
    the_gate_lets_the_best_draft_pass_when_rounds_no_longer_pay: Succeeded by Gate for Converged, converges;
    a_person_approves_what_the_gate_refused: Succeeded by Human for Completed, person_approves;
    a_client_cancels: Cancelled by Client for Cancelled, client_cancels;
    a_halt_ends_what_it_covers: Cancelled by System for Halted, halted;

    the_owner_ends_it_partial_for_converged: Partial by Owner for Converged, owner_accepts_a_part;
    the_owner_ends_it_partial_for_budget: Partial by Owner for Budget, owner_accepts_a_part;
    the_owner_ends_it_partial_for_hops: Partial by Owner for Hops, owner_accepts_a_part;
    the_owner_ends_it_partial_for_turns: Partial by Owner for Turns, owner_accepts_a_part;
    the_owner_ends_it_partial_for_replans: Partial by Owner for Replans, owner_accepts_a_part;
    the_owner_ends_it_partial_for_not_converged: Partial by Owner for NotConverged, owner_accepts_a_part;
    the_owner_ends_it_partial_for_repetition: Partial by Owner for Repetition, owner_accepts_a_part;
    the_owner_ends_it_partial_for_deadline: Partial by Owner for Deadline, owner_accepts_a_part;
    the_owner_ends_it_partial_for_gate_rejected: Partial by Owner for GateRejected, owner_accepts_a_part;
    the_owner_ends_it_partial_for_role: Partial by Owner for Role, owner_accepts_a_part;
    the_owner_ends_it_partial_for_agent_failed: Partial by Owner for AgentFailed, owner_accepts_a_part;
    the_owner_ends_it_partial_for_plan_failed: Partial by Owner for PlanFailed, owner_accepts_a_part;
    the_owner_ends_it_partial_for_no_worker: Partial by Owner for NoWorker, owner_accepts_a_part;
    the_owner_ends_it_partial_for_attempts_exhausted: Partial by Owner for AttemptsExhausted, owner_accepts_a_part;

    the_owner_aborts_for_converged: Failed by Owner for Converged, owner_aborts;
    the_owner_aborts_for_budget: Failed by Owner for Budget, owner_aborts;
    the_owner_aborts_for_hops: Failed by Owner for Hops, owner_aborts;
    the_owner_aborts_for_turns: Failed by Owner for Turns, owner_aborts;
    the_owner_aborts_for_replans: Failed by Owner for Replans, owner_aborts;
    the_owner_aborts_for_not_converged: Failed by Owner for NotConverged, owner_aborts;
    the_owner_aborts_for_repetition: Failed by Owner for Repetition, owner_aborts;
    the_owner_aborts_for_deadline: Failed by Owner for Deadline, owner_aborts;
    the_owner_aborts_for_gate_rejected: Failed by Owner for GateRejected, owner_aborts;
    the_owner_aborts_for_role: Failed by Owner for Role, owner_aborts;
    the_owner_aborts_for_agent_failed: Failed by Owner for AgentFailed, owner_aborts;
    the_owner_aborts_for_plan_failed: Failed by Owner for PlanFailed, owner_aborts;
    the_owner_aborts_for_no_worker: Failed by Owner for NoWorker, owner_aborts;
    the_owner_aborts_for_attempts_exhausted: Failed by Owner for AttemptsExhausted, owner_aborts;

    a_person_aborts_for_converged: Failed by Human for Converged, person_aborts;
    a_person_aborts_for_budget: Failed by Human for Budget, person_aborts;
    a_person_aborts_for_hops: Failed by Human for Hops, person_aborts;
    a_person_aborts_for_turns: Failed by Human for Turns, person_aborts;
    a_person_aborts_for_replans: Failed by Human for Replans, person_aborts;
    a_person_aborts_for_not_converged: Failed by Human for NotConverged, person_aborts;
    a_person_aborts_for_repetition: Failed by Human for Repetition, person_aborts;
    a_person_aborts_for_deadline: Failed by Human for Deadline, person_aborts;
    a_person_aborts_for_gate_rejected: Failed by Human for GateRejected, person_aborts;
    a_person_aborts_for_role: Failed by Human for Role, person_aborts;
    a_person_aborts_for_agent_failed: Failed by Human for AgentFailed, person_aborts;
    a_person_aborts_for_plan_failed: Failed by Human for PlanFailed, person_aborts_half_a_plan;
    a_person_aborts_for_no_worker: Failed by Human for NoWorker, person_aborts;
    a_person_aborts_for_attempts_exhausted: Failed by Human for AttemptsExhausted, person_aborts;

    the_fallback_keeps_the_best_result_for_converged: Partial by Fallback for Converged, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_budget: Partial by Fallback for Budget, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_hops: Partial by Fallback for Hops, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_turns: Partial by Fallback for Turns, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_replans: Partial by Fallback for Replans, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_not_converged: Partial by Fallback for NotConverged, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_repetition: Partial by Fallback for Repetition, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_deadline: Partial by Fallback for Deadline, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_gate_rejected: Partial by Fallback for GateRejected, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_role: Partial by Fallback for Role, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_agent_failed: Partial by Fallback for AgentFailed, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_plan_failed: Partial by Fallback for PlanFailed, fallback_keeps_half_a_plan;
    the_fallback_keeps_the_best_result_for_no_worker: Partial by Fallback for NoWorker, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_attempts_exhausted: Partial by Fallback for AttemptsExhausted, fallback_keeps_the_best;

    the_fallback_ends_it_failed_for_converged: Failed by Fallback for Converged, fallback_has_nothing;
    the_fallback_ends_it_failed_for_budget: Failed by Fallback for Budget, fallback_has_nothing;
    the_fallback_ends_it_failed_for_hops: Failed by Fallback for Hops, fallback_has_nothing;
    the_fallback_ends_it_failed_for_turns: Failed by Fallback for Turns, fallback_has_nothing;
    the_fallback_ends_it_failed_for_replans: Failed by Fallback for Replans, fallback_has_nothing;
    the_fallback_ends_it_failed_for_not_converged: Failed by Fallback for NotConverged, fallback_has_nothing;
    the_fallback_ends_it_failed_for_repetition: Failed by Fallback for Repetition, fallback_has_nothing;
    the_fallback_ends_it_failed_for_deadline: Failed by Fallback for Deadline, fallback_has_nothing;
    the_fallback_ends_it_failed_for_gate_rejected: Failed by Fallback for GateRejected, fallback_has_nothing;
    the_fallback_ends_it_failed_for_role: Failed by Fallback for Role, fallback_has_nothing;
    the_fallback_ends_it_failed_for_agent_failed: Failed by Fallback for AgentFailed, fallback_has_nothing;
    the_fallback_ends_it_failed_for_plan_failed: Failed by Fallback for PlanFailed, fallback_has_nothing;
    the_fallback_ends_it_failed_for_no_worker: Failed by Fallback for NoWorker, fallback_has_nothing;
    the_fallback_ends_it_failed_for_attempts_exhausted: Failed by Fallback for AttemptsExhausted, fallback_has_nothing;

    a_person_aborts_where_the_owner_was_silent: Failed by Human for OwnerUnavailable, person_aborts_for_the_owner;
    an_owner_that_does_not_decide_leaves_the_best_result_partial:
        Partial by Fallback for OwnerUnavailable, silent_owner_with_a_result;
    an_owner_that_does_not_decide_leaves_nothing_and_it_failed:
        Failed by Fallback for OwnerUnavailable, silent_owner_without;
    a_question_that_expires_leaves_the_best_result_partial:
        Partial by Fallback for EscalationExpired, unanswered_with_a_result;
    a_question_that_expires_without_any_result_ends_it_failed:
        Failed by Fallback for EscalationExpired, unanswered_without;

    an_agent_that_nobody_serves_makes_a_dead_letter: DeadLettered by System for NoWorker, nobody_serves;
    a_poison_turn_makes_a_dead_letter: DeadLettered by System for AttemptsExhausted, poison;
}

#[test]
fn every_cell_of_the_matrix_has_its_test_or_is_reserved() {
    let mut allowed = BTreeSet::new();
    for state in TaskState::ALL {
        for by in EndedBy::ALL {
            let cells = Cause::ALL.into_iter().filter(|cause| may_end(state, by, *cause));
            allowed.extend(cells.map(|cause| (state, by, cause)));
        }
    }
    let named: BTreeSet<_> = NAMED.iter().copied().collect();
    assert_eq!(named.len(), NAMED.len(), "no cell is named twice");
    assert!(RESERVED.iter().all(|cell| !named.contains(cell)), "what has a test is not reserved any more");
    let told: BTreeSet<_> = named.into_iter().chain(RESERVED).collect();
    assert_eq!(
        told.difference(&allowed).collect::<Vec<_>>(),
        Vec::<&_>::new(),
        "the matrix allows no such end"
    );
    assert_eq!(allowed.difference(&told).collect::<Vec<_>>(), Vec::<&_>::new(), "this end has no test");
}

fn as_it_is(_: &mut ContractDraft) {}

fn nobody_to_ask(draft: &mut ContractDraft) {
    draft.escalation.max_escalations = Some(0);
}

fn attached(bench: &Bench) -> Option<bailiwick::types::payload::Payload> {
    bench.task.view().outcome.and_then(|outcome| outcome.result)
}

fn owner_accepts_a_part(cause: Cause) -> Bench {
    let mut bench = asked_for(cause, false, &as_it_is);
    let decide = bench.next();
    assert_eq!(decide.trips.iter().map(|trip| trip.cause).collect::<Vec<_>>(), [cause]);
    let result = Some(json(r#"{"part":1}"#));
    bench.decide(decide.lease, Decision::CompletePartial { result, reason: "as far as it goes".to_owned() });
    assert_eq!(attached(&bench), Some(json(r#"{"part":1}"#)));
    bench
}

fn owner_aborts(cause: Cause) -> Bench {
    let mut bench = asked_for(cause, false, &as_it_is);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Abort("it cannot be done".to_owned()));
    bench
}

fn person_aborts(cause: Cause) -> Bench {
    let mut bench = asked_for(cause, true, &as_it_is);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    bench.human(1, HumanAnswer::Abort).expect("the question is open");
    assert_eq!(attached(&bench), Some(json(r#"{"half":true}"#)), "the best result stays attached");
    bench
}

fn nobody_decides(cause: Cause, best: bool) -> Bench {
    let mut bench = asked_for(cause, best, &nobody_to_ask);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    bench
}

fn fallback_keeps_the_best(cause: Cause) -> Bench {
    let bench = nobody_decides(cause, true);
    assert_eq!(attached(&bench), Some(json(r#"{"half":true}"#)));
    bench
}

fn fallback_has_nothing(cause: Cause) -> Bench {
    nobody_decides(cause, false)
}

fn completes(_: Cause) -> Bench {
    let mut bench = Bench::new(&draft());
    bench.turn(success("{}", 1));
    bench
}

/// The same draft in two rounds, under a contract that names convergence as its end.
fn converges(_: Cause) -> Bench {
    let mut draft = draft();
    draft.termination.as_mut().expect("the draft has one").convergence =
        Some(ConvergenceDraft { min_gain: 0.05, patience: 2 });
    let mut bench = Bench::new(&draft);
    let round = || Envelope {
        result: Some(json(r#"{"draft":1}"#)),
        score: Confidence::new(0.8),
        ..delegate(vec![step("improve", "alpha", &[])])
    };
    bench.turn(round());
    bench.turn(success(r#"{"hint":"it is good as it is"}"#, 1));
    bench.turn(round());
    bench
}

fn person_approves(_: Cause) -> Bench {
    let mut draft = draft();
    draft.gate.min_confidence = 0.95;
    draft.gate.max_revisions = Some(0);
    let mut bench = Bench::new(&draft);
    bench.turn(success(r#"{"a":1}"#, 1));
    bench.human(1, HumanAnswer::Approve).expect("the question is open");
    bench
}

fn client_cancels(_: Cause) -> Bench {
    let mut bench = Bench::new(&draft());
    bench.next();
    bench.send(Command::Cancel { reason: String::new() }).expect("a cancel is never rejected");
    bench
}

fn halted(_: Cause) -> Bench {
    let mut bench = Bench::new(&draft());
    bench.next();
    let halt = |scope| HaltMark { number: 3, scope, by: "ann".to_owned(), reason: "the bill".to_owned() };
    let other = HaltScope::Agent("gamma".parse().expect("a valid name"));
    let reply = bench.send(Command::Halt { halt: halt(other), told: false });
    assert_eq!((reply, bench.state()), (Ok(Reply::Done), TaskState::Running), "it does not cover the task");
    bench.send(Command::Halt { halt: halt(HaltScope::All), told: false }).expect("a halt is never rejected");
    let reason = bench.task.view().outcome.map(|outcome| outcome.reason);
    assert_eq!(reason.as_deref(), Some("halted by ann (everything, halt 3): the bill"));
    bench
}

/// An owner that stays silent, with nobody else to ask.
fn silent_owner(best: bool) -> Bench {
    let finish = |draft: &mut ContractDraft| draft.escalation.owner_fallback = Some(OwnerFallback::Finish);
    let mut bench = asked_for(Cause::AgentFailed, best, &finish);
    bench.next();
    bench.pass(Span::from_secs(60));
    bench
}

fn silent_owner_with_a_result(_: Cause) -> Bench {
    silent_owner(true)
}

fn silent_owner_without(_: Cause) -> Bench {
    silent_owner(false)
}

fn person_aborts_for_the_owner(_: Cause) -> Bench {
    let mut bench = asked_for(Cause::AgentFailed, false, &as_it_is);
    bench.next();
    bench.pass(Span::from_secs(60));
    bench.human(1, HumanAnswer::Abort).expect("the fallback asked a person");
    bench
}

/// A question that nobody answers within its day.
fn unanswered(best: bool, default_answer: DefaultAnswer) -> Bench {
    let default = |draft: &mut ContractDraft| draft.escalation.default_answer = Some(default_answer);
    let mut bench = asked_for(Cause::AgentFailed, best, &default);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    bench.pass(Span::from_secs(86_400));
    bench
}

fn unanswered_with_a_result(_: Cause) -> Bench {
    unanswered(true, DefaultAnswer::Partial)
}

fn unanswered_without(_: Cause) -> Bench {
    unanswered(false, DefaultAnswer::Partial)
}

fn nobody_serves(_: Cause) -> Bench {
    let mut bench = Bench::new(&draft());
    (bench.known.served, bench.known.since) = (false, bench.now);
    bench.pass(Span::from_secs(300));
    bench
}

fn poison(_: Cause) -> Bench {
    let mut bench = Bench::new(&draft());
    for _ in 0..3 {
        let assignment = bench.next();
        bench.lose(assignment.lease);
        bench.pass(Span::from_secs(10));
    }
    bench
}

/// A static plan whose result step answers PARTIAL with a result.
fn half_a_plan(tweak: &dyn Fn(&mut ContractDraft)) -> Bench {
    let mut draft = draft();
    let mut fixed = plan(vec![step("find", "alpha", &[])]);
    fixed.result_step = "find".to_owned();
    draft.first_agent = None;
    draft.plan = Some(fixed);
    tweak(&mut draft);
    let mut bench = Bench::new(&draft);
    let part =
        Envelope { status: Status::Partial, reason: "half".to_owned(), ..success(r#"{"half":true}"#, 1) };
    bench.turn(part);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    bench
}

fn fallback_keeps_half_a_plan(_: Cause) -> Bench {
    half_a_plan(&nobody_to_ask)
}

fn person_aborts_half_a_plan(_: Cause) -> Bench {
    let mut bench = half_a_plan(&as_it_is);
    bench.human(1, HumanAnswer::Abort).expect("the question is open");
    bench
}

// Beside the cells: what holds for several of them.

#[test]
fn a_question_whose_default_is_abort_ends_it_failed_and_keeps_the_result() {
    let bench = unanswered(true, DefaultAnswer::Abort);
    assert_eq!(bench.outcome(), "Failed by Fallback for EscalationExpired");
    assert!(attached(&bench).is_some());
}

#[test]
fn an_agents_failure_is_never_success() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("nothing there", 1));
    let decide = bench.next();
    let result = Some(json("{}"));
    bench.decide(decide.lease, Decision::CompletePartial { result, reason: String::new() });
    assert_eq!(bench.outcome(), "Partial by Owner for AgentFailed");
}
