//! The terms of the guards, completed. Never here: the defaults themselves (`types::guards`).

use super::{Violation, checks::Checks};
use crate::types::{
    contract::GuardsDraft,
    guards::{
        DraftTerms, FinishedTerms, GuardTerms, MAX_CYCLE, MAX_IDLE, MAX_STEPS, MAX_TIMES, MIN_SIMILARITY,
        RepetitionTerms,
    },
};

/// The terms of the guards alone, completed, or every fault in them: what a backtest takes out of a contract, or of a part
/// of one.
///
/// # Errors
/// Every violation, sorted by field.
pub fn guard_terms(draft: &GuardsDraft) -> Result<GuardTerms, Vec<Violation>> {
    let mut checks = Checks::new(&|_| true);
    let terms = complete(draft, &mut checks);
    let violations = checks.into_violations();
    if violations.is_empty() { Ok(terms) } else { Err(violations) }
}

pub(super) fn complete(draft: &GuardsDraft, checks: &mut Checks<'_>) -> GuardTerms {
    let default = GuardTerms::default();
    let given = |number: i32| Some(number).filter(|&number| number != 0);
    let repetition = RepetitionTerms {
        on: !draft.repetition_off,
        times: checks.count(
            "guards.repetition.times",
            given(draft.times),
            default.repetition.times,
            (2, MAX_TIMES),
        ),
        max_cycle: checks.count(
            "guards.repetition.max_cycle",
            given(draft.max_cycle),
            default.repetition.max_cycle,
            (1, MAX_CYCLE),
        ),
        similarity_permille: similarity(
            "guards.repetition.similarity",
            draft.similarity,
            default.repetition.similarity_permille,
            checks,
        ),
    };
    let finished = FinishedTerms {
        on: !draft.finished_off,
        restated: count_or_none(
            "guards.finished.restated",
            draft.restated,
            default.finished.restated,
            MAX_TIMES,
            checks,
        ),
        confirmed: draft.confirmed.unwrap_or(default.finished.confirmed),
        idle: count_or_none("guards.finished.idle", draft.idle, default.finished.idle, MAX_IDLE, checks),
    };
    let drafts = DraftTerms {
        on: !draft.drafts_off,
        similarity_permille: similarity(
            "guards.drafts.similarity",
            draft.draft_similarity,
            default.drafts.similarity_permille,
            checks,
        ),
    };
    let max_steps = given(draft.max_steps)
        .map(|steps| checks.count("guards.max_steps", Some(steps), MAX_STEPS, (1, MAX_STEPS)));
    GuardTerms { repetition, finished, drafts, max_steps }
}

/// A count of at least 2; 0 is none.
fn count_or_none(
    field: &str,
    given: Option<i32>,
    default: Option<u32>,
    most: u32,
    checks: &mut Checks<'_>,
) -> Option<u32> {
    match given {
        None => default,
        Some(0) => None,
        Some(number) => match u32::try_from(number) {
            Ok(count) if (2..=most).contains(&count) => Some(count),
            Ok(_) | Err(_) => {
                checks.fault(field, format!("is {number}: write 2 to {most}, or 0 for not at all"));
                default
            }
        },
    }
}

/// A similarity in thousandths; 0 is the default.
fn similarity(field: &str, given: f64, default: u16, checks: &mut Checks<'_>) -> u16 {
    if given == 0.0 {
        return default;
    }
    let permille = (given * 1_000.0).round();
    if (f64::from(MIN_SIMILARITY)..=1_000.0).contains(&permille) {
        return permille as u16; // In range, as was just seen.
    }
    checks.fault(field, format!("is {given}: write {} to 1", f64::from(MIN_SIMILARITY) / 1_000.0));
    default
}
