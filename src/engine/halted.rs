//! Halts, as a task sees them: which of them cover it, and the end that one with a cancel brings. Never here: who may halt
//! what, and when.

use super::{
    command::Reply,
    decide::Txn,
    event::Event,
    task::Task,
    view::{TaskView, TurnState},
};
use crate::types::{
    halt::{HaltMark, HaltScope, HaltSet},
    ids::{AgentName, Lease},
    outcome::{Cause, EndedBy, TaskState},
    usage::Usage,
};

impl Task {
    /// Every label it can be halted by: its own, and those of the tasks above it.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.contract.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let above = self.parent.iter().flat_map(|parent| &parent.labels);
        own.chain(above.map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// Whose attempt a lease is, and what it has used.
    pub fn used_under(&self, lease: &Lease) -> Option<(&AgentName, Usage)> {
        let turn = self.turn(lease.turn)?;
        Some((&turn.agent, self.ledger.used_by((lease.turn, lease.attempt))))
    }

    /// The labels of its own and of those above it, once each, for its children to carry.
    pub(super) fn labels_for_children(&self) -> Vec<(String, String)> {
        let mut labels: Vec<_> =
            self.labels().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        labels.sort();
        labels.dedup();
        labels
    }

    /// Whether a halt of this scope with a cancel ends it. Of an agent: the tasks that it owns, and those in which a turn of it
    /// waits or runs.
    pub fn is_under(&self, scope: &HaltScope) -> bool {
        match scope {
            HaltScope::All => true,
            HaltScope::Agent(agent) => {
                self.contract.owner == *agent
                    || self.open.iter().filter_map(|turn| self.turn(*turn)).any(|turn| turn.agent == *agent)
            }
            HaltScope::Label { key, value } => {
                self.labels().any(|label| label == (key.as_str(), value.as_str()))
            }
        }
    }
}

impl TaskView {
    /// The halts that hold it back: of everything, of its labels, of its owner, of an agent whose turn is open.
    pub fn halts(&self, set: &HaltSet) -> Vec<std::sync::Arc<crate::types::halt::Halt>> {
        if self.outcome.is_some() {
            return Vec::new();
        }
        let open = |state: TurnState| matches!(state, TurnState::Ready | TurnState::Leased);
        let turns = self.turns.iter().filter(|turn| open(turn.state)).map(|turn| &turn.agent);
        let agents: Vec<&AgentName> = turns.chain([&self.summary.owner]).collect();
        let own = self.contract.labels.iter();
        let above = self.parent.iter().flat_map(|parent| &parent.labels).map(|(key, value)| (key, value));
        set.on(agents, own.chain(above).map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

impl Txn<'_> {
    /// Ends the task for a halt that covers it; `told`: its attempts have been told to stop already, so that it ends in any
    /// case.
    pub(super) fn halt(&mut self, halt: HaltMark, told: bool) -> Reply {
        if self.task().is_ended() {
            return Reply::Cancelled { already_ended: true };
        }
        if !told && !self.task().is_under(&halt.scope) {
            return Reply::Done;
        }
        let story = halt.to_string();
        self.emit(Event::Halted(Box::new(halt)));
        self.end(TaskState::Cancelled, EndedBy::System, Cause::Halted, None, story);
        Reply::Cancelled { already_ended: false }
    }
}
