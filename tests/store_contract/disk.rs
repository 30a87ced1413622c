//! What only a store on disk can show: it lasts, it has one server, and it says clearly what it cannot open.

use std::{
    fs::{self, File},
    path::Path,
};

use bailiwick::store::{Store as _, StoreError, record::TaskFilter, sqlite::SqliteStore};
use rusqlite::Connection;

use crate::rows::{agent_row, append, escalation, open_ids, task};

fn in_folder(check: impl FnOnce(&Path)) {
    let folder = tempfile::tempdir().expect("a folder");
    check(&folder.path().join("bailiwick.db"));
}

fn refusal(path: &Path) -> StoreError {
    SqliteStore::open(path).expect_err("it must be refused")
}

#[test]
fn everything_is_there_after_a_restart() {
    in_folder(|path| {
        let store = SqliteStore::open(path).expect("new");
        let mut asked = append(1, 0, 2);
        asked.escalations = vec![escalation(1, 1, "OPEN", 3)];
        let end = store.commit(&[asked, append(2, 0, 1)]).expect("a commit");
        store.upsert_agents(&[agent_row("writer", 5, 6)]).expect("an agent");
        store.set_number("cursor", 17).expect("a number");
        let before = store.log(0, 10);
        drop(store);
        let store = SqliteStore::open(path).expect("again");
        assert_eq!(store.log(0, 10), before);
        assert_eq!(store.list(&TaskFilter::default(), None, 10).expect("a list").len(), 2);
        assert_eq!(store.escalations(&[], None, None, 10), Ok(vec![escalation(1, 1, "OPEN", 3)]));
        assert_eq!(store.agents(), Ok(vec![agent_row("writer", 5, 6)]));
        assert_eq!(store.number("cursor"), Ok(Some(17)));
        assert_eq!(store.commit(&[append(2, 1, 1)]), Ok(end + 1));
    });
}

#[test]
fn what_was_committed_is_in_a_copy_taken_without_a_close() {
    in_folder(|path| {
        let store = SqliteStore::open(path).expect("new");
        store.commit(&[append(1, 0, 2)]).expect("a commit");
        // What a crash leaves: the file and its log as they are at this moment.
        let crashed = path.with_file_name("crashed.db");
        fs::copy(path, &crashed).expect("a copy");
        fs::copy(path.with_file_name("bailiwick.db-wal"), path.with_file_name("crashed.db-wal"))
            .expect("a copy");
        let recovered = SqliteStore::open(&crashed).expect("after the crash");
        assert_eq!(recovered.log(0, 10), store.log(0, 10));
        assert_eq!(open_ids(&recovered), [task(1)]);
    });
}

#[test]
fn a_second_server_is_refused_until_the_first_has_stopped() {
    in_folder(|path| {
        let store = SqliteStore::open(path).expect("new");
        let expected = format!("already served by process {}", std::process::id());
        let error = refusal(path).to_string();
        assert!(error.contains(&expected), "{error}");
        #[cfg(unix)]
        {
            let link = path.with_file_name("link.db");
            std::os::unix::fs::symlink(path, &link).expect("a link");
            assert!(refusal(&link).to_string().contains(&expected), "by another name too");
        }
        store.commit(&[append(1, 0, 1)]).expect("the first goes on");
        drop(store);
        assert_eq!(open_ids(&SqliteStore::open(path).expect("free again")), [task(1)]);
    });
}

#[test]
fn a_newer_schema_is_refused_with_what_to_do_and_left_alone() {
    in_folder(|path| {
        drop(SqliteStore::open(path).expect("new"));
        let operator = Connection::open(path).expect("by hand");
        operator.execute("UPDATE meta SET value = 5 WHERE name = 'schema'", []).expect("an upgrade");
        drop(operator);
        let before = fs::read(path).expect("the file");
        let error = refusal(path);
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        let error = error.to_string();
        assert!(error.contains("schema 5") && error.contains("start that version or a later one"), "{error}");
        assert_eq!(fs::read(path).expect("the file"), before);
    });
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    in_folder(|path| {
        let other = Connection::open(path).expect("by hand");
        other.execute_batch("CREATE TABLE recipes (name TEXT)").expect("a table");
        drop(other);
        let before = fs::read(path).expect("the file");
        let error = refusal(path).to_string();
        assert!(error.contains("another program's database"), "{error}");
        assert_eq!(fs::read(path).expect("the file"), before);
    });
}

#[test]
fn a_broken_file_is_an_error_not_a_panic() {
    in_folder(|path| {
        fs::write(path, "this is a diary, not a database. ".repeat(500)).expect("a file");
        let error = refusal(path);
        assert!(matches!(&error, StoreError::Corrupt(why) if why.contains("not a database")), "{error}");
    });
}

#[test]
fn a_damaged_page_is_an_error_not_a_panic() {
    in_folder(|path| {
        let store = SqliteStore::open(path).expect("new");
        let many: Vec<_> = (1..=500).map(|n| append(n, 0, 2)).collect();
        store.commit(&many).expect("a commit");
        drop(store);
        let mut bytes = fs::read(path).expect("the file");
        // All but the first page, which has the header and the schema.
        bytes[4_096..].fill(0xa5);
        fs::write(path, bytes).expect("damage");
        let errors = match SqliteStore::open(path) {
            Err(error) => vec![error],
            Ok(store) => vec![
                store.log(0, 1_000).expect_err("damaged"),
                store.summary(task(7)).expect_err("damaged"),
                store.commit(&[append(900, 0, 1)]).expect_err("damaged"),
            ],
        };
        for error in errors {
            assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
        }
    });
}

#[test]
fn what_cannot_be_written_is_unavailable() {
    in_folder(|path| {
        let nowhere = path.with_file_name("no-such-folder").join("bailiwick.db");
        let error = refusal(&nowhere);
        assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("its folder")), "{error}");
        let a_folder = path.parent().expect("the folder");
        assert!(matches!(refusal(a_folder), StoreError::Unavailable(_)));
        let locked_out = path.with_file_name("x.db");
        fs::create_dir(path.with_file_name("x.db.lock")).expect("a folder in the lock's place");
        let error = refusal(&locked_out);
        assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("lock file")), "{error}");
    });
    // A folder in which nobody at all can make a file.
    #[cfg(target_os = "linux")]
    assert!(matches!(refusal(Path::new("/proc/bailiwick.db")), StoreError::Unavailable(_)));
}

#[test]
fn a_read_only_file_is_unavailable() {
    in_folder(|path| {
        drop(SqliteStore::open(path).expect("new"));
        let mut permissions = fs::metadata(path).expect("the file").permissions();
        permissions.set_readonly(true);
        fs::set_permissions(path, permissions).expect("read-only");
        // Some users may write to it all the same; for them there is nothing to refuse.
        let writable = File::options().append(true).open(path).is_ok();
        match SqliteStore::open(path) {
            Ok(store) => {
                assert!(writable);
                store.commit(&[append(1, 0, 1)]).expect("it is writable");
            }
            Err(error) => {
                assert!(!writable && matches!(error, StoreError::Unavailable(_)), "{error}");
            }
        }
    });
}
