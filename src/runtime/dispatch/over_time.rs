//! What time and the operator say to the dispatcher: back-offs are over, workers are silent, the server stops; and what it
//! shows of itself.

use super::{Dispatch, Ending, Order, State, breakers::Whose, session::Worker};
use crate::{
    engine::event::AttemptEnd,
    runtime::{AgentInfo, Down, WorkerInfo},
    store::record::AgentRow,
    types::{
        ids::{Lease, WorkerId},
        time::{Span, Timestamp},
    },
};

impl Dispatch {
    /// Assigns nothing from now on, and tells every session.
    pub(in crate::runtime) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.matching.stop();
        for session in state.workers.by_id.values().filter_map(|worker| worker.session.as_ref()) {
            // One that does not read will see the end of its channel.
            let _ = session.down.try_send(Down::Drain);
        }
    }

    /// Ends every session: their streams see the end of their channels.
    pub(in crate::runtime) fn close_all(&self, now: Timestamp) {
        let mut state = self.state();
        let workers: Vec<WorkerId> = state.workers.by_session.values().cloned().collect();
        for worker in workers {
            self.end_session(&mut state, &worker, now);
        }
    }

    /// Waits until somebody should look earlier than `look` last said.
    pub(in crate::runtime) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Does what is due: offers turns whose time has come, and ends the leases of workers that have been silent. Returns when
    /// to look next. Looking too early is harmless.
    pub(in crate::runtime) fn look(&self, now: Timestamp) -> Option<Timestamp> {
        let mut state = self.state();
        self.forgive_own_absence(&mut state, now);
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
        let (told, tell_at) = state.tell(now);
        orders.extend(told);
        let next = lapses.into_iter().chain(state.matching.next_due()).chain(tell_at).min();
        state.next_look = next;
        self.settle(state);
        self.route(orders);
        next
    }

    /// Who looks much later than meant to has stood still itself (a stopped process, a machine asleep): what workers said
    /// meanwhile has not been read yet. Their time is put off by as much; of those that were heard since, it is whole already.
    fn forgive_own_absence(&self, state: &mut State, now: Timestamp) {
        let late = state.next_look.map_or(Span(0), |meant| now.since(meant));
        if !self.forgives_absence || late < self.lease_time.part(4) {
            return;
        }
        tracing::warn!(%late, "the server stood still: leases are put off by as much");
        let whole = now.plus(self.lease_time);
        for worker in state.workers.by_id.values_mut() {
            worker.expires = worker.expires.plus(late).min(whole);
        }
    }

    /// The worker is taken for lost. Its leases are ended by their tasks' shards; should one not manage, this comes again.
    fn lapse(&self, state: &mut State, id: &WorkerId, now: Timestamp) -> Vec<Order> {
        self.end_session(state, id, now);
        let Some(worker) = state.workers.by_id.get_mut(id) else { return Vec::new() };
        let reason = format!("worker {id} was not heard of for {}", now.since(worker.last_heard));
        worker.expires = now.plus(self.lease_time);
        let end = |lease: &Lease| {
            Order::End(Ending { lease: *lease, end: AttemptEnd::LeaseExpired, reason: reason.clone() })
        };
        let orders = worker.leases.iter().map(end).collect();
        let lost: Vec<Lease> = worker.leases.iter().copied().collect();
        state.judge_lost(&lost, now);
        state.workers.forget_if_idle(id);
        orders
    }

    /// Every agent ever seen.
    pub(in crate::runtime) fn agents(&self, rows: Vec<AgentRow>) -> Vec<AgentInfo> {
        let state = self.state();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let info = |row: AgentRow| {
            let (leased, limit) = state.matching.of_agent(&row.name);
            AgentInfo {
                workers: count(state.matching.workers_of(&row.name)),
                waiting: count(
                    state.matching.waiting_for(&row.name) + state.kept_back.waiting_for(&row.name),
                ),
                leased,
                limit,
                breaker: state.matching.breaker(&Whose::Agent(row.name.clone())),
                row,
            }
        };
        rows.into_iter().map(info).collect()
    }

    /// Every worker with a session, by id.
    pub(in crate::runtime) fn workers(&self) -> Vec<WorkerInfo> {
        let state = self.state();
        let info = |(id, worker): (&WorkerId, &Worker)| {
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
                breaker: state.matching.breaker(&Whose::Worker(id.clone())),
            })
        };
        state.workers.by_id.iter().filter_map(info).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::super::{Terms, from_sessions::Arrival};
    use super::*;
    use crate::{
        runtime::{Breaking, Bulkheads, ManualClock, SessionId, clock::Now, registry::Registry},
        types::halt::HaltSet,
    };

    const LEASE: Span = Span::from_secs(9);
    const START: Timestamp = Timestamp(1_000_000);

    /// A dispatcher that has one worker, heard at the start.
    fn with_worker(session: SessionId) -> Dispatch {
        let terms = Terms {
            lease_time: LEASE,
            breaking: Breaking::default(),
            bulkheads: Bulkheads::default(),
            forgives_absence: true,
            halted: Arc::new(HaltSet::default()),
        };
        let dispatch = Dispatch::new(
            Arc::new(Registry::new(Vec::new(), Now::new(Arc::new(ManualClock::new(START))))),
            Vec::new(),
            terms,
        );
        let worker = "w".parse().expect("a valid id");
        let (agents, labels, held) = (Vec::new(), BTreeMap::new(), Vec::new());
        dispatch.open(Arrival { worker, session, agents, max_concurrency: 1, labels, held }, START);
        assert_eq!(dispatch.look(START), Some(START.plus(LEASE)));
        dispatch
    }

    /// Else a worker that speaks after the server's sleep of an hour, and dies, is missed after another hour.
    #[test]
    fn who_was_heard_before_the_first_look_has_its_lease_time_and_no_more() {
        let session = SessionId(uuid::Uuid::nil());
        let dispatch = with_worker(session);
        let back = START.plus(Span::from_secs(3_600));
        dispatch.heartbeat(session, back).expect("the session is open");
        assert_eq!(dispatch.look(back), Some(back.plus(LEASE)));
    }
}
