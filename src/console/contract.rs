//! What `check` found, for people: violations, or the ten points and the fourteen failure modes.

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
    let line = |p: &pb::ReadinessPoint| judged(look, &p.number.to_string(), &p.title, p.readiness, &p.advice);
    points.iter().map(line).collect()
}

/// The fourteen failure modes, a line each, with what answers it or what to add.
#[must_use]
pub fn modes(look: Look, modes: &[pb::FailureMode]) -> Vec<String> {
    let line = |m: &pb::FailureMode| judged(look, &m.code, &m.title, m.readiness, &m.advice);
    modes.iter().map(line).collect()
}

/// "8 enforced, 1 weak, 1 absent": how a list stands, so that nobody has to count.
#[must_use]
pub fn tally(judged: impl IntoIterator<Item = i32>) -> String {
    let mut counts: [(pb::Readiness, usize); 3] =
        [(pb::Readiness::Enforced, 0), (pb::Readiness::Weak, 0), (pb::Readiness::Absent, 0)];
    for readiness in judged {
        let found = counts.iter_mut().find(|(known, _)| *known as i32 == readiness);
        found.into_iter().for_each(|(_, count)| *count += 1);
    }
    let told = counts.iter().filter(|(_, count)| *count > 0);
    let told = told.map(|(kind, count)| format!("{count} {}", words::small(&words::readiness(*kind as i32))));
    told.collect::<Vec<_>>().join(", ")
}

fn judged(look: Look, number: &str, title: &str, readiness: i32, advice: &str) -> String {
    let tone = match pb::Readiness::try_from(readiness) {
        Ok(pb::Readiness::Enforced) => Tone::Good,
        Ok(pb::Readiness::Weak) => Tone::Warn,
        Ok(pb::Readiness::Absent) => Tone::Bad,
        Ok(pb::Readiness::Unspecified) | Err(_) => Tone::Plain,
    };
    let mark = look.paint(tone, &format!("{:<8}", words::small(&words::readiness(readiness))));
    let line = format!("{:>4} {mark} {}", clean(number), clean(title));
    if advice.is_empty() { line } else { format!("{line}: {}", clean(advice)) }
}
