//! What `check` found, for people: violations, or the ten points.

use crate::pb;

use super::{Look, Tone, text::clean, words};

/// One line a violation: the field and what to write.
#[must_use]
pub fn violations(look: Look, violations: &[pb::ContractViolation]) -> Vec<String> {
    violations
        .iter()
        .map(|v| format!("  {}: {}", look.paint(Tone::Bad, &clean(&v.field)), clean(&v.description)))
        .collect()
}

/// The ten points, a line each, with what enforces it or what to add.
#[must_use]
pub fn points(look: Look, points: &[pb::ReadinessPoint]) -> Vec<String> {
    points
        .iter()
        .map(|point| {
            let tone = match pb::Readiness::try_from(point.readiness) {
                Ok(pb::Readiness::Enforced) => Tone::Good,
                Ok(pb::Readiness::Weak) => Tone::Warn,
                Ok(pb::Readiness::Absent) => Tone::Bad,
                Ok(pb::Readiness::Unspecified) | Err(_) => Tone::Plain,
            };
            let mark = format!("{:<8}", words::small(&words::readiness(point.readiness)));
            let line = format!("{:>4} {} {}", point.number, look.paint(tone, &mark), clean(&point.title));
            if point.advice.is_empty() { line } else { format!("{line}: {}", clean(&point.advice)) }
        })
        .collect()
}
