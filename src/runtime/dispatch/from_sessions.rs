//! What sessions say to the dispatcher: they begin, ask for work, show signs of life, and end.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::{Dispatch, Ending, Order, Slot, State, session::Session};
use crate::{
    engine::event::AttemptEnd,
    runtime::{Down, SessionError, SessionId},
    types::{
        ids::{AgentName, Lease, WorkerId},
        time::Timestamp,
    },
};

/// Messages that may wait for a worker beside its assignments.
const SPARE_DOWN: usize = 64;

/// A session about to begin. Its agents are durable already.
pub(in crate::runtime) struct Arrival {
    pub(in crate::runtime) worker: WorkerId,
    pub(in crate::runtime) session: SessionId,
    pub(in crate::runtime) agents: Vec<AgentName>,
    pub(in crate::runtime) max_concurrency: u32,
    pub(in crate::runtime) labels: BTreeMap<String, String>,
    pub(in crate::runtime) held: Vec<Lease>,
}

impl Dispatch {
    /// Whether the worker may have a session: there is room, or it has one that the new one supersedes.
    pub(in crate::runtime) fn has_room(&self, worker: &WorkerId, max_sessions: usize) -> bool {
        let state = self.state();
        let has_one = || state.workers.by_id.get(worker).is_some_and(|worker| worker.session.is_some());
        state.workers.by_session.len() < max_sessions || has_one()
    }

    /// Opens a session, ending the worker's earlier one. Returns which of the leases it says it holds are live; those it
    /// does not hold are ended.
    pub(in crate::runtime) fn open(
        &self,
        arrival: Arrival,
        now: Timestamp,
    ) -> (Vec<Lease>, mpsc::Receiver<Down>) {
        let Arrival { worker, session, agents, max_concurrency, labels, held } = arrival;
        let capacity = (max_concurrency as usize).saturating_mul(2).saturating_add(SPARE_DOWN);
        let (down, receiver) = mpsc::channel(capacity);
        let mut state = self.state();
        self.end_session(&mut state, &worker, now);
        let stopped = state.stopped;
        let entry = state.workers.entry(&worker, now, now.plus(self.lease_time));
        (entry.last_heard, entry.expires) = (now, now.plus(self.lease_time));
        let counted = u32::try_from(entry.leases.len()).unwrap_or(u32::MAX).saturating_add(entry.pending);
        let (live, lost): (Vec<Lease>, Vec<Lease>) =
            entry.leases.iter().copied().partition(|lease| held.contains(lease));
        if stopped {
            // The channel is new and empty.
            let _ = down.try_send(Down::Drain);
        }
        entry.session = Some(Session {
            id: session,
            down,
            agents: agents.clone(),
            max_concurrency,
            labels,
            connected_at: now,
            draining: false,
        });
        state.workers.by_session.insert(session, worker.clone());
        for lease in &live {
            if let Some(held) = state.workers.leases.get_mut(lease) {
                held.session = Some(session);
            }
        }
        state.matching.join(&worker, session, &agents, max_concurrency, counted, now);
        state.judge_lost(&lost, now);
        self.registry.served(&agents);
        self.settle(state);
        self.nudge.notify_one();
        self.route(lost.into_iter().map(|lease| {
            let reason = "its worker came back without it".to_owned();
            Order::End(Ending { lease, end: AttemptEnd::Released, reason })
        }));
        (live, receiver)
    }

    /// Runs `change` for the worker of a session, which has been heard thereby.
    fn with_session(
        &self,
        session: SessionId,
        now: Timestamp,
        change: impl FnOnce(&mut State, &WorkerId) -> Vec<Slot>,
    ) -> Result<(), SessionError> {
        let mut state = self.state();
        let worker = state.workers.by_session.get(&session).cloned().ok_or(SessionError::SessionUnknown)?;
        state.hear(&worker, now, self.lease_time);
        let slots = change(&mut state, &worker);
        self.settle(state);
        self.route_slots(slots);
        Ok(())
    }

    /// More assignments are welcome.
    pub(in crate::runtime) fn credit(
        &self,
        session: SessionId,
        slots: u32,
        agent: Option<&AgentName>,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        self.with_session(session, now, |state, worker| {
            let slots = state.matching.credit(worker, slots, agent, now);
            state.note_pending(slots)
        })
    }

    /// The worker has been heard.
    pub(in crate::runtime) fn heartbeat(
        &self,
        session: SessionId,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        self.with_session(session, now, |_, _| Vec::new())
    }

    /// The worker that holds the lease has been heard, by whatever way.
    pub(in crate::runtime) fn heard_under(&self, lease: &Lease, now: Timestamp) {
        let mut state = self.state();
        if let Some(worker) = state.workers.leases.get(lease).map(|held| held.permit.worker.clone()) {
            state.hear(&worker, now, self.lease_time);
        }
    }

    /// The worker wants nothing new.
    pub(in crate::runtime) fn drain(&self, session: SessionId, now: Timestamp) -> Result<(), SessionError> {
        self.with_session(session, now, |state, worker| {
            state.matching.drain(worker);
            let current = state.workers.by_id.get_mut(worker).and_then(|entry| entry.session.as_mut());
            if let Some(session) = current.filter(|session| !session.draining) {
                session.draining = true;
                self.registry.no_longer_served(&session.agents);
            }
            Vec::new()
        })
    }

    /// The stream is gone.
    pub(in crate::runtime) fn close(&self, session: SessionId, now: Timestamp) {
        let mut state = self.state();
        let Some(worker) = state.workers.by_session.get(&session).cloned() else { return };
        self.end_session(&mut state, &worker, now);
        state.workers.forget_if_idle(&worker);
        self.settle(state);
    }

    /// Ends a session whose worker does not read.
    pub(super) fn cut_off(&self, state: &mut State, worker: &WorkerId, session: SessionId, now: Timestamp) {
        if state.workers.session(worker, session).is_some() {
            tracing::warn!(%worker, "a worker does not read what it is sent: its session is closed");
            self.end_session(state, worker, now);
        }
    }

    pub(super) fn end_session(&self, state: &mut State, worker: &WorkerId, now: Timestamp) {
        state.matching.leave(worker, now);
        if let Some(session) = state.workers.end_session(worker)
            && !session.draining
        {
            self.registry.no_longer_served(&session.agents);
        }
    }
}
