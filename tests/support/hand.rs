//! What tests of a real server process share: its clients, a contract, and a worker that does what the test says and
//! nothing by itself.

#![allow(dead_code, unreachable_pub)] // Each test file uses its own part of this module.

use std::{path::Path, time::Duration};

use bailiwick::pb::{
    AgentSpec, Assignment, Budget, Complete, CompleteTurnRequest, CompleteTurnResponse, Contract,
    GetTaskRequest, Limits, PollRequest, Register, RegisterRequest, Status, StatusEnvelope,
    SubmitTaskRequest, SubmitTaskResponse, Task, TaskEvent, TaskState, Termination, Usage, WatchTaskRequest,
    complete, contract, operator_service_client::OperatorServiceClient, session_response,
    task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient,
};
use prost_types::{Struct, Value, value::Kind};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::server::Server;

/// After this a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// A server process with its folder; restarted on the same port and database.
pub struct World {
    folder: TempDir,
    environment: Vec<(String, String)>,
    server: Option<Server>,
    port: u16,
    channel: Channel,
}

impl World {
    pub async fn new() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(environment: &[(&str, &str)]) -> Self {
        Self::on(tempfile::tempdir().expect("a temporary folder"), environment).await
    }

    /// In a folder of the test's.
    pub async fn on(folder: TempDir, environment: &[(&str, &str)]) -> Self {
        let server = Server::start_with(folder.path(), None, environment).await;
        let environment = environment.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        let (port, channel) = (server.port(), channel(&server));
        Self { folder, environment, server: Some(server), port, channel }
    }

    /// `kill -9`; nothing runs afterwards.
    pub async fn kill(&mut self) {
        self.take().kill_and_wait().await;
    }

    /// Starts again, on the same port and database.
    pub async fn start(&mut self) {
        let environment: Vec<(&str, &str)> =
            self.environment.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let server = Server::start_with(self.folder.path(), Some(self.port), &environment).await;
        self.channel = channel(&server);
        self.server = Some(server);
    }

    /// `kill -9`, then a start.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start().await;
    }

    /// The process, to end it in another way.
    pub fn take(&mut self) -> Server {
        self.server.take().expect("a server runs")
    }

    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("a server runs")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Submits once its agents are known: their workers may still be on their way.
    pub async fn submit_when_known(&self, contract: Contract) -> String {
        let known = async {
            loop {
                match self.try_submit(contract.clone()).await {
                    Ok(response) => return response.task_id,
                    Err(status) => assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}"),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("the agents to be known", known).await
    }

    /// The folder, with what the server has left in it.
    pub fn into_folder(self) -> TempDir {
        self.folder
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn tasks(&self) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.channel.clone())
    }

    pub fn workers(&self) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::new(self.channel.clone())
    }

    pub fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel.clone())
    }

    pub async fn try_submit(&self, contract: Contract) -> Result<SubmitTaskResponse, tonic::Status> {
        let request = SubmitTaskRequest { contract: Some(contract), parent_lease: String::new() };
        self.tasks().submit_task(request).await.map(tonic::Response::into_inner)
    }

    pub async fn submit(&self, contract: Contract) -> String {
        self.try_submit(contract).await.expect("it is accepted").task_id
    }

    pub async fn task(&self, id: &str) -> Task {
        let request = GetTaskRequest { task_id: id.to_owned() };
        let response = self.tasks().get_task(request).await.expect("the task is there");
        response.into_inner().task.expect("it is sent")
    }

    /// How the task stands.
    pub async fn state(&self, id: &str) -> TaskState {
        state_of(&self.task(id).await)
    }

    /// The events after a cursor, up to `count` of them or to the task's end.
    pub async fn events(&self, id: &str, after_seq: i64, count: usize) -> Vec<TaskEvent> {
        let request = WatchTaskRequest { task_id: id.to_owned(), after_seq };
        let mut stream = self.tasks().watch_task(request).await.expect("it can be watched").into_inner();
        let mut events = Vec::new();
        while events.len() < count {
            let Some(response) = soon("an event", stream.message()).await.expect("the watch goes on") else {
                break;
            };
            events.extend(response.event);
        }
        events
    }

    /// Waits until the task has ended.
    pub async fn ended(&self, id: &str) -> Task {
        self.events(id, 0, usize::MAX).await;
        self.task(id).await
    }

    /// Registers a worker of these agents that holds these leases; with it, those that are still live.
    pub async fn hand(&self, id: &str, agents: &[&str], held: &[&str]) -> (Hand, Vec<String>) {
        let spec = |name: &&str| AgentSpec { name: (*name).to_owned(), ..AgentSpec::default() };
        let register = register(id, agents.iter().map(spec).collect(), held);
        let mut client = self.workers();
        let answer = client.register(RegisterRequest { register: Some(register) }).await;
        let registered = answer.expect("it registers").into_inner().registered.expect("it is sent");
        (Hand { client, session: registered.session_id }, registered.live_leases)
    }
}

/// How a task stands.
pub fn state_of(task: &Task) -> TaskState {
    task.summary.as_ref().expect("it is sent").state()
}

fn channel(server: &Server) -> Channel {
    Endpoint::from_shared(server.uri()).expect("a URI").connect_lazy()
}

pub fn register(id: &str, agents: Vec<AgentSpec>, held: &[&str]) -> Register {
    Register {
        worker_id: id.to_owned(),
        agents,
        max_concurrency: 16,
        held_leases: held.iter().map(|lease| (*lease).to_owned()).collect(),
        ..Register::default()
    }
}

/// A worker without a stream.
pub struct Hand {
    pub client: WorkerServiceClient<Channel>,
    session: String,
}

impl Hand {
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Asks for one assignment and waits for it.
    pub async fn next(&mut self) -> Assignment {
        let mut credit = 1;
        let asking = async {
            loop {
                let wait = Some(prost_types::Duration { seconds: 1, nanos: 0 });
                let session_id = self.session.clone();
                let request = PollRequest { session_id, credit, wait, ..PollRequest::default() };
                let response = self.client.poll(request).await.expect("the session is open").into_inner();
                credit = 0;
                for message in response.messages {
                    if let Some(session_response::Message::Assignment(assignment)) = message.message {
                        return *assignment;
                    }
                }
            }
        };
        soon("an assignment", asking).await
    }

    pub async fn answer(
        &mut self,
        lease: &str,
        envelope: StatusEnvelope,
    ) -> Result<CompleteTurnResponse, tonic::Status> {
        let answer = Some(complete::Answer::Envelope(envelope));
        let complete = Some(Complete { lease: lease.to_owned(), answer });
        self.client.complete_turn(CompleteTurnRequest { complete }).await.map(tonic::Response::into_inner)
    }
}

pub const fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

pub const fn number(number: f64) -> Option<Value> {
    Some(Value { kind: Some(Kind::NumberValue(number)) })
}

/// Ten minutes and 100,000 tokens for a number, `first` first, owned by `boss`.
pub fn contract(first: &str) -> Contract {
    let text = Value { kind: Some(Kind::StringValue("number".to_owned())) };
    let schema = Struct { fields: [("type".to_owned(), text)].into_iter().collect() };
    Contract {
        goal: "outlive the server".to_owned(),
        start: Some(contract::Start::FirstAgent(first.to_owned())),
        owner: "boss".to_owned(),
        budget: Some(Budget { max_tokens: 100_000, max_tokens_per_turn: 1_000, ..Budget::default() }),
        limits: Some(Limits { deadline: seconds(600), ..Limits::default() }),
        termination: Some(Termination { result_schema: Some(schema), ..Termination::default() }),
        ..Contract::default()
    }
}

/// A success that used this many tokens.
pub fn success(tokens: i64) -> StatusEnvelope {
    StatusEnvelope {
        status: Status::Success.into(),
        result: number(1.0),
        confidence: Some(1.0),
        usage: usage(tokens),
        ..StatusEnvelope::default()
    }
}

pub fn usage(tokens: i64) -> Option<Usage> {
    Some(Usage { input_tokens: tokens, ..Usage::default() })
}
