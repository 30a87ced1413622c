//! The session stream: its rules, and that what breaks them does not end it.

use bailiwick::pb::{self, session_request::Message as Up, session_response::Message as Down};
use prost::{
    Message as _,
    bytes::{Buf as _, BufMut as _, Bytes},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};

use crate::{
    SUCCEEDED,
    harness::{Session, Stage, complete, contract, register, soon, success, usage, why},
    heartbeat,
};

/// Bytes as they are, both ways.
pub(crate) struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buf.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buf.remaining();
        Ok(Some(buf.copy_to_bytes(length)))
    }
}

/// A client that sends bytes as they are.
pub(crate) fn raw(stage: &Stage) -> tonic::client::Grpc<Channel> {
    tonic::client::Grpc::new(stage.channel.clone())
}

fn encoded(message_id: i64, message: Up) -> Vec<u8> {
    pb::SessionRequest { message_id, message: Some(message) }.encode_to_vec()
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused_by_their_id_and_the_session_goes_on() {
    let stage = Stage::new().await;
    let (up, requests) = mpsc::channel(8);
    let mut client = raw(&stage);
    client.ready().await.expect("it connects");
    let path = "/bailiwick.v1.WorkerService/Session".parse().expect("a path");
    let register = Up::Register(register("w1", &["solver"], Vec::new()));
    up.send(Bytes::from(encoded(1, register))).await.expect("open");
    let mut broken = encoded(2, heartbeat());
    broken.extend([0x12, 0x7f, 0x01]);
    up.send(Bytes::from(broken)).await.expect("open");
    up.send(Bytes::from_static(&[0xff; 9])).await.expect("open");
    up.send(Bytes::from(encoded(3, Up::Drain(pb::Drain::default())))).await.expect("open");
    let request = tonic::Request::new(ReceiverStream::new(requests));
    let mut down = client.streaming(request, path, RawCodec).await.expect("it opens").into_inner();
    let mut heard = Vec::new();
    while heard.len() < 4 {
        let bytes = soon("a message", down.message()).await.expect("no error").expect("it goes on");
        heard.extend(pb::SessionResponse::decode(bytes).expect("a message").message);
    }
    let refusals: Vec<_> = heard
        .iter()
        .filter_map(|down| match down {
            Down::Refusal(refusal) => Some((refusal.message_id, refusal.reason.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(refusals, [(2, "UNDECODABLE_MESSAGE"), (0, "UNDECODABLE_MESSAGE")]);
    assert!(matches!(heard.last(), Some(Down::Ack(ack)) if ack.message_ids == [3]), "{heard:?}");
}

#[tokio::test]
async fn register_comes_first_and_once() {
    let stage = Stage::new().await;
    let open = |first: pb::SessionRequest| {
        let mut workers = stage.workers();
        async move {
            let stream = workers.session(tokio_stream::iter([first])).await.expect("it opens");
            let end = soon("the end", stream.into_inner().message()).await;
            why(&end.expect_err("it is refused"))
        }
    };
    let early = pb::SessionRequest { message_id: 1, message: Some(heartbeat()) };
    assert_eq!(open(early).await, (Code::FailedPrecondition, "REGISTER_FIRST".to_owned()));
    let nobody = Up::Register(register("", &[], Vec::new()));
    let nobody = pb::SessionRequest { message_id: 1, message: Some(nobody) };
    assert_eq!(open(nobody).await, (Code::InvalidArgument, "INVALID_MESSAGE".to_owned()));
    let mut worker = stage.worker("w1", &["solver"]).await;
    let id = worker.send(Up::Register(register("w1", &["solver"], Vec::new()))).await;
    assert_eq!(worker.refused(id).await.reason, "ALREADY_REGISTERED");
}

#[tokio::test]
async fn messages_against_the_rules_are_refused_and_the_session_goes_on() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.send_as(5, None).await;
    assert_eq!(worker.refused(5).await.reason, "INVALID_MESSAGE");
    worker.send_as(5, Some(heartbeat())).await;
    assert_eq!(worker.refused(5).await.reason, "MESSAGE_ID_NOT_GROWING");
    worker.send_as(-3, Some(heartbeat())).await;
    assert_eq!(worker.refused(0).await.reason, "MESSAGE_ID_NOT_GROWING");
    let credit = |slots, agent: &str| Some(Up::Credit(pb::Credit { slots, agent: agent.into() }));
    worker.send_as(6, credit(0, "")).await;
    assert_eq!(worker.refused(6).await.reason, "INVALID_MESSAGE");
    worker.send_as(7, credit(1, "stranger")).await;
    assert_eq!(worker.refused(7).await.reason, "INVALID_MESSAGE");
    worker.send_as(8, credit(1, "solver")).await;
    stage.submit(contract("solver")).await;
    assert_eq!(worker.assignment().await.agent, "solver");
}

#[tokio::test]
async fn what_is_said_under_one_lease_keeps_its_order() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = worker.assignment().await;
    let step = |n: i32| pb::WorkStep { content: format!("step {n}"), ..Default::default() };
    let mut ids = Vec::new();
    for n in 0..20 {
        let progress = pb::Progress { lease: work.lease.clone(), steps: vec![step(n)], partial_result: None };
        ids.push(worker.send(Up::Progress(progress)).await);
    }
    ids.push(worker.send(usage(&work.lease, 7)).await);
    let asked = pb::BudgetRequest { lease: work.lease.clone(), tokens: 10, reason: String::new() };
    let asked = worker.send(Up::BudgetRequest(asked)).await;
    ids.push(worker.send(complete(&work.lease, success("42"))).await);
    let grant = worker.grant().await;
    assert_eq!((grant.message_id, grant.granted_tokens), (asked, 10));
    for id in ids {
        worker.acked(id).await;
    }
    let said: Vec<_> = stage
        .events(&task_id, 0)
        .await
        .into_iter()
        .flat_map(|event| match event.event {
            // Reports that waited together may stand in one event; their steps keep their order.
            Some(pb::task_event::Event::Progressed(said)) => said.steps,
            _ => Vec::new(),
        })
        .map(|step| step.content)
        .collect();
    assert_eq!(said, (0..20).map(|n| format!("step {n}")).collect::<Vec<_>>());
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
}

#[tokio::test]
async fn a_worker_that_comes_back_claims_its_lease() {
    let stage = Stage::new().await;
    let mut first = stage.worker("w1", &["solver"]).await;
    first.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let work = first.assignment().await;
    let claims = vec![work.lease.clone(), "nonsense".to_owned()];
    let mut second = Session::open(stage.workers(), "w1", &["solver"], claims).await;
    assert_eq!(second.registered.live_leases, [work.lease.as_str()]);
    assert_eq!(why(&first.ended().await), (Code::Aborted, "SESSION_ENDED".to_owned()));
    second.complete(&work.lease, success("after all")).await;
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
}

#[tokio::test]
async fn a_worker_that_comes_back_without_its_lease_gives_it_up() {
    let stage = Stage::new().await;
    let mut first = stage.worker("w1", &["solver"]).await;
    first.credit(1).await;
    let task_id = stage.submit(contract("solver")).await;
    let lost = first.assignment().await;
    let mut second = stage.worker("w1", &["solver"]).await;
    second.credit(1).await;
    let again = second.assignment().await;
    assert_eq!((again.turn, again.attempt), (lost.turn, 2));
    assert_eq!(again.idempotency_key, lost.idempotency_key);
    let id = second.send(complete(&lost.lease, success("too late"))).await;
    assert_eq!(second.refused(id).await.reason, "LEASE_NOT_LIVE");
    second.complete(&again.lease, success("42")).await;
    assert_eq!(stage.outcome(&task_id).await.state, SUCCEEDED);
}
