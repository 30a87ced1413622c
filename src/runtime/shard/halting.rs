//! What a shard knows of halts: what its tasks are known by, and when all that it has decided is durable; and what
//! the burn-rate guard hears of its attempts. Never here: a halt.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Shard, batch::Release};
use crate::{
    engine::{command::Command, task::Task},
    runtime::{
        dispatch::{Halting, Slot},
        halter::Job,
    },
    store::StoreError,
    types::{
        halt::marks,
        ids::{Lease, TaskId},
        time::Timestamp,
        usage::Usage,
    },
};

impl Shard {
    fn task(&self, id: TaskId) -> Option<&Task> {
        self.residents.get(id).map(|resident| &*resident.task)
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
        !halted.is_empty() && halted.stops(slot.agent(), &self.marks(slot.key.task))
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

    /// What the attempt under the lease has used, where somebody counts it.
    pub(super) fn metered(&self, command: &Command) -> Option<(Lease, Usage)> {
        if self.shared.halts.burn.is_off() {
            return None;
        }
        let (Command::Usage { lease, .. } | Command::Complete { lease, .. }) = command else { return None };
        let used = self.task(lease.task)?.used_under(lease).map(|(_, used)| used);
        Some((*lease, used.unwrap_or_default()))
    }

    /// Counts what the attempt has used beyond what it had before, once that is durable.
    pub(super) fn meter(&mut self, lease: Lease, before: Usage, now: Timestamp) {
        let Some(task) = self.task(lease.task) else { return };
        let Some((agent, used)) = task.used_under(&lease) else { return };
        let beyond = used.beyond(before);
        if beyond == Usage::default() {
            return;
        }
        let agent = agent.clone();
        let labels: Vec<_> = task.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let (burn, jobs) = (Arc::clone(&self.shared.halts.burn), self.shared.halts.jobs.clone());
        let count = move |failed: Option<StoreError>| {
            if failed.is_none() {
                for burned in burn.count(now, &agent, &labels, beyond) {
                    // A halter that has gone has gone with the server.
                    let _ = jobs.send(Job::Burned(burned));
                }
            }
        };
        self.hold(lease.task, Release::Answer(Box::new(count)));
    }
}
