//! Leases over a restart: kept by a worker that comes back in time, lapsed where it does not.

use bailiwick::pb::{Ledger, ReportUsageRequest, Task, TaskState, UsageReport, task_event::Event};
use tonic::Code;

use crate::hand::{World, contract, success, usage};

fn ledger(task: Task) -> Ledger {
    task.summary.and_then(|summary| summary.ledger).expect("a task has a ledger")
}

#[tokio::test]
async fn a_worker_that_comes_back_in_time_keeps_its_lease_and_its_answer_counts() {
    let mut world = World::new().await;
    let (mut hand, _) = world.hand("w", &["solo", "boss"], &[]).await;
    let id = world.submit(contract("solo")).await;
    let assignment = hand.next().await;
    world.restart().await;
    let (mut hand, live) = world.hand("w", &["solo", "boss"], &[&assignment.lease]).await;
    assert_eq!(live, [assignment.lease.as_str()]);
    let first = hand.answer(&assignment.lease, success(10)).await.expect("it counts");
    assert!(!first.repeated_answer);
    let task = world.ended(&id).await;
    let summary = task.summary.expect("a task has a line");
    assert_eq!(summary.state(), TaskState::Succeeded);
    assert_eq!(summary.counters.map(|counters| counters.attempts), Some(1));
    assert_eq!(summary.ledger.map(|ledger| (ledger.spent_tokens, ledger.reserved_tokens)), Some((10, 0)));
}

#[tokio::test]
async fn a_lease_whose_worker_stays_away_lapses_and_stays_charged_until_it_is_heard_of() {
    let mut world = World::new().await;
    let (mut gone, _) = world.hand("gone", &["solo", "boss"], &[]).await;
    let id = world.submit(contract("solo")).await;
    let lost = gone.next().await;
    world.restart().await;
    let (mut other, _) = world.hand("other", &["solo", "boss"], &[]).await;
    let second = other.next().await;
    assert_eq!((second.task_id.as_str(), second.turn, second.attempt), (id.as_str(), 1, 2));
    assert_eq!(second.idempotency_key, lost.idempotency_key, "the same over all attempts of the turn");
    let account = ledger(world.task(&id).await);
    assert_eq!(account.unheard_tokens, lost.allowance_tokens, "what vanished stays charged in full");
    assert_eq!(account.reserved_tokens, lost.allowance_tokens + second.allowance_tokens);

    let late = world.hand("late", &["solo"], &[]).await.0.answer(&lost.lease, success(5)).await;
    assert_eq!(late.expect_err("the fence refuses it").code(), Code::FailedPrecondition);
    other.answer(&second.lease, success(10)).await.expect("acknowledged");
    world.ended(&id).await;
    let report = UsageReport { lease: lost.lease, usage: usage(7) };
    other.client.report_usage(ReportUsageRequest { usage: Some(report) }).await.expect("usage is welcome");
    let account = ledger(world.task(&id).await);
    assert_eq!((account.reserved_tokens, account.unheard_tokens, account.overrun_tokens), (0, 0, 0));
    assert_eq!(account.spent_tokens, 17, "heard of: charged for what it used");
    let events = world.events(&id, 0, usize::MAX).await;
    let answers = events.iter().filter(|event| matches!(event.event, Some(Event::TurnAnswered(_)))).count();
    assert_eq!(answers, 1);
}
