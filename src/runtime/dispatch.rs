//! The dispatcher: one owner of sessions, credit, ready turns and the list of live leases. It hands slots to the shards,
//! which commit them or give them back.
//!
//! A lock guards it, and nothing under the lock waits, reads a store or decides about a task: a shard that has staged a
//! ready turn gets its slot in the same breath, and one commit serves both. Never here: anything durable; a worker that
//! does not read is cut off, it never holds a shard up.

mod from_sessions;
mod from_shards;
mod halted;
mod matching;
mod over_time;
mod queue;
mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};

pub(super) use from_sessions::Arrival;
pub(super) use halted::Halting;
pub(super) use matching::{Offer, Slot};
pub(super) use queue::TurnKey;

use super::{SessionId, registry::Registry};
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

/// What the dispatcher wants of a shard.
#[derive(Debug)]
pub(super) enum Order {
    /// Lease this turn to this worker.
    Assign(Slot),
    /// End this lease.
    End(Ending),
    /// Say when all that this shard has decided by now is durable.
    Barrier(u16, oneshot::Sender<()>),
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
}

#[derive(Debug, Default)]
struct State {
    matching: Matching,
    workers: Workers,
    /// Turns of tasks that a label halts: kept from the matching until it is lifted.
    kept_back: KeptBack,
    stopped: bool,
    /// When the keeper means to look next.
    next_look: Option<Timestamp>,
}

impl Dispatch {
    /// A dispatcher that sends its orders to these shards. The channels hold at most one order for each slot and each
    /// lease, and those are bounded by what workers take at once.
    pub(super) fn new(
        registry: Arc<Registry>,
        shards: Vec<mpsc::UnboundedSender<Order>>,
        lease_time: Span,
        halted: Arc<HaltSet>,
    ) -> Self {
        let mut state = State::default();
        // Nobody has offered or asked for anything yet.
        state.matching.set_halted(halted);
        Self { state: Mutex::new(state), registry, shards, lease_time, nudge: Notify::new() }
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

    fn matching_offer(&mut self, offer: Offer, now: Timestamp) -> Vec<Slot> {
        let Some(offer) = self.kept_back.unless_halted(offer, self.matching.halted()) else {
            return Vec::new();
        };
        let slots = self.matching.offer(offer, now);
        self.note_pending(slots)
    }

    fn matching_release(&mut self, worker: &WorkerId) -> Vec<Slot> {
        let slots = self.matching.release(worker);
        self.note_pending(slots)
    }

    fn give_back(&mut self, worker: &WorkerId, session: SessionId, mark: Option<&AgentName>) -> Vec<Slot> {
        let slots = self.matching.give_back(worker, session, mark);
        self.note_pending(slots)
    }

    /// A lease that was taken away before its worker heard of it: the credit it used is the worker's again.
    fn undelivered(&mut self, held: &Held) -> Vec<Slot> {
        let mark = held.earmarked.then_some(&held.agent);
        let slots = match held.session {
            Some(session) => self.give_back(&held.worker, session, mark),
            None => self.matching_release(&held.worker),
        };
        self.workers.forget_if_idle(&held.worker);
        slots
    }
}
