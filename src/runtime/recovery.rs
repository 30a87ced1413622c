//! What a start reads of the tasks that were left open: in pages, oldest first, the first of them before the server runs and
//! the rest while it does. A task whose row says how it stands is not replayed. Never here: a task of a shard, or a change to
//! the journal.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{StartError, clock::Now, codec, hands::Hands, intake::Intake};
use crate::{
    engine::{parked::Parked, task::Task},
    store::{
        Store, StoreError,
        record::{OpenTask, PageAfter, ParkedNote, TaskFilter, own_label},
    },
    types::{
        ids::TaskId,
        time::{Span, Timestamp},
    },
};

/// Rows read at once.
const PAGE: usize = 512;
/// Tasks after which the server runs, and the rest is read beside it.
const FIRST: usize = 1_024;
/// Pages that may wait for one shard.
pub(super) const MAX_PAGES: usize = 2;
/// Tasks after which a long recovery says how far it is.
const REPORT_EVERY: usize = 100_000;
/// Entries at the end of the log of which one is the newest.
const LAST_ENTRIES: u64 = 512;
/// How long to wait before a page is read again that could not be read.
const AGAIN: Span = Span::from_secs(1);

/// A task that was left open, or that has ended and is still owed something.
pub(super) enum Found {
    /// How it stands.
    Parked(TaskId, Parked),
    /// All of it.
    Whole(Box<Task>),
}

impl Found {
    pub(super) fn task(&self) -> TaskId {
        match self {
            Self::Parked(id, _) => *id,
            Self::Whole(task) => task.id(),
        }
    }
}

/// How many shards do not know all of their open tasks yet. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Recovering(Arc<AtomicUsize>);

impl Recovering {
    pub(super) fn new(shards: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(shards)))
    }

    /// One shard knows all of its own. Whether it was the last.
    pub(super) fn one_less(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// Where the reading has got to.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Among the open tasks, behind this one.
    Open(Option<PageAfter>),
    /// Among those that ended before their children, behind this one.
    Unsettled(Option<PageAfter>),
    End,
}

/// Reads what was left open. Cheap to clone; the clone reads on from the same place.
#[derive(Clone)]
pub(super) struct Reader {
    store: Arc<dyn Store>,
    shards: u16,
    place: Place,
    read: usize,
}

/// What a start must have before the server runs.
pub(super) struct First {
    /// By shard.
    pub(super) found: Vec<Vec<Found>>,
    /// How many tasks are open, read or not.
    pub(super) count: usize,
    /// The newest time in the journal.
    pub(super) latest: Timestamp,
    /// Reads on.
    pub(super) reader: Reader,
}

impl Reader {
    /// Reads the first tasks. Blocks.
    pub(super) fn first(store: Arc<dyn Store>, shards: u16) -> Result<First, StartError> {
        let count = usize::try_from(store.open_count()?).unwrap_or(usize::MAX);
        let latest = latest(&*store)?;
        let mut reader = Self { store, shards, place: Place::Open(None), read: 0 };
        let mut found: Vec<Vec<Found>> = (0..shards).map(|_| Vec::new()).collect();
        while reader.read < FIRST
            && let Some(page) = reader.page(Broken::Refuse)?
        {
            for (shard, page) in found.iter_mut().zip(page) {
                shard.extend(page);
            }
        }
        Ok(First { found, count, latest, reader })
    }

    /// Reads the next page; `None` when that was all. After an error the same page is read again. Blocks.
    fn page(&mut self, broken: Broken) -> Result<Option<Vec<Vec<Found>>>, StartError> {
        let (found, next) = match self.place {
            Place::Open(after) => self.open(after, broken)?,
            Place::Unsettled(after) => self.unsettled(after, broken)?,
            Place::End => return Ok(None),
        };
        let before = self.read;
        self.read += found.len();
        if self.read / REPORT_EVERY > before / REPORT_EVERY {
            tracing::info!(tasks = self.read, "recovering");
        }
        self.place = next;
        let mut by_shard: Vec<Vec<Found>> = (0..self.shards).map(|_| Vec::new()).collect();
        for found in found {
            // The shard is in range: whoever is not was refused.
            if let Some(shard) = by_shard.get_mut(usize::from(found.task().shard())) {
                shard.push(found);
            }
        }
        Ok(Some(by_shard))
    }

    fn open(&self, after: Option<PageAfter>, broken: Broken) -> Result<(Vec<Found>, Place), StartError> {
        let rows = self.store.open_tasks(after, PAGE)?;
        let next = match rows.last() {
            Some(last) if rows.len() == PAGE => Place::Open(Some(last.place())),
            _ => Place::Unsettled(None),
        };
        let (mut found, mut notes) = (Vec::with_capacity(rows.len()), Vec::new());
        for OpenTask { task: id, seq, parked, .. } in rows {
            let standing = parked.as_deref().and_then(|text| Parked::parse(text, seq));
            if let Some(standing) = standing.filter(|_| id.shard() < self.shards) {
                found.push(Found::Parked(id, standing));
            } else if let Some(task) = self.whole(id, broken)? {
                let parked = codec::standing(&task);
                notes.extend(parked.map(|parked| ParkedNote { task: id, seq: task.seq(), parked }));
                found.push(Found::Whole(Box::new(task)));
            }
        }
        if !notes.is_empty()
            && let Err(error) = self.store.note_parked(&notes)
        {
            tracing::warn!(%error, "how tasks stand could not be noted: the next start replays them again");
        }
        Ok((found, next))
    }

    /// Tasks that have ended with a child that was not heard of: what it used is still to come.
    fn unsettled(&self, after: Option<PageAfter>, broken: Broken) -> Result<(Vec<Found>, Place), StartError> {
        let label = (own_label::UNSETTLED.to_owned(), own_label::YES.to_owned());
        let filter = TaskFilter { labels: vec![label], ..TaskFilter::default() };
        let rows = self.store.list(&filter, after, PAGE)?;
        let next = match rows.last() {
            Some(last) if rows.len() == PAGE => {
                Place::Unsettled(Some(PageAfter { created_at: last.created_at, task: last.task }))
            }
            _ => Place::End,
        };
        let mut found = Vec::new();
        for row in rows.into_iter().filter(|row| row.state.is_end()) {
            found.extend(self.whole(row.task, broken)?.map(Box::new).map(Found::Whole));
        }
        Ok((found, next))
    }

    /// A task, replayed; `None` if it is broken and that is let pass.
    fn whole(&self, id: TaskId, broken: Broken) -> Result<Option<Task>, StartError> {
        let rebuild = |error| StartError::Rebuild { task: id, error };
        let missing = || rebuild(StoreError::Corrupt("it has no events".to_owned()));
        if id.shard() >= self.shards {
            let what = format!("its shard is {}, of {}", id.shard(), self.shards);
            return broken.or(rebuild(StoreError::Corrupt(what)));
        }
        match codec::load(&*self.store, id) {
            Ok(Some(task)) => Ok(Some(task)),
            Ok(None) => broken.or(missing()),
            Err(error @ StoreError::Corrupt(_)) => broken.or(rebuild(error)),
            Err(error) => Err(rebuild(error)),
        }
    }
}

/// What to do about a task that cannot be rebuilt.
#[derive(Debug, Clone, Copy)]
enum Broken {
    /// The start is refused: whoever starts the server is there to see it.
    Refuse,
    /// The others are served all the same; whatever is asked of this one is answered with what is wrong with it.
    Skip,
}

impl Broken {
    fn or<T>(self, error: StartError) -> Result<Option<T>, StartError> {
        match self {
            Self::Refuse => Err(error),
            Self::Skip => {
                tracing::error!(%error, "a task is left out");
                Ok(None)
            }
        }
    }
}

/// The newest time in the journal, so that time does not run backwards over a restart. Of the last few entries, because a
/// commit holds several shards' decisions in no order of time.
fn latest(store: &dyn Store) -> Result<Timestamp, StoreError> {
    let from = store.log_end()?.saturating_sub(LAST_ENTRIES);
    let last = store.log(from, usize::try_from(LAST_ENTRIES).unwrap_or(usize::MAX))?;
    Ok(last.iter().map(|entry| entry.event.at).max().unwrap_or_default())
}

/// What reads the rest needs.
pub(super) struct Rest {
    pub(super) reader: Reader,
    pub(super) shards: Vec<mpsc::Sender<Vec<Found>>>,
    pub(super) hands: Hands,
    pub(super) intake: Intake,
    pub(super) now: Now,
    pub(super) stop: CancellationToken,
}

/// Reads the rest and hands it to the shards; then waits until it is told to stop. Leaves the open tasks that it has not read.
pub(super) async fn recover(rest: Rest) -> usize {
    let Rest { mut reader, shards, hands, intake, now, stop } = rest;
    loop {
        let mut ahead = reader.clone();
        let read = hands.run(move || ahead.page(Broken::Skip).map(|page| (ahead, page)));
        let page = tokio::select! {
            biased;
            () = stop.cancelled() => return intake.expected(),
            page = read => page,
        };
        match page.map_err(StartError::from).and_then(|page| page) {
            Ok((_, None)) => break,
            Ok((ahead, Some(page))) => {
                reader = ahead;
                for (shard, found) in shards.iter().zip(page) {
                    // A shard that has gone takes nothing: the server is stopping.
                    let _ = shard.send(found).await;
                }
            }
            Err(error) => {
                tracing::error!(%error, "open tasks could not be read: trying again");
                now.wait(Some(now.read().plus(AGAIN))).await;
            }
        }
    }
    drop(shards);
    tracing::info!(tasks = reader.read, "open tasks recovered");
    stop.cancelled().await;
    0
}
