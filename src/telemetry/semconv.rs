//! Every name that a trace carries, in one file: span names, event names, attribute keys.
//!
//! The `gen_ai.*` names are OpenTelemetry's semantic conventions for generative AI, written out here because they are
//! still in development and the constants in the crates come and go. The `bailiwick.*` names are our own; people build
//! searches and dashboards on them, so they are added to and never renamed.

/// Span: a task, the root. Value of `gen_ai.operation.name` too.
pub const INVOKE_WORKFLOW: &str = "invoke_workflow";
/// Span: a turn, followed by the agent's name. Value of `gen_ai.operation.name` too.
pub const INVOKE_AGENT: &str = "invoke_agent";
/// Span: an attempt, followed by its number.
pub const ATTEMPT: &str = "attempt";
/// Span: the gate's judgement of a turn's result.
pub const GATE: &str = "gate";
/// Span: what the owner was asked to decide, and what it decided.
pub const DECIDE: &str = "decide";
/// Span: a question to a person.
pub const ESCALATION: &str = "escalation";
/// Span: a delegated plan, followed by its number.
pub const PLAN: &str = "plan";
/// Span and event: usage that was heard of after the fact.
pub const LATE_USAGE: &str = "late_usage";

/// Event: control was passed on.
pub const HAND_OFF: &str = "hand_off";
/// Event: a guard tripped.
pub const TRIP: &str = "guard_tripped";
/// Event: a directive was refused.
pub const DIRECTIVE_REFUSED: &str = "directive_refused";
/// Event: a request for a greater allowance was answered.
pub const BUDGET_ANSWERED: &str = "budget_answered";
/// Event: a step of a plan ended.
pub const STEP_ENDED: &str = "step_ended";

/// The operation.
pub const GEN_AI_OPERATION_NAME: &str = "gen_ai.operation.name";
/// The agent's name.
pub const GEN_AI_AGENT_NAME: &str = "gen_ai.agent.name";
/// Tokens read, cached ones included.
pub const GEN_AI_USAGE_INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Tokens written, reasoning included.
pub const GEN_AI_USAGE_OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// The part of the tokens read that came from a cache.
pub const GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
/// The part of the tokens written that was reasoning.
pub const GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
/// The class of a failure: here always a cause or an attempt's end.
pub const ERROR_TYPE: &str = "error.type";

/// The service, of a resource.
pub const SERVICE_NAME: &str = "service.name";
/// The service's version, of a resource.
pub const SERVICE_VERSION: &str = "service.version";
/// The machine, of a resource.
pub const HOST_NAME: &str = "host.name";

/// The task's id.
pub const TASK_ID: &str = "bailiwick.task.id";
/// The first characters of the task's goal.
pub const TASK_GOAL: &str = "bailiwick.task.goal";
/// The agent accountable for completion.
pub const TASK_OWNER: &str = "bailiwick.task.owner";
/// The contract's priority.
pub const TASK_PRIORITY: &str = "bailiwick.task.priority";
/// Prefix of the contract's labels.
pub const LABEL_PREFIX: &str = "bailiwick.label.";

/// The parent of a child.
pub const PARENT_TASK_ID: &str = "bailiwick.parent.task.id";
/// Levels above a child.
pub const DEPTH: &str = "bailiwick.depth";
/// A child of the task.
pub const CHILD_TASK_ID: &str = "bailiwick.child.task.id";
/// Children of the task.
pub const CHILDREN: &str = "bailiwick.children";
/// Tokens that children used, of those spent.
pub const CHILDREN_SPENT: &str = "bailiwick.children.spent";
/// A child was submitted: an event.
pub const CHILD_STARTED: &str = "child_started";
/// A child ended or was stopped: an event.
pub const CHILD_ENDED: &str = "child_ended";

/// How the task ended: the state.
pub const OUTCOME_STATE: &str = "bailiwick.outcome.state";
/// How the task ended: by whom.
pub const OUTCOME_ENDED_BY: &str = "bailiwick.outcome.ended_by";
/// How the task ended: why.
pub const OUTCOME_CAUSE: &str = "bailiwick.outcome.cause";
/// How the task ended: the story in a sentence.
pub const OUTCOME_REASON: &str = "bailiwick.outcome.reason";

/// Hops: of the task in all, on the root; with this one, on a hand-off.
pub const HOPS: &str = "bailiwick.hops";
/// Work turns of the task.
pub const TURNS: &str = "bailiwick.turns";
/// Validate turns of the task; absent where there were none.
pub const VALIDATES: &str = "bailiwick.validates";
/// Decide turns of the task.
pub const DECIDES: &str = "bailiwick.decides";
/// Attempts of the task, or of the turn.
pub const ATTEMPTS: &str = "bailiwick.attempts";
/// Plans of the task.
pub const PLANS: &str = "bailiwick.plans";
/// Questions of the task.
pub const ESCALATIONS: &str = "bailiwick.escalations";

/// Tokens granted to the task.
pub const GRANTED: &str = "bailiwick.granted";
/// Tokens reserved: still, on the root; for the attempt when it was leased, on an attempt.
pub const RESERVED: &str = "bailiwick.reserved";
/// Tokens charged.
pub const SPENT: &str = "bailiwick.spent";
/// Tokens spent beyond every grant.
pub const OVERRUN: &str = "bailiwick.overrun";
/// Tokens of attempts that were never heard of again.
pub const UNHEARD: &str = "bailiwick.unheard";
/// Money, in nano-USD.
pub const COST_NANO_USD: &str = "bailiwick.cost_nano_usd";

/// The turn's number.
pub const TURN_NUMBER: &str = "bailiwick.turn.number";
/// The turn's kind: WORK, DECIDE or VALIDATE.
pub const TURN_KIND: &str = "bailiwick.turn.kind";
/// Whether the turn revises a result that the gate refused.
pub const TURN_REVISION: &str = "bailiwick.turn.revision";
/// Whether the owner gave the task to this agent, counted as a re-plan.
pub const TURN_REPLAN: &str = "bailiwick.turn.replan";
/// Whether it is the turn of a step's fallback agent; absent: no.
pub const TURN_FALLBACK: &str = "bailiwick.turn.fallback";
/// A ready turn met an open circuit: an event.
pub const TURN_HELD_UP: &str = "turn_held_up";
/// Why it was held up.
pub const HELD_UP_REASON: &str = "bailiwick.held_up.reason";
/// The fallback that takes the step over for that; absent: it waits.
pub const HELD_UP_PASSED_TO: &str = "bailiwick.held_up.passed_to";
/// Corrections in a row that led to the turn.
pub const TURN_CORRECTIONS: &str = "bailiwick.turn.corrections";
/// Why the turn was closed without an answer.
pub const TURN_CAUSE: &str = "bailiwick.turn.cause";
/// The answer's status: SUCCESS, PARTIAL, FAILED.
pub const ANSWER_STATUS: &str = "bailiwick.answer.status";
/// The answer's confidence, 0 to 1.
pub const ANSWER_CONFIDENCE: &str = "bailiwick.answer.confidence";
/// The answer's directive: hand_off, delegate, ask_human.
pub const ANSWER_DIRECTIVE: &str = "bailiwick.answer.directive";
/// Why, in a sentence.
pub const REASON: &str = "bailiwick.reason";

/// The attempt's number within its turn.
pub const ATTEMPT_NUMBER: &str = "bailiwick.attempt.number";
/// How the attempt ended: ANSWERED, LEASE_EXPIRED, RELEASED, RETRYABLE, REVOKED.
pub const ATTEMPT_END: &str = "bailiwick.attempt.end";
/// Why the server revoked the attempt.
pub const ATTEMPT_CAUSE: &str = "bailiwick.attempt.cause";
/// Steps that the worker streamed from inside the attempt.
pub const ATTEMPT_STEPS: &str = "bailiwick.attempt.steps";
/// Tokens the attempt could use at last.
pub const ALLOWANCE: &str = "bailiwick.allowance";
/// The worker.
pub const WORKER_ID: &str = "bailiwick.worker.id";

/// Tokens asked for.
pub const BUDGET_ASKED: &str = "bailiwick.budget.asked";
/// Tokens granted on request; 0 is a denial.
pub const BUDGET_GRANTED: &str = "bailiwick.budget.granted";
/// Tokens that could still be granted.
pub const BUDGET_LEFT: &str = "bailiwick.budget.left";

/// The plan's number.
pub const PLAN_NUMBER: &str = "bailiwick.plan.number";
/// What the delegation counted as: STATIC, ROUND, REPLAN.
pub const PLAN_KIND: &str = "bailiwick.plan.kind";
/// The number of the turn that delegated the plan; absent for the contract's own.
pub const PLAN_PLANNER_TURN: &str = "bailiwick.plan.planner_turn";
/// The ids of the plan's steps.
pub const PLAN_STEPS: &str = "bailiwick.plan.steps";
/// Tokens held for the plan.
pub const PLAN_HELD: &str = "bailiwick.plan.held";
/// Whether every required step went well.
pub const PLAN_SUCCEEDED: &str = "bailiwick.plan.succeeded";
/// The step's id.
pub const STEP_ID: &str = "bailiwick.step.id";
/// How the step ended.
pub const STEP_END: &str = "bailiwick.step.end";
/// Whether the step failed and the plan went on without it; absent: no.
pub const STEP_OPTIONAL: &str = "bailiwick.step.optional";

/// Whether the gate let the result pass.
pub const GATE_PASSED: &str = "bailiwick.gate.passed";
/// What stands against a result.
pub const FINDINGS: &str = "bailiwick.findings";
/// A validator's verdict: AGREE, DISAGREE.
pub const VERDICT: &str = "bailiwick.verdict";
/// How sure the validator was, 0 to 1.
pub const VERDICT_CONFIDENCE: &str = "bailiwick.verdict.confidence";
/// The turn that a validate turn judges.
pub const TURN_JUDGES: &str = "bailiwick.turn.judges";
/// What judged: RULES, OUTPUT_SCHEMA, VALIDATOR.
pub const GATE_CHECK: &str = "bailiwick.gate.check";
/// Dependencies that the answer left out of the inputs it named.
pub const INPUTS_IGNORED: &str = "bailiwick.inputs.ignored";
/// Inputs the answer named that do not exist.
pub const INPUTS_UNKNOWN: &str = "bailiwick.inputs.unknown";
/// Whether the answer had inputs and did not say which it used.
pub const INPUTS_NOT_SAID: &str = "bailiwick.inputs.not_said";
/// What the owner decided: replan, complete_partial, escalate, abort.
pub const DECISION: &str = "bailiwick.decision";
/// What tripped.
pub const TRIP_CAUSES: &str = "bailiwick.trip.causes";
/// The evidence for what tripped, with the figures.
pub const TRIP_EVIDENCE: &str = "bailiwick.trip.evidence";
/// What a trip stops: TASK, STEP, DECISION.
pub const TRIP_SCOPE: &str = "bailiwick.trip.scope";
/// The turns that are the evidence.
pub const TRIP_TURNS: &str = "bailiwick.trip.turns";
/// Which comparison of content found it.
pub const TRIP_PATTERN: &str = "bailiwick.trip.pattern";
/// How many times what repeated was seen.
pub const TRIP_TIMES: &str = "bailiwick.trip.times";
/// Entries in one round of the cycle.
pub const TRIP_CYCLE: &str = "bailiwick.trip.cycle_length";
/// How alike the least alike two are, 0 to 1.
pub const TRIP_SIMILARITY: &str = "bailiwick.trip.similarity";

/// The question's number.
pub const ESCALATION_NUMBER: &str = "bailiwick.escalation.number";
/// The question.
pub const ESCALATION_QUESTION: &str = "bailiwick.escalation.question";
/// Why a person was asked.
pub const ESCALATION_CAUSE: &str = "bailiwick.escalation.cause";
/// How the question ended: APPROVED, AMENDED, EXTENDED, ABORTED, EXPIRED, WITHDRAWN.
pub const ESCALATION_END: &str = "bailiwick.escalation.end";
/// Who answered it.
pub const ESCALATION_BY: &str = "bailiwick.escalation.by";
/// Event of the task: a person raised caps.
pub const EXTENSION: &str = "extension";
/// What was added to the caps, in words.
pub const EXTENSION_ADDED: &str = "bailiwick.extension.added";

/// The agent that had control.
pub const HAND_OFF_FROM: &str = "bailiwick.hand_off.from";
/// The agent that has it now.
pub const HAND_OFF_TO: &str = "bailiwick.hand_off.to";
