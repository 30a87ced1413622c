//! Leases that lapse, are kept, are given back.

use bailiwick::{
    engine::{
        command::Rejection,
        event::{AttemptEnd, Event},
    },
    runtime::CommandError,
    types::{outcome::TaskState, time::Span},
};

use crate::kit::{BACKOFF, LEASE, START, World, in_time, success, usage};

fn ended_by(end: AttemptEnd) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::AttemptEnded { end: how, .. } if *how == end)
}

#[tokio::test]
async fn a_silent_worker_loses_its_lease_and_another_takes_over() {
    let world = World::new().await;
    let mut silent = world.worker("w1", &["a"], 1).await;
    silent.credit(1);
    let task = world.submit().await;
    let lost = silent.work().await.lease;
    let mut other = world.worker("w2", &["a"], 1).await;
    other.credit(1);

    world.clock.advance(LEASE.part(2));
    other.heartbeat();
    world.clock.advance(LEASE.part(2));
    let ended = world.until(task, ended_by(AttemptEnd::LeaseExpired)).await;
    assert_eq!(ended.at, START.plus(LEASE));
    assert_eq!(silent.next().await, None, "its session is closed");

    world.clock.advance(BACKOFF);
    let second = other.work().await.lease;
    assert_eq!((second.turn, second.attempt), (lost.turn, 2));
    let late = silent.complete(lost, success()).await;
    assert!(matches!(late, Err(CommandError::Rejected(Rejection::LeaseNotLive(_)))), "{late:?}");
    assert_eq!(other.complete(second, success()).await, Ok(false));
    let view = world.view(task).await;
    assert_eq!(view.summary.state, TaskState::Succeeded);
    assert_eq!(view.summary.ledger.spent, 300, "both attempts were heard of, each once");
}

#[tokio::test]
async fn every_sign_of_life_keeps_a_lease() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    let almost = Span(LEASE.0 - 1);
    world.clock.advance(almost);
    worker.heartbeat();
    world.clock.advance(almost);
    in_time(world.runtime.usage(lease, usage(10), String::new())).await.expect("recorded");
    world.clock.advance(almost);
    in_time(world.runtime.progress(lease, Vec::new(), None)).await.expect("recorded");
    world.clock.advance(almost);
    assert_eq!(worker.complete(lease, success()).await, Ok(false));
    assert!(!world.kinds(task).contains(&"attempt_ended".to_owned()));
}

#[tokio::test]
async fn a_worker_that_comes_back_with_its_lease_keeps_it() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    world.runtime.close_session(worker.session);
    world.clock.advance(Span(LEASE.0 - 1));
    let back = world.worker_with("w1", &["a"], 1, vec![lease]).await;
    assert_eq!(back.opened.live, [lease]);
    world.clock.advance(Span(LEASE.0 - 1));
    assert_eq!(back.complete(lease, success()).await, Ok(false));
    assert_eq!(world.view(task).await.summary.counters.attempts, 1);
}

#[tokio::test]
async fn a_worker_that_comes_back_without_its_lease_gives_it_back_at_once() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    let mut back = world.worker("w1", &["a"], 1).await;
    assert_eq!(back.opened.live, []);
    let ended = world.until(task, ended_by(AttemptEnd::Released)).await;
    assert_eq!(ended.at, START);
    back.credit(1);
    world.clock.advance(BACKOFF);
    let second = back.work().await.lease;
    assert_eq!((second.turn, second.attempt), (lease.turn, 2), "no cancel for what it never held");
}

#[tokio::test]
async fn credit_is_used_up_and_comes_back_only_by_asking() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 2).await;
    worker.credit(1);
    world.submit().await;
    let second = world.submit().await;
    let lease = worker.work().await.lease;
    // Asked for before the end of the first attempt has been told.
    worker.credit(1);
    assert_eq!(worker.work().await.lease.task, second);
    assert_eq!(worker.complete(lease, success()).await, Ok(false));
    world.submit().await;
    let info = &world.runtime.workers()[0];
    assert_eq!((info.credit, info.leased), (0, 1));
    let agents = world.runtime.agents();
    assert_eq!((agents[0].workers, agents[0].waiting, agents[0].leased), (1, 1, 1));
}
