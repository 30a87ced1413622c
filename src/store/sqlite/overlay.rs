//! What is committed but not yet in the tables: a generation that grows with the commits, and the one before it while that is
//! written. Reads look here first, so that they see every commit at once. Never unbounded: who commits waits while there is
//! too much, and is refused while the tables cannot be written at all.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::body::{Part, Place, Row, opening};
use crate::{
    store::{
        IdMap, StoreError,
        record::{EscalationRow, MAX_NUMBER, OpenTask, PageAfter, ParkedNote, SummaryRow, TaskFilter},
    },
    types::ids::{EscalationId, TaskId},
};

/// How long commits gather before they are written to the tables: what a task goes through in this time is written once. And
/// the more there is, the longer others wait for a processor.
const GATHER: Duration = Duration::from_millis(250);
/// Bytes at which they are written at once.
const ENOUGH: usize = 8 * 1_024 * 1_024;
/// Bytes at which commits wait.
const MOST: usize = 64 * 1_024 * 1_024;
/// How long after a failure to write the tables it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes that a task and each of its changes take beside their texts, about.
const CHANGE: usize = 512;

/// What commits have changed in one task.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// The task is not in the tables.
    pub(super) is_new: bool,
    /// As it is now. Missing only while a converted journal is read again.
    pub(super) summary: Option<SummaryRow>,
    pub(super) escalations: BTreeMap<u32, EscalationRow>,
    /// Where its new events are, in their order.
    pub(super) places: Vec<Place>,
}

/// What some commits in a row have changed, each task once.
#[derive(Debug, Default)]
pub(super) struct Generation {
    pub(super) tasks: IdMap<TaskId, Pending>,
    pub(super) sums: BTreeMap<String, u64>,
    pub(super) mark: Mark,
    bytes: usize,
}

/// How much of the journal something has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Up to this position.
    pub(super) until: u64,
    /// The key of the row that has it.
    pub(super) row: u64,
    /// What that row is known by.
    pub(super) opening: Vec<u8>,
}

impl Mark {
    /// The end of a row.
    pub(super) fn of(first: u64, count: u64, body: &[u8]) -> Self {
        Self { until: (first + count).saturating_sub(1), row: first, opening: opening(body).to_vec() }
    }
}

impl Generation {
    /// Adds an append, whose events are at `place`.
    pub(super) fn add(&mut self, part: &Part<'_>, place: Place) {
        let Part { task, after, events: _, summary, escalations, sums } = part;
        let pending = self.tasks.entry(*task).or_default();
        pending.is_new |= *after == 0;
        if let Some(summary) = summary {
            pending.summary = Some((*summary).clone());
            self.bytes += summary.view.weight();
        }
        for row in *escalations {
            self.bytes += CHANGE + row.view.len();
            pending.escalations.insert(row.id.number, row.clone());
        }
        pending.places.push(place);
        self.bytes += CHANGE;
        for (name, more) in *sums {
            add_to(&mut self.sums, name, *more);
        }
    }

    /// Counts bytes that come with what it has.
    pub(super) const fn weigh(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// Whether there is enough in it for one transaction.
    pub(super) const fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH
    }
}

/// Half of the greatest number: two such still add up to one that can be kept.
pub(super) const MOST_OF_A_SUM: u64 = MAX_NUMBER / 2;

fn add_to(sums: &mut BTreeMap<String, u64>, name: &str, more: u64) {
    match sums.get_mut(name) {
        Some(sum) => *sum = grown(*sum, more),
        None => drop(sums.insert(name.to_owned(), grown(0, more))),
    }
}

fn grown(sum: u64, more: u64) -> u64 {
    sum.saturating_add(more).min(MOST_OF_A_SUM)
}

/// See the file's header.
#[derive(Debug)]
pub(super) struct Overlay {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    growing: Generation,
    /// On its way into the tables; still here until they have it.
    leaving: Option<Arc<Generation>>,
    /// The position of the log's last entry.
    end: u64,
    /// The sums in the tables; what is here is added when somebody asks.
    sums: BTreeMap<String, u64>,
    /// Why the tables could not be written last time.
    trouble: Option<StoreError>,
    /// Nobody writes the tables any more, or soon will not.
    closed: bool,
}

impl State {
    fn is_empty(&self) -> bool {
        self.growing.tasks.is_empty() && self.leaving.is_none()
    }

    /// Newest first.
    fn generations(&self) -> impl Iterator<Item = &Generation> {
        std::iter::once(&self.growing).chain(self.leaving.as_deref())
    }

    /// The newest of every task that changed.
    fn tasks(&self) -> impl Iterator<Item = (&TaskId, &Pending)> {
        let older = self.leaving.as_deref().into_iter().flat_map(|leaving| &leaving.tasks);
        self.growing.tasks.iter().chain(older.filter(|(task, _)| !self.growing.tasks.contains_key(task)))
    }
}

impl Overlay {
    /// An empty one over tables that have everything up to `end`, and these sums.
    pub(super) fn new(end: u64, sums: BTreeMap<String, u64>) -> Self {
        let state =
            State { growing: Generation::default(), leaving: None, end, sums, trouble: None, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for another commit.
    ///
    /// # Errors
    /// There is none, and the tables cannot be written.
    pub(super) fn admit(&self) -> Result<(), StoreError> {
        let is_full =
            |state: &mut State| state.growing.bytes >= MOST && state.trouble.is_none() && !state.closed;
        let state = self.changed.wait_while(self.state(), is_full).unwrap_or_else(PoisonError::into_inner);
        if state.growing.bytes < MOST {
            return Ok(());
        }
        let trouble = state.trouble.clone();
        Err(trouble
            .unwrap_or_else(|| StoreError::Unavailable("the tables are not written any more".to_owned())))
    }

    /// Adds a commit: its parts with the places of their events, and its last row.
    pub(super) fn add<'p>(&self, parts: impl Iterator<Item = (Part<'p>, Place)>, last: &Row) {
        let mut state = self.state();
        let State { growing, end, .. } = &mut *state;
        let before = (growing.tasks.is_empty(), growing.is_enough());
        for (part, place) in parts {
            growing.add(&part, place);
        }
        growing.mark = Mark::of(last.first, last.count, last.opening());
        *end = growing.mark.until;
        let is_news = before != (growing.tasks.is_empty(), growing.is_enough());
        drop(state);
        // Not for every commit: waking a thread costs about as much as the rest of this.
        if is_news {
            self.changed.notify_all();
        }
    }

    /// The position of the log's last entry that reads may show.
    pub(super) fn end(&self) -> u64 {
        self.state().end
    }

    /// The number of the task's last event, if it has changed.
    pub(super) fn seq(&self, task: TaskId) -> Option<u64> {
        let state = self.state();
        state.generations().find_map(|generation| generation.tasks.get(&task)?.places.last().map(Place::last))
    }

    /// The task's summary, if it has changed.
    pub(super) fn summary(&self, task: TaskId) -> Option<SummaryRow> {
        let state = self.state();
        state.generations().find_map(|generation| generation.tasks.get(&task)?.summary.clone())
    }

    /// Where the task's newest events are, in their order.
    pub(super) fn places(&self, task: TaskId) -> Vec<Place> {
        let state = self.state();
        let older = state.leaving.as_deref().and_then(|leaving| leaving.tasks.get(&task));
        let newer = state.growing.tasks.get(&task);
        older.into_iter().chain(newer).flat_map(|pending| &pending.places).copied().collect()
    }

    /// The question, if it has changed.
    pub(super) fn escalation(&self, id: EscalationId) -> Option<EscalationRow> {
        let state = self.state();
        state
            .generations()
            .find_map(|generation| generation.tasks.get(&id.task)?.escalations.get(&id.number).cloned())
    }

    /// All tasks that have changed, and of them those that fit, newest first after `after`, at most `limit`.
    pub(super) fn list(
        &self,
        filter: &TaskFilter,
        after: Option<PageAfter>,
        limit: usize,
    ) -> (HashSet<TaskId>, Vec<SummaryRow>) {
        let state = self.state();
        let mut changed = HashSet::with_capacity(state.growing.tasks.len());
        let mut found = Vec::new();
        for (task, pending) in state.tasks() {
            changed.insert(*task);
            let follows = |row: &&SummaryRow| {
                after.is_none_or(|last| (row.created_at, row.task) < (last.created_at, last.task))
            };
            found.extend(pending.summary.as_ref().filter(follows).filter(|row| filter.fits(row)));
        }
        found.sort_unstable_by_key(|row| std::cmp::Reverse((row.created_at, row.task)));
        (changed, found.into_iter().take(limit).cloned().collect())
    }

    /// All tasks that have changed, and of them those that are open and behind `after`.
    pub(super) fn open_tasks(&self, after: Option<PageAfter>) -> (HashSet<TaskId>, Vec<OpenTask>) {
        let state = self.state();
        let changed = state.tasks().map(|(task, _)| *task).collect();
        let follows = |row: &&SummaryRow| {
            after.is_none_or(|last| (row.created_at, row.task) > (last.created_at, last.task))
        };
        let rows = state.tasks().filter_map(|(_, pending)| pending.summary.as_ref()).filter(follows);
        let open = rows.filter(|row| !row.state.is_end()).map(|row| OpenTask {
            task: row.task,
            created_at: row.created_at,
            seq: row.seq,
            parked: row.parked.as_deref().map(str::to_owned),
        });
        (changed, open.collect())
    }

    /// Takes in notes on tasks that have changed; the others come back. Those on their way into the tables are lost: a note
    /// only saves work.
    pub(super) fn note_parked<'n>(&self, notes: &'n [ParkedNote]) -> Vec<&'n ParkedNote> {
        let mut state = self.state();
        let mut left = Vec::new();
        for note in notes {
            match state.growing.tasks.get_mut(&note.task).map(|pending| pending.summary.as_mut()) {
                Some(Some(row)) if row.seq == note.seq => row.parked = Some(note.parked.as_str().into()),
                Some(_) => {}
                None => left.push(note),
            }
        }
        left
    }

    /// All questions that have changed, and of them those that fit.
    pub(super) fn escalations(
        &self,
        fits: impl Fn(&EscalationRow) -> bool,
    ) -> (HashSet<EscalationId>, Vec<EscalationRow>) {
        let state = self.state();
        let (mut changed, mut found) = (HashSet::new(), Vec::new());
        for generation in state.generations() {
            for row in generation.tasks.values().flat_map(|pending| pending.escalations.values()) {
                if changed.insert(row.id) && fits(row) {
                    found.push(row.clone());
                }
            }
        }
        (changed, found)
    }

    /// What events have added to a number; `None`: nothing yet.
    pub(super) fn sum(&self, name: &str) -> Option<u64> {
        let state = self.state();
        let here = state.generations().filter_map(|generation| generation.sums.get(name));
        here.chain(state.sums.get(name)).copied().reduce(grown)
    }

    /// What events have added to the numbers whose names begin so.
    pub(super) fn sums(&self, prefix: &str) -> BTreeMap<String, u64> {
        let state = self.state();
        let mut sums = BTreeMap::new();
        for known in state.generations().map(|generation| &generation.sums).chain([&state.sums]) {
            let from = known.range(prefix.to_owned()..);
            for (name, sum) in from.take_while(|(name, _)| name.starts_with(prefix)) {
                add_to(&mut sums, name, *sum);
            }
        }
        sums
    }

    /// Waits for commits and lets them gather. False once closed and empty.
    pub(super) fn gather(&self) -> bool {
        let is_idle = |state: &mut State| state.is_empty() && !state.closed;
        let state = self.changed.wait_while(self.state(), is_idle).unwrap_or_else(PoisonError::into_inner);
        let gathers =
            |state: &mut State| state.leaving.is_none() && !state.growing.is_enough() && !state.closed;
        let waited = self.changed.wait_timeout_while(state, GATHER, gathers);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_empty()
    }

    /// Takes what has gathered. What was taken before and not written comes again.
    pub(super) fn take(&self) -> Option<Arc<Generation>> {
        let mut state = self.state();
        if state.leaving.is_none() && !state.growing.tasks.is_empty() {
            state.leaving = Some(Arc::new(std::mem::take(&mut state.growing)));
        }
        let taken = state.leaving.clone();
        drop(state);
        // There is room again.
        self.changed.notify_all();
        taken
    }

    /// Whether a commit need not wait.
    #[cfg(test)]
    pub(super) fn has_room(&self) -> bool {
        self.state().growing.bytes < MOST
    }

    /// Whether there is anything to be written.
    #[cfg(test)]
    pub(super) fn gathered(&self) -> bool {
        !self.state().is_empty()
    }

    /// The tables have what was taken.
    pub(super) fn written(&self) {
        let mut state = self.state();
        let gone = state.leaving.take();
        for (name, more) in gone.iter().flat_map(|gone| &gone.sums) {
            add_to(&mut state.sums, name, *more);
        }
        state.trouble = None;
        drop(state);
        self.changed.notify_all();
        // Freed outside the lock: it may be many rows.
        drop(gone);
    }

    /// The tables could not be written. Until they are, whoever finds no room is told.
    pub(super) fn failed(&self, error: StoreError) {
        self.state().trouble = Some(error);
        self.changed.notify_all();
    }

    /// Waits for a while before that is tried again. Says whether it is worth trying.
    pub(super) fn rest(&self) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), RETRY, |state| !state.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).0.closed
    }

    /// What is here is still written; then nobody is waited for any more.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}
