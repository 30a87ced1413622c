//! Order within a lease, freedom between leases: what is said under one lease is handled one message after the other,
//! as it came (usage before the answer it belongs to); leases do not wait for each other. What waits may take in what
//! comes after it, so that a worker that reports often is not held up by a commit a report. Pure data.

use std::collections::{VecDeque, hash_map::Entry};

use crate::{store::IdMap, types::ids::Lease};

/// A job that may take in a later one of its lease.
pub(crate) trait Absorb: Sized {
    /// Takes in `later`, or gives it back.
    fn absorb(&mut self, later: Self) -> Result<(), Self>;

    /// Whether `later` means the same when it is handled before this.
    fn may_be_passed_by(&self, later: &Self) -> bool;
}

/// Jobs by lease. A lease that has an entry has one job running.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: IdMap<Lease, VecDeque<T>>,
    held: usize,
}

impl<T: Absorb> Lanes<T> {
    /// No jobs.
    pub(crate) fn new() -> Self {
        Self { lanes: IdMap::default(), held: 0 }
    }

    /// A job arrives: it is given back to be started, unless another one of its lease is running.
    pub(crate) fn enter(&mut self, lease: Lease, job: T) -> Option<T> {
        match self.lanes.entry(lease) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                self.held += 1;
                Some(job)
            }
            Entry::Occupied(mut busy) => {
                if let Some(job) = merge(busy.get_mut(), job) {
                    busy.get_mut().push_back(job);
                    self.held += 1;
                }
                None
            }
        }
    }

    /// The running job of the lease is done: the next one of it, to be started.
    pub(crate) fn leave(&mut self, lease: Lease) -> Option<T> {
        let Entry::Occupied(mut lane) = self.lanes.entry(lease) else { return None };
        self.held -= 1;
        let next = lane.get_mut().pop_front();
        if next.is_none() {
            lane.remove();
        }
        next
    }

    /// Jobs running and waiting.
    pub(crate) const fn held(&self) -> usize {
        self.held
    }
}

/// Lets a waiting job take in a new one; the new one, if none does.
fn merge<T: Absorb>(waiting: &mut VecDeque<T>, mut job: T) -> Option<T> {
    for earlier in waiting.iter_mut().rev() {
        match earlier.absorb(job) {
            Ok(()) => return None,
            Err(back) => job = back,
        }
        if !earlier.may_be_passed_by(&job) {
            break;
        }
    }
    Some(job)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::types::ids::TaskId;

    /// Reports add up; a note may be passed by them; anything else keeps its place.
    #[derive(Debug, PartialEq)]
    enum Job {
        Report(u32),
        Note,
        Answer,
    }

    impl Absorb for Job {
        fn absorb(&mut self, later: Self) -> Result<(), Self> {
            match (self, later) {
                (Self::Report(sum), Self::Report(more)) => {
                    *sum += more;
                    Ok(())
                }
                (_, later) => Err(later),
            }
        }

        fn may_be_passed_by(&self, later: &Self) -> bool {
            matches!((self, later), (Self::Note, Self::Report(_)))
        }
    }

    fn lease(turn: u32) -> Lease {
        Lease { task: TaskId::from(Uuid::nil()), turn, attempt: 1, secret: 0 }
    }

    #[test]
    fn one_lease_keeps_its_order_and_another_does_not_wait() {
        let mut lanes = Lanes::new();
        assert_eq!(lanes.enter(lease(1), Job::Report(1)), Some(Job::Report(1)));
        assert_eq!(lanes.enter(lease(1), Job::Answer), None);
        assert_eq!(lanes.enter(lease(2), Job::Note), Some(Job::Note));
        assert_eq!(lanes.held(), 3);
        assert_eq!(lanes.leave(lease(1)), Some(Job::Answer));
        assert_eq!(lanes.leave(lease(1)), None);
        assert_eq!(lanes.leave(lease(1)), None);
        assert_eq!(lanes.leave(lease(2)), None);
        assert_eq!((lanes.held(), lanes.lanes.len()), (0, 0));
    }

    #[test]
    fn waiting_reports_add_up_past_notes_but_never_past_an_answer() {
        let mut lanes = Lanes::new();
        assert_eq!(lanes.enter(lease(1), Job::Report(1)), Some(Job::Report(1)), "it runs");
        for job in [Job::Report(2), Job::Note, Job::Report(4), Job::Answer, Job::Report(8)] {
            assert_eq!(lanes.enter(lease(1), job), None);
        }
        assert_eq!(lanes.held(), 5, "one of six was taken in");
        let order: Vec<_> = std::iter::from_fn(|| lanes.leave(lease(1))).collect();
        assert_eq!(order, [Job::Report(6), Job::Note, Job::Answer, Job::Report(8)]);
        assert_eq!(lanes.held(), 0);
    }
}
