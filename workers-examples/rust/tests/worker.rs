//! The library against a small server of its own: what the conformance suite cannot ask of every worker.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{fs, net::SocketAddr, pin::Pin, time::Duration};

use bailiwick_worker::{
    AgentSpec, Answer, Context, HandlerError, RunError, Worker, from_json,
    pb::{
        self, complete, session_request::Message as Up, session_response::Message as Down,
        worker_service_server as server,
    },
    to_json,
};
use tokio::{net::TcpListener, sync::mpsc, sync::oneshot};
use tokio_stream::{
    Stream,
    wrappers::{ReceiverStream, TcpListenerStream},
};
use tonic::{Request, Response, Status, Streaming};

/// Assigns one input as soon as a worker has registered, acknowledges everything, and hands each message on.
struct OneTurn {
    agent: &'static str,
    input: serde_json::Value,
    allowance: i64,
    max_message: i64,
    seen: mpsc::Sender<Up>,
}

/// Of the calls, this test serves only the stream.
fn no_call<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not in this test"))
}

#[tonic::async_trait]
impl server::WorkerService for OneTurn {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<pb::SessionResponse, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (down, out) = mpsc::channel(64);
        let (seen, mut up) = (self.seen.clone(), request.into_inner());
        let registered = pb::Registered { max_message_bytes: self.max_message, ..Default::default() };
        let assignment = pb::Assignment {
            lease: "lease".into(),
            agent: self.agent.into(),
            input: Some(from_json(self.input.clone())),
            allowance_tokens: self.allowance,
            ..Default::default()
        };
        tokio::spawn(async move {
            while let Ok(Some(request)) = up.message().await {
                let Some(message) = request.message else { continue };
                let answers = match &message {
                    Up::Register(_) => {
                        vec![Down::Registered(registered.clone()), Down::Assignment(assignment.clone())]
                    }
                    Up::BudgetRequest(_) => vec![Down::BudgetGrant(pb::BudgetGrant {
                        lease: "lease".into(),
                        message_id: request.message_id,
                        ..Default::default()
                    })],
                    _ => vec![Down::Ack(pb::Ack { message_ids: vec![request.message_id] })],
                };
                for answer in answers {
                    let _ = down.send(Ok(pb::SessionResponse { message: Some(answer) })).await;
                }
                let _ = seen.send(message).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(out))))
    }

    async fn register(
        &self,
        _: Request<pb::RegisterRequest>,
    ) -> Result<Response<pb::RegisterResponse>, Status> {
        no_call()
    }

    async fn poll(&self, _: Request<pb::PollRequest>) -> Result<Response<pb::PollResponse>, Status> {
        no_call()
    }

    async fn report_progress(
        &self,
        _: Request<pb::ReportProgressRequest>,
    ) -> Result<Response<pb::ReportProgressResponse>, Status> {
        no_call()
    }

    async fn report_usage(
        &self,
        _: Request<pb::ReportUsageRequest>,
    ) -> Result<Response<pb::ReportUsageResponse>, Status> {
        no_call()
    }

    async fn request_budget(
        &self,
        _: Request<pb::RequestBudgetRequest>,
    ) -> Result<Response<pb::RequestBudgetResponse>, Status> {
        no_call()
    }

    async fn complete_turn(
        &self,
        _: Request<pb::CompleteTurnRequest>,
    ) -> Result<Response<pb::CompleteTurnResponse>, Status> {
        no_call()
    }

    async fn get_lineage(
        &self,
        _: Request<pb::GetLineageRequest>,
    ) -> Result<Response<pb::GetLineageResponse>, Status> {
        no_call()
    }

    async fn drain_session(
        &self,
        _: Request<pb::DrainSessionRequest>,
    ) -> Result<Response<pb::DrainSessionResponse>, Status> {
        no_call()
    }
}

/// Serves one turn to whoever comes.
async fn serve(
    agent: &'static str,
    input: serde_json::Value,
    allowance: i64,
    max_message: i64,
) -> (SocketAddr, mpsc::Receiver<Up>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, messages) = mpsc::channel(1_024);
    let service = server::WorkerServiceServer::new(OneTurn { agent, input, allowance, max_message, seen });
    let router = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    (address, messages)
}

/// The envelope of the first answer.
async fn envelope(messages: &mut mpsc::Receiver<Up>) -> pb::StatusEnvelope {
    loop {
        if let Up::Complete(done) = messages.recv().await.unwrap() {
            let Some(complete::Answer::Envelope(envelope)) = done.answer else { panic!("no envelope") };
            return envelope;
        }
    }
}

/// One turn of `handler`; then the worker drains.
async fn turn<F>(max_message: i64, handler: fn(Context) -> F) -> pb::StatusEnvelope
where
    F: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
{
    let (address, mut messages) = serve("tester", serde_json::Value::Null, 100, max_message).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let spec = AgentSpec { name: "tester".into(), ..Default::default() };
    let worker = Worker::new(address.to_string()).agent(spec, handler);
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));
    let envelope = envelope(&mut messages).await;
    stop.send(()).unwrap();
    worker.await.unwrap().unwrap();
    envelope
}

#[tokio::test]
async fn a_panic_fails_its_turn_and_nothing_else() {
    async fn panics(ctx: Context) -> Result<Answer, HandlerError> {
        ctx.usage(7, 0).await;
        panic!("the floor gave way");
    }
    let envelope = turn(0, panics).await;
    assert_eq!(envelope.status(), pb::Status::Failed);
    assert_eq!(envelope.reason, "panic: the floor gave way");
    assert_eq!(envelope.usage.unwrap().input_tokens, 7);
}

#[tokio::test]
async fn an_answer_larger_than_the_server_takes_fails_with_the_sizes() {
    async fn verbose(_: Context) -> Result<Answer, HandlerError> {
        Ok(Answer::success("x".repeat(5_000).into()))
    }
    let envelope = turn(4_000, verbose).await;
    assert_eq!(envelope.status(), pb::Status::Failed);
    assert!(envelope.reason.contains("the server 4000"), "{}", envelope.reason);
}

#[tokio::test]
async fn any_error_fails_the_turn_with_its_type() {
    async fn fails(_: Context) -> Result<Answer, HandlerError> {
        Ok(Answer::success(std::fs::read_to_string("/no/such/file")?.into()))
    }
    let envelope = turn(0, fails).await;
    assert_eq!(envelope.status(), pb::Status::Failed);
    assert!(envelope.reason.starts_with("Error: No such file"), "{}", envelope.reason);
}

#[tokio::test]
async fn a_drain_that_takes_too_long_says_what_it_leaves() {
    async fn stuck(ctx: Context) -> Result<Answer, HandlerError> {
        ctx.progress("started").await;
        std::future::pending().await
    }
    let (address, mut messages) = serve("tester", serde_json::Value::Null, 100, 0).await;
    let spec = AgentSpec { name: "tester".into(), ..Default::default() };
    let worker = Worker::new(address.to_string()).agent(spec, stuck).drain_limit(Duration::from_millis(50));
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run_until(async { drop(stopped.await) }));
    while !matches!(messages.recv().await.unwrap(), Up::Progress(_)) {}
    stop.send(()).unwrap();
    assert!(matches!(worker.await.unwrap(), Err(RunError::DrainTimedOut { unfinished: 1 })));
}

#[tokio::test]
async fn the_example_finds_unfinished_work_and_never_leaves_its_root() {
    let outside = tempfile::tempdir().unwrap();
    let root = outside.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(outside.path().join("secret.txt"), "TODO: not yours\n").unwrap();
    fs::write(root.join("a.rs"), "fn a() {\n    // FIXME later\n}\n").unwrap();
    fs::write(root.join("b.rs"), "fn b() {}\n").unwrap();
    let input = serde_json::json!({"root": root, "files": ["a.rs", "b.rs", "gone.rs", "../secret.txt"]});

    let whole = example(input.clone(), 10_000).await;
    assert_eq!(whole.status(), pb::Status::Success);
    let result = to_json(&whole.result.unwrap());
    assert_eq!(result["facts"], serde_json::json!({"files": 2, "marks": 1}));
    assert_eq!(result["findings"][0]["path"], "a.rs");
    assert_eq!(result["findings"][0]["line"], 2);
    assert_eq!(result["findings"][0]["text"], "// FIXME later");

    // Nothing more is granted, so it answers with what it has.
    let part = example(input, 1).await;
    assert_eq!(part.status(), pb::Status::Partial);
    assert_eq!(to_json(&part.result.unwrap())["facts"]["files"], 0);
}

async fn example(input: serde_json::Value, allowance: i64) -> pb::StatusEnvelope {
    let (address, mut messages) = serve("unfinished", input, allowance, 0).await;
    let mut worker = tokio::process::Command::new(env!("CARGO_BIN_EXE_bailiwick-worker-example"))
        .env("BAILIWICK_ADDR", address.to_string())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let envelope = envelope(&mut messages).await;
    worker.kill().await.unwrap();
    envelope
}
