//! The file of the tables: opened if it fits the journal, made anew if it does not, and brought up to the journal's end.
//! Never trusted further than the journal bears it out, and never another program's file.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, TransactionBehavior};

use super::{
    body::{self, Part, ReadPart},
    journal, open,
    overlay::{Generation, Mark},
    project::{self, Kept},
    read,
    text::Columns,
};
use crate::{
    store::{Fold, StoreError, record::StoredEvent},
    types::ids::TaskId,
};

/// "Baiv": what `file` and `sqlite3` show for it.
const APPLICATION_ID: i32 = 0x4261_6976;
/// The schema that this program reads and writes. Any other is made anew.
const SCHEMA: i64 = 3;
/// Pages (4 KiB each) in its write-ahead log at which they are copied: 8 MiB. Commits wait for the same disk meanwhile.
const CHECKPOINT: i64 = 2_048;

/// Where the tables of the database at `database` are: beside it, with "-views" after its name.
pub(super) fn beside(database: &Path) -> PathBuf {
    with_suffix(database, "-views")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The connection that writes the tables, once they have all that the journal has.
pub(super) fn open(
    path: &Path,
    journal: &Connection,
    fold: Option<&dyn Fold>,
) -> Result<Connection, StoreError> {
    match open_as_is(path, journal, fold) {
        Ok(views) => return Ok(views),
        // What cannot be used is made again; what another program made, or what cannot be written, is not touched.
        Err(StoreError::Corrupt(_)) => {}
        Err(error) => return Err(error),
    }
    remove(path).map_err(|error| {
        StoreError::Unavailable(format!("{} is of no use and cannot be deleted: {error}", path.display()))
    })?;
    open_as_is(path, journal, fold)
}

/// What events have added to numbers.
pub(super) fn sums(views: &Connection) -> Result<BTreeMap<String, u64>, StoreError> {
    let mut statement = views.prepare("SELECT name, value FROM sums")?;
    let named = |row: &rusqlite::Row<'_>| {
        let mut columns = Columns::of(row);
        Ok((columns.string()?, columns.number()?))
    };
    statement.query_and_then([], named)?.collect()
}

fn remove(path: &Path) -> io::Result<()> {
    // The log first: without it the file is at worst older, never a mixture.
    for suffix in ["-wal", "-shm", ""] {
        match fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// [`StoreError::Corrupt`]: it is to be made anew.
fn open_as_is(path: &Path, journal: &Connection, fold: Option<&dyn Fold>) -> Result<Connection, StoreError> {
    let mut views = open::connect(path)?;
    let is_new = check_owner(&views, path)?;
    open::write_ahead(&views, path)?;
    // The log is synced before it is copied and the file after, so that a crash leaves an older state, but a whole one.
    views.pragma_update(None, "synchronous", "NORMAL")?;
    views.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
    views.pragma_update(None, "cache_size", -16_384)?;
    if is_new {
        let transaction = views.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(include_str!("views.sql"))?;
        transaction.execute("INSERT INTO meta (name, value) VALUES ('schema', ?1)", [SCHEMA])?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.commit()?;
    }
    let until = check_mark(&views, journal)?;
    catch_up(&mut views, journal, until, fold)?;
    Ok(views)
}

fn check_owner(views: &Connection, path: &Path) -> Result<bool, StoreError> {
    let application: i32 = views.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = views.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application == 0 && tables == 0 {
        return Ok(true);
    }
    if application != APPLICATION_ID {
        let why = "is another program's database, where the tables of this one belong: move it away";
        return Err(StoreError::Unavailable(format!("{} {why}", path.display())));
    }
    let schema: i64 =
        views.query_row("SELECT value FROM meta WHERE name = 'schema'", [], |row| row.get(0))?;
    if schema != SCHEMA {
        return Err(StoreError::Corrupt(format!("{} has schema {schema}", path.display())));
    }
    Ok(false)
}

/// How far the tables are, if what they are made from is this journal.
fn check_mark(views: &Connection, journal: &Connection) -> Result<u64, StoreError> {
    let to_mark = |row: &rusqlite::Row<'_>| {
        let mut columns = Columns::of(row);
        let (until, key) = (columns.number()?, columns.number()?);
        Ok::<_, StoreError>(Mark { until, row: key, opening: row.get(2)? })
    };
    let mut statement = views.prepare("SELECT until, row, opening FROM projected")?;
    let Some(mark) = statement.query_and_then([], to_mark)?.next().transpose()? else { return Ok(0) };
    match journal::ending_at(journal, mark.until)? {
        Some((row, body)) if row == mark.row && body::opening(&body) == mark.opening => Ok(mark.until),
        _ => Err(StoreError::Corrupt("the tables were made from another journal".to_owned())),
    }
}

/// Writes what the journal has behind `until`.
fn catch_up(
    views: &mut Connection,
    journal: &Connection,
    until: u64,
    fold: Option<&dyn Fold>,
) -> Result<(), StoreError> {
    let mut missed = Missed { fold, ..Missed::default() };
    journal::each(journal, until, |first, count, bytes| {
        for part in body::parts(first, bytes)? {
            missed.add(part);
        }
        missed.generation.mark = Mark::of(first, count, bytes);
        if missed.generation.is_enough() {
            std::mem::replace(&mut missed, Missed { fold, ..Missed::default() }).write(views, journal)?;
        }
        Ok(())
    })?;
    if missed.generation.mark != Mark::default() {
        missed.write(views, journal)?;
    }
    Ok(())
}

/// What the tables lack, a part of it at a time.
#[derive(Default)]
struct Missed<'f> {
    generation: Generation,
    fold: Option<&'f dyn Fold>,
    /// The events in it, where rows are made from them.
    events: HashMap<TaskId, Vec<StoredEvent>>,
}

impl Missed<'_> {
    fn add(&mut self, part: ReadPart) {
        let ReadPart { task, events, summary, escalations, sums, place } = part;
        let (after, summary) = (place.after, summary.as_ref());
        let (escalations, sums) = (&escalations[..], &sums[..]);
        self.generation.add(&Part { task, after, events: &events, summary, escalations, sums }, place);
        if self.fold.is_some() {
            self.generation.weigh(events.iter().map(|event| event.body.len()).sum());
            self.events.entry(task).or_default().extend(events);
        }
    }

    fn write(mut self, views: &mut Connection, journal: &Connection) -> Result<(), StoreError> {
        if let Some(fold) = self.fold {
            for (task, events) in self.events {
                let Some(pending) = self.generation.tasks.get_mut(&task) else { continue };
                let mut all = if pending.is_new { Vec::new() } else { earlier(views, journal, task)? };
                all.extend(events);
                // A start that is refused is better than tables without it: nothing is lost, and it can be looked into.
                let cannot =
                    |error| StoreError::Unavailable(format!("task {task} cannot be rebuilt: {error}"));
                pending.summary = Some(fold.row(task, &all).map_err(cannot)?);
            }
        }
        project::project(views, &self.generation, Kept::when(self.fold.is_some()))
    }
}

/// The events of a task that the tables know of.
fn earlier(views: &Connection, journal: &Connection, task: TaskId) -> Result<Vec<StoredEvent>, StoreError> {
    let mut events = Vec::new();
    read::places(views, task, 0, |places| {
        for place in places {
            events.extend(journal::events_at(journal, place)?);
        }
        Ok(true)
    })?;
    Ok(events)
}
