//! When a notice is tried again, and what an answer of a sink means. Pure: no clock, no network.

use std::time::Duration;

/// Waits between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// The wait after the first failure; doubles with each further one.
    pub first: Duration,
    /// The longest wait of our own choice.
    pub longest: Duration,
    /// The longest wait that a sink may ask for by Retry-After.
    pub longest_asked: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            longest_asked: Duration::from_secs(3_600),
        }
    }
}

impl Schedule {
    /// How long to wait after so many failures in a row (1: the first), where the sink has asked for `asked`.
    pub fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        doubled.min(self.longest).max(asked.unwrap_or_default().min(self.longest_asked))
    }
}

/// Tries of a notice that the sink refuses by itself before it may be set aside.
pub const REFUSALS: u32 = 5;

/// What the status of an answer means for the notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has arrived.
    Accepted,
    /// The sink cannot take notices now, or not from us, or not here: it is tried until it can.
    SinkFails,
    /// The sink refuses this very notice.
    NoticeRefused,
}

/// Judges a status.
pub const fn judge(status: u16) -> Verdict {
    match status {
        200..=299 => Verdict::Accepted,
        // Of the 4xx: who we are, where it is, how it is asked, and when. None of them is about this notice.
        401..=405 | 407 | 408 | 410 | 421 | 425 | 426 | 429 => Verdict::SinkFails,
        400..=499 => Verdict::NoticeRefused,
        // A redirect is not followed: the body is for the configured place alone.
        _ => Verdict::SinkFails,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_cap_and_a_sink_may_ask_for_more() {
        let schedule = Schedule::default();
        let seconds =
            |failures, asked: Option<u64>| schedule.wait(failures, asked.map(Duration::from_secs)).as_secs();
        assert_eq!([1, 2, 3, 4, 9, 10, u32::MAX].map(|n| seconds(n, None)), [1, 2, 4, 8, 256, 300, 300]);
        assert_eq!(seconds(1, Some(30)), 30);
        assert_eq!(seconds(8, Some(30)), 128, "never sooner than by ourselves");
        assert_eq!(seconds(1, Some(u64::MAX)), 3_600);
    }

    #[test]
    fn only_a_refusal_of_the_notice_itself_is_the_notices_fault() {
        for (statuses, verdict) in [
            (&[200, 202, 204][..], Verdict::Accepted),
            (&[301, 308, 401, 403, 404, 405, 408, 410, 429, 500, 502, 503, 100], Verdict::SinkFails),
            (&[400, 409, 413, 415, 422], Verdict::NoticeRefused),
        ] {
            for status in statuses {
                assert_eq!(judge(*status), verdict, "{status}");
            }
        }
    }
}
