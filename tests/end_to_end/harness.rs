//! A real server on a loopback port, clients, and a worker that says exactly what a test tells it to.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bailiwick::{
    app::{self, AppOptions, Running, StoreChoice},
    pb::{
        self, operator_service_client::OperatorServiceClient, session_request::Message as Up,
        session_response::Message as Down, task_service_client::TaskServiceClient,
        worker_service_client::WorkerServiceClient,
    },
    runtime::{ManualClock, RuntimeOptions, SeededEntropy},
    service::server::ServerOptions,
};
use prost_types::{Struct, Value, value::Kind};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

/// After this a test has failed: nothing here takes long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub struct Stage {
    running: Running,
    pub channel: Channel,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(RuntimeOptions::default(), ServerOptions::default()).await
    }

    pub async fn with(runtime: RuntimeOptions, server: ServerOptions) -> Self {
        let grace = Duration::from_secs(10);
        let options = AppOptions { runtime, server, grace, ..AppOptions::on_loopback(StoreChoice::Memory) };
        let running = app::serve(options).await.expect("it starts");
        let url = format!("http://{}", running.local_addr());
        let channel = Endpoint::from_shared(url).expect("a URL").connect_lazy();
        Self { running, channel }
    }

    /// The same, with a clock in hand.
    pub async fn on_clock(runtime: RuntimeOptions, clock: Arc<ManualClock>) -> Self {
        let options = AppOptions { runtime, ..AppOptions::on_loopback(StoreChoice::Memory) };
        let running =
            app::serve_with(options, clock, Arc::new(SeededEntropy::new(7))).await.expect("it starts");
        let url = format!("http://{}", running.local_addr());
        let channel = Endpoint::from_shared(url).expect("a URL").connect_lazy();
        Self { running, channel }
    }

    /// Where it listens, as HOST:PORT.
    pub fn addr(&self) -> String {
        self.running.local_addr().to_string()
    }

    pub fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub fn workers(&self) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::new(self.channel.clone())
    }

    pub fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel.clone())
    }

    /// Submits, and returns the id.
    pub async fn submit(&self, contract: pb::Contract) -> String {
        self.try_submit(contract).await.expect("it is accepted").task_id
    }

    pub async fn try_submit(&self, contract: pb::Contract) -> Result<pb::SubmitTaskResponse, Status> {
        let request = pb::SubmitTaskRequest { contract: Some(contract), parent_lease: String::new() };
        self.tasks().submit_task(request).await.map(tonic::Response::into_inner)
    }

    pub async fn task(&self, task_id: &str) -> pb::Task {
        let request = pb::GetTaskRequest { task_id: task_id.to_owned() };
        self.tasks().get_task(request).await.expect("it is there").into_inner().task.expect("it is sent")
    }

    /// Every event after `after_seq`, to the end of the stream.
    pub async fn events(&self, task_id: &str, after_seq: i64) -> Vec<pb::TaskEvent> {
        let request = pb::WatchTaskRequest { task_id: task_id.to_owned(), after_seq };
        let mut stream = self.tasks().watch_task(request).await.expect("it is there").into_inner();
        let mut events = Vec::new();
        while let Some(next) = soon("the next event", stream.message()).await.expect("no error") {
            events.extend(next.event);
        }
        events
    }

    /// Waits for the outcome.
    pub async fn outcome(&self, task_id: &str) -> pb::Outcome {
        let events = self.events(task_id, 0).await;
        let ended = events.into_iter().find_map(|event| match event.event {
            Some(pb::task_event::Event::Ended(ended)) => ended.outcome,
            _ => None,
        });
        ended.expect("the task has ended")
    }

    pub async fn worker(&self, worker_id: &str, agents: &[&str]) -> Session {
        Session::open(self.workers(), worker_id, agents, Vec::new()).await
    }

    pub async fn shutdown(self) -> bool {
        soon("the shutdown", self.running.shutdown()).await.clean
    }
}

/// One worker's stream.
pub struct Session {
    up: mpsc::Sender<pb::SessionRequest>,
    down: Streaming<pb::SessionResponse>,
    /// Seen while something else was waited for.
    kept: VecDeque<Down>,
    last_id: i64,
    acked: HashSet<i64>,
    pub registered: pb::Registered,
}

impl Session {
    pub async fn open(
        mut client: WorkerServiceClient<Channel>,
        worker_id: &str,
        agents: &[&str],
        held_leases: Vec<String>,
    ) -> Self {
        let (up, requests) = mpsc::channel(64);
        let register = register(worker_id, agents, held_leases);
        let first = pb::SessionRequest { message_id: 1, message: Some(Up::Register(register)) };
        up.send(first).await.expect("the stream is open");
        let down = client.session(ReceiverStream::new(requests)).await.expect("it opens").into_inner();
        let registered = pb::Registered::default();
        let mut session =
            Self { up, down, kept: VecDeque::new(), last_id: 1, acked: HashSet::new(), registered };
        match session.next().await {
            Ok(Some(Down::Registered(registered))) => session.registered = registered,
            other => panic!("Registered comes first, not {other:?}"),
        }
        session
    }

    /// Sends under the next id.
    pub async fn send(&mut self, message: Up) -> i64 {
        self.last_id += 1;
        self.send_as(self.last_id, Some(message)).await;
        self.last_id
    }

    pub async fn send_as(&self, message_id: i64, message: Option<Up>) {
        let request = pb::SessionRequest { message_id, message };
        self.up.send(request).await.expect("the stream is open");
    }

    pub async fn credit(&mut self, slots: i32) {
        self.send(Up::Credit(pb::Credit { slots, agent: String::new() })).await;
    }

    /// The next message; `None` at the end of the stream.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        if let Some(kept) = self.kept.pop_front() {
            return Ok(Some(kept));
        }
        let next = soon("a message down", self.down.message()).await?;
        Ok(next.map(|response| response.message.expect("every message is one that is known")))
    }

    /// The next message that `pick` takes; what it does not take is kept for later.
    async fn wait<T>(&mut self, what: &str, pick: impl Fn(&Down) -> Option<T>) -> T {
        let mut passed = VecDeque::new();
        let found = loop {
            let Ok(Some(next)) = self.next().await else { panic!("the stream ended before {what}") };
            match pick(&next) {
                Some(found) => break found,
                None => passed.push_back(next),
            }
        };
        passed.append(&mut self.kept);
        self.kept = passed;
        found
    }

    pub async fn assignment(&mut self) -> pb::Assignment {
        self.wait("an assignment", |down| match down {
            Down::Assignment(assignment) => Some((**assignment).clone()),
            _ => None,
        })
        .await
    }

    pub async fn cancel(&mut self) -> pb::Cancel {
        self.wait("a cancel", |down| match down {
            Down::Cancel(cancel) => Some(cancel.clone()),
            _ => None,
        })
        .await
    }

    pub async fn grant(&mut self) -> pb::BudgetGrant {
        self.wait("a grant", |down| match down {
            Down::BudgetGrant(grant) => Some(grant.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until this message is acknowledged. One Ack may name many: those it names beside are remembered.
    pub async fn acked(&mut self, id: i64) {
        if self.acked.remove(&id) {
            return;
        }
        let ids = self
            .wait("an ack", |down| match down {
                Down::Ack(ack) if ack.message_ids.contains(&id) => Some(ack.message_ids.clone()),
                Down::Refusal(refusal) if refusal.message_id == id => panic!("refused: {refusal:?}"),
                _ => None,
            })
            .await;
        self.acked.extend(ids.into_iter().filter(|other| *other != id));
    }

    /// Waits until this message is refused.
    pub async fn refused(&mut self, id: i64) -> pb::Refusal {
        self.wait("a refusal", |down| match down {
            Down::Refusal(refusal) if refusal.message_id == id => Some(refusal.clone()),
            Down::Ack(ack) if ack.message_ids.contains(&id) => panic!("accepted: {id}"),
            _ => None,
        })
        .await
    }

    /// Answers a turn and waits until that is durable.
    pub async fn complete(&mut self, lease: &str, envelope: pb::StatusEnvelope) {
        let id = self.send(complete(lease, envelope)).await;
        self.acked(id).await;
    }

    /// Reads to the end of the stream, which must be an error.
    pub async fn ended(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream ended without a word"),
                Err(status) => return status,
            }
        }
    }
}

pub fn register(worker_id: &str, agents: &[&str], held_leases: Vec<String>) -> pb::Register {
    let spec = |name: &&str| pb::AgentSpec { name: (*name).to_owned(), ..Default::default() };
    pb::Register {
        worker_id: worker_id.to_owned(),
        agents: agents.iter().map(spec).collect(),
        max_concurrency: 64,
        held_leases,
        ..Default::default()
    }
}

pub fn complete(lease: &str, envelope: pb::StatusEnvelope) -> Up {
    let answer = Some(pb::complete::Answer::Envelope(envelope));
    Up::Complete(pb::Complete { lease: lease.to_owned(), answer })
}

pub fn usage(lease: &str, input_tokens: i64) -> Up {
    let usage = Some(pb::Usage { input_tokens, ..Default::default() });
    Up::Usage(pb::UsageReport { lease: lease.to_owned(), usage })
}

pub fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

pub fn object(fields: &[(&str, Value)]) -> Struct {
    let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Struct { fields }
}

/// A result that the contract's schema takes.
pub fn result(answer: &str) -> Value {
    Value { kind: Some(Kind::StructValue(object(&[("answer", text(answer))]))) }
}

pub fn success(answer: &str) -> pb::StatusEnvelope {
    pb::StatusEnvelope {
        status: pb::Status::Success as i32,
        result: Some(result(answer)),
        confidence: Some(0.9),
        usage: Some(pb::Usage { input_tokens: 30, output_tokens: 12, ..Default::default() }),
        ..Default::default()
    }
}

/// A complete contract: `agent` starts and owns; the result is an object with an `answer`.
pub fn contract(agent: &str) -> pb::Contract {
    let required =
        Value { kind: Some(Kind::ListValue(prost_types::ListValue { values: vec![text("answer")] })) };
    let schema = object(&[("type", text("object")), ("required", required)]);
    pb::Contract {
        goal: "find the answer".into(),
        start: Some(pb::contract::Start::FirstAgent(agent.to_owned())),
        owner: agent.to_owned(),
        budget: Some(pb::Budget { max_tokens: 10_000, ..Default::default() }),
        limits: Some(pb::Limits {
            deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..Default::default()
        }),
        termination: Some(pb::Termination { result_schema: Some(schema), ..Default::default() }),
        ..Default::default()
    }
}

/// The code and the stable reason of an error.
pub fn why(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "bailiwick.v1");
    (status.code(), info.reason)
}

/// An error must have this code and reason.
#[track_caller]
pub fn check<T: std::fmt::Debug>(outcome: Result<T, Status>, code: Code, reason: &str) -> Status {
    let status = outcome.expect_err(reason);
    assert_eq!(why(&status), (code, reason.to_owned()));
    status
}
