//! The terms that are tried: the defaults and what is laxer. What is stricter is left to people: tried on one half of the
//! recordings and scored on the other it bought little and harmed more than it had shown. Never here: trying them.

use crate::types::guards::{FinishedTerms, GuardTerms, RepetitionTerms};

/// Times of repetition or restatement that are told apart, from 2 on.
pub(super) const REPEATS: usize = 9;
/// Lengths of idle talk that are told apart, from 2 on.
pub(super) const IDLE: usize = 23;

const TIMES: [u32; 4] = [3, 4, 6, 10];
const RESTATED: [Option<u32>; 5] = [Some(2), Some(3), Some(4), Some(6), None];
const CONFIRMED: [bool; 2] = [true, false];
const IDLE_RUNS: [Option<u32>; 4] = [Some(12), Some(16), Some(24), None];

/// Every combination, the cap on steps apart, the defaults first: of equals the first is taken.
pub(super) fn terms() -> impl Iterator<Item = GuardTerms> {
    let default = GuardTerms::default();
    TIMES.into_iter().flat_map(move |times| {
        RESTATED.into_iter().flat_map(move |restated| {
            CONFIRMED.into_iter().flat_map(move |confirmed| {
                IDLE_RUNS.into_iter().map(move |idle| GuardTerms {
                    repetition: RepetitionTerms { times, ..default.repetition },
                    finished: FinishedTerms { restated, confirmed, idle, ..default.finished },
                    ..default
                })
            })
        })
    })
}
