//! The turns that wait for one agent: by priority, then fair between tasks, then by age. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use crate::types::ids::{TaskId, TurnNumber};

/// One turn of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::runtime) struct TurnKey {
    pub(in crate::runtime) task: TaskId,
    pub(in crate::runtime) turn: TurnNumber,
}

/// Where a turn stands in its agent's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) priority: u8,
    /// Smaller is older.
    pub(super) age: u64,
}

/// The turns that wait for one agent.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    levels: BTreeMap<Reverse<u8>, Level>,
    /// Counts upwards: a task that was served goes behind all that have a smaller number.
    rotation: u64,
    len: usize,
}

/// The turns of one priority. Tasks take it in turns: a task with a thousand ready steps waits as often as one with one.
#[derive(Debug, Default)]
struct Level {
    order: BTreeMap<u64, TaskId>,
    tasks: HashMap<TaskId, Waiting>,
}

/// The turns of one task, oldest first. Never empty.
#[derive(Debug)]
struct Waiting {
    place: u64,
    turns: BTreeSet<(u64, TurnNumber)>,
}

impl ReadyQueue {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a turn; the same turn twice is once.
    pub(super) fn push(&mut self, key: TurnKey, place: Place) {
        self.rotation += 1;
        let next = self.rotation;
        let Level { order, tasks } = self.levels.entry(Reverse(place.priority)).or_default();
        let waiting = tasks.entry(key.task).or_insert_with(|| {
            order.insert(next, key.task);
            Waiting { place: next, turns: BTreeSet::new() }
        });
        self.len += usize::from(waiting.turns.insert((place.age, key.turn)));
    }

    /// Takes a turn back.
    pub(super) fn remove(&mut self, key: TurnKey, place: Place) {
        let Some(level) = self.levels.get_mut(&Reverse(place.priority)) else { return };
        let Some(waiting) = level.tasks.get_mut(&key.task) else { return };
        self.len -= usize::from(waiting.turns.remove(&(place.age, key.turn)));
        if waiting.turns.is_empty() {
            let emptied = waiting.place;
            level.order.remove(&emptied);
            level.tasks.remove(&key.task);
        }
        if level.tasks.is_empty() {
            self.levels.remove(&Reverse(place.priority));
        }
    }

    /// The turn that is next.
    pub(super) fn peek(&self) -> Option<(TurnKey, Place)> {
        let (Reverse(priority), level) = self.levels.first_key_value()?;
        let (_, task) = level.order.first_key_value()?;
        let (age, turn) = *level.tasks.get(task)?.turns.first()?;
        Some((TurnKey { task: *task, turn }, Place { priority: *priority, age }))
    }

    /// Takes the turn that is next; its task goes to the back.
    pub(super) fn pop(&mut self) -> Option<(TurnKey, Place)> {
        let (key, place) = self.peek()?;
        self.remove(key, place);
        self.rotate(key.task, place.priority);
        Some((key, place))
    }

    fn rotate(&mut self, task: TaskId, priority: u8) {
        let Some(level) = self.levels.get_mut(&Reverse(priority)) else { return };
        let Some(waiting) = level.tasks.get_mut(&task) else { return };
        self.rotation += 1;
        level.order.remove(&waiting.place);
        waiting.place = self.rotation;
        level.order.insert(waiting.place, task);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(task: u128, turn: TurnNumber) -> TurnKey {
        TurnKey { task: TaskId::from(Uuid::from_u128(task)), turn }
    }

    fn queue(turns: &[(u128, TurnNumber, u8)]) -> ReadyQueue {
        let mut queue = ReadyQueue::default();
        for (age, (task, turn, priority)) in turns.iter().enumerate() {
            queue.push(key(*task, *turn), Place { priority: *priority, age: age as u64 });
        }
        queue
    }

    fn drained(mut queue: ReadyQueue) -> Vec<(u128, TurnNumber)> {
        std::iter::from_fn(|| queue.pop().map(|(key, _)| (key.task.uuid().as_u128(), key.turn))).collect()
    }

    #[test]
    fn tasks_take_it_in_turns_and_their_own_turns_go_by_age() {
        let waiting = queue(&[(1, 1, 0), (1, 2, 0), (1, 3, 0), (2, 1, 0), (3, 7, 0)]);
        assert_eq!(drained(waiting), [(1, 1), (2, 1), (3, 7), (1, 2), (1, 3)]);
    }

    #[test]
    fn priority_goes_before_fairness() {
        let waiting = queue(&[(1, 1, 0), (2, 1, 5), (2, 2, 5), (3, 1, 9)]);
        assert_eq!(drained(waiting), [(3, 1), (2, 1), (2, 2), (1, 1)]);
    }

    #[test]
    fn a_turn_that_was_taken_back_is_gone_and_leaves_nothing_behind() {
        let mut waiting = queue(&[(1, 1, 0), (1, 2, 0), (2, 1, 0)]);
        waiting.remove(key(1, 1), Place { priority: 0, age: 0 });
        waiting.remove(key(9, 9), Place { priority: 0, age: 0 });
        assert_eq!(waiting.len(), 2);
        waiting.remove(key(1, 2), Place { priority: 0, age: 1 });
        assert_eq!(drained(waiting), [(2, 1)]);
    }

    #[test]
    fn a_task_that_comes_late_waits_for_one_round_only() {
        let mut waiting = queue(&(1..=100).map(|turn| (1, turn, 0)).collect::<Vec<_>>());
        waiting.pop();
        waiting.push(key(2, 1), Place { priority: 0, age: 500 });
        waiting.pop();
        assert_eq!(waiting.pop().map(|(key, _)| key), Some(key(2, 1)));
    }
}
