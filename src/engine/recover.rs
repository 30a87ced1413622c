//! Recovery: a pure plan of what is outstanding for a task that was replayed. Never here: doing it.

use super::{
    command::{Effect, LiveLease},
    effects,
    family::Child,
    task::{Outstanding, Task},
};

impl Task {
    /// What is outstanding: turns to offer, leases that get one lease period from now, and what is owed to parent and children.
    pub fn outstanding(&self) -> Outstanding {
        let ready = self.open.iter().filter_map(|&turn| effects::ready(self, turn)).collect();
        let leases = self
            .open
            .iter()
            .filter_map(|&number| {
                let turn = self.turn(number)?;
                let live = turn.live()?;
                Some(LiveLease {
                    lease: live.lease,
                    worker: live.worker.clone(),
                    agent: turn.agent.clone(),
                    namespace: self.contract.namespace.clone(),
                    attempt: live.lease.attempt,
                    checks: self.checks_for(&live.lease)?,
                })
            })
            .collect();
        Outstanding { ready, leases, family: self.outstanding_family() }
    }

    /// A child that is open may not have been made; one that was stopped may not know; a task that has ended may not have
    /// told its parent. All of it may be done again without harm.
    fn outstanding_family(&self) -> Vec<Effect> {
        let of = |child: &Child| {
            let number = child.number;
            match (child.is_open(), child.used.is_some()) {
                (true, _) => Some(Effect::StartChild { number }),
                (false, false) => Some(Effect::CancelChild { number }),
                (false, true) => None,
            }
        };
        let tell = (self.parent.is_some() && self.outcome.is_some()).then_some(Effect::TellParent);
        self.children.all.iter().filter_map(of).chain(tell).collect()
    }
}
