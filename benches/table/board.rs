//! Where the workers of the bench tell its clients what became of a task: a slot for each number, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Notify, Semaphore};

use crate::stats::nanos;

/// Slots. A number's slot is used again this many numbers later: by then nobody waits for the first any more.
const SLOTS: u64 = 1 << 17;
/// Numbers from here on are counted only: nobody waits for one of them alone.
pub(crate) const COUNTED: u64 = 1 << 40;

#[derive(Default)]
struct Slot {
    /// When the worker had it, or had reported its spending; see [`nanos`].
    begun: AtomicU64,
    /// When it was over.
    over: AtomicU64,
    /// The greatest number that is over.
    last: AtomicU64,
    changed: Notify,
}

/// See the file's header.
pub(crate) struct Board {
    slots: Vec<Slot>,
    next: AtomicU64,
    /// Tasks whose answer was acknowledged.
    pub(crate) done: AtomicU64,
    /// Usage reports and budget requests that were acknowledged.
    pub(crate) reports: AtomicU64,
    /// Room for counted tasks in flight.
    pub(crate) window: Semaphore,
    /// Whether those that report go on.
    pub(crate) reporting: tokio::sync::watch::Sender<bool>,
}

/// When a task began and ended, as [`nanos`] says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) begun: u64,
    pub(crate) over: u64,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            next: AtomicU64::new(1),
            done: AtomicU64::new(0),
            reports: AtomicU64::new(0),
            window: Semaphore::new(0),
            reporting: tokio::sync::watch::Sender::new(false),
        }
    }

    /// A number that no task has.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn slot(&self, number: u64) -> &Slot {
        #[allow(clippy::cast_possible_truncation)] // Below SLOTS.
        &self.slots[(number % SLOTS) as usize]
    }

    /// The worker has it.
    pub(crate) fn begun(&self, number: u64) {
        self.slot(number).begun.store(nanos(), Ordering::Release);
    }

    /// It is over.
    pub(crate) fn over(&self, number: u64) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if number >= COUNTED {
            return self.window.add_permits(1);
        }
        let slot = self.slot(number);
        slot.over.store(nanos(), Ordering::Release);
        slot.last.fetch_max(number, Ordering::AcqRel);
        slot.changed.notify_one();
    }

    /// Waits until it is over.
    pub(crate) async fn wait(&self, number: u64) -> Times {
        let slot = self.slot(number);
        while slot.last.load(Ordering::Acquire) < number {
            slot.changed.notified().await;
        }
        Times { begun: slot.begun.load(Ordering::Acquire), over: slot.over.load(Ordering::Acquire) }
    }
}
