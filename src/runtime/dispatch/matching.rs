//! Matching: which ready turn goes to which worker. Pure: no clock, no channel, no lock.
//!
//! After every call nothing more can be matched: a turn that waits has no worker with credit, or a breaker or a bulkhead is in
//! its way, and none of them keeps a turn behind it waiting that they do not concern. Never here: more attempts than a worker,
//! an agent's or a namespace's bulkhead takes at once (decide turns bypass bulkheads), or an assignment that was not asked for.
//!
//! What a call costs hangs on the agents that it concerns and on the logarithm of what waits, never on how much waits.

mod give;
mod halted;
mod seats;
mod why;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    breaker::Verdict,
    breakers::{Breakers, Breaking, Change, Probes, Whose},
    bulkhead::Bulkhead,
    queue::{DECIDES, Place, ReadyQueue, TurnKey},
};
use crate::{
    runtime::SessionId,
    types::{
        halt::HaltSet,
        ids::{AgentName, Namespace, TaskId, WorkerId},
        name_limits::NameLimits,
        time::Timestamp,
    },
};
use seats::Seats;
pub(super) use why::story;
pub use why::{WaitReason, Waits};

/// A turn that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) struct Offer {
    pub(in crate::runtime) key: TurnKey,
    pub(in crate::runtime) agent: AgentName,
    pub(in crate::runtime) namespace: Namespace,
    pub(in crate::runtime) priority: u8,
    /// Whether it is the owner's decision: it bypasses bulkheads, and goes first.
    pub(in crate::runtime) decides: bool,
    pub(in crate::runtime) not_before: Timestamp,
    /// The marks of the task's labels: what a halt of a label knows it by.
    pub(in crate::runtime) marks: Box<[u64]>,
}

/// A worker's place for one attempt, promised to one turn. The shard either commits it or gives it back.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runtime) struct Slot {
    pub(in crate::runtime) key: TurnKey,
    pub(in crate::runtime) worker: WorkerId,
    pub(super) session: SessionId,
    /// Whether it used credit that was given for this agent alone.
    pub(super) earmarked: bool,
    pub(super) permit: Permit,
}

/// What an attempt takes up, from its slot to its end. Given back exactly once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Permit {
    pub(super) agent: AgentName,
    pub(super) worker: WorkerId,
    pub(super) namespace: Namespace,
    probes: Probes,
    /// Whether the breakers know how it ended.
    judged: bool,
}

#[derive(Debug)]
struct Waiting {
    agent: AgentName,
    namespace: Namespace,
    /// `DECIDES` for decide turns.
    priority: u8,
    /// `None` while its time has not come.
    age: Option<u64>,
    not_before: Timestamp,
    marks: Box<[u64]>,
    /// Whether its task was told that the agent's breaker keeps it waiting.
    told: bool,
}

/// The bulkheads: attempts at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bulkheads {
    /// Of each agent.
    pub agents: NameLimits,
    /// Of each namespace.
    pub namespaces: NameLimits,
}

/// Ready turns on one side, workers with credit on the other.
#[derive(Debug, Default)]
pub(super) struct Matching {
    seats: Seats,
    turns: BTreeMap<TurnKey, Waiting>,
    queues: BTreeMap<AgentName, ReadyQueue>,
    /// Turns that wait, by agent, those whose time has not come included.
    waiting: BTreeMap<AgentName, usize>,
    delayed: BTreeSet<(Timestamp, TurnKey)>,
    breakers: Breakers,
    agents: Bulkhead<AgentName>,
    namespaces: Bulkhead<Namespace>,
    /// By namespace that is or was full: the agents in whose queues it is parked.
    parked: BTreeMap<Namespace, BTreeSet<AgentName>>,
    counter: u64,
    stopped: bool,
    halted: Arc<HaltSet>,
    /// How often a queue was looked at: what a match costs must not grow with what waits.
    #[cfg(test)]
    looks: u64,
}

impl Slot {
    /// The agent whose turn it is.
    pub(in crate::runtime) const fn agent(&self) -> &AgentName {
        &self.permit.agent
    }
}

impl Matching {
    pub(super) fn new(breaking: Breaking, bulkheads: Bulkheads) -> Self {
        let Bulkheads { agents, namespaces } = bulkheads;
        Self {
            breakers: Breakers::new(breaking),
            agents: Bulkhead::new(agents),
            namespaces: Bulkhead::new(namespaces),
            ..Self::default()
        }
    }

    /// Matches nothing from now on.
    pub(super) const fn stop(&mut self) {
        self.stopped = true;
    }

    /// A worker takes its seat, without credit, holding `held` attempts already.
    pub(super) fn join(
        &mut self,
        worker: &WorkerId,
        session: SessionId,
        agents: &[AgentName],
        max: u32,
        held: u32,
        now: Timestamp,
    ) {
        self.leave(worker, now);
        self.seats.join(worker, session, agents, max, held);
    }

    /// A worker leaves its seat; its credit is gone.
    pub(super) fn leave(&mut self, worker: &WorkerId, now: Timestamp) {
        let agents = self.seats.leave(worker);
        self.open_where_nobody_is_left(&agents, now);
    }

    /// A worker wants nothing new.
    pub(super) fn drain(&mut self, worker: &WorkerId) {
        self.seats.drain(worker);
        self.relist(worker);
    }

    /// A worker asks for more. What is beyond its concurrency is forgotten; attempts that run do not count here, since
    /// their end may still be on its way when the credit that follows it has arrived.
    pub(super) fn credit(
        &mut self,
        worker: &WorkerId,
        slots: u32,
        agent: Option<&AgentName>,
        now: Timestamp,
    ) -> Vec<Slot> {
        self.seats.credit(worker, slots, agent);
        self.relist(worker);
        let agents = self.seats.agents_of(worker).to_vec();
        self.serve(agents, now)
    }

    /// An attempt has ended.
    pub(super) fn release(&mut self, mut permit: Permit, verdict: Verdict, now: Timestamp) -> Vec<Slot> {
        self.judge(&mut permit, verdict, now);
        self.seats.release(&permit.worker);
        self.vacate(permit, now)
    }

    /// A slot was not used, or its attempt was taken away before the worker heard of it: the worker has its credit again, if
    /// it is still the same session.
    pub(super) fn give_back(
        &mut self,
        mut permit: Permit,
        session: SessionId,
        earmarked: bool,
        now: Timestamp,
    ) -> Vec<Slot> {
        self.judge(&mut permit, Verdict::Nothing, now);
        self.seats.give_back(&permit.worker, session, earmarked.then_some(&permit.agent));
        self.vacate(permit, now)
    }

    /// How an attempt ended, or is bound to end: told to the breakers once, whatever is said later.
    pub(super) fn judge(&mut self, permit: &mut Permit, verdict: Verdict, now: Timestamp) {
        if std::mem::replace(&mut permit.judged, true) {
            return;
        }
        let Permit { agent, worker, probes, .. } = &*permit;
        let changed = {
            let others = self.seats.serving(agent).filter(|other| *other != worker);
            self.breakers.end(agent, worker, *probes, verdict, others, now)
        };
        if !changed {
            return;
        }
        self.relist(worker);
        if self.breakers.worker_open_until(worker).is_some() {
            let agents = self.seats.agents_of(worker).to_vec();
            self.open_where_nobody_is_left(&agents, now);
        }
    }

    /// What an attempt took up is free again.
    fn vacate(&mut self, permit: Permit, now: Timestamp) -> Vec<Slot> {
        let Permit { agent, worker, namespace, .. } = permit;
        self.relist(&worker);
        self.agents.give(&agent);
        self.namespaces.give(&namespace);
        if self.queues.is_empty() {
            self.parked.clear();
            return Vec::new();
        }
        let mut agents = self.seats.agents_of(&worker).to_vec();
        agents.push(agent);
        if !self.namespaces.is_full(&namespace)
            && let Some(parked) = self.parked.remove(&namespace)
        {
            for agent in parked {
                if let Some(queue) = self.queues.get_mut(&agent) {
                    queue.unpark(&namespace);
                    agents.push(agent);
                }
            }
        }
        self.serve(agents, now)
    }

    /// An attempt that was found again in the journal: it runs, and takes up what it takes up.
    pub(super) fn hold(&mut self, worker: &WorkerId, agent: AgentName, namespace: Namespace) -> Permit {
        self.seats.hold(worker);
        self.relist(worker);
        self.agents.take(&agent);
        self.namespaces.take(&namespace);
        Permit { agent, worker: worker.clone(), namespace, probes: Probes::default(), judged: false }
    }

    /// A turn is ready from its `not_before` on. A turn that waits already keeps its place.
    pub(super) fn offer(&mut self, offer: Offer, now: Timestamp) -> Vec<Slot> {
        let Offer { key, agent, namespace, priority, decides, not_before, marks } = offer;
        if self.turns.contains_key(&key) {
            return Vec::new();
        }
        if not_before <= now
            && let Some(slot) = self.at_once(key, &agent, &namespace, decides, now)
        {
            return vec![slot];
        }
        let priority = if decides { DECIDES } else { priority };
        *self.waiting.entry(agent.clone()).or_default() += 1;
        let (agent_name, age, told) = (agent.clone(), None, false);
        let waiting = Waiting { agent: agent_name, namespace, priority, age, not_before, marks, told };
        self.turns.insert(key, waiting);
        if not_before > now {
            self.delayed.insert((not_before, key));
            return Vec::new();
        }
        self.enqueue(key);
        self.serve(vec![agent], now)
    }

    /// Takes a turn back.
    pub(super) fn withdraw(&mut self, key: TurnKey) {
        let Some(waiting) = self.no_longer_waits(key) else { return };
        let Some(age) = waiting.age else {
            self.delayed.remove(&(waiting.not_before, key));
            return;
        };
        if let Some(queue) = self.queues.get_mut(&waiting.agent) {
            queue.remove(key, &waiting.namespace, Place { priority: waiting.priority, age });
            if queue.is_empty() {
                self.queues.remove(&waiting.agent);
            }
        }
    }

    /// Takes every turn of a task back.
    pub(super) fn withdraw_task(&mut self, task: TaskId) {
        let from = TurnKey { task, turn: 0 };
        let to = TurnKey { task, turn: u32::MAX };
        let keys: Vec<TurnKey> = self.turns.range(from..=to).map(|(key, _)| *key).collect();
        for key in keys {
            self.withdraw(key);
        }
    }

    /// Does what is due: turns whose time has come are matched, breakers let probes through.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Slot> {
        let mut agents = Vec::new();
        while let Some((at, key)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, key));
            agents.extend(self.enqueue(key));
        }
        for whose in self.breakers.tick(now) {
            match whose {
                Whose::Agent(agent) => agents.push(agent),
                Whose::Worker(worker) => {
                    self.relist(&worker);
                    agents.extend_from_slice(self.seats.agents_of(&worker));
                }
            }
        }
        self.serve(agents, now)
    }

    /// When something is due next.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(at, _)| *at).into_iter().chain(self.breakers.next_tick()).min()
    }

    /// Closes a breaker by hand, and matches what it kept waiting. `None`: it was closed.
    pub(super) fn reset(&mut self, whose: &Whose, now: Timestamp) -> Option<Vec<Slot>> {
        if !self.breakers.reset(whose) {
            return None;
        }
        let agents = match whose {
            Whose::Agent(agent) => vec![agent.clone()],
            Whose::Worker(worker) => {
                self.relist(worker);
                self.seats.agents_of(worker).to_vec()
            }
        };
        Some(self.serve(agents, now))
    }

    /// Breakers that stand elsewhere than when this was asked last.
    pub(super) fn changes(&mut self) -> Vec<Change> {
        self.breakers.changes()
    }

    /// Lists the worker anew among those with room: to be called after whatever may have changed that.
    fn relist(&mut self, worker: &WorkerId) {
        self.seats.relist(worker, self.breakers.room_of_worker(worker));
    }

    fn enqueue(&mut self, key: TurnKey) -> Option<AgentName> {
        self.counter += 1;
        let waiting = self.turns.get_mut(&key)?;
        waiting.age = Some(self.counter);
        let place = Place { priority: waiting.priority, age: self.counter };
        let queue = self.queues.entry(waiting.agent.clone()).or_insert_with(|| {
            // Whoever comes anew waits for one round.
            ReadyQueue::new(self.counter)
        });
        queue.push(key, &waiting.namespace, place);
        Some(waiting.agent.clone())
    }

    fn no_longer_waits(&mut self, key: TurnKey) -> Option<Waiting> {
        let waiting = self.turns.remove(&key)?;
        if let Some(count) = self.waiting.get_mut(&waiting.agent) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&waiting.agent);
            }
        }
        Some(waiting)
    }

    /// Opens the breaker of every agent whose workers' are all open: there is nobody to ask.
    fn open_where_nobody_is_left(&mut self, agents: &[AgentName], now: Timestamp) {
        for agent in agents {
            let until = self.seats.serving(agent).try_fold(None, |until: Option<Timestamp>, worker| {
                let open = self.breakers.worker_open_until(worker)?;
                Some(Some(until.map_or(open, |until| until.min(open))))
            });
            if let Some(Some(until)) = until {
                self.breakers.nobody_left(agent, until, now);
            }
        }
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
