//! Group commit: one thread takes everything that has arrived and makes it durable with one transaction and one fsync.
//! Never answers before the commit, and never lets a task's later events in after its earlier ones were refused.

mod queue;

use std::{
    collections::HashMap,
    fmt, io,
    num::NonZeroUsize,
    ops::Range,
    sync::Arc,
    thread::{self, JoinHandle},
};

use queue::{Numbered, Queue};

use super::{Store, StoreError, record::Append};
use crate::types::ids::TaskId;

/// The most appends in one transaction, unless a single submission has more.
pub const MAX_BATCH_APPENDS: usize = 2_000;
/// The most bytes in one transaction, about, unless a single submission has more.
pub const MAX_BATCH_BYTES: usize = 8 * 1_024 * 1_024;

/// What is called with the log's new end, or with the reason why nothing of the submission was kept. It runs on the writer's
/// thread: it should hand the answer on and return.
pub type OnDone = Box<dyn FnOnce(Result<u64, StoreError>) + Send>;

/// Appends that stand or fall together, and who wants to know.
pub struct Submission {
    /// The appends, in order. A task may occur more than once.
    pub appends: Vec<Append>,
    /// Called once.
    pub on_done: OnDone,
}

impl fmt::Debug for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission").field("appends", &self.appends).finish_non_exhaustive()
    }
}

/// Why a submission was not taken. It comes back whole, and its callback was not called.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// As many submissions as the queue holds are waiting: try again after one of them is answered.
    #[error("the journal's queue is full")]
    Full(Submission),
    /// The writer was stopped.
    #[error("the journal's writer has stopped")]
    Stopped(Submission),
}

/// The way to the writer's thread. Cheap to clone; when the last one is dropped, the thread finishes the queue and ends.
#[derive(Debug, Clone)]
pub struct WriterHandle {
    queue: Arc<Queue>,
    _last: Arc<CloseOnDrop>,
}

#[derive(Debug)]
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl WriterHandle {
    /// Queues appends to be committed whole or not at all. Submissions of one caller are committed in their order.
    ///
    /// # Errors
    /// See [`SubmitError`]. Whether the commit succeeds is said to `on_done`.
    pub fn submit(&self, appends: Vec<Append>, on_done: OnDone) -> Result<(), SubmitError> {
        self.queue.push(Submission { appends, on_done })
    }

    /// What waits.
    pub fn backlog(&self) -> Backlog {
        Backlog(Arc::clone(&self.queue))
    }

    /// Takes no more submissions; what is queued is still committed, then the thread ends.
    pub fn stop(&self) {
        self.queue.close();
    }
}

/// What waits for the writer, to be looked at. It keeps nothing open.
#[derive(Debug, Clone)]
pub struct Backlog(Arc<Queue>);

impl Backlog {
    /// Submissions that wait; those under way into a commit are no longer among them.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

/// The group-commit thread.
pub struct Writer {
    store: Arc<dyn Store>,
    queue: Arc<Queue>,
    refused: Refused,
}

impl Writer {
    /// Starts the thread. `bound` is the most submissions that wait at the same time.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(store: Arc<dyn Store>, bound: NonZeroUsize) -> io::Result<(WriterHandle, JoinHandle<()>)> {
        let queue = Arc::new(Queue::new(bound));
        let handle =
            WriterHandle { queue: Arc::clone(&queue), _last: Arc::new(CloseOnDrop(Arc::clone(&queue))) };
        let writer = Self { store, queue, refused: Refused::default() };
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run())?;
        Ok((handle, thread))
    }

    /// As `start`, without a thread: nothing is committed but by the future that this returns, which waits for `rest` before
    /// each commit. It ends as the thread does. For a store that never blocks.
    pub fn in_place<R: Future<Output = ()> + Send>(
        store: Arc<dyn Store>,
        bound: NonZeroUsize,
        rest: impl Fn() -> R + Send,
    ) -> (WriterHandle, impl Future<Output = ()> + Send) {
        let queue = Arc::new(Queue::new(bound));
        let handle =
            WriterHandle { queue: Arc::clone(&queue), _last: Arc::new(CloseOnDrop(Arc::clone(&queue))) };
        let mut writer = Self { store, queue, refused: Refused::default() };
        let commits = async move {
            let _closed = Abandon(Arc::clone(&writer.queue));
            while writer.queue.has_some().await {
                rest().await;
                if let Some(taken) = writer.queue.take(MAX_BATCH_APPENDS, MAX_BATCH_BYTES) {
                    writer.write(taken);
                }
            }
        };
        (handle, commits)
    }

    fn run(mut self) {
        // Also if a callback or the store panics: then nobody must wait for an answer that cannot come.
        let _closed = Abandon(Arc::clone(&self.queue));
        while let Some(taken) = self.queue.take(MAX_BATCH_APPENDS, MAX_BATCH_BYTES) {
            self.write(taken);
        }
    }

    /// Commits a batch as one; if that fails, each submission by itself, so that only the guilty one fails.
    fn write(&mut self, taken: Vec<Numbered>) {
        let batch = Batch::of(taken, &mut self.refused, &self.queue);
        if batch.parts.len() > 1
            && let Ok(end) = self.store.commit(&batch.appends)
        {
            for part in batch.parts {
                (part.on_done)(Ok(end));
            }
            return;
        }
        let Batch { appends, parts } = batch;
        for Part { number, range, on_done } in parts {
            let appends = &appends[range];
            let earlier = self.refused.find(number, appends);
            let result = earlier.map_or_else(|| self.store.commit(appends), Err);
            if let Err(error) = &result {
                self.refused.add(number, appends, error, self.queue.last_number());
            }
            on_done(result);
        }
    }
}

/// Submissions on their way into one transaction.
struct Batch {
    appends: Vec<Append>,
    parts: Vec<Part>,
}

/// One submission within a batch.
struct Part {
    number: u64,
    range: Range<usize>,
    on_done: OnDone,
}

impl Batch {
    /// Lays submissions end to end, and answers those at once that follow a refused one.
    fn of(taken: Vec<Numbered>, refused: &mut Refused, queue: &Queue) -> Self {
        let mut batch = Self { appends: Vec::new(), parts: Vec::with_capacity(taken.len()) };
        for Numbered { number, weight: _, submission: Submission { appends, on_done } } in taken {
            if let Some(error) = refused.find(number, &appends) {
                refused.add(number, &appends, &error, queue.last_number());
                on_done(Err(error));
                continue;
            }
            let start = batch.appends.len();
            batch.appends.extend(appends);
            batch.parts.push(Part { number, range: start..batch.appends.len(), on_done });
        }
        batch
    }
}

/// Tasks of which something was refused, each with the number of the last submission that may have been decided before its
/// author heard of that. Their expected numbers would give most of those away, but this does not depend on it.
#[derive(Debug, Default)]
struct Refused {
    tasks: HashMap<TaskId, (u64, StoreError)>,
    /// The last number that any task here reaches to.
    until: u64,
}

impl Refused {
    /// Why submission `number` with these appends cannot be kept, if an earlier refusal says so.
    fn find(&mut self, number: u64, appends: &[Append]) -> Option<StoreError> {
        if number > self.until {
            self.tasks.clear();
        }
        let refusals = appends.iter().filter_map(|append| self.tasks.get(&append.task));
        refusals.filter(|(until, _)| number <= *until).map(|(_, error)| error.clone()).next()
    }

    /// Refuses the tasks of submission `number` up to submission `until`. Where an earlier refusal reaches it, that one's
    /// reach stays: its author has heard of it, and what came since may be sound.
    fn add(&mut self, number: u64, appends: &[Append], error: &StoreError, until: u64) {
        self.until = self.until.max(until);
        for append in appends {
            let refusal = self.tasks.entry(append.task).or_insert_with(|| (until, error.clone()));
            if refusal.0 < number {
                *refusal = (until, error.clone());
            }
        }
    }
}

/// Closes the queue at the end of the thread and answers what is left in it.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.close();
        for left in self.0.take_all() {
            (left.submission.on_done)(Err(StoreError::Unavailable(
                "the journal's writer has ended".to_owned(),
            )));
        }
    }
}

#[cfg(test)]
mod tests;
