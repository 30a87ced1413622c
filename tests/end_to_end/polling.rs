//! A worker without a stream: the same work by unary calls.

use bailiwick::{
    pb::{self, session_response::Message as Down},
    runtime::RuntimeOptions,
    service::server::ServerOptions,
};
use prost_types::Duration;
use tonic::Code;

use crate::{
    SUCCEEDED, check,
    harness::{Stage, contract, register, soon, success},
};

async fn opened(stage: &Stage, worker_id: &str) -> Result<pb::Registered, tonic::Status> {
    let register = Some(register(worker_id, &["solver"], Vec::new()));
    let answer = stage.workers().register(pb::RegisterRequest { register }).await?;
    Ok(answer.into_inner().registered.expect("it is sent"))
}

async fn poll(
    stage: &Stage,
    session_id: &str,
    credit: i32,
    seconds: i64,
) -> Result<Vec<Down>, tonic::Status> {
    let wait = Some(Duration { seconds, nanos: 0 });
    let request = pb::PollRequest { session_id: session_id.to_owned(), credit, wait, received_batch: None };
    let answer = soon("a poll", stage.workers().poll(request)).await?;
    Ok(answer.into_inner().messages.into_iter().filter_map(|response| response.message).collect())
}

#[tokio::test]
async fn a_task_runs_by_unary_calls_alone() {
    let stage = Stage::new().await;
    let session = opened(&stage, "w1").await.expect("it opens").session_id;
    assert!(poll(&stage, &session, 0, 0).await.expect("it is open").is_empty());
    let task_id = stage.submit(contract("solver")).await;
    let told = poll(&stage, &session, 1, 20).await.expect("it is open");
    let [Down::Assignment(work)] = told.as_slice() else { panic!("not an assignment: {told:?}") };
    let mut workers = stage.workers();
    let lease = || work.lease.clone();

    let step = pb::WorkStep { content: "looking".into(), ..Default::default() };
    let progress = pb::Progress { lease: lease(), steps: vec![step], partial_result: None };
    let request = pb::ReportProgressRequest { progress: Some(progress) };
    workers.report_progress(request).await.expect("the lease is live");
    let tokens = Some(pb::Usage { input_tokens: 10, ..Default::default() });
    let report = pb::UsageReport { lease: lease(), usage: tokens };
    let request = pb::ReportUsageRequest { usage: Some(report) };
    let allowance = workers.report_usage(request).await.expect("it is never refused").into_inner();
    assert_eq!(allowance.allowance_tokens, work.allowance_tokens);
    let asked = pb::BudgetRequest { lease: lease(), tokens: 5, reason: "one more page".into() };
    let request = pb::RequestBudgetRequest { request: Some(asked) };
    let grant = workers.request_budget(request).await.expect("the lease is live").into_inner().grant;
    let grant = grant.expect("it is sent");
    assert_eq!((grant.granted_tokens, grant.allowance_tokens), (5, work.allowance_tokens + 5));
    let request = pb::GetLineageRequest { lease: lease(), ..Default::default() };
    assert!(workers.get_lineage(request).await.expect("the lease is live").into_inner().entries.is_empty());

    let answer = Some(pb::complete::Answer::Envelope(success("42")));
    let complete = Some(pb::Complete { lease: lease(), answer });
    let done = workers.complete_turn(pb::CompleteTurnRequest { complete }).await.expect("it is accepted");
    assert!(!done.into_inner().repeated_answer);
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
    let request = pb::DrainSessionRequest { session_id: session, drain: None };
    workers.drain_session(request).await.expect("it is open");
}

#[tokio::test]
async fn a_poll_that_makes_no_sense_is_refused() {
    let stage = Stage::new().await;
    let session = opened(&stage, "w1").await.expect("it opens").session_id;
    check(poll(&stage, "nonsense", 0, 0).await, Code::NotFound, "SESSION_UNKNOWN");
    let other = "00000000-0000-0000-0000-000000000001";
    check(poll(&stage, other, 0, 0).await, Code::NotFound, "SESSION_UNKNOWN");
    check(poll(&stage, &session, -1, 0).await, Code::InvalidArgument, "INVALID_MESSAGE");
    check(poll(&stage, &session, 0, 31).await, Code::InvalidArgument, "INVALID_MESSAGE");
    check(poll(&stage, &session, 0, -1).await, Code::InvalidArgument, "INVALID_MESSAGE");
    assert!(poll(&stage, &session, 0, 0).await.expect("it is open").is_empty());
}

#[tokio::test]
async fn a_session_that_was_superseded_is_gone() {
    let stage = Stage::new().await;
    let first = opened(&stage, "w1").await.expect("it opens").session_id;
    opened(&stage, "w1").await.expect("it opens");
    check(poll(&stage, &first, 0, 0).await, Code::NotFound, "SESSION_UNKNOWN");
}

#[tokio::test]
async fn the_places_without_a_stream_are_bounded() {
    let server = ServerOptions { max_polled_sessions: 1, ..Default::default() };
    let stage = Stage::with(RuntimeOptions::default(), server).await;
    opened(&stage, "w1").await.expect("it opens");
    check(opened(&stage, "w2").await, Code::ResourceExhausted, "OVERLOADED");
}

#[tokio::test]
async fn a_shutdown_ends_a_poll_that_waits() {
    let stage = Stage::new().await;
    let session = opened(&stage, "w1").await.expect("it opens").session_id;
    let mut workers = stage.workers();
    let wait = Some(Duration { seconds: 30, nanos: 0 });
    let polled = tokio::spawn(async move {
        let request = pb::PollRequest { session_id: session, credit: 1, wait, received_batch: None };
        workers.poll(request).await.map(|answer| answer.into_inner().messages)
    });
    let listed = async {
        // The credit shows that the poll has arrived.
        loop {
            let workers = stage.operator().list_workers(pb::ListWorkersRequest {}).await.expect("it answers");
            if workers.into_inner().workers.iter().any(|worker| worker.credit == 1) {
                return;
            }
        }
    };
    soon("the credit", listed).await;
    assert!(stage.shutdown().await);
    let told = soon("the poll", polled).await.expect("it does not panic");
    let told: Vec<_> = told.expect("the word that the server goes").into_iter().collect();
    assert!(matches!(told.as_slice(), [pb::SessionResponse { message: Some(Down::Drain(_)) }]), "{told:?}");
}

#[tokio::test]
async fn a_lost_response_is_delivered_again() {
    let stage = Stage::new().await;
    let session = opened(&stage, "w1").await.expect("it opens").session_id;
    stage.submit(contract("solver")).await;
    let poll = |received| {
        let wait = Some(Duration { seconds: 20, nanos: 0 });
        let session_id = session.clone();
        let request = pb::PollRequest { session_id, credit: 1, wait, received_batch: Some(received) };
        let mut workers = stage.workers();
        async move { soon("a poll", workers.poll(request)).await.expect("it is open").into_inner() }
    };
    let lost = poll(0).await;
    assert_eq!((lost.messages.len(), lost.batch), (1, 1));
    assert_eq!(poll(0).await, lost);
}

#[tokio::test]
async fn a_poll_brings_no_more_at_once_than_a_client_can_receive() {
    let stage = Stage::new().await;
    let mut register = register("w1", &["solver"], Vec::new());
    register.max_concurrency = 5;
    let request = pb::RegisterRequest { register: Some(register) };
    let session = stage.workers().register(request).await.expect("it opens").into_inner();
    let session = session.registered.expect("it is sent").session_id;
    for _ in 0..5 {
        let input = Some(crate::harness::text(&"x".repeat(1_000_000)));
        stage.submit(pb::Contract { input, ..contract("solver") }).await;
    }
    let mut credit = 5;
    let mut assigned = 0;
    while assigned < 5 {
        let told = poll(&stage, &session, credit, 20).await.expect("it fits into what a client receives");
        credit = 0;
        assigned += told.len();
    }
}
