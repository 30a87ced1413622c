//! The laws of waiting: the lease of a worker that is not heard lapses in time, and work that is ready does not wait beside a
//! worker that is idle.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bailiwick::{
    engine::command::Effect,
    runtime::BreakerState,
    types::ids::{AgentName, Lease, TaskId, WorkerId},
};

use crate::{
    laws::{Laws, Standing},
    sim::{Sim, Up},
    time::now,
    worker::Spec,
};

/// The lease time, in seconds.
pub(crate) const LEASE_TIME: u64 = 9;
/// For the commit that ends a lease, on a slow disk, and for looks at a clock that somebody has just set.
const SLACK: u64 = 17;
/// How long a lease may outlive the last word of its worker. A clock that was set back goes on at half its speed, so that a
/// lease lasts twice its time. While the server is down, and when its journal has failed, it begins afresh.
const LAPSES_IN: Duration = Duration::from_secs(2 * LEASE_TIME + SLACK);
/// How long work may wait beside an idle worker: back-off, at half speed, included.
const ASSIGNED_IN: Duration = Duration::from_secs(20);
/// What a worker asks for is on its way for so long.
const ON_ITS_WAY: Duration = Duration::from_secs(3);

/// What the server can have heard, and since when it could.
#[derive(Default)]
pub(crate) struct Ears {
    heard: BTreeMap<WorkerId, Duration>,
    /// Leases that their worker has come back without, since when.
    disowned: BTreeMap<Lease, Duration>,
    /// The last moment at which the server was not all there, or its disk failed it.
    trouble: Duration,
    /// Turns that were ready at each of the last looks, and an idle worker beside them, since when.
    waiting: BTreeMap<(TaskId, u32), Duration>,
    /// Since when each worker has had a session and a place that is free.
    idle: BTreeMap<u32, Duration>,
}

impl Ears {
    /// The server, or its disk, is in trouble.
    pub(crate) fn trouble(&mut self) {
        self.trouble = now();
    }

    /// Whether there was no trouble from then on.
    pub(crate) fn sound_since(&self, then: Duration) -> bool {
        self.trouble < then
    }

    /// Whether a worker has a free place.
    pub(crate) fn note_room(&mut self, node: u32, room: bool) {
        if room {
            self.idle.entry(node).or_insert_with(now);
        } else {
            self.idle.remove(&node);
        }
    }
}

impl Laws {
    /// A worker has been heard.
    pub(crate) fn heard(&mut self, worker: &WorkerId) {
        self.ears.heard.insert(worker.clone(), now());
    }

    /// Whoever holds the lease has been heard.
    pub(crate) fn heard_under(&mut self, lease: &Lease) {
        let case = self.cases.get(&lease.task);
        let attempt = case.and_then(|case| case.attempts.get(&(lease.turn, lease.attempt)));
        if let Some(worker) = attempt.map(|attempt| attempt.worker.clone()) {
            self.heard(&worker);
        }
    }

    /// A worker has opened a session, and says what it holds.
    pub(crate) fn opens(&mut self, worker: &WorkerId, holds: &[Lease]) {
        self.heard(worker);
        let attempts = self.cases.values().flat_map(|case| case.attempts.values());
        let its = attempts.filter(|attempt| attempt.worker == *worker && attempt.standing == Standing::Live);
        let lost = its.filter(|attempt| !holds.contains(&attempt.lease)).map(|attempt| attempt.lease);
        self.ears.disowned.retain(|lease, _| !holds.contains(lease));
        for lease in lost {
            self.ears.disowned.entry(lease).or_insert_with(now);
        }
    }

    /// No lease outlives its worker's silence for long, or that its worker has come back without it.
    fn none_silent(&self) {
        for attempt in self.cases.values().flat_map(|case| case.attempts.values()) {
            if attempt.standing != Standing::Live {
                continue;
            }
            let (lease, worker) = (&attempt.lease, &attempt.worker);
            let heard = self.ears.heard.get(worker).copied().unwrap_or_default();
            let since = heard.max(attempt.since).max(self.ears.trouble);
            assert!(
                since + LAPSES_IN >= now(),
                "{worker} was not heard since {since:?}, and {lease} lives on"
            );
            let Some(disowned) = self.ears.disowned.get(lease) else { continue };
            let since = (*disowned).max(self.ears.trouble);
            assert!(
                since + LAPSES_IN >= now(),
                "{worker} is without {lease} since {since:?}, and it lives on"
            );
        }
    }

    /// No work that is ready waits for long beside somebody who could do it.
    fn none_waits(&mut self, up: &Up, specs: &[Spec]) {
        let able = self.able(up, specs);
        let room = |limit: Option<u32>, running: u32| limit.is_none_or(|limit| running < limit);
        let roomy = up.runtime.namespaces().iter().all(|space| room(space.limit, space.running));
        let free = roomy && up.runtime.halts().is_empty();
        let mut waiting = BTreeMap::new();
        for (id, case) in self.cases.iter().filter(|(_, case)| case.ended.is_none()) {
            for ready in case.task.outstanding().ready {
                let Effect::Ready { turn, agent, .. } = ready else { continue };
                if free && able.contains(&agent) {
                    let since = self.ears.waiting.get(&(*id, turn)).copied().unwrap_or_else(now);
                    waiting.insert((*id, turn), since);
                }
            }
        }
        self.ears.waiting = waiting;
        let late = self.ears.waiting.iter().find(|(_, since)| **since + ASSIGNED_IN < now());
        assert!(late.is_none(), "ready, and not assigned, beside an idle worker: {late:?}");
    }

    fn leased(&self, worker: &WorkerId) -> usize {
        let attempts = self.cases.values().flat_map(|case| case.attempts.values());
        attempts.filter(|attempt| attempt.standing == Standing::Live && attempt.worker == *worker).count()
    }

    /// Agents that somebody could work as, and has been able to for a while.
    fn able(&self, up: &Up, specs: &[Spec]) -> BTreeSet<AgentName> {
        let closed = |state: BreakerState| state == BreakerState::Closed;
        let agents = up.runtime.agents();
        let free = agents.iter().filter(|agent| {
            closed(agent.breaker.state) && agent.limit.is_none_or(|limit| agent.leased < limit)
        });
        let free: BTreeSet<&AgentName> = free.map(|agent| &agent.row.name).collect();
        let workers = up.runtime.workers();
        let workers = workers.iter().filter(|worker| closed(worker.breaker.state));
        let sound: BTreeSet<&WorkerId> = workers.map(|worker| &worker.id).collect();
        let idle = specs.iter().filter(|spec| {
            let since = self.ears.idle.get(&spec.node);
            let asked = since.is_some_and(|since| *since + ON_ITS_WAY < now());
            // One that has given up an attempt without a word holds its lease all the same.
            asked && sound.contains(&spec.id) && self.leased(&spec.id) < spec.max as usize
        });
        idle.flat_map(|spec| &spec.agents).filter(|agent| free.contains(agent)).cloned().collect()
    }
}

/// Looks whether anything waits that should not. To be called every second or so.
pub(crate) fn look(sim: &Sim, specs: &[Spec]) {
    let up = sim.up();
    let mut laws = sim.laws();
    match up.filter(|up| up.runtime.is_recovered() && !up.life.is_stopping()) {
        Some(up) => {
            laws.none_silent();
            if sim.is_calm() {
                laws.none_waits(&up, specs);
            }
        }
        None => laws.ears.trouble(),
    }
}
