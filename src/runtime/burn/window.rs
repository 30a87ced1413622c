//! A sliding window over what was spent: a ring of buckets, so that it costs the same however much passes through it. Pure.

use crate::types::time::{Span, Timestamp};

/// Buckets of a window. It looks back over at least eleven twelfths of its length and never over more than all of it.
const BUCKETS: usize = 12;
/// A minute, in microseconds: what limits are said in.
const MINUTE: u128 = 60_000_000;

/// What was spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Spent {
    pub(super) tokens: u64,
    pub(super) cost_nano_usd: u64,
}

impl Spent {
    const fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            cost_nano_usd: self.cost_nano_usd.saturating_add(other.cost_nano_usd),
        }
    }
}

/// See the file's header.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    /// Bucket number n since the epoch stands at n modulo their count.
    buckets: [Spent; BUCKETS],
    /// The number of the newest bucket.
    newest: u64,
}

impl Window {
    /// Adds what was spent at a time, and gives the sum of the window that ends there. A time before the newest counts as the
    /// newest.
    pub(super) fn add(&mut self, at: Timestamp, spent: Spent, length: Span) -> Spent {
        let number = (at.0 / bucket(length)).max(self.newest);
        if number - self.newest >= BUCKETS as u64 {
            self.buckets = [Spent::default(); BUCKETS];
        } else {
            for gone in self.newest + 1..=number {
                self.buckets[place(gone)] = Spent::default();
            }
        }
        self.newest = number;
        let newest = &mut self.buckets[place(number)];
        *newest = newest.plus(spent);
        self.buckets.iter().fold(Spent::default(), |sum, spent| sum.plus(*spent))
    }

    /// Whether nothing is left in it at a time.
    pub(super) fn is_over(&self, at: Timestamp, length: Span) -> bool {
        (at.0 / bucket(length)).saturating_sub(self.newest) >= BUCKETS as u64
    }
}

fn bucket(length: Span) -> u64 {
    (length.0 / BUCKETS as u64).max(1)
}

fn place(number: u64) -> usize {
    // Below the count of buckets.
    usize::try_from(number % BUCKETS as u64).unwrap_or(0)
}

/// Whether a sum within a window is more than so much a minute allows.
pub(super) const fn exceeds(sum: u64, per_minute: u64, length: Span) -> bool {
    sum as u128 * MINUTE > per_minute as u128 * length.0 as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_LONG: Span = Span::from_secs(60);

    fn tokens(tokens: u64) -> Spent {
        Spent { tokens, cost_nano_usd: tokens * 10 }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_700_000_000_000_000 - 1_700_000_000_000_000 % 60_000_000).plus(Span::from_secs(seconds))
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_bucket_by_bucket() {
        let mut window = Window::default();
        assert_eq!(window.add(at(0), tokens(5), MINUTE_LONG), tokens(5));
        assert_eq!(window.add(at(30), tokens(7), MINUTE_LONG), tokens(12));
        assert_eq!(window.add(at(59), tokens(1), MINUTE_LONG), tokens(13));
        assert_eq!(window.add(at(60), tokens(1), MINUTE_LONG), tokens(9), "the first five are a minute old");
        assert_eq!(window.add(at(95), tokens(0), MINUTE_LONG), tokens(2));
        assert!(!window.is_over(at(119), MINUTE_LONG) && window.is_over(at(160), MINUTE_LONG));
        assert_eq!(window.add(at(1_000), tokens(3), MINUTE_LONG), tokens(3), "after a long silence");
    }

    #[test]
    fn a_clock_that_steps_back_forgets_nothing() {
        let mut window = Window::default();
        window.add(at(100), tokens(5), MINUTE_LONG);
        assert_eq!(window.add(at(10), tokens(2), MINUTE_LONG), tokens(7));
    }

    #[test]
    fn a_rate_is_a_sum_against_the_length_of_its_window() {
        let ten = Span::from_secs(10);
        assert!(!exceeds(100, 600, ten) && exceeds(101, 600, ten));
        assert!(!exceeds(u64::MAX, u64::MAX, MINUTE_LONG) && exceeds(1, 0, MINUTE_LONG));
    }

    #[test]
    fn sums_saturate() {
        let mut window = Window::default();
        window.add(at(0), tokens(u64::MAX / 10), MINUTE_LONG);
        let sum = window.add(at(1), Spent { tokens: u64::MAX, cost_nano_usd: u64::MAX }, MINUTE_LONG);
        assert_eq!((sum.tokens, sum.cost_nano_usd), (u64::MAX, u64::MAX));
    }
}
