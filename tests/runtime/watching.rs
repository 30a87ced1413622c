//! Watch: replayed from a cursor, then followed.

use bailiwick::{
    runtime::{ReadError, Watch},
    types::outcome::TaskState,
};

use crate::kit::{World, in_time, success, usage};

async fn numbers(watch: &mut Watch) -> Vec<u64> {
    let mut seen = Vec::new();
    while let Some(next) = in_time(watch.next()).await {
        seen.push(next.expect("the journal reads").0.seq);
    }
    seen
}

#[tokio::test]
async fn a_watch_replays_follows_and_ends_with_the_outcome() {
    let world = World::new().await;
    let task = world.submit().await;
    let mut watch = world.runtime.watch(task, 0).await.expect("the task is there");
    let (first, _) = in_time(watch.next()).await.expect("more").expect("reads");
    assert_eq!((first.seq, first.event.kind()), (1, "submitted"));

    let follower = tokio::spawn(async move {
        let mut last = None;
        while let Some(next) = watch.next().await {
            let (record, summary) = next.expect("the journal reads");
            if let Some(summary) = &summary {
                assert_eq!(summary.seq, record.seq, "a summary is as of its event");
            }
            last = Some((record, summary));
        }
        last
    });
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    worker.do_one().await;
    let (record, summary) = in_time(follower).await.expect("no panic").expect("there were events");
    assert_eq!(record.event.kind(), "ended");
    assert_eq!(summary.expect("the newest of a burst has it").state, TaskState::Succeeded);
}

#[tokio::test]
async fn a_watch_starts_after_its_cursor_and_includes_what_came_late() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    in_time(world.runtime.cancel(task, String::new())).await.expect("cancelled");
    in_time(world.runtime.usage(lease, usage(5), String::new())).await.expect("recorded");
    let last = world.journal(task).last().expect("there are events").seq;

    let mut all = world.runtime.watch(task, 0).await.expect("the task is there");
    assert_eq!(numbers(&mut all).await, (1..=last).collect::<Vec<_>>());
    let mut rest = world.runtime.watch(task, 3).await.expect("the task is there");
    assert_eq!(numbers(&mut rest).await, (4..=last).collect::<Vec<_>>());
    let mut none = world.runtime.watch(task, last).await.expect("the task is there");
    assert_eq!(numbers(&mut none).await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_watch_ends_with_the_server() {
    let world = World::new().await;
    let task = world.submit().await;
    let last = world.journal(task).last().expect("there are events").seq;
    let mut watch = world.runtime.watch(task, last).await.expect("the task is there");
    let follower = tokio::spawn(async move { (watch.next().await, watch.next().await) });
    assert!(world.stop().await.clean);
    let (told, after) = in_time(follower).await.expect("no panic");
    assert_eq!(told.map(|next| next.map(drop)), Some(Err(ReadError::ShuttingDown)));
    assert!(after.is_none());
}

#[tokio::test]
async fn the_logs_end_moves_with_every_commit() {
    let world = World::new().await;
    let mut end = world.runtime.log_end();
    let task = world.submit().await;
    in_time(end.wait_for(|end| *end > 0)).await.expect("the runtime lives");
    let before = *end.borrow_and_update();
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let lease = worker.work().await.lease;
    assert_eq!(worker.complete(lease, success()).await, Ok(false));
    in_time(end.wait_for(|end| *end > before)).await.expect("the runtime lives");
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
}
