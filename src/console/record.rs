//! How far agents can be trusted, in words and bars: validators against people, confidence against verdicts.

use crate::pb;

use super::text::{clean, number, plural};

/// Cells of the longest bar.
const CELLS: usize = 20;

/// The record of every agent that has one, a block each; empty where none has.
#[must_use]
pub fn records(agents: &[pb::Agent]) -> Vec<String> {
    agents.iter().flat_map(record).collect()
}

fn record(agent: &pb::Agent) -> Vec<String> {
    let name = clean(agent.spec.as_ref().map(|spec| spec.name.as_str()).unwrap_or_default());
    let mut lines = Vec::new();
    if let Some(validator) = &agent.validator {
        lines.push(format!("{name} as validator: {}", verdicts(validator)));
    }
    for calibration in &agent.calibration {
        lines.push(format!("{name} {}", summary(calibration)));
        lines.extend(calibration.buckets.iter().enumerate().filter_map(bucket));
    }
    lines
}

fn verdicts(record: &pb::ValidatorRecord) -> String {
    let pb::ValidatorRecord { agreed, disagreed, upheld, overruled } = record;
    let reviewed = upheld + overruled;
    let people = match reviewed {
        0 => "no person has judged the same candidates".to_owned(),
        _ => format!("people bore out {} of {}", number(*upheld), number(reviewed)),
    };
    format!("agreed {}, disagreed {}; {people}", number(*agreed), number(*disagreed))
}

fn summary(calibration: &pb::Calibration) -> String {
    let judge = match calibration.judge() {
        pb::Judge::Gate => "the gate",
        pb::Judge::Validator => "validators",
        pb::Judge::Human => "people",
        pb::Judge::Unspecified => "somebody",
    };
    format!(
        "against {judge}: {} judged, {} accepted; Brier {:.3}, calibration error {:.3}",
        plural(calibration.judged, "result"),
        number(calibration.accepted),
        calibration.brier,
        calibration.ece
    )
}

/// One tenth of the curve: what was said, what was accepted, and how often; nothing where nothing was judged.
fn bucket((index, bucket): (usize, &pb::CalibrationBucket)) -> Option<String> {
    if bucket.judged <= 0 {
        return None;
    }
    let low = u32::try_from(index).map_or(0.0, f64::from) / 10.0;
    let share = ratio(bucket.accepted, bucket.judged);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    // 0 to CELLS.
    let filled = (share * CELLS as f64).round() as usize;
    let bar: String = (0..CELLS).map(|cell| if cell < filled { '#' } else { '.' }).collect();
    Some(format!(
        "  {low:.1}-{:.1}  said {:.2}, accepted {share:.2}  [{bar}] {}",
        low + 0.1,
        bucket.mean_confidence,
        number(bucket.judged)
    ))
}

#[allow(clippy::cast_precision_loss)] // Counts of results: far below 2^53.
fn ratio(part: i64, whole: i64) -> f64 {
    (part.max(0) as f64 / whole.max(1) as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_a_curve_and_no_record_says_nothing() {
        let mut buckets = vec![pb::CalibrationBucket::default(); 10];
        buckets[9] = pb::CalibrationBucket { judged: 4, accepted: 3, mean_confidence: 0.95 };
        let agent = pb::Agent {
            spec: Some(pb::AgentSpec { name: "writer".into(), ..Default::default() }),
            validator: Some(pb::ValidatorRecord { agreed: 5, disagreed: 2, upheld: 1, overruled: 1 }),
            calibration: vec![pb::Calibration {
                judge: pb::Judge::Human.into(),
                judged: 4,
                accepted: 3,
                brier: 0.171,
                ece: 0.2,
                buckets,
            }],
            ..Default::default()
        };
        let expected = [
            "writer as validator: agreed 5, disagreed 2; people bore out 1 of 2",
            "writer against people: 4 results judged, 3 accepted; Brier 0.171, calibration error 0.200",
            "  0.9-1.0  said 0.95, accepted 0.75  [###############.....] 4",
        ];
        assert_eq!(records(&[agent, pb::Agent::default()]), expected);
    }
}
