//! The endpoint for Prometheus, over real sockets: what stands, what adds up, how calls ended, and what it refuses.

use std::{net::SocketAddr, time::Duration};

use bailiwick::{
    app::{self, AppOptions, Running, StoreChoice},
    pb::{self, task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// After this a test has failed: nothing here takes long.
const PATIENCE: Duration = Duration::from_secs(30);

async fn serving() -> (Running, SocketAddr) {
    let metrics = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let options = AppOptions { metrics, ..AppOptions::on_loopback(StoreChoice::Memory) };
    let running = app::serve(options).await.expect("it starts");
    let addr = running.metrics_addr().expect("metrics are served");
    (running, addr)
}

/// The whole answer to a request as it stands.
async fn ask(addr: SocketAddr, request: &str) -> String {
    let asked = async {
        let mut stream = TcpStream::connect(addr).await.expect("it listens");
        let mut answer = String::new();
        // Where all places are taken it is closed unheard: no answer.
        if stream.write_all(request.as_bytes()).await.is_ok() {
            let _ = stream.read_to_string(&mut answer).await;
        }
        answer
    };
    timeout(PATIENCE, asked).await.expect("it answers in time")
}

async fn page(addr: SocketAddr) -> String {
    ask(addr, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await
}

/// Asks until the page has the line.
async fn until(addr: SocketAddr, line: &str) -> String {
    let found = async {
        loop {
            let page = page(addr).await;
            if page.lines().any(|found| found == line) {
                return page;
            }
            tokio::task::yield_now().await;
        }
    };
    match timeout(PATIENCE, found).await {
        Ok(page) => page,
        Err(_) => panic!("{line} in vain in:\n{}", page(addr).await),
    }
}

#[tokio::test]
async fn a_page_says_what_stands_what_adds_up_and_how_calls_ended() {
    let (running, addr) = serving().await;
    let first = page(addr).await;
    assert!(first.starts_with("HTTP/1.1 200 OK"), "{first}");
    assert!(first.contains("content-type: text/plain; version=0.0.4"), "{first}");
    for line in
        ["bailiwick_open_tasks 0", "bailiwick_dead_letters_open 0", "bailiwick_tasks_submitted_total 0"]
    {
        assert!(first.lines().any(|found| found == line), "{line} in {first}");
    }

    let url = format!("http://{}", running.local_addr());
    let channel = tonic::transport::Endpoint::from_shared(url).expect("a URL").connect_lazy();
    let mut tasks = TaskServiceClient::new(channel.clone());
    let nobody = pb::GetTaskRequest { task_id: "01890000-0000-7000-8000-000000000000".into() };
    tasks.get_task(nobody).await.expect_err("there is none");
    let nothing = pb::ListTasksRequest::default();
    tasks.list_tasks(nothing).await.expect("it lists");
    let mut workers = WorkerServiceClient::new(channel);
    let register = pb::Register {
        worker_id: "w1".into(),
        agents: vec![pb::AgentSpec { name: "solver".into(), ..Default::default() }],
        ..Default::default()
    };
    let request = pb::RegisterRequest { register: Some(register) };
    workers.register(request).await.expect("it registers");
    let contract = pb::Contract {
        goal: "find the answer".into(),
        start: Some(pb::contract::Start::FirstAgent("solver".into())),
        owner: "solver".into(),
        budget: Some(pb::Budget { max_tokens: 10_000, ..Default::default() }),
        limits: Some(pb::Limits {
            deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..Default::default()
        }),
        termination: Some(pb::Termination {
            acceptance: vec!["confidence >= 0.0".into()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = pb::SubmitTaskRequest { contract: Some(contract), ..Default::default() };
    let task_id = tasks.submit_task(request).await.expect("accepted").into_inner().task_id;
    let page = until(addr, "bailiwick_turns_opened_total{agent=\"solver\",kind=\"WORK\"} 1").await;
    for line in [
        "bailiwick_open_tasks 1",
        "bailiwick_tasks_submitted_total 1",
        "bailiwick_workers{state=\"active\"} 1",
        "bailiwick_agent_waiting_turns{agent=\"solver\"} 1",
        "bailiwick_agent_workers{agent=\"solver\"} 1",
        "bailiwick_commit_appends_total 1",
        "bailiwick_commit_last_appends 1",
        "bailiwick_journal_failing 0",
        "bailiwick_journal_waiting_submissions 0",
        "bailiwick_halts_in_force{kind=\"label\"} 0",
        "bailiwick_worker_breakers{state=\"closed\"} 1",
        "bailiwick_agent_breaker_open{agent=\"solver\"} 0",
        "bailiwick_commit_failures_total 0",
        "bailiwick_rpc_calls_total{method=\"TaskService/GetTask\",code=\"NOT_FOUND\"} 1",
        "bailiwick_rpc_calls_total{method=\"TaskService/ListTasks\",code=\"OK\"} 1",
        "bailiwick_rpc_calls_total{method=\"TaskService/SubmitTask\",code=\"OK\"} 1",
        "bailiwick_rpc_duration_seconds_count{method=\"TaskService/SubmitTask\"} 1",
        "bailiwick_commit_duration_seconds_count 1",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} in {page}");
    }
    let request = pb::CancelTaskRequest { task_id, ..Default::default() };
    tasks.cancel_task(request).await.expect("cancelled");
    let ended = "bailiwick_tasks_ended_total{owner=\"solver\",state=\"CANCELLED\",cause=\"CANCELLED\"} 1";
    let page = until(addr, ended).await;
    assert!(page.lines().any(|line| line == "bailiwick_open_tasks 0"), "{page}");
    assert!(timeout(PATIENCE, running.shutdown()).await.expect("it stops").clean);
    assert!(TcpStream::connect(addr).await.is_err(), "and nothing listens any more");
}

#[tokio::test]
async fn nothing_else_is_served_and_idle_connections_keep_nobody_out_for_long() {
    let (running, addr) = serving().await;
    let other = ask(addr, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
    let posted = ask(addr, "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(posted.starts_with("HTTP/1.1 405") && posted.contains("allow: GET, HEAD"), "{posted}");
    let huge = format!("GET /metrics HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(64 << 10));
    let mut stream = TcpStream::connect(addr).await.expect("it listens");
    // It may close before all of it is sent: that is the point.
    let _ = stream.write_all(huge.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it ends");
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "a head of 64 KiB is refused");

    // As many idle ones as there are places: the next one is closed unheard, and the server lives.
    let mut idle = Vec::new();
    for _ in 0..16 {
        idle.push(TcpStream::connect(addr).await.expect("it listens"));
    }
    let mut one_more = TcpStream::connect(addr).await.expect("it listens");
    let mut nothing = Vec::new();
    let closed = timeout(PATIENCE, one_more.read_to_end(&mut nothing)).await.expect("it is closed");
    assert!(closed.is_err() || nothing.is_empty());
    drop(idle);
    until(addr, "bailiwick_open_tasks 0").await;
    assert!(timeout(PATIENCE, running.shutdown()).await.expect("it stops").clean);
}

#[tokio::test]
async fn it_is_off_unless_it_is_asked_for() {
    let running = app::serve(AppOptions::on_loopback(StoreChoice::Memory)).await.expect("it starts");
    assert_eq!(running.metrics_addr(), None);
    running.shutdown().await;
}
