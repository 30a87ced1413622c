//! What a chaos run needs of the runtime: to end a lease as silence would, and to keep for every agent when it last stood a
//! run and when it did not.

use std::{collections::BTreeMap, sync::Arc};

use super::{ReadError, Runtime};
use crate::{
    engine::readiness::Fact,
    store::{Store, StoreError},
    types::{
        chaos::{ChaosRecord, CrewTested},
        ids::{AgentName, Lease},
        time::Timestamp,
    },
};

/// The names of the numbers that hold the dates, in microseconds since the epoch: this, a verdict, an agent.
const PREFIX: &str = "chaos/";
const PASSED: &str = "chaos/passed/";
const FAILED: &str = "chaos/failed/";

impl Runtime {
    /// The time, as tasks see it.
    pub fn now(&self) -> Timestamp {
        self.0.now.read()
    }

    /// Ends a lease as if its worker had not been heard of. Harmless for one that is over.
    pub fn lose_lease(&self, lease: Lease, reason: String) {
        self.0.dispatch.lose(lease, reason);
    }

    /// Keeps the verdict of a run for its agents. Durable when it returns: the date.
    ///
    /// # Errors
    /// The store failed.
    pub async fn record_chaos(&self, agents: Vec<AgentName>, passed: bool) -> Result<Timestamp, ReadError> {
        let (store, at) = (Arc::clone(&self.0.store), self.now());
        let kept = self.0.hands.run(move || {
            let verdict = if passed { PASSED } else { FAILED };
            agents.iter().try_for_each(|agent| store.set_number(&format!("{verdict}{agent}"), at.0))
        });
        kept.await??;
        Ok(at)
    }

    /// What is kept, by agent.
    ///
    /// # Errors
    /// The store failed.
    pub async fn chaos_records(&self) -> Result<BTreeMap<AgentName, ChaosRecord>, ReadError> {
        let store = Arc::clone(&self.0.store);
        Ok(self.0.hands.run(move || records(&*store)).await??)
    }

    /// What the runs say of these agents. What cannot be read is unknown.
    pub(super) async fn crew_tested(&self, agents: &[&AgentName]) -> Fact<CrewTested> {
        match self.chaos_records().await {
            Ok(records) => {
                let crew = agents.iter().map(|agent| (*agent, records.get(*agent).copied()));
                CrewTested::of(crew).map_or(Fact::Never, Fact::Last)
            }
            Err(error) => {
                tracing::warn!(%error, "the dates of chaos runs cannot be read");
                Fact::Unknown
            }
        }
    }
}

/// Blocks.
fn records(store: &dyn Store) -> Result<BTreeMap<AgentName, ChaosRecord>, StoreError> {
    let mut records: BTreeMap<AgentName, ChaosRecord> = BTreeMap::new();
    for (name, at) in store.numbers(PREFIX)? {
        let (passed, failed) = (name.strip_prefix(PASSED), name.strip_prefix(FAILED));
        let Some(agent) = passed.or(failed).and_then(|agent| agent.parse::<AgentName>().ok()) else {
            continue;
        };
        let record = records.entry(agent).or_default();
        let kept = if passed.is_some() { &mut record.passed_at } else { &mut record.failed_at };
        *kept = Some(Timestamp(at));
    }
    Ok(records)
}
