//! The journal in one SQLite file: WAL, `synchronous=FULL`, one writer, a few readers that never wait for it. The folder
//! below is the only place that knows SQLite. Never here: a commit that answers before its fsync, or a second writer.
//!
//! An operator can read the file with `sqlite3` at any time, also while the server runs. Times are microseconds since the
//! Unix epoch (`datetime(at / 1000000, 'unixepoch')`), ids and states are text, bodies and views are JSON.

mod checkpoint;
mod list;
mod lock;
mod open;
mod open_rows;
mod pool;
mod read;
mod text;
mod texts;
mod write;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;

use super::{
    Store, StoreError,
    record::{
        AgentRow, Append, EscalationRow, LogEntry, OpenTask, PageAfter, ParkedNote, StoredEvent, SummaryRow,
        TaskFilter,
    },
};
use crate::types::{
    ids::{EscalationId, TaskId},
    time::Timestamp,
};

/// How many reads can run at the same time; further ones wait for one of them, never for a commit.
const READERS: usize = 4;

/// A journal in a SQLite file that this process alone serves.
pub struct SqliteStore {
    // Dropped in this order: the lock goes last, so that the next server finds the file at rest.
    checkpointer: checkpoint::Checkpointer,
    readers: pool::Pool,
    writer: Arc<Mutex<Connection>>,
    _lock: lock::FileLock,
}

impl SqliteStore {
    /// Opens the database at `path`, or makes it if there is none, and locks it for this process.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if another server has it, if it cannot be written, if another program or a newer version
    /// of this one made it, or if the SQLite library is too old; [`StoreError::Corrupt`] if it is no sound database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        open::check_library(rusqlite::version_number())?;
        let path = open::resolve(path)?;
        let lock = lock::FileLock::take(&path)?;
        let writer = Arc::new(Mutex::new(open::writer(&path)?));
        let readers = (0..READERS).map(|_| open::reader(&path)).collect::<Result<Vec<_>, _>>()?;
        let checkpointer = checkpoint::Checkpointer::start(open::checkpointer(&path)?, Arc::clone(&writer))?;
        Ok(Self { checkpointer, readers: pool::Pool::new(readers), writer, _lock: lock })
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        // A panic in a commit has unwound through its transaction, which rolls back: the connection is as before it.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.checkpointer.stop();
        checkpoint::at_close(&self.writer());
    }
}

impl Store for SqliteStore {
    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError> {
        let end = write::commit(&mut self.writer(), appends)?;
        self.checkpointer.committed(appends.iter().map(Append::weight).sum());
        Ok(end)
    }

    fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.readers.with(|reader| read::events(reader, task, after, limit))
    }

    fn log(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.readers.with(|reader| read::log(reader, after, limit))
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        self.readers.with(read::log_end)
    }

    fn summary(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.readers.with(|reader| read::summary(reader, task))
    }

    fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        self.readers.with(|reader| list::tasks(reader, filter, after, limit))
    }

    fn open_tasks(&self, after: Option<PageAfter>, limit: usize) -> Result<Vec<OpenTask>, StoreError> {
        self.readers.with(|reader| open_rows::open_tasks(reader, after, limit))
    }

    fn open_count(&self) -> Result<u64, StoreError> {
        self.readers.with(open_rows::open_count)
    }

    fn note_parked(&self, notes: &[ParkedNote]) -> Result<(), StoreError> {
        open_rows::note_parked(&mut self.writer(), notes)?;
        self.checkpointer.committed(notes.iter().map(|note| note.parked.len()).sum());
        Ok(())
    }

    fn escalation(&self, id: EscalationId) -> Result<Option<EscalationRow>, StoreError> {
        self.readers.with(|reader| read::escalation(reader, id))
    }

    fn escalations(
        &self,
        states: &[String],
        task: Option<TaskId>,
        after: Option<(Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationRow>, StoreError> {
        self.readers.with(|reader| list::escalations(reader, states, task, after, limit))
    }

    fn upsert_agents(&self, agents: &[AgentRow]) -> Result<(), StoreError> {
        write::upsert_agents(&mut self.writer(), agents)
    }

    fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        self.readers.with(read::agents)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.readers.with(|reader| read::number(reader, name))
    }

    fn numbers(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        self.readers.with(|reader| read::numbers(reader, prefix))
    }

    fn set_number(&self, name: &str, value: u64) -> Result<(), StoreError> {
        write::set_number(&self.writer(), name, value)
    }

    fn texts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.readers.with(|reader| texts::with_prefix(reader, prefix))
    }

    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        texts::set(&self.writer(), name, value)
    }
}

#[cfg(test)]
mod tests;
