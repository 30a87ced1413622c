//! Modes 1.1 to 1.5: the task, its roles and its end are not what was specified.

use super::{Looks, Verdict};
use crate::{
    engine::{
        readiness::Readiness::{Absent, Enforced, Weak},
        words,
    },
    types::{contract::Contract, guards::RepetitionTerms, limits::fixed::RECENT_LINEAGE},
};

pub(super) fn task(looks: &Looks<'_>) -> Verdict {
    if looks.validator.is_some() || (looks.schema && looks.rules > 0) {
        return (Enforced, format!("a result passes {}, or goes back with the reasons", looks.told()));
    }
    match (looks.schema, looks.rules > 0) {
        (true, _) => (
            Weak,
            "result_schema sees the shape, not the sense: add termination.acceptance or gate.validator"
                .to_owned(),
        ),
        (false, true) => (
            Weak,
            format!("only {}: describe the result in result_schema, or name gate.validator", looks.told()),
        ),
        (false, false) => (
            Absent,
            "no schema that asks for a field, no rule, no validator: any result will do; add one of them"
                .to_owned(),
        ),
    }
}

pub(super) fn role(contract: &Contract) -> Verdict {
    const DECIDES: &str = "only the owner decides, only the validator judges";
    if contract.limits.max_hops == 0 {
        return (Enforced, format!("{DECIDES}, and max_hops 0 lets nobody hand off"));
    }
    match contract.allowed_hand_offs.len() {
        0 => (Weak, format!("{DECIDES}, but anybody may hand off to anybody: list allowed_hand_offs")),
        1 => (Enforced, format!("{DECIDES}, and 1 agent may hand off, to whom allowed_hand_offs says")),
        senders => (
            Enforced,
            format!("{DECIDES}, and {senders} agents may hand off, to whom allowed_hand_offs says"),
        ),
    }
}

/// The caps that still stand where a guard is off.
fn caps(contract: &Contract) -> String {
    let turns = words::count(contract.limits.max_turns, "turn");
    match contract.guards.max_steps {
        Some(steps) => format!("{turns} and {}", words::count(steps, "step")),
        None => turns,
    }
}

pub(super) fn repetition(contract: &Contract) -> Verdict {
    let RepetitionTerms { on, times, max_cycle, similarity_permille } = contract.guards.repetition;
    if !on {
        return (
            Weak,
            format!("the guard is off, a loop runs for {}: switch guards.repetition on", caps(contract)),
        );
    }
    let same = if similarity_permille < 1_000 {
        format!("the same or {} alike", words::percent(f64::from(similarity_permille) / 1_000.0))
    } else {
        "the same to the letter".to_owned()
    };
    let cycles = if max_cycle > 1 { format!(" or in a cycle of up to {max_cycle}") } else { String::new() };
    (
        Enforced,
        format!(
            "{same}, {times} times in a row{cycles}, stops it: turns, and the steps that workers stream inside them"
        ),
    )
}

pub(super) fn history() -> Verdict {
    (
        Enforced,
        format!(
            "the server keeps every envelope: dependencies and the last {RECENT_LINEAGE} come with each turn, all others on request"
        ),
    )
}

pub(super) fn termination(contract: &Contract) -> Verdict {
    const SENT: &str = "what ends the task is sent with every turn";
    let mut watches = Vec::new();
    if contract.guards.finished.on {
        watches.push("an answer that stands while the talk goes on");
    }
    if contract.convergence.is_some() {
        watches.push("rounds that bring no gain");
    }
    if contract.guards.drafts.on {
        watches.push("drafts that come again");
    }
    if contract.guards.finished.on || contract.convergence.is_some() {
        return (Enforced, format!("{SENT}; {} end it", words::list(watches)));
    }
    (
        Weak,
        format!("{SENT}, but work that is done may go on for {}: switch guards.finished on", caps(contract)),
    )
}
