//! The one writer of the journal: checks what is to be added against what is there, and makes it durable with one insertion.
//! Never writes what it has not checked, and never shows what it has not written.

use rusqlite::Connection;

use super::{
    body::{Part, Rows},
    journal,
    overlay::Overlay,
    text::{Columns, TaskText},
};
use crate::{
    store::{IdMap, StoreError, record::Append},
    types::ids::TaskId,
};

/// Tasks of which the number of the last event is kept at hand, at most twice as many.
const KEPT: usize = 32 * 1_024;

/// The writer.
#[derive(Debug)]
pub(super) struct Committer {
    /// Of the journal.
    pub(super) journal: Connection,
    /// Of the tables, for reading.
    views: Connection,
    /// The position of the log's last entry.
    end: u64,
    seqs: Seqs,
    /// Whether the journal has summaries too: where nobody can make them from the events again.
    keeps_summaries: bool,
}

/// The last event of tasks that were added to lately. What it has is exact: every commit passes here.
#[derive(Debug, Default)]
struct Seqs {
    young: IdMap<TaskId, u64>,
    old: IdMap<TaskId, u64>,
}

impl Seqs {
    fn get(&self, task: TaskId) -> Option<u64> {
        self.young.get(&task).or_else(|| self.old.get(&task)).copied()
    }

    fn set(&mut self, task: TaskId, seq: u64) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(task, seq);
    }

    fn forget(&mut self, task: TaskId) {
        self.young.remove(&task);
        self.old.remove(&task);
    }
}

impl Committer {
    pub(super) fn new(journal: Connection, views: Connection, end: u64, keeps_summaries: bool) -> Self {
        Self { journal, views, end, seqs: Seqs::default(), keeps_summaries }
    }

    /// What the journal is to have of an append.
    fn kept<'a>(&self, append: &'a Append) -> Part<'a> {
        let part = Part::from(append);
        Part { summary: part.summary.filter(|_| self.keeps_summaries), ..part }
    }

    /// Commits the appends, and shows them in the overlay; the log's new end.
    pub(super) fn commit(&mut self, appends: &[Append], overlay: &Overlay) -> Result<u64, StoreError> {
        self.check(appends, overlay)?;
        let weight = appends.iter().map(Append::weight).sum();
        let mut rows = Rows::new(self.end + 1, weight);
        let places = appends.iter().map(|append| rows.push(&self.kept(append)));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let rows = rows.finish();
        let Some(last) = rows.last() else { return Ok(self.end) };
        journal::insert(&mut self.journal, &rows)?;
        self.end = (last.first + last.count).saturating_sub(1);
        for append in appends {
            if append.summary.state.is_end() {
                self.seqs.forget(append.task);
            } else {
                self.seqs.set(append.task, append.last_seq());
            }
        }
        overlay.add(appends.iter().map(Part::from).zip(places), last);
        Ok(self.end)
    }

    /// Refuses what another writer has overtaken.
    fn check(&self, appends: &[Append], overlay: &Overlay) -> Result<(), StoreError> {
        let mut seqs = self.seqs_of(appends, overlay)?;
        for append in appends {
            let Append { task, expected_seq: expected, .. } = append;
            let found = seqs.insert(*task, append.last_seq()).unwrap_or_default();
            if found != *expected {
                return Err(StoreError::Conflict { task: *task, expected: *expected, found });
            }
        }
        Ok(())
    }

    /// The numbers of the tasks' last events; those that have none are missing.
    fn seqs_of(&self, appends: &[Append], overlay: &Overlay) -> Result<IdMap<TaskId, u64>, StoreError> {
        let mut seqs = IdMap::with_capacity_and_hasher(appends.len(), foldhash::fast::RandomState::default());
        let mut unknown = Vec::new();
        for Append { task, .. } in appends {
            match self.seqs.get(*task).or_else(|| overlay.seq(*task)) {
                Some(seq) => drop(seqs.insert(*task, seq)),
                None => unknown.push(*task),
            }
        }
        if unknown.is_empty() {
            return Ok(seqs);
        }
        // Only after the overlay was asked for all: what is not there is in the tables by now, if it is anywhere. In one
        // transaction, for each takes and gives back a lock on the file.
        let snapshot = self.views.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached("SELECT seq FROM tasks WHERE task_id = ?1")?;
        for task in unknown {
            let text = TaskText::new(task);
            let found = statement.query_and_then([text.as_str()], |row| Columns::of(row).number())?.next();
            if let Some(seq) = found.transpose()? {
                seqs.insert(task, seq);
            }
        }
        Ok(seqs)
    }
}
