//! Protobuf durations and timestamps, to and from whole microseconds.

use crate::types::time::{Span, Timestamp};

use super::{faults::Faults, int64};

const MICROS: i128 = 1_000_000;

/// A duration in microseconds, saturating: bounds are the reader's to check.
pub(crate) fn micros(duration: prost_types::Duration) -> i64 {
    let prost_types::Duration { seconds, nanos } = duration;
    let micros = i128::from(seconds) * MICROS + i128::from(nanos) / 1_000;
    i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}

/// A duration as a span; a negative one is a fault.
pub(crate) fn span(
    faults: &mut Faults,
    field: &str,
    duration: Option<prost_types::Duration>,
) -> Option<Span> {
    let micros = micros(duration?);
    match u64::try_from(micros) {
        Ok(micros) => Some(Span(micros)),
        Err(_) => {
            faults.add(field, "is negative: write a duration such as \"5s\"");
            None
        }
    }
}

/// A timestamp; one before 1970 or without meaning is a fault.
pub(crate) fn timestamp(
    faults: &mut Faults,
    field: &str,
    wire: Option<prost_types::Timestamp>,
) -> Option<Timestamp> {
    let prost_types::Timestamp { seconds, nanos } = wire?;
    let parsed = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok().filter(|n| *n < 1_000_000_000));
    let Some((seconds, nanos)) = parsed else {
        faults.add(field, "is not a time after 1970: write RFC 3339, such as \"2026-01-31T12:00:00Z\"");
        return None;
    };
    Some(Timestamp(seconds.saturating_mul(1_000_000).saturating_add(u64::from(nanos / 1_000))))
}

/// A span for the wire.
pub(crate) fn duration(span: Span) -> prost_types::Duration {
    let Span(micros) = span;
    prost_types::Duration { seconds: int64(micros / 1_000_000), nanos: sub_second(micros) }
}

/// A point in time for the wire.
pub(crate) fn wire(at: Timestamp) -> prost_types::Timestamp {
    let Timestamp(micros) = at;
    prost_types::Timestamp { seconds: int64(micros / 1_000_000), nanos: sub_second(micros) }
}

fn sub_second(micros: u64) -> i32 {
    i32::try_from(micros % 1_000_000).expect("below a million") * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_saturate_and_come_back() {
        let of = |seconds, nanos| micros(prost_types::Duration { seconds, nanos });
        assert_eq!(of(1, 500_000_000), 1_500_000);
        assert_eq!(of(-1, -1_000), -1_000_001);
        assert_eq!(of(i64::MAX, 0), i64::MAX);
        assert_eq!(of(i64::MIN, 0), i64::MIN);
        for micros_in in [0, 1, 999_999, 1_000_000, 90_000_001] {
            assert_eq!(micros(duration(Span(micros_in))), int64(micros_in));
        }
    }

    #[test]
    fn times_without_meaning_are_faults() {
        for (seconds, nanos, good) in [(0, 0, true), (5, 999_999_999, true), (-1, 0, false), (5, -1, false)] {
            let mut faults = Faults::default();
            let found = timestamp(&mut faults, "since", Some(prost_types::Timestamp { seconds, nanos }));
            assert_eq!((found.is_some(), faults.sorted().is_empty()), (good, good), "{seconds} {nanos}");
        }
        let at = Timestamp(1_700_000_000_123_456);
        assert_eq!(timestamp(&mut Faults::default(), "since", Some(wire(at))), Some(at));
    }
}
