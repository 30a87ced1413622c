//! The crew of this binary together, in one process, on a server in memory: what happens when a specialist fails.

use std::{future::Future, net::SocketAddr, time::Duration};

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, RunError, Worker};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};
use tonic::transport::{Channel, Endpoint};

use super::{lead, planner, reviewer, structure};
use crate::{
    app::{self, AppOptions, StoreChoice, Traces},
    console::text,
    demo::{budget, files, task},
    pb::{self, operator_service_client::OperatorServiceClient, task_service_client::TaskServiceClient},
    runtime::RuntimeOptions,
    service::server::ServerOptions,
};

struct Crew {
    addr: SocketAddr,
    end: watch::Sender<bool>,
    workers: JoinSet<Result<(), RunError>>,
}

impl Crew {
    fn start<H, F>(&mut self, agent: &str, handler: H)
    where
        H: Fn(Context) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Answer, HandlerError>> + Send + 'static,
    {
        let spec = AgentSpec { name: agent.to_owned(), ..AgentSpec::default() };
        let worker = Worker::new(self.addr.to_string()).worker_id(agent).agent(spec, handler);
        let mut end = self.end.subscribe();
        self.workers.spawn(worker.run_until(async move {
            let _ = end.wait_for(|end| *end).await;
        }));
    }
}

async fn channel(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
    endpoint.connect().await.expect("the server is there")
}

async fn wait_for(addr: SocketAddr, workers: usize) {
    let mut operator = OperatorServiceClient::new(channel(addr).await);
    let there = async {
        loop {
            let answer = operator.list_workers(pb::ListWorkersRequest {}).await.expect("it answers");
            if answer.into_inner().workers.len() == workers {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), there).await.expect("the workers come up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_specialist_that_fails_is_named_and_the_rest_is_reviewed_after_one_re_plan() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    std::fs::write(folder.path().join("a.rs"), "fn main() {}\n").expect("files");
    let root = folder.path().canonicalize().expect("it exists");
    let running = app::serve(AppOptions {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        store: StoreChoice::Memory,
        runtime: RuntimeOptions::default(),
        server: ServerOptions::default(),
        traces: Traces::Off,
        webhooks: crate::notify::Webhooks::default(),
        metrics: None,
        grace: Duration::from_secs(5),
    })
    .await
    .expect("it starts");
    let addr = running.local_addr();
    let mut crew = Crew { addr, end: watch::Sender::new(false), workers: JoinSet::new() };
    crew.start("planner", planner::handle);
    crew.start("reviewer", reviewer::handle);
    crew.start("lead", lead::handle);
    crew.start("structure", structure::handle);
    crew.start("broken", |_| async { Err(HandlerError::failed("the analysis cannot be done")) });
    wait_for(addr, 5).await;

    let listing = files::list(&root);
    let input = json!({"root": root.to_string_lossy(), "specialists": ["structure", "broken"]});
    let mut contract = task::contract("Audit.", "planner", &input, budget::whole(&listing, 2));
    if let Some(budget) = &mut contract.budget {
        budget.max_tokens_per_turn = budget::per_turn(&listing, 2);
    }
    let mut tasks = TaskServiceClient::new(channel(addr).await);
    let request = pb::SubmitTaskRequest { contract: Some(contract), parent_lease: String::new() };
    let task_id = tasks.submit_task(request).await.expect("a good contract").into_inner().task_id;
    let watch = pb::WatchTaskRequest { task_id: task_id.clone(), after_seq: 0 };
    let mut events = tasks.watch_task(watch).await.expect("it is watched").into_inner();
    while events.message().await.expect("the stream holds").is_some() {}
    let got = tasks.get_task(pb::GetTaskRequest { task_id }).await.expect("it is there").into_inner();
    let task = got.task.expect("a task");
    let outcome = task.outcome.expect("it has ended");
    let result = outcome.result.as_ref().map(text::json).unwrap_or_default();
    assert_eq!(outcome.state(), pb::TaskState::Succeeded, "{outcome:?}");
    assert_eq!(task.summary.and_then(|s| s.counters).map(|c| (c.rounds, c.replans)), Some((1, 1)));
    assert_eq!(result["silent"][0]["agent"], "broken", "{result}");
    assert_eq!(result["review"]["verified"], 2, "{result}");

    crew.end.send_replace(true);
    while let Some(ended) = crew.workers.join_next().await {
        ended.expect("no worker panics").expect("every worker drains");
    }
    running.shutdown().await;
}
