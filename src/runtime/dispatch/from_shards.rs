//! What shards say to the dispatcher: turns that are ready, slots that were used or not, leases that began or ended.

use std::sync::Arc;

use super::{Dispatch, Ending, Halting, Order, Slot, TurnKey, matching::Offer, session::Held};
use crate::{
    engine::{
        answer_checks::AnswerChecks,
        command::{Assignment, LiveLease},
        event::AttemptEnd,
    },
    runtime::Down,
    types::{
        ids::{Lease, TaskId},
        outcome::Cause,
        time::Timestamp,
    },
};

impl Dispatch {
    /// A turn is ready. Returns orders for the same shard, to be served at once.
    pub(in crate::runtime) fn offer(&self, offer: Offer, now: Timestamp) -> Vec<Order> {
        let (shard, not_before) = (offer.key.task.shard(), offer.not_before);
        let mut state = self.state();
        let slots = state.matching_offer(offer, now);
        let look = state.next_look.is_none_or(|next| not_before < next) && not_before > now;
        drop(state);
        if look {
            self.nudge.notify_one();
        }
        self.keep_own(shard, slots.into_iter().map(Order::Assign).collect())
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
    ) {
        let Slot { key: _, agent, worker, session, earmarked } = slot;
        let session = Some(session);
        let held = Held { worker, agent, checks, session, delivered: false, earmarked, halting, told: false };
        let mut state = self.state();
        if let Some(worker) = state.workers.by_id.get_mut(&held.worker) {
            worker.pending = worker.pending.saturating_sub(1);
        }
        state.workers.add_lease(lease, held);
    }

    /// The slot was not used.
    pub(in crate::runtime) fn unused(&self, slot: Slot) {
        let Slot { key: _, agent, worker, session, earmarked } = slot;
        let mut state = self.state();
        if let Some(entry) = state.workers.by_id.get_mut(&worker) {
            entry.pending = entry.pending.saturating_sub(1);
        }
        let slots = state.give_back(&worker, session, earmarked.then_some(&agent));
        state.workers.forget_if_idle(&worker);
        drop(state);
        self.route_slots(slots);
    }

    /// The commit of a staged lease failed: it never was.
    pub(in crate::runtime) fn unlease(&self, lease: &Lease) {
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(lease) else { return };
        let slots = state.undelivered(&held);
        drop(state);
        self.route_slots(slots);
    }

    /// The lease is durable: its work goes to the worker. If that cannot be, the lease is ended at once.
    pub(in crate::runtime) fn deliver(&self, assignment: Box<Assignment>) {
        let lease = assignment.lease;
        let mut state = self.state();
        // Ended before the worker ever heard of it: nothing to say.
        let halted = Arc::clone(state.matching.halted());
        let Some(held) = state.workers.leases.get_mut(&lease) else { return };
        if halted.stops(&held.agent, &held.halting.marks) {
            drop(state);
            let reason = "it was halted before the assignment could be sent".to_owned();
            return self.route([Order::End(Ending { lease, end: AttemptEnd::Undelivered, reason })]);
        }
        held.delivered = true;
        let (worker, session) = (held.worker.clone(), held.session);
        let down =
            session.and_then(|session| state.workers.session(&worker, session)).map(|s| s.down.clone());
        let sent = down.is_some_and(|down| down.try_send(Down::Assignment(assignment)).is_ok());
        if sent {
            return;
        }
        if let Some(session) = session {
            self.cut_off(&mut state, &worker, session);
        }
        drop(state);
        let reason = "its worker's session ended before the assignment could be sent".to_owned();
        self.route([Order::End(Ending { lease, end: AttemptEnd::Undelivered, reason })]);
    }

    /// The lease's attempt has ended: the worker has room again. Harmless for a lease that is gone. Returns orders for the
    /// same shard, to be served at once.
    pub(in crate::runtime) fn closed(&self, lease: &Lease) -> Vec<Order> {
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(lease) else { return Vec::new() };
        let slots = state.matching_release(&held.worker);
        state.workers.forget_if_idle(&held.worker);
        drop(state);
        self.keep_own(lease.task.shard(), slots.into_iter().map(Order::Assign).collect())
    }

    /// The lease is revoked: its worker is told to stop. Says whether somebody was told, and returns orders for the same
    /// shard.
    pub(in crate::runtime) fn revoked(
        &self,
        lease: Lease,
        reason: String,
        cause: Option<Cause>,
    ) -> (bool, Vec<Order>) {
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(&lease) else { return (false, Vec::new()) };
        let own = |slots: Vec<Slot>| {
            self.keep_own(lease.task.shard(), slots.into_iter().map(Order::Assign).collect())
        };
        if !held.delivered {
            let slots = state.undelivered(&held);
            drop(state);
            return (false, own(slots));
        }
        let session = held.session.and_then(|id| state.workers.session(&held.worker, id));
        let told = match session {
            // By a halt, ahead of its task's own decision.
            Some(session) if held.told => Some((session.id, true)),
            session => {
                session.map(|s| (s.id, s.down.try_send(Down::Cancel { lease, reason, cause }).is_ok()))
            }
        };
        if let Some((session, false)) = told {
            self.cut_off(&mut state, &held.worker, session);
        }
        let slots = state.matching_release(&held.worker);
        state.workers.forget_if_idle(&held.worker);
        drop(state);
        (told.is_some_and(|(_, sent)| sent), own(slots))
    }

    /// A lease that the journal says is live; one lease period from now on. Harmless for a lease that is known.
    pub(in crate::runtime) fn restore(&self, live: LiveLease, halting: Halting, now: Timestamp) {
        let LiveLease { lease, worker, agent, attempt: _, checks } = live;
        let mut state = self.state();
        let entry = state.workers.entry(&worker, now, now.plus(self.lease_time));
        let session = entry.session.as_ref().map(|session| session.id);
        let checks = Some(checks);
        let (worker_id, delivered, earmarked, told) = (worker.clone(), true, false, false);
        let held = Held { worker: worker_id, agent, checks, session, delivered, earmarked, halting, told };
        if state.workers.add_lease(lease, held) {
            state.matching.hold(&worker);
        }
        drop(state);
        self.nudge.notify_one();
    }

    /// What an answer under the lease must be checked against, as far as it is known here.
    pub(in crate::runtime) fn checks_of(&self, lease: &Lease) -> Option<AnswerChecks> {
        self.state().workers.leases.get(lease)?.checks.clone()
    }
}
