//! What is too large or too deep is refused with its limit, before it is held.

use bailiwick::pb::{self, session_request::Message as Up};
use prost::{Message as _, bytes::Bytes};
use prost_types::{ListValue, Struct, Value, value::Kind};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    harness::{Stage, check, complete, contract, object, register, soon, success, text, why},
    panics,
    process::Server,
    raw,
};

/// What a server may grow by while it is sent hundreds of megabytes, in MiB.
const MOST_MIB: u64 = 192;

/// A megabyte field of the kind that nobody reads, a hundred times.
fn huge() -> Bytes {
    Bytes::from(vec![b'x'; 100 << 20])
}

fn too_large<T: std::fmt::Debug>(what: &str, outcome: Result<T, Status>) {
    let status = outcome.expect_err(what);
    assert_eq!(why(&status), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE".to_owned()), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_are_refused_in_type_and_never_held() {
    let server = Server::start().await;
    let channel = server.channel();
    let huge = huge();
    for method in ["TaskService/SubmitTask", "WorkerService/CompleteTurn", "OperatorService/AnswerEscalation"]
    {
        let answer = raw::unary(&channel, &format!("bailiwick.v1.{method}"), huge.clone()).await;
        too_large(method, answer);
    }
    let first = Up::Register(register("w7", &["solver"], Vec::new()));
    let first: Bytes = pb::SessionRequest { message_id: 1, message: Some(first) }.encode_to_vec().into();
    let streams = [
        ("TaskService/StreamTasks", vec![huge.clone()]),
        ("WorkerService/Session", vec![huge.clone()]),
        ("WorkerService/Session", vec![first, huge]),
    ];
    for (method, frames) in streams {
        let up = tokio_stream::iter(frames);
        let opened = raw::streaming(&channel, &format!("bailiwick.v1.{method}"), up).await;
        too_large(method, end(opened).await);
    }
    server.serves_others().await;
    server.stayed_within(MOST_MIB);
}

/// How a stream ends.
async fn end(opened: Result<tonic::Streaming<Bytes>, Status>) -> Result<(), Status> {
    let mut down = opened?;
    while soon("the end", down.message()).await?.is_some() {}
    Ok(())
}

/// Objects in objects.
fn nested(levels: usize) -> Struct {
    (1..levels).fold(object(&[("a", text("x"))]), |inner, _| {
        object(&[("a", Value { kind: Some(Kind::StructValue(inner)) })])
    })
}

fn value(object: Struct) -> Value {
    Value { kind: Some(Kind::StructValue(object)) }
}

#[tokio::test]
async fn deep_json_is_refused_wherever_it_comes() {
    panics::watch();
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    let input = |levels| pb::Contract { input: Some(value(nested(levels))), ..contract("solver") };
    let schema = |levels| {
        let termination = pb::Termination { result_schema: Some(nested(levels)), ..Default::default() };
        pb::Contract { termination: Some(termination), ..contract("solver") }
    };
    for (bad, field) in [(input(29), "input"), (schema(29), "termination.result_schema")] {
        let status = check(stage.try_submit(bad).await, Code::InvalidArgument, "CONTRACT_REFUSED");
        let fields = status.get_details_bad_request().expect("violations").field_violations;
        assert_eq!(fields.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), [field]);
    }
    for bad in [input(500), schema(500)] {
        check(stage.try_submit(bad).await, Code::InvalidArgument, "UNDECODABLE_MESSAGE");
    }
    // A million values in four megabytes: wide is what the bound on bytes is for.
    let wide = ListValue { values: vec![Value { kind: Some(Kind::BoolValue(true)) }; 900_000] };
    let wide =
        pb::Contract { input: Some(Value { kind: Some(Kind::ListValue(wide)) }), ..contract("solver") };
    check(stage.try_submit(wide).await, Code::InvalidArgument, "CONTRACT_REFUSED");

    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    for (levels, reason) in [(29, "INVALID_MESSAGE"), (500, "UNDECODABLE_MESSAGE")] {
        let envelope = pb::StatusEnvelope { result: Some(value(nested(levels))), ..success("") };
        let id = worker.send(complete(&work.lease, envelope)).await;
        assert_eq!(worker.refused(id).await.reason, reason, "{levels}");
    }
    worker.complete(&work.lease, success("shallow")).await;
    assert_eq!(stage.outcome(&task_id).await.state, pb::TaskState::Succeeded as i32);
    panics::none();
}
