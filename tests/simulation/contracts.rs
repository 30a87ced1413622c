//! Contracts of every kind, drawn by chance.

use std::collections::BTreeMap;

use bailiwick::{
    engine::intake,
    types::{
        contract::{
            BudgetDraft, ContractDraft, ConvergenceDraft, DefaultAnswer, EscalationDraft, GateDraft,
            LimitsDraft, OwnerFallback, RetryDraft, TerminationDraft,
        },
        limits::Ceilings,
        payload::Payload,
        plan::{OnStepFailure, Plan, PlanDraft, StepDraft},
    },
};

use crate::chance::Chance;

pub(crate) const AGENTS: [&str; 5] = ["lead", "plan", "dig", "write", "judge"];
/// Labels that tasks have, and halts are of.
pub(crate) const LABELS: [(&str, &str); 3] = [("team", "red"), ("team", "blue"), ("kind", "odd")];
/// Who works, and does not only judge.
const WORKERS: [&str; 4] = ["lead", "plan", "dig", "write"];
/// The goal of a task that shows that all is well.
pub(crate) const PROBE: &str = "show that all is well";

const SECOND: i64 = 1_000_000;

pub(crate) fn json(value: &serde_json::Value) -> Payload {
    Payload::from_json(value)
}

fn seconds(chance: &mut Chance, low: u64, high: u64) -> Option<i64> {
    i64::try_from(chance.between(low, high)).ok().map(|seconds| seconds * SECOND)
}

fn count(chance: &mut Chance, low: u64, high: u64) -> i32 {
    i32::try_from(chance.between(low, high)).unwrap_or(1)
}

pub(crate) fn worker_agent(chance: &mut Chance) -> &'static str {
    WORKERS[chance.index(WORKERS.len())]
}

pub(crate) fn draft(chance: &mut Chance, key: String) -> ContractDraft {
    loop {
        let draft = any(chance, key.clone());
        // What no server takes teaches nothing.
        if intake::complete(&draft, &Ceilings::default(), &|_| true).is_ok() {
            return draft;
        }
    }
}

fn any(chance: &mut Chance, key: String) -> ContractDraft {
    let tokens = i64::try_from(chance.between(4_000, 60_000)).unwrap_or(10_000);
    let planned = chance.happens(250);
    let owner = if chance.happens(700) { "lead" } else { worker_agent(chance) };
    let first = worker_agent(chance);
    let judged = chance.happens(250);
    ContractDraft {
        goal: "survive".to_owned(),
        first_agent: (!planned).then(|| first.to_owned()),
        plan: planned.then(|| PlanDraft { result_step: "s0".to_owned(), ..plan_draft(chance) }),
        owner: owner.to_owned(),
        budget: Some(BudgetDraft {
            max_tokens: tokens,
            max_tokens_per_turn: tokens / 8,
            ..BudgetDraft::default()
        }),
        limits: Some(limits(chance)),
        termination: Some(termination(chance)),
        gate: GateDraft {
            min_confidence: 0.5,
            validator: if judged { "judge".to_owned() } else { String::new() },
            max_revisions: Some(count(chance, 0, 2)),
            spot_check_rate: if chance.happens(150) { 0.5 } else { 0.0 },
        },
        escalation: EscalationDraft {
            timeout: seconds(chance, 2, 90),
            default_answer: Some(*chance.pick(&[DefaultAnswer::Partial, DefaultAnswer::Abort])),
            max_escalations: Some(count(chance, 1, 3)),
            owner_fallback: Some(*chance.pick(&[OwnerFallback::Escalate, OwnerFallback::Finish])),
        },
        retry: RetryDraft { initial_backoff: Some(100_000), max_backoff: Some(2 * SECOND) },
        priority: count(chance, 0, 2),
        labels: labels(chance, 600),
        idempotency_key: key,
        ..ContractDraft::default()
    }
}

/// A label or two, or none.
fn labels(chance: &mut Chance, rate: u32) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    while chance.happens(rate) && labels.len() < 2 {
        let (key, value) = *chance.pick(&LABELS);
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

fn limits(chance: &mut Chance) -> LimitsDraft {
    let deadline = chance.between(20, 240);
    let wait = chance.between(5, deadline.min(60));
    let decide = chance.between(1, (deadline / 11).max(1));
    let of = |seconds: u64| i64::try_from(seconds).ok().map(|seconds| seconds * SECOND);
    LimitsDraft {
        deadline: of(deadline),
        max_hops: Some(count(chance, 0, 5)),
        max_turns: count(chance, 3, 30),
        max_replans: Some(count(chance, 0, 3)),
        max_rounds: count(chance, 1, 4),
        max_attempts: count(chance, 1, 5),
        max_parallel: count(chance, 1, 4),
        max_children: count(chance, 1, 3),
        worker_wait: of(wait),
        decide_timeout: of(decide),
        ..LimitsDraft::default()
    }
}

fn termination(chance: &mut Chance) -> TerminationDraft {
    let schema = serde_json::json!({"type": "object", "required": ["n"]});
    let ruled = chance.happens(100);
    TerminationDraft {
        result_schema: Some(json(&schema)),
        acceptance: if ruled { vec!["result.n >= 0".to_owned()] } else { Vec::new() },
        convergence: chance.happens(250).then_some(ConvergenceDraft { min_gain: 0.1, patience: 2 }),
    }
}

fn plan_draft(chance: &mut Chance) -> PlanDraft {
    let len = chance.between(1, 4);
    let steps = (0..len).map(|index| {
        // The first step is the last to run: whatever comes of the plan is its result.
        let later: Vec<String> =
            (index + 1..len).filter(|_| chance.happens(400)).map(|n| format!("s{n}")).collect();
        let agent = worker_agent(chance);
        let fallback = worker_agent(chance);
        let falls_back = fallback != agent && chance.happens(300);
        StepDraft {
            id: format!("s{index}"),
            agent: agent.to_owned(),
            depends_on: later,
            max_tokens: 400,
            fallback_agents: if falls_back { vec![fallback.to_owned()] } else { Vec::new() },
            optional: index > 0 && chance.happens(200),
            ..StepDraft::default()
        }
    });
    let steps = steps.collect();
    let on_step_failure = *chance.pick(&[OnStepFailure::Wait, OnStepFailure::Cancel]);
    PlanDraft { steps, on_step_failure, result_step: String::new() }
}

/// A plan that an agent delegates.
pub(crate) fn plan(chance: &mut Chance) -> Plan {
    intake::plan(&plan_draft(chance), "plan").expect("a sound plan")
}

/// What an attempt submits below its own task.
pub(crate) fn child(chance: &mut Chance) -> ContractDraft {
    let deadline = seconds(chance, 5, 30);
    ContractDraft {
        goal: "survive below".to_owned(),
        first_agent: Some(worker_agent(chance).to_owned()),
        owner: "lead".to_owned(),
        budget: Some(BudgetDraft { max_tokens: 1_500, max_tokens_per_turn: 300, ..BudgetDraft::default() }),
        limits: Some(LimitsDraft { deadline, ..LimitsDraft::default() }),
        termination: Some(TerminationDraft {
            result_schema: Some(json(&serde_json::json!({"type": "object"}))),
            ..TerminationDraft::default()
        }),
        labels: labels(chance, 200),
        idempotency_key: if chance.happens(500) { "below".to_owned() } else { String::new() },
        ..ContractDraft::default()
    }
}

/// A task that nothing can go wrong with.
pub(crate) fn probe(agent: &str, key: String) -> ContractDraft {
    ContractDraft {
        goal: PROBE.to_owned(),
        first_agent: Some(agent.to_owned()),
        owner: agent.to_owned(),
        budget: Some(BudgetDraft {
            max_tokens: 10_000,
            max_tokens_per_turn: 1_000,
            ..BudgetDraft::default()
        }),
        limits: Some(LimitsDraft { deadline: Some(300 * SECOND), ..LimitsDraft::default() }),
        termination: Some(TerminationDraft {
            result_schema: Some(json(&serde_json::json!({"type": "object"}))),
            ..TerminationDraft::default()
        }),
        priority: 9,
        idempotency_key: key,
        ..ContractDraft::default()
    }
}
