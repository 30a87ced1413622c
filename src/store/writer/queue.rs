//! The writer's queue: bounded, in order, closed once. Never loses a submission it took, and never blocks who submits.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::{Submission, SubmitError};
use crate::store::record::Append;

/// Submissions on their way to the writer.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    /// For a taker that is no thread.
    changed: Notify,
    bound: NonZeroUsize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Numbered>,
    last_number: u64,
    closed: bool,
}

/// A submission with its place in the order in which all were taken, from 1.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) number: u64,
    /// About how many bytes it adds to the journal.
    pub(super) weight: usize,
    pub(super) submission: Submission,
}

impl Queue {
    pub(super) fn new(bound: NonZeroUsize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), changed: Notify::new(), bound }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, submission: Submission) -> Result<(), SubmitError> {
        let weight = submission.appends.iter().map(Append::weight).sum();
        let mut state = self.state();
        if state.closed {
            return Err(SubmitError::Stopped(submission));
        }
        if state.waiting.len() >= self.bound.get() {
            return Err(SubmitError::Full(submission));
        }
        state.last_number += 1;
        let number = state.last_number;
        state.waiting.push_back(Numbered { number, weight, submission });
        drop(state);
        self.arrived.notify_one();
        self.changed.notify_one();
        Ok(())
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// Waits for submissions and takes as many, in order, as fit; always at least one. None when closed and empty.
    pub(super) fn take(&self, max_appends: usize, max_bytes: usize) -> Option<Vec<Numbered>> {
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let mut state = self.arrived.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        let (mut appends, mut bytes) = (0, 0);
        while let Some(next) = state.waiting.front() {
            appends += next.submission.appends.len();
            bytes += next.weight;
            if !taken.is_empty() && (appends > max_appends || bytes > max_bytes) {
                break;
            }
            taken.extend(state.waiting.pop_front());
        }
        (!taken.is_empty()).then_some(taken)
    }

    /// Waits until something is there to be taken; `false`: closed and empty.
    pub(super) async fn has_some(&self) -> bool {
        loop {
            let is_closed = {
                let state = self.state();
                if !state.waiting.is_empty() {
                    return true;
                }
                state.closed
            };
            if is_closed {
                return false;
            }
            self.changed.notified().await;
        }
    }

    /// Everything that waits.
    pub(super) fn take_all(&self) -> VecDeque<Numbered> {
        std::mem::take(&mut self.state().waiting)
    }

    /// The number of the submission taken last.
    pub(super) fn last_number(&self) -> u64 {
        self.state().last_number
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_all();
        self.changed.notify_one();
    }
}
