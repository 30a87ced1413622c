//! Reads that join the tables with what is not in them yet. Each looks at the overlay first and at the tables after: what
//! leaves the overlay in between is in the tables by then, and what is in both counts as the overlay has it.

use std::{cmp::Reverse, collections::HashSet};

use rusqlite::Connection;

use super::{body::Place, journal, list, open_rows, overlay::Overlay, pool::Reader, read};
use crate::{
    store::{
        Fold, StoreError,
        record::{EscalationRow, OpenTask, PageAfter, StoredEvent, SummaryRow, TaskFilter},
    },
    types::{
        ids::{EscalationId, TaskId},
        time::Timestamp,
    },
};

/// Rows read at once where fewer are wanted: some may have changed since.
const SMALLEST_PAGE: usize = 16;

/// A task's events with `seq > after`, at most `limit`.
pub(super) fn events(
    reader: &Reader,
    overlay: &Overlay,
    task: TaskId,
    after: u64,
    limit: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let newest = overlay.places(task);
    let mut taken = Taken { journal: &reader.journal, after, limit, events: Vec::new() };
    if newest.first().is_none_or(|first| first.after > after) {
        read::places(&reader.views, task, after, |places| taken.take(&places))?;
    }
    taken.take(&newest)?;
    Ok(taken.events)
}

/// Events on their way out, each once.
struct Taken<'c> {
    journal: &'c Connection,
    /// The last event that is not wanted any more.
    after: u64,
    limit: usize,
    events: Vec<StoredEvent>,
}

impl Taken<'_> {
    /// Takes what is wanted of these; says whether more is.
    fn take(&mut self, places: &[Place]) -> Result<bool, StoreError> {
        for place in places {
            if self.events.len() >= self.limit {
                return Ok(false);
            }
            if place.last() <= self.after {
                continue;
            }
            let events = journal::events_at(self.journal, *place)?;
            let (after, left) = (self.after, self.limit - self.events.len());
            self.events.extend(events.into_iter().filter(|event| event.seq > after).take(left));
            self.after = place.last();
        }
        Ok(self.events.len() < self.limit)
    }
}

/// The task's summary; its view may be missing.
pub(super) fn summary(
    reader: &Reader,
    overlay: &Overlay,
    task: TaskId,
) -> Result<Option<SummaryRow>, StoreError> {
    match overlay.summary(task) {
        Some(row) => Ok(Some(row)),
        None => read::summary(&reader.views, task),
    }
}

/// A row with its view, which is made of the events up to that row where the tables do not have it.
pub(super) fn whole(
    reader: &Reader,
    overlay: &Overlay,
    fold: Option<&dyn Fold>,
    row: SummaryRow,
) -> Result<SummaryRow, StoreError> {
    if !row.view.is_missing() {
        return Ok(row);
    }
    let cannot = || {
        let why = "the tables were written by a server that makes views of events, and this one does not";
        StoreError::Unavailable(format!("task {} has no view: {why}", row.task))
    };
    let fold = fold.ok_or_else(cannot)?;
    let events = events(reader, overlay, row.task, 0, usize::try_from(row.seq).unwrap_or(usize::MAX))?;
    Ok(SummaryRow { view: fold.row(row.task, &events)?.view, ..row })
}

/// Summary rows that fit, newest first, at most `limit`.
pub(super) fn list(
    reader: &Reader,
    overlay: &Overlay,
    fold: Option<&dyn Fold>,
    filter: &TaskFilter,
    after: Option<PageAfter>,
    limit: usize,
) -> Result<Vec<SummaryRow>, StoreError> {
    let (changed, mut found) = overlay.list(filter, after, limit);
    let snapshot = reader.views.unchecked_transaction()?;
    let place = |row: &SummaryRow| PageAfter { created_at: row.created_at, task: row.task };
    let page = |after, rows| list::tasks(&snapshot, filter, after, rows);
    unchanged(&mut found, limit, after, place, |row| !changed.contains(&row.task), page)?;
    found.sort_unstable_by_key(|row| Reverse((row.created_at, row.task)));
    found.truncate(limit);
    drop(snapshot);
    found.into_iter().map(|row| whole(reader, overlay, fold, row)).collect()
}

/// Tasks that have not ended, oldest first, at most `limit`.
pub(super) fn open_tasks(
    reader: &Reader,
    overlay: &Overlay,
    after: Option<PageAfter>,
    limit: usize,
) -> Result<Vec<OpenTask>, StoreError> {
    let (changed, mut open) = overlay.open_tasks(after);
    let snapshot = reader.views.unchecked_transaction()?;
    let page = |after, rows| open_rows::open_tasks(&snapshot, after, rows);
    unchanged(&mut open, limit, after, OpenTask::place, |open| !changed.contains(&open.task), page)?;
    open.sort_unstable_by_key(|open| (open.created_at, open.task));
    open.truncate(limit);
    Ok(open)
}

/// How many tasks have not ended.
pub(super) fn open_count(reader: &Reader, overlay: &Overlay) -> Result<u64, StoreError> {
    let (changed, open) = overlay.open_tasks(None);
    let snapshot = reader.views.unchecked_transaction()?;
    let mut count = open_rows::open_count(&snapshot)? + open.len() as u64;
    for task in changed {
        count -= u64::from(open_rows::is_open(&snapshot, task)?);
    }
    Ok(count)
}

/// Questions that fit, oldest first, at most `limit`.
pub(super) fn escalations(
    reader: &Reader,
    overlay: &Overlay,
    states: &[String],
    task: Option<TaskId>,
    after: Option<(Timestamp, EscalationId)>,
    limit: usize,
) -> Result<Vec<EscalationRow>, StoreError> {
    // Tasks sort like their texts.
    let place = |row: &EscalationRow| (row.asked_at, row.id);
    let (changed, mut found): (HashSet<EscalationId>, Vec<_>) = overlay.escalations(|row| {
        (states.is_empty() || states.contains(&row.state))
            && task.is_none_or(|task| row.id.task == task)
            && after.is_none_or(|after| place(row) > after)
    });
    let snapshot = reader.views.unchecked_transaction()?;
    let page = |after, rows| list::escalations(&snapshot, states, task, after, rows);
    let stands = |row: &EscalationRow| !changed.contains(&row.id);
    unchanged(&mut found, limit, after, place, stands, page)?;
    found.sort_unstable_by_key(place);
    found.truncate(limit);
    Ok(found)
}

/// Adds rows of the tables that stand as they are, in the order of the pages: `limit` at least, or all that are left.
fn unchanged<T, P: Copy>(
    found: &mut Vec<T>,
    limit: usize,
    start: Option<P>,
    place: impl Fn(&T) -> P,
    stands: impl Fn(&T) -> bool,
    page: impl Fn(Option<P>, usize) -> Result<Vec<T>, StoreError>,
) -> Result<(), StoreError> {
    let (mut left, mut after) = (limit, start);
    while left > 0 {
        let rows = page(after, limit.max(SMALLEST_PAGE))?;
        let is_last = rows.len() < limit.max(SMALLEST_PAGE);
        after = rows.last().map(&place).or(after);
        let before = found.len();
        found.extend(rows.into_iter().filter(&stands));
        if is_last {
            break;
        }
        left = left.saturating_sub(found.len() - before);
    }
    Ok(())
}
