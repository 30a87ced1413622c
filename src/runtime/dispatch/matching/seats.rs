//! Workers with a session and their credit, and for each agent those that have room, the best first. Pure. Never here: a turn.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    runtime::SessionId,
    types::ids::{AgentName, WorkerId},
};

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
    /// Where it is listed, by the place of the agent in `agents`.
    listed: Vec<Option<Rank>>,
}

/// A worker's rank among those of an agent: those on probation last; then the most room, the fewest attempts, the one that was
/// served the longest ago.
type Rank = (bool, Reverse<u32>, u32, u64);

/// The worker's part of a slot.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) session: SessionId,
    /// Whether it used credit that was given for the agent alone.
    pub(super) earmarked: bool,
}

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: BTreeMap<WorkerId, Seat>,
    servers: BTreeMap<AgentName, BTreeSet<WorkerId>>,
    free: BTreeMap<AgentName, BTreeSet<(Rank, WorkerId)>>,
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
}

impl Seats {
    pub(super) fn join(
        &mut self,
        worker: &WorkerId,
        session: SessionId,
        agents: &[AgentName],
        max: u32,
        held: u32,
    ) {
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
            listed: vec![None; agents.len()],
        };
        self.seats.insert(worker.clone(), seat);
    }

    /// Gives back the agents it served.
    pub(super) fn leave(&mut self, worker: &WorkerId) -> Vec<AgentName> {
        self.unlist(worker);
        let Some(seat) = self.seats.remove(worker) else { return Vec::new() };
        for agent in &seat.agents {
            if let Some(workers) = self.servers.get_mut(agent) {
                workers.remove(worker);
                if workers.is_empty() {
                    self.servers.remove(agent);
                }
            }
        }
        seat.agents
    }

    /// It is asked for nothing more.
    pub(super) fn drain(&mut self, worker: &WorkerId) {
        if let Some(seat) = self.seats.get_mut(worker) {
            seat.draining = true;
        }
    }

    /// Credit that has not been used up.
    pub(super) fn credit_of(&self, worker: &WorkerId) -> u32 {
        self.seats.get(worker).map_or(0, Seat::credit_in_all)
    }

    pub(super) fn agents_of(&self, worker: &WorkerId) -> &[AgentName] {
        self.seats.get(worker).map_or(&[], |seat| &seat.agents)
    }

    /// Workers that serve the agent, those that are draining included.
    pub(super) fn count(&self, agent: &AgentName) -> usize {
        self.servers.get(agent).map_or(0, BTreeSet::len)
    }

    /// The workers that serve the agent and take something new.
    pub(super) fn serving(&self, agent: &AgentName) -> impl Iterator<Item = &WorkerId> {
        let workers = self.servers.get(agent).into_iter().flatten();
        workers.filter(|worker| self.seats.get(*worker).is_some_and(|seat| !seat.draining))
    }

    pub(super) fn credit(&mut self, worker: &WorkerId, slots: u32, agent: Option<&AgentName>) {
        let Some(seat) = self.seats.get_mut(worker) else { return };
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
    }

    /// An attempt of the worker has ended.
    pub(super) fn release(&mut self, worker: &WorkerId) {
        if let Some(seat) = self.seats.get_mut(worker) {
            seat.held = seat.held.saturating_sub(1);
        }
    }

    /// The same, and its credit is back, if it is still the same session.
    pub(super) fn give_back(&mut self, worker: &WorkerId, session: SessionId, mark: Option<&AgentName>) {
        let Some(seat) = self.seats.get_mut(worker) else { return };
        seat.held = seat.held.saturating_sub(1);
        if seat.session == session && seat.credit_in_all() < seat.max {
            match mark {
                Some(agent) => *seat.earmarked.entry(agent.clone()).or_default() += 1,
                None => seat.credit += 1,
            }
        }
    }

    /// It has one attempt more than was known.
    pub(super) fn hold(&mut self, worker: &WorkerId) {
        if let Some(seat) = self.seats.get_mut(worker) {
            seat.held += 1;
        }
    }

    /// The worker of the agent that is to be served next.
    pub(super) fn freest(&self, agent: &AgentName) -> Option<&WorkerId> {
        self.free.get(agent)?.first().map(|(_, worker)| worker)
    }

    /// Uses one credit up, earmarked credit first. The worker has been listed as free for the agent.
    pub(super) fn spend(&mut self, worker: &WorkerId, agent: &AgentName, number: u64) -> Option<Served> {
        let seat = self.seats.get_mut(worker)?;
        seat.held += 1;
        seat.served = number;
        let earmarked = seat.earmarked.get_mut(agent).is_some_and(|left| {
            *left -= 1;
            true
        });
        if earmarked {
            seat.earmarked.retain(|_, left| *left > 0);
        } else {
            seat.credit -= 1;
        }
        Some(Served { session: seat.session, earmarked })
    }

    /// Lists the worker as it stands now. `probes` is what its breaker lets through, `None`: everything.
    pub(super) fn relist(&mut self, worker: &WorkerId, probes: Option<u32>) {
        let Some(seat) = self.seats.get_mut(worker) else { return };
        for (agent, listed) in seat.agents.iter().zip(0..) {
            let free = seat.free_for(agent).min(probes.unwrap_or(u32::MAX));
            let rank = (free > 0).then_some((probes.is_some(), Reverse(free), seat.held, seat.served));
            if seat.listed[listed] == rank {
                continue;
            }
            list(&mut self.free, agent, worker, seat.listed[listed], rank);
            seat.listed[listed] = rank;
        }
    }

    fn unlist(&mut self, worker: &WorkerId) {
        let Some(seat) = self.seats.get_mut(worker) else { return };
        for (agent, listed) in seat.agents.iter().zip(&mut seat.listed) {
            list(&mut self.free, agent, worker, listed.take(), None);
        }
    }
}

fn list(
    free: &mut BTreeMap<AgentName, BTreeSet<(Rank, WorkerId)>>,
    agent: &AgentName,
    worker: &WorkerId,
    was: Option<Rank>,
    is: Option<Rank>,
) {
    if let Some(rank) = is {
        free.entry(agent.clone()).or_default().insert((rank, worker.clone()));
    }
    let Some(rank) = was else { return };
    if let Some(workers) = free.get_mut(agent) {
        workers.remove(&(rank, worker.clone()));
        if workers.is_empty() {
            free.remove(agent);
        }
    }
}
