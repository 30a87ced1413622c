//! Reads by key and in log order. Never writes, and never returns a row that does not parse.

use rusqlite::{Connection, Row, params};

use super::text::{Columns, TaskText, limit, number as to_column, parse_labels, parse_word};
use crate::{
    store::{
        StoreError,
        record::{AgentRow, EscalationRow, LogEntry, StoredEvent, SummaryRow},
    },
    types::ids::{EscalationId, TaskId},
};

/// The columns of [`to_summary`], of the table `tasks` under the name `t`.
pub(super) const SUMMARY_COLUMNS: &str = "t.task_id, t.state, t.ended_by, t.cause, t.owner, t.agents, t.labels, \
                                          t.created_at, t.updated_at, t.seq, t.parked, t.view";
/// The columns of [`to_escalation`].
pub(super) const ESCALATION_COLUMNS: &str = "task_id, number, open, state, asked_at, view";

fn to_event(columns: &mut Columns<'_>) -> Result<StoredEvent, StoreError> {
    Ok(StoredEvent {
        seq: columns.number()?,
        at: columns.time()?,
        kind: columns.string()?,
        version: columns.small()?,
        body: columns.string()?,
    })
}

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
        parked: columns.string_or_null()?,
        view: columns.string()?,
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

pub(super) fn events(
    reader: &Connection,
    task: TaskId,
    after: u64,
    rows: usize,
) -> Result<Vec<StoredEvent>, StoreError> {
    let sql = "SELECT seq, at, kind, version, body FROM events WHERE task_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let mut statement = reader.prepare_cached(sql)?;
    let task = TaskText::new(task);
    let parameters = params![task.as_str(), to_column(after), limit(rows)];
    statement.query_and_then(parameters, |row| to_event(&mut Columns::of(row)))?.collect()
}

pub(super) fn log(reader: &Connection, after: u64, rows: usize) -> Result<Vec<LogEntry>, StoreError> {
    let sql = "SELECT position, task_id, seq, at, kind, version, body FROM events WHERE position > ?1 \
               ORDER BY position LIMIT ?2";
    let mut statement = reader.prepare_cached(sql)?;
    let to_entry = |row: &Row<'_>| {
        let mut columns = Columns::of(row);
        Ok(LogEntry {
            position: columns.number()?,
            task: columns.parsed(str::parse)?,
            event: to_event(&mut columns)?,
        })
    };
    statement.query_and_then(params![to_column(after), limit(rows)], to_entry)?.collect()
}

pub(super) fn log_end(reader: &Connection) -> Result<u64, StoreError> {
    let mut statement = reader.prepare_cached("SELECT coalesce(max(position), 0) FROM events")?;
    statement
        .query_and_then([], |row| Columns::of(row).number())?
        .next()
        .transpose()
        .map(Option::unwrap_or_default)
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

/// The named numbers whose names begin so, by name.
pub(super) fn numbers(reader: &Connection, prefix: &str) -> Result<Vec<(String, u64)>, StoreError> {
    let mut statement = reader
        .prepare_cached("SELECT name, value FROM numbers WHERE substr(name, 1, ?2) = ?1 ORDER BY name")?;
    let length = prefix.chars().count() as u64;
    let named = |row: &Row<'_>| {
        let mut columns = Columns::of(row);
        Ok((columns.string()?, columns.number()?))
    };
    statement.query_and_then(params![prefix, to_column(length)], named)?.collect()
}

pub(super) fn number(reader: &Connection, name: &str) -> Result<Option<u64>, StoreError> {
    let mut statement = reader.prepare_cached("SELECT value FROM numbers WHERE name = ?1")?;
    statement.query_and_then([name], |row| Columns::of(row).number())?.next().transpose()
}
