//! A few connections that only read, lent out one caller at a time. Never waits for a commit: WAL readers see the last one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::store::StoreError;

/// Two connections for reading.
#[derive(Debug)]
pub(super) struct Reader {
    /// To the journal and what is kept beside it.
    pub(super) journal: Connection,
    /// To the tables.
    pub(super) views: Connection,
}

/// The readers nobody has borrowed.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Reader>>,
    returned: Condvar,
}

/// A borrowed reader, given back when dropped, also by a panic.
struct Lent<'p> {
    pool: &'p Pool,
    reader: Option<Reader>,
}

impl Pool {
    /// A pool of these readers; at least one.
    pub(super) fn new(readers: Vec<Reader>) -> Self {
        assert!(!readers.is_empty(), "a pool without readers would wait for ever");
        Self { idle: Mutex::new(readers), returned: Condvar::new() }
    }

    /// Runs `read` with a reader, as soon as one is free.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut idle = self.idle();
        let reader = loop {
            if let Some(reader) = idle.pop() {
                break reader;
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        };
        drop(idle);
        let lent = Lent { pool: self, reader: Some(reader) };
        read(lent.reader.as_ref().expect("it is taken out only by the drop"))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.idle().extend(self.reader.take());
        self.pool.returned.notify_one();
    }
}
