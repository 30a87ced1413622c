//! A circuit breaker from outside: it opens under a worker that keeps failing, everybody can see why, and it closes after
//! probes that go well, or by hand.

use std::sync::Arc;

use bailiwick::{
    pb::{self, BreakerState, reset_breaker_request::Whose, task_event::Event},
    runtime::{Bulkheads, ManualClock, RuntimeOptions},
    service::server::ServerOptions,
    types::{
        name_limits::NameLimits,
        time::{Span, Timestamp},
    },
};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::{Session, Stage, check, contract, success};

async fn agent(stage: &Stage) -> pb::Agent {
    let listed = stage.operator().list_agents(pb::ListAgentsRequest {}).await.expect("it answers");
    listed.into_inner().agents.remove(0)
}

async fn breaker(stage: &Stage) -> pb::Breaker {
    agent(stage).await.breaker.expect("always there")
}

/// Five tasks whose only attempt fails in a way that is worth another try.
async fn break_down(stage: &Stage, worker: &mut Session) {
    for _ in 0..5 {
        let limits = pb::Limits { max_attempts: 1, ..contract("solver").limits.expect("it has limits") };
        let task = stage.submit(pb::Contract { limits: Some(limits), ..contract("solver") }).await;
        worker.credit(1).await;
        let work = worker.assignment().await;
        let failed = pb::StatusEnvelope {
            status: pb::Status::Failed as i32,
            retryable: true,
            reason: "the model does not answer".into(),
            ..success("")
        };
        worker.complete(&work.lease, pb::StatusEnvelope { result: None, ..failed }).await;
        assert_eq!(stage.outcome(&task).await.state, pb::TaskState::DeadLettered as i32);
    }
}

#[tokio::test]
async fn a_breaker_opens_is_seen_and_closes_after_good_probes() {
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000_000)));
    let stage = Stage::on_clock(RuntimeOptions::default(), Arc::clone(&clock)).await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    break_down(&stage, &mut worker).await;
    let open = breaker(&stage).await;
    assert_eq!((open.state(), open.openings, open.failed, open.results), (BreakerState::Open, 1, 5, 5));
    let workers = stage.operator().list_workers(pb::ListWorkersRequest {}).await.expect("it answers");
    let of_worker = workers.into_inner().workers.remove(0).breaker.expect("always there");
    assert_eq!(of_worker.state(), BreakerState::Open);

    worker.credit(2).await;
    let tasks = [stage.submit(contract("solver")).await, stage.submit(contract("solver")).await];
    let waiting = stage.task(&tasks[0]).await.waiting;
    assert_eq!((waiting.len(), waiting[0].turn, waiting[0].reason()), (1, 1, pb::WaitReason::AgentBreaker));
    assert!(waiting[0].detail.contains("5 of the last 5 attempts failed"), "{}", waiting[0].detail);
    assert_eq!(waiting[0].until, open.open_until);

    clock.advance(Span::from_secs(5));
    for (task, state) in tasks.iter().zip([BreakerState::HalfOpen, BreakerState::Closed]) {
        let probe = worker.assignment().await;
        assert_eq!(&probe.task_id, task);
        assert_eq!(breaker(&stage).await.state(), BreakerState::HalfOpen);
        worker.complete(&probe.lease, success("42")).await;
        assert_eq!(stage.outcome(task).await.state, pb::TaskState::Succeeded as i32);
        assert_eq!(breaker(&stage).await.state(), state);
    }
    let events = stage.events(&tasks[0], 0).await;
    let held_up = events.iter().filter_map(|event| match &event.event {
        Some(Event::TurnHeldUp(held_up)) => Some(held_up.reason.as_str()),
        _ => None,
    });
    assert_eq!(held_up.filter(|reason| reason.contains("circuit open since 2023-11-14")).count(), 1);
    assert!(stage.shutdown().await);
}

#[tokio::test]
async fn an_operator_closes_a_breaker() {
    let clock = Arc::new(ManualClock::new(Timestamp(1_700_000_000_000_000)));
    let stage = Stage::on_clock(RuntimeOptions::default(), clock).await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    break_down(&stage, &mut worker).await;
    let reset = |whose: Option<Whose>| {
        let mut operator = stage.operator();
        async move { operator.reset_breaker(pb::ResetBreakerRequest { whose }).await }
    };
    let was_open =
        reset(Some(Whose::Agent("solver".into()))).await.expect("it is known").into_inner().was_open;
    assert!(was_open);
    let again = reset(Some(Whose::Agent("solver".into()))).await.expect("it is known").into_inner().was_open;
    assert!(!again, "it was closed already");
    assert_eq!(breaker(&stage).await.state(), BreakerState::Closed);
    check(reset(Some(Whose::Agent("nobody".into()))).await, Code::NotFound, "AGENT_NOT_FOUND");
    check(reset(None).await, Code::InvalidArgument, "INVALID_MESSAGE");
    let of_worker = reset(Some(Whose::WorkerId("w1".into()))).await.expect("it is well formed");
    assert!(of_worker.into_inner().was_open);
    worker.credit(1).await;
    let task = stage.submit(contract("solver")).await;
    assert_eq!(worker.assignment().await.task_id, task);
}

#[tokio::test]
async fn a_namespace_is_bounded_and_listed_by_its_name() {
    let runtime = RuntimeOptions {
        bulkheads: Bulkheads { agents: NameLimits::all(7), ..Bulkheads::default() },
        max_open_by_namespace: NameLimits::default().with("team", 1),
        ..RuntimeOptions::default()
    };
    let stage = Stage::with(runtime, ServerOptions::default()).await;
    let _worker = stage.worker("w1", &["solver"]).await;
    assert_eq!(agent(&stage).await.max_attempts_at_once, 7);
    let of = |namespace: &str| pb::Contract { namespace: namespace.into(), ..contract("solver") };
    let task = stage.submit(of("team")).await;
    let full = check(stage.try_submit(of("team")).await, Code::ResourceExhausted, "NAMESPACE_FULL");
    let wait = full.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(wait.is_some_and(|wait| !wait.is_zero()));
    let other = stage.submit(of("")).await;
    assert_eq!(stage.task(&other).await.contract.expect("it is sent").namespace, "default");
    check(stage.try_submit(of("No Name")).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    for (namespace, expected) in [("team", &task), ("default", &other)] {
        let request = pb::ListTasksRequest { namespace: namespace.into(), ..Default::default() };
        let found = stage.tasks().list_tasks(request).await.expect("it answers").into_inner().tasks;
        let found: Vec<&String> = found.iter().map(|task| &task.task_id).collect();
        assert_eq!(found, [expected], "{namespace}");
    }
}
