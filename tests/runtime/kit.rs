//! The bench: a world with one runtime, and workers in it.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use bailiwick::{
    engine::{
        command::Assignment,
        event::{Event, Record, TraceContext},
        intake,
        view::TaskView,
    },
    runtime::{
        CommandError, Down, Hands, ManualClock, Opened, Registration, Runtime, RuntimeOptions, RuntimeTasks,
        SeededEntropy, SessionId, ShutdownReport, StartError, SubmitError, Submitted,
    },
    store::{
        Store, StoreError,
        memory::MemoryStore,
        record::{
            AgentRow, Append, EscalationRow, LogEntry, OpenTask, PageAfter, ParkedNote, StoredEvent,
            SummaryRow, TaskFilter,
        },
    },
    types::{
        contract::{BudgetDraft, Contract, ContractDraft, LimitsDraft, TerminationDraft},
        envelope::{Answer, Confidence, Envelope, Status},
        ids::{AgentName, EscalationId, Lease, TaskId},
        limits::Ceilings,
        outcome::Cause,
        payload::Payload,
        time::{Span, Timestamp},
        usage::Usage,
    },
};
use tokio::sync::mpsc;

/// When every world begins.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000_000);
/// How long a worker may be silent.
pub(crate) const LEASE: Span = Span::from_secs(30);
/// More than the first back-off of a retry.
pub(crate) const BACKOFF: Span = Span::from_millis(200);
/// What hangs for this long has failed.
const HANG: Duration = Duration::from_secs(20);

/// A store in memory whose commits can be held up.
#[derive(Default)]
pub(crate) struct Gated {
    pub(crate) memory: MemoryStore,
    gate: Mutex<Gate>,
    moved: Condvar,
    /// While set: places in the list of open tasks behind which nothing is read.
    unread_behind: Mutex<Option<usize>>,
    read_on: Condvar,
    /// Every commit that was kept, in order.
    kept: Mutex<Vec<Vec<Append>>>,
    /// Whether notes cannot be kept.
    pub(crate) fail_texts: std::sync::atomic::AtomicBool,
}

#[derive(Default)]
struct Gate {
    shut: bool,
    /// Commits that have come to the gate.
    arrived: u64,
    /// Which of them fail: every so-manieth; 0: none.
    fail_every: u64,
    /// That one fails; 0: none.
    fail_at: u64,
}

impl Gated {
    pub(crate) fn shut(&self) {
        self.gate.lock().expect("no panic under it").shut = true;
    }

    pub(crate) fn open(&self) {
        self.gate.lock().expect("no panic under it").shut = false;
        self.moved.notify_all();
    }

    /// Commits that have come to the gate so far.
    pub(crate) fn arrived(&self) -> u64 {
        self.gate.lock().expect("no panic under it").arrived
    }

    /// Makes one in `n` commits fail from now on; 0: none.
    pub(crate) fn fail_every(&self, n: u64) {
        self.gate.lock().expect("no panic under it").fail_every = n;
    }

    /// Makes the commit fail that comes after `n` others from now.
    pub(crate) fn fail_after(&self, n: u64) {
        let mut gate = self.gate.lock().expect("no panic under it");
        gate.fail_at = gate.arrived + n + 1;
    }

    /// Every commit that was kept so far, in order.
    pub(crate) fn kept(&self) -> Vec<Vec<Append>> {
        self.kept.lock().expect("no panic under it").clone()
    }

    /// Lets nothing be read of the open tasks behind the first so many; `None`: everything.
    pub(crate) fn read_no_further(&self, than: Option<usize>) {
        *self.unread_behind.lock().expect("no panic under it") = than;
        self.read_on.notify_all();
    }

    fn pass(&self) -> Result<(), StoreError> {
        let mut gate = self.gate.lock().expect("no panic under it");
        gate.arrived += 1;
        let fails = gate.arrived == gate.fail_at
            || (gate.fail_every > 0 && gate.arrived.is_multiple_of(gate.fail_every));
        drop(self.moved.wait_while(gate, |gate| gate.shut).expect("no panic under it"));
        if fails { Err(StoreError::Unavailable("this one fails".to_owned())) } else { Ok(()) }
    }
}

impl Store for Gated {
    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError> {
        self.pass()?;
        let end = self.memory.commit(appends)?;
        self.kept.lock().expect("no panic under it").push(appends.to_vec());
        Ok(end)
    }
    fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.memory.events(task, after, limit)
    }
    fn log(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.memory.log(after, limit)
    }
    fn log_end(&self) -> Result<u64, StoreError> {
        self.memory.log_end()
    }
    fn summary(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.memory.summary(task)
    }
    fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        self.memory.list(filter, after, limit)
    }
    fn open_tasks(&self, after: Option<PageAfter>, limit: usize) -> Result<Vec<OpenTask>, StoreError> {
        let mut page = self.memory.open_tasks(after, limit)?;
        if let Some(last) = page.last().map(OpenTask::place) {
            let upto = self.memory.open_tasks(None, usize::MAX)?;
            let place = upto.iter().position(|open| open.place() == last).map_or(0, |index| index + 1);
            let unread = self.unread_behind.lock().expect("no panic under it");
            let held = self.read_on.wait_while(unread, |behind| behind.is_some_and(|behind| place > behind));
            drop(held.expect("no panic under it"));
            // What was read before the wait is what a slow reader has.
            page.truncate(limit);
        }
        Ok(page)
    }
    fn open_count(&self) -> Result<u64, StoreError> {
        self.memory.open_count()
    }
    fn note_parked(&self, notes: &[ParkedNote]) -> Result<(), StoreError> {
        self.memory.note_parked(notes)
    }
    fn escalation(&self, id: EscalationId) -> Result<Option<EscalationRow>, StoreError> {
        self.memory.escalation(id)
    }
    fn escalations(
        &self,
        states: &[String],
        task: Option<TaskId>,
        after: Option<(Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationRow>, StoreError> {
        self.memory.escalations(states, task, after, limit)
    }
    fn upsert_agents(&self, agents: &[AgentRow]) -> Result<(), StoreError> {
        self.memory.upsert_agents(agents)
    }
    fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        self.memory.agents()
    }
    fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.memory.number(name)
    }
    fn numbers(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        self.memory.numbers(prefix)
    }

    fn set_number(&self, name: &str, value: u64) -> Result<(), StoreError> {
        self.memory.set_number(name, value)
    }
    fn texts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.memory.texts(prefix)
    }
    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        if self.fail_texts.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(StoreError::Unavailable("notes fail".to_owned()));
        }
        self.memory.set_text(name, value)
    }
}

/// A server without a network.
pub(crate) struct World {
    pub(crate) store: Arc<Gated>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runtime: Runtime,
    pub(crate) tasks: RuntimeTasks,
    options: RuntimeOptions,
    hands: Hands,
    /// Another one for each start: ids must not come again.
    seed: u64,
}

pub(crate) fn options() -> RuntimeOptions {
    RuntimeOptions {
        lease_time: LEASE,
        heartbeat_interval: Span::from_secs(10),
        max_resident_tasks: crate::RESIDENTS,
        ..RuntimeOptions::default()
    }
}

/// Starts a runtime on a store.
pub(crate) async fn start(
    store: &Arc<Gated>,
    clock: &Arc<ManualClock>,
    options: RuntimeOptions,
) -> Result<(Runtime, RuntimeTasks), StartError> {
    start_with(store, clock, options, Hands::default(), 7).await
}

async fn start_with(
    store: &Arc<Gated>,
    clock: &Arc<ManualClock>,
    options: RuntimeOptions,
    hands: Hands,
    seed: u64,
) -> Result<(Runtime, RuntimeTasks), StartError> {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let store = Arc::clone(store) as Arc<dyn Store>;
    Runtime::start_with(store, options, Arc::clone(clock) as _, entropy, hands).await
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(options()).await
    }

    pub(crate) async fn with(options: RuntimeOptions) -> Self {
        Self::with_hands(options, Hands::default()).await
    }

    pub(crate) async fn with_hands(options: RuntimeOptions, hands: Hands) -> Self {
        let (store, clock) = (Arc::default(), Arc::new(ManualClock::new(START)));
        let started = start_with(&store, &clock, options.clone(), hands.clone(), 7).await;
        let (runtime, tasks) = started.expect("an empty store starts");
        Self { store, clock, runtime, tasks, options, hands, seed: 7 }
    }

    /// Stops the server and starts another one on the same store.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// As `restart`, with something done to the store in between.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&Gated)) -> Self {
        let Self { store, clock, runtime: _, tasks, options, hands, seed } = self;
        let seed = seed + 1;
        let report = tasks.shutdown(HANG).await;
        assert!(report.clean, "{report:?}");
        change(&store);
        let started = start_with(&store, &clock, options.clone(), hands.clone(), seed).await;
        let (runtime, tasks) = started.expect("the store starts again");
        Self { store, clock, runtime, tasks, options, hands, seed }
    }

    pub(crate) async fn stop(self) -> ShutdownReport {
        self.tasks.shutdown(HANG).await
    }

    /// A worker that has just connected, without credit.
    pub(crate) async fn worker(&self, id: &str, agents: &[&str], max: u32) -> Worker {
        self.worker_with(id, agents, max, Vec::new()).await
    }

    /// A worker that says it still holds these leases.
    pub(crate) async fn worker_with(&self, id: &str, agents: &[&str], max: u32, held: Vec<Lease>) -> Worker {
        register(&self.runtime, id, agents, max, held).await
    }

    /// Submits the plainest contract: agent "a", which is the owner too.
    pub(crate) async fn submit(&self) -> TaskId {
        self.try_submit(contract()).await.expect("accepted").task
    }

    pub(crate) async fn try_submit(&self, contract: Contract) -> Result<Submitted, SubmitError> {
        in_time(self.runtime.submit(contract, 1, TraceContext::default())).await
    }

    pub(crate) async fn view(&self, task: TaskId) -> TaskView {
        in_time(self.runtime.get(task)).await.expect("the task is there")
    }

    /// The task's events so far, from the journal.
    pub(crate) fn journal(&self, task: TaskId) -> Vec<StoredEvent> {
        self.store.events(task, 0, 10_000).expect("the memory reads")
    }

    pub(crate) fn kinds(&self, task: TaskId) -> Vec<String> {
        self.journal(task).into_iter().map(|event| event.kind.into_owned()).collect()
    }

    /// Waits for the first event of the task, from the beginning, that fits.
    pub(crate) async fn until(&self, task: TaskId, fits: impl Fn(&Event) -> bool) -> Record {
        let mut watch = in_time(self.runtime.watch(task, 0)).await.expect("the task is there");
        loop {
            let next = in_time(watch.next()).await.expect("it comes before the end");
            let (record, _) = next.expect("the journal reads");
            if fits(&record.event) {
                return record;
            }
        }
    }
}

/// Worker "w1" for agent "a", four attempts at once.
pub(crate) async fn connect(runtime: &Runtime, held: Vec<Lease>) -> Worker {
    register(runtime, "w1", &["a"], 4, held).await
}

async fn register(runtime: &Runtime, id: &str, agents: &[&str], max: u32, held: Vec<Lease>) -> Worker {
    let registration = Registration {
        worker: id.parse().expect("a valid id"),
        agents: agents.iter().map(|name| (agent(name), "{}".to_owned())).collect(),
        max_concurrency: max,
        labels: std::collections::BTreeMap::new(),
        held,
    };
    let (opened, down) = runtime.open_session(registration).await.expect("the session opens");
    Worker { runtime: runtime.clone(), session: opened.session, opened, down }
}

/// A worker: plain code against the runtime.
pub(crate) struct Worker {
    runtime: Runtime,
    pub(crate) session: SessionId,
    pub(crate) opened: Opened,
    pub(crate) down: mpsc::Receiver<Down>,
}

impl Worker {
    pub(crate) fn credit(&self, slots: u32) {
        self.runtime.credit(self.session, slots, None).expect("the session is open");
    }

    pub(crate) fn heartbeat(&self) {
        self.runtime.heartbeat(self.session).expect("the session is open");
    }

    /// The next message; `None` at the end of the session.
    pub(crate) async fn next(&mut self) -> Option<Down> {
        in_time(self.down.recv()).await
    }

    /// The next message, which must be work.
    pub(crate) async fn work(&mut self) -> Box<Assignment> {
        match self.next().await {
            Some(Down::Assignment(assignment)) => assignment,
            other => panic!("expected work, got {other:?}"),
        }
    }

    /// The next message, which must be a cancel.
    pub(crate) async fn cancelled(&mut self) -> (Lease, Option<Cause>) {
        match self.next().await {
            Some(Down::Cancel { lease, cause, reason: _ }) => (lease, cause),
            other => panic!("expected a cancel, got {other:?}"),
        }
    }

    pub(crate) async fn complete(&self, lease: Lease, answer: Answer) -> Result<bool, CommandError> {
        in_time(self.runtime.complete(lease, answer, String::new())).await
    }

    /// Takes one assignment and answers it with success.
    pub(crate) async fn do_one(&mut self) -> Lease {
        let lease = self.work().await.lease;
        assert_eq!(self.complete(lease, success()).await, Ok(false));
        lease
    }
}

/// Fails a test that would hang.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.expect("it must not hang")
}

pub(crate) fn agent(name: &str) -> AgentName {
    name.parse().expect("a valid name")
}

pub(crate) fn json(value: serde_json::Value) -> Payload {
    Payload::from_json(&value)
}

pub(crate) fn draft() -> ContractDraft {
    ContractDraft {
        goal: "count the words".to_owned(),
        first_agent: Some("a".to_owned()),
        owner: "a".to_owned(),
        budget: Some(BudgetDraft { max_tokens: 100_000, ..BudgetDraft::default() }),
        limits: Some(LimitsDraft { deadline: Some(3_600_000_000), ..LimitsDraft::default() }),
        termination: Some(TerminationDraft {
            result_schema: Some(json(serde_json::json!({"type": "object", "required": ["words"]}))),
            ..TerminationDraft::default()
        }),
        ..ContractDraft::default()
    }
}

pub(crate) fn complete(draft: &ContractDraft) -> Contract {
    intake::complete(draft, &Ceilings::default(), &|_| true).expect("a complete contract")
}

pub(crate) fn contract() -> Contract {
    complete(&draft())
}

pub(crate) fn keyed(key: &str) -> Contract {
    complete(&ContractDraft { idempotency_key: key.to_owned(), ..draft() })
}

pub(crate) fn usage(tokens: u64) -> Usage {
    Usage { input: tokens, ..Usage::default() }
}

pub(crate) fn envelope(status: Status, result: Option<Payload>) -> Envelope {
    Envelope {
        status,
        result,
        confidence: Confidence::new(1.0),
        reason: "because".to_owned(),
        usage: Some(usage(150)),
        inputs_used: Vec::new(),
        retryable: false,
        directive: None,
        score: None,
    }
}

/// An answer that passes the gate, 150 tokens.
pub(crate) fn success() -> Answer {
    Answer::Envelope(envelope(Status::Success, Some(json(serde_json::json!({"words": 3})))))
}
