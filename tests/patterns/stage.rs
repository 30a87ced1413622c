//! A server on a loopback port with the crew of the patterns, and one contract played from its file to its outcome.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use bailiwick::{
    app::{self, AppOptions, Running, StoreChoice},
    cli::contract_file,
    pb::{self, task_event::Event, task_service_client::TaskServiceClient},
};
use bailiwick_worker::Worker;
use serde_json::Value;
use tokio::{process::Child, sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

/// After this a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the examples are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workers-examples/patterns")
}

/// The crew, however it is written.
enum Crew {
    Rust { stop: oneshot::Sender<()>, task: JoinHandle<Result<(), bailiwick_worker::RunError>> },
    Python(Child),
}

/// A server and its crew.
pub struct Stage {
    running: Running,
    tasks: TaskServiceClient<Channel>,
    crew: Crew,
}

/// How a task went.
#[derive(Debug)]
pub struct Played {
    /// "STATE by WHO for CAUSE".
    pub ended: String,
    pub result: Value,
    /// Who had each turn, in order.
    pub agents: Vec<String>,
    /// "id: END", with "?" where the plan went on without it.
    pub step_ends: Vec<String>,
    pub hops: i32,
    pub replans: i32,
    pub rounds: i32,
    pub turns: i32,
}

async fn server() -> (Running, TaskServiceClient<Channel>) {
    let grace = Duration::from_secs(10);
    let options = AppOptions { grace, ..AppOptions::on_loopback(StoreChoice::Memory) };
    let running = app::serve(options).await.expect("it starts");
    let url = format!("http://{}", running.local_addr());
    let channel = Endpoint::from_shared(url).expect("a URL").connect_lazy();
    (running, TaskServiceClient::new(channel))
}

impl Stage {
    pub async fn with_rust() -> Self {
        let (running, tasks) = server().await;
        let crew = bailiwick_patterns::crew(Worker::new(running.local_addr().to_string()));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(crew.run_until(async { drop(stopped.await) }));
        Self { running, tasks, crew: Crew::Rust { stop, task } }
    }

    /// The Python crew, or why there is none.
    pub async fn with_python() -> Result<Self, String> {
        let python = folder().join("../python/.venv/bin/python");
        if !python.exists() {
            return Err("the Python worker is not set up: workers-examples/python/run --setup".to_owned());
        }
        let (running, tasks) = server().await;
        let child = tokio::process::Command::new(folder().join("run"))
            .arg("python")
            .env("BAILIWICK_ADDR", running.local_addr().to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        Ok(Self { running, tasks, crew: Crew::Python(child) })
    }

    pub async fn play(&self, file: &str) -> Played {
        self.play_with(file, ToOwned::to_owned).await
    }

    /// Plays a contract after a change of its text.
    pub async fn play_with(&self, file: &str, change: impl FnOnce(&str) -> String) -> Played {
        let text = std::fs::read_to_string(folder().join(file)).expect("the contract is there");
        let contract = contract_file::parse(file, &change(&text)).expect("it reads");
        timeout(PATIENCE, self.follow(contract)).await.unwrap_or_else(|_| panic!("{file} does not end"))
    }

    async fn follow(&self, contract: pb::Contract) -> Played {
        let task_id = self.submit(contract).await;
        let request = pb::WatchTaskRequest { task_id: task_id.clone(), after_seq: 0 };
        let mut stream = self.tasks.clone().watch_task(request).await.expect("it is there").into_inner();
        let (mut agents, mut step_ends) = (Vec::new(), Vec::new());
        while let Some(next) = stream.message().await.expect("no error") {
            match next.event.and_then(|event| event.event) {
                Some(Event::TurnOpened(it)) => agents.push(it.agent),
                Some(Event::StepEnded(it)) => {
                    let end = it.end().as_str_name().trim_start_matches("STEP_END_");
                    let optional = if it.optional { "?" } else { "" };
                    step_ends.push(format!("{}: {end}{optional}", it.step_id));
                }
                _ => {}
            }
        }
        let request = pb::GetTaskRequest { task_id };
        let task = self.tasks.clone().get_task(request).await.expect("it is there").into_inner().task;
        let task = task.expect("it is sent");
        let outcome = task.outcome.expect("it has ended");
        let counters = task.summary.and_then(|summary| summary.counters).expect("it is sent");
        let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_owned();
        Played {
            ended: format!(
                "{} by {} for {}",
                word(outcome.state().as_str_name(), "TASK_STATE_"),
                word(outcome.ended_by().as_str_name(), "ENDED_BY_"),
                word(outcome.cause().as_str_name(), "CAUSE_"),
            ),
            result: outcome.result.as_ref().map(bailiwick_worker::to_json).unwrap_or_default(),
            agents,
            step_ends,
            hops: counters.hops,
            replans: counters.replans,
            rounds: counters.rounds,
            turns: counters.turns,
        }
    }

    /// Submits; until the crew has registered, its agents are not known.
    async fn submit(&self, contract: pb::Contract) -> String {
        loop {
            let request = pb::SubmitTaskRequest { contract: Some(contract.clone()) };
            match self.tasks.clone().submit_task(request).await {
                Ok(answer) => return answer.into_inner().task_id,
                Err(status) if status.message().contains("no worker has ever served") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(status) => {
                    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    pub async fn stop(self) {
        match self.crew {
            Crew::Rust { stop, task } => {
                stop.send(()).expect("the crew is there");
                task.await.expect("it does not panic").expect("it drains");
            }
            Crew::Python(mut child) => {
                child.kill().await.expect("it can be stopped");
            }
        }
        assert!(self.running.shutdown().await.clean);
    }
}
