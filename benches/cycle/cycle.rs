//! The full durable cycle, over real gRPC, with the client and the workers in this process.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bailiwick::pb::{
    AgentSpec, Budget, Complete, Contract, Credit, Heartbeat, Limits, Register, SessionRequest, Status,
    StatusEnvelope, SubmitTaskRequest, Termination, Usage, complete, contract, session_request,
    session_response, task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient,
};
use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::echo::now;

/// Connections of the client: at most 128 streams run on one.
const CONNECTIONS: usize = 4;
/// Workers, each on its own connection.
const WORKERS: usize = 2;
/// What a worker takes at once.
const CONCURRENCY: i32 = 256;

/// What the workers tell the client about a task.
struct Waiting {
    assigned: oneshot::Sender<Instant>,
    acknowledged: oneshot::Sender<()>,
}

/// Tasks by number; the number stands in the task's input.
type Board = Arc<Mutex<HashMap<u64, Waiting>>>;

/// A running server with workers and clients.
pub(crate) struct Bailiwick {
    running: bailiwick::app::Running,
    clients: Vec<TaskServiceClient<Channel>>,
    board: Board,
    next: Arc<std::sync::atomic::AtomicU64>,
}

/// One task to be run.
pub(crate) struct Task {
    client: TaskServiceClient<Channel>,
    board: Board,
    number: u64,
}

/// What was seen of it.
pub(crate) struct Seen {
    pub(crate) dispatch: Duration,
}

impl Bailiwick {
    pub(crate) fn start(server: &Runtime, client: &Runtime, folder: &Path) -> Self {
        let store = bailiwick::app::StoreChoice::Sqlite(folder.join("bench.db"));
        let options = bailiwick::app::AppOptions::on_loopback(store);
        let running = server.block_on(bailiwick::app::serve(options)).expect("the server starts");
        let uri = format!("http://{}", running.local_addr());
        let board = Board::default();
        let clients = client.block_on(async {
            for index in 0..WORKERS {
                start_worker(&uri, index, board.clone()).await;
            }
            let mut clients = Vec::new();
            for _ in 0..CONNECTIONS {
                clients.push(TaskServiceClient::new(connect(&uri).await));
            }
            clients
        });
        Self { running, clients, board, next: Arc::default() }
    }

    pub(crate) fn task(&self, lane: usize) -> Task {
        Task {
            client: self.clients[lane % self.clients.len()].clone(),
            board: self.board.clone(),
            number: self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        }
    }

    /// Cycles a second with `in_flight` at once.
    pub(crate) async fn rate(&self, in_flight: usize, time: Duration) -> f64 {
        let start = now();
        let end = start + time;
        let lanes: Vec<_> = (0..in_flight)
            .map(|lane| {
                let client = self.clients[lane % self.clients.len()].clone();
                let (board, next) = (self.board.clone(), self.next.clone());
                tokio::spawn(async move {
                    let mut count = 0_u32;
                    while now() < end {
                        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        Task { client: client.clone(), board: board.clone(), number }.run().await;
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut total = 0_u32;
        for lane in lanes {
            total += lane.await.expect("a lane ends by itself");
        }
        f64::from(total) / start.elapsed().as_secs_f64()
    }

    pub(crate) async fn stop(self) {
        self.running.shutdown().await;
    }
}

impl Task {
    /// Submits, and waits until the answer of its worker is acknowledged.
    pub(crate) async fn run(mut self) -> Seen {
        let (assigned, has_it) = oneshot::channel();
        let (acknowledged, is_done) = oneshot::channel();
        self.board.lock().expect("no lane panics").insert(self.number, Waiting { assigned, acknowledged });
        let request =
            SubmitTaskRequest { contract: Some(contract(self.number)), parent_lease: String::new() };
        let sent = now();
        self.client.submit_task(request).await.expect("the task is accepted");
        let at = has_it.await.expect("a worker has it");
        is_done.await.expect("its answer is acknowledged");
        Seen { dispatch: at.duration_since(sent) }
    }
}

fn contract(number: u64) -> Contract {
    let schema =
        prost_types::Struct { fields: [("type".to_owned(), string("number"))].into_iter().collect() };
    Contract {
        goal: "give the number back".to_owned(),
        input: Some(string(&number.to_string())),
        start: Some(contract::Start::FirstAgent("bench".to_owned())),
        owner: "bench".to_owned(),
        budget: Some(Budget { max_tokens: 10_000, ..Budget::default() }),
        limits: Some(Limits {
            deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..Limits::default()
        }),
        termination: Some(Termination { result_schema: Some(schema), ..Termination::default() }),
        ..Contract::default()
    }
}

fn string(text: &str) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.to_owned())) }
}

async fn connect(uri: &str) -> Channel {
    let endpoint = Endpoint::from_shared(uri.to_owned()).expect("an address makes a URI");
    endpoint.tcp_nodelay(true).connect().await.expect("the server is there")
}

async fn start_worker(uri: &str, index: usize, board: Board) {
    let mut client = WorkerServiceClient::new(connect(uri).await);
    let (up, requests) = mpsc::channel(1_024);
    let register = Register {
        worker_id: format!("bench-{index}"),
        agents: vec![AgentSpec { name: "bench".to_owned(), ..AgentSpec::default() }],
        max_concurrency: CONCURRENCY,
        ..Register::default()
    };
    let credit = Credit { slots: CONCURRENCY, agent: String::new() };
    send(&up, 1, session_request::Message::Register(register)).await;
    send(&up, 2, session_request::Message::Credit(credit)).await;
    let mut down =
        client.session(ReceiverStream::new(requests)).await.expect("the session opens").into_inner();
    let (ready, is_ready) = oneshot::channel();
    tokio::spawn(async move {
        let mut ready = Some(ready);
        let mut worker = Worker { up, board, last: 2, unacknowledged: HashMap::new() };
        let mut beat = tokio::time::interval(Duration::from_secs(2));
        loop {
            tokio::select! {
                message = down.message() => match message {
                    Ok(Some(response)) => worker.on(response.message, &mut ready).await,
                    Ok(None) | Err(_) => return,
                },
                _ = beat.tick() => worker.say(session_request::Message::Heartbeat(Heartbeat {})).await,
            }
        }
    });
    is_ready.await.expect("the worker is registered");
}

async fn send(up: &mpsc::Sender<SessionRequest>, id: i64, message: session_request::Message) {
    // The server may have gone at the end of the run; then the loop above ends.
    let _ = up.send(SessionRequest { message_id: id, message: Some(message) }).await;
}

struct Worker {
    up: mpsc::Sender<SessionRequest>,
    board: Board,
    last: i64,
    unacknowledged: HashMap<i64, oneshot::Sender<()>>,
}

impl Worker {
    async fn say(&mut self, message: session_request::Message) {
        self.last += 1;
        send(&self.up, self.last, message).await;
    }

    async fn on(
        &mut self,
        message: Option<session_response::Message>,
        ready: &mut Option<oneshot::Sender<()>>,
    ) {
        use session_response::Message;
        match message {
            Some(Message::Registered(_)) => {
                if let Some(ready) = ready.take() {
                    let _ = ready.send(());
                }
            }
            Some(Message::Assignment(assignment)) => {
                let at = now();
                let number = number_of(assignment.input.as_ref());
                let waiting = self.board.lock().expect("no lane panics").remove(&number);
                if let Some(Waiting { assigned, acknowledged }) = waiting {
                    let _ = assigned.send(at);
                    self.unacknowledged.insert(self.last + 1, acknowledged);
                }
                self.say(answer(assignment.lease, number)).await;
            }
            Some(Message::Ack(ack)) => {
                let mut slots = 0;
                for id in ack.message_ids {
                    if let Some(acknowledged) = self.unacknowledged.remove(&id) {
                        let _ = acknowledged.send(());
                        slots += 1;
                    }
                }
                if slots > 0 {
                    let credit = Credit { slots, agent: String::new() };
                    self.say(session_request::Message::Credit(credit)).await;
                }
            }
            Some(Message::Refusal(refusal)) => panic!("refused: {} {}", refusal.reason, refusal.message),
            Some(Message::Cancel(_) | Message::BudgetGrant(_) | Message::Drain(_)) | None => {}
        }
    }
}

fn number_of(input: Option<&prost_types::Value>) -> u64 {
    match input.and_then(|value| value.kind.as_ref()) {
        Some(prost_types::value::Kind::StringValue(text)) => text.parse().unwrap_or(u64::MAX),
        _ => u64::MAX,
    }
}

fn answer(lease: String, number: u64) -> session_request::Message {
    #[allow(clippy::cast_precision_loss)]
    let result = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(number as f64)) };
    let envelope = StatusEnvelope {
        status: Status::Success.into(),
        result: Some(result),
        confidence: Some(1.0),
        usage: Some(Usage { input_tokens: 10, output_tokens: 5, ..Usage::default() }),
        ..StatusEnvelope::default()
    };
    session_request::Message::Complete(Complete { lease, answer: Some(complete::Answer::Envelope(envelope)) })
}
