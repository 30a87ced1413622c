//! Circuits at work: what the end of an attempt says of its agent and its worker, who hears that a breaker opened, and an
//! operator's hand on it. Never here: when a breaker opens, which is `breaker`'s; what follows for a task, which is the engine's.

use std::collections::BTreeSet;

use super::{
    Dispatch, HeldUp, Order, State, TurnKey, Verdict,
    breaker::BreakerState,
    breakers::{Change, Whose},
    matching::{Waits, story},
    session::Held,
};
use crate::{
    engine::{command::Circuit, event::AttemptEnd},
    runtime::NamespaceInfo,
    types::{
        ids::{AgentName, Lease, TaskId, WorkerId},
        outcome::Cause,
        time::{Span, Timestamp},
    },
};

/// Turns that are looked at, at once, when a circuit has opened.
const LOOKED_AT: usize = 1_024;
/// The next ones follow after this.
const TELL_EVERY: Span = Span::from_millis(20);

/// A lease that was revoked.
pub(in crate::runtime) struct Revoked {
    pub(in crate::runtime) lease: Lease,
    pub(in crate::runtime) end: AttemptEnd,
    pub(in crate::runtime) reason: String,
    pub(in crate::runtime) cause: Option<Cause>,
}

impl State {
    /// The worker has lost these attempts, all in one go: that is one failure of its own, and one of each of their agents.
    pub(super) fn judge_lost(&mut self, lost: &[Lease], now: Timestamp) {
        let Self { matching, workers, .. } = self;
        let mut agents: BTreeSet<AgentName> = BTreeSet::new();
        for lease in lost {
            let Some(held) = workers.leases.get_mut(lease) else { continue };
            let is_first = agents.insert(held.permit.agent.clone());
            let verdict = if is_first { Verdict::Bad } else { Verdict::Nothing };
            matching.judge(&mut held.permit, verdict, now);
        }
    }

    /// Tells some of the turns that wait for agents whose circuit has opened; and when to go on.
    pub(super) fn tell(&mut self, now: Timestamp) -> (Vec<Order>, Option<Timestamp>) {
        let mut orders = Vec::new();
        for (agent, from) in std::mem::take(&mut self.telling) {
            let (turns, next) = self.matching.waiting_from(from, &agent, LOOKED_AT);
            for key in turns {
                let told = self.matching.tell(key);
                orders.extend(told.map(|reason| Order::HoldUp(HeldUp { key, reason })));
            }
            if let Some(next) = next {
                self.telling.insert(agent, next);
            }
        }
        let next = (!self.telling.is_empty()).then(|| now.plus(TELL_EVERY));
        (orders, next)
    }
}

impl Dispatch {
    /// How a revoked attempt ended, as breakers see it. What was called back says nothing; but an attempt that has had a whole
    /// lease time and was not answered when time ran out has timed out.
    pub(super) fn verdict_on(
        &self,
        held: &Held,
        end: AttemptEnd,
        cause: Option<Cause>,
        now: Timestamp,
    ) -> Verdict {
        match (end, cause) {
            (AttemptEnd::LeaseExpired | AttemptEnd::Released | AttemptEnd::Retryable, _) => Verdict::Bad,
            (AttemptEnd::Revoked, Some(Cause::Deadline | Cause::OwnerUnavailable))
                if now.since(held.since) >= self.lease_time =>
            {
                Verdict::Bad
            }
            (AttemptEnd::Revoked | AttemptEnd::Undelivered, _) => Verdict::Nothing,
        }
    }

    /// Gives the lock back, and has everybody hear of the breakers that changed under it.
    pub(super) fn settle(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let changes = state.matching.changes();
        if changes.is_empty() {
            return;
        }
        for Change { whose, was, is } in &changes {
            let Whose::Agent(agent) = whose else { continue };
            let circuit = is.since.map(|since| Circuit { since, reason: story(is) });
            self.registry.set_circuit(agent, circuit);
            if is.state == BreakerState::Open && was.state != BreakerState::Open {
                let first = TurnKey { task: TaskId::from(uuid::Uuid::nil()), turn: 0 };
                state.telling.entry(agent.clone()).or_insert(first);
            }
        }
        drop(state);
        changes.iter().for_each(log);
        self.nudge.notify_one();
    }

    /// Closes a breaker by hand. `false`: it was closed.
    pub(in crate::runtime) fn reset_agent(&self, agent: &AgentName, now: Timestamp) -> bool {
        self.reset(&Whose::Agent(agent.clone()), now)
    }

    /// Closes a worker's breaker by hand. `false`: it was closed.
    pub(in crate::runtime) fn reset_worker(&self, worker: &WorkerId, now: Timestamp) -> bool {
        self.reset(&Whose::Worker(worker.clone()), now)
    }

    fn reset(&self, whose: &Whose, now: Timestamp) -> bool {
        let mut state = self.state();
        let Some(slots) = state.matching.reset(whose, now) else { return false };
        let slots = state.note_pending(slots);
        self.settle(state);
        self.route_slots(slots);
        true
    }

    /// Why a turn waits; `None` where it does not.
    pub(in crate::runtime) fn why(&self, key: TurnKey, now: Timestamp) -> Option<Waits> {
        let state = self.state();
        state.kept_back.why(key, state.matching.halted()).or_else(|| state.matching.why(key, now))
    }

    /// Every namespace that has attempts. The counts of open tasks are the intake's, and are not known here.
    pub(in crate::runtime) fn namespaces(&self) -> Vec<NamespaceInfo> {
        let all = self.state().matching.of_namespaces();
        let info = |(name, running, limit)| NamespaceInfo { name, running, limit, open: 0, open_limit: None };
        all.into_iter().map(info).collect()
    }
}

fn log(change: &Change) {
    let Change { whose, was: _, is } = change;
    let (kind, name) = match whose {
        Whose::Agent(agent) => ("agent", agent.as_str()),
        Whose::Worker(worker) => ("worker", worker.as_str()),
    };
    let (failed, results, openings) = (is.failed, is.results, is.openings);
    match is.state {
        BreakerState::Open => {
            let until = is.until.map(|until| until.to_string()).unwrap_or_default();
            tracing::warn!(target: "bailiwick::breaker", kind, name, until, failed, results, openings, "circuit opens");
        }
        BreakerState::HalfOpen => {
            tracing::info!(target: "bailiwick::breaker", kind, name, openings, "circuit half open: probes may run");
        }
        BreakerState::Closed => {
            tracing::info!(target: "bailiwick::breaker", kind, name, openings, "circuit closes")
        }
    }
}
