//! Small notes beside the journal (halts, above all): named texts, each durable by itself. Never here: anything of a task.

use rusqlite::{Connection, params};

use crate::store::StoreError;

/// Makes the table where there is none. A database from before there were notes gets it at its next start, and an older
/// server that meets it looks past it: no version of the schema is needed for that.
pub(super) fn make(writer: &Connection) -> Result<(), StoreError> {
    writer.execute_batch(
        "CREATE TABLE IF NOT EXISTS texts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    )?;
    Ok(())
}

/// The notes whose names begin so, by name.
pub(super) fn with_prefix(reader: &Connection, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
    let mut statement = reader.prepare_cached(
        "SELECT name, value FROM texts WHERE name >= ?1 AND substr(name, 1, length(?1)) = ?1 ORDER BY name",
    )?;
    let rows = statement.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Sets a note, or takes it away.
pub(super) fn set(writer: &Connection, name: &str, value: Option<&str>) -> Result<(), StoreError> {
    match value {
        Some(text) => writer
            .prepare_cached(
                "INSERT INTO texts (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )?
            .execute(params![name, text])?,
        None => writer.prepare_cached("DELETE FROM texts WHERE name = ?1")?.execute([name])?,
    };
    Ok(())
}
