//! Databases of earlier versions: read as they were, and gone on with.

use std::path::Path;

use bailiwick::{
    store::{
        Store as _, StoreError,
        record::{Append, LogEntry, SummaryRow, TaskFilter},
        sqlite::SqliteStore,
    },
    types::outcome::{Cause, EndedBy, TaskState},
};
use rusqlite::Connection;

use crate::rows::{agent, agent_row, append, escalation, event, labels, open_ids, summary, task};

/// A database of the first schema, or of one that came after it.
fn old(path: &Path, then: &str) {
    let database = Connection::open(path).expect("by hand");
    database.execute_batch("PRAGMA journal_mode = WAL").expect("as a server leaves it");
    database.execute_batch(include_str!("old_schema.sql")).expect("the old schema");
    database.execute_batch(then).expect("what came after it");
}

/// What was in it.
fn check(store: &SqliteStore, parked: Option<&str>) {
    let entry = |position, n, seq| LogEntry { position, task: task(n), event: event(seq) };
    let log = [entry(1, 1, 1), entry(2, 1, 2), entry(3, 2, 1), entry(4, 1, 3), entry(7, 2, 2)];
    assert_eq!(store.log(0, 100), Ok(log.to_vec()));
    assert_eq!(store.log(4, 100), Ok(log[4..].to_vec()));
    assert_eq!(store.log(5, 1), Ok(log[4..].to_vec()), "a gap is passed over");
    assert_eq!(store.log_end(), Ok(7));
    assert_eq!(store.events(task(1), 1, 9), Ok(vec![event(2), event(3)]));
    assert_eq!(store.events(task(2), 0, 9), Ok(vec![event(1), event(2)]));
    let one = SummaryRow { parked: parked.map(Into::into), ..summary(1, 3) };
    let two = SummaryRow {
        state: TaskState::Failed,
        ended_by: Some(EndedBy::Owner),
        cause: Some(Cause::Budget),
        parked: None,
        ..summary(2, 2)
    };
    let list = |filter: TaskFilter| store.list(&filter, None, 9).expect("a list");
    assert_eq!(list(TaskFilter::default()), [two.clone(), one.clone()]);
    assert_eq!(list(TaskFilter { causes: vec![Cause::Budget], ..TaskFilter::default() }), [two]);
    let prod = TaskFilter { labels: labels(&[("env", "prod")]), ..TaskFilter::default() };
    assert_eq!(list(TaskFilter { agent: Some(agent("helper")), ..prod }).len(), 2);
    assert_eq!(open_ids(store), [task(1)]);
    assert_eq!(store.summary(task(1)), Ok(Some(one)));
    assert_eq!(store.escalations(&[], None, None, 9), Ok(vec![escalation(1, 1, "OPEN", 5)]));
    assert_eq!(store.agents(), Ok(vec![agent_row("writer", 5, 6)]));
    assert_eq!((store.number("shards"), store.number("cursor")), (Ok(Some(2)), Ok(Some(17))));
    assert_eq!(store.number("tally.a"), Ok(Some(40)));
}

#[test]
fn the_first_schema_is_converted_once_and_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    old(&path, "");
    for start in ["converts it", "finds it converted"] {
        check(&SqliteStore::open(&path).expect(start), None);
    }
    let store = SqliteStore::open(&path).expect("again");
    let next = Append { sums: vec![("tally.a".to_owned(), 2)], ..append(1, 3, 1) };
    let conflict = StoreError::Conflict { task: task(1), expected: 1, found: 3 };
    assert_eq!(store.commit(&[append(1, 1, 1)]), Err(conflict));
    assert_eq!(store.commit(&[next, append(3, 0, 1)]), Ok(9));
    assert_eq!(store.number("tally.a"), Ok(Some(42)), "counted on");
    store.set_number("tally.a", 7).expect("set");
    assert_eq!(store.numbers("tally."), Ok(vec![("tally.a".to_owned(), 7)]));
    drop(store);
    let store = SqliteStore::open(&path).expect("again");
    assert_eq!(store.number("tally.a"), Ok(Some(7)));
    assert_eq!(store.log(7, 9).expect("a read").len(), 2);
}

#[test]
fn the_second_schema_is_converted_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    let parked = "ALTER TABLE tasks ADD COLUMN parked TEXT; UPDATE meta SET value = 2 WHERE name = 'schema'; \
                  UPDATE tasks SET parked = '{\"at\":3}' WHERE seq = 3";
    old(&path, parked);
    check(&SqliteStore::open(&path).expect("it converts it"), Some(r#"{"at":3}"#));
}

#[test]
fn a_server_that_knows_only_tables_is_told_to_be_a_later_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    old(&path, "");
    drop(SqliteStore::open(&path).expect("it converts it"));
    let database = Connection::open(&path).expect("by hand");
    // These two are what every version looks at first.
    let application: i32 = database.query_row("PRAGMA application_id", [], |row| row.get(0)).expect("an id");
    let schema = "SELECT value FROM meta WHERE name = 'schema'";
    let schema: i64 = database.query_row(schema, [], |row| row.get(0)).expect("a schema");
    assert_eq!((application, schema), (0x4261_696c, 4));
}

#[test]
fn a_conversion_that_fails_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    old(&path, "UPDATE events SET task_id = 'nobody' WHERE position = 7");
    let error = SqliteStore::open(&path).expect_err("an id that is none").to_string();
    assert!(error.contains("task_id"), "{error}");
    let database = Connection::open(&path).expect("by hand");
    let events: i64 =
        database.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).expect("a count");
    let tasks: i64 = database.query_row("SELECT count(*) FROM tasks", [], |row| row.get(0)).expect("a count");
    assert_eq!((events, tasks), (5, 2));
    let schema = "SELECT value FROM meta WHERE name = 'schema'";
    assert_eq!(database.query_row(schema, [], |row| row.get::<_, i64>(0)).expect("a schema"), 1);
}

#[test]
fn an_operator_reads_the_events_with_sql() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    let store = SqliteStore::open(&path).expect("new");
    let mut odd = append(2, 0, 2);
    "caf\u{e9} \u{1d11e}".clone_into(&mut odd.events[0].body);
    odd.escalations = vec![escalation(2, 1, "OPEN", 5)];
    store.commit(&[append(1, 0, 3), odd]).expect("a commit");
    store.commit(&[append(1, 3, 1)]).expect("another");
    // More than one row of the journal holds.
    store.commit(&(10..400).map(|n| append(n, 0, 1)).collect::<Vec<_>>()).expect("a large one");
    let operator = Connection::open(&path).expect("by hand");
    let mut statement = operator
        .prepare("SELECT position, task_id, seq, at, kind, version, body FROM events ORDER BY position")
        .expect("the view");
    type Seen = (i64, String, i64, i64, String, u16, String);
    let to_seen = |row: &rusqlite::Row<'_>| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
    };
    let seen: Vec<Seen> =
        statement.query_map([], to_seen).expect("rows").collect::<Result<_, _>>().expect("rows");
    let log = store.log(0, 1_000).expect("a read").into_iter();
    let signed = |number: u64| i64::try_from(number).expect("a small number");
    let expected: Vec<Seen> = log
        .map(|LogEntry { position, task, event }| {
            (
                signed(position),
                task.to_string(),
                signed(event.seq),
                signed(event.at.0),
                event.kind.into_owned(),
                event.version,
                event.body,
            )
        })
        .collect();
    assert_eq!(seen, expected);
    let rows: i64 =
        operator.query_row("SELECT count(*) FROM journal", [], |row| row.get(0)).expect("a count");
    assert!(rows > 3, "the large commit has several rows");
}
