//! Guards that tripped, for people: one readable line.

use crate::pb;

use super::{
    text::{clip, clock, number},
    words,
};

/// Trips that were answered together, each with its cause, what it stops, its evidence and what repeated.
#[must_use]
pub fn sentence(trips: &[pb::Trip]) -> String {
    trips.iter().map(trip).collect::<Vec<_>>().join("; ")
}

/// The trips of a task's life, a line each time.
#[must_use]
pub fn lines(trips: &[pb::TripsTogether]) -> Vec<String> {
    let line = |it: &pb::TripsTogether| {
        format!("{} {:>5} {}", clock(it.at.as_ref()), format!("#{}", it.seq), sentence(&it.trips))
    };
    trips.iter().map(line).collect()
}

fn trip(trip: &pb::Trip) -> String {
    let pb::Trip { cause, evidence, scope, turns: _, pattern, excerpt, times, cycle_length, similarity } =
        trip;
    let cause = words::cause(*cause);
    let place = match pb::TripScope::try_from(*scope) {
        Ok(pb::TripScope::Step) => ", this step only",
        Ok(pb::TripScope::Decision) => ", in the owner's own decide turn",
        Ok(pb::TripScope::Task | pb::TripScope::Unspecified) | Err(_) => "",
    };
    let mut told = format!("{cause}{place} ({})", clip(evidence, 200));
    if *pattern == pb::TripPattern::Unspecified as i32 {
        return told;
    }
    let mut figures =
        vec![words::small(&words::trip_pattern(*pattern)), format!("{}x", number((*times).into()))];
    if *cycle_length > 1 {
        figures.push(format!("cycle of {cycle_length}"));
    }
    if *similarity < 1.0 {
        figures.push(format!("{:.0}% alike", similarity * 100.0));
    }
    if !excerpt.is_empty() {
        figures.push(format!("\"{}\"", clip(excerpt, 80)));
    }
    told.push_str(&format!(": {}", figures.join(", ")));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(trip: &pb::Trip, expected: &str) {
        assert_eq!(sentence(std::slice::from_ref(trip)), expected);
    }

    #[test]
    fn a_trip_is_one_line() {
        let plain = pb::Trip {
            cause: pb::Cause::Hops as i32,
            evidence: "12 of 12 hops are used".into(),
            scope: pb::TripScope::Task as i32,
            ..Default::default()
        };
        check(&plain, "HOPS (12 of 12 hops are used)");
        let repeated = pb::Trip {
            cause: pb::Cause::Repetition as i32,
            evidence: "turns 3, 4".into(),
            scope: pb::TripScope::Step as i32,
            pattern: pb::TripPattern::Cycle as i32,
            excerpt: "I will\u{1b}[2J look".into(),
            times: 3,
            cycle_length: 2,
            similarity: 0.93,
            ..Default::default()
        };
        check(
            &repeated,
            "REPETITION, this step only (turns 3, 4): cycle, 3x, cycle of 2, 93% alike, \"I will [2J look\"",
        );
    }
}
