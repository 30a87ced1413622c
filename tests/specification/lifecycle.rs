//! One test for each arrow of the picture of a task's life.
//!
//! ```text
//! submit -> QUEUED -> RUNNING <-> AWAITING_HUMAN
//!                       |  ^
//!                       v  |
//!                  OWNER_DECIDES -> RUNNING | AWAITING_HUMAN | end
//! ```

use bailiwick::{
    engine::command::{Command, HumanAnswer},
    types::{
        envelope::{Decision, Directive, Envelope, HandOff},
        outcome::{Cause, TaskState},
        time::Span,
    },
};

use crate::{
    causes::asked_for,
    support::{Bench, draft, failed, name, success},
};

fn ask() -> Envelope {
    let directive = Some(Directive::AskHuman("which of the two?".to_owned()));
    Envelope { result: None, directive, ..success("null", 1) }
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
