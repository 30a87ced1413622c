//! The terms of the guards, in and out. Never here: their bounds (intake's).

use crate::{
    pb,
    service::convert::int32,
    types::{
        contract::GuardsDraft,
        guards::{DraftTerms, FinishedTerms, GuardTerms, RepetitionTerms},
    },
};

/// Terms off the wire, nothing checked.
pub(super) fn draft(wire: pb::Guards) -> GuardsDraft {
    let pb::Guards { repetition, finished, drafts, max_steps } = wire;
    let pb::RepetitionGuard { off: repetition_off, times, max_cycle, similarity } =
        repetition.unwrap_or_default();
    let pb::FinishedGuard { off: finished_off, restated, confirmed, idle } = finished.unwrap_or_default();
    let pb::DraftsGuard { off: drafts_off, similarity: draft_similarity } = drafts.unwrap_or_default();
    GuardsDraft {
        repetition_off,
        times,
        max_cycle,
        similarity,
        finished_off,
        restated,
        confirmed,
        idle,
        drafts_off,
        draft_similarity,
        max_steps,
    }
}

/// Terms for the wire, every default filled in.
pub fn out(terms: &GuardTerms) -> pb::Guards {
    let GuardTerms { repetition, finished, drafts, max_steps } = terms;
    let RepetitionTerms { on: repetition_on, times, max_cycle, similarity_permille } = repetition;
    let FinishedTerms { on: finished_on, restated, confirmed, idle } = finished;
    let DraftTerms { on: drafts_on, similarity_permille: draft_permille } = drafts;
    pb::Guards {
        repetition: Some(pb::RepetitionGuard {
            off: !repetition_on,
            times: int32(*times),
            max_cycle: int32(*max_cycle),
            similarity: f64::from(*similarity_permille) / 1_000.0,
        }),
        finished: Some(pb::FinishedGuard {
            off: !finished_on,
            restated: Some(int32(restated.unwrap_or(0))),
            confirmed: Some(*confirmed),
            idle: Some(int32(idle.unwrap_or(0))),
        }),
        drafts: Some(pb::DraftsGuard { off: !drafts_on, similarity: f64::from(*draft_permille) / 1_000.0 }),
        max_steps: int32(max_steps.unwrap_or(0)),
    }
}
