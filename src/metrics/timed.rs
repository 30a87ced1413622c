//! A store whose commits are timed. It changes nothing about what the store does.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use tokio::time::Instant;

use super::text::Sizes;
use crate::{
    store::{
        Store, StoreError,
        record::{
            AgentRow, Append, EscalationRow, LogEntry, OpenTask, PageAfter, ParkedNote, StoredEvent,
            SummaryRow, TaskFilter,
        },
    },
    types::{
        ids::{EscalationId, TaskId},
        time::Timestamp,
    },
};

/// Upper bounds of the buckets, in microseconds.
const BOUNDS: [u64; 12] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// See the file's header.
pub struct Timed {
    inner: Arc<dyn Store>,
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
    failures: AtomicU64,
    appends: AtomicU64,
    last_micros: AtomicU64,
    last_appends: AtomicU64,
}

impl Timed {
    /// A store around another.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            count: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            appends: AtomicU64::new(0),
            last_micros: AtomicU64::new(0),
            last_appends: AtomicU64::new(0),
        }
    }

    /// Commits that failed, and appends in those that did not.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.failures.load(Ordering::Relaxed), self.appends.load(Ordering::Relaxed))
    }

    /// The newest commit: how long it took, in seconds, and its appends. Zeros before the first.
    #[allow(clippy::cast_precision_loss)] // Microseconds of a commit: far below 2^53.
    pub(super) fn last(&self) -> (f64, u64) {
        let micros = self.last_micros.load(Ordering::Relaxed);
        (micros as f64 / 1e6, self.last_appends.load(Ordering::Relaxed))
    }

    /// How long commits took, in seconds.
    #[allow(clippy::cast_precision_loss)] // Microseconds of commits: far below 2^53.
    pub(super) fn sizes(&self) -> Sizes {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|(bound, bucket)| {
            below += bucket.load(Ordering::Relaxed);
            (*bound as f64 / 1e6, below)
        });
        let buckets = buckets.collect();
        let sum = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        // One that is counted while this is read may be in a bucket and not in the count yet.
        Sizes { buckets, count: self.count.load(Ordering::Relaxed).max(below), sum }
    }

    fn note(&self, took: std::time::Duration, appends: usize, kept: bool) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(index) = BOUNDS.iter().position(|bound| micros <= *bound) {
            self.buckets[index].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        self.last_micros.store(micros, Ordering::Relaxed);
        self.last_appends.store(u64::try_from(appends).unwrap_or(u64::MAX), Ordering::Relaxed);
        let (counter, by) = if kept { (&self.appends, appends) } else { (&self.failures, 1) };
        counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Store for Timed {
    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError> {
        let began = Instant::now();
        let end = self.inner.commit(appends);
        self.note(began.elapsed(), appends.len(), end.is_ok());
        end
    }

    fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        self.inner.events(task, after, limit)
    }

    fn log(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        self.inner.log(after, limit)
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        self.inner.log_end()
    }

    fn summary(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.inner.summary(task)
    }

    fn row(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        self.inner.row(task)
    }

    fn whole(&self, row: SummaryRow) -> Result<SummaryRow, StoreError> {
        self.inner.whole(row)
    }

    fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        self.inner.list(filter, after, limit)
    }

    fn open_tasks(&self, after: Option<PageAfter>, limit: usize) -> Result<Vec<OpenTask>, StoreError> {
        self.inner.open_tasks(after, limit)
    }

    fn open_count(&self) -> Result<u64, StoreError> {
        self.inner.open_count()
    }

    fn note_parked(&self, notes: &[ParkedNote]) -> Result<(), StoreError> {
        self.inner.note_parked(notes)
    }

    fn escalation(&self, id: EscalationId) -> Result<Option<EscalationRow>, StoreError> {
        self.inner.escalation(id)
    }

    fn escalations(
        &self,
        states: &[String],
        task: Option<TaskId>,
        after: Option<(Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationRow>, StoreError> {
        self.inner.escalations(states, task, after, limit)
    }

    fn upsert_agents(&self, agents: &[AgentRow]) -> Result<(), StoreError> {
        self.inner.upsert_agents(agents)
    }

    fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        self.inner.agents()
    }

    fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        self.inner.number(name)
    }

    fn numbers(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        self.inner.numbers(prefix)
    }

    fn set_number(&self, name: &str, value: u64) -> Result<(), StoreError> {
        self.inner.set_number(name, value)
    }

    fn texts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.inner.texts(prefix)
    }

    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        self.inner.set_text(name, value)
    }
}
