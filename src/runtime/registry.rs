//! The agents: every one ever seen (durable), and how many sessions serve each now. Never here: the store; what is added
//! here has been made durable by the caller.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use serde::Deserialize;

use super::clock::Now;
use crate::{
    engine::command::{Agents, Circuit},
    store::record::AgentRow,
    types::{
        ids::AgentName,
        payload::Payload,
        time::{Span, Timestamp},
    },
};

/// A declaration that says nothing new is made durable again only after this long.
const REFRESH: Span = Span::from_secs(60);

/// The snapshot of the durable registry, with what is connected now.
pub(super) struct Registry {
    agents: RwLock<BTreeMap<AgentName, Entry>>,
    now: Now,
}

#[derive(Debug)]
struct Entry {
    row: AgentRow,
    declared: Declared,
    sessions: u32,
    /// Since when no session has served it, where none does. Not durable: after a restart workers get their time anew.
    away_since: Timestamp,
    /// Its circuit, while it is not closed. Not durable either.
    circuit: Option<Circuit>,
}

/// The schemas in an agent's declaration.
#[derive(Debug, Default, Deserialize)]
struct Declared {
    input_schema: Option<Payload>,
    output_schema: Option<Payload>,
}

impl Entry {
    /// A declaration that cannot be read declares nothing: it was written by a newer server.
    fn new(row: AgentRow, away_since: Timestamp) -> Self {
        let declared = declared(&row);
        Self { row, declared, sessions: 0, away_since, circuit: None }
    }
}

fn declared(row: &AgentRow) -> Declared {
    serde_json::from_str(&row.spec).unwrap_or_default()
}

impl Registry {
    pub(super) fn new(rows: Vec<AgentRow>, now: Now) -> Self {
        let away_since = now.read();
        let entry = |row: AgentRow| (row.name.clone(), Entry::new(row, away_since));
        Self { agents: RwLock::new(rows.into_iter().map(entry).collect()), now }
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<AgentName, Entry>> {
        self.agents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<AgentName, Entry>> {
        self.agents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows that must be made durable before these declarations count.
    pub(super) fn declared(&self, agents: &[(AgentName, String)], now: Timestamp) -> Vec<AgentRow> {
        let known = self.read();
        let row = |(name, spec): &(AgentName, String)| {
            let before = known.get(name).map(|entry| &entry.row);
            if before.is_some_and(|row| row.spec == *spec && now.since(row.last_seen) < REFRESH) {
                return None;
            }
            let first_seen = before.map_or(now, |row| row.first_seen);
            Some(AgentRow { name: name.clone(), first_seen, last_seen: now, spec: spec.clone() })
        };
        agents.iter().filter_map(row).collect()
    }

    /// Rows that are durable now.
    pub(super) fn learn(&self, rows: Vec<AgentRow>) {
        let away_since = self.now.read();
        let mut agents = self.write();
        for row in rows {
            match agents.get_mut(&row.name) {
                Some(entry) => {
                    entry.declared = declared(&row);
                    entry.row = row;
                }
                None => {
                    agents.insert(row.name.clone(), Entry::new(row, away_since));
                }
            }
        }
    }

    /// One more session serves these.
    pub(super) fn served(&self, names: &[AgentName]) {
        let mut agents = self.write();
        for name in names {
            if let Some(entry) = agents.get_mut(name) {
                entry.sessions += 1;
            }
        }
    }

    /// One session less serves these.
    pub(super) fn no_longer_served(&self, names: &[AgentName]) {
        let now = self.now.read();
        let mut agents = self.write();
        for name in names {
            if let Some(entry) = agents.get_mut(name) {
                entry.sessions = entry.sessions.saturating_sub(1);
                entry.away_since = now;
            }
        }
    }

    /// The agent's circuit has opened, or closed.
    pub(super) fn set_circuit(&self, agent: &AgentName, circuit: Option<Circuit>) {
        if let Some(entry) = self.write().get_mut(agent) {
            entry.circuit = circuit;
        }
    }

    /// Agents that a session serves now.
    pub(super) fn served_now(&self) -> BTreeSet<AgentName> {
        let agents = self.read();
        agents.iter().filter(|(_, entry)| entry.sessions > 0).map(|(name, _)| name.clone()).collect()
    }

    /// What the agent declared to take.
    pub(super) fn input_schema(&self, agent: &AgentName) -> Option<Payload> {
        self.read().get(agent)?.declared.input_schema.clone()
    }

    /// What the agent declared to give.
    pub(super) fn output_schema(&self, agent: &AgentName) -> Option<Payload> {
        self.read().get(agent)?.declared.output_schema.clone()
    }

    /// Every row, by name.
    pub(super) fn rows(&self) -> Vec<AgentRow> {
        self.read().values().map(|entry| entry.row.clone()).collect()
    }
}

impl Agents for Registry {
    fn is_known(&self, agent: &AgentName) -> bool {
        self.read().contains_key(agent)
    }

    fn away_since(&self, agent: &AgentName) -> Option<Timestamp> {
        match self.read().get(agent) {
            Some(entry) => {
                let away_since = (entry.sessions == 0).then_some(entry.away_since);
                let open_since = entry.circuit.as_ref().map(|circuit| circuit.since);
                away_since.into_iter().chain(open_since).min()
            }
            None => Some(Timestamp::default()),
        }
    }

    fn circuit(&self, agent: &AgentName) -> Option<Circuit> {
        self.read().get(agent)?.circuit.clone()
    }
}
