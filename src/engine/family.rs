//! Parents and children: what a child's journal says of its parent, what a parent's says of its children, and the account
//! that a child gives of itself. Never here: who may have a child, which is decided in `decide::children`.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{event::Event, task::Task, view::ChildView};
use crate::types::{
    contract::Contract,
    ids::{AgentName, AttemptNumber, TaskId, TurnNumber},
    outcome::TaskState,
    time::Timestamp,
    usage::Usage,
};

/// Where a child comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The parent.
    pub task: TaskId,
    /// The child's number within it, from 1.
    pub number: u32,
    /// The turn under whose lease it was submitted.
    pub turn: TurnNumber,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// Levels above the child, from 1.
    pub depth: u32,
    /// The attempt's own `traceparent`: the child's trace links to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// The labels of all tasks above it, sorted: a halt of one of them covers the child too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<(String, String)>,
}

/// What is carved from a parent for a child.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Share {
    pub tokens: u64,
    pub hops: u32,
    pub turns: u32,
    pub escalations: u32,
    /// Tokens by agent, of those agents that the parent's contract caps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_agent: BTreeMap<AgentName, u64>,
}

/// What a child that has ended says it used, all below it included. Cumulative: a later account replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Tokens and money.
    pub usage: Usage,
    /// Tokens that are still reserved for attempts that were never heard of.
    #[serde(default)]
    pub unheard: u64,
    /// Hops.
    pub hops: u32,
    /// Work turns.
    pub turns: u32,
    /// Questions to a person.
    #[serde(default)]
    pub escalations: u32,
    /// Tokens by agent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_agent: BTreeMap<AgentName, u64>,
}

impl Used {
    /// Both accounts in one, whatever their order: what was used only grows, what is held for the unheard only shrinks.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let mut by_agent = self.by_agent.clone();
        for (agent, tokens) in &other.by_agent {
            let sum = by_agent.entry(agent.clone()).or_default();
            *sum = (*sum).max(*tokens);
        }
        Self {
            usage: self.usage.max(other.usage),
            unheard: self.unheard.min(other.unheard),
            // A count may fall: a grandchild's whole share stands for it until the grandchild has been heard.
            hops: self.hops.min(other.hops),
            turns: self.turns.min(other.turns),
            escalations: self.escalations.min(other.escalations),
            by_agent,
        }
    }
}

/// What a child tells its parent, once it has ended and whenever its account changes after that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildReport {
    /// Its number within the parent.
    pub number: u32,
    /// The child.
    pub child: TaskId,
    /// How it ended; `None`: it never started.
    pub state: Option<TaskState>,
    /// What it used.
    pub used: Used,
}

/// A child was submitted; its share is reserved. Holds the whole contract, so that the child can be made of it whatever
/// happens between this event and the child's own first one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChildStarted {
    /// Number within the parent, from 1.
    pub number: u32,
    /// The child.
    pub child: TaskId,
    /// The turn under whose lease it was submitted.
    pub turn: TurnNumber,
    /// The attempt.
    pub attempt: AttemptNumber,
    /// The child's contract.
    pub contract: Arc<Contract>,
    /// Hash of the contract as it came in.
    pub fingerprint: u128,
    /// What is reserved.
    pub share: Share,
}

/// A child ended, or its parent stopped it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildEnded {
    /// Number within the parent.
    pub number: u32,
    /// The child.
    pub child: TaskId,
    /// How; `None`: it never started.
    pub state: Option<TaskState>,
    /// What it used; `None`: its parent stopped it and has not heard of it yet, so its share stays reserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// Why it was stopped; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// All that is needed to make the child.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Birth {
    pub child: TaskId,
    pub contract: Arc<Contract>,
    pub fingerprint: u128,
    pub parent: Parent,
}

/// A child, as its parent's state.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) number: u32,
    pub(super) id: TaskId,
    pub(super) turn: TurnNumber,
    pub(super) attempt: AttemptNumber,
    pub(super) fingerprint: u128,
    pub(super) share: Share,
    goal: String,
    /// Until it has ended.
    pub(super) contract: Option<Arc<Contract>>,
    state: Option<TaskState>,
    /// Its account; `None`: it has not been heard of.
    pub(super) used: Option<Used>,
    reason: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
}

impl Child {
    /// Whether it runs, as far as its parent knows.
    pub(super) const fn is_open(&self) -> bool {
        self.ended_at.is_none()
    }
}

/// The children of a task, as state.
#[derive(Debug, Clone, Default)]
pub(super) struct Children {
    /// Child n stands at n - 1.
    pub(super) all: Vec<Child>,
    pub(super) open: u32,
    /// Of those that have not been heard of: hops, work turns and questions that are reserved.
    pub(super) held: Share,
}

impl Children {
    pub(super) fn get(&self, number: u32) -> Option<&Child> {
        self.all.get(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut Child> {
        self.all.get_mut(usize::try_from(number).ok()?.checked_sub(1)?)
    }

    /// Whether a child has not been heard of: then its share is reserved in full.
    pub(super) fn is_unsettled(&self) -> bool {
        self.all.iter().any(|child| child.used.is_none())
    }
}

/// State: the only changes, all from `apply`.
impl Task {
    pub(super) fn on_family(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::LateUsage { child: Some(report), .. } => self.on_child_heard(report),
            Event::ChildStarted(started) => self.on_child_started(started, at),
            Event::ChildEnded(ended) => self.on_child_ended(ended, at),
            _ => {} // Nothing of the family's.
        }
    }

    fn on_child_started(&mut self, started: &ChildStarted, at: Timestamp) {
        let ChildStarted { number, child, turn, attempt, contract, fingerprint, share } = started;
        self.counters.children += 1;
        self.children.open += 1;
        self.children.held.hops += share.hops;
        self.children.held.turns += share.turns;
        self.children.held.escalations += share.escalations;
        self.ledger.open_child(*number, share);
        self.children.all.push(Child {
            number: *number,
            id: *child,
            turn: *turn,
            attempt: *attempt,
            fingerprint: *fingerprint,
            share: share.clone(),
            goal: super::view::short(&contract.goal),
            contract: Some(contract.clone()),
            state: None,
            used: None,
            reason: String::new(),
            started_at: at,
            ended_at: None,
        });
    }

    fn on_child_ended(&mut self, ended: &ChildEnded, at: Timestamp) {
        let ChildEnded { number, child: _, state, used, reason } = ended;
        let Some(child) = self.children.get_mut(*number) else { return };
        child.ended_at = Some(at);
        child.state = *state;
        child.contract = None;
        child.reason.clone_from(reason);
        self.children.open -= 1;
        match used {
            Some(used) => self.settle_child(*number, used),
            None => self.ledger.stop_child(*number),
        }
    }

    /// An account of a child that was stopped, or a later one of a child that has ended.
    fn on_child_heard(&mut self, report: &ChildReport) {
        let Some(child) = self.children.get_mut(report.number) else { return };
        child.state = report.state;
        self.settle_child(report.number, &report.used);
    }

    fn settle_child(&mut self, number: u32, used: &Used) {
        let Some(child) = self.children.get_mut(number) else { return };
        let merged = child.used.as_ref().map_or_else(|| used.clone(), |before| before.merge(used));
        // Whatever a child says: what it was not given it cannot have counted against this task's caps.
        let counted = |used: &Used, share: &Share| {
            (used.hops.min(share.hops), used.turns.min(share.turns), used.escalations.min(share.escalations))
        };
        let before = child.used.as_ref().map(|before| counted(before, &child.share));
        let after = counted(&merged, &child.share);
        let share = child.share.clone();
        child.used = Some(merged.clone());
        if before.is_none() {
            self.children.held.hops -= share.hops;
            self.children.held.turns -= share.turns;
            self.children.held.escalations -= share.escalations;
        }
        let before = before.unwrap_or_default();
        self.counters.hops = self.counters.hops - before.0 + after.0;
        self.counters.turns = self.counters.turns - before.1 + after.1;
        self.counters.escalations = self.counters.escalations - before.2 + after.2;
        self.ledger.settle_child(number, &merged);
    }
}

/// Faces.
impl Task {
    /// What this is a child of.
    pub const fn parent(&self) -> Option<&Parent> {
        self.parent.as_ref()
    }

    /// Hops that are used or reserved for children.
    pub(super) const fn hops_taken(&self) -> u32 {
        self.counters.hops + self.children.held.hops
    }

    /// Work turns that are used or reserved for children.
    pub(super) const fn turns_taken(&self) -> u32 {
        self.counters.turns + self.children.held.turns
    }

    /// Questions that are used or reserved for children.
    pub(super) const fn escalations_taken(&self) -> u32 {
        self.counters.escalations + self.children.held.escalations
    }

    /// Whether an attempt has submitted a child that is open.
    pub(super) fn has_children_of(&self, turn: TurnNumber, attempt: AttemptNumber) -> bool {
        self.children
            .all
            .iter()
            .any(|child| child.is_open() && (child.turn, child.attempt) == (turn, attempt))
    }

    /// What makes the child with this number, while it is open.
    pub fn birth(&self, number: u32) -> Option<Birth> {
        let child = self.children.get(number)?;
        let contract = child.contract.clone()?;
        let parent = Parent {
            task: self.id,
            number,
            turn: child.turn,
            attempt: child.attempt,
            depth: self.parent.as_ref().map_or(0, |parent| parent.depth) + 1,
            traceparent: Some(crate::types::trace_ids::attempt_traceparent(
                self.id,
                &self.trace,
                child.turn,
                child.attempt,
            )),
            labels: self.labels_for_children(),
        };
        Some(Birth { child: child.id, contract, fingerprint: child.fingerprint, parent })
    }

    /// The child with this number that its parent has stopped, and why.
    pub fn stopped_child(&self, number: u32) -> Option<(TaskId, String)> {
        let child = self.children.get(number)?;
        (!child.is_open() && child.used.is_none()).then(|| (child.id, child.reason.clone()))
    }

    /// What a child that has ended tells its parent.
    pub fn report(&self) -> Option<(TaskId, ChildReport)> {
        let (parent, outcome) = (self.parent.as_ref()?, self.outcome.as_ref()?);
        let ledger = self.ledger.view();
        let used = Used {
            usage: ledger.usage,
            // Nothing runs any more: what is reserved, is for attempts and children that were not heard of.
            unheard: ledger.reserved,
            hops: self.hops_taken(),
            turns: self.turns_taken(),
            escalations: self.escalations_taken(),
            by_agent: self.ledger.by_agent_with_children(),
        };
        let report = ChildReport { number: parent.number, child: self.id, state: Some(outcome.state), used };
        Some((parent.task, report))
    }

    pub(super) fn children_views(&self) -> Vec<ChildView> {
        let view = |child: &Child| {
            let (hops, turns) =
                child.used.as_ref().map_or((child.share.hops, child.share.turns), |u| (u.hops, u.turns));
            ChildView {
                child: child.id,
                number: child.number,
                turn: child.turn,
                attempt: child.attempt,
                goal: child.goal.clone(),
                state: child.state,
                open: child.is_open(),
                tokens: child.share.tokens,
                reserved: self.ledger.reserved_for_child(child.number),
                spent: child.used.as_ref().map_or(0, |used| used.usage.tokens()),
                hops,
                turns,
                started_at: child.started_at,
                ended_at: child.ended_at,
                reason: child.reason.clone(),
            }
        };
        self.children.all.iter().map(view).collect()
    }

    /// What must hold of the children; linear in their number.
    pub(super) fn audit_children(&self) {
        let open = self.children.all.iter().filter(|child| child.is_open()).count();
        assert_eq!(u32::try_from(open), Ok(self.children.open));
        assert_eq!(u32::try_from(self.children.all.len()), Ok(self.counters.children));
        let held = |f: &dyn Fn(&Share) -> u32| -> u32 {
            self.children.all.iter().filter(|c| c.used.is_none()).map(|c| f(&c.share)).sum()
        };
        assert_eq!(held(&|s| s.hops), self.children.held.hops);
        assert_eq!(held(&|s| s.turns), self.children.held.turns);
        assert_eq!(held(&|s| s.escalations), self.children.held.escalations);
        assert!(self.outcome.is_none() || self.children.open == 0, "no child outlives its parent");
        assert!(
            self.children.open == 0 || self.open_decide().is_none(),
            "no child runs while the owner decides"
        );
    }

    /// Work turns that children used, for the audit.
    pub(super) fn turns_of_children(&self) -> u32 {
        let turns = |child: &Child| child.used.as_ref().map_or(0, |used| used.turns.min(child.share.turns));
        self.children.all.iter().map(turns).sum()
    }
}
