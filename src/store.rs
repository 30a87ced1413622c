//! The journal: one trait, two stores. Floor 1. Never here: clocks, wire types, decisions.

pub mod memory;
pub mod record;
pub mod sqlite;
pub mod writer;

use std::collections::HashMap;

use record::{
    AgentRow, Append, EscalationRow, LogEntry, OpenTask, PageAfter, ParkedNote, StoredEvent, SummaryRow,
    TaskFilter,
};

use crate::types::ids::{EscalationId, TaskId};

/// A table by ids that nobody walks in its order. Ids are even already, and every message looks some up, so they are hashed in a few
/// instructions, with a seed of the process's own.
pub type IdMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What can go wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another writer has added events to this task since it was read. Nothing of the commit was kept.
    #[error("task {task} has {found} events, not {expected}: another writer has added to it")]
    Conflict {
        /// The task.
        task: TaskId,
        /// The number the writer expected.
        expected: u64,
        /// The number in the store.
        found: u64,
    },
    /// The storage failed: full, read-only, broken. Nothing of the commit was kept.
    #[error("the store failed: {0}")]
    Unavailable(String),
    /// What was read is not what was written, or what was to be written makes no sense. Nothing of it was kept.
    #[error("the journal is not sound: {0}")]
    Corrupt(String),
}

/// Makes a task's row out of its events: what they mean is not the store's business.
pub trait Fold: Send + Sync + 'static {
    /// The row of the task after these events, which are all of its own.
    ///
    /// # Errors
    /// They cannot be read, or do not follow from each other.
    fn row(&self, task: TaskId, events: &[StoredEvent]) -> Result<SummaryRow, StoreError>;
}

/// A durable journal with its projections. All calls block; callers keep them off async threads.
pub trait Store: Send + Sync + 'static {
    /// Makes every append durable in one transaction, or keeps none. Returns the log's new end.
    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError>;
    /// A task's events with `seq > after`, in order, at most `limit`.
    fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError>;
    /// The log of all tasks with `position > after`, in order, at most `limit`.
    fn log(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError>;
    /// The position of the log's last entry; 0 while it has none.
    fn log_end(&self) -> Result<u64, StoreError>;
    /// A task's summary row.
    fn summary(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError>;
    /// The same for whoever may not need the view: it may be missing, where [`Store::whole`] can make it.
    fn row(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.summary(task)
    }
    /// A row with its view, as of the row.
    ///
    /// # Errors
    /// As for every read; and the events of the task cannot be folded.
    fn whole(&self, row: SummaryRow) -> Result<SummaryRow, StoreError> {
        Ok(row)
    }
    /// Summary rows that fit, newest first, at most `limit`.
    fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError>;
    /// Tasks that have not ended, oldest first by (created_at, task), after `after`, at most `limit`.
    fn open_tasks(&self, after: Option<PageAfter>, limit: usize) -> Result<Vec<OpenTask>, StoreError>;
    /// How many tasks have not ended.
    fn open_count(&self) -> Result<u64, StoreError>;
    /// Sets `parked` of tasks whose last event is still the one that the note was made after; other notes are dropped.
    fn note_parked(&self, notes: &[ParkedNote]) -> Result<(), StoreError>;
    /// One question.
    fn escalation(&self, id: EscalationId) -> Result<Option<EscalationRow>, StoreError>;
    /// Questions in one of `states` (empty: any), of `task` if given, oldest first by (asked_at, id), after `after`, at most
    /// `limit`.
    fn escalations(
        &self,
        states: &[String],
        task: Option<TaskId>,
        after: Option<(crate::types::time::Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationRow>, StoreError>;
    /// Inserts or replaces agents, durably. `first_seen` of a known agent stays.
    fn upsert_agents(&self, agents: &[AgentRow]) -> Result<(), StoreError>;
    /// Every agent ever seen, by name.
    fn agents(&self) -> Result<Vec<AgentRow>, StoreError>;
    /// A named number kept beside the journal (cursors, the shard count).
    fn number(&self, name: &str) -> Result<Option<u64>, StoreError>;
    /// The named numbers whose names begin so, by name.
    fn numbers(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError>;
    /// Sets a named number, durably.
    fn set_number(&self, name: &str, value: u64) -> Result<(), StoreError>;
    /// The named notes whose names begin so, by name.
    fn texts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError>;
    /// Sets a small named note (JSON), or takes it away, durably.
    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError>;
}

/// The name of the number that holds how many shards a database has.
pub const SHARDS: &str = "shards";

/// The number of shards of this database: the one it was made with or, if it is new, `wanted`, which it keeps from now on.
///
/// # Errors
/// As the store's; [`StoreError::Corrupt`] if the stored count is not one.
pub fn fixed_shards(
    store: &dyn Store,
    wanted: std::num::NonZeroU16,
) -> Result<std::num::NonZeroU16, StoreError> {
    let Some(found) = store.number(SHARDS)? else {
        store.set_number(SHARDS, u64::from(wanted.get()))?;
        return Ok(wanted);
    };
    u16::try_from(found)
        .ok()
        .and_then(std::num::NonZeroU16::new)
        .ok_or_else(|| StoreError::Corrupt(format!("it says it has {found} shards")))
}
