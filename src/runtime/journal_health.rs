//! Whether the journal takes anything. A commit that fails for the storage's sake (full, read-only, broken) raises a doubt, which
//! is looked into at once. Where nothing can be written, or commit after commit fails, nothing new is let in and nothing is given
//! out until something could be written again; brakes and answers are still tried.
//!
//! Never here: a verdict from anything but what was written, or was not.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{clock::Now, hands::Hands};
use crate::{
    store::{Store, StoreError},
    types::time::{Span, Timestamp},
};

/// How often it is tried whether the journal takes something again; and what callers are told to wait.
pub(super) const TRY_EVERY: Span = Span::from_secs(1);
/// The number that is written to try.
const PROBE: &str = "journal_probe";
/// Commits that fail in a row before no more is asked: a small write may still fit where none of them does.
const IN_A_ROW: u32 = 3;

/// The journal takes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal takes nothing since {since} ({error}): nothing new is accepted until it does; look at the server's disk"
)]
pub struct JournalFailing {
    /// Since when.
    pub since: Timestamp,
    /// What the storage said.
    pub error: String,
}

/// What is known of the journal. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct JournalHealth(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    failing: watch::Sender<Option<Arc<JournalFailing>>>,
    /// Commits that have failed since one was kept.
    in_a_row: u32,
    /// The first of them, until it was looked into.
    doubt: Option<JournalFailing>,
    /// Rings when there is a doubt, or a change: for whoever tries.
    to_try: Arc<Notify>,
    /// One for each part of the runtime that wants to hear, rung in this order: a watch channel wakes them in any.
    bells: Vec<Arc<Notify>>,
}

impl Known {
    fn is_failing(&self) -> bool {
        self.failing.borrow().is_some()
    }

    fn change(&self, failing: Option<JournalFailing>) {
        self.failing.send_replace(failing.map(Arc::new));
        self.bells.iter().chain([&self.to_try]).for_each(|bell| bell.notify_one());
    }
}

impl JournalHealth {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Every change under this lock is whole before anything that could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing can be written, if that is so.
    pub(super) fn failing(&self) -> Option<Arc<JournalFailing>> {
        self.known().failing.borrow().clone()
    }

    /// A commit failed. One that failed for its own sake says nothing of the journal. Says whether this is news.
    pub(super) fn failed(&self, error: &StoreError, now: Timestamp) -> bool {
        let StoreError::Unavailable(what) = error else { return false };
        let mut known = self.known();
        if known.is_failing() {
            return false;
        }
        known.in_a_row += 1;
        let fails = known.in_a_row >= IN_A_ROW;
        let failing = JournalFailing { since: now, error: what.clone() };
        let failing = known.doubt.take().unwrap_or(failing);
        if fails {
            known.change(Some(failing));
        } else {
            known.doubt = Some(failing);
            known.to_try.notify_one();
        }
        fails
    }

    /// What has been tried came to this. Says whether it is news that nothing can be written.
    fn tried(&self, result: &Result<(), StoreError>) -> bool {
        let mut known = self.known();
        let doubt = known.doubt.take();
        match (result, doubt) {
            (Ok(()), _) if known.is_failing() => {
                drop(known);
                self.works();
                false
            }
            (Err(_), Some(failing)) => {
                known.change(Some(failing));
                true
            }
            (Ok(()) | Err(_), _) => false,
        }
    }

    /// Something was written.
    pub(super) fn works(&self) {
        let mut known = self.known();
        (known.in_a_row, known.doubt) = (0, None);
        if known.is_failing() {
            known.change(None);
            drop(known);
            tracing::info!("the journal takes commits again");
        }
    }

    /// What is known, for those outside.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<JournalFailing>>> {
        self.known().failing.subscribe()
    }

    /// A bell that rings at every change.
    pub(super) fn bell(&self) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.known().bells.push(Arc::clone(&bell));
        bell
    }

    /// Tries, while the journal takes nothing, whether it does again. Ends when it is told to; it leaves no tasks.
    pub(super) async fn keep_trying(
        self,
        store: Arc<dyn Store>,
        hands: Hands,
        now: Now,
        stop: CancellationToken,
    ) -> usize {
        let bell = Arc::clone(&self.known().to_try);
        loop {
            let (failing, doubted) = {
                let known = self.known();
                (known.is_failing(), known.doubt.is_some())
            };
            // A doubt is looked into at once; what is known to fail, every now and then.
            let next = failing.then(|| now.read().plus(TRY_EVERY));
            if !doubted {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return 0,
                    () = bell.notified() => continue,
                    () = now.wait(next) => {}
                }
            }
            let (store, at) = (Arc::clone(&store), now.read());
            let result = hands.run(move || store.set_number(PROBE, at.0)).await.and_then(|tried| tried);
            if self.tried(&result) {
                tracing::error!("the journal takes nothing: nothing new is accepted until it does");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_after_commit_or_a_try_that_fails_makes_it_fail_and_a_commit_that_is_kept_mends_it() {
        let health = JournalHealth::default();
        let at = Timestamp(7);
        let full = StoreError::Unavailable("disk full".to_owned());
        assert!(!health.failed(&StoreError::Corrupt("a task".to_owned()), at));
        assert!(!health.tried(&Ok(())) && !health.tried(&Err(full.clone())), "no doubt was raised");
        // One that fails, and a try that does not: nothing.
        assert!(!health.failed(&full, at) && !health.tried(&Ok(())));
        assert_eq!(health.failing(), None);
        // The third in a row, whatever the tries say.
        assert!(!health.failed(&full, Timestamp(8)) && !health.tried(&Ok(())));
        assert!(health.failed(&full, Timestamp(9)), "news");
        assert!(!health.failed(&full, Timestamp(10)), "no news");
        let failing = health.failing().expect("it fails");
        assert_eq!((failing.since, failing.error.as_str()), (Timestamp(9), "disk full"));
        health.works();
        assert_eq!(health.failing(), None);
        // The first, where a try fails too; and a try that does not mends it.
        assert!(!health.failed(&full, at) && health.tried(&Err(full)));
        assert!(health.failing().is_some());
        assert!(!health.tried(&Ok(())));
        assert_eq!(health.failing(), None);
    }
}
