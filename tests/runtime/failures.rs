//! A commit that fails: nobody is told anything else, and the work goes on as the journal has it.

use bailiwick::{
    engine::event::{Event, TraceContext},
    runtime::{CommandError, Down, SubmitError},
    store::Store,
    types::{outcome::TaskState, time::Span},
};

use crate::kit::{BACKOFF, Worker, World, contract, in_time, keyed, success, usage};

#[tokio::test]
async fn a_submission_that_could_not_be_kept_is_not_there() {
    let world = World::new().await;
    world.store.memory.fail_next_commits(1);
    let refused = world.try_submit(keyed("k")).await;
    assert!(matches!(refused, Err(SubmitError::Store(_))), "{refused:?}");
    assert_eq!(world.runtime.open_tasks(), 0);
    let accepted = world.try_submit(keyed("k")).await.expect("the store is well again");
    assert!(!accepted.existing);
    assert_eq!(world.kinds(accepted.task), ["submitted", "turn_opened"]);
}

#[tokio::test]
async fn an_answer_that_could_not_be_kept_can_be_sent_again() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    world.store.memory.fail_next_commits(1);
    let failed = worker.complete(lease, success()).await;
    assert!(matches!(failed, Err(CommandError::Store(_))), "{failed:?}");
    assert_eq!(world.kinds(task).last().map(String::as_str), Some("attempt_started"));
    assert_eq!(worker.complete(lease, success()).await, Ok(false));
    let view = world.view(task).await;
    assert_eq!((view.summary.state, view.summary.ledger.spent), (TaskState::Succeeded, 150));
    assert_eq!(world.runtime.open_tasks(), 0);
}

#[tokio::test]
async fn an_assignment_that_could_not_be_kept_is_never_sent_and_the_turn_comes_again() {
    let world = World::new().await;
    let task = world.submit().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    world.store.memory.fail_next_commits(1);
    worker.credit(1);
    while world.runtime.open_tasks() == 1 {
        tokio::task::yield_now().await;
    }
    // The task is loaded again on its own after a while; asking for it makes it so at once.
    assert_eq!(world.view(task).await.summary.state, TaskState::Queued);
    let work = worker.work().await;
    assert_eq!((work.lease.task, work.lease.attempt), (task, 1), "the credit was not used up");
    assert_eq!(world.kinds(task), ["submitted", "turn_opened", "attempt_started"]);
}

#[tokio::test]
async fn a_task_that_a_failed_commit_threw_out_comes_back_by_itself() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    world.store.memory.fail_next_commits(1);
    let failed = in_time(world.runtime.usage(lease, usage(5), String::new())).await;
    assert!(matches!(failed, Err(CommandError::Store(_))), "{failed:?}");
    assert_eq!(world.runtime.open_tasks(), 0, "thrown out for now");
    world.clock.advance(BACKOFF);
    while world.runtime.open_tasks() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.view(task).await.summary.ledger.spent, 0);
}

#[tokio::test]
async fn a_worker_that_was_stopped_too_early_gives_its_lease_back() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    world.store.memory.fail_next_commits(1);
    let failed = in_time(world.runtime.cancel(task, String::new())).await;
    assert!(matches!(failed, Err(CommandError::Store(_))), "{failed:?}");
    assert_eq!(worker.cancelled().await.0, lease, "a brake goes out before the commit");
    world.clock.advance(BACKOFF);
    world.until(task, |event| matches!(event, Event::AttemptEnded { .. })).await;
    assert_eq!(worker.cancelled().await.0, lease, "told again, which is harmless");
    world.clock.advance(BACKOFF);
    worker.credit(1);
    worker.do_one().await;
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
}

#[tokio::test]
async fn one_shards_failure_is_not_anothers() {
    let world = World::new().await;
    let (first, second) = (world.submit().await, world.submit().await);
    assert_ne!(first.shard(), second.shard());
    world.store.memory.fail_next_commits(1);
    let failed = in_time(world.runtime.cancel(first, String::new())).await;
    assert!(matches!(failed, Err(CommandError::Store(_))), "{failed:?}");
    let done = in_time(world.runtime.cancel(second, String::new())).await.expect("unharmed");
    assert_eq!(done.summary.state, TaskState::Cancelled);
    assert!(world.try_submit(contract()).await.is_ok());
}

#[tokio::test]
async fn a_lease_that_its_worker_no_longer_holds_is_ended_though_the_first_try_fails() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    worker.work().await;
    world.store.memory.fail_next_commits(1);
    let mut back = world.worker("w1", &["a"], 1).await;
    while world.runtime.open_tasks() == 1 {
        tokio::task::yield_now().await;
    }
    world.clock.advance(BACKOFF);
    world.until(task, |event| matches!(event, Event::AttemptEnded { .. })).await;
    world.clock.advance(BACKOFF);
    back.credit(1);
    while let Some(down) = back.next().await {
        if let Down::Assignment(work) = down {
            assert_eq!((work.lease.task, work.lease.attempt), (task, 2));
            return;
        }
    }
    panic!("its session ended");
}

/// Clients and workers that send again until they are answered, while one commit in five fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_done_exactly_once_while_commits_fail_at_random() {
    const TASKS: u64 = 200;
    let world = World::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut running = tokio::task::JoinSet::new();
    let mut sessions = Vec::new();
    for number in 0..6 {
        let worker = world.worker(&format!("w{number}"), &["a"], 4).await;
        sessions.push(worker.session);
        running.spawn(stop.clone().run_until_cancelled_owned(stubborn(worker)));
    }
    world.store.fail_every(5);
    let (clock, runtime) = (world.clock.clone(), world.runtime.clone());
    let time = async move {
        loop {
            clock.advance(Span::from_millis(20));
            for session in &sessions {
                let _ = runtime.heartbeat(*session);
            }
            tokio::task::yield_now().await;
        }
    };
    running.spawn(stop.clone().run_until_cancelled_owned(time));

    let mut submits = tokio::task::JoinSet::new();
    for number in 0..TASKS {
        let runtime = world.runtime.clone();
        submits.spawn(async move {
            loop {
                let contract = keyed(&format!("task-{number}"));
                match runtime.submit(contract, 1, TraceContext::default()).await {
                    Ok(submitted) => return submitted.task,
                    Err(SubmitError::Store(_) | SubmitError::Overloaded(_)) => tokio::task::yield_now().await,
                    Err(other) => panic!("{other:?}"),
                }
            }
        });
    }
    for task in in_time(submits.join_all()).await {
        world.until(task, |event| matches!(event, Event::Ended { .. })).await;
        let view = world.store.summary(task).expect("the memory reads").expect("it is there");
        assert_eq!(view.state, TaskState::Succeeded, "{:?}", world.kinds(task));
        let answered = world.kinds(task).iter().filter(|kind| *kind == "turn_answered").count();
        assert_eq!(answered, 1);
    }
    stop.cancel();
    world.store.fail_every(0);
    while running.join_next().await.is_some() {}
    let world = world.restart().await;
    assert_eq!(world.runtime.open_tasks(), 0);
}

/// Answers everything it is given, again and again until it is heard.
async fn stubborn(mut worker: Worker) {
    worker.credit(4);
    while let Some(down) = worker.down.recv().await {
        let Down::Assignment(work) = down else { continue };
        loop {
            match worker.complete(work.lease, success()).await {
                Err(CommandError::Store(_) | CommandError::Overloaded(_)) => tokio::task::yield_now().await,
                Ok(_) | Err(CommandError::Rejected(_)) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
        worker.credit(1);
    }
}
