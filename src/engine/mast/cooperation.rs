//! Modes 2.1 to 2.6: agents lose, withhold, ignore or misreport what the others need.

use super::{Looks, Verdict, working_agents};
use crate::{
    engine::{
        readiness::{
            Declares,
            Readiness::{Absent, Enforced, Weak},
            ServerFacts,
        },
        words,
    },
    types::{
        contract::{Contract, Start},
        ids::AgentName,
    },
};

pub(super) fn reset(contract: &Contract) -> Verdict {
    const KEPT: &str = "attempts are fenced and history is the server's";
    if contract.guards.repetition.on {
        return (Enforced, format!("{KEPT}; a turn that starts over is stopped as repetition"));
    }
    (Weak, format!("{KEPT}, but a turn that starts over goes unseen: switch guards.repetition on"))
}

pub(super) fn clarification(contract: &Contract) -> Verdict {
    let most = contract.escalation.max_escalations;
    if most == 0 {
        return (Absent, "nobody can be asked: set escalation.max_escalations to 1 or more".to_owned());
    }
    let may = format!("an agent may ask a person, {} at most", words::count(most, "question"));
    let least = contract.gate.min_confidence.get();
    if least > 0.0 {
        return (Enforced, format!("{may}; a guess below confidence {least} goes back"));
    }
    (Weak, format!("{may}, but a guess passes: set gate.min_confidence"))
}

pub(super) fn derailment(looks: &Looks<'_>) -> Verdict {
    if let Some(validator) = looks.validator {
        return (Enforced, format!("{validator} sees goal and result; drift goes back as its reason"));
    }
    if looks.rules > 0 || looks.people > 0.0 {
        return (Weak, format!("only {} may notice drift: name gate.validator", looks.told()));
    }
    (Absent, "nothing holds the result against the goal: name gate.validator".to_owned())
}

pub(super) fn withholding(contract: &Contract, facts: &ServerFacts) -> Verdict {
    let declares = |agent: &AgentName| facts.declared.get(agent).copied().unwrap_or_default();
    let agents = working_agents(contract);
    let without = |has: fn(Declares) -> bool, of: &[&AgentName]| -> Vec<String> {
        of.iter().filter(|agent| !has(declares(agent))).map(ToString::to_string).collect()
    };
    let silent = without(|declares| declares.output_schema, &agents);
    let given = without(|declares| declares.input_schema, &given_work(contract));
    let mut missing = Vec::new();
    if !silent.is_empty() {
        missing.push(format!("output_schema of {}", words::list(&silent)));
    }
    if !given.is_empty() {
        missing.push(format!("input_schema of {}", words::list(&given)));
    }
    if missing.is_empty() {
        let known = words::list(&agents);
        return (
            Enforced,
            format!("what {known} must say and be told is declared, and checked by the server"),
        );
    }
    let add = format!("declare at registration: {}", missing.join("; "));
    if silent.len() == agents.len() {
        return (Absent, format!("no agent has declared what it must say; {add}"));
    }
    (Weak, format!("some have not declared what they must say or be told; {add}"))
}

/// The agents that are given work with an input: steps that have one, and whoever may be handed to.
fn given_work(contract: &Contract) -> Vec<&AgentName> {
    let mut given: Vec<&AgentName> = contract.allowed_hand_offs.values().flatten().collect();
    match &contract.start {
        Start::FirstAgent(first) => given.extend(contract.input.is_some().then_some(first)),
        Start::Plan(plan) => {
            given
                .extend(plan.steps.iter().filter(|step| step.input.is_some()).flat_map(|step| step.agents()));
        }
    }
    given.sort();
    given.dedup();
    given
}

pub(super) fn ignored(contract: &Contract) -> Verdict {
    if let Start::Plan(plan) = &contract.start
        && plan.steps.iter().all(|step| step.depends_on.is_empty())
        && contract.limits.max_hops == 0
    {
        return (
            Enforced,
            "no step needs another, and nobody may hand off: there is nothing to ignore".to_owned(),
        );
    }
    const FLAGGED: &str = "an answer that leaves out a dependency is flagged in get, watch and the trace";
    match &contract.gate.validator {
        Some(validator) => {
            (Enforced, format!("{FLAGGED}; {validator} sees the lineage and what was used of it"))
        }
        None => (Weak, format!("{FLAGGED}, but not refused: name gate.validator, which sees the lineage")),
    }
}

pub(super) fn mismatch(looks: &Looks<'_>) -> Verdict {
    const KEPT: &str = "steps that workers stream are kept beside the answer";
    match (looks.validator, looks.people > 0.0) {
        (Some(validator), true) => (
            Enforced,
            format!(
                "{KEPT}; {validator} judges the answer and a person {} of results",
                words::percent(looks.people)
            ),
        ),
        (Some(validator), false) => {
            (Weak, format!("{KEPT}; {validator} sees the answer, not the steps: set gate.spot_check_rate"))
        }
        (None, true) => (Weak, format!("{KEPT} for the person who spot-checks: name gate.validator too")),
        (None, false) => {
            (Absent, format!("{KEPT}, and nobody looks: name gate.validator and set gate.spot_check_rate"))
        }
    }
}
