//! A durable place in the log under a name of its own: what makes a follower of the log go on where it was after a restart.
//!
//! Never here: what was read, or when it counts as done. Whoever follows the log says when its place is safe to keep.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::store::{Store, StoreError};

/// The cursor could not be read or kept. What it stood at before still counts.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The thread that asked the store failed.
    #[error("the store could not be asked: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// A named place in the log.
pub struct Cursor {
    store: Arc<dyn Store>,
    name: Arc<str>,
    /// What the store holds, as far as it is known.
    saved: Option<u64>,
    saved_at: Instant,
}

impl Cursor {
    /// The cursor of that name in the store. It is not read yet.
    pub fn new(store: Arc<dyn Store>, name: &str) -> Self {
        Self { store, name: name.into(), saved: None, saved_at: Instant::now() }
    }

    /// Reads the place; `None`: it was never kept.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn load(&mut self) -> Result<Option<u64>, CursorError> {
        let (store, name) = (Arc::clone(&self.store), Arc::clone(&self.name));
        self.saved = tokio::task::spawn_blocking(move || store.number(&name)).await??;
        Ok(self.saved)
    }

    /// Makes the place durable. Costs nothing where it is already.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn save(&mut self, place: u64) -> Result<(), CursorError> {
        self.saved_at = Instant::now();
        if self.saved == Some(place) {
            return Ok(());
        }
        let (store, name) = (Arc::clone(&self.store), Arc::clone(&self.name));
        tokio::task::spawn_blocking(move || store.set_number(&name, place)).await??;
        self.saved = Some(place);
        Ok(())
    }

    /// Whether the place was last kept at least so long ago.
    pub fn is_due(&self, every: Duration) -> bool {
        self.saved_at.elapsed() >= every
    }
}
