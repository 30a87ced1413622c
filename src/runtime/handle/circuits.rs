//! Circuits and bulkheads, for operators: why a turn waits, how full namespaces are, and a hand on a breaker.

use crate::{
    engine::view::{TaskView, TurnState},
    runtime::{NamespaceInfo, Runtime, Waits, dispatch::TurnKey},
    types::ids::{AgentName, TurnNumber, WorkerId},
};

impl Runtime {
    /// Why each turn of the task that is ready has not started, in the order of turns.
    pub fn waits(&self, task: &TaskView) -> Vec<(TurnNumber, Waits)> {
        let now = self.0.now.read();
        let ready = task.turns.iter().filter(|turn| turn.state == TurnState::Ready);
        let wait = |turn: TurnNumber| {
            let key = TurnKey { task: task.summary.task, turn };
            Some((turn, self.0.dispatch.why(key, now)?))
        };
        ready.filter_map(|turn| wait(turn.turn)).collect()
    }

    /// Every namespace that has attempts, or has a bound and open tasks, by name.
    pub fn namespaces(&self) -> Vec<NamespaceInfo> {
        let mut infos = self.0.dispatch.namespaces();
        for (name, open, limit) in self.0.intake.of_namespaces() {
            let at = match infos.binary_search_by(|info| info.name.cmp(&name)) {
                Ok(at) => at,
                Err(at) => {
                    infos.insert(
                        at,
                        NamespaceInfo { name, running: 0, limit: None, open: 0, open_limit: None },
                    );
                    at
                }
            };
            infos[at].open = open;
            infos[at].open_limit = Some(limit);
        }
        infos
    }

    /// Closes an agent's breaker by hand. `false`: it was closed.
    pub fn reset_agent(&self, agent: &AgentName) -> bool {
        self.0.dispatch.reset_agent(agent, self.0.now.read())
    }

    /// Closes a worker's breaker by hand. `false`: it was closed.
    pub fn reset_worker(&self, worker: &WorkerId) -> bool {
        self.0.dispatch.reset_worker(worker, self.0.now.read())
    }
}
