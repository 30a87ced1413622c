//! The tasks a shard has in memory: open ones that were asked for lately, and those that ended lately. Never here: a decision.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    engine::task::Task,
    runtime::intake::Place,
    store::IdMap,
    types::{
        ids::TaskId,
        time::{Span, Timestamp},
    },
};

/// Ended tasks kept in memory: duplicates and late usage come soon after the end.
const MAX_ENDED: usize = 64;
/// After a tick that changed nothing, the next look is at least this much later, whatever the task says.
const QUIET: Span = Span::from_millis(10);

/// Old places in the queue of those that may be let go, before they are thrown out.
const QUEUE_SPARE: usize = 64;

/// A task in memory.
pub(super) struct Resident {
    /// In a box: a table that grows moves what is in it.
    pub(super) task: Box<Task>,
    /// The newest batch that has something of it; 0: none since it was loaded.
    pub(super) batch: u64,
    place: Option<Place>,
    timer: Option<Timestamp>,
    /// Whether it stands in the list of ended tasks.
    listed: bool,
    /// Its place in the queue of those that may be let go; a place with another number is an old one.
    queued: u64,
    /// Whether it was asked for since it got that place.
    touched: bool,
}

/// A task on its way out of memory.
pub(super) struct Leaving {
    pub(super) task: Box<Task>,
    pub(super) place: Option<Place>,
}

/// See the file's header.
#[derive(Default)]
pub(super) struct Residents {
    tasks: IdMap<TaskId, Resident>,
    timers: BTreeSet<(Timestamp, TaskId)>,
    ended: VecDeque<TaskId>,
    /// Who is let go next, unless it is asked for again first.
    queue: VecDeque<(u64, TaskId)>,
    queued: u64,
}

impl Residents {
    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.tasks.contains_key(&id)
    }

    /// Tasks that are open.
    pub(super) fn open(&self) -> usize {
        self.tasks.values().filter(|resident| !resident.task.is_ended()).count()
    }

    pub(super) fn get(&self, id: TaskId) -> Option<&Resident> {
        self.tasks.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: TaskId) -> Option<&mut Resident> {
        let resident = self.tasks.get_mut(&id)?;
        resident.touched = true;
        Some(resident)
    }

    /// Tasks that are open, or have ended in a batch that is not durable yet.
    pub(super) fn unlisted(&self) -> usize {
        self.tasks.len().saturating_sub(self.ended.len())
    }

    /// When the task's timer is due.
    pub(super) fn timer_of(&self, id: TaskId) -> Option<Timestamp> {
        self.tasks.get(&id)?.timer
    }

    /// Adds a task; `place` is its place among the open ones.
    pub(super) fn insert(&mut self, task: Box<Task>, place: Option<Place>) {
        let id = task.id();
        self.remove(id);
        self.queued += 1;
        let queued = self.queued;
        let resident = Resident { task, batch: 0, place, timer: None, listed: false, queued, touched: false };
        self.tasks.insert(id, resident);
        self.queue.push_back((queued, id));
        if self.queue.len() > 2 * self.tasks.len() + QUEUE_SPARE {
            let tasks = &self.tasks;
            self.queue
                .retain(|(queued, id)| tasks.get(id).is_some_and(|resident| resident.queued == *queued));
        }
    }

    /// Lets go of the open task that was not asked for longest, as far as one can tell with `looks` looks, which are used up.
    /// Never one that has something in batch `from` or a later one.
    pub(super) fn let_go(&mut self, from: u64, looks: &mut usize) -> Option<Leaving> {
        while *looks > 0 {
            *looks -= 1;
            let (queued, id) = self.queue.pop_front()?;
            let Some(resident) = self.tasks.get_mut(&id) else { continue };
            // An old place; or it goes with those that have ended.
            if resident.queued != queued || resident.task.is_ended() {
                continue;
            }
            if resident.touched || resident.batch >= from {
                resident.touched = false;
                self.queue.push_back((queued, id));
                continue;
            }
            let Resident { task, place, .. } = self.remove(id)?;
            return Some(Leaving { task, place });
        }
        None
    }

    /// Forgets a task.
    pub(super) fn remove(&mut self, id: TaskId) -> Option<Resident> {
        let resident = self.tasks.remove(&id)?;
        if let Some(at) = resident.timer {
            self.timers.remove(&(at, id));
        }
        Some(resident)
    }

    /// Sets the task's timer and gives its place back if it has ended. To be called after every decision; `quiet` after a
    /// tick that changed nothing.
    pub(super) fn settle(&mut self, id: TaskId, now: Timestamp, quiet: bool) {
        let Some(resident) = self.tasks.get_mut(&id) else { return };
        if resident.task.is_ended() {
            resident.place = None;
        }
        let next = resident.task.next_timer(now);
        let next = if quiet { next.map(|at| at.max(now.plus(QUIET))) } else { next };
        if next == resident.timer {
            return;
        }
        if let Some(at) = resident.timer.take() {
            self.timers.remove(&(at, id));
        }
        if let Some(at) = next {
            self.timers.insert((at, id));
        }
        resident.timer = next;
    }

    /// Tasks whose timer is due, at most `limit`.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<TaskId> {
        self.timers.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, id)| *id).collect()
    }

    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Notes that an ended task is durable up to batch `through`, and lets the oldest such go.
    pub(super) fn ended(&mut self, id: TaskId, through: u64) {
        let Some(resident) = self.tasks.get_mut(&id) else { return };
        if !resident.task.is_ended() || resident.listed {
            return;
        }
        resident.listed = true;
        self.ended.push_back(id);
        if self.ended.len() <= MAX_ENDED {
            return;
        }
        let Some(oldest) = self.ended.pop_front() else { return };
        match self.tasks.get_mut(&oldest) {
            // Late usage on its way to the journal keeps it here for another round.
            Some(resident) if resident.batch > through => self.ended.push_back(oldest),
            Some(_) => drop(self.remove(oldest)),
            None => {}
        }
    }
}
