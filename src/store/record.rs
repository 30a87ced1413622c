//! What the journal holds: plain records. Never a domain decision: events are opaque JSON here.

mod text;

use std::{borrow::Cow, sync::Arc};

use super::StoreError;
use crate::types::{
    ids::{AgentName, DEFAULT_NAMESPACE, EscalationId, Namespace, TaskId},
    outcome::{Cause, EndedBy, TaskState},
    time::Timestamp,
};

pub use text::Text;

/// One event of one task, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Number within the task, from 1, without gaps.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// The event's kind, for people who read the database: "turn_opened".
    pub kind: Cow<'static, str>,
    /// Version of the encoding of `body`.
    pub version: u16,
    /// The event, as JSON.
    pub body: String,
}

/// One event with its place in the log of all tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Place in the log: grows with every commit; not necessarily without gaps.
    pub position: u64,
    /// The task.
    pub task: TaskId,
    /// The event.
    pub event: StoredEvent,
}

/// The summary row of a task: what lists and filters need, and `view` as JSON for the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRow {
    /// The task.
    pub task: TaskId,
    /// The state.
    pub state: TaskState,
    /// Who ended it.
    pub ended_by: Option<EndedBy>,
    /// Why it ended.
    pub cause: Option<Cause>,
    /// The owner.
    pub owner: AgentName,
    /// Agents that had a turn, in the order of their first.
    pub agents: Arc<[AgentName]>,
    /// The labels, sorted by key, and those of `own_label`.
    pub labels: Vec<(String, String)>,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// When its last event was decided.
    pub updated_at: Timestamp,
    /// The number of its last event.
    pub seq: u64,
    /// What a server must know of an open task to start without replaying it, as JSON. `None`: it must be replayed.
    pub parked: Option<Text>,
    /// Everything else a list shows, as JSON.
    pub view: Text,
}

/// A task that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTask {
    /// The task.
    pub task: TaskId,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// The number of its last event.
    pub seq: u64,
    /// As in its summary row.
    pub parked: Option<String>,
}

impl OpenTask {
    /// Its place in the list of open tasks.
    pub const fn place(&self) -> PageAfter {
        PageAfter { created_at: self.created_at, task: self.task }
    }
}

/// What is put down about a task without an event of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedNote {
    /// The task.
    pub task: TaskId,
    /// The number of its last event when the note was made: after another one it is worth nothing.
    pub seq: u64,
    /// As in its summary row.
    pub parked: String,
}

/// The row of a question to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscalationRow {
    /// The id.
    pub id: EscalationId,
    /// Whether it still waits for an answer.
    pub open: bool,
    /// Its state, as the wire names it without prefix: "OPEN", "APPROVED", ...
    pub state: String,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Everything else, as JSON.
    pub view: String,
}

/// The row of an agent in the durable registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentRow {
    /// The name.
    pub name: AgentName,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When a worker last declared it.
    pub last_seen: Timestamp,
    /// As last declared, as JSON.
    pub spec: String,
}

/// What one task adds in one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The task.
    pub task: TaskId,
    /// The number of its last event before this: 0 for a new task. Another number in the store is a conflict.
    pub expected_seq: u64,
    /// The events, numbered from `expected_seq + 1`. Not empty.
    pub events: Vec<StoredEvent>,
    /// The summary after them.
    pub summary: SummaryRow,
    /// Questions that changed.
    pub escalations: Vec<EscalationRow>,
    /// Named numbers that grow with these events, and by how much.
    pub sums: Vec<(String, u64)>,
}

/// The largest number a store can keep: positions, sequence numbers, times in microseconds.
pub const MAX_NUMBER: u64 = i64::MAX as u64;

impl Append {
    /// What is wrong with this append, if anything: every store refuses it then, before it touches the journal.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]: it would break the numbering, or names another task than its own.
    pub fn check(&self) -> Result<(), StoreError> {
        let wrong = |what: &str| Err(StoreError::Corrupt(format!("an append to task {}: {what}", self.task)));
        if self.events.is_empty() {
            return wrong("it has no events");
        }
        let numbered =
            self.events.iter().zip(1..).all(|(event, n)| Some(event.seq) == self.expected_seq.checked_add(n));
        if !numbered || self.summary.seq != self.last_seq() {
            return wrong(
                "its events, or the summary after them, are not numbered on from the expected number",
            );
        }
        if self.summary.task != self.task || self.escalations.iter().any(|row| row.id.task != self.task) {
            return wrong("a row of it is another task's");
        }
        if !self.summary.labels.is_sorted_by(|a, b| a.0 < b.0) {
            return wrong("its labels are not sorted by key, each key once");
        }
        let times = self.events.iter().map(|event| event.at);
        let latest = times
            .chain([self.summary.created_at, self.summary.updated_at])
            .chain(self.escalations.iter().map(|row| row.asked_at))
            .max();
        if latest.is_some_and(|time| time.0 > MAX_NUMBER) || self.last_seq() > MAX_NUMBER {
            return wrong("a time or a number is too large to be kept");
        }
        Ok(())
    }

    /// The number of the task's last event after this append.
    pub fn last_seq(&self) -> u64 {
        self.expected_seq.saturating_add(self.events.len() as u64)
    }

    /// About how many bytes this adds to the journal.
    pub fn weight(&self) -> usize {
        /// Ids, times and index entries that come with every row.
        const ROW: usize = 160;
        let events: usize = self.events.iter().map(|event| ROW + event.body.len()).sum();
        let sums = self.sums.len() * ROW;
        let escalations: usize = self.escalations.iter().map(|row| ROW + row.view.len()).sum();
        events + escalations + sums + 2 * ROW
    }
}

/// A filter over tasks. Empty lists and `None` mean any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only these states.
    pub states: Vec<TaskState>,
    /// Only these causes.
    pub causes: Vec<Cause>,
    /// Only tasks that this agent owns or had a turn in.
    pub agent: Option<AgentName>,
    /// Only tasks with all these labels.
    pub labels: Vec<(String, String)>,
    /// Only tasks submitted at or after this time.
    pub since: Option<Timestamp>,
    /// Only children of this task.
    pub parent: Option<TaskId>,
    /// Only tasks of this namespace.
    pub namespace: Option<Namespace>,
}

/// Label keys that no contract can have: what a task is found by beside its own labels.
pub mod own_label {
    /// The task's parent.
    pub const PARENT: &str = ":parent";
    /// There, with any value, while a child of the task has not been heard of.
    pub const UNSETTLED: &str = ":unsettled";
    /// The task's namespace, where that is not the default.
    pub const NAMESPACE: &str = ":namespace";
    /// The value of a label that is there or not.
    pub const YES: &str = "yes";
}

impl TaskFilter {
    /// Whether a row fits.
    pub fn fits(&self, row: &SummaryRow) -> bool {
        let Self { states, causes, agent, labels, since, parent, namespace } = self;
        (states.is_empty() || states.contains(&row.state))
            && (causes.is_empty() || row.cause.is_some_and(|cause| causes.contains(&cause)))
            && agent.as_ref().is_none_or(|agent| row.owner == *agent || row.agents.contains(agent))
            && labels.iter().all(|label| row.labels.contains(label))
            && since.is_none_or(|since| row.created_at >= since)
            && parent.is_none_or(|parent| {
                let parent = parent.to_string();
                row.labels.iter().any(|(key, value)| key == own_label::PARENT && *value == parent)
            })
            && namespace.as_ref().is_none_or(|namespace| {
                let own = row.labels.iter().find(|(key, _)| key == own_label::NAMESPACE);
                own.map_or(DEFAULT_NAMESPACE, |(_, value)| value) == namespace.as_str()
            })
    }
}

/// A place in a list that is sorted by (created_at, task), either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageAfter {
    /// The creation time of the last row seen.
    pub created_at: Timestamp,
    /// The id of the last row seen.
    pub task: TaskId,
}
