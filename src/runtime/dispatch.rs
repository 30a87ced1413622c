//! The dispatcher: one owner of sessions, credit, ready turns and the list of live leases. It hands slots to the shards,
//! which commit them or give them back.
//!
//! A lock guards it, and nothing under the lock waits, reads a store or decides about a task: a shard that has staged a
//! ready turn gets its slot in the same breath, and one commit serves both. Never here: anything durable; a worker that
//! does not read is cut off, it never holds a shard up.

mod matching;
mod queue;
mod session;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

pub(super) use matching::{Offer, Slot};
pub(super) use queue::TurnKey;

use super::{AgentInfo, Down, SessionError, SessionId, WorkerInfo, registry::Registry};
use crate::{
    engine::{
        command::{Assignment, LiveLease},
        event::AttemptEnd,
    },
    store::record::AgentRow,
    types::{
        ids::{AgentName, Lease, TaskId, WorkerId},
        outcome::Cause,
        payload::Payload,
        time::{Span, Timestamp},
    },
};
use matching::Matching;
use session::{Held, Session, Workers};

/// Messages that may wait for a worker beside its assignments.
const SPARE_DOWN: usize = 64;

/// What the dispatcher wants of a shard.
#[derive(Debug)]
pub(super) enum Order {
    /// Lease this turn to this worker.
    Assign(Slot),
    /// End this lease.
    End(Ending),
}

/// A lease to be ended, and why.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    pub(super) lease: Lease,
    pub(super) end: AttemptEnd,
    pub(super) reason: String,
}

impl Order {
    const fn task(&self) -> TaskId {
        match self {
            Self::Assign(slot) => slot.key.task,
            Self::End(ending) => ending.lease.task,
        }
    }
}

/// A session about to begin. Its agents are durable already.
pub(super) struct Arrival {
    pub(super) worker: WorkerId,
    pub(super) session: SessionId,
    pub(super) agents: Vec<AgentName>,
    pub(super) max_concurrency: u32,
    pub(super) labels: std::collections::BTreeMap<String, String>,
    pub(super) held: Vec<Lease>,
}

/// See the file's header.
pub(super) struct Dispatch {
    state: Mutex<State>,
    registry: std::sync::Arc<Registry>,
    shards: Vec<mpsc::UnboundedSender<Order>>,
    lease_time: Span,
    nudge: Notify,
}

#[derive(Debug, Default)]
struct State {
    matching: Matching,
    workers: Workers,
    stopped: bool,
    /// When the keeper means to look next.
    next_look: Option<Timestamp>,
}

impl Dispatch {
    /// A dispatcher that sends its orders to these shards. The channels hold at most one order for each slot and each
    /// lease, and those are bounded by what workers take at once.
    pub(super) fn new(
        registry: std::sync::Arc<Registry>,
        shards: Vec<mpsc::UnboundedSender<Order>>,
        lease_time: Span,
    ) -> Self {
        Self { state: Mutex::default(), registry, shards, lease_time, nudge: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change under this lock is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends orders to their shards. A shard that is gone takes no orders: the server is stopping.
    fn route(&self, orders: impl IntoIterator<Item = Order>) {
        for order in orders {
            if let Some(shard) = self.shards.get(usize::from(order.task().shard())) {
                let _ = shard.send(order);
            }
        }
    }

    fn route_slots(&self, slots: Vec<Slot>) {
        self.route(slots.into_iter().map(Order::Assign));
    }

    /// Sends what is for other shards, and gives back what is for `shard` itself.
    fn keep_own(&self, shard: u16, orders: Vec<Order>) -> Vec<Order> {
        let (own, others): (Vec<_>, Vec<_>) =
            orders.into_iter().partition(|order| order.task().shard() == shard);
        self.route(others);
        own
    }
}

/// What shards say.
impl Dispatch {
    /// A turn is ready. Returns orders for the same shard, to be served at once.
    pub(super) fn offer(&self, offer: Offer, now: Timestamp) -> Vec<Order> {
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
    pub(super) fn withdraw(&self, key: TurnKey) {
        self.state().matching.withdraw(key);
    }

    /// Every turn of the task is taken back: its staged state is void.
    pub(super) fn withdraw_task(&self, task: TaskId) {
        self.state().matching.withdraw_task(task);
    }

    /// The slot's lease is staged.
    pub(super) fn leased(&self, slot: Slot, lease: Lease, schema: Option<Payload>) {
        let Slot { key: _, agent, worker, session, earmarked } = slot;
        let held = Held { worker, agent, schema, session: Some(session), delivered: false, earmarked };
        let mut state = self.state();
        if let Some(worker) = state.workers.by_id.get_mut(&held.worker) {
            worker.pending = worker.pending.saturating_sub(1);
        }
        state.workers.add_lease(lease, held);
    }

    /// The slot was not used.
    pub(super) fn unused(&self, slot: Slot) {
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
    pub(super) fn unlease(&self, lease: &Lease) {
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(lease) else { return };
        let slots = state.undelivered(&held);
        drop(state);
        self.route_slots(slots);
    }

    /// The lease is durable: its work goes to the worker. If that cannot be, the lease is ended at once.
    pub(super) fn deliver(&self, assignment: Box<Assignment>) {
        let lease = assignment.lease;
        let mut state = self.state();
        // Ended before the worker ever heard of it: nothing to say.
        let Some(held) = state.workers.leases.get_mut(&lease) else { return };
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
        self.route([Order::End(Ending { lease, end: AttemptEnd::Released, reason })]);
    }

    /// The lease's attempt has ended: the worker has room again. Harmless for a lease that is gone. Returns orders for the
    /// same shard, to be served at once.
    pub(super) fn closed(&self, lease: &Lease) -> Vec<Order> {
        let mut state = self.state();
        let Some(held) = state.workers.remove_lease(lease) else { return Vec::new() };
        let slots = state.matching_release(&held.worker);
        state.workers.forget_if_idle(&held.worker);
        drop(state);
        self.keep_own(lease.task.shard(), slots.into_iter().map(Order::Assign).collect())
    }

    /// The lease is revoked: its worker is told to stop. Says whether somebody was told, and returns orders for the same
    /// shard.
    pub(super) fn revoked(&self, lease: Lease, reason: String, cause: Option<Cause>) -> (bool, Vec<Order>) {
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
        let told = session.map(|s| (s.id, s.down.try_send(Down::Cancel { lease, reason, cause }).is_ok()));
        if let Some((session, false)) = told {
            self.cut_off(&mut state, &held.worker, session);
        }
        let slots = state.matching_release(&held.worker);
        state.workers.forget_if_idle(&held.worker);
        drop(state);
        (told.is_some_and(|(_, sent)| sent), own(slots))
    }

    /// A lease that the journal says is live; one lease period from now on. Harmless for a lease that is known.
    pub(super) fn restore(&self, live: LiveLease, now: Timestamp) {
        let LiveLease { lease, worker, agent, attempt: _, schema } = live;
        let mut state = self.state();
        let entry = state.workers.entry(&worker, now, now.plus(self.lease_time));
        let session = entry.session.as_ref().map(|session| session.id);
        let held = Held { worker: worker.clone(), agent, schema, session, delivered: true, earmarked: false };
        if state.workers.add_lease(lease, held) {
            state.matching.hold(&worker);
        }
        drop(state);
        self.nudge.notify_one();
    }

    /// The schema that an answer under the lease must fit, as far as it is known here.
    pub(super) fn schema_of(&self, lease: &Lease) -> Option<Payload> {
        self.state().workers.leases.get(lease)?.schema.clone()
    }
}

/// What sessions say.
impl Dispatch {
    /// Sessions that are open.
    pub(super) fn sessions(&self) -> usize {
        self.state().workers.by_session.len()
    }

    /// Opens a session, ending the worker's earlier one. Returns which of the leases it says it holds are live; those it
    /// does not hold are ended.
    pub(super) fn open(&self, arrival: Arrival, now: Timestamp) -> (Vec<Lease>, mpsc::Receiver<Down>) {
        let Arrival { worker, session, agents, max_concurrency, labels, held } = arrival;
        let capacity = (max_concurrency as usize).saturating_mul(2).saturating_add(SPARE_DOWN);
        let (down, receiver) = mpsc::channel(capacity);
        let mut state = self.state();
        self.end_session(&mut state, &worker);
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
        state.matching.join(&worker, session, &agents, max_concurrency, counted);
        self.registry.served(&agents);
        drop(state);
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
        drop(state);
        self.route_slots(slots);
        Ok(())
    }

    /// More assignments are welcome.
    pub(super) fn credit(
        &self,
        session: SessionId,
        slots: u32,
        agent: Option<&AgentName>,
        now: Timestamp,
    ) -> Result<(), SessionError> {
        self.with_session(session, now, |state, worker| {
            let slots = state.matching.credit(worker, slots, agent);
            state.note_pending(slots)
        })
    }

    /// The worker has been heard.
    pub(super) fn heartbeat(&self, session: SessionId, now: Timestamp) -> Result<(), SessionError> {
        self.with_session(session, now, |_, _| Vec::new())
    }

    /// The worker that holds the lease has been heard, by whatever way.
    pub(super) fn heard_under(&self, lease: &Lease, now: Timestamp) {
        let mut state = self.state();
        if let Some(worker) = state.workers.leases.get(lease).map(|held| held.worker.clone()) {
            state.hear(&worker, now, self.lease_time);
        }
    }

    /// The worker wants nothing new.
    pub(super) fn drain(&self, session: SessionId, now: Timestamp) -> Result<(), SessionError> {
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
    pub(super) fn close(&self, session: SessionId) {
        let mut state = self.state();
        let Some(worker) = state.workers.by_session.get(&session).cloned() else { return };
        self.end_session(&mut state, &worker);
        state.workers.forget_if_idle(&worker);
    }

    /// Ends a session whose worker does not read.
    fn cut_off(&self, state: &mut State, worker: &WorkerId, session: SessionId) {
        if state.workers.session(worker, session).is_some() {
            tracing::warn!(%worker, "a worker does not read what it is sent: its session is closed");
            self.end_session(state, worker);
        }
    }

    fn end_session(&self, state: &mut State, worker: &WorkerId) {
        state.matching.leave(worker);
        if let Some(session) = state.workers.end_session(worker)
            && !session.draining
        {
            self.registry.no_longer_served(&session.agents);
        }
    }
}

/// What time and the operator say.
impl Dispatch {
    /// Assigns nothing from now on, and tells every session.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.matching.stop();
        for session in state.workers.by_id.values().filter_map(|worker| worker.session.as_ref()) {
            // One that does not read will see the end of its channel.
            let _ = session.down.try_send(Down::Drain);
        }
    }

    /// Ends every session: their streams see the end of their channels.
    pub(super) fn close_all(&self) {
        let mut state = self.state();
        let workers: Vec<WorkerId> = state.workers.by_session.values().cloned().collect();
        for worker in workers {
            self.end_session(&mut state, &worker);
        }
    }

    /// Waits until somebody should look earlier than `look` last said.
    pub(super) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Does what is due: offers turns whose time has come, and ends the leases of workers that have been silent. Returns when
    /// to look next. Looking too early is harmless.
    pub(super) fn look(&self, now: Timestamp) -> Option<Timestamp> {
        let mut state = self.state();
        let slots = state.matching.due(now);
        let slots = state.note_pending(slots);
        let mut orders: Vec<Order> = slots.into_iter().map(Order::Assign).collect();
        let silent: Vec<WorkerId> = state
            .workers
            .by_id
            .iter()
            .filter(|(_, worker)| worker.expires <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for worker in silent {
            orders.extend(self.lapse(&mut state, &worker, now));
        }
        let lapses = state.workers.by_id.values().map(|worker| worker.expires).min();
        let next = lapses.into_iter().chain(state.matching.next_due()).min();
        state.next_look = next;
        drop(state);
        self.route(orders);
        next
    }

    /// The worker is taken for lost. Its leases are ended by their tasks' shards; should one not manage, this comes again.
    fn lapse(&self, state: &mut State, id: &WorkerId, now: Timestamp) -> Vec<Order> {
        self.end_session(state, id);
        let Some(worker) = state.workers.by_id.get_mut(id) else { return Vec::new() };
        let reason = format!("worker {id} was not heard of for {}", now.since(worker.last_heard));
        worker.expires = now.plus(self.lease_time);
        let end = |lease: &Lease| {
            Order::End(Ending { lease: *lease, end: AttemptEnd::LeaseExpired, reason: reason.clone() })
        };
        let orders = worker.leases.iter().map(end).collect();
        state.workers.forget_if_idle(id);
        orders
    }

    /// Every agent ever seen.
    pub(super) fn agents(&self, rows: Vec<AgentRow>) -> Vec<AgentInfo> {
        let state = self.state();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let info = |row: AgentRow| {
            let serves = |session: &&Session| session.agents.contains(&row.name);
            let sessions = state.workers.by_id.values().filter_map(|worker| worker.session.as_ref());
            let leased = state.workers.leases.values().filter(|held| held.agent == row.name).count();
            AgentInfo {
                workers: count(sessions.filter(serves).count()),
                waiting: count(state.matching.waiting_for(&row.name)),
                leased: count(leased),
                row,
            }
        };
        rows.into_iter().map(info).collect()
    }

    /// Every worker with a session, by id.
    pub(super) fn workers(&self) -> Vec<WorkerInfo> {
        let state = self.state();
        let info = |(id, worker): (&WorkerId, &session::Worker)| {
            let session = worker.session.as_ref()?;
            Some(WorkerInfo {
                id: id.clone(),
                agents: session.agents.clone(),
                max_concurrency: session.max_concurrency,
                credit: state.matching.credit_of(id),
                leased: u32::try_from(worker.leases.len()).unwrap_or(u32::MAX),
                labels: session.labels.clone(),
                connected_at: session.connected_at,
                last_heard_at: worker.last_heard,
                draining: session.draining || state.stopped,
            })
        };
        let mut workers: Vec<WorkerInfo> = state.workers.by_id.iter().filter_map(info).collect();
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        workers
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
