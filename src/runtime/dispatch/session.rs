//! Workers, their sessions and their leases. A worker outlives its session: its leases live until they lapse. Pure but for
//! the channels it drops.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::{Halting, matching::Permit};
use crate::{
    engine::answer_checks::AnswerChecks,
    runtime::{Down, SessionId},
    types::{
        ids::{AgentName, Lease, WorkerId},
        time::Timestamp,
    },
};

/// The stream to a worker.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) down: mpsc::Sender<Down>,
    pub(super) agents: Vec<AgentName>,
    pub(super) max_concurrency: u32,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) connected_at: Timestamp,
    pub(super) draining: bool,
}

/// A worker that has a session, or attempts.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) session: Option<Session>,
    pub(super) last_heard: Timestamp,
    /// When it is taken for lost if nothing is heard.
    pub(super) expires: Timestamp,
    pub(super) leases: BTreeSet<Lease>,
    /// Slots on their way through a shard.
    pub(super) pending: u32,
}

/// A lease that counts against its worker.
#[derive(Debug)]
pub(super) struct Held {
    /// What it takes up.
    pub(super) permit: Permit,
    /// When it was leased, as far as it is known here.
    pub(super) since: Timestamp,
    pub(super) checks: Option<AnswerChecks>,
    /// The session that got it or claimed it.
    pub(super) session: Option<SessionId>,
    /// Whether the worker knows of it: not before its commit.
    pub(super) delivered: bool,
    pub(super) earmarked: bool,
    pub(super) halting: Halting,
    /// Whether the worker has been told to stop by a halt, ahead of the task's own decision.
    pub(super) told: bool,
}

/// Everything the dispatcher knows about workers.
#[derive(Debug, Default)]
pub(super) struct Workers {
    pub(super) by_id: BTreeMap<WorkerId, Worker>,
    pub(super) by_session: BTreeMap<SessionId, WorkerId>,
    pub(super) leases: BTreeMap<Lease, Box<Held>>,
}

impl Workers {
    /// The worker, made if it was not known.
    pub(super) fn entry(&mut self, id: &WorkerId, now: Timestamp, expires: Timestamp) -> &mut Worker {
        self.by_id.entry(id.clone()).or_insert_with(|| Worker {
            session: None,
            last_heard: now,
            expires,
            leases: BTreeSet::new(),
            pending: 0,
        })
    }

    /// Ends the worker's session, if it has one: its stream sees the end of its channel. Gives back who it served.
    pub(super) fn end_session(&mut self, id: &WorkerId) -> Option<Session> {
        let session = self.by_id.get_mut(id)?.session.take()?;
        self.by_session.remove(&session.id);
        Some(session)
    }

    /// Forgets a worker that has nothing left.
    pub(super) fn forget_if_idle(&mut self, id: &WorkerId) {
        let idle =
            |worker: &Worker| worker.session.is_none() && worker.leases.is_empty() && worker.pending == 0;
        if self.by_id.get(id).is_some_and(idle) {
            self.by_id.remove(id);
        }
    }

    /// Adds a lease. `false`: it was there already, and stays as it is.
    pub(super) fn add_lease(&mut self, lease: Lease, held: Box<Held>) -> bool {
        if self.leases.contains_key(&lease) {
            return false;
        }
        if let Some(worker) = self.by_id.get_mut(&held.permit.worker) {
            worker.leases.insert(lease);
        }
        self.leases.insert(lease, held);
        true
    }

    /// Takes a lease away.
    pub(super) fn remove_lease(&mut self, lease: &Lease) -> Option<Box<Held>> {
        let held = self.leases.remove(lease)?;
        if let Some(worker) = self.by_id.get_mut(&held.permit.worker) {
            worker.leases.remove(lease);
        }
        Some(held)
    }

    /// The session of the worker, if it is still this one.
    pub(super) fn session(&self, worker: &WorkerId, session: SessionId) -> Option<&Session> {
        self.by_id.get(worker)?.session.as_ref().filter(|current| current.id == session)
    }
}
