//! Workers on the Rust worker library: in this process, or in one of their own, which is this test binary once more.

use std::{process::Stdio, time::Duration};

use bailiwick_worker::{AgentSpec, Answer, Context, HandlerError, Worker};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// What tells a copy of this binary that it is a worker: "URI ID PACE".
const VARIABLE: &str = "BAILIWICK_FAULTS_WORKER";

/// How long a slow turn takes: longer than the tests freeze a process for.
const SLOW: Duration = Duration::from_secs(5);

/// Workers for `solo` and `boss`, until they are aborted.
pub(crate) async fn work(uri: String, id: String, pace: Duration) {
    let handler = move |context: Context| async move { answer(context, pace).await };
    let spec = |name: &str| AgentSpec { name: name.to_owned(), ..AgentSpec::default() };
    let worker = Worker::new(uri).worker_id(id).concurrency(8);
    let run = worker.agent(spec("solo"), handler).agent(spec("boss"), handler).run().await;
    run.expect("a worker goes on over every fault of the network");
}

async fn answer(context: Context, pace: Duration) -> Result<Answer, HandlerError> {
    tokio::time::sleep(pace).await;
    context.usage(10, 0).await;
    Ok(Answer::success(serde_json::json!(1)).confidence(1.0))
}

/// A worker in a process of its own.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it and waits until it runs.
    pub(crate) async fn start(uri: &str, id: &str, pace: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "crew::a_worker_in_a_process_of_its_own", "--nocapture", "--ignored"])
            .env(VARIABLE, format!("{uri} {id} {pace}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("this binary starts once more");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        while let Some(line) = lines.next_line().await.expect("stdout is text") {
            if line.contains("the worker runs") {
                return Self(child);
            }
        }
        panic!("the worker's process ended")
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id().expect("it runs")
    }

    pub(crate) async fn kill(&mut self) {
        self.0.kill().await.expect("it can be killed");
    }
}

/// Not a test: what `Process` starts. Without the variable it has nothing to do.
#[tokio::test]
#[ignore = "the other end of tests that start it"]
async fn a_worker_in_a_process_of_its_own() {
    let Ok(text) = std::env::var(VARIABLE) else { return };
    let [uri, id, pace] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text:?}") };
    let pace = if pace == "slow" { SLOW } else { Duration::ZERO };
    println!("the worker runs");
    work(uri.to_owned(), id.to_owned(), pace).await;
}
