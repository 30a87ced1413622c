//! Clients that submit until they are acknowledged, whatever happens to the server meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bailiwick::pb::{
    Budget, Contract, Gate, Limits, RetryPolicy, SubmitTaskRequest, Termination, contract,
    task_service_client::TaskServiceClient,
};
use tonic::{Code, transport::Channel};

/// A task that was acknowledged.
pub(crate) struct Submitted {
    pub(crate) key: String,
    pub(crate) task: String,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    lanes: Vec<tokio::task::JoinHandle<Vec<Submitted>>>,
}

impl Load {
    pub(crate) fn start(uri: &str, lanes: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let lanes =
            (0..lanes).map(|lane| tokio::spawn(lane_of(uri.to_owned(), lane, stop.clone()))).collect();
        Self { stop, lanes }
    }

    /// Stops submitting; what was begun is submitted until it is acknowledged.
    pub(crate) async fn finish(self) -> Vec<Submitted> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for lane in self.lanes {
            all.extend(lane.await.expect("a lane ends by itself"));
        }
        all
    }
}

async fn lane_of(uri: String, lane: usize, stop: Arc<AtomicBool>) -> Vec<Submitted> {
    let mut client = client(&uri);
    let mut done = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let key = format!("lane-{lane}-{}", done.len());
        let task = submit(&mut client, &key).await.0;
        done.push(Submitted { key, task });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done
}

pub(crate) fn client(uri: &str) -> TaskServiceClient<Channel> {
    let endpoint = tonic::transport::Endpoint::from_shared(uri.to_owned()).expect("a URI");
    TaskServiceClient::new(endpoint.connect_timeout(Duration::from_secs(2)).connect_lazy())
}

/// Submits under a key until it is acknowledged: the task, and whether it existed.
pub(crate) async fn submit(client: &mut TaskServiceClient<Channel>, key: &str) -> (String, bool) {
    loop {
        let mut request = tonic::Request::new(SubmitTaskRequest {
            contract: Some(contract(key)),
            parent_lease: String::new(),
        });
        request.set_timeout(Duration::from_secs(5));
        match client.submit_task(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                return (answer.task_id, answer.existing);
            }
            Err(status) => {
                let passing = [
                    Code::Unavailable,
                    Code::Unknown,
                    Code::Cancelled,
                    Code::DeadlineExceeded,
                    Code::Internal,
                    Code::ResourceExhausted,
                ];
                assert!(passing.contains(&status.code()), "{key} was refused: {status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// What a task does beside its hand-off; told by its goal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Judged,
    Asks,
    HasChild,
}

impl Kind {
    const ALL: [(Self, &str); 4] = [
        (Self::Plain, "survive"),
        (Self::Judged, "survive a judge"),
        (Self::Asks, "survive, and ask first"),
        (Self::HasChild, "survive, and have a child"),
    ];

    pub(crate) fn of_goal(goal: &str) -> Self {
        Self::ALL.into_iter().find(|(_, known)| *known == goal).map_or(Self::Plain, |(kind, _)| kind)
    }
}

fn contract(key: &str) -> Contract {
    let number = key.rsplit('-').next().and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
    let (kind, goal) = Kind::ALL[number % Kind::ALL.len()];
    let validator = if kind == Kind::Judged { "judge" } else { "" };
    Contract {
        goal: goal.to_owned(),
        gate: Some(Gate { validator: validator.to_owned(), ..Gate::default() }),
        start: Some(contract::Start::FirstAgent("relay".to_owned())),
        budget: Some(Budget { max_tokens: 100_000, max_tokens_per_turn: 1_000, ..Budget::default() }),
        ..terms(key)
    }
}

/// The contract of a child, the same whenever it is submitted.
pub(crate) fn child() -> Contract {
    let limits = Limits { max_attempts: 20, ..Limits::default() };
    Contract {
        goal: "survive below".to_owned(),
        start: Some(contract::Start::FirstAgent("finish".to_owned())),
        budget: Some(Budget { max_tokens: 20_000, max_tokens_per_turn: 1_000, ..Budget::default() }),
        limits: Some(limits),
        ..terms("child")
    }
}

fn terms(key: &str) -> Contract {
    let text = |text: &str| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    };
    let schema = [("type".to_owned(), text("number"))].into_iter().collect();
    Contract {
        owner: "relay".to_owned(),
        limits: Some(Limits {
            deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            max_attempts: 20,
            ..Limits::default()
        }),
        // An attempt lost to a kill is tried again soon: the waits between are not what is tested.
        retry: Some(RetryPolicy {
            initial_backoff: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
            max_backoff: Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 }),
        }),
        termination: Some(Termination {
            result_schema: Some(prost_types::Struct { fields: schema }),
            ..Termination::default()
        }),
        idempotency_key: key.to_owned(),
        ..Contract::default()
    }
}
