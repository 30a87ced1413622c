//! The way of a task from its submission to its end.

use bailiwick::{
    engine::{command::Rejection, event::TraceContext},
    runtime::{CommandError, Down, SubmitError, Submitted},
    types::{
        contract::{ContractDraft, LimitsDraft},
        envelope::{Answer, Status},
        outcome::{Cause, TaskState},
        plan::{PlanDraft, StepDraft},
        time::Span,
    },
};

use crate::kit::{World, agent, complete, contract, draft, envelope, in_time, json, keyed, success, usage};

#[tokio::test]
async fn a_task_is_submitted_assigned_and_completed() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    let task = world.submit().await;
    worker.credit(1);
    let work = worker.work().await;
    assert_eq!((work.lease.task, work.lease.turn, work.lease.attempt), (task, 1, 1));
    let traceparent = work.traceparent.expect("every attempt has its own");
    assert!(traceparent.starts_with("00-") && traceparent.len() == 55, "{traceparent}");

    assert_eq!(worker.complete(work.lease, success()).await, Ok(false));
    let view = world.view(task).await;
    assert_eq!(view.summary.state, TaskState::Succeeded);
    assert_eq!((view.summary.ledger.spent, view.summary.ledger.reserved), (150, 0));
    assert_eq!(worker.complete(work.lease, success()).await, Ok(true), "the same answer again is harmless");
    let listed = in_time(world.runtime.list(Default::default(), None, 10)).await.expect("the store reads");
    assert_eq!(listed, [view.summary]);
    assert!(world.stop().await.clean);
}

#[tokio::test]
async fn one_commit_serves_a_submission_and_its_lease() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    worker.work().await;
    assert_eq!(world.kinds(task), ["submitted", "turn_opened", "attempt_started"]);
    assert_eq!(world.store.memory.commits(), 1);
}

#[tokio::test]
async fn nothing_is_said_before_it_is_durable() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    world.store.shut();
    let runtime = world.runtime.clone();
    let submit = tokio::spawn(async move { runtime.submit(contract(), 1, TraceContext::default()).await });
    while world.store.arrived() == 0 {
        tokio::task::yield_now().await;
    }
    // The lease is staged in the same batch; neither the client nor the worker may know.
    assert!(!submit.is_finished());
    assert!(worker.down.try_recv().is_err());
    world.store.open();
    let task = in_time(submit).await.expect("it runs").expect("accepted").task;
    assert_eq!(worker.work().await.lease.task, task);
}

#[tokio::test]
async fn a_key_names_one_task_and_one_contract() {
    let world = World::new().await;
    let first = world.try_submit(keyed("order-1")).await.expect("accepted");
    assert!(!first.existing);
    let again = Submitted { existing: true, ..first };
    assert_eq!(world.try_submit(keyed("order-1")).await, Ok(again));
    let world = world.restart().await;
    assert_eq!(world.try_submit(keyed("order-1")).await, Ok(again));
    // Written in other words, it means the same.
    let same = world.runtime.submit(keyed("order-1"), 2, TraceContext::default());
    assert_eq!(in_time(same).await, Ok(again));
    let mut another = keyed("order-1");
    another.limits.max_hops = 3;
    let other = world.runtime.submit(another, 2, TraceContext::default());
    let differs = vec!["limits.max_hops: 12 -> 3".to_owned()];
    assert_eq!(in_time(other).await, Err(SubmitError::KeyTaken { task: first.task, differs }));

    // And when it has ended long ago, and is only in the journal.
    in_time(world.runtime.cancel(first.task, String::new())).await.expect("cancelled");
    let world = world.restart().await;
    assert_eq!(world.try_submit(keyed("order-1")).await, Ok(again));
}

#[tokio::test]
async fn a_cancel_stops_the_worker_and_fences_its_result() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    let cancelled = in_time(world.runtime.cancel(task, "changed my mind".to_owned())).await.expect("done");
    assert!(!cancelled.already_ended);
    assert_eq!(cancelled.summary.state, TaskState::Cancelled);
    assert_eq!(worker.cancelled().await, (lease, Some(Cause::Cancelled)));
    let late = worker.complete(lease, success()).await;
    assert!(matches!(late, Err(CommandError::Rejected(Rejection::LeaseNotLive(_)))), "{late:?}");
    assert_eq!(world.view(task).await.summary.ledger.spent, 150, "usage is never refused");
    let again = in_time(world.runtime.cancel(task, String::new())).await.expect("harmless");
    assert!(again.already_ended);
}

#[tokio::test]
async fn a_report_beyond_the_allowance_kills_the_attempt() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    world.submit().await;
    let work = worker.work().await;
    let allowed = in_time(world.runtime.usage(work.lease, usage(work.allowance), String::new())).await;
    assert_eq!(allowed, Ok(work.allowance));
    let over = in_time(world.runtime.usage(work.lease, usage(work.allowance + 1), String::new())).await;
    assert_eq!(over, Ok(0));
    assert_eq!(worker.cancelled().await, (work.lease, Some(Cause::Budget)));
}

#[tokio::test]
async fn a_result_that_does_not_fit_the_schema_comes_back_with_the_reason() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(2);
    world.submit().await;
    let lease = worker.work().await.lease;
    let wrong = envelope(Status::Success, Some(json(serde_json::json!({"letters": 3}))));
    assert_eq!(worker.complete(lease, Answer::Envelope(wrong)).await, Ok(false));
    worker.credit(1);
    let notes = worker.work().await.notes;
    assert!(notes.iter().any(|note| note.contains("words")), "{notes:?}");
}

#[tokio::test]
async fn a_task_with_many_ready_steps_does_not_starve_another() {
    let world = World::new().await;
    let step = |n: u32| StepDraft {
        id: format!("s{n}"),
        agent: "a".to_owned(),
        max_tokens: 1_000,
        ..StepDraft::default()
    };
    let mut last = step(20);
    last.depends_on = (0..20).map(|n| format!("s{n}")).collect();
    let plan = PlanDraft {
        steps: (0..20).map(step).chain([last]).collect(),
        result_step: "s20".to_owned(),
        ..PlanDraft::default()
    };
    let wide = ContractDraft { first_agent: None, plan: Some(plan), ..draft() };
    let first = world.try_submit(complete(&wide)).await.expect("accepted").task;
    let second = world.submit().await;
    let mut worker = world.worker("w1", &["a"], 4).await;
    worker.credit(3);
    let mut served =
        [worker.work().await, worker.work().await, worker.work().await].map(|work| work.lease.task);
    // They come from two shards, each at its own pace; what counts is who was chosen.
    served.sort();
    let mut fair = [first, first, second];
    fair.sort();
    assert_eq!(served, fair);
}

#[tokio::test]
async fn what_is_unknown_is_refused_by_name() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    world.submit().await;
    let lease = worker.work().await.lease;
    let mut foreign = lease;
    foreign.secret ^= 1;
    let unknown = Err(CommandError::Rejected(Rejection::LeaseUnknown));
    assert_eq!(worker.complete(foreign, success()).await, unknown);
    foreign.task = "00000000-0000-7000-8000-00000000ffff".parse().expect("a task id");
    assert_eq!(worker.complete(foreign, success()).await, unknown);
    assert!(world.runtime.get(foreign.task).await.is_err());
    assert!(world.runtime.watch(foreign.task, 0).await.is_err());
    assert!(world.runtime.is_known(&agent("a")) && !world.runtime.is_known(&agent("b")));
}

#[tokio::test]
async fn a_draining_worker_gets_nothing_new_and_finishes_what_it_has() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 2).await;
    worker.credit(2);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    world.runtime.drain_session(worker.session).expect("the session is open");
    let waiting = world.submit().await;
    assert_eq!(worker.complete(lease, success()).await, Ok(false));
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
    assert_eq!(world.view(waiting).await.summary.state, TaskState::Queued);
    assert!(world.runtime.workers()[0].draining);
    let mut other = world.worker("w2", &["a"], 1).await;
    other.credit(1);
    assert_eq!(other.work().await.lease.task, waiting);
    assert!(worker.down.try_recv().is_err());
}

#[tokio::test]
async fn a_shutdown_drains_and_refuses_and_is_clean() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 2).await;
    worker.credit(1);
    let task = world.submit().await;
    let lease = worker.work().await.lease;
    world.runtime.begin_shutdown();
    assert_eq!(worker.next().await, Some(Down::Drain));
    assert_eq!(world.try_submit(contract()).await, Err(SubmitError::ShuttingDown));
    worker.credit(1);
    assert_eq!(worker.complete(lease, success()).await, Ok(false), "what runs may still be answered");
    assert_eq!(world.view(task).await.summary.state, TaskState::Succeeded);
    let runtime = world.runtime.clone();
    let report = world.stop().await;
    assert!(report.clean && report.open_tasks == 0, "{report:?}");
    assert_eq!(worker.next().await, None);
    assert!(runtime.get(task).await.is_err());
}

#[tokio::test]
async fn a_shutdown_keeps_to_its_limit_and_names_what_it_stopped() {
    let world = World::new().await;
    world.store.shut();
    let runtime = world.runtime.clone();
    let submit = tokio::spawn(async move { runtime.submit(contract(), 1, TraceContext::default()).await });
    while world.store.arrived() == 0 {
        tokio::task::yield_now().await;
    }
    let report = in_time(world.tasks.shutdown(std::time::Duration::from_millis(20))).await;
    assert!(!report.clean);
    assert!(report.aborted.contains(&"journal".to_owned()), "{report:?}");
    // Whether it was kept is not known, and that is what the client hears.
    let heard = in_time(submit).await.expect("no panic");
    assert!(matches!(heard, Err(SubmitError::Store(_))), "{heard:?}");
    world.store.open();
}

#[tokio::test]
async fn an_answer_after_the_deadline_finds_it_passed() {
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    let limits = Some(LimitsDraft { deadline: Some(10_000_000), ..LimitsDraft::default() });
    let short =
        world.try_submit(complete(&ContractDraft { limits, ..draft() })).await.expect("accepted").task;
    let lease = worker.work().await.lease;
    world.clock.advance(Span::from_secs(10));
    let late = worker.complete(lease, success()).await;
    assert!(matches!(late, Err(CommandError::Rejected(Rejection::LeaseNotLive(_)))), "{late:?}");
    assert!(world.kinds(short).contains(&"guards_tripped".to_owned()));
}

/// Keeps the microseconds of every measured kill.
#[derive(Clone, Default)]
struct Kills(std::sync::Arc<std::sync::Mutex<Vec<u64>>>);

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Kills {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if event.metadata().target() == "bailiwick::kill" {
            event.record(&mut self.clone());
        }
    }
}

impl tracing::field::Visit for Kills {
    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}

    fn record_u64(&mut self, field: &tracing::field::Field, value: u64) {
        if field.name() == "micros" {
            self.0.lock().expect("no panic under it").push(value);
        }
    }
}

#[tokio::test]
async fn the_hard_kill_is_measured() {
    use tracing_subscriber::layer::SubscriberExt;

    let kills = Kills::default();
    let subscriber = tracing_subscriber::registry().with(kills.clone());
    // Everything of this test runs on its own thread.
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let mut worker = world.worker("w1", &["a"], 1).await;
    worker.credit(1);
    world.submit().await;
    let work = worker.work().await;
    let over = in_time(world.runtime.usage(work.lease, usage(work.allowance + 1), String::new())).await;
    assert_eq!(over, Ok(0));
    worker.cancelled().await;
    assert_eq!(*kills.0.lock().expect("no panic under it"), [0], "the clock stood still in between");
}
