//! The face: signatures first; what is behind them lands next.
#![allow(clippy::unimplemented, unused_variables)]

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{
    AgentInfo, Cancelled, Clock, CommandError, Down, Entropy, Grant, OpenError, Opened, ReadError,
    Registration, RuntimeOptions, SessionError, SessionId, StartError, SubmitError, Submitted, WorkerInfo,
};
use crate::{
    engine::{
        command::{HumanAnswer, LineageEntry},
        event::{Record, TraceContext},
        view::{EscalationView, SummaryView, TaskView},
    },
    store::{
        Store,
        record::{PageAfter, TaskFilter},
    },
    types::{
        contract::Contract,
        envelope::{Answer, WorkStep},
        ids::{AgentName, EscalationId, Lease, TaskId},
        limits::Ceilings,
        payload::Payload,
        time::Timestamp,
        usage::Usage,
    },
};

/// The runtime's handle. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    options: Arc<RuntimeOptions>,
}

/// What runs behind a runtime. Whoever started it must shut it down.
pub struct RuntimeTasks {}

/// How a shutdown went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Whether every commit was finished within the grace.
    pub clean: bool,
    /// The tasks of the runtime that had to be stopped by force.
    pub aborted: Vec<String>,
    /// Open tasks left for the next start.
    pub open_tasks: usize,
}

/// A task's events, replayed from a cursor and then followed.
pub struct Watch {}

impl Watch {
    /// The next event; with the newest of a burst comes the task's summary. `None` after the outcome.
    pub async fn next(&mut self) -> Option<Result<(Record, Option<SummaryView>), ReadError>> {
        unimplemented!()
    }
}

impl RuntimeTasks {
    /// Waits until one of the tasks stops that never should; says which.
    pub async fn failed(&mut self) -> String {
        unimplemented!()
    }

    /// Finishes what has been accepted and stops. `grace` is the hard limit.
    pub async fn shutdown(self, grace: Duration) -> ShutdownReport {
        unimplemented!()
    }
}

impl Runtime {
    /// Recovers every open task of the store, then starts. Call it inside a tokio runtime.
    pub async fn start(
        store: Arc<dyn Store>,
        options: RuntimeOptions,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, RuntimeTasks), StartError> {
        unimplemented!()
    }

    /// Accepts a task. Returns when it is durable.
    pub async fn submit(
        &self,
        contract: Contract,
        fingerprint: u128,
        trace: TraceContext,
    ) -> Result<Submitted, SubmitError> {
        unimplemented!()
    }

    /// A task in full.
    pub async fn get(&self, task: TaskId) -> Result<TaskView, ReadError> {
        unimplemented!()
    }

    /// Tasks that fit, newest first.
    pub async fn list(
        &self,
        filter: TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryView>, ReadError> {
        unimplemented!()
    }

    /// The task's events with a greater `seq` than `after`, then those to come.
    pub async fn watch(&self, task: TaskId, after: u64) -> Result<Watch, ReadError> {
        unimplemented!()
    }

    /// Ends a task for its client.
    pub async fn cancel(&self, task: TaskId, reason: String) -> Result<Cancelled, CommandError> {
        unimplemented!()
    }

    /// Questions in one of `states` ("OPEN", "APPROVED", ...; empty: any), oldest first.
    pub async fn escalations(
        &self,
        states: Vec<String>,
        task: Option<TaskId>,
        after: Option<(Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationView>, ReadError> {
        unimplemented!()
    }

    /// A person's answer.
    pub async fn answer(
        &self,
        id: EscalationId,
        answer: HumanAnswer,
        by: String,
        note: String,
    ) -> Result<EscalationView, CommandError> {
        unimplemented!()
    }

    /// Whether a worker has ever served the agent.
    pub fn is_known(&self, agent: &AgentName) -> bool {
        unimplemented!()
    }

    /// Every agent ever seen, by name.
    pub fn agents(&self) -> Vec<AgentInfo> {
        unimplemented!()
    }

    /// Every connected worker, by id.
    pub fn workers(&self) -> Vec<WorkerInfo> {
        unimplemented!()
    }

    /// The ceilings of every limit in a contract.
    pub fn ceilings(&self) -> &Ceilings {
        &self.options.ceilings
    }

    /// The log's end, as far as it is known: changes after every commit; 0 before the first. A hint for readers of
    /// `Store::log`.
    pub fn log_end(&self) -> watch::Receiver<u64> {
        unimplemented!()
    }

    /// Opens a session; its agents are durable when this returns. Dropping the receiver ends nothing: call
    /// `close_session`.
    pub async fn open_session(
        &self,
        registration: Registration,
    ) -> Result<(Opened, mpsc::Receiver<Down>), OpenError> {
        unimplemented!()
    }

    /// Asks for up to `slots` more assignments, of one agent or of any.
    pub fn credit(
        &self,
        session: SessionId,
        slots: u32,
        agent: Option<AgentName>,
    ) -> Result<(), SessionError> {
        unimplemented!()
    }

    /// The worker has been heard: its leases live on.
    pub fn heartbeat(&self, session: SessionId) -> Result<(), SessionError> {
        unimplemented!()
    }

    /// The worker wants nothing new.
    pub fn drain_session(&self, session: SessionId) -> Result<(), SessionError> {
        unimplemented!()
    }

    /// The stream is gone: so is its credit. Leases live until they lapse.
    pub fn close_session(&self, session: SessionId) {
        unimplemented!()
    }

    /// Records steps and a partial result. Returns when durable.
    pub async fn progress(
        &self,
        lease: Lease,
        steps: Vec<WorkStep>,
        partial: Option<Payload>,
    ) -> Result<(), CommandError> {
        unimplemented!()
    }

    /// Records cumulative usage, priced by the model's name. The allowance now, in tokens; 0 when the lease is not live.
    pub async fn usage(&self, lease: Lease, usage: Usage, model: String) -> Result<u64, CommandError> {
        unimplemented!()
    }

    /// Asks for a greater allowance.
    pub async fn request_budget(&self, lease: Lease, tokens: u64) -> Result<Grant, CommandError> {
        unimplemented!()
    }

    /// Answers the turn. Returns when durable: whether this very answer had been accepted before.
    pub async fn complete(&self, lease: Lease, answer: Answer, model: String) -> Result<bool, CommandError> {
        unimplemented!()
    }

    /// The whole lineage that a live lease may read, oldest first.
    pub async fn lineage(&self, lease: Lease) -> Result<Vec<LineageEntry>, CommandError> {
        unimplemented!()
    }

    /// Stops intake and dispatch, and tells every session to drain. What runs may still be answered.
    pub fn begin_shutdown(&self) {
        unimplemented!()
    }
}
