//! Tasks that leave memory and come back: those that were not asked for longest are let go once what they have is durable,
//! and a start takes over what is open without replaying it. Never here: a task let go with something of it on its way to the
//! disk, or an offer or a lease of a parked task that the dispatcher does not have.

use super::{Request, Shard, hydrate::RELOAD_AFTER, mailbox::GivenUp, residents::Leaving};
use crate::{
    engine::{
        command::Env,
        parked::{Parked as Standing, ParkedLease},
    },
    runtime::{
        dispatch::{FoundLease, Halting},
        recovery::Found,
    },
    types::{ids::TaskId, time::Timestamp},
};

/// Tasks that a round looks at for some to let go.
const MAX_LOOKS: usize = 2_048;
/// Parked tasks looked at in one round because it is time.
const MAX_WAKES: usize = 256;

impl Shard {
    /// Lets go of what is beyond the bound, as far as it may go.
    pub(super) fn park(&mut self, now: Timestamp) {
        if !self.failed.is_empty() {
            return;
        }
        let staged = self.in_flight.front().map_or(self.batch.number, |batch| batch.number);
        let mut looks = MAX_LOOKS;
        while self.residents.unlisted() > self.max_residents
            && let Some(Leaving { task, place }) = self.residents.let_go(staged, &mut looks)
        {
            match (task.sleep(), place) {
                (Some(sleep), Some(place)) => self.parked.insert(task.id(), place, sleep, now),
                // Only what has ended has no place, and that is not let go.
                _ => self.hydration.lose(task.id(), RELOAD_AFTER, now),
            }
        }
    }

    /// When a parked task is to be looked at next. Never while many wait to be loaded: their turn comes.
    pub(super) fn next_wake_of_parked(&self) -> Option<Timestamp> {
        self.parked.next_timer().filter(|_| !self.hydration.is_busy())
    }

    /// Looks at parked tasks whose time has come, and has those loaded of which something may be due.
    pub(super) fn wake_parked(&mut self, now: Timestamp) {
        if self.hydration.is_busy() {
            return;
        }
        for id in self.parked.due(now, MAX_WAKES) {
            let env = Env { now, agents: &*self.shared.registry };
            if self.parked.look(id, env) {
                self.hydration.want(id);
            }
        }
    }

    /// A parked task could not be loaded: it is tried again, and until then nobody is given its turns.
    pub(super) fn lose_parked(&mut self, id: TaskId, now: Timestamp) {
        let env = Env { now, agents: &*self.shared.registry };
        if self.parked.remove(id, env).is_some() {
            self.shared.dispatch.withdraw_task(id);
            self.hydration.lose(id, RELOAD_AFTER, now);
        }
    }

    /// The task is here by another way than the start's reading.
    pub(super) fn note_seen(&mut self, id: TaskId) {
        if self.recovering {
            self.seen.insert(id);
        }
    }

    /// Whether the shard knows the task by a newer account than what a start reads.
    fn knows(&mut self, id: TaskId) -> bool {
        self.seen.contains(&id)
            || self.residents.contains(id)
            || self.parked.contains(id)
            || self.hydration.has_in_hand(id)
    }

    /// Takes over what the start has read of open tasks.
    pub(super) fn take_found(&mut self, found: Vec<Found>, now: Timestamp) {
        for found in found {
            if self.knows(found.task()) {
                continue;
            }
            match found {
                Found::Parked(id, standing) => self.take_parked(id, standing, now),
                Found::Whole(task) => {
                    self.shared.now.at_least(task.updated_at());
                    self.adopt(*task, now, true);
                }
            }
        }
        self.park(now);
    }

    /// A task that stays parked: its turns are offered, its leases live for one period more.
    fn take_parked(&mut self, id: TaskId, standing: Standing, now: Timestamp) {
        let namespace = standing.namespace.clone();
        let place = self.shared.intake.take_expected(&namespace);
        self.parked.insert(id, place, standing.sleep(), now);
        let halting = Halting { owner: standing.owner, marks: standing.marks };
        for ParkedLease { lease, worker, agent } in standing.leases {
            let found =
                FoundLease { lease, worker, agent, namespace: namespace.clone(), halting: halting.clone() };
            self.orders.extend(self.shared.dispatch.restore_found(found, now));
        }
        for turn in standing.ready {
            self.offer(id, turn.effect(&namespace), halting.marks.clone(), now);
        }
    }

    /// Nothing more comes from the start.
    pub(super) fn all_found(&mut self) {
        if std::mem::take(&mut self.recovering) {
            self.seen.clear();
            if self.shared.recovering.one_less() {
                self.shared.intake.expect_no_more();
            }
        }
    }

    /// A worker is about to come back for a lease of this task: whatever the journal says of it must be known first.
    pub(super) fn recall(&mut self, request: Request) {
        match request {
            Request::Recall(id, answer)
                if !self.recovering || self.residents.contains(id) || self.parked.contains(id) =>
            {
                // Who asked may have gone.
                let _ = answer.send(Ok(()));
            }
            Request::Recall(..) => self.load_for(request),
            other => other.give_up(GivenUp::NotFound),
        }
    }
}
