//! The contract, out: with every default filled in, as `GetTask` and `CheckContract` show it.

use crate::{
    pb,
    service::convert::{
        enums, int32, int64,
        plan::plan_out,
        time::duration,
        value::{structure, value},
    },
    types::contract::{Budget, Contract, Convergence, Escalation, Gate, Limits, Retry, Start},
};

/// A contract for the wire.
pub fn contract_out(contract: &Contract) -> pb::Contract {
    let Contract {
        goal,
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
        idempotency_key,
        namespace,
        guards,
    } = contract;
    let start = match start {
        Start::FirstAgent(agent) => pb::contract::Start::FirstAgent(agent.to_string()),
        Start::Plan(plan) => pb::contract::Start::Plan(plan_out(plan)),
    };
    pb::Contract {
        goal: goal.clone(),
        input: input.as_ref().map(value),
        start: Some(start),
        owner: owner.to_string(),
        budget: Some(budget_out(budget)),
        limits: Some(limits_out(limits)),
        termination: Some(pb::Termination {
            result_schema: result_schema.as_ref().map(structure),
            acceptance: acceptance.clone(),
            convergence: convergence.map(convergence_out),
        }),
        gate: Some(gate_out(gate)),
        escalation: Some(escalation_out(escalation)),
        retry: Some(retry_out(retry)),
        allowed_hand_offs: allowed_hand_offs
            .iter()
            .map(|(from, to)| pb::AllowedHandOff {
                from: from.to_string(),
                to: to.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        labels: labels.clone(),
        priority: i32::from(*priority),
        idempotency_key: idempotency_key.clone().unwrap_or_default(),
        guards: Some(super::guards::out(guards)),
        namespace: namespace.to_string(),
    }
}

/// When rounds stop paying, for the wire.
pub(crate) const fn convergence_out(convergence: Convergence) -> pb::Convergence {
    let Convergence { min_gain, patience } = convergence;
    // At most `MAX_PATIENCE`.
    pb::Convergence { min_gain, patience: patience.cast_signed() }
}

fn budget_out(budget: &Budget) -> pb::Budget {
    let Budget {
        max_tokens,
        max_cost_nano_usd,
        dearest_nano_usd_per_token: _, // The server's price table, not the client's term.
        max_tokens_per_turn,
        min_tokens_per_turn,
        finalization_reserve,
        max_tokens_by_agent,
    } = budget;
    pb::Budget {
        max_tokens: int64(*max_tokens),
        max_cost_nano_usd: int64(max_cost_nano_usd.unwrap_or(0)),
        max_tokens_per_turn: int64(*max_tokens_per_turn),
        min_tokens_per_turn: int64(*min_tokens_per_turn),
        finalization_reserve_tokens: int64(*finalization_reserve),
        max_tokens_by_agent: max_tokens_by_agent
            .iter()
            .map(|(agent, most)| (agent.to_string(), int64(*most)))
            .collect(),
    }
}

fn limits_out(limits: &Limits) -> pb::Limits {
    let Limits {
        deadline,
        finalization_reserve,
        max_hops,
        max_turns,
        max_replans,
        max_rounds,
        max_attempts,
        max_parallel,
        max_corrections,
        decide_timeout,
        max_decides,
        worker_wait,
        max_lifetime,
        max_children,
        max_depth,
    } = limits;
    pb::Limits {
        deadline: Some(duration(*deadline)),
        finalization_reserve: Some(duration(*finalization_reserve)),
        max_hops: Some(int32(*max_hops)),
        max_turns: int32(*max_turns),
        max_replans: Some(int32(*max_replans)),
        max_rounds: int32(*max_rounds),
        max_attempts: int32(*max_attempts),
        max_parallel: int32(*max_parallel),
        max_children: int32(*max_children),
        max_corrections: Some(int32(*max_corrections)),
        decide_timeout: Some(duration(*decide_timeout)),
        max_decides: int32(*max_decides),
        worker_wait: Some(duration(*worker_wait)),
        max_lifetime: Some(duration(*max_lifetime)),
        max_depth: Some(int32(*max_depth)),
    }
}

fn gate_out(gate: &Gate) -> pb::Gate {
    let Gate { min_confidence, max_revisions, validator, spot_check_rate } = gate;
    pb::Gate {
        min_confidence: min_confidence.get(),
        validator: validator.as_ref().map(ToString::to_string).unwrap_or_default(),
        max_revisions: Some(int32(*max_revisions)),
        spot_check_rate: *spot_check_rate,
    }
}

fn escalation_out(escalation: &Escalation) -> pb::EscalationPolicy {
    let Escalation { timeout, default_answer, max_escalations, owner_fallback } = escalation;
    pb::EscalationPolicy {
        timeout: Some(duration(*timeout)),
        default_answer: enums::default_answer(*default_answer) as i32,
        max_escalations: Some(int32(*max_escalations)),
        owner_fallback: enums::owner_fallback(*owner_fallback) as i32,
    }
}

fn retry_out(retry: &Retry) -> pb::RetryPolicy {
    let Retry { initial_backoff, max_backoff } = retry;
    pb::RetryPolicy {
        initial_backoff: Some(duration(*initial_backoff)),
        max_backoff: Some(duration(*max_backoff)),
    }
}
