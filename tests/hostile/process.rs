//! A server in a process of its own, so that its memory can be read, and proof that it still serves others.

use std::{process::Stdio, time::Duration};

use bailiwick::pb::{
    self, task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Session, contract, soon, success};

/// How long a client that floods waits for a place before it takes it that it is not read any more.
pub const STUCK: Duration = Duration::from_secs(2);

pub struct Server {
    child: Child,
    url: String,
    /// Resident memory once it listens, in MiB.
    at_rest: u64,
    _folder: tempfile::TempDir,
}

impl Server {
    /// A server with the settings of every server, but that workers may be silent for long.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut child = Command::new(env!("CARGO_BIN_EXE_bailiwick"))
            .args(["serve", "--listen", "127.0.0.1:0", "--lease-time", "10m", "--log", "warn", "--data"])
            .arg(folder.path().join("test.db"))
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let line =
            soon("the server", lines.next_line()).await.expect("text").expect("it says where it listens");
        let port: u16 = line.rsplit(':').next().and_then(|port| port.trim().parse().ok()).expect("a port");
        let mut server = Self { child, url: format!("http://127.0.0.1:{port}"), at_rest: 0, _folder: folder };
        server.at_rest = server.memory("VmRSS");
        server
    }

    /// A connection of its own.
    pub fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone()).expect("a URL").connect_lazy()
    }

    pub fn workers(&self) -> WorkerServiceClient<Channel> {
        WorkerServiceClient::new(self.channel())
    }

    /// Somebody else's task, from its submission to its success, on connections of their own.
    pub async fn serves_others(&self) {
        let mut worker = Session::open(self.workers(), "honest", &["quiet"], Vec::new()).await;
        worker.credit(1).await;
        let mut tasks = TaskServiceClient::new(self.channel());
        let request = pb::SubmitTaskRequest { contract: Some(contract("quiet")), ..Default::default() };
        let task_id =
            soon("a place", tasks.submit_task(request)).await.expect("it is taken").into_inner().task_id;
        let work = worker.assignment().await;
        assert_eq!(work.task_id, task_id);
        worker.complete(&work.lease, success("42")).await;
        let mut seen = soon("a place", tasks.watch_task(pb::WatchTaskRequest { task_id, after_seq: 0 }))
            .await
            .expect("it is there")
            .into_inner();
        let mut ended = None;
        while let Some(next) = soon("an event", seen.message()).await.expect("no error") {
            if let Some(pb::task_event::Event::Ended(end)) = next.event.and_then(|event| event.event) {
                ended = end.outcome;
            }
        }
        assert_eq!(ended.map(|outcome| outcome.state), Some(pb::TaskState::Succeeded as i32));
    }

    /// It never had more than this many MiB beyond what it has at rest.
    #[track_caller]
    pub fn stayed_within(&self, most: u64) {
        let grown = self.memory("VmHWM").saturating_sub(self.at_rest);
        println!("the server grew by {grown} MiB of {most}");
        assert!(grown <= most, "the server grew by {grown} MiB: {most} are the most");
    }

    /// A line of the process's status, in MiB; 0 where the system has none.
    fn memory(&self, what: &str) -> u64 {
        let id = self.child.id().expect("the server runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.unwrap_or(0) / 1_024
    }
}

/// Sends until nothing is taken any more, `most` times at most; how often it was taken.
pub async fn push<T>(
    up: &tokio::sync::mpsc::Sender<T>,
    most: usize,
    mut next: impl FnMut(usize) -> T,
) -> usize {
    for sent in 0..most {
        if !matches!(timeout(STUCK, up.send(next(sent))).await, Ok(Ok(()))) {
            return sent;
        }
    }
    most
}
