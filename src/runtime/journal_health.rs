//! Whether the journal takes anything. When a commit fails for the storage's sake (full, read-only, broken), nothing new is let
//! in and nothing is given out until something could be written again; brakes and answers are still tried.
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
    /// One for each part of the runtime that wants to hear, rung in this order: a watch channel wakes them in any.
    bells: Vec<Arc<Notify>>,
}

impl Known {
    fn is_failing(&self) -> bool {
        self.failing.borrow().is_some()
    }

    fn change(&self, failing: Option<JournalFailing>) {
        self.failing.send_replace(failing.map(Arc::new));
        self.bells.iter().for_each(|bell| bell.notify_one());
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
        let known = self.known();
        if known.is_failing() {
            return false;
        }
        known.change(Some(JournalFailing { since: now, error: what.clone() }));
        true
    }

    /// Something was written.
    pub(super) fn works(&self) {
        let known = self.known();
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
        let bell = self.bell();
        loop {
            while self.failing().is_none() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return 0,
                    () = bell.notified() => {}
                }
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return 0,
                () = now.wait(Some(now.read().plus(TRY_EVERY))) => {}
            }
            let (store, at) = (Arc::clone(&store), now.read());
            let tried = hands.run(move || store.set_number(PROBE, at.0)).await.and_then(|tried| tried);
            match tried {
                Ok(()) => self.works(),
                Err(error) => tracing::debug!(%error, "the journal still takes nothing"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_storage_makes_it_fail_and_only_the_first_failure_is_news() {
        let health = JournalHealth::default();
        let at = Timestamp(7);
        assert!(!health.failed(&StoreError::Corrupt("a task".to_owned()), at));
        assert_eq!(health.failing(), None);
        assert!(health.failed(&StoreError::Unavailable("disk full".to_owned()), at));
        assert!(!health.failed(&StoreError::Unavailable("still".to_owned()), Timestamp(9)));
        let failing = health.failing().expect("it fails");
        assert_eq!((failing.since, failing.error.as_str()), (at, "disk full"));
        health.works();
        assert_eq!(health.failing(), None);
        assert!(health.failed(&StoreError::Unavailable("again".to_owned()), at), "news again");
    }
}
