//! What only a look inside can show: a full disk, the log's length, the plans of queries, tampered rows.

mod crash;
mod tables;

use super::*;
use crate::{
    store::record::{EscalationRow, StoredEvent},
    types::outcome::{Cause, TaskState},
};
use uuid::Uuid;

fn append(n: u128, expected_seq: u64, body_bytes: usize) -> Append {
    let task = TaskId::from(Uuid::from_u128(n));
    let at = Timestamp(n as u64);
    let body = format!("\"{}\"", "x".repeat(body_bytes));
    let event = StoredEvent { seq: expected_seq + 1, at, kind: "submitted".into(), version: 1, body };
    let owner: crate::types::ids::AgentName = "owner".parse().expect("a name");
    let summary = SummaryRow {
        task,
        state: TaskState::Running,
        ended_by: None,
        cause: None,
        owner: owner.clone(),
        agents: [owner].into(),
        labels: vec![("env".to_owned(), "prod".to_owned())],
        created_at: at,
        updated_at: at,
        seq: expected_seq + 1,
        parked: None,
        view: "{}".into(),
    };
    Append {
        task,
        expected_seq,
        events: vec![event],
        summary,
        escalations: Vec::<EscalationRow>::new(),
        sums: Vec::new(),
    }
}

fn in_new_folder() -> (tempfile::TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("bailiwick.db")).expect("a new database");
    (folder, store)
}

/// A store whose tables are written when the test says so.
fn held_in_new_folder() -> (tempfile::TempDir, SqliteStore, projector::Work) {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, work) =
        SqliteStore::assemble(&folder.path().join("bailiwick.db"), None).expect("a new database");
    (folder, store, work)
}

#[test]
fn a_full_disk_keeps_nothing_of_the_commit_and_the_next_one_works() {
    let (_folder, store) = in_new_folder();
    store.commit(&[append(1, 0, 10)]).expect("there is room");
    let pages: i64 =
        store.writer().journal.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("a count");
    let limit = |pages: i64| {
        store
            .writer()
            .journal
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
    };
    limit(pages + 2).expect("a limit");
    let refused = store.commit(&[append(2, 0, 10), append(3, 0, 100_000)]);
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(store.log(0, 10).expect("a read").len(), 1);
    assert_eq!(store.summary(append(2, 0, 0).task), Ok(None));
    limit(1_000_000).expect("a limit");
    assert_eq!(store.commit(&[append(2, 0, 10), append(3, 0, 100_000)]), Ok(3));
}

#[test]
fn the_log_starts_over_under_load_and_is_gone_at_close() {
    let (folder, store) = in_new_folder();
    let log = folder.path().join("bailiwick.db-wal");
    let mut most = 0;
    for n in 0..1_500 {
        store.commit(&[append(n, 0, 60_000)]).expect("there is room");
        most = most.max(log.metadata().expect("a log").len());
    }
    assert_eq!(store.log(0, 2_000).expect("a read").len(), 1_500);
    // 90 MB were committed.
    drop(store);
    assert!(most < 80_000_000, "the log has grown to {most} bytes");
    assert!(!log.exists(), "the log is copied and gone");
}

#[test]
fn reads_go_on_while_a_commit_is_open() {
    let (_folder, store) = in_new_folder();
    store.commit(&[append(1, 0, 10)]).expect("a commit");
    let writer = store.writer();
    writer.journal.execute_batch("BEGIN IMMEDIATE; DELETE FROM journal;").expect("an open transaction");
    assert_eq!(store.log(0, 10).expect("a read").len(), 1);
    writer.journal.execute_batch("ROLLBACK").expect("the end of it");
}

#[test]
fn what_does_not_parse_is_said_with_its_column() {
    let (_folder, store, work) = held_in_new_folder();
    let one = append(1, 0, 10);
    store.commit(std::slice::from_ref(&one)).expect("a commit");
    work.step().expect("written");
    projector::lock(&work.views).execute("UPDATE tasks SET state = 'BORED'", []).expect("tampering");
    let error = store.summary(one.task).expect_err("no such state");
    assert!(matches!(&error, StoreError::Corrupt(why) if why.contains("column state")), "{error}");
}

#[test]
fn no_page_of_a_list_sorts_or_scans_its_table() {
    let (_folder, _store, work) = held_in_new_folder();
    let filters = [
        TaskFilter::default(),
        TaskFilter { states: vec![TaskState::Running, TaskState::Failed], ..TaskFilter::default() },
        TaskFilter { causes: vec![Cause::Budget], ..TaskFilter::default() },
        TaskFilter { agent: Some("owner".parse().expect("a name")), ..TaskFilter::default() },
        TaskFilter {
            labels: vec![("env".to_owned(), "prod".to_owned())],
            since: Some(Timestamp(5)),
            ..TaskFilter::default()
        },
    ];
    let after = PageAfter { created_at: Timestamp(7), task: append(1, 0, 0).task };
    for filter in filters {
        for plan in list::plans(&projector::lock(&work.views), &filter, Some(after)).expect("plans") {
            assert!(!plan.contains("TEMP B-TREE") && !plan.contains("SCAN"), "{filter:?}: {plan}");
            assert!(plan.contains("created_at>? AND"), "the page's bounds are the index's: {plan}");
        }
    }
}
