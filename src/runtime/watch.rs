//! Following a task: what the journal has after the cursor, then what is committed. Reads the journal only, so that it
//! shows nothing that is not durable; a slow reader costs nobody else anything.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::watch;

use super::{ReadError, codec, hands::Hands, watchers::Watchers};
use crate::{
    engine::{event::Record, view::SummaryView},
    store::{Store, StoreError},
    types::ids::TaskId,
};

/// Events of a page.
const PAGE: usize = 256;
/// Bytes of a page: with the event that reaches it, it is full. Every watcher holds a page, there may be thousands, and an
/// event may have megabytes.
const PAGE_BYTES: usize = 1 << 20;
/// Events read at once, at first and at most: what does not fit any more was read in vain.
const READS: (usize, usize) = (4, 16);

/// A task's events, replayed from a cursor and then followed.
pub struct Watch {
    store: Arc<dyn Store>,
    watchers: Arc<Watchers>,
    hands: Hands,
    task: TaskId,
    /// The last event handed out or buffered.
    cursor: u64,
    buffer: VecDeque<(Record, Option<SummaryView>)>,
    /// `None` once nothing more will come.
    bell: Option<watch::Receiver<u64>>,
}

impl Watch {
    pub(super) async fn start(
        store: Arc<dyn Store>,
        watchers: Arc<Watchers>,
        hands: Hands,
        task: TaskId,
        after: u64,
    ) -> Result<Self, ReadError> {
        let reader = Arc::clone(&store);
        let known = hands.run(move || reader.summary(task)).await??;
        if known.is_none() {
            return Err(ReadError::NotFound { task });
        }
        let bell = Some(watchers.follow(task));
        Ok(Self { store, watchers, hands, task, cursor: after, buffer: VecDeque::new(), bell })
    }

    /// The next event; with the newest of a burst comes the task's summary as of that event. `None` after the outcome and
    /// what the journal already had behind it. After an error nothing more comes.
    ///
    /// # Errors
    /// The store failed, or the runtime has stopped: watch again from the last event's `seq`.
    pub async fn next(&mut self) -> Option<Result<(Record, Option<SummaryView>), ReadError>> {
        loop {
            if let Some(next) = self.buffer.pop_front() {
                return Some(Ok(next));
            }
            // Marked as seen before the journal is read, so that a commit in between rings again.
            self.bell.as_mut()?.borrow_and_update();
            match self.read_on().await {
                Err(error) => {
                    self.stop();
                    return Some(Err(error));
                }
                Ok(true) => self.stop(),
                Ok(false) if !self.buffer.is_empty() => {}
                Ok(false) => {
                    if self.bell.as_mut()?.changed().await.is_err() {
                        self.stop();
                        return Some(Err(ReadError::ShuttingDown));
                    }
                }
            }
        }
    }

    /// Fills the buffer; says whether that was all there will be.
    async fn read_on(&mut self) -> Result<bool, ReadError> {
        let (store, task, after) = (Arc::clone(&self.store), self.task, self.cursor);
        let page = self.hands.run(move || read_page(&*store, task, after)).await??;
        if let Some((last, _)) = page.events.back() {
            self.cursor = last.seq;
        }
        self.buffer = page.events;
        Ok(page.done)
    }

    fn stop(&mut self) {
        if let Some(bell) = self.bell.take() {
            self.watchers.leave(self.task, bell);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Page {
    events: VecDeque<(Record, Option<SummaryView>)>,
    done: bool,
}

/// Reads up to the event that the summary stands for. What is committed in between waits for the next page, and so each
/// burst ends with a summary that fits its last event.
fn read_page(store: &dyn Store, task: TaskId, after: u64) -> Result<Page, StoreError> {
    let Some(row) = store.summary(task)? else {
        return Err(StoreError::Corrupt(format!("task {task} is gone")));
    };
    let mut events = VecDeque::new();
    let (mut cursor, mut bytes, mut many) = (after, 0, READS.0);
    while cursor < row.seq && events.len() < PAGE && bytes < PAGE_BYTES {
        let before = cursor;
        for event in store.events(task, cursor, many.min(PAGE - events.len()))? {
            if event.seq <= row.seq && bytes < PAGE_BYTES {
                (cursor, bytes) = (event.seq, bytes + event.body.len());
                events.push_back((codec::record(&event)?, None));
            }
        }
        if cursor == before {
            break;
        }
        many = (many * 2).min(READS.1);
    }
    let reached = events.back().map_or(after, |(record, _): &(Record, _)| record.seq) >= row.seq;
    if reached && let Some((_, summary)) = events.back_mut() {
        *summary = Some(codec::summary(&row)?);
    }
    Ok(Page { events, done: reached && row.state.is_end() })
}
