//! The typed answer to a turn.

use serde::{Deserialize, Serialize};

use super::{ids::AgentName, payload::Payload, plan::Plan, usage::Usage};

/// How a turn went, in the agent's own judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The goal of the turn is met.
    Success,
    /// Something useful, not all that was asked.
    Partial,
    /// Nothing useful.
    Failed,
}

/// How sure an agent is: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidence(f64);

impl Confidence {
    /// The confidence, if it is a number from 0 to 1.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// As a number.
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// The answer to a work turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// How it went.
    pub status: Status,
    /// The result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Payload>,
    /// How sure the agent is; absent counts as 0 at the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the attempt used in all; `None`: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Lineage entries it drew on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs_used: Vec<String>,
    /// Whether another attempt may do better (technical failure).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
    /// What the agent wants next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directive: Option<Directive>,
    /// How good the result is, in the agent's own measure; absent: as good as it is sure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<Confidence>,
}

/// What the answering agent wants next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directive {
    /// Pass control to another agent.
    HandOff(HandOff),
    /// Run a plan, then have control back.
    Delegate(Plan),
    /// A plan that is no plan: kept as the reasons it was refused for, so that the agent can be told.
    InvalidPlan(Vec<String>),
    /// Ask a person.
    AskHuman(String),
}

/// Passes control to another agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOff {
    /// The agent.
    pub agent: AgentName,
    /// What it is given.
    pub input: Option<Payload>,
}

/// The answer to a decide turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go on with a plan, the owner as its planner.
    ReplanWith(Plan),
    /// A plan that is no plan, with the reasons.
    InvalidReplan(Vec<String>),
    /// Go on with one agent.
    ReplanTo(HandOff),
    /// End PARTIAL with this result or the best so far.
    CompletePartial {
        /// The result; `None`: the best so far.
        result: Option<Payload>,
        /// What is missing.
        reason: String,
    },
    /// Ask a person.
    Escalate(String),
    /// End FAILED.
    Abort(String),
}

/// What a validator says of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Judgement {
    /// It may become the outcome.
    Agree,
    /// It may not.
    Disagree,
}

/// The answer to a validate turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The verdict.
    pub verdict: Judgement,
    /// How sure the validator is; `None`: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// What stands against the candidate. Not empty where it disagrees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What the attempt used in all; `None`: not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// An answer as a worker sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To a work turn.
    Envelope(Envelope),
    /// To a decide turn.
    Decision {
        /// What the owner decided.
        decision: Decision,
        /// What the attempt used in all; `None`: not said.
        usage: Option<Usage>,
    },
    /// To a validate turn.
    Verdict(Verdict),
}

impl Envelope {
    /// How good the result is: its score, or, where none was said, the confidence.
    pub fn score(&self) -> Confidence {
        self.score.or(self.confidence).unwrap_or_default()
    }
}

impl Answer {
    /// What the attempt used in all, if the answer says.
    pub const fn usage(&self) -> Option<Usage> {
        match self {
            Self::Envelope(envelope) => envelope.usage,
            Self::Decision { usage, .. } => *usage,
            Self::Verdict(verdict) => verdict.usage,
        }
    }

    /// The result it carries, if any.
    pub const fn result(&self) -> Option<&Payload> {
        match self {
            Self::Envelope(envelope) => envelope.result.as_ref(),
            Self::Decision { decision: Decision::CompletePartial { result, .. }, .. } => result.as_ref(),
            Self::Decision { .. } | Self::Verdict(_) => None,
        }
    }
}

/// A step that a worker streamed from inside a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkStep {
    /// What kind of thing.
    pub kind: WorkStepKind,
    /// The tool, for calls and results.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tool: String,
    /// The content or its fingerprint.
    pub content: String,
    /// Whether `content` is a fingerprint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fingerprint: bool,
}

/// What a step inside a turn is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkStepKind {
    /// Something said.
    Message,
    /// A tool was called.
    ToolCall,
    /// What the tool gave back.
    ToolResult,
}
