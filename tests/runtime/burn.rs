//! The burn-rate guard at work: it warns or halts by itself, with its figures, and a resume begins afresh.

use bailiwick::{
    runtime::{BURN_NOTES, BurnAction, BurnLimit, BurnOf, Burned, Lift, RuntimeOptions, SubmitError},
    store::Store,
    types::{
        halt::{GUARD, HaltScope},
        ids::Lease,
        outcome::{Cause, TaskState},
        time::Span,
    },
};

use crate::kit::{Worker, World, agent, contract, in_time, options, usage};

async fn world(of: BurnOf, action: BurnAction) -> (World, Worker, Lease) {
    let (name, window) = ("fast".to_owned(), Span::from_secs(60));
    let limit = BurnLimit { name, of, tokens_per_minute: 1_000, cost_per_minute: 0, window, action };
    let world = World::with(RuntimeOptions { burn_rate: vec![limit], ..options() }).await;
    let mut worker = world.worker("w1", &["a"], 4).await;
    worker.credit(4);
    world.submit().await;
    let lease = worker.work().await.lease;
    (world, worker, lease)
}

async fn report(world: &World, lease: Lease, tokens: u64) {
    let reported = in_time(world.runtime.usage(lease, usage(tokens), String::new())).await;
    assert!(reported.is_ok(), "{reported:?}");
}

fn notes(world: &World) -> Vec<Burned> {
    let notes = world.store.texts(BURN_NOTES).expect("the memory reads");
    notes.iter().map(|(_, text)| serde_json::from_str(text).expect("a note")).collect()
}

async fn until(holds: impl Fn() -> bool) {
    in_time(async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn spending_that_is_too_fast_halts_and_a_resume_begins_a_fresh_window() {
    let (world, mut worker, lease) = world(BurnOf::Everything, BurnAction::Halt).await;
    report(&world, lease, 900).await;
    report(&world, lease, 900).await;
    assert!(world.runtime.halts().is_empty(), "the same report twice is no spending");
    report(&world, lease, 1_100).await;
    until(|| !notes(&world).is_empty()).await;
    let halt = world.runtime.halt_now(&HaltScope::All).expect("it is halted");
    let burn = halt.burn.clone().expect("with its figures");
    assert_eq!((halt.by.as_str(), burn.tokens, burn.tokens_per_minute), (GUARD, 1_100, 1_000));
    assert!(halt.reason.contains("used 1100 tokens"), "{}", halt.reason);
    assert!(matches!(world.try_submit(contract()).await, Err(SubmitError::Halted(_))));
    assert!(worker.down.try_recv().is_err(), "what runs goes on");
    assert_eq!(notes(&world)[0].halt, Some(halt.number));

    // What runs on goes on spending; that is said once.
    report(&world, lease, 3_000).await;
    let lifted = in_time(world.runtime.resume(&Lift::Everything, "bo".to_owned(), String::new())).await;
    assert_eq!(lifted.expect("the memory writes").len(), 1);
    report(&world, lease, 3_900).await;
    assert!(world.runtime.halts().is_empty(), "900 since the resume");
    report(&world, lease, 4_100).await;
    until(|| notes(&world).len() == 2).await;
    assert_eq!(world.runtime.halt_now(&HaltScope::All).map(|halt| halt.number), Some(2));
    assert!(world.stop().await.clean);
}

#[tokio::test]
async fn a_warning_halts_nothing_and_comes_once_a_window() {
    let (world, _worker, lease) = world(BurnOf::EachAgent, BurnAction::Warn).await;
    report(&world, lease, 1_500).await;
    until(|| notes(&world).len() == 1).await;
    assert!(world.runtime.halts().is_empty());
    assert_eq!(notes(&world)[0].scope, HaltScope::Agent(agent("a")));
    report(&world, lease, 1_900).await;
    assert_eq!(notes(&world).len(), 1, "400 since then");
    world.clock.advance(Span::from_secs(10));
    report(&world, lease, 2_600).await;
    until(|| notes(&world).len() == 2).await;
}

#[tokio::test]
async fn halt_and_cancel_ends_what_was_too_fast() {
    let (world, mut worker, lease) = world(BurnOf::Agent(agent("a")), BurnAction::HaltAndCancel).await;
    report(&world, lease, 1_001).await;
    assert_eq!(worker.cancelled().await, (lease, Some(Cause::Halted)));
    until(|| world.runtime.open_tasks() == 0).await;
    let view = world.view(lease.task).await;
    assert_eq!((view.summary.state, view.summary.ledger.spent), (TaskState::Cancelled, 1_001));
    assert!(view.outcome.expect("it has ended").reason.starts_with("halted by burn-rate guard (agent a"));
}

#[tokio::test]
async fn slow_spending_is_nobodys_business() {
    let (world, _worker, lease) = world(BurnOf::Everything, BurnAction::Halt).await;
    let mut told = 0;
    for _ in 0..20 {
        told += 500;
        report(&world, lease, told).await;
        for _ in 0..3 {
            world.clock.advance(Span::from_secs(10));
            world.runtime.heartbeat(_worker.session).expect("the session is open");
        }
    }
    assert!(world.runtime.halts().is_empty() && notes(&world).is_empty());
}
