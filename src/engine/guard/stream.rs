//! Cycles in a stream of items: how often the last one to six have come round. Constant time and memory an item.
//! Never here: what an item is made of, or what follows from a cycle.

use std::{collections::VecDeque, sync::Arc};

use super::sketch::Sketch;
use crate::types::guards::{MAX_CYCLE, MAX_TIMES};

const CYCLES: usize = MAX_CYCLE as usize;
/// Turns remembered: those of the longest cycle, the most times it can be asked for.
const TURNS: usize = (MAX_CYCLE * MAX_TIMES) as usize;

/// Rounds of single words that count as one.
const NODS: u32 = 8;

/// One thing that was said or done.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Equal items have equal hashes.
    pub(super) hash: u64,
    /// What tells whether it is nearly the same as another; `None`: compared exactly only.
    pub(super) sketch: Option<Arc<Sketch>>,
    /// The turn it belongs to.
    pub(super) turn: u32,
    /// Whether it is a message of a single word.
    pub(super) is_nod: bool,
}

/// The tail of a stream, and for each length of a cycle how many items in a row were as they were one cycle ago.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    recent: VecDeque<Item>,
    equal: [u32; CYCLES],
    alike: [u32; CYCLES],
    /// The least similarity in the run of alike items.
    least: [u16; CYCLES],
    turns: VecDeque<u32>,
}

/// The strongest cycle at the end of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Round {
    /// How many times it has come round, in full; 1: only once.
    pub(super) times: u32,
    /// Its length.
    pub(super) cycle: u32,
    /// How alike its items are, in thousandths.
    pub(super) similarity_permille: u16,
}

impl Stream {
    pub(super) fn push(&mut self, item: Item, similar_permille: u16) {
        for lag in 1..=CYCLES {
            let before = self.recent.len().checked_sub(lag).map(|at| &self.recent[at]);
            let similarity = before.map_or(0, |before| similarity(&item, before));
            let slot = lag - 1;
            self.equal[slot] = if similarity > 1_000 { self.equal[slot].saturating_add(1) } else { 0 };
            if similarity >= similar_permille {
                let least = if self.alike[slot] == 0 { 1_000 } else { self.least[slot] };
                self.least[slot] = least.min(similarity);
                self.alike[slot] = self.alike[slot].saturating_add(1);
            } else {
                self.alike[slot] = 0;
            }
        }
        if self.turns.len() == TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(item.turn);
        if self.recent.len() == CYCLES {
            self.recent.pop_front();
        }
        self.recent.push_back(item);
    }

    /// What came before no longer counts as the same thing again: something new has been heard.
    pub(super) fn break_off(&mut self) {
        self.equal = [0; CYCLES];
        self.alike = [0; CYCLES];
        self.recent.clear();
        self.turns.clear();
    }

    /// The hash of the last item; 0 before there is one.
    pub(super) fn last(&self) -> u64 {
        self.recent.back().map_or(0, |item| item.hash)
    }

    /// The cycle of equal items, no longer than this, that has come round most often; of several, the shortest.
    pub(super) fn equal(&self, max_cycle: u32) -> Round {
        self.strongest(&self.equal, max_cycle, |_| 1_000)
    }

    /// The same of items that are at least alike.
    pub(super) fn alike(&self, max_cycle: u32) -> Round {
        self.strongest(&self.alike, max_cycle, |slot| self.least[slot])
    }

    /// The turns of the last `items` items, each once, in order.
    pub(super) fn turns(&self, items: u32) -> Vec<u32> {
        let from = self.turns.len().saturating_sub(items as usize);
        let mut turns: Vec<u32> = self.turns.range(from..).copied().collect();
        turns.sort_unstable();
        turns.dedup();
        turns
    }

    /// Rounds of nothing but single words count by the eight: agents that agree in a word, or a worker that streams one as
    /// it goes, are no loop yet. Of twelve recorded runs with one word three times in a row ten had agreed and went on at
    /// once, and the two that said it twenty times succeeded all the same.
    fn strongest(&self, runs: &[u32; CYCLES], max_cycle: u32, similarity: impl Fn(usize) -> u16) -> Round {
        let mut best = Round { times: 1, cycle: 1, similarity_permille: 1_000 };
        for (slot, &run) in runs.iter().enumerate().take(max_cycle as usize) {
            let cycle = slot as u32 + 1;
            let mut times = run / cycle + 1;
            if times > 1 && self.recent.iter().rev().take(slot + 1).all(|item| item.is_nod) {
                times = (times / NODS).max(1);
            }
            if times > best.times {
                best = Round { times, cycle, similarity_permille: similarity(slot) };
            }
        }
        best
    }
}

/// 1,001 for equal items, else their likeness in thousandths, 0 where it cannot be told.
fn similarity(one: &Item, other: &Item) -> u16 {
    if one.hash == other.hash {
        return 1_001;
    }
    match (&one.sketch, &other.sketch) {
        (Some(a), Some(b)) if !a.is_of_other_substance(b) => a.similarity_permille(b),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(items: &str) -> Round {
        let mut stream = Stream::default();
        for (turn, item) in (0..).zip(items.bytes()) {
            stream.push(Item { hash: u64::from(item), sketch: None, turn, is_nod: false }, 900);
        }
        stream.equal(MAX_CYCLE)
    }

    #[test]
    fn cycles_of_one_to_six_are_counted_in_full_rounds() {
        let check = |items: &str, times: u32, cycle: u32| {
            let round = after(items);
            assert_eq!((round.times, round.cycle), (times, cycle), "{items}");
        };
        check("xaaa", 3, 1);
        check("xababab", 3, 2);
        check("xababa", 2, 2);
        check("abcabcabc", 3, 3);
        check("abcdabcdabcd", 3, 4);
        check("abcdeabcdeabcde", 3, 5);
        check("abcdefabcdefabcdef", 3, 6);
        check("abcdefgabcdefgabcdefg", 1, 1);
        check("aaab", 1, 1);
    }

    #[test]
    fn the_turns_of_a_cycle_are_remembered_and_bounded() {
        let mut stream = Stream::default();
        for turn in 0..1_000 {
            stream.push(Item { hash: 1, sketch: None, turn, is_nod: false }, 900);
        }
        assert_eq!(stream.turns(3), [997, 998, 999]);
        assert_eq!(stream.turns(1_000).len(), TURNS);
        assert_eq!(stream.equal(MAX_CYCLE), Round { times: 1_000, cycle: 1, similarity_permille: 1_000 });
    }
}
