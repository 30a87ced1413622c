//! What a worker says under a lease, over any session or none. All of it may be sent again without harm.

use super::{Heard, Runtime};
use crate::{
    engine::command::{LineageEntry, Rejection},
    runtime::{CommandError, Grant, shard::Request},
    types::{
        envelope::{Answer, WorkStep},
        ids::Lease,
        payload::Payload,
        usage::Usage,
    },
};

impl Runtime {
    /// Records steps and a partial result. Returns when durable.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn progress(
        &self,
        lease: Lease,
        steps: Vec<WorkStep>,
        partial: Option<Payload>,
    ) -> Result<(), CommandError> {
        self.say_progress(lease, steps, partial).await.map(drop)
    }

    /// Records cumulative usage, priced by the model's name. Returns the allowance now, in tokens; 0 when the lease is not
    /// live.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn usage(&self, lease: Lease, usage: Usage, model: String) -> Result<u64, CommandError> {
        match self.say_usage(lease, usage, &model).await? {
            Heard::Usage(allowance) => Ok(allowance),
            _ => Ok(0),
        }
    }

    /// Asks for a greater allowance, in tokens, and says what for (may be empty).
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn request_budget(
        &self,
        lease: Lease,
        tokens: u64,
        reason: String,
    ) -> Result<Grant, CommandError> {
        match self.say_budget(lease, tokens, reason).await? {
            Heard::Budget(grant) => Ok(grant),
            _ => Ok(Grant { granted: 0, allowance: 0, left: 0 }),
        }
    }

    /// Answers the turn. Returns when durable: whether this very answer had been accepted before.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn complete(&self, lease: Lease, answer: Answer, model: String) -> Result<bool, CommandError> {
        let heard = self.say_complete(lease, answer, &model).await?;
        Ok(matches!(heard, Heard::Completed { repeated: true }))
    }

    /// The whole lineage that a live lease may read: dependencies first, then all others, oldest first within each.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn lineage(&self, lease: Lease) -> Result<Vec<LineageEntry>, CommandError> {
        self.0.dispatch.heard_under(&lease, self.0.now.read());
        let absent = Err(CommandError::NotFound { task: lease.task });
        let asked = self.ask(lease.task, absent, |answer| Request::Lineage(lease, answer));
        asked.await.map_err(no_such_lease)
    }
}

/// A lease of a task that never was is no lease.
pub(super) fn no_such_lease(error: CommandError) -> CommandError {
    match error {
        CommandError::NotFound { .. } => CommandError::Rejected(Rejection::LeaseUnknown),
        other => other,
    }
}
