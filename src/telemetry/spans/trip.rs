//! A guard that tripped, as attributes. Never what repeated: that is a task's content, and traces carry none.

use crate::{
    engine::event::{Pattern, Trip},
    telemetry::{semconv, span::Attributes},
};

/// The attributes of one trip.
pub(super) fn attributes(trip: &Trip) -> Attributes {
    let Trip { cause, evidence, scope, turns, pattern } = trip;
    let told = Attributes::new()
        .word(semconv::TRIP_CAUSES, cause)
        .text(semconv::TRIP_EVIDENCE, evidence)
        .word(semconv::TRIP_SCOPE, scope)
        .list(semconv::TRIP_TURNS, turns.iter().map(ToString::to_string));
    let Some(Pattern { guard, excerpt: _, times, cycle, similarity_permille }) = pattern else { return told };
    told.word(semconv::TRIP_PATTERN, guard)
        .number(semconv::TRIP_TIMES, *times)
        .number(semconv::TRIP_CYCLE, *cycle)
        .real(semconv::TRIP_SIMILARITY, f64::from(*similarity_permille) / 1_000.0)
}
