//! Parents and children over shards, failures and restarts: whatever is lost between the two, the account comes out whole.

use std::{sync::Arc, time::Duration};

use bailiwick::{
    engine::{
        command::Rejection,
        event::{Event, TraceContext},
        view::TaskView,
    },
    runtime::{CommandError, ManualClock, ReadError, Runtime, SeededEntropy, TaskRows},
    store::{Store, memory::MemoryStore, record::Append, sqlite::SqliteStore},
    types::{
        contract::ContractDraft,
        ids::{Lease, TaskId},
        outcome::TaskState,
        time::Span,
    },
};

use crate::kit::{START, Worker, World, agent, complete, connect, draft, in_time, options, success, usage};

/// A child's contract, named by a key.
fn child_draft(key: &str) -> ContractDraft {
    ContractDraft { budget: None, limits: None, idempotency_key: key.to_owned(), ..draft() }
}

/// A key whose child lives on another shard than its parent, or on the same.
fn key(lease: &Lease, elsewhere: bool) -> String {
    let there = |key: &String| {
        let child = TaskId::of_child(lease, &format!("key {key}"), options().shards);
        (child.shard() != lease.task.shard()) == elsewhere
    };
    (0..100).map(|n| format!("k{n}")).find(there).expect("both shards come up")
}

/// A parent with one attempt leased, and the worker that has it.
async fn leased(world: &World) -> (Worker, Lease) {
    let mut worker = world.worker("w1", &["a"], 4).await;
    worker.credit(1);
    world.submit().await;
    let lease = worker.work().await.lease;
    (worker, lease)
}

async fn submit(runtime: &Runtime, lease: Lease, key: &str) -> TaskId {
    in_time(runtime.submit_child(lease, child_draft(key), 1)).await.expect("accepted").task
}

/// Waits until a task is as it should be.
async fn until(runtime: &Runtime, task: TaskId, fits: impl Fn(&TaskView) -> bool) -> TaskView {
    in_time(async {
        loop {
            match runtime.get(task).await {
                Ok(view) if fits(&view) => return view,
                // A look that waits for a commit fails with it.
                Ok(_) | Err(ReadError::Store(_)) => {}
                Err(error) => panic!("the task is there: {error}"),
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// What must hold once parent and children have heard of each other.
async fn check_settled(runtime: &Runtime, parent: TaskId) {
    let view = until(runtime, parent, |view| view.outcome.is_some() && !view.summary.unsettled).await;
    for child in &view.children {
        assert!(!child.open, "no child outlives its parent");
        let Ok(own) = runtime.get(child.child).await else {
            assert_eq!((child.state, child.spent, child.reserved), (None, 0, 0), "it never started");
            continue;
        };
        let outcome = own.outcome.expect("it has ended with its parent");
        let spent = own.summary.ledger.spent + own.summary.ledger.overrun;
        // Late usage may be on its way from the one to the other.
        let heard = until(runtime, parent, |view| view.children[0].spent == spent).await;
        assert_eq!(heard.children[0].state, Some(outcome.state));
        assert_eq!(heard.children[0].reserved, own.summary.ledger.reserved);
        assert_eq!(own.parent.expect("it has a parent").task, parent);
    }
}

#[tokio::test]
async fn a_childs_account_comes_back_from_the_same_shard_and_from_another() {
    for elsewhere in [true, false] {
        let world = World::new().await;
        let (mut worker, lease) = leased(&world).await;
        let child = submit(&world.runtime, lease, &key(&lease, elsewhere)).await;
        assert_eq!(child.shard() != lease.task.shard(), elsewhere);
        assert_eq!(world.view(lease.task).await.children[0].child, child);
        worker.credit(1);
        let work = worker.work().await;
        assert_eq!((work.lease.task, work.agent.clone()), (child, agent("a")));
        assert_eq!(worker.complete(work.lease, success()).await, Ok(false));
        let parent = until(&world.runtime, lease.task, |view| !view.children[0].open).await;
        assert_eq!(
            (parent.summary.ledger.children, parent.children[0].state),
            (150, Some(TaskState::Succeeded))
        );
        assert_eq!(worker.complete(lease, success()).await, Ok(false));
        check_settled(&world.runtime, lease.task).await;
        assert_eq!(world.view(lease.task).await.summary.ledger.spent, 300);
        assert_eq!(world.runtime.open_tasks(), 0);
        let listed = world.runtime.list(
            bailiwick::runtime::TaskFilter { parent: Some(lease.task), ..Default::default() },
            None,
            10,
        );
        let listed: Vec<_> = listed.await.expect("it lists").iter().map(|row| row.task).collect();
        assert_eq!(listed, [child]);
    }
}

#[tokio::test]
async fn the_same_submission_twice_at_once_is_one_child() {
    let world = World::new().await;
    let (_worker, lease) = leased(&world).await;
    let one = || world.runtime.submit_child(lease, child_draft("k"), 1);
    let (first, second) = in_time(async { tokio::join!(one(), one()) }).await;
    let (first, second) = (first.expect("accepted"), second.expect("accepted"));
    assert_eq!(first.task, second.task);
    assert_eq!(world.view(lease.task).await.summary.counters.children, 1);
    let other = in_time(world.runtime.submit_child(lease, child_draft("k"), 2)).await;
    assert_eq!(other, Err(CommandError::Rejected(Rejection::ChildKeyTaken(first.task, Vec::new()))));
}

#[tokio::test]
async fn a_lease_that_is_gone_has_no_children_and_its_own_are_cancelled() {
    let world = World::new().await;
    let (mut worker, lease) = leased(&world).await;
    let child = submit(&world.runtime, lease, &key(&lease, true)).await;
    worker.credit(1);
    let childs = worker.work().await.lease;
    in_time(world.runtime.cancel(lease.task, "enough".to_owned())).await.expect("cancelled");
    let (first, second) = (worker.cancelled().await.0, worker.cancelled().await.0);
    assert_eq!([first, second], [lease, childs], "the whole tree is told to stop");
    let ended = until(&world.runtime, child, |view| view.outcome.is_some()).await;
    assert_eq!(ended.outcome.expect("ended").state, TaskState::Cancelled);
    check_settled(&world.runtime, lease.task).await;
    // What the child's worker had spent by then is heard of by both, though both have ended.
    assert_eq!(in_time(world.runtime.usage(childs, usage(70), String::new())).await, Ok(0));
    let parent = until(&world.runtime, lease.task, |view| view.summary.ledger.spent == 70).await;
    assert_eq!((parent.summary.ledger.children, parent.summary.ledger.children_reserved), (70, 0));
    let late = in_time(world.runtime.submit_child(lease, child_draft("late"), 1)).await;
    assert!(matches!(late, Err(CommandError::Rejected(Rejection::LeaseNotLive(_)))), "{late:?}");
}

#[tokio::test]
async fn whichever_commit_fails_the_child_is_made_once_and_the_account_is_whole() {
    for fails in 0..8 {
        let world = World::new().await;
        let (mut worker, lease) = leased(&world).await;
        let stop = tokio_util::sync::CancellationToken::new();
        let (clock, runtime, session) = (world.clock.clone(), world.runtime.clone(), worker.session);
        let time = tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            loop {
                clock.advance(Span::from_millis(20));
                let _ = runtime.heartbeat(session);
                tokio::task::yield_now().await;
            }
        }));
        world.store.fail_after(fails);
        let name = key(&lease, true);
        let child = in_time(async {
            loop {
                match world.runtime.submit_child(lease, child_draft(&name), 1).await {
                    Ok(submitted) => return submitted.task,
                    Err(CommandError::Store(_) | CommandError::Overloaded(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
        .await;
        worker.credit(1);
        let childs = worker.work().await.lease;
        assert_eq!(childs.task, child);
        for lease in [childs, lease] {
            while let Err(error) = worker.complete(lease, success()).await {
                assert!(matches!(error, CommandError::Store(_) | CommandError::Overloaded(_)), "{error:?}");
            }
            if lease == childs {
                until(&world.runtime, lease_of_parent(&world).await, |view| !view.children[0].open).await;
            }
        }
        check_settled(&world.runtime, lease.task).await;
        assert_eq!(world.view(lease.task).await.summary.ledger.spent, 300, "commit {fails} failed");
        stop.cancel();
        time.await.expect("time does not fail");
    }
}

async fn lease_of_parent(world: &World) -> TaskId {
    let all = world.runtime.list(bailiwick::runtime::TaskFilter::default(), None, 10).await;
    let rows = all.expect("it lists");
    rows.iter().find(|row| row.parent.is_none()).expect("one is nobody's child").task
}

/// Every commit of a life with a child on another shard: one that ends with its child done, one that is cancelled above it.
async fn recorded(cancel: bool) -> (TaskId, Vec<Vec<Append>>) {
    let world = World::new().await;
    let (mut worker, lease) = leased(&world).await;
    submit(&world.runtime, lease, &key(&lease, true)).await;
    worker.credit(1);
    let childs = worker.work().await.lease;
    in_time(world.runtime.usage(childs, usage(40), String::new())).await.expect("recorded");
    if cancel {
        in_time(world.runtime.cancel(lease.task, String::new())).await.expect("cancelled");
        until(&world.runtime, lease.task, |view| !view.summary.unsettled).await;
        in_time(world.runtime.usage(childs, usage(90), String::new())).await.expect("recorded");
    } else {
        assert_eq!(worker.complete(childs, success()).await, Ok(false));
        until(&world.runtime, lease.task, |view| !view.children[0].open).await;
        assert_eq!(worker.complete(lease, success()).await, Ok(false));
    }
    check_settled(&world.runtime, lease.task).await;
    let kept = world.store.kept();
    world.stop().await;
    (lease.task, kept)
}

/// Starts a server on the journal as it was after some of its commits, as after a crash there.
async fn survive(store: Arc<dyn Store>, parent: TaskId, kept: &[Vec<Append>]) {
    store.set_number(bailiwick::store::SHARDS, u64::from(options().shards)).expect("kept");
    for commit in kept {
        store.commit(commit).expect("kept once, kept again");
    }
    let clock = Arc::new(ManualClock::new(START.plus(Span::from_secs(1))));
    let (runtime, tasks) =
        Runtime::start(store, options(), clock, Arc::new(SeededEntropy::new(8))).await.expect("it starts");
    // A parent that ended before its child is settled without anybody asking; one that is open is ended first.
    in_time(runtime.cancel(parent, "after the crash".to_owned())).await.expect("never refused");
    check_settled(&runtime, parent).await;
    assert_eq!(runtime.open_tasks(), 0);
    assert!(tasks.shutdown(Duration::from_secs(20)).await.clean);
}

#[tokio::test]
async fn a_server_killed_between_any_two_commits_settles_parent_and_child() {
    for cancel in [false, true] {
        let (parent, kept) = recorded(cancel).await;
        assert!(kept.len() > 5, "{}", kept.len());
        for upto in 1..=kept.len() {
            let store = Arc::new(MemoryStore::new());
            survive(store, parent, &kept[..upto]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_one_whose_journal_is_on_disk() {
    let (parent, kept) = recorded(true).await;
    let folder = tempfile::tempdir().expect("a folder for databases");
    // From the child's own first event on: what comes before it is the other test's.
    for upto in 3..=kept.len() {
        let path = folder.path().join(format!("after-{upto}.db"));
        survive(
            Arc::new(SqliteStore::folding(&path, Arc::new(TaskRows)).expect("it opens")),
            parent,
            &kept[..upto],
        )
        .await;
    }
}

#[tokio::test]
async fn a_parent_that_ended_before_its_child_was_heard_of_is_settled_by_the_next_start_alone() {
    let (parent, kept) = recorded(true).await;
    let ended = |appends: &Vec<Append>| {
        appends.iter().any(|a| a.task == parent && a.events.iter().any(|event| event.kind == "ended"))
    };
    let upto = kept.iter().position(ended).expect("it was cancelled") + 1;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    store.set_number(bailiwick::store::SHARDS, u64::from(options().shards)).expect("kept");
    for commit in &kept[..upto] {
        store.commit(commit).expect("kept once, kept again");
    }
    let clock = Arc::new(ManualClock::new(START));
    let (runtime, tasks) =
        Runtime::start(Arc::clone(&store), options(), clock, Arc::new(SeededEntropy::new(8)))
            .await
            .expect("it starts");
    // Nobody asks for either task: the store tells.
    in_time(async {
        while runtime.open_tasks() > 0
            || !store.events(parent, 0, 100).expect("it reads").iter().any(|e| e.kind == "late_usage")
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    check_settled(&runtime, parent).await;
    assert!(tasks.shutdown(Duration::from_secs(20)).await.clean);
}

#[tokio::test]
async fn a_worker_that_returns_after_a_restart_finds_its_child_again() {
    let world = World::new().await;
    let (_worker, lease) = leased(&world).await;
    let name = key(&lease, true);
    let child = submit(&world.runtime, lease, &name).await;
    let world = world.restart().await;
    let back = connect(&world.runtime, vec![lease]).await;
    assert_eq!(back.opened.live, [lease]);
    let again = in_time(world.runtime.submit_child(lease, child_draft(&name), 1)).await.expect("known");
    assert_eq!((again.task, again.existing), (child, true));
    assert_eq!(world.view(child).await.summary.state, TaskState::Queued);
    world.until(child, |event| matches!(event, Event::Submitted { parent: Some(_), .. })).await;
    // A task of a client with the same key is another one.
    let other = complete(&ContractDraft { idempotency_key: name, ..draft() });
    let other = in_time(world.runtime.submit(other, 1, TraceContext::default())).await.expect("accepted");
    assert_ne!(other.task, child);
}
