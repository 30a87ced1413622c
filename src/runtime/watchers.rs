//! Who follows which task: a bell for each, rung when something of the task has become durable.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;

use super::watch::Room;
use crate::types::ids::TaskId;

/// The bells, by task: in order, so that all hear of the end in the same order in every run of a simulation.
#[derive(Debug)]
pub(super) struct Watchers {
    bells: Mutex<BTreeMap<TaskId, watch::Sender<u64>>>,
    /// Tasks that have a bell: lets a commit nobody watches pass without the lock.
    watched: AtomicUsize,
    closed: std::sync::atomic::AtomicBool,
    /// For what they hold unread.
    room: Room,
}

impl Watchers {
    /// Nobody yet. `bytes`: what they may hold unread, over all of them, in bytes of the journal.
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            bells: Mutex::default(),
            watched: AtomicUsize::new(0),
            closed: false.into(),
            room: Room::new(bytes),
        }
    }

    /// The room for what they hold unread.
    pub(super) const fn room(&self) -> &Room {
        &self.room
    }

    fn bells(&self) -> MutexGuard<'_, BTreeMap<TaskId, watch::Sender<u64>>> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a task. The receiver changes with every commit of the task after this call; it closes with the runtime.
    pub(super) fn follow(&self, task: TaskId) -> watch::Receiver<u64> {
        let mut bells = self.bells();
        if self.closed.load(Ordering::Acquire) {
            return watch::channel(0).1;
        }
        let receiver = bells.entry(task).or_insert_with(|| watch::channel(0).0).subscribe();
        self.watched.store(bells.len(), Ordering::Release);
        receiver
    }

    /// Stops following; the last one takes the bell down.
    pub(super) fn leave(&self, task: TaskId, receiver: watch::Receiver<u64>) {
        let mut bells = self.bells();
        drop(receiver);
        if bells.get(&task).is_some_and(|bell| bell.receiver_count() == 0) {
            bells.remove(&task);
        }
        self.watched.store(bells.len(), Ordering::Release);
    }

    /// Something of the task is durable, up to `seq`.
    pub(super) fn ring(&self, task: TaskId, seq: u64) {
        if self.watched.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(bell) = self.bells().get(&task) {
            bell.send_replace(seq);
        }
    }

    /// Nothing more will become durable.
    pub(super) fn close(&self) {
        let mut bells = self.bells();
        self.closed.store(true, Ordering::Release);
        bells.clear();
        self.watched.store(0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_last_follower_takes_the_bell_down() {
        let watchers = Watchers::new(1 << 20);
        let task = TaskId::from(Uuid::from_u128(1));
        let (first, second) = (watchers.follow(task), watchers.follow(task));
        watchers.ring(task, 3);
        assert_eq!((*first.borrow(), *second.borrow()), (3, 3));
        watchers.leave(task, first);
        assert_eq!(watchers.bells().len(), 1);
        watchers.leave(task, second);
        assert_eq!(watchers.bells().len(), 0);
        watchers.ring(task, 4);
    }

    #[tokio::test]
    async fn followers_hear_of_the_end_of_the_runtime() {
        let watchers = Watchers::new(1 << 20);
        let task = TaskId::from(Uuid::from_u128(1));
        let mut early = watchers.follow(task);
        watchers.close();
        assert!(early.changed().await.is_err());
        assert!(watchers.follow(task).changed().await.is_err());
    }
}
