//! The journal's rows in the database: the next ones written, earlier ones read. Never changes a row.

use rusqlite::{Connection, Row as Columns, TransactionBehavior, params};

use super::{
    body::{self, Place, ReadPart, Row},
    text::number,
};
use crate::store::{
    StoreError,
    record::{LogEntry, StoredEvent},
};

const INSERT: &str = "INSERT INTO journal (first, count, parts, body) VALUES (?1, ?2, ?3, ?4)";

/// Makes the rows durable with one fsync, or keeps none.
pub(super) fn insert(writer: &mut Connection, rows: &[Row]) -> Result<(), StoreError> {
    if let [row] = rows {
        // A statement by itself is a transaction.
        return put(writer, row);
    }
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    rows.iter().try_for_each(|row| put(&transaction, row))?;
    Ok(transaction.commit()?)
}

/// Adds a row within a transaction, if one is open.
pub(super) fn put(writer: &Connection, row: &Row) -> Result<(), StoreError> {
    let Row { first, count, parts, body } = row;
    writer.prepare_cached(INSERT)?.execute(params![number(*first), number(*count), parts, body])?;
    Ok(())
}

/// The position of the log's last event; 0 while it has none.
pub(super) fn end(reader: &Connection) -> Result<u64, StoreError> {
    let last = "SELECT first + count - 1 FROM journal ORDER BY first DESC LIMIT 1";
    let mut statement = reader.prepare_cached(last)?;
    let end = statement.query_and_then([], |row| unsigned(row, 0))?.next();
    end.transpose().map(Option::unwrap_or_default)
}

/// The log with `after < position <= end`, at most `limit` entries.
pub(super) fn log(
    reader: &Connection,
    after: u64,
    end: u64,
    limit: usize,
) -> Result<Vec<LogEntry>, StoreError> {
    let mut entries = Vec::new();
    if after >= end || limit == 0 {
        return Ok(entries);
    }
    // From the row that holds the next position.
    let sql = "SELECT first, body FROM journal WHERE first <= ?2 AND first >= \
               coalesce((SELECT max(first) FROM journal WHERE first <= ?1), 0) ORDER BY first";
    let mut statement = reader.prepare_cached(sql)?;
    let mut rows = statement.query(params![number(after + 1), number(end)])?;
    while let Some(row) = rows.next()? {
        let first = unsigned(row, 0)?;
        let parts = body::parts(first, blob(row, 1)?)?;
        let events = parts
            .into_iter()
            .flat_map(|ReadPart { task, events, .. }| events.into_iter().map(move |event| (task, event)));
        let placed = (first..).zip(events).filter(|(position, _)| *position > after);
        entries.extend(placed.map(|(position, (task, event))| LogEntry { position, task, event }));
        if entries.len() >= limit {
            break;
        }
    }
    entries.truncate(limit);
    Ok(entries)
}

/// The events at a place.
pub(super) fn events_at(reader: &Connection, place: Place) -> Result<Vec<StoredEvent>, StoreError> {
    let sql = "SELECT substr(body, ?2, ?3) FROM journal WHERE first = ?1";
    let mut statement = reader.prepare_cached(sql)?;
    let Place { row, start, bytes, .. } = place;
    let mut rows = statement.query(params![number(row), number(start + 1), number(bytes)])?;
    let Some(row) = rows.next()? else {
        return Err(StoreError::Corrupt(format!("the journal has no row {row}")));
    };
    let events = body::events_at(blob(row, 0)?)?;
    let numbered = (events.first().map(|event| event.seq), events.len() as u64);
    if numbered != (Some(place.after + 1), place.count) {
        return Err(StoreError::Corrupt(format!("other events than expected are at {place:?}")));
    }
    Ok(events)
}

/// The row that ends at position `until`, as a key and a body, if one does.
pub(super) fn ending_at(reader: &Connection, until: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    let sql = "SELECT first, count, body FROM journal WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
    let mut statement = reader.prepare_cached(sql)?;
    let mut rows = statement.query([number(until)])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (first, count) = (unsigned(row, 0)?, unsigned(row, 1)?);
    if first + count != until + 1 {
        return Ok(None);
    }
    Ok(Some((first, blob(row, 2)?.to_vec())))
}

/// Reads every row behind `after` in order.
pub(super) fn each(
    reader: &Connection,
    after: u64,
    mut read: impl FnMut(u64, u64, &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut statement =
        reader.prepare_cached("SELECT first, count, body FROM journal WHERE first > ?1 ORDER BY first")?;
    let mut rows = statement.query([number(after)])?;
    while let Some(row) = rows.next()? {
        read(unsigned(row, 0)?, unsigned(row, 1)?, blob(row, 2)?)?;
    }
    Ok(())
}

fn unsigned(row: &Columns<'_>, index: usize) -> Result<u64, StoreError> {
    let number = row.get::<_, i64>(index)?;
    u64::try_from(number)
        .map_err(|_| StoreError::Corrupt(format!("a row of the journal has the number {number}")))
}

fn blob<'r>(row: &'r Columns<'_>, index: usize) -> Result<&'r [u8], StoreError> {
    let value = row.get_ref(index)?;
    value.as_blob().map_err(|error| StoreError::Corrupt(format!("the body of a row of the journal: {error}")))
}
