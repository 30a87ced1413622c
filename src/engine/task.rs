//! The aggregate's face.

use std::sync::Arc;

use super::{
    command::{Command, Effect, Env, LineageEntry, LiveLease, Rejection, Reply},
    event::{Record, TraceContext},
    view::{EscalationView, SummaryView, TaskView},
};
use crate::types::{
    contract::Contract,
    ids::{Lease, TaskId},
    payload::Payload,
    time::Timestamp,
};

/// One task: the state that its events add up to.
#[derive(Debug, Clone)]
pub struct Task {
    id: TaskId,
}

/// What one decision yields. The state has already been changed (staged); nothing of it may be seen outside before the
/// records are durable. If they cannot be made durable, drop the task and replay it.
#[derive(Debug)]
pub struct Decided {
    /// What to answer.
    pub reply: Reply,
    /// The new events. May be empty (a harmless repeat): then the reply may go out at once.
    pub records: Vec<Record>,
    /// What to do once they are durable.
    pub effects: Vec<Effect>,
    /// Questions that changed, as they stand now.
    pub escalations: Vec<EscalationView>,
}

/// What recovery must do for a task that is open.
#[derive(Debug, Default)]
pub struct Outstanding {
    /// Turns to offer to the dispatcher (`Effect::Ready` only).
    pub ready: Vec<Effect>,
    /// Leases that get one lease period from now.
    pub leases: Vec<LiveLease>,
}

/// The journal of a task cannot be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task {task} cannot be replayed at event {seq}: {what}")]
pub struct ReplayError {
    /// The task.
    pub task: TaskId,
    /// The event.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

#[allow(clippy::unimplemented, unused_variables)]
impl Task {
    /// Starts a task under its contract.
    pub fn submit(
        id: TaskId,
        contract: Arc<Contract>,
        fingerprint: u128,
        trace: TraceContext,
        env: Env<'_>,
    ) -> (Self, Decided) {
        unimplemented!()
    }

    /// Decides a command. On a rejection nothing has changed.
    pub fn decide(&mut self, command: Command, env: Env<'_>) -> Result<Decided, Rejection> {
        unimplemented!()
    }

    /// Rebuilds a task from all its events, in order.
    pub fn replay(id: TaskId, records: impl IntoIterator<Item = Record>) -> Result<Self, ReplayError> {
        unimplemented!()
    }

    /// What is outstanding: the pure plan of recovery.
    pub fn outstanding(&self) -> Outstanding {
        unimplemented!()
    }

    /// The earliest time strictly after `after` (pass the present) at which a `Tick` may change something; a time that is
    /// already due is returned as it is. `None`: never.
    pub fn next_timer(&self, after: Timestamp) -> Option<Timestamp> {
        unimplemented!()
    }

    /// The id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The number of the last event.
    pub fn seq(&self) -> u64 {
        unimplemented!()
    }

    /// Whether it has ended.
    pub fn is_ended(&self) -> bool {
        unimplemented!()
    }

    /// The contract.
    pub fn contract(&self) -> &Arc<Contract> {
        unimplemented!()
    }

    /// The hash of the contract as it came in.
    pub fn fingerprint(&self) -> u128 {
        unimplemented!()
    }

    /// The schema that the answer under a live lease must be checked against; `None`: no check is due.
    pub fn schema_for(&self, lease: &Lease) -> Option<&Payload> {
        unimplemented!()
    }

    /// The task in a line.
    pub fn summary(&self) -> SummaryView {
        unimplemented!()
    }

    /// The task in full.
    pub fn view(&self) -> TaskView {
        unimplemented!()
    }

    /// The whole lineage a live lease may read, oldest first.
    pub fn lineage(&self, lease: &Lease) -> Result<Vec<LineageEntry>, Rejection> {
        unimplemented!()
    }
}
