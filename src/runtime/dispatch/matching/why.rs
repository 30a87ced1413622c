//! Why a turn waits, and the figures that people see. Never here: a change.

use super::Matching;
use crate::{
    runtime::dispatch::{
        breaker::{BreakerInfo, BreakerState},
        breakers::Whose,
        queue::{DECIDES, TurnKey},
    },
    types::{
        ids::{AgentName, Namespace, WorkerId},
        time::Timestamp,
    },
};

/// What keeps a ready turn from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// Its back-off is not over.
    Backoff,
    /// No connected worker serves the agent.
    NoWorker,
    /// The agent's breaker is open, or lets no further probe through.
    AgentBreaker,
    /// The breaker of every worker that serves the agent is open, or lets no further probe through.
    WorkerBreaker,
    /// The agent has as many attempts as its bulkhead takes.
    AgentFull,
    /// The namespace has as many attempts as its bulkhead takes.
    NamespaceFull,
    /// The workers have given no credit, or have as many attempts as they take.
    WorkersBusy,
    /// The server is stopping.
    Stopping,
    /// A halt stops the agent, the task or everything.
    Halted,
}

/// Why a ready turn waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The first thing in its way.
    pub reason: WaitReason,
    /// The same in a sentence, with the figures.
    pub detail: String,
    /// When that ends at the earliest, where it is known.
    pub until: Option<Timestamp>,
}

impl Matching {
    /// Credit of a worker that has not been used up.
    pub(in crate::runtime::dispatch) fn credit_of(&self, worker: &WorkerId) -> u32 {
        self.seats.credit_of(worker)
    }

    /// Workers that serve an agent.
    pub(in crate::runtime::dispatch) fn workers_of(&self, agent: &AgentName) -> usize {
        self.seats.count(agent)
    }

    /// Turns that wait for an agent, those whose time has not come included.
    pub(in crate::runtime::dispatch) fn waiting_for(&self, agent: &AgentName) -> usize {
        self.waiting.get(agent).copied().unwrap_or_default()
    }

    /// Attempts of an agent, and the most there may be.
    pub(in crate::runtime::dispatch) fn of_agent(&self, agent: &AgentName) -> (u32, Option<u32>) {
        (self.agents.running(agent), self.agents.limit(agent))
    }

    /// Every namespace that has attempts: how many, and the most there may be.
    pub(in crate::runtime::dispatch) fn of_namespaces(&self) -> Vec<(Namespace, u32, Option<u32>)> {
        self.namespaces
            .all()
            .map(|(name, running)| (name.clone(), running, self.namespaces.limit(name)))
            .collect()
    }

    pub(in crate::runtime::dispatch) fn breaker(&self, whose: &Whose) -> BreakerInfo {
        self.breakers.info(whose)
    }

    /// If the turn waits for work behind its agent's breaker, and its task has not been told: why, in a sentence. Now it has.
    pub(in crate::runtime::dispatch) fn tell(&mut self, key: TurnKey) -> Option<String> {
        let waiting = self.turns.get_mut(&key)?;
        let held_up = waiting.priority != DECIDES && self.breakers.room_of_agent(&waiting.agent) == Some(0);
        if !held_up || std::mem::replace(&mut waiting.told, true) {
            return None;
        }
        Some(story(&self.breakers.info(&Whose::Agent(waiting.agent.clone()))))
    }

    /// Turns that wait for the agent, from `from` on, `limit` of all turns looked at; and where to go on.
    pub(in crate::runtime::dispatch) fn waiting_from(
        &self,
        from: TurnKey,
        agent: &AgentName,
        limit: usize,
    ) -> (Vec<TurnKey>, Option<TurnKey>) {
        let mut walk = self.turns.range(from..);
        let found = walk.by_ref().take(limit).filter(|(_, waiting)| waiting.agent == *agent);
        let found = found.map(|(key, _)| *key).collect();
        (found, walk.next().map(|(key, _)| *key))
    }

    /// Why a turn waits; `None` where it does not.
    pub(in crate::runtime::dispatch) fn why(&self, key: TurnKey, now: Timestamp) -> Option<Waits> {
        let waiting = self.turns.get(&key)?;
        let (agent, decides) = (&waiting.agent, waiting.priority == DECIDES);
        let (of_agent, in_space) = (self.of_agent(agent), self.namespaces.running(&waiting.namespace));
        let waits = |reason, detail: String, until| Some(Waits { reason, detail, until });
        let breaker = self.breakers.info(&Whose::Agent(agent.clone()));
        if self.stopped {
            return waits(WaitReason::Stopping, "the server is stopping".to_owned(), None);
        }
        if let Some(halt) = self.halted().of_agent(agent) {
            return waits(WaitReason::Halted, halt.to_string(), None);
        }
        if waiting.age.is_none() && waiting.not_before > now {
            let detail = "its back-off after an attempt that failed is not over".to_owned();
            return waits(WaitReason::Backoff, detail, Some(waiting.not_before));
        }
        if self.breakers.room_of_agent(agent) == Some(0) {
            return waits(WaitReason::AgentBreaker, format!("{agent} is {}", story(&breaker)), breaker.until);
        }
        if self.seats.count(agent) == 0 {
            return waits(WaitReason::NoWorker, format!("no worker serves {agent}"), None);
        }
        if let Some(limit) = of_agent.1.filter(|limit| !decides && of_agent.0 >= *limit) {
            let detail = format!("{agent} has {} attempts, and may have {limit} at once", of_agent.0);
            return waits(WaitReason::AgentFull, detail, None);
        }
        let limit = self.namespaces.limit(&waiting.namespace);
        if let Some(limit) = limit.filter(|limit| !decides && in_space >= *limit) {
            let space = &waiting.namespace;
            let detail = format!("namespace {space} has {in_space} attempts, and may have {limit} at once");
            return waits(WaitReason::NamespaceFull, detail, None);
        }
        let held: Vec<_> = self
            .seats
            .serving(agent)
            .filter(|worker| self.breakers.room_of_worker(worker) == Some(0))
            .collect();
        if !held.is_empty() && held.len() == self.seats.serving(agent).count() {
            let until = held.iter().filter_map(|worker| self.breakers.worker_open_until(worker)).min();
            let detail = format!("the circuit of every worker that serves {agent} is open");
            return waits(WaitReason::WorkerBreaker, detail, until);
        }
        let ahead =
            if self.seats.freest(agent).is_some() { "it is about to start" } else { "its workers are busy" };
        waits(WaitReason::WorkersBusy, format!("{agent}: {ahead}"), None)
    }
}

/// A breaker that is not closed, in words: "unavailable: circuit open since ..., 5 of the last 5 attempts failed".
pub(in crate::runtime::dispatch) fn story(info: &BreakerInfo) -> String {
    let BreakerInfo { state, openings: _, since, until: _, failed, results } = info;
    let word = match state {
        BreakerState::Closed => return "available".to_owned(),
        BreakerState::Open => "open",
        BreakerState::HalfOpen => "half open",
    };
    let since = since.map(|since| format!(" since {since}")).unwrap_or_default();
    let evidence = match failed {
        0 => "every worker of it had failed".to_owned(),
        _ => format!("{failed} of the last {results} attempts failed"),
    };
    format!("unavailable: circuit {word}{since}, {evidence}")
}
