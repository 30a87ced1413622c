//! How many tasks may be open at once, in all and of one namespace. A place is taken before a task is staged and given back
//! when it ends, whatever way. Never here: what a task is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::types::{ids::Namespace, name_limits::NameLimits};

/// The count of open tasks, and its bounds.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    open: Arc<AtomicUsize>,
    /// Of them, those that a start has counted and not read yet.
    expected: Arc<AtomicUsize>,
    max: usize,
    spaces: Arc<Spaces>,
}

/// The counts of the namespaces that have a bound.
#[derive(Debug)]
struct Spaces {
    limits: NameLimits,
    open: Mutex<BTreeMap<Namespace, u32>>,
}

/// A task that was counted in its namespace.
type Counted = Box<(Arc<Spaces>, Namespace)>;

/// One open task's place; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    open: Arc<AtomicUsize>,
    /// In a namespace that has a bound.
    space: Option<Counted>,
}

/// What there is no place in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The server.
    Server,
    /// The namespace, with its bound.
    Namespace(u32),
}

impl Spaces {
    /// Counts one more task of the namespace; `None`: it has no bound.
    fn take(self: &Arc<Self>, namespace: &Namespace, over: bool) -> Result<Option<Counted>, Full> {
        let Some(limit) = self.limits.of(namespace.as_str()) else { return Ok(None) };
        let mut spaces = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = spaces.entry(namespace.clone()).or_default();
        if *open >= limit && !over {
            return Err(Full::Namespace(limit));
        }
        *open += 1;
        Ok(Some(Box::new((Arc::clone(self), namespace.clone()))))
    }

    fn give(&self, namespace: &Namespace) {
        let mut spaces = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = spaces.get_mut(namespace) else { return };
        *open = open.saturating_sub(1);
        if *open == 0 {
            spaces.remove(namespace);
        }
    }
}

impl Intake {
    pub(super) fn new(max: usize, namespaces: NameLimits) -> Self {
        let spaces = Arc::new(Spaces { limits: namespaces, open: Mutex::default() });
        Self { open: Arc::default(), expected: Arc::default(), max, spaces }
    }

    /// A place in the server alone, unless all are taken.
    pub(super) fn try_take_any(&self) -> Option<Place> {
        let below = |open: usize| (open < self.max).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, below).ok()?;
        Some(Place { open: Arc::clone(&self.open), space: None })
    }

    /// A place, unless all are taken.
    pub(super) fn try_take(&self, namespace: &Namespace) -> Result<Place, Full> {
        let mut place = self.try_take_any().ok_or(Full::Server)?;
        place.space = self.spaces.take(namespace, false)?;
        Ok(place)
    }

    /// A place for a task that is open already, even over the bounds.
    pub(super) fn take(&self, namespace: &Namespace) -> Place {
        self.open.fetch_add(1, Ordering::AcqRel);
        let space = self.spaces.take(namespace, true).unwrap_or_default();
        Place { open: Arc::clone(&self.open), space }
    }

    /// So many tasks are open that are yet to be read.
    pub(super) fn expect(&self, tasks: usize) {
        self.open.fetch_add(tasks, Ordering::AcqRel);
        self.expected.fetch_add(tasks, Ordering::AcqRel);
    }

    /// A place for a task that has been read: one of those expected, if any is left. Its namespace counts it from now on.
    pub(super) fn take_expected(&self, namespace: &Namespace) -> Place {
        let one_less = |left: usize| left.checked_sub(1);
        if self.expected.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).is_err() {
            return self.take(namespace);
        }
        let space = self.spaces.take(namespace, true).unwrap_or_default();
        Place { open: Arc::clone(&self.open), space }
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

    /// The namespaces that have a bound and open tasks: how many, and the bound.
    pub(super) fn of_namespaces(&self) -> Vec<(Namespace, u32, u32)> {
        let Spaces { limits, open } = &*self.spaces;
        let open = open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter()
            .filter_map(|(name, open)| Some((name.clone(), *open, limits.of(name.as_str())?)))
            .collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
        if let Some(space) = self.space.take() {
            let (spaces, namespace) = *space;
            spaces.give(&namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake(max: usize) -> Intake {
        Intake::new(max, NameLimits::default().with("small", 1))
    }

    #[test]
    fn what_is_expected_counts_before_it_is_read_and_once() {
        let (intake, any) = (intake(2), Namespace::default());
        intake.expect(2);
        assert!(intake.try_take(&any).is_err(), "both places are spoken for");
        let read = intake.take_expected(&any);
        assert_eq!((intake.open(), intake.expected()), (2, 1));
        intake.expect_no_more();
        assert_eq!((intake.open(), intake.expected()), (1, 0), "the other one has ended meanwhile");
        let late = intake.take_expected(&any);
        assert_eq!(intake.open(), 2);
        drop((read, late));
        assert_eq!(intake.open(), 0);
    }

    #[test]
    fn places_are_bounded_and_come_back() {
        let (intake, any) = (intake(2), Namespace::default());
        let first = intake.try_take(&any).expect("there is room");
        let _second = intake.try_take(&any).expect("there is room");
        assert_eq!(intake.try_take(&any).err(), Some(Full::Server));
        let over = intake.take(&any);
        drop(first);
        assert_eq!(intake.try_take(&any).err(), Some(Full::Server), "two are still taken");
        drop(over);
        assert!(intake.try_take(&any).is_ok());
        assert_eq!(intake.open(), 1);
    }

    #[test]
    fn a_full_namespace_takes_nothing_from_the_others() {
        let intake = intake(2);
        let small: Namespace = "small".parse().expect("a valid name");
        let first = intake.try_take(&small).expect("there is room");
        assert_eq!(intake.try_take(&small).err(), Some(Full::Namespace(1)));
        assert_eq!(intake.open(), 1, "what was refused has no place");
        let other = intake.try_take(&Namespace::default()).expect("there is room");
        assert_eq!(intake.of_namespaces(), [(small.clone(), 1, 1)]);
        drop((first, other));
        assert!(intake.of_namespaces().is_empty() && intake.try_take(&small).is_ok());
    }
}
