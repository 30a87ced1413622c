//! How fast a halt with a cancel is: attempts that run over many sessions, each on its own connection, one `Halt` of
//! everything, and when the last worker has heard its cancel.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bailiwick::pb::{
    self, halt_selector::Scope, operator_service_client::OperatorServiceClient,
    session_request::Message as Up, session_response::Message as Down,
    task_service_client::TaskServiceClient, worker_service_client::WorkerServiceClient,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// The agent that all attempts are of.
const AGENT: &str = "halted";
/// Submissions under way at once.
const AT_ONCE: usize = 64;

/// What was seen.
pub(crate) struct Measured {
    /// Attempts that ran.
    pub(crate) attempts: usize,
    /// The server: from the request to the last attempt told.
    pub(crate) told: Duration,
    /// The server: from the request to the last cancel on a stream.
    pub(crate) handed: Duration,
    /// The client: from sending the request to the last cancel that a worker read.
    pub(crate) heard: Duration,
    /// The client: from sending the request to its answer, with every task ended and durable.
    pub(crate) answered: Duration,
}

/// Measures once: `sessions` workers hold `each` attempts, then everything is halted. Lifts the halt again.
pub(crate) async fn measure(uri: &str, sessions: usize, each: usize) -> Measured {
    let attempts = sessions * each;
    let (running, cancelled) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (last, mut heard) = mpsc::channel(1);
    let mut ups = Vec::new();
    for number in 0..sessions {
        let counts = Counts { running: running.clone(), cancelled: cancelled.clone(), all: attempts };
        ups.push(session(uri, number, each, counts, last.clone()).await);
    }
    submit(uri, attempts).await;
    while running.load(Ordering::Acquire) < attempts {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut operator = OperatorServiceClient::new(connect(uri).await);
    let request = pb::HaltRequest {
        selector: Some(pb::HaltSelector { scope: Some(Scope::All(true)) }),
        halted_by: "bench".to_owned(),
        reason: "measured".to_owned(),
        cancel: true,
    };
    let sent = now();
    let halt = tokio::spawn(async move {
        let answer = operator.halt(request).await.expect("it is halted").into_inner();
        let answered = sent.elapsed();
        let what = Some(pb::resume_request::What::Everything(true));
        let lift = pb::ResumeRequest { what, resumed_by: "bench".to_owned(), reason: String::new() };
        operator.resume(lift).await.expect("it is lifted");
        (answer, answered)
    });
    let heard = heard.recv().await.expect("the last cancel comes").duration_since(sent);
    let (answer, answered) = halt.await.expect("it ends by itself");
    drop(ups);
    let time = |wire: Option<prost_types::Duration>| {
        wire.and_then(|wire| Duration::try_from(wire).ok()).unwrap_or_default()
    };
    assert_eq!(answer.attempts_told, i32::try_from(attempts).expect("not that many"));
    Measured { attempts, told: time(answer.told_within), handed: time(answer.handed_within), heard, answered }
}

/// The clock of this bench.
#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

struct Counts {
    running: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
    all: usize,
}

async fn connect(uri: &str) -> Channel {
    let endpoint = Endpoint::from_shared(uri.to_owned()).expect("an address makes a URI");
    endpoint.tcp_nodelay(true).connect().await.expect("the server is there")
}

/// A worker that takes what it gets, holds it, and counts its cancels. It lives as long as the sender.
async fn session(
    uri: &str,
    number: usize,
    each: usize,
    counts: Counts,
    last: mpsc::Sender<Instant>,
) -> mpsc::Sender<pb::SessionRequest> {
    let (up, requests) = mpsc::channel(16);
    let slots = i32::try_from(each).expect("not that many");
    let register = pb::Register {
        worker_id: format!("halted-{number}"),
        agents: vec![pb::AgentSpec { name: AGENT.to_owned(), ..pb::AgentSpec::default() }],
        max_concurrency: slots,
        ..pb::Register::default()
    };
    let credit = Up::Credit(pb::Credit { slots, agent: String::new() });
    for (message_id, message) in [(1, Up::Register(register)), (2, credit)] {
        let request = pb::SessionRequest { message_id, message: Some(message) };
        up.send(request).await.expect("the stream is open");
    }
    let mut client = WorkerServiceClient::new(connect(uri).await);
    let mut down = client.session(ReceiverStream::new(requests)).await.expect("it opens").into_inner();
    let beats = up.downgrade();
    tokio::spawn(async move {
        let (mut beat, mut message_id) = (tokio::time::interval(Duration::from_secs(2)), 2);
        loop {
            tokio::select! {
                next = down.message() => match next {
                    Ok(Some(pb::SessionResponse { message: Some(Down::Assignment(_)) })) => {
                        counts.running.fetch_add(1, Ordering::AcqRel);
                    }
                    Ok(Some(pb::SessionResponse { message: Some(Down::Cancel(_)) })) => {
                        if counts.cancelled.fetch_add(1, Ordering::AcqRel) + 1 == counts.all {
                            let _ = last.send(now()).await;
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return,
                },
                _ = beat.tick() => {
                    let Some(up) = beats.upgrade() else { return };
                    message_id += 1;
                    let message = Some(Up::Heartbeat(pb::Heartbeat {}));
                    let _ = up.send(pb::SessionRequest { message_id, message }).await;
                }
            }
        }
    });
    up
}

async fn submit(uri: &str, tasks: usize) {
    let client = TaskServiceClient::new(connect(uri).await);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        if running.len() >= AT_ONCE {
            running.join_next().await.expect("some run").expect("it is accepted");
        }
        let mut client = client.clone();
        running.spawn(async move {
            let request = pb::SubmitTaskRequest { contract: Some(contract()), parent_lease: String::new() };
            client.submit_task(request).await.expect("it is accepted");
        });
    }
    while let Some(done) = running.join_next().await {
        done.expect("it is accepted");
    }
}

fn contract() -> pb::Contract {
    let kind = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("number".to_owned())) };
    let schema = prost_types::Struct { fields: [("type".to_owned(), kind)].into() };
    pb::Contract {
        goal: "run until you are stopped".to_owned(),
        start: Some(pb::contract::Start::FirstAgent(AGENT.to_owned())),
        owner: AGENT.to_owned(),
        budget: Some(pb::Budget { max_tokens: 10_000, ..pb::Budget::default() }),
        limits: Some(pb::Limits {
            deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..pb::Limits::default()
        }),
        termination: Some(pb::Termination { result_schema: Some(schema), ..pb::Termination::default() }),
        ..pb::Contract::default()
    }
}
