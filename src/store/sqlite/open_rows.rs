//! The tasks that have not ended: read in pages when a server starts, and noted how they stand. Never walks what has ended.

use rusqlite::{Connection, Row, TransactionBehavior, params_from_iter, types::Value};

use super::text::{Columns, TaskText, limit, number, parse_word, word};
use crate::{
    store::{
        StoreError,
        record::{MAX_NUMBER, OpenTask, PageAfter, ParkedNote},
    },
    types::{ids::TaskId, outcome::TaskState},
};

/// The states of tasks that have not ended, as the table has them.
fn open_states() -> Result<Vec<String>, StoreError> {
    TaskState::ALL.iter().filter(|state| !state.is_end()).map(word).collect()
}

/// Open tasks, oldest first. Each state is a walk of its own over the index by state and age; the library merges them.
pub(super) fn open_tasks(
    reader: &Connection,
    after: Option<PageAfter>,
    rows: usize,
) -> Result<Vec<OpenTask>, StoreError> {
    let after = after.map(|PageAfter { created_at, task }| {
        [Value::Integer(number(created_at.0)), Value::Text(task.to_string())]
    });
    // Every row is behind this place: no time is negative.
    let after = after.unwrap_or([Value::Integer(-1), Value::Text(String::new())]);
    let (mut walks, mut values) = (Vec::new(), Vec::new());
    for state in open_states()? {
        walks.push(
            "SELECT task_id, created_at, seq, parked FROM tasks INDEXED BY tasks_by_state \
             WHERE state = ? AND (created_at, task_id) > (?, ?)",
        );
        values.push(Value::Text(state));
        values.extend(after.clone());
    }
    let sql = format!("{} ORDER BY created_at, task_id LIMIT ?", walks.join(" UNION ALL "));
    values.push(Value::Integer(limit(rows)));
    let mut statement = reader.prepare_cached(&sql)?;
    statement.query_and_then(params_from_iter(values), to_open)?.collect()
}

fn to_open(row: &Row<'_>) -> Result<OpenTask, StoreError> {
    let mut columns = Columns::of(row);
    Ok(OpenTask {
        task: columns.parsed(str::parse)?,
        created_at: columns.time()?,
        seq: columns.number()?,
        parked: columns.string_or_null()?,
    })
}

/// How many tasks have not ended.
pub(super) fn open_count(reader: &Connection) -> Result<u64, StoreError> {
    let states = open_states()?;
    let marks = vec!["?"; states.len()].join(", ");
    let sql = format!("SELECT count(*) FROM tasks INDEXED BY tasks_by_state WHERE state IN ({marks})");
    let mut statement = reader.prepare_cached(&sql)?;
    let mut counts = statement.query_and_then(params_from_iter(states), |row| Columns::of(row).number())?;
    counts.next().transpose().map(Option::unwrap_or_default)
}

/// Whether the tables have the task as open.
pub(super) fn is_open(reader: &Connection, task: TaskId) -> Result<bool, StoreError> {
    let mut statement = reader.prepare_cached("SELECT state FROM tasks WHERE task_id = ?1")?;
    let state = |row: &Row<'_>| Columns::of(row).parsed(|text| parse_word::<TaskState>(text));
    let found = statement.query_and_then([TaskText::new(task).as_str()], state)?.next().transpose()?;
    Ok(found.is_some_and(|state| !state.is_end()))
}

/// Sets `parked` where the task has not moved on.
pub(super) fn note_parked<'n>(
    views: &mut Connection,
    notes: impl Iterator<Item = &'n ParkedNote>,
) -> Result<(), StoreError> {
    let transaction = views.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut put =
        transaction.prepare_cached("UPDATE tasks SET parked = ?3 WHERE task_id = ?1 AND seq = ?2")?;
    for ParkedNote { task, seq, parked } in notes.filter(|note| note.seq <= MAX_NUMBER) {
        put.execute(rusqlite::params![TaskText::new(*task).as_str(), number(*seq), parked])?;
    }
    drop(put);
    Ok(transaction.commit()?)
}
