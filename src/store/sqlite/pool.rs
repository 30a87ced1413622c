//! A few connections that only read, lent out one caller at a time. Never waits for a commit: WAL readers see the last one.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::store::StoreError;

/// The connections nobody has borrowed.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Connection>>,
    returned: Condvar,
}

/// A borrowed connection, given back when dropped, also by a panic.
struct Lent<'p> {
    pool: &'p Pool,
    connection: Option<Connection>,
}

impl Pool {
    /// A pool of these connections; at least one.
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        assert!(!connections.is_empty(), "a pool without connections would wait for ever");
        Self { idle: Mutex::new(connections), returned: Condvar::new() }
    }

    /// Runs `read` on a connection, as soon as one is free.
    pub(super) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut idle = self.idle();
        let connection = loop {
            if let Some(connection) = idle.pop() {
                break connection;
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        };
        drop(idle);
        let lent = Lent { pool: self, connection: Some(connection) };
        let connection = lent.connection.as_ref().expect("it is taken out only by the drop");
        read(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.idle().extend(self.connection.take());
        self.pool.returned.notify_one();
    }
}
