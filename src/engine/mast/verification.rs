//! Modes 3.1 to 3.3: a result is let pass too early, unseen, or wrongly.

use super::{Looks, Verdict};
use crate::{
    engine::{
        readiness::Readiness::{Absent, Enforced, Weak},
        words,
    },
    types::contract::Contract,
};

pub(super) fn premature(looks: &Looks<'_>) -> Verdict {
    const GATE: &str = "only the gate or a person ends it as success";
    if looks.count() > 0 {
        return (Enforced, format!("{GATE}; the gate has {}", looks.told()));
    }
    (
        Weak,
        format!("{GATE}, but the gate looks at nothing in a result: say in result_schema what it must have"),
    )
}

pub(super) fn incomplete(looks: &Looks<'_>) -> Verdict {
    match looks.count() {
        0 => (
            Absent,
            "nothing verifies a result: add a result_schema that asks for fields, rules or gate.validator"
                .to_owned(),
        ),
        1 if looks.validator.is_some() => {
            (Weak, format!("only {}: add what needs no model, a schema or rules", looks.told()))
        }
        1 => (Weak, format!("only {}: add another look, best gate.validator", looks.told())),
        _ => (Enforced, format!("every result passes {}", looks.told())),
    }
}

pub(super) fn incorrect(contract: &Contract) -> Verdict {
    let rate = contract.gate.spot_check_rate;
    if rate > 0.0 {
        return (
            Enforced,
            format!(
                "a person sees {} of what passed; how often checks and confidence were right: `bailiwick agents`",
                words::percent(rate)
            ),
        );
    }
    if contract.escalation.max_escalations == 0 {
        return (
            Absent,
            "no person ever sees a result: allow escalations and set gate.spot_check_rate, such as 0.05"
                .to_owned(),
        );
    }
    (
        Weak,
        "people see only what was refused, so what passed wrongly stays unseen: set gate.spot_check_rate, such as 0.05"
            .to_owned(),
    )
}
