//! Points in time and spans of it, in whole microseconds. Nothing here reads a clock: times come in as arguments.

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since the Unix epoch, by the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A span of time in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// Whole milliseconds as a span.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Whole seconds as a span.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// The span times `factor`, at most the longest span there is.
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }

    /// The span divided by `divisor`, rounded down.
    pub const fn part(self, divisor: u64) -> Self {
        Self(self.0 / divisor)
    }

    /// As the standard library's duration.
    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0)
    }
}

impl From<std::time::Duration> for Span {
    fn from(duration: std::time::Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl Timestamp {
    /// The time `span` later, at most the latest there is.
    pub const fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The time `span` earlier, at least the epoch.
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// The time since `earlier`; nothing if that is later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Timestamp {
    /// The day in UTC: "2026-11-20".
    pub fn date(self) -> String {
        let (year, month, day) = civil(self.0 / DAY);
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// A day in microseconds.
const DAY: u64 = 86_400_000_000;

impl std::fmt::Display for Timestamp {
    /// In UTC, as RFC 3339 has it: "2026-11-20T15:04:05.123456Z".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (second, micros) = (self.0 % DAY / 1_000_000, self.0 % 1_000_000);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z", self.date())
    }
}

/// Year, month and day of a day since the epoch, in the Gregorian calendar.
fn civil(days: u64) -> (u64, usize, u64) {
    /// Days of 400 years, after which the calendar repeats itself.
    const CYCLE: u64 = 146_097;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut left) = (1970 + days / CYCLE * 400, days % CYCLE);
    while left >= 365 + u64::from(leap(year)) {
        left -= 365 + u64::from(leap(year));
        year += 1;
    }
    let months = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= months[month] {
        left -= months[month];
        month += 1;
    }
    (year, month + 1, left + 1)
}

impl std::fmt::Display for Span {
    /// In seconds, to the millisecond: "12.5s".
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0 / 1_000;
        match millis % 1_000 {
            0 => write!(f, "{}s", millis / 1_000),
            rest => write!(f, "{}.{}s", millis / 1_000, format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
            (13_569_465_600, "2400-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(Timestamp(seconds * 1_000_000).to_string(), expected);
        }
        assert_eq!(Timestamp(1_234_567).to_string(), "1970-01-01T00:00:01.234567Z");
        assert!(!Timestamp(u64::MAX).to_string().is_empty());
    }
}
