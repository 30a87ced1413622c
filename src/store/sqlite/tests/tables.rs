//! The file of the tables: what is made anew, what is left alone, and what happens while it cannot be written.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use super::*;

fn opened(path: &Path) -> (SqliteStore, projector::Work) {
    SqliteStore::assemble(path, None).expect("it opens")
}

/// A database with two tasks, its tables written, closed.
fn made(path: &Path, first: u128) {
    let (store, work) = opened(path);
    store.commit(&[append(first, 0, 10), append(first + 1, 0, 10)]).expect("a commit");
    work.step().expect("written");
}

#[test]
fn tables_of_another_journal_are_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (folder.path().join("ours.db"), folder.path().join("theirs.db"));
    made(&ours, 1);
    made(&theirs, 5);
    fs::copy(views::beside(&theirs), views::beside(&ours)).expect("a mistake");
    let (store, _work) = opened(&ours);
    let listed: Vec<TaskId> =
        store.list(&TaskFilter::default(), None, 9).expect("a list").iter().map(|row| row.task).collect();
    assert_eq!(listed, [append(2, 0, 0).task, append(1, 0, 0).task]);
}

#[test]
fn a_backup_put_back_is_not_mixed_with_newer_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    made(&path, 1);
    let backup = fs::read(&path).expect("a backup");
    made(&path, 3);
    fs::write(&path, backup).expect("put back");
    let (store, work) = opened(&path);
    assert_eq!(store.open_count(), Ok(2));
    assert_eq!(store.log_end(), Ok(2));
    store.commit(&[append(3, 0, 10)]).expect("it goes on");
    work.step().expect("written");
    assert_eq!(store.open_count(), Ok(3));
}

#[test]
fn broken_tables_are_made_anew_and_another_programs_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    made(&path, 1);
    fs::write(views::beside(&path), "no database at all. ".repeat(500)).expect("damage");
    let (store, work) = opened(&path);
    assert_eq!(store.open_count(), Ok(2));
    drop((store, work));
    fs::remove_file(views::beside(&path)).expect("away");
    let other = Connection::open(views::beside(&path)).expect("by hand");
    other.execute_batch("CREATE TABLE recipes (name TEXT)").expect("a table");
    drop(other);
    let before = fs::read(views::beside(&path)).expect("the file");
    let error = SqliteStore::assemble(&path, None).map(drop).expect_err("it is not ours");
    assert!(error.to_string().contains("another program's database"), "{error}");
    assert_eq!(fs::read(views::beside(&path)).expect("the file"), before);
}

#[test]
fn tables_of_another_schema_are_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    made(&path, 1);
    let operator = Connection::open(views::beside(&path)).expect("by hand");
    operator.execute_batch("UPDATE meta SET value = 0; DELETE FROM tasks").expect("an older one");
    drop(operator);
    let (store, _work) = opened(&path);
    assert_eq!(store.open_count(), Ok(2));
}

#[test]
fn what_cannot_be_written_yet_is_read_all_the_same_and_written_later() {
    let (_folder, store, work) = held_in_new_folder();
    let pages = |pages: i64| {
        let views = projector::lock(&work.views);
        views
            .pragma_update_and_check(None, "max_page_count", pages, |row| row.get::<_, i64>(0))
            .expect("a limit")
    };
    pages(1);
    let many: Vec<Append> = (1..=300).map(|n| append(n, 0, 10)).collect();
    store.commit(&many).expect("a commit");
    let refused = work.step();
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(store.open_count(), Ok(300));
    store.commit(&[append(1, 1, 10)]).expect("another");
    assert_eq!(store.events(many[0].task, 0, 9).expect("a read").len(), 2);
    pages(1_000_000);
    assert_eq!(work.step(), Ok(true));
    assert_eq!(work.step(), Ok(true), "what came while it could not be written");
    assert_eq!(work.step(), Ok(false));
    assert_eq!(store.events(many[0].task, 0, 9).expect("a read").len(), 2);
    assert_eq!(store.open_count(), Ok(300));
}

/// More than may wait for the tables.
fn fill(store: &SqliteStore) -> u128 {
    let mut n = 0;
    while store.overlay.has_room() {
        n += 1;
        let mut large = append(n, 0, 10);
        large.summary.view = "x".repeat(4 << 20).into();
        store.commit(&[large]).expect("there is room");
    }
    n
}

#[test]
fn commits_wait_until_there_is_room_again() {
    let (_folder, store, work) = held_in_new_folder();
    let (store, n) = (Arc::new(store), 1_000);
    let full = fill(&store);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (theirs, said) = (Arc::clone(&store), Arc::clone(&order));
    let commits = thread::spawn(move || {
        let result = theirs.commit(&[append(n, 0, 10)]);
        said.lock().expect("no panic").push("committed");
        result
    });
    order.lock().expect("no panic").push("written");
    work.step().expect("written");
    assert!(commits.join().expect("no panic").is_ok());
    assert_eq!(*order.lock().expect("no panic"), ["written", "committed"]);
    assert_eq!(store.open_count().map(u128::from), Ok(full + 1));
}

#[test]
fn without_room_a_commit_is_refused_while_the_tables_cannot_be_written() {
    let (_folder, store, work) = held_in_new_folder();
    fill(&store);
    let full = StoreError::Unavailable("the disk is full".to_owned());
    store.overlay.failed(full.clone());
    let end = store.log_end();
    assert_eq!(store.commit(&[append(1_000, 0, 10)]), Err(full));
    assert_eq!(store.log_end(), end, "nothing of it was kept");
    work.step().expect("there is room again");
    assert!(store.commit(&[append(1_000, 0, 10)]).is_ok());
}

#[test]
fn the_tables_follow_the_journal_by_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bailiwick.db");
    let store = SqliteStore::open(&path).expect("new");
    store.commit(&[append(1, 0, 10)]).expect("a commit");
    drop(store);
    // Closing writes what is left, and leaves one file.
    assert!(!folder.path().join("bailiwick.db-views-wal").exists());
    let tables = Connection::open(views::beside(&path)).expect("by hand");
    let until: i64 = tables.query_row("SELECT until FROM projected", [], |row| row.get(0)).expect("a mark");
    assert_eq!(until, 1);
}
