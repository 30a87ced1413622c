//! Halting and resuming: the wish, the first stop, and the wait until it is kept.

use std::{collections::BTreeSet, sync::Arc};

use tokio::sync::{oneshot, watch};

use super::Runtime;
use crate::{
    engine::view::TaskView,
    runtime::{HaltError, HaltOrder, HaltProgress, ReadError, halter::Job, halts},
    store::StoreError,
    types::{
        halt::{Halt, HaltMark, HaltScope, HaltSet, Lifted},
        ids::{AgentName, Lease, TaskId},
        time::Timestamp,
    },
};

/// A halt in force. Durable.
#[derive(Debug)]
pub struct Halted {
    /// The halt.
    pub halt: Arc<Halt>,
    /// Whether it had been in force already.
    pub existing: bool,
    /// Attempts that were told to stop.
    pub told: usize,
    /// When the wish came.
    pub began_at: Timestamp,
    /// When the last attempt had been told.
    pub told_at: Timestamp,
    /// How the rest goes.
    pub progress: HaltWatch,
}

/// Follows a halt with a cancel.
pub struct HaltWatch {
    runtime: Runtime,
    leases: Vec<Lease>,
    progress: watch::Receiver<HaltProgress>,
}

impl std::fmt::Debug for HaltWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HaltWatch").finish_non_exhaustive()
    }
}

impl HaltWatch {
    /// Waits until every cancel has been handed to a stream and every task has ended. Dropped before, it may be asked how far
    /// it is.
    pub async fn done(&mut self) {
        let all = self.leases.len();
        // The sender goes when there is nothing more to come.
        let _ = self.progress.wait_for(|progress| progress.handed >= all && progress.swept).await;
    }

    /// How far it is.
    pub fn now(&self) -> HaltProgress {
        *self.progress.borrow()
    }
}

impl Drop for HaltWatch {
    fn drop(&mut self) {
        self.runtime.0.halts.expect_no_more(&self.leases);
    }
}

/// Which halts are to be lifted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lift {
    /// All.
    Everything,
    /// That of exactly this.
    Scope(HaltScope),
    /// That of this number.
    Number(u64),
}

impl Runtime {
    /// Stops intake and dispatch of what the order names, at once; with a cancel, tells every attempt under it to stop, and ends
    /// its tasks. Returns when the halt is durable.
    ///
    /// # Errors
    /// Too many halts; or the store failed: then it is in force all the same until the server stops.
    pub async fn halt(&self, order: HaltOrder) -> Result<Halted, HaltError> {
        let inner = &self.0;
        let (began_at, cancel) = (inner.now.read(), order.cancel);
        let stop = |set: &Arc<HaltSet>| inner.dispatch.set_halted(Arc::clone(set), began_at);
        let (halt, existing) = inner.halts.impose(order, began_at, stop).ok_or(HaltError::TooMany)?;
        tracing::warn!(halt = halt.number, scope = %halt.scope, by = halt.by, reason = halt.reason, cancel, "halted");
        let (progress, watched) = watch::channel(HaltProgress::default());
        let mut leases = Vec::new();
        if cancel {
            let expect = |leases: &[Lease]| inner.halts.expect(leases, &progress);
            let reason = HaltMark::from(&*halt).to_string();
            leases = inner.dispatch.brake(&halt.scope, &reason, began_at, expect);
        }
        let told_at = inner.now.read();
        let (told, tasks) =
            (leases.len(), leases.iter().map(|lease| lease.task).collect::<BTreeSet<TaskId>>());
        let watch = HaltWatch { runtime: self.clone(), leases, progress: watched };
        let (kept, is_kept) = oneshot::channel();
        // A halter that has gone has gone with the server.
        let _ = inner.halts.jobs.send(Job::Keep(Arc::clone(&halt), kept));
        if cancel {
            let _ =
                inner.halts.jobs.send(Job::Sweep(Arc::clone(&halt), tasks.into_iter().collect(), progress));
        } else {
            progress.send_modify(|progress| progress.swept = true);
        }
        is_kept.await.unwrap_or_else(|_| Err(unknown())).map_err(|error| HaltError::NotKept { error })?;
        Ok(Halted { halt, existing, told, began_at, told_at, progress: watch })
    }

    /// Lifts halts, once that is durable: intake and dispatch go on. Returns them, lifted.
    ///
    /// # Errors
    /// There is none to lift; or the store failed, and they stay in force.
    pub async fn resume(&self, what: &Lift, by: String, reason: String) -> Result<Vec<Halt>, HaltError> {
        let set = self.0.halts.now();
        let is_meant = |halt: &&Arc<Halt>| match what {
            Lift::Everything => true,
            Lift::Scope(scope) => halt.scope == *scope,
            Lift::Number(number) => halt.number == *number,
        };
        let halts: Vec<Arc<Halt>> = set.iter().filter(is_meant).cloned().collect();
        if halts.is_empty() {
            return Err(HaltError::NothingToLift);
        }
        let lifted = Lifted { by, reason, at: self.0.now.read() };
        let (answer, answered) = oneshot::channel();
        let _ = self.0.halts.jobs.send(Job::Lift(halts, lifted, answer));
        Ok(answered.await.unwrap_or_else(|_| Err(unknown()))?)
    }

    /// The halts in force.
    pub fn halts(&self) -> Arc<HaltSet> {
        self.0.halts.now()
    }

    /// A halt as it stands, if it is in force.
    pub fn halt_now(&self, scope: &HaltScope) -> Option<Arc<Halt>> {
        self.0.halts.now().get(scope).cloned()
    }

    /// Every halt that is kept, newest first; those in force as they stand now.
    ///
    /// # Errors
    /// The store failed.
    pub async fn all_halts(&self) -> Result<Vec<Halt>, ReadError> {
        let store = Arc::clone(&self.0.store);
        let mut halts = self.0.hands.run(move || halts::all(&*store)).await??;
        let set = self.0.halts.now();
        halts.retain(|halt| halt.lifted.is_some());
        halts.extend(set.iter().map(|halt| Halt::clone(halt)));
        halts.sort_by_key(|halt| std::cmp::Reverse(halt.number));
        halts.dedup_by_key(|halt| halt.number);
        Ok(halts)
    }

    /// The halts that hold a task back.
    pub fn halts_on(&self, task: &TaskView) -> Vec<Arc<Halt>> {
        task.halts(&self.0.halts.now())
    }

    /// The halt that stops an agent, or everything.
    pub fn halt_of(&self, agent: &AgentName) -> Option<Arc<Halt>> {
        self.0.halts.now().of_agent(agent).cloned()
    }

    /// A cancel has been handed to the stream of its worker: measured where a halt waits for it.
    pub fn cancel_handed(&self, lease: &str) {
        let at = || self.0.now.read();
        self.0.halts.handed(lease, at);
    }
}

fn unknown() -> StoreError {
    StoreError::Unavailable(
        "the server stopped before it knew whether this was kept: ask when it is back".to_owned(),
    )
}
