//! Bad input gets typed errors, costs nothing, and leaves the server standing.

use bailiwick::pb;
use prost_types::{Value, value::Kind};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::{
    SUCCEEDED, check,
    harness::{Stage, complete, contract, success, text, usage},
};

#[tokio::test]
async fn five_faults_are_five_violations_in_one_answer() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let mut bad = contract("solver");
    bad.goal = String::new();
    bad.owner = "stranger".into();
    bad.limits = None;
    bad.input = Some(Value { kind: Some(Kind::NumberValue(f64::NAN)) });
    bad.gate = Some(pb::Gate { min_confidence: 1.7, ..Default::default() });
    let status = check(stage.try_submit(bad).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    let request = status.get_details_bad_request().expect("violations");
    let fields: Vec<_> = request.field_violations.iter().map(|v| v.field.as_str()).collect();
    assert_eq!(fields, ["gate.min_confidence", "goal", "input", "limits.deadline", "owner"]);
    assert!(request.field_violations.iter().all(|v| !v.description.is_empty()));
    stage.submit(contract("solver")).await;
}

#[tokio::test]
async fn what_is_missing_or_unknown_is_named() {
    let stage = Stage::new().await;
    let mut tasks = stage.tasks();
    let none = tasks.submit_task(pb::SubmitTaskRequest::default()).await;
    check(none, Code::InvalidArgument, "INVALID_MESSAGE");
    let unknown =
        check(stage.try_submit(contract("nobody")).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    let fields = unknown.get_details_bad_request().expect("violations").field_violations;
    assert!(fields.iter().any(|v| v.field == "first_agent"), "{fields:?}");
    let get = |task_id: &str| {
        let request = pb::GetTaskRequest { task_id: task_id.to_owned() };
        let mut tasks = stage.tasks();
        async move { tasks.get_task(request).await }
    };
    check(get("").await, Code::InvalidArgument, "INVALID_MESSAGE");
    check(get("not-an-id").await, Code::InvalidArgument, "INVALID_MESSAGE");
    let missing = check(get("00000000-0000-0000-0000-000000000001").await, Code::NotFound, "TASK_NOT_FOUND");
    assert_eq!(missing.get_details_resource_info().map(|info| info.resource_type).as_deref(), Some("task"));
    let mut operator = stage.operator();
    let answer = |id: &str, answer| pb::AnswerEscalationRequest {
        escalation_id: id.into(),
        answer,
        answered_by: "ada".into(),
        ..Default::default()
    };
    let id = "00000000-0000-0000-0000-000000000001.1";
    let unset = operator.answer_escalation(answer(id, 0)).await;
    check(unset, Code::InvalidArgument, "INVALID_MESSAGE");
    let missing = operator.answer_escalation(answer(id, 1)).await;
    check(missing, Code::NotFound, "ESCALATION_NOT_FOUND");
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_its_limit() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let large = |bytes| pb::Contract { input: Some(text(&"x".repeat(bytes))), ..contract("solver") };
    let status = check(stage.try_submit(large(2 << 20)).await, Code::InvalidArgument, "CONTRACT_REFUSED");
    let fields = status.get_details_bad_request().expect("violations").field_violations;
    assert_eq!(fields.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), ["input"]);
    check(stage.try_submit(large(5 << 20)).await, Code::ResourceExhausted, "MESSAGE_TOO_LARGE");

    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    for (bytes, reason) in [(2 << 20, "INVALID_MESSAGE"), (5 << 20, "MESSAGE_TOO_LARGE")] {
        let envelope = pb::StatusEnvelope { result: Some(text(&"x".repeat(bytes))), ..success("") };
        let id = worker.send(complete(&work.lease, envelope)).await;
        let refusal = worker.refused(id).await;
        assert_eq!((refusal.reason.as_str(), refusal.retryable), (reason, false));
    }
    // Nothing was lost: the lease is live, and the session goes on.
    worker.complete(&work.lease, success("small")).await;
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
}

#[tokio::test]
async fn a_lease_that_is_foreign_or_made_up_changes_nothing() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    let (rest, secret) = work.lease.rsplit_once('.').expect("a lease has parts");
    let forged = format!("{rest}.{:016x}", !u64::from_str_radix(secret, 16).expect("hexadecimal"));
    let elsewhere = "00000000000000000000000000000001.1.1.00000000000000aa";
    for lease in [forged.as_str(), elsewhere, "nonsense"] {
        for message in [complete(lease, success("stolen")), usage(lease, 5)] {
            let id = worker.send(message).await;
            assert_eq!(worker.refused(id).await.reason, "LEASE_UNKNOWN", "{lease}");
        }
        let request = pb::GetLineageRequest { lease: lease.to_owned(), ..Default::default() };
        check(stage.workers().get_lineage(request).await, Code::NotFound, "LEASE_UNKNOWN");
    }
    let id = worker.send(complete("", success("no lease"))).await;
    assert_eq!(worker.refused(id).await.reason, "INVALID_MESSAGE");
    worker.complete(&work.lease, success("mine")).await;
    assert_eq!(stage.outcome(&task_id).await.result, Some(crate::result("mine")));
}

#[tokio::test]
async fn the_same_answer_again_is_harmless_and_another_one_is_refused() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    worker.complete(&work.lease, success("42")).await;
    worker.complete(&work.lease, success("42")).await;
    let id = worker.send(complete(&work.lease, success("43"))).await;
    assert_eq!(worker.refused(id).await.reason, "ALREADY_ANSWERED");
    let unary = |answer: &str| {
        let answer = Some(pb::complete::Answer::Envelope(success(answer)));
        let complete = Some(pb::Complete { lease: work.lease.clone(), answer });
        let mut workers = stage.workers();
        async move { workers.complete_turn(pb::CompleteTurnRequest { complete }).await }
    };
    assert!(unary("42").await.expect("it is harmless").into_inner().repeated_answer);
    check(unary("43").await, Code::FailedPrecondition, "ALREADY_ANSWERED");
    let task = stage.task(&task_id).await;
    assert_eq!(task.summary.and_then(|s| s.ledger).map(|ledger| ledger.spent_tokens), Some(42));
}

#[tokio::test]
async fn an_answer_out_of_bounds_is_refused_and_its_lease_lives() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    let failed = pb::Status::Failed as i32;
    for bad in [
        pb::StatusEnvelope { status: 0, ..success("") },
        pb::StatusEnvelope { confidence: Some(1.7), ..success("") },
        pb::StatusEnvelope { status: failed, ..success("") },
    ] {
        let id = worker.send(complete(&work.lease, bad)).await;
        let refusal = worker.refused(id).await;
        assert_eq!(
            (refusal.reason.as_str(), refusal.code),
            ("INVALID_MESSAGE", Code::InvalidArgument as i32)
        );
        assert!(refusal.message.contains("envelope."), "{}", refusal.message);
    }
    worker.complete(&work.lease, success("corrected")).await;
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
}

#[tokio::test]
async fn bytes_that_are_no_message_get_a_typed_error_from_a_unary_call() {
    use prost::bytes::Bytes;
    let stage = Stage::new().await;
    let mut raw = crate::sessions::raw(&stage);
    raw.ready().await.expect("it connects");
    let path = "/bailiwick.v1.TaskService/GetTask".parse().expect("a path");
    let request = tonic::Request::new(Bytes::from_static(&[0x0a, 0xff, 0xff]));
    let outcome = raw.unary(request, path, crate::sessions::RawCodec).await;
    check(outcome, Code::InvalidArgument, "UNDECODABLE_MESSAGE");
    raw.ready().await.expect("it stands");
    let path = "/bailiwick.v1.TaskService/NoSuchMethod".parse().expect("a path");
    let outcome = raw.unary(tonic::Request::new(Bytes::new()), path, crate::sessions::RawCodec).await;
    check(outcome, Code::Unimplemented, "UNKNOWN_METHOD");
}
