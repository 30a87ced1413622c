//! How many tasks may be open at once. A place is taken before a task is staged and given back when it ends, whatever way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The count of open tasks, and its bound.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    open: Arc<AtomicUsize>,
    /// Of them, those that a start has counted and not read yet.
    expected: Arc<AtomicUsize>,
    max: usize,
}

/// One open task's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Intake {
    pub(super) fn new(max: usize) -> Self {
        Self { open: Arc::default(), expected: Arc::default(), max }
    }

    /// A place, unless all are taken.
    pub(super) fn try_take(&self) -> Option<Place> {
        let below = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).ok()?;
        Some(Place(Arc::clone(&self.open)))
    }

    /// A place for a task that is open already, even over the bound.
    pub(super) fn take(&self) -> Place {
        self.open.fetch_add(1, Ordering::AcqRel);
        Place(Arc::clone(&self.open))
    }

    /// So many tasks are open that are yet to be read.
    pub(super) fn expect(&self, tasks: usize) {
        self.open.fetch_add(tasks, Ordering::AcqRel);
        self.expected.fetch_add(tasks, Ordering::AcqRel);
    }

    /// A place for a task that has been read: one of those expected, if any is left.
    pub(super) fn take_expected(&self) -> Place {
        let one_less = |left: usize| left.checked_sub(1);
        match self.expected.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less) {
            Ok(_) => Place(Arc::clone(&self.open)),
            Err(_) => self.take(),
        }
    }

    /// How many are expected still.
    pub(super) fn expected(&self) -> usize {
        self.expected.load(Ordering::Acquire)
    }

    /// All have been read: what is expected still has ended since it was counted.
    pub(super) fn expect_no_more(&self) {
        let left = self.expected.swap(0, Ordering::AcqRel);
        self.open.fetch_sub(left, Ordering::AcqRel);
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_expected_counts_before_it_is_read_and_once() {
        let intake = Intake::new(2);
        intake.expect(2);
        assert!(intake.try_take().is_none(), "both places are spoken for");
        let read = intake.take_expected();
        assert_eq!((intake.open(), intake.expected()), (2, 1));
        intake.expect_no_more();
        assert_eq!((intake.open(), intake.expected()), (1, 0), "the other one has ended meanwhile");
        let late = intake.take_expected();
        assert_eq!(intake.open(), 2);
        drop((read, late));
        assert_eq!(intake.open(), 0);
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let intake = Intake::new(2);
        let first = intake.try_take().expect("there is room");
        let _second = intake.try_take().expect("there is room");
        assert!(intake.try_take().is_none());
        let over = intake.take();
        drop(first);
        assert!(intake.try_take().is_none(), "two are still taken");
        drop(over);
        assert!(intake.try_take().is_some());
        assert_eq!(intake.open(), 1);
    }
}
