//! The contract, in: a wire contract becomes a draft, and with the engine's intake a contract or every fault in it.
//!
//! Bounds of plain numbers are intake's; here are only the faults a draft cannot carry: enum numbers that mean nothing,
//! JSON that is none, a schema that is no schema. Out: `out`.

mod guards;
mod out;

pub use guards::out as guards_out;
pub use out::contract_out;
pub(crate) use out::convergence_out;

use prost::Message as _;
use uuid::Uuid;

use crate::{
    engine::intake::{self, Violation},
    pb,
    types::{
        contract::{
            BudgetDraft, Contract, ContractDraft, ConvergenceDraft, EscalationDraft, GateDraft, LimitsDraft,
            RetryDraft, TerminationDraft,
        },
        guards::GuardTerms,
        ids::AgentName,
        limits::{Ceilings, fixed},
        payload::Payload,
    },
};

use super::{enums, faults::Faults, plan::plan_draft, schema, time::micros};

/// The UUID namespace of contract fingerprints.
const FINGERPRINTS: Uuid = Uuid::from_u128(0x6261_696c_6977_4963_8b00_0000_0000_0003);

/// The hash of a contract as it came in, before defaults: what an idempotency key is compared on. Maps are ordered, so
/// the same contract encodes to the same bytes whoever sent it.
pub fn fingerprint(contract: &pb::Contract) -> u128 {
    Uuid::new_v5(&FINGERPRINTS, &contract.encode_to_vec()).as_u128()
}

/// Completes a wire contract, or names every fault in it, sorted by field.
pub fn intake(
    wire: pb::Contract,
    ceilings: &Ceilings,
    is_known: &dyn Fn(&AgentName) -> bool,
) -> Result<Contract, Vec<Violation>> {
    let mut faults = Faults::default();
    let draft = contract_draft(wire, &mut faults);
    let completed = intake::complete(&draft, ceilings, is_known).map_err(|others| faults.merge(others)).ok();
    faults.finish(completed)
}

/// A child's wire contract as a draft, to be completed where its parent is, and completed as far as can be told here; or
/// every fault that it has whatever its parent has left.
pub fn child_intake(
    wire: pb::Contract,
    ceilings: &Ceilings,
    is_known: &dyn Fn(&AgentName) -> bool,
) -> Result<(ContractDraft, Contract), Vec<Violation>> {
    let mut faults = Faults::default();
    let draft = contract_draft(wire, &mut faults);
    let completed = intake::complete_any_child(&draft, ceilings, is_known);
    let completed = completed.map_err(|others| faults.merge(others)).ok();
    faults.finish(completed.map(|contract| (draft, contract)))
}

/// The terms of the guards alone, completed, or every fault in them.
///
/// # Errors
/// Every violation, sorted by field.
pub fn guard_terms(wire: pb::Guards) -> Result<GuardTerms, Vec<Violation>> {
    intake::guard_terms(&guards::draft(wire))
}

/// A wire contract as a draft. Faults that the draft cannot carry go to `faults`.
pub(crate) fn contract_draft(wire: pb::Contract, faults: &mut Faults) -> ContractDraft {
    let pb::Contract {
        goal,
        input,
        start,
        owner,
        budget,
        limits,
        termination,
        gate,
        escalation,
        retry,
        allowed_hand_offs,
        labels,
        priority,
        idempotency_key,
        guards,
        namespace,
    } = wire;
    let (first_agent, plan) = match start {
        None => (None, None),
        Some(pb::contract::Start::FirstAgent(agent)) => (Some(agent), None),
        Some(pb::contract::Start::Plan(plan)) => (None, Some(plan_draft(plan, "plan", faults))),
    };
    ContractDraft {
        goal,
        input: faults.payload("input", input.as_ref()),
        first_agent,
        plan,
        owner,
        budget: budget.map(budget_draft),
        limits: limits.map(limits_draft),
        termination: termination.map(|wire| termination_draft(wire, faults)),
        gate: gate.map(gate_draft).unwrap_or_default(),
        escalation: escalation.map(|wire| escalation_draft(wire, faults)).unwrap_or_default(),
        retry: retry.map(retry_draft).unwrap_or_default(),
        allowed_hand_offs: allowed_hand_offs
            .into_iter()
            .map(|pb::AllowedHandOff { from, to }| (from, to))
            .collect(),
        labels,
        priority,
        idempotency_key,
        namespace,
        guards: guards.map(guards::draft).unwrap_or_default(),
    }
}

fn budget_draft(wire: pb::Budget) -> BudgetDraft {
    let pb::Budget {
        max_tokens,
        max_cost_nano_usd,
        max_tokens_per_turn,
        min_tokens_per_turn,
        finalization_reserve_tokens,
        max_tokens_by_agent,
    } = wire;
    BudgetDraft {
        max_tokens,
        max_cost_nano_usd,
        max_tokens_per_turn,
        min_tokens_per_turn,
        finalization_reserve_tokens,
        max_tokens_by_agent,
    }
}

fn limits_draft(wire: pb::Limits) -> LimitsDraft {
    let pb::Limits {
        deadline,
        finalization_reserve,
        max_hops,
        max_turns,
        max_replans,
        max_rounds,
        max_attempts,
        max_parallel,
        max_children,
        max_corrections,
        decide_timeout,
        max_decides,
        worker_wait,
        max_lifetime,
        max_depth,
    } = wire;
    LimitsDraft {
        deadline: deadline.map(micros),
        finalization_reserve: finalization_reserve.map(micros),
        max_hops,
        max_turns,
        max_replans,
        max_rounds,
        max_attempts,
        max_parallel,
        max_children,
        max_corrections,
        decide_timeout: decide_timeout.map(micros),
        max_decides,
        worker_wait: worker_wait.map(micros),
        max_lifetime: max_lifetime.map(micros),
        max_depth,
    }
}

fn termination_draft(wire: pb::Termination, faults: &mut Faults) -> TerminationDraft {
    const FIELD: &str = "termination.result_schema";
    let pb::Termination { result_schema, acceptance, convergence } = wire;
    let given = result_schema.is_some();
    let mut schema = faults.object(FIELD, result_schema.as_ref(), fixed::MAX_SCHEMA_BYTES);
    if let Some(fault) = schema.as_ref().and_then(|schema| schema::check(schema).err()) {
        faults.add(FIELD, fault);
    }
    if given && schema.is_none() {
        // A schema that cannot be carried is still a criterion: do not let intake complain that there is none.
        schema = Some(Payload::from_json(&serde_json::json!({})));
    }
    let convergence =
        convergence.map(|pb::Convergence { min_gain, patience }| ConvergenceDraft { min_gain, patience });
    TerminationDraft { result_schema: schema, acceptance, convergence }
}

fn gate_draft(wire: pb::Gate) -> GateDraft {
    let pb::Gate { min_confidence, validator, max_revisions, spot_check_rate } = wire;
    GateDraft { min_confidence, validator, max_revisions, spot_check_rate }
}

fn escalation_draft(wire: pb::EscalationPolicy, faults: &mut Faults) -> EscalationDraft {
    let pb::EscalationPolicy { timeout, default_answer, max_escalations, owner_fallback } = wire;
    let answer = enums::default_answer_in(default_answer);
    let fallback = enums::owner_fallback_in(owner_fallback);
    EscalationDraft {
        timeout: timeout.map(micros),
        default_answer: faults
            .one_of(
                "escalation.default_answer",
                default_answer,
                answer,
                "DEFAULT_ANSWER_PARTIAL or DEFAULT_ANSWER_ABORT",
            )
            .flatten(),
        max_escalations,
        owner_fallback: faults
            .one_of(
                "escalation.owner_fallback",
                owner_fallback,
                fallback,
                "OWNER_FALLBACK_ESCALATE or OWNER_FALLBACK_FINISH",
            )
            .flatten(),
    }
}

fn retry_draft(wire: pb::RetryPolicy) -> RetryDraft {
    let pb::RetryPolicy { initial_backoff, max_backoff } = wire;
    RetryDraft { initial_backoff: initial_backoff.map(micros), max_backoff: max_backoff.map(micros) }
}

#[cfg(test)]
mod tests;
