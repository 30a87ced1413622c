//! Writes what was committed into the tables, behind the commits. Never part of a commit: the journal alone is the truth, and
//! the tables can be made from it again.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rusqlite::Connection;

use super::{
    overlay::Overlay,
    project::{self, Kept},
};
use crate::store::StoreError;

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Work {
    /// Locked from before a generation is taken until it is gone.
    pub(super) views: Arc<Mutex<Connection>>,
    pub(super) overlay: Arc<Overlay>,
    pub(super) kept: Kept,
}

/// The thread.
#[derive(Debug)]
pub(super) struct Projector {
    thread: thread::JoinHandle<()>,
}

impl Projector {
    /// Starts it.
    pub(super) fn start(work: Work) -> Result<Self, StoreError> {
        let thread = thread::Builder::new().name("projector".to_owned()).spawn(move || work.run());
        let cannot = |error: io::Error| StoreError::Unavailable(format!("no thread for the tables: {error}"));
        Ok(Self { thread: thread.map_err(cannot)? })
    }

    /// Waits for its end; the overlay must be closed.
    pub(super) fn join(self) {
        // If it panicked, the next start makes the tables from the journal.
        self.thread.join().ok();
    }
}

/// Nobody must wait for a thread that has gone, however it went.
struct CloseOnDrop(Arc<Overlay>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// How much less than others a thread gets of a processor that all want: a third.
const NICER: i32 = 5;

/// Has this thread give way to those that somebody waits for. Only where the system does that for a thread.
pub(super) fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICER) {
        tracing::debug!(%error, "a thread in the background has the priority of all others");
    }
}

/// The connection that writes the tables.
pub(super) fn lock(views: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic has unwound through the transaction, which rolls back: the connection is as before it.
    views.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    fn run(self) {
        give_way();
        let _closed = CloseOnDrop(Arc::clone(&self.overlay));
        while self.overlay.gather() {
            if let Err(error) = self.step() {
                self.overlay.failed(error);
                if !self.overlay.rest() {
                    return;
                }
            }
        }
        // If this fails, the next start finds the log and reads it.
        super::checkpoint::at_close(&lock(&self.views));
    }

    /// Writes what there is; says whether there was anything.
    pub(super) fn step(&self) -> Result<bool, StoreError> {
        let mut views = lock(&self.views);
        let Some(generation) = self.overlay.take() else { return Ok(false) };
        project::project(&mut views, &generation, self.kept)?;
        drop(generation);
        self.overlay.written();
        Ok(true)
    }
}
