//! What a shard knows of halts: what its tasks are known by, and when all that it has decided is durable.

use tokio::sync::oneshot;

use super::{Shard, batch::Release};
use crate::{
    engine::task::Task,
    runtime::dispatch::{Halting, Slot},
    types::{halt::marks, ids::TaskId},
};

impl Shard {
    fn task(&self, id: TaskId) -> Option<&Task> {
        self.residents.get(id).map(|resident| &resident.task)
    }

    /// The marks of the task's labels and of those above it.
    pub(super) fn marks(&self, id: TaskId) -> Box<[u64]> {
        self.task(id).map(|task| marks(task.labels())).unwrap_or_default()
    }

    /// What a halt knows the task's leases by.
    pub(super) fn halting(&self, id: TaskId) -> Option<Halting> {
        let task = self.task(id)?;
        Some(Halting { owner: task.contract().owner.clone(), marks: marks(task.labels()) })
    }

    /// Whether the slot's turn may not be assigned any more.
    pub(super) fn is_halted(&self, slot: &Slot) -> bool {
        let halted = self.shared.halts.now();
        !halted.is_empty() && halted.stops(&slot.agent, &self.marks(slot.key.task))
    }

    /// Says when all that was decided by now has met its fate.
    pub(super) fn pass_barrier(&mut self, passed: oneshot::Sender<()>) {
        // Whoever waited may have gone.
        let release = Release::Answer(Box::new(move |_| {
            let _ = passed.send(());
        }));
        if !self.batch.is_empty() {
            self.batch.releases.push(release);
        } else if let Some(newest) = self.in_flight.back_mut() {
            newest.releases.push(release);
        } else {
            self.release(release, None);
        }
    }
}
