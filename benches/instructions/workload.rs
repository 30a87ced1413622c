//! The workload that is counted: tasks from the bytes of their contract to their acknowledged answer, in a fixed number of
//! lanes on one thread. No clock, no disk, no network, and the same random bits every time.

use std::{collections::BTreeMap, sync::Arc};

use bailiwick::{
    engine::{command::Assignment, event::TraceContext},
    pb,
    runtime::{
        Down, Hands, ManualClock, Opened, Pace, Registration, Runtime, RuntimeOptions, SeededEntropy,
        SessionId, Wait, Work,
    },
    service::convert::contract,
    store::memory::MemoryStore,
    types::{
        envelope::{Answer, Confidence, Envelope, Status},
        payload::Payload,
        time::Timestamp,
        usage::Usage,
    },
};
use prost::Message as _;
use tokio::sync::mpsc;

/// Tasks at once.
const LANES: u64 = 64;
const AGENT: &str = "counted";

/// Lets everybody else go first: commits gather, and nothing runs beside anything else.
#[derive(Debug)]
struct Last;

impl Pace for Last {
    fn before(&self, _: Work) -> Wait {
        Box::pin(tokio::task::yield_now())
    }
}

/// Runs so many tasks to their end.
pub(crate) fn run(tasks: u64) {
    let shell = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("one thread");
    shell.block_on(async {
        let clock = Arc::new(ManualClock::new(Timestamp(1_000_000_000)));
        let (store, entropy) = (Arc::new(MemoryStore::new()), Arc::new(SeededEntropy::new(1)));
        let hands = Hands::InPlace(Arc::new(Last));
        let started = Runtime::start_with(store, RuntimeOptions::default(), clock, entropy, hands).await;
        let (runtime, kept) = started.expect("it starts");
        let (session, down) = register(&runtime).await;
        let (ended, mut ends) = mpsc::unbounded_channel();
        let worker = tokio::spawn(work(runtime.clone(), session, down, ended));
        let wire = wire();
        for begun in 0..tasks {
            if begun >= LANES {
                ends.recv().await.expect("the worker lives");
            }
            tokio::spawn(submit(runtime.clone(), wire.clone()));
        }
        for _ in 0..LANES.min(tasks) {
            ends.recv().await.expect("the worker lives");
        }
        worker.abort();
        drop(kept);
    });
}

async fn register(runtime: &Runtime) -> (SessionId, mpsc::Receiver<Down>) {
    let registration = Registration {
        worker: AGENT.parse().expect("a valid id"),
        agents: vec![(AGENT.parse().expect("a valid name"), "{}".to_owned())],
        max_concurrency: u32::try_from(LANES).unwrap_or(1),
        labels: BTreeMap::new(),
        held: Vec::new(),
    };
    let (Opened { session, .. }, down) = runtime.open_session(registration).await.expect("it opens");
    runtime.credit(session, u32::try_from(LANES).unwrap_or(1), None).expect("it is open");
    (session, down)
}

/// Off the wire, completed, submitted.
async fn submit(runtime: Runtime, wire: Arc<[u8]>) {
    let wire = pb::Contract::decode(&*wire).expect("it was encoded here");
    let fingerprint = contract::fingerprint(&wire);
    let known = |agent: &_| runtime.is_known(agent);
    let contract = contract::intake(wire, runtime.ceilings(), &known).expect("a good contract");
    runtime.submit(contract, fingerprint, TraceContext::default()).await.expect("it is accepted");
}

/// Answers what it is given, and asks for as much again.
async fn work(
    runtime: Runtime,
    session: SessionId,
    mut down: mpsc::Receiver<Down>,
    ended: mpsc::UnboundedSender<()>,
) {
    while let Some(told) = down.recv().await {
        let Down::Assignment(assignment) = told else { continue };
        let (runtime, ended) = (runtime.clone(), ended.clone());
        tokio::spawn(async move {
            let Assignment { lease, .. } = *assignment;
            runtime.complete(lease, answer(), String::new()).await.expect("the lease is live");
            runtime.credit(session, 1, None).expect("it is open");
            // At the end nobody listens any more.
            let _ = ended.send(());
        });
    }
}

fn answer() -> Answer {
    Answer::Envelope(Envelope {
        status: Status::Success,
        result: Some(Payload::from_json(&serde_json::json!({ "found": "the number", "number": 42 }))),
        confidence: Confidence::new(0.9),
        reason: String::new(),
        usage: Some(Usage { input: 1_000, output: 50, ..Usage::default() }),
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    })
}

/// A contract, encoded.
fn wire() -> Arc<[u8]> {
    let text = |text: &str| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.to_owned())),
    };
    let schema = prost_types::Struct { fields: [("type".to_owned(), text("object"))].into_iter().collect() };
    let contract = pb::Contract {
        goal: "find the number in the text".to_owned(),
        input: Some(text("a text of some length, in which there is a number: it is 42, and it stands here")),
        start: Some(pb::contract::Start::FirstAgent(AGENT.to_owned())),
        owner: AGENT.to_owned(),
        budget: Some(pb::Budget { max_tokens: 10_000, ..Default::default() }),
        limits: Some(pb::Limits {
            deadline: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
            ..Default::default()
        }),
        termination: Some(pb::Termination { result_schema: Some(schema), ..Default::default() }),
        labels: [("team".to_owned(), "counting".to_owned())].into_iter().collect(),
        ..Default::default()
    };
    contract.encode_to_vec().into()
}
