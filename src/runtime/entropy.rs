//! The only place that makes random bits.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::types::time::Timestamp;

/// A source of random bits.
pub trait Entropy: Send + Sync + 'static {
    /// 64 bits that nobody can guess.
    fn bits(&self) -> u64;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn bits(&self) -> u64 {
        rand::random()
    }
}

/// A source that repeats itself from the same seed. For tests only: it can be guessed.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// A source from a seed.
    pub const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Entropy for SeededEntropy {
    fn bits(&self) -> u64 {
        // A counter through a mixing function whose every step can be undone: no value comes twice.
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// A version 7 UUID of the given time.
pub(super) fn uuid_v7(entropy: &dyn Entropy, now: Timestamp) -> Uuid {
    let (high, low) = (entropy.bits().to_be_bytes(), entropy.bits().to_be_bytes());
    let mut random = [0; 10];
    random[..8].copy_from_slice(&high);
    random[8..].copy_from_slice(&low[..2]);
    uuid::Builder::from_unix_timestamp_millis(now.0 / 1_000, &random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let entropy = SeededEntropy::new(1);
        let first = uuid_v7(&entropy, Timestamp(1_000_000));
        let second = uuid_v7(&entropy, Timestamp(1_000_000));
        let later = uuid_v7(&entropy, Timestamp(2_000_000));
        assert_ne!(first, second);
        assert!(later > first && later > second);
        assert_eq!(first.get_version_num(), 7);
    }
}
