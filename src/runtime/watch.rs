//! Following a task: what the journal has after the cursor, then what is committed. Reads the journal only, so that it
//! shows nothing that is not durable; a slow reader costs nobody else anything.

mod room;

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::watch;

use self::room::Held;
pub(super) use self::room::Room;
use super::{Overloaded, ReadError, codec, hands::Hands, watchers::Watchers};
use crate::{
    engine::{event::Record, view::SummaryView},
    store::{Store, StoreError},
    types::{ids::TaskId, time::Span},
};

/// Events of a page.
const PAGE: usize = 256;
/// Bytes of a page: with the event that reaches it, it is full; where there is no room for as much, before. Every watcher may
/// hold a page, there may be thousands, and an event may have megabytes.
const PAGE_BYTES: usize = 1 << 20;
/// Events read at once, at first and at most: what does not fit any more was read in vain.
const READS: (usize, usize) = (4, 16);
/// When to look again where there is no room.
const NO_ROOM_RETRY: Span = Span::from_secs(5);

/// A task's events, replayed from a cursor and then followed.
pub struct Watch {
    store: Arc<dyn Store>,
    watchers: Arc<Watchers>,
    hands: Hands,
    task: TaskId,
    /// The last event handed out or buffered.
    cursor: u64,
    buffer: VecDeque<(Record, Option<SummaryView>)>,
    /// The room that the page takes, until the one after it is asked for: only then its last event has gone.
    held: Option<Held>,
    /// The next event, in bytes, where there was no room for it.
    wanted: usize,
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
        let known = hands.run(move || reader.row(task)).await??;
        if known.is_none() {
            return Err(ReadError::NotFound { task });
        }
        let bell = Some(watchers.follow(task));
        let buffer = VecDeque::new();
        Ok(Self { store, watchers, hands, task, cursor: after, buffer, held: None, wanted: 0, bell })
    }

    /// The next event; with the newest of a burst comes the task's summary as of that event. `None` after the outcome and
    /// what the journal already had behind it. After an error nothing more comes, but after `Overloaded`.
    ///
    /// # Errors
    /// The store failed, or the runtime has stopped: watch again from the last event's `seq`. `Overloaded`: the next event is
    /// large, and what other watchers have not read takes all the room there is: wait for some, and ask again.
    pub async fn next(&mut self) -> Option<Result<(Record, Option<SummaryView>), ReadError>> {
        loop {
            if let Some(next) = self.buffer.pop_front() {
                return Some(Ok(next));
            }
            let reserved = self.held.take().filter(|_| self.wanted > 0).unwrap_or_default();
            // Marked as seen before the journal is read, so that a commit in between rings again.
            self.bell.as_mut()?.borrow_and_update();
            match self.read_on(reserved).await {
                Err(error @ ReadError::Overloaded(_)) => return Some(Err(error)),
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

    /// Waits until there is room for what `Overloaded` was said of. Needs a limit: those who take it may never read.
    pub async fn wait_for_room(&mut self) {
        if self.wanted > 0 {
            self.held = None;
            self.held = Some(Held::wait(self.watchers.room(), self.wanted).await);
        }
    }

    /// Fills the buffer; says whether that was all there will be. `reserved`: room that was waited for.
    async fn read_on(&mut self, reserved: Held) -> Result<bool, ReadError> {
        let (store, task, after) = (Arc::clone(&self.store), self.task, self.cursor);
        let room = self.watchers.room().clone();
        let page = {
            let _turn = self.watchers.room().turn().await;
            self.hands.run(move || read_page(&*store, (&room, reserved), task, after)).await??
        };
        self.wanted = page.wanted;
        if self.wanted > 0 {
            let what = "what other watchers have not read takes all the room there is".to_owned();
            return Err(Overloaded { retry_after: NO_ROOM_RETRY, what }.into());
        }
        if let Some((last, _)) = page.events.back() {
            self.cursor = last.seq;
        }
        // Of an empty page nothing is held while news are waited for.
        self.held = (!page.events.is_empty()).then_some(page.held);
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
    held: Held,
    /// Of an empty page: the bytes of the event for which there is no room.
    wanted: usize,
    done: bool,
}

/// Reads up to the event that the summary stands for. What is committed in between waits for the next page, and so each
/// burst ends with a summary that fits its last event.
fn read_page(
    store: &dyn Store,
    (room, mut held): (&Room, Held),
    task: TaskId,
    after: u64,
) -> Result<Page, StoreError> {
    let Some(row) = store.row(task)? else {
        return Err(StoreError::Corrupt(format!("task {task} is gone")));
    };
    let (mut events, mut wanted) = (VecDeque::new(), 0);
    let (mut cursor, mut bytes, mut many, mut full) = (after, 0, READS.0, false);
    while cursor < row.seq && events.len() < PAGE && !full {
        let before = cursor;
        for event in store.events(task, cursor, many.min(PAGE - events.len()))? {
            let with_it = bytes + event.body.len();
            full = full || event.seq > row.seq || bytes >= PAGE_BYTES || !held.cover(room, with_it);
            if full {
                wanted = if events.is_empty() && event.seq <= row.seq { with_it } else { 0 };
                break;
            }
            (cursor, bytes) = (event.seq, with_it);
            events.push_back((codec::record(&event)?, None));
        }
        if cursor == before {
            break;
        }
        // A few large events are as much as a page: the rest would be read in vain.
        many = if bytes > PAGE_BYTES / READS.1 { READS.0 } else { (many * 2).min(READS.1) };
    }
    let reached = events.back().map_or(after, |(record, _): &(Record, _)| record.seq) >= row.seq;
    let done = reached && row.state.is_end();
    if reached && let Some((_, summary)) = events.back_mut() {
        *summary = Some(codec::summary(&store.whole(row)?)?);
    }
    Ok(Page { events, held, wanted, done })
}
