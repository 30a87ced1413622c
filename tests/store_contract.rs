//! What every store promises, run over each of them, and what only the one on disk does.

#[path = "store_contract/cases.rs"]
mod cases;
#[path = "store_contract/convert.rs"]
mod convert;
#[path = "store_contract/disk.rs"]
mod disk;
#[path = "store_contract/random.rs"]
mod random;
#[path = "store_contract/rows.rs"]
mod rows;

use bailiwick::store::{Store, memory::MemoryStore, sqlite::SqliteStore};

/// A store, and the folder it lives in, if any.
struct Subject {
    store: Box<dyn Store>,
    _folder: Option<tempfile::TempDir>,
}

fn memory() -> Subject {
    Subject { store: Box::new(MemoryStore::new()), _folder: None }
}

fn sqlite() -> Subject {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(&folder.path().join("bailiwick.db")).expect("a new database");
    Subject { store: Box::new(store), _folder: Some(folder) }
}

/// Makes a test of each case for each store.
macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod in_memory {
            $(#[test] fn $case() { crate::cases::$case(&*crate::memory().store); })+
        }
        mod on_disk {
            $(#[test] fn $case() { crate::cases::$case(&*crate::sqlite().store); })+
        }
    };
}

contract! {
    events_are_read_as_written_and_without_gaps,
    a_conflict_keeps_nothing_of_the_commit,
    one_commit_can_add_to_a_task_twice,
    appends_that_make_no_sense_are_refused_whole,
    the_log_has_the_order_of_the_commits,
    an_empty_commit_says_where_the_log_ends,
    summaries_are_replaced_whole,
    each_filter_fits_what_it_says,
    filters_combine,
    a_changed_task_is_found_by_what_it_is_now,
    pages_neither_skip_nor_repeat_at_equal_times,
    open_tasks_come_oldest_first_until_they_end,
    notes_are_kept_where_nothing_has_happened_since,
    escalations_are_found_by_state_task_and_place,
    agents_keep_when_they_were_first_seen,
    numbers_are_kept,
    notes_are_kept_until_they_are_taken_away,
    sums_grow_with_their_events_or_not_at_all,
    the_count_of_shards_is_fixed_by_the_first_start,
    unknown_things_are_nothing_not_errors,
    any_text_survives,
}
