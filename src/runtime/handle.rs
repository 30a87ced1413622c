//! The face: what the service may ask of the runtime. Every call is short: it finds the shard, asks, and waits for the
//! answer. Never here: a channel in a public signature, but for a session's own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::sync::{mpsc, watch};

use super::{
    AgentInfo, AgentRecord, Cancelled, CommandError, Down, Entropy, OpenError, Opened, Overloaded, ReadError,
    Registration, RuntimeOptions, SessionError, SessionId, SubmitError, Submitted, Watch, WorkerInfo,
    answer_check::AnswerCheck,
    clock::Now,
    codec,
    courier::Errands,
    dispatch::{Arrival, Dispatch},
    entropy::uuid_v7,
    halts::Halts,
    hands::Hands,
    intake::{Full, Intake, Place},
    journal_health::{JournalFailing, JournalHealth},
    questions::Questions,
    recovery::Recovering,
    registry::Registry,
    shard::{Answered, Asked, Mailbox, Outcome, Request, Submission},
    tallies,
    watchers::Watchers,
};
use crate::{
    engine::{
        answer_checks::AnswerChecks,
        command::{Agents, Command, Reply},
        event::TraceContext,
        view::{SummaryView, TaskView},
    },
    store::{
        Store, StoreError,
        record::{PageAfter, TaskFilter},
        writer::Backlog,
    },
    types::{
        contract::Contract,
        ids::{AgentName, Namespace, TaskId},
        limits::Ceilings,
        time::Span,
    },
};

mod asking;
mod cancel_many;
mod chaos;
mod child;
mod circuits;
mod dead_letter;
mod drill;
mod halt;
mod lease;
mod person;
mod recall;
mod saying;

pub use asking::Asking;
pub use cancel_many::CancelPage;
pub use dead_letter::{Discard, RedriveOf};
pub use halt::{HaltWatch, Halted, Lift};
pub use person::PersonAnswer;
pub use saying::{Heard, Saying};

/// How long to wait when too many tasks or sessions are open: they end at their own pace.
const FULL_RETRY: Span = Span::from_secs(1);

/// The runtime's handle. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(pub(super) Arc<Inner>);

/// What every handle shares.
pub(super) struct Inner {
    pub(super) options: RuntimeOptions,
    pub(super) store: Arc<dyn Store>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) registry: Arc<Registry>,
    pub(super) watchers: Arc<Watchers>,
    pub(super) questions: Arc<Questions>,
    pub(super) log_end: watch::Sender<u64>,
    pub(super) intake: Intake,
    pub(super) now: Now,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) answer_check: AnswerCheck,
    pub(super) closing: AtomicBool,
    pub(super) next_shard: AtomicUsize,
    pub(super) errands: Errands,
    pub(super) halts: Arc<Halts>,
    pub(super) hands: Hands,
    pub(super) recovering: Recovering,
    pub(super) health: JournalHealth,
    pub(super) backlog: Backlog,
}

/// An error of a call that may not get in, or may never hear how it went.
pub(super) trait Refusal: From<Overloaded> + From<StoreError> {
    const SHUTTING_DOWN: Self;
}

impl Refusal for SubmitError {
    const SHUTTING_DOWN: Self = Self::ShuttingDown;
}

impl Refusal for ReadError {
    const SHUTTING_DOWN: Self = Self::ShuttingDown;
}

impl Refusal for CommandError {
    const SHUTTING_DOWN: Self = Self::ShuttingDown;
}

impl Runtime {
    /// Puts a command to a task.
    fn command(
        &self,
        task: TaskId,
        command: Command,
        checked: Option<AnswerChecks>,
    ) -> Asking<Answered, CommandError> {
        let arrived = self.0.now.read();
        self.ask(task, Err(CommandError::NotFound { task }), |answer| {
            Request::Command(Box::new(Asked { task, command, checked, arrived, answer }))
        })
    }

    /// Puts a command that needs no check to a task.
    pub(super) async fn decide(&self, task: TaskId, command: Command) -> Result<Outcome, CommandError> {
        match self.command(task, command, None).await? {
            Answered::Decided(outcome) => Ok(*outcome),
            // Only answers to turns are checked, and those do not come this way.
            Answered::Check(_) => Err(CommandError::NotFound { task }),
        }
    }

    fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Acquire)
    }
}

/// Tasks.
impl Runtime {
    /// Accepts a task. The answer comes when it is durable.
    ///
    /// # Errors
    /// See [`SubmitError`].
    pub fn submit(
        &self,
        contract: Contract,
        fingerprint: u128,
        trace: TraceContext,
    ) -> Asking<Submitted, SubmitError> {
        if self.is_closing() {
            return Asking::known(Err(SubmitError::ShuttingDown));
        }
        if let Some(failing) = self.0.health.failing() {
            return Asking::known(Err(SubmitError::JournalFailing(JournalFailing::clone(&failing))));
        }
        let place = match self.place_in(&contract.namespace) {
            Ok(place) => place,
            Err(full) => return Asking::known(Err(full)),
        };
        let shards = self.0.options.shards;
        let (id, keyed) = match &contract.idempotency_key {
            Some(key) => (TaskId::from_key(key, shards), true),
            None => (self.new_id(), false),
        };
        let contract = Arc::new(contract);
        self.ask(id, Err(SubmitError::ShuttingDown), |answer| {
            let parent = None;
            Request::Submit(Box::new(Submission {
                id,
                keyed,
                contract,
                fingerprint,
                trace,
                parent,
                place,
                answer,
                ticket: None,
            }))
        })
    }

    /// A place among the open tasks of a namespace.
    fn place_in(&self, namespace: &Namespace) -> Result<Place, SubmitError> {
        self.0.intake.try_take(namespace).map_err(|full| match full {
            Full::Server => self.full().into(),
            Full::Namespace(limit) => {
                SubmitError::NamespaceFull { namespace: namespace.clone(), limit, retry_after: FULL_RETRY }
            }
        })
    }

    /// A place among the open tasks, whatever its namespace has: for a child, whose parent is open already.
    fn place(&self) -> Result<Place, Overloaded> {
        self.0.intake.try_take_any().ok_or_else(|| self.full())
    }

    pub(super) fn full(&self) -> Overloaded {
        let what = format!("{} tasks are open, the most there may be", self.0.intake.max());
        Overloaded::new(FULL_RETRY, what)
    }

    /// An id of a task without a key: shards take it in turns.
    fn new_id(&self) -> TaskId {
        let turn = self.0.next_shard.fetch_add(1, Ordering::Relaxed) % usize::from(self.0.options.shards);
        let shard = u16::try_from(turn).unwrap_or(0);
        TaskId::with_shard(uuid_v7(&*self.0.entropy, self.0.now.read()), shard)
    }

    /// A task in full, as far as it is durable.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn get(&self, task: TaskId) -> Result<TaskView, ReadError> {
        self.ask(task, Err(ReadError::NotFound { task }), |answer| Request::View(task, answer)).await
    }

    /// Tasks that fit, newest first, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    pub async fn list(
        &self,
        filter: TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryView>, ReadError> {
        let store = Arc::clone(&self.0.store);
        let rows = self.0.hands.run(move || {
            let rows = store.list(&filter, after, limit)?;
            rows.iter().map(codec::summary).collect::<Result<_, StoreError>>()
        });
        Ok(rows.await??)
    }

    /// The task's events with a greater `seq` than `after`, then those to come.
    ///
    /// # Errors
    /// NotFound, or the store failed.
    pub async fn watch(&self, task: TaskId, after: u64) -> Result<Watch, ReadError> {
        let (store, watchers) = (Arc::clone(&self.0.store), Arc::clone(&self.0.watchers));
        Watch::start(store, watchers, self.0.hands.clone(), task, after).await
    }

    /// Ends a task for its client. Harmless on one that has ended.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn cancel(&self, task: TaskId, reason: String) -> Result<Cancelled, CommandError> {
        let outcome = self.decide(task, Command::Cancel { reason }).await?;
        let already_ended = matches!(outcome.reply, Reply::Cancelled { already_ended: true });
        let summary = outcome.summary.ok_or(CommandError::NotFound { task })?;
        Ok(Cancelled { summary, already_ended })
    }

    /// The log's end as far as it is known: changes after every commit; 0 before the first. Tells a reader of `Store::log`
    /// when to read on.
    pub fn log_end(&self) -> watch::Receiver<u64> {
        self.0.log_end.subscribe()
    }

    /// Whether every task that was open when the server started is known. Until then they are served all the same: what is
    /// asked of one that was not read yet has it read.
    pub fn is_recovered(&self) -> bool {
        self.0.recovering.is_over()
    }

    /// Why the journal takes nothing, while that is so: `None` is health.
    pub fn journal_failing(&self) -> watch::Receiver<Option<Arc<JournalFailing>>> {
        self.0.health.watch()
    }

    /// Submissions that wait for the journal's writer.
    pub fn journal_waiting(&self) -> usize {
        self.0.backlog.waiting()
    }

    /// Tasks that may be open at once.
    pub fn max_open_tasks(&self) -> usize {
        self.0.intake.max()
    }

    /// Tasks that are open.
    pub fn open_tasks(&self) -> usize {
        self.0.intake.open()
    }
}

/// Agents and workers.
impl Runtime {
    /// Whether a worker has ever served the agent.
    pub fn is_known(&self, agent: &AgentName) -> bool {
        self.0.registry.is_known(agent)
    }

    /// Every agent ever seen, by name.
    pub fn agents(&self) -> Vec<AgentInfo> {
        self.0.dispatch.agents(self.0.registry.rows())
    }

    /// The record of every agent that has one: how it was judged, and how it judged.
    ///
    /// # Errors
    /// The store failed.
    pub async fn agent_records(&self) -> Result<BTreeMap<AgentName, AgentRecord>, ReadError> {
        let store = Arc::clone(&self.0.store);
        let sums = self.0.hands.run(move || store.numbers(tallies::PREFIX)).await??;
        Ok(tallies::records(sums))
    }

    /// Every connected worker, by id.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        self.0.dispatch.workers()
    }

    /// Whether one of a contract's first agents has declared what it takes.
    pub fn has_input_schema(&self, contract: &Contract) -> bool {
        self.0.answer_check.has_input_schema(contract)
    }

    /// What a contract gives its first agents, against what those declared to take: field and fault. Empty: it fits.
    ///
    /// # Errors
    /// The check was broken off.
    pub async fn check_inputs(&self, contract: &Contract) -> Result<Vec<(String, String)>, StoreError> {
        self.0.answer_check.inputs_of(contract).await
    }

    /// The ceilings of every limit in a contract.
    pub fn ceilings(&self) -> &Ceilings {
        &self.0.options.ceilings
    }

    /// Opens a session; its agents are durable when this returns. The end of the channel is the end of the session: it was
    /// superseded, silent, did not read, or the server stops. Dropping the receiver ends nothing by itself: call
    /// `close_session`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open_session(
        &self,
        registration: Registration,
    ) -> Result<(Opened, mpsc::Receiver<Down>), OpenError> {
        let Registration { worker, agents, max_concurrency, labels, held } = registration;
        let options = &self.0.options;
        if self.is_closing() {
            return Err(OpenError::ShuttingDown);
        }
        if !self.0.dispatch.has_room(&worker, options.max_sessions) {
            let what = format!("{} sessions are open, the most there may be", options.max_sessions);
            return Err(Overloaded::new(FULL_RETRY, what).into());
        }
        let rows = self.0.registry.declared(&agents, self.0.now.read());
        if !rows.is_empty() {
            let store = Arc::clone(&self.0.store);
            let rows = self.0.hands.run(move || store.upsert_agents(&rows).map(|()| rows)).await??;
            self.0.registry.learn(rows);
        }
        self.recall(&held).await?;
        let now = self.0.now.read();
        let session = SessionId(uuid_v7(&*self.0.entropy, now));
        let max_concurrency = max_concurrency.clamp(1, options.max_concurrency);
        let agents = agents.into_iter().map(|(name, _)| name).collect();
        let arrival = Arrival { worker, session, agents, max_concurrency, labels, held };
        let (live, down) = self.0.dispatch.open(arrival, now);
        let (lease_time, heartbeat_interval) = (options.lease_time, options.heartbeat_interval);
        Ok((Opened { session, lease_time, heartbeat_interval, live, max_concurrency }, down))
    }

    /// Asks for up to `slots` more assignments, of one agent or of any.
    ///
    /// # Errors
    /// The session is gone.
    pub fn credit(
        &self,
        session: SessionId,
        slots: u32,
        agent: Option<AgentName>,
    ) -> Result<(), SessionError> {
        self.0.dispatch.credit(session, slots, agent.as_ref(), self.0.now.read())
    }

    /// The worker has been heard: its leases live on.
    ///
    /// # Errors
    /// The session is gone.
    pub fn heartbeat(&self, session: SessionId) -> Result<(), SessionError> {
        self.0.dispatch.heartbeat(session, self.0.now.read())
    }

    /// The worker wants nothing new.
    ///
    /// # Errors
    /// The session is gone.
    pub fn drain_session(&self, session: SessionId) -> Result<(), SessionError> {
        self.0.dispatch.drain(session, self.0.now.read())
    }

    /// The stream is gone: so is its credit. Leases live until they lapse.
    pub fn close_session(&self, session: SessionId) {
        self.0.dispatch.close(session, self.0.now.read());
    }

    /// Stops intake and dispatch, and tells every session to drain. What runs may still be answered.
    pub fn begin_shutdown(&self) {
        if !self.0.closing.swap(true, Ordering::AcqRel) {
            self.0.dispatch.stop();
        }
    }

    /// Ends every session and every watch.
    pub(super) fn end_streams(&self) {
        self.0.dispatch.close_all(self.0.now.read());
        self.0.watchers.close();
        self.0.questions.close();
    }
}
