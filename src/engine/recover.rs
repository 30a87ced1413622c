//! Recovery: a pure plan of what is outstanding for a task that was replayed. Never here: doing it.

use super::{
    command::LiveLease,
    effects,
    task::{Outstanding, Task},
};
use crate::types::{ids::Lease, payload::Payload};

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
                    schema: self.schema_for(&live.lease).cloned(),
                })
            })
            .collect();
        Outstanding { ready, leases }
    }

    /// The schema that a person's own result must be checked against before it is decided on; `None`: no check is due.
    pub fn schema_for_amendment(&self) -> Option<&Payload> {
        self.contract.result_schema.as_ref().filter(|_| !self.is_ended())
    }

    /// The schema that the answer under a live lease must be checked against; `None`: no check is due.
    pub fn schema_for(&self, lease: &Lease) -> Option<&Payload> {
        let turn = self.turn(lease.turn)?;
        if turn.live()?.lease != *lease || !self.needs_schema_check(turn) {
            return None;
        }
        self.contract.result_schema.as_ref()
    }
}
