//! The dispatcher: one owner of sessions, credit, ready turns and the list of live leases. It hands slots to the shards,
//! which commit them or give them back.
//!
//! A lock guards it, and nothing under the lock waits, reads a store or decides about a task: a shard that has staged a
//! ready turn gets its slot in the same breath, and one commit serves both. Never here: anything durable; a worker that
//! does not read is cut off, it never holds a shard up.

mod breaker;
mod breakers;
mod bulkhead;
mod circuits;
mod from_sessions;
mod from_shards;
mod halted;
mod loss;
mod matching;
mod over_time;
mod queue;
mod session;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, mpsc, oneshot};

pub use breaker::{BreakerInfo, BreakerState, BreakerTerms};
pub use breakers::Breaking;
pub use matching::{Bulkheads, WaitReason, Waits};

pub(super) use breaker::Verdict;
pub(super) use circuits::Revoked;
pub(super) use from_sessions::Arrival;
pub(super) use from_shards::FoundLease;
pub(super) use halted::Halting;
pub(super) use matching::{Offer, Slot};
pub(super) use queue::TurnKey;

use super::registry::Registry;
use crate::{
    engine::event::AttemptEnd,
    types::{
        halt::HaltSet,
        ids::{AgentName, Lease, WorkerId},
        time::{Span, Timestamp},
    },
};
use halted::KeptBack;
use matching::Matching;
use session::{Held, Workers};

/// What dispatch is started with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Terms {
    pub(super) lease_time: Span,
    pub(super) breaking: Breaking,
    pub(super) bulkheads: Bulkheads,
    /// Whether a late look means that the server stood still.
    pub(super) forgives_absence: bool,
    /// The halts in force.
    pub(super) halted: Arc<HaltSet>,
}

/// What the dispatcher wants of a shard.
#[derive(Debug)]
pub(super) enum Order {
    /// Lease this turn to this worker.
    Assign(Slot),
    /// End this lease.
    End(Ending),
    /// Say when all that this shard has decided by now is durable.
    Barrier(u16, oneshot::Sender<()>),
    /// The turn waits because its agent's circuit is open.
    HoldUp(HeldUp),
}

/// A turn that waits for an agent whose circuit is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeldUp {
    pub(super) key: TurnKey,
    /// In a sentence.
    pub(super) reason: String,
}

/// A lease to be ended, and why.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) lease: Lease,
    pub(super) end: AttemptEnd,
    pub(super) reason: String,
}

impl Order {
    fn shard(&self) -> u16 {
        match self {
            Self::Assign(slot) => slot.key.task.shard(),
            Self::End(ending) => ending.lease.task.shard(),
            Self::HoldUp(held_up) => held_up.key.task.shard(),
            Self::Barrier(shard, _) => *shard,
        }
    }
}

/// See the file's header.
pub(super) struct Dispatch {
    state: Mutex<State>,
    registry: Arc<Registry>,
    shards: Vec<mpsc::UnboundedSender<Order>>,
    lease_time: Span,
    nudge: Notify,
    /// Whether a late look means that the server stood still.
    forgives_absence: bool,
}

#[derive(Debug, Default)]
struct State {
    matching: Matching,
    workers: Workers,
    /// Turns of tasks that a label halts: kept from the matching until it is lifted.
    kept_back: KeptBack,
    stopped: bool,
    /// Agents whose circuit has opened: up to where the turns that wait for them have been told.
    telling: BTreeMap<AgentName, TurnKey>,
    /// When the keeper means to look next.
    next_look: Option<Timestamp>,
}

impl Dispatch {
    /// A dispatcher that sends its orders to these shards. The channels hold at most one order for each slot and each
    /// lease, and those are bounded by what workers take at once; and one for each turn that an open circuit keeps waiting.
    pub(super) fn new(
        registry: Arc<Registry>,
        shards: Vec<mpsc::UnboundedSender<Order>>,
        terms: Terms,
    ) -> Self {
        let Terms { lease_time, breaking, bulkheads, forgives_absence, halted } = terms;
        let mut matching = Matching::new(breaking, bulkheads);
        // Nobody has offered or asked for anything yet.
        matching.set_halted(halted);
        let state = State { matching, ..State::default() };
        let (state, nudge) = (Mutex::new(state), Notify::new());
        Self { state, registry, shards, lease_time, nudge, forgives_absence }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends orders to their shards. A shard that is gone takes no orders: the server is stopping.
    fn route(&self, orders: impl IntoIterator<Item = Order>) {
        for order in orders {
            if let Some(shard) = self.shards.get(usize::from(order.shard())) {
                let _ = shard.send(order);
            }
        }
    }

    fn route_slots(&self, slots: Vec<Slot>) {
        self.route(slots.into_iter().map(Order::Assign));
    }

    /// Sends what is for other shards, and gives back what is for `shard` itself.
    fn keep_own(&self, shard: u16, orders: Vec<Order>) -> Vec<Order> {
        let (own, others): (Vec<_>, Vec<_>) = orders.into_iter().partition(|order| order.shard() == shard);
        self.route(others);
        own
    }
}

impl State {
    fn hear(&mut self, worker: &WorkerId, now: Timestamp, lease_time: Span) {
        if let Some(worker) = self.workers.by_id.get_mut(worker) {
            worker.last_heard = now;
            worker.expires = now.plus(lease_time);
        }
    }

    /// Counts slots that are on their way to a shard.
    fn note_pending(&mut self, slots: Vec<Slot>) -> Vec<Slot> {
        for slot in &slots {
            if let Some(worker) = self.workers.by_id.get_mut(&slot.worker) {
                worker.pending += 1;
            }
        }
        slots
    }

    /// A lease has ended: what it took up is free.
    fn release(&mut self, held: Held, verdict: Verdict, now: Timestamp) -> Vec<Slot> {
        let worker = held.permit.worker.clone();
        let slots = self.matching.release(held.permit, verdict, now);
        self.workers.forget_if_idle(&worker);
        self.note_pending(slots)
    }

    /// A lease that was taken away before its worker heard of it: the credit it used is the worker's again.
    fn undelivered(&mut self, held: Held, now: Timestamp) -> Vec<Slot> {
        let worker = held.permit.worker.clone();
        let slots = match held.session {
            Some(session) => self.matching.give_back(held.permit, session, held.earmarked, now),
            None => self.matching.release(held.permit, Verdict::Nothing, now),
        };
        self.workers.forget_if_idle(&worker);
        self.note_pending(slots)
    }
}
