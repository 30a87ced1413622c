//! Openings of circuit breakers during a run. The server counts them from its start, and forgets them when it is killed: so
//! they are looked at once a second and added up here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::clients::{CALL, Clients};
use crate::pb;

/// How often they are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What has been seen. `None` until the server has said anything.
#[derive(Clone, Default)]
pub(super) struct Breakers(Arc<Mutex<Option<BTreeMap<String, Seen>>>>);

/// One breaker.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Openings before the run.
    before: u64,
    /// Openings in lives of the server that are over.
    past: u64,
    now: u64,
}

impl Breakers {
    /// Looks until it is dropped.
    pub(super) async fn watch(self, clients: Arc<Clients>) {
        loop {
            self.look(&clients).await;
            sleep(LOOK).await;
        }
    }

    /// Looks once. Where the server is away there is nothing to see.
    pub(super) async fn look(&self, clients: &Clients) {
        let agents = timeout(CALL, clients.operator().list_agents(pb::ListAgentsRequest {})).await;
        let workers = timeout(CALL, clients.operator().list_workers(pb::ListWorkersRequest {})).await;
        let (Ok(Ok(agents)), Ok(Ok(workers))) = (agents, workers) else { return };
        let agents = agents.into_inner().agents.into_iter().map(|agent| {
            let name = agent.spec.map(|spec| spec.name).unwrap_or_default();
            (format!("agent {name}"), agent.breaker)
        });
        let workers = workers.into_inner().workers.into_iter();
        let workers = workers.map(|worker| (format!("worker {}", worker.worker_id), worker.breaker));
        let openings = |breaker: Option<pb::Breaker>| {
            u64::try_from(breaker.map_or(0, |breaker| breaker.openings)).unwrap_or(0)
        };
        self.take(agents.chain(workers).map(|(name, breaker)| (name, openings(breaker))));
    }

    fn take(&self, openings: impl Iterator<Item = (String, u64)>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = seen.is_none();
        let seen = seen.get_or_insert_default();
        for (name, now) in openings {
            let breaker = seen.entry(name).or_default();
            if first {
                breaker.before = now;
            }
            if now < breaker.now {
                breaker.past += breaker.now;
            }
            breaker.now = now;
        }
    }

    /// Openings since the first look.
    pub(super) fn openings(&self) -> Option<u64> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |seen: &BTreeMap<String, Seen>| {
            seen.values().map(|breaker| (breaker.past + breaker.now).saturating_sub(breaker.before)).sum()
        };
        seen.as_ref().map(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_added_up_over_restarts_and_from_the_beginning_of_the_run() {
        let breakers = Breakers::default();
        assert_eq!(breakers.openings(), None);
        let look = |agent: u64, worker: u64| {
            breakers.take([("agent a".to_owned(), agent), ("worker w".to_owned(), worker)].into_iter());
        };
        look(5, 0);
        assert_eq!(breakers.openings(), Some(0), "what was before does not count");
        look(7, 1);
        assert_eq!(breakers.openings(), Some(3));
        look(0, 0); // A new life of the server.
        look(2, 0);
        assert_eq!(breakers.openings(), Some(5));
    }
}
