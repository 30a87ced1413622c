//! Writes what was committed into the tables, behind the commits. Never part of a commit: the journal alone is the truth, and
//! the tables can be made from it again.

use std::{io, sync::Arc, thread};

use rusqlite::Connection;

use super::{overlay::Overlay, project};
use crate::store::StoreError;

/// What the thread works with.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) views: Connection,
    pub(super) overlay: Arc<Overlay>,
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

impl Work {
    fn run(mut self) {
        let _closed = CloseOnDrop(Arc::clone(&self.overlay));
        while let Some(generation) = self.overlay.take() {
            match project::project(&mut self.views, &generation) {
                Ok(()) => {
                    drop(generation);
                    self.overlay.written();
                }
                Err(error) => {
                    if !self.overlay.failed(error) {
                        return;
                    }
                }
            }
        }
        at_close(&self.views);
    }

    /// Writes what there is; says whether there was anything.
    #[cfg(test)]
    pub(super) fn step(&mut self) -> Result<bool, StoreError> {
        let Some(generation) = self.overlay.take_now() else { return Ok(false) };
        project::project(&mut self.views, &generation)?;
        drop(generation);
        self.overlay.written();
        Ok(true)
    }
}

/// Makes the views one file again.
fn at_close(views: &Connection) {
    // If this fails, the next start finds the log and reads it.
    super::checkpoint::at_close(views);
}
