//! One test for each arrow of the picture of a task's life.
//!
//! ```text
//! submit -> QUEUED -> RUNNING <-> AWAITING_HUMAN -> OWNER_DECIDES (a person extended)
//!                       |  ^
//!                       v  |
//!                  OWNER_DECIDES -> RUNNING | AWAITING_HUMAN | end
//! ```

use bailiwick::{
    engine::command::{Command, HumanAnswer},
    types::{
        envelope::{Confidence, Decision, Directive, Envelope, HandOff},
        extension::Extension,
        outcome::{Cause, TaskState},
        time::Span,
    },
};

use crate::{
    causes::asked_for,
    support::{Bench, delegate, draft, failed, json, name, step, success, verdict},
};

fn ask() -> Envelope {
    let directive = Some(Directive::AskHuman("which of the two?".to_owned()));
    Envelope { result: None, directive, ..success("null", 1) }
}

fn extend(bench: &mut Bench, by: Extension) {
    bench.human(1, HumanAnswer::Extend { by, ceilings: Box::default() }).expect("there is room");
}

/// A task with a result that the gate has refused and a person is asked about.
fn refused_by_the_gate() -> Bench {
    let mut draft = draft();
    draft.gate.min_confidence = 0.8;
    draft.gate.max_revisions = Some(0);
    let mut bench = Bench::new(&draft);
    bench.turn(Envelope { confidence: Confidence::new(0.5), ..success(r#"{"x":1}"#, 10) });
    bench
}

/// A task whose owner, asked after a trip, has asked a person.
fn escalated() -> Bench {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("no", 1));
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    bench
}

fn cancel(bench: &mut Bench) {
    bench.send(Command::Cancel { reason: String::new() }).expect("a cancel is never rejected");
    assert_eq!(bench.state(), TaskState::Cancelled);
}

#[test]
fn submit_to_queued() {
    assert_eq!(Bench::new(&draft()).state(), TaskState::Queued);
}

#[test]
fn queued_to_running_when_the_first_attempt_is_leased() {
    let mut bench = Bench::new(&draft());
    bench.next();
    assert_eq!(bench.state(), TaskState::Running);
}

#[test]
fn queued_to_an_end_when_its_client_cancels() {
    let mut bench = Bench::new(&draft());
    bench.send(Command::Cancel { reason: String::new() }).expect("a cancel is never rejected");
    assert_eq!(bench.state(), TaskState::Cancelled);
}

#[test]
fn queued_to_an_end_when_nobody_serves_its_agent() {
    let mut bench = Bench::new(&draft());
    bench.known.served = false;
    bench.known.since = bench.now;
    bench.pass(Span::from_secs(300));
    assert_eq!(bench.state(), TaskState::DeadLettered);
}

#[test]
fn queued_to_owner_decides_when_its_time_is_up() {
    let mut bench = Bench::new(&draft());
    bench.pass(Span::from_secs(540));
    assert_eq!(bench.state(), TaskState::OwnerDecides);
}

#[test]
fn running_to_awaiting_human_when_an_agent_asks() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask());
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
}

#[test]
fn awaiting_human_to_running_when_a_person_answers() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask());
    bench.human(1, HumanAnswer::Approve).expect("the question is open");
    assert_eq!(bench.state(), TaskState::Running);
    assert_eq!(bench.next().agent, name("planner"));
}

#[test]
fn awaiting_human_to_an_end_when_a_person_aborts() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask());
    bench.human(1, HumanAnswer::Abort).expect("the question is open");
    assert_eq!(bench.state(), TaskState::Failed);
}

#[test]
fn awaiting_human_to_an_end_when_the_question_expires() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask());
    bench.pass(Span::from_secs(86_400));
    assert_eq!(bench.state(), TaskState::Failed);
}

#[test]
fn running_to_owner_decides_when_a_guard_trips() {
    let bench = asked_for(Cause::Budget, false, &|_| {});
    assert_eq!(bench.state(), TaskState::OwnerDecides);
}

#[test]
fn owner_decides_to_running_when_the_owner_re_plans() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("no", 1));
    let decide = bench.next();
    bench.decide(decide.lease, Decision::ReplanTo(HandOff { agent: name("alpha"), input: None }));
    assert_eq!(bench.state(), TaskState::Running);
    assert_eq!(bench.next().agent, name("alpha"));
}

#[test]
fn owner_decides_to_awaiting_human_when_the_owner_escalates() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("no", 1));
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Escalate("what now?".to_owned()));
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
}

#[test]
fn owner_decides_to_an_end_when_the_owner_aborts() {
    let mut bench = Bench::new(&draft());
    bench.turn(failed("no", 1));
    let decide = bench.next();
    bench.decide(decide.lease, Decision::Abort("no".to_owned()));
    assert_eq!(bench.state(), TaskState::Failed);
}

#[test]
fn running_to_success_only_through_the_gate() {
    let mut bench = Bench::new(&draft());
    bench.turn(success("{}", 1));
    assert_eq!(bench.state(), TaskState::Succeeded);
    assert!(bench.story().contains(&"gate_judged"));
}

#[test]
fn an_end_is_reached_once_and_nothing_but_late_usage_follows() {
    let mut bench = Bench::new(&draft());
    let assignment = bench.next();
    bench.send(Command::Cancel { reason: String::new() }).expect("a cancel is never rejected");
    let events = bench.records.len();
    bench.pass(Span::from_secs(1_000_000));
    assert!(
        bench.send(Command::Progress { lease: assignment.lease, steps: Vec::new(), partial: None }).is_err()
    );
    assert_eq!(bench.records.len(), events);
    let late = crate::support::usage(7);
    bench
        .send(Command::Usage { lease: assignment.lease, usage: late, priced: true })
        .expect("usage is never refused");
    assert_eq!(bench.story().last(), Some(&"late_usage"));
}

#[test]
fn running_to_awaiting_human_when_the_gate_refuses_and_revisions_are_used_up() {
    assert_eq!(refused_by_the_gate().state(), TaskState::AwaitingHuman);
}

#[test]
fn running_to_awaiting_human_when_a_result_that_passed_is_spot_checked() {
    let mut draft = draft();
    draft.gate.spot_check_rate = 1.0;
    let mut bench = Bench::new(&draft);
    bench.turn(success("{}", 1));
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
}

#[test]
fn running_stays_running_while_a_validator_judges() {
    let mut draft = draft();
    draft.gate.validator = "judge".to_owned();
    let mut bench = Bench::new(&draft);
    bench.turn(success("{}", 1));
    assert_eq!(bench.state(), TaskState::Running);
    bench.judge(verdict(&["the sum is wrong"], 1));
    assert_eq!(bench.state(), TaskState::Running, "a refusal is a revision turn");
    bench.turn(success(r#"{"sum":4}"#, 1));
    bench.judge(verdict(&[], 1));
    assert_eq!(bench.state(), TaskState::Succeeded);
}

#[test]
fn running_stays_running_while_one_step_asks_a_person_and_another_works() {
    let mut bench = Bench::new(&draft());
    bench.turn(delegate(vec![step("a", "alpha", &[]), step("b", "beta", &[])]));
    let a = bench.assign(2).expect("a is ready").lease;
    bench.assign(3).expect("b is ready");
    bench.answer(a, ask());
    assert_eq!(bench.state(), TaskState::Running);
}

#[test]
fn running_to_an_end_when_attempts_are_used_up() {
    let mut bench = Bench::new(&draft());
    for _ in 0..3 {
        let lease = bench.next().lease;
        bench.lose(lease);
        bench.pass(Span::from_secs(10));
    }
    assert_eq!(bench.state(), TaskState::DeadLettered);
}

#[test]
fn running_to_an_end_when_its_client_cancels() {
    let mut bench = Bench::new(&draft());
    bench.next();
    cancel(&mut bench);
}

#[test]
fn awaiting_human_to_an_end_when_its_client_cancels() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask());
    cancel(&mut bench);
}

#[test]
fn awaiting_human_to_success_when_a_person_approves_the_candidate() {
    let mut bench = refused_by_the_gate();
    bench.human(1, HumanAnswer::Approve).expect("the question is open");
    assert_eq!(bench.state(), TaskState::Succeeded);
}

#[test]
fn awaiting_human_to_success_when_a_person_gives_the_result() {
    let mut bench = refused_by_the_gate();
    let amend = HumanAnswer::Amend { result: json(r#"{"x":2}"#), findings: Vec::new() };
    bench.human(1, amend).expect("the question is open");
    assert_eq!(bench.state(), TaskState::Succeeded);
}

#[test]
fn awaiting_human_to_owner_decides_when_a_person_extends() {
    let mut bench = escalated();
    extend(&mut bench, Extension { turns: 5, ..Extension::default() });
    assert_eq!(bench.state(), TaskState::OwnerDecides);
    assert_eq!(bench.next().agent, name("owner"));
}

#[test]
fn awaiting_human_to_owner_decides_when_a_person_extends_what_the_gate_refused() {
    let mut bench = refused_by_the_gate();
    extend(&mut bench, Extension { revisions: 1, ..Extension::default() });
    assert_eq!(bench.state(), TaskState::OwnerDecides);
}

#[test]
fn awaiting_human_to_running_when_a_person_extends_for_an_agent_that_asked() {
    let mut bench = Bench::new(&draft());
    bench.turn(ask());
    extend(&mut bench, Extension { tokens: 1_000, ..Extension::default() });
    assert_eq!(bench.state(), TaskState::Running);
    assert_eq!(bench.next().agent, name("planner"));
}

#[test]
fn owner_decides_to_running_after_an_extension() {
    let mut bench = escalated();
    extend(&mut bench, Extension { turns: 5, ..Extension::default() });
    let decide = bench.next();
    bench.decide(decide.lease, Decision::ReplanTo(HandOff { agent: name("alpha"), input: None }));
    assert_eq!(bench.state(), TaskState::Running);
}

#[test]
fn owner_decides_to_awaiting_human_when_the_owner_is_silent() {
    let mut bench = asked_for(Cause::Hops, false, &|_| {});
    bench.next();
    bench.pass(Span::from_secs(60));
    assert_eq!(bench.state(), TaskState::AwaitingHuman);
}

#[test]
fn owner_decides_to_an_end_when_the_owner_accepts_a_part() {
    let mut bench = asked_for(Cause::Hops, false, &|_| {});
    let decide = bench.next();
    let result = Some(json(r#"{"part":1}"#));
    bench.decide(decide.lease, Decision::CompletePartial { result, reason: String::new() });
    assert_eq!(bench.state(), TaskState::Partial);
}

#[test]
fn owner_decides_to_an_end_when_nobody_decides_and_nobody_can_be_asked() {
    let nobody = |draft: &mut bailiwick::types::contract::ContractDraft| {
        draft.escalation.max_escalations = Some(0);
    };
    let mut bench = asked_for(Cause::Hops, false, &nobody);
    bench.next();
    bench.pass(Span::from_secs(60));
    assert_eq!(bench.state(), TaskState::Failed);
}

#[test]
fn owner_decides_to_an_end_when_its_client_cancels() {
    let mut bench = asked_for(Cause::Hops, false, &|_| {});
    cancel(&mut bench);
}
