//! Every limit and default in one place, related to each other at compile time. A number that bounds something stands
//! here or nowhere.

use super::time::Span;

/// Bounds and defaults that no configuration changes.
pub mod fixed {
    use super::Span;

    /// The longest goal, in characters.
    pub const MAX_GOAL_CHARS: usize = 16_384;
    /// The largest JSON value that passes through (input, result), in bytes.
    pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;
    /// The largest schema, in bytes.
    pub const MAX_SCHEMA_BYTES: usize = 64 << 10;
    /// The longest reason, question or note, in bytes.
    pub const MAX_TEXT_BYTES: usize = 4 << 10;
    /// Steps in a plan.
    pub const MAX_STEPS: usize = 1_000;
    /// Agents that a step may fall back to.
    pub const MAX_FALLBACKS: usize = 8;
    /// The part of `worker_wait` that an absent agent of a step is waited for while a fallback is left.
    pub const FALLBACK_WAIT_PART: u64 = 4;
    /// Steps in one progress report.
    pub const MAX_WORK_STEPS: usize = 100;
    /// Content of one streamed step, in bytes.
    pub const MAX_WORK_STEP_BYTES: usize = 16 << 10;
    /// Lineage entries on an assignment beside the dependencies.
    pub const RECENT_LINEAGE: usize = 8;
    /// Labels on a task.
    pub const MAX_LABELS: usize = 32;
    /// A label's key, in bytes.
    pub const MAX_LABEL_KEY_BYTES: usize = 63;
    /// A label's value, in bytes.
    pub const MAX_LABEL_VALUE_BYTES: usize = 255;
    /// An idempotency key, in bytes.
    pub const MAX_KEY_BYTES: usize = 256;
    /// Entries in lists of agents.
    pub const MAX_LIST: usize = 64;
    /// The highest priority.
    pub const MAX_PRIORITY: u8 = 9;

    /// The smallest budget, in tokens.
    pub const MIN_TOKENS: u64 = 1_000;
    /// The smallest finalization reserve, in tokens: half for a decide turn, half for a validate turn.
    pub const MIN_FINALIZATION_TOKENS: u64 = 400;
    /// The default reserve is this part of the budget, and of the deadline.
    pub const FINALIZATION_PART: u64 = 10;
    /// The default turn is this part of what the reserve leaves.
    pub const TURN_PART: u64 = 4;
    /// The shortest deadline.
    pub const MIN_DEADLINE: Span = Span::from_secs(1);
    /// The shortest reserve of time, decide time-out and worker wait.
    pub const MIN_SHORT_SPAN: Span = Span::from_millis(100);
    /// The longest default for the reserve of time and the decide time-out.
    pub const MAX_DEFAULT_RESERVE: Span = Span::from_secs(60);
    /// Hand-offs. The mission's figure.
    pub const DEFAULT_HOPS: u32 = 12;
    /// Work turns.
    pub const DEFAULT_TURNS: u32 = 50;
    /// Re-plans.
    pub const DEFAULT_REPLANS: u32 = 3;
    /// Rounds.
    pub const DEFAULT_ROUNDS: u32 = 5;
    /// The gain of the score that counts as progress.
    pub const DEFAULT_MIN_GAIN: f64 = 0.01;
    /// Rounds without that gain.
    pub const DEFAULT_PATIENCE: u32 = 2;
    /// The most rounds without that gain.
    pub const MAX_PATIENCE: u32 = 100;
    /// Progress reports of one attempt: a worker that streams more has lost its way, and the journal must not grow without
    /// bound.
    pub const MAX_PROGRESS_REPORTS: u32 = 5_000;
    /// Steps and partial results that one attempt streams, in bytes.
    pub const MAX_PROGRESS_BYTES: u64 = 64 << 20;
    /// Requests for budget of one attempt.
    pub const MAX_BUDGET_REQUESTS: u32 = 200;
    /// Attempts a turn.
    pub const DEFAULT_ATTEMPTS: u32 = 3;
    /// Parallel steps.
    pub const DEFAULT_PARALLEL: u32 = 8;
    /// Corrections in a row.
    pub const DEFAULT_CORRECTIONS: u32 = 2;
    /// The most corrections in a row.
    pub const MAX_CORRECTIONS: u32 = 10;
    /// Decide turns.
    pub const DEFAULT_DECIDES: u32 = 3;
    /// The most decide turns.
    pub const MAX_DECIDES: u32 = 10;
    /// Wait for a worker.
    pub const DEFAULT_WORKER_WAIT: Span = Span::from_secs(300);
    /// Revisions.
    pub const DEFAULT_REVISIONS: u32 = 2;
    /// The most revisions.
    pub const MAX_REVISIONS: u32 = 20;
    /// Acceptance rules in a contract.
    pub const MAX_RULES: usize = 16;
    /// An acceptance rule, in characters.
    pub const MAX_RULE_CHARS: usize = 1_024;
    /// Reasons in a verdict.
    pub const MAX_REASONS: usize = 20;
    /// A reason in a verdict, in bytes.
    pub const MAX_REASON_BYTES: usize = 1 << 10;
    /// Questions.
    pub const DEFAULT_ESCALATIONS: u32 = 3;
    /// The most questions.
    pub const MAX_ESCALATIONS: u32 = 20;
    /// How long a question stays open.
    pub const DEFAULT_ESCALATION_TIMEOUT: Span = Span::from_secs(86_400);
    /// The shortest time a question stays open.
    pub const MIN_ESCALATION_TIMEOUT: Span = Span::from_secs(1);
    /// The wait before the second attempt.
    pub const DEFAULT_BACKOFF: Span = Span::from_millis(200);
    /// The longest default wait.
    pub const DEFAULT_MAX_BACKOFF: Span = Span::from_secs(10);
    /// The longest initial wait.
    pub const MAX_INITIAL_BACKOFF: Span = Span::from_secs(60);
    /// The longest wait.
    pub const MAX_BACKOFF: Span = Span::from_secs(600);

    const _: () =
        assert!(MIN_TOKENS >= 2 * MIN_FINALIZATION_TOKENS, "the reserve is at most half of a budget");
    const _: () = assert!(MAX_PAYLOAD_BYTES * 2 < 4 << 20, "an input and a result fit into one message");
    const _: () = assert!(DEFAULT_BACKOFF.0 <= DEFAULT_MAX_BACKOFF.0, "backoff grows");
}

/// The server's ceiling for every limit: a contract that asks for more is refused, so that "hard" means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // Named as the contract's fields are.
pub struct Ceilings {
    pub max_tokens: u64,
    pub deadline: Span,
    pub max_hops: u32,
    pub max_turns: u32,
    pub max_replans: u32,
    pub max_rounds: u32,
    pub max_attempts: u32,
    pub max_parallel: u32,
    pub escalation_timeout: Span,
    pub max_lifetime: Span,
    /// The dearest price in the server's table, in nano-USD a token; `None`: no table, so `max_cost` is refused.
    pub dearest_nano_usd_per_token: Option<u64>,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            max_tokens: 100_000_000,
            deadline: Span::from_secs(7 * 86_400),
            max_hops: 100,
            max_turns: 10_000,
            max_replans: 100,
            max_rounds: 1_000,
            max_attempts: 20,
            max_parallel: 256,
            escalation_timeout: Span::from_secs(30 * 86_400),
            max_lifetime: Span::from_secs(90 * 86_400),
            dearest_nano_usd_per_token: None,
        }
    }
}
