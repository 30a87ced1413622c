//! A bulkhead: the most attempts at once that one name may have, so that one agent or one namespace cannot fill every
//! worker. Pure. Never here: which turn waits for a place.

use std::collections::BTreeMap;

use crate::types::name_limits::NameLimits;

/// What runs by name, and how much of it may.
#[derive(Debug)]
pub(super) struct Bulkhead<K> {
    limits: NameLimits,
    running: BTreeMap<K, u32>,
}

impl<K> Default for Bulkhead<K> {
    fn default() -> Self {
        Self { limits: NameLimits::default(), running: BTreeMap::new() }
    }
}

impl<K: Ord + Clone + AsRef<str>> Bulkhead<K> {
    pub(super) fn new(limits: NameLimits) -> Self {
        Self { limits, running: BTreeMap::new() }
    }

    /// The most at once; `None`: there is no limit.
    pub(super) fn limit(&self, name: &K) -> Option<u32> {
        self.limits.of(name.as_ref())
    }

    pub(super) fn running(&self, name: &K) -> u32 {
        self.running.get(name).copied().unwrap_or_default()
    }

    /// Whether nothing more of it may start.
    pub(super) fn is_full(&self, name: &K) -> bool {
        self.limit(name).is_some_and(|limit| self.running(name) >= limit)
    }

    /// One more runs. That may be over the limit: what was leased before a restart runs on, and decide turns bypass it.
    pub(super) fn take(&mut self, name: &K) {
        match self.running.get_mut(name) {
            Some(running) => *running += 1,
            None => drop(self.running.insert(name.clone(), 1)),
        }
    }

    /// One less runs.
    pub(super) fn give(&mut self, name: &K) {
        let Some(running) = self.running.get_mut(name) else { return };
        *running = running.saturating_sub(1);
        if *running == 0 {
            self.running.remove(name);
        }
    }

    /// Every name of which something runs.
    pub(super) fn all(&self) -> impl Iterator<Item = (&K, u32)> {
        self.running.iter().map(|(name, running)| (name, *running))
    }
}
