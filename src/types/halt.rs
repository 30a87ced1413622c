//! Halts: what is stopped, by whom and why, and the set of those in force. Pure words and questions. Never here: stopping
//! anything, which is the runtime's, and no clock.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    contract::{Contract, Start},
    ids::AgentName,
    time::{Span, Timestamp},
};

/// The most halts in force at once.
pub const MAX_HALTS: usize = 256;
/// Who a halt of the burn-rate guard is recorded as.
pub const GUARD: &str = "burn-rate guard";

/// What a halt stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HaltScope {
    /// Everything.
    All,
    /// One agent: its turns, and tasks that cannot do without it.
    Agent(AgentName),
    /// Every task with this label, and its children.
    Label {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
}

impl fmt::Display for HaltScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Agent(agent) => write!(f, "agent {agent}"),
            Self::Label { key, value } => write!(f, "label {key}={value}"),
        }
    }
}

/// What went too fast, where the burn-rate guard halted by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burn {
    /// The limit of the configuration that was passed.
    pub limit: String,
    /// Tokens within the window.
    pub tokens: u64,
    /// Nano-USD within the window.
    pub cost_nano_usd: u64,
    /// The window.
    pub window: Span,
    /// Tokens a minute that the limit allows; 0: it has none.
    pub tokens_per_minute: u64,
    /// Nano-USD a minute that the limit allows; 0: it has none.
    pub cost_per_minute: u64,
}

/// How a halt was lifted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// Who.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A halt, from its beginning to its end. Its JSON is what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Counts up from 1 over the life of the database.
    pub number: u64,
    /// What it stops.
    pub scope: HaltScope,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    #[serde(default)]
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
    /// Whether it ends the tasks that it covers.
    #[serde(default)]
    pub cancel: bool,
    /// Tasks it has ended so far.
    #[serde(default)]
    pub ended: u64,
    /// Whether it has ended all that it was to end.
    #[serde(default)]
    pub swept: bool,
    /// The figures, where the guard did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burn: Option<Burn>,
    /// How it was lifted; `None` while it is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted: Option<Lifted>,
}

impl fmt::Display for Halt {
    /// "everything is halted by ann since 2026-11-20T02:47:00.000000Z (halt 3): the price list is wrong".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, scope, by, reason, at, .. } = self;
        write!(f, "{scope} is halted by {by} since {at} (halt {number})")?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

/// What a task's own journal says of the halt that ended it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltMark {
    /// The halt.
    pub number: u64,
    /// What it stopped.
    pub scope: HaltScope,
    /// Who.
    pub by: String,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl From<&Halt> for HaltMark {
    fn from(halt: &Halt) -> Self {
        let Halt { number, scope, by, reason, .. } = halt;
        Self { number: *number, scope: scope.clone(), by: by.clone(), reason: reason.clone() }
    }
}

impl fmt::Display for HaltMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, scope, by, reason } = self;
        write!(f, "halted by {by} ({scope}, halt {number})")?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

/// What stands for a label where only its likeness is asked for: eight bytes of a hash (FNV-1a).
pub fn label_mark(key: &str, value: &str) -> u64 {
    let bytes = key.bytes().chain([0]).chain(value.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The marks of labels, in no order that means anything.
pub fn marks<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Box<[u64]> {
    labels.map(|(key, value)| label_mark(key, value)).collect()
}

/// The halts in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HaltSet {
    by_scope: BTreeMap<HaltScope, Arc<Halt>>,
    /// Of the labels among them.
    marks: Vec<u64>,
}

impl HaltSet {
    /// Adds one, in place of any of the same scope.
    pub fn insert(&mut self, halt: Arc<Halt>) {
        self.by_scope.insert(halt.scope.clone(), halt);
        self.mark();
    }

    /// Takes one away.
    pub fn remove(&mut self, scope: &HaltScope) -> Option<Arc<Halt>> {
        let halt = self.by_scope.remove(scope)?;
        self.mark();
        Some(halt)
    }

    fn mark(&mut self) {
        let labels = self.by_scope.keys().filter_map(|scope| match scope {
            HaltScope::Label { key, value } => Some(label_mark(key, value)),
            HaltScope::All | HaltScope::Agent(_) => None,
        });
        self.marks = labels.collect();
    }

    /// The one of this scope.
    pub fn get(&self, scope: &HaltScope) -> Option<&Arc<Halt>> {
        self.by_scope.get(scope)
    }

    /// The one that stops all of this scope: its own, or that of everything.
    pub fn on_scope(&self, scope: &HaltScope) -> Option<&Arc<Halt>> {
        self.get(&HaltScope::All).or_else(|| self.get(scope))
    }

    /// All of them, by scope.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Halt>> {
        self.by_scope.values()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.by_scope.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_scope.is_empty()
    }

    /// The one that stops this agent, or everything.
    pub fn of_agent(&self, agent: &AgentName) -> Option<&Arc<Halt>> {
        if self.is_empty() {
            return None;
        }
        self.get(&HaltScope::All).or_else(|| self.get(&HaltScope::Agent(agent.clone())))
    }

    /// Whether a task with these marks is stopped by a label.
    pub fn stops_marks(&self, marks: &[u64]) -> bool {
        !self.marks.is_empty() && marks.iter().any(|mark| self.marks.contains(mark))
    }

    /// The one of a label by which a task with these marks is stopped.
    pub fn of_marks(&self, marks: &[u64]) -> Option<&Arc<Halt>> {
        self.iter().find(|halt| match &halt.scope {
            HaltScope::Label { key, value } => marks.contains(&label_mark(key, value)),
            HaltScope::All | HaltScope::Agent(_) => false,
        })
    }

    /// Whether no turn of this agent, in a task with these marks, may be assigned.
    pub fn stops(&self, agent: &AgentName, marks: &[u64]) -> bool {
        !self.is_empty() && (self.of_agent(agent).is_some() || self.stops_marks(marks))
    }

    /// Those that hold back a task with these agents and labels, by scope.
    pub fn on<'a>(
        &self,
        agents: impl IntoIterator<Item = &'a AgentName>,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Vec<Arc<Halt>> {
        if self.is_empty() {
            return Vec::new();
        }
        let agents = agents.into_iter().map(|agent| HaltScope::Agent(agent.clone()));
        let label = |(key, value): (&str, &str)| HaltScope::Label { key: key.into(), value: value.into() };
        let scopes = [HaltScope::All].into_iter().chain(agents).chain(labels.into_iter().map(label));
        let scopes: std::collections::BTreeSet<HaltScope> = scopes.collect();
        scopes.iter().filter_map(|scope| self.get(scope).cloned()).collect()
    }

    /// The one that keeps a task under this contract from starting: it stops everything, a label of the task, or an agent that
    /// the contract cannot do without (its owner, its first agent, an agent of a step of its plan, its validator).
    pub fn on_contract(&self, contract: &Contract) -> Option<Arc<Halt>> {
        if self.is_empty() {
            return None;
        }
        self.on(needed(contract), contract.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())))
            .into_iter()
            .next()
    }
}

/// The agents that a contract cannot do without.
fn needed(contract: &Contract) -> Vec<&AgentName> {
    let mut agents = vec![&contract.owner];
    match &contract.start {
        Start::FirstAgent(agent) => agents.push(agent),
        Start::Plan(plan) => agents.extend(plan.steps.iter().map(|step| &step.agent)),
    }
    agents.extend(&contract.gate.validator);
    agents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halt(scope: HaltScope) -> Arc<Halt> {
        Arc::new(Halt {
            number: 3,
            scope,
            by: "ann".to_owned(),
            reason: "the price list is wrong".to_owned(),
            at: Timestamp(0),
            cancel: false,
            ended: 0,
            swept: false,
            burn: None,
            lifted: None,
        })
    }

    fn agent(name: &str) -> AgentName {
        name.parse().expect("a valid name")
    }

    fn label(key: &str, value: &str) -> HaltScope {
        HaltScope::Label { key: key.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn a_set_stops_what_it_names_and_nothing_else() {
        let marked = marks([("team", "search"), ("x", "y")].into_iter());
        let mut set = HaltSet::default();
        assert!(!set.stops(&agent("a"), &marked));
        set.insert(halt(HaltScope::Agent(agent("a"))));
        assert!(set.stops(&agent("a"), &[]) && !set.stops(&agent("b"), &marked));
        set.insert(halt(label("team", "search")));
        assert!(set.stops(&agent("b"), &marked));
        assert!(!set.stops(&agent("b"), &marks([("team", "other")].into_iter())));
        set.insert(halt(HaltScope::All));
        assert!(set.stops(&agent("c"), &[]));
        set.remove(&HaltScope::All);
        set.remove(&label("team", "search"));
        assert!(!set.stops(&agent("b"), &marked) && set.len() == 1);
    }

    #[test]
    fn key_and_value_do_not_run_into_each_other() {
        assert_ne!(label_mark("ab", "c"), label_mark("a", "bc"));
    }

    #[test]
    fn a_halt_reads_as_a_sentence_and_comes_back_from_its_json() {
        let halt = halt(label("team", "search"));
        assert_eq!(
            halt.to_string(),
            "label team=search is halted by ann since 1970-01-01T00:00:00.000000Z (halt 3): the price list is wrong"
        );
        let json = serde_json::to_string(&*halt).expect("it encodes");
        assert_eq!(serde_json::from_str::<Halt>(&json).expect("it decodes"), *halt);
    }
}
