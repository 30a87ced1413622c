//! A recorded run, whatever it was read from. Never here: parsing, or a judgement.

use serde::Deserialize;

/// One recorded run of a multi-agent system.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trace {
    /// The recording's own id.
    pub trace_id: String,
    /// The set it belongs to: results are reported by set.
    pub dataset: String,
    /// The shape of the crew within its set (from `meta.topology` or `meta.config`); empty where the recording does not say.
    #[serde(default)]
    pub topology: String,
    /// How the run was graded.
    pub outcome: RunOutcome,
    /// The step after which stopping cannot change the graded result; `None` where that is not known.
    #[serde(default)]
    pub outcome_fixed_at: Option<u64>,
    /// The steps, in order.
    pub steps: Vec<TraceStep>,
}

/// How a run was graded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum RunOutcome {
    Success,
    Failure,
    Unknown,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TraceStep {
    /// Its number, as the recording counts.
    pub i: u64,
    /// Who.
    pub agent: String,
    /// As whom.
    pub role: StepRole,
    /// What kind of thing.
    pub kind: StepKind,
    /// The tool, for calls and results.
    #[serde(default)]
    pub tool: Option<String>,
    /// The content.
    pub text: String,
    /// The canonical call (tool name and arguments) of a tool call.
    #[serde(default)]
    pub call: Option<String>,
    /// Scripted by an orchestrator rather than said by a model.
    #[serde(default)]
    pub templated: bool,
    /// Tokens the model read.
    #[serde(default)]
    pub prompt_tokens: Option<u64>,
    /// Tokens the model wrote.
    #[serde(default)]
    pub completion_tokens: Option<u64>,
}

/// As whom a step was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum StepRole {
    Assistant,
    User,
    Tool,
    System,
}

/// What kind of thing a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum StepKind {
    Message,
    ToolCall,
    ToolResult,
}
