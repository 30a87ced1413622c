//! The journal in a SQLite file (WAL, `synchronous=FULL`, one writer), and in a second file the tables that lists and filters
//! need. A commit is one row added to the journal and one fsync. The tables are written behind the commits, many at once;
//! until then reads find what is new in memory, and after a crash it is read from the journal again. The folder below is the
//! only place that knows SQLite. Never here: a commit that answers before its fsync, or a second writer.
//!
//! An operator can read both files with `sqlite3` at any time, also while the server runs; docs/database.md says how. Times
//! are microseconds since the Unix epoch (`datetime(at / 1000000, 'unixepoch')`), ids and states are text, bodies and views
//! are JSON.

mod body;
mod checkpoint;
mod commit;
mod convert;
mod journal;
mod line;
mod list;
mod lock;
mod merge;
mod open;
mod open_rows;
mod overlay;
mod pool;
mod project;
mod projector;
mod read;
mod text;
mod texts;
mod views;
mod write;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;

use super::{
    Fold, Store, StoreError,
    record::{
        AgentRow, Append, EscalationRow, LogEntry, MAX_NUMBER, OpenTask, PageAfter, ParkedNote, StoredEvent,
        SummaryRow, TaskFilter,
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
    // Dropped in this order: the lock goes last, so that the next server finds the files at rest.
    projector: Option<projector::Projector>,
    checkpointer: checkpoint::Checkpointer,
    readers: pool::Pool,
    writer: Arc<Mutex<commit::Committer>>,
    views: Arc<Mutex<Connection>>,
    overlay: Arc<overlay::Overlay>,
    fold: Option<Arc<dyn Fold>>,
    _lock: lock::FileLock,
}

impl SqliteStore {
    /// Opens the database at `path`, or makes it if there is none, and locks it for this process. The tables are beside it,
    /// under its name with "-views" after it; if they are not there, this makes them from the journal, which takes a while.
    /// The journal keeps every task's row beside its events.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if another server has it, if it cannot be written, if another program or a newer version
    /// of this one made it, or if the SQLite library is too old; [`StoreError::Corrupt`] if it is no sound database.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::started(path, None)
    }

    /// The same for events that say all that is in a task's row: `fold` makes it of them, so that the journal need not have
    /// it. Most of what a commit would write is saved.
    ///
    /// # Errors
    /// As `open`; and [`StoreError::Unavailable`] if events that the tables lack cannot be folded.
    pub fn folding(path: &Path, fold: Arc<dyn Fold>) -> Result<Self, StoreError> {
        Self::started(path, Some(fold))
    }

    fn started(path: &Path, fold: Option<Arc<dyn Fold>>) -> Result<Self, StoreError> {
        let (mut store, work) = Self::assemble(path, fold)?;
        store.projector = Some(projector::Projector::start(work)?);
        Ok(store)
    }

    /// A store whose tables stay behind until the work is done.
    fn assemble(path: &Path, fold: Option<Arc<dyn Fold>>) -> Result<(Self, projector::Work), StoreError> {
        open::check_library(rusqlite::version_number())?;
        let path = open::resolve(path)?;
        let lock = lock::FileLock::take(&path)?;
        let journal = open::writer(&path)?;
        let beside = views::beside(&path);
        let views = views::open(&beside, &journal, fold.as_deref())?;
        let overlay = Arc::new(overlay::Overlay::new(journal::end(&journal)?, views::sums(&views)?));
        let reader = || Ok(pool::Reader { journal: open::reader(&path)?, views: open::reader(&beside)? });
        let readers = (0..READERS).map(|_| reader()).collect::<Result<Vec<_>, StoreError>>()?;
        let committer =
            commit::Committer::new(journal, open::reader(&beside)?, overlay.end(), fold.is_none());
        let writer = Arc::new(Mutex::new(committer));
        let checkpointer = checkpoint::Checkpointer::start(open::checkpointer(&path)?, Arc::clone(&writer))?;
        let views = Arc::new(Mutex::new(views));
        let kept = project::Kept::when(fold.is_some());
        let work = projector::Work { views: Arc::clone(&views), overlay: Arc::clone(&overlay), kept };
        let readers = pool::Pool::new(readers);
        Ok((Self { projector: None, checkpointer, readers, writer, views, overlay, fold, _lock: lock }, work))
    }

    fn writer(&self) -> MutexGuard<'_, commit::Committer> {
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
        self.overlay.close();
        if let Some(projector) = self.projector.take() {
            projector.join();
        }
        self.checkpointer.stop();
        checkpoint::at_close(&self.writer().journal);
    }
}

/// A number as it was set, and what events have added to it.
fn total(set: Option<i64>, sum: Option<u64>) -> Option<u64> {
    match set {
        None => sum,
        Some(set) => Some(sum.unwrap_or_default().saturating_add_signed(set).min(MAX_NUMBER)),
    }
}

impl Store for SqliteStore {
    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError> {
        // What is malformed is named before anything else.
        appends.iter().try_for_each(Append::check)?;
        self.overlay.admit()?;
        let end = self.writer().commit(appends, &self.overlay)?;
        self.checkpointer.committed(appends.iter().map(Append::weight).sum());
        Ok(end)
    }

    fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.readers.with(|reader| merge::events(reader, &self.overlay, task, after, limit))
    }

    fn log(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        // Not beyond what the other reads know of.
        let end = self.overlay.end();
        self.readers.with(|reader| journal::log(&reader.journal, after, end, limit))
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        Ok(self.overlay.end())
    }

    fn summary(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.row(task)?.map(|row| self.whole(row)).transpose()
    }

    fn row(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.readers.with(|reader| merge::summary(reader, &self.overlay, task))
    }

    fn whole(&self, row: SummaryRow) -> Result<SummaryRow, StoreError> {
        if !row.view.is_missing() {
            return Ok(row);
        }
        self.readers.with(|reader| merge::whole(reader, &self.overlay, self.fold.as_deref(), row))
    }

    fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        self.readers
            .with(|reader| merge::list(reader, &self.overlay, self.fold.as_deref(), filter, after, limit))
    }

    fn open_tasks(&self, after: Option<PageAfter>, limit: usize) -> Result<Vec<OpenTask>, StoreError> {
        self.readers.with(|reader| merge::open_tasks(reader, &self.overlay, after, limit))
    }

    fn open_count(&self) -> Result<u64, StoreError> {
        self.readers.with(|reader| merge::open_count(reader, &self.overlay))
    }

    fn note_parked(&self, notes: &[ParkedNote]) -> Result<(), StoreError> {
        // Nothing is on its way into the tables while this has them, unless that failed.
        let mut views = projector::lock(&self.views);
        let stored = self.overlay.note_parked(notes);
        if stored.is_empty() {
            return Ok(());
        }
        open_rows::note_parked(&mut views, stored.into_iter())
    }

    fn escalation(&self, id: EscalationId) -> Result<Option<EscalationRow>, StoreError> {
        match self.overlay.escalation(id) {
            Some(row) => Ok(Some(row)),
            None => self.readers.with(|reader| read::escalation(&reader.views, id)),
        }
    }

    fn escalations(
        &self,
        states: &[String],
        task: Option<TaskId>,
        after: Option<(Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationRow>, StoreError> {
        self.readers.with(|reader| merge::escalations(reader, &self.overlay, states, task, after, limit))
    }

    fn upsert_agents(&self, agents: &[AgentRow]) -> Result<(), StoreError> {
        write::upsert_agents(&mut self.writer().journal, agents)
    }

    fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        self.readers.with(|reader| read::agents(&reader.journal))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        let set = self.readers.with(|reader| read::number(&reader.journal, name))?;
        Ok(total(set, self.overlay.sum(name)))
    }

    fn numbers(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let set = self.readers.with(|reader| read::numbers(&reader.journal, prefix))?;
        let mut numbers = self.overlay.sums(prefix);
        for (name, set) in set {
            let sum = numbers.get(&name).copied();
            numbers.extend(total(Some(set), sum).map(|value| (name, value)));
        }
        Ok(numbers.into_iter().collect())
    }

    fn set_number(&self, name: &str, value: u64) -> Result<(), StoreError> {
        // Nothing is added to it in between: commits need the writer too.
        let writer = self.writer();
        let sum = self.overlay.sum(name).unwrap_or_default();
        write::set_number(&writer.journal, name, value, sum)
    }

    fn texts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.readers.with(|reader| texts::with_prefix(&reader.journal, prefix))
    }

    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        texts::set(&self.writer().journal, name, value)
    }
}

#[cfg(test)]
mod tests;
