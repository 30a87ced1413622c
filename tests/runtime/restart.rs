//! What outlives the server.

use std::sync::Arc;

use bailiwick::{
    engine::event::{AttemptEnd, Event, TraceContext},
    runtime::{Runtime, RuntimeOptions, StartError, SystemClock, SystemEntropy, TaskRows},
    store::{Store, sqlite::SqliteStore},
    types::{
        contract::{ContractDraft, LimitsDraft},
        outcome::TaskState,
        time::Span,
    },
};

use crate::kit::{
    BACKOFF, LEASE, START, World, complete, connect, draft, in_time, keyed, options, start, success, usage,
};

#[tokio::test]
async fn a_worker_that_returns_within_a_lease_period_keeps_its_lease() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    in_time(world.runtime.usage(lease, usage(40), String::new())).await.expect("recorded");
    let before = world.view(task).await;

    world.clock.advance(Span(LEASE.0 - 1));
    let world = world.restart().await;
    assert_eq!(world.view(task).await, before, "ledger, deadline and turns are as they were");
    world.clock.advance(Span(LEASE.0 - 1));
    let back = world.worker_with("w1", &["a"], 1, vec![lease]).await;
    assert_eq!(back.opened.live, [lease]);
    assert_eq!(back.complete(lease, success()).await, Ok(false));
    let view = world.view(task).await;
    assert_eq!((view.summary.state, view.summary.ledger.spent), (TaskState::Succeeded, 150));
}

#[tokio::test]
async fn a_worker_that_does_not_return_loses_its_lease_a_period_after_the_start() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    worker.work().await;
    world.clock.advance(LEASE.part(2));
    let world = world.restart().await;
    let restarted = START.plus(LEASE.part(2));
    let mut other = world.worker("w2", &["a"], 1).await;
    other.credit(1);
    world.clock.advance(LEASE.part(2));
    other.heartbeat();
    world.clock.advance(LEASE.part(2));
    let lapsed = |event: &Event| matches!(event, Event::AttemptEnded { end: AttemptEnd::LeaseExpired, .. });
    assert_eq!(world.until(task, lapsed).await.at, restarted.plus(LEASE));
    world.clock.advance(BACKOFF);
    other.do_one().await;
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
}

#[tokio::test]
async fn turns_that_waited_are_offered_again_and_deadlines_stand() {
    let world = World::new().await;
    let limits = Some(LimitsDraft { deadline: Some(60_000_000), ..LimitsDraft::default() });
    let minute = complete(&ContractDraft { limits, ..draft() });
    let first = world.try_submit(minute.clone()).await.expect("accepted").task;
    let second = world.try_submit(minute).await.expect("accepted").task;
    let world = world.restart().await;
    assert_eq!(world.runtime.open_tasks(), 2);
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let done = worker.do_one().await.task;
    let left = if done == first { second } else { first };
    // The minute of the contract counts from the submission, whatever happened in between.
    world.clock.advance(Span::from_secs(60));
    let tripped = world.until(left, |event| matches!(event, Event::GuardsTripped { .. })).await;
    assert_eq!(tripped.at, START.plus(Span::from_secs(60)));
}

#[tokio::test]
async fn late_usage_of_a_task_that_is_only_in_the_journal_is_recorded_once() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    in_time(world.runtime.cancel(task, String::new())).await.expect("cancelled");
    let world = world.restart().await;
    assert_eq!(world.runtime.open_tasks(), 0);
    for _ in 0..2 {
        assert_eq!(in_time(world.runtime.usage(lease, usage(70), String::new())).await, Ok(0));
    }
    assert_eq!(world.view(task).await.summary.ledger.spent, 70);
    assert_eq!(world.kinds(task).iter().filter(|kind| *kind == "late_usage").count(), 1);
}

#[tokio::test]
async fn agents_are_known_after_a_restart() {
    let world = World::new().await;
    let worker = world.worker("w1", &["a", "b"], 1).await;
    world.clock.advance(Span::from_secs(1));
    drop(worker);
    let world = world.restart().await;
    let agents = world.runtime.agents();
    let names: Vec<&str> = agents.iter().map(|info| info.row.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((agents[0].row.first_seen, agents[0].workers), (START, 0));
}

#[tokio::test]
async fn a_database_is_not_started_with_another_number_of_shards() {
    let world = World::new().await;
    let (store, clock) = (Arc::clone(&world.store), Arc::clone(&world.clock));
    world.stop().await;
    let refused = start(&store, &clock, RuntimeOptions { shards: 5, ..options() }).await;
    match refused.map(drop) {
        Err(error @ StartError::Shards { stored: 2, asked: 5 }) => {
            assert!(error.to_string().contains("start with 2"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_on_disk_serves_as_well_as_the_memory() {
    let folder = tempfile::tempdir().expect("a folder for the database");
    let path = folder.path().join("bailiwick.db");
    let open =
        || Arc::new(SqliteStore::folding(&path, Arc::new(TaskRows)).expect("it opens")) as Arc<dyn Store>;
    let start = |store| Runtime::start(store, options(), Arc::new(SystemClock), Arc::new(SystemEntropy));

    let (runtime, tasks) = start(open()).await.expect("an empty database starts");
    let mut worker = connect(&runtime, Vec::new()).await;
    worker.credit(4);
    let mut ids = Vec::new();
    for number in 0..8 {
        let contract = keyed(&format!("k{number}"));
        let submitted = in_time(runtime.submit(contract, 1, TraceContext::default())).await;
        ids.push(submitted.expect("accepted").task);
    }
    let done = worker.do_one().await.task;
    let held = [worker.work().await.lease, worker.work().await.lease, worker.work().await.lease];
    let report = tasks.shutdown(std::time::Duration::from_secs(20)).await;
    assert_eq!((report.clean, report.open_tasks), (true, 7));
    // Every handle keeps the database open.
    drop((runtime, worker));

    let (runtime, tasks) = start(open()).await.expect("it starts again");
    let mut worker = connect(&runtime, held.to_vec()).await;
    let mut live = worker.opened.live.clone();
    live.sort();
    let mut expected = held;
    expected.sort();
    assert_eq!(live, expected);
    for lease in held {
        assert_eq!(worker.complete(lease, success()).await, Ok(false));
    }
    worker.credit(4);
    for _ in 0..4 {
        worker.do_one().await;
    }
    for id in ids {
        let view = in_time(runtime.get(id)).await.expect("it is there");
        assert_eq!((view.summary.state, view.summary.ledger.spent), (TaskState::Succeeded, 150));
    }
    let again = in_time(runtime.submit(keyed("k0"), 1, TraceContext::default())).await.expect("known");
    assert!(again.existing);
    let mut watch = runtime.watch(done, 0).await.expect("it is there");
    let mut last = None;
    while let Some(next) = in_time(watch.next()).await {
        last = Some(next.expect("the journal reads").0);
    }
    assert_eq!(last.map(|record| record.event.kind()), Some("ended"));
    assert!(tasks.shutdown(std::time::Duration::from_secs(20)).await.clean);
}
