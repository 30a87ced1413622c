//! Copies the write-ahead log into the database beside the commits, so that a commit is an append and one fsync. Never on
//! the commit's path, but for a short last stretch under constant load: the log can only start over when all of it is copied
//! and nobody is writing.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
};

use rusqlite::Connection;

use super::commit::Committer;
use crate::store::StoreError;

/// Pages (4 KiB each) not yet copied at which they are: 2 MiB. While the fsync of the database runs, the disk makes commits
/// wait as long as it takes to write what was copied; a journal is only added to, so that little is copied twice.
const WORTH_COPYING: i64 = 512;
/// Pages in the log at which it is made to start over: 64 MiB.
const LONG: i64 = 16_384;
/// Bytes committed between two looks at the log. A page holds more than what changed in it, so well under [`WORTH_COPYING`].
const LOOK_EVERY: usize = 512 * 1_024;

/// The thread that copies, and how to wake it.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: Option<SyncSender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    since_look: AtomicUsize,
}

impl Checkpointer {
    /// Starts the thread; it has its own connection and borrows the writer's lock for the last stretch.
    pub(super) fn start(own: Connection, writer: Arc<Mutex<Committer>>) -> Result<Self, StoreError> {
        let (wake, woken) = mpsc::sync_channel(1);
        let work = move || {
            super::projector::give_way();
            while woken.recv().is_ok() {
                // A failed copy loses nothing: the log still has it all, and the next look tries again.
                copy(&own, &writer).ok();
            }
        };
        let thread = thread::Builder::new().name("checkpoint".to_owned()).spawn(work);
        let cannot =
            |error: io::Error| StoreError::Unavailable(format!("no thread for checkpoints: {error}"));
        Ok(Self { wake: Some(wake), thread: Some(thread.map_err(cannot)?), since_look: AtomicUsize::new(0) })
    }

    /// Says that about this many bytes were committed.
    pub(super) fn committed(&self, bytes: usize) {
        if self.since_look.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) < LOOK_EVERY {
            return;
        }
        self.since_look.store(0, Ordering::Relaxed);
        if let Some(wake) = &self.wake {
            // Full: it is about to look anyway.
            wake.try_send(()).ok();
        }
    }

    /// Ends the thread and waits for it.
    pub(super) fn stop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, the log is merely longer; closing copies it.
            thread.join().ok();
        }
    }
}

/// Copies everything and empties the log: the database is one file again.
pub(super) fn at_close(writer: &Connection) {
    // If this fails, the next start reads the log as after a crash.
    run(writer, "PRAGMA wal_checkpoint(TRUNCATE)").ok();
}

/// How many pages the log has, and how many of them are copied.
struct Wal {
    pages: i64,
    copied: i64,
}

fn copy(own: &Connection, writer: &Mutex<Committer>) -> rusqlite::Result<()> {
    let wal = run(own, "PRAGMA wal_checkpoint(NOOP)")?;
    if wal.pages - wal.copied < WORTH_COPYING {
        return Ok(());
    }
    let wal = run(own, PASSIVE)?;
    if wal.pages < LONG {
        return Ok(());
    }
    // What was committed during the first copy is little, and during the second next to nothing; that rest is copied while
    // the writer waits, and its next commit finds nothing left in the log and starts it over.
    run(own, PASSIVE)?;
    let writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
    run(&writer.journal, PASSIVE)?;
    Ok(())
}

const PASSIVE: &str = "PRAGMA wal_checkpoint(PASSIVE)";

fn run(connection: &Connection, checkpoint: &str) -> rusqlite::Result<Wal> {
    connection.query_row(checkpoint, [], |row| Ok(Wal { pages: row.get(1)?, copied: row.get(2)? }))
}
