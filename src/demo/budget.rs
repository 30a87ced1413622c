//! What an audit may use: figures derived from how much there is to read, in tokens (estimated at four characters each).

use super::{files::Listing, finding::estimate};

/// What a turn may need beside reading: its findings, written and read again.
const FINDINGS: i64 = 100_000;
/// Turns of the planner and attempts that may vanish, beyond one turn for each specialist and one for the reviewer.
const SPARE_TURNS: i64 = 6;

/// The most one turn of the audit may use.
pub(super) fn per_turn(listing: &Listing, specialists: usize) -> i64 {
    let material = i64::try_from(listing.bytes / 4).unwrap_or(i64::MAX);
    // The planner writes the list of files into every specialist's input.
    let lists = estimate(listing.path_chars * (specialists + 2) * 3 / 2);
    material.saturating_mul(5) / 4 + lists + FINDINGS
}

/// The most the whole audit may use; a tenth of it is kept for the owner's decision.
pub(super) fn whole(listing: &Listing, specialists: usize) -> i64 {
    let turns = i64::try_from(specialists).unwrap_or(i64::MAX).saturating_add(1 + SPARE_TURNS);
    per_turn(listing, specialists).saturating_mul(turns).saturating_mul(10) / 9 + 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_covers_every_turn_beside_the_reserve() {
        for (bytes, path_chars, specialists) in [(0, 0, 1), (1_000, 20, 2), (16 << 20, 300_000, 6)] {
            let listing = Listing { bytes, path_chars, ..Listing::default() };
            let (turn, whole) = (per_turn(&listing, specialists), whole(&listing, specialists));
            let turns = i64::try_from(specialists).expect("few") + 1;
            assert!(whole - whole / 10 >= turn * (turns + SPARE_TURNS), "{turn} {whole}");
            assert!(whole < 100_000_000, "below a server's ceiling: {whole}");
        }
    }
}
