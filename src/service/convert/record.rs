//! The record of agents, out: how validators did, and how far confidence can be trusted.

use crate::{
    engine::tally::Judge,
    pb,
    runtime::{
        AgentRecord,
        tallies::{Bucket, Verdicts},
    },
};

use super::int64;

/// How a validator did; absent where it never was one.
pub(crate) fn validator_out(record: &AgentRecord) -> Option<pb::ValidatorRecord> {
    let Verdicts { agreed, disagreed, upheld, overruled } = record.verdicts;
    (record.verdicts != Verdicts::default()).then(|| pb::ValidatorRecord {
        agreed: int64(agreed),
        disagreed: int64(disagreed),
        upheld: int64(upheld),
        overruled: int64(overruled),
    })
}

/// Its curves, one for each judge that has judged.
pub(crate) fn calibration_out(record: &AgentRecord) -> Vec<pb::Calibration> {
    let curve = |(judge, curve): (&Judge, &crate::runtime::tallies::Curve)| pb::Calibration {
        judge: judge_out(*judge) as i32,
        judged: int64(curve.judged()),
        accepted: int64(curve.accepted()),
        brier: curve.brier(),
        ece: curve.ece(),
        buckets: curve.buckets.iter().map(bucket_out).collect(),
    };
    record.curves.iter().map(curve).collect()
}

fn bucket_out(bucket: &Bucket) -> pb::CalibrationBucket {
    pb::CalibrationBucket {
        judged: int64(bucket.judged),
        accepted: int64(bucket.accepted),
        mean_confidence: bucket.mean_said(),
    }
}

const fn judge_out(judge: Judge) -> pb::Judge {
    match judge {
        Judge::Gate => pb::Judge::Gate,
        Judge::Validator => pb::Judge::Validator,
        Judge::Human => pb::Judge::Human,
    }
}
