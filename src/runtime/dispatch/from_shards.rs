//! What shards say to the dispatcher: turns that are ready, slots that were used or not, leases that began or ended.

use std::sync::Arc;

use super::{
    Dispatch, Ending, Halting, HeldUp, Order, Slot, TurnKey, Verdict, circuits::Revoked, matching::Offer,
    session::Held,
};
use crate::{
    engine::{
        answer_checks::AnswerChecks,
        command::{Assignment, LiveLease},
        event::AttemptEnd,
    },
    runtime::Down,
    types::{
        ids::{AgentName, Lease, Namespace, TaskId, WorkerId},
        time::Timestamp,
    },
};

/// A lease that a start has found in the journal.
pub(in crate::runtime) struct FoundLease {
    pub(in crate::runtime) lease: Lease,
    pub(in crate::runtime) worker: WorkerId,
    pub(in crate::runtime) agent: AgentName,
    pub(in crate::runtime) namespace: Namespace,
    pub(in crate::runtime) halting: Halting,
}

impl Dispatch {
    /// A turn is ready. Returns orders for the same shard, to be served at once.
    pub(in crate::runtime) fn offer(&self, offer: Offer, now: Timestamp) -> Vec<Order> {
        let (key, not_before) = (offer.key, offer.not_before);
        let mut state = self.state();
        let Some(offer) = state.unless_kept_back(offer) else { return Vec::new() };
        let slots = state.matching.offer(offer, now);
        let slots = state.note_pending(slots);
        let held_up = state.matching.tell(key).map(|reason| Order::HoldUp(HeldUp { key, reason }));
        let look = state.next_look.is_none_or(|next| not_before < next) && not_before > now;
        self.settle(state);
        if look {
            self.nudge.notify_one();
        }
        self.keep_own(key.task.shard(), slots.into_iter().map(Order::Assign).chain(held_up).collect())
    }

    /// A turn is no longer ready.
    pub(in crate::runtime) fn withdraw(&self, key: TurnKey) {
        let mut state = self.state();
        state.kept_back.withdraw(key);
        state.matching.withdraw(key);
    }

    /// Every turn of the task is taken back: its staged state is void.
    pub(in crate::runtime) fn withdraw_task(&self, task: TaskId) {
        let mut state = self.state();
        state.kept_back.withdraw_task(task);
        state.matching.withdraw_task(task);
    }

    /// The slot's lease is staged.
    pub(in crate::runtime) fn leased(
        &self,
        slot: Slot,
        lease: Lease,
        checks: Option<AnswerChecks>,
        halting: Halting,
        now: Timestamp,
    ) {
        let Slot { key: _, worker, session, earmarked, permit } = slot;
        let session = Some(session);
        let (since, delivered, told) = (now, false, false);
        let held = Box::new(Held { permit, since, checks, session, delivered, earmarked, halting, told });
        let mut state = self.state();
        if let Some(worker) = state.workers.by_id.get_mut(&worker) {
            worker.pending = worker.pending.saturating_sub(1);
        }
        state.workers.add_lease(lease, held);
    }

    /// The slot was not used.
    pub(in crate::runtime) fn unused(&self, slot: Slot, now: Timestamp) {
        let Slot { key: _, worker, session, earmarked, permit } = slot;
        let mut state = self.state();
        if let Some(entry) = state.workers.by_id.get_mut(&worker) {
            entry.pending = entry.pending.saturating_sub(1);
        }
        let slots = state.matching.give_back(permit, session, earmarked, now);
        let slots = state.note_pending(slots);
        state.workers.forget_if_idle(&worker);
        self.settle(state);
        self.route_slots(slots);
    }

    /// The commit of a staged lease failed: it never was.
    pub(in crate::runtime) fn unlease(&self, lease: &Lease, now: Timestamp) {
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(lease) else { return };
        let slots = state.undelivered(*held, now);
        self.settle(state);
        self.route_slots(slots);
    }

    /// The lease is durable: its work goes to the worker. If that cannot be, the lease is ended at once.
    pub(in crate::runtime) fn deliver(&self, assignment: Box<Assignment>, now: Timestamp) {
        let lease = assignment.lease;
        let mut state = self.state();
        // Ended before the worker ever heard of it: nothing to say.
        let halted = Arc::clone(state.matching.halted());
        let Some(held) = state.workers.leases.get_mut(&lease) else { return };
        if halted.stops(&held.permit.agent, &held.halting.marks) {
            drop(state);
            let reason = "it was halted before the assignment could be sent".to_owned();
            return self.route([Order::End(Ending { lease, end: AttemptEnd::Undelivered, reason })]);
        }
        held.delivered = true;
        let (worker, session) = (held.permit.worker.clone(), held.session);
        let down =
            session.and_then(|session| state.workers.session(&worker, session)).map(|s| s.down.clone());
        let sent = down.is_some_and(|down| down.try_send(Down::Assignment(assignment)).is_ok());
        if sent {
            return;
        }
        if let Some(session) = session {
            self.cut_off(&mut state, &worker, session, now);
        }
        self.settle(state);
        let reason = "its worker's session ended before the assignment could be sent".to_owned();
        self.route([Order::End(Ending { lease, end: AttemptEnd::Undelivered, reason })]);
    }

    /// The lease's attempt has ended: the worker has room again. Harmless for a lease that is gone. Returns orders for the
    /// same shard, to be served at once.
    pub(in crate::runtime) fn closed(&self, lease: &Lease, verdict: Verdict, now: Timestamp) -> Vec<Order> {
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(lease) else { return Vec::new() };
        let slots = state.release(*held, verdict, now);
        self.settle(state);
        self.keep_own(lease.task.shard(), slots.into_iter().map(Order::Assign).collect())
    }

    /// The lease is revoked: its worker is told to stop. Says whether somebody was told, and returns orders for the same
    /// shard.
    pub(in crate::runtime) fn revoked(&self, revoked: Revoked, now: Timestamp) -> (bool, Vec<Order>) {
        let Revoked { lease, end, reason, cause } = revoked;
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(&lease) else { return (false, Vec::new()) };
        let own = |slots: Vec<Slot>| {
            self.keep_own(lease.task.shard(), slots.into_iter().map(Order::Assign).collect())
        };
        if !held.delivered {
            let slots = state.undelivered(*held, now);
            self.settle(state);
            return (false, own(slots));
        }
        let session = held.session.and_then(|id| state.workers.session(&held.permit.worker, id));
        let told = match session {
            // By a halt, ahead of its task's own decision.
            Some(session) if held.told => Some((session.id, true)),
            session => {
                session.map(|s| (s.id, s.down.try_send(Down::Cancel { lease, reason, cause }).is_ok()))
            }
        };
        if let Some((session, false)) = told {
            self.cut_off(&mut state, &held.permit.worker, session, now);
        }
        let verdict = self.verdict_on(&held, end, cause, now);
        let slots = state.release(*held, verdict, now);
        self.settle(state);
        (told.is_some_and(|(_, sent)| sent), own(slots))
    }

    /// A lease that the journal says is live; one lease period from now on. Harmless for a lease that is known.
    pub(in crate::runtime) fn restore(&self, live: LiveLease, halting: Halting, now: Timestamp) {
        let LiveLease { lease, worker, agent, namespace, attempt: _, checks } = live;
        let mut state = self.state();
        let entry = state.workers.entry(&worker, now, now.plus(self.lease_time));
        let session = entry.session.as_ref().map(|session| session.id);
        if !state.workers.leases.contains_key(&lease) {
            let permit = state.matching.hold(&worker, agent, namespace);
            let checks = Some(checks);
            let (since, delivered, earmarked, told) = (now, true, false, false);
            let held = Box::new(Held { permit, since, checks, session, delivered, earmarked, halting, told });
            state.workers.add_lease(lease, held);
        }
        drop(state);
        self.nudge.notify_one();
    }

    /// A lease that a start has found in the journal; one lease period from now on. Sessions may be open by now: before one
    /// opened, all that it claimed was made known here, so a lease that is new and whose worker has a session was not
    /// claimed. Returns orders for the same shard.
    pub(in crate::runtime) fn restore_found(&self, found: FoundLease, now: Timestamp) -> Vec<Order> {
        let FoundLease { lease, worker, agent, namespace, halting } = found;
        let mut state = self.state();
        let expires = now.plus(self.lease_time);
        let entry = state.workers.entry(&worker, now, expires);
        let has_session = entry.session.is_some();
        if !has_session {
            entry.expires = expires;
        }
        let is_new = !state.workers.leases.contains_key(&lease);
        if is_new {
            let permit = state.matching.hold(&worker, agent, namespace);
            let (since, checks, session) = (now, None, None);
            let (delivered, earmarked, told) = (true, false, false);
            let held = Box::new(Held { permit, since, checks, session, delivered, earmarked, halting, told });
            state.workers.add_lease(lease, held);
        }
        drop(state);
        self.nudge.notify_one();
        if !(is_new && has_session) {
            return Vec::new();
        }
        let reason = "its worker came back without it".to_owned();
        let end = Order::End(Ending { lease, end: AttemptEnd::Released, reason });
        self.keep_own(lease.task.shard(), vec![end])
    }

    /// What an answer under the lease must be checked against, as far as it is known here.
    pub(in crate::runtime) fn checks_of(&self, lease: &Lease) -> Option<AnswerChecks> {
        self.state().workers.leases.get(lease)?.checks.clone()
    }
}
