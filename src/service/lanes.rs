//! Order within a lease, freedom between leases: what is said under one lease is handled one message after the other,
//! as it came (usage before the answer it belongs to); leases do not wait for each other. Pure data.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use crate::types::ids::Lease;

/// Jobs by lease. A lease that has an entry has one job running.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    lanes: HashMap<Lease, VecDeque<T>>,
    held: usize,
}

impl<T> Lanes<T> {
    /// No jobs.
    pub(crate) fn new() -> Self {
        Self { lanes: HashMap::new(), held: 0 }
    }

    /// A job arrives: it is given back to be started, unless another one of its lease is running.
    pub(crate) fn enter(&mut self, lease: Lease, job: T) -> Option<T> {
        self.held += 1;
        match self.lanes.entry(lease) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                Some(job)
            }
            Entry::Occupied(mut busy) => {
                busy.get_mut().push_back(job);
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::types::ids::TaskId;

    #[test]
    fn one_lease_keeps_its_order_and_another_does_not_wait() {
        let lease = |turn| Lease { task: TaskId::from(Uuid::nil()), turn, attempt: 1, secret: 0 };
        let mut lanes = Lanes::new();
        assert_eq!(lanes.enter(lease(1), "usage"), Some("usage"));
        assert_eq!(lanes.enter(lease(1), "complete"), None);
        assert_eq!(lanes.enter(lease(2), "other"), Some("other"));
        assert_eq!(lanes.held(), 3);
        assert_eq!(lanes.leave(lease(1)), Some("complete"));
        assert_eq!(lanes.leave(lease(1)), None);
        assert_eq!(lanes.leave(lease(1)), None);
        assert_eq!(lanes.leave(lease(2)), None);
        assert_eq!((lanes.held(), lanes.lanes.len()), (0, 0));
    }
}
