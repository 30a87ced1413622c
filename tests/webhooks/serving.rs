//! Webhooks of a whole server: from a worker's question to the sink, over a restart, and refused at the start where they
//! cannot be sent.

use std::{path::Path, time::Duration};

use bailiwick::{
    app::{self, AppOptions, Running, StoreChoice},
    notify::{Webhooks, schedule::Schedule, settings},
    pb::{self, operator_service_client::OperatorServiceClient, task_service_client::TaskServiceClient},
};
use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker};
use prost_types::{Struct, Value, value::Kind};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::transport::{Channel, Endpoint};

use crate::{receiver::Receiver, server::Server};

const EVENTS: &str = "[\"escalation_asked\", \"escalation_ended\", \"dead_letter\", \"task_unsuccessful\"]";

pub fn webhooks(folder: &Path, sinks: &[(&str, &Receiver)]) -> Webhooks {
    let text: String = sinks
        .iter()
        .map(|(name, receiver)| {
            format!(
                "[{name}]\nurl = {:?}\nsecret_env = \"S\"\nevents = {EVENTS}\n",
                receiver.url("/secret-path")
            )
        })
        .collect();
    let file = folder.join("webhooks.toml");
    std::fs::write(&file, text).expect("written");
    let sinks = settings::read(&file, |_| Some("a-secret-for-the-tests".to_owned())).expect("good sinks");
    let wait = Duration::from_millis(20);
    Webhooks { sinks, schedule: Schedule { first: wait, longest: wait, longest_asked: wait }, roots: None }
}

/// A server on a database in a folder, with a worker of the agent `asker`.
pub struct Stage {
    host: Host,
    addr: String,
    channel: Channel,
    end: oneshot::Sender<()>,
    worker: JoinHandle<()>,
}

enum Host {
    /// In this process.
    Here(Box<Running>),
    /// In one of its own, that can be killed.
    Process(Server),
}

/// Asks a person, and is done when told to go on.
async fn ask(context: Context) -> Result<Answer, HandlerError> {
    let answer = Answer::success(serde_json::json!({})).confidence(1.0);
    let asked = !context.assignment().notes.is_empty();
    Ok(if asked { answer } else { answer.ask_human("May I?") })
}

impl Stage {
    pub async fn start(folder: &Path, webhooks: Webhooks) -> Self {
        let store = StoreChoice::Sqlite(folder.join("test.db"));
        let running = app::serve(AppOptions { webhooks, ..AppOptions::on_loopback(store) }).await;
        let running = running.expect("it starts");
        let addr = running.local_addr().to_string();
        Self::with(Host::Here(Box::new(running)), addr).await
    }

    /// The real program, with the webhooks of the file `webhooks.toml` in the folder.
    async fn process(folder: &Path) -> Self {
        let environment =
            [("BAILIWICK_WEBHOOKS", "webhooks.toml"), ("BAILIWICK_WEBHOOK_S", "a-secret-for-the-tests")];
        let server = Server::start_with(folder, None, &environment).await;
        let addr = format!("127.0.0.1:{}", server.port());
        Self::with(Host::Process(server), addr).await
    }

    async fn with(host: Host, addr: String) -> Self {
        let channel = Endpoint::from_shared(format!("http://{addr}")).expect("a URL").connect_lazy();
        let (end, ended) = oneshot::channel();
        let spec = AgentSpec { name: "asker".to_owned(), ..AgentSpec::default() };
        let worker = Worker::new(&addr).agent(spec, ask).drain_limit(Duration::from_secs(5));
        let worker = tokio::spawn(async move {
            worker.run_until(async { drop(ended.await) }).await.expect("the worker ends well");
        });
        let stage = Self { host, addr, channel, end, worker };
        let workers = || async {
            let listed = stage.operator().list_workers(pb::ListWorkersRequest {}).await;
            listed.expect("it answers").into_inner().workers
        };
        while workers().await.is_empty() {
            tokio::task::yield_now().await;
        }
        stage
    }

    pub fn addr(&self) -> &str {
        &self.addr
    }

    pub fn operator(&self) -> OperatorServiceClient<Channel> {
        OperatorServiceClient::new(self.channel.clone())
    }

    async fn submit(&self) -> String {
        let kind = Value { kind: Some(Kind::StringValue("object".to_owned())) };
        let schema = Struct { fields: [("type".to_owned(), kind)].into() };
        let contract = pb::Contract {
            goal: "find out whether it may be deleted".to_owned(),
            start: Some(pb::contract::Start::FirstAgent("asker".to_owned())),
            owner: "asker".to_owned(),
            budget: Some(pb::Budget { max_tokens: 10_000, ..pb::Budget::default() }),
            limits: Some(pb::Limits {
                deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
                ..pb::Limits::default()
            }),
            termination: Some(pb::Termination { result_schema: Some(schema), ..pb::Termination::default() }),
            labels: [("team".to_owned(), "search".to_owned())].into(),
            ..pb::Contract::default()
        };
        let request = pb::SubmitTaskRequest { contract: Some(contract) };
        let mut tasks = TaskServiceClient::new(self.channel.clone());
        tasks.submit_task(request).await.expect("it is accepted").into_inner().task_id
    }

    pub async fn answer(&self, escalation_id: &str, answer: pb::Answer) {
        let request = pb::AnswerEscalationRequest {
            escalation_id: escalation_id.to_owned(),
            answer: answer.into(),
            answered_by: "ann".to_owned(),
            note: "well".to_owned(),
            ..pb::AnswerEscalationRequest::default()
        };
        self.operator().answer_escalation(request).await.expect("it is open");
    }

    async fn webhooks(&self) -> Vec<pb::Webhook> {
        let answer = self.operator().list_webhooks(pb::ListWebhooksRequest {}).await;
        answer.expect("it answers").into_inner().webhooks
    }

    pub async fn stop(self) {
        let Self { host, end, worker, .. } = self;
        let _ = end.send(());
        worker.await.expect("the worker does not panic");
        match host {
            Host::Here(running) => assert!(running.shutdown().await.clean),
            Host::Process(server) => server.stop().await,
        }
    }

    /// `kill -9`, where it is a process of its own.
    async fn kill(self) {
        self.worker.abort();
        if let Host::Process(server) = self.host {
            server.kill_and_wait().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_reaches_the_sink_and_so_does_its_answer() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::new().await);
    let stage = Stage::start(folder.path(), webhooks(folder.path(), &[("chat", &receiver)])).await;
    let task_id = stage.submit().await;
    let asked = receiver.after(1).await.remove(0).json();
    assert_eq!(asked["kind"], "escalation_asked");
    assert_eq!(asked["task"]["id"], task_id.as_str());
    assert_eq!(asked["task"]["goal"], "find out whether it may be deleted");
    assert_eq!(asked["task"]["labels"]["team"], "search");
    assert_eq!(asked["escalation"]["default_answer"], "PARTIAL");
    let escalation_id = asked["escalation"]["id"].as_str().expect("an id");
    stage.answer(escalation_id, pb::Answer::Abort).await;
    let received = receiver.after(3).await;
    let kinds: Vec<String> = received.iter().map(|one| one.kind()).collect();
    assert_eq!(kinds, ["escalation_asked", "escalation_ended", "task_unsuccessful"]);
    let ended = received[1].json();
    assert_eq!(ended["escalation"]["question"], "May I?");
    assert_eq!(
        ended["escalation"]["end"],
        serde_json::json!({"state": "ABORTED", "by": "ann", "note": "well"})
    );
    assert_eq!(received[2].json()["outcome"]["state"], "FAILED");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_between_failure_and_delivery_loses_nothing() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::new().await);
    let sinks = || webhooks(folder.path(), &[("chat", &receiver)]);
    let stage = Stage::start(folder.path(), sinks()).await;
    receiver.fail();
    let task_id = stage.submit().await;
    let failed = receiver.after(3).await.remove(0);
    let webhook = stage.webhooks().await.remove(0);
    assert!(!webhook.place.contains("secret-path"), "{webhook:?}");
    let failing = webhook.failing.expect("it fails");
    assert_eq!(failing.event_id, failed.event_id());
    assert!(failing.tries >= 2 && failing.error.contains("503"), "{failing:?}");
    stage.stop().await;

    receiver.recover();
    let stage = Stage::start(folder.path(), sinks()).await;
    let delivered = receiver.find(|one| one.status == 200).await;
    assert_eq!((delivered.event_id(), &delivered.body), (failed.event_id(), &failed.body));
    assert_eq!(delivered.json()["task"]["id"], task_id.as_str());
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_failure_and_delivery_loses_nothing() {
    let (folder, receiver) = (tempfile::tempdir().expect("a folder"), Receiver::new().await);
    let text = format!("[chat]\nurl = {:?}\nsecret_env = \"BAILIWICK_WEBHOOK_S\"\n", receiver.url("/"));
    std::fs::write(folder.path().join("webhooks.toml"), text).expect("written");
    let stage = Stage::process(folder.path()).await;
    receiver.fail();
    stage.submit().await;
    let failed = receiver.after(1).await.remove(0);
    stage.kill().await;

    receiver.recover();
    let stage = Stage::process(folder.path()).await;
    let delivered = receiver.find(|one| one.status == 200).await;
    assert_eq!((delivered.event_id(), delivered.body), (failed.event_id(), failed.body));
    stage.stop().await;
}

#[tokio::test]
async fn webhooks_that_cannot_be_sent_stop_the_start_and_name_the_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("hooks.toml");
    std::fs::write(&file, "[pager]\nurl = \"https://pager.example\"\nsecret_env = \"NOT_SET_AT_ALL\"\n")
        .expect("written");
    let (code, said) = Server::refused(folder.path(), &["--webhooks", "hooks.toml"]).await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("hooks.toml: [pager] secret_env NOT_SET_AT_ALL is not set"), "{said}");
}
