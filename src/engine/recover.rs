//! Recovery: a pure plan of what is outstanding for a task that was replayed. Never here: doing it.

use super::{
    command::LiveLease,
    effects,
    task::{Outstanding, Task},
};

impl Task {
    /// What is outstanding: turns to offer, and leases that get one lease period from now.
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
                    attempt: live.lease.attempt,
                    checks: self.checks_for(&live.lease)?,
                })
            })
            .collect();
        Outstanding { ready, leases }
    }
}
