//! Many submissions over one stream: each gets its own answer, none waits for another, and nothing is lost.

use std::collections::BTreeMap;

use bailiwick::{
    pb::{self, submission_result::Result as Outcome},
    runtime::RuntimeOptions,
    service::server::ServerOptions,
};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::harness::{Stage, check, contract, soon, success, why};

/// One stream, from its client's side.
struct Many {
    up: Option<mpsc::Sender<pb::StreamTasksRequest>>,
    down: Streaming<pb::StreamTasksResponse>,
}

impl Many {
    async fn open(stage: &Stage) -> Self {
        let (up, requests) = mpsc::channel(8);
        let down = stage.tasks().stream_tasks(ReceiverStream::new(requests)).await.expect("it opens");
        Self { up: Some(up), down: down.into_inner() }
    }

    async fn send(&self, submissions: Vec<pb::Submission>) {
        let up = self.up.as_ref().expect("the sending side is open");
        soon("room to send", up.send(pb::StreamTasksRequest { submissions })).await.expect("it is read");
    }

    /// So many results, by number.
    async fn results(&mut self, count: usize) -> BTreeMap<i64, Outcome> {
        let mut results = BTreeMap::new();
        while results.len() < count {
            let next = soon("results", self.down.message()).await.expect("no error").expect("it goes on");
            assert!(!next.results.is_empty(), "a message without results");
            for pb::SubmissionResult { number, result } in next.results {
                let before = results.insert(number, result.expect("one of the two"));
                assert!(before.is_none(), "{number} was answered twice");
            }
        }
        results
    }

    /// Closes the sending side and waits for the end.
    async fn close(mut self) -> Result<(), Status> {
        self.up = None;
        let end = soon("the end", self.down.message()).await?;
        assert_eq!(end, None);
        Ok(())
    }
}

fn submission(number: i64, contract: pb::Contract) -> pb::Submission {
    let request = pb::SubmitTaskRequest { contract: Some(contract), ..Default::default() };
    pb::Submission { number, request: Some(Box::new(request)), ..Default::default() }
}

fn keyed(number: i64) -> pb::Submission {
    submission(number, pb::Contract { idempotency_key: format!("key-{number}"), ..contract("solver") })
}

/// A refusal, as the status that a single submission would have got.
fn status(outcome: &Outcome) -> Status {
    let Outcome::Refused(refusal) = outcome else { panic!("not refused: {outcome:?}") };
    Status::with_details(Code::from(refusal.code), &*refusal.message, refusal.encode_to_vec().into())
}

fn accepted(outcome: &Outcome) -> &pb::SubmitTaskResponse {
    let Outcome::Accepted(accepted) = outcome else { panic!("not accepted: {outcome:?}") };
    accepted
}

#[tokio::test]
async fn each_is_answered_by_its_number_and_faults_in_the_middle_are_its_own() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let mut many = Many::open(&stage).await;
    let bad = pb::Contract { owner: String::new(), goal: String::new(), ..contract("solver") };
    let other =
        pb::Contract { idempotency_key: "key-1".into(), goal: "another".into(), ..contract("solver") };
    many.send(vec![keyed(1), submission(2, bad.clone()), submission(3, contract("solver"))]).await;
    let first = many.results(3).await;
    // The first is durable, so the same key is known: the same contract is the same task, another one is refused.
    let nothing = pb::Submission { number: 6, ..Default::default() };
    let again = pb::Submission { number: 4, ..keyed(1) };
    many.send(vec![again, submission(5, other)]).await;
    many.send(vec![nothing, submission(7, contract("solver"))]).await;
    let second = many.results(4).await;

    assert_ne!(accepted(&first[&1]).task_id, accepted(&first[&3]).task_id);
    let unary = stage.try_submit(bad).await.expect_err("the contract is bad");
    let streamed = status(&first[&2]);
    assert_eq!((streamed.code(), streamed.message()), (unary.code(), unary.message()));
    let details = |status: &Status| {
        let details = status.get_error_details();
        let info = details.error_info().expect("always there").metadata.clone();
        (format!("{:?}", details.bad_request()), info)
    };
    assert_eq!(details(&streamed), details(&unary));
    check(Err::<(), _>(streamed), Code::InvalidArgument, "CONTRACT_REFUSED");
    let repeated = accepted(&second[&4]);
    assert_eq!((&repeated.task_id, repeated.existing), (&accepted(&first[&1]).task_id, true));
    check(Err::<(), _>(status(&second[&5])), Code::AlreadyExists, "KEY_TAKEN");
    check(Err::<(), _>(status(&second[&6])), Code::InvalidArgument, "INVALID_MESSAGE");
    accepted(&second[&7]);
    many.close().await.expect("it ends without an error");
}

#[tokio::test]
async fn numbers_grow_and_messages_are_never_empty() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let mut many = Many::open(&stage).await;
    many.send(vec![submission(5, contract("solver")), submission(0, contract("solver"))]).await;
    many.send(vec![submission(4, contract("solver")), submission(6, contract("solver"))]).await;
    let results = many.results(4).await;
    accepted(&results[&5]);
    accepted(&results[&6]);
    for number in [0, 4] {
        check(Err::<(), _>(status(&results[&number])), Code::InvalidArgument, "INVALID_MESSAGE");
    }
    let tasks = stage.tasks().list_tasks(pb::ListTasksRequest::default()).await.expect("it answers");
    assert_eq!(tasks.into_inner().tasks.len(), 2);
    many.send(Vec::new()).await;
    let end = soon("the end", many.down.message()).await.expect_err("an empty message says nothing");
    assert_eq!(why(&end), (Code::InvalidArgument, "INVALID_MESSAGE".to_owned()));
}

#[tokio::test]
async fn thousands_come_back_once_each_in_any_order() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let mut many = Many::open(&stage).await;
    let up = many.up.take().expect("it is open");
    let sending = tokio::spawn(async move {
        for start in (0..3_000).step_by(100) {
            let submissions = (start + 1..=start + 100).map(keyed).collect();
            up.send(pb::StreamTasksRequest { submissions }).await.expect("it is read");
        }
    });
    let results = many.results(3_000).await;
    sending.await.expect("it does not panic");
    let ids: std::collections::BTreeSet<_> = results.values().map(|one| &accepted(one).task_id).collect();
    assert_eq!(ids.len(), 3_000);
    many.close().await.expect("it ends without an error");
}

#[tokio::test]
async fn what_had_no_answer_when_the_stream_broke_is_sent_again_without_harm() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let many = Many::open(&stage).await;
    many.send((1..=200).map(keyed).collect()).await;
    drop(many);
    let mut again = Many::open(&stage).await;
    again.send((1..=200).map(keyed).collect()).await;
    for outcome in again.results(200).await.values() {
        accepted(outcome);
    }
    let request = pb::ListTasksRequest { page_size: 1_000, ..Default::default() };
    let tasks = stage.tasks().list_tasks(request).await.expect("it answers").into_inner().tasks;
    assert_eq!(tasks.len(), 200, "each key is one task");
}

#[tokio::test]
async fn a_full_server_refuses_one_by_one() {
    let runtime = RuntimeOptions { max_open_tasks: 2, ..Default::default() };
    let stage = Stage::with(runtime, ServerOptions { max_task_streams: 1, ..Default::default() }).await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let mut many = Many::open(&stage).await;
    many.send((1..=3).map(|number| submission(number, contract("solver"))).collect()).await;
    let results = many.results(3).await;
    let refused: Vec<_> = results.values().filter(|one| matches!(one, Outcome::Refused(_))).collect();
    assert_eq!(refused.len(), 1);
    check(Err::<(), _>(status(refused[0])), Code::ResourceExhausted, "OVERLOADED");
    assert!(status(refused[0]).get_details_retry_info().is_some());
    let second = stage.tasks().stream_tasks(tokio_stream::empty()).await;
    check(second, Code::ResourceExhausted, "OVERLOADED");
}

#[tokio::test]
async fn a_shutdown_answers_what_was_read_and_ends_the_stream() {
    let stage = Stage::new().await;
    let _worker = stage.worker("w1", &["solver"]).await;
    let mut many = Many::open(&stage).await;
    many.send((1..=50).map(keyed).collect()).await;
    // One answer says that the message was read; whatever of it is still open is answered before the stream ends.
    let first = many.results(1).await.len();
    let heard = tokio::spawn(async move {
        let rest = many.results(50 - first).await.len();
        let end = soon("the end", many.down.message()).await.expect_err("the server says why");
        (first + rest, why(&end))
    });
    assert!(stage.shutdown().await);
    let (answered, end) = soon("the client", heard).await.expect("it does not panic");
    assert_eq!((answered, end), (50, (Code::Unavailable, "SHUTTING_DOWN".to_owned())));
}

#[tokio::test]
async fn children_and_traces_go_over_the_stream_too() {
    let stage = Stage::new().await;
    let mut worker = stage.worker("w1", &["solver"]).await;
    worker.credit(2).await;
    let mut many = Many::open(&stage).await;
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned();
    let traced = pb::Submission { traceparent, tracestate: "vendor=1".into(), ..keyed(1) };
    many.send(vec![traced]).await;
    let parent = accepted(&many.results(1).await[&1]).task_id.clone();
    let work = worker.assignment().await;
    assert!(work.traceparent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{}", work.traceparent);
    assert_eq!(work.tracestate, "vendor=1");
    let mut child = submission(2, contract("solver"));
    if let Some(request) = &mut child.request {
        request.parent_lease = work.lease.clone();
        let budget = pb::Budget { max_tokens: 1_000, ..Default::default() };
        request.contract =
            request.contract.take().map(|c| pb::Contract { budget: Some(budget), limits: None, ..c });
    }
    many.send(vec![child]).await;
    let child = accepted(&many.results(1).await[&2]).task_id.clone();
    let children = pb::ListTasksRequest { parent_task_id: parent, ..Default::default() };
    let children = stage.tasks().list_tasks(children).await.expect("it answers").into_inner().tasks;
    assert_eq!(children.iter().map(|task| &task.task_id).collect::<Vec<_>>(), [&child]);
    worker.complete(&work.lease, success("42")).await;
    many.close().await.expect("it ends without an error");
}
