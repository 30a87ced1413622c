//! Ten thousand streams that are open and say nothing. They are streams, not connections: 120 share one, so that no limit
//! of the system on open files is met.

use bailiwick::pb::{
    self, task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient,
};
use futures_util::StreamExt as _;
use tonic::Code;

use crate::{
    harness::{Session, check, contract, soon},
    process::Server,
};

const STREAMS: usize = 10_000;
/// As many as a server takes: `ServerOptions::max_watches`.
const WATCHES: usize = 1_024;
const A_CONNECTION: usize = 120;
/// What the server may grow by for all of them, in MiB: 50 KiB for a stream.
const MOST_MIB: u64 = 512;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_streams_cost_little_and_leave_the_rest_served() {
    let server = Server::start().await;
    let mut first = Session::open(server.workers(), "first", &["idle"], Vec::new()).await;
    let mut tasks = TaskServiceClient::new(server.channel());
    let request = pb::SubmitTaskRequest { contract: Some(contract("idle")), ..Default::default() };
    let task_id = tasks.submit_task(request).await.expect("it is taken").into_inner().task_id;

    let channels: Vec<_> = (0..STREAMS.div_ceil(A_CONNECTION)).map(|_| server.channel()).collect();
    let watches = (0..WATCHES).map(|number| {
        let mut tasks = TaskServiceClient::new(channels[number / A_CONNECTION].clone());
        let request = pb::WatchTaskRequest { task_id: task_id.clone(), after_seq: 0 };
        async move { soon("a watch", tasks.watch_task(request)).await.expect("it opens").into_inner() }
    });
    let watches: Vec<_> = tokio_stream::iter(watches).buffer_unordered(64).collect().await;
    let sessions = (WATCHES..STREAMS).map(|number| {
        let workers = WorkerServiceClient::new(channels[number / A_CONNECTION].clone());
        async move { Session::open(workers, &format!("idle-{number}"), &["idle"], Vec::new()).await }
    });
    let sessions: Vec<_> = tokio_stream::iter(sessions).buffer_unordered(64).collect().await;
    assert_eq!(watches.len() + sessions.len(), STREAMS);

    // One more is refused in type; what is open stays so.
    let request = pb::WatchTaskRequest { task_id: task_id.clone(), after_seq: 0 };
    check(tasks.watch_task(request).await, Code::ResourceExhausted, "OVERLOADED");
    drop(watches);
    server.serves_others().await;
    first.credit(1).await;
    assert_eq!(first.assignment().await.task_id, task_id);
    server.stayed_within(MOST_MIB);
}
