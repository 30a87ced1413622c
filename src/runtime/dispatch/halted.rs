//! Halts within the dispatcher: turns that a halted label keeps back, and the brakes, which tell every attempt under a halt to
//! stop before any task has decided anything. Never here: who may halt what; anything durable.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tokio::sync::oneshot;

use super::{
    Dispatch, Order, Slot, State, TurnKey,
    matching::{Offer, WaitReason, Waits},
    session::Held,
};
use crate::{
    runtime::{Down, SessionId},
    types::{
        halt::{HaltScope, HaltSet, label_mark},
        ids::{AgentName, Lease, TaskId, WorkerId},
        outcome::Cause,
        time::Timestamp,
    },
};

/// What a halt knows a lease by, beside its agent.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Halting {
    /// The owner of its task.
    pub(in crate::runtime) owner: AgentName,
    /// The marks of its task's labels.
    pub(in crate::runtime) marks: Box<[u64]>,
}

/// Turns that a halted label keeps from the matching.
#[derive(Debug, Default)]
pub(super) struct KeptBack(BTreeMap<TurnKey, Offer>);

impl KeptBack {
    /// The offer, unless a label halts its task: then it is kept here.
    pub(super) fn unless_halted(&mut self, offer: Offer, halted: &HaltSet) -> Option<Offer> {
        if !halted.stops_marks(&offer.marks) {
            return Some(offer);
        }
        self.0.insert(offer.key, offer);
        None
    }

    pub(super) fn withdraw(&mut self, key: TurnKey) {
        self.0.remove(&key);
    }

    pub(super) fn withdraw_task(&mut self, task: TaskId) {
        let (from, to) = (TurnKey { task, turn: 0 }, TurnKey { task, turn: u32::MAX });
        let keys: Vec<TurnKey> = self.0.range(from..=to).map(|(key, _)| *key).collect();
        for key in keys {
            self.0.remove(&key);
        }
    }

    pub(super) fn waiting_for(&self, agent: &AgentName) -> usize {
        self.0.values().filter(|offer| offer.agent == *agent).count()
    }

    /// Why a turn is kept here; `None` where it is not.
    pub(super) fn why(&self, key: TurnKey, halted: &HaltSet) -> Option<Waits> {
        let offer = self.0.get(&key)?;
        let detail = halted.of_marks(&offer.marks).map(|halt| halt.to_string()).unwrap_or_default();
        Some(Waits { reason: WaitReason::Halted, detail, until: None })
    }

    /// Those that nothing halts any more.
    fn free(&mut self, halted: &HaltSet) -> Vec<Offer> {
        let free = self.0.extract_if(.., |_, offer| !halted.stops_marks(&offer.marks));
        free.map(|(_, offer)| offer).collect()
    }
}

impl State {
    /// The offer, unless a label halts its task.
    pub(super) fn unless_kept_back(&mut self, offer: Offer) -> Option<Offer> {
        self.kept_back.unless_halted(offer, self.matching.halted())
    }
}

impl Dispatch {
    /// From now on this is what is halted: nothing of it is assigned, and what was lifted is.
    pub(in crate::runtime) fn set_halted(&self, halted: Arc<HaltSet>, now: Timestamp) {
        let mut state = self.state();
        state.matching.set_halted(Arc::clone(&halted));
        for offer in state.matching.take_out_halted() {
            state.kept_back.0.insert(offer.key, offer);
        }
        let mut slots: Vec<Slot> = Vec::new();
        for offer in state.kept_back.free(&halted) {
            slots.extend(state.matching.offer(offer, now));
        }
        slots.extend(state.matching.serve_all(now));
        let slots = state.note_pending(slots);
        self.settle(state);
        self.nudge.notify_one();
        self.route_slots(slots);
    }

    /// Tells every attempt of the tasks under the halt to stop, as far as they can be known by their leases: by agent, owner
    /// and label. `expect` hears which leases it will be, before the first is told. Returns them.
    pub(in crate::runtime) fn brake(
        &self,
        scope: &HaltScope,
        reason: &str,
        now: Timestamp,
        expect: impl FnOnce(&[Lease]),
    ) -> Vec<Lease> {
        let mut state = self.state();
        let leases = &state.workers.leases;
        let under = leases.iter().filter(|(_, held)| held.is_under(scope)).map(|(lease, _)| lease.task);
        let tasks: BTreeSet<TaskId> = under.collect();
        let of_them =
            leases.iter().filter(|(lease, held)| held.delivered && !held.told && tasks.contains(&lease.task));
        let told: BTreeMap<Lease, (WorkerId, Option<SessionId>)> =
            of_them.map(|(lease, held)| (*lease, (held.permit.worker.clone(), held.session))).collect();
        let told: Vec<_> = told.into_iter().collect();
        let leases: Vec<Lease> = told.iter().map(|(lease, _)| *lease).collect();
        expect(&leases);
        let mut deaf = BTreeSet::new();
        for (lease, (worker, session)) in told {
            if let Some(held) = state.workers.leases.get_mut(&lease) {
                held.told = true;
            }
            let Some(session) = session.and_then(|id| state.workers.session(&worker, id)) else { continue };
            let cancel = Down::Cancel { lease, reason: reason.to_owned(), cause: Some(Cause::Halted) };
            if session.down.try_send(cancel).is_err() {
                deaf.insert((worker, session.id));
            }
        }
        for (worker, session) in deaf {
            self.cut_off(&mut state, &worker, session, now);
        }
        self.settle(state);
        leases
    }

    /// Whether the labels of the lease's task, or of those above it, are halted.
    pub(in crate::runtime) fn label_halts(&self, lease: &Lease, halted: &HaltSet) -> bool {
        self.state().workers.leases.get(lease).is_some_and(|held| halted.stops_marks(&held.halting.marks))
    }

    /// Comes true when all that the shards have decided by now is durable, or has failed.
    pub(in crate::runtime) async fn settled(&self) {
        let mut barriers = Vec::new();
        for shard in 0..self.shards.len() {
            let (passed, is_passed) = oneshot::channel();
            self.route([Order::Barrier(u16::try_from(shard).unwrap_or(u16::MAX), passed)]);
            barriers.push(is_passed);
        }
        for barrier in barriers {
            // A shard that is gone has nothing under way.
            let _ = barrier.await;
        }
    }
}

impl Held {
    fn is_under(&self, scope: &HaltScope) -> bool {
        match scope {
            HaltScope::All => true,
            HaltScope::Agent(agent) => self.permit.agent == *agent || self.halting.owner == *agent,
            HaltScope::Label { key, value } => self.halting.marks.contains(&label_mark(key, value)),
        }
    }
}
