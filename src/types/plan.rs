//! A validated plan: a directed acyclic graph of steps.

use serde::{Deserialize, Serialize};

use super::{
    ids::{AgentName, StepId},
    payload::Payload,
};

/// A plan whose ids are unique, whose dependencies exist and whose graph has no cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps, in the order given. Dependencies are indices into this list.
    pub steps: Vec<Step>,
    /// What happens to running siblings when a step fails.
    pub on_step_failure: OnStepFailure,
    /// The index of the step whose result is the plan's; static plans only.
    pub result_step: Option<usize>,
}

/// What happens to running siblings when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnStepFailure {
    /// They finish.
    #[default]
    Wait,
    /// They are cancelled.
    Cancel,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name within the plan.
    pub id: StepId,
    /// The agent that takes it.
    pub agent: AgentName,
    /// What it is given.
    pub input: Option<Payload>,
    /// Indices of the steps it needs.
    pub depends_on: Vec<usize>,
    /// Tokens held for it; `None` is the task's `max_tokens_per_turn`.
    pub max_tokens: Option<u64>,
    /// The agents that get a turn of it, in this order, when the one before has failed. None of them is `agent`, and none
    /// stands here twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_agents: Vec<AgentName>,
    /// Whether the plan goes on when it fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl Step {
    /// Every agent it names: its own, then the fallbacks.
    pub fn agents(&self) -> impl Iterator<Item = &AgentName> {
        std::iter::once(&self.agent).chain(&self.fallback_agents)
    }
}

/// A plan as it came in: nothing checked.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PlanDraft {
    /// The steps.
    pub steps: Vec<StepDraft>,
    /// What happens to running siblings when a step fails.
    pub on_step_failure: OnStepFailure,
    /// The step whose result is the plan's; empty: none.
    pub result_step: String,
}

/// A step as it came in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepDraft {
    /// Its name.
    pub id: String,
    /// Its agent.
    pub agent: String,
    /// Its input.
    pub input: Option<Payload>,
    /// Names of the steps it needs.
    pub depends_on: Vec<String>,
    /// Tokens; 0: default.
    pub max_tokens: i64,
    /// Agents to fall back to, in order.
    pub fallback_agents: Vec<String>,
    /// Whether the plan can do without it.
    pub optional: bool,
}
