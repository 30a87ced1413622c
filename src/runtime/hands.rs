//! Who does what blocks or computes for long: threads that are made for it or, in a simulation, whoever asks, after a wait
//! that the simulation chooses. Never here: work of its own.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use tokio::task::{AbortHandle, JoinSet};

use crate::store::StoreError;

/// A wait, over when the simulation says so.
pub type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is about to be done in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A look into the store, a check of an answer, or the start's recovery.
    Call,
    /// A commit of what waits for the journal.
    Commit,
}

/// Says how long work takes that takes no time of its own.
pub trait Pace: fmt::Debug + Send + Sync + 'static {
    /// The wait before the work.
    fn before(&self, work: Work) -> Wait;
}

/// Who does what blocks.
#[derive(Debug, Clone, Default)]
pub enum Hands {
    /// Threads beside the async ones, and one for the journal.
    #[default]
    Threads,
    /// Whoever asks, in place: nothing ever runs beside anything else, so that a run can be repeated. For a store that never
    /// blocks, on a runtime of one thread.
    InPlace(Arc<dyn Pace>),
}

impl Hands {
    /// Runs `work` where blocking is allowed. An error only when the work panicked or the process is going away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        match self {
            Self::Threads => tokio::task::spawn_blocking(work)
                .await
                .map_err(|error| StoreError::Unavailable(format!("a read was broken off: {error}"))),
            Self::InPlace(pace) => {
                pace.before(Work::Call).await;
                Ok(work())
            }
        }
    }

    /// Runs `work` as one of `set`.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        set: &mut JoinSet<T>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> AbortHandle {
        match self {
            Self::Threads => set.spawn_blocking(work),
            Self::InPlace(pace) => {
                let wait = pace.before(Work::Call);
                set.spawn(async move {
                    wait.await;
                    work()
                })
            }
        }
    }

    /// Whether work is done by whoever asks.
    pub(super) const fn are_in_place(&self) -> bool {
        matches!(self, Self::InPlace(_))
    }
}
