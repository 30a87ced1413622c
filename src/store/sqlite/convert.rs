//! From the schema in which every event was a row and the tables were in the same file. Never half: one transaction, and the
//! file stays as it was if that fails. It takes as much room again as the file has, which later commits use.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{
    body::{Part, Rows},
    journal, list, read,
    text::Columns,
};
use crate::{
    store::{StoreError, record::StoredEvent},
    types::ids::TaskId,
};

/// Turns the rows of events into rows of the journal. What is made from the journal goes into a file of its own, later.
pub(super) fn from_tables(writer: &mut Connection, to: i64) -> Result<(), StoreError> {
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let parked = "SELECT count(*) FROM pragma_table_info('tasks') WHERE name = 'parked'";
    if transaction.query_row(parked, [], |row| row.get::<_, i64>(0))? == 0 {
        transaction.execute_batch("ALTER TABLE tasks ADD COLUMN parked TEXT")?;
    }
    transaction.execute_batch("ALTER TABLE events RENAME TO old_events")?;
    transaction.execute_batch(include_str!("journal.sql"))?;
    copy(&transaction)?;
    // The numbers stay: what is counted from now on is added to them.
    transaction.execute_batch(
        "DROP TABLE old_events; DROP TABLE tasks; DROP TABLE task_labels; DROP TABLE task_agents; \
         DROP TABLE escalations;",
    )?;
    transaction.execute("UPDATE meta SET value = ?1 WHERE name = 'schema'", [to])?;
    Ok(transaction.commit()?)
}

/// Events of one task that follow each other in the log.
struct Run {
    task: TaskId,
    first: u64,
    events: Vec<StoredEvent>,
}

impl Run {
    /// Whether the event at this position goes on with it.
    fn goes_on(&self, position: u64, task: TaskId, event: &StoredEvent) -> bool {
        let count = self.events.len() as u64;
        let seq = self.events.last().map_or(0, |last| last.seq);
        (task, position, event.seq) == (self.task, self.first + count, seq + 1)
    }
}

fn copy(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    let mut statement = transaction.prepare(
        "SELECT position, task_id, seq, at, kind, version, body FROM old_events ORDER BY position",
    )?;
    let mut found = statement.query([])?;
    let (mut rows, mut run): (Rows, Option<Run>) = (Rows::new(1, 0), None);
    while let Some(row) = found.next()? {
        let mut columns = Columns::of(row);
        let (position, task) = (columns.number()?, columns.parsed(str::parse)?);
        let event = StoredEvent {
            seq: columns.number()?,
            at: columns.time()?,
            kind: columns.string()?.into(),
            version: columns.small()?,
            body: columns.string()?,
        };
        match &mut run {
            Some(run) if run.goes_on(position, task, &event) => run.events.push(event),
            _ => {
                let next = Run { task, first: position, events: vec![event] };
                if let Some(before) = run.replace(next) {
                    write(transaction, &mut rows, &before)?;
                }
            }
        }
    }
    if let Some(last) = run {
        write(transaction, &mut rows, &last)?;
    }
    rows.finish().iter().try_for_each(|row| journal::put(transaction, row))
}

/// Adds a run. The task's first one also has its summary and its questions, as they are now.
fn write(transaction: &Transaction<'_>, rows: &mut Rows, run: &Run) -> Result<(), StoreError> {
    let Run { task, first, events } = run;
    let after = events.first().map_or(0, |event| event.seq.saturating_sub(1));
    let (summary, escalations) = if after == 0 {
        let questions = list::escalations(transaction, &[], Some(*task), None, usize::MAX)?;
        (read::summary(transaction, *task)?, questions)
    } else {
        (None, Vec::new())
    };
    rows.go_on_at(*first);
    let (summary, escalations) = (summary.as_ref(), escalations.as_slice());
    rows.push(&Part { task: *task, after, events, summary, escalations, sums: &[] })?;
    rows.take().iter().try_for_each(|row| journal::put(transaction, row))
}
