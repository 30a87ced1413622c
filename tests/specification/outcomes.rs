//! One test for each cell of the outcome matrix that can occur: who ended the task, how, and why.

use bailiwick::{
    engine::command::{Command, HumanAnswer},
    types::{
        contract::{ContractDraft, DefaultAnswer, OwnerFallback},
        envelope::{Decision, Envelope, Status},
        outcome::Cause,
        time::Span,
    },
};

use crate::{
    causes::asked_for,
    support::{Bench, draft, failed, json, plan, step, success},
};

/// Writes one test a line: its name, the cause, and how the task then ends.
macro_rules! cells {
    ($($name:ident: $cause:ident, $ending:ident;)*) => {
        $(#[test]
        fn $name() {
            $ending(Cause::$cause);
        })*
    };
}

fn as_it_is(_: &mut ContractDraft) {}

fn nobody_to_ask(draft: &mut ContractDraft) {
    draft.escalation.max_escalations = Some(0);
}

fn ends(bench: &Bench, expected: &str) {
    assert_eq!(bench.outcome(), expected);
    bench.check_replay();
}

fn owner_accepts_a_part(cause: Cause) {
    let mut bench = asked_for(cause, false, &as_it_is);
    let decide = bench.next();
    assert_eq!(decide.trips.iter().map(|trip| trip.cause).collect::<Vec<_>>(), [cause]);
    let result = Some(json(r#"{"part":1}"#));
    bench.decide(decide.lease, Decision::CompletePartial { result, reason: "as far as it goes".to_owned() });
    ends(&bench, &format!("Partial by Owner for {cause:?}"));
    let outcome = bench.task.view().outcome.expect("ended");
    assert_eq!(outcome.result, Some(json(r#"{"part":1}"#)));
}

fn owner_aborts(cause: Cause) {
    let mut bench = asked_for(cause, false, &as_it_is);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Abort("it cannot be done".to_owned()));
    ends(&bench, &format!("Failed by Owner for {cause:?}"));
}

fn person_aborts(cause: Cause) {
    let mut bench = asked_for(cause, true, &as_it_is);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    bench.human(1, HumanAnswer::Abort).expect("the question is open");
    ends(&bench, &format!("Failed by Human for {cause:?}"));
    let outcome = bench.task.view().outcome.expect("ended");
    assert_eq!(outcome.result, Some(json(r#"{"half":true}"#)), "the best result stays attached");
}

fn nobody_decides(cause: Cause, best: bool) -> Bench {
    let mut bench = asked_for(cause, best, &nobody_to_ask);
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    bench
}

fn fallback_keeps_the_best(cause: Cause) {
    let bench = nobody_decides(cause, true);
    ends(&bench, &format!("Partial by Fallback for {cause:?}"));
    let outcome = bench.task.view().outcome.expect("ended");
    assert_eq!(outcome.result, Some(json(r#"{"half":true}"#)));
}

fn fallback_has_nothing(cause: Cause) {
    let bench = nobody_decides(cause, false);
    ends(&bench, &format!("Failed by Fallback for {cause:?}"));
}

cells! {
    the_owner_ends_it_partial_for_budget: Budget, owner_accepts_a_part;
    the_owner_ends_it_partial_for_hops: Hops, owner_accepts_a_part;
    the_owner_ends_it_partial_for_turns: Turns, owner_accepts_a_part;
    the_owner_ends_it_partial_for_replans: Replans, owner_accepts_a_part;
    the_owner_ends_it_partial_for_not_converged: NotConverged, owner_accepts_a_part;
    the_owner_ends_it_partial_for_repetition: Repetition, owner_accepts_a_part;
    the_owner_ends_it_partial_for_deadline: Deadline, owner_accepts_a_part;
    the_owner_ends_it_partial_for_gate_rejected: GateRejected, owner_accepts_a_part;
    the_owner_ends_it_partial_for_role: Role, owner_accepts_a_part;
    the_owner_ends_it_partial_for_agent_failed: AgentFailed, owner_accepts_a_part;
    the_owner_ends_it_partial_for_plan_failed: PlanFailed, owner_accepts_a_part;

    the_owner_aborts_for_budget: Budget, owner_aborts;
    the_owner_aborts_for_hops: Hops, owner_aborts;
    the_owner_aborts_for_turns: Turns, owner_aborts;
    the_owner_aborts_for_replans: Replans, owner_aborts;
    the_owner_aborts_for_not_converged: NotConverged, owner_aborts;
    the_owner_aborts_for_repetition: Repetition, owner_aborts;
    the_owner_aborts_for_deadline: Deadline, owner_aborts;
    the_owner_aborts_for_gate_rejected: GateRejected, owner_aborts;
    the_owner_aborts_for_role: Role, owner_aborts;
    the_owner_aborts_for_agent_failed: AgentFailed, owner_aborts;
    the_owner_aborts_for_plan_failed: PlanFailed, owner_aborts;

    a_person_aborts_for_budget: Budget, person_aborts;
    a_person_aborts_for_hops: Hops, person_aborts;
    a_person_aborts_for_turns: Turns, person_aborts;
    a_person_aborts_for_replans: Replans, person_aborts;
    a_person_aborts_for_not_converged: NotConverged, person_aborts;
    a_person_aborts_for_repetition: Repetition, person_aborts;
    a_person_aborts_for_deadline: Deadline, person_aborts;
    a_person_aborts_for_gate_rejected: GateRejected, person_aborts;
    a_person_aborts_for_role: Role, person_aborts;
    a_person_aborts_for_agent_failed: AgentFailed, person_aborts;

    the_fallback_keeps_the_best_result_for_budget: Budget, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_hops: Hops, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_turns: Turns, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_replans: Replans, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_not_converged: NotConverged, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_repetition: Repetition, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_deadline: Deadline, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_gate_rejected: GateRejected, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_role: Role, fallback_keeps_the_best;
    the_fallback_keeps_the_best_result_for_agent_failed: AgentFailed, fallback_keeps_the_best;

    the_fallback_ends_it_failed_for_budget: Budget, fallback_has_nothing;
    the_fallback_ends_it_failed_for_hops: Hops, fallback_has_nothing;
    the_fallback_ends_it_failed_for_turns: Turns, fallback_has_nothing;
    the_fallback_ends_it_failed_for_replans: Replans, fallback_has_nothing;
    the_fallback_ends_it_failed_for_not_converged: NotConverged, fallback_has_nothing;
    the_fallback_ends_it_failed_for_repetition: Repetition, fallback_has_nothing;
    the_fallback_ends_it_failed_for_deadline: Deadline, fallback_has_nothing;
    the_fallback_ends_it_failed_for_gate_rejected: GateRejected, fallback_has_nothing;
    the_fallback_ends_it_failed_for_role: Role, fallback_has_nothing;
    the_fallback_ends_it_failed_for_agent_failed: AgentFailed, fallback_has_nothing;
    the_fallback_ends_it_failed_for_plan_failed: PlanFailed, fallback_has_nothing;
}

#[test]
fn the_gate_lets_a_completed_result_pass() {
    let mut bench = Bench::new(&draft());
    bench.turn(success("{}", 1));
    ends(&bench, "Succeeded by Gate for Completed");
}

#[test]
fn a_person_approves_what_the_gate_refused() {
    let mut draft = draft();
    draft.gate.min_confidence = 0.95;
    draft.gate.max_revisions = Some(0);
    let mut bench = Bench::new(&draft);
    bench.turn(success(r#"{"a":1}"#, 1));
    bench.human(1, HumanAnswer::Approve).expect("the question is open");
    ends(&bench, "Succeeded by Human for Completed");
}

#[test]
fn a_client_cancels() {
    let mut bench = Bench::new(&draft());
    bench.next();
    bench.send(Command::Cancel { reason: String::new() }).expect("a cancel is never rejected");
    ends(&bench, "Cancelled by Client for Cancelled");
}

/// An owner that stays silent, with nobody else to ask.
fn silent_owner(best: bool) -> Bench {
    let finish = |draft: &mut ContractDraft| draft.escalation.owner_fallback = Some(OwnerFallback::Finish);
    let mut bench = asked_for(Cause::AgentFailed, best, &finish);
    bench.next();
    bench.pass(Span::from_secs(60));
    bench
}

#[test]
fn an_owner_that_does_not_decide_leaves_the_best_result_partial() {
    ends(&silent_owner(true), "Partial by Fallback for OwnerUnavailable");
}

#[test]
fn an_owner_that_does_not_decide_leaves_nothing_and_it_failed() {
    ends(&silent_owner(false), "Failed by Fallback for OwnerUnavailable");
}

#[test]
fn a_person_aborts_where_the_owner_was_silent() {
    let mut bench = asked_for(Cause::AgentFailed, false, &as_it_is);
    bench.next();
    bench.pass(Span::from_secs(60));
    bench.human(1, HumanAnswer::Abort).expect("the fallback asked a person");
    ends(&bench, "Failed by Human for OwnerUnavailable");
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

#[test]
fn a_question_that_expires_leaves_the_best_result_partial() {
    ends(&unanswered(true, DefaultAnswer::Partial), "Partial by Fallback for EscalationExpired");
}

#[test]
fn a_question_that_expires_without_any_result_ends_it_failed() {
    ends(&unanswered(false, DefaultAnswer::Partial), "Failed by Fallback for EscalationExpired");
}

#[test]
fn a_question_whose_default_is_abort_ends_it_failed_and_keeps_the_result() {
    let bench = unanswered(true, DefaultAnswer::Abort);
    ends(&bench, "Failed by Fallback for EscalationExpired");
    assert!(bench.task.view().outcome.expect("ended").result.is_some());
}

#[test]
fn an_agent_that_nobody_serves_makes_a_dead_letter() {
    let mut bench = Bench::new(&draft());
    bench.known.served = false;
    bench.known.since = bench.now;
    bench.pass(Span::from_secs(300));
    ends(&bench, "DeadLettered by System for NoWorker");
}

#[test]
fn a_poison_turn_makes_a_dead_letter() {
    let mut bench = Bench::new(&draft());
    for _ in 0..3 {
        let assignment = bench.next();
        bench.lose(assignment.lease);
        bench.pass(Span::from_secs(10));
    }
    ends(&bench, "DeadLettered by System for AttemptsExhausted");
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

#[test]
fn the_fallback_keeps_the_best_result_for_plan_failed() {
    ends(&half_a_plan(&nobody_to_ask), "Partial by Fallback for PlanFailed");
}

#[test]
fn a_person_aborts_for_plan_failed() {
    let mut bench = half_a_plan(&as_it_is);
    bench.human(1, HumanAnswer::Abort).expect("the question is open");
    ends(&bench, "Failed by Human for PlanFailed");
}

#[test]
fn an_agents_failure_is_never_success() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("nothing there", 1));
    let decide = bench.next();
    let result = Some(json("{}"));
    bench.decide(decide.lease, Decision::CompletePartial { result, reason: String::new() });
    ends(&bench, "Partial by Owner for AgentFailed");
}
