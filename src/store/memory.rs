//! The journal in memory: for tests and for `serve --in-memory`. Gone with the process, and otherwise exactly like the
//! database: one contract suite holds both to that. Never here: anything the database would not do, but for the test hooks.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{
        PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    IdMap, Store, StoreError,
    record::{
        AgentRow, Append, EscalationRow, LogEntry, MAX_NUMBER, OpenTask, PageAfter, ParkedNote, StoredEvent,
        SummaryRow, TaskFilter,
    },
};
use crate::types::{
    ids::{EscalationId, TaskId},
    time::Timestamp,
};

/// A journal that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: RwLock<Inner>,
    commits_to_fail: AtomicU64,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    /// The entry at index i has position i + 1.
    log: Vec<(TaskId, StoredEvent)>,
    tasks: IdMap<TaskId, Task>,
    by_age: BTreeSet<(Timestamp, TaskId)>,
    open: BTreeSet<(Timestamp, TaskId)>,
    escalations: BTreeMap<(TaskId, u32), EscalationRow>,
    agents: BTreeMap<String, AgentRow>,
    numbers: BTreeMap<String, u64>,
    texts: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Task {
    summary: SummaryRow,
    /// Indexes into the log; that of event n is at n - 1.
    events: Vec<usize>,
}

impl MemoryStore {
    /// An empty journal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Test hook: makes the next `n` commits fail with [`StoreError::Unavailable`] and keep nothing.
    pub fn fail_next_commits(&self, n: u64) {
        self.commits_to_fail.store(n, Ordering::SeqCst);
    }

    /// Test hook: how many commits have succeeded.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::SeqCst)
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Refuses what cannot be committed whole, before anything is touched.
    fn check(&self, appends: &[Append]) -> Result<(), StoreError> {
        // What is malformed is named before what conflicts, as in the other store.
        appends.iter().try_for_each(Append::check)?;
        let mut seqs: IdMap<TaskId, u64> = IdMap::default();
        for append in appends {
            let stored = || self.tasks.get(&append.task).map_or(0, |task| task.summary.seq);
            let seq = seqs.entry(append.task).or_insert_with(stored);
            if *seq != append.expected_seq {
                return Err(StoreError::Conflict {
                    task: append.task,
                    expected: append.expected_seq,
                    found: *seq,
                });
            }
            *seq = append.last_seq();
        }
        Ok(())
    }

    fn apply(&mut self, append: &Append) {
        let Append { task, expected_seq: _, events, summary, escalations, sums } = append;
        let first = self.log.len();
        self.log.extend(events.iter().map(|event| (*task, event.clone())));
        let added = first..self.log.len();
        if let Some(known) = self.tasks.get_mut(task) {
            let age = (known.summary.created_at, *task);
            self.by_age.remove(&age);
            self.open.remove(&age);
            known.summary = summary.clone();
            known.events.extend(added);
        } else {
            self.tasks.insert(*task, Task { summary: summary.clone(), events: added.collect() });
        }
        let age = (summary.created_at, *task);
        self.by_age.insert(age);
        if !summary.state.is_end() {
            self.open.insert(age);
        }
        for row in escalations {
            self.escalations.insert((row.id.task, row.id.number), row.clone());
        }
        for (name, more) in sums {
            let sum = self.numbers.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*more).min(MAX_NUMBER / 2);
        }
    }
}

/// A number of the caller's as an index: one beyond any index if it is too large.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Store for MemoryStore {
    fn commit(&self, appends: &[Append]) -> Result<u64, StoreError> {
        let failing =
            self.commits_to_fail.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if failing.is_ok() {
            return Err(StoreError::Unavailable("a test asked for it".to_owned()));
        }
        let mut inner = self.write();
        inner.check(appends)?;
        for append in appends {
            inner.apply(append);
        }
        self.commits.fetch_add(1, Ordering::SeqCst);
        Ok(inner.log.len() as u64)
    }

    fn events(&self, task: TaskId, after: u64, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let inner = self.read();
        let Some(task) = inner.tasks.get(&task) else { return Ok(Vec::new()) };
        Ok(task.events.iter().skip(index(after)).take(limit).map(|at| inner.log[*at].1.clone()).collect())
    }

    fn log(&self, after: u64, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let inner = self.read();
        let rest = inner.log.get(index(after)..).unwrap_or_default();
        let entry = |((task, event), position): (&(TaskId, StoredEvent), u64)| LogEntry {
            position,
            task: *task,
            event: event.clone(),
        };
        Ok(rest.iter().zip(after.saturating_add(1)..).take(limit).map(entry).collect())
    }

    fn log_end(&self) -> Result<u64, StoreError> {
        Ok(self.read().log.len() as u64)
    }

    fn summary(&self, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
        Ok(self.read().tasks.get(&task).map(|task| task.summary.clone()))
    }

    fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> Result<Vec<SummaryRow>, StoreError> {
        let inner = self.read();
        let end = after.map_or(Bound::Unbounded, |last| Bound::Excluded((last.created_at, last.task)));
        let newest_first = inner.by_age.range((Bound::Unbounded, end)).rev();
        let rows = newest_first.filter_map(|(_, task)| inner.tasks.get(task)).map(|task| &task.summary);
        Ok(rows.filter(|row| filter.fits(row)).take(limit).cloned().collect())
    }

    fn open_tasks(&self, after: Option<PageAfter>, limit: usize) -> Result<Vec<OpenTask>, StoreError> {
        let inner = self.read();
        let start = after.map_or(Bound::Unbounded, |last| Bound::Excluded((last.created_at, last.task)));
        let oldest_first = inner.open.range((start, Bound::Unbounded)).take(limit);
        let rows = oldest_first.filter_map(|(_, task)| inner.tasks.get(task)).map(|task| &task.summary);
        let open = |row: &SummaryRow| OpenTask {
            task: row.task,
            created_at: row.created_at,
            seq: row.seq,
            parked: row.parked.as_deref().map(str::to_owned),
        };
        Ok(rows.map(open).collect())
    }

    fn open_count(&self) -> Result<u64, StoreError> {
        Ok(self.read().open.len() as u64)
    }

    fn note_parked(&self, notes: &[ParkedNote]) -> Result<(), StoreError> {
        let mut inner = self.write();
        for ParkedNote { task, seq, parked } in notes {
            if let Some(known) = inner.tasks.get_mut(task).filter(|known| known.summary.seq == *seq) {
                known.summary.parked = Some(parked.as_str().into());
            }
        }
        Ok(())
    }

    fn escalation(&self, id: EscalationId) -> Result<Option<EscalationRow>, StoreError> {
        Ok(self.read().escalations.get(&(id.task, id.number)).cloned())
    }

    fn escalations(
        &self,
        states: &[String],
        task: Option<TaskId>,
        after: Option<(Timestamp, EscalationId)>,
        limit: usize,
    ) -> Result<Vec<EscalationRow>, StoreError> {
        let inner = self.read();
        let place = |at: Timestamp, id: EscalationId| (at, id.task, id.number);
        let mut rows: Vec<&EscalationRow> = inner
            .escalations
            .values()
            .filter(|row| states.is_empty() || states.contains(&row.state))
            .filter(|row| task.is_none_or(|task| row.id.task == task))
            .filter(|row| after.is_none_or(|(at, id)| place(row.asked_at, row.id) > place(at, id)))
            .collect();
        rows.sort_by_key(|row| place(row.asked_at, row.id));
        Ok(rows.into_iter().take(limit).cloned().collect())
    }

    fn upsert_agents(&self, agents: &[AgentRow]) -> Result<(), StoreError> {
        if agents.iter().any(|row| row.first_seen.0.max(row.last_seen.0) > MAX_NUMBER) {
            return Err(StoreError::Corrupt("an agent: a time is too large to be kept".to_owned()));
        }
        let mut inner = self.write();
        for row in agents {
            let name = row.name.as_str();
            let first_seen = inner.agents.get(name).map_or(row.first_seen, |known| known.first_seen);
            inner.agents.insert(name.to_owned(), AgentRow { first_seen, ..row.clone() });
        }
        Ok(())
    }

    fn agents(&self) -> Result<Vec<AgentRow>, StoreError> {
        Ok(self.read().agents.values().cloned().collect())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.read().numbers.get(name).copied())
    }

    fn numbers(&self, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
        let inner = self.read();
        let from = inner.numbers.range(prefix.to_owned()..);
        let named = from.take_while(|(name, _)| name.starts_with(prefix));
        Ok(named.map(|(name, value)| (name.clone(), *value)).collect())
    }

    fn set_number(&self, name: &str, value: u64) -> Result<(), StoreError> {
        if value > MAX_NUMBER {
            return Err(StoreError::Corrupt(format!("the number {name}: {value} is too large to be kept")));
        }
        self.write().numbers.insert(name.to_owned(), value);
        Ok(())
    }

    fn texts(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let inner = self.read();
        let from = inner.texts.range(prefix.to_owned()..);
        let named = from.take_while(|(name, _)| name.starts_with(prefix));
        Ok(named.map(|(name, text)| (name.clone(), text.clone())).collect())
    }

    fn set_text(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        let mut inner = self.write();
        match value {
            Some(text) => drop(inner.texts.insert(name.to_owned(), text.to_owned())),
            None => drop(inner.texts.remove(name)),
        }
        Ok(())
    }
}
