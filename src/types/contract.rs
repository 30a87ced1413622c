//! The contract, complete: every default filled in, every bound checked. Made only by `engine::intake`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    envelope::Confidence,
    guards::GuardTerms,
    ids::{AgentName, Namespace},
    payload::Payload,
    plan::{Plan, PlanDraft},
    time::Span,
};

/// All that is fixed about a task before anything runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contract {
    /// What is to be achieved.
    pub goal: String,
    /// What the first agent is given.
    pub input: Option<Payload>,
    /// How it starts.
    pub start: Start,
    /// The agent accountable for completion.
    pub owner: AgentName,
    /// Tokens and money.
    pub budget: Budget,
    /// Time, hops and counts.
    pub limits: Limits,
    /// JSON Schema a result must fit.
    pub result_schema: Option<Payload>,
    /// When further rounds stop paying; `None`: only `max_rounds` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convergence: Option<Convergence>,
    /// Rules (CEL) a result must keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acceptance: Vec<String>,
    /// The gate.
    pub gate: Gate,
    /// When and how a person is asked.
    pub escalation: Escalation,
    /// How technical failures are retried.
    pub retry: Retry,
    /// Hand-offs allowed, by sender; empty: any.
    pub allowed_hand_offs: BTreeMap<AgentName, Vec<AgentName>>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// 0 to 9, higher first.
    pub priority: u8,
    /// The idempotency key, if any.
    pub idempotency_key: Option<String>,
    /// Whose bulkhead its attempts share.
    #[serde(default, skip_serializing_if = "Namespace::is_default")]
    pub namespace: Namespace,
    /// The guards over what is said and done.
    #[serde(default)]
    pub guards: GuardTerms,
}

/// How a task starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// With this agent's turn.
    FirstAgent(AgentName),
    /// With this plan; `result_step` is set.
    Plan(Plan),
}

/// Tokens and money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Tokens of the whole task.
    pub max_tokens: u64,
    /// Money of the whole task, in nano-USD.
    pub max_cost_nano_usd: Option<u64>,
    /// The dearest price at intake, in nano-USD a token: what a reserved token may cost at most. 0 without `max_cost`.
    pub dearest_nano_usd_per_token: u64,
    /// Tokens of a turn, at most.
    pub max_tokens_per_turn: u64,
    /// Tokens of a turn, at least.
    pub min_tokens_per_turn: u64,
    /// The finalization reserve, in tokens.
    pub finalization_reserve: u64,
    /// Tokens by agent, at most.
    pub max_tokens_by_agent: BTreeMap<AgentName, u64>,
}

/// Time, hops and counts. Meanings and defaults: proto/bailiwick/v1/contract.proto.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Limits {
    pub deadline: Span,
    pub finalization_reserve: Span,
    pub max_hops: u32,
    pub max_turns: u32,
    pub max_replans: u32,
    pub max_rounds: u32,
    pub max_attempts: u32,
    pub max_parallel: u32,
    pub max_corrections: u32,
    pub decide_timeout: Span,
    pub max_decides: u32,
    pub worker_wait: Span,
    pub max_lifetime: Span,
    /// A task from before there were children has none.
    #[serde(default)]
    pub max_children: u32,
    #[serde(default)]
    pub max_depth: u32,
}

/// When further rounds stop paying.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// The least gain of the score, 0 to 1, that counts as progress.
    pub min_gain: f64,
    /// Rounds without that gain before it ends.
    pub patience: u32,
}

/// What stands between an answer and SUCCEEDED.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The least confidence.
    pub min_confidence: Confidence,
    /// Revision turns before a person is asked.
    pub max_revisions: u32,
    /// The agent that must agree, if one must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<AgentName>,
    /// The share of results that a person looks at although they passed everything: 0 to 1.
    #[serde(default)]
    pub spot_check_rate: f64,
}

/// When and how a person is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalation {
    /// How long a question stays open.
    pub timeout: Span,
    /// What an unanswered question means.
    pub default_answer: DefaultAnswer,
    /// Questions over the whole task.
    pub max_escalations: u32,
    /// What happens when the owner does not decide.
    pub owner_fallback: OwnerFallback,
}

/// What an unanswered question means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DefaultAnswer {
    /// PARTIAL with the best result, else FAILED.
    Partial,
    /// FAILED.
    Abort,
}

/// What happens when the owner does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OwnerFallback {
    /// Ask a person, else finish.
    Escalate,
    /// PARTIAL with the best result, else FAILED.
    Finish,
}

/// How technical failures are retried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// The wait before the second attempt; doubles.
    pub initial_backoff: Span,
    /// The longest wait.
    pub max_backoff: Span,
}

/// A contract as it came in: nothing checked. A duration is in microseconds and may be nonsense; absent is `None`;
/// numbers keep the wire's meaning of 0.
#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)] // Named as the fields of proto/bailiwick/v1/contract.proto are.
pub struct ContractDraft {
    pub goal: String,
    pub input: Option<Payload>,
    pub first_agent: Option<String>,
    pub plan: Option<PlanDraft>,
    pub owner: String,
    pub budget: Option<BudgetDraft>,
    pub limits: Option<LimitsDraft>,
    pub termination: Option<TerminationDraft>,
    pub gate: GateDraft,
    pub escalation: EscalationDraft,
    pub retry: RetryDraft,
    pub allowed_hand_offs: Vec<(String, Vec<String>)>,
    pub labels: BTreeMap<String, String>,
    pub priority: i32,
    pub idempotency_key: String,
    /// Empty: that of the parent, or the default.
    pub namespace: String,
    pub guards: GuardsDraft,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct BudgetDraft {
    pub max_tokens: i64,
    pub max_cost_nano_usd: i64,
    pub max_tokens_per_turn: i64,
    pub min_tokens_per_turn: i64,
    pub finalization_reserve_tokens: i64,
    pub max_tokens_by_agent: BTreeMap<String, i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct LimitsDraft {
    pub deadline: Option<i64>,
    pub finalization_reserve: Option<i64>,
    pub max_hops: Option<i32>,
    pub max_turns: i32,
    pub max_replans: Option<i32>,
    pub max_rounds: i32,
    pub max_attempts: i32,
    pub max_parallel: i32,
    pub max_children: i32,
    pub max_corrections: Option<i32>,
    pub decide_timeout: Option<i64>,
    pub max_decides: i32,
    pub worker_wait: Option<i64>,
    pub max_lifetime: Option<i64>,
    pub max_depth: Option<i32>,
}

#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct TerminationDraft {
    pub result_schema: Option<Payload>,
    pub acceptance: Vec<String>,
    pub convergence: Option<ConvergenceDraft>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[allow(missing_docs)]
pub struct ConvergenceDraft {
    pub min_gain: f64,
    pub patience: i32,
}

#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct GateDraft {
    pub min_confidence: f64,
    pub validator: String,
    pub max_revisions: Option<i32>,
    pub spot_check_rate: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct EscalationDraft {
    pub timeout: Option<i64>,
    pub default_answer: Option<DefaultAnswer>,
    pub max_escalations: Option<i32>,
    pub owner_fallback: Option<OwnerFallback>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct RetryDraft {
    pub initial_backoff: Option<i64>,
    pub max_backoff: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Default)]
#[allow(missing_docs)]
pub struct GuardsDraft {
    pub repetition_off: bool,
    pub times: i32,
    pub max_cycle: i32,
    pub similarity: f64,
    pub finished_off: bool,
    pub restated: Option<i32>,
    pub confirmed: Option<bool>,
    pub idle: Option<i32>,
    pub drafts_off: bool,
    pub draft_similarity: f64,
    pub max_steps: i32,
}
