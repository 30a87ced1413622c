//! Every queue has an end, and says so.

use bailiwick::{
    engine::event::TraceContext,
    runtime::{OpenError, Registration, RuntimeOptions, SubmitError},
    types::time::Span,
};

use crate::kit::{World, contract, in_time, options};

#[tokio::test]
async fn intake_stops_at_the_most_open_tasks_and_goes_on_when_one_ends() {
    let world = World::with(RuntimeOptions { max_open_tasks: 2, ..options() }).await;
    let first = world.submit().await;
    world.submit().await;
    match world.try_submit(contract()).await {
        Err(SubmitError::Overloaded(overloaded)) => {
            assert!(overloaded.retry_after > Span::ZERO);
            assert!(overloaded.what.contains('2'), "{overloaded}");
        }
        other => panic!("{other:?}"),
    }
    in_time(world.runtime.cancel(first, String::new())).await.expect("cancelled");
    assert!(world.try_submit(contract()).await.is_ok());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
    let world = World::with(RuntimeOptions { shards: 1, max_queue: 1, ..options() }).await;
    world.store.shut();
    let submits: Vec<_> = (0..20)
        .map(|_| {
            let runtime = world.runtime.clone();
            tokio::spawn(async move { runtime.submit(contract(), 1, TraceContext::default()).await })
        })
        .collect();
    while world.store.arrived() == 0 {
        tokio::task::yield_now().await;
    }
    world.store.open();
    let (mut accepted, mut refused) = (0, 0);
    for submit in submits {
        match in_time(submit).await.expect("no panic") {
            Ok(_) => accepted += 1,
            Err(SubmitError::Overloaded(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 0, "{accepted} were accepted by a queue of one");
    assert_eq!(world.runtime.open_tasks(), accepted);
}

#[tokio::test]
async fn sessions_are_bounded() {
    let world = World::with(RuntimeOptions { max_sessions: 1, ..options() }).await;
    let first = world.worker("w1", &["a"], 1).await;
    let second = || Registration {
        worker: "w2".parse().expect("a valid id"),
        agents: Vec::new(),
        max_concurrency: 1,
        labels: Default::default(),
        held: Vec::new(),
    };
    let refused = world.runtime.open_session(second()).await.map(drop);
    assert!(matches!(refused, Err(OpenError::Overloaded(_))), "{refused:?}");
    let again = world.worker("w1", &["a"], 1).await;
    assert!(world.runtime.heartbeat(first.session).is_err(), "its own session is no obstacle");
    world.runtime.close_session(again.session);
    assert!(world.runtime.open_session(second()).await.is_ok());
}

#[tokio::test]
async fn a_worker_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let world = World::new().await;
    let mut deaf = world.worker("w1", &["a"], 1).await;
    let mut cut_off = false;
    for _ in 0..200 {
        if world.runtime.credit(deaf.session, 1, None).is_err() {
            cut_off = true;
            break;
        }
        let task = world.submit().await;
        in_time(world.runtime.cancel(task, String::new())).await.expect("cancelled");
    }
    assert!(cut_off, "it was sent hundreds of messages that it never read");
    assert!(world.runtime.workers().is_empty());
    while deaf.next().await.is_some() {}
    let mut other = world.worker("w2", &["a"], 1).await;
    other.credit(1);
    world.submit().await;
    other.do_one().await;
}
