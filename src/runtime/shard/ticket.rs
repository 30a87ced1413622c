//! A submission's place in the queue of what is new. It is given back when the submission is taken up or when its client goes
//! away, whichever is first: what nobody waits for keeps nobody out.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The places of one queue.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    bound: usize,
}

/// One of them, held by both sides. Dropping either gives it back, once.
#[derive(Debug)]
pub(in crate::runtime) struct Ticket {
    taken: Arc<AtomicUsize>,
    given_back: Arc<AtomicBool>,
}

impl Places {
    pub(super) fn new(bound: usize) -> Self {
        Self { taken: Arc::default(), bound }
    }

    pub(super) const fn bound(&self) -> usize {
        self.bound
    }

    /// A place, for the queue and for whoever waits. `None`: all are taken.
    pub(super) fn take(&self) -> Option<(Ticket, Ticket)> {
        let more = |taken: usize| (taken < self.bound).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        let given_back = Arc::new(AtomicBool::new(false));
        let ticket = |given_back| Ticket { taken: Arc::clone(&self.taken), given_back };
        Some((ticket(Arc::clone(&given_back)), ticket(given_back)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.given_back.swap(true, Ordering::AcqRel) {
            self.taken.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_once_by_whoever_leaves_first() {
        let places = Places::new(1);
        let (queued, waiting) = places.take().expect("it is free");
        assert!(places.take().is_none());
        drop(waiting);
        let (next, _client) = places.take().expect("nobody waits for the first one any more");
        drop(queued);
        assert!(places.take().is_none(), "the second one has it still");
        drop(next);
        assert!(places.take().is_some());
    }
}
