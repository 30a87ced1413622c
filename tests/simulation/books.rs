//! What workers, clients and people know themselves: what they were given, sent, and were told. Held against the server's
//! journal at the end.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick::{
    engine::command::Assignment,
    types::{
        envelope::Answer,
        ids::{EscalationId, Lease, TaskId},
        usage::Usage,
    },
};

use crate::sim::Node;

#[derive(Default)]
pub(crate) struct Books {
    pub(crate) leases: BTreeMap<Lease, Entry>,
    /// Tasks whose submission was acknowledged.
    pub(crate) tasks: BTreeSet<TaskId>,
    pub(crate) cancelled: BTreeSet<TaskId>,
    pub(crate) answered: BTreeMap<EscalationId, String>,
    /// Dead letters whose redrive was acknowledged, and their successors.
    pub(crate) redriven: BTreeMap<TaskId, TaskId>,
    /// Dead letters whose discard was acknowledged.
    pub(crate) discarded: BTreeSet<TaskId>,
    /// Children whose submission was acknowledged, and under what.
    pub(crate) children: BTreeMap<TaskId, Lease>,
}

/// One attempt, as its worker knows it.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    /// The most that was ever sent, figure by figure.
    pub(crate) sent: Usage,
    /// Whether an answer that says no usage was sent: it may be charged with its allowance.
    pub(crate) unsaid: bool,
    pub(crate) answers: Vec<Answer>,
    pub(crate) accepted: Option<Answer>,
    pub(crate) steps: Vec<String>,
}

impl Books {
    /// A worker was given work.
    pub(crate) fn take(&mut self, node: Node, work: &Assignment) {
        let before = self.leases.insert(work.lease, Entry { node, ..Entry::default() });
        assert!(before.is_none(), "no lease is assigned twice: {}", work.lease);
    }

    pub(crate) fn entry(&mut self, lease: &Lease) -> &mut Entry {
        self.leases.get_mut(lease).expect("work that was taken")
    }

    /// An answer is on its way.
    pub(crate) fn answers(&mut self, lease: &Lease, answer: &Answer) {
        let entry = self.entry(lease);
        match answer.usage() {
            Some(usage) => entry.sent = entry.sent.max(usage),
            None => entry.unsaid = true,
        }
        if !entry.answers.contains(answer) {
            entry.answers.push(answer.clone());
        }
    }
}
