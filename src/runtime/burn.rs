//! The burn-rate guard: how fast tokens and money go, over everything, by agent and by label, against the limits of the
//! configuration. What is counted is durable already; what it remembers is a minute, and a restart begins afresh.
//!
//! Never here: the halt itself; the halter makes it of what is said here.

mod window;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::types::{
    halt::{Burn, HaltScope},
    ids::AgentName,
    time::{Span, Timestamp},
    usage::Usage,
};
use window::{Spent, Window, exceeds};

/// Windows of all limits at once: of more agents or values of a label, those are forgotten that are still, then others.
const MAX_WINDOWS: usize = 10_000;

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BurnOf {
    /// Everything together.
    Everything,
    /// One agent.
    Agent(AgentName),
    /// Every agent by itself.
    EachAgent,
    /// Tasks with this label, and their children, together.
    Label(String, String),
    /// Tasks with this label key, every value by itself.
    EachLabel(String),
}

/// What follows when a limit is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BurnAction {
    /// Somebody is told.
    Warn,
    /// What was counted is halted.
    Halt,
    /// And its tasks end.
    HaltAndCancel,
}

/// A limit of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BurnLimit {
    /// Its name there.
    pub name: String,
    /// What it counts.
    pub of: BurnOf,
    /// Tokens a minute; 0: not limited.
    pub tokens_per_minute: u64,
    /// Nano-USD a minute; 0: not limited.
    pub cost_per_minute: u64,
    /// Over how long it is measured.
    pub window: Span,
    /// What follows.
    pub action: BurnAction,
}

/// A limit was passed. Its JSON is what is kept of it, for webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burned {
    /// Counts up from 1 over the life of the database; 0 until it is kept.
    #[serde(default)]
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who was too fast.
    pub scope: HaltScope,
    /// The figures.
    pub burn: Burn,
    /// What follows.
    pub action: BurnAction,
    /// The halt that was made of it, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halt: Option<u64>,
}

/// Names of notes about passed limits begin so.
pub const BURN_NOTES: &str = "burn/";

impl std::fmt::Display for Burned {
    /// "agent a used 1200 tokens and 0 nano-USD within 60s; limit "agents" allows 1000 tokens a minute".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Burn { limit, tokens, cost_nano_usd, window, tokens_per_minute, cost_per_minute } = &self.burn;
        write!(f, "{} used {tokens} tokens and {cost_nano_usd} nano-USD within {window}; ", self.scope)?;
        let said = [(*tokens_per_minute, "tokens"), (*cost_per_minute, "nano-USD")];
        let said = said.iter().filter(|(most, _)| *most > 0).map(|(most, what)| format!("{most} {what}"));
        write!(f, "limit {limit:?} allows {} a minute", said.collect::<Vec<_>>().join(" and "))
    }
}

/// See the file's header.
#[derive(Debug, Default)]
pub(super) struct BurnGuard {
    limits: Vec<BurnLimit>,
    windows: Mutex<BTreeMap<(usize, HaltScope), Window>>,
}

impl BurnGuard {
    pub(super) fn new(limits: Vec<BurnLimit>) -> Self {
        Self { limits, windows: Mutex::default() }
    }

    /// Whether there is nothing to count for.
    pub(super) const fn is_off(&self) -> bool {
        self.limits.is_empty()
    }

    fn windows(&self) -> MutexGuard<'_, BTreeMap<(usize, HaltScope), Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what an agent has used for a task with these labels, and says which limits that passes. Their windows begin
    /// afresh.
    pub(super) fn count(
        &self,
        at: Timestamp,
        agent: &AgentName,
        labels: &[(String, String)],
        usage: Usage,
    ) -> Vec<Burned> {
        let spent = Spent { tokens: usage.tokens(), cost_nano_usd: usage.cost_nano_usd };
        let mut windows = self.windows();
        let mut burned = Vec::new();
        for (index, limit) in self.limits.iter().enumerate() {
            for scope in limit.of.scopes(agent, labels) {
                if windows.len() >= MAX_WINDOWS && !windows.contains_key(&(index, scope.clone())) {
                    self.make_room(&mut windows, at);
                }
                let key = (index, scope);
                let sum = windows.entry(key.clone()).or_default().add(at, spent, limit.window);
                if limit.is_passed_by(sum) {
                    windows.remove(&key);
                    burned.push(limit.burned(at, key.1, sum));
                }
            }
        }
        burned
    }

    fn make_room(&self, windows: &mut BTreeMap<(usize, HaltScope), Window>, at: Timestamp) {
        let length = |index: usize| self.limits.get(index).map_or(Span::ZERO, |limit| limit.window);
        windows.retain(|(index, _), window| !window.is_over(at, length(*index)));
        // If all of them move, the last by name go, and are counted from nothing should they move again. Many at once, so that
        // this is rare.
        while windows.len() > MAX_WINDOWS / 10 * 9 {
            windows.pop_last();
        }
    }

    /// What is counted for this scope begins afresh; for everything: all of it.
    pub(super) fn afresh(&self, scope: &HaltScope) {
        self.windows().retain(|(_, counted), _| *scope != HaltScope::All && counted != scope);
    }
}

impl BurnOf {
    fn scopes(&self, agent: &AgentName, labels: &[(String, String)]) -> Vec<HaltScope> {
        let label =
            |(key, value): &(String, String)| HaltScope::Label { key: key.clone(), value: value.clone() };
        match self {
            Self::Everything => vec![HaltScope::All],
            Self::EachAgent => vec![HaltScope::Agent(agent.clone())],
            Self::Agent(name) if name == agent => vec![HaltScope::Agent(agent.clone())],
            Self::Agent(_) => Vec::new(),
            Self::Label(key, value) => {
                labels.iter().filter(|(k, v)| k == key && v == value).take(1).map(label).collect()
            }
            Self::EachLabel(key) => labels.iter().filter(|(k, _)| k == key).map(label).collect(),
        }
    }
}

impl BurnLimit {
    const fn is_passed_by(&self, sum: Spent) -> bool {
        (self.tokens_per_minute > 0 && exceeds(sum.tokens, self.tokens_per_minute, self.window))
            || (self.cost_per_minute > 0 && exceeds(sum.cost_nano_usd, self.cost_per_minute, self.window))
    }

    fn burned(&self, at: Timestamp, scope: HaltScope, sum: Spent) -> Burned {
        let burn = Burn {
            limit: self.name.clone(),
            tokens: sum.tokens,
            cost_nano_usd: sum.cost_nano_usd,
            window: self.window,
            tokens_per_minute: self.tokens_per_minute,
            cost_per_minute: self.cost_per_minute,
        };
        Burned { number: 0, at, scope, burn, action: self.action, halt: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(of: BurnOf, tokens_per_minute: u64) -> BurnLimit {
        let (window, action) = (Span::from_secs(60), BurnAction::Halt);
        BurnLimit { name: "l".to_owned(), of, tokens_per_minute, cost_per_minute: 0, window, action }
    }

    fn agent(name: &str) -> AgentName {
        name.parse().expect("a valid name")
    }

    fn count(guard: &BurnGuard, name: &str, team: &str, tokens: u64) -> Vec<HaltScope> {
        let labels = [("team".to_owned(), team.to_owned())];
        let usage = Usage { input: tokens, ..Usage::default() };
        let burned = guard.count(Timestamp(1_000_000_000), &agent(name), &labels, usage);
        burned.into_iter().map(|burned| burned.scope).collect()
    }

    fn team(value: &str) -> HaltScope {
        HaltScope::Label { key: "team".to_owned(), value: value.to_owned() }
    }

    #[test]
    fn each_limit_counts_what_it_names() {
        let each = |of, most| BurnGuard::new(vec![limit(of, most)]);
        let all = each(BurnOf::Everything, 10);
        assert_eq!(count(&all, "a", "x", 10), []);
        assert_eq!(count(&all, "b", "y", 1), [HaltScope::All], "more than ten, together");
        assert_eq!(count(&all, "b", "y", 10), [], "afresh after it has said so");

        let agents = each(BurnOf::EachAgent, 10);
        assert_eq!(count(&agents, "a", "x", 10), []);
        assert_eq!(count(&agents, "b", "x", 10), []);
        assert_eq!(count(&agents, "a", "x", 1), [HaltScope::Agent(agent("a"))]);

        let one = each(BurnOf::Agent(agent("b")), 10);
        assert_eq!(count(&one, "a", "x", 100), []);
        assert_eq!(count(&one, "b", "x", 11), [HaltScope::Agent(agent("b"))]);

        let teams = each(BurnOf::EachLabel("team".to_owned()), 10);
        assert_eq!(count(&teams, "a", "x", 10), []);
        assert_eq!(count(&teams, "a", "y", 11), [team("y")]);
        let x = each(BurnOf::Label("team".to_owned(), "x".to_owned()), 10);
        assert_eq!((count(&x, "a", "y", 99), count(&x, "a", "x", 11)), (vec![], vec![team("x")]));
    }

    #[test]
    fn what_was_resumed_is_counted_afresh() {
        let guard = BurnGuard::new(vec![limit(BurnOf::EachAgent, 10)]);
        count(&guard, "a", "x", 9);
        count(&guard, "b", "x", 9);
        guard.afresh(&HaltScope::Agent(agent("a")));
        assert_eq!(count(&guard, "a", "x", 9), []);
        assert_eq!(count(&guard, "b", "x", 9), [HaltScope::Agent(agent("b"))]);
        guard.afresh(&HaltScope::All);
        assert_eq!(count(&guard, "a", "x", 9), []);
    }

    #[test]
    fn memory_is_bounded_however_many_values_a_label_has() {
        let guard = BurnGuard::new(vec![limit(BurnOf::EachLabel("team".to_owned()), 10)]);
        for value in 0..MAX_WINDOWS + 500 {
            count(&guard, "a", &value.to_string(), 1);
        }
        assert!(guard.windows().len() <= MAX_WINDOWS);
    }

    #[test]
    fn money_is_counted_where_it_is_limited() {
        let limits = vec![BurnLimit { cost_per_minute: 5, ..limit(BurnOf::Everything, 0) }];
        let guard = BurnGuard::new(limits);
        let usage = |cost_nano_usd| Usage { input: 1_000, cost_nano_usd, ..Usage::default() };
        assert_eq!(guard.count(Timestamp(0), &agent("a"), &[], usage(5)), []);
        let burned = guard.count(Timestamp(0), &agent("a"), &[], usage(1)).remove(0);
        let said =
            "everything used 2000 tokens and 6 nano-USD within 60s; limit \"l\" allows 5 nano-USD a minute";
        assert_eq!(burned.to_string(), said);
    }
}
