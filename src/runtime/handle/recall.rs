//! Workers that come back while a start is still reading what was left open. Never here: a lease that is said to be gone
//! because nobody has looked.

use std::collections::BTreeSet;

use super::{Refusal, Runtime};
use crate::{
    runtime::{OpenError, shard::Request},
    types::ids::{Lease, TaskId},
};

impl Refusal for OpenError {
    const SHUTTING_DOWN: Self = Self::ShuttingDown;
}

impl Runtime {
    /// Makes sure that all is known that the journal says of these leases. No more of them than a worker can hold.
    ///
    /// # Errors
    /// Too many ask at once, or the store failed: the worker comes again.
    pub(super) async fn recall(&self, held: &[Lease]) -> Result<(), OpenError> {
        let most = usize::try_from(self.0.options.max_concurrency).unwrap_or(usize::MAX);
        let tasks: BTreeSet<TaskId> = held.iter().take(most).map(|lease| lease.task).collect();
        for task in tasks {
            if self.0.recovering.is_over() {
                break;
            }
            // Without such a shard there is no such task.
            self.ask(task, Ok(()), |answer| Request::Recall(task, answer)).await?;
        }
        Ok(())
    }
}
