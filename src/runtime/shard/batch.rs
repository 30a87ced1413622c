//! What one round of decisions leaves: events to be made durable together, and what may be said and done only after that.

use std::collections::BTreeMap;

use crate::{
    engine::{command::Assignment, event::Record, tally::Tally, view::EscalationView},
    runtime::{
        codec,
        courier::Errand,
        dead_letters,
        dispatch::Ending,
        tallies::{self, Sum},
    },
    store::{
        IdMap, StoreError,
        record::{Append, StoredEvent, SummaryRow},
    },
    types::ids::{EscalationId, TaskId},
};

/// Events that most tasks have in a batch, if any: submitted, opened, assigned.
const FEW: usize = 3;

/// What waits for a commit.
pub(super) enum Release {
    /// An answer to somebody; told whether the commit failed.
    Answer(Box<dyn FnOnce(Option<StoreError>) + Send>),
    /// Work for a worker.
    Deliver(Box<Assignment>),
    /// A message between a parent and a child.
    Errand(Errand),
}

/// The batch that is being decided.
#[derive(Default)]
pub(super) struct Batch {
    /// Counts up from 1.
    pub(super) number: u64,
    /// In the order in which they were touched first.
    touched: Vec<Touched>,
    places: IdMap<TaskId, usize>,
    events: usize,
    /// What all of it adds to the record of agents. Most of it is the same few sums, so it goes with the batch, not with each
    /// task.
    tallies: BTreeMap<Sum, u64>,
    pub(super) releases: Vec<Release>,
    /// Leases to be ended all the same should the batch fail: their workers have been told to stop already, or have come back
    /// without them.
    pub(super) regardless: Vec<Ending>,
}

struct Touched {
    task: TaskId,
    expected_seq: u64,
    events: Vec<StoredEvent>,
    escalations: BTreeMap<u32, EscalationView>,
    sums: Vec<(String, u64)>,
}

/// A batch on its way to the disk.
pub(super) struct InFlight {
    pub(super) number: u64,
    /// Its tasks, with the number of their last event in it.
    pub(super) tasks: Vec<(TaskId, u64)>,
    /// Questions that were asked or have ended in it.
    pub(super) questions: Vec<EscalationId>,
    pub(super) releases: Vec<Release>,
    pub(super) regardless: Vec<Ending>,
}

impl Batch {
    pub(super) fn new(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.touched.is_empty()
    }

    /// Events in it.
    pub(super) const fn len(&self) -> usize {
        self.events
    }

    /// Adds what a decision about a task left.
    pub(super) fn add(
        &mut self,
        task: TaskId,
        records: &[Record],
        escalations: Vec<EscalationView>,
        tallies: &[Tally],
    ) {
        let Some(first) = records.first() else { return };
        let place = *self.places.entry(task).or_insert(self.touched.len());
        if place == self.touched.len() {
            self.touched.push(Touched {
                task,
                expected_seq: first.seq - 1,
                events: Vec::with_capacity(records.len().max(FEW)),
                escalations: BTreeMap::new(),
                sums: Vec::new(),
            });
        }
        let Some(touched) = self.touched.get_mut(place) else { return };
        self.events += records.len();
        touched.events.extend(records.iter().map(codec::stored));
        touched.escalations.extend(escalations.into_iter().map(|view| (view.asked.number, view)));
        touched.sums.extend(dead_letters::sums(records));
        for (sum, more) in tallies.iter().flat_map(tallies::sums) {
            *self.tallies.entry(sum).or_default() += more;
        }
    }

    /// The appends for the store, and what waits for them. `summary` gives a task's row as it stands now.
    pub(super) fn close(self, summary: impl Fn(TaskId) -> Option<SummaryRow>) -> (Vec<Append>, InFlight) {
        let Self { number, touched, places: _, events: _, tallies, releases, regardless } = self;
        let mut appends = Vec::with_capacity(touched.len());
        for Touched { task, expected_seq, events, escalations, sums } in touched {
            let Some(summary) = summary(task) else { continue };
            let escalations = escalations.values().map(codec::escalation_row).collect();
            appends.push(Append { task, expected_seq, events, summary, escalations, sums });
        }
        if let Some(first) = appends.first_mut() {
            first.sums.extend(tallies.into_iter().map(|(sum, more)| (sum.name(), more)));
        }
        let questions = appends.iter().flat_map(|append| &append.escalations).map(|row| row.id).collect();
        let tasks = appends.iter().map(|append| (append.task, append.summary.seq)).collect();
        (appends, InFlight { number, tasks, questions, releases, regardless })
    }
}
