//! The ten-point readiness list of the README, for one contract. Honest: what is not there yet says so.

use Readiness::{Absent, Enforced, Weak};

use crate::types::contract::{Contract, Escalation, Gate, Limits};

/// How well a point is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The server enforces it for this contract.
    Enforced,
    /// Met in part.
    Weak,
    /// Not met, or not there yet.
    Absent,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// 1 to 10.
    pub number: u32,
    /// The point.
    pub title: &'static str,
    /// How well it is met.
    pub readiness: Readiness,
    /// What enforces it, or what to add.
    pub advice: String,
}

/// The ten points for a contract.
pub fn points(contract: &Contract) -> Vec<Point> {
    let Contract { budget, limits, escalation, .. } = contract;
    let rows: [(&'static str, (Readiness, String)); 10] = [
        (
            "hard token budget per task and per turn",
            (
                Enforced,
                format!(
                    "{} tokens in all, {} a turn, reserved before they are spent",
                    budget.max_tokens, budget.max_tokens_per_turn
                ),
            ),
        ),
        (
            "global hop counter with a hard cap",
            (Enforced, format!("the server counts; {} hops at most", limits.max_hops)),
        ),
        (
            "wall-clock deadline on the whole task",
            (
                Enforced,
                format!(
                    "{}, {} of it for the owner's decision",
                    limits.deadline, limits.finalization_reserve
                ),
            ),
        ),
        ("explicit owner", (Enforced, format!("{} decides when a guard trips", contract.owner))),
        (
            "typed envelopes",
            (Enforced, "every turn is answered by a StatusEnvelope, a Decision or a Verdict".to_owned()),
        ),
        ("re-plan, not just retry", replan_point(limits)),
        ("gate with a confidence threshold", gate_point(contract)),
        ("human escalation path that has been drilled", human_point(escalation)),
        (
            "termination criteria before anything runs",
            (Enforced, format!("fixed at intake and sent with every turn: {}", criteria(contract))),
        ),
        (
            "load-tested with deliberate worker failures",
            (Absent, "no chaos run is recorded yet: `bailiwick chaos` is coming".to_owned()),
        ),
    ];
    (1..)
        .zip(rows)
        .map(|(number, (title, (readiness, advice)))| Point { number, title, readiness, advice })
        .collect()
}

type Verdict = (Readiness, String);

fn gate_point(contract: &Contract) -> Verdict {
    let Gate { min_confidence, max_revisions: _, validator, spot_check_rate } = &contract.gate;
    let mut stands = vec![criteria(contract)];
    if min_confidence.get() > 0.0 {
        stands.insert(0, format!("min_confidence {}", min_confidence.get()));
    }
    stands.extend(validator.as_ref().map(|validator| format!("the validator {validator}")));
    if *spot_check_rate > 0.0 {
        stands.push(format!("a person for {spot_check_rate} of all results"));
    }
    let stands = format!("before SUCCEEDED: {}", stands.join(", "));
    if min_confidence.get() > 0.0 {
        return (Enforced, stands);
    }
    (Weak, format!("{stands}; set gate.min_confidence, and gate.validator for what no rule can tell"))
}

/// What tells a finished result, in words.
fn criteria(contract: &Contract) -> String {
    let mut parts = Vec::new();
    if contract.result_schema.is_some() {
        parts.push("result_schema".to_owned());
    }
    match contract.acceptance.len() {
        0 => {}
        1 => parts.push("1 acceptance rule".to_owned()),
        rules => parts.push(format!("{rules} acceptance rules")),
    }
    if parts.is_empty() { "convergence alone".to_owned() } else { parts.join(", ") }
}

fn human_point(escalation: &Escalation) -> Verdict {
    if escalation.max_escalations > 0 {
        (
            Weak,
            format!(
                "up to {} questions, {} each, then {:?}; no drill is recorded yet: drills are coming",
                escalation.max_escalations, escalation.timeout, escalation.default_answer
            ),
        )
    } else {
        (Absent, "max_escalations is 0: nobody is ever asked".to_owned())
    }
}

fn replan_point(limits: &Limits) -> Verdict {
    if limits.max_replans > 0 {
        (Enforced, format!("a failed plan returns to its planner, {} re-plans at most", limits.max_replans))
    } else {
        (Weak, "max_replans is 0: a failure goes straight to the owner".to_owned())
    }
}
