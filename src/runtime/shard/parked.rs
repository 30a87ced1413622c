//! The open tasks that a shard does not have in memory: of each no more than when to look at it, and its place among the
//! open ones. What waits of it stands with the dispatcher. Never here: the task, or a decision.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    engine::{command::Env, parked::Sleep},
    runtime::intake::Place,
    types::{
        ids::{AgentName, TaskId},
        time::Timestamp,
    },
};

#[derive(Debug)]
struct Sleeper {
    place: Place,
    sleep: Sleep,
    /// `None` while the task is being loaded.
    timer: Option<Timestamp>,
}

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Parked {
    tasks: BTreeMap<TaskId, Sleeper>,
    timers: BTreeSet<(Timestamp, TaskId)>,
    /// Every name in them, once.
    names: BTreeSet<AgentName>,
}

impl Parked {
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.tasks.contains_key(&id)
    }

    /// Adds a task that is to be looked at after `now`.
    pub(super) fn insert(&mut self, id: TaskId, place: Place, mut sleep: Sleep, now: Timestamp) {
        sleep.share_names(|name| shared(&mut self.names, name));
        let timer = sleep.next_look(now);
        self.timers.insert((timer, id));
        self.tasks.insert(id, Sleeper { place, sleep, timer: Some(timer) });
    }

    /// Takes a task out; with its place, and whether something of it may be due.
    pub(super) fn remove(&mut self, id: TaskId, env: Env<'_>) -> Option<(Place, bool)> {
        let Sleeper { place, sleep, timer } = self.tasks.remove(&id)?;
        if let Some(at) = timer {
            self.timers.remove(&(at, id));
        }
        Some((place, sleep.may_be_due(env)))
    }

    /// Tasks that are to be looked at, at most `limit`.
    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<TaskId> {
        self.timers.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, id)| *id).collect()
    }

    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Looks at a task: whether it must be loaded because something of it may be due. It has no timer from then on; otherwise
    /// it has its next.
    pub(super) fn look(&mut self, id: TaskId, env: Env<'_>) -> bool {
        let Some(sleeper) = self.tasks.get_mut(&id) else { return false };
        if let Some(at) = sleeper.timer.take() {
            self.timers.remove(&(at, id));
        }
        if sleeper.sleep.may_be_due(env) {
            return true;
        }
        let next = sleeper.sleep.next_look(env.now);
        self.timers.insert((next, id));
        sleeper.timer = Some(next);
        false
    }
}

/// The name, as it stands among `names` from now on.
fn shared(names: &mut BTreeSet<AgentName>, name: &AgentName) -> AgentName {
    if let Some(known) = names.get(name) {
        return known.clone();
    }
    names.insert(name.clone());
    name.clone()
}
