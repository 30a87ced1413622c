//! Matching: which ready turn goes to which worker. Pure: no clock, no channel, no lock.
//!
//! After every call nothing more can be matched: either a turn has no worker with credit, or a worker has no turn. Never
//! here: more attempts for a worker than it takes at once, or an assignment that was not asked for.

mod halted;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::queue::{Place, ReadyQueue, TurnKey};
use crate::{
    runtime::SessionId,
    types::{
        halt::HaltSet,
        ids::{AgentName, TaskId, WorkerId},
        time::Timestamp,
    },
};

/// A turn that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) struct Offer {
    pub(in crate::runtime) key: TurnKey,
    pub(in crate::runtime) agent: AgentName,
    pub(in crate::runtime) priority: u8,
    pub(in crate::runtime) not_before: Timestamp,
    /// The marks of the task's labels: what a halt of a label knows it by.
    pub(in crate::runtime) marks: Box<[u64]>,
}

/// A worker's place for one attempt, promised to one turn. The shard either commits it or gives it back.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::runtime) struct Slot {
    pub(in crate::runtime) key: TurnKey,
    pub(in crate::runtime) agent: AgentName,
    pub(in crate::runtime) worker: WorkerId,
    pub(in crate::runtime) session: SessionId,
    /// Whether it used credit that was given for this agent alone.
    pub(super) earmarked: bool,
}

/// A worker with a session.
#[derive(Debug)]
struct Seat {
    session: SessionId,
    agents: Vec<AgentName>,
    max: u32,
    /// Attempts it has, slots on their way included.
    held: u32,
    credit: u32,
    earmarked: BTreeMap<AgentName, u32>,
    draining: bool,
    /// When it was served last, as a running number.
    served: u64,
}

impl Seat {
    fn credit_in_all(&self) -> u32 {
        self.credit + self.earmarked.values().sum::<u32>()
    }

    /// Attempts of the agent it could take now.
    fn free_for(&self, agent: &AgentName) -> u32 {
        if self.draining {
            return 0;
        }
        let credit = self.credit + self.earmarked.get(agent).copied().unwrap_or(0);
        credit.min(self.max.saturating_sub(self.held))
    }

    /// Uses one credit up, earmarked credit first; says whether it was that.
    fn spend(&mut self, agent: &AgentName) -> bool {
        self.held += 1;
        if let Some(left) = self.earmarked.get_mut(agent) {
            *left -= 1;
            if *left == 0 {
                self.earmarked.remove(agent);
            }
            return true;
        }
        self.credit -= 1;
        false
    }
}

#[derive(Debug)]
struct Waiting {
    agent: AgentName,
    priority: u8,
    /// `None` while its time has not come.
    age: Option<u64>,
    not_before: Timestamp,
    marks: Box<[u64]>,
}

/// Ready turns on one side, workers with credit on the other.
#[derive(Debug, Default)]
pub(super) struct Matching {
    seats: HashMap<WorkerId, Seat>,
    servers: HashMap<AgentName, BTreeSet<WorkerId>>,
    turns: BTreeMap<TurnKey, Waiting>,
    queues: HashMap<AgentName, ReadyQueue>,
    delayed: BTreeSet<(Timestamp, TurnKey)>,
    counter: u64,
    stopped: bool,
    halted: Arc<HaltSet>,
}

impl Matching {
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
    ) {
        self.leave(worker);
        for agent in agents {
            self.servers.entry(agent.clone()).or_default().insert(worker.clone());
        }
        let seat = Seat {
            session,
            agents: agents.to_vec(),
            max,
            held,
            credit: 0,
            earmarked: BTreeMap::new(),
            draining: false,
            served: 0,
        };
        self.seats.insert(worker.clone(), seat);
    }

    /// A worker leaves its seat; its credit is gone.
    pub(super) fn leave(&mut self, worker: &WorkerId) {
        let Some(seat) = self.seats.remove(worker) else { return };
        for agent in &seat.agents {
            if let Some(workers) = self.servers.get_mut(agent) {
                workers.remove(worker);
                if workers.is_empty() {
                    self.servers.remove(agent);
                }
            }
        }
    }

    /// A worker wants nothing new.
    pub(super) fn drain(&mut self, worker: &WorkerId) {
        if let Some(seat) = self.seats.get_mut(worker) {
            seat.draining = true;
        }
    }

    /// Credit that has not been used up.
    pub(super) fn credit_of(&self, worker: &WorkerId) -> u32 {
        self.seats.get(worker).map_or(0, Seat::credit_in_all)
    }

    /// Turns that wait for an agent, those whose time has not come included.
    pub(super) fn waiting_for(&self, agent: &AgentName) -> usize {
        let ready = self.queues.get(agent).map_or(0, ReadyQueue::len);
        let delayed = self.delayed.iter().filter_map(|(_, key)| self.turns.get(key));
        ready + delayed.filter(|waiting| waiting.agent == *agent).count()
    }

    /// A worker asks for more. What is beyond its concurrency is forgotten; attempts that run do not count here, since
    /// their end may still be on its way when the credit that follows it has arrived.
    pub(super) fn credit(&mut self, worker: &WorkerId, slots: u32, agent: Option<&AgentName>) -> Vec<Slot> {
        let Some(seat) = self.seats.get_mut(worker) else { return Vec::new() };
        let room = seat.max.saturating_sub(seat.credit_in_all());
        let slots = slots.min(room);
        match agent {
            _ if slots == 0 => {}
            Some(agent) if seat.agents.contains(agent) => {
                *seat.earmarked.entry(agent.clone()).or_default() += slots;
            }
            // Credit for an agent that the worker does not serve can never be used.
            Some(_) => {}
            None => seat.credit += slots,
        }
        self.serve_worker(worker)
    }

    /// An attempt of the worker has ended.
    pub(super) fn release(&mut self, worker: &WorkerId) -> Vec<Slot> {
        if let Some(seat) = self.seats.get_mut(worker) {
            seat.held = seat.held.saturating_sub(1);
        }
        self.serve_worker(worker)
    }

    /// A slot was not used: the worker has its credit again, if it is still the same session.
    pub(super) fn give_back(
        &mut self,
        worker: &WorkerId,
        session: SessionId,
        mark: Option<&AgentName>,
    ) -> Vec<Slot> {
        if let Some(seat) = self.seats.get_mut(worker) {
            seat.held = seat.held.saturating_sub(1);
            if seat.session == session && seat.credit_in_all() < seat.max {
                match mark {
                    Some(agent) => *seat.earmarked.entry(agent.clone()).or_default() += 1,
                    None => seat.credit += 1,
                }
            }
        }
        self.serve_worker(worker)
    }

    /// The worker has one attempt more than this knew: one that was found again in the journal.
    pub(super) fn hold(&mut self, worker: &WorkerId) {
        if let Some(seat) = self.seats.get_mut(worker) {
            seat.held += 1;
        }
    }

    /// A turn is ready from its `not_before` on. A turn that waits already keeps its place.
    pub(super) fn offer(&mut self, offer: Offer, now: Timestamp) -> Vec<Slot> {
        let Offer { key, agent, priority, not_before, marks } = offer;
        if self.turns.contains_key(&key) {
            return Vec::new();
        }
        self.turns.insert(key, Waiting { agent: agent.clone(), priority, age: None, not_before, marks });
        if not_before > now {
            self.delayed.insert((not_before, key));
            return Vec::new();
        }
        self.enqueue(key);
        self.serve_agent(&agent)
    }

    /// Takes a turn back.
    pub(super) fn withdraw(&mut self, key: TurnKey) {
        let Some(waiting) = self.turns.remove(&key) else { return };
        let Some(age) = waiting.age else {
            self.delayed.remove(&(waiting.not_before, key));
            return;
        };
        if let Some(queue) = self.queues.get_mut(&waiting.agent) {
            queue.remove(key, Place { priority: waiting.priority, age });
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

    /// Matches the turns whose time has come.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Some((at, key)) = self.delayed.first().copied().filter(|(at, _)| *at <= now) {
            self.delayed.remove(&(at, key));
            if let Some(agent) = self.enqueue(key) {
                slots.extend(self.serve_agent(&agent));
            }
        }
        slots
    }

    /// When the next turn's time comes.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(at, _)| *at)
    }

    fn enqueue(&mut self, key: TurnKey) -> Option<AgentName> {
        self.counter += 1;
        let waiting = self.turns.get_mut(&key)?;
        waiting.age = Some(self.counter);
        let place = Place { priority: waiting.priority, age: self.counter };
        self.queues.entry(waiting.agent.clone()).or_default().push(key, place);
        Some(waiting.agent.clone())
    }

    /// Gives an agent's turns to the workers that serve it, the one with the most room first.
    fn serve_agent(&mut self, agent: &AgentName) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Some(worker) = self.freest(agent) {
            match self.take(agent, &worker) {
                Some(slot) => slots.push(slot),
                None => break,
            }
        }
        slots
    }

    /// Gives a worker what it can take: the most urgent turn of any of its agents, then the oldest.
    fn serve_worker(&mut self, worker: &WorkerId) -> Vec<Slot> {
        let mut slots = Vec::new();
        while let Some(agent) = self.most_urgent(worker) {
            match self.take(&agent, worker) {
                Some(slot) => slots.push(slot),
                None => break,
            }
        }
        slots
    }

    fn most_urgent(&self, worker: &WorkerId) -> Option<AgentName> {
        let seat = self.seats.get(worker)?;
        let open = |agent: &&AgentName| seat.free_for(agent) > 0 && self.halted.of_agent(agent).is_none();
        let heads = seat.agents.iter().filter(open).filter_map(|agent| {
            let (_, place) = self.queues.get(agent)?.peek()?;
            Some((std::cmp::Reverse(place.priority), place.age, agent))
        });
        heads.min().map(|(_, _, agent)| agent.clone())
    }

    fn freest(&self, agent: &AgentName) -> Option<WorkerId> {
        if self.queues.get(agent).is_none_or(ReadyQueue::is_empty) || self.halted.of_agent(agent).is_some() {
            return None;
        }
        let seats = self.servers.get(agent)?.iter().filter_map(|worker| {
            let seat = self.seats.get(worker)?;
            let free = seat.free_for(agent);
            (free > 0).then_some((std::cmp::Reverse(free), seat.held, seat.served, worker))
        });
        seats.min().map(|(.., worker)| worker.clone())
    }

    fn take(&mut self, agent: &AgentName, worker: &WorkerId) -> Option<Slot> {
        if self.stopped {
            return None;
        }
        let queue = self.queues.get_mut(agent)?;
        let (key, _) = queue.pop()?;
        if queue.is_empty() {
            self.queues.remove(agent);
        }
        self.turns.remove(&key);
        self.counter += 1;
        let seat = self.seats.get_mut(worker)?;
        seat.served = self.counter;
        let earmarked = seat.spend(agent);
        let (agent, worker) = (agent.clone(), worker.clone());
        Some(Slot { key, agent, worker, session: seat.session, earmarked })
    }
}

#[cfg(test)]
mod tests;
