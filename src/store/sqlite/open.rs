//! Opening: the library's version, whose file it is, its schema and its settings. Never changes a file that is not ours.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::convert;
use crate::store::StoreError;

/// "Bail": what `file` and `sqlite3` show for a database of ours.
const APPLICATION_ID: i32 = 0x4261_696c;
/// The schema that this program reads and writes.
const SCHEMA: i64 = 4;
/// The last schema of a table of events and of all others in the same file; from the first on, these are converted.
const LAST_OF_TABLES: i64 = 2;
/// The schema in which every append to the journal had a summary. It is read as it is; what is new has none, so that whoever
/// counts on them is told to be a later version.
const WITH_SUMMARIES: i64 = 3;
/// The first SQLite without a known bug that loses commits when a checkpoint and a write meet in WAL mode.
const OLDEST_LIBRARY: i32 = 3_051_003;
/// How long a statement waits for another process that has the file, such as an operator's `sqlite3`.
const BUSY: Duration = Duration::from_secs(10);
/// Statements that stay prepared on each connection.
const STATEMENTS: usize = 64;

/// Refuses a SQLite library that is too old, given its version number.
pub(super) fn check_library(version: i32) -> Result<(), StoreError> {
    let dotted = |v: i32| format!("{}.{}.{}", v / 1_000_000, v / 1_000 % 1_000, v % 1_000);
    if version >= OLDEST_LIBRARY {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "this program was built with SQLite {}; build it with {} or newer",
        dotted(version),
        dotted(OLDEST_LIBRARY)
    )))
}

/// The database's path without links, so that one file has one lock. The file need not exist, its folder must.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    if let Ok(found) = path.canonicalize() {
        return Ok(found);
    }
    let unusable = |what: String| StoreError::Unavailable(format!("{}: {what}", path.display()));
    let name = path.file_name().ok_or_else(|| unusable("it does not name a file".to_owned()))?;
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let folder = folder.canonicalize();
    Ok(folder.map_err(|error| unusable(format!("its folder cannot be used: {error}")))?.join(name))
}

/// Whose database a file is.
#[derive(Debug, PartialEq, Eq)]
enum Owner {
    /// Nobody's: it is empty.
    New,
    /// One of ours, with the schema of this program.
    Ours,
    /// One of ours that only an earlier version would misread from now on.
    OursWithSummaries,
    /// One of ours that is to be converted.
    OursOfTables,
}

/// The connection that writes the journal: it also makes the schema in a new file, converts an older one and refuses a file
/// that is not ours.
pub(super) fn writer(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = connect(path)?;
    let owner = check_owner(&connection, path)?;
    write_ahead(&connection, path)?;
    match owner {
        Owner::New => {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(include_str!("schema.sql"))?;
            transaction.execute_batch(include_str!("journal.sql"))?;
            transaction.execute("INSERT INTO meta (name, value) VALUES ('schema', ?1)", [SCHEMA])?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.commit()?;
        }
        Owner::OursOfTables => {
            durable(&connection)?;
            convert::from_tables(&mut connection, SCHEMA)?;
        }
        Owner::OursWithSummaries => {
            connection.execute("UPDATE meta SET value = ?1 WHERE name = 'schema'", [SCHEMA])?;
        }
        Owner::Ours => {}
    }
    super::texts::make(&connection)?;
    durable(&connection)?;
    // Checkpoints are made beside the commits, not by them.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(connection)
}

/// Makes changes go to a log beside the file first.
pub(super) fn write_ahead(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode == "wal" && !connection.is_readonly("main")? {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!("{} cannot be written in WAL mode", path.display())))
}

/// A connection that can only read.
pub(super) fn reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The connection that copies the write-ahead log into the file.
pub(super) fn checkpointer(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    durable(&connection)?;
    Ok(connection)
}

pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    // No SQLITE_OPEN_URI: a path is a path, whatever it looks like.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|error| StoreError::Unavailable(format!("{} cannot be opened: {error}", path.display())))?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(connection)
}

/// Every commit and every checkpoint reaches the disk before it is reported, on every system.
fn durable(connection: &Connection) -> Result<(), StoreError> {
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Elsewhere than on macOS these change nothing; there a plain fsync stops at the drive's cache.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    Ok(())
}

/// Whose database the file is. An error if it is another program's or a newer version's.
fn check_owner(connection: &Connection, path: &Path) -> Result<Owner, StoreError> {
    let application: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && tables == 0 {
        return Ok(Owner::New);
    }
    let refused = |why: String| Err(StoreError::Unavailable(format!("{} {why}", path.display())));
    if application != APPLICATION_ID {
        return refused("is another program's database: give the server a path of its own".to_owned());
    }
    let schema: i64 =
        connection.query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0))?;
    match schema {
        SCHEMA => Ok(Owner::Ours),
        WITH_SUMMARIES => Ok(Owner::OursWithSummaries),
        1..=LAST_OF_TABLES => Ok(Owner::OursOfTables),
        newer if newer > SCHEMA => refused(format!(
            "was made by a newer version (schema {newer}, this version knows {SCHEMA}): start that version or a later one, \
             or restore a backup made before the upgrade"
        )),
        other => Err(StoreError::Corrupt(format!("{} says its schema is {other}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_library_is_refused_and_said_in_full() {
        let error = check_library(3_051_002).expect_err("one too old").to_string();
        assert!(error.contains("SQLite 3.51.2") && error.contains("3.51.3 or newer"), "{error}");
        assert_eq!(check_library(3_051_003), Ok(()));
        assert_eq!(check_library(rusqlite::version_number()), Ok(()));
    }
}
