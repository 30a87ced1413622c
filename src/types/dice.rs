//! Choices from a seed: the same seed makes the same choices in the same order. For faults that are made on purpose, never
//! for ids or secrets.

/// A stream of choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for a part that has a name, so that parts do not draw from each other.
    pub fn of(seed: u64, part: &str) -> Self {
        // FNV-1a: any spread will do, as long as it stays the same.
        let hash = part.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Self(seed ^ hash)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        // 53 bits are what a double holds exactly.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True for this share of all draws, 0 to 1.
    pub fn hits(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// A number from `low` to `high`, both included; `low` where `high` is less.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        match (high - low).checked_add(1) {
            Some(width) => low + self.next() % width,
            None => self.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_choices_and_parts_do_not_share_them() {
        let draw = |mut dice: Dice| -> Vec<u64> { (0..4).map(|_| dice.next()).collect() };
        assert_eq!(draw(Dice::of(7, "edge")), draw(Dice::of(7, "edge")));
        assert_ne!(draw(Dice::of(7, "edge")), draw(Dice::of(7, "load")));
        assert_ne!(draw(Dice::of(7, "edge")), draw(Dice::of(8, "edge")));
    }

    #[test]
    fn shares_and_ranges_keep_their_bounds() {
        let mut dice = Dice::new(1);
        let hits = (0..10_000).filter(|_| dice.hits(0.25)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
        assert!((0..100).all(|_| !dice.hits(0.0)) && (0..100).all(|_| dice.hits(1.0)));
        assert!((0..1_000).all(|_| (3..=5).contains(&dice.between(3, 5))));
        assert_eq!(dice.between(9, 2), 9);
    }
}
