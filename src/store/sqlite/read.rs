//! Reads of the tables by key. Never writes, and never returns a row that does not parse.

use rusqlite::{Connection, Row, params};

use super::body::Place;
use super::text::{Columns, TaskText, number as to_column, parse_labels, parse_word};
use crate::{
    store::{
        StoreError,
        record::{AgentRow, EscalationRow, SummaryRow, Text},
    },
    types::ids::{EscalationId, TaskId},
};

/// The columns of [`to_summary`], of the table `tasks` under the name `t`.
pub(super) const SUMMARY_COLUMNS: &str = "t.task_id, t.state, t.ended_by, t.cause, t.owner, t.agents, t.labels, \
                                          t.created_at, t.updated_at, t.seq, t.parked, t.view";
/// The columns of [`to_escalation`].
pub(super) const ESCALATION_COLUMNS: &str = "task_id, number, open, state, asked_at, view";

/// A row of a task; its view is missing where the tables do not have it.
pub(super) fn to_summary(row: &Row<'_>) -> Result<SummaryRow, StoreError> {
    let mut columns = Columns::of(row);
    Ok(SummaryRow {
        task: columns.parsed(str::parse)?,
        state: columns.parsed(|text| parse_word(text))?,
        ended_by: columns.parsed_or_null(|text| parse_word(text))?,
        cause: columns.parsed_or_null(|text| parse_word(text))?,
        owner: columns.parsed(str::parse)?,
        agents: columns.parsed(|text| serde_json::from_str(text))?,
        labels: columns.parsed(parse_labels)?,
        created_at: columns.time()?,
        updated_at: columns.time()?,
        seq: columns.number()?,
        parked: columns.string_or_null()?.map(Text::from),
        view: columns.string_or_null()?.map_or_else(Text::missing, Text::from),
    })
}

pub(super) fn to_escalation(row: &Row<'_>) -> Result<EscalationRow, StoreError> {
    let mut columns = Columns::of(row);
    Ok(EscalationRow {
        id: EscalationId { task: columns.parsed(str::parse)?, number: columns.small()? },
        open: columns.number()? != 0,
        state: columns.string()?,
        asked_at: columns.time()?,
        view: columns.string()?,
    })
}

fn to_agent(row: &Row<'_>) -> Result<AgentRow, StoreError> {
    let mut columns = Columns::of(row);
    Ok(AgentRow {
        name: columns.parsed(str::parse)?,
        first_seen: columns.time()?,
        last_seen: columns.time()?,
        spec: columns.string()?,
    })
}

/// Where a task's events from `after` on are, in their order.
pub(super) fn places(
    views: &Connection,
    task: TaskId,
    after: u64,
    mut each: impl FnMut(Vec<Place>) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let task = TaskText::new(task);
    let mut first = views.prepare_cached("SELECT places FROM tasks WHERE task_id = ?1")?;
    let mut rows = first.query([task.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(()) };
    if !each(Columns::of(row).parsed(parse_places)?)? {
        return Ok(());
    }
    // From the row that holds the next event.
    let sql = "SELECT e.places FROM tasks t JOIN task_events e ON e.task = t.id WHERE t.task_id = ?1 AND e.seq >= \
               coalesce((SELECT max(seq) FROM task_events WHERE task = t.id AND seq <= ?2), 0) ORDER BY e.seq";
    let mut statement = views.prepare_cached(sql)?;
    let mut rows = statement.query(params![task.as_str(), to_column(after.saturating_add(1))])?;
    while let Some(row) = rows.next()? {
        if !each(Columns::of(row).parsed(parse_places)?)? {
            break;
        }
    }
    Ok(())
}

fn parse_places(text: &str) -> Result<Vec<Place>, serde_json::Error> {
    serde_json::from_str(text)
}

pub(super) fn summary(reader: &Connection, task: TaskId) -> Result<Option<SummaryRow>, StoreError> {
    let sql = format!("SELECT {SUMMARY_COLUMNS} FROM tasks t WHERE t.task_id = ?1");
    let mut statement = reader.prepare_cached(&sql)?;
    statement.query_and_then([TaskText::new(task).as_str()], to_summary)?.next().transpose()
}

pub(super) fn escalation(reader: &Connection, id: EscalationId) -> Result<Option<EscalationRow>, StoreError> {
    let sql = format!("SELECT {ESCALATION_COLUMNS} FROM escalations WHERE task_id = ?1 AND number = ?2");
    let mut statement = reader.prepare_cached(&sql)?;
    let task = TaskText::new(id.task);
    let parameters = params![task.as_str(), id.number];
    statement.query_and_then(parameters, to_escalation)?.next().transpose()
}

pub(super) fn agents(reader: &Connection) -> Result<Vec<AgentRow>, StoreError> {
    let mut statement =
        reader.prepare_cached("SELECT name, first_seen, last_seen, spec FROM agents ORDER BY name")?;
    statement.query_and_then([], to_agent)?.collect()
}

/// The named numbers whose names begin so, by name, without what events have added to them.
pub(super) fn numbers(reader: &Connection, prefix: &str) -> Result<Vec<(String, i64)>, StoreError> {
    let mut statement = reader
        .prepare_cached("SELECT name, value FROM numbers WHERE substr(name, 1, ?2) = ?1 ORDER BY name")?;
    let length = prefix.chars().count() as u64;
    let named = |row: &Row<'_>| Ok((Columns::of(row).string()?, row.get(1)?));
    statement.query_and_then(params![prefix, to_column(length)], named)?.collect()
}

/// A named number without what events have added to it.
pub(super) fn number(reader: &Connection, name: &str) -> Result<Option<i64>, StoreError> {
    let mut statement = reader.prepare_cached("SELECT value FROM numbers WHERE name = ?1")?;
    statement.query_and_then([name], |row| Ok(row.get(0)?))?.next().transpose()
}
