//! Watch: replayed from a cursor, then followed.

use bailiwick::{
    engine::{event::Record, view::SummaryView},
    runtime::{ReadError, RuntimeOptions, Watch},
    types::{contract::ContractDraft, outcome::TaskState},
};

use crate::kit::{World, complete, draft, in_time, json, options, success, usage};

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
async fn what_one_watch_has_not_read_keeps_out_the_large_events_of_others_and_nothing_else() {
    let world = World::with(RuntimeOptions { max_watch_bytes: 1 << 20, ..options() }).await;
    let large = json(serde_json::json!("x".repeat(700 << 10)));
    let large = complete(&ContractDraft { input: Some(large), ..draft() });
    let large = world.try_submit(large).await.expect("it is taken").task;
    let small = world.submit().await;
    let watch = async |task| world.runtime.watch(task, 0).await.expect("the task is there");
    let (mut holder, mut other, mut ordinary) = (watch(large).await, watch(large).await, watch(small).await);
    let first = |next: Option<Result<(Record, Option<SummaryView>), ReadError>>| {
        next.expect("there is more").map(|(record, _)| record.seq)
    };
    // Its page has two events: while the second is not asked for, the first may not have gone.
    assert_eq!(first(in_time(holder.next()).await), Ok(1));
    for _ in 0..2 {
        let refused = first(in_time(other.next()).await);
        assert!(matches!(refused, Err(ReadError::Overloaded(_))), "{refused:?}");
    }
    assert_eq!(first(in_time(ordinary.next()).await), Ok(1));
    drop(holder);
    in_time(other.wait_for_room()).await;
    assert_eq!(first(in_time(other.next()).await), Ok(1), "it was where it was");
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
