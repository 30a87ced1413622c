//! The terms of the end: what tells a finished result, and the gate's confidence, validator, revisions and spot checks.
//! Never here: what an acceptance rule says; whether it can run is tried off the shards.

use super::Checks;
use crate::types::{
    contract::{ContractDraft, Escalation, Gate, Start},
    envelope::Confidence,
    ids::AgentName,
    limits::fixed,
};

/// The gate's own terms.
pub(super) fn terms(draft: &ContractDraft, checks: &mut Checks<'_>) -> Gate {
    let draft = &draft.gate;
    let min_confidence = Confidence::new(draft.min_confidence).unwrap_or_else(|| {
        checks.fault("gate.min_confidence", format!("is {}: write 0 to 1", draft.min_confidence));
        Confidence::default()
    });
    let spot_check_rate = Confidence::new(draft.spot_check_rate).unwrap_or_else(|| {
        checks.fault("gate.spot_check_rate", format!("is {}: write 0 to 1", draft.spot_check_rate));
        Confidence::default()
    });
    let validator =
        if draft.validator.is_empty() { None } else { checks.agent("gate.validator", &draft.validator) };
    let max_revisions = checks.count(
        "gate.max_revisions",
        draft.max_revisions,
        fixed::DEFAULT_REVISIONS,
        (0, fixed::MAX_REVISIONS),
    );
    Gate { min_confidence, max_revisions, validator, spot_check_rate: spot_check_rate.get() }
}

/// What the gate's terms need of the others: a validator that is not certain to judge itself, a person for spot checks.
pub(super) fn check(
    gate: &Gate,
    draft: &ContractDraft,
    escalation: &Escalation,
    start: Option<&Start>,
    owner: Option<&AgentName>,
    checks: &mut Checks<'_>,
) {
    if gate.spot_check_rate > 0.0 && escalation.max_escalations == 0 {
        checks.fault(
            "gate.spot_check_rate",
            "needs a person, and escalation.max_escalations is 0: write at least 1 there, or leave the rate out",
        );
    }
    let Some(validator) = &gate.validator else { return };
    let mut is_author = |what: &str| {
        checks.fault(
            "gate.validator",
            format!("names {validator}, which is {what} and would judge its own work: name another agent"),
        );
    };
    if owner == Some(validator) || draft.owner == validator.as_str() {
        is_author("the owner");
    }
    match start {
        Some(Start::FirstAgent(first)) if first == validator => is_author("the first agent"),
        Some(Start::Plan(plan)) => {
            let writes = plan.result_step.and_then(|step| plan.steps.get(step));
            if writes.is_some_and(|step| step.agent == *validator) {
                is_author("the agent of the result step");
            }
        }
        Some(Start::FirstAgent(_)) | None => {}
    }
}

/// When the work is done: at least one criterion, each within its bounds.
pub(super) fn termination(draft: &ContractDraft, checks: &mut Checks<'_>) {
    let Some(termination) = &draft.termination else {
        checks.fault(
            "termination",
            "is missing: write result_schema, the JSON Schema that tells a finished result",
        );
        return;
    };
    rules(&termination.acceptance, checks);
    match &termination.result_schema {
        Some(schema) => {
            checks.payload("termination.result_schema", schema, fixed::MAX_SCHEMA_BYTES);
        }
        None if termination.acceptance.is_empty() && termination.convergence.is_none() => {
            checks.fault(
                "termination.result_schema",
                "is missing: write the JSON Schema that tells a finished result, acceptance rules or convergence",
            );
        }
        None => {}
    }
}

/// The bounds of acceptance rules.
fn rules(rules: &[String], checks: &mut Checks<'_>) {
    if rules.len() > fixed::MAX_RULES {
        let most = fixed::MAX_RULES;
        checks.fault("termination.acceptance", format!("has {} rules: write at most {most}", rules.len()));
    }
    for (index, rule) in rules.iter().enumerate().take(fixed::MAX_RULES) {
        let field = format!("termination.acceptance[{index}]");
        let chars = rule.chars().count();
        if rule.trim().is_empty() {
            checks.fault(
                field,
                "is empty: write a rule, such as \"size(result.summary) > 0\", or leave it out",
            );
        } else if chars > fixed::MAX_RULE_CHARS {
            checks.fault(field, format!("has {chars} characters: write at most {}", fixed::MAX_RULE_CHARS));
        }
    }
}
