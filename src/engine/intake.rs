//! Intake: a draft becomes a contract, or every fault in it is named at once, each with what to write. Never here: the
//! registry itself (it comes in), schema compilation (the service's), defaults that are not in `types::limits`.

mod checks;
mod child;
mod gate;
mod guards;
mod plan;

use std::collections::BTreeMap;

use checks::Checks;
pub use child::{Terms, complete_any_child, complete_child};
pub use guards::guard_terms;
pub use plan::plan;

use crate::types::{
    contract::{
        Budget, Contract, ContractDraft, Convergence, DefaultAnswer, Escalation, Limits, LimitsDraft,
        OwnerFallback, Retry, Start,
    },
    drill,
    ids::AgentName,
    limits::{Ceilings, fixed},
    plan::Plan,
    time::Span,
};

/// One thing wrong with a draft, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as a path: "limits.deadline".
    pub field: String,
    /// What is wrong and what to write.
    pub description: String,
}

/// Completes a draft: every default filled in, or every fault named, sorted by field.
pub fn complete(
    draft: &ContractDraft,
    ceilings: &Ceilings,
    is_known: &dyn Fn(&AgentName) -> bool,
) -> Result<Contract, Vec<Violation>> {
    let mut checks = Checks::new(is_known);
    let owner = checks.agent("owner", &draft.owner);
    let start = start(draft, &mut checks);
    let budget = budget(draft, ceilings, &mut checks);
    let escalation = escalation(draft, ceilings, &mut checks);
    let limits = limits(draft, ceilings, &escalation, &mut checks);
    let gate = gate::terms(draft, &mut checks);
    let retry = retry(draft, &mut checks);
    let guards = guards::complete(&draft.guards, &mut checks);
    let allowed_hand_offs = hand_offs(draft, &mut checks);
    let namespace = checks.namespace(&draft.namespace);
    texts(draft, &mut checks);
    gate::termination(draft, &mut checks);
    let convergence = convergence(draft, &mut checks);
    gate::check(&gate, draft, &escalation, start.as_ref(), owner.as_ref(), &mut checks);
    if let (Some(Start::Plan(plan)), Some(budget)) = (&start, &budget) {
        plan_is_funded(plan, budget, &mut checks);
    }
    let violations = checks.into_violations();
    match (owner, start, budget, limits) {
        (Some(owner), Some(start), Some(budget), Some(limits)) if violations.is_empty() => Ok(Contract {
            goal: draft.goal.clone(),
            input: draft.input.clone(),
            start,
            owner,
            budget,
            limits,
            result_schema: draft.termination.as_ref().and_then(|t| t.result_schema.clone()),
            convergence,
            acceptance: draft.termination.as_ref().map(|t| t.acceptance.clone()).unwrap_or_default(),
            gate,
            escalation,
            retry,
            allowed_hand_offs,
            labels: draft.labels.clone(),
            priority: u8::try_from(draft.priority).unwrap_or_default(),
            idempotency_key: Some(draft.idempotency_key.clone()).filter(|key| !key.is_empty()),
            namespace,
            guards,
        }),
        _ => {
            assert!(!violations.is_empty(), "what is incomplete has been named");
            Err(violations)
        }
    }
}

fn texts(draft: &ContractDraft, checks: &mut Checks<'_>) {
    let chars = draft.goal.chars().count();
    if draft.goal.trim().is_empty() {
        checks.fault("goal", "is missing: write what is to be achieved, in a sentence or more");
    } else if chars > fixed::MAX_GOAL_CHARS {
        checks.fault(
            "goal",
            format!(
                "has {chars} characters: write at most {}; longer material goes into input",
                fixed::MAX_GOAL_CHARS
            ),
        );
    }
    if let Some(input) = &draft.input {
        checks.payload("input", input, fixed::MAX_PAYLOAD_BYTES);
    }
    if draft.idempotency_key.len() > fixed::MAX_KEY_BYTES {
        checks.fault("idempotency_key", format!("is longer than {} bytes: shorten it", fixed::MAX_KEY_BYTES));
    }
    if !(0..=i32::from(fixed::MAX_PRIORITY)).contains(&draft.priority) {
        checks.fault("priority", format!("is {}: write 0 to {}", draft.priority, fixed::MAX_PRIORITY));
    }
    if draft.labels.len() > fixed::MAX_LABELS {
        checks.fault(
            "labels",
            format!("has {} entries: write at most {}", draft.labels.len(), fixed::MAX_LABELS),
        );
    }
    for (key, value) in &draft.labels {
        checks.label(key, value);
    }
    reserved_labels(draft, checks);
}

/// Labels that the server gives a meaning to. A drill alone may carry its own: what it proves must not be claimed by work.
fn reserved_labels(draft: &ContractDraft, checks: &mut Checks<'_>) {
    let is_drill = draft.owner == drill::AGENT && draft.first_agent.as_deref() == Some(drill::AGENT);
    for (key, value) in draft.labels.iter().filter(|(key, _)| key.starts_with(drill::RESERVED_PREFIX)) {
        if !(is_drill && key == drill::LABEL && value == drill::LABEL_VALUE) {
            checks.fault(
                format!("labels.{key}"),
                format!(
                    "begins with {}, which is the server's own: write another key",
                    drill::RESERVED_PREFIX
                ),
            );
        }
    }
}

fn start(draft: &ContractDraft, checks: &mut Checks<'_>) -> Option<Start> {
    match (&draft.first_agent, &draft.plan) {
        (Some(agent), None) => checks.agent("first_agent", agent).map(Start::FirstAgent),
        (None, Some(draft)) => {
            let plan = checks.plan("plan", draft)?;
            match plan.result_step.and_then(|index| plan.steps.get(index)) {
                None => {
                    checks.fault("plan.result_step", "is missing: name the step whose result is the task's");
                }
                Some(step) if step.optional => checks.fault(
                    "plan.result_step",
                    format!("names {}, which is optional: the plan has no result without it", step.id),
                ),
                Some(_) => {}
            }
            Some(Start::Plan(plan))
        }
        (Some(_), Some(_)) => {
            checks.fault("first_agent", "stands beside plan: write exactly one of first_agent and plan");
            None
        }
        (None, None) => {
            checks
                .fault("first_agent", "is missing: name the agent that has the first turn, or write a plan");
            None
        }
    }
}

fn budget(draft: &ContractDraft, ceilings: &Ceilings, checks: &mut Checks<'_>) -> Option<Budget> {
    let Some(budget) = &draft.budget else {
        checks.fault("budget.max_tokens", "is missing: write the tokens the whole task may use");
        return None;
    };
    let range = (fixed::MIN_TOKENS, ceilings.max_tokens);
    let given = checks.required_tokens("budget.max_tokens", budget.max_tokens, range);
    // Without a sound total the other faults are named all the same, as far as any total would make them faults.
    let max_tokens = given.unwrap_or_else(|| range.1.max(range.0));
    let default_reserve = (max_tokens / fixed::FINALIZATION_PART).max(fixed::MIN_FINALIZATION_TOKENS);
    let reserve = checks.tokens(
        "budget.finalization_reserve_tokens",
        budget.finalization_reserve_tokens,
        default_reserve,
        (fixed::MIN_FINALIZATION_TOKENS, max_tokens / 2),
    );
    let default_turn = ((max_tokens - reserve) / fixed::TURN_PART).max(1);
    let per_turn = checks.tokens(
        "budget.max_tokens_per_turn",
        budget.max_tokens_per_turn,
        default_turn,
        (1, max_tokens - reserve),
    );
    let min_turn = checks.tokens("budget.min_tokens_per_turn", budget.min_tokens_per_turn, 1, (1, per_turn));
    let mut by_agent = BTreeMap::new();
    if budget.max_tokens_by_agent.len() > fixed::MAX_LIST {
        checks.fault("budget.max_tokens_by_agent", format!("write at most {} entries", fixed::MAX_LIST));
    }
    for (name, &tokens) in &budget.max_tokens_by_agent {
        let field = format!("budget.max_tokens_by_agent.{name}");
        let agent = checks.agent(&field, name);
        let tokens = checks.required_tokens(&field, tokens, (1, max_tokens));
        by_agent.extend(agent.zip(tokens));
    }
    let (max_cost_nano_usd, dearest) = cost(budget.max_cost_nano_usd, ceilings, checks);
    Some(Budget {
        max_tokens: given?,
        max_cost_nano_usd,
        dearest_nano_usd_per_token: dearest,
        max_tokens_per_turn: per_turn,
        min_tokens_per_turn: min_turn,
        finalization_reserve: reserve,
        max_tokens_by_agent: by_agent,
    })
}

fn cost(max_cost: i64, ceilings: &Ceilings, checks: &mut Checks<'_>) -> (Option<u64>, u64) {
    let field = "budget.max_cost_nano_usd";
    match (u64::try_from(max_cost), ceilings.dearest_nano_usd_per_token) {
        (Ok(0), _) => (None, 0),
        (Err(_), _) => {
            checks.fault(field, format!("is {max_cost}: write nano-USD greater than 0, or leave it out"));
            (None, 0)
        }
        (Ok(_), None) => {
            checks.fault(
                field,
                "needs a price table, and this server has none: leave it out, or have prices configured",
            );
            (None, 0)
        }
        (Ok(cost), Some(dearest)) => (Some(cost), dearest),
    }
}

fn limits(
    draft: &ContractDraft,
    ceilings: &Ceilings,
    escalation: &Escalation,
    checks: &mut Checks<'_>,
) -> Option<Limits> {
    let empty = LimitsDraft::default();
    let limits = draft.limits.as_ref().unwrap_or(&empty);
    let count = |value: i32| if value == 0 { None } else { Some(value) };
    let max_hops =
        checks.count("limits.max_hops", limits.max_hops, fixed::DEFAULT_HOPS, (0, ceilings.max_hops));
    let max_turns = checks.count(
        "limits.max_turns",
        count(limits.max_turns),
        fixed::DEFAULT_TURNS,
        (1, ceilings.max_turns),
    );
    let max_replans = checks.count(
        "limits.max_replans",
        limits.max_replans,
        fixed::DEFAULT_REPLANS,
        (0, ceilings.max_replans),
    );
    let max_rounds = checks.count(
        "limits.max_rounds",
        count(limits.max_rounds),
        fixed::DEFAULT_ROUNDS,
        (1, ceilings.max_rounds),
    );
    let max_attempts = checks.count(
        "limits.max_attempts",
        count(limits.max_attempts),
        fixed::DEFAULT_ATTEMPTS,
        (1, ceilings.max_attempts),
    );
    let max_parallel = checks.count(
        "limits.max_parallel",
        count(limits.max_parallel),
        fixed::DEFAULT_PARALLEL,
        (1, ceilings.max_parallel),
    );
    let (max_children, max_depth) = family(limits, ceilings, checks);
    let max_corrections = checks.count(
        "limits.max_corrections",
        limits.max_corrections,
        fixed::DEFAULT_CORRECTIONS,
        (0, fixed::MAX_CORRECTIONS),
    );
    let max_decides = checks.count(
        "limits.max_decides",
        count(limits.max_decides),
        fixed::DEFAULT_DECIDES,
        (1, fixed::MAX_DECIDES),
    );
    let times = times(limits, ceilings, escalation, checks)?;
    Some(Limits {
        max_hops,
        max_turns,
        max_replans,
        max_rounds,
        max_attempts,
        max_parallel,
        max_corrections,
        max_decides,
        max_children,
        max_depth,
        ..times
    })
}

/// How many children there may be, and how many levels of them.
fn family(limits: &LimitsDraft, ceilings: &Ceilings, checks: &mut Checks<'_>) -> (u32, u32) {
    let children = Some(limits.max_children).filter(|count| *count != 0);
    let most = (1, ceilings.max_children);
    let max_children = checks.count("limits.max_children", children, fixed::DEFAULT_CHILDREN, most);
    let most = (0, ceilings.max_depth);
    let max_depth = checks.count("limits.max_depth", limits.max_depth, fixed::DEFAULT_DEPTH, most);
    (max_children, max_depth)
}

/// The limits of time; the counts in it are zero.
fn times(
    limits: &LimitsDraft,
    ceilings: &Ceilings,
    escalation: &Escalation,
    checks: &mut Checks<'_>,
) -> Option<Limits> {
    let short = fixed::MIN_SHORT_SPAN;
    if limits.deadline.is_none() {
        checks.fault(
            "limits.deadline",
            "is missing: write the wall-clock time of the whole task, such as \"600s\"",
        );
    }
    // Without a sound deadline the other faults are named all the same, as far as any deadline would make them faults.
    let range = (fixed::MIN_DEADLINE, ceilings.deadline);
    let deadline = checks.span("limits.deadline", limits.deadline, range.1.max(range.0), range);
    let reserve = checks.span(
        "limits.finalization_reserve",
        limits.finalization_reserve,
        deadline.part(fixed::FINALIZATION_PART).min(fixed::MAX_DEFAULT_RESERVE),
        (short, deadline.part(2)),
    );
    let decide_timeout = checks.span(
        "limits.decide_timeout",
        limits.decide_timeout,
        reserve.min(fixed::MAX_DEFAULT_RESERVE),
        (short, reserve.max(short)),
    );
    let worker_wait = checks.span(
        "limits.worker_wait",
        limits.worker_wait,
        fixed::DEFAULT_WORKER_WAIT.min(deadline),
        (short, deadline),
    );
    let waits = escalation.timeout.times(u64::from(escalation.max_escalations));
    let max_lifetime = checks.span(
        "limits.max_lifetime",
        limits.max_lifetime,
        Span(deadline.0.saturating_add(waits.0)).min(ceilings.max_lifetime),
        (deadline, ceilings.max_lifetime),
    );
    Some(Limits {
        deadline,
        finalization_reserve: reserve,
        max_hops: 0,
        max_turns: 0,
        max_replans: 0,
        max_rounds: 0,
        max_attempts: 0,
        max_parallel: 0,
        max_corrections: 0,
        decide_timeout,
        max_decides: 0,
        worker_wait,
        max_lifetime,
        max_children: 0,
        max_depth: 0,
    })
}

fn convergence(draft: &ContractDraft, checks: &mut Checks<'_>) -> Option<Convergence> {
    let draft = draft.termination.as_ref()?.convergence?;
    let min_gain = if draft.min_gain == 0.0 { fixed::DEFAULT_MIN_GAIN } else { draft.min_gain };
    if !(min_gain > 0.0 && min_gain <= 1.0) {
        checks.fault(
            "termination.convergence.min_gain",
            format!("is {min_gain}: write a number greater than 0, 1 at most"),
        );
    }
    let patience = checks.count(
        "termination.convergence.patience",
        Some(draft.patience).filter(|&patience| patience != 0),
        fixed::DEFAULT_PATIENCE,
        (1, fixed::MAX_PATIENCE),
    );
    Some(Convergence { min_gain, patience })
}

fn escalation(draft: &ContractDraft, ceilings: &Ceilings, checks: &mut Checks<'_>) -> Escalation {
    let draft = &draft.escalation;
    Escalation {
        timeout: checks.span(
            "escalation.timeout",
            draft.timeout,
            fixed::DEFAULT_ESCALATION_TIMEOUT.min(ceilings.escalation_timeout),
            (fixed::MIN_ESCALATION_TIMEOUT, ceilings.escalation_timeout),
        ),
        default_answer: draft.default_answer.unwrap_or(DefaultAnswer::Partial),
        max_escalations: checks.count(
            "escalation.max_escalations",
            draft.max_escalations,
            fixed::DEFAULT_ESCALATIONS,
            (0, fixed::MAX_ESCALATIONS),
        ),
        owner_fallback: draft.owner_fallback.unwrap_or(OwnerFallback::Escalate),
    }
}

fn retry(draft: &ContractDraft, checks: &mut Checks<'_>) -> Retry {
    let initial_backoff = checks.span(
        "retry.initial_backoff",
        draft.retry.initial_backoff,
        fixed::DEFAULT_BACKOFF,
        (Span::ZERO, fixed::MAX_INITIAL_BACKOFF),
    );
    let max_backoff = checks.span(
        "retry.max_backoff",
        draft.retry.max_backoff,
        fixed::DEFAULT_MAX_BACKOFF.max(initial_backoff),
        (initial_backoff, fixed::MAX_BACKOFF),
    );
    Retry { initial_backoff, max_backoff }
}

fn hand_offs(draft: &ContractDraft, checks: &mut Checks<'_>) -> BTreeMap<AgentName, Vec<AgentName>> {
    let mut allowed = BTreeMap::new();
    if draft.allowed_hand_offs.len() > fixed::MAX_LIST {
        checks.fault("allowed_hand_offs", format!("write at most {} entries", fixed::MAX_LIST));
    }
    for (index, (from, to)) in draft.allowed_hand_offs.iter().enumerate() {
        let field = format!("allowed_hand_offs[{index}]");
        let from = checks.agent(&format!("{field}.from"), from);
        if to.is_empty() || to.len() > fixed::MAX_LIST {
            checks.fault(format!("{field}.to"), format!("name 1 to {} agents", fixed::MAX_LIST));
        }
        let to: Vec<_> = to.iter().filter_map(|name| checks.agent(&format!("{field}.to"), name)).collect();
        if let Some(from) = from
            && allowed.insert(from.clone(), to).is_some()
        {
            checks.fault(format!("{field}.from"), format!("{from} has an entry already: write one each"));
        }
    }
    allowed
}

/// A static plan that cannot be held whole would trip the budget guard at once.
fn plan_is_funded(plan: &Plan, budget: &Budget, checks: &mut Checks<'_>) {
    let step = |tokens: Option<u64>| tokens.unwrap_or(budget.max_tokens_per_turn);
    let sum = plan.steps.iter().fold(0_u64, |sum, s| sum.saturating_add(step(s.max_tokens)));
    let free = budget.max_tokens - budget.finalization_reserve;
    if sum > free {
        checks.fault(
            "plan.steps",
            format!(
                "need {sum} tokens in all, and {free} are free beside the reserve: give steps a smaller max_tokens or the \
                 task a greater budget.max_tokens"
            ),
        );
    }
    let mut by_agent = BTreeMap::<&AgentName, u64>::new();
    for (index, s) in plan.steps.iter().enumerate() {
        let least = budget.min_tokens_per_turn;
        if step(s.max_tokens) < least {
            checks.fault(
                format!("plan.steps[{index}].max_tokens"),
                format!("is less than budget.min_tokens_per_turn: write at least {least}"),
            );
        }
        let sum = by_agent.entry(&s.agent).or_default();
        *sum = sum.saturating_add(step(s.max_tokens));
    }
    for (agent, sum) in by_agent {
        if let Some(&cap) = budget.max_tokens_by_agent.get(agent)
            && sum > cap
        {
            checks.fault(
                format!("budget.max_tokens_by_agent.{agent}"),
                format!("is {cap}, and the plan's steps of {agent} need {sum}"),
            );
        }
    }
}
