//! Halts over the wire: who is refused hears why, workers are told at once, and the figures come back.

use bailiwick::{
    pb::{self, TaskState, halt_selector::Scope, resume_request::What, task_event::Event},
    runtime::{BurnAction, BurnLimit, BurnOf, RuntimeOptions},
    service::server::ServerOptions,
    types::time::Span,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::harness::{Stage, check, contract, soon, usage};

async fn halt(stage: &Stage, scope: Scope, cancel: bool) -> Result<pb::HaltResponse, Status> {
    let request = pb::HaltRequest {
        selector: Some(pb::HaltSelector { scope: Some(scope) }),
        halted_by: "ann".into(),
        reason: "the bill".into(),
        cancel,
    };
    soon("the halt", stage.operator().halt(request)).await.map(tonic::Response::into_inner)
}

async fn resume(stage: &Stage, what: What) -> Result<Vec<pb::Halt>, Status> {
    let request = pb::ResumeRequest { what: Some(what), resumed_by: "bo".into(), reason: "fixed".into() };
    soon("the resume", stage.operator().resume(request)).await.map(|answer| answer.into_inner().halts)
}

async fn halts(stage: &Stage, lifted: bool) -> Vec<pb::Halt> {
    let request = pb::ListHaltsRequest { lifted, ..Default::default() };
    stage.operator().list_halts(request).await.expect("they are listed").into_inner().halts
}

#[tokio::test]
async fn everything_is_halted_with_a_cancel_and_goes_on_after_a_resume() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(2).await;
    let running = [stage.submit(contract("solver")).await, stage.submit(contract("solver")).await];
    let leases = [worker.assignment().await.lease, worker.assignment().await.lease];
    let waiting = stage.submit(contract("solver")).await;

    let answer = halt(&stage, Scope::All(true), true).await.expect("it is halted");
    assert_eq!((answer.attempts_told, answer.attempts_handed, answer.existing), (2, 2, false));
    assert!(answer.told_within.is_some() && answer.handed_within.is_some());
    let said = answer.halt.expect("it is sent");
    assert_eq!((said.tasks_ended, said.sweeping, said.halted_by.as_str()), (3, false, "ann"));
    for _ in 0..2 {
        let cancel = worker.cancel().await;
        assert!(leases.contains(&cancel.lease));
        assert_eq!(cancel.cause(), pb::Cause::Halted);
    }
    for task in running.iter().chain([&waiting]) {
        let events = stage.events(task, 0).await;
        let halted = events.iter().find_map(|event| match &event.event {
            Some(Event::Halted(halted)) => Some(halted.clone()),
            _ => None,
        });
        assert_eq!(halted.expect("its journal says so").reason, "the bill");
        let outcome = stage.outcome(task).await;
        assert_eq!((outcome.state(), outcome.cause()), (TaskState::Cancelled, pb::Cause::Halted));
        assert!(stage.task(task).await.halts.is_empty(), "nothing holds back what has ended");
    }

    let refused = stage.try_submit(contract("solver")).await;
    let status = check(refused, Code::FailedPrecondition, "HALTED");
    let info = status.get_details_error_info().expect("always there");
    assert_eq!((info.metadata["halted_by"].as_str(), info.metadata["retryable"].as_str()), ("ann", "false"));
    assert_eq!(halts(&stage, false).await.len(), 1);
    assert_eq!(resume(&stage, What::Number(said.number)).await.expect("it is lifted").len(), 1);
    assert!(halts(&stage, false).await.is_empty());
    let kept = halts(&stage, true).await;
    assert_eq!((kept[0].resumed_by.as_str(), kept[0].resume_reason.as_str()), ("bo", "fixed"));
    stage.submit(contract("solver")).await;
    worker.credit(1).await;
    worker.assignment().await;
}

#[tokio::test]
async fn a_task_and_an_agent_say_what_holds_them_back() {
    let stage = Stage::new().await;
    let _known = stage.worker("w1", &["solver"]).await;
    let task = stage.submit(contract("solver")).await;
    halt(&stage, Scope::Agent("solver".into()), false).await.expect("it is halted");
    let found = stage.task(&task).await.halts;
    assert_eq!(found.iter().map(|halt| halt.reason.as_str()).collect::<Vec<_>>(), ["the bill"]);
    let agents = stage.operator().list_agents(pb::ListAgentsRequest {}).await.expect("listed").into_inner();
    assert_eq!(agents.agents[0].halt.as_ref().map(|halt| halt.number), Some(1));
    check(stage.try_submit(contract("solver")).await, Code::FailedPrecondition, "HALTED");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let stage = Stage::new().await;
    check(halt(&stage, Scope::All(false), false).await, Code::InvalidArgument, "INVALID_MESSAGE");
    check(halt(&stage, Scope::Agent("No!".into()), false).await, Code::InvalidArgument, "INVALID_MESSAGE");
    check(resume(&stage, What::Everything(true)).await, Code::NotFound, "HALT_NOT_FOUND");
    check(resume(&stage, What::Number(-1)).await, Code::InvalidArgument, "INVALID_MESSAGE");
    for filter in [pb::ListTasksRequest { states: vec![TaskState::Failed as i32], ..Default::default() }] {
        let request = pb::CancelTasksRequest { filter: Some(filter), all: true, ..Default::default() };
        check(stage.tasks().cancel_tasks(request).await, Code::InvalidArgument, "INVALID_MESSAGE");
    }
    let nothing = stage.tasks().cancel_tasks(pb::CancelTasksRequest::default()).await;
    check(nothing, Code::InvalidArgument, "INVALID_MESSAGE");
}

async fn cancel(stage: &Stage, request: pb::CancelTasksRequest) -> pb::CancelTasksResponse {
    let mut stream = stage.tasks().cancel_tasks(request).await.expect("it begins").into_inner();
    let mut last = pb::CancelTasksResponse::default();
    while let Some(next) = soon("how far it is", stream.message()).await.expect("no error") {
        assert!(next.matched >= last.matched, "counts only grow");
        last = next;
    }
    last
}

#[tokio::test]
async fn what_fits_a_filter_is_counted_then_cancelled_and_again_is_harmless() {
    let stage = Stage::new().await;
    let _known = stage.worker("w1", &["solver"]).await;
    let labelled = |value: &str| {
        let labels = [("team".to_owned(), value.to_owned())].into();
        pb::Contract { labels, ..contract("solver") }
    };
    let mut tasks = Vec::new();
    // More than a page.
    for _ in 0..600 {
        tasks.push(stage.submit(labelled("search")).await);
    }
    let other = stage.submit(labelled("sales")).await;
    let labels = [("team".to_owned(), "search".to_owned())].into();
    let filter = Some(pb::ListTasksRequest { labels, ..Default::default() });
    let request = pb::CancelTasksRequest {
        filter,
        reason: "old".into(),
        cancelled_by: "ann".into(),
        ..Default::default()
    };
    let dry = cancel(&stage, pb::CancelTasksRequest { dry_run: true, ..request.clone() }).await;
    assert_eq!((dry.matched, dry.cancelled, dry.by_state["QUEUED"], dry.done), (600, 0, 600, true));
    let done = cancel(&stage, request.clone()).await;
    assert_eq!((done.matched, done.cancelled, done.failed, done.done), (600, 600, 0, true));
    assert_eq!(stage.outcome(&tasks[0]).await.reason, "cancelled by ann: old");
    let again = cancel(&stage, request).await;
    assert_eq!((again.matched, again.done), (0, true));
    assert!(stage.task(&other).await.outcome.is_none());
}

#[tokio::test]
async fn the_burn_rate_guard_halts_by_itself() {
    let (name, of, window) = ("fast".to_owned(), BurnOf::EachAgent, Span::from_secs(60));
    let action = BurnAction::HaltAndCancel;
    let limit = BurnLimit { name, of, tokens_per_minute: 100, cost_per_minute: 0, window, action };
    let runtime = RuntimeOptions { burn_rate: vec![limit], ..RuntimeOptions::default() };
    let stage = Stage::with(runtime, ServerOptions::default()).await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    worker.send(usage(&work.lease, 101)).await;
    assert_eq!(worker.cancel().await.lease, work.lease);
    let halt = halts(&stage, false).await.remove(0);
    let burn = halt.burn_rate.expect("its figures");
    assert_eq!((halt.halted_by.as_str(), burn.tokens, burn.limit.as_str()), ("burn-rate guard", 101, "fast"));
    assert_eq!(burn.tokens_per_minute, 100);
}
