//! How many tasks may be open at once. A place is taken before a task is staged and given back when it ends, whatever way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The count of open tasks, and its bound.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    open: Arc<AtomicUsize>,
    max: usize,
}

/// One open task's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Intake {
    pub(super) fn new(max: usize) -> Self {
        Self { open: Arc::default(), max }
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
