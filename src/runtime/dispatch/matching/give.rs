//! Giving turns to workers. Never here: what a worker or an agent has room for.

use std::cmp::Reverse;

use super::{Matching, Permit, Slot, seats::Served};
use crate::{
    runtime::dispatch::queue::{Head, TurnKey},
    types::{
        ids::{AgentName, Namespace},
        time::Timestamp,
    },
};

impl Matching {
    /// Gives the turns of these agents to workers: the most urgent first, then the agent that was served the longest ago; of its
    /// workers the one with the most room. An agent that cannot be served now cannot be a match later in the same call.
    pub(super) fn serve(&mut self, mut agents: Vec<AgentName>, now: Timestamp) -> Vec<Slot> {
        let mut slots = Vec::new();
        if self.stopped {
            return slots;
        }
        agents.sort_unstable();
        agents.dedup();
        loop {
            let mut best: Option<(Reverse<u8>, u64, usize, Head)> = None;
            let mut index = 0;
            while index < agents.len() {
                let Some((head, served)) = self.head(&agents[index]) else {
                    agents.swap_remove(index);
                    continue;
                };
                let rank = (Reverse(head.place.priority), served);
                if best.as_ref().is_none_or(|(priority, served, ..)| rank < (*priority, *served)) {
                    best = Some((rank.0, rank.1, index, head));
                }
                index += 1;
            }
            let Some((_, _, at, head)) = best else { return slots };
            match self.take(&agents[at], &head, now) {
                Some(slot) => slots.push(slot),
                None => return slots,
            }
        }
    }

    /// Whether somebody may work for the agent now: nothing halts it, its breaker lets something through, and one of its workers
    /// has room. The one place where that is told.
    fn is_served(&self, agent: &AgentName) -> bool {
        self.halted.of_agent(agent).is_none()
            && self.breakers.room_of_agent(agent) != Some(0)
            && self.seats.freest(agent).is_some()
    }

    /// The turn of the agent that could start now, if one could, and when the agent was served last.
    fn head(&mut self, agent: &AgentName) -> Option<(Head, u64)> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        if !self.queues.contains_key(agent) || !self.is_served(agent) {
            return None;
        }
        let queue = self.queues.get_mut(agent)?;
        let (namespaces, parked) = (&self.namespaces, &mut self.parked);
        let mut park = |namespace: &Namespace| {
            parked.entry(namespace.clone()).or_default().insert(agent.clone());
        };
        let works = !self.agents.is_full(agent);
        let head = queue.peek(works, &|namespace| namespaces.is_full(namespace), &mut park)?;
        Some((head, queue.served))
    }

    fn take(&mut self, agent: &AgentName, head: &Head, now: Timestamp) -> Option<Slot> {
        self.seats.freest(agent)?;
        self.counter += 1;
        let queue = self.queues.get_mut(agent)?;
        queue.pop(head);
        queue.served = self.counter;
        if queue.is_empty() {
            self.queues.remove(agent);
        }
        self.no_longer_waits(head.key);
        self.seat(head.key, agent, &head.namespace, now)
    }

    /// Gives a turn to a worker without its ever waiting, where it would be the first and the only one of its agent: it need not
    /// be put into a queue to be taken out of it again.
    pub(super) fn at_once(
        &mut self,
        key: TurnKey,
        agent: &AgentName,
        namespace: &Namespace,
        decides: bool,
        now: Timestamp,
    ) -> Option<Slot> {
        let waits = self.stopped
            || self.queues.contains_key(agent)
            || !self.is_served(agent)
            || !decides && (self.agents.is_full(agent) || self.namespaces.is_full(namespace));
        if waits {
            return None;
        }
        self.counter += 1;
        self.seat(key, agent, namespace, now)
    }

    /// Gives a turn that does not wait any more to the worker with the most room. `None`: there is none.
    fn seat(
        &mut self,
        key: TurnKey,
        agent: &AgentName,
        namespace: &Namespace,
        now: Timestamp,
    ) -> Option<Slot> {
        let worker = self.seats.freest(agent)?.clone();
        let Served { session, earmarked } = self.seats.spend(&worker, agent, self.counter)?;
        let probes = self.breakers.start(agent, &worker, now);
        self.agents.take(agent);
        self.namespaces.take(namespace);
        self.relist(&worker);
        let permit = Permit {
            agent: agent.clone(),
            worker: worker.clone(),
            namespace: namespace.clone(),
            probes,
            judged: false,
        };
        Some(Slot { key, worker, session, earmarked, permit })
    }
}
