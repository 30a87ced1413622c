//! The turns that wait for one agent: decide turns first, then by priority, then namespaces take it in turns, within a
//! namespace its tasks do, and a task's own turns go by age. Pure; every operation costs the logarithm of what waits.
//!
//! Fairness: while N namespaces wait with the same priority, each is served once in any N services; while T tasks of one
//! namespace wait, each is served once in any T of its services.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::types::ids::{Namespace, TaskId, TurnNumber};

/// The priority of decide turns: above all others.
pub(super) const DECIDES: u8 = u8::MAX;

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

/// The turn that is next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) key: TurnKey,
    pub(super) place: Place,
    pub(super) namespace: Namespace,
}

/// The turns that wait for one agent.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    levels: BTreeMap<Reverse<u8>, Level>,
    /// Counts upwards: whoever was served goes behind all that have a smaller number.
    rotation: u64,
    len: usize,
    /// When it was served last, as a number of the matching's: between agents the one that waited for the longest is next.
    pub(super) served: u64,
}

/// The turns of one priority.
#[derive(Debug, Default)]
struct Level {
    /// The namespaces that may be served.
    order: BTreeMap<u64, Namespace>,
    spaces: BTreeMap<Namespace, Space>,
}

/// The turns of one namespace. Never empty.
#[derive(Debug, Default)]
struct Space {
    place: u64,
    /// Whether it was full when it was next: it keeps its place until there is room.
    parked: bool,
    order: BTreeMap<u64, TaskId>,
    tasks: BTreeMap<TaskId, Waiting>,
}

/// The turns of one task, oldest first. Never empty.
#[derive(Debug, Default)]
struct Waiting {
    place: u64,
    turns: BTreeSet<(u64, TurnNumber)>,
}

impl ReadyQueue {
    pub(super) fn new(served: u64) -> Self {
        Self { served, ..Self::default() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a turn; the same turn twice is once.
    pub(super) fn push(&mut self, key: TurnKey, namespace: &Namespace, place: Place) {
        self.rotation += 1;
        let next = self.rotation;
        let level = self.levels.entry(Reverse(place.priority)).or_default();
        if !level.spaces.contains_key(namespace) {
            level.order.insert(next, namespace.clone());
            level.spaces.insert(namespace.clone(), Space { place: next, ..Space::default() });
        }
        let Some(space) = level.spaces.get_mut(namespace) else { return };
        let waiting = space.tasks.entry(key.task).or_insert_with(|| {
            space.order.insert(next, key.task);
            Waiting { place: next, ..Waiting::default() }
        });
        self.len += usize::from(waiting.turns.insert((place.age, key.turn)));
    }

    /// Takes a turn back.
    pub(super) fn remove(&mut self, key: TurnKey, namespace: &Namespace, place: Place) {
        let Some(level) = self.levels.get_mut(&Reverse(place.priority)) else { return };
        let Some(space) = level.spaces.get_mut(namespace) else { return };
        let Some(waiting) = space.tasks.get_mut(&key.task) else { return };
        self.len -= usize::from(waiting.turns.remove(&(place.age, key.turn)));
        if waiting.turns.is_empty() {
            let emptied = waiting.place;
            space.order.remove(&emptied);
            space.tasks.remove(&key.task);
        }
        if space.tasks.is_empty() {
            let emptied = space.place;
            level.order.remove(&emptied);
            level.spaces.remove(namespace);
        }
        if level.spaces.is_empty() {
            self.levels.remove(&Reverse(place.priority));
        }
    }

    /// The turn that is next. Unless `works`, decide turns only. A namespace that `is_full` is parked, and told to `parked`: it
    /// is not looked at again before `unpark`.
    pub(super) fn peek(
        &mut self,
        works: bool,
        is_full: &dyn Fn(&Namespace) -> bool,
        parked: &mut dyn FnMut(&Namespace),
    ) -> Option<Head> {
        for (Reverse(priority), level) in &mut self.levels {
            let bypasses = *priority == DECIDES;
            if !bypasses && !works {
                return None;
            }
            while let Some((&at, namespace)) = level.order.first_key_value() {
                if bypasses || !is_full(namespace) {
                    let space = level.spaces.get(namespace)?;
                    let (_, task) = space.order.first_key_value()?;
                    let (age, turn) = *space.tasks.get(task)?.turns.first()?;
                    let place = Place { priority: *priority, age };
                    let key = TurnKey { task: *task, turn };
                    return Some(Head { key, place, namespace: namespace.clone() });
                }
                parked(namespace);
                if let Some(space) = level.spaces.get_mut(namespace) {
                    space.parked = true;
                }
                level.order.remove(&at);
            }
        }
        None
    }

    /// The namespace has room again.
    pub(super) fn unpark(&mut self, namespace: &Namespace) {
        for level in self.levels.values_mut() {
            if let Some(space) = level.spaces.get_mut(namespace).filter(|space| space.parked) {
                space.parked = false;
                level.order.insert(space.place, namespace.clone());
            }
        }
    }

    /// Takes the turn that `peek` has given; its task and its namespace go to the back.
    pub(super) fn pop(&mut self, head: &Head) {
        self.remove(head.key, &head.namespace, head.place);
        let Some(level) = self.levels.get_mut(&Reverse(head.place.priority)) else { return };
        let Some(space) = level.spaces.get_mut(&head.namespace) else { return };
        self.rotation += 1;
        level.order.remove(&space.place);
        space.place = self.rotation;
        level.order.insert(space.place, head.namespace.clone());
        let Some(waiting) = space.tasks.get_mut(&head.key.task) else { return };
        space.order.remove(&waiting.place);
        waiting.place = self.rotation;
        space.order.insert(waiting.place, head.key.task);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(task: u128, turn: TurnNumber) -> TurnKey {
        TurnKey { task: TaskId::from(Uuid::from_u128(task)), turn }
    }

    fn space(name: &str) -> Namespace {
        name.parse().expect("a valid name")
    }

    /// Turns of tasks below 100 are in the namespace "default", others in that of their hundreds.
    fn space_of(task: u128) -> Namespace {
        if task < 100 { Namespace::default() } else { space(&format!("n{}", task / 100)) }
    }

    fn push(queue: &mut ReadyQueue, (task, turn, priority): (u128, TurnNumber, u8), age: u64) {
        queue.push(key(task, turn), &space_of(task), Place { priority, age });
    }

    fn queue(turns: &[(u128, TurnNumber, u8)]) -> ReadyQueue {
        let mut queue = ReadyQueue::default();
        for (age, turn) in (0..).zip(turns) {
            push(&mut queue, *turn, age);
        }
        queue
    }

    fn next(queue: &mut ReadyQueue, full: &[&str]) -> Option<(u128, TurnNumber)> {
        let head = queue.peek(true, &|name| full.contains(&name.as_str()), &mut |_| {})?;
        queue.pop(&head);
        Some((head.key.task.uuid().as_u128(), head.key.turn))
    }

    fn drained(mut queue: ReadyQueue) -> Vec<(u128, TurnNumber)> {
        std::iter::from_fn(|| next(&mut queue, &[])).collect()
    }

    #[test]
    fn tasks_take_it_in_turns_and_their_own_turns_go_by_age() {
        let waiting = queue(&[(1, 1, 0), (1, 2, 0), (1, 3, 0), (2, 1, 0), (3, 7, 0)]);
        assert_eq!(drained(waiting), [(1, 1), (2, 1), (3, 7), (1, 2), (1, 3)]);
    }

    #[test]
    fn namespaces_take_it_in_turns_before_their_tasks_do() {
        let waiting = queue(&[(1, 1, 0), (2, 1, 0), (3, 1, 0), (101, 1, 0), (101, 2, 0)]);
        assert_eq!(drained(waiting), [(1, 1), (101, 1), (2, 1), (101, 2), (3, 1)]);
    }

    #[test]
    fn priority_goes_before_fairness_and_decide_turns_before_priority() {
        let waiting = queue(&[(1, 1, 0), (2, 1, 5), (2, 2, 5), (3, 1, 9), (4, 1, DECIDES)]);
        assert_eq!(drained(waiting), [(4, 1), (3, 1), (2, 1), (2, 2), (1, 1)]);
    }

    #[test]
    fn a_full_namespace_is_passed_over_and_keeps_its_place() {
        let mut waiting = queue(&[(101, 1, 5), (101, 2, 5), (201, 1, 5), (1, 1, 0)]);
        assert_eq!(next(&mut waiting, &["n1"]), Some((201, 1)));
        assert_eq!(
            next(&mut waiting, &["n1"]),
            Some((1, 1)),
            "not even a higher priority blocks what is behind it"
        );
        assert_eq!(next(&mut waiting, &["n1"]), None);
        push(&mut waiting, (201, 2, 5), 9);
        waiting.unpark(&space("n1"));
        assert_eq!(drained(waiting), [(101, 1), (201, 2), (101, 2)]);
    }

    #[test]
    fn decide_turns_bypass_what_is_full() {
        let mut waiting = queue(&[(101, 1, 9), (101, 2, DECIDES)]);
        let full = |_: &Namespace| true;
        let head = waiting.peek(false, &full, &mut |_| {}).expect("the decide turn");
        assert_eq!(head.key, key(101, 2));
        waiting.pop(&head);
        assert_eq!(waiting.peek(false, &full, &mut |_| {}), None);
    }

    #[test]
    fn a_turn_that_was_taken_back_is_gone_and_leaves_nothing_behind() {
        let mut waiting = queue(&[(1, 1, 0), (1, 2, 0), (2, 1, 0)]);
        waiting.remove(key(1, 1), &space_of(1), Place { priority: 0, age: 0 });
        waiting.remove(key(9, 9), &space_of(9), Place { priority: 0, age: 0 });
        assert_eq!(waiting.len, 2);
        waiting.remove(key(1, 2), &space_of(1), Place { priority: 0, age: 1 });
        assert_eq!(next(&mut waiting, &[]), Some((2, 1)));
        assert!(waiting.is_empty() && waiting.levels.is_empty());
    }

    #[test]
    fn a_task_that_comes_late_waits_for_one_round_only() {
        let mut waiting = queue(&(1..=100).map(|turn| (1, turn, 0)).collect::<Vec<_>>());
        next(&mut waiting, &[]);
        push(&mut waiting, (2, 1, 0), 500);
        next(&mut waiting, &[]);
        assert_eq!(next(&mut waiting, &[]), Some((2, 1)));
    }
}
