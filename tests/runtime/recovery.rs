//! A server that serves while it still reads what was left open.

use std::sync::Arc;

use bailiwick::{
    engine::event::{AttemptEnd, Event},
    store::Store,
    types::{
        contract::{Contract, ContractDraft},
        ids::TaskId,
        outcome::TaskState,
        time::Span,
    },
};

use crate::kit::{Gated, World, complete, draft, in_time, success};

/// More tasks than are read before the server runs.
const MANY: usize = 1_600;
/// How many of them are read before the rest is held back.
const READ: usize = 1_200;

fn for_agent(name: &str) -> Contract {
    complete(&ContractDraft { first_agent: Some(name.to_owned()), ..draft() })
}

/// A world with many open tasks for "a", then one for each of "b", "c" and "d", leased to "wb", "wc" and "wd".
async fn world() -> (World, Vec<TaskId>, Vec<bailiwick::types::ids::Lease>) {
    let world = World::new().await;
    drop(world.worker("wa", &["a"], 1).await);
    for _ in 0..MANY {
        world.submit().await;
    }
    let open = world.store.open_tasks(None, MANY).expect("the memory reads");
    let mut tasks: Vec<TaskId> = open.into_iter().map(|open| open.task).collect();
    world.clock.advance(Span::from_millis(1));
    let mut leases = Vec::new();
    for agent in ["b", "c", "d"] {
        let mut worker = world.worker(&format!("w{agent}"), &[agent], 1).await;
        worker.credit(1);
        tasks.push(world.try_submit(for_agent(agent)).await.expect("accepted").task);
        leases.push(worker.work().await.lease);
    }
    (world, tasks, leases)
}

/// Lets everything be read at the end, also of a test that fails: a read that is held back would hold up its thread for ever.
struct ReadOn(Arc<Gated>);

impl Drop for ReadOn {
    fn drop(&mut self) {
        self.0.read_no_further(None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_read_yet_is_served_and_no_lease_is_said_to_be_gone() {
    let (world, tasks, leases) = world().await;
    let world = world.restart_after(|store| store.read_no_further(Some(READ))).await;
    let _read_on = ReadOn(Arc::clone(&world.store));
    assert_eq!(world.runtime.open_tasks(), MANY + 3, "all count from the start");

    // A first assignment, while the rest is not read.
    let mut first = world.worker("wa", &["a"], 1).await;
    first.credit(1);
    assert!(tasks[..READ].contains(&first.do_one().await.task), "of those that were read");

    // A worker comes back for a lease that was not read, and its result counts.
    let back = world.worker_with("wb", &["b"], 1, vec![leases[0]]).await;
    assert_eq!(back.opened.live, [leases[0]]);
    assert_eq!(back.complete(leases[0], success()).await, Ok(false));
    // Another comes back without its own; a third is only heard of by a call under its lease.
    let without = world.worker("wc", &["c"], 1).await;
    assert_eq!(
        in_time(world.runtime.usage(leases[2], crate::kit::usage(9), String::new())).await,
        Ok(22_500)
    );
    // Tasks that were not read are shown, cancelled and done.
    let unread = tasks[MANY - 1];
    assert_eq!(world.view(unread).await.summary.state, TaskState::Queued);
    in_time(world.runtime.cancel(unread, String::new())).await.expect("cancelled");
    assert_eq!(world.runtime.open_tasks(), MANY, "three have ended");

    world.store.read_no_further(None);
    let gone = |event: &Event| matches!(event, Event::AttemptEnded { end: AttemptEnd::Released, .. });
    world.until(leases[1].task, gone).await;
    while !world.runtime.is_recovered() {
        tokio::task::yield_now().await;
    }
    drop(without);
    let view = world.view(unread).await;
    assert_eq!(
        view.summary.state,
        TaskState::Cancelled,
        "what was read of it earlier does not bring it back"
    );
    assert_eq!(world.runtime.open_tasks(), MANY);
    let report = world.stop().await;
    assert_eq!((report.clean, report.open_tasks), (true, MANY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_before_all_is_read_counts_what_was_not() {
    let (world, ..) = world().await;
    let world = world.restart_after(|store| store.read_no_further(Some(READ))).await;
    let _read_on = ReadOn(Arc::clone(&world.store));
    let open = world.runtime.open_tasks();
    let report = world.stop().await;
    assert_eq!(report.open_tasks, open);
}
