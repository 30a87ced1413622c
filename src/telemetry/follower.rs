//! Reads the log of all tasks page by page and turns it into spans.
//!
//! Never here: async, the network. All calls block; callers keep them off async threads. A follower that is dropped loses
//! nothing: another one that starts where the last confirmed page ended yields the same spans.

use std::{collections::HashMap, sync::Arc};

use super::{settings::Sampler, span::Span, spans::Projector};
use crate::{
    engine::event::{self, Record},
    store::{
        Store, StoreError,
        record::{LogEntry, StoredEvent},
    },
    types::ids::TaskId,
};

/// Entries of the log that are read at once. An entry may hold a result of a megabyte, so this bounds memory too.
const PAGE: usize = 128;

/// A page of the log as spans.
#[derive(Debug)]
pub(super) struct Page {
    /// The spans that were finished.
    pub(super) spans: Vec<Span>,
    /// Where the page ends.
    pub(super) position: u64,
    /// Whether this is the end of the log, for now.
    pub(super) is_last: bool,
}

/// Follows the log.
pub(super) struct Follower {
    store: Arc<dyn Store>,
    sampler: Sampler,
    position: u64,
    /// Counts pages: the age of what is kept.
    pages: u64,
    projectors: HashMap<TaskId, Kept>,
    /// How many are kept over a page's end; the ones unused for longest go first.
    capacity: usize,
}

struct Kept {
    projector: Projector,
    last_used: u64,
}

impl Follower {
    /// A follower that starts after `position` and keeps the projectors of at most `capacity` tasks.
    pub(super) fn new(store: Arc<dyn Store>, sampler: Sampler, position: u64, capacity: usize) -> Self {
        Self { store, sampler, position, pages: 0, projectors: HashMap::new(), capacity }
    }

    /// Reads the next page.
    ///
    /// # Errors
    /// The store cannot be read. Nothing is lost: the same page comes again.
    pub(super) fn next(&mut self) -> Result<Page, StoreError> {
        let page = self.read();
        if page.is_err() {
            // Some projectors may be ahead of the position now: better none than those.
            self.projectors.clear();
        }
        page
    }

    fn read(&mut self) -> Result<Page, StoreError> {
        let entries = self.store.log(self.position, PAGE)?;
        self.pages += 1;
        let is_last = entries.len() < PAGE;
        let mut position = self.position;
        let mut spans = Vec::new();
        for entry in entries {
            position = entry.position;
            spans.extend(self.take(&entry)?);
        }
        self.forget_the_oldest();
        self.position = position;
        Ok(Page { spans, position, is_last })
    }

    fn take(&mut self, entry: &LogEntry) -> Result<Vec<Span>, StoreError> {
        let mut projector = match self.projectors.remove(&entry.task) {
            Some(kept) if kept.projector.seq() + 1 >= entry.event.seq => kept.projector,
            _ => self.rebuild(entry.task, entry.event.seq)?,
        };
        let spans = match decode(&entry.event) {
            Ok(record) => projector.apply(&record),
            Err(error) => {
                skip(entry.task, &entry.event, &error);
                Vec::new()
            }
        };
        let keeps = projector.trace().is_some_and(|(trace, parent)| self.sampler.keeps(trace, parent));
        if !projector.has_ended() {
            self.projectors.insert(entry.task, Kept { projector, last_used: self.pages });
        }
        Ok(if keeps { spans } else { Vec::new() })
    }

    /// The projector of a task as it was before the event `before`. What it finishes on the way was exported before.
    fn rebuild(&self, task: TaskId, before: u64) -> Result<Projector, StoreError> {
        let mut projector = Projector::new(task);
        let mut after = 0;
        while after + 1 < before {
            let limit = usize::try_from(before - 1 - after).unwrap_or(PAGE).min(PAGE);
            let events = self.store.events(task, after, limit)?;
            let Some(last) = events.last() else { break };
            after = last.seq;
            for event in &events {
                match decode(event) {
                    Ok(record) => drop(projector.apply(&record)),
                    Err(error) => skip(task, event, &error),
                }
            }
        }
        Ok(projector)
    }

    fn forget_the_oldest(&mut self) {
        if self.projectors.len() <= self.capacity {
            return;
        }
        // A quarter at once, so that this is rare.
        let surplus = self.projectors.len() - self.capacity * 3 / 4;
        let mut by_age: Vec<(u64, TaskId)> =
            self.projectors.iter().map(|(task, kept)| (kept.last_used, *task)).collect();
        by_age.sort_unstable();
        for (_, task) in by_age.into_iter().take(surplus) {
            self.projectors.remove(&task);
        }
    }
}

/// An event that cannot be read costs its part of a trace, not the traces of all tasks.
fn skip(task: TaskId, event: &StoredEvent, error: &str) {
    tracing::warn!(%task, seq = event.seq, kind = &*event.kind, error, "an event cannot be read: its trace has a gap");
}

/// An event out of the journal.
///
/// # Errors
/// A later version wrote it, or it is not what it says; in words.
pub(crate) fn decode(event: &StoredEvent) -> Result<Record, String> {
    if event.version > event::VERSION {
        return Err(format!("it is of version {}, later than {}", event.version, event::VERSION));
    }
    let body = serde_json::from_str(&event.body).map_err(|error| error.to_string())?;
    Ok(Record { seq: event.seq, at: event.at, event: body })
}
