//! A database with many open tasks: one is submitted to a real runtime, and what that left in the journal is written again
//! under other ids, straight through the store.

use std::{path::Path, sync::Arc};

use bailiwick::{
    engine::{event::TraceContext, intake},
    runtime::{Registration, Runtime, RuntimeOptions, SystemClock, SystemEntropy},
    store::{SHARDS, Store, memory::MemoryStore, record::Append, sqlite::SqliteStore},
    types::{
        contract::{BudgetDraft, Contract, ContractDraft, LimitsDraft, TerminationDraft},
        ids::TaskId,
        limits::Ceilings,
        payload::Payload,
        time::Timestamp,
    },
};
use uuid::Uuid;

/// The agent that the open tasks wait for.
pub(crate) const WAITED_FOR: &str = "waited-for";
/// The agent that tasks are run with beside them.
pub(crate) const BUSY: &str = "busy";
/// Tasks written in one commit.
const BATCH: usize = 2_000;

/// What each open task is about.
pub(crate) fn contract(agent: &str) -> Contract {
    let json = |value| Payload::from_json(&value);
    let draft = ContractDraft {
        goal: "Read the report and say in three sentences what has changed since the last one.".to_owned(),
        input: Some(json(serde_json::json!({"report": "2026-11", "pages": [1, 2, 3], "language": "en"}))),
        first_agent: Some(agent.to_owned()),
        owner: agent.to_owned(),
        budget: Some(BudgetDraft { max_tokens: 100_000, ..BudgetDraft::default() }),
        limits: Some(LimitsDraft { deadline: Some(6 * 24 * 3_600_000_000), ..LimitsDraft::default() }),
        termination: Some(TerminationDraft {
            result_schema: Some(json(serde_json::json!({"type": "object", "required": ["text"]}))),
            ..TerminationDraft::default()
        }),
        labels: [("team".to_owned(), "reports".to_owned())].into(),
        ..ContractDraft::default()
    };
    intake::complete(&draft, &Ceilings::default(), &|_| true).expect("a complete contract")
}

/// A worker's registration.
pub(crate) fn registration(agent: &str, most: u32) -> Registration {
    Registration {
        worker: format!("worker-{agent}").parse().expect("a valid id"),
        agents: vec![(agent.parse().expect("a name"), "{}".to_owned())],
        max_concurrency: most,
        labels: std::collections::BTreeMap::new(),
        held: Vec::new(),
    }
}

/// Makes a database with `count` open tasks that wait for [`WAITED_FOR`].
pub(crate) fn make(path: &Path, count: usize) {
    let (model, model_store) = model();
    let store = SqliteStore::folding(path, std::sync::Arc::new(bailiwick::runtime::TaskRows))
        .expect("a new database");
    store.upsert_agents(&model_store.agents().expect("the memory reads")).expect("agents");
    let shards = model_store.number(SHARDS).expect("the memory reads").expect("a count");
    store.set_number(SHARDS, shards).expect("the count of shards");
    let mut batch = Vec::with_capacity(BATCH);
    for n in 0..count {
        batch.push(another(&model, n, shards));
        if batch.len() == BATCH || n + 1 == count {
            store.commit(&batch).expect("the database takes it");
            batch.clear();
        }
    }
}

/// What one submission leaves in the journal.
fn model() -> (Append, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    let (journal, options) = (Arc::clone(&store), RuntimeOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let task = runtime.block_on(async move {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let (runtime, tasks) = Runtime::start(journal, options, clock, entropy).await.expect("it starts");
        for agent in [WAITED_FOR, BUSY] {
            runtime.open_session(registration(agent, 1)).await.expect("a session");
        }
        let submitted = runtime.submit(contract(WAITED_FOR), 1, TraceContext::default()).await;
        tasks.shutdown(std::time::Duration::from_secs(5)).await;
        submitted.expect("accepted").task
    });
    let events = store.events(task, 0, 100).expect("the memory reads");
    let summary = store.summary(task).expect("the memory reads").expect("a row");
    let (escalations, sums) = (Vec::new(), Vec::new());
    (Append { task, expected_seq: 0, events, summary, escalations, sums }, store)
}

/// The same under the `n`th other id, submitted `n` microseconds earlier or later.
fn another(model: &Append, n: usize, shards: u64) -> Append {
    let unique = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + ((n as u128) << 16));
    let task = TaskId::with_shard(unique, u16::try_from(n as u64 % shards).expect("few shards"));
    let mut append = model.clone();
    append.task = task;
    append.summary.task = task;
    append.summary.created_at = Timestamp(model.summary.created_at.0 + n as u64 % 1_000_000);
    append.summary.view = model.summary.view.replace(&model.task.to_string(), &task.to_string()).into();
    append
}
