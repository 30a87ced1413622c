//! What differs between two contracts, by the names of the fields: for whoever used a key twice, and for the record of a
//! redrive. Equality is of what a contract means, every default filled in. Never here: a decision.

use std::fmt::Display;

use crate::types::contract::{Budget, Contract, Escalation, Gate, Limits, Retry, Start};

/// The longest list.
const MAX_LINES: usize = 32;

struct Differences(Vec<String>);

impl Differences {
    /// A field whose values are worth a line.
    fn value<T: PartialEq + Display>(&mut self, field: &str, one: &T, other: &T) {
        if one != other {
            self.0.push(format!("{field}: {one} -> {other}"));
        }
    }

    /// A field that may be absent.
    fn option<T: PartialEq + Display>(&mut self, field: &str, one: Option<&T>, other: Option<&T>) {
        let say = |value: Option<&T>| value.map_or_else(|| "none".to_owned(), ToString::to_string);
        if one != other {
            self.0.push(format!("{field}: {} -> {}", say(one), say(other)));
        }
    }

    /// A field whose values may be long, or nobody else's business.
    fn name<T: PartialEq>(&mut self, field: &str, one: &T, other: &T) {
        if one != other {
            self.0.push(field.to_owned());
        }
    }
}

/// The fields in which they differ, a line each; empty: they mean the same. The idempotency key is not looked at: it names
/// the task and is no term of it.
pub fn differences(one: &Contract, other: &Contract) -> Vec<String> {
    let Contract {
        goal,
        namespace,
        input,
        start,
        owner,
        budget,
        limits,
        result_schema,
        convergence,
        acceptance,
        gate,
        escalation,
        retry,
        allowed_hand_offs,
        labels,
        priority,
        idempotency_key: _,
        guards,
    } = one;
    let mut found = Differences(Vec::new());
    found.name("goal", goal, &other.goal);
    found.value("namespace", namespace, &other.namespace);
    found.name("input", input, &other.input);
    match (start, &other.start) {
        (Start::FirstAgent(one), Start::FirstAgent(other)) => found.value("first_agent", one, other),
        (Start::Plan(one), Start::Plan(other)) => found.name("plan", one, other),
        (Start::FirstAgent(_), Start::Plan(_)) | (Start::Plan(_), Start::FirstAgent(_)) => {
            found.0.push("first_agent and plan".to_owned());
        }
    }
    found.value("owner", owner, &other.owner);
    budgets(&mut found, budget, &other.budget);
    counts(&mut found, limits, &other.limits);
    times(&mut found, limits, &other.limits);
    found.name("termination.result_schema", result_schema, &other.result_schema);
    found.name("termination.acceptance", acceptance, &other.acceptance);
    found.name("termination.convergence", convergence, &other.convergence);
    gates(&mut found, gate, &other.gate);
    escalations(&mut found, escalation, &other.escalation);
    retries(&mut found, retry, &other.retry);
    found.name("allowed_hand_offs", allowed_hand_offs, &other.allowed_hand_offs);
    found.name("labels", labels, &other.labels);
    found.value("priority", priority, &other.priority);
    found.name("guards", guards, &other.guards);
    found.0.truncate(MAX_LINES);
    found.0
}

fn budgets(found: &mut Differences, one: &Budget, other: &Budget) {
    let Budget {
        max_tokens,
        max_cost_nano_usd,
        dearest_nano_usd_per_token: _, // The server's price table at intake, no term of the contract.
        max_tokens_per_turn,
        min_tokens_per_turn,
        finalization_reserve,
        max_tokens_by_agent,
    } = one;
    found.value("budget.max_tokens", max_tokens, &other.max_tokens);
    let (cost, other_cost) = (max_cost_nano_usd.as_ref(), other.max_cost_nano_usd.as_ref());
    found.option("budget.max_cost_nano_usd", cost, other_cost);
    found.value("budget.max_tokens_per_turn", max_tokens_per_turn, &other.max_tokens_per_turn);
    found.value("budget.min_tokens_per_turn", min_tokens_per_turn, &other.min_tokens_per_turn);
    let reserve = "budget.finalization_reserve_tokens";
    found.value(reserve, finalization_reserve, &other.finalization_reserve);
    found.name("budget.max_tokens_by_agent", max_tokens_by_agent, &other.max_tokens_by_agent);
}

fn counts(found: &mut Differences, one: &Limits, other: &Limits) {
    found.value("limits.max_hops", &one.max_hops, &other.max_hops);
    found.value("limits.max_turns", &one.max_turns, &other.max_turns);
    found.value("limits.max_replans", &one.max_replans, &other.max_replans);
    found.value("limits.max_rounds", &one.max_rounds, &other.max_rounds);
    found.value("limits.max_attempts", &one.max_attempts, &other.max_attempts);
    found.value("limits.max_parallel", &one.max_parallel, &other.max_parallel);
    found.value("limits.max_corrections", &one.max_corrections, &other.max_corrections);
    found.value("limits.max_decides", &one.max_decides, &other.max_decides);
    found.value("limits.max_children", &one.max_children, &other.max_children);
    found.value("limits.max_depth", &one.max_depth, &other.max_depth);
}

fn times(found: &mut Differences, one: &Limits, other: &Limits) {
    let Limits {
        deadline,
        finalization_reserve,
        decide_timeout,
        worker_wait,
        max_lifetime,
        // Counts: see above.
        max_hops: _,
        max_turns: _,
        max_replans: _,
        max_rounds: _,
        max_attempts: _,
        max_parallel: _,
        max_corrections: _,
        max_decides: _,
        max_children: _,
        max_depth: _,
    } = one;
    found.value("limits.deadline", deadline, &other.deadline);
    found.value("limits.finalization_reserve", finalization_reserve, &other.finalization_reserve);
    found.value("limits.decide_timeout", decide_timeout, &other.decide_timeout);
    found.value("limits.worker_wait", worker_wait, &other.worker_wait);
    found.value("limits.max_lifetime", max_lifetime, &other.max_lifetime);
}

fn gates(found: &mut Differences, one: &Gate, other: &Gate) {
    let Gate { min_confidence, max_revisions, validator, spot_check_rate } = one;
    found.value("gate.min_confidence", &min_confidence.get(), &other.min_confidence.get());
    found.value("gate.max_revisions", max_revisions, &other.max_revisions);
    found.option("gate.validator", validator.as_ref(), other.validator.as_ref());
    found.value("gate.spot_check_rate", spot_check_rate, &other.spot_check_rate);
}

fn escalations(found: &mut Differences, one: &Escalation, other: &Escalation) {
    let Escalation { timeout, default_answer, max_escalations, owner_fallback } = one;
    found.value("escalation.timeout", timeout, &other.timeout);
    found.name("escalation.default_answer", default_answer, &other.default_answer);
    found.value("escalation.max_escalations", max_escalations, &other.max_escalations);
    found.name("escalation.owner_fallback", owner_fallback, &other.owner_fallback);
}

fn retries(found: &mut Differences, one: &Retry, other: &Retry) {
    let Retry { initial_backoff, max_backoff } = one;
    found.value("retry.initial_backoff", initial_backoff, &other.initial_backoff);
    found.value("retry.max_backoff", max_backoff, &other.max_backoff);
}
